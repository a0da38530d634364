/* vultus-engine embed and compare: faces of files. */
#include <stdio.h>
#include <stdlib.h>

#include "image.h"
#include "json.h"
#include "model.h"

/* The vectors of a file's faces, to be freed; NULL after a complaint. */
static float *embed_file(const model *m, const char *path, uint32_t flags, size_t *count)
{
    content file;
    uint8_t *chips;
    vultus_error error;
    float *vectors;

    if (chips_read(&file, path, m->width, m->height, &chips, count))
        return NULL;
    vectors = malloc(*count * m->info.dim * sizeof *vectors);
    if (!vectors) {
        complain("%s: no memory for %zu vectors", path, *count);
    } else if (vultus_embed_chips(m->engine, chips, *count, flags, vectors, &error)) {
        complain("%s: %s", path, error.text);
        free(vectors);
        vectors = NULL;
    }
    content_free(&file);
    return vectors;
}

static void print_lines(const float *vectors, size_t count, size_t dim)
{
    for (size_t i = 0; i < count * dim; i++)
        printf("%.9g%c", (double)vectors[i], (i + 1) % dim ? ' ' : '\n');
}

static void print_json(const char *path, const float *vectors, size_t count, size_t dim)
{
    fputs("{\"file\": ", stdout);
    json_text(path);
    fputs(", \"vectors\": [", stdout);
    for (size_t i = 0; i < count; i++) {
        fputs(i ? ", " : "", stdout);
        json_numbers(vectors + i * dim, dim);
    }
    fputs("]}", stdout);
}

int command_embed(const arguments *a)
{
    const uint32_t flags = a->raw ? VULTUS_EMBED_RAW : 0;
    int status = EXIT_DONE;
    model m;

    if (model_open_embedder(&m, a))
        return EXIT_FAILED;
    if (a->json)
        printf("{\"dim\": %u, \"files\": [", m.info.dim);
    for (int i = 1; i < a->count && !status; i++) {
        size_t count;
        float *vectors = embed_file(&m, a->files[i], flags, &count);

        if (!vectors) {
            status = EXIT_FAILED;
        } else if (a->json) {
            fputs(i > 1 ? ", " : "", stdout);
            print_json(a->files[i], vectors, count, m.info.dim);
        } else {
            print_lines(vectors, count, m.info.dim);
        }
        free(vectors);
    }
    if (a->json && !status)
        fputs("]}\n", stdout);
    model_close(&m);
    return status;
}

int command_compare(const arguments *a)
{
    float *vectors[2] = {NULL, NULL};
    int status = EXIT_DONE;
    double cosine = 0;
    model m;

    if (model_open_embedder(&m, a))
        return EXIT_FAILED;
    for (int i = 0; i < 2 && !status; i++) {
        size_t count = 0;

        vectors[i] = embed_file(&m, a->files[1 + i], 0, &count);
        if (vectors[i] && count != 1)
            complain("%s: %zu faces; compare takes one of each file", a->files[1 + i], count);
        if (!vectors[i] || count != 1)
            status = EXIT_FAILED;
    }
    for (uint32_t i = 0; i < m.info.dim && !status; i++)
        cosine += (double)vectors[0][i] * (double)vectors[1][i];
    if (!status)
        printf(a->json ? "{\"cosine\": %.9g}\n" : "%.4f\n", cosine);
    free(vectors[0]);
    free(vectors[1]);
    model_close(&m);
    return status;
}
