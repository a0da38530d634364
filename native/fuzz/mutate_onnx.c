/* Changes of an ONNX file that keep it one: a walk from the model down to some message, a change there, and the lengths of
 * all messages around it put right. A quarter of the changes are libFuzzer's own, of bytes. */
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "attempt.h"

typedef enum kind { BYTES, MODEL, GRAPH, NODE, ATTRIBUTE, TENSOR, VALUE, TYPE, TENSOR_TYPE, SHAPE, DIM, ENTRY } kind;

/* Which fields are messages. */
static const struct {
    kind in;
    uint32_t number;
    kind is;
} messages[] = {
    {MODEL, 7, GRAPH},     {MODEL, 8, ENTRY},    {MODEL, 14, ENTRY},  {GRAPH, 1, NODE},        {GRAPH, 5, TENSOR},
    {GRAPH, 11, VALUE},    {GRAPH, 12, VALUE},   {NODE, 5, ATTRIBUTE}, {ATTRIBUTE, 5, TENSOR}, {VALUE, 2, TYPE},
    {TYPE, 1, TENSOR_TYPE}, {TENSOR_TYPE, 2, SHAPE}, {SHAPE, 1, DIM},
};

static const char *const operators[] = {
    "Add", "AveragePool", "BatchNormalization", "Cast", "Clip", "Concat", "Constant", "Conv", "Div", "Dropout", "Exp",
    "Flatten", "Gather", "Gemm", "GlobalAveragePool", "Identity", "LeakyRelu", "MatMul", "MaxPool", "Mul", "PRelu",
    "Relu", "Reshape", "Resize", "Shape", "Sigmoid", "Slice", "Softmax", "Squeeze", "Sub", "Transpose", "Unsqueeze",
};

#define NAMES_MOST 256
#define FIELDS_MOST 512

/* A field of a message: where it starts, where its content does, where it ends. */
typedef struct field {
    uint32_t number, type;
    uint64_t value; /* of a varint */
    size_t start, content, end;
} field;

typedef struct text {
    const uint8_t *data;
    size_t size;
} text;

/* What the walk knows: chance, and the names of the file's values, which inputs are made to name. */
typedef struct walk {
    uint32_t state;
    text names[NAMES_MOST];
    size_t n_names;
} walk;

static uint32_t below(walk *w, size_t n)
{
    w->state = w->state * 1664525 + 1013904223;
    return (uint32_t)((uint64_t)(w->state >> 8) * n >> 24);
}

static size_t read_varint(const uint8_t *data, size_t size, uint64_t *value)
{
    *value = 0;
    for (size_t i = 0; i < size && i < 10; i++) {
        *value |= (uint64_t)(data[i] & 0x7f) << 7 * i;
        if (data[i] < 0x80)
            return i + 1;
    }
    return 0;
}

static size_t write_varint(uint8_t *out, uint64_t value)
{
    size_t n = 0;

    for (; value > 0x7f; value >>= 7)
        out[n++] = (uint8_t)(value | 0x80);
    out[n++] = (uint8_t)value;
    return n;
}

/* Returns how many fields the message has; it may be cut or nonsense from some byte on. */
static size_t read_fields(const uint8_t *data, size_t size, field *fields)
{
    size_t count = 0, at = 0;

    while (at < size && count < FIELDS_MOST) {
        field *f = &fields[count];
        uint64_t tag, value;
        size_t n = read_varint(data + at, size - at, &tag);

        *f = (field){.number = (uint32_t)(tag >> 3), .type = tag & 7, .start = at};
        if (!n)
            break;
        at += n;
        f->content = at;
        if (f->type == 0 || f->type == 2) {
            n = read_varint(data + at, size - at, &value);
            f->value = value;
            if (!n || (f->type == 2 && value > size - at - n))
                break;
            f->content = f->type == 2 ? at + n : at;
            at += f->type == 2 ? n + (size_t)value : n;
        } else {
            n = f->type == 1 ? 8 : 4;
            if ((f->type != 1 && f->type != 5) || n > size - at)
                break;
            at += n;
        }
        f->end = at;
        count++;
    }
    return count;
}

