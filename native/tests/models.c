#include "models.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "random.h"

static void put(bytes *b, const void *data, size_t size)
{
    if (b->size + size > b->capacity) {
        b->capacity = (b->size + size) * 2;
        b->data = realloc(b->data, b->capacity);
        if (!b->data)
            abort();
    }
    if (size)
        memcpy(b->data + b->size, data, size);
    b->size += size;
}

void bytes_free(bytes *b)
{
    free(b->data);
    *b = (bytes){0};
}

static void put_u32(bytes *b, uint32_t v)
{
    const uint8_t le[4] = {(uint8_t)v, (uint8_t)(v >> 8), (uint8_t)(v >> 16), (uint8_t)(v >> 24)};

    put(b, le, 4);
}

static void put_float(bytes *b, float v)
{
    uint32_t bits;

    memcpy(&bits, &v, 4);
    put_u32(b, bits);
}

static void put_tensor(bytes *b, size_t n, float low, float high)
{
    put_u32(b, (uint32_t)(4 * n));
    for (size_t i = 0; i < n; i++)
        put_float(b, low + (high - low) * (number() + 1) / 2);
}

static uint32_t put_efm3_conv(bytes *b, size_t weights, size_t channels, int prelu)
{
    put_tensor(b, weights, -0.5f, 0.5f);
    put_tensor(b, channels, 0.5f, 1.5f);
    put_tensor(b, channels, -0.1f, 0.1f);
    put_tensor(b, channels, -0.1f, 0.1f);
    put_tensor(b, channels, 0.5f, 1.5f);
    if (prelu)
        put_tensor(b, channels, 0, 0.5f);
    return prelu ? 6 : 5;
}

/* Of version 4; the weights fit the kernels of bytes, and the input is now and then floats. */
static uint32_t put_efm3_int8_conv(bytes *b, size_t weights, size_t channels, int prelu)
{
    static unsigned conv;

    put_u32(b, 8);
    put_float(b, ++conv % 4 ? 0.05f : 0);
    put_u32(b, conv % 4 ? below(256) : 0), put_u32(b, (uint32_t)weights);
    for (size_t i = 0; i < weights; i++)
        put(b, &(uint8_t){(uint8_t)(below(129) - 64)}, 1);
    put_tensor(b, channels, 0.001f, 0.01f);
    put_tensor(b, channels, -0.1f, 0.1f);
    if (prelu)
        put_tensor(b, channels, 0, 0.5f);
    return prelu ? 5 : 4;
}

static bytes write_mobilefacenet(uint32_t version, uint8_t block, uint32_t (*put_conv_of)(bytes *, size_t, size_t, int))
{
    enum { STEM = 8, FINAL = 16, DIM = 8, STAGES = 3 };
    static const uint8_t stages[STAGES][3] = {{2, 2, 2}, {1, 2, 2}, {3, 2, 2}};
    const char *json = "{\"name\": \"test\"}";
    uint8_t header[80] = {1, STAGES, 3, 2, STEM, 0, block, 0, FINAL, 0, DIM, 0, 7};
    bytes b = {0};
    size_t count_at;
    uint32_t count = 0, c_in = STEM;

    for (int i = 0; i < STAGES; i++)
        memcpy(header + 16 + 8 * i, stages[i], 3);
    put(&b, "EFM3", 4);
    put_u32(&b, version);
    put(&b, header, sizeof header);
    put_u32(&b, (uint32_t)strlen(json));
    put(&b, json, strlen(json));
    count_at = b.size;
    put_u32(&b, 0);
    count += put_conv_of(&b, STEM * 27, STEM, 1);
    count += put_conv_of(&b, STEM * 9, STEM, 1);
    for (int i = 0; i < STAGES; i++) {
        for (int j = 0; j < stages[i][1]; j++) {
            const uint32_t wide = c_in * stages[i][0], c_out = i ? block : STEM;

            count += put_conv_of(&b, (size_t)c_in * wide, wide, 1);
            count += put_conv_of(&b, (size_t)9 * wide, wide, 1);
            count += put_conv_of(&b, (size_t)wide * c_out, c_out, 0);
            c_in = c_out;
        }
    }
    count += put_conv_of(&b, (size_t)c_in * FINAL, FINAL, 1);
    count += put_conv_of(&b, FINAL * 49, FINAL, 0);
    count += put_conv_of(&b, FINAL * DIM, DIM, 0);
    for (int i = 0; i < 4; i++)
        b.data[count_at + (size_t)i] = (uint8_t)(count >> 8 * i);
    return b;
}

