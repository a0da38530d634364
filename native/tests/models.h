/* Small model files, written in memory: valid ones, to be used as they are or spoilt. */
#ifndef TEST_MODELS_H
#define TEST_MODELS_H

#include <stddef.h>
#include <stdint.h>

typedef struct bytes {
    uint8_t *data;
    size_t size, capacity;
} bytes;

void bytes_free(bytes *b);

/* A MobileFaceNet of a few channels, 112 x 112 to 8 numbers. */
bytes write_efm3(void);

/* The same in INT8, version 4, with blocks of so many channels: 6 or, where depthwise convolutions are of one group, 1. */
bytes write_efm3_int8(uint8_t block);

/* An embedder of 3 x 12 x 12 to 6 numbers that has every operator that the engine knows. */
bytes write_onnx(void);

/* A detector of any input size, whose sides are multiples of 4: pooling, resizing; a map and rows as outputs. */
bytes write_detector(void);

#endif
