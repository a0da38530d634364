#include "matrix_scalar.h"

void vt_dwkxk_1x8_scalar(const vt_dw_row *r)
{
    for (size_t x = 0; x < r->w_out; x++) {
        for (size_t c = 0; c < r->cp; c += 8) {
            float sums[8];

            for (size_t j = 0; j < 8; j++)
                sums[j] = r->e.bias[c + j];
            for (size_t ky = 0; ky < r->kh; ky++) {
                for (size_t kx = 0; kx < r->kw; kx++) {
                    const size_t padded = x * r->stride + kx * r->dilation;
                    const float *w = r->w + (ky * r->kw + kx) * r->cp + c;
                    const float *in;

                    if (padded < r->left || padded - r->left >= r->w_in)
                        continue;
                    in = r->rows[ky] + (padded - r->left) * r->ld_in + c;
                    VT_KEEP_LOOP
                    for (size_t j = 0; j < 8; j++)
                        sums[j] += in[j] * w[j];
                }
            }
            for (size_t j = 0; j < 8; j++)
                r->out[x * r->ldo + c + j] = vt_finish(sums[j], &r->e, x, c + j);
        }
    }
}
