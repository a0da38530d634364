#include "pool.h"

#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

typedef struct job {
    vt_task_fn *fn;
    void *arg;
    size_t count, taken, finished;
    struct job *next; /* in the pool's queue, while tasks are left to take */
} job;

struct vt_pool {
    pthread_mutex_t lock; /* everything below */
    pthread_cond_t changed; /* a job came, a task ended or the pool stops; those who wait are few */
    job *first, *last;
    unsigned *free_seats, n_free;
    bool stopping;
    unsigned seats, started;
    pthread_t threads[];
};

/* With the lock held, which is given up while the task runs. The job has a task left and a seat is free. */
static void run_one(vt_pool *pool, job *j)
{
    const size_t task = j->taken++;
    const unsigned seat = pool->free_seats[--pool->n_free];

    if (j->taken == j->count) {
        job **at = &pool->first, *before = NULL;

        while (*at != j) {
            before = *at;
            at = &before->next;
        }
        *at = j->next;
        if (pool->last == j)
            pool->last = before;
    }
    pthread_mutex_unlock(&pool->lock);
    j->fn(j->arg, task, seat);
    pthread_mutex_lock(&pool->lock);
    pool->free_seats[pool->n_free++] = seat;
    j->finished++; /* the job is on its owner's stack: not touched after this unless it is our own */
    pthread_cond_broadcast(&pool->changed);
}

static void *work(void *arg)
{
    vt_pool *pool = arg;

    pthread_mutex_lock(&pool->lock);
    while (!pool->stopping) {
        if (pool->first && pool->n_free)
            run_one(pool, pool->first);
        else
            pthread_cond_wait(&pool->changed, &pool->lock);
    }
    pthread_mutex_unlock(&pool->lock);
    return NULL;
}

void vt_pool_run(vt_pool *pool, vt_task_fn *fn, void *arg, size_t count)
{
    job j = {.fn = fn, .arg = arg, .count = count};

    if (count == 0)
        return;
    pthread_mutex_lock(&pool->lock);
    if (pool->last)
        pool->last->next = &j;
    else
        pool->first = &j;
    pool->last = &j;
    if (count > 1)
        pthread_cond_broadcast(&pool->changed);
    while (j.finished < j.count) {
        if (j.taken < j.count && pool->n_free)
            run_one(pool, &j);
        else
            pthread_cond_wait(&pool->changed, &pool->lock);
    }
    pthread_mutex_unlock(&pool->lock);
}

/* Signals are for the program's own threads. */
static int start_threads(vt_pool *pool, vultus_error *error)
{
    sigset_t all, before;
    int failed = 0;

    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    while (pool->started + 1 < pool->seats && !failed) {
        failed = pthread_create(&pool->threads[pool->started], NULL, work, pool);
        pool->started += !failed;
    }
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return failed ? vt_fail(error, VULTUS_ERROR_THREAD, "thread %u of %u could not be started: %s", pool->started + 2,
                            pool->seats, strerror(failed))
                  : VULTUS_OK;
}

int vt_pool_create(vt_pool **out, unsigned threads, vultus_error *error)
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
    pthread_cond_init(&pool->changed, NULL);
    pool->free_seats = seats;
    pool->seats = pool->n_free = threads;
    for (unsigned i = 0; i < threads; i++)
        seats[i] = threads - 1 - i; /* seat 0 is used first */
    status = start_threads(pool, error);
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
    pthread_cond_broadcast(&pool->changed);
    pthread_mutex_unlock(&pool->lock);
    for (unsigned i = 0; i < pool->started; i++)
        pthread_join(pool->threads[i], NULL);
    pthread_cond_destroy(&pool->changed);
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
