/* How fast multiply-adds can be at all: the number that a layer's speed is a share of.
 *
 * Every thread runs slices of a loop of independent multiply-adds, some twenty microseconds each (fewer multiply-adds where
 * those take too long, as under emulation), and counts those that end in each window of ten milliseconds. The peak is the
 * best window's sum over the threads: what all reached at once, while the machine's other work, or a neighbour of a virtual
 * one, left them alone. */
#include <pthread.h>
#include <stdlib.h>
#include <time.h>

#include "cpu.h"
#include "kernels/kernels.h"

#define THREADS_MAX 256
#define WINDOW_NS 10000000u
#define SLICE_FLOPS 2000000u
#define SECONDS_LEAST 0.05
#define TRIES_MOST 20
#define SECONDS_MOST 10.0

typedef struct meter {
    const vt_kernels *kernels;
    size_t rounds; /* of a slice */
    uint64_t start, windows;
    uint32_t *slices; /* [windows] */
    float sum;        /* so that the loops have a purpose */
} meter;

static uint64_t nanoseconds(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static size_t slice_rounds(const vt_kernels *kernels)
{
    size_t rounds = SLICE_FLOPS / 2 / kernels->peak_macs;

    for (; rounds > 1; rounds /= 2) {
        const uint64_t start = nanoseconds();

        kernels->peak(rounds, 0.5f);
        if (nanoseconds() - start < WINDOW_NS / 10)
            break;
    }
    return rounds;
}

static void *measure(void *arg)
{
    meter *m = arg;
    const volatile float factor = 0.5f; /* not known to the compiler; sums tend to 2 */

    for (;;) {
        m->sum += m->kernels->peak(m->rounds, factor);
        const uint64_t window = (nanoseconds() - m->start) / WINDOW_NS;

        if (window >= m->windows)
            return NULL;
        m->slices[window]++;
    }
}

/* The first window is for waking up. */
static double best_window(const meter *meters, unsigned threads)
{
    uint64_t best = 0;

    for (uint64_t window = 1; window < meters->windows; window++) {
        uint64_t slices = 0;

        for (unsigned i = 0; i < threads; i++)
            slices += meters[i].slices[window];
        best = slices > best ? slices : best;
    }
    return (double)best * (double)(2 * meters->rounds * meters->kernels->peak_macs) / WINDOW_NS;
}

/* The caller is one of the threads. 0 if the others could not be started. */
static double measure_all(meter *meters, pthread_t *ids, unsigned threads)
{
    const uint64_t start = nanoseconds();
    unsigned started = 1;

    for (unsigned i = 0; i < threads; i++)
        meters[i].start = start;
    while (started < threads && !pthread_create(&ids[started], NULL, measure, &meters[started]))
        started++;
    if (started == threads)
        measure(&meters[0]);
    for (unsigned i = 1; i < started; i++)
        pthread_join(ids[i], NULL);
    return started == threads ? best_window(meters, threads) : 0;
}

double vultus_peak_gflops(uint32_t isa, uint32_t threads, double seconds)
{
    vt_kernels kernels;
    vultus_isa resolved;
    double peak = 0;

    if (threads == 0)
        threads = vt_cpu_count();
    if (threads > THREADS_MAX || vt_isa_resolve(isa, &resolved, NULL))
        return 0;
    if (!(seconds > SECONDS_LEAST)) /* also not a number */
        seconds = SECONDS_LEAST;
    seconds = seconds < SECONDS_MOST ? seconds : SECONDS_MOST;
    vt_kernels_select(resolved, &kernels);
    const size_t rounds = slice_rounds(&kernels);
    const size_t windows = (size_t)(seconds * 1e9 / WINDOW_NS);
    meter *meters = calloc(threads, sizeof *meters);
    pthread_t *ids = calloc(threads, sizeof *ids);
    uint32_t *slices = calloc(threads * windows, sizeof *slices);

    if (meters && ids && slices) {
        for (size_t i = 0; i < threads; i++)
            meters[i] = (meter){.kernels = &kernels, .rounds = rounds, .windows = windows, .slices = slices + i * windows};
        /* On a busy machine a thread may not come to its turn in any window. */
        for (int tries = 0; tries < TRIES_MOST && peak == 0; tries++)
            peak = measure_all(meters, ids, threads);
    }
    free(meters);
    free(ids);
    free(slices);
    return peak;
}
