/* The ONNX operators that the engine computes: one function each, one table, in alphabetical order.
 *
 * An operator checks what its file says, appends to the graph, and names the result. To add one: write it, add its
 * line to the table, and a graph with it to tests/native/test_onnx.py.
 */
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "load.h"
#include "onnx_model.h"

int vt_bad(const vt_onnx_node *n, const char *what)
{
    return vt_fail_at(n->error, VULTUS_ERROR_FORMAT, n->offset, "%.*s '%.*s' %s", VT_TEXT_ARGS(n->type),
                      VT_TEXT_ARGS(n->name), what);
}

int vt_unsupported(const vt_onnx_node *n, const char *what)
{
    return vt_fail_at(n->error, VULTUS_ERROR_UNSUPPORTED, n->offset, "%.*s '%.*s' %s, which the engine does not compute",
                      VT_TEXT_ARGS(n->type), VT_TEXT_ARGS(n->name), what);
}

int vt_name_output(const vt_onnx_node *n, int node)
{
    return vt_values_add(n->values, n->output, &(vt_value){.node = node}, n->offset, n->error);
}

int vt_take_floats(const vt_onnx_node *n, const vt_constant *constant, size_t count, float **out)
{
    if (!constant)
        return vt_bad(n, "lacks an input");
    if (constant->count != count)
        return vt_fail_at(n->error, VULTUS_ERROR_FORMAT, constant->offset,
                          "a constant of %.*s has %zu numbers instead of %zu", VT_TEXT_ARGS(n->type), constant->count,
                          count);
    *out = malloc(count * sizeof **out);
    if (!*out)
        return vt_fail_memory(n->error, count * sizeof **out);
    return vt_constant_floats(constant, *out);
}

int vt_channel_constant(const vt_onnx_node *n, const vt_constant *k, int node, bool allow_bare, float **out)
{
    const vt_shape s = n->graph->nodes[node].shape;
    const uint32_t spatial = s.flat ? 0 : 2;
    bool fits = k->count == 1;

    if (!fits && k->count == s.c) {
        /* Broadcasting aligns the last dimensions: [c, 1, 1] or [1, c, 1, 1] for a map, [c] or [1, c] for a vector. */
        fits = k->rank > spatial && k->dims[k->rank - 1 - spatial] == s.c;
        /* MXNet wrote PReLU slopes of a map as [c]. */
        fits = fits || (allow_bare && k->rank == 1);
    }
    return fits ? vt_take_floats(n, k, k->count, out)
                : vt_unsupported(n, "has a constant that is neither one number nor one for each channel");
}

int vt_onnx_window(const vt_onnx_node *n, int64_t kernel[2], vt_geometry *g)
{
    int64_t strides[2] = {1, 1}, dilations[2] = {1, 1}, pads[4] = {0, 0, 0, 0};
    vt_text auto_pad = {NULL, 0};
    uint32_t v[10];
    int status;

    if ((status = vt_attribute_ints(n, "kernel_shape", 2, kernel)) ||
        (status = vt_attribute_ints(n, "strides", 2, strides)) || (status = vt_attribute_ints(n, "pads", 4, pads)) ||
        (status = vt_attribute_ints(n, "dilations", 2, dilations)) ||
        (status = vt_attribute_text(n, "auto_pad", &auto_pad)))
        return status;
    if (auto_pad.size && !vt_text_is(auto_pad, "NOTSET") && !vt_text_is(auto_pad, "VALID"))
        return vt_unsupported(n, "has auto_pad SAME");
    const int64_t wide[10] = {kernel[0],    kernel[1], strides[0], strides[1], dilations[0],
                              dilations[1], pads[0],   pads[1],    pads[2],    pads[3]};
    for (int i = 0; i < 10; i++) {
        if (wide[i] < 0 || wide[i] > VT_MAX_KERNEL)
            return vt_bad(n, "has a kernel, stride, dilation or padding outside 0..64");
        v[i] = (uint32_t)wide[i];
    }
    *g = (vt_geometry){v[0], v[1], v[2], v[3], v[4], v[5], v[6], v[7], v[8], v[9], 1};
    return VULTUS_OK;
}

