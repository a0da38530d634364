#include <math.h>

#include "kernels.h"

void vt_exponential_scalar(size_t n, const float *x, float *out)
{
    for (size_t i = 0; i < n; i++)
        out[i] = expf(x[i]);
}
