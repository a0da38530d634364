#include "matrix_scalar.h"

void vt_eltwise_1x8_scalar(size_t n, size_t cp, const float *x, size_t ldx, const float *scale, float *out, size_t ldo,
                           const vt_epilogue *e)
{
    for (size_t i = 0; i < n; i++)
        for (size_t c = 0; c < cp; c++)
            out[i * ldo + c] = vt_finish(x[i * ldx + c] * (scale ? scale[c] : 1) + e->bias[c], e, i, c);
}
