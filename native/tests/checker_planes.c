/* Pixels to planes. */
#include <math.h>
#include <stdlib.h>

#include "checker.h"

/* The last 3 * n bytes of an array: one that ends before a forbidden page has none to spare. */
static uint8_t *pixels_of(const array *a, size_t n)
{
    uint8_t *bytes = (uint8_t *)(a->data + a->n) - 3 * n;

    for (size_t i = 0; i < 3 * n; i++)
        bytes[i] = (uint8_t)below(256);
    return bytes;
}

static void check_planes(const kernel *k)
{
    const size_t n = between(1, 60), plane = n + below(9);
    array a = input((3 * n + 3) / 4), out = output(3 * plane, false);
    const uint8_t *pixels = pixels_of(&a, n);
    float *planes[3], scale[3], shift[3];
    const size_t reversed = below(2);

    for (size_t c = 0; c < 3; c++) {
        planes[c] = out.data + (reversed ? 2 - c : c) * plane;
        scale[c] = number() / 100;
        shift[c] = number();
    }
    k->fn.planes(n, pixels, planes, scale, shift);
    for (size_t c = 0; c < 3; c++) {
        for (size_t i = 0; i < n; i++) {
            const double want = (double)pixels[3 * i + c] * (double)scale[c] + (double)shift[c];

            if (!(fabs((double)planes[c][i] - want) <= 1e-6))
                fail(k, "differs from the reference", i);
        }
        for (size_t i = n; i < plane; i++)
            if (!is_canary(planes[c] + i))
                fail(k, "wrote beyond its pixels", i);
    }
    compare_outside(k, &out);
    drop(a);
    drop(out);
}

typedef struct job {
    size_t n;
    const uint8_t *pixels;
    float *out;
} job;

static void run(const kernel *k, const void *data)
{
    const job *j = data;
    float *const planes[3] = {j->out, j->out + j->n, j->out + 2 * j->n};
    const float scale[3] = {1, 1, 1}, shift[3] = {0, 0, 0};

    k->fn.planes(j->n, j->pixels, planes, scale, shift);
}

/* A row of 640 pixels. */
static void bench(const kernel *k)
{
    const size_t n = 640;
    array a = input(3 * n / 4), out = output(3 * n, false);

    time_kernel(k, (double)(3 * n), run, &(job){n, pixels_of(&a, n), out.data});
    drop(a);
    drop(out);
}

const family planes_family = {check_planes, bench};
