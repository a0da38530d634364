/* Computing a layer (run.c), between those who say which rows of it (face.c) and its kernels. */
#ifndef VT_STEP_H
#define VT_STEP_H

#include "run.h"

/* One call of a layer: which rows, in whose memory. */
typedef struct step {
    const vt_plan *plan;
    const vt_layer *layer;
    float *arena;  /* of the maps */
    float *own;    /* the thread's, of rings and scratch: the same arena unless several threads compute a face */
    const float *zeros;
    size_t column, columns; /* of a matrix product's output: from, to */
    size_t slot; /* of maps that keep several faces */
    vt_clock *clock;
} step;

static inline float *row_of(const step *s, int map, size_t row)
{
    const vt_map *m = &s->plan->maps[map];

    return (m->own ? s->own : s->arena) + m->offset + (m->slots > 1 ? s->slot * m->slot_stride : 0) +
           row % m->rows * m->w * m->ld;
}

/* Rows from `row` on, at most `most`, that stand one after the other. */
static inline size_t run_length(const step *s, int map, size_t row, size_t most)
{
    const vt_map *m = &s->plan->maps[map];
    const size_t length = m->rows - row % m->rows;

    return length < most ? length : most;
}

/* Rows row .. end of the layer's output, in the step's columns if it is a matrix product. */
void vt_run_rows(const step *s, size_t row, size_t end);

/* Pixels from .. to of a pointwise convolution, whose maps are there whole. */
void vt_run_pixels(const step *s, size_t from, size_t to);

/* Rows row .. end of a convolution by Winograd, of several faces. Slots from s->slot on. */
void vt_run_winograd(const step *s, size_t row, size_t end, size_t faces);

/* A layer of 1x1 maps: the faces of a batch are the pixels. Slots from s->slot on. */
void vt_run_faces(const step *s, size_t faces);

/* Rows from `row` on, at most `most`, of a layer that reads or writes bytes; how many were done (run_bytes.c). */
size_t vt_run_bytes(const step *s, size_t row, size_t most);

#endif
