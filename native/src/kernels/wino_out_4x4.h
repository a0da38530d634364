/* After a simd_*.h. */
#ifndef VT_WINO_OUT_4X4_H
#define VT_WINO_OUT_4X4_H

#include "epilogue.h"
#include "wino.h"

VT_INLINE void vt_wino_backward(const vt_f32x8 *m, vt_f32x8 *y)
{
    const vt_f32x8 two = vt_same(2), half = vt_same(0.5f);
    const vt_f32x8 a = vt_same(VT_WINO_A), b = vt_same(VT_WINO_B);
    const vt_f32x8 s1 = vt_add(m[1], m[2]), d1 = vt_mul(a, vt_sub(m[1], m[2]));
    const vt_f32x8 s2 = vt_add(m[3], m[4]), d2 = vt_mul(b, vt_sub(m[3], m[4]));

    y[0] = vt_add(m[0], vt_add(s1, s2));
    y[1] = vt_add(d1, d2);
    y[2] = vt_fma(two, s2, vt_mul(half, s1));
    y[3] = vt_fma(two, d2, vt_fma(half, d1, m[5]));
}

/* Eight channels of one tile. */
VT_INLINE void vt_wino_out_tile(const vt_wino_out *out, size_t first, size_t columns, size_t c, const float *in)
{
    const vt_f32x8 bias = vt_load(out->e.bias + c);
    vt_f32x8 t[4][6], m[6], y[4];

    for (size_t x = 0; x < 6; x++) {
        VT_UNROLL
        for (size_t i = 0; i < 6; i++)
            m[i] = vt_load(in + (6 * i + x) * out->plane + c);
        vt_wino_backward(m, y);
        VT_UNROLL
        for (size_t i = 0; i < 4; i++)
            t[i][x] = y[i];
    }
    for (size_t i = 0; i < out->rows; i++) {
        vt_wino_backward(t[i], y);
        for (size_t x = 0; x < columns; x++) {
            const size_t p = i * out->w + first + x;

            vt_store(out->out + p * out->ldo + c, vt_finish_x8(vt_add(y[x], bias), &out->e, p, c));
        }
    }
}

VT_INLINE void vt_wino_out_4x4(const vt_wino_out *out)
{
    for (size_t i = 0; i < out->tiles; i++) {
        const size_t first = 4 * i, columns = out->w - first < 4 ? out->w - first : 4;

        for (size_t c = 0; c < out->cp; c += 8)
            vt_wino_out_tile(out, first, columns, c, out->in + i * out->ldi);
    }
}

#endif
