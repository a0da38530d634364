#include "onnx_model.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "load.h"

/* TensorProto */
enum { TENSOR_DIMS = 1, TENSOR_TYPE = 2, TENSOR_FLOATS = 4, TENSOR_INT32S = 5, TENSOR_INT64S = 7, TENSOR_NAME = 8,
       TENSOR_RAW = 9, TENSOR_LOCATION = 14 };
/* AttributeProto */
enum { ATTRIBUTE_NAME = 1, ATTRIBUTE_F = 2, ATTRIBUTE_I = 3, ATTRIBUTE_S = 4, ATTRIBUTE_T = 5, ATTRIBUTE_INTS = 8 };
enum { NODE_ATTRIBUTE = 5 };

static size_t element_bytes(uint32_t type)
{
    switch (type) {
    case VT_ONNX_UINT8:
    case VT_ONNX_INT8:
    case VT_ONNX_BOOL:
        return 1;
    case VT_ONNX_FLOAT:
    case VT_ONNX_INT32:
        return 4;
    default:
        return type == VT_ONNX_INT64 ? 8 : 0;
    }
}

static int add_dim(vt_constant *t, uint64_t dim, uint64_t offset, vultus_error *error)
{
    if (t->rank == VT_ONNX_MAX_RANK)
        return vt_fail_at(error, VULTUS_ERROR_FORMAT, offset, "a tensor of more than %d dimensions", VT_ONNX_MAX_RANK);
    if (dim > VT_MAX_ELEMENTS)
        return vt_fail_at(error, VULTUS_ERROR_FORMAT, offset, "a tensor dimension of %" PRIu64 " exceeds the limit of %u",
                          dim, VT_MAX_ELEMENTS);
    t->dims[t->rank++] = dim;
    return VULTUS_OK;
}

/* How many varints a packed field holds, or, with fixed-size elements, how many fit exactly. */
static int count_packed(const vt_wire *wire, const vt_field *field, uint32_t fixed, size_t *count)
{
    vt_wire packed = vt_wire_of(wire, field->data, field->size);
    uint64_t unused;
    int status = VULTUS_OK;

    if (field->type != VT_WIRE_BYTES) {
        ++*count;
        return vt_wire_expect(wire, field, fixed ? VT_WIRE_FIXED32 : VT_WIRE_VARINT);
    }
    if (fixed) {
        if (field->size % fixed)
            return vt_fail_at(wire->error, VULTUS_ERROR_FORMAT, field->offset, "%zu bytes are no whole number of floats",
                              field->size);
        *count += field->size / fixed;
        return VULTUS_OK;
    }
    for (; packed.at != packed.end && !status; ++*count)
        status = vt_wire_varint(&packed, &unused);
    return status;
}

static int read_dims(const vt_wire *wire, const vt_field *field, vt_constant *t)
{
    vt_wire packed = vt_wire_of(wire, field->data, field->size);
    uint64_t dim;
    int status = VULTUS_OK;

    if (field->type == VT_WIRE_VARINT)
        return add_dim(t, field->value, field->offset, wire->error);
    status = vt_wire_expect(wire, field, VT_WIRE_BYTES);
    while (packed.at != packed.end && !status) {
        status = vt_wire_varint(&packed, &dim);
        if (!status)
            status = add_dim(t, dim, field->offset, wire->error);
    }
    return status;
}

/* The numbers that the dimensions promise must be there, in one of the two places. */
static int check_count(const vt_constant *t, size_t floats, size_t ints, vultus_error *error)
{
    const size_t bytes = element_bytes(t->type);
    size_t got;

    if (!bytes)
        return VULTUS_OK; /* of no use to any operator here; whoever asks for it is told */
    if (t->raw.data && t->raw.size % bytes)
        return vt_fail_at(error, VULTUS_ERROR_FORMAT, t->offset, "a tensor's %zu bytes are no multiple of %zu", t->raw.size,
                          bytes);
    got = t->raw.data ? t->raw.size / bytes : t->type == VT_ONNX_FLOAT ? floats : ints;
    if (got != t->count)
        return vt_fail_at(error, VULTUS_ERROR_FORMAT, t->offset, "a tensor holds %zu numbers where its shape has %zu", got,
                          t->count);
    return VULTUS_OK;
}

