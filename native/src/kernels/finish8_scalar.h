/* The way from a sum of products of bytes to what is stored, in plain C. */
#ifndef VT_FINISH8_SCALAR_H
#define VT_FINISH8_SCALAR_H

#include "kernels.h"

/* The nearest integer, the even one between two, plus zero, within a byte. |x| is below 2^31; what is not exact from
 * 2^22 on is beyond a byte. */
static inline uint8_t vt_byte(float x, int zero)
{
    const int rounded = (int)((x + 0x1.8p23f) - 0x1.8p23f) + zero;

    return (uint8_t)(rounded < 0 ? 0 : rounded > 255 ? 255 : rounded);
}

static inline float vt_bound(float x, float lo, float hi)
{
    x = x > lo ? x : lo; /* NaN becomes lo */
    return x < hi ? x : hi;
}

static inline void vt_store8(int32_t sum, const vt_finish8 *f, size_t pixel, size_t channel, size_t place)
{
    float y = (float)(sum + f->bias[channel]) * f->scale[channel];

    if (f->residual)
        y += f->residual[pixel * f->ldr + place];
    if (f->act == VT_ACT_PRELU)
        y = y < 0 ? y * f->slope[channel] : y;
    if (f->act == VT_ACT_CLIP)
        y = vt_bound(y, f->lo, f->hi);
    if (f->bytes)
        f->bytes[pixel * f->ldo + place] = vt_byte(y, f->zero);
    else
        f->floats[pixel * f->ldo + place] = y;
}

#endif
