/* The chip: from the caller's planes or pixels to the network's first map, normalised. */
#include <string.h>

#include "run.h"

/* Where channel c of pixel (y, x) lies in map 0: at c * plane + y * row + x * step. */
typedef struct layout {
    float *origin; /* of pixel (0, 0) */
    size_t plane, row, step;
} layout;

/* Beside rows from .. to; above and below too if they are the first and the last. */
static void clear_frame(const vt_plan *plan, float *map, size_t from, size_t to)
{
    const size_t w = plan->padded_w, h = plan->padded_h, inner = plan->maps[0].w;
    const size_t bottom = plan->pad_top + plan->maps[0].h, right = plan->pad_left + inner;

    for (size_t c = 0; c < 3; c++, map += h * w) {
        if (from == 0)
            memset(map, 0, plan->pad_top * w * sizeof *map);
        for (size_t y = plan->pad_top + from; y < plan->pad_top + to; y++) {
            memset(map + y * w, 0, plan->pad_left * sizeof *map);
            memset(map + y * w + right, 0, (w - right) * sizeof *map);
        }
        if (plan->pad_top + to == bottom)
            memset(map + bottom * w, 0, (h - bottom) * w * sizeof *map);
    }
}

static layout prepare(const vt_plan *plan, float *map, size_t from, size_t to)
{
    const vt_map *m = &plan->maps[0];

    if (plan->planar_input) {
        clear_frame(plan, map, from, to);
        return (layout){map + plan->pad_top * (size_t)plan->padded_w + plan->pad_left,
                        (size_t)plan->padded_h * plan->padded_w, plan->padded_w, 1};
    }
    memset(map + from * m->w * m->ld, 0, (to - from) * m->w * m->ld * sizeof *map); /* the padding channels */
    return (layout){map, 1, m->w * m->ld, m->ld};
}

static void fill_planes(const vt_plan *plan, const layout *to, const float *planes, size_t first, size_t end)
{
    const size_t h = plan->maps[0].h, w = plan->maps[0].w;

    for (size_t c = 0; c < 3; c++) {
        const float scale = (float)plan->in_scale[c], shift = (float)plan->in_shift[c];

        for (size_t y = first; y < end; y++) {
            const float *from = planes + (c * h + y) * w;
            float *row = to->origin + c * to->plane + y * to->row;

            for (size_t x = 0; x < w; x++)
                row[x * to->step] = from[x] * scale + shift;
        }
    }
}

/* Rows first .. end; blue is the first of a pixel's bytes, and the network's first channel if it wants that. */
static void fill_pixels(const vt_plan *plan, const layout *to, const uint8_t *pixels, bool bgr, size_t first, size_t end)
{
    const size_t w = plan->maps[0].w;
    float scale[3], shift[3];

    for (size_t i = 0; i < 3; i++) {
        const size_t c = bgr ? i : 2 - i;

        scale[i] = plan->pixel_scale[c];
        shift[i] = plan->pixel_shift[c];
    }
    for (size_t y = first; y < end; y++) {
        const uint8_t *from = pixels + y * w * 3;
        float *row = to->origin + y * to->row;

        if (to->step == 1) {
            float *const planes[3] = {row + (bgr ? 0 : 2) * to->plane, row + to->plane, row + (bgr ? 2 : 0) * to->plane};

            plan->kernels.planes(w, from, planes, scale, shift);
            continue;
        }
        for (size_t i = 0; i < 3; i++)
            for (size_t x = 0; x < w; x++)
                row[(bgr ? i : 2 - i) * to->plane + x * to->step] = (float)from[3 * x + i] * scale[i] + shift[i];
    }
}

void vt_fill_input(const vt_plan *plan, float *map, const vt_faces *faces, size_t face, size_t from, size_t to)
{
    const layout places = prepare(plan, map, from, to);
    const size_t numbers = (size_t)3 * plan->maps[0].h * plan->maps[0].w;

    if (faces->planes)
        fill_planes(plan, &places, faces->planes + face * numbers, from, to);
    else
        fill_pixels(plan, &places, faces->pixels + face * numbers, faces->bgr, from, to);
}
