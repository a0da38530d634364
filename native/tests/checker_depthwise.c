#include <stdlib.h>

#include "checker.h"

static void reference_depthwise(const vt_dw_row *r, double *want)
{
    for (size_t x = 0; x < r->w_out; x++) {
        for (size_t c = 0; c < r->cp; c++) {
            double sum = (double)r->e.bias[c];

            for (size_t ky = 0; ky < r->kh; ky++) {
                for (size_t kx = 0; kx < r->kw; kx++) {
                    const long column = (long)(x * r->stride + kx * r->dilation) - (long)r->left;

                    if (column >= 0 && column < (long)r->w_in)
                        sum += (double)r->rows[ky][(size_t)column * r->ld_in + c] *
                               (double)r->w[(ky * r->kw + kx) * r->cp + c];
                }
            }
            want[x * r->cp + c] = reference_finish(&r->e, sum, x, c);
        }
    }
}

static void check_depthwise(const kernel *k)
{
    const bool three = k->family == &dw3x3_family;
    vt_dw_row r = {.cp = 8 * between(1, 9), .kh = 3, .kw = 3, .stride = between(1, 2), .dilation = 1, .left = below(2)};
    array rows[VT_DW_MAX_ROWS], w, out;
    size_t right;
    double *want;
    finish f;

    if (!three) {
        r.kh = between(1, 7);
        r.kw = between(1, 7);
        r.dilation = between(1, 2);
        r.stride = between(1, 4);
        r.left = below(5);
    }
    r.w_in = between((r.kw - 1) * r.dilation + 1, 40);
    right = three ? below(2) : below(5);
    r.w_out = (r.w_in + r.left + right - (r.kw - 1) * r.dilation - 1) / r.stride + 1;
    r.ld_in = r.cp + 8 * below(3);
    r.ldo = r.cp + 8 * below(3);
    for (size_t i = 0; i < r.kh; i++) {
        rows[i] = input((r.w_in - 1) * r.ld_in + r.cp);
        r.rows[i] = rows[i].data;
    }
    w = input(r.kh * r.kw * r.cp);
    out = output(r.w_out * r.ldo, false);
    f = random_finish(r.w_out, r.cp);
    r.w = w.data;
    r.out = out.data;
    r.e = f.e;
    want = doubles(r.w_out * r.cp);
    reference_depthwise(&r, want);
    k->fn.dw(&r);
    compare(k, &out, want, r.w_out, r.cp, r.ldo);
    for (size_t i = 0; i < r.kh; i++)
        drop(rows[i]);
    drop(w);
    drop(out);
    drop_finish(&f);
    free(want);
}

/* Both rows, each against the reference of one. */
static void check_pair(const kernel *k)
{
    vt_dw_row r = {.cp = 8 * between(1, 9), .kh = 3, .kw = 3, .stride = 1, .dilation = 1, .left = below(2)};
    array rows[4], w, out[2];
    vt_dw_row second;
    double *want;
    finish f;

    r.w_in = between(3, 40);
    r.w_out = r.w_in + r.left + below(2) - 2;
    r.ld_in = r.cp + 8 * below(3);
    r.ldo = r.cp + 8 * below(3);
    for (size_t i = 0; i < 4; i++) {
        rows[i] = input((r.w_in - 1) * r.ld_in + r.cp);
        r.rows[i] = rows[i].data;
    }
    w = input(9 * r.cp);
    f = random_finish(r.w_out, r.cp);
    array residual = input(r.w_out * (f.e.residual ? f.e.ldr : r.cp));

    r.w = w.data;
    r.e = f.e;
    second = r;
    if (f.e.residual)
        second.e.residual = residual.data;
    for (size_t i = 0; i < 3; i++)
        second.rows[i] = r.rows[i + 1];
    for (int i = 0; i < 2; i++)
        out[i] = output(r.w_out * r.ldo, false);
    r.out = out[0].data;
    k->fn.dw_pair(&r, &(vt_dw_below){out[1].data, second.e.residual});
    for (int i = 0; i < 2; i++) {
        want = doubles(r.w_out * r.cp);
        reference_depthwise(i ? &second : &r, want);
        compare(k, &out[i], want, r.w_out, r.cp, r.ldo);
        drop(out[i]);
        free(want);
    }
    for (size_t i = 0; i < 4; i++)
        drop(rows[i]);
    drop(w);
    drop(residual);
    drop_finish(&f);
}

static void run(const kernel *k, const void *job)
{
    k->fn.dw(job);
}

static void run_pair(const kernel *k, const void *job)
{
    const vt_dw_row *r = job;

    k->fn.dw_pair(r, &(vt_dw_below){r->out + r->w_out * r->ldo, NULL});
}

/* One row, or two, of a map of 56 pixels x 128 channels. */
static void bench(const kernel *k)
{
    const size_t m = 56, cp = 128, rows = k->family == &dw3x3_pair_family ? 2 : 1;
    array a = input(4 * m * cp), w = input(9 * cp), out = output(2 * m * cp, false);
    finish f = random_finish(m, cp);

    f.e.act = VT_ACT_PRELU;
    f.e.residual = NULL;
    time_kernel(k, (double)(9 * rows * m * cp), rows == 2 ? run_pair : run,
                &(vt_dw_row){.rows = {a.data, a.data + m * cp, a.data + 2 * m * cp, a.data + 3 * m * cp}, .w_in = m, .ld_in = cp,
                             .out = out.data, .w_out = m, .ldo = cp, .cp = cp, .kh = 3, .kw = 3, .stride = 1,
                             .dilation = 1, .left = 1, .w = w.data, .e = f.e});
    drop(a);
    drop(w);
    drop(out);
    drop_finish(&f);
}

const family dw3x3_family = {check_depthwise, bench};
const family dw3x3_pair_family = {check_pair, bench};
const family dwkxk_family = {check_depthwise, bench};
