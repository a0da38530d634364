/* Profiles: every layer once and in order, times that add up, answers unchanged, and misuse. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "check.h"
#include "models.h"
#include "random.h"
#include "vultus/vultus.h"

#define MOST 256

static vultus_layer_time times[MOST];

static double seconds(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* Records are complete, and together no longer than the call took. */
static void complete(size_t count, double took)
{
    int32_t group = -1;
    uint64_t macs = 0;
    double sum = 0;

    CHECK(strcmp(times[0].kind, "input") == 0 && strcmp(times[count - 1].kind, "output") == 0);
    for (size_t i = 0; i < count; i++) {
        CHECK(times[i].seconds > 0 && times[i].kind[0]);
        CHECK(times[i].group == -1 || times[i].group == group || times[i].group == group + 1);
        group = times[i].group < 0 ? group : times[i].group;
        macs += times[i].macs;
        sum += times[i].seconds;
    }
    CHECK(group > 0 && macs > 0 && sum <= took);
}

static void engine(const bytes *model)
{
    const vultus_options options = {.threads = 2};
    const size_t n = 5;
    vultus_engine *e;
    vultus_error error;
    vultus_info info;
    size_t count = 0;
    double start;
    float *x;

    CHECK(vultus_open_memory(&e, model->data, model->size, &options, NULL) == VULTUS_OK);
    vultus_get_info(e, &info);
    CHECK(vultus_profile(e, NULL, 1, 1, NULL, 0, &count, &error) == VULTUS_OK && count == info.layers + 2 && count <= MOST);
    start = seconds();
    CHECK(vultus_profile(e, NULL, n, 3, times, count, &count, &error) == VULTUS_OK);
    complete(count, (seconds() - start) / (double)n / 3);
    for (size_t i = 0; i < info.layers; i++)
        CHECK(strcmp(times[1 + i].text, vultus_layer(e, i)) == 0);
    x = calloc(3 * (size_t)info.height * info.width, sizeof *x);
    CHECK(x && vultus_profile(e, x, 1, 1, times, MOST, &count, &error) == VULTUS_OK);
    free(x);
    CHECK(vultus_profile(e, NULL, n, 3, times, count - 1, &count, &error) == VULTUS_ERROR_ARGUMENT);
    CHECK(vultus_profile(e, NULL, n, 3, NULL, count, &count, &error) == VULTUS_ERROR_ARGUMENT);
    CHECK(vultus_profile(e, NULL, 0, 3, times, count, &count, &error) == VULTUS_ERROR_ARGUMENT);
    CHECK(vultus_profile(e, NULL, 1025, 3, times, count, &count, &error) == VULTUS_ERROR_ARGUMENT);
    CHECK(vultus_profile(e, NULL, n, 1000001, times, count, &count, &error) == VULTUS_ERROR_ARGUMENT);
    CHECK(vultus_profile(e, NULL, n, 0, times, count, &count, &error) == VULTUS_OK);
    CHECK(times[1].seconds == 0 && times[1].macs > 0 && times[1].group == 0);
    CHECK(vultus_profile(e, NULL, n, 3, times, count, NULL, &error) == VULTUS_ERROR_ARGUMENT);
    CHECK(vultus_profile(NULL, NULL, n, 3, times, count, &count, &error) == VULTUS_ERROR_ARGUMENT);
    vultus_close(&e);
}

static void network(const bytes *model)
{
    vultus_network *net;
    vultus_error error;
    size_t count = 0;
    uint64_t macs = 0;
    double start;

    CHECK(vultus_network_open_memory(&net, model->data, model->size, NULL, NULL) == VULTUS_OK);
    for (uint32_t side = 64; side <= 128; side *= 2) {
        const uint64_t before = macs;

        CHECK(vultus_network_profile(net, NULL, 2, side, side, 3, NULL, 0, &count, &error) == VULTUS_OK && count <= MOST);
        start = seconds();
        CHECK(vultus_network_profile(net, NULL, 2, side, side, 3, times, count, &count, &error) == VULTUS_OK);
        complete(count, (seconds() - start) / 6);
        macs = 0;
        for (size_t i = 0; i < count; i++)
            macs += times[i].macs;
        CHECK(before == 0 || macs == 4 * before);
    }
    CHECK(vultus_network_profile(net, NULL, 1, 0, 64, 1, times, MOST, &count, &error) == VULTUS_ERROR_ARGUMENT);
    CHECK(vultus_network_profile(net, NULL, 1, 64, 64, 1, times, 1, &count, &error) == VULTUS_ERROR_ARGUMENT);
    vultus_network_close(&net);
}

int main(int argc, char **argv)
{
    bytes models[3];

    seed_from(argc, argv);
    models[0] = write_efm3();
    models[1] = write_onnx();
    models[2] = write_detector();
    engine(&models[0]);
    engine(&models[1]);
    network(&models[2]);
    for (int i = 0; i < 3; i++)
        bytes_free(&models[i]);
    return 0;
}
