#include "finish8_avx2.h"

void vt_quantize_1x8_avx2(size_t n, size_t cp, const float *x, size_t ldx, vt_quant q, uint8_t *out, size_t ldo)
{
    const __m256 inverse = _mm256_set1_ps(1 / q.scale);
    const __m256 lo = _mm256_set1_ps((float)-q.zero), hi = _mm256_set1_ps((float)(255 - q.zero));
    const __m256i zero = _mm256_set1_epi16(q.zero);

    for (size_t i = 0; i < n; i++) {
        for (size_t c = 0; c < cp; c += 8) {
            const __m256 y = _mm256_mul_ps(_mm256_load_ps(x + i * ldx + c), inverse);
            const __m256 bounded = _mm256_min_ps(_mm256_max_ps(y, lo), hi);
            const __m256i words = _mm256_permute4x64_epi64(vt_words_avx2(bounded, bounded, zero), 0xd8);

            _mm_storel_epi64((__m128i *)(void *)(out + i * ldo + c),
                             _mm_packus_epi16(_mm256_castsi256_si128(words), _mm256_castsi256_si128(words)));
        }
    }
}

void vt_dequantize_1x8_avx2(size_t n, size_t cp, const uint8_t *x, size_t ldx, vt_quant q, float *out, size_t ldo)
{
    const __m256i zero = _mm256_set1_epi32(q.zero);
    const __m256 scale = _mm256_set1_ps(q.scale);

    for (size_t i = 0; i < n; i++)
        for (size_t c = 0; c < cp; c += 8) {
            const __m256i v = _mm256_cvtepu8_epi32(_mm_loadl_epi64((const __m128i *)(const void *)(x + i * ldx + c)));

            _mm256_store_ps(out + i * ldo + c, _mm256_mul_ps(_mm256_cvtepi32_ps(_mm256_sub_epi32(v, zero)), scale));
        }
}
