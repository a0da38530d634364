#include "simd_avx2.h"

#include "wino_in_6x6.h"

void vt_wino_in_6x6_avx2(const vt_wino_in *in)
{
    vt_wino_in_6x6(in);
}
