#include "file.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli.h"

#define FIRST_PIECE ((size_t)1 << 16)

/* Pipes have no size to ask for, so the room doubles until the end is met. */
static int read_open(content *out, FILE *file, const char *path, size_t most)
{
    size_t room = 0;

    for (;;) {
        if (out->size == room) {
            const size_t wanted = room ? 2 * room : FIRST_PIECE, larger = wanted < most + 1 ? wanted : most + 1;
            uint8_t *data = realloc(out->data, larger);

            if (!data) {
                complain("%s: no memory for %zu bytes", path, larger);
                return -1;
            }
            out->data = data;
            room = larger;
        }
        out->size += fread(out->data + out->size, 1, room - out->size, file);
        if (ferror(file)) {
            complain("%s: %s", path, strerror(errno));
            return -1;
        }
        if (out->size > most) {
            complain("%s: more than the %zu bytes that such a file has at most", path, most);
            return -1;
        }
        if (feof(file))
            return 0;
    }
}

int content_read(content *out, const char *path, size_t most)
{
    FILE *file = fopen(path, "rb");
    int status;

    *out = (content){0};
    if (!file) {
        complain("%s: %s", path, strerror(errno));
        return -1;
    }
    status = read_open(out, file, path, most);
    fclose(file);
    if (status)
        content_free(out);
    return status;
}

void content_free(content *c)
{
    free(c->data);
    *c = (content){0};
}
