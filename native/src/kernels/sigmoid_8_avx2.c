#include "exp_avx2.h"

VT_INLINE __m256 sigmoid(__m256 x)
{
    const __m256 one = _mm256_set1_ps(1), most = _mm256_set1_ps(87);
    /* -x within what 2^n can be; where x is NaN, so is v: the second operand is what min and max give then. */
    const __m256 v = _mm256_min_ps(most, _mm256_max_ps(_mm256_sub_ps(_mm256_setzero_ps(), most),
                                                       _mm256_sub_ps(_mm256_setzero_ps(), x)));
    __m256 n;
    const __m256 p = vt_exp_rest_avx2(v, &n);

    return _mm256_div_ps(one, _mm256_fmadd_ps(p, vt_power_avx2(_mm256_cvtps_epi32(n)), one));
}

void vt_sigmoid_8_avx2(size_t n, const float *x, float *out)
{
    vt_curve_avx2(n, x, out, sigmoid);
}
