/* Which layers several threads compute together on one face, and how each group is cut into pieces.
 *
 * A group is cut by rows: every thread computes a range of the last layer's rows and of the layers before what that needs,
 * in rings of its own. At the seams rows are computed twice, which costs the more the fewer rows a piece has. So late
 * layers are groups of their own, cut by pixels or, where the weights are more than the map, by channels; which costs that
 * all wait for each other after each layer and that maps go from one processor's cache to another's. The cheapest
 * sequence of groups is found by dynamic programming over an estimate of these costs. */
#include <math.h>
#include <stdlib.h>

#include "plan.h"

/* In multiply-adds that take as long. */
#define MEETING 40000.0        /* all wait for each other: about a microsecond */
#define BYTE_OF_MAP 2.0        /* from another processor's cache, or by way of the one that all share */
#define BYTE_OF_WEIGHTS 1.0    /* of the shared cache or of memory, in order */
#define NUMBER 4.0             /* of a layer that does not multiply */
#define DEPTHWISE_FACTOR 2.5   /* its multiply-adds take so much longer than a matrix product's */
#define WINOGRAD_FACTOR 0.35   /* a quarter of them, and the transforms */

#define PIXEL_STEP 4 /* rows of the tile of the most frequent kernel */

static uint64_t pixels(const vt_map *m)
{
    return (uint64_t)m->h * m->w;
}

/* The time of a layer. */
static double work(const vt_plan *plan, int i)
{
    const vt_layer *layer = &plan->layers[i];
    const vt_map *out = &plan->maps[layer->out];
    const double factor = layer->kind == VT_KIND_DEPTHWISE  ? DEPTHWISE_FACTOR
                          : layer->kind == VT_KIND_WINOGRAD ? WINOGRAD_FACTOR
                                                            : 1;
    const double macs = (double)layer->macs * factor;

    return macs + (layer->macs ? 1 : NUMBER) * (double)(pixels(out) * out->cp);
}

static bool is_product(vt_kind kind)
{
    return kind == VT_KIND_POINTWISE || kind == VT_KIND_FC || kind == VT_KIND_DENSE || kind == VT_KIND_WINOGRAD;
}

static bool can_split(const vt_plan *plan, const vt_layer *layer, vt_split split)
{
    const vt_map *out = &plan->maps[layer->out];

    switch (split) {
    case VT_SPLIT_PIXELS:
        return layer->kind == VT_KIND_POINTWISE && layer->g.sx == 1 && layer->g.sy == 1;
    case VT_SPLIT_COLUMNS:
        return is_product(layer->kind) && vt_panels(out->cp) > 1;
    default:
        return true;
    }
}

/* What a piece has a whole number of. */
static uint32_t units(const vt_plan *plan, const vt_layer *layer, vt_split split)
{
    const vt_map *out = &plan->maps[layer->out];

    switch (split) {
    case VT_SPLIT_PIXELS:
        return (uint32_t)((pixels(out) + PIXEL_STEP - 1) / PIXEL_STEP);
    case VT_SPLIT_COLUMNS:
        return (uint32_t)vt_panels(out->cp);
    default:
        return (out->h + vt_row_step(layer) - 1) / vt_row_step(layer);
    }
}

void vt_group_piece(const vt_plan *plan, const vt_group *group, uint32_t piece, uint32_t *from, uint32_t *to)
{
    const vt_layer *layer = &plan->layers[group->last];
    const vt_map *out = &plan->maps[layer->out];
    const uint32_t step = group->split == VT_SPLIT_PIXELS ? PIXEL_STEP : vt_row_step(layer);
    const uint64_t all = group->split == VT_SPLIT_PIXELS ? pixels(out) : out->h;
    const uint64_t count = units(plan, layer, group->split);
    const uint64_t first = count * piece / group->pieces, end = count * (piece + 1) / group->pieces;

    if (group->split == VT_SPLIT_COLUMNS) {
        *from = (uint32_t)vt_panel_start(first, out->cp);
        *to = (uint32_t)vt_panel_start(end, out->cp);
        return;
    }
    *from = (uint32_t)(first * step);
    *to = piece + 1 == group->pieces ? (uint32_t)all : (uint32_t)(end * step);
}

/* What the largest piece of one layer costs. */
static double cost_of_layer(const vt_plan *plan, const vt_group *group)
{
    const vt_layer *layer = &plan->layers[group->last];
    const vt_map *in = &plan->maps[layer->in], *out = &plan->maps[layer->out];
    const uint32_t count = units(plan, layer, group->split);
    const double part = (double)((count + group->pieces - 1) / group->pieces) / count;
    const double map = (double)(pixels(in) * in->ld + pixels(out) * out->ld) * sizeof(float) * BYTE_OF_MAP;
    const double weights = (double)vt_weight_bytes(plan, group->last) * BYTE_OF_WEIGHTS;

    if (group->split == VT_SPLIT_COLUMNS)
        return part * (work(plan, group->last) + weights) + map;
    return part * (work(plan, group->last) + map) + weights;
}

