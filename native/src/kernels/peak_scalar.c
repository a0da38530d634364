#include "kernels.h"

/* Eight vectors of whatever width the base flags give; the multiply-add is two instructions where there is none. */
float vt_peak_8x8_scalar(size_t n, float x)
{
    float sums[8][8], total = 0;

    for (size_t i = 0; i < 8; i++)
        for (size_t c = 0; c < 8; c++)
            sums[i][c] = (float)(i + c);
    while (n--) {
        VT_UNROLL
        for (size_t i = 0; i < 8; i++)
            for (size_t c = 0; c < 8; c++)
                sums[i][c] = sums[i][c] * x + 1;
    }
    for (size_t i = 0; i < 8; i++)
        for (size_t c = 0; c < 8; c++)
            total += sums[i][c];
    return total;
}
