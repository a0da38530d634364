#include "archive.h"

#include <stdlib.h>
#include <string.h>

static void put(bytes *b, const void *data, size_t size)
{
    b->data = realloc(b->data, b->size + size + 1);
    if (!b->data)
        abort();
    if (size)
        memcpy(b->data + b->size, data, size);
    b->size += size;
}

static void put_little(bytes *b, uint64_t value, size_t size)
{
    for (; size; size--, value >>= 8)
        put(b, &(uint8_t){(uint8_t)value}, 1);
}

static uint32_t checksum(const bytes *b)
{
    uint32_t crc = ~0u;

    for (size_t i = 0; i < b->size; i++) {
        crc ^= b->data[i];
        for (int bit = 0; bit < 8; bit++)
            crc = crc >> 1 ^ (crc & 1 ? 0xedb88320u : 0);
    }
    return ~crc;
}

/* The header is padded so that the numbers begin at a multiple of 64. */
static bytes write_npy(const member *m)
{
    const size_t length = (10 + strlen(m->header) + 1 + 63) / 64 * 64 - 10;
    bytes b = {0};

    put(&b, "\x93NUMPY\1\0", 8);
    put_little(&b, length, 2);
    put(&b, m->header, strlen(m->header));
    while (b.size < 10 + length - 1)
        put(&b, " ", 1);
    put(&b, "\n", 1);
    put(&b, m->data, m->size);
    return b;
}

/* Version, flags, method, time, date, checksum, sizes, lengths of name and extra. */
static void put_sizes(bytes *b, const bytes *npy, uint32_t shown, size_t name, size_t extra)
{
    put_little(b, 45, 2);
    put_little(b, 0, 4);
    put_little(b, 0x00210000, 4);
    put_little(b, checksum(npy), 4);
    put_little(b, shown, 4);
    put_little(b, shown, 4);
    put_little(b, name, 2);
    put_little(b, extra, 2);
}

/* In front of each array numpy has sizes of 64 bits, and none of 32. */
bytes write_npz(const member *members, size_t count)
{
    bytes b = {0}, directory = {0};
    size_t start;

    for (size_t i = 0; i < count; i++) {
        const size_t name = strlen(members[i].name) + 4, at = b.size;
        bytes npy = write_npy(&members[i]);

        put(&b, "PK\3\4", 4);
        put_sizes(&b, &npy, 0xffffffff, name, 20);
        put(&b, members[i].name, name - 4);
        put(&b, ".npy\1\0\20\0", 8);
        put_little(&b, npy.size, 8);
        put_little(&b, npy.size, 8);
        put(&b, npy.data, npy.size);
        put(&directory, "PK\1\2\55\3", 6);
        put_sizes(&directory, &npy, (uint32_t)npy.size, name, 0);
        put_little(&directory, 0, 10);
        put_little(&directory, at, 4);
        put(&directory, members[i].name, name - 4);
        put(&directory, ".npy", 4);
        bytes_free(&npy);
    }
    start = b.size;
    put(&b, directory.data, directory.size);
    put(&b, "PK\5\6\0\0\0\0", 8);
    put_little(&b, count, 2);
    put_little(&b, count, 2);
    put_little(&b, directory.size, 4);
    put_little(&b, start, 4);
    put_little(&b, 0, 2);
    bytes_free(&directory);
    return b;
}
