#include "graph.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

int vt_graph_init(vt_graph *graph, const char *format, uint32_t h, uint32_t w, uint64_t offset, vultus_error *error)
{
    if (h == 0 || w == 0 || h > VT_MAX_SIDE || w > VT_MAX_SIDE)
        return vt_fail_at(error, VULTUS_ERROR_FORMAT, offset, "an input of %u x %u pixels is outside 1..%d", h, w,
                          VT_MAX_SIDE);
    graph->nodes = calloc(16, sizeof *graph->nodes);
    if (!graph->nodes)
        return vt_fail_memory(error, 16 * sizeof *graph->nodes);
    graph->capacity = 16;
    graph->count = 1;
    graph->nodes[0] = (vt_node){.op = VT_OP_INPUT, .shape = {.c = 3, .h = h, .w = w}, .in = -1, .in2 = -1, .residual = -1};
    for (int c = 0; c < 3; c++)
        graph->in_scale[c] = 1;
    strncpy(graph->format, format, sizeof graph->format - 1);
    return VULTUS_OK;
}

void vt_node_free(vt_node *node)
{
    free(node->weight);
    free(node->step);
    free(node->scale);
    free(node->shift);
    free(node->in_scale);
    free(node->in_shift);
    free(node->slope);
}

void vt_graph_free(vt_graph *graph)
{
    for (int i = 0; i < graph->count; i++)
        vt_node_free(&graph->nodes[i]);
    for (int i = 0; i < graph->n_outputs; i++)
        free(graph->outputs[i].name);
    free(graph->nodes);
    memset(graph, 0, sizeof *graph);
}

static int append(vt_graph *graph, const vt_node *node, uint64_t offset, int *out, vultus_error *error)
{
    if (graph->count == VT_MAX_NODES)
        return vt_fail_at(error, VULTUS_ERROR_FORMAT, offset, "more than %d layers", VT_MAX_NODES);
    if (graph->count == graph->capacity) {
        const int capacity = graph->capacity * 2;
        vt_node *nodes = realloc(graph->nodes, (size_t)capacity * sizeof *nodes);

        if (!nodes)
            return vt_fail_memory(error, (size_t)capacity * sizeof *nodes);
        graph->nodes = nodes;
        graph->capacity = capacity;
    }
    *out = graph->count++;
    graph->nodes[*out] = *node;
    return VULTUS_OK;
}

static vt_node node_of(vt_op op, int in, vt_shape shape)
{
    return (vt_node){.op = op, .shape = shape, .in = in, .in2 = -1, .residual = -1};
}

static int check_shape(const vt_shape *s, uint64_t offset, vultus_error *error)
{
    if (s->c == 0 || s->h == 0 || s->w == 0)
        return vt_fail_at(error, VULTUS_ERROR_FORMAT, offset, "a map of %u x %u x %u is empty", s->c, s->h, s->w);
    if (s->c > VT_MAX_CHANNELS || s->h > VT_MAX_SIDE || s->w > VT_MAX_SIDE ||
        (uint64_t)s->c * s->h * s->w > VT_MAX_ELEMENTS)
        return vt_fail_at(error, VULTUS_ERROR_FORMAT, offset, "a map of %u x %u x %u exceeds the limit of %u numbers",
                          s->c, s->h, s->w, VT_MAX_ELEMENTS);
    return VULTUS_OK;
}

/* Length of a side that a window goes over; 0 if the kernel does not fit. All operands are within VT_MAX_*. */
static uint32_t window_side(uint32_t in, uint32_t before, uint32_t after, uint32_t kernel, uint32_t stride,
                          uint32_t dilation)
{
    const uint32_t padded = in + before + after, reach = (kernel - 1) * dilation + 1;

    return padded < reach ? 0 : (padded - reach) / stride + 1;
}