bytes write_efm3(void)
{
    return write_mobilefacenet(3, 6, put_efm3_conv);
}

bytes write_efm3_int8(uint8_t block)
{
    return write_mobilefacenet(4, block, put_efm3_int8_conv);
}

/* Protocol buffers. */

static void put_varint(bytes *b, uint64_t v)
{
    do {
        const uint8_t byte = (uint8_t)((v & 0x7f) | (v > 0x7f ? 0x80 : 0));

        put(b, &byte, 1);
        v >>= 7;
    } while (v);
}

static void put_field(bytes *b, uint32_t number_, const void *data, size_t size)
{
    put_varint(b, number_ << 3 | 2);
    put_varint(b, size);
    put(b, data, size);
}

static void put_text(bytes *b, uint32_t field, const char *text)
{
    put_field(b, field, text, strlen(text));
}

static void put_message(bytes *b, uint32_t field, bytes *message)
{
    put_field(b, field, message->data, message->size);
    bytes_free(message);
}

static void put_int(bytes *b, uint32_t field, uint64_t v)
{
    put_varint(b, field << 3);
    put_varint(b, v);
}

/* A tensor of random floats, or of `value` if it is not NULL, in one of the three encodings by turns. */
static bytes tensor(const char *name, const uint32_t *dims, size_t rank, float low, float high)
{
    static int turn;
    bytes t = {0}, packed = {0};
    size_t n = 1;

    for (size_t i = 0; i < rank; i++) {
        put_int(&t, 1, dims[i]);
        n *= dims[i];
    }
    put_int(&t, 2, 1);
    put_text(&t, 8, name);
    turn = (turn + 1) % 3;
    for (size_t i = 0; i < n; i++) {
        const float v = low + (high - low) * (number() + 1) / 2;

        if (turn == 2) {
            put_varint(&t, 4 << 3 | 5);
            put_float(&t, v);
        } else {
            put_float(&packed, v);
        }
    }
    if (turn != 2)
        put_field(&t, turn ? 9 : 4, packed.data, packed.size);
    bytes_free(&packed);
    return t;
}

static void put_constant(bytes *graph, const char *name, const uint32_t *dims, size_t rank, float low, float high)
{
    bytes t = tensor(name, dims, rank, low, high);

    put_message(graph, 5, &t);
}

static bytes attribute(const char *name)
{
    bytes a = {0};

    put_text(&a, 1, name);
    return a;
}

static bytes node(const char *type, const char *output)
{
    bytes n = {0};

    put_text(&n, 2, output);
    put_text(&n, 3, output);
    put_text(&n, 4, type);
    return n;
}

static void put_inputs(bytes *n, const char *a, const char *b, const char *c)
{
    const char *names[] = {a, b, c};

    for (int i = 0; i < 3; i++)
        if (names[i])
            put_text(n, 1, names[i]);
}

static void put_node(bytes *graph, const char *type, const char *output, const char *a, const char *b, const char *c)
{
    bytes n = node(type, output);

    put_inputs(&n, a, b, c);
    put_message(graph, 1, &n);
}

static void put_ints(bytes *n, const char *name, size_t count, const uint64_t *values)
{
    bytes a = attribute(name);

    for (size_t i = 0; i < count; i++)
        put_int(&a, 8, values[i]);
    put_message(n, 5, &a);
}

static void put_conv(bytes *graph, const char *output, const char *input, const char *weight, const char *bias,
                     uint32_t stride, uint32_t pad, uint32_t groups)
{
    bytes n = node("Conv", output), group = attribute("group");

    put_inputs(&n, input, weight, bias);
    put_int(&group, 3, groups);
    put_message(&n, 5, &group);
    put_ints(&n, "strides", 2, (const uint64_t[]){stride, stride});
    put_ints(&n, "pads", 4, (const uint64_t[]){pad, pad, pad, pad});
    put_message(graph, 1, &n);
}

