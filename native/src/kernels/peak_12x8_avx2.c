#include "simd_avx2.h"

#include "peak_12x8.h"

float vt_peak_12x8_avx2(size_t n, float x)
{
    return vt_peak_12x8(n, x);
}
