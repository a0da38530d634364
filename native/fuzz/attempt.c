#include "attempt.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "vultus/vultus.h"

#define LAYERS_MOST 4098     /* records of a profile */
#define WORK_MOST (8u << 20) /* multiply-adds and the like of an image that is computed */
#define OUTPUTS_MOST 64

static vultus_layer_time layers[LAYERS_MOST];

/* The library answers as it promises, or the fuzzer has found something. */
static void demand(int condition)
{
    if (!condition)
        abort();
}

static void check_refusal(int status, const vultus_error *error, size_t size)
{
    demand(status == VULTUS_ERROR_FORMAT || status == VULTUS_ERROR_UNSUPPORTED);
    demand(error->status == status && error->text[0] && !strchr(error->text, '\n'));
    demand(error->offset == VULTUS_NO_OFFSET || error->offset <= size);
}

/* Both kernels of everything, alone and together on one image: the file's size decides, so that a finding repeats. */
static vultus_options options_for(size_t size)
{
    vultus_options options;

    vultus_options_default(&options);
    options.threads = size % 4 == 3 ? 2 : 1;
    options.isa = size % 2 || vultus_isa_usable(VULTUS_ISA_AVX2) != 1 ? VULTUS_ISA_SCALAR : VULTUS_ISA_AVX2;
    return options;
}

/* How much an image costs, by the descriptions of the layers. */
static uint64_t work_of(size_t count)
{
    uint64_t work = 0;

    for (size_t i = 0; i < count; i++) {
        uint32_t c, h, w, kh = 1, kw = 1;
        const char *out = strstr(layers[i].text, " -> ");

        if (out && sscanf(out, " -> %" SCNu32 "x%" SCNu32 "x%" SCNu32, &c, &h, &w) == 3) {
            if (strncmp(layers[i].text, "max pool ", 9) == 0)
                sscanf(layers[i].text + 9, "%" SCNu32 "x%" SCNu32, &kh, &kw);
            work += layers[i].macs + (uint64_t)c * h * w * kh * kw;
        }
    }
    return work;
}

static uint8_t *noise(size_t n)
{
    uint8_t *pixels = malloc(n ? n : 1);
    uint32_t state = 1;

    demand(pixels != NULL);
    for (size_t i = 0; i < n; i++) {
        state = state * 1664525 + 1013904223;
        pixels[i] = (uint8_t)(state >> 24);
    }
    return pixels;
}

void attempt_engine(const uint8_t *data, size_t size)
{
    const vultus_options options = options_for(size);
    vultus_engine *engine;
    vultus_error error = {0};
    vultus_info info;
    size_t count;
    const int status = vultus_open_memory(&engine, data, size, &options, &error);

    if (status) {
        demand(!engine);
        check_refusal(status, &error, size);
        return;
    }
    vultus_get_info(engine, &info);
    demand(!vultus_profile(engine, NULL, 1, 0, layers, LAYERS_MOST, &count, &error) && count == info.layers + 2);
    if (work_of(count) <= WORK_MOST) {
        uint8_t *chip = noise((size_t)info.height * info.width * 3);
        float *vector = malloc(info.dim * sizeof *vector);

        demand(vector && !vultus_embed_chips(engine, chip, 1, 0, vector, &error));
        free(chip);
        free(vector);
    }
    vultus_close(&engine);
}

/* A network's answers for one image of the size, in blocks of just their size. */
static void compute(vultus_network *network, const vultus_network_info *info, uint32_t height, uint32_t width)
{
    float *outputs[OUTPUTS_MOST];
    uint8_t *pixels = noise((size_t)height * width * 3);
    vultus_error error;

    for (uint32_t i = 0; i < info->outputs; i++) {
        vultus_output output;
        size_t numbers = 1;

        demand(!vultus_network_output(network, height, width, i, &output, &error));
        for (uint32_t k = 0; k < output.rank; k++)
            numbers *= output.dims[k];
        outputs[i] = malloc(numbers * sizeof(float));
        demand(outputs[i] != NULL);
    }
    demand(!vultus_network_run_pixels(network, pixels, 1, height, width, outputs, &error));
    for (uint32_t i = 0; i < info->outputs; i++)
        free(outputs[i]);
    free(pixels);
}

void attempt_network(const uint8_t *data, size_t size)
{
    static const uint32_t sides[][2] = {{32, 64}, {7, 9}, {64, 32}};
    const vultus_options options = options_for(size);
    vultus_network *network;
    vultus_network_info info;
    vultus_error error = {0};
    size_t count;
    int status = vultus_network_open_memory(&network, data, size, &options, &error);

    if (status) {
        demand(!network);
        check_refusal(status, &error, size);
        return;
    }
    vultus_network_get_info(network, &info);
    for (size_t i = 0; i < (info.height ? 1 : sizeof sides / sizeof *sides); i++) {
        const uint32_t height = info.height ? info.height : sides[i][0], width = info.height ? info.width : sides[i][1];

        status = vultus_network_profile(network, NULL, 1, height, width, 0, layers, LAYERS_MOST, &count, &error);
        if (status)
            check_refusal(status, &error, size);
        else if (work_of(count) <= WORK_MOST)
            compute(network, &info, height, width);
    }
    vultus_network_close(&network);
}
