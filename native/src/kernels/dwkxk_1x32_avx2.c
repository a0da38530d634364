#include "simd_avx2.h"

#include "dwkxk_1x32.h"

void vt_dwkxk_1x32_avx2(const vt_dw_row *r)
{
    vt_dwkxk_1x32(r);
}
