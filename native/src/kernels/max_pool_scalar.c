#include "kernels.h"

void vt_max_pool_1x8_scalar(const vt_dw_row *r)
{
    for (size_t x = 0; x < r->w_out; x++) {
        /* the first and one past the last column under the window, within the map */
        const size_t at = x * r->stride, first = at < r->left ? r->left - at : 0;
        const size_t last = at + r->kw - r->left < r->w_in ? r->kw : r->w_in + r->left - at;

        for (size_t c = 0; c < r->cp; c += 8) {
            float most[8];

            for (size_t j = 0; j < 8; j++)
                most[j] = r->rows[0][(at + first - r->left) * r->ld_in + c + j];
            for (size_t ky = 0; ky < r->kh; ky++)
                for (size_t kx = first; kx < last; kx++) {
                    const float *in = r->rows[ky] + (at + kx - r->left) * r->ld_in + c;

                    for (size_t j = 0; j < 8; j++)
                        most[j] = in[j] > most[j] ? in[j] : most[j];
                }
            for (size_t j = 0; j < 8; j++)
                r->out[x * r->ldo + c + j] = most[j];
        }
    }
}
