#define _DEFAULT_SOURCE
#include "checker.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#define CANARY 16 /* floats beside an array at least */

static const uint32_t beside_input = 0x7fc0cafe, canary = 0x5ca1ab1e;

static array take_beside(size_t n, bool random, uint32_t guard)
{
    const size_t page = (size_t)sysconf(_SC_PAGESIZE);
    const size_t inside = ((n + CANARY) * sizeof(float) + page - 1) / page * page;
    array a = {.n = n, .mapped = inside + 2 * page};

    a.pages = mmap(NULL, a.mapped, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (a.pages == MAP_FAILED || mprotect((char *)a.pages + page, inside, PROT_READ | PROT_WRITE))
        exit(2);
    a.first = (float *)(void *)((char *)a.pages + page);
    a.end = a.first + inside / sizeof(float);
    for (float *f = a.first; f < a.end; f++)
        memcpy(f, &guard, 4);
    a.data = below(2) ? a.first : a.end - n;
    for (size_t i = 0; i < n && random; i++)
        a.data[i] = number();
    return a;
}

array input(size_t n)
{
    return take_beside(n, true, beside_input);
}

array output(size_t n, bool random)
{
    return take_beside(n, random, canary);
}

void drop(array a)
{
    munmap(a.pages, a.mapped);
}

bool is_canary(const float *f)
{
    return memcmp(f, &canary, 4) == 0;
}

void set_canary(float *f)
{
    memcpy(f, &canary, 4);
}

double *doubles(size_t n)
{
    double *d = calloc(n ? n : 1, sizeof *d);

    if (!d)
        exit(2);
    return d;
}

finish random_finish(size_t pixels, size_t cp)
{
    finish f = {.bias = input(cp), .slope = input(cp)};

    f.e = (vt_epilogue){.bias = f.bias.data, .slope = f.slope.data, .act = (vt_act)below(3), .lo = -0.5f, .hi = 0.75f};
    f.e.ldr = cp + 8 * below(3);
    f.residual = input(pixels * f.e.ldr);
    f.e.residual = below(2) ? f.residual.data : NULL;
    return f;
}

void drop_finish(finish *f)
{
    drop(f->bias);
    drop(f->slope);
    drop(f->residual);
}

double reference_finish(const vt_epilogue *e, double sum, size_t pixel, size_t c)
{
    if (e->residual)
        sum += (double)e->residual[pixel * e->ldr + c];
    if (e->act == VT_ACT_PRELU)
        return sum < 0 ? sum * (double)e->slope[c] : sum;
    if (e->act == VT_ACT_CLIP)
        return fmin(fmax(sum, (double)e->lo), (double)e->hi);
    return sum;
}

void fail(const kernel *k, const char *what, size_t at)
{
    fprintf(stderr, "FAILED: %s: %s at %zu\n", k->name, what, at);
    exit(1);
}

void compare_outside(const kernel *k, const array *got)
{
    for (const float *f = got->first; f < got->end; f++)
        if ((f < got->data || f >= got->data + got->n) && !is_canary(f))
            fail(k, "wrote outside its output", (size_t)(f - got->first));
}

void compare(const kernel *k, const array *got, const double *want, size_t pixels, size_t cp, size_t ld)
{
    compare_outside(k, got);
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

static double seconds(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* One core's, of FP32 multiply-adds: kernels of bytes may exceed it. Measured once. */
static double peak_of(uint32_t isa)
{
    static double peaks[16];

    if (isa < sizeof peaks / sizeof *peaks && peaks[isa] == 0)
        peaks[isa] = vultus_peak_gflops(isa, 1, 0.5);
    return isa < sizeof peaks / sizeof *peaks ? peaks[isa] : 0;
}

void time_kernel(const kernel *k, double macs, void (*run)(const kernel *k, const void *job), const void *job)
{
    double best = 1e9, speed, peak;

    for (int round = 0; round < 20; round++) {
        const double start = seconds();

        for (int i = 0; i < 200; i++)
            run(k, job);
        best = fmin(best, (seconds() - start) / 200);
    }
    speed = 2e-9 * macs / best;
    peak = peak_of(k->isa);
    printf("%-24s %-7s %8.2f us %7.1f GFLOP/s  %5.1f%% of %.1f\n", k->name, vultus_isa_name(k->isa), best * 1e6, speed,
           100 * speed / peak, peak);
}
