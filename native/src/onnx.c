/* ONNX: the model around the operators. Reads the file's protobuf messages in place (onnx_wire.c) and hands its nodes,
 * in their order, to onnx_ops.c. What is read: opset imports, metadata_props, and of the graph its nodes, initialisers,
 * inputs and outputs. */
#include <ctype.h>
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "load.h"
#include "onnx_model.h"

enum { MODEL_GRAPH = 7, MODEL_METADATA = 14 };
enum { GRAPH_NODE = 1, GRAPH_INITIALIZER = 5, GRAPH_INPUT = 11, GRAPH_OUTPUT = 12 };
enum { NODE_INPUT = 1, NODE_OUTPUT = 2, NODE_NAME = 3, NODE_TYPE = 4, NODE_DOMAIN = 7 };

typedef struct model {
    vt_wire graph;
    bool has_graph;
    vt_graph *out;
    vt_values values;
    vultus_error *error;
} model;

/* A decimal number at *text, whatever the locale says; NaN if there is none. */
static double parse_number(vt_text *text)
{
    double value = 0, scale = 1;
    bool digits = false, negative = false;

    while (text->size && (isspace(*text->data) || *text->data == ',')) {
        text->data++;
        text->size--;
    }
    if (text->size && (*text->data == '-' || *text->data == '+')) {
        negative = *text->data == '-';
        text->data++;
        text->size--;
    }
    for (bool point = false; text->size && (isdigit(*text->data) || (!point && *text->data == '.')); text->size--) {
        if (*text->data == '.') {
            point = true;
        } else {
            value = value * 10 + (*text->data - '0');
            scale *= point ? 10 : 1;
            digits = true;
        }
        text->data++;
    }
    return digits ? (negative ? -value : value) / scale : (double)NAN;
}

/* One number for all channels, or three. */
static int parse_three(vt_text text, const char *key, bool positive, uint64_t offset, double *out, vultus_error *error)
{
    int n = 0;

    while (n < 3) {
        out[n] = parse_number(&text);
        if (!isfinite(out[n]) || (positive && !(out[n] > 0)))
            return vt_fail_at(error, VULTUS_ERROR_FORMAT, offset, "%s is not one or three %snumbers", key,
                              positive ? "positive " : "");
        n++;
        while (text.size && isspace(*text.data)) {
            text.data++;
            text.size--;
        }
        if (!text.size)
            break;
    }
    if (text.size || n == 2)
        return vt_fail_at(error, VULTUS_ERROR_FORMAT, offset, "%s is not one or three %snumbers", key,
                          positive ? "positive " : "");
    if (n == 1)
        out[1] = out[2] = out[0];
    return VULTUS_OK;
}

static int read_metadata(const vt_wire *parent, const vt_field *entry, vt_graph *graph)
{
    vt_wire wire = vt_wire_of(parent, entry->data, entry->size);
    vt_text key = {NULL, 0}, value = {NULL, 0};
    vt_field f;
    int got;

    while ((got = vt_wire_next(&wire, &f)) > 0) {
        if (f.type == VT_WIRE_BYTES && f.number == 1)
            key = (vt_text){f.data, f.size};
        else if (f.type == VT_WIRE_BYTES && f.number == 2)
            value = (vt_text){f.data, f.size};
    }
    if (got < 0)
        return got;
    if (vt_text_is(key, "vultus.mean"))
        return parse_three(value, "vultus.mean", false, entry->offset, graph->mean, wire.error);
    if (vt_text_is(key, "vultus.std"))
        return parse_three(value, "vultus.std", true, entry->offset, graph->std, wire.error);
    if (!vt_text_is(key, "vultus.colour"))
        return VULTUS_OK;
    graph->bgr = vt_text_is(value, "bgr");
    if (!graph->bgr && !vt_text_is(value, "rgb"))
        return vt_fail_at(wire.error, VULTUS_ERROR_FORMAT, entry->offset, "vultus.colour is neither rgb nor bgr");
    return VULTUS_OK;
}

