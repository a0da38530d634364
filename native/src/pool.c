#include "pool.h"

#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include "cpu.h"

/* Pauses before a thread sleeps. Between jobs: to be woken takes as long, longer on a virtual machine. Within one, where
 * others compute what it needs next: some tenths of a millisecond, since whoever is woken late is waited for in turn. */
#define SPINS_BETWEEN 1000
#define SPINS_WITHIN 20000

typedef struct job {
    vt_work_fn *fn;
    void *arg;
    unsigned most;
    unsigned inside;    /* seats that it has */
    bool exhausted;     /* nothing is left to take */
    bool waiting;       /* its owner wants a seat and has none */
    struct job *next;   /* in the pool's queue, until it is exhausted */
} job;

struct vt_pool {
    pthread_mutex_t lock; /* everything below but the atomics, which are written with it and read without */
    pthread_cond_t posted; /* for the pool's threads: there may be something to do */
    pthread_cond_t moved; /* for owners: a seat is free, or a job was left */
    job *first, *last;    /* the owner of an earlier job gets a seat earlier */
    unsigned *free_seats, n_free;
    unsigned asleep;      /* of the pool's threads */
    bool stopping;
    atomic_uint posts, moves; /* how often posted and moved were told */
    atomic_uint wanted;   /* jobs whose owners wait */
    unsigned seats, started;
    bool spins;           /* there is a processor for each thread */
    pthread_t threads[];
};

static void pause_briefly(void)
{
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}

static bool spin(const vt_pool *pool, const atomic_uint *value, unsigned seen, unsigned pauses)
{
    for (unsigned i = 0; pool->spins && i < pauses; i++) {
        if (atomic_load(value) != seen)
            return true;
        pause_briefly();
    }
    return atomic_load(value) != seen;
}

bool vt_pool_spin(const vt_pool *pool, const atomic_uint *value, unsigned seen)
{
    return spin(pool, value, seen, SPINS_WITHIN);
}

bool vt_pool_wanted(vt_pool *pool)
{
    return atomic_load(&pool->wanted) != 0;
}

/* All below: with the lock held. */

/* Sleeps until *count grows, after a while awake without the lock. */
static void wait_for(vt_pool *pool, pthread_cond_t *condition, atomic_uint *count)
{
    const unsigned seen = atomic_load(count);

    pthread_mutex_unlock(&pool->lock);
    const bool grown = spin(pool, count, seen, SPINS_BETWEEN);

    pthread_mutex_lock(&pool->lock);
    while (!grown && atomic_load(count) == seen)
        pthread_cond_wait(condition, &pool->lock);
}

static void append(vt_pool *pool, job *j)
{
    j->next = NULL;
    if (pool->last)
        pool->last->next = j;
    else
        pool->first = j;
    pool->last = j;
}

static void take_out(vt_pool *pool, job *j)
{
    job **at = &pool->first, *before = NULL;

    while (*at != j) {
        before = *at;
        at = &before->next;
    }
    *at = j->next;
    if (pool->last == j)
        pool->last = before;
}

static void set_waiting(vt_pool *pool, job *j, bool waiting)
{
    if (j->waiting == waiting)
        return;
    j->waiting = waiting;
    if (waiting)
        atomic_fetch_add(&pool->wanted, 1);
    else
        atomic_fetch_sub(&pool->wanted, 1);
}

/* Wakes so many of the pool's threads. */
static void post(vt_pool *pool, unsigned most)
{
    atomic_fetch_add(&pool->posts, 1);
    for (unsigned i = 0; i < most && i < pool->asleep; i++)
        pthread_cond_signal(&pool->posted);
}

static void move(vt_pool *pool)
{
    atomic_fetch_add(&pool->moves, 1);
    pthread_cond_broadcast(&pool->moved);
}

/* A seat is free. The lock is given up while the thread computes; returns whether it left early. */
static bool enter(vt_pool *pool, job *j)
{
    const unsigned seat = pool->free_seats[--pool->n_free];

    j->inside++;
    pthread_mutex_unlock(&pool->lock);
    const bool early = j->fn(j->arg, seat);

    pthread_mutex_lock(&pool->lock);
    pool->free_seats[pool->n_free++] = seat;
    j->inside--; /* another's job lives on its owner's stack: not touched once it is exhausted and left by all */
    if (!early && !j->exhausted) {
        j->exhausted = true;
        set_waiting(pool, j, false);
        take_out(pool, j);
    }
    move(pool);
    return early;
}

