#include "simd_neon.h"

#include "max_pool_1x8.h"

void vt_max_pool_1x8_neon(const vt_dw_row *r)
{
    vt_max_pool_1x8(r);
}
