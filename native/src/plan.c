#include "plan.h"
#include "winograd.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define FACES_SMALL 4  /* of a batch through a tail with few weights: small shares spread evenly over threads */
#define FACES_LARGE 12 /* two tiles of faces for each reading of weights that do not stay in the cache */
/* Of a second-level cache of 512 KB or more. A detector's wide rows need more for a group to be worth while, and its
 * weights, which share the cache, are few. */
#define RING_BYTES ((uint64_t)288 << 10)
#define RING_BYTES_NETWORK ((uint64_t)416 << 10)
#define DEEP_MAP_FLOATS ((uint64_t)128 << 10)
#define DEEP_RATIO 8
#define LARGE_TAIL_BYTES ((size_t)4 << 20)

/* What the builder knows of the graph beside the plan. */
typedef struct builder {
    vt_plan *plan;
    vt_graph *graph;
    bool *reached; /* nodes that the output depends on */
    int *map;      /* of each node, VT_NO_MAP if it has none yet */
    vultus_error *error;
} builder;

static void mark_reached(const builder *b)
{
    for (int i = 0; i < b->graph->n_outputs; i++)
        b->reached[b->graph->outputs[i].node] = true;
    for (int i = b->graph->count - 1; i > 0; i--) {
        const vt_node *node = &b->graph->nodes[i];

        if (!b->reached[i] || node->folded)
            continue;
        b->reached[node->in] = true;
        if (node->in2 >= 0)
            b->reached[node->in2] = true;
        if (node->residual >= 0)
            b->reached[node->residual] = true;
    }
}

static size_t up(size_t n, size_t to)
{
    return (n + to - 1) / to * to;
}

static int add_map(builder *b, int node, int producer)
{
    const vt_shape s = b->graph->nodes[node].shape;
    vt_map *map = &b->plan->maps[b->plan->n_maps];

    *map = (vt_map){.c = s.c, .h = s.h, .w = s.w, .cp = up(s.c, 8), .rows = s.h, .slots = 1, .producer = producer,
                    .last_reader = producer, .tight = s.rows, .flat = s.flat, .compact = s.rows,
                    .quant = b->graph->nodes[node].quant};
    if (s.rows)
        map->cp = s.c;
    b->map[node] = b->plan->n_maps++;
    return b->map[node];
}

static vt_kind conv_kind(const builder *b, const vt_node *node)
{
    const vt_geometry *g = &node->g;
    const uint32_t c_in = b->graph->nodes[node->in].shape.c;

    if (node->bytes)
        return g->kh == 1 ? VT_KIND_POINTWISE8 : VT_KIND_DEPTHWISE8; /* of one channel, both are of one group */
    if (g->groups == c_in && node->shape.c == c_in)
        return VT_KIND_DEPTHWISE;
    if (g->groups > 1)
        return VT_KIND_GROUPED;
    if (node->winograd)
        return VT_KIND_WINOGRAD;
    if (node->in == 0)
        return b->plan->planar_input ? VT_KIND_PLANAR : VT_KIND_DENSE;
    if (g->kh == 1 && g->kw == 1 && !g->top && !g->left && !g->bottom && !g->right)
        return VT_KIND_POINTWISE;
    return VT_KIND_DENSE;
}

static vt_kind kind_of(const builder *b, const vt_node *node)
{
    switch (node->op) {
    case VT_OP_CONV:
        return conv_kind(b, node);
    case VT_OP_FC:
        return VT_KIND_FC;
    case VT_OP_MAX_POOL:
        return VT_KIND_MAX_POOL;
    case VT_OP_RESIZE:
        return VT_KIND_RESIZE;
    case VT_OP_ROWS:
        return VT_KIND_ROWS;
    case VT_OP_JOIN:
        return VT_KIND_JOIN;
    case VT_OP_COLUMNS:
        return VT_KIND_COLUMNS;
    case VT_OP_SOFTMAX:
        return VT_KIND_SOFTMAX;
    case VT_OP_QUANT:
        return VT_KIND_QUANTIZE;
    case VT_OP_DEQUANT:
        return VT_KIND_DEQUANTIZE;
    default:
        return node->act == VT_ACT_SIGMOID || node->act == VT_ACT_EXP ? VT_KIND_CURVE : VT_KIND_ELTWISE;
    }
}

