/* Exporters let a graph look at its own sizes and compute the targets of Reshape from them. Here sizes are known while the
 * graph is read, so all of this happens at once, on a few INT64. The batch is 1: images are computed one by one. */
#include <string.h>

#include "onnx_model.h"

static int name_sizes(vt_onnx_node *n, const int64_t *ints, size_t count, bool scalar)
{
    vt_value value = {.node = -1};
    vt_constant *k = &value.constant;

    *k = (vt_constant){.message = n->message, .offset = n->offset, .type = VT_ONNX_INT64, .rank = scalar ? 0 : 1,
                       .dims = {count}, .count = count, .computed = true};
    memcpy(k->ints, ints, count * sizeof *ints);
    return vt_values_add(n->values, n->output, &value, n->offset, n->error);
}

/* Input i: at most VT_ONNX_MAX_RANK INT64. */
static int read_sizes(const vt_onnx_node *n, uint32_t i, int64_t *ints, const vt_constant **k)
{
    const int status = vt_input_constant(n, i, VT_ONNX_INT64, k);

    if (status)
        return status;
    if (!*k)
        return vt_bad(n, "lacks an input");
    if ((*k)->rank > 1 || (*k)->count > VT_ONNX_MAX_RANK)
        return vt_unsupported(n, "computes more than a few sizes");
    return vt_constant_ints(*k, ints);
}

int vt_op_shape(vt_onnx_node *n)
{
    const vt_value *from;
    int status = vt_input_computed(n, 0, &from);
    int64_t start = 0, end = VT_ONNX_MAX_RANK, dims[4] = {1}, rank;

    if (status || (status = vt_attribute_int(n, "start", &start)) || (status = vt_attribute_int(n, "end", &end)))
        return status;
    const vt_shape s = n->graph->nodes[from->node].shape;

    dims[1] = s.rows ? s.w : from->transposed ? s.h : s.c;
    dims[2] = s.rows ? s.c : from->transposed ? s.w : s.h;
    dims[3] = from->transposed ? s.c : s.w;
    rank = s.flat ? 2 : s.rows ? 3 : 4;
    start = start < -rank ? 0 : start < 0 ? start + rank : start > rank ? rank : start;
    end = end < -rank ? 0 : end < 0 ? end + rank : end > rank ? rank : end;
    return name_sizes(n, dims + start, end > start ? (size_t)(end - start) : 0, false);
}

int vt_op_gather(vt_onnx_node *n)
{
    int64_t from[VT_ONNX_MAX_RANK], indices[VT_ONNX_MAX_RANK], axis = 0, out[VT_ONNX_MAX_RANK];
    const vt_constant *k, *which;
    int status = read_sizes(n, 0, from, &k);

    if (status || (status = read_sizes(n, 1, indices, &which)) || (status = vt_attribute_int(n, "axis", &axis)))
        return status;
    for (size_t i = 0; i < which->count; i++) {
        const int64_t count = (int64_t)k->count, index = indices[i] < 0 ? indices[i] + count : indices[i];

        if (axis != 0 || indices[i] < -count || index >= count)
            return vt_bad(n, "takes a number that is not there");
        out[i] = from[index];
    }
    return name_sizes(n, out, which->count, which->rank == 0);
}

/* A number alone and a list of one number: the same here but for their rank. */
int vt_op_squeeze(vt_onnx_node *n)
{
    int64_t ints[VT_ONNX_MAX_RANK], axes[VT_ONNX_MAX_RANK] = {0};
    const bool less = vt_text_is(n->type, "Squeeze");
    const vt_constant *k, *axis;
    int status = read_sizes(n, 0, ints, &k);

    if (status || (status = vt_attribute_ints(n, "axes", 1, axes)))
        return status;
    if (n->n_inputs > 1 && (status = read_sizes(n, 1, axes, &axis)))
        return status;
    if ((axes[0] != 0 && axes[0] != -1) || k->rank != (less ? 1 : 0) || k->count != 1)
        return vt_unsupported(n, "does something else than making a size a list of one, or the reverse");
    return name_sizes(n, ints, 1, less);
}

int vt_concat_sizes(vt_onnx_node *n)
{
    int64_t all[VT_ONNX_MAX_RANK], part[VT_ONNX_MAX_RANK];
    const vt_constant *k;
    size_t count = 0;

    for (uint32_t i = 0; i < n->n_inputs; i++) {
        const int status = read_sizes(n, i, part, &k);

        if (status)
            return status;
        if (k->count > VT_ONNX_MAX_RANK - count)
            return vt_unsupported(n, "computes more than a few sizes");
        memcpy(all + count, part, k->count * sizeof *part);
        count += k->count;
    }
    return name_sizes(n, all, count, false);
}

int vt_slice_bounds(const vt_onnx_node *n, const int64_t *dims, size_t rank, size_t *axis, int64_t *start, int64_t *end)
{
    static const char *const names[3] = {"starts", "ends", "axes"};
    int64_t v[4][VT_ONNX_MAX_RANK] = {{0}, {0}, {0}, {1}};
    const vt_constant *k;
    int status = VULTUS_OK;

    for (uint32_t i = 0; i < 3 && n->n_inputs == 1 && !status; i++) /* before opset 10 */
        status = vt_attribute_ints(n, names[i], 1, v[i]);
    for (uint32_t i = 1; i < n->n_inputs && i <= 4 && !status; i++) {
        status = read_sizes(n, i, v[i - 1], &k);
        if (!status && k->count != 1)
            status = vt_unsupported(n, "takes from several axes");
    }
    if (status)
        return status;
    if (v[3][0] != 1)
        return vt_unsupported(n, "has a step that is not 1");
    if (v[2][0] < -(int64_t)rank || v[2][0] >= (int64_t)rank)
        return vt_bad(n, "takes from an axis that is not there");
    *axis = (size_t)(v[2][0] < 0 ? v[2][0] + (int64_t)rank : v[2][0]);
    for (int i = 0; i < 2; i++) {
        const int64_t length = dims[*axis], at = v[i][0];

        *(i ? end : start) = at < -length ? 0 : at < 0 ? at + length : at > length ? length : at;
    }
    return VULTUS_OK;
}

int vt_slice_sizes(vt_onnx_node *n)
{
    int64_t ints[VT_ONNX_MAX_RANK], start, end;
    const vt_constant *k;
    size_t axis;
    int status = read_sizes(n, 0, ints, &k);

    if (status)
        return status;
    if (k->rank != 1)
        return vt_bad(n, "takes from a single number");
    status = vt_slice_bounds(n, &(int64_t){(int64_t)k->count}, 1, &axis, &start, &end);
    return status ? status : name_sizes(n, ints + start, end > start ? (size_t)(end - start) : 0, false);
}

/* Nothing is ever another type than it was. */
int vt_op_cast(vt_onnx_node *n)
{
    int64_t to = 0, ints[VT_ONNX_MAX_RANK];
    const vt_value *from;
    const vt_constant *k;
    int status = vt_attribute_int(n, "to", &to), constant;

    if (status || (constant = vt_input_is_constant(n, 0)) < 0)
        return status ? status : constant;
    if (to != (constant ? VT_ONNX_INT64 : VT_ONNX_FLOAT))
        return vt_unsupported(n, "changes the type of numbers");
    if (constant) {
        status = read_sizes(n, 0, ints, &k);
        return status ? status : name_sizes(n, ints, k->count, k->rank == 0);
    }
    status = vt_input_computed(n, 0, &from);
    return status ? status
                  : vt_values_add(n->values, n->output, &(vt_value){.node = from->node, .transposed = from->transposed},
                                  n->offset, n->error);
}
