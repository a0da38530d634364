#include "simd_neon.h"

#include "exp.h"

void vt_sigmoid_8_neon(size_t n, const float *x, float *out)
{
    vt_curve(n, x, out, vt_sigmoid_x8);
}
