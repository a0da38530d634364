/* Hostile files: valid ones cut at every byte, with bytes, numbers and stretches changed, or all random. Each either
 * opens, and then computes, or is refused with a status and a text; run under AddressSanitizer and UBSan it does
 * neither more nor less. `test_loader [seed]`. */
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "models.h"
#include "random.h"
#include "vultus/vultus.h"

static unsigned opened, refused;

static void fail(const char *what, size_t detail, const vultus_error *error)
{
    fprintf(stderr, "FAILED: %s (%zu): status %d, offset %llu, '%s'\n", what, detail, error->status,
            (unsigned long long)error->offset, error->text);
    exit(1);
}

/* Computes a face if that is a matter of milliseconds. */
static void use(vultus_engine *engine)
{
    vultus_error error = {0};
    vultus_info info;
    uint8_t *chip;
    float *vector;

    vultus_get_info(engine, &info);
    if ((uint64_t)info.height * info.width > 112 * 112 || info.thread_bytes > (4 << 20))
        return;
    chip = calloc((size_t)info.height * info.width, 3);
    vector = malloc(info.dim * sizeof *vector);
    if (!chip || !vector || vultus_embed_chips(engine, chip, 1, 0, vector, &error))
        fail("a model that opens computes", info.dim, &error);
    free(chip);
    free(vector);
}

/* Computes the outputs of an image if that is a matter of milliseconds. */
static void use_network(vultus_network *network)
{
    float *outputs[64] = {NULL};
    vultus_error error = {0};
    vultus_network_info info;
    uint32_t side = 8;
    uint8_t *pixels;
    int status = VULTUS_OK;

    vultus_network_get_info(network, &info);
    if (info.height)
        return;
    pixels = calloc((size_t)side * side, 3);
    for (uint32_t i = 0; i < info.outputs && pixels && !status; i++) {
        vultus_output output = {.rank = 0};
        size_t numbers = 1;

        status = vultus_network_output(network, side, side, i, &output, &error);
        for (uint32_t j = 0; j < output.rank; j++)
            numbers *= output.dims[j];
        outputs[i] = malloc(numbers * sizeof(float));
        if (!outputs[i])
            exit(2);
    }
    vultus_network_get_info(network, &info);
    if (!status && info.thread_bytes < (8 << 20))
        status = vultus_network_run_pixels(network, pixels, 1, side, side, outputs, &error);
    if (status && !error.text[0])
        fail("a size that cannot be is refused in words", side, &error);
    for (uint32_t i = 0; i < info.outputs; i++)
        free(outputs[i]);
    free(pixels);
}

static bool as_network; /* attempt() opens networks, not engines */

/* The bytes go into a block of exactly their size, so that one read too many is seen. */
static int attempt(const uint8_t *data, size_t size, vultus_error *error)
{
    const vultus_options options = {.threads = 1};
    uint8_t *copy = malloc(size ? size : 1);
    vultus_network *network = NULL;
    vultus_engine *engine = NULL;
    int status;

    if (!copy)
        exit(2);
    memcpy(copy, data, size);
    memset(error, 0, sizeof *error);
    status = as_network ? vultus_network_open_memory(&network, copy, size, &options, error)
                        : vultus_open_memory(&engine, copy, size, &options, error);
    free(copy);
    if (status == VULTUS_OK) {
        opened++;
        if (as_network)
            use_network(network);
        else
            use(engine);
        vultus_network_close(&network);
        vultus_close(&engine);
        return status;
    }
    refused++;
    if (engine || network || error->status != status || !error->text[0])
        fail("a refusal says why", size, error);
    if (status != VULTUS_ERROR_FORMAT && status != VULTUS_ERROR_UNSUPPORTED)
        fail("a bad file is a format error", size, error);
    if (error->offset != VULTUS_NO_OFFSET && error->offset > size)
        fail("the byte is within the file", size, error);
    return status;
}

static void expect_valid(const char *name, const bytes *b)
{
    vultus_error error;

    if (attempt(b->data, b->size, &error))
        fail(name, b->size, &error);
}

