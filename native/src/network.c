/* Networks of any input size and several outputs: a plan for each size that was asked for lately, and working memory that
 * they share.
 *
 * The model file stays in memory, and a size is planned from it. Plans are few: the one that was used least recently makes
 * room. Each seat of the pool has one arena, as large as the largest plan wants so far; while arenas grow, nobody computes.
 */
#include <inttypes.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "call.h"
#include "cpu.h"
#include "load.h"
#include "options.h"
#include "profile.h"
#include "run.h"

typedef struct sized_plan {
    uint32_t height, width; /* 0: none yet */
    vt_plan plan;
    unsigned users;         /* of whoever holds it; the slot is not reused before they are gone */
    uint64_t used;          /* when it was last taken */
} sized_plan;

struct vultus_network {
    vt_file file; /* a copy */
    vt_pool *pool;
    unsigned threads;
    vultus_isa isa;
    pid_t owner;
    vultus_network_info info; /* without what changes */
    char *names[VT_MAX_OUTPUTS];

    pthread_mutex_t lock; /* everything below */
    pthread_cond_t changed;
    sized_plan plans[VULTUS_NETWORK_SIZES];
    uint64_t clock;
    unsigned running;      /* computations that use the arenas */
    bool growing;          /* somebody waits for them to end */
    vt_context *contexts;  /* one for each seat */
    size_t arena_floats, layers, zero_floats; /* what they are large enough for */
    float *zeros;
};

static int make_plan(const vultus_network *network, uint32_t height, uint32_t width, vt_plan *plan, vt_graph *graph,
                     vultus_error *error)
{
    int status;

    *graph = (vt_graph){.network = true, .height = height, .width = width};
    status = vt_load(&network->file, graph, error);
    if (!status)
        status = vt_graph_fuse(graph, error);
    if (!status)
        status = vt_graph_merge(graph, error);
    return status ? status : vt_plan_build(plan, graph, network->isa, network->threads, NULL, error);
}

static void free_contexts(vt_context *contexts, unsigned count)
{
    for (unsigned i = 0; contexts && i < count; i++)
        vt_context_free(&contexts[i]);
    free(contexts);
}

/* With the lock held and nobody computing: arenas that fit the plan and all before it. */
static int grow(vultus_network *network, const vt_plan *plan, vultus_error *error)
{
    vt_plan most = {.arena_floats = plan->arena_floats, .n_layers = plan->n_layers};
    const size_t zero_floats = plan->zero_floats > network->zero_floats ? plan->zero_floats : network->zero_floats;
    vt_context *contexts = calloc(network->threads, sizeof *contexts);
    float *zeros = vt_aligned(zero_floats, sizeof *zeros);
    int status = contexts && zeros ? VULTUS_OK : vt_fail_memory(error, zero_floats * sizeof *zeros);

    if (most.arena_floats < network->arena_floats)
        most.arena_floats = network->arena_floats;
    if ((size_t)most.n_layers < network->layers)
        most.n_layers = (int)network->layers;
    for (unsigned i = 0; i < network->threads && !status; i++)
        status = vt_context_init(&contexts[i], &most, error);
    if (status) {
        free_contexts(contexts, network->threads);
        free(zeros);
        return status;
    }
    free_contexts(network->contexts, network->threads);
    free(network->zeros);
    network->contexts = contexts;
    network->zeros = zeros;
    network->arena_floats = most.arena_floats;
    network->layers = (size_t)most.n_layers;
    network->zero_floats = zero_floats;
    return VULTUS_OK;
}

static bool fits(const vultus_network *network, const vt_plan *plan)
{
    return network->contexts && plan->arena_floats <= network->arena_floats &&
           (size_t)plan->n_layers <= network->layers && plan->zero_floats <= network->zero_floats;
}

/* With the lock held: a slot that nobody uses, empty if possible, else the one that rested longest; NULL if there is none. */
static sized_plan *free_slot(vultus_network *network)
{
    sized_plan *best = NULL;

    for (size_t i = 0; i < VULTUS_NETWORK_SIZES; i++) {
        sized_plan *slot = &network->plans[i];

        if (!slot->users && (!best || (slot->height ? slot->used : 0) < (best->height ? best->used : 0)))
            best = slot;
    }
    return best;
}

