/* Measuring where the time goes. */
#ifndef VT_PROFILE_H
#define VT_PROFILE_H

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

/* A profile that is being taken: the memory of its input and its answers, and its records. */
typedef struct vt_profile {
    vt_subject subject;
    vt_faces images;
    uint8_t *noise;
    float *answers, *outputs[VT_MAX_OUTPUTS];
    double *seconds; /* of a round */
    vultus_layer_time *times;
} vt_profile;

/* What the public functions check and answer: how many records there are, in *count. */
int vt_profile_check(const vt_subject *subject, const vultus_layer_time *times, size_t capacity, size_t *count,
                     vultus_error *error);

/* Takes the memory and writes what is known without measuring. vt_profile_end() gives it back, also after a failure. */
int vt_profile_begin(vt_profile *profile, const vt_subject *subject, vultus_layer_time *times, vultus_error *error);
void vt_profile_end(vt_profile *profile);

/* Measures. Allocates nothing; the context is used by nobody else meanwhile. */
void vt_profile_measure(const vt_profile *profile, const vt_context *context);

#endif