/* The chip is kept as padded planes if nothing but one ordinary convolution reads it. */
static void choose_input(const builder *b)
{
    vt_plan *plan = b->plan;
    const vt_node *reader = NULL;
    int readers = 0;

    for (int i = 1; i < b->graph->count; i++) {
        const vt_node *node = &b->graph->nodes[i];
        const bool second = node->op == VT_OP_ADD && node->in2 == 0;

        if (!b->reached[i] || node->folded || (node->in != 0 && !second && node->residual != 0))
            continue;
        readers += 1 + (second || node->residual == 0);
        reader = node;
    }
    if (readers != 1 || reader->op != VT_OP_CONV || reader->g.groups != 1)
        return;
    plan->planar_input = true;
    plan->pad_top = reader->g.top;
    plan->pad_left = reader->g.left;
    plan->padded_h = b->graph->nodes[0].shape.h + reader->g.top + reader->g.bottom;
    plan->padded_w = b->graph->nodes[0].shape.w + reader->g.left + reader->g.right;
}

static void prepare_input(const builder *b)
{
    vt_plan *plan = b->plan;
    const vt_graph *graph = b->graph;

    for (int c = 0; c < 3; c++) {
        plan->in_scale[c] = graph->in_scale[c];
        plan->in_shift[c] = graph->in_shift[c];
        plan->pixel_scale[c] = (float)(graph->in_scale[c] / graph->std[c]);
        plan->pixel_shift[c] = (float)(graph->in_shift[c] - graph->mean[c] / graph->std[c] * graph->in_scale[c]);
    }
}

static void read_map(const builder *b, int map, int reader)
{
    b->plan->maps[map].last_reader = reader;
    b->plan->maps[map].readers++;
}

/* Kind, geometry and kernels of the layer for a node. */
static int shape_layer(const builder *b, const vt_node *node, vt_layer *layer)
{
    const vt_geometry unit = {1, 1, 1, 1, 1, 1, 0, 0, 0, 0, 1};
    vt_map *in = &b->plan->maps[layer->in];
    const vt_map *out = &b->plan->maps[layer->out];
    const vt_geometry *g = &layer->g;

    layer->g = node->op == VT_OP_CONV || node->op == VT_OP_MAX_POOL || node->op == VT_OP_RESIZE ? node->g : unit;
    layer->first = node->first;
    layer->first_row = node->first_row;
    layer->act = node->act;
    layer->lo = node->lo;
    layer->hi = node->hi;
    layer->kind = kind_of(b, node);
    layer->k = (size_t)in->c * g->kh * g->kw;
    layer->macs = (uint64_t)layer->k / g->groups * out->c * out->h * out->w;
    if (layer->kind == VT_KIND_POINTWISE && in->h * in->w == 1)
        layer->kind = VT_KIND_FC;
    if (layer->kind == VT_KIND_FC) {
        in->tight = true;
        layer->k = (size_t)in->h * in->w * in->cp;
        layer->macs = (uint64_t)in->c * in->h * in->w * out->c;
    }
    if (layer->kind >= VT_KIND_ELTWISE)
        layer->macs = 0;
    if (layer->kind == VT_KIND_DEPTHWISE) {
        const bool special = g->kh == 3 && g->kw == 3 && g->dy == 1 && g->dx == 1 && g->sx <= 2 && g->left <= 1;

        layer->depthwise = special ? b->plan->kernels.dw3x3 : b->plan->kernels.dwkxk;
        if (special && g->sx == 1 && g->sy == 1 && g->right <= 1)
            layer->depthwise_pair = b->plan->kernels.dw3x3_pair;
    }
    return VULTUS_OK;
}

