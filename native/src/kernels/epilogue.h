/* The way from a sum to what is stored, eight channels at a time. After a simd_*.h. */
#ifndef VT_EPILOGUE_H
#define VT_EPILOGUE_H

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

/* The same channels of n pixels from `pixel` on, stored to out, ldo floats apart; the sums stand `apart` registers apart. What
 * the epilogue is, is asked once, not for each of them: where another thread runs on the same core, instructions are what
 * there is too little of. n and apart are constants. */
VT_INLINE void vt_finish_pixels(const size_t n, const vt_f32x8 *sums, const size_t apart, const vt_epilogue *e, float *out,
                                size_t ldo, size_t pixel, size_t channel)
{
    if (e->residual && e->act == VT_ACT_NONE) {
        VT_UNROLL
        for (size_t i = 0; i < n; i++)
            vt_store(out + i * ldo, vt_add(sums[i * apart], vt_load(e->residual + (pixel + i) * e->ldr + channel)));
    } else if (e->residual) {
        VT_UNROLL
        for (size_t i = 0; i < n; i++)
            vt_store(out + i * ldo, vt_finish_x8(sums[i * apart], e, pixel + i, channel));
    } else if (e->act == VT_ACT_PRELU) {
        const vt_f32x8 zero = vt_same(0), slope = vt_load(e->slope + channel);

        VT_UNROLL
        for (size_t i = 0; i < n; i++)
            vt_store(out + i * ldo, vt_fma(vt_min(zero, sums[i * apart]), slope, vt_max(zero, sums[i * apart])));
    } else if (e->act == VT_ACT_CLIP) {
        const vt_f32x8 lo = vt_same(e->lo), hi = vt_same(e->hi);

        VT_UNROLL
        for (size_t i = 0; i < n; i++)
            vt_store(out + i * ldo, vt_min(hi, vt_max(lo, sums[i * apart])));
    } else {
        VT_UNROLL
        for (size_t i = 0; i < n; i++)
            vt_store(out + i * ldo, sums[i * apart]);
    }
}

#endif
