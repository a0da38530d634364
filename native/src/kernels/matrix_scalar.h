/* Plain C of the matrix kernels. `nr` and `offsets` are constants where this is inlined. The loops over channels are kept
 * as loops, because compilers make vectors of the base instruction set of those, and not of their unrolled bodies. */
#ifndef VT_MATRIX_SCALAR_H
#define VT_MATRIX_SCALAR_H

#include "kernels.h"

static inline float vt_finish(float sum, const vt_epilogue *e, size_t pixel, size_t channel)
{
    if (e->residual)
        sum += e->residual[pixel * e->ldr + channel];
    if (e->act == VT_ACT_PRELU)
        return sum < 0 ? sum * e->slope[channel] : sum;
    if (e->act == VT_ACT_CLIP) {
        sum = sum < e->lo ? e->lo : sum;
        return sum > e->hi ? e->hi : sum;
    }
    return sum;
}

static inline void vt_matrix_scalar(size_t nr, size_t m, size_t k, const float *a, size_t step, const size_t *offsets,
                                    const float *w, float *out, size_t ldo, const vt_epilogue *e)
{
    for (size_t i = 0; i < m; i++) {
        float sums[24];

        for (size_t j = 0; j < nr; j++)
            sums[j] = e->bias ? e->bias[j] : out[i * ldo + j];
        for (size_t p = 0; p < k; p++) {
            const float x = a[i * step + (offsets ? offsets[p] : p)];

            VT_KEEP_LOOP
            for (size_t j = 0; j < nr; j++)
                sums[j] += x * w[p * nr + j];
        }
        for (size_t j = 0; j < nr; j++)
            out[i * ldo + j] = vt_finish(sums[j], e, i, j);
    }
}

#endif
