/* ONNX operators about shapes: pooling, nearest resizing, what makes rows of a map, and a constant's new dimensions. */
#include <math.h>
#include <stdlib.h>

#include "onnx_model.h"

/* What ceil_mode adds below or to the right: one more window wherever the last one leaves something of the map over, unless
 * it would begin in the padding. Padding of a pooling is never the largest, so more of it is all that the mode means. */
static void pad_to_ceil(uint32_t size, uint32_t kernel, uint32_t stride, uint32_t begin, uint32_t *end)
{
    const uint32_t all = size + begin + *end, left = all < kernel || !stride ? 0 : (all - kernel) % stride;

    if (left && all - kernel - left + stride < size + begin)
        *end += stride - left;
}

int vt_op_max_pool(vt_onnx_node *n)
{
    int64_t kernel[2] = {0, 0}, ceil_mode = 0;
    int in, index, status;
    vt_geometry g;

    if ((status = vt_input_node(n, 0, &in)) || (status = vt_onnx_window(n, kernel, &g)) ||
        (status = vt_attribute_int(n, "ceil_mode", &ceil_mode)))
        return status;
    if (g.dy != 1 || g.dx != 1)
        return vt_unsupported(n, "has a dilation");
    if (ceil_mode) {
        const vt_shape s = n->graph->nodes[in].shape;

        pad_to_ceil(s.h, g.kh, g.sy, g.top, &g.bottom);
        pad_to_ceil(s.w, g.kw, g.sx, g.left, &g.right);
    }
    status = vt_graph_max_pool(n->graph, in, &g, n->offset, &index, n->error);
    return status ? status : vt_name_output(n, index);
}

/* A depthwise convolution whose weights are all one over their number; zeros of the padding count, or there are none. */
int vt_op_average_pool(vt_onnx_node *n)
{
    int64_t kernel[2] = {0, 0}, ceil_mode = 0, padded = 0;
    int in, index, status;
    vt_geometry g;
    vt_node *node;

    if ((status = vt_input_node(n, 0, &in)) || (status = vt_onnx_window(n, kernel, &g)) ||
        (status = vt_attribute_int(n, "ceil_mode", &ceil_mode)) ||
        (status = vt_attribute_int(n, "count_include_pad", &padded)))
        return status;
    const vt_shape s = n->graph->nodes[in].shape;
    vt_geometry to_end = g;

    if (ceil_mode) {
        pad_to_ceil(s.h, g.kh, g.sy, g.top, &to_end.bottom);
        pad_to_ceil(s.w, g.kw, g.sx, g.left, &to_end.right);
    }
    if (to_end.bottom != g.bottom || to_end.right != g.right || (!padded && (g.top || g.left || g.bottom || g.right)))
        return vt_unsupported(n, "averages windows that are not all of one size");
    g.groups = s.c;
    if ((status = vt_graph_conv(n->graph, in, s.c, &g, n->offset, &index, n->error)))
        return status;
    node = &n->graph->nodes[index];
    const size_t count = vt_weight_count(n->graph, node);

    node->weight = malloc(count * sizeof *node->weight);
    if (!node->weight)
        return vt_fail_memory(n->error, count * sizeof *node->weight);
    for (size_t i = 0; i < count; i++)
        node->weight[i] = 1 / (float)(g.kh * g.kw);
    return vt_name_output(n, index);
}

/* How many times as large the scales or sizes make the map: whole numbers. */
static int resize_times(const vt_onnx_node *n, int in, uint32_t times[2])
{
    const vt_shape s = n->graph->nodes[in].shape;
    const uint32_t sides[2] = {s.h, s.w};
    const vt_constant *scales, *sizes;
    float scale[4];
    int64_t size[4];
    int status;

    if ((status = vt_input_constant(n, n->n_inputs == 2 ? 1 : 2, VT_ONNX_FLOAT, &scales)) ||
        (status = vt_input_constant(n, 3, VT_ONNX_INT64, &sizes)))
        return status;
    if (sizes && sizes->count == 4) {
        if ((status = vt_constant_ints(sizes, size)))
            return status;
        for (int i = 0; i < 2; i++) {
            if (size[1] != s.c || size[i + 2] < sides[i] || size[i + 2] > VT_MAX_SIDE || size[i + 2] % sides[i])
                return vt_unsupported(n, "makes a map that is not a whole number of times as large");
            times[i] = (uint32_t)size[i + 2] / sides[i];
        }
        return VULTUS_OK;
    }
    if (!scales || scales->count != 4)
        return vt_unsupported(n, "has neither four scales nor four sizes");
    if ((status = vt_constant_floats(scales, scale)))
        return status;
    for (int i = 0; i < 2; i++) {
        const float t = scale[i + 2];

        if (scale[0] != 1 || scale[1] != 1 || !(t >= 1 && t <= VT_MAX_KERNEL) || t != floorf(t))
            return vt_unsupported(n, "makes a map that is not a whole number of times as large");
        times[i] = (uint32_t)t;
    }
    return VULTUS_OK;
}

