/* exp(v) = 2^n exp(r), n = round(v / ln 2), |r| <= ln 2 / 2, the rest by its Taylor series to the seventh power, whose error
 * is below that of a float. */
#include <string.h>

#include "epilogue_avx2.h"

static __m256 sigmoid(__m256 x)
{
    const __m256 one = _mm256_set1_ps(1), most = _mm256_set1_ps(87);
    /* -x within what 2^n can be; where x is NaN, so is v: the second operand is what min and max give then. */
    const __m256 v = _mm256_min_ps(most, _mm256_max_ps(_mm256_sub_ps(_mm256_setzero_ps(), most),
                                                       _mm256_sub_ps(_mm256_setzero_ps(), x)));
    const __m256 n = _mm256_round_ps(_mm256_mul_ps(v, _mm256_set1_ps(1.44269504f)),
                                     _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
    const __m256 r = _mm256_fnmadd_ps(n, _mm256_set1_ps(-2.12194440e-4f),
                                      _mm256_fnmadd_ps(n, _mm256_set1_ps(0.693359375f), v)); /* ln 2 in two parts */
    __m256 p = _mm256_set1_ps(1.f / 5040);

    p = _mm256_fmadd_ps(p, r, _mm256_set1_ps(1.f / 720));
    p = _mm256_fmadd_ps(p, r, _mm256_set1_ps(1.f / 120));
    p = _mm256_fmadd_ps(p, r, _mm256_set1_ps(1.f / 24));
    p = _mm256_fmadd_ps(p, r, _mm256_set1_ps(1.f / 6));
    p = _mm256_fmadd_ps(p, r, _mm256_set1_ps(0.5f));
    p = _mm256_fmadd_ps(p, r, one);
    p = _mm256_fmadd_ps(p, r, one);
    const __m256i power = _mm256_slli_epi32(_mm256_add_epi32(_mm256_cvtps_epi32(n), _mm256_set1_epi32(127)), 23);

    return _mm256_div_ps(one, _mm256_fmadd_ps(p, _mm256_castsi256_ps(power), one));
}

void vt_sigmoid_8_avx2(size_t n, const float *x, float *out)
{
    size_t i = 0;

    for (; n - i >= 8; i += 8)
        _mm256_storeu_ps(out + i, sigmoid(_mm256_loadu_ps(x + i)));
    if (i < n) {
        float rest[8] = {0};

        memcpy(rest, x + i, (n - i) * sizeof *rest);
        _mm256_storeu_ps(rest, sigmoid(_mm256_loadu_ps(rest)));
        memcpy(out + i, rest, (n - i) * sizeof *rest);
    }
}
