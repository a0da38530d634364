#include "run.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "winograd.h"

/* One call of a layer: which rows, in whose memory. */
typedef struct step {
    const vt_plan *plan;
    const vt_layer *layer;
    float *arena;
    const float *zeros;
    size_t slot; /* of maps that keep several faces */
    vt_clock *clock;
} step;

static void lap(const step *s, int layer)
{
    if (s->clock)
        vt_clock_lap(s->clock, (size_t)(1 + layer));
}

int vt_context_init(vt_context *context, const vt_plan *plan, vultus_error *error)
{
    const size_t layers = (size_t)plan->n_layers;

    context->arena = vt_aligned(plan->arena_floats, sizeof(float));
    context->done = calloc(layers, sizeof *context->done);
    context->upto = calloc(layers, sizeof *context->upto);
    if (context->arena && context->done && context->upto)
        return VULTUS_OK;
    vt_context_free(context);
    return vt_fail_memory(error, plan->arena_floats * sizeof(float));
}

void vt_context_free(vt_context *context)
{
    free(context->arena);
    free(context->done);
    free(context->upto);
    memset(context, 0, sizeof *context);
}

static float *row_of(const step *s, int map, size_t row)
{
    const vt_map *m = &s->plan->maps[map];

    return s->arena + m->offset + (m->slots > 1 ? s->slot * m->slot_stride : 0) + row % m->rows * m->w * m->ld;
}

/* Rows from `row` on, at most `most`, that stand one after the other. */
static size_t run_length(const step *s, int map, size_t row, size_t most)
{
    const vt_map *m = &s->plan->maps[map];
    const size_t length = m->rows - row % m->rows;

    return length < most ? length : most;
}

static vt_epilogue epilogue_of(const step *s, size_t row)
{
    const vt_layer *l = s->layer;
    vt_epilogue e = {.bias = l->bias, .slope = l->slope, .lo = l->lo, .hi = l->hi, .act = l->act};

    if (l->residual != VT_NO_MAP) {
        e.residual = row_of(s, l->residual, row);
        e.ldr = s->plan->maps[l->residual].ld;
    }
    return e;
}

/* m pixels through all panels. Deep products go in blocks, so that a panel's block stays in the first-level cache. */
static void multiply(const step *s, size_t m, const float *a, size_t lda, float *out, size_t ldo, const vt_epilogue *e)
{
    const vt_layer *l = s->layer;
    const size_t cp = s->plan->maps[l->out].cp, blocks = (l->k + VT_K_BLOCK - 1) / VT_K_BLOCK;
    const size_t depth = (l->k + blocks - 1) / blocks;

    for (size_t p = 0; p < l->k; p += depth) {
        const size_t k = l->k - p < depth ? l->k - p : depth;

        for (size_t n = 0; n < cp;) {
            const int panel = vt_panel(n, cp);
            vt_epilogue part = *e;

            part.bias = p ? NULL : e->bias + n;
            part.residual = e->residual && p + k == l->k ? e->residual + n : NULL;
            part.slope = e->slope ? e->slope + n : NULL;
            part.act = p + k == l->k ? e->act : VT_ACT_NONE;
            s->plan->kernels.gemm[panel](m, k, a + p, lda, l->weights + n * l->k + p * VT_NR(panel), out + n, ldo, &part);
            n += VT_NR(panel);
        }
    }
}

static void run_planar(const step *s, size_t row)
{
    const vt_layer *l = s->layer;
    const vt_plan *plan = s->plan;
    const vt_map *out = &plan->maps[l->out];
    const float *in = s->arena + plan->maps[l->in].offset + row * l->g.sy * plan->padded_w;
    const vt_epilogue e = epilogue_of(s, row);
    float *to = row_of(s, l->out, row);

    for (size_t n = 0; n < out->cp;) {
        const int panel = vt_panel(n, out->cp);
        vt_epilogue part = e;

        part.bias = e.bias + n;
        part.residual = e.residual ? e.residual + n : NULL;
        part.slope = e.slope ? e.slope + n : NULL;
        plan->kernels.planar[panel](out->w, l->k, in, l->g.sx, l->offsets, l->weights + n * l->k, to + n, out->ld, &part);
        n += VT_NR(panel);
    }
}

/* Rows that stand one after the other in all maps are one product. Returns how many rows were done. */
static size_t run_pointwise(const step *s, size_t row, size_t most)
{
    const vt_layer *l = s->layer;
    const vt_map *in = &s->plan->maps[l->in], *out = &s->plan->maps[l->out];
    const vt_epilogue e = epilogue_of(s, row);
    size_t rows = 1;

    if (l->g.sx == 1 && l->g.sy == 1) {
        rows = run_length(s, l->in, row, run_length(s, l->out, row, most));
        if (l->residual != VT_NO_MAP)
            rows = run_length(s, l->residual, row, rows);
    }
    multiply(s, rows * out->w, row_of(s, l->in, row * l->g.sy), l->g.sx * in->ld, row_of(s, l->out, row), out->ld, &e);
    return rows;
}

