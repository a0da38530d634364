/* Which layers are computed together, in bands of how many rows, and where every map lies.
 *
 * A layer that widens its input (the expansion of an inverted residual block) makes a map that does not fit the cache,
 * only to be narrowed again. So layers form a group: the group's last layer is computed a band of rows at a time, each
 * layer before it makes the rows that this needs, and the maps between them shrink to rings of a few rows. A group is as
 * long as its rings fit the cache; where they do not, it is split at its smallest map. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "plan.h"
#include "winograd.h"

#define SMALL_BYTES ((uint64_t)64 << 10) /* a map that stays in the cache whole */

static uint64_t map_floats(const vt_plan *plan, int i, uint32_t rows)
{
    const vt_map *m = &plan->maps[i];

    if (i == 0 && plan->planar_input)
        return (uint64_t)3 * plan->padded_h * plan->padded_w;
    if (m->quant.scale != 0)
        return ((uint64_t)rows * m->w * m->ld + sizeof(float) - 1) / sizeof(float);
    return (uint64_t)rows * m->w * m->ld;
}

static uint64_t out_bytes(const vt_plan *plan, int layer)
{
    const int map = plan->layers[layer].out;

    return map_floats(plan, map, plan->maps[map].h) * sizeof(float);
}

uint64_t vt_weight_bytes(const vt_plan *plan, int layer)
{
    const vt_layer *l = &plan->layers[layer];

    if (l->kind == VT_KIND_WINOGRAD)
        return vt_winograd_weights(plan->maps[l->in].c, plan->maps[l->out].c) * sizeof(float);
    if (l->kind == VT_KIND_POINTWISE8 || l->kind == VT_KIND_DEPTHWISE8)
        return (uint64_t)l->k * plan->maps[l->out].cp;
    return l->kind == VT_KIND_DEPTHWISE || l->kind >= VT_KIND_ELTWISE ? 0 : (uint64_t)l->k * plan->maps[l->out].cp * sizeof(float);
}

bool vt_must_cut(const vt_plan *plan, int i)
{
    const vt_layer *next = &plan->layers[i + 1];
    const vt_map *m = &plan->maps[plan->layers[i].out];

    if (i + 1 == plan->tail)
        return true;
    if (plan->layers[i].kind == VT_KIND_WINOGRAD || next->kind == VT_KIND_WINOGRAD)
        return true; /* it wants all rows, since its weights are large */
    if (m->readers != 1 || next->in != plan->layers[i].out || m->slots > 1 || m->whole)
        return true; /* others want it too, and later, or write to it */
    return next->kind == VT_KIND_FC || plan->maps[next->out].h == 1; /* all rows are needed before the next can begin */
}

/* Whether the map between layer i and the next one has to stay whole, or is better left so. */
static bool cut_after(const vt_plan *plan, int i)
{
    const uint64_t bytes = out_bytes(plan, i);

    if (vt_must_cut(plan, i))
        return true;
    return bytes <= SMALL_BYTES || bytes < vt_weight_bytes(plan, i) || bytes < vt_weight_bytes(plan, i + 1);
}

uint32_t vt_rows_needed(const vt_layer *layer, const vt_map *in, uint32_t end)
{
    const vt_geometry *g = &layer->g;

    if (layer->kind == VT_KIND_RESIZE)
        return (end + g->sy - 1) / g->sy;
    const uint64_t reach = end ? (uint64_t)(end - 1) * g->sy + (uint64_t)(g->kh - 1) * g->dy + 1 : 0;

    return reach <= g->top ? 0 : reach - g->top < in->h ? (uint32_t)(reach - g->top) : in->h;
}

uint32_t vt_first_needed(const vt_layer *layer, const vt_map *in, uint32_t row)
{
    const uint64_t start = (uint64_t)row * layer->g.sy;

    if (layer->kind == VT_KIND_RESIZE)
        return row / layer->g.sy;
    return start <= layer->g.top ? 0 : start - layer->g.top < in->h ? (uint32_t)(start - layer->g.top) : in->h;
}

void vt_group_begin(const vt_plan *plan, const vt_group *group, uint32_t start, uint32_t *done)
{
    done[group->last] = start;
    for (int i = group->last; i > group->first; i--) {
        const vt_layer *layer = &plan->layers[i];

        done[i - 1] = vt_first_needed(layer, &plan->maps[layer->in], done[i]);
    }
}

void vt_group_advance(const vt_plan *plan, const vt_group *group, uint32_t end, const uint32_t *done, uint32_t *upto)
{
    upto[group->last] = end;
    for (int i = group->last; i > group->first; i--) {
        const vt_layer *layer = &plan->layers[i];
        const uint32_t needed = vt_rows_needed(layer, &plan->maps[layer->in], upto[i]);

        upto[i - 1] = needed > done[i - 1] ? needed : done[i - 1];
    }
}

