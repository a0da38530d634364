#include "finish8_scalar.h"

void vt_quantize_1x8_scalar(size_t n, size_t cp, const float *x, size_t ldx, vt_quant q, uint8_t *out, size_t ldo)
{
    const float inverse = 1 / q.scale, lo = (float)-q.zero, hi = (float)(255 - q.zero);

    for (size_t i = 0; i < n; i++)
        for (size_t c = 0; c < cp; c++)
            out[i * ldo + c] = vt_byte(vt_bound(x[i * ldx + c] * inverse, lo, hi), q.zero);
}

void vt_dequantize_1x8_scalar(size_t n, size_t cp, const uint8_t *x, size_t ldx, vt_quant q, float *out, size_t ldo)
{
    for (size_t i = 0; i < n; i++)
        for (size_t c = 0; c < cp; c++)
            out[i * ldo + c] = (float)(x[i * ldx + c] - q.zero) * q.scale;
}
