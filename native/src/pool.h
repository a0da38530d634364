/* Threads that compute the jobs of whoever calls. */
#ifndef VT_POOL_H
#define VT_POOL_H

#include <stdatomic.h>
#include <stdbool.h>

#include "error.h"

typedef struct vt_pool vt_pool;

/* A thread's part in a job: it takes what is left to do, piece by piece, until nothing is. `seat` is below the pool's
 * number of threads, and nobody else holds it meanwhile: it names the memory that may be used. Returns false when nothing
 * is left to take, though others may still be at theirs; true if it left early because vt_pool_wanted(). */
typedef bool vt_work_fn(void *arg, unsigned seat);

/* `threads` seats, and threads - 1 threads: whoever runs a job takes part in it. pin: as of vultus_options. */
int vt_pool_create(vt_pool **pool, unsigned threads, bool pin, vultus_error *error);

/* Runs a job in 1..most seats and returns when all of it is done. It waits for one seat only; who comes free joins. Any
 * number of threads may call it at once; together they compute on no more than `threads` processors, and those that wait
 * for a seat get one in turn. */
void vt_pool_run(vt_pool *pool, vt_work_fn *fn, void *arg, unsigned most);

/* Somebody waits for a seat: who comes to a place where it can leave its job should. */
bool vt_pool_wanted(vt_pool *pool);

/* Waits awake, for some tenths of a millisecond, for *value to become something else than `seen`; whether it did. */
bool vt_pool_spin(const vt_pool *pool, const atomic_uint *value, unsigned seen);

/* Nobody may be in vt_pool_run(). */
void vt_pool_destroy(vt_pool *pool);

/* In a child after fork(), where the threads do not exist: gives the memory back. */
void vt_pool_abandon(vt_pool *pool);

#endif