/* One piece of the group, with its band height: maps get the rows that their rings need. */
static void simulate_piece(vt_plan *plan, const vt_group *group, uint32_t piece, uint32_t *done, uint32_t *upto)
{
    uint32_t from, to;

    vt_group_piece(plan, group, piece, &from, &to);
    vt_group_begin(plan, group, from, done);
    while (done[group->last] < to) {
        const uint32_t left = to - done[group->last];

        vt_group_advance(plan, group, to - left + (left < group->band ? left : group->band), done, upto);
        for (int i = group->last; i > group->first; i--) {
            const vt_layer *layer = &plan->layers[i];
            vt_map *in = &plan->maps[layer->in];
            const uint32_t oldest = vt_first_needed(layer, in, done[i]);

            if (upto[i - 1] > oldest && upto[i - 1] - oldest > in->rows)
                in->rows = upto[i - 1] - oldest;
        }
        memcpy(done + group->first, upto + group->first, (size_t)(group->last - group->first + 1) * sizeof *done);
    }
}

/* Goes through the group with its band height. Returns the bytes of the rings, whose rows are stored in the maps. */
static uint64_t simulate(vt_plan *plan, const vt_group *group, uint32_t *done, uint32_t *upto)
{
    uint64_t bytes = 0;

    for (int i = group->first; i < group->last; i++)
        plan->maps[plan->layers[i].out].rows = 1;
    for (uint32_t piece = 0; piece < group->pieces; piece++)
        simulate_piece(plan, group, piece, done, upto);
    for (int i = group->first; i < group->last; i++)
        bytes += map_floats(plan, plan->layers[i].out, plan->maps[plan->layers[i].out].rows) * sizeof(float);
    return bytes;
}

/* The rings of a group of bands of one row, between the edges of the map. */
bool vt_rings_fit(const vt_plan *plan, const vt_group *group)
{
    uint64_t bytes = 0, advance = 1; /* rows that a layer goes on with every band */

    for (int i = group->last; i > group->first; i--) {
        const vt_layer *layer = &plan->layers[i];
        const vt_map *in = &plan->maps[layer->in];
        const bool resize = layer->kind == VT_KIND_RESIZE;
        const uint64_t rows = resize ? advance / layer->g.sy + 2
                                     : (advance - 1) * layer->g.sy + (uint64_t)(layer->g.kh - 1) * layer->g.dy + 1;

        bytes += map_floats(plan, layer->in, rows < in->h ? (uint32_t)rows : in->h) * sizeof(float);
        advance = resize ? (advance + layer->g.sy - 1) / layer->g.sy : advance * layer->g.sy;
        advance = advance < in->h ? advance : in->h;
    }
    return bytes <= plan->ring_bytes;
}

/* The largest band whose rings fit the cache, or false. A group of one layer has no rings. */
static bool choose_band(vt_plan *plan, vt_group *group, uint32_t *done, uint32_t *upto)
{
    const uint32_t height = plan->maps[plan->layers[group->last].out].h;

    group->band = height;
    if (group->first == group->last)
        return true;
    group->band = 1;
    if (simulate(plan, group, done, upto) > plan->ring_bytes)
        return false;
    /* 1, 2, 3, 4, 6, 8, 12, ... pieces; with as many as rows, the band is 1 and fits */
    for (uint32_t pieces = 1;; pieces += pieces < 3 ? 1 : pieces & (pieces - 1) ? pieces / 3 : pieces / 2) {
        group->band = pieces < height ? (height + pieces - 1) / pieces : 1;
        if (simulate(plan, group, done, upto) <= plan->ring_bytes)
            return true;
    }
}

/* Layers first..last as one group, or as several. */
static void form_groups(vt_plan *plan, int first, int last, uint32_t *done, uint32_t *upto)
{
    while (first <= last) {
        vt_group *group = &plan->groups[plan->n_groups];

        *group = (vt_group){.first = first, .last = last, .pieces = 1};
        while (!choose_band(plan, group, done, upto)) {
            int cut = group->first;

            for (int i = group->first; i < group->last; i++)
                if (out_bytes(plan, i) <= out_bytes(plan, cut))
                    cut = i;
            for (int i = cut; i <= group->last; i++)
                plan->maps[plan->layers[i].out].rows = plan->maps[plan->layers[i].out].h;
            group->last = cut;
        }
        plan->n_groups++;
        first = group->last + 1;
    }
}

typedef struct extent {
    int map; /* -1: the scratch */
    uint64_t floats, offset;
    int from, to; /* groups, -1 for the input and n_groups for the tail, during which it is in use */
} extent;

static int by_size(const void *a, const void *b)
{
    const extent *x = a, *y = b;

    return x->floats != y->floats ? (x->floats < y->floats ? 1 : -1) : x->map - y->map;
}

/* Largest first, each at the lowest offset that is free while it is in use. Leaves the extents in order of offset. */
static uint64_t place(extent *extents, int count)
{
    uint64_t total = 0;

    qsort(extents, (size_t)count, sizeof *extents, by_size);
    for (int i = 0; i < count; i++) {
        extent e = extents[i];
        int at = i;

        for (int j = 0; j < i; j++) {
            const extent *f = &extents[j];

            if (f->from > e.to || e.from > f->to)
                continue;
            if (f->offset >= e.offset + e.floats)
                break;
            if (f->offset + f->floats > e.offset)
                e.offset = f->offset + f->floats;
        }
        for (; at > 0 && extents[at - 1].offset > e.offset; at--)
            extents[at] = extents[at - 1];
        extents[at] = e;
        total = e.offset + e.floats > total ? e.offset + e.floats : total;
    }
    return total;
}

