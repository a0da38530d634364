/* The way from sums of products of bytes to what is stored, eight channels at a time. */
#ifndef VT_FINISH8_AVX2_H
#define VT_FINISH8_AVX2_H

#include <immintrin.h>

#include "kernels.h"

#define VT_INLINE static inline __attribute__((always_inline))

/* act(sum * scale + residual) of channels from `channel` on. act is a constant, so that it is asked for once, not for each sum. */
VT_INLINE __m256 vt_value8_avx2(__m256i sum, const vt_finish8 *f, const vt_act act, const float *residual, size_t channel)
{
    __m256 y = _mm256_mul_ps(_mm256_cvtepi32_ps(sum), _mm256_load_ps(f->scale + channel));

    if (residual)
        y = _mm256_add_ps(y, _mm256_load_ps(residual));
    if (act == VT_ACT_PRELU)
        y = _mm256_max_ps(y, _mm256_mul_ps(y, _mm256_load_ps(f->slope + channel)));
    if (act == VT_ACT_CLIP)
        y = _mm256_min_ps(_mm256_max_ps(y, _mm256_set1_ps(f->lo)), _mm256_set1_ps(f->hi));
    return y;
}

VT_INLINE __m256i vt_bias8_avx2(const vt_finish8 *f, size_t channel)
{
    return _mm256_load_si256((const __m256i *)(const void *)(f->bias + channel));
}

/* Sixteen values, four or eight of each side in turn as packing takes them, plus zero. */
VT_INLINE __m256i vt_words_avx2(__m256 a, __m256 b, __m256i zero)
{
    return _mm256_adds_epi16(_mm256_packs_epi32(_mm256_cvtps_epi32(a), _mm256_cvtps_epi32(b)), zero);
}

#endif
