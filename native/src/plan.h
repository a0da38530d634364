/* Everything about a network that is decided once: layers with packed weights and chosen kernels, where each map lies
 * in a thread's arena, and which layers are computed together in bands of rows.
 *
 * A plan is not written to after vt_plan_build(); all threads share it. */
#ifndef VT_PLAN_H
#define VT_PLAN_H

#include <stdatomic.h>

#include "graph.h"
#include "kernels/kernels.h"
#include "pool.h"

#define VT_ALIGN 64                            /* bytes; of every array and map */
#ifndef VT_MAX_PACKED                          /* fuzzers want less */
#define VT_MAX_PACKED ((uint64_t)1 << 30)      /* bytes of weights of one layer, and of all */
#define VT_MAX_ARENA ((uint64_t)1 << 30)       /* bytes for each thread */
#endif
#define VT_K_BLOCK 256                         /* depth of a matrix product between stores of its sums: 16 KB of a panel */
#define VT_DENSE_PIXELS 48                     /* that share a reading of a dense convolution's weights, */
#define VT_DENSE_FLOATS ((size_t)256 << 10)    /* as far as the cache holds what is under its kernel there */
#define VT_BLOCK8 32                           /* channels of a pixel of bytes are a multiple of this */
#define VT_NO_MAP (-1)
#define VT_GROUP_MAX 16                        /* layers that are computed together; bounds the time that planning takes */
#define VT_PIECES_MAX 32                       /* of a face that several threads compute */

/* A value of the network in a thread's arena. Row r is at offset + (r % rows) * w * ld, its pixels ld floats apart. */
typedef struct vt_map {
    uint32_t c, h, w;
    size_t cp;          /* channels that are computed: c up to a multiple of 8 */
    size_t ld;          /* floats from pixel to pixel */
    uint32_t rows;      /* kept at a time; h, or fewer if the map is a ring within a group */
    uint32_t slots;     /* copies, one for each face of a batch; more than 1 if the batched tail reads the map */
    size_t slot_stride; /* floats from copy to copy */
    size_t offset;      /* floats from the arena's start */
    vt_quant quant;     /* numbers are bytes if it has a scale, and ld counts those: a multiple of 32 */
    int producer;       /* layer; -1: the input */
    int last_reader;    /* layer */
    int readers;
    bool tight;         /* ld = cp, because a fully connected layer reads the whole map as one row */
    bool flat, compact; /* a vector; rows: cp = ld = c, whatever c is */
    bool whole;         /* several layers write parts of it */
    bool own;           /* of several threads on one face each has its own: a ring */
} vt_map;

typedef enum vt_kind {
    VT_KIND_PLANAR,    /* convolution of the padded planes of the chip */
    VT_KIND_POINTWISE, /* 1x1, any stride: a matrix product over the pixels */
    VT_KIND_FC,        /* a matrix product over the faces of a batch */
    VT_KIND_DENSE,     /* any convolution in one group: pixels gathered, then a matrix product */
    VT_KIND_WINOGRAD,  /* a 3x3 convolution of many channels, by transformed tiles */
    VT_KIND_DEPTHWISE,
    VT_KIND_GROUPED,   /* any other number of groups, in plain C */
    VT_KIND_POINTWISE8, /* of bytes; the same, in whole numbers */
    VT_KIND_DEPTHWISE8, /* of bytes, 3x3 */
    VT_KIND_ELTWISE,   /* scale, shift, addition, activation */
    VT_KIND_MAX_POOL,
    VT_KIND_RESIZE,    /* nearest, with addition and activation */
    VT_KIND_ROWS,      /* pixels without what pads them; with or without a sigmoid */
    VT_KIND_CURVE,     /* sigmoid or exponential */
    VT_KIND_JOIN,
    VT_KIND_COLUMNS,
    VT_KIND_SOFTMAX,
    VT_KIND_QUANTIZE,
    VT_KIND_DEQUANTIZE,
} vt_kind;

typedef struct vt_layer {
    vt_kind kind;
    int in, residual, out; /* maps; residual may be VT_NO_MAP */
    vt_geometry g;
    uint32_t first, first_row; /* JOIN, COLUMNS, ROWS: as of the node */
    size_t k;              /* depth of the matrix product */
    float *weights;        /* packed for the kind; NULL if it has none */
    int8_t *weights8;      /* the same of bytes */
    int32_t *bias8;
    float *bias;           /* [cp of out] */
    float *slope;          /* [cp of out] or NULL */
    float *scale;          /* ELTWISE: [cp of out] or NULL */
    float *in_scale, *in_shift; /* WINOGRAD: of the input, before it is padded, [cp of in] or NULL */
    size_t *offsets;       /* PLANAR: [k] */
    vt_act act;
    float lo, hi;
    vt_dw_fn *depthwise;
    vt_dw_pair_fn *depthwise_pair; /* NULL: row by row */
    uint64_t macs;         /* of a face */
    char text[160];
} vt_layer;

/* How a group is cut into pieces for several threads. */
typedef enum vt_split {
    VT_SPLIT_ROWS,    /* of the last layer */
    VT_SPLIT_PIXELS,  /* of a pointwise convolution */
    VT_SPLIT_COLUMNS, /* channels of a matrix product's output */
} vt_split;

/* Layers first..last, computed band by band: each band of the last layer's rows, and of the others what it needs. Maps
 * between them are rings, which stay in the cache. */
typedef struct vt_group {
    int first, last;
    uint32_t band;   /* rows of the last layer */
    vt_split split;
    uint32_t pieces; /* 1..VT_PIECES_MAX; 1 in a plan for one thread */
    int next;        /* the group after, which waits for all pieces of this one; groups of one piece are passed over */
} vt_group;

