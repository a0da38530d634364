/* The interface: arguments, answers that do not depend on batch, instruction set or threads, fork. */
#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "check.h"
#include "models.h"
#include "random.h"
#include "vultus/vultus.h"

#define FACES 31

static vultus_engine *open_bytes(const bytes *b, uint32_t threads, uint32_t isa)
{
    const vultus_options options = {.threads = threads, .isa = isa};
    vultus_engine *engine;
    vultus_error error = {0};

    if (vultus_open_memory(&engine, b->data, b->size, &options, &error)) {
        fprintf(stderr, "FAILED to open: %s\n", error.text);
        exit(1);
    }
    return engine;
}

static float largest_difference(const float *a, const float *b, size_t n)
{
    float most = 0;

    for (size_t i = 0; i < n; i++)
        most = fmaxf(most, fabsf(a[i] - b[i]));
    return most;
}

static float length(const float *a, size_t n)
{
    float sum = 0;

    for (size_t i = 0; i < n; i++)
        sum += a[i] * a[i];
    return sqrtf(sum);
}

static void same_answers(const bytes *b)
{
    vultus_engine *reference = open_bytes(b, 1, VULTUS_ISA_SCALAR);
    vultus_info info;
    float *x, *y, *z;
    size_t numbers;

    vultus_get_info(reference, &info);
    numbers = (size_t)3 * info.height * info.width;
    x = malloc(FACES * numbers * sizeof *x);
    y = malloc(FACES * info.dim * sizeof *y);
    z = malloc(FACES * info.dim * sizeof *z);
    CHECK(x && y && z);
    for (size_t i = 0; i < FACES * numbers; i++)
        x[i] = number();
    CHECK(vultus_embed(reference, x, FACES, 0, y, NULL) == VULTUS_OK);
    for (uint32_t isa = VULTUS_ISA_SCALAR; vultus_isa_name(isa); isa++) {
        for (uint32_t threads = 1; threads <= 3 && vultus_isa_usable(isa) == 1; threads++) {
            vultus_engine *engine = open_bytes(b, threads, isa);

            CHECK(vultus_embed(engine, x, FACES, 0, z, NULL) == VULTUS_OK);
            printf("%s %s, %u threads: largest difference %g\n", info.format, vultus_isa_name(isa), threads,
                   (double)largest_difference(y, z, FACES * info.dim));
            CHECK(largest_difference(y, z, FACES * info.dim) < 1e-5f);
            CHECK(fabsf(length(z, info.dim) - 1) < 1e-5f);
            for (size_t i = 0; i < FACES; i++)
                CHECK(vultus_embed(engine, x + i * numbers, 1, 0, z + i * info.dim, NULL) == VULTUS_OK);
            CHECK(largest_difference(y, z, FACES * info.dim) < 1e-5f);
            vultus_close(&engine);
        }
    }
    free(x);
    free(y);
    free(z);
    vultus_close(&reference);
}

/* Pixels are normalised as the model declares, and in its order of channels. */
static void pixels_are_planes(const bytes *b)
{
    vultus_engine *engine = open_bytes(b, 1, VULTUS_ISA_AUTO);
    vultus_info info;
    size_t area;
    uint8_t *chip;
    float *x, *y, *z;

    vultus_get_info(engine, &info);
    area = (size_t)info.height * info.width;
    chip = malloc(3 * area);
    x = malloc(3 * area * sizeof *x);
    y = malloc(2 * info.dim * sizeof *y);
    CHECK(chip && x && y);
    z = y + info.dim;
    for (size_t i = 0; i < area; i++) {
        for (size_t c = 0; c < 3; c++) { /* blue, green, red */
            const size_t plane = info.bgr ? c : 2 - c;

            chip[3 * i + c] = (uint8_t)any();
            x[plane * area + i] = (float)((chip[3 * i + c] - info.mean[plane]) / info.std[plane]);
        }
    }
    CHECK(vultus_embed_chips(engine, chip, 1, VULTUS_EMBED_RAW, y, NULL) == VULTUS_OK);
    CHECK(vultus_embed(engine, x, 1, VULTUS_EMBED_RAW, z, NULL) == VULTUS_OK);
    /* A small number of a long vector is a difference of large ones, and rounded as they are. */
    CHECK(largest_difference(y, z, info.dim) <= 1e-5f * (1 + length(y, info.dim)));
    free(chip);
    free(x);
    free(y);
    vultus_close(&engine);
}

