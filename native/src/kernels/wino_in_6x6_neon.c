#include "simd_neon.h"

#include "wino_in_6x6.h"

void vt_wino_in_6x6_neon(const vt_wino_in *in)
{
    vt_wino_in_6x6(in);
}
