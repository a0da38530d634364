/* Several threads on one engine, and several engines at once: every thread gets the answers that one alone gets.
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

int main(int argc, char **argv)
{
    pthread_t threads[CALLERS];
    uintptr_t wrong = 0;
    size_t numbers;
    bytes model;

    seed_from(argc, argv);
    model = write_onnx();
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
    for (size_t i = 0; i < CALLERS; i++) {
        void *result;

        pthread_join(threads[i], &result);
        wrong += (uintptr_t)result;
    }
    printf("%d calls by %d threads, %zu wrong\n", CALLERS * ROUNDS, CALLERS, (size_t)wrong);
    for (int i = 0; i < 2; i++)
        vultus_close(&engines[i]);
    bytes_free(&model);
    free(x);
    free(expected);
    return wrong != 0;
}
