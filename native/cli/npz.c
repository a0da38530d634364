/* The parts of two formats that numpy.savez() uses: of zip the central directory, its members without compression (sizes
 * below 4 GiB); of npy a header that is the text of a Python dictionary, then the numbers. */
#include "npz.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#define DIRECTORY_END 22 /* bytes of the record that ends a zip archive, without its comment */
#define MEMBER 46        /* of a member in the directory, without name, extra fields and comment */
#define LOCAL 30         /* of what precedes a member's bytes, likewise */

/* A piece of the file. */
typedef struct piece {
    const uint8_t *data;
    size_t size;
} piece;

static uint32_t little(const uint8_t *p, size_t bytes)
{
    uint32_t value = 0;

    for (size_t i = bytes; i--;)
        value = value << 8 | p[i];
    return value;
}

static uint32_t crc32(const piece *p)
{
    uint32_t table[256], crc = ~0u;

    for (uint32_t i = 0; i < 256; i++) {
        table[i] = i;
        for (int bit = 0; bit < 8; bit++)
            table[i] = table[i] >> 1 ^ (table[i] & 1 ? 0xedb88320u : 0);
    }
    for (size_t i = 0; i < p->size; i++)
        crc = crc >> 8 ^ table[(crc ^ p->data[i]) & 0xff];
    return ~crc;
}

/* The bytes of a member whose entry of the directory is given. */
static const char *member_bytes(const content *file, const uint8_t *entry, piece *out)
{
    const size_t local = little(entry + 42, 4), size = little(entry + 24, 4);
    size_t start;

    if (little(entry + 10, 2) != 0)
        return "its arrays are compressed; write it by numpy.savez, not numpy.savez_compressed";
    if (size == 0xffffffff || little(entry + 20, 4) != size)
        return "an array of 4 GiB or more, or of contradictory sizes";
    if (local > file->size || file->size - local < LOCAL || little(file->data + local, 4) != 0x04034b50)
        return "no member where the zip directory says";
    start = local + LOCAL + little(file->data + local + 26, 2) + little(file->data + local + 28, 2);
    if (start > file->size || file->size - start < size)
        return "an array reaches beyond the end of the file";
    *out = (piece){file->data + start, size};
    if (crc32(out) != little(entry + 16, 4))
        return "an array is damaged: its checksum is wrong";
    return NULL;
}

/* Where the directory begins and how many members it has; the record is the last of the file but for a comment. */
static const char *find_directory(const content *file, size_t *at, size_t *count)
{
    const size_t most = DIRECTORY_END + 0xffff;

    for (size_t back = DIRECTORY_END; back <= file->size && back <= most; back++) {
        const uint8_t *end = file->data + file->size - back;

        if (little(end, 4) != 0x06054b50 || little(end + 20, 2) != back - DIRECTORY_END)
            continue;
        *count = little(end + 10, 2);
        *at = little(end + 16, 4);
        return *at <= file->size ? NULL : "the zip directory lies outside of the file";
    }
    return "no zip archive, as numpy.savez writes it";
}

static const char *find_member(const content *file, const char *name, piece *out)
{
    size_t at, count;
    const char *wrong = find_directory(file, &at, &count);

    for (size_t i = 0; i < count && !wrong; i++) {
        const uint8_t *entry = file->data + at;
        size_t length;

        if (file->size - at < MEMBER || little(entry, 4) != 0x02014b50)
            return "the zip directory is cut";
        length = little(entry + 28, 2);
        if (file->size - at - MEMBER < length)
            return "the zip directory is cut";
        if (length == strlen(name) + 4 && memcmp(entry + MEMBER, name, length - 4) == 0 &&
            memcmp(entry + MEMBER + length - 4, ".npy", 4) == 0)
            return member_bytes(file, entry, out);
        length += MEMBER + little(entry + 30, 2) + little(entry + 32, 2);
        if (file->size - at < length)
            return "the zip directory is cut";
        at += length;
    }
    return wrong ? wrong : "an array is missing: x and y are wanted";
}

/* What follows 'key': in the header, behind spaces; NULL if there is no such key. */
static const char *value_of(const char *header, const char *key)
{
    char quoted[32];
    const char *at;

    snprintf(quoted, sizeof quoted, "'%s':", key);
    at = strstr(header, quoted);
    return at ? at + strlen(quoted) + strspn(at + strlen(quoted), " ") : NULL;
}

static bool read_shape(const char *at, npy *out)
{
    if (!at || *at++ != '(')
        return false;
    for (out->rank = 0, out->count = 1; *at != ')'; out->rank++) {
        size_t side = 0;

        if (out->rank == NPZ_RANK_MOST || *at < '0' || *at > '9')
            return false;
        while (*at >= '0' && *at <= '9') {
            side = 10 * side + (size_t)(*at++ - '0');
            if (side > UINT32_MAX)
                return false;
        }
        if (side && out->count > SIZE_MAX / 8 / side)
            return false;
        out->shape[out->rank] = side;
        out->count *= side;
        if (*at == ',')
            at++;
        else if (*at != ')')
            return false;
        at += strspn(at, " ");
    }
    return true;
}

static const char *read_npy(const piece *member, npy *out)
{
    char header[512];
    size_t start = 10, length;
    const char *type, *order;

    if (member->size < 12 || memcmp(member->data, "\x93NUMPY", 6) || member->data[6] < 1 || member->data[6] > 2)
        return "an array is no npy file of version 1 or 2";
    length = little(member->data + 8, member->data[6] == 1 ? 2 : 4);
    start = member->data[6] == 1 ? 10 : 12;
    if (length >= sizeof header || member->size - start < length)
        return "the header of an array is too long";
    memcpy(header, member->data + start, length);
    header[length] = 0;
    type = value_of(header, "descr");
    order = value_of(header, "fortran_order");
    if (!type || (strncmp(type, "'<f4'", 5) && strncmp(type, "'<f8'", 5)))
        return "an array is neither float32 nor float64";
    if (!order || strncmp(order, "False", 5))
        return "an array is not in C order";
    if (!read_shape(value_of(header, "shape"), out))
        return "the shape of an array is not understood";
    out->item = type[3] == '4' ? 4 : 8;
    out->data = member->data + start + length;
    return out->count * out->item == member->size - start - length ? NULL : "an array has another length than its shape says";
}

const char *npz_find(const content *file, const char *name, npy *out)
{
    piece member;
    const char *wrong = find_member(file, name, &member);

    return wrong ? wrong : read_npy(&member, out);
}

double npy_number(const npy *array, size_t i)
{
    const uint8_t *p = array->data + i * array->item;
    const uint64_t low = little(p, 4);

    if (array->item == 4) {
        const uint32_t bits = (uint32_t)low;
        float value;

        memcpy(&value, &bits, sizeof value);
        return value;
    }
    const uint64_t bits = low | (uint64_t)little(p + 4, 4) << 32;
    double value;

    memcpy(&value, &bits, sizeof value);
    return value;
}
