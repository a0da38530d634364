/* Several threads that compute one face together, in the pieces of plan->crew. */
#ifndef VT_CREW_H
#define VT_CREW_H

#include <pthread.h>

#include "pool.h"
#include "run.h"

/* Faces first .. first + count of a call, one after the other. All but what vt_crew_begin() sets is borrowed. */
typedef struct vt_crew {
    vt_pool *pool;
    const vt_plan *plan; /* made for several threads */
    const float *zeros;
    const vt_faces *faces;
    float *const *outputs; /* as of vt_call */
    size_t first;
    unsigned count;

    /* The first to come lends its arena: maps are in there, and everybody else's is for rings and scratch. */
    _Atomic(const vt_context *) lender;
    _Atomic uint64_t state;  /* step << 32 | a bit for each piece of it that is taken */
    atomic_uint step;        /* the same step, a moment later: what others wait for */
    atomic_uint finished;    /* pieces of the step */
    atomic_uint asleep;
    pthread_mutex_t lock;    /* of those asleep */
    pthread_cond_t moved;
} vt_crew;

void vt_crew_begin(vt_crew *crew);
void vt_crew_end(vt_crew *crew);

/* A thread's part, with its own context. Returns false when all faces are done; true if it left because the pool wants
 * its seat. Who lends its arena stays to the end. */
bool vt_crew_work(vt_crew *crew, const vt_context *own, unsigned seat);

#endif
