/* ONNX operators that are scale * x + shift, and the sum of two values. */
#include <math.h>
#include <stdlib.h>

#include "load.h"
#include "onnx_model.h"

static int take_input(const vt_onnx_node *n, uint32_t i, size_t count, float **out)
{
    const vt_constant *constant;
    const int status = vt_input_constant(n, i, VT_ONNX_FLOAT, &constant);

    return status ? status : vt_take_floats(n, constant, count, out);
}

/* An affine node whose scale and shift the caller fills; it has no name yet. */
static int append_affine(const vt_onnx_node *n, int in, vt_node **out)
{
    int index, status = vt_graph_affine(n->graph, in, n->offset, &index, n->error);
    vt_node *node;

    if (status)
        return status;
    node = *out = &n->graph->nodes[index];
    node->scale = malloc(vt_channels(&node->shape) * sizeof(double));
    node->shift = malloc(vt_channels(&node->shape) * sizeof(double));
    return node->scale && node->shift ? VULTUS_OK : vt_fail_memory(n->error, vt_channels(&node->shape) * sizeof(double));
}

int vt_op_batch_norm(vt_onnx_node *n)
{
    float *v[4] = {NULL, NULL, NULL, NULL}, epsilon = 1e-5f;
    const vt_constant *scale;
    int64_t training = 0;
    vt_node *node;
    int in, status;

    if ((status = vt_input_node(n, 0, &in)) || (status = vt_attribute_float(n, "epsilon", &epsilon, NULL)) ||
        (status = vt_attribute_int(n, "training_mode", &training)) ||
        (status = vt_input_constant(n, 1, VT_ONNX_FLOAT, &scale)))
        return status;
    /* Whether it is by channel is told by its numbers: the Model Zoo's ArcFace says `spatial` = 0 and means 1. */
    if (training || (scale && scale->rank > 1))
        return vt_unsupported(n, "is in training mode or not by channel");
    for (uint32_t i = 0; i < 4 && !status; i++)
        status = take_input(n, i + 1, n->graph->nodes[in].shape.c, &v[i]);
    if (!status)
        status = append_affine(n, in, &node);
    if (!status)
        status = vt_batch_norm(node->scale, node->shift, v[0], v[1], v[2], v[3], node->shape.c, (double)epsilon,
                               n->offset, n->error);
    for (int i = 0; i < 4; i++)
        free(v[i]);
    return status ? status : vt_name_output(n, n->graph->count - 1);
}

/* op(x, k) or op(k, x) for a constant k, written as scale * x + shift. */
static int with_constant(vt_onnx_node *n, int in, const vt_constant *k, bool constant_first)
{
    const bool minus = vt_text_is(n->type, "Sub"), times = vt_text_is(n->type, "Mul"), by = vt_text_is(n->type, "Div");
    const bool rows = n->graph->nodes[in].shape.rows;
    float *floats = NULL;
    vt_node *node;
    int status;

    if (by && constant_first)
        return vt_unsupported(n, "divides a constant");
    status = rows ? vt_row_constant(n, k, &n->graph->nodes[in].shape, &floats) : vt_channel_constant(n, k, in, false, &floats);
    if (!status)
        status = append_affine(n, in, &node);
    for (uint32_t c = 0; !status && c < vt_channels(&node->shape); c++) {
        const double value = (double)floats[!rows && k->count == 1 ? 0 : c];

        node->scale[c] = times ? value : by ? 1 / value : minus && constant_first ? -1 : 1;
        node->shift[c] = times || by ? 0 : minus && !constant_first ? -value : value;
        if (!isfinite(node->scale[c]))
            status = vt_bad(n, "divides by zero");
    }
    free(floats);
    return status ? status : vt_name_output(n, n->graph->count - 1);
}

/* a + b or a - b. */
static int with_computed(vt_onnx_node *n, int a, int b)
{
    vt_node *node;
    int index, status = VULTUS_OK;

    if (vt_text_is(n->type, "Sub")) {
        status = append_affine(n, b, &node);
        for (uint32_t c = 0; !status && c < vt_channels(&node->shape); c++) {
            node->scale[c] = -1;
            node->shift[c] = 0;
        }
        b = n->graph->count - 1;
    } else if (!vt_text_is(n->type, "Add")) {
        return vt_unsupported(n, "works on two computed values");
    }
    if (!status)
        status = vt_graph_add(n->graph, a, b, n->offset, &index, n->error);
    return status ? status : vt_name_output(n, index);
}

int vt_op_arithmetic(vt_onnx_node *n)
{
    const vt_value *v[2] = {NULL, NULL};
    int ignored, status;

    if (n->n_inputs != 2)
        return vt_bad(n, "has not two inputs");
    for (int i = 0; i < 2; i++) {
        v[i] = vt_values_find(n->values, n->inputs[i]);
        if (!v[i])
            return vt_input_node(n, (uint32_t)i, &ignored); /* fails, and says so */
    }
    if (v[0]->node < 0 && v[1]->node < 0)
        return vt_unsupported(n, "works on two constants");
    if (v[0]->transposed || v[1]->transposed)
        return vt_unsupported(n, "reads a map that was transposed and not reshaped");
    if (v[0]->node >= 0 && v[1]->node >= 0)
        return with_computed(n, v[0]->node, v[1]->node);
    const int first = v[0]->node < 0;
    const vt_constant *k;

    status = vt_input_constant(n, first ? 0 : 1, VT_ONNX_FLOAT, &k);
    return status ? status : with_constant(n, v[first]->node, k, first);
}
