/* exp(v) = 2^n exp(r), n = round(v / ln 2), |r| <= ln 2 / 2, the rest by its Taylor series to the seventh power, whose error
 * is below that of a float. After a simd_*.h. */
#ifndef VT_SIGMOID_8_H
#define VT_SIGMOID_8_H

#include <string.h>

#include "kernels.h"

VT_INLINE vt_f32x8 vt_sigmoid_x8(vt_f32x8 x)
{
    static const float series[] = {1.f / 720, 1.f / 120, 1.f / 24, 1.f / 6, 0.5f, 1, 1};
    const vt_f32x8 one = vt_same(1);
    /* -x within what 2^n can be; where x is NaN, so is v. */
    const vt_f32x8 v = vt_min(vt_same(87), vt_max(vt_same(-87), vt_mul(vt_same(-1), x)));
    const vt_f32x8 n = vt_round(vt_mul(v, vt_same(1.44269504f)));
    const vt_f32x8 r = vt_fma(n, vt_same(2.12194440e-4f), vt_fma(n, vt_same(-0.693359375f), v)); /* ln 2 in two parts */
    vt_f32x8 p = vt_same(1.f / 5040);

    VT_UNROLL
    for (size_t i = 0; i < sizeof series / sizeof *series; i++)
        p = vt_fma(p, r, vt_same(series[i]));
    return vt_div(one, vt_fma(p, vt_power_of_two(n), one));
}

VT_INLINE void vt_sigmoid_8(size_t n, const float *x, float *out)
{
    size_t i = 0;

    for (; n - i >= 8; i += 8)
        vt_store(out + i, vt_sigmoid_x8(vt_load(x + i)));
    if (i < n) {
        float rest[8] = {0};

        memcpy(rest, x + i, (n - i) * sizeof *rest);
        vt_store(rest, vt_sigmoid_x8(vt_load(rest)));
        memcpy(out + i, rest, (n - i) * sizeof *rest);
    }
}

#endif
