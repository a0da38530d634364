#include <string.h>

#include "matrix_scalar.h"
#include "wino.h"

/* B^T d of one line of six, `step` apart. */
static void forward(const float *d, float *t, size_t step)
{
    const float e1 = d[4 * step] - 2 * d[2 * step], o1 = VT_WINO_A * (d[3 * step] - 2 * d[step]);
    const float e2 = d[4 * step] - 0.5f * d[2 * step], o2 = VT_WINO_B * (d[3 * step] - 0.5f * d[step]);

    t[0] = d[0] - 2.5f * d[2 * step] + d[4 * step];
    t[step] = e1 + o1;
    t[2 * step] = e1 - o1;
    t[3 * step] = e2 + o2;
    t[4 * step] = e2 - o2;
    t[5 * step] = d[step] - 2.5f * d[3 * step] + d[5 * step];
}

/* A^T m of one line of six, `step` apart, to four. */
static void backward(const float *m, float *y, size_t step)
{
    const float s1 = m[step] + m[2 * step], d1 = m[step] - m[2 * step];
    const float s2 = m[3 * step] + m[4 * step], d2 = m[3 * step] - m[4 * step];

    y[0] = m[0] + s1 + s2;
    y[step] = VT_WINO_A * d1 + VT_WINO_B * d2;
    y[2 * step] = 0.5f * s1 + 2 * s2;
    y[3 * step] = 0.5f * VT_WINO_A * d1 + 2 * VT_WINO_B * d2 + m[5 * step];
}

static float pixel(const vt_wino_in *in, size_t row, size_t column, size_t c)
{
    const float x = in->rows[row] && column < in->w ? in->rows[row][column * in->ld + c] : 0;

    return in->rows[row] && column < in->w && in->scale ? x * in->scale[c] + in->shift[c] : x;
}

void vt_wino_in_6x6_scalar(const vt_wino_in *in)
{
    for (size_t tile = 0; tile < in->tiles; tile++) {
        for (size_t c = 0; c < in->cp; c++) {
            float d[36], t[36];

            for (size_t i = 0; i < 36; i++)
                d[i] = pixel(in, i / 6, 4 * tile + i % 6 - in->left, c); /* wraps where left of the map */
            for (size_t y = 0; y < 6; y++)
                forward(d + 6 * y, t + 6 * y, 1);
            for (size_t x = 0; x < 6; x++)
                forward(t + x, d + x, 6);
            for (size_t i = 0; i < 36; i++)
                in->out[i * in->plane + tile * in->ldo + c] = d[i];
        }
    }
}

void vt_wino_out_4x4_scalar(const vt_wino_out *out)
{
    for (size_t tile = 0; tile < out->tiles; tile++) {
        for (size_t c = 0; c < out->cp; c++) {
            float m[36], t[36] = {0}, y[36];

            for (size_t i = 0; i < 36; i++)
                m[i] = out->in[i * out->plane + tile * out->ldi + c];
            for (size_t x = 0; x < 6; x++)
                backward(m + x, t + x, 6);
            for (size_t i = 0; i < out->rows; i++) {
                backward(t + 6 * i, y, 1);
                for (size_t x = 0; x < 4 && 4 * tile + x < out->w; x++) {
                    const size_t p = i * out->w + 4 * tile + x;

                    out->out[p * out->ldo + c] = vt_finish(y[x] + out->e.bias[c], &out->e, p, c);
                }
            }
        }
    }
}
