/* Arrays that numpy.savez() wrote: a zip archive of .npy files, stored as they are. */
#ifndef CLI_NPZ_H
#define CLI_NPZ_H

#include "file.h"

#define NPZ_RANK_MOST 8

/* An array within the archive's bytes: little-endian, C order, not aligned. */
typedef struct npy {
    const uint8_t *data;
    size_t shape[NPZ_RANK_MOST], rank;
    size_t count;      /* numbers */
    size_t item;       /* bytes of one: 4 or 8 */
} npy;

/* Finds NAME.npy, whose numbers are float32 or float64. Nothing outside of the file is read whatever its bytes are.
 * Returns NULL, or what is wrong. */
const char *npz_find(const content *file, const char *name, npy *out);

/* Number i of the array, i < count. */
double npy_number(const npy *array, size_t i);

#endif
