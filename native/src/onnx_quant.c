/* QuantizeLinear and DequantizeLinear: where an ONNX graph says that numbers are bytes.
 *
 * A QuantizeLinear of a computed value, with one scale, is a QUANT node; the DequantizeLinear behind it, of the same
 * scale, stands for the same node. A DequantizeLinear of constants is a weight in steps, of int8, or a bias, of int32. */
#include <stdlib.h>

#include "load.h"
#include "onnx_model.h"

static int scale_of(const vt_onnx_node *n, vt_quant *quant)
{
    const vt_constant *scale, *zero;
    uint32_t type = 0;
    int64_t number = 0;
    int status = vt_input_constant(n, 1, VT_ONNX_FLOAT, &scale);

    if (!status)
        status = vt_input_type(n, 2, &type);
    if (!status && type != VT_ONNX_UINT8 && type != VT_ONNX_INT8)
        return vt_unsupported(n, "makes something else than bytes");
    if (!status)
        status = vt_input_constant(n, 2, type, &zero);
    if (status)
        return status;
    if (!scale || scale->count != 1 || !zero || zero->count != 1)
        return vt_unsupported(n, "has not one scale and one zero point of a byte");
    if ((status = vt_constant_ints(zero, &number)))
        return status;
    number += type == VT_ONNX_INT8 ? 128 : 0; /* an int8 is the byte 128 above it */
    if (number < 0 || number > 255)
        return vt_bad(n, "has a zero point that is no byte");
    quant->zero = (uint8_t)number;
    return vt_constant_floats(scale, &quant->scale);
}

int vt_op_quantize(vt_onnx_node *n)
{
    vt_quant quant = {0, 0};
    int in, index, status;

    if ((status = vt_input_node(n, 0, &in)) || (status = scale_of(n, &quant)) ||
        (status = vt_graph_quant(n->graph, in, quant, n->offset, &index, n->error)))
        return status;
    return vt_values_add(n->values, n->output, &(vt_value){.node = index, .bytes = true}, n->offset, n->error);
}

/* Whether the zero points of weights are what the engine computes with. */
static int check_zeros(const vt_onnx_node *n, const vt_constant *zero)
{
    int64_t *numbers;
    bool all = true;
    int status;

    if (zero->count > VT_MAX_CHANNELS)
        return vt_bad(n, "has an impossible number of zero points");
    numbers = calloc(zero->count + 1, sizeof *numbers);
    if (!numbers)
        return vt_fail_memory(n->error, zero->count * sizeof *numbers);
    status = vt_constant_ints(zero, numbers);
    for (size_t i = 0; i < zero->count; i++)
        all = all && !numbers[i];
    free(numbers);
    return status || all ? status : vt_unsupported(n, "is of weights with a zero point");
}

/* Weights stay constants until somebody takes them: with their steps, if the numbers are what the engine computes with. */
static int dequantize_constant(const vt_onnx_node *n, const vt_value *from)
{
    const vt_constant *step, *zero = NULL;
    vt_value value = {.node = -1, .constant = from->constant};
    const uint32_t type = from->constant.type;
    int64_t axis = 1;
    int status = vt_input_constant(n, 1, VT_ONNX_FLOAT, &step);

    if (!status)
        status = vt_input_constant(n, 2, type, &zero);
    if (!status)
        status = vt_attribute_int(n, "axis", &axis);
    if (status)
        return status;
    if ((type != VT_ONNX_INT8 && type != VT_ONNX_INT32) || !from->constant.raw.data)
        return vt_unsupported(n, "is of constants that are neither int8 nor int32, or not stored as raw bytes");
    if (!step || step->rank > 1 || (step->count > 1 && axis != 0) ||
        (step->count != 1 && (!value.constant.rank || step->count != value.constant.dims[0])))
        return vt_unsupported(n, "has not one scale, or one for each output channel");
    if (zero && (status = check_zeros(n, zero)))
        return status;
    value.stepped = true;
    value.step = *step;
    return vt_values_add(n->values, n->output, &value, n->offset, n->error);
}

int vt_op_dequantize(vt_onnx_node *n)
{
    const vt_value *from = vt_values_find(n->values, n->inputs[0]);
    vt_quant quant = {0, 0}, had;
    int status;

    if (from && from->node < 0 && !from->stepped)
        return dequantize_constant(n, from);
    if (!from || !from->bytes)
        return vt_unsupported(n, "is neither of constants nor of what a QuantizeLinear made");
    status = scale_of(n, &quant);
    if (status)
        return status;
    had = n->graph->nodes[from->node].quant;
    if (had.scale != quant.scale || had.zero != quant.zero)
        return vt_unsupported(n, "has another scale or zero point than the QuantizeLinear before it");
    return vt_name_output(n, from->node);
}

int vt_take_weight(const vt_onnx_node *n, uint32_t i, size_t count, uint32_t rows, float **weight, float **step)
{
    const vt_value *value = vt_values_find(n->values, n->inputs[i]);
    const vt_constant *k = value ? &value->constant : NULL;
    float *steps = NULL;
    int status;

    if (!value || value->node >= 0 || !value->stepped)
        return vt_bad(n, "has weights without steps"); /* whoever calls has looked */
    if (k->type != VT_ONNX_INT8 && i != 2)
        return vt_unsupported(n, "has weights of int32");
    if (k->count != count)
        return vt_bad(n, "has a weight of another size");
    *step = malloc(rows * sizeof **step);
    *weight = malloc(count * sizeof **weight);
    status = *step && *weight ? vt_take_floats(n, &value->step, value->step.count, &steps)
                              : vt_fail_memory(n->error, count * sizeof **weight);
    for (uint32_t r = 0; r < rows && !status; r++) {
        (*step)[r] = steps[value->step.count == 1 ? 0 : r];
        if (!((*step)[r] >= 0))
            status = vt_bad(n, "has weights with a negative scale");
    }
    for (size_t at = 0; at < count && !status; at++)
        (*weight)[at] = (float)vt_raw_int(k, at) * (*step)[at / (count / rows)];
    free(steps);
    return status;
}

int vt_take_bias(const vt_onnx_node *n, uint32_t i, uint32_t count, float **bias)
{
    float *steps = NULL;
    const int status = vt_take_weight(n, i, count, count, bias, &steps);

    free(steps);
    return status;
}