int vt_constant_read(const vt_wire *parent, const uint8_t *data, size_t size, uint64_t offset, vt_constant *t,
                     vt_text *name)
{
    vt_wire wire = vt_wire_of(parent, data, size);
    size_t floats = 0, ints = 0;
    uint64_t count = 1;
    vt_field f;
    int got, status = VULTUS_OK;

    *t = (vt_constant){.message = wire, .offset = offset};
    while (!status && (got = vt_wire_next(&wire, &f)) != 0) {
        if (got < 0)
            return got;
        if (f.number == TENSOR_DIMS) {
            status = read_dims(&wire, &f, t);
        } else if (f.number == TENSOR_TYPE) {
            status = vt_wire_expect(&wire, &f, VT_WIRE_VARINT);
            t->type = f.value > UINT32_MAX ? 0 : (uint32_t)f.value;
        } else if (f.number == TENSOR_FLOATS) {
            status = count_packed(&wire, &f, 4, &floats);
        } else if (f.number == TENSOR_INT64S || f.number == TENSOR_INT32S) {
            status = count_packed(&wire, &f, 0, &ints);
        } else if (f.number == TENSOR_RAW) {
            status = vt_wire_expect(&wire, &f, VT_WIRE_BYTES);
            t->raw = (vt_text){f.data, f.size};
        } else if (f.number == TENSOR_NAME && name) {
            status = vt_wire_expect(&wire, &f, VT_WIRE_BYTES);
            *name = (vt_text){f.data, f.size};
        } else if (f.number == TENSOR_LOCATION && f.type == VT_WIRE_VARINT && f.value == 1) {
            status = vt_fail_at(wire.error, VULTUS_ERROR_UNSUPPORTED, f.offset,
                                "a tensor's numbers are in another file; save the model as one file");
        }
    }
    for (uint32_t i = 0; i < t->rank && !status; i++) {
        count *= t->dims[i];
        if (count > VT_MAX_ELEMENTS)
            return vt_fail_at(wire.error, VULTUS_ERROR_FORMAT, offset, "a tensor exceeds the limit of %u numbers",
                              VT_MAX_ELEMENTS);
    }
    t->count = (size_t)count;
    return status ? status : check_count(t, floats, ints, wire.error);
}

int vt_constant_floats(const vt_constant *t, float *out)
{
    vt_wire wire = t->message;
    vt_field f;
    int got;

    if (t->raw.data)
        return vt_copy_floats(out, t->raw.data, t->count, (uint64_t)(t->raw.data - wire.base), wire.error);
    while ((got = vt_wire_next(&wire, &f)) > 0) {
        const uint8_t *data = f.data;
        size_t n = f.size / 4;
        int status;

        if (f.number != TENSOR_FLOATS)
            continue;
        if (f.type == VT_WIRE_FIXED32) { /* not packed: the number is the last four bytes read */
            data = wire.at - 4;
            n = 1;
        }
        status = vt_copy_floats(out, data, n, (uint64_t)(data - wire.base), wire.error);
        if (status)
            return status;
        out += n;
    }
    return got;
}

int64_t vt_raw_int(const vt_constant *t, size_t i)
{
    const uint8_t *p = t->raw.data + i * element_bytes(t->type);
    int64_t wide;
    uint64_t bits;

    switch (t->type) {
    case VT_ONNX_INT8:
        return *p < 128 ? *p : *p - 256;
    case VT_ONNX_INT32:
        bits = vt_u32(p);
        return bits < (uint64_t)1 << 31 ? (int64_t)bits : (int64_t)bits - ((int64_t)1 << 32);
    case VT_ONNX_INT64:
        bits = vt_u32(p) | (uint64_t)vt_u32(p + 4) << 32;
        memcpy(&wide, &bits, sizeof wide);
        return wide;
    default:
        return *p;
    }
}

int vt_constant_ints(const vt_constant *t, int64_t *out)
{
    vt_wire wire = t->message;
    vt_field f;
    int got;

    if (t->computed) {
        memcpy(out, t->ints, t->count * sizeof *out);
        return VULTUS_OK;
    }
    for (size_t i = 0; t->raw.data && i < t->count; i++)
        out[i] = vt_raw_int(t, i);
    if (t->raw.data)
        return VULTUS_OK;
    while ((got = vt_wire_next(&wire, &f)) > 0) {
        vt_wire packed = vt_wire_of(&wire, f.data, f.size);

        if (f.number != TENSOR_INT64S && f.number != TENSOR_INT32S)
            continue;
        if (f.type == VT_WIRE_VARINT)
            memcpy(out++, &f.value, sizeof f.value);
        while (f.type == VT_WIRE_BYTES && packed.at != packed.end) {
            uint64_t bits;
            const int status = vt_wire_varint(&packed, &bits);

            if (status)
                return status;
            memcpy(out++, &bits, sizeof bits);
        }
    }
    return got;
}

static uint64_t hash(vt_text name)
{
    uint64_t h = 1469598103934665603u; /* FNV-1a */

    for (size_t i = 0; i < name.size; i++)
        h = (h ^ name.data[i]) * 1099511628211u;
    return h;
}

static vt_value *slot(const vt_values *values, vt_text name)
{
    size_t i = (size_t)hash(name) & (values->capacity - 1);

    while (values->slots[i].name.data &&
           (values->slots[i].name.size != name.size || memcmp(values->slots[i].name.data, name.data, name.size)))
        i = (i + 1) & (values->capacity - 1);
    return &values->slots[i];
}

