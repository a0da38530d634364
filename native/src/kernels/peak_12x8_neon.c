#include "simd_neon.h"

#include "peak_12x8.h"

float vt_peak_12x8_neon(size_t n, float x)
{
    return vt_peak_12x8(n, x);
}