static int op_conv(vt_onnx_node *n)
{
    const vt_constant *weight, *bias;
    int64_t group = 1, kernel[2];
    int in, index, status;
    float *floats = NULL;
    bool stepped, bias_stepped;
    vt_geometry g;
    vt_node *node;

    if ((status = vt_input_node(n, 0, &in)) || (status = vt_input_weight(n, 1, &weight, &stepped)) ||
        (status = vt_input_weight(n, 2, &bias, &bias_stepped)))
        return status;
    if (!weight || weight->rank != 4)
        return vt_unsupported(n, "is not two-dimensional");
    kernel[0] = (int64_t)weight->dims[2];
    kernel[1] = (int64_t)weight->dims[3];
    if ((status = vt_attribute_int(n, "group", &group)) || (status = vt_onnx_window(n, kernel, &g)))
        return status;
    if (kernel[0] != (int64_t)weight->dims[2] || kernel[1] != (int64_t)weight->dims[3])
        return vt_bad(n, "has a kernel_shape that is not its weight's");
    if (group < 1 || group > VT_MAX_CHANNELS || weight->dims[0] > VT_MAX_CHANNELS)
        return vt_bad(n, "has an impossible number of groups or channels");
    g.groups = (uint32_t)group;
    status = vt_graph_conv(n->graph, in, (uint32_t)weight->dims[0], &g, n->offset, &index, n->error);
    if (status)
        return status;
    node = &n->graph->nodes[index];
    if (weight->dims[1] != n->graph->nodes[in].shape.c / g.groups)
        return vt_bad(n, "has a weight for another number of input channels");
    status = stepped ? vt_take_weight(n, 1, vt_weight_count(n->graph, node), node->shape.c, &node->weight, &node->step)
                     : vt_take_floats(n, weight, vt_weight_count(n->graph, node), &node->weight);
    if (!status && bias) {
        status = bias_stepped ? vt_take_bias(n, 2, node->shape.c, &floats) : vt_take_floats(n, bias, node->shape.c, &floats);
        node->shift = malloc(node->shape.c * sizeof *node->shift);
        if (!status && !node->shift)
            status = vt_fail_memory(n->error, node->shape.c * sizeof *node->shift);
        for (uint32_t c = 0; c < node->shape.c && !status; c++)
            node->shift[c] = (double)floats[c];
        free(floats);
    }
    return status ? status : vt_name_output(n, index);
}

static int append_prelu(vt_onnx_node *n, int in, const float *slope, size_t count)
{
    int index, status = vt_graph_prelu(n->graph, in, n->offset, &index, n->error);
    vt_node *node;

    if (status)
        return status;
    node = &n->graph->nodes[index];
    node->slope = malloc(node->shape.c * sizeof *node->slope);
    if (!node->slope)
        return vt_fail_memory(n->error, node->shape.c * sizeof *node->slope);
    for (uint32_t c = 0; c < node->shape.c; c++)
        node->slope[c] = slope[count == 1 ? 0 : c];
    return vt_name_output(n, index);
}

static int op_prelu(vt_onnx_node *n)
{
    const vt_constant *k;
    float *slope = NULL;
    int in, status;

    if ((status = vt_input_node(n, 0, &in)) || (status = vt_input_constant(n, 1, VT_ONNX_FLOAT, &k)))
        return status;
    if (!k)
        return vt_bad(n, "lacks its slope");
    status = vt_channel_constant(n, k, in, true, &slope);
    if (!status)
        status = append_prelu(n, in, slope, k->count);
    free(slope);
    return status;
}

static int op_leaky_relu(vt_onnx_node *n)
{
    float alpha = 0.01f;
    int in, status;

    if ((status = vt_input_node(n, 0, &in)) || (status = vt_attribute_float(n, "alpha", &alpha, NULL)))
        return status;
    return isfinite(alpha) ? append_prelu(n, in, &alpha, 1) : vt_bad(n, "has an alpha that is not a finite number");
}

static int append_clip(vt_onnx_node *n, int in, float lo, float hi)
{
    int index;
    const int status = vt_graph_clip(n->graph, in, lo, hi, n->offset, &index, n->error);

    return status ? status : vt_name_output(n, index);
}

static int op_relu(vt_onnx_node *n)
{
    int in;
    const int status = vt_input_node(n, 0, &in);

    return status ? status : append_clip(n, in, 0, INFINITY);
}

