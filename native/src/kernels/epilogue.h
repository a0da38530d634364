/* The way from a sum to what is stored, eight channels at a time. After a simd_*.h. */
#ifndef VT_EPILOGUE_H
#define VT_EPILOGUE_H

#include <math.h>
#include <stdbool.h>

#include "kernels.h"

/* Eight channels from `channel` on of one pixel. Where the sum is NaN, so is the result. */
VT_INLINE vt_f32x8 vt_finish_x8(vt_f32x8 sum, const vt_epilogue *e, size_t pixel, size_t channel)
{
    if (e->residual)
        sum = vt_add(sum, vt_load(e->residual + pixel * e->ldr + channel));
    if (e->act == VT_ACT_PRELU) {
        const vt_f32x8 zero = vt_same(0);

        return vt_fma(vt_min(zero, sum), vt_load(e->slope + channel), vt_max(zero, sum));
    }
    if (e->act == VT_ACT_CLIP)
        return vt_min(vt_same(e->hi), vt_max(vt_same(e->lo), sum));
    return sum;
}

/* Most layers of some networks end in a ReLU or in nothing: both are bounds, and the choice is made for a tile, not for
 * every output of it. */
VT_INLINE bool vt_bounded(const vt_epilogue *e)
{
    return !e->residual && e->act != VT_ACT_PRELU;
}

VT_INLINE vt_f32x8 vt_low(const vt_epilogue *e)
{
    return vt_same(e->act == VT_ACT_CLIP ? e->lo : -INFINITY);
}

VT_INLINE vt_f32x8 vt_high(const vt_epilogue *e)
{
    return vt_same(e->act == VT_ACT_CLIP ? e->hi : INFINITY);
}

#endif
