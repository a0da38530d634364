#include "simd_avx2.h"

#include "wino_out_4x4.h"

void vt_wino_out_4x4_avx2(const vt_wino_out *out)
{
    vt_wino_out_4x4(out);
}
