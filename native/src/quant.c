/* From a graph that says where numbers are bytes to one in which every node gets what it can read. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "kernels/bytes.h"

#define SUM_MOST 2147483647.0
#define VALUE_MOST 1073741824.0 /* 2^30, of what is rounded to a byte */

typedef struct lowering {
    vt_graph *graph; /* as it was */
    vt_node *nodes;  /* as it becomes */
    int count;
    int *value;      /* of each old node: the new one; -1 if there is none */
    int *floats;     /* the new one that is floats, -1 if it is not there yet */
    int8_t *weights; /* room for those of an output channel */
} lowering;

static bool pointwise(const vt_geometry *g)
{
    return g->kh == 1 && g->kw == 1 && g->groups == 1 && !g->top && !g->left && !g->bottom && !g->right;
}

static bool depthwise(const vt_node *node, uint32_t c_in)
{
    const vt_geometry *g = &node->g;

    return g->kh == 3 && g->kw == 3 && g->groups == c_in && node->shape.c == c_in && g->dy == 1 && g->dx == 1 &&
           g->sx <= 2 && g->left <= 1 && g->right <= 1;
}

/* Whether sums over the pair stay within 16 bits, whatever the bytes are. */
static bool pair_fits(int a, int b)
{
    const int positive = (a > 0 ? a : 0) + (b > 0 ? b : 0), negative = (a < 0 ? a : 0) + (b < 0 ? b : 0);

    return positive <= VT_PAIR_MOST && negative >= -VT_PAIR_MOST;
}

static bool pairs_fit(const int8_t *w, size_t row, bool columns)
{
    for (size_t i = 0; columns && i < 3; i++) /* of a 3x3: the first and the last row */
        if (!pair_fits(w[i], w[6 + i]))
            return false;
    for (size_t i = 0; !columns && i < row; i += 2)
        if (!pair_fits(w[i], i + 1 < row ? w[i + 1] : 0))
            return false;
    return true;
}

bool vt_channel_bytes(const vt_graph *graph, const vt_node *node, uint32_t n, int8_t *weights, int32_t *bias, float *scale)
{
    const vt_quant in = graph->nodes[node->in].quant;
    const size_t row = vt_weight_count(graph, node) / node->shape.c;
    const double step = (double)node->step[n], out = node->quant.scale != 0 ? (double)node->quant.scale : 1;
    double total = 0, most = 0, sum;

    for (size_t i = 0; i < row; i++) {
        const double q = step != 0 ? round((double)node->weight[n * row + i] / step) : 0;

        if (!(fabs(q) <= 128) || q == 128)
            return false;
        weights[i] = (int8_t)q;
        total += q;
        most += fabs(q) * 255;
    }
    *scale = (float)((double)in.scale * step / out);
    sum = step != 0 ? node->shift[n] / ((double)in.scale * step) : node->shift[n] == 0 ? 0 : SUM_MOST;
    sum = round(sum - in.zero * total);
    if (!(fabs(sum) + most < SUM_MOST) || !((fabs(sum) + most) * fabs((double)*scale) < VALUE_MOST) || !isfinite(*scale))
        return false;
    *bias = (int32_t)sum;
    return pairs_fit(weights, row, node->g.kh == 3);
}

/* Whether what becomes a byte stays within VALUE_MOST after the activation, too. */
static bool act_fits(const vt_node *node)
{
    const double scale = (double)node->quant.scale;

    for (uint32_t c = 0; node->act == VT_ACT_PRELU && c < node->shape.c; c++)
        if (!(fabsf(node->slope[c]) <= 1))
            return false;
    return node->act != VT_ACT_CLIP || scale == 0 ||
           ((double)node->lo < VALUE_MOST * scale && (double)node->hi > -VALUE_MOST * scale);
}

