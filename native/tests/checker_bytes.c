/* INT8 kernels: the sums exact, what is stored as exact as floats that are rounded at the same places. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "checker.h"
#include "plan.h"

#define GUARD 64      /* bytes on either side */
#define CANARY 0xa5

typedef struct bytes {
    uint8_t *block, *data;
    size_t n;
} bytes;

static bytes take(size_t n, bool random)
{
    bytes b = {vt_aligned(n + 2 * GUARD, 1), NULL, n};

    if (!b.block)
        exit(2);
    b.data = b.block + GUARD;
    memset(b.block, CANARY, n + 2 * GUARD);
    for (size_t i = 0; i < n && random; i++)
        b.data[i] = (uint8_t)(below(4) ? below(256) : 255 * below(2)); /* extremes often */
    return b;
}

/* Weights whose pairs, neighbours from an even place on, keep what bytes.h promises. */
static int8_t *weights(const bytes *b)
{
    int8_t *w = (int8_t *)b->data;

    for (size_t i = 0; i + 1 < b->n; i += 2)
        while (w[i] + w[i + 1] > VT_PAIR_MOST || (w[i] < 0 && w[i + 1] < 0 && w[i] + w[i + 1] < -VT_PAIR_MOST))
            w[i] = (int8_t)(w[i] / 2), w[i + 1] = (int8_t)(w[i + 1] / 2);
    return w;
}

/* A random epilogue of so many channels. */
typedef struct finish8 {
    vt_finish8 f;
    array scale, slope, residual, floats;
    bytes bias, stored;
} finish8;

static finish8 random_finish8(size_t pixels, size_t channels, bool to_bytes)
{
    finish8 r = {.scale = input(channels), .slope = input(channels), .bias = take(4 * channels, true)};
    int32_t *bias = (int32_t *)(void *)r.bias.data;
    const size_t ldo = channels + 32 * below(3), ldr = channels + 8 * below(3);
    const float unit = to_bytes ? 100 : 1;

    for (size_t i = 0; i < channels; i++) {
        r.scale.data[i] *= unit / 200000;
        bias[i] = (int32_t)below(100000) - 50000;
    }
    r.residual = input(pixels * ldr);
    r.floats = output(to_bytes ? 8 : pixels * ldo, false);
    r.stored = take(to_bytes ? pixels * ldo : 8, false);
    r.f = (vt_finish8){.scale = r.scale.data, .bias = bias, .slope = r.slope.data, .ldr = ldr, .ldo = ldo,
                       .act = (vt_act)below(3), .lo = -0.5f * unit, .hi = 0.75f * unit};
    r.f.residual = !to_bytes && below(2) ? r.residual.data : NULL;
    if (to_bytes) {
        r.f.zero = (int)below(256);
        r.f.bytes = r.stored.data;
    } else {
        r.f.floats = r.floats.data;
    }
    return r;
}

static void drop_finish8(finish8 *r)
{
    drop(r->scale);
    drop(r->slope);
    drop(r->residual);
    drop(r->floats);
    free(r->bias.block);
    free(r->stored.block);
}

/* What bytes.h says, operation by operation. */
static float reference_value(const vt_finish8 *f, long sum, size_t pixel, size_t channel, size_t place)
{
    volatile float y = (float)(sum + f->bias[channel]); /* volatile: each result is a float, whatever the compiler likes */

    y = y * f->scale[channel];
    if (f->residual)
        y = y + f->residual[pixel * f->ldr + place];
    if (f->act == VT_ACT_PRELU && y < 0)
        y = y * f->slope[channel];
    if (f->act == VT_ACT_CLIP)
        y = fminf(fmaxf(y, f->lo), f->hi);
    return f->bytes ? fminf(fmaxf(nearbyintf(y) + (float)f->zero, 0), 255) : y;
}

static void check_stored(const kernel *k, const finish8 *r, long sum, size_t pixel, size_t channel, size_t place)
{
    const float want = reference_value(&r->f, sum, pixel, channel, place);
    const size_t at = pixel * r->f.ldo + place;

    if (r->f.bytes ? r->f.bytes[at] != (uint8_t)want : r->f.floats[at] != want)
        fail(k, "differs from the reference", at);
}

