/* Every kernel of the list that this machine can run, against a plain double-precision loop, over random shapes with
 * odd sizes and edges, with canaries around what it may write. `test_kernels [seed]`; `test_kernels --bench` times them
 * on shapes of real networks instead. */
#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "kernels/kernels.h"
#include "plan.h"
#include "random.h"

#define ROUNDS 300
#define CANARY 16 /* floats on either side */

typedef union kernel_fn {
    vt_gemm_fn *gemm;
    vt_planar_fn *planar;
    vt_dw_fn *dw;
    vt_eltwise_fn *eltwise;
    vt_pool_fn *max_pool;
    vt_sigmoid_fn *sigmoid;
} kernel_fn;

typedef enum family { GEMM, PLANAR, DW3X3, DWKXK, ELTWISE, MAX_POOL, SIGMOID } family;

typedef struct kernel {
    const char *name;
    family family;
    vultus_isa isa;
    size_t mr, nr;
    kernel_fn fn;
} kernel;

#define VT_KERNEL_GEMM(symbol, isa, mr, nr) {#symbol, GEMM, isa, mr, nr, {.gemm = symbol}},
#define VT_KERNEL_PLANAR(symbol, isa, mr, nr) {#symbol, PLANAR, isa, mr, nr, {.planar = symbol}},
#define VT_KERNEL_DW3X3(symbol, isa, mr, nr) {#symbol, DW3X3, isa, mr, nr, {.dw = symbol}},
#define VT_KERNEL_DWKXK(symbol, isa, mr, nr) {#symbol, DWKXK, isa, mr, nr, {.dw = symbol}},
#define VT_KERNEL_ELTWISE(symbol, isa, mr, nr) {#symbol, ELTWISE, isa, mr, nr, {.eltwise = symbol}},
#define VT_KERNEL_MAX_POOL(symbol, isa, mr, nr) {#symbol, MAX_POOL, isa, mr, nr, {.max_pool = symbol}},
#define VT_KERNEL_SIGMOID(symbol, isa, mr, nr) {#symbol, SIGMOID, isa, mr, nr, {.sigmoid = symbol}},
static const kernel kernels[] = {
#include "kernels/kernels.inc"
};

/* An array between canaries. */
typedef struct array {
    float *block, *data;
    size_t n;
} array;

/* Beside what is read stands a NaN, which shows in the sums; beside what is written a number that no sum has, since a
 * NaN that is read and written again would not show. */
static const uint32_t beside_input = 0x7fc0cafe, canary = 0x5ca1ab1e;

/* Random numbers, or canaries throughout. */
static array take_beside(size_t n, bool random, uint32_t guard)
{
    array a = {vt_aligned(n + 2 * CANARY + 8, sizeof(float)), NULL, n};

    if (!a.block)
        exit(2);
    a.data = a.block + CANARY;
    for (size_t i = 0; i < CANARY; i++) {
        memcpy(a.block + i, &guard, 4);
        memcpy(a.data + n + i, &guard, 4);
    }
    for (size_t i = 0; i < n; i++)
        if (random)
            a.data[i] = number();
        else
            memcpy(a.data + i, &guard, 4);
    return a;
}

static array input(size_t n)
{
    return take_beside(n, true, beside_input);
}

static array output(size_t n, bool random)
{
    return take_beside(n, random, canary);
}

static void fail(const kernel *k, const char *what, size_t at)
{
    fprintf(stderr, "FAILED: %s: %s at %zu\n", k->name, what, at);
    exit(1);
}

static bool is_canary(const float *f)
{
    return memcmp(f, &canary, 4) == 0;
}