/* Of a window that goes over a map: convolution or pooling. Shapes the node. */
static int slide(vt_node *node, const char *what, const vt_shape *s, const vt_geometry *g, uint64_t offset,
                 vultus_error *error)
{
    const uint32_t positive[] = {g->kh, g->kw, g->sy, g->sx, g->dy, g->dx};
    const uint32_t pads[] = {g->top, g->left, g->bottom, g->right};

    for (size_t i = 0; i < sizeof positive / sizeof *positive; i++)
        if (positive[i] == 0 || positive[i] > VT_MAX_KERNEL)
            return vt_fail_at(error, VULTUS_ERROR_FORMAT, offset,
                              "a %s with kernel, stride or dilation %u, which is outside 1..%d", what, positive[i],
                              VT_MAX_KERNEL);
    for (size_t i = 0; i < sizeof pads / sizeof *pads; i++)
        if (pads[i] > VT_MAX_KERNEL)
            return vt_fail_at(error, VULTUS_ERROR_FORMAT, offset, "a %s with padding %u, which exceeds %d", what, pads[i],
                              VT_MAX_KERNEL);
    if (s->flat)
        return vt_fail_at(error, VULTUS_ERROR_FORMAT, offset, "a %s of a flat vector", what);
    node->g = *g;
    node->shape.h = window_side(s->h, g->top, g->bottom, g->kh, g->sy, g->dy);
    node->shape.w = window_side(s->w, g->left, g->right, g->kw, g->sx, g->dx);
    if (node->shape.h == 0 || node->shape.w == 0)
        return vt_fail_at(error, VULTUS_ERROR_FORMAT, offset, "a %u x %u kernel does not fit on a map of %u x %u", g->kh,
                          g->kw, s->h, s->w);
    return VULTUS_OK;
}

int vt_graph_conv(vt_graph *graph, int in, uint32_t c_out, const vt_geometry *g, uint64_t offset, int *out,
                  vultus_error *error)
{
    const vt_shape s = graph->nodes[in].shape;
    vt_node node = node_of(VT_OP_CONV, in, s);
    uint64_t count;
    int status = slide(&node, "convolution", &s, g, offset, error);

    if (status)
        return status;
    if (c_out == 0 || g->groups == 0 || s.c % g->groups || c_out % g->groups)
        return vt_fail_at(error, VULTUS_ERROR_FORMAT, offset, "%u input and %u output channels do not divide into %u groups",
                          s.c, c_out, g->groups);
    node.shape.c = c_out;
    status = check_shape(&node.shape, offset, error);
    if (status)
        return status;
    count = (uint64_t)(s.c / g->groups) * g->kh * g->kw * c_out;
    if (count > VT_MAX_ELEMENTS)
        return vt_fail_at(error, VULTUS_ERROR_FORMAT, offset, "a convolution of %llu weights exceeds the limit of %u",
                          (unsigned long long)count, VT_MAX_ELEMENTS);
    return append(graph, &node, offset, out, error);
}

int vt_graph_max_pool(vt_graph *graph, int in, const vt_geometry *g, uint64_t offset, int *out, vultus_error *error)
{
    const vt_shape s = graph->nodes[in].shape;
    vt_node node = node_of(VT_OP_MAX_POOL, in, s);
    const int status = slide(&node, "pooling", &s, g, offset, error);

    if (status)
        return status;
    /* Then there is a pixel under the window everywhere. */
    if (g->top >= g->kh || g->bottom >= g->kh || g->left >= g->kw || g->right >= g->kw || g->dy != 1 || g->dx != 1)
        return vt_fail_at(error, VULTUS_ERROR_FORMAT, offset, "a pooling with a dilation, or padded by its kernel or more");
    return append(graph, &node, offset, out, error);
}

int vt_graph_resize(vt_graph *graph, int in, uint32_t times_y, uint32_t times_x, uint64_t offset, int *out,
                    vultus_error *error)
{
    const vt_shape s = graph->nodes[in].shape;
    vt_node node = node_of(VT_OP_RESIZE, in, s);
    int status;

    if (times_y == 0 || times_x == 0 || times_y > VT_MAX_KERNEL || times_x > VT_MAX_KERNEL)
        return vt_fail_at(error, VULTUS_ERROR_FORMAT, offset, "a map made %u x %u times as large, which is outside 1..%d",
                          times_y, times_x, VT_MAX_KERNEL);
    node.g = (vt_geometry){1, 1, times_y, times_x, 1, 1, 0, 0, 0, 0, 1};
    node.shape.h *= times_y;
    node.shape.w *= times_x;
    status = check_shape(&node.shape, offset, error);
    return status ? status : append(graph, &node, offset, out, error);
}

int vt_graph_rows(vt_graph *graph, int in, uint32_t columns, uint64_t offset, int *out, vultus_error *error)
{
    const vt_shape s = graph->nodes[in].shape;
    const uint32_t all = s.c * s.h * s.w; /* within VT_MAX_ELEMENTS */
    vt_node node = node_of(VT_OP_ROWS, in, (vt_shape){.c = columns, .h = 1, .rows = true});

    if (columns == 0 || all % columns)
        return vt_fail_at(error, VULTUS_ERROR_FORMAT, offset, "%u numbers do not make rows of %u", all, columns);
    node.shape.w = all / columns;
    return append(graph, &node, offset, out, error);
}