/* Between the pixels and around them. */
static void check_canaries(const kernel *k, const finish8 *r, size_t pixels, size_t channels)
{
    compare_outside(k, &r->floats);
    for (size_t i = 0; i < GUARD; i++)
        if (r->stored.block[i] != CANARY || r->stored.data[r->stored.n + i] != CANARY)
            fail(k, "wrote outside its output", i);
    for (size_t p = 0; p < pixels; p++)
        for (size_t c = channels; c < r->f.ldo; c++)
            if (r->f.bytes ? r->f.bytes[p * r->f.ldo + c] != CANARY : !is_canary(r->f.floats + p * r->f.ldo + c))
                fail(k, "wrote between pixels", p);
}

static void check_gemm8(const kernel *k)
{
    const size_t m = between(1, 40), depth = 4 * between(1, 70), nr = k->nr, lda = (depth + 31) / 32 * 32 + 32 * below(2);
    bytes a = take((m - 1) * lda + depth, true), w = take(depth * nr, true);
    const int8_t *v = weights(&w);
    finish8 r = random_finish8(m, nr, below(2));

    k->fn.gemm8(m, depth, a.data, lda, v, &r.f);
    for (size_t i = 0; i < m; i++)
        for (size_t c = 0; c < nr; c++) {
            long sum = 0;

            for (size_t p = 0; p < depth; p++)
                sum += (long)a.data[i * lda + p] * v[(p / 4 * nr + c) * 4 + p % 4];
            check_stored(k, &r, sum, i, c, c);
        }
    check_canaries(k, &r, m, nr);
    free(a.block);
    free(w.block);
    drop_finish8(&r);
}

static long depthwise_sum(const vt_dw8_row *r, size_t x, size_t p)
{
    static const size_t tap[3] = {0, 2, 1}; /* of rows 0, 1, 2 */
    const size_t c = vt_dw8_channel(p);
    long sum = 0;

    for (size_t ky = 0; ky < 3; ky++)
        for (size_t kx = 0; kx < 3; kx++) {
            const long column = (long)(x * r->stride + kx) - (long)r->left;
            const bool inside = column >= 0 && column < (long)r->w_in;

            sum += (long)(inside ? r->rows[ky][(size_t)column * r->step[ky] + c] : r->pad[c]) *
                   r->w[p / 32 * 384 + kx * 128 + p % 32 * 4 + tap[ky]];
        }
    return sum;
}

static void check_dw8(const kernel *k)
{
    vt_dw8_row r = {.cp = 32 * between(1, 4), .stride = between(1, 2), .left = below(2), .w_in = between(3, 40)};
    const size_t ld = r.cp + 32 * below(2), right = below(2);
    bytes pad = take(r.cp, true), w = take(12 * r.cp, true), rows[3];
    finish8 f;

    r.w_out = (r.w_in + r.left + right - 3) / r.stride + 1;
    for (size_t i = 0; i < 3; i++) {
        rows[i] = take((r.w_in - 1) * ld + r.cp, true);
        r.rows[i] = below(6) ? rows[i].data : pad.data;
        r.step[i] = r.rows[i] == pad.data ? 0 : ld;
    }
    f = random_finish8(r.w_out, r.cp, true);
    r.w = weights(&w);
    r.pad = pad.data;
    r.f = f.f;
    for (size_t i = 3; i < w.n; i += 4)
        w.data[i] = 0;
    k->fn.dw8(&r);
    for (size_t x = 0; x < r.w_out; x++)
        for (size_t p = 0; p < r.cp; p++)
            check_stored(k, &f, depthwise_sum(&r, x, p), x, p, vt_dw8_channel(p));
    check_canaries(k, &f, r.w_out, r.cp);
    for (size_t i = 0; i < 3; i++)
        free(rows[i].block);
    free(pad.block);
    free(w.block);
    drop_finish8(&f);
}

