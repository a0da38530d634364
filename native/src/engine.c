/* The public functions: a plan, its threads, and the memory of each. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "call.h"
#include "cpu.h"
#include "load.h"
#include "options.h"
#include "profile.h"
#include "run.h"

#define THREADS_MAX 256

struct vultus_engine {
    vt_plan plan;
    vt_pool *pool;
    vt_context *contexts; /* one for each seat of the pool */
    unsigned threads;
    float *zeros;
    pid_t owner;
    vultus_info info;
};

const char *vultus_version(void)
{
    return VULTUS_VERSION;
}

void vultus_options_default(vultus_options *options)
{
    memset(options, 0, sizeof *options);
}

int vt_options_check(const vultus_options *given, vultus_isa *isa, unsigned *threads, vultus_error *error)
{
    vultus_options defaults;
    const vultus_options *options = given ? given : &defaults;

    vultus_options_default(&defaults);
    for (size_t i = 0; i < sizeof options->reserved; i++)
        if (options->reserved[i])
            return vt_fail(error, VULTUS_ERROR_ARGUMENT, "a reserved byte of the options is not zero");
    if (options->pin > 1)
        return vt_fail(error, VULTUS_ERROR_ARGUMENT, "pin is %u; it is 0 or 1", options->pin);
    if (options->threads > THREADS_MAX)
        return vt_fail(error, VULTUS_ERROR_ARGUMENT, "%u threads are more than %d", options->threads, THREADS_MAX);
    *threads = options->threads ? options->threads : vt_cpu_count();
    *threads = *threads < THREADS_MAX ? *threads : THREADS_MAX;
    return vt_isa_resolve(options->isa, isa, error);
}

static vultus_precision precision_of(const vt_graph *graph)
{
    for (int i = 0; i < graph->count; i++)
        if (graph->nodes[i].bytes)
            return VULTUS_PRECISION_INT8;
    return VULTUS_PRECISION_FP32;
}

static void fill_info(vultus_engine *engine, const vt_graph *graph, vultus_isa isa)
{
    const vt_plan *plan = &engine->plan;

    engine->info = (vultus_info){
        .dim = plan->maps[plan->output].c,
        .height = plan->maps[0].h,
        .width = plan->maps[0].w,
        .threads = engine->threads,
        .isa = isa,
        .layers = (uint32_t)plan->n_layers,
        .weight_bytes = plan->weight_bytes,
        .thread_bytes = plan->arena_floats * sizeof(float),
        .bgr = graph->bgr,
        .precision = precision_of(graph),
    };
    memcpy(engine->info.mean, graph->mean, sizeof graph->mean);
    memcpy(engine->info.std, graph->std, sizeof graph->std);
    memcpy(engine->info.format, graph->format, sizeof graph->format);
}

/* A file holds one precision; the other is another file. */
static int check_precision(const vt_graph *graph, const vultus_options *options, vultus_error *error)
{
    const uint32_t asked = options ? options->precision : VULTUS_PRECISION_FILE;

    if (asked > VULTUS_PRECISION_INT8)
        return vt_fail(error, VULTUS_ERROR_ARGUMENT, "precision %" PRIu32 " is none that there is", asked);
    if (asked == VULTUS_PRECISION_FILE || asked == precision_of(graph))
        return VULTUS_OK;
    if (asked == VULTUS_PRECISION_INT8)
        return vt_fail(error, VULTUS_ERROR_ARGUMENT,
                       "the model is FP32; `vultus models quantize` makes an INT8 file of it");
    return vt_fail(error, VULTUS_ERROR_ARGUMENT, "the model is INT8; for FP32 open the file that it was made of");
}

static int take_memory(vultus_engine *engine, vultus_error *error)
{
    int status = VULTUS_OK;

    engine->zeros = vt_aligned(engine->plan.zero_floats, sizeof(float));
    engine->contexts = calloc(engine->threads, sizeof *engine->contexts);
    if (!engine->zeros || !engine->contexts)
        return vt_fail_memory(error, engine->plan.zero_floats * sizeof(float));
    for (unsigned i = 0; i < engine->threads && !status; i++)
        status = vt_context_init(&engine->contexts[i], &engine->plan, error);
    return status;
}

/* own: the file is freed here as soon as it is read, before the weights are there a second time. */
static int open_file(vultus_engine **out, vt_file *file, bool own, const vultus_options *options, vultus_error *error)
{
    vultus_engine *engine;
    vt_graph graph = {0};
    vultus_isa isa;
    int status;

    engine = calloc(1, sizeof *engine);
    if (!engine) {
        if (own)
            vt_file_free(file);
        return vt_fail_memory(error, sizeof *engine);
    }
    engine->owner = getpid();
    status = vt_options_check(options, &isa, &engine->threads, error);
    if (!status)
        status = vt_load(file, &graph, error);
    if (own)
        vt_file_free(file);
    if (!status)
        status = vt_graph_fuse(&graph, error);
    if (!status)
        status = check_precision(&graph, options, error);
    if (!status)
        status = vt_pool_create(&engine->pool, engine->threads, options && options->pin, error);
    if (!status)
        status = vt_plan_build(&engine->plan, &graph, isa, engine->threads, engine->pool, error);
    if (!status)
        status = take_memory(engine, error);
    if (!status)
        fill_info(engine, &graph, isa);
    vt_graph_free(&graph);
    if (status)
        vultus_close(&engine);
    *out = engine;
    return status;
}