/* The submessage `number` of a message, if it is there: 1, 0 or a negative status. */
static int submessage(vt_wire wire, uint32_t number, vt_wire *out)
{
    vt_field f;
    int got;

    while ((got = vt_wire_next(&wire, &f)) > 0)
        if (f.number == number && f.type == VT_WIRE_BYTES) {
            *out = vt_wire_of(&wire, f.data, f.size);
            return 1;
        }
    return got;
}

/* ValueInfoProto.type.tensor_type: element type and shape. A dimension without a number is 0. */
static int read_value_type(vt_wire info, uint64_t *type, uint32_t *rank, uint64_t *dims)
{
    vt_wire message, shape, dim;
    vt_field f;
    int got;

    *type = *rank = 0;
    if ((got = submessage(info, 2, &message)) <= 0 || (got = submessage(message, 1, &message)) <= 0)
        return got;
    shape = message;
    while ((got = vt_wire_next(&message, &f)) > 0)
        if (f.number == 1 && f.type == VT_WIRE_VARINT)
            *type = f.value;
    if (got < 0 || (got = submessage(shape, 2, &shape)) <= 0)
        return got;
    while ((got = vt_wire_next(&shape, &f)) > 0) {
        if (f.number != 1 || f.type != VT_WIRE_BYTES)
            continue;
        if (*rank == VT_ONNX_MAX_RANK)
            return vt_fail_at(info.error, VULTUS_ERROR_FORMAT, f.offset, "an input of more than %d dimensions",
                              VT_ONNX_MAX_RANK);
        dims[*rank] = 0;
        dim = vt_wire_of(&shape, f.data, f.size);
        while ((got = vt_wire_next(&dim, &f)) > 0)
            if (f.number == 1 && f.type == VT_WIRE_VARINT)
                dims[*rank] = f.value;
        if (got < 0)
            return got;
        ++*rank;
    }
    return got;
}

static int value_name(vt_wire info, vt_text *name)
{
    vt_wire text = {NULL, NULL, NULL, NULL};
    const int got = submessage(info, 1, &text);

    *name = (vt_text){text.at, got > 0 ? (size_t)(text.end - text.at) : 0};
    return got < 0 ? got : VULTUS_OK;
}

static int read_initializers(model *m)
{
    vt_wire wire = m->graph;
    vt_field f;
    int got;

    while ((got = vt_wire_next(&wire, &f)) > 0) {
        vt_value value = {.node = -1};
        vt_text name = {NULL, 0};
        int status;

        if (f.number != GRAPH_INITIALIZER)
            continue;
        if ((status = vt_wire_expect(&wire, &f, VT_WIRE_BYTES)) ||
            (status = vt_constant_read(&wire, f.data, f.size, f.offset, &value.constant, &name)) ||
            (status = vt_values_add(&m->values, name, &value, f.offset, m->error)))
            return status;
    }
    return got;
}

/* The size that is wanted where the file leaves it open; else the file's, which must be the wanted one if there is one. */
static int network_size(model *m, const vt_field *f, vt_text name, uint64_t *dims)
{
    vt_graph *graph = m->out;

    graph->sized = dims[2] && dims[3];
    if (!dims[2] != !dims[3])
        return vt_fail_at(m->error, VULTUS_ERROR_UNSUPPORTED, f->offset,
                          "the input '%.*s' has one fixed side and an open one", VT_TEXT_ARGS(name));
    if (graph->sized && graph->height && (graph->height != dims[2] || graph->width != dims[3]))
        return vt_fail(m->error, VULTUS_ERROR_ARGUMENT,
                       "the network's input is %" PRIu64 " x %" PRIu64 " pixels and cannot be %u x %u", dims[2], dims[3],
                       graph->height, graph->width);
    if (!graph->sized) {
        dims[2] = graph->height ? graph->height : VT_PROBE_SIDE;
        dims[3] = graph->width ? graph->width : VT_PROBE_SIDE;
    }
    return VULTUS_OK;
}

