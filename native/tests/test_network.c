/* Networks: answers that do not depend on instruction set, threads, company or which sizes are planned; more sizes and
 * threads at once than there is room for; arguments; fork. Meant to be run under ThreadSanitizer too. */
#include <math.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "check.h"
#include "models.h"
#include "random.h"
#include "vultus/vultus.h"

#define OUTPUTS 6
#define SIZES 7 /* more than VULTUS_NETWORK_SIZES */
#define IMAGES 2
#define CALLERS 6
#define ROUNDS 20

static const uint32_t sizes[SIZES][2] = {{4, 4}, {8, 12}, {64, 36}, {20, 100}, {96, 96}, {16, 4}, {40, 24}};

/* What write_detector() has as outputs; numbers for 16 pixels of the image. */
static const struct {
    const char *name;
    uint32_t rank;
    size_t numbers;
} wanted[OUTPUTS] = {{"score", 2, 4}, {"box", 2, 6}, {"map", 3, 10}, {"chances", 2, 18}, {"corners", 2, 12}, {"together", 3, 16}};

/* Images of a size, and what one thread of plain C computes of them. */
typedef struct sample {
    uint32_t height, width;
    uint8_t *pixels;
    float *planes, *values[OUTPUTS];
    size_t numbers[OUTPUTS]; /* of one image */
} sample;

static sample samples[SIZES];
static vultus_network *shared;

static vultus_network *open_bytes(const bytes *b, uint32_t threads, uint32_t isa)
{
    const vultus_options options = {.threads = threads, .isa = isa};
    vultus_network *network;
    vultus_error error = {0};

    if (vultus_network_open_memory(&network, b->data, b->size, &options, &error)) {
        fprintf(stderr, "FAILED to open: %s\n", error.text);
        exit(1);
    }
    return network;
}

static void make_sample(vultus_network *reference, sample *s, uint32_t height, uint32_t width)
{
    const size_t area = (size_t)height * width;

    *s = (sample){.height = height, .width = width, .pixels = malloc(IMAGES * area * 3),
                  .planes = malloc(IMAGES * area * 3 * sizeof(float))};
    CHECK(s->pixels && s->planes);
    for (size_t n = 0; n < IMAGES; n++)
        for (size_t i = 0; i < area; i++)
            for (size_t c = 0; c < 3; c++) { /* blue, green, red */
                const uint8_t byte = (uint8_t)any();

                s->pixels[(n * area + i) * 3 + c] = byte;
                s->planes[(n * 3 + 2 - c) * area + i] = (float)((byte - 127.5) / 128);
            }
    for (uint32_t i = 0; i < OUTPUTS; i++) {
        vultus_output output;

        CHECK(vultus_network_output(reference, height, width, i, &output, NULL) == VULTUS_OK);
        CHECK(output.rank == wanted[i].rank && strcmp(output.name, wanted[i].name) == 0);
        s->numbers[i] = 1;
        for (uint32_t j = 0; j < output.rank; j++)
            s->numbers[i] *= output.dims[j];
        CHECK(s->numbers[i] == area / 16 * wanted[i].numbers);
        s->values[i] = malloc(IMAGES * s->numbers[i] * sizeof(float));
        CHECK(s->values[i]);
    }
    CHECK(vultus_network_run(reference, s->planes, IMAGES, height, width, s->values, NULL) == VULTUS_OK);
}

/* Largest difference of what the network computes of `count` images from what it should. */
static float difference(vultus_network *network, const sample *s, size_t count, int from_pixels)
{
    float *values[OUTPUTS], most = 0;

    for (int i = 0; i < OUTPUTS; i++)
        values[i] = malloc(IMAGES * s->numbers[i] * sizeof(float));
    if (from_pixels)
        CHECK(vultus_network_run_pixels(network, s->pixels, count, s->height, s->width, values, NULL) == VULTUS_OK);
    else
        CHECK(vultus_network_run(network, s->planes, count, s->height, s->width, values, NULL) == VULTUS_OK);
    for (int i = 0; i < OUTPUTS; i++) {
        for (size_t j = 0; j < count * s->numbers[i]; j++) {
            const float d = fabsf(values[i][j] - s->values[i][j]) / (1 + fabsf(s->values[i][j]));

            most = d <= most ? most : d;
        }
        free(values[i]);
    }
    return most;
}

static void same_answers(const bytes *b)
{
    for (uint32_t isa = VULTUS_ISA_SCALAR; vultus_isa_name(isa); isa++) {
        for (uint32_t threads = 1; threads <= 3 && vultus_isa_usable(isa) == 1; threads += 2) {
            vultus_network *network = open_bytes(b, threads, isa);
            vultus_network_info info;
            float most = 0;

            for (int i = 0; i < 3 * SIZES; i++) {
                const float d = difference(network, &samples[i % SIZES], 1 + (size_t)i % IMAGES, i & 1);

                most = d <= most ? most : d;
            }
            vultus_network_get_info(network, &info);
            CHECK(info.sizes == VULTUS_NETWORK_SIZES && info.thread_bytes && info.threads == threads);
            CHECK(info.weight_bytes && info.file_bytes == b->size && !info.height && info.outputs == OUTPUTS);
            printf("%s, %u threads: largest difference %g\n", vultus_isa_name(isa), threads, (double)most);
            CHECK(most < 2e-5f);
            vultus_network_close(&network);
        }
    }
}