/* Whether kernels of bytes compute the convolution, which is then exact but for the rounding of its result. */
static bool fits_bytes(const lowering *l, const vt_node *node)
{
    const vt_node *in = node->op == VT_OP_CONV ? &l->graph->nodes[node->in] : NULL;
    vt_node probe = *node;
    int32_t bias;
    float scale;

    if (!in || !node->step || in->quant.scale == 0 || in->shape.flat)
        return false;
    if (depthwise(node, in->shape.c) ? node->quant.scale == 0 || node->residual >= 0 : !pointwise(&node->g))
        return false;
    if (node->residual >= 0)
        probe.quant.scale = 0; /* floats are added, and rounded after that */
    if (!act_fits(&probe))
        return false;
    for (uint32_t n = 0; n < node->shape.c; n++)
        if (!vt_channel_bytes(l->graph, &probe, n, l->weights, &bias, &scale))
            return false;
    return true;
}

static int append(lowering *l, vt_node node)
{
    l->nodes[l->count] = node;
    return l->count++;
}

/* The value of an old node as floats. */
static int as_floats(lowering *l, int old)
{
    if (old < 0)
        return old;
    if (l->floats[old] < 0)
        l->floats[old] = append(l, (vt_node){.op = VT_OP_DEQUANT, .shape = l->graph->nodes[old].shape, .in = l->value[old],
                                             .in2 = -1, .residual = -1});
    return l->floats[old];
}

static void lower_node(lowering *l, int old)
{
    vt_node *from = &l->graph->nodes[old];
    vt_node node = *from;
    const bool stores = node.op == VT_OP_QUANT || (node.bytes && node.residual < 0);

    node.in = node.bytes ? l->value[node.in] : as_floats(l, node.in);
    node.in2 = as_floats(l, node.in2);
    node.residual = as_floats(l, node.residual);
    if (!stores)
        node.quant.scale = 0;
    l->value[old] = append(l, node);
    if (from->quant.scale == 0)
        l->floats[old] = l->value[old];
    else if (!stores)
        l->value[old] = append(l, (vt_node){.op = VT_OP_QUANT, .shape = node.shape, .in = l->value[old], .in2 = -1,
                                            .residual = -1, .quant = from->quant});
}

static void lower(lowering *l)
{
    vt_graph *graph = l->graph;

    for (int i = 0; i < graph->count; i++) {
        l->value[i] = l->floats[i] = -1;
        if (!graph->nodes[i].folded)
            graph->nodes[i].bytes = fits_bytes(l, &graph->nodes[i]);
    }
    for (int i = 0; i < graph->count; i++) {
        if (graph->nodes[i].folded)
            vt_node_free(&graph->nodes[i]);
        else
            lower_node(l, i);
    }
    for (int i = 0; i < graph->n_outputs; i++)
        graph->outputs[i].node = as_floats(l, graph->outputs[i].node);
    free(graph->nodes);
    graph->nodes = l->nodes;
    graph->count = graph->capacity = l->count;
}

int vt_graph_lower(vt_graph *graph, vultus_error *error)
{
    const size_t count = (size_t)graph->count, most = 3 * count + VT_MAX_OUTPUTS; /* a node, its QUANT, its DEQUANT */
    lowering l = {.graph = graph};
    size_t row = 1;
    bool bytes = false, ready;

    for (int i = 0; i < graph->count; i++) {
        const vt_node *node = &graph->nodes[i];
        const size_t weights = node->step ? vt_weight_count(graph, node) / node->shape.c : 0;

        row = weights > row ? weights : row;
        bytes = bytes || node->quant.scale != 0;
    }
    if (!bytes)
        return VULTUS_OK;
    l.nodes = calloc(most, sizeof *l.nodes);
    l.value = malloc(count * sizeof *l.value);
    l.floats = malloc(count * sizeof *l.floats);
    l.weights = malloc(row);
    ready = l.nodes && l.value && l.floats && l.weights;
    if (ready)
        lower(&l);
    else
        free(l.nodes);
    free(l.value);
    free(l.floats);
    free(l.weights);
    return ready ? VULTUS_OK : vt_fail_memory(error, most * sizeof *l.nodes);
}