static int grow(vt_values *values, vultus_error *error)
{
    vt_values bigger = {NULL, values->capacity ? values->capacity * 2 : 256, values->count};

    bigger.slots = calloc(bigger.capacity, sizeof *bigger.slots);
    if (!bigger.slots)
        return vt_fail_memory(error, bigger.capacity * sizeof *bigger.slots);
    for (size_t i = 0; i < values->capacity; i++)
        if (values->slots[i].name.data)
            *slot(&bigger, values->slots[i].name) = values->slots[i];
    free(values->slots);
    *values = bigger;
    return VULTUS_OK;
}

int vt_values_add(vt_values *values, vt_text name, const vt_value *value, uint64_t offset, vultus_error *error)
{
    vt_value *at;

    if (name.size == 0)
        return vt_fail_at(error, VULTUS_ERROR_FORMAT, offset, "a value without a name");
    if (values->count >= VT_ONNX_MAX_NODES)
        return vt_fail_at(error, VULTUS_ERROR_FORMAT, offset, "more than %d values", VT_ONNX_MAX_NODES);
    if (values->count * 2 >= values->capacity) {
        const int status = grow(values, error);

        if (status)
            return status;
    }
    at = slot(values, name);
    if (at->name.data)
        return vt_fail_at(error, VULTUS_ERROR_FORMAT, offset, "the value '%.*s' is defined twice", VT_TEXT_ARGS(name));
    *at = *value;
    at->name = name;
    values->count++;
    return VULTUS_OK;
}

const vt_value *vt_values_find(const vt_values *values, vt_text name)
{
    const vt_value *at = values->capacity ? slot(values, name) : NULL;

    return at && at->name.data ? at : NULL;
}

static int find_input(const vt_onnx_node *node, uint32_t i, const vt_value **value)
{
    const vt_text none = {NULL, 0}, name = i < node->n_inputs && i < VT_ONNX_MAX_INPUTS ? node->inputs[i] : none;

    *value = NULL;
    if (name.size == 0)
        return VULTUS_OK;
    *value = vt_values_find(node->values, name);
    if (!*value)
        return vt_fail_at(node->error, VULTUS_ERROR_FORMAT, node->offset, "%.*s reads '%.*s', which nothing before it computes",
                          VT_TEXT_ARGS(node->type), VT_TEXT_ARGS(name));
    return VULTUS_OK;
}

int vt_input_computed(const vt_onnx_node *node, uint32_t i, const vt_value **out)
{
    const vt_value *value;
    const int status = find_input(node, i, &value);

    if (status)
        return status;
    if (!value)
        return vt_fail_at(node->error, VULTUS_ERROR_FORMAT, node->offset, "%.*s lacks its input %u",
                          VT_TEXT_ARGS(node->type), i);
    if (value->node < 0)
        return vt_fail_at(node->error, VULTUS_ERROR_UNSUPPORTED, node->offset,
                          "%.*s '%.*s' reads a constant where the engine wants a computed value; fold constants first",
                          VT_TEXT_ARGS(node->type), VT_TEXT_ARGS(node->name));
    if (value->bytes)
        return vt_unsupported(node, "reads bytes without a DequantizeLinear between");
    *out = value;
    return VULTUS_OK;
}

int vt_input_node(const vt_onnx_node *node, uint32_t i, int *out)
{
    const vt_value *value = NULL;
    const int status = vt_input_computed(node, i, &value);

    if (status)
        return status;
    if (value->transposed || node->graph->nodes[value->node].shape.rows)
        return vt_unsupported(node, "reads a map that was transposed or reshaped");
    *out = value->node;
    return VULTUS_OK;
}

int vt_input_is_constant(const vt_onnx_node *node, uint32_t i)
{
    const vt_value *value;
    const int status = find_input(node, i, &value);

    return status ? status : value && value->node < 0;
}

int vt_input_type(const vt_onnx_node *node, uint32_t i, uint32_t *type)
{
    const vt_value *value;
    const int status = find_input(node, i, &value);

    *type = !status && value && value->node < 0 ? value->constant.type : 0;
    return status;
}

int vt_input_weight(const vt_onnx_node *node, uint32_t i, const vt_constant **out, bool *stepped)
{
    const vt_value *value;
    const int status = find_input(node, i, &value);

    *stepped = !status && value && value->node < 0 && value->stepped;
    if (!*stepped)
        return status ? status : vt_input_constant(node, i, VT_ONNX_FLOAT, out);
    *out = &value->constant;
    return VULTUS_OK;
}

