#include "simd_neon.h"

#include "wino_out_4x4.h"

void vt_wino_out_4x4_neon(const vt_wino_out *out)
{
    vt_wino_out_4x4(out);
}
