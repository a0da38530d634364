/* The EFM3 reader. Half of the mutations are of the header, with tensors cut to fit it, FP32 ones or INT8 ones, so that what
 * is behind the reader is met as well. */
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "attempt.h"

enum { HEADER_AT = 8, HEADER = 80, STAGES = 16, STAGE = 8 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    attempt_engine(data, size);
    return 0;
}

/* A file that is being written; bytes beyond the room are dropped. */
typedef struct sink {
    uint8_t *data;
    size_t size, room;
    uint32_t tensors, state;
    bool bytes; /* version 4, INT8 */
    bool wide;  /* weights too wide for the kernels of bytes */
} sink;

static uint32_t draw(sink *s)
{
    s->state = s->state * 1664525 + 1013904223;
    return s->state >> 9;
}

static void put(sink *s, const void *data, size_t size)
{
    if (s->room - s->size < size) {
        s->size = s->room;
        return;
    }
    memcpy(s->data + s->size, data, size);
    s->size += size;
}

static void put_u32(sink *s, uint32_t v)
{
    put(s, (const uint8_t[]){(uint8_t)v, (uint8_t)(v >> 8), (uint8_t)(v >> 16), (uint8_t)(v >> 24)}, 4);
}

/* Numbers between 0.5 and 1: good as variances, too. */
static void put_tensor(sink *s, size_t count)
{
    s->tensors++;
    put_u32(s, (uint32_t)(4 * count));
    for (size_t i = 0; i < count && s->size < s->room; i++)
        put_u32(s, 0x3f000000u | draw(s));
}

/* What the input is rounded to: one in eight is not rounded, the others to steps of 1/128 to 1/64. */
static void put_quant(sink *s)
{
    const bool none = draw(s) % 8 == 0;

    s->tensors++;
    put_u32(s, 8);
    put_u32(s, none ? 0 : 0x3c000000u | draw(s));
    put_u32(s, none ? 0 : draw(s) >> 8 & 255);
}

/* Of two weights of at most 64, no pair is beyond what the kernels of bytes add up. */
static void put_steps(sink *s, size_t count)
{
    s->tensors++;
    put_u32(s, (uint32_t)count);
    for (size_t i = 0; i < count && s->size < s->room; i++) {
        const uint32_t v = draw(s) >> 8;

        put(s, &(uint8_t){(uint8_t)(s->wide ? v : v % 129 - 64)}, 1);
    }
}

static void put_conv(sink *s, size_t weights, size_t channels, bool prelu)
{
    if (s->bytes) {
        put_quant(s);
        put_steps(s, weights);
    } else {
        put_tensor(s, weights);
    }
    for (int i = 0; i < (s->bytes ? 2 : 4) + prelu; i++)
        put_tensor(s, channels);
}

static size_t word(const uint8_t *p)
{
    return (size_t)(p[0] | p[1] << 8);
}

/* A whole file for a header, which need not make sense. */
static size_t write_file(const uint8_t *header, uint8_t *data, size_t room, unsigned seed)
{
    sink s = {.data = data, .room = room, .state = seed, .bytes = seed >> 1 & 1, .wide = seed >> 2 & 1};
    const size_t stem = word(header + 4), block = word(header + 6), final = word(header + 8), dim = word(header + 10);
    size_t c_in = stem, count_at;

    put(&s, s.bytes ? "EFM3\4\0\0\0" : "EFM3\3\0\0\0", 8);
    put(&s, header, HEADER);
    put_u32(&s, 2);
    put(&s, "{}", 2);
    count_at = s.size;
    put_u32(&s, 0);
    put_conv(&s, stem * 3 * header[2] * header[2], stem, true);
    put_conv(&s, stem * 9, stem, true);
    for (size_t i = 0; i < header[1] && i < 8; i++) {
        const uint8_t *stage = header + STAGES + STAGE * i;

        for (size_t j = 0; j < stage[1] && s.size < s.room; j++) {
            const size_t wide = c_in * stage[0], c_out = i ? block : stem;

            put_conv(&s, c_in * wide, wide, true);
            put_conv(&s, 9 * wide, wide, true);
            put_conv(&s, wide * c_out, c_out, false);
            c_in = c_out;
        }
    }
    put_conv(&s, c_in * final, final, true);
    put_conv(&s, final * header[12] * header[12], final, false);
    put_conv(&s, final * dim, dim, false);
    for (size_t i = 0; i < 4 && count_at + 4 <= s.size; i++)
        data[count_at + i] = (uint8_t)(s.tensors >> 8 * i);
    return s.size;
}

size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t most, unsigned seed)
{
    uint8_t header[HEADER];

    if (seed % 2 || size < HEADER_AT + HEADER)
        return LLVMFuzzerMutate(data, size, most);
    memcpy(header, data + HEADER_AT, HEADER);
    LLVMFuzzerMutate(header, HEADER, HEADER);
    return write_file(header, data, most, seed);
}
