/* The innermost loop of the NEON matrix kernels: four numbers of each pixel are loaded at once and multiplied lane by
 * lane, so that a step of the depth costs 2 * nv loads of weights and mr / 4 of the input for 2 * mr * nv multiply-adds.
 * 8 x 1, 5 x 2 and 3 x 3 tiles keep 16, 20 and 18 of the 32 registers for sums, 8, 5 and 3 for the input and leave two at
 * least for weights; 6 x 2 and 4 x 3 would fill all 32 by the last one, and GCC 12 spills then. */
#ifndef VT_MATRIX_NEON_H
#define VT_MATRIX_NEON_H

#include "simd_neon.h"

#include "epilogue.h"

/* One step of the depth: each pixel's number, the last arguments, times a row of weights. */
#define VT_MULTIPLY_ADD(fma, ...)                                                                                      \
    VT_UNROLL                                                                                                          \
    for (size_t j = 0; j < nv; j++, w += 8) {                                                                          \
        const float32x4_t low = vld1q_f32(w), high = vld1q_f32(w + 4);                                                 \
                                                                                                                       \
        VT_UNROLL                                                                                                      \
        for (size_t i = 0; i < mr; i++) {                                                                              \
            sums[i][j].low = fma(sums[i][j].low, low, __VA_ARGS__);                                                    \
            sums[i][j].high = fma(sums[i][j].high, high, __VA_ARGS__);                                                 \
        }                                                                                                              \
    }

VT_INLINE void vt_accumulate(const size_t mr, const size_t nv, size_t k, const float *a, size_t step,
                             const size_t *offsets, const float *w, vt_f32x8 sums[][3])
{
    size_t p = 0;

    for (; !offsets && k - p >= 4; p += 4) {
        float32x4_t x[8];

        VT_UNROLL
        for (size_t i = 0; i < mr; i++)
            x[i] = vld1q_f32(a + i * step + p);
        VT_MULTIPLY_ADD(vfmaq_laneq_f32, x[i], 0)
        VT_MULTIPLY_ADD(vfmaq_laneq_f32, x[i], 1)
        VT_MULTIPLY_ADD(vfmaq_laneq_f32, x[i], 2)
        VT_MULTIPLY_ADD(vfmaq_laneq_f32, x[i], 3)
    }
    for (; p < k; p++) {
        const float *x = a + (offsets ? offsets[p] : p);

        VT_MULTIPLY_ADD(vfmaq_n_f32, x[i * step])
    }
}
#undef VT_MULTIPLY_ADD

#include "matrix.h"

#endif
