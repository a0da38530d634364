/* Matrix products: gemm, and planar, which gathers its input. */
#include <stdlib.h>

#include "checker.h"

static void check_matrix(const kernel *k)
{
    const size_t m = between(1, 40), depth = between(1, 70), nr = k->nr, ldo = nr + 8 * below(3);
    const size_t step = k->family == &planar_family ? between(1, 3) : depth + below(9);
    const bool goes_on = k->family == &gemm_family && below(4) == 0;
    array a = input((m - 1) * step + depth), w = input(depth * nr), out = output(m * ldo, goes_on);
    size_t *offsets = malloc(depth * sizeof *offsets);
    double *want = doubles(m * nr);
    finish f = random_finish(m, nr);

    if (!offsets)
        exit(2);
    for (size_t p = 0; p < depth; p++)
        offsets[p] = k->family == &planar_family ? below((uint32_t)depth) : p;
    for (size_t i = 0; i < m && goes_on; i++)
        for (size_t c = nr; c < ldo; c++)
            set_canary(out.data + i * ldo + c);
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
    if (k->family == &gemm_family)
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

typedef struct matrix_job {
    size_t m, k;
    const float *a, *w;
    float *out;
    const size_t *offsets;
    const vt_epilogue *e;
} matrix_job;

static void run_gemm(const kernel *k, const void *job)
{
    const matrix_job *j = job;

    k->fn.gemm(j->m, j->k, j->a, j->k, j->w, j->out, k->nr, j->e);
}

static void run_planar(const kernel *k, const void *job)
{
    const matrix_job *j = job;

    k->fn.planar(j->m, j->k, j->a, 2, j->offsets, j->w, j->out, k->nr, j->e);
}

/* One row of a 56-pixel map: 128 channels in, or the 27 numbers that a stem reads of planes 114 wide. */
static void bench_matrix(const kernel *k)
{
    const bool planar = k->family == &planar_family;
    const size_t m = 56, depth = planar ? 27 : 128;
    array a = input(m * 128), w = input(depth * k->nr), out = output(m * k->nr, false);
    finish f = random_finish(m, k->nr);
    size_t offsets[27];

    for (size_t i = 0; i < 27; i++)
        offsets[i] = i / 3 * 114 + i % 3;
    f.e.act = VT_ACT_PRELU;
    f.e.residual = NULL;
    time_kernel(k, (double)(m * depth * k->nr), planar ? run_planar : run_gemm,
                &(matrix_job){m, depth, a.data, w.data, out.data, offsets, &f.e});
    drop(a);
    drop(w);
    drop(out);
    drop_finish(&f);
}

const family gemm_family = {check_matrix, bench_matrix};
const family planar_family = {check_matrix, bench_matrix};
