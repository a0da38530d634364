#include "simd_avx2.h"

#include "exp.h"

void vt_sigmoid_8_avx2(size_t n, const float *x, float *out)
{
    vt_curve(n, x, out, vt_sigmoid_x8);
}
