/* The way from sums of products of bytes to what is stored, eight channels at a time. */
#ifndef VT_FINISH8_AVX2_H
#define VT_FINISH8_AVX2_H

#include <immintrin.h>

#include "kernels.h"

#define VT_INLINE static inline __attribute__((always_inline))

/* act(sum * scale + bias + residual) of channels from `channel` on; bounded where it becomes a byte. A product and a sum
 * instead of one multiply-add, to round as plain C does. */
VT_INLINE __m256 vt_value8_avx2(__m256i sum, const vt_finish8 *f, const float *residual, size_t channel, const bool bounded)
{
    __m256 y = _mm256_add_ps(_mm256_mul_ps(_mm256_cvtepi32_ps(sum), _mm256_load_ps(f->scale + channel)),
                             _mm256_load_ps(f->bias + channel));

    if (residual)
        y = _mm256_add_ps(y, _mm256_load_ps(residual));
    if (f->act == VT_ACT_PRELU) {
        const __m256 zero = _mm256_setzero_ps();

        y = _mm256_add_ps(_mm256_mul_ps(_mm256_min_ps(zero, y), _mm256_load_ps(f->slope + channel)), _mm256_max_ps(zero, y));
    }
    if (bounded || f->act == VT_ACT_CLIP)
        y = _mm256_min_ps(_mm256_max_ps(y, _mm256_set1_ps(f->lo)), _mm256_set1_ps(f->hi));
    return y;
}

/* Sixteen values, four or eight of each side in turn as packing takes them, plus zero. */
VT_INLINE __m256i vt_words_avx2(__m256 a, __m256 b, __m256i zero)
{
    return _mm256_add_epi16(_mm256_packs_epi32(_mm256_cvtps_epi32(a), _mm256_cvtps_epi32(b)), zero);
}

#endif