/* `got` holds pixels of cp channels ld apart; `want` is dense. Between pixels and around them nothing was written. */
static void compare(const kernel *k, const array *got, const double *want, size_t pixels, size_t cp, size_t ld)
{
    for (size_t i = 0; i < CANARY; i++)
        if (!is_canary(got->block + i) || !is_canary(got->data + got->n + i))
            fail(k, "wrote outside its output", i);
    for (size_t p = 0; p < pixels; p++) {
        for (size_t c = 0; c < cp; c++) {
            const double v = (double)got->data[p * ld + c], w = want[p * cp + c];

            if (!(fabs(v - w) <= 2e-5 * (1 + fabs(w))))
                fail(k, "differs from the reference", p * cp + c);
        }
        for (size_t c = cp; c < ld && p * ld + c < got->n; c++)
            if (!is_canary(got->data + p * ld + c))
                fail(k, "wrote between pixels", p);
    }
}

/* A random epilogue for pixels of cp channels; its arrays are freed by drop_epilogue(). */
typedef struct finish {
    vt_epilogue e;
    array bias, slope, residual;
} finish;

static finish random_finish(size_t pixels, size_t cp)
{
    finish f = {.bias = input(cp), .slope = input(cp)};

    f.e = (vt_epilogue){.bias = f.bias.data, .slope = f.slope.data, .act = (vt_act)below(3), .lo = -0.5f, .hi = 0.75f};
    f.e.ldr = cp + 8 * below(3);
    f.residual = input(pixels * f.e.ldr);
    f.e.residual = below(2) ? f.residual.data : NULL;
    return f;
}

static void drop(array a)
{
    free(a.block);
}

static void drop_finish(finish *f)
{
    drop(f->bias);
    drop(f->slope);
    drop(f->residual);
}

static double reference_finish(const vt_epilogue *e, double sum, size_t pixel, size_t c)
{
    if (e->residual)
        sum += (double)e->residual[pixel * e->ldr + c];
    if (e->act == VT_ACT_PRELU)
        return sum < 0 ? sum * (double)e->slope[c] : sum;
    if (e->act == VT_ACT_CLIP)
        return fmin(fmax(sum, (double)e->lo), (double)e->hi);
    return sum;
}

static double *doubles(size_t n)
{
    double *d = calloc(n ? n : 1, sizeof *d);

    if (!d)
        exit(2);
    return d;
}

static void check_matrix(const kernel *k)
{
    const size_t m = between(1, 40), depth = between(1, 70), nr = k->nr, ldo = nr + 8 * below(3);
    const size_t step = k->family == PLANAR ? between(1, 3) : depth + below(9);
    const bool goes_on = k->family == GEMM && below(4) == 0;
    array a = input((m - 1) * step + depth), w = input(depth * nr), out = output(m * ldo, goes_on);
    size_t *offsets = malloc(depth * sizeof *offsets);
    double *want = doubles(m * nr);
    finish f = random_finish(m, nr);

    if (!offsets)
        exit(2);
    for (size_t p = 0; p < depth; p++)
        offsets[p] = k->family == PLANAR ? below((uint32_t)depth) : p;
    for (size_t i = 0; i < m && goes_on; i++)
        for (size_t c = nr; c < ldo; c++)
            memcpy(out.data + i * ldo + c, &canary, 4);
    for (size_t i = 0; i < m; i++) {
        for (size_t c = 0; c < nr; c++) {
            double sum = goes_on ? (double)out.data[i * ldo + c] : (double)f.e.bias[c];

            for (size_t p = 0; p < depth; p++)
                sum += (double)a.data[i * step + offsets[p]] * (double)w.data[p * nr + c];
            want[i * nr + c] = reference_finish(&f.e, sum, i, c);
        }
    }
    if (goes_on)
        f.e.bias = NULL;
    if (k->family == GEMM)
        k->fn.gemm(m, depth, a.data, step, w.data, out.data, ldo, &f.e);
    else
        k->fn.planar(m, depth, a.data, step, offsets, w.data, out.data, ldo, &f.e);
    compare(k, &out, want, m, nr, ldo);
    drop(a);
    drop(w);
    drop(out);
    drop_finish(&f);
    free(offsets);
    free(want);
}

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
    const bool three = k->family == DW3X3;
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