int vt_input_constant(const vt_onnx_node *node, uint32_t i, uint32_t type, const vt_constant **out)
{
    const vt_value *value;
    const int status = find_input(node, i, &value);

    *out = NULL;
    if (status || !value)
        return status;
    if (value->node >= 0)
        return vt_fail_at(node->error, VULTUS_ERROR_UNSUPPORTED, node->offset,
                          "%.*s '%.*s' computes its input %u; the engine wants a constant there", VT_TEXT_ARGS(node->type),
                          VT_TEXT_ARGS(node->name), i);
    if (value->constant.type != type)
        return vt_fail_at(node->error, VULTUS_ERROR_UNSUPPORTED, value->constant.offset,
                          "input %u of %.*s has the data type %u; the engine wants %u there", i, VT_TEXT_ARGS(node->type),
                          value->constant.type, type);
    *out = &value->constant;
    return VULTUS_OK;
}

/* 1 if the node has the attribute: then *wire is its message. */
static int find_attribute(const vt_onnx_node *node, const char *name, vt_wire *wire)
{
    vt_wire outer = node->message;
    vt_field f, g;
    int got;

    while ((got = vt_wire_next(&outer, &f)) > 0) {
        if (f.number != NODE_ATTRIBUTE || f.type != VT_WIRE_BYTES)
            continue;
        *wire = vt_wire_of(&outer, f.data, f.size);
        for (vt_wire inner = *wire; (got = vt_wire_next(&inner, &g)) > 0;)
            if (g.number == ATTRIBUTE_NAME && g.type == VT_WIRE_BYTES && vt_text_is((vt_text){g.data, g.size}, name))
                return 1;
        if (got < 0)
            return got;
    }
    return got;
}

/* 1 and the first field of that number within the attribute, if both exist. */
static int attribute_field(const vt_onnx_node *node, const char *name, uint32_t number, uint32_t type, vt_field *f)
{
    vt_wire wire;
    int got = find_attribute(node, name, &wire);

    if (got <= 0)
        return got;
    while ((got = vt_wire_next(&wire, f)) > 0)
        if (f->number == number) {
            const int status = vt_wire_expect(&wire, f, type);

            return status ? status : 1;
        }
    return got;
}

int vt_attribute_int(const vt_onnx_node *node, const char *name, int64_t *value)
{
    vt_field f;
    const int got = attribute_field(node, name, ATTRIBUTE_I, VT_WIRE_VARINT, &f);

    if (got > 0)
        memcpy(value, &f.value, sizeof *value);
    return got < 0 ? got : VULTUS_OK;
}

int vt_attribute_float(const vt_onnx_node *node, const char *name, float *value, bool *found)
{
    vt_field f;
    const int got = attribute_field(node, name, ATTRIBUTE_F, VT_WIRE_FIXED32, &f);

    if (found)
        *found = got > 0;
    if (got > 0) {
        const uint32_t bits = (uint32_t)f.value;

        memcpy(value, &bits, sizeof *value);
    }
    return got < 0 ? got : VULTUS_OK;
}

int vt_attribute_text(const vt_onnx_node *node, const char *name, vt_text *value)
{
    vt_field f;
    const int got = attribute_field(node, name, ATTRIBUTE_S, VT_WIRE_BYTES, &f);

    if (got > 0)
        *value = (vt_text){f.data, f.size};
    return got < 0 ? got : VULTUS_OK;
}

int vt_attribute_tensor(const vt_onnx_node *node, const char *name, vt_constant *value, bool *found)
{
    vt_field f;
    const int got = attribute_field(node, name, ATTRIBUTE_T, VT_WIRE_BYTES, &f);

    *found = got > 0;
    return got > 0 ? vt_constant_read(&node->message, f.data, f.size, f.offset, value, NULL) : got;
}

int vt_attribute_ints(const vt_onnx_node *node, const char *name, uint32_t n, int64_t *values)
{
    vt_wire wire;
    uint32_t count = 0;
    vt_field f;
    int got = find_attribute(node, name, &wire);

    if (got <= 0)
        return got;
    while ((got = vt_wire_next(&wire, &f)) > 0) {
        vt_wire packed = vt_wire_of(&wire, f.data, f.size);

        if (f.number != ATTRIBUTE_INTS)
            continue;
        if (f.type == VT_WIRE_VARINT && count++ < n)
            memcpy(values++, &f.value, sizeof f.value);
        while (f.type == VT_WIRE_BYTES && packed.at != packed.end) {
            uint64_t bits;
            const int status = vt_wire_varint(&packed, &bits);

            if (status)
                return status;
            if (count++ < n)
                memcpy(values++, &bits, sizeof bits);
        }
    }
    if (got == 0 && count != n)
        return vt_fail_at(node->error, VULTUS_ERROR_FORMAT, node->offset, "the attribute %s of %.*s has %u numbers instead of %u",
                          name, VT_TEXT_ARGS(node->type), count, n);
    return got;
}