/* The pixels under the kernel at each place of an output row, one after the other; zeros outside the map. */
static void gather(const step *s, size_t row, float *to)
{
    const vt_layer *l = s->layer;
    const vt_geometry *g = &l->g;
    const vt_map *in = &s->plan->maps[l->in], *out = &s->plan->maps[l->out];

    for (size_t x = 0; x < out->w; x++) {
        for (size_t ky = 0; ky < g->kh; ky++) {
            const size_t y = row * g->sy + ky * g->dy - g->top; /* wraps where above the map */
            const float *from = y < in->h ? row_of(s, l->in, y) : NULL;

            for (size_t kx = 0; kx < g->kw; kx++, to += in->c) {
                const size_t column = x * g->sx + kx * g->dx - g->left;

                if (from && column < in->w)
                    memcpy(to, from + column * in->ld, in->c * sizeof *to);
                else
                    memset(to, 0, in->c * sizeof *to);
            }
        }
    }
}

static void run_dense(const step *s, size_t row)
{
    const vt_map *out = &s->plan->maps[s->layer->out];
    float *gathered = s->arena + s->plan->scratch;
    const vt_epilogue e = epilogue_of(s, row);

    gather(s, row, gathered);
    multiply(s, out->w, gathered, s->layer->k, row_of(s, s->layer->out, row), out->ld, &e);
}

static void run_winograd(const step *s, size_t row, size_t end)
{
    const vt_epilogue e = epilogue_of(s, row);

    vt_winograd_run(s->plan, s->layer, row_of(s, s->layer->in, 0), row_of(s, s->layer->out, row), &e, s->zeros,
                    s->arena + s->plan->scratch, row, end);
}

static void run_depthwise(const step *s, size_t row)
{
    const vt_layer *l = s->layer;
    const vt_map *in = &s->plan->maps[l->in], *out = &s->plan->maps[l->out];
    vt_dw_row r = {.w_in = in->w, .ld_in = in->ld, .out = row_of(s, l->out, row), .w_out = out->w, .ldo = out->ld,
                   .cp = out->cp, .kh = l->g.kh, .kw = l->g.kw, .stride = l->g.sx, .dilation = l->g.dx, .left = l->g.left,
                   .w = l->weights, .e = epilogue_of(s, row)};

    for (size_t ky = 0; ky < l->g.kh; ky++) {
        const size_t y = row * l->g.sy + ky * l->g.dy - l->g.top;

        r.rows[ky] = y < in->h ? row_of(s, l->in, y) : s->zeros;
    }
    l->depthwise(&r);
}

static float grouped_sum(const step *s, size_t row, size_t x, size_t channel)
{
    const vt_layer *l = s->layer;
    const vt_geometry *g = &l->g;
    const vt_map *in = &s->plan->maps[l->in], *out = &s->plan->maps[l->out];
    const size_t depth = in->c / g->groups, first = channel / (out->c / g->groups) * depth;
    const float *w = l->weights + channel * depth * g->kh * g->kw;
    float sum = l->bias[channel];

    for (size_t i = 0; i < depth; i++) {
        for (size_t ky = 0; ky < g->kh; ky++) {
            const size_t y = row * g->sy + ky * g->dy - g->top;

            for (size_t kx = 0; kx < g->kw; kx++, w++) {
                const size_t column = x * g->sx + kx * g->dx - g->left;

                if (y < in->h && column < in->w)
                    sum += *w * row_of(s, l->in, y)[column * in->ld + first + i];
            }
        }
    }
    return sum;
}

/* Sums first, then the epilogue by the elementwise kernel, in place. */
static void run_grouped(const step *s, size_t row)
{
    const vt_map *out = &s->plan->maps[s->layer->out];
    vt_epilogue e = epilogue_of(s, row);
    float *to = row_of(s, s->layer->out, row);

    e.bias = s->zeros;
    for (size_t x = 0; x < out->w; x++)
        for (size_t c = 0; c < out->cp; c++)
            to[x * out->ld + c] = c < out->c ? grouped_sum(s, row, x, c) : 0;
    s->plan->kernels.eltwise(out->w, out->cp, to, out->ld, NULL, to, out->ld, &e);
}

