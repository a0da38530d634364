/* The innermost loop of the AVX2 matrix kernels: one broadcast of the input and nv loads of weights for mr * nv
 * multiply-adds. 6 x 2, 4 x 3 and 8 x 1 tiles keep 12, 12 and 8 of the 16 registers for sums. */
#ifndef VT_MATRIX_AVX2_H
#define VT_MATRIX_AVX2_H

#include "simd_avx2.h"

#include "epilogue.h"

VT_INLINE void vt_accumulate(const size_t mr, const size_t nv, size_t k, const float *a, size_t step,
                             const size_t *offsets, const float *w, vt_f32x8 sums[][3])
{
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
}

#include "matrix.h"

#endif