int vt_op_resize(vt_onnx_node *n)
{
    vt_text mode = {NULL, 0}, where = {NULL, 0}, nearest = {NULL, 0};
    uint32_t times[2] = {1, 1};
    int in, index, status;
    bool half, other;

    if ((status = vt_input_node(n, 0, &in)) || (status = vt_attribute_text(n, "mode", &mode)) ||
        (status = vt_attribute_text(n, "coordinate_transformation_mode", &where)) ||
        (status = vt_attribute_text(n, "nearest_mode", &nearest)))
        return status;
    if (mode.size && !vt_text_is(mode, "nearest"))
        return vt_unsupported(n, "interpolates");
    /* With whole factors, both give each pixel as often as the factor says: (x + 0.5) / t - 0.5 rounds to x / t. */
    half = (!where.size || vt_text_is(where, "half_pixel") || vt_text_is(where, "pytorch_half_pixel")) &&
           (!nearest.size || vt_text_is(nearest, "round_prefer_floor") || vt_text_is(nearest, "round_prefer_ceil"));
    other = vt_text_is(where, "asymmetric") && vt_text_is(nearest, "floor");
    if (!half && !other)
        return vt_unsupported(n, "chooses pixels otherwise than asymmetric + floor or half_pixel + round");
    if ((status = resize_times(n, in, times)) ||
        (status = vt_graph_resize(n->graph, in, times[0], times[1], n->offset, &index, n->error)))
        return status;
    return vt_name_output(n, index);
}

int vt_op_transpose(vt_onnx_node *n)
{
    /* Either way; with the images behind rows and columns, as SCRFD has them, what Reshape makes is the same of one image. */
    static const int64_t wanted[2][4] = {{0, 2, 3, 1}, {2, 3, 0, 1}};
    int64_t perm[4] = {-1, -1, -1, -1};
    int in, status;

    if ((status = vt_input_node(n, 0, &in)) || (status = vt_attribute_ints(n, "perm", 4, perm)))
        return status;
    const int64_t *meant = wanted[perm[0] == 2];

    for (int i = 0; i < 4; i++)
        if (perm[i] != meant[i] || n->graph->nodes[in].shape.flat)
            return vt_unsupported(n, "does something else than moving the channels of a map to the end");
    return vt_values_add(n->values, n->output, &(vt_value){.node = in, .transposed = true}, n->offset, n->error);
}

/* From n x height x width x channels to n x rows x columns; of the file's one image perhaps without the n. */
int vt_op_rows(vt_onnx_node *n, const vt_value *from, const int64_t *dims, size_t rank)
{
    const vt_shape s = n->graph->nodes[from->node].shape;
    const int64_t all = (int64_t)s.c * s.h * s.w;
    const int64_t whole[3] = {1, dims[0], rank == 2 ? dims[1] : 0};
    int index, status;

    if (rank == 2) {
        dims = whole;
        rank = 3;
    }
    if (rank != 3 || dims[0] < -1 || dims[0] > 1 || dims[2] < 1 || dims[2] > all || all % dims[2] ||
        (dims[1] != -1 && dims[1] != all / dims[2]) || (dims[0] == -1 && dims[1] == -1))
        return vt_unsupported(n, "makes something else of transposed maps than n x rows x columns");
    status = vt_graph_rows(n->graph, from->node, (uint32_t)dims[2], n->offset, &index, n->error);
    return status ? status : vt_name_output(n, index);
}

int vt_op_sigmoid(vt_onnx_node *n)
{
    const vt_value *from;
    int index, status = vt_input_computed(n, 0, &from);

    if (status)
        return status;
    if (from->transposed)
        return vt_unsupported(n, "reads a map that was transposed and not reshaped");
    status = vt_graph_curve(n->graph, from->node, VT_ACT_SIGMOID, n->offset, &index, n->error);
    return status ? status : vt_name_output(n, index);
}

/* What exporters leave of a PReLU if constants are not folded: a slope of c numbers becomes c x 1 x 1. */
int vt_op_unsqueeze(vt_onnx_node *n)
{
    const vt_value *from = n->n_inputs ? vt_values_find(n->values, n->inputs[0]) : NULL;
    int64_t axes[2] = {0, 0};
    const vt_constant *given;
    vt_value to;
    int status;

    if (from && from->node < 0 && from->constant.type == VT_ONNX_INT64)
        return vt_op_squeeze(n);
    if (!from || from->node >= 0 || from->constant.rank != 1)
        return vt_unsupported(n, "is not of a constant of one dimension");
    if ((status = vt_input_constant(n, 1, VT_ONNX_INT64, &given))) /* since opset 13 */
        return status;
    if (given && given->count != 2)
        return vt_unsupported(n, "adds another number of dimensions than two");
    if ((status = given ? vt_constant_ints(given, axes) : vt_attribute_ints(n, "axes", 2, axes)))
        return status;
    if (!(axes[0] == 1 && axes[1] == 2) && !(axes[0] == -2 && axes[1] == -1))
        return vt_unsupported(n, "adds dimensions elsewhere than at the end");
    to = (vt_value){.node = -1, .constant = from->constant};
    to.constant.dims[1] = to.constant.dims[2] = 1;
    to.constant.rank = 3;
    return vt_values_add(n->values, n->output, &to, n->offset, n->error);
}