int vt_graph_curve(vt_graph *graph, int in, vt_act act, uint64_t offset, int *out, vultus_error *error)
{
    vt_node node = node_of(VT_OP_ACT, in, graph->nodes[in].shape);

    node.act = act;
    return append(graph, &node, offset, out, error);
}

static int join_shape(const vt_graph *graph, const int *parts, size_t n, bool rows, vt_shape *whole, uint64_t offset,
                      vultus_error *error)
{
    uint64_t channels = 0, length = 0;

    *whole = graph->nodes[parts[0]].shape;
    for (size_t i = 0; i < n; i++) {
        const vt_shape s = graph->nodes[parts[i]].shape;

        if (s.rows != whole->rows || s.flat != whole->flat || s.h != whole->h || (rows ? s.c != whole->c : s.w != whole->w))
            return vt_fail_at(error, VULTUS_ERROR_FORMAT, offset,
                              "values of %u x %u x %u and %u x %u x %u put together", whole->c, whole->h, whole->w, s.c, s.h,
                              s.w);
        channels += s.c;
        length += s.w;
    }
    if (channels > VT_MAX_ELEMENTS || length > VT_MAX_ELEMENTS)
        return vt_fail_at(error, VULTUS_ERROR_FORMAT, offset, "values put together exceed the limit of %u numbers",
                          VT_MAX_ELEMENTS);
    *(rows ? &whole->w : &whole->c) = (uint32_t)(rows ? length : channels);
    if ((uint64_t)whole->c * whole->h * whole->w > VT_MAX_ELEMENTS || (!whole->rows && whole->c > VT_MAX_CHANNELS))
        return vt_fail_at(error, VULTUS_ERROR_FORMAT, offset, "values put together exceed the limit of %u numbers",
                          VT_MAX_ELEMENTS);
    return VULTUS_OK;
}

int vt_graph_join(vt_graph *graph, const int *parts, size_t n, bool rows, uint64_t offset, int *out, vultus_error *error)
{
    vt_shape whole;
    vt_node node;
    int status = join_shape(graph, parts, n, rows, &whole, offset, error);

    node = node_of(VT_OP_JOIN, -1, whole);
    for (size_t i = 0; i < n && !status; i++) {
        node.in = parts[i];
        status = append(graph, &node, offset, out, error);
        *(rows ? &node.first_row : &node.first) += rows ? graph->nodes[parts[i]].shape.w : graph->nodes[parts[i]].shape.c;
        node.in2 = *out;
    }
    return status;
}

int vt_graph_columns(vt_graph *graph, int in, uint32_t first, uint32_t count, uint64_t offset, int *out,
                     vultus_error *error)
{
    vt_node node = node_of(VT_OP_COLUMNS, in, graph->nodes[in].shape);

    if (count == 0 || first > node.shape.c || count > node.shape.c - first)
        return vt_fail_at(error, VULTUS_ERROR_FORMAT, offset, "columns %u to %u of %u", first, first + count, node.shape.c);
    node.first = first;
    node.shape.c = count;
    return append(graph, &node, offset, out, error);
}

int vt_graph_softmax(vt_graph *graph, int in, uint64_t offset, int *out, vultus_error *error)
{
    const vt_node node = node_of(VT_OP_SOFTMAX, in, graph->nodes[in].shape);

    return append(graph, &node, offset, out, error);
}

int vt_graph_fc(vt_graph *graph, int in, uint32_t n_out, uint64_t offset, int *out, vultus_error *error)
{
    const vt_shape s = graph->nodes[in].shape;
    vt_node node = node_of(VT_OP_FC, in, (vt_shape){.c = n_out, .h = 1, .w = 1, .flat = true});

    if (!s.flat)
        return vt_fail_at(error, VULTUS_ERROR_FORMAT, offset, "a fully connected layer of a map that was not flattened");
    if (n_out == 0 || (uint64_t)n_out * s.c > VT_MAX_ELEMENTS)
        return vt_fail_at(error, VULTUS_ERROR_FORMAT, offset, "a fully connected layer of %u x %u is outside 1..%u weights",
                          n_out, s.c, VT_MAX_ELEMENTS);
    return append(graph, &node, offset, out, error);
}

int vt_graph_affine(vt_graph *graph, int in, uint64_t offset, int *out, vultus_error *error)
{
    const vt_node node = node_of(VT_OP_AFFINE, in, graph->nodes[in].shape);

    if (vt_channels(&node.shape) > VT_MAX_CHANNELS)
        return vt_fail_at(error, VULTUS_ERROR_FORMAT, offset, "arithmetic on %u numbers exceeds the limit of %u",
                          vt_channels(&node.shape), VT_MAX_CHANNELS);
    return append(graph, &node, offset, out, error);
}

