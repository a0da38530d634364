/* vultus-engine bench: how long an image takes, where the time goes, and how close that is to what the processor can do. */
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "json.h"
#include "model.h"

#define SLICES 5          /* of the time; between them the peak is measured */
#define PEAK_SECONDS 0.05
#define CALLS_MOST 100000

/* What is run: noise through the model, `batch` images a call. */
typedef struct load {
    const model *m;
    size_t batch;
    uint8_t *pixels;
    float *outputs[64]; /* of an embedder, the first: vectors */
} load;

typedef struct result {
    double best, median;  /* seconds of an image */
    double peak;          /* GFLOP/s of all threads together */
    double layer_peak;    /* of one */
    size_t calls;
    uint64_t macs;        /* of an image */
    double layers_sum;    /* seconds of an image, by the profile */
} result;

static double now(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static int run_once(const load *l, vultus_error *error)
{
    const model *m = l->m;

    return m->engine ? vultus_embed_chips(m->engine, l->pixels, l->batch, 0, l->outputs[0], error)
                     : vultus_network_run_pixels(m->network, l->pixels, l->batch, m->height, m->width, l->outputs, error);
}

static size_t output_numbers(const model *m, uint32_t i, vultus_error *error)
{
    vultus_output output;
    size_t numbers = 1;

    if (m->engine)
        return m->info.dim;
    if (vultus_network_output(m->network, m->height, m->width, i, &output, error))
        return 0;
    for (uint32_t k = 0; k < output.rank; k++)
        numbers *= output.dims[k];
    return numbers;
}

static int prepare(load *l)
{
    const size_t bytes = l->batch * l->m->height * l->m->width * 3;
    const uint32_t outputs = l->m->engine ? 1 : l->m->sizes.outputs;
    uint32_t state = 1;
    vultus_error error;

    l->pixels = malloc(bytes);
    if (!l->pixels)
        goto no_memory;
    for (size_t i = 0; i < bytes; i++) {
        state = state * 1664525 + 1013904223;
        l->pixels[i] = (uint8_t)(state >> 24);
    }
    for (uint32_t i = 0; i < outputs; i++) {
        const size_t numbers = output_numbers(l->m, i, &error);

        if (!numbers) {
            complain("%s: %s", l->m->path, error.text);
            return -1;
        }
        l->outputs[i] = malloc(l->batch * numbers * sizeof(float));
        if (!l->outputs[i])
            goto no_memory;
    }
    return 0;
no_memory:
    complain("no memory for %zu images", l->batch);
    return -1;
}

static void drop(load *l)
{
    free(l->pixels);
    for (size_t i = 0; i < sizeof l->outputs / sizeof *l->outputs; i++)
        free(l->outputs[i]);
}

static int by_value(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;

    return (x > y) - (x < y);
}

/* Calls for the given time, and the peak before each slice of them and after the last. */
static int measure(const load *l, double seconds, double *times, result *r)
{
    vultus_error error;

    if (run_once(l, &error)) { /* not counted: the caches are cold */
        complain("%s: %s", l->m->path, error.text);
        return -1;
    }
    for (int slice = 0; slice < SLICES; slice++) {
        const double start = (r->peak = fmax(r->peak, vultus_peak_gflops(l->m->info.isa, l->m->info.threads, PEAK_SECONDS)),
                              now());
        double at = start, after;

        do {
            run_once(l, &error);
            after = now();
            times[r->calls++] = (after - at) / (double)l->batch;
            at = after;
        } while (at - start < seconds / SLICES && r->calls < CALLS_MOST - SLICES);
    }
    r->peak = fmax(r->peak, vultus_peak_gflops(l->m->info.isa, l->m->info.threads, PEAK_SECONDS));
    r->layer_peak = vultus_peak_gflops(l->m->info.isa, 1, 4 * PEAK_SECONDS);
    qsort(times, r->calls, sizeof *times, by_value);
    r->best = times[0];
    r->median = times[r->calls / 2];
    return 0;
}

static double gflops(uint64_t macs, double seconds)
{
    return seconds > 0 ? 2e-9 * (double)macs / seconds : 0;
}

static void print_text(const load *l, const result *r, const vultus_layer_time *layers, size_t count)
{
    const model *m = l->m;

    printf("%s: %s, %" PRIu32 " threads, %zu a call, %" PRIu32 " x %" PRIu32 " pixels, %.1f million multiply-adds\n"
           "%.3f ms a %s at best, %.3f in the middle of %zu calls\n"
           "%.1f GFLOP/s, %.1f%% of the peak of %.1f (%.1f of one thread)\n\n",
           m->path, vultus_isa_name(m->info.isa), m->info.threads, l->batch, m->width, m->height, (double)r->macs / 1e6,
           r->best * 1e3, m->engine ? "face" : "picture", r->median * 1e3, r->calls, gflops(r->macs, r->best),
           100 * gflops(r->macs, r->best) / r->peak, r->peak, r->layer_peak);
    printf("one thread, layer by layer: %.3f ms, %.1f%% of the peak\n      ms  %%time  GFLOP/s  %%peak  group  layer\n",
           r->layers_sum * 1e3, 100 * gflops(r->macs, r->layers_sum) / r->layer_peak);
    for (size_t i = 0; i < count; i++) {
        const double speed = gflops(layers[i].macs, layers[i].seconds);

        printf("%8.4f  %5.1f", layers[i].seconds * 1e3, 100 * layers[i].seconds / r->layers_sum);
        printf(layers[i].macs ? "  %7.1f  %5.1f" : "        -      -", speed, 100 * speed / r->layer_peak);
        printf(layers[i].group < 0 ? "      -" : "  %5" PRId32, layers[i].group);
        printf("  %s\n", layers[i].text[0] ? layers[i].text : layers[i].kind);
    }
}

static void print_json(const load *l, const result *r, const vultus_layer_time *layers, size_t count)
{
    const model *m = l->m;

    fputs("{\"model\": ", stdout);
    json_text(m->path);
    printf(", \"isa\": \"%s\", \"threads\": %" PRIu32 ", \"batch\": %zu, \"height\": %" PRIu32 ", \"width\": %" PRIu32
           ", \"macs\": %" PRIu64 ", \"calls\": %zu, \"best_ms\": %.6g, \"median_ms\": %.6g, \"gflops\": %.6g, "
           "\"peak_gflops\": %.6g, \"peak_share\": %.6g, \"thread_peak_gflops\": %.6g, \"layers\": [",
           vultus_isa_name(m->info.isa), m->info.threads, l->batch, m->height, m->width, r->macs, r->calls, r->best * 1e3,
           r->median * 1e3, gflops(r->macs, r->best), r->peak, gflops(r->macs, r->best) / r->peak, r->layer_peak);
    for (size_t i = 0; i < count; i++) {
        const double speed = gflops(layers[i].macs, layers[i].seconds);

        printf("%s{\"kind\": \"%s\", \"group\": ", i ? ", " : "", layers[i].kind);
        printf(layers[i].group < 0 ? "null" : "%" PRId32, layers[i].group);
        printf(", \"macs\": %" PRIu64 ", \"ms\": %.6g, \"gflops\": %.6g, \"peak_share\": %.6g, \"text\": ", layers[i].macs,
               layers[i].seconds * 1e3, speed, speed / r->layer_peak);
        json_text(layers[i].text);
        putchar('}');
    }
    fputs("]}\n", stdout);
}

/* The profile, as long as half of what the calls took. */
static int profile(const load *l, double seconds, result *r, vultus_layer_time **layers, size_t *count)
{
    const double rounds = fmin(1000, ceil(seconds / 2 / (r->best * (double)l->batch * l->m->info.threads)));

    if (model_profile(l->m, l->batch, (uint32_t)rounds, layers, count))
        return -1;
    for (size_t i = 0; i < *count; i++) {
        r->macs += (*layers)[i].macs;
        r->layers_sum += (*layers)[i].seconds;
    }
    return 0;
}

int command_bench(const arguments *a)
{
    vultus_layer_time *layers = NULL;
    double *times = malloc(CALLS_MOST * sizeof *times);
    int status = EXIT_FAILED;
    load l = {0};
    result r = {0};
    size_t count;
    model m;

    if (!model_open(&m, a) && times) {
        l.m = &m;
        l.batch = a->batch ? a->batch : m.engine ? 32 : 1;
        if (!prepare(&l) && !measure(&l, a->seconds, times, &r) && !profile(&l, a->seconds, &r, &layers, &count)) {
            (a->json ? print_json : print_text)(&l, &r, layers, count);
            status = EXIT_DONE;
        }
    }
    drop(&l);
    free(layers);
    free(times);
    model_close(&m);
    return status;
}
