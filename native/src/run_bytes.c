/* Layers that read or write bytes: rows of maps to calls of kernels. */
#include "step.h"

static uint8_t *byte_row(const step *s, int map, size_t row)
{
    const vt_map *m = &s->plan->maps[map];

    return (uint8_t *)((m->own ? s->own : s->arena) + m->offset + (m->slots > 1 ? s->slot * m->slot_stride : 0)) +
           row % m->rows * m->w * m->ld;
}

/* Where the results of a row go, and how. */
static vt_finish8 finish_of(const step *s, size_t row)
{
    const vt_layer *l = s->layer;
    const vt_map *out = &s->plan->maps[l->out];
    vt_finish8 f = {.bias = l->bias8, .scale = l->scale, .slope = l->slope, .lo = l->lo, .hi = l->hi, .act = l->act,
                    .zero = out->quant.zero, .ldo = out->ld};

    if (out->quant.scale != 0)
        f.bytes = byte_row(s, l->out, row);
    else
        f.floats = row_of(s, l->out, row);
    if (l->residual != VT_NO_MAP) {
        f.residual = row_of(s, l->residual, row);
        f.ldr = s->plan->maps[l->residual].ld;
    }
    return f;
}

static size_t run_pointwise(const step *s, size_t row, size_t most)
{
    const vt_layer *l = s->layer;
    const vt_map *in = &s->plan->maps[l->in], *out = &s->plan->maps[l->out];
    const vt_finish8 f = finish_of(s, row);
    size_t rows = 1;

    if (l->g.sx == 1 && l->g.sy == 1) {
        rows = run_length(s, l->in, row, run_length(s, l->out, row, most));
        if (l->residual != VT_NO_MAP)
            rows = run_length(s, l->residual, row, rows);
    }
    for (size_t n = 0; n < out->cp;) {
        const int panel = vt_panel(n, out->cp);
        vt_finish8 part = f;

        part.bias += n;
        part.scale += n;
        part.slope = f.slope ? f.slope + n : NULL;
        part.residual = f.residual ? f.residual + n : NULL;
        part.bytes = f.bytes ? f.bytes + n : NULL;
        part.floats = f.floats ? f.floats + n : NULL;
        s->plan->kernels.gemm8[panel](rows * out->w, l->k, byte_row(s, l->in, row * l->g.sy), l->g.sx * in->ld,
                                      l->weights8 + n * l->k, &part);
        n += VT_NR(panel);
    }
    return rows;
}

static void run_depthwise(const step *s, size_t row)
{
    const vt_layer *l = s->layer;
    const vt_map *in = &s->plan->maps[l->in], *out = &s->plan->maps[l->out];
    const uint8_t *pad = (const uint8_t *)l->weights8 + 12 * out->ld;
    vt_dw8_row r = {.pad = pad, .w_in = in->w, .w_out = out->w, .stride = l->g.sx, .left = l->g.left, .cp = out->ld,
                    .w = l->weights8, .f = finish_of(s, row)};

    for (size_t ky = 0; ky < 3; ky++) {
        const size_t y = row * l->g.sy + ky - l->g.top; /* wraps where above the map */

        r.rows[ky] = y < in->h ? byte_row(s, l->in, y) : pad;
        r.step[ky] = y < in->h ? in->ld : 0;
    }
    s->plan->kernels.dw8(&r);
}

size_t vt_run_bytes(const step *s, size_t row, size_t most)
{
    const vt_layer *l = s->layer;
    const vt_map *in = &s->plan->maps[l->in], *out = &s->plan->maps[l->out];

    switch (l->kind) {
    case VT_KIND_POINTWISE8:
        return run_pointwise(s, row, most);
    case VT_KIND_DEPTHWISE8:
        run_depthwise(s, row);
        return 1;
    case VT_KIND_QUANTIZE:
        s->plan->kernels.quantize(out->w, out->cp, row_of(s, l->in, row), in->ld, out->quant, byte_row(s, l->out, row),
                                  out->ld);
        return 1;
    default:
        s->plan->kernels.dequantize(out->w, out->cp, byte_row(s, l->in, row), in->ld, in->quant,
                                    row_of(s, l->out, row), out->ld);
        return 1;
    }
}