static void run_eltwise(const step *s, size_t row)
{
    const vt_map *in = &s->plan->maps[s->layer->in], *out = &s->plan->maps[s->layer->out];
    const vt_epilogue e = epilogue_of(s, row);
    const size_t all = (size_t)out->w * out->c;

    if (out->compact) /* rows have a constant for each number: one pixel, whose padding is that of the map's last line */
        s->plan->kernels.eltwise(1, (all + 7) / 8 * 8, row_of(s, s->layer->in, 0), 0, s->layer->scale,
                                 row_of(s, s->layer->out, 0), 0, &e);
    else
        s->plan->kernels.eltwise(out->w, out->cp, row_of(s, s->layer->in, row), in->ld, s->layer->scale,
                                 row_of(s, s->layer->out, row), out->ld, &e);
}

static void run_max_pool(const step *s, size_t row)
{
    const vt_layer *l = s->layer;
    const vt_map *in = &s->plan->maps[l->in], *out = &s->plan->maps[l->out];
    vt_dw_row r = {.w_in = in->w, .ld_in = in->ld, .out = row_of(s, l->out, row), .w_out = out->w, .ldo = out->ld,
                   .cp = out->cp, .kh = l->g.kh, .kw = l->g.kw, .stride = l->g.sx, .dilation = 1, .left = l->g.left};

    for (size_t ky = 0; ky < l->g.kh; ky++) {
        const size_t padded = row * l->g.sy + ky, y = padded < l->g.top ? 0 : padded - l->g.top;

        r.rows[ky] = row_of(s, l->in, y < in->h ? y : in->h - 1);
    }
    s->plan->kernels.max_pool(&r);
}

/* The n-th of the pixels that come from one is written for all of them in one call. */
static void run_resize(const step *s, size_t row)
{
    const vt_layer *l = s->layer;
    const vt_map *in = &s->plan->maps[l->in], *out = &s->plan->maps[l->out];
    const vt_epilogue e = epilogue_of(s, row);
    const float *from = row_of(s, l->in, row / l->g.sy);
    float *to = row_of(s, l->out, row);

    for (size_t n = 0; n < l->g.sx; n++) {
        vt_epilogue part = e;

        part.residual = e.residual ? e.residual + n * e.ldr : NULL;
        part.ldr = e.ldr * l->g.sx;
        s->plan->kernels.eltwise(in->w, out->cp, from, in->ld, NULL, to + n * out->ld, out->ld * l->g.sx, &part);
    }
}

/* The whole map at once: the rows that it is cut into are not its own. */
static void run_to_rows(const step *s)
{
    const vt_layer *l = s->layer;
    const vt_map *in = &s->plan->maps[l->in], *out = &s->plan->maps[l->out];
    const float *from = row_of(s, l->in, 0);
    float *const start = row_of(s, l->out, 0), *to = start;

    for (size_t pixels = (size_t)in->h * in->w; pixels; pixels--, from += in->ld)
        for (size_t c = 0; c < in->c; c++)
            *to++ = from[c];
    if (l->act == VT_ACT_SIGMOID)
        s->plan->kernels.sigmoid((size_t)out->w * out->c, start, start);
}

/* Padding channels become something that nobody reads but with a weight of 0. */
static void run_curve(const step *s, size_t row)
{
    const vt_map *in = &s->plan->maps[s->layer->in], *out = &s->plan->maps[s->layer->out];
    vt_curve_fn *const curve = s->layer->act == VT_ACT_EXP ? s->plan->kernels.exponential : s->plan->kernels.sigmoid;
    const float *from = row_of(s, s->layer->in, row);
    float *to = row_of(s, s->layer->out, row);

    if (out->compact) {
        curve((size_t)out->w * out->c, from, to);
        return;
    }
    for (size_t x = 0; x < out->w; x++)
        curve(out->cp, from + x * in->ld, to + x * out->ld);
}

/* Layers of 1x1 maps: the faces of a batch are the pixels. Slots from s->slot on. */
static void run_faces(const step *s, size_t faces)
{
    const vt_layer *l = s->layer;
    const vt_map *in = &s->plan->maps[l->in], *out = &s->plan->maps[l->out];
    vt_epilogue e = epilogue_of(s, 0);

    if (e.residual)
        e.ldr = s->plan->maps[l->residual].slot_stride;
    if (l->kind == VT_KIND_FC)
        multiply(s, faces, row_of(s, l->in, 0), in->slot_stride, row_of(s, l->out, 0), out->slot_stride, &e);
    else
        s->plan->kernels.eltwise(faces, out->cp, row_of(s, l->in, 0), in->slot_stride, l->scale, row_of(s, l->out, 0),
                                 out->slot_stride, &e);
}

