/* Folding: every rule takes one node away by writing its work into a neighbour, in double precision. */
#include <stdlib.h>
#include <string.h>

#include "graph.h"
#include "winograd.h"

typedef struct fusion {
    vt_graph *graph;
    int *uses; /* readers of each node that is not folded */
    uint64_t winograd_floats; /* weights so far */
} fusion;

static int resolve(const vt_graph *graph, int node)
{
    while (node >= 0 && graph->nodes[node].folded)
        node = graph->nodes[node].in;
    return node;
}

/* The node is computed by `into` from now on. */
static void fold(fusion *f, vt_node *node, int into)
{
    const int self = (int)(node - f->graph->nodes);

    node->folded = true;
    node->in = into;
    f->uses[into] += f->uses[self] - 1;
}

static bool bare(const vt_node *node)
{
    return node->act == VT_ACT_NONE && node->residual < 0 && node->quant.scale == 0;
}

/* y = scale * x + shift behind weights: rows of the weights and the bias are scaled. */
static void affine_into_weights(const vt_graph *graph, vt_node *to, const vt_node *affine)
{
    const size_t row = vt_weight_count(graph, to) / to->shape.c;

    for (uint32_t n = 0; n < to->shape.c; n++) {
        float *w = to->weight + n * row;

        for (size_t i = 0; i < row; i++)
            w[i] = (float)((double)w[i] * affine->scale[n]);
        to->shift[n] = to->shift[n] * affine->scale[n] + affine->shift[n];
    }
    free(to->step); /* no whole steps any more */
    to->step = NULL;
}

/* y = scale * x + shift before a fully connected layer; each scale covers `span` inputs in turn. */
static void affine_before_fc(const vt_graph *graph, vt_node *fc, const vt_node *affine, size_t span)
{
    const size_t row = vt_weight_count(graph, fc) / fc->shape.c;

    for (uint32_t n = 0; n < fc->shape.c; n++) {
        float *w = fc->weight + n * row;
        double sum = 0;

        for (size_t i = 0; i < row; i++) {
            sum += (double)w[i] * affine->shift[i / span];
            w[i] = (float)((double)w[i] * affine->scale[i / span]);
        }
        fc->shift[n] += sum;
    }
    free(fc->step);
    fc->step = NULL;
}

static void fuse_affine(fusion *f, vt_node *node)
{
    vt_node *before = &f->graph->nodes[node->in];

    if (f->uses[node->in] != 1 || !bare(before))
        return;
    if (before->op == VT_OP_INPUT) {
        for (int c = 0; c < 3; c++) {
            f->graph->in_scale[c] *= node->scale[c];
            f->graph->in_shift[c] = f->graph->in_shift[c] * node->scale[c] + node->shift[c];
        }
    } else if (before->op == VT_OP_CONV || before->op == VT_OP_FC) {
        affine_into_weights(f->graph, before, node);
    } else if (before->op == VT_OP_AFFINE) {
        for (uint32_t c = 0; c < vt_channels(&node->shape); c++) {
            before->scale[c] *= node->scale[c];
            before->shift[c] = before->shift[c] * node->scale[c] + node->shift[c];
        }
    } else {
        return;
    }
    fold(f, node, node->in);
}

/* Its kernel finishes what it stores: residual, PReLU or clip. */
static bool has_epilogue(const vt_node *node)
{
    return node->op == VT_OP_CONV || node->op == VT_OP_FC || node->op == VT_OP_AFFINE || node->op == VT_OP_ADD ||
           node->op == VT_OP_RESIZE;
}

static void fuse_act(fusion *f, vt_node *node)
{
    vt_node *before = &f->graph->nodes[node->in];

    if (f->uses[node->in] != 1 || before->act != VT_ACT_NONE || before->quant.scale != 0 ||
        (node->act == VT_ACT_SIGMOID ? before->op != VT_OP_ROWS : node->act == VT_ACT_EXP || !has_epilogue(before)))
        return;
    before->act = node->act;
    before->slope = node->slope;
    before->lo = node->lo;
    before->hi = node->hi;
    node->slope = NULL;
    fold(f, node, node->in);
}

/* Whatever computes the value rounds it, if nobody wants it as it was. */
static void fuse_quant(fusion *f, vt_node *node)
{
    vt_node *before = &f->graph->nodes[node->in];

    if (f->uses[node->in] != 1 || before->quant.scale != 0 || before->op != VT_OP_CONV)
        return;
    before->quant = node->quant;
    fold(f, node, node->in);
}

