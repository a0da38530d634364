#include "simd_neon.h"

#include "exp.h"

void vt_exponential_8_neon(size_t n, const float *x, float *out)
{
    vt_curve(n, x, out, vt_exponential_x8);
}