static void put_batch_norm(bytes *graph, const char *output, const char *input, uint32_t channels)
{
    static const char *const parts[] = {"scale", "bias", "mean", "var"};
    bytes n = node("BatchNormalization", output);

    put_inputs(&n, input, NULL, NULL);
    for (int i = 0; i < 4; i++) {
        char name[40];

        snprintf(name, sizeof name, "%s_%s", output, parts[i]);
        put_text(&n, 1, name);
        put_constant(graph, name, &channels, 1, i == 1 || i == 2 ? -0.1f : 0.5f, i == 1 || i == 2 ? 0.1f : 1.5f);
    }
    put_message(graph, 1, &n);
}

static void put_value_info(bytes *graph, uint32_t field, const char *name, const uint32_t *dims, size_t rank)
{
    bytes shape = {0}, of = {0}, type = {0}, info = {0};

    for (size_t i = 0; i < rank; i++) {
        bytes dim = {0};

        if (dims[i])
            put_int(&dim, 1, dims[i]);
        else
            put_text(&dim, 2, "any");
        put_message(&shape, 1, &dim);
    }
    put_int(&of, 1, 1);
    put_message(&of, 2, &shape);
    put_message(&type, 1, &of);
    put_text(&info, 1, name);
    put_message(&info, 2, &type);
    put_message(graph, field, &info);
}

static void put_metadata(bytes *model, const char *key, const char *value)
{
    bytes entry = {0};

    put_text(&entry, 1, key);
    put_text(&entry, 2, value);
    put_message(model, 14, &entry);
}

static void put_reshape_target(bytes *graph, const char *name, const int64_t *target, size_t rank)
{
    bytes t = {0}, value = attribute("value"), n = node("Constant", name);

    put_int(&t, 1, rank);
    put_int(&t, 2, 7);
    for (size_t i = 0; i < rank; i++)
        put_int(&t, 7, (uint64_t)target[i]);
    put_message(&value, 5, &t);
    put_message(&n, 5, &value);
    put_message(graph, 1, &n);
}

bytes write_onnx(void)
{
    bytes g = {0}, model = {0}, opset = {0}, gemm = node("Gemm", "fc"), trans = attribute("transB");

    put_value_info(&g, 11, "data", (const uint32_t[]){1, 3, 12, 12}, 4);
    put_constant(&g, "k1", (const uint32_t[]){1}, 1, 0.4f, 0.6f);
    put_constant(&g, "k3", (const uint32_t[]){3, 1, 1}, 3, 1, 2);
    put_node(&g, "Sub", "sub", "data", "k1", NULL);
    put_node(&g, "Mul", "mul", "sub", "k3", NULL);
    put_node(&g, "Div", "div", "mul", "k3", NULL);
    put_constant(&g, "w1", (const uint32_t[]){10, 3, 3, 3}, 4, -1, 1);
    put_conv(&g, "conv1", "div", "w1", NULL, 1, 1, 1);
    put_batch_norm(&g, "bn1", "conv1", 10);
    put_constant(&g, "slope", (const uint32_t[]){10, 1, 1}, 3, 0, 0.5f);
    put_node(&g, "PRelu", "act1", "bn1", "slope", NULL);
    put_constant(&g, "w2", (const uint32_t[]){10, 1, 3, 3}, 4, -1, 1);
    put_constant(&g, "b2", (const uint32_t[]){10}, 1, -1, 1);
    put_conv(&g, "conv2", "act1", "w2", "b2", 2, 1, 10);
    put_node(&g, "Relu", "act2", "conv2", NULL, NULL);
    put_constant(&g, "w3", (const uint32_t[]){10, 10, 1, 1}, 4, -1, 1);
    put_conv(&g, "conv3", "act2", "w3", "b2", 1, 0, 1);
    put_node(&g, "Add", "sum", "conv3", "act2", NULL);
    put_node(&g, "LeakyRelu", "act3", "sum", NULL, NULL);
    put_constant(&g, "w4", (const uint32_t[]){8, 5, 3, 3}, 4, -1, 1);
    put_conv(&g, "conv4", "act3", "w4", NULL, 1, 1, 2);
    put_node(&g, "Clip", "act4", "conv4", "", "k1");
    put_constant(&g, "w5", (const uint32_t[]){8, 8, 3, 3}, 4, -1, 1);
    put_conv(&g, "conv5", "act4", "w5", NULL, 2, 1, 1);
    put_batch_norm(&g, "bn5", "act4", 8);
    put_conv(&g, "conv6", "bn5", "w5", NULL, 2, 1, 1);
    put_node(&g, "Add", "sum6", "conv5", "conv6", NULL);
    put_batch_norm(&g, "bn6", "sum6", 8);
    put_node(&g, "Dropout", "drop", "bn6", NULL, NULL);
    put_node(&g, "Identity", "same", "drop", NULL, NULL);
    put_node(&g, "Flatten", "flat", "same", NULL, NULL);
    put_constant(&g, "wf", (const uint32_t[]){6, 72}, 2, -1, 1);
    put_inputs(&gemm, "flat", "wf", NULL);
    put_int(&trans, 3, 1);
    put_message(&gemm, 5, &trans);
    put_message(&g, 1, &gemm);
    put_batch_norm(&g, "bnf", "fc", 6);
    put_constant(&g, "wm", (const uint32_t[]){6, 6}, 2, -1, 1);
    put_node(&g, "MatMul", "mm", "bnf", "wm", NULL);
    put_reshape_target(&g, "target", (const int64_t[]){-1, 6}, 2);
    put_node(&g, "Reshape", "out", "mm", "target", NULL);
    put_value_info(&g, 12, "out", (const uint32_t[]){1, 6}, 2);

    put_int(&model, 1, 8);
    put_int(&opset, 2, 17);
    put_message(&model, 8, &opset);
    put_message(&model, 7, &g);
    put_metadata(&model, "vultus.mean", "127.5, 127.5 ,127.5");
    put_metadata(&model, "vultus.std", "128");
    put_metadata(&model, "vultus.colour", "bgr");
    return model;
}

