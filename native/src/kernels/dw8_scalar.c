#include "finish8_scalar.h"

static const uint8_t *pixel_of(const vt_dw8_row *r, size_t row, size_t column)
{
    return column < r->w_in ? r->rows[row] + column * r->step[row] : r->pad;
}

void vt_dw8_1x32_scalar(const vt_dw8_row *r)
{
    for (size_t x = 0; x < r->w_out; x++) {
        for (size_t p = 0; p < r->cp; p++) {
            const size_t c = vt_dw8_channel(p);
            int32_t sum = 0;

            for (size_t kx = 0; kx < 3; kx++) {
                const int8_t *w = r->w + p / 32 * 384 + kx * 128 + p % 32 * 4;
                const size_t column = x * r->stride + kx - r->left; /* wraps where left of the map */

                sum += pixel_of(r, 0, column)[c] * w[0] + pixel_of(r, 2, column)[c] * w[1] + pixel_of(r, 1, column)[c] * w[2];
            }
            vt_store8(sum, &r->f, x, p, c);
        }
    }
}
