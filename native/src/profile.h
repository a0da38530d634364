/* Measuring where the time goes. */
#ifndef VT_PROFILE_H
#define VT_PROFILE_H

#include "pool.h"
#include "run.h"

/* What is measured. */
typedef struct vt_subject {
    const vt_plan *plan;
    const float *zeros;
    bool network;   /* run by vt_run_network() */
    bool bgr;
    const float *x; /* n images, or NULL for noise */
    size_t n;
    uint32_t rounds;
} vt_subject;

/* What the public functions do: *count becomes how many records there are, and unless capacity is 0 they are measured in a
 * seat of the pool, whose contexts those are. */
int vt_profile_run(const vt_subject *subject, vt_pool *pool, const vt_context *contexts, vultus_layer_time *times,
                   size_t capacity, size_t *count, vultus_error *error);

#endif
