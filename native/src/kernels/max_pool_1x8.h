/* After a simd_*.h. */
#ifndef VT_MAX_POOL_1X8_H
#define VT_MAX_POOL_1X8_H

#include "kernels.h"

/* kw and, where inlined with constants, the 2 x 2 window of nearly all networks. */
VT_INLINE void vt_max_pool_window(const vt_dw_row *r, size_t x, const size_t kh, size_t first, size_t last)
{
    const size_t at = (x * r->stride + first - r->left) * r->ld_in;

    for (size_t c = 0; c < r->cp; c += 8) {
        vt_f32x8 most = vt_load(r->rows[0] + at + c);

        for (size_t ky = 0; ky < kh; ky++) {
            const float *in = r->rows[ky] + at + c;

            for (size_t kx = first; kx < last; kx++, in += r->ld_in)
                most = vt_max(vt_load(in), most);
        }
        vt_store(r->out + x * r->ldo + c, most);
    }
}

VT_INLINE void vt_max_pool_1x8(const vt_dw_row *r)
{
    for (size_t x = 0; x < r->w_out; x++) {
        /* the first and one past the last column under the window, within the map */
        const size_t at = x * r->stride, first = at < r->left ? r->left - at : 0;
        const size_t last = at + r->kw - r->left < r->w_in ? r->kw : r->w_in + r->left - at;

        if (r->kh == 2 && first == 0 && last == 2)
            vt_max_pool_window(r, x, 2, 0, 2);
        else
            vt_max_pool_window(r, x, r->kh, first, last);
    }
}

#endif
