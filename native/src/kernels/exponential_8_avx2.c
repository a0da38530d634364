#include "exp_avx2.h"

/* 2^n as a product of two, so that the ends of what a float can be are reached, and infinity and 0 beyond them. */
VT_INLINE __m256 exponential(__m256 x)
{
    const __m256 v = _mm256_min_ps(_mm256_set1_ps(90), _mm256_max_ps(_mm256_set1_ps(-105), x));
    __m256 n;
    const __m256 p = vt_exp_rest_avx2(v, &n);
    const __m256i whole = _mm256_cvtps_epi32(n), half = _mm256_srai_epi32(whole, 1);

    return _mm256_mul_ps(_mm256_mul_ps(p, vt_power_avx2(half)), vt_power_avx2(_mm256_sub_epi32(whole, half)));
}

void vt_exponential_8_avx2(size_t n, const float *x, float *out)
{
    vt_curve_avx2(n, x, out, exponential);
}
