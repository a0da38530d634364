#include "matrix_neon.h"

void vt_gemm_5x16_neon(size_t m, size_t k, const float *a, size_t lda, const float *w, float *out, size_t ldo,
                       const vt_epilogue *e)
{
    vt_matrix(5, 2, m, k, a, lda, NULL, w, out, ldo, e);
}
