#include "simd_avx2.h"

#include "dw3x3_7x8.h"

void vt_dw3x3_7x8_avx2(const vt_dw_row *r)
{
    vt_dw3x3_7x8(r);
}