static sized_plan *find(vultus_network *network, uint32_t height, uint32_t width)
{
    for (size_t i = 0; i < VULTUS_NETWORK_SIZES; i++)
        if (network->plans[i].height == height && network->plans[i].width == width)
            return &network->plans[i];
    return NULL;
}

/* With the lock held, which is given up while computations end. The slot is nobody's, and cannot be found meanwhile. */
static int fill(vultus_network *network, sized_plan *slot, uint32_t height, uint32_t width, vultus_error *error)
{
    vt_graph graph;
    int status;

    vt_plan_free(&slot->plan);
    slot->height = slot->width = 0;
    status = make_plan(network, height, width, &slot->plan, &graph, error);
    vt_graph_free(&graph);
    if (!status && !fits(network, &slot->plan)) {
        network->growing = true;
        while (network->running)
            pthread_cond_wait(&network->changed, &network->lock);
        status = grow(network, &slot->plan, error);
        network->growing = false;
    }
    if (status) {
        vt_plan_free(&slot->plan);
        return status;
    }
    slot->height = height;
    slot->width = width;
    return VULTUS_OK;
}

/* The plan of a size, made if there is none. release() gives it back. */
static int acquire(vultus_network *network, uint32_t height, uint32_t width, sized_plan **out, vultus_error *error)
{
    sized_plan *slot;
    int status = VULTUS_OK;

    pthread_mutex_lock(&network->lock);
    for (;;) {
        if (network->growing) {
            pthread_cond_wait(&network->changed, &network->lock);
            continue;
        }
        slot = find(network, height, width);
        if (slot)
            break;
        slot = free_slot(network);
        if (!slot) {
            pthread_cond_wait(&network->changed, &network->lock);
            continue;
        }
        status = fill(network, slot, height, width, error);
        pthread_cond_broadcast(&network->changed);
        break;
    }
    if (!status) {
        slot->users++;
        slot->used = ++network->clock;
        network->running++;
        *out = slot;
    }
    pthread_mutex_unlock(&network->lock);
    return status;
}

static void release(vultus_network *network, sized_plan *slot)
{
    pthread_mutex_lock(&network->lock);
    slot->users--;
    network->running--;
    pthread_cond_broadcast(&network->changed);
    pthread_mutex_unlock(&network->lock);
}

static int check_call(const vultus_network *network, uint32_t height, uint32_t width, vultus_error *error)
{
    if (!network)
        return vt_fail(error, VULTUS_ERROR_ARGUMENT, "network is NULL");
    if (height == 0 || width == 0 || height > VT_MAX_SIDE || width > VT_MAX_SIDE)
        return vt_fail(error, VULTUS_ERROR_ARGUMENT, "%" PRIu32 " x %" PRIu32 " pixels are outside 1..%d", height, width,
                       VT_MAX_SIDE);
    if (network->owner != getpid())
        return vt_fail(error, VULTUS_ERROR_FORKED,
                       "this network was opened by the parent process, whose threads are not here; open another one");
    return VULTUS_OK;
}

/* What the file says of itself, and that the engine can compute it: by planning it once. */
static int look(vultus_network *network, vultus_error *error)
{
    sized_plan *slot = &network->plans[0];
    vt_graph graph;
    int status = make_plan(network, 0, 0, &slot->plan, &graph, error);

    if (!status)
        status = grow(network, &slot->plan, error);
    if (!status) {
        slot->height = graph.nodes[0].shape.h;
        slot->width = graph.nodes[0].shape.w;
        network->info = (vultus_network_info){
            .height = graph.sized ? slot->height : 0,
            .width = graph.sized ? slot->width : 0,
            .outputs = (uint32_t)graph.n_outputs,
            .threads = network->threads,
            .isa = network->isa,
            .bgr = graph.bgr,
            .file_bytes = network->file.size,
        };
        memcpy(network->info.mean, graph.mean, sizeof graph.mean);
        memcpy(network->info.std, graph.std, sizeof graph.std);
        for (int i = 0; i < graph.n_outputs; i++) {
            network->names[i] = graph.outputs[i].name;
            graph.outputs[i].name = NULL;
        }
    }
    vt_graph_free(&graph);
    return status;
}

