/* Depthwise of any size, stride and dilation: one output x up to 32 channels; the four sums hide the latency of the
 * multiply-adds. The global depthwise convolution is one call of this. */
#include "epilogue_avx2.h"

VT_INLINE void block(const vt_dw_row *r, size_t x, size_t c, const size_t nv)
{
    __m256 sums[4];

    VT_UNROLL
    for (size_t j = 0; j < nv; j++)
        sums[j] = _mm256_load_ps(r->e.bias + c + 8 * j);
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
                sums[j] = _mm256_fmadd_ps(_mm256_load_ps(in + 8 * j), _mm256_load_ps(w + 8 * j), sums[j]);
        }
    }
    VT_UNROLL
    for (size_t j = 0; j < nv; j++)
        _mm256_store_ps(r->out + x * r->ldo + c + 8 * j, vt_finish_avx2(sums[j], &r->e, x, c + 8 * j));
}

void vt_dwkxk_1x32_avx2(const vt_dw_row *r)
{
    for (size_t x = 0; x < r->w_out; x++) {
        size_t c = 0;

        for (; r->cp - c >= 32; c += 32)
            block(r, x, c, 4);
        for (; c < r->cp; c += 8)
            block(r, x, c, 1);
    }
}
