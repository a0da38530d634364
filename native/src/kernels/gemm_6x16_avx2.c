#include "matrix_avx2.h"

void vt_gemm_6x16_avx2(size_t m, size_t k, const float *a, size_t lda, const float *w, float *out,
                       size_t ldo, const vt_epilogue *e)
{
    vt_matrix(6, 2, m, k, a, lda, NULL, w, out, ldo, e);
}
