/* The way from a sum of products of bytes to what is stored, in plain C. */
#ifndef VT_FINISH8_SCALAR_H
#define VT_FINISH8_SCALAR_H

#include "kernels.h"

/* To the nearest integer, to even between two; exact below 2^22. */
static inline int vt_round(float x)
{
    return (int)((x + 0x1.8p23f) - 0x1.8p23f);
}

static inline float vt_bound(float x, float lo, float hi)
{
    x = x > lo ? x : lo; /* NaN becomes lo */
    return x < hi ? x : hi;
}

static inline void vt_store8(int32_t sum, const vt_finish8 *f, size_t pixel, size_t channel, size_t place)
{
    const float product = (float)sum * f->scale[channel];
    float y = product + f->bias[channel];

    if (f->residual)
        y += f->residual[pixel * f->ldr + place];
    if (f->act == VT_ACT_PRELU)
        y = y < 0 ? y * f->slope[channel] : y;
    if (f->bytes)
        f->bytes[pixel * f->ldo + place] = (uint8_t)(vt_round(vt_bound(y, f->lo, f->hi)) + f->zero);
    else
        f->floats[pixel * f->ldo + place] = f->act == VT_ACT_CLIP ? vt_bound(y, f->lo, f->hi) : y;
}

#endif
