/* A network as its file states it: nodes in the order of computation, each the one value that it computes.
 *
 * The loaders append nodes, which are checked and shaped as they come; vt_graph_fuse() then folds what can be folded
 * (batch norms into weights, activations and residuals into the node before), and plan.c turns what is left into layers.
 *
 * Limits, which bound memory and time before anything is taken (docs/engine.md): VT_MAX_*.
 */
#ifndef VT_GRAPH_H
#define VT_GRAPH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "error.h"

#define VT_MAX_NODES 4096
#define VT_MAX_SIDE 8192           /* of a map, pixels */
#define VT_MAX_CHANNELS (1u << 20) /* also of a flat vector */
#define VT_MAX_ELEMENTS (1u << 26) /* of one map */
#define VT_MAX_KERNEL 64           /* also of strides, dilations and paddings */
#define VT_MAX_OUTPUTS 64
#define VT_MAX_NAME 255            /* bytes of an output's name */

typedef enum vt_op {
    VT_OP_INPUT,   /* the chip */
    VT_OP_CONV,    /* weight [c_out][c_in / groups][kh][kw], bias */
    VT_OP_AFFINE,  /* scale and shift by channel: a batch norm, or arithmetic with a constant */
    VT_OP_ADD,     /* of two maps of one shape */
    VT_OP_ACT,     /* an activation alone */
    VT_OP_FLATTEN, /* c x h x w to a vector in that order */
    VT_OP_FC,      /* weight [n_out][n_in], bias */
    VT_OP_MAX_POOL,
    VT_OP_RESIZE,  /* every pixel g.sy x g.sx times */
    VT_OP_QUANT,   /* to bytes */
    VT_OP_DEQUANT, /* and back; only vt_graph_lower() makes it */
    VT_OP_ROWS,    /* the pixels of a map one after the other, cut into rows of another length */
    VT_OP_JOIN,    /* writes `in` into its place in a larger value, which in2, the part before it, wrote to as well */
    VT_OP_COLUMNS, /* some columns of rows */
    VT_OP_SOFTMAX, /* of each row */
} vt_op;

typedef enum vt_act {
    VT_ACT_NONE,
    VT_ACT_PRELU, /* x < 0 ? slope * x : x */
    VT_ACT_CLIP,  /* min(max(x, lo), hi); ReLU is lo = 0, hi = infinity */
    VT_ACT_SIGMOID, /* of nodes ACT and ROWS only: no kernel's epilogue has it */
    VT_ACT_EXP,     /* of nodes ACT only */
} vt_act;

typedef struct vt_shape {
    uint32_t c, h, w;
    bool flat; /* a vector of c numbers; h = w = 1 */
    bool rows; /* w rows of c numbers without anything between; h = 1 */
} vt_shape;

typedef struct vt_geometry {
    uint32_t kh, kw;
    uint32_t sy, sx;                     /* strides */
    uint32_t dy, dx;                     /* dilations */
    uint32_t top, left, bottom, right;   /* zero padding */
    uint32_t groups;
} vt_geometry;

/* Numbers as bytes: x is about (byte - zero) * scale. A scale of 0: they are floats. */
typedef struct vt_quant {
    float scale;
    uint8_t zero;
} vt_quant;

typedef struct vt_node {
    vt_op op;
    vt_shape shape;
    int in, in2;         /* nodes; -1 if there is none */
    int residual;        /* node added before the activation, -1 if none; set by fusion */
    bool folded;         /* computes nothing any more: its readers read `in` */
    vt_geometry g;       /* CONV, MAX_POOL, RESIZE */
    uint32_t first;      /* JOIN: channel where `in` goes; COLUMNS, ROWS: the first that is taken */
    uint32_t first_row;  /* JOIN of rows: likewise */
    float *weight;       /* CONV, FC */
    float *step;         /* CONV, FC: [c] or NULL: the weights of each output channel are whole steps, -128 to 127 of them */
    double *scale;       /* AFFINE: [vt_channels()] */
    double *shift;       /* AFFINE: likewise; bias of CONV and FC: [c]; double until it is packed */
    double *in_scale;    /* CONV: what is done to its input before it is padded, [c of it]; NULL: nothing. Set by fusion, */
    double *in_shift;    /* like winograd: by F(4x4, 3x3); only such a convolution has in_scale */
    bool winograd;
    vt_act act;
    float *slope;        /* PRELU: [c] */
    float lo, hi;        /* CLIP */
    vt_quant quant;      /* what the value is rounded to, after everything else */
    bool bytes;          /* CONV: computed from bytes; set by vt_graph_lower() */
} vt_node;

typedef struct vt_output {
    char *name; /* owned */
    int node;
} vt_output;