/* Takes the file over, also on failure. */
static int open_file(vultus_network **out, vt_file *file, const vultus_options *options, vultus_error *error)
{
    vultus_network *network = calloc(1, sizeof *network);
    int status;

    if (!network) {
        vt_file_free(file);
        return vt_fail_memory(error, sizeof *network);
    }
    network->file = *file;
    network->owner = getpid();
    pthread_mutex_init(&network->lock, NULL);
    pthread_cond_init(&network->changed, NULL);
    status = vt_options_check(options, &network->isa, &network->threads, error);
    if (!status && options && options->precision != VULTUS_PRECISION_FILE)
        status = vt_fail(error, VULTUS_ERROR_ARGUMENT, "a network is computed as its file is; only an engine takes a precision");
    if (!status)
        status = look(network, error);
    if (!status)
        status = vt_pool_create(&network->pool, network->threads, options && options->pin, error);
    if (status)
        vultus_network_close(&network);
    *out = network;
    return status;
}

int vultus_network_open_memory(vultus_network **network, const void *data, size_t size, const vultus_options *options,
                               vultus_error *error)
{
    uint8_t *copy;

    if (!network)
        return vt_fail(error, VULTUS_ERROR_ARGUMENT, "network is NULL");
    *network = NULL;
    if (!data)
        return vt_fail(error, VULTUS_ERROR_ARGUMENT, "data is NULL");
    if (size > VT_MAX_FILE)
        return vt_fail(error, VULTUS_ERROR_FORMAT, "a model of %zu bytes exceeds the limit of 2 GiB", size);
    copy = malloc(size ? size : 1);
    if (!copy)
        return vt_fail_memory(error, size);
    memcpy(copy, data, size);
    return open_file(network, &(vt_file){copy, size}, options, error);
}

int vultus_network_open(vultus_network **network, const char *path, const vultus_options *options, vultus_error *error)
{
    vt_file file = {NULL, 0};
    int status;

    if (!network)
        return vt_fail(error, VULTUS_ERROR_ARGUMENT, "network is NULL");
    *network = NULL;
    if (!path)
        return vt_fail(error, VULTUS_ERROR_ARGUMENT, "path is NULL");
    status = vt_file_read(path, &file, error);
    if (status)
        vt_file_free(&file);
    return status ? status : open_file(network, &file, options, error);
}

void vultus_network_close(vultus_network **out)
{
    vultus_network *network = out ? *out : NULL;

    if (!network)
        return;
    if (network->owner == getpid()) {
        vt_pool_destroy(network->pool);
        pthread_cond_destroy(&network->changed);
        pthread_mutex_destroy(&network->lock);
    } else {
        vt_pool_abandon(network->pool);
    }
    for (size_t i = 0; i < VULTUS_NETWORK_SIZES; i++)
        vt_plan_free(&network->plans[i].plan);
    for (size_t i = 0; i < VT_MAX_OUTPUTS; i++)
        free(network->names[i]);
    free_contexts(network->contexts, network->threads);
    free(network->zeros);
    vt_file_free(&network->file);
    free(network);
    *out = NULL;
}

