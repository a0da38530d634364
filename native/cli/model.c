#include "model.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define DEFAULT_SIDE 320

static int fail(const model *m, const vultus_error *error)
{
    /* Errors of reading begin with the path already. */
    if (error->status == VULTUS_ERROR_IO)
        complain("%s", error->text);
    else
        complain("%s: %s", m->path, error->text);
    return -1;
}

static int settle_size(model *m, const arguments *a)
{
    m->height = m->engine ? m->info.height : m->sizes.height;
    m->width = m->engine ? m->info.width : m->sizes.width;
    if (a->height && m->height && (a->height != m->height || a->width != m->width)) {
        complain("%s: the model takes %" PRIu32 "x%" PRIu32 " pixels only", m->path, m->width, m->height);
        return -1;
    }
    if (!m->height) {
        m->height = a->height ? a->height : DEFAULT_SIDE;
        m->width = a->width ? a->width : DEFAULT_SIDE;
    }
    return 0;
}

static vultus_options options_of(const arguments *a)
{
    vultus_options options;

    vultus_options_default(&options);
    options.threads = a->threads;
    options.isa = a->isa;
    options.pin = a->pin;
    options.precision = a->precision;
    return options;
}

int model_open_embedder(model *m, const arguments *a)
{
    const vultus_options options = options_of(a);
    vultus_error error;

    *m = (model){.path = a->files[0]};
    if (vultus_open(&m->engine, m->path, &options, &error))
        return fail(m, &error);
    vultus_get_info(m->engine, &m->info);
    return settle_size(m, a);
}

static int is_efm3(const char *path)
{
    char magic[4] = "";
    FILE *file = fopen(path, "rb");
    const size_t got = file ? fread(magic, 1, sizeof magic, file) : 0;

    if (file)
        fclose(file);
    return got == sizeof magic && memcmp(magic, "EFM3", sizeof magic) == 0;
}

/* An embedder if it can be one. What keeps a graph from being a network keeps it from being an embedder, too, so the
 * network's complaint is the one to print; not if it is an embedder that is wanted otherwise than it is. */
int model_open(model *m, const arguments *a)
{
    const vultus_options options = options_of(a);
    vultus_error error;
    int status;

    if (is_efm3(a->files[0]))
        return model_open_embedder(m, a);
    *m = (model){.path = a->files[0]};
    status = vultus_open(&m->engine, m->path, &options, &error);
    if (status == VULTUS_OK) {
        vultus_get_info(m->engine, &m->info);
        return settle_size(m, a);
    }
    if (status == VULTUS_ERROR_ARGUMENT)
        return fail(m, &error);
    status = vultus_network_open(&m->network, m->path, &options, &error);
    if (status)
        return fail(m, &error);
    vultus_network_get_info(m->network, &m->sizes);
    m->info.threads = m->sizes.threads;
    m->info.isa = m->sizes.isa;
    m->info.bgr = m->sizes.bgr;
    memcpy(m->info.mean, m->sizes.mean, sizeof m->info.mean);
    memcpy(m->info.std, m->sizes.std, sizeof m->info.std);
    memcpy(m->info.format, "ONNX", sizeof "ONNX");
    return settle_size(m, a);
}

void model_close(model *m)
{
    vultus_close(&m->engine);
    vultus_network_close(&m->network);
}

static int profile(const model *m, size_t batch, uint32_t rounds, vultus_layer_time *records, size_t capacity,
                   size_t *count, vultus_error *error)
{
    return m->engine ? vultus_profile(m->engine, NULL, batch, rounds, records, capacity, count, error)
                     : vultus_network_profile(m->network, NULL, batch, m->height, m->width, rounds, records, capacity,
                                              count, error);
}

int model_profile(const model *m, size_t batch, uint32_t rounds, vultus_layer_time **records, size_t *count)
{
    vultus_error error;

    *records = NULL;
    if (profile(m, batch, rounds, NULL, 0, count, &error))
        return fail(m, &error);
    *records = malloc(*count * sizeof **records);
    if (!*records) {
        complain("no memory for %zu layers", *count);
        return -1;
    }
    if (!profile(m, batch, rounds, *records, *count, count, &error))
        return 0;
    free(*records);
    *records = NULL;
    return fail(m, &error);
}