static void run_rows(const step *s, size_t row, size_t end)
{
    const vt_map *in = &s->plan->maps[s->layer->in], *out = &s->plan->maps[s->layer->out];

    if (s->layer->kind == VT_KIND_FC) {
        run_faces(s, 1);
        return;
    }
    while (row < end) {
        size_t rows = 1;

        switch (s->layer->kind) {
        case VT_KIND_PLANAR:
            run_planar(s, row);
            break;
        case VT_KIND_POINTWISE:
            rows = run_pointwise(s, row, end - row);
            break;
        case VT_KIND_DENSE:
            run_dense(s, row);
            break;
        case VT_KIND_WINOGRAD:
            run_winograd(s, row, end);
            rows = end - row;
            break;
        case VT_KIND_DEPTHWISE:
            run_depthwise(s, row);
            break;
        case VT_KIND_GROUPED:
            run_grouped(s, row);
            break;
        case VT_KIND_MAX_POOL:
            run_max_pool(s, row);
            break;
        case VT_KIND_RESIZE:
            run_resize(s, row);
            break;
        case VT_KIND_ROWS:
            run_to_rows(s);
            break;
        case VT_KIND_CURVE:
            run_curve(s, row);
            break;
        case VT_KIND_JOIN:
            vt_join_row(s->layer, in, row_of(s, s->layer->in, row), out, row_of(s, s->layer->out, row));
            break;
        case VT_KIND_COLUMNS:
            vt_take_columns(s->layer, in, row_of(s, s->layer->in, row), out, row_of(s, s->layer->out, row));
            break;
        case VT_KIND_SOFTMAX:
            vt_softmax_rows(&s->plan->kernels, in, row_of(s, s->layer->in, row), row_of(s, s->layer->out, row));
            break;
        default:
            run_eltwise(s, row);
        }
        row += rows;
    }
}

static void run_group(step *s, const vt_context *context, const vt_group *group)
{
    const vt_plan *plan = s->plan;
    const uint32_t height = plan->maps[plan->layers[group->last].out].h;

    for (int i = group->first; i <= group->last; i++)
        context->done[i] = 0;
    while (context->done[group->last] < height) {
        const uint32_t left = height - context->done[group->last];

        vt_group_advance(plan, group, height - left + (left < group->band ? left : group->band), context->done,
                         context->upto);
        for (int i = group->first; i <= group->last; i++) {
            s->layer = &plan->layers[i];
            run_rows(s, context->done[i], context->upto[i]);
            context->done[i] = context->upto[i];
            lap(s, i);
        }
    }
}

static void store(const vt_plan *plan, const float *from, const vt_faces *faces, size_t face)
{
    const size_t dim = plan->maps[plan->output].c;
    float *to = faces->vectors + face * dim;
    double sum = 0, factor = 1;

    for (size_t i = 0; i < dim; i++)
        sum += (double)from[i] * (double)from[i];
    if (!faces->raw && sum > 0)
        factor = 1 / sqrt(sum);
    for (size_t i = 0; i < dim; i++)
        to[i] = (float)(from[i] * factor);
}

void vt_run(const vt_plan *plan, const vt_context *context, const float *zeros, const vt_faces *faces, size_t first,
            size_t count)
{
    step s = {plan, NULL, context->arena, zeros, 0, context->clock};

    for (; s.slot < count; s.slot++) {
        vt_fill_input(plan, row_of(&s, 0, 0), faces, first + s.slot);
        lap(&s, -1);
        for (int i = 0; i < plan->n_groups; i++)
            run_group(&s, context, &plan->groups[i]);
    }
    s.slot = 0;
    for (int i = plan->tail; i < plan->n_layers; i++) {
        s.layer = &plan->layers[i];
        run_faces(&s, count);
        lap(&s, i);
    }
    for (; s.slot < count; s.slot++)
        store(plan, row_of(&s, plan->output, 0), faces, first + s.slot);
    lap(&s, plan->n_layers);
}

/* A map as planes, rows and vectors as they are. */
static void store_output(const step *s, int map, float *to)
{
    const vt_map *m = &s->plan->maps[map];

    if (m->compact) {
        memcpy(to, row_of(s, map, 0), (size_t)m->w * m->c * sizeof *to);
        return;
    }
    for (size_t c = 0; c < m->c; c++)
        for (size_t y = 0; y < m->h; y++) {
            const float *from = row_of(s, map, y) + c;

            for (size_t x = 0; x < m->w; x++)
                *to++ = from[x * m->ld];
        }
}

void vt_run_network(const vt_plan *plan, const vt_context *context, const float *zeros, const vt_faces *faces,
                    float *const *outputs, size_t index)
{
    step s = {plan, NULL, context->arena, zeros, 0, context->clock};

    vt_fill_input(plan, row_of(&s, 0, 0), faces, index);
    lap(&s, -1);
    for (int i = 0; i < plan->n_groups; i++)
        run_group(&s, context, &plan->groups[i]);
    for (int i = 0; i < plan->n_outputs; i++) {
        const vt_map *m = &plan->maps[plan->outputs[i]];

        if (outputs[i])
            store_output(&s, plan->outputs[i], outputs[i] + index * m->c * m->h * m->w);
    }
    lap(&s, plan->n_layers);
}
