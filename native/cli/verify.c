/* vultus-engine verify: against stored answers. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "json.h"
#include "model.h"
#include "npz.h"

#define GOLDEN_MOST ((size_t)1 << 30) /* bytes */

static const char *find_arrays(const model *m, const content *file, npy *x, npy *y)
{
    const char *wrong = npz_find(file, "x", x);

    if (!wrong)
        wrong = npz_find(file, "y", y);
    if (wrong)
        return wrong;
    if (x->rank != 4 || x->item != 4 || x->shape[1] != 3 || x->shape[2] != m->height || x->shape[3] != m->width)
        return "x is not (n, 3, height, width) float32 of the model's size";
    if (y->rank != 2 || y->shape[1] != m->info.dim || y->shape[0] != x->shape[0])
        return "y is not (n, dim) of the model's dim and as many rows as x";
    return x->count ? NULL : "there are no faces in it";
}

/* Largest difference; infinite if an answer is not a number. Negative after a complaint. */
static double difference(const model *m, const npy *x, const npy *y, uint32_t flags)
{
    float *faces = malloc(x->count * sizeof *faces), *vectors = malloc(y->count * sizeof *vectors);
    vultus_error error;
    double most = -1;

    if (!faces || !vectors) {
        complain("no memory for %zu faces", x->shape[0]);
    } else {
        for (size_t i = 0; i < x->count; i++)
            faces[i] = (float)npy_number(x, i);
        if (vultus_embed(m->engine, faces, x->shape[0], flags, vectors, &error)) {
            complain("%s: %s", m->path, error.text);
        } else {
            most = 0;
            for (size_t i = 0; i < y->count; i++) {
                const double d = fabs((double)vectors[i] - npy_number(y, i));

                most = !(d <= most) ? isnan(d) ? INFINITY : d : most;
            }
        }
    }
    free(faces);
    free(vectors);
    return most;
}

static int report(const arguments *a, const model *m, size_t faces, double most)
{
    const bool passed = most <= a->tolerance;

    if (a->json) {
        fputs("{\"model\": ", stdout);
        json_text(m->path);
        printf(", \"isa\": \"%s\", \"faces\": %zu, \"difference\": ", vultus_isa_name(m->info.isa), faces);
        json_number(most);
        printf(", \"tolerance\": %g, \"passed\": %s}\n", a->tolerance, passed ? "true" : "false");
    } else {
        printf("%s: %zu faces, %s, largest difference %.3g, tolerance %g: %s\n", m->path, faces,
               vultus_isa_name(m->info.isa), most, a->tolerance, passed ? "passed" : "FAILED");
    }
    if (!passed)
        complain("%s: a difference of %.3g exceeds the tolerance of %g", m->path, most, a->tolerance);
    return passed ? EXIT_DONE : EXIT_FAILED;
}

int command_verify(const arguments *a)
{
    int status = EXIT_FAILED;
    content golden;
    model m;
    npy x, y;

    if (!model_open_embedder(&m, a) && !content_read(&golden, a->files[1], GOLDEN_MOST)) {
        const char *wrong = find_arrays(&m, &golden, &x, &y);
        const double most = wrong ? -1 : difference(&m, &x, &y, a->raw ? VULTUS_EMBED_RAW : 0);

        if (wrong)
            complain("%s: %s", a->files[1], wrong);
        else if (most >= 0)
            status = report(a, &m, x.shape[0], most);
        content_free(&golden);
    }
    model_close(&m);
    return status;
}
