#include "gemm8_avx2.h"

void vt_gemm8_6x16_avx2(size_t m, size_t k, const uint8_t *a, size_t lda, const int8_t *w, const vt_finish8 *f)
{
    vt_gemm8_avx2(6, 2, m, k, a, lda, w, f);
}
