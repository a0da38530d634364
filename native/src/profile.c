#include "profile.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define IMAGES_MAX 1024
#define ROUNDS_MAX 1000000

/* A profile that is being taken: the memory of its input and its answers, and its records. */
typedef struct profile {
    vt_subject subject;
    const vt_context *contexts; /* of the pool's seats */
    vt_faces images;
    uint8_t *noise;
    float *answers, *outputs[VT_MAX_OUTPUTS];
    double *seconds; /* of a round */
    vultus_layer_time *times;
} profile;

static double now(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

void vt_clock_lap(vt_clock *clock, size_t at)
{
    const double time = now();

    clock->seconds[at] += time - clock->last;
    clock->last = time;
}

static size_t records(const vt_plan *plan)
{
    return (size_t)plan->n_layers + 2; /* input, output */
}

static int check(const vt_subject *subject, const vultus_layer_time *times, size_t capacity, size_t *count,
                 vultus_error *error)
{
    if (!count)
        return vt_fail(error, VULTUS_ERROR_ARGUMENT, "count is NULL");
    *count = records(subject->plan);
    if (capacity && capacity < *count)
        return vt_fail(error, VULTUS_ERROR_ARGUMENT, "room for %zu records, there are %zu", capacity, *count);
    if (capacity && !times)
        return vt_fail(error, VULTUS_ERROR_ARGUMENT, "times is NULL");
    if (subject->n == 0 || subject->n > IMAGES_MAX)
        return vt_fail(error, VULTUS_ERROR_ARGUMENT, "%zu images are outside 1..%d", subject->n, IMAGES_MAX);
    if (subject->rounds > ROUNDS_MAX)
        return vt_fail(error, VULTUS_ERROR_ARGUMENT, "%" PRIu32 " rounds are more than %d", subject->rounds, ROUNDS_MAX);
    return VULTUS_OK;
}

/* Noise, since blank images may be faster: a linear congruential generator's upper bytes. */
static uint8_t *make_noise(size_t n)
{
    uint8_t *noise = malloc(n);
    uint32_t state = 1;

    for (size_t i = 0; noise && i < n; i++) {
        state = state * 1664525 + 1013904223;
        noise[i] = (uint8_t)(state >> 24);
    }
    return noise;
}

static void describe(const vt_plan *plan, vultus_layer_time *times)
{
    memset(times, 0, records(plan) * sizeof *times);
    for (size_t i = 0; i < records(plan); i++)
        times[i].group = -1;
    times[0].kind = "input";
    times[1 + plan->n_layers].kind = "output";
    for (int i = 0; i < plan->n_layers; i++) {
        vultus_layer_time *time = &times[1 + i];

        time->macs = plan->layers[i].macs;
        time->kind = vt_kind_name(plan->layers[i].kind);
        snprintf(time->text, sizeof time->text, "%s", plan->layers[i].text);
    }
    for (int g = 0; g < plan->n_groups; g++)
        for (int i = plan->groups[g].first; i <= plan->groups[g].last; i++)
            times[1 + i].group = g;
}

static uint64_t output_numbers(const vt_plan *plan, int i)
{
    const vt_map *m = &plan->maps[plan->outputs[i]];

    return (uint64_t)m->c * m->h * m->w;
}

/* Takes the memory and writes what is known without measuring. finish() gives it back, also after a failure. */
static int prepare(profile *p, vultus_error *error)
{
    const vt_subject *subject = &p->subject;
    const vt_plan *plan = subject->plan;
    const uint64_t pixels = (uint64_t)subject->n * 3 * plan->maps[0].h * plan->maps[0].w;
    uint64_t answers = 0;

    for (int i = 0; i < plan->n_outputs; i++)
        answers += subject->n * output_numbers(plan, i);
    if (answers > SIZE_MAX / sizeof *p->answers || pixels > SIZE_MAX)
        return vt_fail_memory(error, pixels + answers * sizeof *p->answers);
    p->answers = malloc((size_t)answers * sizeof *p->answers);
    p->seconds = malloc(records(plan) * sizeof *p->seconds);
    p->noise = subject->x ? NULL : make_noise((size_t)pixels);
    if (!p->answers || !p->seconds || !(subject->x || p->noise))
        return vt_fail_memory(error, pixels + answers * sizeof *p->answers);
    p->images = (vt_faces){.planes = subject->x, .pixels = p->noise, .bgr = subject->bgr, .vectors = p->answers};
    answers = 0;
    for (int i = 0; i < plan->n_outputs; i++) {
        p->outputs[i] = p->answers + answers;
        answers += subject->n * output_numbers(plan, i);
    }
    describe(plan, p->times);
    return VULTUS_OK;
}

static void finish(profile *p)
{
    free(p->answers);
    free(p->seconds);
    free(p->noise);
}

static void run_round(const profile *p, const vt_context *context)
{
    const vt_subject *s = &p->subject;
    const size_t shares = (s->n + s->plan->batch - 1) / s->plan->batch, share = (s->n + shares - 1) / shares;

    if (s->network) {
        for (size_t i = 0; i < s->n; i++)
            vt_run_network(s->plan, context, s->zeros, &p->images, p->outputs, i);
        return;
    }
    for (size_t first = 0; first < s->n; first += share)
        vt_run(s->plan, context, s->zeros, &p->images, first, s->n - first < share ? s->n - first : share);
}

static bool measure(void *arg, unsigned seat)
{
    const profile *p = arg;
    const size_t count = records(p->subject.plan);
    vt_clock clock = {.seconds = p->seconds};
    vt_context timed = p->contexts[seat];
    double best = 0;

    timed.clock = &clock;
    for (uint32_t round = 0; round < p->subject.rounds; round++) {
        double total = 0;

        memset(p->seconds, 0, count * sizeof *p->seconds);
        clock.last = now();
        run_round(p, &timed);
        for (size_t i = 0; i < count; i++)
            total += p->seconds[i];
        if (round && total >= best)
            continue;
        best = total;
        for (size_t i = 0; i < count; i++)
            p->times[i].seconds = p->seconds[i] / (double)p->subject.n;
    }
    return false;
}

int vt_profile_run(const vt_subject *subject, vt_pool *pool, const vt_context *contexts, vultus_layer_time *times,
                   size_t capacity, size_t *count, vultus_error *error)
{
    profile p = {.subject = *subject, .contexts = contexts, .times = times};
    int status = check(subject, times, capacity, count, error);

    if (status || !capacity)
        return status;
    status = prepare(&p, error);
    if (!status)
        vt_pool_run(pool, measure, &p, 1);
    finish(&p);
    return status;
}
