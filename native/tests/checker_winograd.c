/* Winograd's two transformations, against their matrices (kernels/wino.h) written out in double precision. */
#include <math.h>
#include <stdlib.h>

#include "checker.h"

#define A 0.70710678118654752440
#define B 1.41421356237309504880

static const double to_products[6][6] = {{1, 0, -2.5, 0, 1, 0},   {0, -B, -2, A, 1, 0},   {0, B, -2, -A, 1, 0},
                                         {0, -A, -0.5, B, 1, 0}, {0, A, -0.5, -B, 1, 0}, {0, 1, 0, -2.5, 0, 1}};
static const double to_pixels[4][6] = {
    {1, 1, 1, 1, 1, 0}, {0, A, -A, B, -B, 0}, {0, 0.5, 0.5, 2, 2, 0}, {0, A / 2, -A / 2, 2 * B, -2 * B, 1}};

/* n x 6 numbers d into n x n: m d m^T. */
static void both_sides(const double (*m)[6], size_t n, const double *d, double *out)
{
    for (size_t y = 0; y < n; y++)
        for (size_t x = 0; x < n; x++) {
            out[y * n + x] = 0;
            for (size_t i = 0; i < 36; i++)
                out[y * n + x] += m[y][i / 6] * m[x][i % 6] * d[i];
        }
}

static void compare_places(const kernel *k, const vt_wino_in *in, const array *out)
{
    for (size_t i = 0; i < in->tiles; i++)
        for (size_t c = 0; c < in->cp; c++) {
            double d[36], want[36];

            for (size_t p = 0; p < 36; p++) {
                const long column = (long)(4 * i + p % 6) - (long)in->left;
                const float *row = in->rows[p / 6];

                d[p] = 0;
                if (row && column >= 0 && column < (long)in->w) {
                    d[p] = (double)row[(size_t)column * in->ld + c];
                    d[p] = in->scale ? d[p] * (double)in->scale[c] + (double)in->shift[c] : d[p];
                }
            }
            both_sides(to_products, 6, d, want);
            for (size_t p = 0; p < 36; p++) {
                float *got = &out->data[p * in->plane + i * in->ldo + c];

                if (!(fabs((double)*got - want[p]) <= 2e-5 * (1 + fabs(want[p]))))
                    fail(k, "differs from the reference", p);
                set_canary(got); /* so that the rest must be canaries too */
            }
        }
    for (size_t i = 0; i < out->n; i++)
        if (!is_canary(out->data + i))
            fail(k, "wrote between its outputs", i);
    compare_outside(k, out);
}

static void check_in(const kernel *k)
{
    vt_wino_in in = {.w = between(1, 20), .left = below(5), .cp = 8 * between(1, 6)};
    const size_t above = below(3), under = below(3);
    array rows[6], scale = input(in.cp), shift = input(in.cp), out;

    in.ld = in.cp + 8 * below(3);
    in.tiles = between(1, (in.w + in.left) / 4 + 1);
    in.ldo = in.cp + 8 * below(3);
    in.plane = in.tiles * in.ldo + 8 * below(3);
    in.scale = below(2) ? scale.data : NULL;
    in.shift = shift.data;
    for (size_t i = 0; i < 6; i++) {
        rows[i] = input((in.w - 1) * in.ld + in.cp);
        in.rows[i] = i < above || i >= 6 - under ? NULL : rows[i].data;
    }
    out = output(36 * in.plane, false);
    in.out = out.data;
    k->fn.wino_in(&in);
    compare_places(k, &in, &out);
    for (size_t i = 0; i < 6; i++)
        drop(rows[i]);
    drop(scale);
    drop(shift);
    drop(out);
}

static void check_out(const kernel *k)
{
    vt_wino_out call = {.tiles = between(1, 5), .cp = 8 * between(1, 6), .rows = between(1, 4)};
    array in, out;
    double *want;
    finish f;

    call.w = 4 * (call.tiles - 1) + between(1, 4);
    call.ldi = call.cp + 8 * below(3);
    call.plane = call.tiles * call.ldi + 8 * below(3);
    call.ldo = call.cp + 8 * below(3);
    in = input(35 * call.plane + (call.tiles - 1) * call.ldi + call.cp);
    out = output(call.rows * call.w * call.ldo, false);
    f = random_finish(call.rows * call.w, call.cp);
    want = doubles(call.rows * call.w * call.cp);
    for (size_t i = 0; i < call.tiles; i++)
        for (size_t c = 0; c < call.cp; c++) {
            double m[36], y[16];

            for (size_t p = 0; p < 36; p++)
                m[p] = (double)in.data[p * call.plane + i * call.ldi + c];
            both_sides(to_pixels, 4, m, y);
            for (size_t p = 0; p < 16; p++) {
                const size_t pixel = p / 4 * call.w + 4 * i + p % 4;

                if (p / 4 < call.rows && 4 * i + p % 4 < call.w)
                    want[pixel * call.cp + c] = reference_finish(&f.e, y[p] + (double)f.e.bias[c], pixel, c);
            }
        }
    call.in = in.data;
    call.out = out.data;
    call.e = f.e;
    k->fn.wino_out(&call);
    compare(k, &out, want, call.rows * call.w, call.cp, call.ldo);
    drop(in);
    drop(out);
    drop_finish(&f);
    free(want);
}

static void run_in(const kernel *k, const void *job)
{
    k->fn.wino_in(job);
}

static void run_out(const kernel *k, const void *job)
{
    k->fn.wino_out(job);
}

/* A row of tiles of a map of 28 pixels x 128 channels, counted as the multiply-adds of the matrices' numbers other than
 * 0 and 1 or -1: 6 of a line forward, 6 backward. */
static void bench_in(const kernel *k)
{
    const size_t w = 28, cp = 128, tiles = 7;
    array a = input(6 * w * cp), out = output(36 * (tiles * cp + 16), false);
    vt_wino_in in = {.w = w, .ld = cp, .left = 1, .tiles = tiles, .cp = cp, .out = out.data, .ldo = cp,
                     .plane = tiles * cp + 16};

    for (size_t i = 0; i < 6; i++)
        in.rows[i] = a.data + i * w * cp;
    time_kernel(k, (double)(tiles * cp * 12 * 6), run_in, &in);
    drop(a);
    drop(out);
}

static void bench_out(const kernel *k)
{
    const size_t w = 28, cp = 128, tiles = 7;
    array a = input(36 * (tiles * cp + 16)), out = output(4 * w * cp, false);
    finish f = random_finish(4 * w, cp);

    f.e.act = VT_ACT_PRELU;
    f.e.residual = NULL;
    time_kernel(k, (double)(tiles * cp * 10 * 6), run_out,
                &(vt_wino_out){.in = a.data, .ldi = cp, .plane = tiles * cp + 16, .tiles = tiles, .cp = cp, .out = out.data,
                               .rows = 4, .w = w, .ldo = cp, .e = f.e});
    drop(a);
    drop(out);
    drop_finish(&f);
}

const family wino_in_family = {check_in, bench_in}, wino_out_family = {check_out, bench_out};
