/* Shared by the AVX2 kernels: the way from a sum to what is stored. */
#ifndef VT_EPILOGUE_AVX2_H
#define VT_EPILOGUE_AVX2_H

#include <immintrin.h>
#include <math.h>
#include <stdbool.h>

#include "kernels.h"

#define VT_INLINE static inline __attribute__((always_inline))

/* Eight channels from `channel` on of one pixel. Where the sum is NaN, so is the result. */
VT_INLINE __m256 vt_finish_avx2(__m256 sum, const vt_epilogue *e, size_t pixel, size_t channel)
{
    if (e->residual)
        sum = _mm256_add_ps(sum, _mm256_load_ps(e->residual + pixel * e->ldr + channel));
    if (e->act == VT_ACT_PRELU) {
        const __m256 zero = _mm256_setzero_ps(), slope = _mm256_load_ps(e->slope + channel);

        return _mm256_fmadd_ps(_mm256_min_ps(zero, sum), slope, _mm256_max_ps(zero, sum));
    }
    if (e->act == VT_ACT_CLIP)
        return _mm256_min_ps(_mm256_set1_ps(e->hi), _mm256_max_ps(_mm256_set1_ps(e->lo), sum));
    return sum;
}

/* Most layers of some networks end in a ReLU or in nothing: both are bounds, and the choice is made for a tile, not for
 * every output of it. */
VT_INLINE bool vt_bounded(const vt_epilogue *e)
{
    return !e->residual && e->act != VT_ACT_PRELU;
}

VT_INLINE __m256 vt_low_avx2(const vt_epilogue *e)
{
    return _mm256_set1_ps(e->act == VT_ACT_CLIP ? e->lo : -INFINITY);
}

VT_INLINE __m256 vt_high_avx2(const vt_epilogue *e)
{
    return _mm256_set1_ps(e->act == VT_ACT_CLIP ? e->hi : INFINITY);
}

#endif
