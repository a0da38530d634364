/* Files as a whole, of a bounded size. */
#ifndef CLI_FILE_H
#define CLI_FILE_H

#include <stddef.h>
#include <stdint.h>

typedef struct content {
    uint8_t *data; /* owned */
    size_t size;
} content;

/* Returns 0, or complains and returns -1 if the file cannot be read or is larger than `most` bytes. */
int content_read(content *out, const char *path, size_t most);
void content_free(content *c);

#endif
