#include "simd_avx2.h"

#include "exp.h"

void vt_exponential_8_avx2(size_t n, const float *x, float *out)
{
    vt_curve(n, x, out, vt_exponential_x8);
}
