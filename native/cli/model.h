/* A model, whichever kind it is. */
#ifndef CLI_MODEL_H
#define CLI_MODEL_H

#include <stddef.h>

#include "cli.h"
#include "vultus/vultus.h"

typedef struct model {
    const char *path;
    vultus_engine *engine;   /* one of the two */
    vultus_network *network;
    vultus_info info;            /* of the engine; of a network, too, what it has of it */
    vultus_network_info sizes;   /* of the network */
    uint32_t height, width;      /* of an image: the model's own, or --size, or 320 x 320 */
} model;

/* Each returns 0, or complains and returns -1. */
int model_open(model *m, const arguments *a);
int model_open_embedder(model *m, const arguments *a);
void model_close(model *m);

/* The layers: what they compute and, with the batch and rounds, how long it takes. *records is to be freed. */
int model_profile(const model *m, size_t batch, uint32_t rounds, vultus_layer_time **records, size_t *count);

#endif
