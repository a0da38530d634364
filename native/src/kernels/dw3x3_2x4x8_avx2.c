/* Depthwise 3x3 with stride 1, two rows at a time: 2 x 4 outputs x eight channels in registers, beside the weights of two
 * kernel rows. A column of the input is loaded once for up to six multiply-adds, and eight sums that do not wait for each
 * other hide the latency of one, which a single row's do not. */
#include "simd_avx2.h"

#include "epilogue.h"

#define OUTS 4

/* outs columns from x on; edges: the first or the last column under them lies outside the map. All but x are constants. */
VT_INLINE void tile(const vt_dw_row *r, const vt_dw_below *b, size_t x, const size_t outs, const bool off_left,
                    const bool off_right)
{
    const size_t first = x + (off_left ? 1 : 0) - r->left; /* column of the map that is loaded first */
    vt_epilogue lower = r->e;

    lower.residual = b->residual;
    for (size_t c = 0; c < r->cp; c += 8) {
        vt_f32x8 above[OUTS], below[OUTS], w[6];

        VT_UNROLL
        for (size_t t = 0; t < outs; t++)
            above[t] = below[t] = vt_load(r->e.bias + c);
        VT_UNROLL
        for (size_t y = 0; y < 4; y++) {
            const float *in = r->rows[y] + first * r->ld_in + c;

            VT_UNROLL
            for (size_t k = 0; k < 3; k++) {
                if (y > 0)
                    w[3 + k] = w[k]; /* the kernel row that was the upper outputs' is now the lower ones' */
                if (y < 3)
                    w[k] = vt_load(r->w + (3 * y + k) * r->cp + c);
            }
            VT_UNROLL
            for (size_t i = 0; i < outs + 2; i++) {
                vt_f32x8 v;

                if ((off_left && i == 0) || (off_right && i == outs + 1))
                    continue;
                v = vt_load(in);
                in += r->ld_in;
                VT_UNROLL
                for (size_t k = 0; k < 3; k++) {
                    if (i < k || i - k >= outs)
                        continue;
                    if (y < 3)
                        above[i - k] = vt_fma(v, w[k], above[i - k]);
                    if (y > 0)
                        below[i - k] = vt_fma(v, w[3 + k], below[i - k]);
                }
            }
        }
        vt_finish_pixels(outs, above, 1, &r->e, r->out + x * r->ldo + c, r->ldo, x, c);
        vt_finish_pixels(outs, below, 1, &lower, b->out + x * r->ldo + c, r->ldo, x, c);
    }
}

VT_INLINE void edges(const vt_dw_row *r, const vt_dw_below *b, size_t x, const size_t outs)
{
    const bool off_left = x < r->left, off_right = x + outs + 2 - r->left > r->w_in;

    if (off_left && off_right)
        tile(r, b, x, outs, true, true);
    else if (off_left)
        tile(r, b, x, outs, true, false);
    else if (off_right)
        tile(r, b, x, outs, false, true);
    else
        tile(r, b, x, outs, false, false);
}

/* What four does not divide is shared by the last two tiles. */
void vt_dw3x3_2x4x8_avx2(const vt_dw_row *r, const vt_dw_below *b)
{
    for (size_t x = 0, left = r->w_out; left;) {
        const size_t outs = left == OUTS || left >= 2 * OUTS ? OUTS : left > OUTS ? (left + 1) / 2 : left;

        if (outs == 4)
            edges(r, b, x, 4);
        else if (outs == 3)
            edges(r, b, x, 3);
        else if (outs == 2)
            edges(r, b, x, 2);
        else
            edges(r, b, x, 1);
        x += outs;
        left -= outs;
    }
}
