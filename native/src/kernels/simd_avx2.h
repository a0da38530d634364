/* Eight floats at a time, in one register of AVX2: what simd_neon.h has. */
#ifndef VT_SIMD_AVX2_H
#define VT_SIMD_AVX2_H

#include <immintrin.h>
#include <stdbool.h>

#define VT_INLINE static inline __attribute__((always_inline))

typedef __m256 vt_f32x8;

/* From any float's address. */
VT_INLINE vt_f32x8 vt_load(const float *from)
{
    return _mm256_loadu_ps(from);
}

VT_INLINE void vt_store(float *to, vt_f32x8 a)
{
    _mm256_storeu_ps(to, a);
}

VT_INLINE vt_f32x8 vt_same(float a)
{
    return _mm256_set1_ps(a);
}

VT_INLINE vt_f32x8 vt_add(vt_f32x8 a, vt_f32x8 b)
{
    return _mm256_add_ps(a, b);
}

VT_INLINE vt_f32x8 vt_sub(vt_f32x8 a, vt_f32x8 b)
{
    return _mm256_sub_ps(a, b);
}

VT_INLINE vt_f32x8 vt_mul(vt_f32x8 a, vt_f32x8 b)
{
    return _mm256_mul_ps(a, b);
}

VT_INLINE vt_f32x8 vt_div(vt_f32x8 a, vt_f32x8 b)
{
    return _mm256_div_ps(a, b);
}

/* a * b + c, rounded once. */
VT_INLINE vt_f32x8 vt_fma(vt_f32x8 a, vt_f32x8 b, vt_f32x8 c)
{
    return _mm256_fmadd_ps(a, b, c);
}

/* c - a * b, rounded once. */
VT_INLINE vt_f32x8 vt_fnma(vt_f32x8 a, vt_f32x8 b, vt_f32x8 c)
{
    return _mm256_fnmadd_ps(a, b, c);
}

/* Where b is NaN, so is the result of these two. */
VT_INLINE vt_f32x8 vt_min(vt_f32x8 a, vt_f32x8 b)
{
    return _mm256_min_ps(a, b);
}

VT_INLINE vt_f32x8 vt_max(vt_f32x8 a, vt_f32x8 b)
{
    return _mm256_max_ps(a, b);
}

/* All bits or none. */
VT_INLINE vt_f32x8 vt_mask(bool all)
{
    return _mm256_castsi256_ps(_mm256_set1_epi32(all ? -1 : 0));
}

VT_INLINE vt_f32x8 vt_and(vt_f32x8 a, vt_f32x8 b)
{
    return _mm256_and_ps(a, b);
}

/* To the nearest whole number. */
VT_INLINE vt_f32x8 vt_round(vt_f32x8 a)
{
    return _mm256_round_ps(a, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
}

/* 2^n of whole numbers from -126 to 127. */
VT_INLINE vt_f32x8 vt_power_of_two(vt_f32x8 n)
{
    return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_add_epi32(_mm256_cvtps_epi32(n), _mm256_set1_epi32(127)), 23));
}

#endif
