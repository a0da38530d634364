/* Weights into the order in which the kernels read them. */
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "plan.h"
#include "winograd.h"

int vt_pack_take(vt_plan *plan, uint64_t count, size_t size, void *out, vultus_error *error)
{
    const uint64_t bytes = count * size;
    void *memory;

    if (bytes > VT_MAX_PACKED || atomic_fetch_add(&plan->weight_bytes, (size_t)bytes) + bytes > VT_MAX_PACKED)
        return vt_fail(error, VULTUS_ERROR_FORMAT, "the packed weights exceed the limit of %llu bytes",
                       (unsigned long long)VT_MAX_PACKED);
    memory = vt_aligned((size_t)count, size);
    if (!memory)
        return vt_fail_memory(error, bytes);
    memcpy(out, &memory, sizeof memory); /* a pointer of any type */
    return VULTUS_OK;
}

static int take(vt_plan *plan, uint64_t count, float **out, vultus_error *error)
{
    return vt_pack_take(plan, count, sizeof(float), out, error);
}

/* Panels of columns, [k][nr] each. Row n of the source has `row` weights, of which source[p] is the p-th to be
 * multiplied, or none (a padding channel) where source[p] is `row`. */
static void pack_panels(float *out, const float *weight, size_t n_out, size_t cp, size_t k, size_t row,
                        const size_t *source)
{
    for (size_t n = 0; n < cp;) {
        const size_t nr = VT_NR(vt_panel(n, cp));

        for (size_t p = 0; p < k; p++, out += nr)
            for (size_t j = 0; j < nr && n + j < n_out && source[p] < row; j++)
                out[j] = weight[(n + j) * row + source[p]];
        n += nr;
    }
}

/* In which order the source's weights, [c][kh][kw], meet the numbers of the input. */
static void source_order(const vt_layer *layer, const vt_map *in, size_t *source)
{
    const size_t taps = (size_t)layer->g.kh * layer->g.kw, pixels = (size_t)in->h * in->w, c = in->c;
    size_t p = 0;

    switch (layer->kind) {
    case VT_KIND_DENSE: /* gathered pixel by pixel, channels innermost */
        for (size_t t = 0; t < taps; t++)
            for (size_t i = 0; i < c; i++)
                source[p++] = i * taps + t;
        break;
    case VT_KIND_FC: /* the same with the map's padding channels between */
        for (size_t t = 0; t < pixels; t++)
            for (size_t i = 0; i < in->ld; i++)
                source[p++] = i < c ? i * pixels + t : c * pixels;
        break;
    default:
        for (; p < layer->k; p++)
            source[p] = p;
    }
}

static int pack_matrix(vt_plan *plan, vt_layer *layer, const vt_node *node, size_t row, vultus_error *error)
{
    const vt_map *in = &plan->maps[layer->in], *out = &plan->maps[layer->out];
    size_t *source = malloc(layer->k * sizeof *source);
    int status = source ? take(plan, (uint64_t)layer->k * out->cp, &layer->weights, error)
                        : vt_fail_memory(error, layer->k * sizeof *source);

    if (!status) {
        source_order(layer, in, source);
        pack_panels(layer->weights, node->weight, out->c, out->cp, layer->k, row, source);
    }
    free(source);
    return status;
}

/* [taps][cp] */
static int pack_depthwise(vt_plan *plan, vt_layer *layer, const vt_node *node, vultus_error *error)
{
    const vt_map *out = &plan->maps[layer->out];
    const size_t taps = (size_t)layer->g.kh * layer->g.kw;
    const int status = take(plan, (uint64_t)taps * out->cp, &layer->weights, error);

    for (size_t c = 0; c < out->c && !status; c++)
        for (size_t t = 0; t < taps; t++)
            layer->weights[t * out->cp + c] = node->weight[c * taps + t];
    return status;
}

/* Where the p-th number, (channel, kernel row, kernel column), lies from the first in the padded planes. */
static int planar_offsets(const vt_plan *plan, vt_layer *layer, vultus_error *error)
{
    const vt_geometry *g = &layer->g;
    size_t *at = layer->offsets = malloc(layer->k * sizeof *at);

    if (!at)
        return vt_fail_memory(error, layer->k * sizeof *at);
    for (size_t c = 0; c < 3; c++)
        for (size_t y = 0; y < g->kh; y++)
            for (size_t x = 0; x < g->kw; x++)
                *at++ = (c * plan->padded_h + y * g->dy) * plan->padded_w + x * g->dx;
    return VULTUS_OK;
}