static int op_clip(vt_onnx_node *n)
{
    float bound[2] = {-INFINITY, INFINITY};
    int in, status;

    if ((status = vt_input_node(n, 0, &in)) || (status = vt_attribute_float(n, "min", &bound[0], NULL)) ||
        (status = vt_attribute_float(n, "max", &bound[1], NULL)))
        return status;
    for (uint32_t i = 0; i < 2; i++) { /* inputs since opset 11 */
        const vt_constant *k;

        status = vt_input_constant(n, i + 1, VT_ONNX_FLOAT, &k);
        if (!status && k && k->count != 1)
            status = vt_bad(n, "has a bound that is not one number");
        if (!status && k)
            status = vt_constant_floats(k, &bound[i]);
        if (status)
            return status;
    }
    return append_clip(n, in, bound[0], bound[1]);
}

static int op_constant(vt_onnx_node *n)
{
    vt_value value = {.node = -1};
    bool found;
    int status = vt_attribute_tensor(n, "value", &value.constant, &found);

    if (status)
        return status;
    return found ? vt_values_add(n->values, n->output, &value, n->offset, n->error)
                 : vt_unsupported(n, "holds something else than a tensor");
}

static int op_pass(vt_onnx_node *n)
{
    const vt_constant *training;
    int in, status = vt_input_node(n, 0, &in);

    if (status)
        return status;
    if (vt_text_is(n->type, "Dropout")) {
        status = vt_input_constant(n, 2, VT_ONNX_BOOL, &training);
        if (status)
            return status;
        if (training && (training->raw.size != 1 || training->raw.data[0]))
            return vt_unsupported(n, "is in training mode");
    }
    return vt_name_output(n, in);
}

static int flatten(vt_onnx_node *n, int in)
{
    int index = in, status = VULTUS_OK;

    if (!n->graph->nodes[in].shape.flat)
        status = vt_graph_flatten(n->graph, in, n->offset, &index, n->error);
    return status ? status : vt_name_output(n, index);
}

static int op_flatten(vt_onnx_node *n)
{
    int64_t axis = 1;
    int in, status;

    if ((status = vt_input_node(n, 0, &in)) || (status = vt_attribute_int(n, "axis", &axis)))
        return status;
    return axis == 1 ? flatten(n, in) : vt_unsupported(n, "flattens from another axis than 1");
}

static int op_reshape(vt_onnx_node *n)
{
    const vt_constant *target;
    const vt_value *from;
    int64_t dims[VT_ONNX_MAX_RANK];
    int in, status;

    if ((status = vt_input_computed(n, 0, &from)) || (status = vt_input_constant(n, 1, VT_ONNX_INT64, &target)))
        return status;
    if (from->transposed && target && target->count <= VT_ONNX_MAX_RANK) {
        status = vt_constant_ints(target, dims);
        return status ? status : vt_op_rows(n, from, dims, target->count);
    }
    if ((status = vt_input_node(n, 0, &in)))
        return status;
    const vt_shape s = n->graph->nodes[in].shape;
    const int64_t all = (int64_t)s.c * s.h * s.w;

    if (!target || target->count != 2)
        return vt_unsupported(n, "makes something else than a vector of each face");
    if ((status = vt_constant_ints(target, dims)))
        return status;
    if ((dims[1] != all && dims[1] != -1) || dims[0] < -1 || dims[0] > 1 || (dims[0] == -1 && dims[1] == -1))
        return vt_unsupported(n, "makes something else than a vector of each face");
    return flatten(n, in);
}

/* Transposes k x n weights to the rows that the graph wants, or only scales them. */
static void store_fc(vt_node *node, const float *from, size_t k, bool transpose, double alpha)
{
    const size_t n_out = node->shape.c;

    for (size_t r = 0; r < n_out; r++)
        for (size_t i = 0; i < k; i++)
            node->weight[r * k + i] = (float)(alpha * (double)from[transpose ? i * n_out + r : r * k + i]);
}

static int append_fc(vt_onnx_node *n, int in, const vt_constant *weight, bool rows_are_inputs, float alpha, int *index)
{
    const size_t k = n->graph->nodes[in].shape.c;
    float *floats = NULL;
    int status;

    if (!weight || weight->rank != 2 || weight->dims[rows_are_inputs ? 1 : 0] > VT_MAX_CHANNELS)
        return vt_bad(n, "has no matrix of weights");
    if (weight->dims[rows_are_inputs ? 0 : 1] != k)
        return vt_bad(n, "has a matrix for a vector of another length");
    status = vt_graph_fc(n->graph, in, (uint32_t)weight->dims[rows_are_inputs ? 1 : 0], n->offset, index, n->error);
    if (!status)
        status = vt_take_floats(n, weight, weight->count, &floats);
    if (!status) {
        vt_node *node = &n->graph->nodes[*index];

        node->weight = malloc(weight->count * sizeof(float));
        node->shift = calloc(node->shape.c, sizeof(double));
        if (node->weight && node->shift)
            store_fc(node, floats, k, rows_are_inputs, (double)alpha);
        else
            status = vt_fail_memory(n->error, weight->count * sizeof(float));
    }
    free(floats);
    return status;
}

