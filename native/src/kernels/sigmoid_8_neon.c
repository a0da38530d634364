#include "simd_neon.h"

#include "sigmoid_8.h"

void vt_sigmoid_8_neon(size_t n, const float *x, float *out)
{
    vt_sigmoid_8(n, x, out);
}
