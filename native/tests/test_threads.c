/* Several threads on one engine, and several engines at once: every thread gets the answers that one alone gets, while
 * others open, use and close engines and networks of other models.
 * Meant to be run under ThreadSanitizer too. */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "models.h"
#include "random.h"
#include "vultus/vultus.h"

#define CALLERS 4
#define ROUNDS 12
#define FACES 9
#define OPENINGS 8

static vultus_engine *engines[2];
static float *x, *expected;
static vultus_info info;

static void *caller(void *arg)
{
    const size_t number_ = (size_t)(uintptr_t)arg;
    float *y = malloc(FACES * info.dim * sizeof *y);
    uintptr_t wrong = 0;

    for (size_t i = 0; y && i < ROUNDS; i++) {
        const size_t n = 1 + (number_ + i) % FACES;

        memset(y, 0, FACES * info.dim * sizeof *y);
        wrong += vultus_embed(engines[(number_ + i) % 2], x, n, 0, y, NULL) != VULTUS_OK;
        wrong += memcmp(y, expected, n * info.dim * sizeof *y) != 0;
    }
    wrong += !y;
    free(y);
    return (void *)wrong;
}

/* Engines that come and go: the answers of one are those of the one before. */
static void *opener(void *arg)
{
    const bytes *model = arg;
    const vultus_options options = {.threads = 2};
    float first[8], y[8];
    uintptr_t wrong = 0;

    for (int i = 0; i < OPENINGS; i++) {
        static const uint8_t chip[112 * 112 * 3];
        vultus_engine *engine;

        wrong += vultus_open_memory(&engine, model->data, model->size, &options, NULL) != VULTUS_OK;
        wrong += wrong || vultus_embed_chips(engine, chip, 1, 0, i ? y : first, NULL) != VULTUS_OK;
        wrong += i && memcmp(first, y, sizeof y) != 0;
        vultus_close(&engine);
    }
    return (void *)wrong;
}

/* The same with networks, at another size each time. */
static void *network_opener(void *arg)
{
    const bytes *model = arg;
    const vultus_options options = {.threads = 2};
    uintptr_t wrong = 0;

    for (uint32_t i = 0; i < OPENINGS; i++) {
        static const uint8_t picture[64 * 64 * 3];
        float *const nothing[64] = {NULL};
        vultus_network *network;

        wrong += vultus_network_open_memory(&network, model->data, model->size, &options, NULL) != VULTUS_OK;
        wrong += wrong || vultus_network_run_pixels(network, picture, 1, 32, 4 * (i + 1), nothing, NULL) != VULTUS_OK;
        vultus_network_close(&network);
    }
    return (void *)wrong;
}

int main(int argc, char **argv)
{
    pthread_t threads[CALLERS + 2];
    uintptr_t wrong = 0;
    size_t numbers;
    bytes model, efm3, detector;

    seed_from(argc, argv);
    model = write_onnx();
    efm3 = write_efm3();
    detector = write_detector();
    for (uint32_t i = 0; i < 2; i++) {
        const vultus_options options = {.threads = 3 - 2 * i};

        if (vultus_open_memory(&engines[i], model.data, model.size, &options, NULL))
            return 1;
    }
    vultus_get_info(engines[0], &info);
    numbers = (size_t)3 * info.height * info.width;
    x = malloc(FACES * numbers * sizeof *x);
    expected = malloc(FACES * info.dim * sizeof *expected);
    if (!x || !expected)
        return 1;
    for (size_t i = 0; i < FACES * numbers; i++)
        x[i] = number();
    /* One face at a time: a face's vector must not depend on its company, to the last bit. */
    for (size_t i = 0; i < FACES; i++)
        if (vultus_embed(engines[1], x + i * numbers, 1, 0, expected + i * info.dim, NULL))
            return 1;
    for (size_t i = 0; i < CALLERS; i++)
        if (pthread_create(&threads[i], NULL, caller, (void *)(uintptr_t)i))
            return 1;
    if (pthread_create(&threads[CALLERS], NULL, opener, &efm3) ||
        pthread_create(&threads[CALLERS + 1], NULL, network_opener, &detector))
        return 1;
    for (size_t i = 0; i < CALLERS + 2; i++) {
        void *result;

        pthread_join(threads[i], &result);
        wrong += (uintptr_t)result;
    }
    printf("%d calls by %d threads, %zu wrong\n", CALLERS * ROUNDS, CALLERS, (size_t)wrong);
    for (int i = 0; i < 2; i++)
        vultus_close(&engines[i]);
    bytes_free(&model);
    bytes_free(&efm3);
    bytes_free(&detector);
    free(x);
    free(expected);
    return wrong != 0;
}
