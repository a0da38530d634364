#include "simd_neon.h"

#include "dwkxk_1x32.h"

void vt_dwkxk_1x32_neon(const vt_dw_row *r)
{
    vt_dwkxk_1x32(r);
}
