#include "finish8_scalar.h"

static inline void gemm8(size_t nr, size_t m, size_t k, const uint8_t *a, size_t lda, const int8_t *w, const vt_finish8 *f)
{
    for (size_t i = 0; i < m; i++) {
        int32_t sums[24] = {0};

        for (size_t p = 0; p < k; p += 4) {
            const uint8_t *x = a + i * lda + p;

            for (size_t j = 0; j < nr; j++) {
                const int8_t *v = w + (p * nr + 4 * j);

                sums[j] += x[0] * v[0] + x[1] * v[1] + x[2] * v[2] + x[3] * v[3];
            }
        }
        for (size_t j = 0; j < nr; j++)
            vt_store8(sums[j], f, i, j, j);
    }
}

void vt_gemm8_1x8_scalar(size_t m, size_t k, const uint8_t *a, size_t lda, const int8_t *w, const vt_finish8 *f)
{
    gemm8(8, m, k, a, lda, w, f);
}

void vt_gemm8_1x16_scalar(size_t m, size_t k, const uint8_t *a, size_t lda, const int8_t *w, const vt_finish8 *f)
{
    gemm8(16, m, k, a, lda, w, f);
}

void vt_gemm8_1x24_scalar(size_t m, size_t k, const uint8_t *a, size_t lda, const int8_t *w, const vt_finish8 *f)
{
    gemm8(24, m, k, a, lda, w, f);
}