static void check_quantize(const kernel *k)
{
    const size_t n = between(1, 20), cp = 8 * between(1, 9), ldx = cp + 8 * below(3);
    const vt_quant q = {0.01f + fabsf(number()) / 100, (uint8_t)below(256)};
    array x = input(n * ldx);
    finish8 r = random_finish8(n, cp, true);

    for (size_t i = 0; i < n * ldx; i++)
        x.data[i] *= below(10) ? 2 : 1e30f;
    k->fn.quantize(n, cp, x.data, ldx, q, r.f.bytes, r.f.ldo);
    for (size_t i = 0; i < n; i++)
        for (size_t c = 0; c < cp; c++) {
            const float y = x.data[i * ldx + c] * (1 / q.scale);
            const float want = nearbyintf(fminf(fmaxf(y, (float)-q.zero), (float)(255 - q.zero)));

            if (r.f.bytes[i * r.f.ldo + c] != (uint8_t)(want + (float)q.zero))
                fail(k, "differs from the reference", i * cp + c);
        }
    check_canaries(k, &r, n, cp);
    drop(x);
    drop_finish8(&r);
}

static void check_dequantize(const kernel *k)
{
    const size_t n = between(1, 20), cp = 8 * between(1, 9), ldx = (cp + 31) / 32 * 32;
    const vt_quant q = {fabsf(number()), (uint8_t)below(256)};
    bytes x = take(n * ldx, true);
    finish8 r = random_finish8(n, cp, false);

    k->fn.dequantize(n, cp, x.data, ldx, q, r.f.floats, r.f.ldo);
    for (size_t i = 0; i < n; i++)
        for (size_t c = 0; c < cp; c++)
            if (r.f.floats[i * r.f.ldo + c] != (float)(x.data[i * ldx + c] - q.zero) * q.scale)
                fail(k, "differs from the reference", i * cp + c);
    check_canaries(k, &r, n, cp);
    free(x.block);
    drop_finish8(&r);
}

/* Timing: one row of 56 pixels x 128 channels. */
typedef struct job {
    size_t m, cp;
    bytes a, w;
    array x;
    finish8 r;
} job;

static void run_gemm8(const kernel *k, const void *data)
{
    const job *j = data;

    k->fn.gemm8(j->m, j->cp, j->a.data, j->cp, (const int8_t *)j->w.data, &j->r.f);
}

static void run_dw8(const kernel *k, const void *data)
{
    const job *j = data;
    const uint8_t *a = j->a.data;

    k->fn.dw8(&(vt_dw8_row){.rows = {a, a + j->m * j->cp, a + 2 * j->m * j->cp}, .step = {j->cp, j->cp, j->cp}, .pad = a,
                            .w_in = j->m, .w_out = j->m, .stride = 1, .left = 1, .cp = j->cp,
                            .w = (const int8_t *)j->w.data, .f = j->r.f});
}

static void run_quantize(const kernel *k, const void *data)
{
    const job *j = data;

    k->fn.quantize(j->m, j->cp, j->x.data, j->cp, (vt_quant){0.01f, 128}, j->r.f.bytes, j->cp);
}

static void run_dequantize(const kernel *k, const void *data)
{
    const job *j = data;

    k->fn.dequantize(j->m, j->cp, j->a.data, j->cp, (vt_quant){0.01f, 128}, j->x.data, j->cp);
}

static void bench(const kernel *k, double macs, void (*run)(const kernel *, const void *))
{
    job j = {.m = 56, .cp = 128};

    j.a = take(3 * j.m * j.cp, true);
    j.w = take(24 * j.cp, true);
    j.x = input(j.m * j.cp);
    j.r = random_finish8(j.m, j.cp, true);
    j.r.f.act = VT_ACT_PRELU;
    time_kernel(k, macs, run, &j);
    free(j.a.block);
    free(j.w.block);
    drop(j.x);
    drop_finish8(&j.r);
}

static void bench_gemm8(const kernel *k)
{
    bench(k, (double)(56 * 128 * k->nr), run_gemm8);
}

static void bench_dw8(const kernel *k)
{
    bench(k, 9 * 56 * 128, run_dw8);
}

static void bench_quantize(const kernel *k)
{
    bench(k, 56 * 128, run_quantize);
}

static void bench_dequantize(const kernel *k)
{
    bench(k, 56 * 128, run_dequantize);
}

const family gemm8_family = {check_gemm8, bench_gemm8};
const family dw8_family = {check_dw8, bench_dw8};
const family quantize_family = {check_quantize, bench_quantize};
const family dequantize_family = {check_dequantize, bench_dequantize};
