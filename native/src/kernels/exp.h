/* Curves made of exp(v) = 2^n exp(r), n = round(v / ln 2), |r| <= ln 2 / 2, the rest by its Taylor series to the seventh
 * power, whose error is below that of a float. After a simd_*.h. */
#ifndef VT_EXP_H
#define VT_EXP_H

#include <string.h>

#include "kernels.h"

/* exp(r); *n is set for 2^n. Where v is NaN, so is the result. */
VT_INLINE vt_f32x8 vt_exp_rest(vt_f32x8 v, vt_f32x8 *n)
{
    static const float series[] = {1.f / 720, 1.f / 120, 1.f / 24, 1.f / 6, 0.5f, 1, 1};
    vt_f32x8 p = vt_same(1.f / 5040), r;

    *n = vt_round(vt_mul(v, vt_same(1.44269504f)));
    r = vt_fnma(*n, vt_same(-2.12194440e-4f), vt_fnma(*n, vt_same(0.693359375f), v)); /* ln 2 in two parts */
    VT_UNROLL
    for (size_t i = 0; i < sizeof series / sizeof *series; i++)
        p = vt_fma(p, r, vt_same(series[i]));
    return p;
}

/* 2^n as a product of two, so that the ends of what a float can be are reached, and infinity and 0 beyond them. */
VT_INLINE vt_f32x8 vt_exponential_x8(vt_f32x8 x)
{
    const vt_f32x8 v = vt_min(vt_same(90), vt_max(vt_same(-105), x));
    vt_f32x8 n, half;
    const vt_f32x8 p = vt_exp_rest(v, &n);

    half = vt_round(vt_mul(n, vt_same(0.5f)));
    return vt_mul(vt_mul(p, vt_power_of_two(half)), vt_power_of_two(vt_sub(n, half)));
}

VT_INLINE vt_f32x8 vt_sigmoid_x8(vt_f32x8 x)
{
    const vt_f32x8 one = vt_same(1);
    /* -x within what 2^n can be; where x is NaN, so is v. */
    const vt_f32x8 v = vt_min(vt_same(87), vt_max(vt_same(-87), vt_sub(vt_same(0), x)));
    vt_f32x8 n;
    const vt_f32x8 p = vt_exp_rest(v, &n);

    return vt_div(one, vt_fma(p, vt_power_of_two(n), one));
}

/* n numbers through f. */
VT_INLINE void vt_curve(size_t n, const float *x, float *out, vt_f32x8 (*f)(vt_f32x8 x))
{
    size_t i = 0;

    for (; n - i >= 8; i += 8)
        vt_store(out + i, f(vt_load(x + i)));
    if (i < n) {
        float rest[8] = {0};

        memcpy(rest, x + i, (n - i) * sizeof *rest);
        vt_store(rest, f(vt_load(rest)));
        memcpy(out + i, rest, (n - i) * sizeof *rest);
    }
}

#endif