static void check_eltwise(const kernel *k)
{
    const size_t n = between(1, 20), cp = 8 * between(1, 6), ldx = cp + 8 * below(3), ldo = cp + 8 * below(3);
    array x = input(n * ldx), scale = input(cp), out = output(n * ldo, false);
    finish f = random_finish(n, cp);
    const bool scaled = below(2);
    double *want = doubles(n * cp);

    for (size_t i = 0; i < n; i++)
        for (size_t c = 0; c < cp; c++)
            want[i * cp + c] = reference_finish(
                &f.e, (double)x.data[i * ldx + c] * (scaled ? (double)scale.data[c] : 1) + (double)f.e.bias[c], i, c);
    k->fn.eltwise(n, cp, x.data, ldx, scaled ? scale.data : NULL, out.data, ldo, &f.e);
    compare(k, &out, want, n, cp, ldo);
    drop(x);
    drop(scale);
    drop(out);
    drop_finish(&f);
    free(want);
}

static void check_max_pool(const kernel *k)
{
    vt_dw_row r = {.cp = 8 * between(1, 6), .kh = between(1, 5), .kw = between(1, 5), .stride = between(1, 4), .dilation = 1};
    array rows[VT_DW_MAX_ROWS], out;
    size_t right;
    double *want;

    r.left = below((uint32_t)r.kw);
    right = below((uint32_t)r.kw);
    r.w_in = between(r.kw, 40);
    r.w_out = (r.w_in + r.left + right - r.kw) / r.stride + 1;
    r.ld_in = r.cp + 8 * below(3);
    r.ldo = r.cp + 8 * below(3);
    for (size_t i = 0; i < r.kh; i++) {
        rows[i] = input((r.w_in - 1) * r.ld_in + r.cp);
        r.rows[i] = rows[i].data;
    }
    out = output(r.w_out * r.ldo, false);
    r.out = out.data;
    want = doubles(r.w_out * r.cp);
    for (size_t x = 0; x < r.w_out; x++)
        for (size_t c = 0; c < r.cp; c++) {
            double most = -1e9;

            for (size_t ky = 0; ky < r.kh; ky++)
                for (size_t kx = 0; kx < r.kw; kx++) {
                    const long column = (long)(x * r.stride + kx) - (long)r.left;

                    if (column >= 0 && column < (long)r.w_in)
                        most = fmax(most, (double)r.rows[ky][(size_t)column * r.ld_in + c]);
                }
            want[x * r.cp + c] = most;
        }
    k->fn.max_pool(&r);
    compare(k, &out, want, r.w_out, r.cp, r.ldo);
    for (size_t i = 0; i < r.kh; i++)
        drop(rows[i]);
    drop(out);
    free(want);
}

/* Also far from zero, in place, and of no number. */
static void check_sigmoid(const kernel *k)
{
    const size_t n = between(1, 50), shift = below(8);
    const float range = below(2) ? 5 : 200;
    array x = input(n + shift), out = output(n + shift, false);
    double *want = doubles(n);

    for (size_t i = 0; i < n; i++) {
        x.data[shift + i] *= range;
        want[i] = 1 / (1 + exp(-(double)x.data[shift + i]));
    }
    if (below(2))
        memcpy(out.data + shift, x.data + shift, n * sizeof(float));
    k->fn.sigmoid(n, is_canary(out.data + shift) ? x.data + shift : out.data + shift, out.data + shift);
    for (size_t i = 0; i < shift; i++)
        if (!is_canary(out.data + i))
            fail(k, "wrote before its output", i);
    memmove(out.data, out.data + shift, n * sizeof(float));
    for (size_t i = 0; i < n; i++)
        if (!(fabs((double)out.data[i] - want[i]) <= 2e-7))
            fail(k, "differs from the reference", i);
    for (size_t i = 0; i < CANARY; i++)
        if (!is_canary(out.data + out.n + i))
            fail(k, "wrote after its output", i);
    x.data[0] = NAN;
    k->fn.sigmoid(1, x.data, x.data);
    if (!isnan(x.data[0]))
        fail(k, "hides a NaN", 0);
    drop(x);
    drop(out);
    free(want);
}