typedef struct vt_plan {
    vt_kernels kernels;
    vt_map *maps;
    int n_maps;
    vt_layer *layers;
    int n_layers;
    int tail;              /* layers from here on have 1x1 maps and run once for a batch of faces */
    vt_group *groups;      /* of the layers before the tail */
    int n_groups;
    int deep;              /* groups from here on have small maps and weights that are not, and run for a batch of faces */
    uint32_t batch;        /* faces that go through them and the tail together, at most */
    int outputs[VT_MAX_OUTPUTS]; /* maps */
    int n_outputs;
    int output;            /* the first */
    bool planar_input;     /* map 0 is padded planes instead of pixels */
    uint32_t pad_top, pad_left, padded_h, padded_w; /* of planar input */
    double in_scale[3], in_shift[3];
    float pixel_scale[3], pixel_shift[3]; /* what a byte becomes, by the network's channel */
    size_t scratch;        /* floats from the arena's start: gathered rows of DENSE, tiles of WINOGRAD */
    size_t scratch_floats;
    size_t arena_floats;
    uint64_t ring_bytes;   /* what the rings of a group may take of the second-level cache */
    size_t zero_floats;    /* the longest row of zeros that a depthwise layer asks for */
    atomic_size_t weight_bytes; /* several threads pack */
    uint32_t threads;      /* that compute one face together */
    uint32_t fill_pieces;  /* in which the input is filled by them */
    struct vt_plan *crew;  /* the same layers for several threads, whose maps lie in the same arenas; NULL: there is none */
} vt_plan;

/* Takes the fused graph apart: its weights are freed as they are packed, by the pool's threads if one is given. With more
 * than one thread there is a crew. */
int vt_plan_build(vt_plan *plan, vt_graph *graph, vultus_isa isa, unsigned threads, vt_pool *pool, vultus_error *error);
void vt_plan_free(vt_plan *plan);

/* "pointwise", "depthwise", ... */
const char *vt_kind_name(vt_kind kind);

/* Packing (pack.c); nodes: of each layer. */
int vt_pack_all(vt_plan *plan, vt_graph *graph, const int *nodes, vt_pool *pool, vultus_error *error);

/* Zeroed, aligned to VT_ALIGN, for free(); NULL if there is no memory (memory.c). */
void *vt_aligned(size_t count, size_t size);

int vt_pack_bytes(vt_plan *plan, vt_layer *layer, const vt_graph *graph, const vt_node *node, vultus_error *error);
int vt_pack_take(vt_plan *plan, uint64_t count, size_t size, void *out, vultus_error *error);

/* Groups, rings and arena (bands.c). */
int vt_plan_bands(vt_plan *plan, vultus_error *error);

/* Whether the map between layer i and the next one has to stay whole. */
bool vt_must_cut(const vt_plan *plan, int i);

/* What every band of the layer reads again. */
uint64_t vt_weight_bytes(const vt_plan *plan, int layer);

/* One past the last input row that output rows below `end` read, and the first one that row `row` reads. */
uint32_t vt_rows_needed(const vt_layer *layer, const vt_map *in, uint32_t end);
uint32_t vt_first_needed(const vt_layer *layer, const vt_map *in, uint32_t row);

/* Whether the group's rings fit the cache if its bands are low enough. */
bool vt_rings_fit(const vt_plan *plan, const vt_group *group);

/* Groups for several threads (split.c). */
int vt_split_layers(vt_plan *plan, vultus_error *error);

/* The piece's rows, pixels or channels, as the group is split. */
void vt_group_piece(const vt_plan *plan, const vt_group *group, uint32_t piece, uint32_t *from, uint32_t *to);

/* Sets how far each layer of the group is (done) when its last one is to begin with row `start`. */
void vt_group_begin(const vt_plan *plan, const vt_group *group, uint32_t start, uint32_t *done);

/* For each layer of the group, the rows that it has to reach (upto) so that the last one reaches `end`, given how far
 * each is (done). Both are indexed by layer. Rings are as large as this makes necessary. */
void vt_group_advance(const vt_plan *plan, const vt_group *group, uint32_t end, const uint32_t *done, uint32_t *upto);

/* Rows of the layer's output that are computed together: a range of rows begins with a multiple of it. */
static inline uint32_t vt_row_step(const vt_layer *layer)
{
    return layer->kind == VT_KIND_WINOGRAD ? 4 : 1;
}

/* Rows of a dense convolution whose pixels are gathered for one product: in small maps several, since each product reads
 * all weights. */
static inline size_t vt_dense_rows(const vt_layer *layer, const vt_map *out)
{
    const size_t wanted = (VT_DENSE_PIXELS + out->w - 1) / out->w, most = VT_DENSE_FLOATS / (out->w * layer->k);

    return most < 1 ? 1 : wanted < most ? wanted : most;
}

/* Width of the panel at column n of cp, as an index: 24 as long as that leaves no 8, then 16, once or twice; 8 only where
 * there are no more. Of all tiles that of 24 columns needs the fewest instructions for a multiply-add. */
static inline int vt_panel(size_t n, size_t cp)
{
    const size_t left = cp - n;

    return left == 24 || left >= 40 ? VT_NR_24 : left >= 16 ? VT_NR_16 : VT_NR_8;
}

/* How many panels cp columns have, and where the i-th begins; that after the last: cp. */
static inline size_t vt_panels(size_t cp)
{
    return (cp + 16) / 24;
}

static inline size_t vt_panel_start(size_t i, size_t cp)
{
    const size_t wide = cp % 24 == 8 && cp > 8 ? cp / 24 - 1 : cp / 24, start = i <= wide ? i * 24 : wide * 24 + (i - wide) * 16;

    return start < cp ? start : cp;
}

#endif