static int op_gemm(vt_onnx_node *n)
{
    int64_t trans_a = 0, trans_b = 0;
    float alpha = 1, beta = 1, *floats = NULL;
    const vt_constant *weight, *bias;
    int in, index, status;

    if ((status = vt_input_node(n, 0, &in)) || (status = vt_input_constant(n, 1, VT_ONNX_FLOAT, &weight)) ||
        (status = vt_input_constant(n, 2, VT_ONNX_FLOAT, &bias)) || (status = vt_attribute_int(n, "transA", &trans_a)) ||
        (status = vt_attribute_int(n, "transB", &trans_b)) || (status = vt_attribute_float(n, "alpha", &alpha, NULL)) ||
        (status = vt_attribute_float(n, "beta", &beta, NULL)))
        return status;
    if (trans_a)
        return vt_unsupported(n, "transposes its input");
    status = append_fc(n, in, weight, !trans_b, alpha, &index);
    if (!status && bias) {
        status = vt_channel_constant(n, bias, index, false, &floats);
        for (uint32_t c = 0; !status && c < n->graph->nodes[index].shape.c; c++)
            n->graph->nodes[index].shift[c] = (double)beta * (double)floats[bias->count == 1 ? 0 : c];
        free(floats);
    }
    return status ? status : vt_name_output(n, index);
}

static int op_matmul(vt_onnx_node *n)
{
    const vt_constant *weight;
    int in, index, status;

    if ((status = vt_input_node(n, 0, &in)) || (status = vt_input_constant(n, 1, VT_ONNX_FLOAT, &weight)) ||
        (status = append_fc(n, in, weight, true, 1, &index)))
        return status;
    return vt_name_output(n, index);
}

static const struct {
    const char *type;
    int (*translate)(vt_onnx_node *node);
} operators[] = {
    {"Add", vt_op_arithmetic}, {"AveragePool", vt_op_average_pool},
    {"BatchNormalization", vt_op_batch_norm},
    {"Cast", vt_op_cast},     {"Clip", op_clip},
    {"Concat", vt_op_concat}, {"Constant", op_constant},
    {"Conv", op_conv},        {"DequantizeLinear", vt_op_dequantize},
    {"Div", vt_op_arithmetic},
    {"Dropout", op_pass},     {"Exp", vt_op_exp},
    {"Flatten", op_flatten},  {"Gather", vt_op_gather},
    {"Gemm", op_gemm},        {"Identity", op_pass},
    {"LeakyRelu", op_leaky_relu}, {"MatMul", op_matmul},
    {"MaxPool", vt_op_max_pool},  {"Mul", vt_op_arithmetic},
    {"PRelu", op_prelu},      {"QuantizeLinear", vt_op_quantize},
    {"Relu", op_relu},
    {"Reshape", op_reshape},  {"Resize", vt_op_resize},
    {"Shape", vt_op_shape},   {"Sigmoid", vt_op_sigmoid},
    {"Slice", vt_op_slice},   {"Softmax", vt_op_softmax},
    {"Squeeze", vt_op_squeeze}, {"Sub", vt_op_arithmetic},
    {"Transpose", vt_op_transpose}, {"Unsqueeze", vt_op_unsqueeze},
};

int vt_onnx_translate(vt_onnx_node *n)
{
    const size_t count = sizeof operators / sizeof *operators;

    for (size_t i = 0; i < count; i++)
        if (n->domain.size == 0 && vt_text_is(n->type, operators[i].type))
            return operators[i].translate(n);
    return vt_fail_at(n->error, VULTUS_ERROR_UNSUPPORTED, n->offset,
                      "the operator %.*s%s%.*s is not one of the engine's, which docs/engine.md lists",
                      VT_TEXT_ARGS(n->domain), n->domain.size ? "." : "", VT_TEXT_ARGS(n->type));
}