static void check(const kernel *k)
{
    for (int i = 0; i < ROUNDS; i++) {
        if (k->family == GEMM || k->family == PLANAR)
            check_matrix(k);
        else if (k->family == ELTWISE)
            check_eltwise(k);
        else if (k->family == MAX_POOL)
            check_max_pool(k);
        else if (k->family == SIGMOID)
            check_sigmoid(k);
        else
            check_depthwise(k);
    }
    printf("%-24s %-7s %d shapes agree\n", k->name, vultus_isa_name(k->isa), ROUNDS);
}

/* Timing. */

static double seconds(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static void run_once(const kernel *k, size_t m, size_t depth, size_t cp, const array *a, const array *w, array *out,
                     const vt_epilogue *e, const size_t *offsets)
{
    vt_dw_row r = {.w_in = m, .ld_in = cp, .out = out->data, .w_out = m, .ldo = cp, .cp = cp, .kh = 3, .kw = 3,
                   .stride = 1, .dilation = 1, .left = 1, .w = w->data, .e = *e};

    for (size_t i = 0; i < 3; i++)
        r.rows[i] = a->data + i * m * cp;
    if (k->family == GEMM)
        k->fn.gemm(m, depth, a->data, depth, w->data, out->data, k->nr, e);
    else if (k->family == PLANAR)
        k->fn.planar(m, depth, a->data, 2, offsets, w->data, out->data, k->nr, e);
    else if (k->family == ELTWISE)
        k->fn.eltwise(m, cp, a->data, cp, NULL, out->data, cp, e);
    else if (k->family == MAX_POOL)
        k->fn.max_pool(&r);
    else if (k->family == SIGMOID)
        k->fn.sigmoid(m * cp, a->data, out->data);
    else
        k->fn.dw(&r);
}

/* One row of a 56-pixel map: 128 channels, or a stem's 27 numbers. */
static void bench(const kernel *k)
{
    const bool matrix = k->family == GEMM || k->family == PLANAR;
    const size_t m = 56, cp = 128, depth = k->family == PLANAR ? 27 : 128;
    array a = input(3 * m * cp), w = input(depth * 24 + 9 * cp), out = output(m * cp, false);
    finish f = random_finish(m, cp);
    size_t offsets[27];
    const double macs = matrix ? (double)(m * depth * k->nr) : k->family == ELTWISE || k->family == SIGMOID ? (double)(m * cp) : (double)(9 * m * cp);
    double best = 1e9;

    for (size_t i = 0; i < 27; i++)
        offsets[i] = i / 3 * 114 + i % 3;
    f.e.act = VT_ACT_PRELU;
    f.e.residual = NULL;
    for (int round = 0; round < 20; round++) {
        const double start = seconds();

        for (int i = 0; i < 200; i++)
            run_once(k, m, depth, cp, &a, &w, &out, &f.e, offsets);
        best = fmin(best, (seconds() - start) / 200);
    }
    printf("%-24s %-7s %8.2f us %7.1f GFLOP/s\n", k->name, vultus_isa_name(k->isa), best * 1e6, 2 * macs / best * 1e-9);
    drop(a);
    drop(w);
    drop(out);
    drop_finish(&f);
}

int main(int argc, char **argv)
{
    const bool timing = argc > 1 && strcmp(argv[1], "--bench") == 0;
    size_t skipped = 0;

    seed_from(argc, argv);
    for (size_t i = 0; i < sizeof kernels / sizeof *kernels; i++) {
        if (vultus_isa_usable(kernels[i].isa) != 1) {
            printf("%-24s %-7s not on this processor\n", kernels[i].name, vultus_isa_name(kernels[i].isa));
            skipped++;
        } else if (timing) {
            bench(&kernels[i]);
        } else {
            check(&kernels[i]);
        }
    }
    printf("%zu kernels, %zu skipped\n", sizeof kernels / sizeof *kernels, skipped);
    return 0;
}