/* Twice as large. */
static void put_resize(bytes *graph, const char *output, const char *input)
{
    bytes t = {0}, scales = {0};
    bytes n = node("Resize", output), mode = attribute("coordinate_transformation_mode"), nearest = attribute("nearest_mode");

    put_int(&t, 1, 4);
    put_int(&t, 2, 1);
    put_text(&t, 8, "scales");
    for (int i = 0; i < 4; i++)
        put_float(&scales, i < 2 ? 1 : 2);
    put_field(&t, 9, scales.data, scales.size);
    bytes_free(&scales);
    put_message(graph, 5, &t);
    put_inputs(&n, input, "", "scales");
    put_text(&mode, 4, "asymmetric");
    put_message(&n, 5, &mode);
    put_text(&nearest, 4, "floor");
    put_message(&n, 5, &nearest);
    put_message(graph, 1, &n);
}

static void put_rows(bytes *graph, const char *output, const char *input, const char *target)
{
    char name[40];
    bytes n;

    snprintf(name, sizeof name, "%s_transposed", output);
    n = node("Transpose", name);
    put_inputs(&n, input, NULL, NULL);
    put_ints(&n, "perm", 4, (const uint64_t[]){0, 2, 3, 1});
    put_message(graph, 1, &n);
    put_node(graph, "Reshape", output, name, target, NULL);
}

static void put_axis(bytes *n, int64_t axis)
{
    bytes a = attribute("axis");

    put_int(&a, 3, (uint64_t)axis);
    put_message(n, 5, &a);
}

