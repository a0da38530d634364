/* Archives as numpy.savez() writes them. */
#ifndef TEST_ARCHIVE_H
#define TEST_ARCHIVE_H

#include "models.h"

typedef struct member {
    const char *name;   /* without .npy */
    const char *header; /* the dictionary */
    const void *data;
    size_t size;
} member;

bytes write_npz(const member *members, size_t count);

#endif
