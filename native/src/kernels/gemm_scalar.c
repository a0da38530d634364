#include "matrix_scalar.h"

void vt_gemm_1x8_scalar(size_t m, size_t k, const float *a, size_t lda, const float *w, float *out, size_t ldo,
                        const vt_epilogue *e)
{
    vt_matrix_scalar(8, m, k, a, lda, NULL, w, out, ldo, e);
}

void vt_gemm_1x16_scalar(size_t m, size_t k, const float *a, size_t lda, const float *w, float *out, size_t ldo,
                         const vt_epilogue *e)
{
    vt_matrix_scalar(16, m, k, a, lda, NULL, w, out, ldo, e);
}

void vt_gemm_1x24_scalar(size_t m, size_t k, const float *a, size_t lda, const float *w, float *out, size_t ldo,
                         const vt_epilogue *e)
{
    vt_matrix_scalar(24, m, k, a, lda, NULL, w, out, ldo, e);
}
