/* Answers: from the last maps to the caller's arrays. */
#include <math.h>
#include <string.h>

#include "run.h"

void vt_store_vector(const vt_plan *plan, const float *from, const vt_faces *faces, size_t face)
{
    const size_t dim = plan->maps[plan->output].c;
    float *to = faces->vectors + face * dim;
    double sum = 0, factor = 1;

    for (size_t i = 0; i < dim; i++)
        sum += (double)from[i] * (double)from[i];
    if (!faces->raw && sum > 0)
        factor = 1 / sqrt(sum);
    for (size_t i = 0; i < dim; i++)
        to[i] = (float)(from[i] * factor);
}

void vt_store_map(const vt_map *m, const float *from, float *to)
{
    if (m->compact) {
        memcpy(to, from, (size_t)m->w * m->c * sizeof *to);
        return;
    }
    for (size_t c = 0; c < m->c; c++)
        for (size_t y = 0; y < m->h; y++) {
            const float *row = from + y * m->w * m->ld + c;

            for (size_t x = 0; x < m->w; x++)
                *to++ = row[x * m->ld];
        }
}
