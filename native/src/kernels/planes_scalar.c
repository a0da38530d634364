#include "kernels.h"

void vt_planes_scalar(size_t n, const uint8_t *pixels, float *const *planes, const float *scale, const float *shift)
{
    for (size_t i = 0; i < n; i++)
        for (size_t c = 0; c < 3; c++)
            planes[c][i] = (float)pixels[3 * i + c] * scale[c] + shift[c];
}
