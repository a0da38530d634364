/* Depthwise 3x3: seven outputs of a row x eight channels in registers, so that a column of the input is loaded once
 * for the up to three outputs that it counts for. Seven divides the widths 112, 56, 28, 14 and 7 of face networks. */
#include "epilogue_avx2.h"

#define OUTS 7

/* outs outputs from x on; edges: the first or the last column lies outside the map. All but x are constants. */
VT_INLINE void tile(const vt_dw_row *r, size_t x, const size_t outs, const size_t stride, const bool off_left,
                    const bool off_right)
{
    const size_t columns = (outs - 1) * stride + 3;
    const size_t first = x * stride + (off_left ? 1 : 0) - r->left; /* column of the map that is loaded first */
    const bool bounded = vt_bounded(&r->e);
    const __m256 lo = vt_low_avx2(&r->e), hi = vt_high_avx2(&r->e);

    for (size_t c = 0; c < r->cp; c += 8) {
        __m256 sums[OUTS];

        VT_UNROLL
        for (size_t t = 0; t < outs; t++)
            sums[t] = _mm256_load_ps(r->e.bias + c);
        VT_UNROLL
        for (size_t ky = 0; ky < 3; ky++) {
            const float *in = r->rows[ky] + first * r->ld_in + c;
            const float *w = r->w + 3 * ky * r->cp + c;
            const __m256 w0 = _mm256_load_ps(w), w1 = _mm256_load_ps(w + r->cp), w2 = _mm256_load_ps(w + 2 * r->cp);

            VT_UNROLL
            for (size_t i = 0; i < columns; i++) {
                __m256 v;

                if ((off_left && i == 0) || (off_right && i == columns - 1))
                    continue;
                v = _mm256_load_ps(in);
                in += r->ld_in;
                if (i % stride == 0 && i / stride < outs)
                    sums[i / stride] = _mm256_fmadd_ps(v, w0, sums[i / stride]);
                if (i >= 1 && (i - 1) % stride == 0 && (i - 1) / stride < outs)
                    sums[(i - 1) / stride] = _mm256_fmadd_ps(v, w1, sums[(i - 1) / stride]);
                if (i >= 2 && (i - 2) % stride == 0)
                    sums[(i - 2) / stride] = _mm256_fmadd_ps(v, w2, sums[(i - 2) / stride]);
            }
        }
        if (bounded) {
            VT_UNROLL
            for (size_t t = 0; t < outs; t++)
                _mm256_store_ps(r->out + (x + t) * r->ldo + c, _mm256_min_ps(hi, _mm256_max_ps(lo, sums[t])));
            continue;
        }
        VT_UNROLL
        for (size_t t = 0; t < outs; t++)
            _mm256_store_ps(r->out + (x + t) * r->ldo + c, vt_finish_avx2(sums[t], &r->e, x + t, c));
    }
}

/* One output anywhere, of narrow maps and of what seven does not divide. */
static void single(const vt_dw_row *r, size_t x)
{
    for (size_t c = 0; c < r->cp; c += 8) {
        __m256 sum = _mm256_load_ps(r->e.bias + c);

        for (size_t ky = 0; ky < 3; ky++) {
            for (size_t kx = 0; kx < 3; kx++) {
                const size_t padded = x * r->stride + kx;

                if (padded >= r->left && padded - r->left < r->w_in)
                    sum = _mm256_fmadd_ps(_mm256_load_ps(r->rows[ky] + (padded - r->left) * r->ld_in + c),
                                          _mm256_load_ps(r->w + (3 * ky + kx) * r->cp + c), sum);
            }
        }
        _mm256_store_ps(r->out + x * r->ldo + c, vt_finish_avx2(sum, &r->e, x, c));
    }
}

VT_INLINE void row(const vt_dw_row *r, const size_t stride)
{
    const size_t span = (OUTS - 1) * stride + 3;
    size_t x = 0;

    while (x < r->w_out) {
        const size_t end = x * stride + span - r->left; /* one past the last column; x and left are small */
        const bool off_left = x == 0 && r->left == 1, off_right = end == r->w_in + 1;

        if (r->w_out - x < OUTS || end > r->w_in + 1) {
            single(r, x++);
            continue;
        }
        if (off_left && off_right)
            tile(r, x, OUTS, stride, true, true);
        else if (off_left)
            tile(r, x, OUTS, stride, true, false);
        else if (off_right)
            tile(r, x, OUTS, stride, false, true);
        else
            tile(r, x, OUTS, stride, false, false);
        x += OUTS;
    }
}

void vt_dw3x3_7x8_avx2(const vt_dw_row *r)
{
    if (r->stride == 1)
        row(r, 1);
    else
        row(r, 2);
}
