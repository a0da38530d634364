/* ONNX operators on rows (n x rows x columns, which Reshape makes of maps): what decodes a detector's heads. Concat is here
 * for maps too. */
#include <stdlib.h>
#include <string.h>

#include "onnx_model.h"

/* Input i, which is rows, or also another value that is not transposed. */
static int input_rows(const vt_onnx_node *n, uint32_t i, bool others, int *out)
{
    const vt_value *from;
    const int status = vt_input_computed(n, i, &from);

    if (status)
        return status;
    if (from->transposed || (!others && !n->graph->nodes[from->node].shape.rows))
        return vt_unsupported(n, others ? "reads a map that was transposed and not reshaped"
                                        : "reads something else than n x rows x columns");
    *out = from->node;
    return VULTUS_OK;
}

int vt_op_concat(vt_onnx_node *n)
{
    int parts[VT_ONNX_MAX_INPUTS], index, status = vt_input_is_constant(n, 0);
    int64_t axis = 0;

    if (status)
        return status < 0 ? status : vt_concat_sizes(n);
    if (n->n_inputs > VT_ONNX_MAX_INPUTS)
        return vt_unsupported(n, "has more than 8 inputs");
    for (uint32_t i = 0; i < n->n_inputs; i++)
        if ((status = input_rows(n, i, true, &parts[i])))
            return status;
    if (!n->n_inputs)
        return vt_bad(n, "has no inputs");
    if ((status = vt_attribute_int(n, "axis", &axis)))
        return status;
    const vt_shape s = n->graph->nodes[parts[0]].shape;
    const int64_t rank = s.flat ? 2 : s.rows ? 3 : 4, at = axis < 0 ? axis + rank : axis;

    if (at != 1 && !(s.rows && at == 2))
        return vt_unsupported(n, "puts together along another axis than channels, rows or columns");
    status = vt_graph_join(n->graph, parts, n->n_inputs, s.rows && at == 1, n->offset, &index, n->error);
    return status ? status : vt_name_output(n, index);
}

int vt_op_slice(vt_onnx_node *n)
{
    int in = 0, index, status = vt_input_is_constant(n, 0);
    int64_t start, end;
    size_t axis;

    if (status)
        return status < 0 ? status : vt_slice_sizes(n);
    if ((status = input_rows(n, 0, false, &in)))
        return status;
    const vt_shape s = n->graph->nodes[in].shape;
    const int64_t dims[3] = {1, s.w, s.c};

    if ((status = vt_slice_bounds(n, dims, 3, &axis, &start, &end)))
        return status;
    if (axis != 2)
        return vt_unsupported(n, "takes something else than columns of rows");
    status = vt_graph_columns(n->graph, in, (uint32_t)start, end > start ? (uint32_t)(end - start) : 0, n->offset, &index,
                              n->error);
    return status ? status : vt_name_output(n, index);
}

int vt_op_softmax(vt_onnx_node *n)
{
    int64_t axis = VT_ONNX_MAX_RANK; /* what is meant without the attribute depends on the opset */
    int in = 0, index, status = input_rows(n, 0, false, &in);

    if (status || (status = vt_attribute_int(n, "axis", &axis)))
        return status;
    if (axis != -1 && axis != 2)
        return vt_unsupported(n, "is over something else than the columns of rows");
    status = vt_graph_softmax(n->graph, in, n->offset, &index, n->error);
    return status ? status : vt_name_output(n, index);
}

int vt_op_exp(vt_onnx_node *n)
{
    int in = 0, index, status = input_rows(n, 0, true, &in);

    if (!status)
        status = vt_graph_curve(n->graph, in, VT_ACT_EXP, n->offset, &index, n->error);
    return status ? status : vt_name_output(n, index);
}

int vt_row_constant(const vt_onnx_node *n, const vt_constant *k, const vt_shape *rows, float **out)
{
    const uint64_t across = k->rank > 0 ? k->dims[k->rank - 1] : 1, down = k->rank > 1 ? k->dims[k->rank - 2] : 1;
    const bool fits = (across == 1 || across == rows->c) && (down == 1 || down == rows->w) && k->count == across * down;
    const size_t count = vt_channels(rows);
    float *floats = NULL, *all = NULL;
    int status = VULTUS_OK;

    if (!fits || k->rank > 3)
        return vt_unsupported(n, "has a constant that does not broadcast to its rows");
    if (count > VT_MAX_CHANNELS)
        return vt_unsupported(n, "works on more numbers than arithmetic has constants for");
    status = vt_take_floats(n, k, k->count, &floats);
    if (!status && !(all = malloc(count * sizeof *all)))
        status = vt_fail_memory(n->error, count * sizeof *all);
    for (size_t i = 0; i < count && !status; i++)
        all[i] = floats[(down == 1 ? 0 : i / rows->c * across) + (across == 1 ? 0 : i % rows->c)];
    free(floats);
    *out = all;
    return status;
}