int vultus_open_memory(vultus_engine **engine, const void *data, size_t size, const vultus_options *options,
                       vultus_error *error)
{
    vt_file file = {data, size};

    if (!engine)
        return vt_fail(error, VULTUS_ERROR_ARGUMENT, "engine is NULL");
    *engine = NULL;
    if (!data)
        return vt_fail(error, VULTUS_ERROR_ARGUMENT, "data is NULL");
    if (size > VT_MAX_FILE)
        return vt_fail(error, VULTUS_ERROR_FORMAT, "a model of %zu bytes exceeds the limit of 2 GiB", size);
    return open_file(engine, &file, false, options, error);
}

int vultus_open(vultus_engine **engine, const char *path, const vultus_options *options, vultus_error *error)
{
    vt_file file = {NULL, 0};
    int status;

    if (!engine)
        return vt_fail(error, VULTUS_ERROR_ARGUMENT, "engine is NULL");
    *engine = NULL;
    if (!path)
        return vt_fail(error, VULTUS_ERROR_ARGUMENT, "path is NULL");
    status = vt_file_read(path, &file, error);
    if (!status)
        return open_file(engine, &file, true, options, error);
    vt_file_free(&file);
    return status;
}

void vultus_close(vultus_engine **out)
{
    vultus_engine *engine = out ? *out : NULL;

    if (!engine)
        return;
    if (engine->owner == getpid())
        vt_pool_destroy(engine->pool);
    else
        vt_pool_abandon(engine->pool);
    for (unsigned i = 0; engine->contexts && i < engine->threads; i++)
        vt_context_free(&engine->contexts[i]);
    free(engine->contexts);
    free(engine->zeros);
    vt_plan_free(&engine->plan);
    free(engine);
    *out = NULL;
}

static int check_owner(const vultus_engine *engine, vultus_error *error)
{
    if (engine->owner != getpid())
        return vt_fail(error, VULTUS_ERROR_FORKED,
                       "this engine was opened by the parent process, whose threads are not here; open another one");
    return VULTUS_OK;
}

static int embed(vultus_engine *engine, vt_faces *faces, size_t n, uint32_t flags, vultus_error *error)
{
    const void *input = faces->planes ? (const void *)faces->planes : faces->pixels;
    int status;

    if (!engine)
        return vt_fail(error, VULTUS_ERROR_ARGUMENT, "engine is NULL");
    if (flags & ~VULTUS_EMBED_RAW)
        return vt_fail(error, VULTUS_ERROR_ARGUMENT, "unknown flags 0x%" PRIx32, flags & ~VULTUS_EMBED_RAW);
    if (n && (!input || !faces->vectors))
        return vt_fail(error, VULTUS_ERROR_ARGUMENT, "the faces or the place for their vectors are NULL");
    if (n > SIZE_MAX / sizeof(float) / 3 / engine->info.height / engine->info.width)
        return vt_fail(error, VULTUS_ERROR_ARGUMENT, "%zu faces do not fit the address space", n);
    status = check_owner(engine, error);
    if (status)
        return status;
    if (n == 0)
        return VULTUS_OK;
    faces->bgr = engine->info.bgr != 0;
    faces->raw = (flags & VULTUS_EMBED_RAW) != 0;
    vt_call_run(&(vt_call){.pool = engine->pool, .threads = engine->threads, .plan = &engine->plan,
                           .contexts = engine->contexts, .zeros = engine->zeros, .faces = faces, .n = n});
    return VULTUS_OK;
}

int vultus_embed(vultus_engine *engine, const float *x, size_t n, uint32_t flags, float *y, vultus_error *error)
{
    vt_faces faces = {.planes = x, .vectors = y};

    return embed(engine, &faces, n, flags, error);
}

int vultus_embed_chips(vultus_engine *engine, const uint8_t *chips, size_t n, uint32_t flags, float *y,
                       vultus_error *error)
{
    vt_faces faces = {.pixels = chips, .vectors = y};

    return embed(engine, &faces, n, flags, error);
}

int vultus_profile(vultus_engine *engine, const float *x, size_t n, uint32_t rounds, vultus_layer_time *times,
                   size_t capacity, size_t *count, vultus_error *error)
{
    vt_subject subject = {.x = x, .n = n, .rounds = rounds};
    int status;

    if (!engine)
        return vt_fail(error, VULTUS_ERROR_ARGUMENT, "engine is NULL");
    subject.plan = &engine->plan;
    subject.zeros = engine->zeros;
    subject.bgr = engine->info.bgr != 0;
    status = check_owner(engine, error);
    return status ? status : vt_profile_run(&subject, engine->pool, engine->contexts, times, capacity, count, error);
}

void vultus_get_info(const vultus_engine *engine, vultus_info *info)
{
    *info = engine->info;
}

const char *vultus_layer(const vultus_engine *engine, size_t i)
{
    return i < engine->info.layers ? engine->plan.layers[i].text : NULL;
}