/* What the largest piece of several layers costs: rows at the seams are computed twice. */
static double cost_of_rows(const vt_plan *plan, const vt_group *group)
{
    const vt_map *in = &plan->maps[plan->layers[group->first].in], *out = &plan->maps[plan->layers[group->last].out];
    const double map = (double)(pixels(in) * in->ld + pixels(out) * out->ld) * sizeof(float) * BYTE_OF_MAP;
    double most = 0;

    for (uint32_t piece = 0; piece < group->pieces; piece++) {
        double cost = 0;
        uint32_t from, to;

        vt_group_piece(plan, group, piece, &from, &to);
        for (int i = group->last; i >= group->first; i--) {
            const vt_layer *layer = &plan->layers[i];

            cost += work(plan, i) * (to - from) / plan->maps[layer->out].h;
            from = vt_first_needed(layer, &plan->maps[layer->in], from);
            to = vt_rows_needed(layer, &plan->maps[layer->in], to);
        }
        most = cost > most ? cost : most;
    }
    for (int i = group->first; i <= group->last; i++)
        most += (double)vt_weight_bytes(plan, i) * BYTE_OF_WEIGHTS;
    return most + map / group->pieces;
}

static void set_pieces(const vt_plan *plan, vt_group *group)
{
    const uint32_t count = units(plan, &plan->layers[group->last], group->split);

    group->pieces = count < plan->threads ? count : plan->threads;
}

/* The cheapest way to compute layers first..last as one group; infinite if their rings do not fit the cache. */
static double best_group(vt_plan *plan, int first, int last, vt_group *best)
{
    vt_group group = {.first = first, .last = last};
    double least;

    set_pieces(plan, &group);
    *best = group;
    if (first < last)
        return vt_rings_fit(plan, &group) ? cost_of_rows(plan, &group) : INFINITY;
    least = cost_of_layer(plan, &group);
    for (group.split = VT_SPLIT_PIXELS; group.split <= VT_SPLIT_COLUMNS; group.split++) {
        double cost;

        if (!can_split(plan, &plan->layers[first], group.split))
            continue;
        set_pieces(plan, &group);
        cost = cost_of_layer(plan, &group);
        if (cost < least) {
            least = cost;
            *best = group;
        }
    }
    return least;
}

/* The cheapest sequence of groups that ends with layer `last`, if those that end before are known. */
static void extend(vt_plan *plan, int last, double *cost, vt_group *ends)
{
    cost[last + 1] = INFINITY;
    for (int first = last; first >= 0 && last - first < VT_GROUP_MAX; first--) {
        vt_group group;

        if (first < last && vt_must_cut(plan, first))
            break;
        const double whole = cost[first] + MEETING + best_group(plan, first, last, &group);

        if (whole < cost[last + 1]) {
            cost[last + 1] = whole;
            ends[last] = group;
        }
    }
}

/* Groups of one piece that follow one another are one step: one thread computes them. */
static void join_steps(vt_plan *plan)
{
    for (int g = plan->n_groups - 1; g >= 0; g--) {
        vt_group *group = &plan->groups[g];
        const bool joins = group->pieces == 1 && g + 1 < plan->n_groups && group[1].pieces == 1;

        group->next = joins ? group[1].next : g + 1;
    }
}

int vt_split_layers(vt_plan *plan, vultus_error *error)
{
    const size_t layers = (size_t)plan->n_layers;
    double *cost = calloc(layers + 1, sizeof *cost);
    vt_group *ends = calloc(layers, sizeof *ends); /* the group that ends with each layer */
    const bool taken = cost && ends;

    for (int i = 0; i < plan->n_layers && taken; i++)
        extend(plan, i, cost, ends);
    for (int i = plan->n_layers - 1; i >= 0 && taken; i = ends[i].first - 1)
        plan->n_groups++;
    for (int i = plan->n_layers - 1, g = plan->n_groups; i >= 0 && taken; i = ends[i].first - 1)
        plan->groups[--g] = ends[i];
    free(cost);
    free(ends);
    if (!taken)
        return vt_fail_memory(error, layers * sizeof *ends);
    for (int g = 0; g < plan->n_groups; g++)
        for (int i = plan->groups[g].first; i < plan->groups[g].last; i++)
            plan->maps[plan->layers[i].out].own = true;
    join_steps(plan);
    plan->fill_pieces = plan->maps[0].h < plan->threads ? plan->maps[0].h : plan->threads;
    return VULTUS_OK;
}
