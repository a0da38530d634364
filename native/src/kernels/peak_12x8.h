/* Twelve sums hide the latency of multiply-adds: four or five cycles, two a cycle with AVX2, up to four of half the width
 * with NEON. After a simd_*.h. */
#ifndef VT_PEAK_12X8_H
#define VT_PEAK_12X8_H

#include "kernels.h"

VT_INLINE float vt_peak_12x8(size_t n, float x)
{
    const vt_f32x8 factor = vt_same(x), one = vt_same(1);
    vt_f32x8 sums[12];
    float lanes[8], total = 0;

    VT_UNROLL
    for (size_t i = 0; i < 12; i++)
        sums[i] = vt_same((float)i);
    VT_KEEP_LOOP
    while (n--) {
        VT_UNROLL
        for (size_t i = 0; i < 12; i++)
            sums[i] = vt_fma(sums[i], factor, one);
    }
    for (size_t i = 0; i < 12; i++) {
        vt_store(lanes, sums[i]);
        for (size_t c = 0; c < 8; c++)
            total += lanes[c];
    }
    return total;
}

#endif
