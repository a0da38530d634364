#include "simd_neon.h"

#include "dw3x3_7x8.h"

void vt_dw3x3_7x8_neon(const vt_dw_row *r)
{
    vt_dw3x3_7x8(r);
}
