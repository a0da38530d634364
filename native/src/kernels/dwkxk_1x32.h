/* Depthwise of any size, stride and dilation: one output x up to 32 channels; the four sums hide the latency of the
 * multiply-adds. The global depthwise convolution is one call of this. After a simd_*.h. */
#ifndef VT_DWKXK_1X32_H
#define VT_DWKXK_1X32_H

#include "epilogue.h"

VT_INLINE void vt_dwkxk_block(const vt_dw_row *r, size_t x, size_t c, const size_t nv)
{
    vt_f32x8 sums[4];

    VT_UNROLL
    for (size_t j = 0; j < nv; j++)
        sums[j] = vt_load(r->e.bias + c + 8 * j);
    for (size_t ky = 0; ky < r->kh; ky++) {
        for (size_t kx = 0; kx < r->kw; kx++) {
            const size_t padded = x * r->stride + kx * r->dilation;
            const float *w = r->w + (ky * r->kw + kx) * r->cp + c;
            const float *in;

            if (padded < r->left || padded - r->left >= r->w_in)
                continue;
            in = r->rows[ky] + (padded - r->left) * r->ld_in + c;
            VT_UNROLL
            for (size_t j = 0; j < nv; j++)
                sums[j] = vt_fma(vt_load(in + 8 * j), vt_load(w + 8 * j), sums[j]);
        }
    }
    VT_UNROLL
    for (size_t j = 0; j < nv; j++)
        vt_store(r->out + x * r->ldo + c + 8 * j, vt_finish_x8(sums[j], &r->e, x, c + 8 * j));
}

VT_INLINE void vt_dwkxk_1x32(const vt_dw_row *r)
{
    for (size_t x = 0; x < r->w_out; x++) {
        size_t c = 0;

        for (; r->cp - c >= 32; c += 32)
            vt_dwkxk_block(r, x, c, 4);
        for (; c < r->cp; c += 8)
            vt_dwkxk_block(r, x, c, 1);
    }
}

#endif
