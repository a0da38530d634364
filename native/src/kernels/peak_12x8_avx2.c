#include "epilogue_avx2.h"

/* Twelve sums hide the latency of any processor that has AVX2: four or five cycles, two multiply-adds a cycle. */
float vt_peak_12x8_avx2(size_t n, float x)
{
    const __m256 factor = _mm256_set1_ps(x), one = _mm256_set1_ps(1);
    __m256 sums[12];
    float lanes[8], total = 0;

    VT_UNROLL
    for (size_t i = 0; i < 12; i++)
        sums[i] = _mm256_set1_ps((float)i);
    VT_KEEP_LOOP
    while (n--) {
        VT_UNROLL
        for (size_t i = 0; i < 12; i++)
            sums[i] = _mm256_fmadd_ps(sums[i], factor, one);
    }
    for (size_t i = 0; i < 12; i++) {
        _mm256_storeu_ps(lanes, sums[i]);
        for (size_t c = 0; c < 8; c++)
            total += lanes[c];
    }
    return total;
}
