/* How the faces of a call are shared out over threads. */
#ifndef VT_CALL_H
#define VT_CALL_H

#include "crew.h"

/* The part that whoever makes a call fills in; all of it is borrowed. */
typedef struct vt_call {
    vt_pool *pool;
    unsigned threads;           /* of the pool */
    const vt_plan *plan;
    const vt_context *contexts; /* one for each seat of the pool */
    const float *zeros;
    const vt_faces *faces;
    float *const *outputs;      /* of a network, as for vt_run_network(); NULL: vt_run() */
    size_t n;

    size_t whole;        /* faces before this one are computed by one thread each, the others by all together */
    atomic_size_t taken; /* of those */
    vt_crew crew;        /* of the others */
} vt_call;

/* Computes all n faces; n > 0. */
void vt_call_run(vt_call *call);

#endif
