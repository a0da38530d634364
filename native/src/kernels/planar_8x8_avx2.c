#include "matrix_avx2.h"

void vt_planar_8x8_avx2(size_t m, size_t k, const float *a, size_t step, const size_t *offsets, const float *w,
                        float *out, size_t ldo, const vt_epilogue *e)
{
    vt_matrix(8, 1, m, k, a, step, offsets, w, out, ldo, e);
}
