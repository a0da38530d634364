/* Layers: what each kind does with rows of its maps. */
#include <string.h>

#include "step.h"
#include "winograd.h"

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

/* m pixels through the panels of the step's columns. Deep products go in blocks, so that a panel's block stays in the first-level cache. */
static void multiply(const step *s, size_t m, const float *a, size_t lda, float *out, size_t ldo, const vt_epilogue *e)
{
    const vt_layer *l = s->layer;
    const size_t cp = s->plan->maps[l->out].cp, end = cp < s->columns ? cp : s->columns, blocks = (l->k + VT_K_BLOCK - 1) / VT_K_BLOCK;
    const size_t depth = (l->k + blocks - 1) / blocks;

    for (size_t p = 0; p < l->k; p += depth) {
        const size_t k = l->k - p < depth ? l->k - p : depth;

        for (size_t n = s->column; n < end;) {
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

void vt_run_pixels(const step *s, size_t from, size_t to)
{
    const vt_layer *l = s->layer;
    const vt_map *in = &s->plan->maps[l->in], *out = &s->plan->maps[l->out];
    vt_epilogue e = epilogue_of(s, 0);

    e.residual = e.residual ? e.residual + from * e.ldr : NULL;
    multiply(s, to - from, row_of(s, l->in, 0) + from * in->ld, in->ld, row_of(s, l->out, 0) + from * out->ld, out->ld, &e);
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

/* Returns how many rows were done. */
static size_t run_dense(const step *s, size_t row, size_t most)
{
    const vt_layer *l = s->layer;
    const vt_map *out = &s->plan->maps[l->out];
    float *gathered = s->own + s->plan->scratch;
    const vt_epilogue e = epilogue_of(s, row);
    size_t rows = vt_dense_rows(l, out);

    rows = run_length(s, l->out, row, rows < most ? rows : most);
    if (l->residual != VT_NO_MAP)
        rows = run_length(s, l->residual, row, rows);
    for (size_t i = 0; i < rows; i++)
        gather(s, row + i, gathered + i * out->w * l->k);
    multiply(s, rows * out->w, gathered, l->k, row_of(s, l->out, row), out->ld, &e);
    return rows;
}

void vt_run_winograd(const step *s, size_t row, size_t end, size_t faces)
{
    const vt_layer *l = s->layer;
    const vt_map *maps = s->plan->maps;
    const size_t cp = maps[l->out].cp;
    const vt_winograd_faces f = {.count = faces, .in = row_of(s, l->in, 0), .out = row_of(s, l->out, row),
                                 .e = epilogue_of(s, row), .in_stride = maps[l->in].slot_stride,
                                 .out_stride = maps[l->out].slot_stride, .column = s->column,
                                 .columns = cp < s->columns ? cp : s->columns,
                                 .residual_stride = l->residual == VT_NO_MAP ? 0 : maps[l->residual].slot_stride};

    vt_winograd_run(s->plan, l, &f, s->zeros, s->own + s->plan->scratch, row, end);
}

static vt_dw_row depthwise_row(const step *s, size_t row, size_t kh)
{
    const vt_layer *l = s->layer;
    const vt_map *in = &s->plan->maps[l->in], *out = &s->plan->maps[l->out];
    vt_dw_row r = {.w_in = in->w, .ld_in = in->ld, .out = row_of(s, l->out, row), .w_out = out->w, .ldo = out->ld,
                   .cp = out->cp, .kh = l->g.kh, .kw = l->g.kw, .stride = l->g.sx, .dilation = l->g.dx, .left = l->g.left,
                   .w = l->weights, .e = epilogue_of(s, row)};

    for (size_t ky = 0; ky < kh; ky++) {
        const size_t y = row * l->g.sy + ky * l->g.dy - l->g.top;

        r.rows[ky] = y < in->h ? row_of(s, l->in, y) : s->zeros;
    }
    return r;
}

/* Two rows if there is a kernel for them. Returns how many were done. */
static size_t run_depthwise(const step *s, size_t row, size_t most)
{
    const vt_layer *l = s->layer;

    if (l->depthwise_pair && most > 1) {
        const vt_dw_row r = depthwise_row(s, row, 4);
        const vt_dw_below below = {row_of(s, l->out, row + 1),
                                   l->residual != VT_NO_MAP ? row_of(s, l->residual, row + 1) : NULL};

        l->depthwise_pair(&r, &below);
        return 2;
    }
    const vt_dw_row r = depthwise_row(s, row, l->g.kh);

    l->depthwise(&r);
    return 1;
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
    const size_t pixels = (size_t)in->h * in->w, channels = (size_t)out->w * out->c / pixels;
    const float *from = row_of(s, l->in, 0) + l->first;
    float *const start = row_of(s, l->out, 0), *to = start;

    for (size_t i = 0; i < pixels; i++, from += in->ld)
        for (size_t c = 0; c < channels; c++)
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

void vt_run_faces(const step *s, size_t faces)
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

void vt_run_rows(const step *s, size_t row, size_t end)
{
    const vt_map *in = &s->plan->maps[s->layer->in], *out = &s->plan->maps[s->layer->out];

    if (s->layer->kind == VT_KIND_FC) {
        vt_run_faces(s, 1);
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
            rows = run_dense(s, row, end - row);
            break;
        case VT_KIND_WINOGRAD:
            vt_run_winograd(s, row, end, 1);
            rows = end - row;
            break;
        case VT_KIND_DEPTHWISE:
            rows = run_depthwise(s, row, end - row);
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
        case VT_KIND_POINTWISE8:
        case VT_KIND_DEPTHWISE8:
        case VT_KIND_QUANTIZE:
        case VT_KIND_DEQUANTIZE:
            rows = vt_run_bytes(s, row, end - row);
            break;
        default:
            run_eltwise(s, row);
        }
        row += rows;
    }
}