static const char *kernel_name(const vt_plan *plan, const vt_layer *layer)
{
    const int panel = vt_panel(0, plan->maps[layer->out].cp);

    switch (layer->kind) {
    case VT_KIND_PLANAR:
        return plan->kernels.names[VT_NR_COUNT + panel];
    case VT_KIND_DEPTHWISE:
        return plan->kernels.names[layer->depthwise_pair ? 2 * VT_NR_COUNT + 6
                                   : 2 * VT_NR_COUNT + (layer->depthwise == plan->kernels.dw3x3 ? 0u : 1u)];
    case VT_KIND_ELTWISE:
        return plan->kernels.names[2 * VT_NR_COUNT + 2];
    case VT_KIND_RESIZE:
        return plan->kernels.names[2 * VT_NR_COUNT + 2];
    case VT_KIND_MAX_POOL:
        return plan->kernels.names[2 * VT_NR_COUNT + 3];
    case VT_KIND_CURVE:
        return plan->kernels.names[2 * VT_NR_COUNT + (layer->act == VT_ACT_SIGMOID ? 4 : 5)];
    case VT_KIND_SOFTMAX:
        return plan->kernels.names[2 * VT_NR_COUNT + 5];
    case VT_KIND_JOIN:
    case VT_KIND_COLUMNS:
        return "copy";
    case VT_KIND_ROWS:
        return layer->act == VT_ACT_SIGMOID ? plan->kernels.names[2 * VT_NR_COUNT + 4] : "copy";
    case VT_KIND_GROUPED:
        return "plain C";
    case VT_KIND_POINTWISE8:
        return plan->kernels.names8[panel];
    case VT_KIND_DEPTHWISE8:
        return plan->kernels.names8[VT_NR_COUNT];
    case VT_KIND_QUANTIZE:
        return plan->kernels.names8[VT_NR_COUNT + 1];
    case VT_KIND_DEQUANTIZE:
        return plan->kernels.names8[VT_NR_COUNT + 2];
    default:
        return plan->kernels.names[panel];
    }
}

const char *vt_kind_name(vt_kind kind)
{
    static const char *const names[] = {"planar conv", "pointwise", "fully connected", "conv", "winograd conv",
                                        "depthwise",   "grouped conv", "pointwise int8", "depthwise int8",
                                        "elementwise", "max pool", "resize", "rows", "curve", "join", "columns", "softmax",
                                        "quantize",    "dequantize"};

    return names[kind];
}

static void describe(const vt_plan *plan, vt_layer *layer)
{
    static const char *const acts[] = {"", " +prelu", " +clip", " +sigmoid", " +exp"};
    const vt_map *in = &plan->maps[layer->in], *out = &plan->maps[layer->out];

    snprintf(layer->text, sizeof layer->text,
             "%s %ux%u/%u %ux%ux%u -> %ux%ux%u%s%s, %.2f MMAC, %s", vt_kind_name(layer->kind), layer->g.kh, layer->g.kw,
             layer->g.sy, in->c, in->h, in->w, out->c, out->h, out->w, layer->residual != VT_NO_MAP ? " +residual" : "",
             acts[layer->act], (double)layer->macs / 1e6, kernel_name(plan, layer));
}

static int add_layer(builder *b, int i)
{
    vt_plan *plan = b->plan;
    vt_node *node = &b->graph->nodes[i];
    vt_layer *layer = &plan->layers[plan->n_layers];
    int in = node->in, status;

    if (node->op == VT_OP_FLATTEN)
        return VULTUS_OK; /* a fully connected layer reads through it; other readers find no map */
    if (node->op == VT_OP_FC && b->graph->nodes[in].op == VT_OP_FLATTEN)
        in = b->graph->nodes[in].in;
    layer->in = b->map[in];
    layer->residual = node->op == VT_OP_ADD ? b->map[node->in2] : node->residual >= 0 ? b->map[node->residual] : VT_NO_MAP;
    if (layer->in == VT_NO_MAP || (layer->residual == VT_NO_MAP && (node->op == VT_OP_ADD || node->residual >= 0)))
        return vt_fail(b->error, VULTUS_ERROR_UNSUPPORTED,
                       "a flattened map is read by something else than a fully connected layer");
    if (node->op == VT_OP_JOIN && node->in2 >= 0) {
        layer->out = b->map[i] = b->map[node->in2];
        plan->maps[layer->out].whole = true;
    } else {
        layer->out = add_map(b, i, plan->n_layers);
    }
    read_map(b, layer->in, plan->n_layers);
    if (layer->residual != VT_NO_MAP)
        read_map(b, layer->residual, plan->n_layers);
    status = shape_layer(b, node, layer);
    plan->n_layers++;
    return status;
}

/* Pixels an odd number of cache lines apart: else the pixels of a map with 128, 256, ... channels all compete for the
 * same few sets of the first-level cache. */