typedef struct vt_graph {
    vt_node *nodes;
    int count, capacity;
    vt_output outputs[VT_MAX_OUTPUTS];
    int n_outputs;
    /* Set before loading. An embedder has one output, a vector, and its input's size is in the file; other networks may
     * have several outputs of any shape, and are computed at height x width where the file leaves the size open. */
    bool network;
    uint32_t height, width;
    bool sized;          /* the file says the input's size */
    /* vultus_embed_chips() feeds (pixel - mean) / std; in_scale and in_shift are the graph's own first arithmetic. */
    double mean[3], std[3];
    double in_scale[3], in_shift[3];
    bool bgr;
    char format[8];
} vt_graph;

/* node 0 is the input of the shape; 3 channels. */
int vt_graph_init(vt_graph *graph, const char *format, uint32_t h, uint32_t w, uint64_t offset, vultus_error *error);
void vt_graph_free(vt_graph *graph);
void vt_node_free(vt_node *node); /* what it owns */

/* Each appends a node and stores its number in *out. `offset` is the byte of the file that errors name. Arrays are
 * copied where they are const; they hold as many numbers as the shapes say, which the caller has checked. */
int vt_graph_conv(vt_graph *graph, int in, uint32_t c_out, const vt_geometry *g, uint64_t offset, int *out,
                  vultus_error *error);
int vt_graph_fc(vt_graph *graph, int in, uint32_t n_out, uint64_t offset, int *out, vultus_error *error);
int vt_graph_affine(vt_graph *graph, int in, uint64_t offset, int *out, vultus_error *error);
int vt_graph_prelu(vt_graph *graph, int in, uint64_t offset, int *out, vultus_error *error);
int vt_graph_clip(vt_graph *graph, int in, float lo, float hi, uint64_t offset, int *out, vultus_error *error);
int vt_graph_add(vt_graph *graph, int a, int b, uint64_t offset, int *out, vultus_error *error);
int vt_graph_curve(vt_graph *graph, int in, vt_act act, uint64_t offset, int *out, vultus_error *error); /* SIGMOID, EXP */
int vt_graph_max_pool(vt_graph *graph, int in, const vt_geometry *g, uint64_t offset, int *out, vultus_error *error);
int vt_graph_resize(vt_graph *graph, int in, uint32_t times_y, uint32_t times_x, uint64_t offset, int *out,
                    vultus_error *error);
/* columns has to divide the numbers of the map. */
int vt_graph_rows(vt_graph *graph, int in, uint32_t columns, uint64_t offset, int *out, vultus_error *error);
/* n >= 1 values one behind the other: maps of one size by channel, rows after rows, or rows of one number by column. */
int vt_graph_join(vt_graph *graph, const int *parts, size_t n, bool rows, uint64_t offset, int *out, vultus_error *error);
int vt_graph_columns(vt_graph *graph, int in, uint32_t first, uint32_t count, uint64_t offset, int *out,
                     vultus_error *error);
int vt_graph_softmax(vt_graph *graph, int in, uint64_t offset, int *out, vultus_error *error);
int vt_graph_quant(vt_graph *graph, int in, vt_quant quant, uint64_t offset, int *out, vultus_error *error);
int vt_graph_flatten(vt_graph *graph, int in, uint64_t offset, int *out, vultus_error *error);

/* Declares a node as an output; the name is copied. */
int vt_graph_output(vt_graph *graph, const void *name, size_t size, int node, uint64_t offset, vultus_error *error);

/* How many numbers of a value have a constant of their own in arithmetic: channels, or all of the rows. */
uint32_t vt_channels(const vt_shape *shape);

/* The weights of a CONV or FC node: how many. */
size_t vt_weight_count(const vt_graph *graph, const vt_node *node);

/* Folds and fuses in place, and lowers. Afterwards every node that is not `folded` reads nodes that are not either. */
int vt_graph_fuse(vt_graph *graph, vultus_error *error);

/* The last step of it: decides which convolutions are computed from bytes, and puts a DEQUANT before whatever else reads a value
 * that is bytes, and a QUANT behind what cannot store them. Afterwards a node's value is bytes if and only if it has a
 * quant, and only DEQUANT and nodes with `bytes` read such a value. Nothing is folded any more. */
int vt_graph_lower(vt_graph *graph, vultus_error *error);

/* Output channel n of a convolution that reads bytes: its weights in steps, what is added to the sum of products, and what
 * that is multiplied with. False if that does not compute in 32 bits, or pairs of products not in 16 (kernels/bytes.h). */
bool vt_channel_bytes(const vt_graph *graph, const vt_node *node, uint32_t n, int8_t *weights, int32_t *bias, float *scale);

/* Makes narrow branches that read the same map one (merge.c). After fusion. */
int vt_graph_merge(vt_graph *graph, vultus_error *error);

#endif