static int run(vultus_network *network, vt_faces *images, size_t n, uint32_t height, uint32_t width,
               float *const *outputs, vultus_error *error)
{
    const void *input = images->planes ? (const void *)images->planes : images->pixels;
    sized_plan *slot = NULL;
    int status = check_call(network, height, width, error);

    if (!status && n && (!input || !outputs))
        status = vt_fail(error, VULTUS_ERROR_ARGUMENT, "the images or the places for the outputs are NULL");
    if (!status && n > SIZE_MAX / sizeof(float) / VT_MAX_ELEMENTS / 4)
        status = vt_fail(error, VULTUS_ERROR_ARGUMENT, "%zu images do not fit the address space", n);
    if (!status)
        status = acquire(network, height, width, &slot, error);
    if (status)
        return status;
    images->bgr = network->info.bgr != 0;
    if (n)
        vt_call_run(&(vt_call){.pool = network->pool, .threads = network->threads, .plan = &slot->plan,
                               .contexts = network->contexts, .zeros = network->zeros, .faces = images,
                               .outputs = outputs, .n = n});
    release(network, slot);
    return VULTUS_OK;
}

int vultus_network_run(vultus_network *network, const float *x, size_t n, uint32_t height, uint32_t width,
                       float *const *outputs, vultus_error *error)
{
    vt_faces images = {.planes = x};

    return run(network, &images, n, height, width, outputs, error);
}

int vultus_network_run_pixels(vultus_network *network, const uint8_t *pixels, size_t n, uint32_t height,
                              uint32_t width, float *const *outputs, vultus_error *error)
{
    vt_faces images = {.pixels = pixels};

    return run(network, &images, n, height, width, outputs, error);
}

int vultus_network_output(vultus_network *network, uint32_t height, uint32_t width, uint32_t i, vultus_output *output,
                          vultus_error *error)
{
    sized_plan *slot = NULL;
    int status = check_call(network, height, width, error);

    if (!status && (!output || i >= network->info.outputs))
        status = vt_fail(error, VULTUS_ERROR_ARGUMENT, "there is no output %" PRIu32 ", or no place to describe it", i);
    if (!status)
        status = acquire(network, height, width, &slot, error);
    if (status)
        return status;
    const vt_map *m = &slot->plan.maps[slot->plan.outputs[i]];

    *output = (vultus_output){.name = network->names[i], .rank = 3, .dims = {m->c, m->h, m->w}};
    if (m->compact)
        *output = (vultus_output){.name = network->names[i], .rank = 2, .dims = {m->w, m->c}};
    if (m->flat)
        output->rank = 1;
    release(network, slot);
    return VULTUS_OK;
}

int vultus_network_layer(vultus_network *network, uint32_t height, uint32_t width, size_t i, char *text, size_t size,
                         vultus_error *error)
{
    sized_plan *slot = NULL;
    int status = check_call(network, height, width, error);

    if (!status && (!text || !size))
        status = vt_fail(error, VULTUS_ERROR_ARGUMENT, "there is no room for the text");
    if (!status)
        status = acquire(network, height, width, &slot, error);
    if (status)
        return status;
    text[0] = 0;
    if (i < (size_t)slot->plan.n_layers)
        strncat(text, slot->plan.layers[i].text, size - 1);
    release(network, slot);
    return VULTUS_OK;
}

int vultus_network_profile(vultus_network *network, const float *x, size_t n, uint32_t height, uint32_t width,
                           uint32_t rounds, vultus_layer_time *times, size_t capacity, size_t *count,
                           vultus_error *error)
{
    vt_subject subject = {.network = true, .x = x, .n = n, .rounds = rounds};
    sized_plan *slot = NULL;
    int status = check_call(network, height, width, error);

    if (!status)
        status = acquire(network, height, width, &slot, error);
    if (status)
        return status;
    subject.plan = &slot->plan;
    subject.zeros = network->zeros;
    subject.bgr = network->info.bgr != 0;
    status = vt_profile_run(&subject, network->pool, network->contexts, times, capacity, count, error);
    release(network, slot);
    return status;
}

void vultus_network_get_info(vultus_network *network, vultus_network_info *info)
{
    *info = network->info;
    pthread_mutex_lock(&network->lock);
    info->thread_bytes = network->arena_floats * sizeof(float);
    for (size_t i = 0; i < VULTUS_NETWORK_SIZES; i++) {
        info->sizes += network->plans[i].height != 0;
        info->weight_bytes += network->plans[i].plan.weight_bytes;
    }
    pthread_mutex_unlock(&network->lock);
}