/* The later operand is computed last, so it can add the earlier one as it stores. */
static void fuse_add(fusion *f, vt_node *node)
{
    const int last = node->in > node->in2 ? node->in : node->in2;
    const int first = node->in > node->in2 ? node->in2 : node->in;
    vt_node *before = &f->graph->nodes[last];

    if (first == last || f->uses[last] != 1 || !bare(before) ||
        (before->op != VT_OP_CONV && before->op != VT_OP_RESIZE && before->op != VT_OP_AFFINE))
        return;
    before->residual = first;
    fold(f, node, last);
}

/* A batch norm between the last map and the fully connected layer, with a flattening between or not. */
static void fuse_before_fc(fusion *f, vt_node *fc)
{
    vt_graph *graph = f->graph;
    vt_node *flatten = &graph->nodes[fc->in];
    vt_node *affine = flatten;
    size_t span = 1;

    if (flatten->op == VT_OP_FLATTEN) {
        const vt_shape s = graph->nodes[flatten->in].shape;

        if (f->uses[fc->in] != 1)
            return;
        affine = &graph->nodes[flatten->in];
        span = (size_t)s.h * s.w;
    }
    if (affine->op != VT_OP_AFFINE || f->uses[affine - graph->nodes] != 1 || !bare(affine))
        return;
    affine_before_fc(graph, fc, affine, span);
    fold(f, affine, affine->in);
    if (flatten != affine)
        flatten->in = affine->in;
    else
        fc->in = affine->in;
}

/* A 3x3 convolution that Winograd makes cheaper, if its larger weights are within the limit. It can also do the batch norm
 * before it, which the weights of a padded convolution cannot hold: the shift would count where the padding is. */
static void choose_winograd(fusion *f, vt_node *conv)
{
    vt_node *affine = &f->graph->nodes[conv->in];
    const uint64_t floats = vt_winograd_weights(affine->shape.c, conv->shape.c);

    if (!vt_winograd_pays(conv, &affine->shape) || f->winograd_floats + floats > VT_MAX_WINOGRAD / sizeof(float))
        return;
    f->winograd_floats += floats;
    conv->winograd = true;
    if (affine->op != VT_OP_AFFINE || f->uses[conv->in] != 1 || !bare(affine))
        return;
    conv->in_scale = affine->scale;
    conv->in_shift = affine->shift;
    affine->scale = affine->shift = NULL;
    fold(f, affine, affine->in);
    conv->in = affine->in;
}

static int prepare(fusion *f, vultus_error *error)
{
    vt_graph *graph = f->graph;

    f->uses = calloc((size_t)graph->count, sizeof *f->uses);
    if (!f->uses)
        return vt_fail_memory(error, (size_t)graph->count * sizeof *f->uses);
    for (int i = 0; i < graph->count; i++) {
        vt_node *node = &graph->nodes[i];

        if (node->in >= 0)
            f->uses[node->in]++;
        if (node->in2 >= 0)
            f->uses[node->in2]++;
        if ((node->op == VT_OP_CONV || node->op == VT_OP_FC) && !node->shift) {
            node->shift = calloc(node->shape.c, sizeof *node->shift);
            if (!node->shift)
                return vt_fail_memory(error, node->shape.c * sizeof *node->shift);
        }
    }
    for (int i = 0; i < graph->n_outputs; i++)
        f->uses[graph->outputs[i].node]++;
    return VULTUS_OK;
}

int vt_graph_fuse(vt_graph *graph, vultus_error *error)
{
    fusion f = {graph, NULL, 0};
    int status = prepare(&f, error);

    for (int i = 1; i < graph->count && !status; i++) {
        vt_node *node = &graph->nodes[i];

        node->in = resolve(graph, node->in);
        node->in2 = resolve(graph, node->in2);
        if (node->op == VT_OP_AFFINE)
            fuse_affine(&f, node);
        else if (node->op == VT_OP_ACT)
            fuse_act(&f, node);
        else if (node->op == VT_OP_ADD)
            fuse_add(&f, node);
        else if (node->op == VT_OP_QUANT)
            fuse_quant(&f, node);
        else if (node->op == VT_OP_FC)
            fuse_before_fc(&f, node);
        else if (node->op == VT_OP_CONV)
            choose_winograd(&f, node);
        else if (node->op == VT_OP_FLATTEN && graph->nodes[node->in].shape.h == 1 &&
                 graph->nodes[node->in].shape.w == 1)
            fold(&f, node, node->in);
    }
    for (int i = 0; i < graph->n_outputs; i++)
        graph->outputs[i].node = resolve(graph, graph->outputs[i].node);
    free(f.uses);
    return status ? status : vt_graph_lower(graph, error);
}
