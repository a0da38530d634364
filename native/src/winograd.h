/* 3x3 convolutions by Winograd's F(4x4, 3x3): tiles of 6x6 pixels, 4 apart, are transformed, multiplied with transformed
 * weights, each of the 36 places being a matrix product over tiles and channels, and transformed back to 4x4 pixels: a
 * quarter of the multiplications for four times the weights. The result differs from direct summation by a few
 * roundings more (tests/native/test_resnet.py holds it to account). */
#ifndef VT_WINOGRAD_H
#define VT_WINOGRAD_H

#include "plan.h"

#define VT_MAX_WINOGRAD ((uint64_t)832 << 20) /* bytes of weights; what comes after is computed directly */

/* Whether a convolution of the map can be computed so, and is worth it. */
bool vt_winograd_pays(const vt_node *conv, const vt_shape *in);

/* Floats of the packed weights; they are [36][columns in panels][channels of the input, up to 8][nr]. */
uint64_t vt_winograd_weights(uint32_t c_in, uint32_t c_out);
void vt_winograd_pack(float *out, const float *weight, uint32_t c_in, uint32_t c_out);

/* Floats that a computation needs beside the maps. */
size_t vt_winograd_scratch(const vt_map *in, const vt_map *out);

/* The maps of several faces, so many floats from face to face. */
typedef struct vt_winograd_faces {
    size_t count;
    const float *in; /* row 0 of a map that is there whole */
    float *out;      /* channel 0 of the first row that is computed, like e; one row after the other */
    vt_epilogue e;
    size_t in_stride, out_stride, residual_stride;
    size_t column, columns; /* channels of the output: from, to */
} vt_winograd_faces;

/* Rows row to end of those channels, whose tiles begin at `row`: ranges that begin at multiples of four give the same
 * numbers as the whole. zeros: as many as the output has channels. */
void vt_winograd_run(const vt_plan *plan, const vt_layer *layer, const vt_winograd_faces *faces, const float *zeros,
                     float *scratch, size_t row, size_t end);

#endif