static kind kind_of(kind in, const field *f)
{
    for (size_t i = 0; f->type == 2 && i < sizeof messages / sizeof *messages; i++)
        if (messages[i].in == in && messages[i].number == f->number)
            return messages[i].is;
    return BYTES;
}

/* The message with bytes [start, end) replaced; 0 if that is too long. */
static size_t replace(uint8_t *data, size_t size, size_t most, size_t start, size_t end, const uint8_t *by, size_t length)
{
    if (size - (end - start) + length > most)
        return 0;
    memmove(data + start + length, data + end, size - end);
    memcpy(data + start, by, length);
    return size - (end - start) + length;
}

/* Replaces the content of a field with a length. */
static size_t replace_content(uint8_t *data, size_t size, size_t most, const field *f, const uint8_t *by, size_t length)
{
    uint8_t head[20];
    size_t n = write_varint(head, (uint64_t)f->number << 3 | 2), total;

    n += write_varint(head + n, length);
    total = replace(data, size, most, f->content, f->end, by, length);
    return total ? replace(data, total, most, f->start, f->content, head, n) : 0;
}

static size_t change_number(walk *w, uint8_t *data, size_t size, size_t most, const field *f)
{
    static const uint64_t numbers[] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 12, 16, 24, 32, 64, 65, 128, 8192, 8193, 1 << 20, 1 << 26,
                                       0x7fffffff, 0x80000000, 0xffffffff, UINT64_MAX >> 1, UINT64_MAX, UINT64_MAX - 1};
    uint64_t value = numbers[below(w, below(w, 2) ? 12 : sizeof numbers / sizeof *numbers)];
    uint8_t bytes[10];

    if (!below(w, 3))
        value = f->value + below(w, 5) - 2;
    return replace(data, size, most, f->content, f->end, bytes, write_varint(bytes, value));
}

/* A name becomes another of the file; an operator another operator; other bytes what libFuzzer makes of them. */
static size_t change_bytes(walk *w, uint8_t *data, size_t size, size_t most, kind in, const field *f)
{
    const size_t old = f->end - f->content, room = old + 64;
    uint8_t *bytes;
    size_t length, total;

    if (in == NODE && f->number == 4 && below(w, 4)) {
        const char *name = operators[below(w, sizeof operators / sizeof *operators)];

        return replace_content(data, size, most, f, (const uint8_t *)name, strlen(name));
    }
    bytes = malloc(room);
    if (!bytes)
        return 0;
    memcpy(bytes, data + f->content, old);
    length = old;
    if (((in == NODE && f->number <= 2) || (in == VALUE && f->number == 1)) && w->n_names && below(w, 8)) {
        const text name = w->names[below(w, w->n_names)];

        length = name.size <= room ? name.size : 0;
        memcpy(bytes, name.data, length);
    } else {
        length = LLVMFuzzerMutate(bytes, old, room);
    }
    total = replace_content(data, size, most, f, bytes, length);
    free(bytes);
    return total;
}

/* Another number of elements for a tensor: a new dimension, and raw numbers for it. */
static size_t resize_tensor(walk *w, uint8_t *data, size_t size, size_t most)
{
    static field fields[FIELDS_MOST];
    const size_t count = read_fields(data, size, fields);
    size_t chosen = 0, dims = 0, elements = 1;
    uint8_t number[11] = {1 << 3}, *raw;

    for (size_t i = 0; i < count; i++)
        if (fields[i].number == 1 && fields[i].type == 0 && !below(w, ++dims))
            chosen = i;
    if (!dims)
        return 0;
    fields[chosen].value = 1 + below(w, 16);
    for (size_t i = 0; i < count; i++)
        if (fields[i].number == 1 && fields[i].type == 0 && fields[i].value && fields[i].value < 4096 && elements < most)
            elements *= (size_t)fields[i].value;
    if (elements > most / 4)
        return 0;
    for (size_t i = 0; i < count; i++) {
        const field *f = &fields[i];
        const size_t old = f->end - f->content;

        if (f->type != 2 || f->number != 9 || !old)
            continue;
        raw = malloc(4 * elements);
        if (!raw)
            return 0;
        for (size_t k = 0; k < 4 * elements; k++)
            raw[k] = data[f->content + k % old];
        size = replace_content(data, size, most, f, raw, 4 * elements);
        free(raw);
        break;
    }
    /* The fields that follow one another by their starts: the dimension stands before the numbers in our files. */
    if (!size || fields[chosen].end > size)
        return 0;
    return replace(data, size, most, fields[chosen].start, fields[chosen].end, number,
                   1 + write_varint(number + 1, fields[chosen].value));
}

