#include "epilogue_avx2.h"

void vt_eltwise_1x8_avx2(size_t n, size_t cp, const float *x, size_t ldx, const float *scale, float *out, size_t ldo,
                         const vt_epilogue *e)
{
    for (size_t i = 0; i < n; i++) {
        for (size_t c = 0; c < cp; c += 8) {
            const __m256 shift = _mm256_load_ps(e->bias + c), v = _mm256_load_ps(x + i * ldx + c);
            const __m256 sum = scale ? _mm256_fmadd_ps(v, _mm256_load_ps(scale + c), shift) : _mm256_add_ps(v, shift);

            _mm256_store_ps(out + i * ldo + c, vt_finish_avx2(sum, e, i, c));
        }
    }
}
