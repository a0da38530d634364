/* Several threads on one face: the answer is that of one thread to the last bit, however many there are, also when they are
 * more than the machine has processors and while other callers take them away. Meant to be run under ThreadSanitizer too. */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "models.h"
#include "random.h"
#include "vultus/vultus.h"

#define FACES 5
#define CALLERS 5
#define ROUNDS 30
#define OUTPUTS_MAX 64

static const uint32_t crews[] = {2, 3, 4, 7, 33};

/* Faces for an engine, and what one thread makes of them. */
typedef struct sample {
    vultus_engine *engine;
    vultus_info info;
    float *x, *expected;
} sample;

static void *take(size_t size)
{
    void *memory = malloc(size);

    if (!memory)
        exit(2);
    return memory;
}

/* Every other engine has its threads pinned. */
static vultus_engine *open_engine(const bytes *model, uint32_t threads)
{
    const vultus_options options = {.threads = threads, .pin = threads % 2};
    vultus_engine *engine;
    vultus_error error = {0};

    if (vultus_open_memory(&engine, model->data, model->size, &options, &error)) {
        fprintf(stderr, "FAILED to open: %s\n", error.text);
        exit(1);
    }
    return engine;
}

static sample make_sample(const bytes *model)
{
    sample s = {.engine = open_engine(model, 1)};
    size_t numbers;

    vultus_get_info(s.engine, &s.info);
    numbers = (size_t)3 * s.info.height * s.info.width;
    s.x = take(FACES * numbers * sizeof *s.x);
    s.expected = take(FACES * s.info.dim * sizeof *s.expected);
    for (size_t i = 0; i < FACES * numbers; i++)
        s.x[i] = number();
    if (vultus_embed(s.engine, s.x, FACES, 0, s.expected, NULL))
        exit(1);
    return s;
}

static void drop_sample(sample *s)
{
    vultus_close(&s->engine);
    free(s->x);
    free(s->expected);
}

/* How many of n faces' numbers differ; the faces begin with face `first` of the sample. */
static size_t differences(vultus_engine *engine, const sample *s, size_t first, size_t n)
{
    const size_t dim = s->info.dim;
    float *y = take(n * dim * sizeof *y);
    size_t wrong = 0;

    if (vultus_embed(engine, s->x + first * 3 * s->info.height * s->info.width, n, 0, y, NULL))
        exit(1);
    for (size_t i = 0; i < n * dim; i++)
        wrong += memcmp(y + i, s->expected + first * dim + i, sizeof *y) != 0;
    free(y);
    return wrong;
}

static size_t check_engine(const char *name, const bytes *model)
{
    sample s = make_sample(model);
    size_t wrong = 0;

    for (size_t c = 0; c < sizeof crews / sizeof *crews; c++) {
        vultus_engine *engine = open_engine(model, crews[c]);

        for (size_t n = 1; n <= FACES; n++)
            wrong += differences(engine, &s, below((uint32_t)(FACES - n + 1)), n);
        vultus_close(&engine);
    }
    printf("%s: %zu numbers differ from one thread's\n", name, wrong);
    drop_sample(&s);
    return wrong;
}

/* All outputs of one picture, one after the other. */
static float *run_detector(vultus_network *network, const uint8_t *pixels, uint32_t height, uint32_t width, size_t *count)
{
    float *outputs[OUTPUTS_MAX], *y;
    size_t at[OUTPUTS_MAX + 1] = {0};
    vultus_network_info info;

    vultus_network_get_info(network, &info);
    for (uint32_t i = 0; i < info.outputs; i++) {
        vultus_output output;

        if (vultus_network_output(network, height, width, i, &output, NULL))
            exit(1);
        at[i + 1] = 1;
        for (uint32_t d = 0; d < output.rank; d++)
            at[i + 1] *= output.dims[d];
        at[i + 1] += at[i];
    }
    y = take(at[info.outputs] * sizeof *y);
    for (uint32_t i = 0; i < info.outputs; i++)
        outputs[i] = y + at[i];
    if (vultus_network_run_pixels(network, pixels, 1, height, width, outputs, NULL))
        exit(1);
    *count = at[info.outputs];
    return y;
}

static size_t check_detector(const bytes *model)
{
    static const uint32_t sizes[][2] = {{4, 4}, {8, 12}, {64, 36}, {20, 100}, {96, 96}};
    size_t wrong = 0;

    for (size_t c = 0; c < sizeof crews / sizeof *crews; c++) {
        const vultus_options one = {.threads = 1}, many = {.threads = crews[c]};
        vultus_network *networks[2];

        if (vultus_network_open_memory(&networks[0], model->data, model->size, &one, NULL) ||
            vultus_network_open_memory(&networks[1], model->data, model->size, &many, NULL))
            exit(1);
        for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
            const uint32_t height = sizes[i][0], width = sizes[i][1];
            uint8_t *pixels = take((size_t)height * width * 3);
            float *y[2];
            size_t count;

            for (size_t p = 0; p < (size_t)height * width * 3; p++)
                pixels[p] = (uint8_t)below(256);
            for (size_t n = 0; n < 2; n++)
                y[n] = run_detector(networks[n], pixels, height, width, &count);
            wrong += memcmp(y[0], y[1], count * sizeof **y) != 0;
            free(y[0]);
            free(y[1]);
            free(pixels);
        }
        vultus_network_close(&networks[0]);
        vultus_network_close(&networks[1]);
    }
    printf("detector: %zu pictures differ from one thread's\n", wrong);
    return wrong;
}

/* Callers with one face, which all threads compute, and with several, which keep threads busy. */
static sample shared_sample;
static vultus_engine *shared;

static void *caller(void *arg)
{
    const size_t me = (size_t)(uintptr_t)arg;
    size_t wrong = 0;

    for (size_t i = 0; i < ROUNDS; i++) {
        const size_t n = me ? 1 + i % 2 : FACES;

        wrong += differences(shared, &shared_sample, (me + i) % (FACES - n + 1), n);
    }
    return (void *)(uintptr_t)wrong;
}

static size_t check_company(const bytes *model, uint32_t threads)
{
    pthread_t ids[CALLERS];
    size_t wrong = 0;

    shared_sample = make_sample(model);
    shared = open_engine(model, threads);
    for (size_t i = 0; i < CALLERS; i++)
        if (pthread_create(&ids[i], NULL, caller, (void *)(uintptr_t)i))
            exit(1);
    for (size_t i = 0; i < CALLERS; i++) {
        void *result;

        pthread_join(ids[i], &result);
        wrong += (size_t)(uintptr_t)result;
    }
    printf("%d callers of %u threads: %zu numbers differ\n", CALLERS, threads, wrong);
    vultus_close(&shared);
    drop_sample(&shared_sample);
    return wrong;
}

int main(int argc, char **argv)
{
    bytes efm3, onnx, detector;
    size_t wrong;

    seed_from(argc, argv);
    efm3 = write_efm3();
    onnx = write_onnx();
    detector = write_detector();
    wrong = check_engine("EFM3", &efm3) + check_engine("ONNX", &onnx) + check_detector(&detector);
    wrong += check_company(&efm3, 2) + check_company(&onnx, 4);
    bytes_free(&efm3);
    bytes_free(&onnx);
    bytes_free(&detector);
    return wrong != 0;
}
