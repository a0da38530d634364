/* Threads that share out the tasks of a job. */
#ifndef VT_POOL_H
#define VT_POOL_H

#include <stddef.h>

#include "error.h"

typedef struct vt_pool vt_pool;

/* One task of a job. `seat` is below the pool's number of threads, and no other task holds it at the same time: it
 * names the memory that the task may use. */
typedef void vt_task_fn(void *arg, size_t task, unsigned seat);

/* `threads` seats, and threads - 1 threads: whoever runs a job takes part in it. */
int vt_pool_create(vt_pool **pool, unsigned threads, vultus_error *error);

/* Runs tasks 0 .. count and returns when all are done. Any number of threads may call it at once; together they use no
 * more than `threads` processors. */
void vt_pool_run(vt_pool *pool, vt_task_fn *fn, void *arg, size_t count);

/* Nobody may be in vt_pool_run(). */
void vt_pool_destroy(vt_pool *pool);

/* In a child after fork(), where the threads do not exist: gives the memory back. */
void vt_pool_abandon(vt_pool *pool);

#endif
