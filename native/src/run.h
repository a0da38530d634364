/* Computing: a plan, a thread's memory, faces. */
#ifndef VT_RUN_H
#define VT_RUN_H

#include "plan.h"

/* A stop watch for profiles: seconds between its laps, added up by what ended with them. */
typedef struct vt_clock {
    double *seconds; /* [0] filling the input, [1 + i] layer i, [1 + layers] storing the output */
    double last;
} vt_clock;

/* What a thread needs to compute; one computation at a time. */
typedef struct vt_context {
    float *arena;
    uint32_t *done, *upto; /* rows, by layer */
    vt_clock *clock;       /* NULL unless this computation is a profile */
} vt_context;

/* Faces to be computed: exactly one of the sources is given. */
typedef struct vt_faces {
    const float *planes;   /* n x 3 x h x w */
    const uint8_t *pixels; /* n x h x w x 3, blue first */
    bool bgr;              /* the network wants blue first */
    bool raw;              /* do not scale the vectors to length 1 */
    float *vectors;        /* n x dim */
} vt_faces;

int vt_context_init(vt_context *context, const vt_plan *plan, vultus_error *error);
void vt_context_free(vt_context *context);

/* Faces first .. first + count, count <= plan->batch. zeros: plan->zero_floats zeros, shared. */
void vt_run(const vt_plan *plan, const vt_context *context, const float *zeros, const vt_faces *faces, size_t first,
            size_t count);

/* Image `index` of faces->planes or pixels, by a plan of one image at a time. outputs[i]: numbers of every image for the
 * plan's i-th output, or NULL where it is not wanted. */
void vt_run_network(const vt_plan *plan, const vt_context *context, const float *zeros, const vt_faces *faces,
                    float *const *outputs, size_t index);

/* Ends the lap of seconds[at] (profile.c). */
void vt_clock_lap(vt_clock *clock, size_t at);

/* One row of a map, or all of a value that was made rows (rows.c). */
void vt_join_row(const vt_layer *layer, const vt_map *in, const float *from, const vt_map *out, float *to);
void vt_take_columns(const vt_layer *layer, const vt_map *in, const float *from, const vt_map *out, float *to);
void vt_softmax_rows(const vt_kernels *kernels, const vt_map *map, const float *from, float *to);

/* A thread's part of what several compute together: its own context, and the arena that the maps are in. */
typedef struct vt_part {
    const vt_plan *plan; /* a crew's */
    const vt_context *own;
    float *arena;
    const float *zeros;
} vt_part;

/* A piece of a face: of its input, of a group, and the whole answer; outputs: NULL for vectors. */
void vt_run_fill(const vt_part *part, const vt_faces *faces, size_t face, uint32_t piece);
void vt_run_piece(const vt_part *part, const vt_group *group, uint32_t piece);
void vt_run_store(const vt_part *part, const vt_faces *faces, float *const *outputs, size_t face);

/* Rows from .. to of one face's chip into map 0 (input.c). */
void vt_fill_input(const vt_plan *plan, float *map, const vt_faces *faces, size_t face, size_t from, size_t to);

/* The vector of one face; a map as planes, or rows and vectors as they are (output.c). */
void vt_store_vector(const vt_plan *plan, const float *from, const vt_faces *faces, size_t face);
void vt_store_map(const vt_map *map, const float *from, float *to);

#endif
