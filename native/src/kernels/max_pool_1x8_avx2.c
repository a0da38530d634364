#include "simd_avx2.h"

#include "max_pool_1x8.h"

void vt_max_pool_1x8_avx2(const vt_dw_row *r)
{
    vt_max_pool_1x8(r);
}