/* The first job that a thread of the pool may join. Owners who wait come first: they have nothing yet. */
static job *joinable(const vt_pool *pool)
{
    job *j = pool->n_free && !atomic_load(&pool->wanted) ? pool->first : NULL;

    while (j && j->inside >= j->most)
        j = j->next;
    return j;
}

static void *work(void *arg)
{
    vt_pool *pool = arg;

    pthread_mutex_lock(&pool->lock);
    while (!pool->stopping) {
        job *j = joinable(pool);

        if (j) {
            enter(pool, j);
            continue;
        }
        pool->asleep++;
        wait_for(pool, &pool->posted, &pool->posts);
        pool->asleep--;
    }
    pthread_mutex_unlock(&pool->lock);
    return NULL;
}

/* Whether the owner of a job may have a seat: there is one, and nobody has waited for longer. */
static bool my_turn(const vt_pool *pool, const job *mine)
{
    if (!pool->n_free || mine->inside >= mine->most)
        return false;
    for (const job *j = pool->first; j != mine; j = j->next)
        if (j->waiting)
            return false;
    return true;
}

void vt_pool_run(vt_pool *pool, vt_work_fn *fn, void *arg, unsigned most)
{
    job j = {.fn = fn, .arg = arg, .most = most};

    pthread_mutex_lock(&pool->lock);
    append(pool, &j);
    post(pool, most - 1);
    while (!j.exhausted || j.inside) {
        if (j.exhausted || !my_turn(pool, &j)) {
            set_waiting(pool, &j, !j.exhausted && !j.inside);
            wait_for(pool, &pool->moved, &pool->moves);
            continue;
        }
        if (j.waiting) { /* so did threads that would have joined */
            set_waiting(pool, &j, false);
            post(pool, pool->n_free);
        }
        if (enter(pool, &j) && !j.exhausted) { /* others waited: to the end of the queue */
            take_out(pool, &j);
            append(pool, &j);
        }
    }
    if (pool->first)
        post(pool, pool->n_free); /* for those that could not join before */
    pthread_mutex_unlock(&pool->lock);
}
/* Signals are for the program's own threads. */
static int start_threads(vt_pool *pool, bool pin, vultus_error *error)
{
    sigset_t all, before;
    int failed = 0, pinned = 0;

    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    while (pool->started + 1 < pool->seats && !failed && !pinned) {
        failed = pthread_create(&pool->threads[pool->started], NULL, work, pool);
        pool->started += !failed;
        if (pin && !failed)
            pinned = vt_cpu_pin(pool->threads[pool->started - 1], pool->started);
    }
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (pinned)
        return vt_fail(error, VULTUS_ERROR_THREAD, "a thread could not be kept on one processor: %s", strerror(pinned));
    return failed ? vt_fail(error, VULTUS_ERROR_THREAD, "thread %u of %u could not be started: %s", pool->started + 2,
                            pool->seats, strerror(failed))
                  : VULTUS_OK;
}

int vt_pool_create(vt_pool **out, unsigned threads, bool pin, vultus_error *error)
{
    vt_pool *pool = calloc(1, sizeof *pool + threads * sizeof *pool->threads);
    unsigned *seats = calloc(threads, sizeof *seats);
    int status;

    *out = NULL;
    if (!pool || !seats) {
        free(pool);
        free(seats);
        return vt_fail_memory(error, sizeof *pool + threads * sizeof *pool->threads);
    }
    pthread_mutex_init(&pool->lock, NULL);
    pthread_cond_init(&pool->posted, NULL);
    pthread_cond_init(&pool->moved, NULL);
    pool->free_seats = seats;
    pool->seats = pool->n_free = threads;
    pool->spins = threads <= vt_cpu_count();
    for (unsigned i = 0; i < threads; i++)
        seats[i] = threads - 1 - i; /* seat 0 is used first */
    status = start_threads(pool, pin, error);
    if (status)
        vt_pool_destroy(pool);
    else
        *out = pool;
    return status;
}

void vt_pool_destroy(vt_pool *pool)
{
    if (!pool)
        return;
    pthread_mutex_lock(&pool->lock);
    pool->stopping = true;
    post(pool, pool->asleep);
    pthread_mutex_unlock(&pool->lock);
    for (unsigned i = 0; i < pool->started; i++)
        pthread_join(pool->threads[i], NULL);
    pthread_cond_destroy(&pool->posted);
    pthread_cond_destroy(&pool->moved);
    pthread_mutex_destroy(&pool->lock);
    vt_pool_abandon(pool);
}

void vt_pool_abandon(vt_pool *pool)
{
    if (!pool)
        return;
    free(pool->free_seats);
    free(pool);
}
