/* A detector's heads at one level: branches of pointwise, depthwise, rows that read the same map, with 1, 4 or 10 channels
 * where the kernels compute 8 or 16. They become one pointwise and one depthwise convolution, whose channels the rows share
 * out. */
#include <stdlib.h>
#include <string.h>

#include "graph.h"

#define MOST_PARTS 16
#define MOST_CHANNELS 64 /* wider branches fill the kernels' tiles by themselves */

typedef struct branch {
    int point, deep, rows; /* nodes */
} branch;

static bool plain(const vt_node *node, vt_op op)
{
    return !node->folded && node->op == op && node->residual < 0 && (op == VT_OP_ROWS || node->act == VT_ACT_NONE) &&
           !node->step && !node->bytes && node->quant.scale == 0;
}

static bool is_pointwise(const vt_node *node)
{
    const vt_geometry *g = &node->g;

    return plain(node, VT_OP_CONV) && g->groups == 1 && g->kh == 1 && g->kw == 1 && g->sy == 1 && g->sx == 1 && !g->top &&
           !g->left && !g->bottom && !g->right && !node->in_scale;
}

/* Everything but the groups, which are the channels. */
static bool same_window(vt_geometry a, vt_geometry b)
{
    a.groups = b.groups;
    return memcmp(&a, &b, sizeof a) == 0;
}

/* The branch that ends in these rows, if they end one whose values nobody else reads. */
static bool find_branch(const vt_graph *graph, const int *uses, int rows, branch *out)
{
    const vt_node *last = &graph->nodes[rows], *deep, *point;

    if (!plain(last, VT_OP_ROWS) || last->in <= 0)
        return false;
    deep = &graph->nodes[last->in];
    if (!plain(deep, VT_OP_CONV) || deep->in_scale || deep->winograd || deep->in <= 0)
        return false;
    point = &graph->nodes[deep->in];
    if (deep->g.groups != deep->shape.c || point->shape.c != deep->shape.c || !is_pointwise(point) ||
        uses[last->in] != 1 || uses[deep->in] != 1)
        return false;
    *out = (branch){deep->in, last->in, rows};
    return true;
}

/* Weights and shifts one behind the other in the first; n channels of `row` weights each. */
static bool extend(vt_node *to, const vt_node *from, size_t row)
{
    const size_t had = to->shape.c, more = from->shape.c;
    float *weight = realloc(to->weight, (had + more) * row * sizeof *weight);
    double *shift;

    if (!weight)
        return false;
    to->weight = weight;
    shift = realloc(to->shift, (had + more) * sizeof *shift);
    if (!shift)
        return false;
    to->shift = shift;
    memcpy(weight + had * row, from->weight, more * row * sizeof *weight);
    memcpy(shift + had, from->shift, more * sizeof *shift);
    to->shape.c += (uint32_t)more;
    return true;
}

static int merge(vt_graph *graph, const branch *parts, size_t n, vultus_error *error)
{
    vt_node *point = &graph->nodes[parts[0].point], *deep = &graph->nodes[parts[0].deep];
    const size_t depth = graph->nodes[point->in].shape.c, taps = (size_t)deep->g.kh * deep->g.kw;

    for (size_t i = 1; i < n; i++) {
        graph->nodes[parts[i].rows].first = point->shape.c;
        graph->nodes[parts[i].rows].in = parts[0].deep;
        if (!extend(point, &graph->nodes[parts[i].point], depth) || !extend(deep, &graph->nodes[parts[i].deep], taps))
            return vt_fail_memory(error, (point->shape.c + graph->nodes[parts[i].point].shape.c) * depth * sizeof(float));
    }
    deep->g.groups = deep->shape.c;
    return VULTUS_OK;
}

static void count_uses(const vt_graph *graph, int *uses)
{
    for (int i = 0; i < graph->count; i++) {
        const vt_node *node = &graph->nodes[i];

        if (node->folded)
            continue;
        if (node->in >= 0)
            uses[node->in]++;
        if (node->in2 >= 0)
            uses[node->in2]++;
        if (node->residual >= 0)
            uses[node->residual]++;
    }
    for (int i = 0; i < graph->n_outputs; i++)
        uses[graph->outputs[i].node]++;
}

/* The branches that can join the one that ends at `first`, itself included. They come later, so what they read is there. */
static size_t companions(const vt_graph *graph, const int *uses, const bool *taken, int first, branch *parts)
{
    uint32_t channels = 0;
    size_t n = 0;
    branch b;

    if (!find_branch(graph, uses, first, &b))
        return 0;
    for (int i = first; i < graph->count && n < MOST_PARTS; i++) {
        if (taken[i] || !find_branch(graph, uses, i, &b))
            continue;
        if (n && (graph->nodes[b.point].in != graph->nodes[parts[0].point].in ||
                  !same_window(graph->nodes[b.deep].g, graph->nodes[parts[0].deep].g)))
            continue;
        channels += graph->nodes[b.point].shape.c;
        if (channels > MOST_CHANNELS)
            break;
        parts[n++] = b;
    }
    return n;
}

int vt_graph_merge(vt_graph *graph, vultus_error *error)
{
    int *uses = calloc((size_t)graph->count, sizeof *uses), status = VULTUS_OK;
    bool *taken = calloc((size_t)graph->count, sizeof *taken);
    branch parts[MOST_PARTS];

    if (!uses || !taken) {
        free(uses);
        free(taken);
        return vt_fail_memory(error, (uint64_t)graph->count * sizeof *uses);
    }
    count_uses(graph, uses);
    for (int i = 1; i < graph->count && !status; i++) {
        const size_t n = companions(graph, uses, taken, i, parts);

        for (size_t k = 0; k < n; k++)
            taken[parts[k].rows] = true;
        if (n > 1)
            status = merge(graph, parts, n, error);
    }
    free(uses);
    free(taken);
    return status;
}