int vt_graph_prelu(vt_graph *graph, int in, uint64_t offset, int *out, vultus_error *error)
{
    vt_node node = node_of(VT_OP_ACT, in, graph->nodes[in].shape);

    node.act = VT_ACT_PRELU;
    return append(graph, &node, offset, out, error);
}

int vt_graph_clip(vt_graph *graph, int in, float lo, float hi, uint64_t offset, int *out, vultus_error *error)
{
    vt_node node = node_of(VT_OP_ACT, in, graph->nodes[in].shape);

    if (!(lo <= hi))
        return vt_fail_at(error, VULTUS_ERROR_FORMAT, offset, "a clip from %g to %g", (double)lo, (double)hi);
    node.act = VT_ACT_CLIP;
    node.lo = lo;
    node.hi = hi;
    return append(graph, &node, offset, out, error);
}

int vt_graph_add(vt_graph *graph, int a, int b, uint64_t offset, int *out, vultus_error *error)
{
    const vt_shape s = graph->nodes[a].shape, t = graph->nodes[b].shape;
    vt_node node = node_of(VT_OP_ADD, a, s);

    if (s.c != t.c || s.h != t.h || s.w != t.w || s.flat != t.flat || s.rows != t.rows)
        return vt_fail_at(error, VULTUS_ERROR_FORMAT, offset, "an addition of %u x %u x %u and %u x %u x %u", s.c, s.h, s.w,
                          t.c, t.h, t.w);
    node.in2 = b;
    return append(graph, &node, offset, out, error);
}

int vt_graph_quant(vt_graph *graph, int in, vt_quant quant, uint64_t offset, int *out, vultus_error *error)
{
    vt_node node = node_of(VT_OP_QUANT, in, graph->nodes[in].shape);

    /* Far from the ends of the range, so that neither its inverse nor a product with a weight leaves it. */
    if (!(quant.scale >= 1e-20f && quant.scale <= 1e20f))
        return vt_fail_at(error, VULTUS_ERROR_FORMAT, offset, "a scale of activations of %g is outside 1e-20..1e20",
                          (double)quant.scale);
    node.quant = quant;
    return append(graph, &node, offset, out, error);
}

int vt_graph_flatten(vt_graph *graph, int in, uint64_t offset, int *out, vultus_error *error)
{
    const vt_shape s = graph->nodes[in].shape;
    const uint64_t n = (uint64_t)s.c * s.h * s.w;
    const vt_node node = node_of(VT_OP_FLATTEN, in, (vt_shape){.c = (uint32_t)n, .h = 1, .w = 1, .flat = true});

    if (n > VT_MAX_CHANNELS)
        return vt_fail_at(error, VULTUS_ERROR_FORMAT, offset, "a vector of %llu numbers exceeds the limit of %u",
                          (unsigned long long)n, VT_MAX_CHANNELS);
    return append(graph, &node, offset, out, error);
}

int vt_graph_output(vt_graph *graph, const void *name, size_t size, int node, uint64_t offset, vultus_error *error)
{
    vt_output *output = &graph->outputs[graph->n_outputs];

    if (graph->n_outputs == VT_MAX_OUTPUTS)
        return vt_fail_at(error, VULTUS_ERROR_FORMAT, offset, "more than %d outputs", VT_MAX_OUTPUTS);
    if (size == 0 || size > VT_MAX_NAME || memchr(name, 0, size))
        return vt_fail_at(error, VULTUS_ERROR_FORMAT, offset, "an output's name is not 1 to %d bytes other than 0",
                          VT_MAX_NAME);
    for (int i = 0; i < graph->n_outputs; i++)
        if (strlen(graph->outputs[i].name) == size && memcmp(graph->outputs[i].name, name, size) == 0)
            return vt_fail_at(error, VULTUS_ERROR_FORMAT, offset, "two outputs of the name '%s'", graph->outputs[i].name);
    output->name = calloc(size + 1, 1);
    if (!output->name)
        return vt_fail_memory(error, size + 1);
    memcpy(output->name, name, size);
    output->node = node;
    graph->n_outputs++;
    return VULTUS_OK;
}

uint32_t vt_channels(const vt_shape *shape)
{
    return shape->rows ? shape->c * shape->w : shape->c; /* within VT_MAX_ELEMENTS */
}

size_t vt_weight_count(const vt_graph *graph, const vt_node *node)
{
    const vt_shape s = graph->nodes[node->in].shape;

    if (node->op == VT_OP_FC)
        return (size_t)s.c * node->shape.c;
    return (size_t)(s.c / node->g.groups) * node->g.kh * node->g.kw * node->shape.c;
}