static void truncations(const bytes *b, bool every_cut_is_wrong)
{
    vultus_error error;

    for (size_t size = 0; size < b->size; size++) {
        const int status = attempt(b->data, size, &error);

        if (every_cut_is_wrong && (status != VULTUS_ERROR_FORMAT || error.offset == VULTUS_NO_OFFSET))
            fail("a cut file is refused with the byte", size, &error);
    }
}

static void spoil(uint8_t *data, size_t size, size_t focus)
{
    static const uint32_t numbers[] = {0, 1, 2, 0x7f, 0x80, 0xff, 0xffff, 0x10000, 0x7fffffff, 0x80000000, 0xffffffff};
    const size_t at = any() % 4 ? any() % focus : any() % size;

    switch (below(4)) {
    case 0:
        data[at] ^= (uint8_t)(1u << below(8));
        break;
    case 1:
        data[at] = (uint8_t)any();
        break;
    case 2: {
        const uint32_t v = numbers[below(sizeof numbers / sizeof *numbers)];

        for (size_t i = 0; i < 4 && at + i < size; i++)
            data[at + i] = (uint8_t)(v >> 8 * i);
        break;
    }
    default: {
        const size_t from = any() % size, n = between(1, 16);

        for (size_t i = 0; i < n && at + i < size && from + i < size; i++)
            data[at + i] = data[from + i];
    }
    }
}

static void mutations(const bytes *b, size_t focus, unsigned rounds)
{
    uint8_t *data = malloc(b->size);
    vultus_error error;

    if (!data)
        exit(2);
    for (unsigned i = 0; i < rounds; i++) {
        memcpy(data, b->data, b->size);
        for (unsigned n = 1 + below(3); n > 0; n--)
            spoil(data, b->size, focus);
        attempt(data, b->size, &error);
    }
    free(data);
}

static void noise(const char *magic, size_t magic_size, unsigned rounds)
{
    uint8_t data[512];
    vultus_error error;

    for (unsigned i = 0; i < rounds; i++) {
        const size_t size = between(magic_size, sizeof data);

        for (size_t j = 0; j < size; j++)
            data[j] = (uint8_t)any();
        memcpy(data, magic, magic_size);
        attempt(data, size, &error);
    }
}

static void text_of_errors(const bytes *efm3)
{
    uint8_t *data = malloc(efm3->size + 1);
    vultus_error error;

    if (!data)
        exit(2);
    memcpy(data, efm3->data, efm3->size);
    data[efm3->size] = 0;
    if (!attempt(data, efm3->size + 1, &error) || error.offset != efm3->size || !strstr(error.text, "follow the last tensor"))
        fail("bytes after the end", 1, &error);
    data[9] = 9;
    if (!attempt(data, efm3->size, &error) || error.offset != 9 || strcmp(error.text, "9 stages, which is outside 1..8 (byte 9)"))
        fail("too many stages", 9, &error);
    free(data);
}

int main(int argc, char **argv)
{
    bytes efm3, int8, narrow, onnx, detector;

    seed_from(argc, argv);
    efm3 = write_efm3();
    int8 = write_efm3_int8(6);
    narrow = write_efm3_int8(1);
    onnx = write_onnx();
    detector = write_detector();
    expect_valid("EFM3", &efm3);
    expect_valid("EFM3 INT8", &int8);
    expect_valid("EFM3 INT8 of one channel", &narrow);
    expect_valid("ONNX", &onnx);
    text_of_errors(&efm3);
    truncations(&efm3, true);
    truncations(&int8, true);
    truncations(&onnx, false); /* metadata stand at the end: a model cut between them is a model */
    mutations(&efm3, 120, 1500);
    mutations(&efm3, efm3.size, 500);
    mutations(&int8, 160, 1000);
    mutations(&int8, int8.size, 1000);
    mutations(&onnx, onnx.size, 4000);
    noise("EFM3\3\0\0\0\1", 9, 2000);
    noise("\x08\x08\x3a\x7f", 4, 2000);
    noise("", 0, 500);
    as_network = true;
    expect_valid("detector", &detector);
    truncations(&detector, false);
    mutations(&detector, detector.size, 3000);
    noise("\x08\x08\x3a\x7f", 4, 500);
    printf("%u files opened, %u refused\n", opened, refused);
    bytes_free(&efm3);
    bytes_free(&int8);
    bytes_free(&narrow);
    bytes_free(&onnx);
    bytes_free(&detector);
    return 0;
}
