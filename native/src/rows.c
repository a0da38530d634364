/* What detectors do to the rows that they make of maps: put together, take columns, softmax. All of it together is a few
 * numbers for each place of the picture, and none of it is worth a kernel but the exponentials. */
#include <string.h>

#include "run.h"

/* A map's padding channels are written with its last part, whose kernels made zeros of its own. */
void vt_join_row(const vt_layer *layer, const vt_map *in, const float *from, const vt_map *out, float *to)
{
    const size_t padding = layer->first + in->c == out->c ? out->cp - out->c : 0;

    to += layer->first_row * out->ld + layer->first;
    if (in->ld == out->ld && in->compact) {
        memcpy(to, from, (size_t)in->w * in->c * sizeof *to);
        return;
    }
    for (size_t x = 0; x < in->w; x++, from += in->ld, to += out->ld) {
        memcpy(to, from, in->c * sizeof *to);
        memset(to + in->c, 0, padding * sizeof *to);
    }
}

void vt_take_columns(const vt_layer *layer, const vt_map *in, const float *from, const vt_map *out, float *to)
{
    from += layer->first;
    for (size_t x = 0; x < out->w; x++, from += in->ld, to += out->ld)
        for (size_t c = 0; c < out->c; c++)
            to[c] = from[c];
}

/* exp(x - most) / sum, the largest number of each row being most, so that nothing overflows. Rows that hold a NaN become
 * NaN. */
void vt_softmax_rows(const vt_kernels *kernels, const vt_map *map, const float *from, float *to)
{
    const size_t rows = map->w, columns = map->c;

    for (size_t r = 0; r < rows; r++) {
        const float *x = from + r * columns;
        float most = x[0];

        for (size_t c = 1; c < columns; c++)
            most = x[c] > most ? x[c] : most;
        for (size_t c = 0; c < columns; c++)
            to[r * columns + c] = x[c] - most;
    }
    kernels->exponential(rows * columns, to, to);
    for (size_t r = 0; r < rows; r++, to += columns) {
        float sum = 0;

        for (size_t c = 0; c < columns; c++)
            sum += to[c];
        for (size_t c = 0; c < columns; c++)
            to[c] /= sum;
    }
}