static int pack_channels(vt_plan *plan, vt_layer *layer, const vt_node *node, vultus_error *error)
{
    const vt_map *out = &plan->maps[layer->out];
    const uint32_t count = vt_channels(&node->shape);
    const size_t padded = layer->kind == VT_KIND_ELTWISE && out->compact ? ((size_t)count + 7) / 8 * 8 : out->cp;
    int status = take(plan, padded, &layer->bias, error);

    for (uint32_t c = 0; c < count && !status && node->shift; c++)
        layer->bias[c] = (float)node->shift[c];
    if (!status && node->slope) {
        status = take(plan, out->cp, &layer->slope, error);
        if (!status)
            memcpy(layer->slope, node->slope, out->c * sizeof(float));
    }
    if (!status && node->op == VT_OP_AFFINE) {
        status = take(plan, padded, &layer->scale, error);
        for (uint32_t c = 0; c < count && !status; c++)
            layer->scale[c] = (float)node->scale[c];
    }
    return status;
}

static int pack_winograd(vt_plan *plan, vt_layer *layer, const vt_node *node, vultus_error *error)
{
    const vt_map *in = &plan->maps[layer->in], *out = &plan->maps[layer->out];
    int status = take(plan, vt_winograd_weights(in->c, out->c), &layer->weights, error);

    if (!status)
        vt_winograd_pack(layer->weights, node->weight, in->c, out->c);
    if (!status && node->in_scale) {
        status = take(plan, in->cp, &layer->in_scale, error);
        if (!status)
            status = take(plan, in->cp, &layer->in_shift, error);
        for (uint32_t c = 0; c < in->c && !status; c++) {
            layer->in_scale[c] = (float)node->in_scale[c];
            layer->in_shift[c] = (float)node->in_shift[c];
        }
    }
    return status;
}

static int pack_layer(vt_plan *plan, vt_layer *layer, const vt_graph *graph, vt_node *node, vultus_error *error)
{
    int status = node->bytes ? vt_pack_bytes(plan, layer, graph, node, error) : pack_channels(plan, layer, node, error);

    if (!status && layer->kind == VT_KIND_PLANAR)
        status = planar_offsets(plan, layer, error);
    if (!status && layer->kind == VT_KIND_DEPTHWISE) {
        status = pack_depthwise(plan, layer, node, error);
    } else if (!status && layer->kind == VT_KIND_WINOGRAD) {
        status = pack_winograd(plan, layer, node, error);
    } else if (!status && layer->kind == VT_KIND_GROUPED) {
        const size_t count = vt_weight_count(graph, node);

        status = take(plan, count, &layer->weights, error);
        if (!status)
            memcpy(layer->weights, node->weight, count * sizeof(float));
    } else if (!status && layer->kind < VT_KIND_POINTWISE8) {
        status = pack_matrix(plan, layer, node, vt_weight_count(graph, node) / node->shape.c, error);
    }
    free(node->weight);
    node->weight = NULL;
    return status;
}

/* Layers that several threads pack: most of the time goes into touching the memory for the first time. */
typedef struct packing {
    vt_plan *plan;
    vt_graph *graph;
    const int *nodes;
    atomic_int next;
    pthread_mutex_t lock;
    int failed, status; /* the first layer that could not be packed, n_layers if all could, and why */
    vultus_error error;
} packing;

static bool pack_some(void *arg, unsigned seat)
{
    packing *p = arg;
    int i;

    (void)seat;
    while ((i = atomic_fetch_add(&p->next, 1)) < p->plan->n_layers) {
        vultus_error error;
        const int status = pack_layer(p->plan, &p->plan->layers[i], p->graph, &p->graph->nodes[p->nodes[i]], &error);

        if (!status)
            continue;
        pthread_mutex_lock(&p->lock);
        if (i < p->failed) {
            p->failed = i;
            p->status = status;
            p->error = error;
        }
        pthread_mutex_unlock(&p->lock);
        atomic_store(&p->next, p->plan->n_layers); /* those before have all been taken */
    }
    return false;
}

int vt_pack_all(vt_plan *plan, vt_graph *graph, const int *nodes, vt_pool *pool, vultus_error *error)
{
    packing p = {.plan = plan, .graph = graph, .nodes = nodes, .failed = plan->n_layers, .status = VULTUS_OK};

    pthread_mutex_init(&p.lock, NULL);
    if (pool)
        vt_pool_run(pool, pack_some, &p, (unsigned)plan->n_layers);
    else
        pack_some(&p, 0);
    pthread_mutex_destroy(&p.lock);
    if (p.status && error)
        *error = p.error;
    return p.status;
}
