/* After a simd_*.h. */
#ifndef VT_ELTWISE_1X8_H
#define VT_ELTWISE_1X8_H

#include "epilogue.h"

VT_INLINE void vt_eltwise_1x8(size_t n, size_t cp, const float *x, size_t ldx, const float *scale, float *out,
                              size_t ldo, const vt_epilogue *e)
{
    for (size_t i = 0; i < n; i++) {
        for (size_t c = 0; c < cp; c += 8) {
            const vt_f32x8 shift = vt_load(e->bias + c), v = vt_load(x + i * ldx + c);
            const vt_f32x8 sum = scale ? vt_fma(v, vt_load(scale + c), shift) : vt_add(v, shift);

            vt_store(out + i * ldo + c, vt_finish_x8(sum, e, i, c));
        }
    }
}

#endif
