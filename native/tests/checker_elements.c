/* Number by number: eltwise, sigmoid and exponential. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "checker.h"

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

/* Also far from zero, in place, and of no number. */
static void check_curve(const kernel *k)
{
    const bool exponential = k->family == &exponential_family;
    const size_t n = between(1, 50), shift = below(8);
    const float range = below(2) ? 5 : 200;
    array x = input(n + shift), out = output(n + shift, false);
    double *want = doubles(n);

    for (size_t i = 0; i < n; i++) {
        x.data[shift + i] *= range;
        want[i] = exponential ? exp((double)x.data[shift + i]) : 1 / (1 + exp(-(double)x.data[shift + i]));
    }
    if (below(2))
        memcpy(out.data + shift, x.data + shift, n * sizeof(float));
    k->fn.curve(n, is_canary(out.data + shift) ? x.data + shift : out.data + shift, out.data + shift);
    for (size_t i = 0; i < shift; i++)
        if (!is_canary(out.data + i))
            fail(k, "wrote before its output", i);
    memmove(out.data, out.data + shift, n * sizeof(float));
    for (size_t i = 0; i < n; i++)
        if (isinf((float)want[i]) ? !isinf(out.data[i])
                                  : !(fabs((double)out.data[i] - want[i]) <= (exponential ? 3e-7 * want[i] + 1e-44 : 2e-7)))
            fail(k, "differs from the reference", i);
    compare_outside(k, &out);
    x.data[0] = NAN;
    k->fn.curve(1, x.data, x.data);
    if (!isnan(x.data[0]))
        fail(k, "hides a NaN", 0);
    drop(x);
    drop(out);
    free(want);
}

/* One row of a map of 56 pixels x 128 channels. */
typedef struct row_job {
    size_t n, cp;
    const float *x;
    float *out;
    const vt_epilogue *e;
} row_job;

static void run_eltwise(const kernel *k, const void *job)
{
    const row_job *j = job;

    k->fn.eltwise(j->n, j->cp, j->x, j->cp, NULL, j->out, j->cp, j->e);
}

static void run_curve(const kernel *k, const void *job)
{
    const row_job *j = job;

    k->fn.curve(j->n * j->cp, j->x, j->out);
}

static void bench(const kernel *k)
{
    const size_t n = 56, cp = 128;
    array x = input(n * cp), out = output(n * cp, false);
    finish f = random_finish(n, cp);

    f.e.act = VT_ACT_PRELU;
    f.e.residual = NULL;
    time_kernel(k, (double)(n * cp), k->family == &eltwise_family ? run_eltwise : run_curve,
                &(row_job){n, cp, x.data, out.data, &f.e});
    drop(x);
    drop(out);
    drop_finish(&f);
}

const family eltwise_family = {check_eltwise, bench};
const family sigmoid_family = {check_curve, bench};
const family exponential_family = {check_curve, bench};