static void choose_strides(vt_plan *plan, bool network)
{
    for (int i = 0; i < plan->n_maps; i++) {
        vt_map *map = &plan->maps[i];

        map->ld = map->quant.scale != 0 ? up(map->c, VT_BLOCK8) : map->cp;
        if (map->quant.scale != 0)
            continue;
        if (!map->tight && map->h * map->w > 1 && map->ld % (network ? 128 : 32) == 0)
            map->ld += 16;
    }
}

static bool batched(const vt_plan *plan, const vt_layer *layer)
{
    const vt_map *out = &plan->maps[layer->out], *in = &plan->maps[layer->in];

    if (layer->kind == VT_KIND_FC)
        return true;
    return layer->kind == VT_KIND_ELTWISE && out->h * out->w == 1 && in->h * in->w == 1 && layer->in != 0;
}

/* The first layer of the deep ones: a convolution by Winograd whose weights are far larger than its map, with no larger
 * map behind it. */
static int find_deep(const vt_plan *plan)
{
    int deep = plan->tail;

    for (int i = plan->tail - 1; i >= 0; i--) {
        const vt_layer *layer = &plan->layers[i];
        const vt_map *in = &plan->maps[layer->in], *out = &plan->maps[layer->out];

        if ((uint64_t)in->h * in->w * in->ld > DEEP_MAP_FLOATS || (uint64_t)out->h * out->w * out->ld > DEEP_MAP_FLOATS)
            break;
        if (layer->kind == VT_KIND_WINOGRAD &&
            vt_winograd_weights(in->c, out->c) > DEEP_RATIO * (uint64_t)out->h * out->w * out->ld)
            deep = i;
    }
    return deep;
}

/* The last layers that see a face as one pixel, and how many faces they take at a time. */
static void find_tail(vt_plan *plan, bool network)
{
    size_t bytes = 0;

    plan->tail = plan->deep = plan->n_layers;
    plan->batch = 1;
    if (network)
        return;
    while (plan->tail > 0 && batched(plan, &plan->layers[plan->tail - 1])) {
        const vt_layer *layer = &plan->layers[--plan->tail];

        bytes += layer->kind == VT_KIND_FC ? layer->k * plan->maps[layer->out].cp * sizeof(float) : 0;
    }
    plan->batch = bytes > LARGE_TAIL_BYTES ? FACES_LARGE : FACES_SMALL;
    plan->deep = find_deep(plan);
    for (int i = 0; i < plan->n_maps; i++) {
        vt_map *map = &plan->maps[i];

        if (map->last_reader >= plan->deep || map->producer >= plan->deep || i == plan->output)
            map->slots = plan->batch;
    }
}

static int pack_all(const builder *b, vt_pool *pool)
{
    vt_plan *plan = b->plan;
    int *nodes = malloc((size_t)plan->n_layers * sizeof *nodes), status;

    if (!nodes)
        return vt_fail_memory(b->error, (size_t)plan->n_layers * sizeof *nodes);
    for (int i = 1, at = 0; i < b->graph->count; i++)
        if (b->reached[i] && !b->graph->nodes[i].folded && b->graph->nodes[i].op != VT_OP_FLATTEN)
            nodes[at++] = i;
    status = vt_pack_all(plan, b->graph, nodes, pool, b->error);
    free(nodes);
    for (int i = 0; i < plan->n_layers && !status; i++)
        describe(plan, &plan->layers[i]);
    return status;
}

/* The plan again with maps and groups for several threads. Both are computed in the same arenas. */
static int plan_crew(vt_plan *plan, unsigned threads, vultus_error *error)
{
    const size_t maps = (size_t)plan->n_maps, layers = (size_t)plan->n_layers;
    vt_plan *crew = plan->crew = malloc(sizeof *crew);
    int status;

    if (!crew)
        return vt_fail_memory(error, sizeof *crew);
    *crew = *plan;
    crew->threads = threads < VT_PIECES_MAX ? threads : VT_PIECES_MAX;
    crew->tail = crew->deep = plan->n_layers;
    crew->batch = 1;
    crew->crew = NULL;
    crew->n_groups = 0;
    crew->maps = malloc(maps * sizeof *crew->maps);
    crew->groups = calloc(layers, sizeof *crew->groups);
    if (!crew->maps || !crew->groups)
        return vt_fail_memory(error, maps * sizeof *crew->maps);
    memcpy(crew->maps, plan->maps, maps * sizeof *crew->maps);
    for (size_t i = 0; i < maps; i++) {
        crew->maps[i].slots = 1;
        crew->maps[i].rows = crew->maps[i].h;
    }
    status = vt_plan_bands(crew, error);
    if (plan->arena_floats < crew->arena_floats)
        plan->arena_floats = crew->arena_floats;
    if (plan->zero_floats < crew->zero_floats)
        plan->zero_floats = crew->zero_floats;
    return status;
}

