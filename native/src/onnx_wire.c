#include "onnx_wire.h"

#include <string.h>

#include "load.h"

static uint64_t offset_of(const vt_wire *wire)
{
    return (uint64_t)(wire->at - wire->base);
}

int vt_wire_varint(vt_wire *wire, uint64_t *value)
{
    const uint64_t start = offset_of(wire);
    uint64_t sum = 0;

    for (unsigned shift = 0; shift < 70; shift += 7) {
        uint8_t byte;

        if (wire->at == wire->end)
            return vt_fail_at(wire->error, VULTUS_ERROR_FORMAT, start, "the message ends within a number");
        byte = *wire->at++;
        if (shift == 63 && byte > 1)
            break;
        sum |= (uint64_t)(byte & 0x7f) << shift;
        if (byte < 0x80) {
            *value = sum;
            return VULTUS_OK;
        }
    }
    return vt_fail_at(wire->error, VULTUS_ERROR_FORMAT, start, "a number of more than 64 bits");
}

static int take(vt_wire *wire, const vt_field *field, uint64_t size, const uint8_t **data)
{
    if ((uint64_t)(wire->end - wire->at) < size)
        return vt_fail_at(wire->error, VULTUS_ERROR_FORMAT, field->offset,
                          "field %u has %llu bytes where its message has only %llu left", field->number,
                          (unsigned long long)size, (unsigned long long)(wire->end - wire->at));
    *data = wire->at;
    wire->at += size;
    return VULTUS_OK;
}

int vt_wire_next(vt_wire *wire, vt_field *field)
{
    uint64_t tag, size;
    const uint8_t *p = NULL;
    int status;

    if (wire->at == wire->end)
        return 0;
    *field = (vt_field){.offset = offset_of(wire)};
    status = vt_wire_varint(wire, &tag);
    if (status)
        return status;
    field->number = (uint32_t)(tag >> 3);
    field->type = (uint32_t)(tag & 7);
    if (tag >> 3 == 0 || tag >> 3 > 0x1fffffff)
        return vt_fail_at(wire->error, VULTUS_ERROR_FORMAT, field->offset, "not a field of a protobuf message");
    switch (field->type) {
    case VT_WIRE_VARINT:
        status = vt_wire_varint(wire, &field->value);
        break;
    case VT_WIRE_FIXED32:
        status = take(wire, field, 4, &p);
        if (!status)
            field->value = vt_u32(p);
        break;
    case VT_WIRE_FIXED64:
        status = take(wire, field, 8, &p);
        if (!status)
            field->value = vt_u32(p) | (uint64_t)vt_u32(p + 4) << 32;
        break;
    case VT_WIRE_BYTES:
        status = vt_wire_varint(wire, &size);
        if (!status)
            status = take(wire, field, size, &field->data);
        field->size = status ? 0 : (size_t)size;
        break;
    default:
        status = vt_fail_at(wire->error, VULTUS_ERROR_FORMAT, field->offset, "protobuf wire type %u is not read here",
                            field->type);
    }
    return status ? status : 1;
}

int vt_wire_expect(const vt_wire *wire, const vt_field *field, uint32_t type)
{
    if (field->type != type)
        return vt_fail_at(wire->error, VULTUS_ERROR_FORMAT, field->offset, "field %u has the wire type %u instead of %u",
                          field->number, field->type, type);
    return VULTUS_OK;
}

bool vt_text_is(vt_text text, const char *literal)
{
    return text.size == strlen(literal) && memcmp(text.data, literal, text.size) == 0;
}
