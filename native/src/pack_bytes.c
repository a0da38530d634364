/* Weights of INT8 layers into the order in which the kernels read them, with what becomes of each sum. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "plan.h"

/* What is written for a layer: its output channel n at a time. */
typedef struct packer {
    vt_plan *plan;
    vt_layer *layer;
    const vt_graph *graph;
    const vt_node *node;
    vultus_error *error;
    size_t row;      /* weights of an output channel */
    int8_t *weights; /* of one */
} packer;

/* [k / 4][nr][4] within the panel that the channel is in. */
static void pack_pointwise(const packer *p, size_t n)
{
    const size_t cp = p->plan->maps[p->layer->out].cp, k = p->layer->k;
    size_t first = 0, nr;

    for (;; first += nr) {
        nr = VT_NR(vt_panel(first, cp));
        if (n < first + nr)
            break;
    }
    for (size_t i = 0; i < p->row; i++)
        p->layer->weights8[first * k + (i / 4 * nr + n - first) * 4 + i % 4] = p->weights[i];
}

static void pack_depthwise(const packer *p, size_t place)
{
    static const size_t row_of[3] = {0, 2, 1}; /* of taps 0, 1, 2 */
    int8_t *to = p->layer->weights8 + place / VT_BLOCK8 * 384 + place % VT_BLOCK8 * 4;

    for (size_t kx = 0; kx < 3; kx++)
        for (size_t t = 0; t < 3; t++)
            to[kx * 128 + t] = p->weights[row_of[t] * 3 + kx];
}

static int pack_channels(const packer *p, size_t channels)
{
    const bool deep = p->layer->kind == VT_KIND_DEPTHWISE8;

    for (size_t place = 0; place < channels; place++) {
        const size_t n = deep ? vt_dw8_channel(place) : place;

        if (n >= p->node->shape.c)
            continue;
        if (!vt_channel_bytes(p->graph, p->node, (uint32_t)n, p->weights, &p->layer->bias8[place], &p->layer->scale[place]))
            return vt_fail(p->error, VULTUS_ERROR_UNSUPPORTED, "INT8 weights that do not fit their kernels");
        if (p->node->slope)
            p->layer->slope[place] = p->node->slope[n];
        if (deep)
            pack_depthwise(p, place);
        else
            pack_pointwise(p, n);
    }
    return VULTUS_OK;
}

/* Bounds in units of the output; a ReLU that bytes end at anyway is none. */
static void pack_bounds(vt_layer *layer, vt_quant out)
{
    if (layer->act != VT_ACT_CLIP || out.scale == 0)
        return;
    layer->lo /= out.scale;
    layer->hi /= out.scale;
    if (layer->lo <= (float)-out.zero && layer->hi >= (float)(255 - out.zero))
        layer->act = VT_ACT_NONE;
}

int vt_pack_bytes(vt_plan *plan, vt_layer *layer, const vt_graph *graph, const vt_node *node, vultus_error *error)
{
    const vt_map *in = &plan->maps[layer->in], *out = &plan->maps[layer->out];
    const bool deep = layer->kind == VT_KIND_DEPTHWISE8;
    const size_t channels = deep ? out->ld : out->cp;
    packer p = {plan, layer, graph, node, error, vt_weight_count(graph, node) / node->shape.c, NULL};
    int status;

    /* Behind the weights of a depthwise layer stands a pixel of padding. */
    layer->k = deep ? 9 : (in->c + 3u) / 4 * 4;
    status = vt_pack_take(plan, deep ? 13 * channels : (uint64_t)layer->k * channels, 1, &layer->weights8, error);
    if (!status)
        status = vt_pack_take(plan, channels, sizeof(int32_t), &layer->bias8, error);
    if (!status)
        status = vt_pack_take(plan, channels, sizeof(float), &layer->scale, error);
    if (!status && node->slope)
        status = vt_pack_take(plan, channels, sizeof(float), &layer->slope, error);
    if (status)
        return status;
    p.weights = malloc(p.row);
    if (!p.weights)
        return vt_fail_memory(error, p.row);
    status = pack_channels(&p, channels);
    if (deep)
        memset(layer->weights8 + 12 * channels, in->quant.zero, channels);
    pack_bounds(layer, out->quant);
    free(p.weights);
    return status;
}
