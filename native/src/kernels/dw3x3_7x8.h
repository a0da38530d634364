/* Depthwise 3x3: seven outputs of a row x eight channels in registers, so that a column of the input is loaded once
 * for the up to three outputs that it counts for. Seven divides the widths 112, 56, 28, 14 and 7 of face networks.
 * After a simd_*.h. */
#ifndef VT_DW3X3_7X8_H
#define VT_DW3X3_7X8_H

#include "epilogue.h"

#define VT_OUTS 7

/* Seven outputs from x on; edges: the first or the last column lies outside the map. Stride and edges are constants. */
VT_INLINE void vt_dw3x3_tile(const vt_dw_row *r, size_t x, const size_t stride, const bool off_left,
                             const bool off_right)
{
    const size_t columns = (VT_OUTS - 1) * stride + 3;
    const size_t first = x * stride + (off_left ? 1 : 0) - r->left; /* column of the map that is loaded first */

    for (size_t c = 0; c < r->cp; c += 8) {
        vt_f32x8 sums[VT_OUTS];

        VT_UNROLL
        for (size_t t = 0; t < VT_OUTS; t++)
            sums[t] = vt_load(r->e.bias + c);
        VT_UNROLL
        for (size_t ky = 0; ky < 3; ky++) {
            const float *in = r->rows[ky] + first * r->ld_in + c;
            const float *w = r->w + 3 * ky * r->cp + c;
            const vt_f32x8 w0 = vt_load(w), w1 = vt_load(w + r->cp), w2 = vt_load(w + 2 * r->cp);

            VT_UNROLL
            for (size_t i = 0; i < columns; i++) {
                vt_f32x8 v;

                if ((off_left && i == 0) || (off_right && i == columns - 1))
                    continue;
                v = vt_load(in);
                in += r->ld_in;
                if (i % stride == 0 && i / stride < VT_OUTS)
                    sums[i / stride] = vt_fma(v, w0, sums[i / stride]);
                if (i >= 1 && (i - 1) % stride == 0 && (i - 1) / stride < VT_OUTS)
                    sums[(i - 1) / stride] = vt_fma(v, w1, sums[(i - 1) / stride]);
                if (i >= 2 && (i - 2) % stride == 0)
                    sums[(i - 2) / stride] = vt_fma(v, w2, sums[(i - 2) / stride]);
            }
        }
        vt_finish_pixels(VT_OUTS, sums, 1, &r->e, r->out + x * r->ldo + c, r->ldo, x, c);
    }
}

/* One output anywhere, of narrow maps and of what seven does not divide. */
VT_INLINE void vt_dw3x3_single(const vt_dw_row *r, size_t x)
{
    for (size_t c = 0; c < r->cp; c += 8) {
        vt_f32x8 sum = vt_load(r->e.bias + c);

        for (size_t ky = 0; ky < 3; ky++) {
            for (size_t kx = 0; kx < 3; kx++) {
                const size_t padded = x * r->stride + kx;

                if (padded >= r->left && padded - r->left < r->w_in)
                    sum = vt_fma(vt_load(r->rows[ky] + (padded - r->left) * r->ld_in + c),
                                 vt_load(r->w + (3 * ky + kx) * r->cp + c), sum);
            }
        }
        vt_store(r->out + x * r->ldo + c, vt_finish_x8(sum, &r->e, x, c));
    }
}

VT_INLINE void vt_dw3x3_row(const vt_dw_row *r, const size_t stride)
{
    const size_t span = (VT_OUTS - 1) * stride + 3;
    size_t x = 0;

    while (x < r->w_out) {
        const size_t end = x * stride + span - r->left; /* one past the last column; x and left are small */
        const bool off_left = x == 0 && r->left == 1, off_right = end == r->w_in + 1;

        if (r->w_out - x < VT_OUTS || end > r->w_in + 1) {
            vt_dw3x3_single(r, x++);
            continue;
        }
        if (off_left && off_right)
            vt_dw3x3_tile(r, x, stride, true, true);
        else if (off_left)
            vt_dw3x3_tile(r, x, stride, true, false);
        else if (off_right)
            vt_dw3x3_tile(r, x, stride, false, true);
        else
            vt_dw3x3_tile(r, x, stride, false, false);
        x += VT_OUTS;
    }
}

VT_INLINE void vt_dw3x3_7x8(const vt_dw_row *r)
{
    if (r->stride == 1)
        vt_dw3x3_row(r, 1);
    else
        vt_dw3x3_row(r, 2);
}

#endif
