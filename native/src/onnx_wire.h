/* Protocol-buffer wire format, read in place: enough of it for ONNX, bounded by the message that is being read. */
#ifndef VT_ONNX_WIRE_H
#define VT_ONNX_WIRE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "error.h"

enum { VT_WIRE_VARINT = 0, VT_WIRE_FIXED64 = 1, VT_WIRE_BYTES = 2, VT_WIRE_FIXED32 = 5 };

/* The rest of a message. base is the first byte of the file, for offsets in errors. */
typedef struct vt_wire {
    const uint8_t *base, *at, *end;
    vultus_error *error;
} vt_wire;

typedef struct vt_field {
    uint32_t number, type;
    uint64_t value;      /* of a varint or fixed field */
    const uint8_t *data; /* of a bytes field */
    size_t size;
    uint64_t offset;     /* of the field's tag in the file */
} vt_field;

/* Bytes of the file that are a name: not NUL-terminated. */
typedef struct vt_text {
    const uint8_t *data;
    size_t size;
} vt_text;

/* 1 and a field, 0 at the end of the message, or a negative status. */
int vt_wire_next(vt_wire *wire, vt_field *field);

/* A varint alone, as in packed arrays. */
int vt_wire_varint(vt_wire *wire, uint64_t *value);

/* Checks that a field has the type that its number should have. */
int vt_wire_expect(const vt_wire *wire, const vt_field *field, uint32_t type);

static inline vt_wire vt_wire_of(const vt_wire *parent, const uint8_t *data, size_t size)
{
    return (vt_wire){parent->base, data, size ? data + size : data, parent->error}; /* NULL and 0 is an empty message */
}

bool vt_text_is(vt_text text, const char *literal);

/* For "%.*s": a name cut to what an error text can show. */
#define VT_TEXT_ARGS(text) (int)((text).size < 60 ? (text).size : 60), (text).data ? (const char *)(text).data : ""

#endif
