/* vultus-engine info: what a model is. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "json.h"
#include "model.h"

static uint64_t sum_of_macs(const vultus_layer_time *layers, size_t count)
{
    uint64_t sum = 0;

    for (size_t i = 0; i < count; i++)
        sum += layers[i].macs;
    return sum;
}

/* Calls `print` for each output of a network: its name and sides. */
static int each_output(const model *m, void (*print)(uint32_t i, const vultus_output *output))
{
    for (uint32_t i = 0; i < m->sizes.outputs; i++) {
        vultus_output output;
        vultus_error error;

        if (vultus_network_output(m->network, m->height, m->width, i, &output, &error)) {
            complain("%s: %s", m->path, error.text);
            return -1;
        }
        print(i, &output);
    }
    return 0;
}

static void text_output(uint32_t i, const vultus_output *output)
{
    (void)i;
    fputs("output ", stdout);
    json_text(output->name);
    for (uint32_t k = 0; k < output->rank; k++)
        printf("%s%" PRIu32, k ? " x " : ", ", output->dims[k]);
    putchar('\n');
}

static void json_output(uint32_t i, const vultus_output *output)
{
    fputs(i ? ", {\"name\": " : "{\"name\": ", stdout);
    json_text(output->name);
    for (uint32_t k = 0; k < output->rank; k++)
        printf("%s%" PRIu32, k ? ", " : ", \"shape\": [", output->dims[k]);
    fputs("]}", stdout);
}

static void three(const char *name, const double *values)
{
    printf("\"%s\": [%.9g, %.9g, %.9g], ", name, values[0], values[1], values[2]);
}

static const char *precision_of(const model *m)
{
    return m->info.precision == VULTUS_PRECISION_INT8 ? "int8" : "fp32";
}

static int print_json(const model *m, const vultus_layer_time *layers, size_t count)
{
    const uint64_t weights = m->engine ? m->info.weight_bytes : m->sizes.weight_bytes;
    const uint64_t memory = m->engine ? m->info.thread_bytes : m->sizes.thread_bytes;

    fputs("{\"model\": ", stdout);
    json_text(m->path);
    printf(", \"kind\": \"%s\", \"format\": \"%s\", \"height\": %" PRIu32 ", \"width\": %" PRIu32 ", ",
           m->engine ? "embedder" : "network", m->info.format, m->height, m->width);
    if (m->engine) {
        printf("\"dim\": %" PRIu32 ", \"precision\": \"%s\", ", m->info.dim, precision_of(m));
    } else {
        printf("\"any_size\": %s, \"outputs\": [", m->sizes.height ? "false" : "true");
        if (each_output(m, json_output))
            return EXIT_FAILED;
        fputs("], ", stdout);
    }
    three("mean", m->info.mean);
    three("std", m->info.std);
    printf("\"colour\": \"%s\", \"isa\": \"%s\", \"threads\": %" PRIu32 ", \"weight_bytes\": %" PRIu64
           ", \"thread_bytes\": %" PRIu64 ", \"macs\": %" PRIu64 ", \"layers\": [",
           m->info.bgr ? "bgr" : "rgb", vultus_isa_name(m->info.isa), m->info.threads, weights, memory,
           sum_of_macs(layers, count));
    for (size_t i = 1; i + 1 < count; i++) {
        printf("%s{\"kind\": \"%s\", \"group\": ", i > 1 ? ", " : "", layers[i].kind);
        printf(layers[i].group < 0 ? "null" : "%" PRId32, layers[i].group);
        printf(", \"macs\": %" PRIu64 ", \"text\": ", layers[i].macs);
        json_text(layers[i].text);
        putchar('}');
    }
    fputs("]}\n", stdout);
    return EXIT_DONE;
}

static int print_text(const model *m, const vultus_layer_time *layers, size_t count)
{
    const uint64_t weights = m->engine ? m->info.weight_bytes : m->sizes.weight_bytes;
    const uint64_t memory = m->engine ? m->info.thread_bytes : m->sizes.thread_bytes;

    printf("%s: %s %s, %" PRIu32 " x %" PRIu32 " pixels%s", m->path, m->info.format, m->engine ? "embedder" : "network",
           m->width, m->height, m->engine || m->sizes.height ? "" : " (or others)");
    if (m->engine)
        printf(" to %" PRIu32 " numbers, %s", m->info.dim, precision_of(m));
    printf("\npixels (p - mean) / std, mean %g %g %g, std %g %g %g, %s\n", m->info.mean[0], m->info.mean[1], m->info.mean[2],
           m->info.std[0], m->info.std[1], m->info.std[2], m->info.bgr ? "blue first" : "red first");
    printf("%s, %" PRIu32 " threads; weights %.1f MB, each thread's memory %.1f MB; %.1f million multiply-adds\n",
           vultus_isa_name(m->info.isa), m->info.threads, (double)weights / 1e6, (double)memory / 1e6,
           (double)sum_of_macs(layers, count) / 1e6);
    if (!m->engine && each_output(m, text_output))
        return EXIT_FAILED;
    fputs("\ngroup  layer\n", stdout);
    for (size_t i = 1; i + 1 < count; i++) {
        printf(layers[i].group < 0 ? "    -" : "%5" PRId32, layers[i].group);
        printf("  %s\n", layers[i].text);
    }
    return EXIT_DONE;
}

int command_info(const arguments *a)
{
    vultus_layer_time *layers = NULL;
    int status = EXIT_FAILED;
    size_t count;
    model m;

    if (!model_open(&m, a) && !model_profile(&m, 1, 0, &layers, &count)) {
        if (m.network)
            vultus_network_get_info(m.network, &m.sizes); /* of the size that was planned */
        status = a->json ? print_json(&m, layers, count) : print_text(&m, layers, count);
    }
    free(layers);
    model_close(&m);
    return status;
}