static int open_input(model *m, const vt_field *f, vt_text name, vt_wire info)
{
    uint64_t type, dims[VT_ONNX_MAX_RANK] = {0};
    uint32_t rank;
    int status = read_value_type(info, &type, &rank, dims);

    if (status < 0)
        return status;
    if (m->out->count)
        return vt_fail_at(m->error, VULTUS_ERROR_UNSUPPORTED, f->offset, "a second input, '%.*s'; an embedder has one",
                          VT_TEXT_ARGS(name));
    if (type != VT_ONNX_FLOAT || rank != 4 || dims[1] != 3)
        return vt_fail_at(m->error, VULTUS_ERROR_UNSUPPORTED, f->offset, "the input '%.*s' is not n x 3 x height x width FLOAT",
                          VT_TEXT_ARGS(name));
    if (dims[0] > 1)
        return vt_fail_at(m->error, VULTUS_ERROR_UNSUPPORTED, f->offset,
                          "the input '%.*s' has a fixed batch that is not 1", VT_TEXT_ARGS(name));
    if (m->out->network) {
        status = network_size(m, f, name, dims);
        if (status)
            return status;
    }
    if (dims[2] == 0 || dims[3] == 0 || dims[2] > VT_MAX_SIDE || dims[3] > VT_MAX_SIDE)
        return vt_fail_at(m->error, VULTUS_ERROR_UNSUPPORTED, f->offset,
                          "the input '%.*s' has no fixed height and width within 1..%d", VT_TEXT_ARGS(name), VT_MAX_SIDE);
    status = vt_graph_init(m->out, "ONNX", (uint32_t)dims[2], (uint32_t)dims[3], f->offset, m->error);
    return status ? status : vt_values_add(&m->values, name, &(vt_value){.node = 0}, f->offset, m->error);
}

static int read_inputs(model *m)
{
    vt_wire wire = m->graph;
    vt_field f;
    int got;

    while ((got = vt_wire_next(&wire, &f)) > 0) {
        const vt_wire info = vt_wire_of(&wire, f.data, f.size);
        const vt_value *known;
        vt_text name;
        int status;

        if (f.number != GRAPH_INPUT)
            continue;
        if ((status = vt_wire_expect(&wire, &f, VT_WIRE_BYTES)) || (status = value_name(info, &name)))
            return status;
        known = vt_values_find(&m->values, name); /* old files list their initialisers as inputs too */
        if (known && known->node < 0)
            continue;
        if ((status = open_input(m, &f, name, info)))
            return status;
    }
    if (got == 0 && !m->out->count)
        return vt_fail_at(m->error, VULTUS_ERROR_FORMAT, (uint64_t)(m->graph.at - m->graph.base), "a graph without an input");
    return got;
}

static int read_node(model *m, const vt_wire *parent, const vt_field *field)
{
    vt_onnx_node node = {.graph = m->out, .values = &m->values, .error = m->error, .offset = field->offset};
    vt_wire wire = vt_wire_of(parent, field->data, field->size);
    vt_field f;
    int got;

    node.message = wire;
    while ((got = vt_wire_next(&wire, &f)) > 0) {
        const vt_text text = {f.data, f.size};

        if (f.number != NODE_INPUT && f.number != NODE_OUTPUT && f.number != NODE_NAME && f.number != NODE_TYPE &&
            f.number != NODE_DOMAIN)
            continue;
        if ((got = vt_wire_expect(&wire, &f, VT_WIRE_BYTES)) < 0)
            return got;
        if (f.number == NODE_INPUT && node.n_inputs++ < VT_ONNX_MAX_INPUTS)
            node.inputs[node.n_inputs - 1] = text;
        else if (f.number == NODE_OUTPUT && !node.output.data)
            node.output = text;
        else if (f.number == NODE_NAME)
            node.name = text;
        else if (f.number == NODE_TYPE)
            node.type = text;
        else if (f.number == NODE_DOMAIN && !vt_text_is(text, "ai.onnx"))
            node.domain = text;
    }
    return got < 0 ? got : vt_onnx_translate(&node);
}

