#include "simd_avx2.h"

#include "eltwise_1x8.h"

void vt_eltwise_1x8_avx2(size_t n, size_t cp, const float *x, size_t ldx, const float *scale, float *out, size_t ldo,
                         const vt_epilogue *e)
{
    vt_eltwise_1x8(n, cp, x, ldx, scale, out, ldo, e);
}