static void arguments(const bytes *b)
{
    vultus_options options;
    vultus_engine *engine;
    vultus_error error;
    vultus_info info;
    float vector[64];

    vultus_options_default(&options);
    options.isa = 99;
    CHECK(vultus_open_memory(&engine, b->data, b->size, &options, &error) == VULTUS_ERROR_ARGUMENT && !engine);
    vultus_options_default(&options);
    options.threads = 257;
    CHECK(vultus_open_memory(&engine, b->data, b->size, &options, &error) == VULTUS_ERROR_ARGUMENT);
    vultus_options_default(&options);
    options.pin = 2;
    CHECK(vultus_open_memory(&engine, b->data, b->size, &options, &error) == VULTUS_ERROR_ARGUMENT);
    vultus_options_default(&options);
    options.reserved[sizeof options.reserved - 1] = 1;
    CHECK(vultus_open_memory(&engine, b->data, b->size, &options, &error) == VULTUS_ERROR_ARGUMENT);
    CHECK(vultus_open_memory(NULL, b->data, b->size, NULL, &error) == VULTUS_ERROR_ARGUMENT);
    CHECK(vultus_open(&engine, "/nonexistent/model", NULL, &error) == VULTUS_ERROR_IO && error.sys_errno);
    CHECK(vultus_open(&engine, "/", NULL, &error) == VULTUS_ERROR_IO && !engine);
    CHECK(vultus_open_memory(&engine, b->data, b->size, NULL, NULL) == VULTUS_OK);
    vultus_get_info(engine, &info);
    CHECK(info.threads >= 1 && info.dim <= 64 && info.isa != VULTUS_ISA_AUTO);
    CHECK(vultus_embed(engine, NULL, 0, 0, NULL, &error) == VULTUS_OK);
    CHECK(vultus_embed(engine, NULL, 1, 0, vector, &error) == VULTUS_ERROR_ARGUMENT);
    CHECK(vultus_embed(engine, vector, 1, 2, vector, &error) == VULTUS_ERROR_ARGUMENT);
    CHECK(vultus_embed(engine, vector, SIZE_MAX / 2, 0, vector, &error) == VULTUS_ERROR_ARGUMENT);
    CHECK(vultus_layer(engine, info.layers - 1) && !vultus_layer(engine, info.layers));
    CHECK(!vultus_isa_name(VULTUS_ISA_AUTO) && !vultus_isa_name(1000) && vultus_isa_usable(1000) == 0);
    vultus_close(&engine);
    CHECK(!engine);
    vultus_close(&engine);
}

static void forked(const bytes *b)
{
    vultus_engine *engine = open_bytes(b, 2, VULTUS_ISA_AUTO);
    vultus_error error = {0};
    float vector[64];
    int state;
    const pid_t child = fork();

    if (child == 0) {
        const int status = vultus_embed(engine, vector, 1, 0, vector, &error);

        vultus_close(&engine);
        _exit(status == VULTUS_ERROR_FORKED && strstr(error.text, "open another") ? 0 : 1);
    }
    CHECK(child > 0 && waitpid(child, &state, 0) == child && WIFEXITED(state) && WEXITSTATUS(state) == 0);
    vultus_close(&engine);
}

int main(int argc, char **argv)
{
    bytes models[2];

    seed_from(argc, argv);
    models[0] = write_efm3();
    models[1] = write_onnx();
    for (int i = 0; i < 2; i++) {
        same_answers(&models[i]);
        pixels_are_planes(&models[i]);
        arguments(&models[i]);
        forked(&models[i]);
        bytes_free(&models[i]);
    }
    return 0;
}