static int read_nodes(model *m)
{
    vt_wire wire = m->graph;
    vt_field f;
    int got, count = 0;

    while ((got = vt_wire_next(&wire, &f)) > 0) {
        int status;

        if (f.number != GRAPH_NODE)
            continue;
        if (++count > VT_ONNX_MAX_NODES)
            return vt_fail_at(m->error, VULTUS_ERROR_FORMAT, f.offset, "more than %d nodes", VT_ONNX_MAX_NODES);
        if ((status = vt_wire_expect(&wire, &f, VT_WIRE_BYTES)) || (status = read_node(m, &wire, &f)))
            return status;
    }
    return got;
}

static int read_outputs(model *m)
{
    vt_wire wire = m->graph;
    int got, count = 0;
    vt_field f;

    while ((got = vt_wire_next(&wire, &f)) > 0) {
        const vt_value *value;
        vt_text name;
        int status;

        if (f.number != GRAPH_OUTPUT)
            continue;
        if ((status = vt_wire_expect(&wire, &f, VT_WIRE_BYTES)) ||
            (status = value_name(vt_wire_of(&wire, f.data, f.size), &name)))
            return status;
        if (++count > 1 && !m->out->network)
            return vt_fail_at(m->error, VULTUS_ERROR_UNSUPPORTED, f.offset, "a second output, '%.*s'; an embedder has one",
                              VT_TEXT_ARGS(name));
        value = vt_values_find(&m->values, name);
        if (value && value->transposed)
            return vt_fail_at(m->error, VULTUS_ERROR_UNSUPPORTED, f.offset,
                              "the output '%.*s' is a transposed map; the engine wants it reshaped to rows",
                              VT_TEXT_ARGS(name));
        if (value && value->bytes)
            return vt_fail_at(m->error, VULTUS_ERROR_UNSUPPORTED, f.offset, "the output '%.*s' is bytes", VT_TEXT_ARGS(name));
        if (!value || value->node <= 0)
            return vt_fail_at(m->error, VULTUS_ERROR_FORMAT, f.offset, "the output '%.*s' is not computed by the graph",
                              VT_TEXT_ARGS(name));
        status = vt_graph_output(m->out, name.data, name.size, value->node, f.offset, m->error);
        if (status)
            return status;
    }
    if (got == 0 && !count)
        return vt_fail_at(m->error, VULTUS_ERROR_FORMAT, (uint64_t)(m->graph.at - m->graph.base), "a graph without an output");
    return got;
}

static int read_model(model *m, vt_wire wire)
{
    vt_field f;
    int got;

    while ((got = vt_wire_next(&wire, &f)) > 0) {
        int status = VULTUS_OK;

        if (f.number == MODEL_METADATA && !(status = vt_wire_expect(&wire, &f, VT_WIRE_BYTES)))
            status = read_metadata(&wire, &f, m->out);
        if (f.number == MODEL_GRAPH && !(status = vt_wire_expect(&wire, &f, VT_WIRE_BYTES))) {
            m->graph = vt_wire_of(&wire, f.data, f.size);
            m->has_graph = true;
        }
        if (status)
            return status;
    }
    if (got == 0 && !m->has_graph)
        return vt_fail_at(m->error, VULTUS_ERROR_FORMAT, 0, "a model without a graph");
    return got;
}

int vt_load_onnx(const vt_file *file, vt_graph *graph, vultus_error *error)
{
    model m = {.out = graph, .error = error};
    int status;

    for (int c = 0; c < 3; c++)
        graph->std[c] = 1;
    status = read_model(&m, (vt_wire){file->data, file->data, file->data + file->size, error});
    if (!status)
        status = read_initializers(&m);
    if (!status)
        status = read_inputs(&m);
    if (!status)
        status = read_nodes(&m);
    if (!status)
        status = read_outputs(&m);
    free(m.values.slots);
    return status;
}