static void *caller(void *arg)
{
    const size_t me = (size_t)(uintptr_t)arg;
    uintptr_t wrong = 0;

    for (size_t i = 0; i < ROUNDS; i++) {
        vultus_network_info info;

        wrong += !(difference(shared, &samples[(me * 3 + i) % SIZES], 1 + i % IMAGES, (int)(i & 1)) < 2e-5f);
        vultus_network_get_info(shared, &info);
        wrong += info.sizes > VULTUS_NETWORK_SIZES;
    }
    return (void *)wrong;
}

static void crowd(const bytes *b)
{
    pthread_t threads[CALLERS];
    uintptr_t wrong = 0;

    shared = open_bytes(b, 2, VULTUS_ISA_AUTO);
    for (size_t i = 0; i < CALLERS; i++)
        CHECK(pthread_create(&threads[i], NULL, caller, (void *)(uintptr_t)i) == 0);
    for (size_t i = 0; i < CALLERS; i++) {
        void *result;

        pthread_join(threads[i], &result);
        wrong += (uintptr_t)result;
    }
    printf("%d calls by %d threads, %zu wrong\n", CALLERS * ROUNDS, CALLERS, (size_t)wrong);
    CHECK(!wrong);
    vultus_network_close(&shared);
}

static void arguments(const bytes *b)
{
    float numbers[3 * 16] = {0}, score[16], *only_score[OUTPUTS] = {score};
    vultus_network *network;
    vultus_output output;
    vultus_error error;
    char text[8];
    bytes efm3;

    CHECK(vultus_network_open_memory(NULL, b->data, b->size, NULL, &error) == VULTUS_ERROR_ARGUMENT);
    CHECK(vultus_network_open_memory(&network, NULL, 1, NULL, &error) == VULTUS_ERROR_ARGUMENT && !network);
    CHECK(vultus_network_open(&network, "/nonexistent/model", NULL, &error) == VULTUS_ERROR_IO && error.sys_errno);
    efm3 = write_efm3();
    CHECK(vultus_network_open_memory(&network, efm3.data, efm3.size, NULL, &error) == VULTUS_ERROR_FORMAT);
    bytes_free(&efm3);
    network = open_bytes(b, 1, VULTUS_ISA_AUTO);
    CHECK(vultus_network_run(network, numbers, 1, 4, 4, only_score, &error) == VULTUS_OK); /* the others are NULL */
    CHECK(vultus_network_run(network, NULL, 0, 4, 4, NULL, &error) == VULTUS_OK);
    CHECK(vultus_network_run(network, NULL, 1, 4, 4, only_score, &error) == VULTUS_ERROR_ARGUMENT);
    CHECK(vultus_network_run(network, numbers, 1, 4, 4, NULL, &error) == VULTUS_ERROR_ARGUMENT);
    CHECK(vultus_network_run(network, numbers, 1, 0, 4, only_score, &error) == VULTUS_ERROR_ARGUMENT);
    CHECK(vultus_network_run(network, numbers, 1, 4, 8193, only_score, &error) == VULTUS_ERROR_ARGUMENT);
    CHECK(vultus_network_run(network, numbers, SIZE_MAX / 64, 4, 4, only_score, &error) == VULTUS_ERROR_ARGUMENT);
    /* conv1 is 3 x 3 there and twice pooled 2 x 2: they do not add up, and the file's byte is named. */
    CHECK(vultus_network_run(network, numbers, 1, 6, 6, only_score, &error) == VULTUS_ERROR_FORMAT);
    CHECK(error.offset != VULTUS_NO_OFFSET && error.offset < b->size);
    CHECK(vultus_network_run(network, numbers, 1, 4, 4, only_score, &error) == VULTUS_OK);
    CHECK(vultus_network_output(network, 4, 4, OUTPUTS, &output, &error) == VULTUS_ERROR_ARGUMENT);
    CHECK(vultus_network_layer(network, 4, 4, 0, text, sizeof text, &error) == VULTUS_OK && strlen(text) == 7);
    CHECK(vultus_network_layer(network, 4, 4, 1000, text, sizeof text, &error) == VULTUS_OK && !text[0]);
    CHECK(vultus_network_layer(network, 4, 4, 0, text, 0, &error) == VULTUS_ERROR_ARGUMENT);
    vultus_network_close(&network);
    CHECK(!network);
    vultus_network_close(&network);
}

static void forked(const bytes *b)
{
    vultus_network *network = open_bytes(b, 2, VULTUS_ISA_AUTO);
    float numbers[3 * 16] = {0}, score[16], *outputs[OUTPUTS] = {score};
    vultus_error error = {0};
    int state;
    const pid_t child = fork();

    if (child == 0) {
        const int status = vultus_network_run(network, numbers, 1, 4, 4, outputs, &error);

        vultus_network_close(&network);
        _exit(status == VULTUS_ERROR_FORKED && strstr(error.text, "open another") ? 0 : 1);
    }
    CHECK(child > 0 && waitpid(child, &state, 0) == child && WIFEXITED(state) && WEXITSTATUS(state) == 0);
    vultus_network_close(&network);
}

int main(int argc, char **argv)
{
    vultus_network *reference;
    bytes detector;

    seed_from(argc, argv);
    detector = write_detector();
    reference = open_bytes(&detector, 1, VULTUS_ISA_SCALAR);
    for (int i = 0; i < SIZES; i++)
        make_sample(reference, &samples[i], sizes[i][0], sizes[i][1]);
    vultus_network_close(&reference);
    same_answers(&detector);
    crowd(&detector);
    arguments(&detector);
    forked(&detector);
    for (int i = 0; i < SIZES; i++) {
        free(samples[i].pixels);
        free(samples[i].planes);
        for (int j = 0; j < OUTPUTS; j++)
            free(samples[i].values[j]);
    }
    bytes_free(&detector);
    return 0;
}
