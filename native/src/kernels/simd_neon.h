/* Eight floats at a time, on AArch64: two registers of four. simd_*.h of each instruction set have the same functions
 * for the kernels that are written once for all (dw3x3_7x8.h and so on); a file includes one of them, first. */
#ifndef VT_SIMD_NEON_H
#define VT_SIMD_NEON_H

#include <arm_neon.h>
#include <stdbool.h>

#define VT_INLINE static inline __attribute__((always_inline))

/* Not float32x4x2_t, which compilers keep in neighbouring registers. */
typedef struct vt_f32x8 {
    float32x4_t low, high;
} vt_f32x8;

/* From any float's address. */
VT_INLINE vt_f32x8 vt_load(const float *from)
{
    return (vt_f32x8){vld1q_f32(from), vld1q_f32(from + 4)};
}

VT_INLINE void vt_store(float *to, vt_f32x8 a)
{
    vst1q_f32(to, a.low);
    vst1q_f32(to + 4, a.high);
}

VT_INLINE vt_f32x8 vt_same(float a)
{
    return (vt_f32x8){vdupq_n_f32(a), vdupq_n_f32(a)};
}

VT_INLINE vt_f32x8 vt_add(vt_f32x8 a, vt_f32x8 b)
{
    return (vt_f32x8){vaddq_f32(a.low, b.low), vaddq_f32(a.high, b.high)};
}

VT_INLINE vt_f32x8 vt_sub(vt_f32x8 a, vt_f32x8 b)
{
    return (vt_f32x8){vsubq_f32(a.low, b.low), vsubq_f32(a.high, b.high)};
}

VT_INLINE vt_f32x8 vt_mul(vt_f32x8 a, vt_f32x8 b)
{
    return (vt_f32x8){vmulq_f32(a.low, b.low), vmulq_f32(a.high, b.high)};
}

VT_INLINE vt_f32x8 vt_div(vt_f32x8 a, vt_f32x8 b)
{
    return (vt_f32x8){vdivq_f32(a.low, b.low), vdivq_f32(a.high, b.high)};
}

/* a * b + c, rounded once. */
VT_INLINE vt_f32x8 vt_fma(vt_f32x8 a, vt_f32x8 b, vt_f32x8 c)
{
    return (vt_f32x8){vfmaq_f32(c.low, a.low, b.low), vfmaq_f32(c.high, a.high, b.high)};
}

/* c - a * b, rounded once. */
VT_INLINE vt_f32x8 vt_fnma(vt_f32x8 a, vt_f32x8 b, vt_f32x8 c)
{
    return (vt_f32x8){vfmsq_f32(c.low, a.low, b.low), vfmsq_f32(c.high, a.high, b.high)};
}

/* Where b is NaN, so is the result of these two. */
VT_INLINE vt_f32x8 vt_min(vt_f32x8 a, vt_f32x8 b)
{
    return (vt_f32x8){vminq_f32(a.low, b.low), vminq_f32(a.high, b.high)};
}

VT_INLINE vt_f32x8 vt_max(vt_f32x8 a, vt_f32x8 b)
{
    return (vt_f32x8){vmaxq_f32(a.low, b.low), vmaxq_f32(a.high, b.high)};
}

/* All bits or none. */
VT_INLINE vt_f32x8 vt_mask(bool all)
{
    const float32x4_t bits = vreinterpretq_f32_u32(vdupq_n_u32(all ? UINT32_MAX : 0));

    return (vt_f32x8){bits, bits};
}

VT_INLINE float32x4_t vt_and_x4(float32x4_t a, float32x4_t b)
{
    return vreinterpretq_f32_u32(vandq_u32(vreinterpretq_u32_f32(a), vreinterpretq_u32_f32(b)));
}

VT_INLINE vt_f32x8 vt_and(vt_f32x8 a, vt_f32x8 b)
{
    return (vt_f32x8){vt_and_x4(a.low, b.low), vt_and_x4(a.high, b.high)};
}

/* To the nearest whole number. */
VT_INLINE vt_f32x8 vt_round(vt_f32x8 a)
{
    return (vt_f32x8){vrndnq_f32(a.low), vrndnq_f32(a.high)};
}

VT_INLINE float32x4_t vt_power_of_two_x4(float32x4_t n)
{
    return vreinterpretq_f32_s32(vshlq_n_s32(vaddq_s32(vcvtq_s32_f32(n), vdupq_n_s32(127)), 23));
}

/* 2^n of whole numbers from -126 to 127. */
VT_INLINE vt_f32x8 vt_power_of_two(vt_f32x8 n)
{
    return (vt_f32x8){vt_power_of_two_x4(n.low), vt_power_of_two_x4(n.high)};
}

#endif