static int group_of(const vt_plan *plan, int layer)
{
    int low = 0, high = plan->n_groups; /* the first group that ends at or after the layer */

    if (layer < 0)
        return -1;
    while (low < high) {
        const int middle = (low + high) / 2;

        if (plan->groups[middle].last < layer)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static uint64_t line(uint64_t floats)
{
    return (floats + VT_ALIGN / sizeof(float) - 1) / (VT_ALIGN / sizeof(float)) * (VT_ALIGN / sizeof(float));
}

/* Rows of zeros for depthwise layers, and gathered pixels for dense ones: as much as the hungriest layer wants. */
static void side_buffers(vt_plan *plan)
{
    for (int i = 0; i < plan->tail; i++) {
        const vt_layer *layer = &plan->layers[i];
        const vt_map *in = &plan->maps[layer->in], *out = &plan->maps[layer->out];
        const size_t zeros = layer->kind == VT_KIND_DEPTHWISE ? (size_t)in->w * in->ld
                             : layer->kind == VT_KIND_GROUPED || layer->kind == VT_KIND_WINOGRAD
                                 ? out->cp /* a bias of nothing */
                                 : 0;
        const size_t gathered = layer->kind == VT_KIND_DENSE      ? vt_dense_rows(layer, out) * out->w * layer->k
                                : layer->kind == VT_KIND_WINOGRAD ? vt_winograd_scratch(in, out)
                                                                  : 0;

        plan->zero_floats = zeros > plan->zero_floats ? zeros : plan->zero_floats;
        plan->scratch_floats = gathered > plan->scratch_floats ? gathered : plan->scratch_floats;
    }
}

static int lay_out(vt_plan *plan, vultus_error *error)
{
    extent *extents = calloc((size_t)plan->n_maps + 1, sizeof *extents);
    uint64_t total = 0;

    if (!extents)
        return vt_fail_memory(error, ((uint64_t)plan->n_maps + 1) * sizeof *extents);
    for (int i = 0; i < plan->n_maps; i++) {
        vt_map *m = &plan->maps[i];
        const uint64_t floats = line(map_floats(plan, i, m->rows));

        m->slot_stride = (size_t)floats;
        extents[i] = (extent){i, floats * m->slots, 0, group_of(plan, m->producer), group_of(plan, m->last_reader)};
        if (m->slots > 1 && extents[i].from < plan->deep)
            extents[i].from = -1; /* written for one face while others' are kept */
    }
    extents[plan->n_maps] = (extent){-1, line(plan->scratch_floats), 0, -1, plan->n_groups};
    /* The sum of all is far from 2^64: 2^12 maps of at most 2^33 floats in 12 slots. */
    total = place(extents, plan->n_maps + 1);
    if (total * sizeof(float) <= VT_MAX_ARENA) {
        for (int i = 0; i <= plan->n_maps; i++) {
            if (extents[i].map < 0)
                plan->scratch = (size_t)extents[i].offset;
            else
                plan->maps[extents[i].map].offset = (size_t)extents[i].offset;
        }
        plan->arena_floats = (size_t)total;
    }
    free(extents);
    if (total * sizeof(float) > VT_MAX_ARENA)
        return vt_fail(error, VULTUS_ERROR_FORMAT, "%" PRIu64 " bytes of working memory for each thread exceed the limit of %"
                       PRIu64, total * sizeof(float), VT_MAX_ARENA);
    return VULTUS_OK;
}

/* For one thread: groups as long as maps and rings allow. */
static void group_layers(vt_plan *plan, uint32_t *done, uint32_t *upto)
{
    for (int first = 0, last; first < plan->tail; first = last + 1) {
        for (last = first; last - first < VT_GROUP_MAX && !cut_after(plan, last);)
            last++;
        form_groups(plan, first, last, done, upto);
    }
}

int vt_plan_bands(vt_plan *plan, vultus_error *error)
{
    uint32_t *rows = malloc(2 * (size_t)plan->n_layers * sizeof *rows);
    int status = VULTUS_OK;

    if (!rows)
        return vt_fail_memory(error, 2 * (size_t)plan->n_layers * sizeof *rows);
    if (plan->threads == 1)
        group_layers(plan, rows, rows + plan->n_layers);
    else
        status = vt_split_layers(plan, error);
    for (int g = 0; plan->threads > 1 && g < plan->n_groups; g++) /* 1 row where even that does not fit */
        choose_band(plan, &plan->groups[g], rows, rows + plan->n_layers);
    free(rows);
    plan->deep = group_of(plan, plan->deep);
    side_buffers(plan);
    return status ? status : lay_out(plan, error);
}
