/* exp(v) = 2^n exp(r), n = round(v / ln 2), |r| <= ln 2 / 2, the rest by its Taylor series to the seventh power, whose error
 * is below that of a float. */
#ifndef VT_EXP_AVX2_H
#define VT_EXP_AVX2_H

#include <string.h>

#include "epilogue_avx2.h"

/* exp(r); *n is set for 2^n. Where v is NaN, so is the result. */
VT_INLINE __m256 vt_exp_rest_avx2(__m256 v, __m256 *n)
{
    const __m256 one = _mm256_set1_ps(1);
    __m256 p = _mm256_set1_ps(1.f / 5040), r;

    *n = _mm256_round_ps(_mm256_mul_ps(v, _mm256_set1_ps(1.44269504f)), _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
    r = _mm256_fnmadd_ps(*n, _mm256_set1_ps(-2.12194440e-4f),
                         _mm256_fnmadd_ps(*n, _mm256_set1_ps(0.693359375f), v)); /* ln 2 in two parts */
    p = _mm256_fmadd_ps(p, r, _mm256_set1_ps(1.f / 720));
    p = _mm256_fmadd_ps(p, r, _mm256_set1_ps(1.f / 120));
    p = _mm256_fmadd_ps(p, r, _mm256_set1_ps(1.f / 24));
    p = _mm256_fmadd_ps(p, r, _mm256_set1_ps(1.f / 6));
    p = _mm256_fmadd_ps(p, r, _mm256_set1_ps(0.5f));
    p = _mm256_fmadd_ps(p, r, one);
    return _mm256_fmadd_ps(p, r, one);
}

/* 2^n for whole n within -126..127. */
VT_INLINE __m256 vt_power_avx2(__m256i n)
{
    return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_add_epi32(n, _mm256_set1_epi32(127)), 23));
}

/* n numbers through f, which takes eight. */
VT_INLINE void vt_curve_avx2(size_t n, const float *x, float *out, __m256 (*f)(__m256 x))
{
    size_t i = 0;

    for (; n - i >= 8; i += 8)
        _mm256_storeu_ps(out + i, f(_mm256_loadu_ps(x + i)));
    if (i < n) {
        float rest[8] = {0};

        memcpy(rest, x + i, (n - i) * sizeof *rest);
        _mm256_storeu_ps(rest, f(_mm256_loadu_ps(rest)));
        memcpy(out + i, rest, (n - i) * sizeof *rest);
    }
}

#endif