static int build(builder *b, unsigned threads, vt_pool *pool)
{
    vt_plan *plan = b->plan;
    const vt_shape out = b->graph->nodes[b->graph->outputs[0].node].shape;
    int status = VULTUS_OK;

    if (!b->graph->network && (out.h != 1 || out.w != 1 || out.rows))
        return vt_fail(b->error, VULTUS_ERROR_UNSUPPORTED, "the output is a map of %u x %u x %u, not a vector", out.c, out.h,
                       out.w);
    mark_reached(b);
    choose_input(b);
    prepare_input(b);
    add_map(b, 0, -1);
    for (int i = 1; i < b->graph->count && !status; i++)
        if (b->reached[i] && !b->graph->nodes[i].folded)
            status = add_layer(b, i);
    if (status)
        return status;
    for (plan->n_outputs = 0; plan->n_outputs < b->graph->n_outputs; plan->n_outputs++) {
        const int map = b->map[b->graph->outputs[plan->n_outputs].node];

        if (plan->n_layers == 0 || map == VT_NO_MAP || map == 0)
            return vt_fail(b->error, VULTUS_ERROR_UNSUPPORTED, "the output is the input, flattened or as it is");
        plan->outputs[plan->n_outputs] = map;
        read_map(b, map, plan->n_layers); /* kept to the end, whole */
    }
    plan->output = plan->outputs[0];
    plan->ring_bytes = b->graph->network ? RING_BYTES_NETWORK : RING_BYTES;
    choose_strides(plan, b->graph->network);
    find_tail(plan, b->graph->network);
    status = vt_plan_bands(plan, b->error);
    if (!status && threads > 1)
        status = plan_crew(plan, threads, b->error);
    return status ? status : pack_all(b, pool);
}

int vt_plan_build(vt_plan *plan, vt_graph *graph, vultus_isa isa, unsigned threads, vt_pool *pool, vultus_error *error)
{
    const size_t count = (size_t)graph->count;
    builder b = {plan, graph, calloc(count, sizeof(bool)), malloc(count * sizeof(int)), error};
    int status;

    memset(plan, 0, sizeof *plan);
    vt_kernels_select(isa, &plan->kernels);
    plan->maps = calloc(count, sizeof *plan->maps);
    plan->layers = calloc(count, sizeof *plan->layers);
    plan->groups = calloc(count, sizeof *plan->groups);
    if (b.reached && b.map && plan->maps && plan->layers && plan->groups) {
        for (size_t i = 0; i < count; i++)
            b.map[i] = VT_NO_MAP;
        plan->threads = 1;
        status = build(&b, threads, pool);
    } else {
        status = vt_fail_memory(error, count * sizeof *plan->layers);
    }
    free(b.reached);
    free(b.map);
    if (status)
        vt_plan_free(plan);
    return status;
}

void vt_plan_free(vt_plan *plan)
{
    for (int i = 0; i < plan->n_layers; i++) {
        free(plan->layers[i].weights);
        free(plan->layers[i].weights8);
        free(plan->layers[i].bias8);
        free(plan->layers[i].bias);
        free(plan->layers[i].slope);
        free(plan->layers[i].scale);
        free(plan->layers[i].in_scale);
        free(plan->layers[i].in_shift);
        free(plan->layers[i].offsets);
    }
    if (plan->crew) {
        free(plan->crew->maps);
        free(plan->crew->groups);
        free(plan->crew);
    }
    free(plan->maps);
    free(plan->layers);
    free(plan->groups);
    memset(plan, 0, sizeof *plan);
}