/* What detectors compute of their rows, with a target of Reshape that comes from a size. */
static void put_decoding(bytes *g)
{
    static const char *const lists[] = {"starts", "ends", "axes"};
    static const uint64_t bounds[] = {1, 3, 2};
    bytes n = node("Gather", "batch");

    put_node(g, "Shape", "sizes", "conv5", NULL, NULL);
    put_reshape_target(g, "zero", (const int64_t[]){0}, 1);
    put_inputs(&n, "sizes", "zero", NULL);
    put_message(g, 1, &n);
    put_reshape_target(g, "rest", (const int64_t[]){-1, 3}, 2);
    n = node("Concat", "target");
    put_inputs(&n, "batch", "rest", NULL);
    put_axis(&n, 0);
    put_message(g, 1, &n);
    put_rows(g, "more", "conv5", "target");
    n = node("Concat", "all");
    put_inputs(&n, "box", "more", "box");
    put_axis(&n, 1);
    put_message(g, 1, &n);
    n = node("Softmax", "chances");
    put_inputs(&n, "all", NULL, NULL);
    put_axis(&n, -1);
    put_message(g, 1, &n);
    n = node("Slice", "pair");
    put_inputs(&n, "all", NULL, NULL);
    for (int i = 0; i < 3; i++)
        put_ints(&n, lists[i], 1, (const uint64_t[]){bounds[i]});
    put_message(g, 1, &n);
    put_constant(g, "k", (const uint32_t[]){1}, 1, 0.4f, 0.6f);
    put_node(g, "Mul", "half", "pair", "k", NULL);
    put_node(g, "Exp", "large_pair", "half", NULL, NULL);
    put_node(g, "Sub", "corners", "large_pair", "pair", NULL);
    n = node("Concat", "together");
    put_inputs(&n, "conv5", "conv3", NULL);
    put_axis(&n, 1);
    put_message(g, 1, &n);
}

bytes write_detector(void)
{
    bytes g = {0}, model = {0}, opset = {0}, pool = node("MaxPool", "pooled");

    put_value_info(&g, 11, "input", (const uint32_t[]){1, 3, 0, 0}, 4);
    put_constant(&g, "w1", (const uint32_t[]){10, 3, 3, 3}, 4, -0.2f, 0.2f);
    put_conv(&g, "conv1", "input", "w1", NULL, 2, 1, 1);
    put_node(&g, "Relu", "act1", "conv1", NULL, NULL);
    put_constant(&g, "w2", (const uint32_t[]){10, 1, 3, 3}, 4, -1, 1);
    put_conv(&g, "conv2", "act1", "w2", NULL, 1, 1, 10);
    put_inputs(&pool, "conv2", NULL, NULL);
    put_ints(&pool, "kernel_shape", 2, (const uint64_t[]){2, 2});
    put_ints(&pool, "strides", 2, (const uint64_t[]){2, 2});
    put_message(&g, 1, &pool);
    put_constant(&g, "w3", (const uint32_t[]){10, 10, 1, 1}, 4, -0.5f, 0.5f);
    put_conv(&g, "conv3", "pooled", "w3", NULL, 1, 0, 1);
    put_resize(&g, "large", "conv3");
    put_node(&g, "Add", "sum", "conv1", "large", NULL);
    put_constant(&g, "w4", (const uint32_t[]){1, 10, 1, 1}, 4, -0.5f, 0.5f);
    put_conv(&g, "conv4", "sum", "w4", NULL, 1, 0, 1);
    put_reshape_target(&g, "by1", (const int64_t[]){0, -1, 1}, 3);
    put_rows(&g, "rows1", "conv4", "by1");
    put_node(&g, "Sigmoid", "score", "rows1", NULL, NULL);
    put_constant(&g, "w5", (const uint32_t[]){6, 10, 3, 3}, 4, -0.5f, 0.5f);
    put_conv(&g, "conv5", "pooled", "w5", NULL, 1, 1, 1);
    put_reshape_target(&g, "by3", (const int64_t[]){1, -1, 3}, 3);
    put_rows(&g, "box", "conv5", "by3");
    put_node(&g, "Sigmoid", "map", "conv3", NULL, NULL);
    put_decoding(&g);
    put_value_info(&g, 12, "score", (const uint32_t[]){1, 0, 1}, 3);
    put_value_info(&g, 12, "box", (const uint32_t[]){1, 0, 3}, 3);
    put_value_info(&g, 12, "map", (const uint32_t[]){1, 10, 0, 0}, 4);
    put_value_info(&g, 12, "chances", (const uint32_t[]){1, 0, 3}, 3);
    put_value_info(&g, 12, "corners", (const uint32_t[]){1, 0, 2}, 3);
    put_value_info(&g, 12, "together", (const uint32_t[]){1, 16, 0, 0}, 4);

    put_int(&model, 1, 8);
    put_int(&opset, 2, 17);
    put_message(&model, 8, &opset);
    put_message(&model, 7, &g);
    put_metadata(&model, "vultus.mean", "127.5");
    put_metadata(&model, "vultus.std", "128");
    return model;
}