/* Fields deleted, doubled, swapped. */
static size_t change_order(walk *w, uint8_t *data, size_t size, size_t most, const field *f, const field *g)
{
    const size_t length = f->end - f->start;
    uint8_t *copy = malloc(length ? length : 1);
    size_t total;

    if (!copy)
        return 0;
    memcpy(copy, data + f->start, length);
    if (below(w, 2))
        total = replace(data, size, most, g->start, g->start, copy, length);
    else
        total = replace(data, size, most, f->start, f->end, copy, below(w, 3) ? 0 : length);
    free(copy);
    return total;
}

/* Returns the size of the changed message, 0 if it was left in an unknown state. */
static size_t mutate(walk *w, uint8_t *data, size_t size, size_t most, kind in)
{
    field *fields = malloc(FIELDS_MOST * sizeof *fields);
    size_t total = 0;
    const size_t count = fields ? read_fields(data, size, fields) : 0;

    if (!count) {
        free(fields);
        return LLVMFuzzerMutate(data, size, most);
    }
    if (in == TENSOR && !below(w, 3)) {
        free(fields);
        return resize_tensor(w, data, size, most);
    }
    const field *f = &fields[below(w, count)];
    const kind inner = kind_of(in, f);

    if (inner != BYTES && (in == MODEL || below(w, 5))) {
        const size_t old = f->end - f->content, room = old + 4096 < most ? old + 4096 : most;
        uint8_t *message = malloc(room ? room : 1);

        if (message && old <= room) {
            memcpy(message, data + f->content, old);
            total = mutate(w, message, old, room, inner);
            total = total ? replace_content(data, size, most, f, message, total) : 0;
        }
        free(message);
    } else if (!below(w, 4)) {
        total = change_order(w, data, size, most, f, &fields[below(w, count)]);
    } else if (f->type == 0) {
        total = change_number(w, data, size, most, f);
    } else if (f->type == 2) {
        total = change_bytes(w, data, size, most, in, f);
    } else {
        LLVMFuzzerMutate(data + f->content, f->end - f->content, f->end - f->content);
        total = size;
    }
    free(fields);
    return total;
}

/* Names of what nodes and initialisers give, in the copy that stays. */
static void collect_names(walk *w, const uint8_t *data, size_t size, kind in)
{
    field *fields = malloc(FIELDS_MOST * sizeof *fields);
    const size_t count = fields ? read_fields(data, size, fields) : 0;

    for (size_t i = 0; i < count; i++) {
        const field *f = &fields[i];
        const kind inner = kind_of(in, f);

        if (inner == GRAPH || inner == NODE || inner == TENSOR || inner == VALUE)
            collect_names(w, data + f->content, f->end - f->content, inner);
        else if (f->type == 2 && w->n_names < NAMES_MOST &&
                 ((in == NODE && f->number == 2) || (in == TENSOR && f->number == 8) || (in == VALUE && f->number == 1)))
            w->names[w->n_names++] = (text){data + f->content, f->end - f->content};
    }
    free(fields);
}

size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t most, unsigned seed)
{
    static walk w;
    uint8_t *copy;
    size_t total;

    w = (walk){.state = seed};
    if (!below(&w, 4) || !(copy = malloc(size ? size : 1)))
        return LLVMFuzzerMutate(data, size, most);
    memcpy(copy, data, size);
    collect_names(&w, copy, size, MODEL);
    total = mutate(&w, data, size, most, MODEL);
    if (!total) { /* it did not fit */
        memcpy(data, copy, size);
        total = size;
    }
    free(copy);
    return total;
}
