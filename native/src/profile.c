#include "profile.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define IMAGES_MAX 1024
#define ROUNDS_MAX 1000000

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

int vt_profile_check(const vt_subject *subject, const vultus_layer_time *times, size_t capacity, size_t *count,
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

int vt_profile_begin(vt_profile *profile, const vt_subject *subject, vultus_layer_time *times, vultus_error *error)
{
    const vt_plan *plan = subject->plan;
    const uint64_t pixels = (uint64_t)subject->n * 3 * plan->maps[0].h * plan->maps[0].w;
    uint64_t answers = 0;

    *profile = (vt_profile){.subject = *subject, .times = times};
    for (int i = 0; i < plan->n_outputs; i++)
        answers += subject->n * output_numbers(plan, i);
    if (answers > SIZE_MAX / sizeof *profile->answers || pixels > SIZE_MAX)
        return vt_fail_memory(error, pixels + answers * sizeof *profile->answers);
    profile->answers = malloc((size_t)answers * sizeof *profile->answers);
    profile->seconds = malloc(records(plan) * sizeof *profile->seconds);
    profile->noise = subject->x ? NULL : make_noise((size_t)pixels);
    if (!profile->answers || !profile->seconds || !(subject->x || profile->noise))
        return vt_fail_memory(error, pixels + answers * sizeof *profile->answers);
    profile->images = (vt_faces){.planes = subject->x, .pixels = profile->noise, .bgr = subject->bgr,
                                 .vectors = profile->answers};
    answers = 0;
    for (int i = 0; i < plan->n_outputs; i++) {
        profile->outputs[i] = profile->answers + answers;
        answers += subject->n * output_numbers(plan, i);
    }
    describe(plan, times);
    return VULTUS_OK;
}

void vt_profile_end(vt_profile *profile)
{
    free(profile->answers);
    free(profile->seconds);
    free(profile->noise);
}

static void run_round(const vt_profile *profile, const vt_context *context)
{
    const vt_subject *s = &profile->subject;
    const size_t shares = (s->n + s->plan->batch - 1) / s->plan->batch, share = (s->n + shares - 1) / shares;

    if (s->network) {
        for (size_t i = 0; i < s->n; i++)
            vt_run_network(s->plan, context, s->zeros, &profile->images, profile->outputs, i);
        return;
    }
    for (size_t first = 0; first < s->n; first += share)
        vt_run(s->plan, context, s->zeros, &profile->images, first, s->n - first < share ? s->n - first : share);
}

void vt_profile_measure(const vt_profile *profile, const vt_context *context)
{
    const size_t count = records(profile->subject.plan);
    vt_clock clock = {.seconds = profile->seconds};
    vt_context timed = *context;
    double best = 0;

    timed.clock = &clock;
    for (uint32_t round = 0; round < profile->subject.rounds; round++) {
        double total = 0;

        memset(profile->seconds, 0, count * sizeof *profile->seconds);
        clock.last = now();
        run_round(profile, &timed);
        for (size_t i = 0; i < count; i++)
            total += profile->seconds[i];
        if (round && total >= best)
            continue;
        best = total;
        for (size_t i = 0; i < count; i++)
            profile->times[i].seconds = profile->seconds[i] / (double)profile->subject.n;
    }
}
