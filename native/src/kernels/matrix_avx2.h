/* The AVX2 matrix tile: mr pixels x 8 * nv channels in registers, one broadcast of the input and nv loads of weights
 * for mr * nv multiply-adds. mr, nv and whether there are offsets are constants where this is inlined: 6 x 2, 4 x 3 and
 * 8 x 1 use 12, 12 and 8 of the 16 registers for sums. */
#ifndef VT_MATRIX_AVX2_H
#define VT_MATRIX_AVX2_H

#include "epilogue_avx2.h"

VT_INLINE void vt_tile_avx2(const size_t mr, const size_t nv, size_t k, const float *a, size_t step,
                            const size_t *offsets, const float *w, float *out, size_t ldo, size_t pixel,
                            const vt_epilogue *e)
{
    __m256 sums[8][3];

    VT_UNROLL
    for (size_t i = 0; i < mr; i++)
        VT_UNROLL
        for (size_t j = 0; j < nv; j++)
            sums[i][j] = e->bias ? _mm256_load_ps(e->bias + 8 * j) : _mm256_load_ps(out + i * ldo + 8 * j);
    for (size_t p = 0; p < k; p++) {
        const float *x = a + (offsets ? offsets[p] : p);
        __m256 v[3];

        VT_UNROLL
        for (size_t j = 0; j < nv; j++)
            v[j] = _mm256_load_ps(w + 8 * j);
        VT_UNROLL
        for (size_t i = 0; i < mr; i++) {
            const __m256 b = _mm256_broadcast_ss(x + i * step);

            VT_UNROLL
            for (size_t j = 0; j < nv; j++)
                sums[i][j] = _mm256_fmadd_ps(b, v[j], sums[i][j]);
        }
        w += 8 * nv;
    }
    if (vt_bounded(e)) {
        const __m256 lo = vt_low_avx2(e), hi = vt_high_avx2(e);

        VT_UNROLL
        for (size_t i = 0; i < mr; i++)
            VT_UNROLL
            for (size_t j = 0; j < nv; j++)
                _mm256_store_ps(out + i * ldo + 8 * j, _mm256_min_ps(hi, _mm256_max_ps(lo, sums[i][j])));
        return;
    }
    VT_UNROLL
    for (size_t i = 0; i < mr; i++)
        VT_UNROLL
        for (size_t j = 0; j < nv; j++)
            _mm256_store_ps(out + i * ldo + 8 * j, vt_finish_avx2(sums[i][j], e, pixel + i, 8 * j));
}

/* All m pixels of a panel. What is left after the full tiles is shared by two tiles where one alone would be wasted:
 * fewer than eight sums do not hide the latency of a multiply-add (four cycles, two a cycle). */
VT_INLINE void vt_matrix_avx2(const size_t mr, const size_t nv, size_t m, size_t k, const float *a, size_t step,
                              const size_t *offsets, const float *w, float *out, size_t ldo, const vt_epilogue *e)
{
    size_t i = 0;

    while (m - i >= mr && (m - i - mr == 0 || (m - i - mr) * nv >= 8)) {
        vt_tile_avx2(mr, nv, k, a + i * step, step, offsets, w, out + i * ldo, ldo, i, e);
        i += mr;
    }
    while (i < m) {
        const size_t left = m - i, rows = left > mr ? (left + 1) / 2 : left;

        switch (rows) {
#define VT_ROWS(n)                                                                                                     \
    case n:                                                                                                            \
        if (n <= mr)                                                                                                   \
            vt_tile_avx2(n, nv, k, a + i * step, step, offsets, w, out + i * ldo, ldo, i, e);                          \
        break;
            VT_ROWS(1)
            VT_ROWS(2)
            VT_ROWS(3)
            VT_ROWS(4)
            VT_ROWS(5)
            VT_ROWS(6)
            VT_ROWS(7)
            VT_ROWS(8)
#undef VT_ROWS
        default:
            break;
        }
        i += rows;
    }
}

#endif
