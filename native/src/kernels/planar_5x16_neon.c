#include "matrix_neon.h"

void vt_planar_5x16_neon(size_t m, size_t k, const float *a, size_t step, const size_t *offsets, const float *w,
                         float *out, size_t ldo, const vt_epilogue *e)
{
    vt_matrix(5, 2, m, k, a, step, offsets, w, out, ldo, e);
}
