#include "epilogue_avx2.h"

/* kw and, where inlined with constants, the 2 x 2 window of nearly all networks. */
VT_INLINE void window(const vt_dw_row *r, size_t x, const size_t kh, size_t first, size_t last)
{
    const size_t at = (x * r->stride + first - r->left) * r->ld_in;

    for (size_t c = 0; c < r->cp; c += 8) {
        __m256 most = _mm256_load_ps(r->rows[0] + at + c);

        for (size_t ky = 0; ky < kh; ky++) {
            const float *in = r->rows[ky] + at + c;

            for (size_t kx = first; kx < last; kx++, in += r->ld_in)
                most = _mm256_max_ps(_mm256_load_ps(in), most);
        }
        _mm256_store_ps(r->out + x * r->ldo + c, most);
    }
}

void vt_max_pool_1x8_avx2(const vt_dw_row *r)
{
    for (size_t x = 0; x < r->w_out; x++) {
        /* the first and one past the last column under the window, within the map */
        const size_t at = x * r->stride, first = at < r->left ? r->left - at : 0;
        const size_t last = at + r->kw - r->left < r->w_in ? r->kw : r->w_in + r->left - at;

        if (r->kh == 2 && first == 0 && last == 2)
            window(r, x, 2, 0, 2);
        else
            window(r, x, r->kh, first, last);
    }
}
