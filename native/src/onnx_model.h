/* What the operators of an ONNX graph are made of: values by name, constant tensors, attributes. */
#ifndef VT_ONNX_MODEL_H
#define VT_ONNX_MODEL_H

#include "graph.h"
#include "onnx_wire.h"

#define VT_ONNX_MAX_NODES 16384        /* also of initialisers, values and graph inputs */
#define VT_ONNX_MAX_INPUTS 8           /* of one node */
#define VT_ONNX_MAX_RANK 8

enum { VT_ONNX_FLOAT = 1, VT_ONNX_UINT8 = 2, VT_ONNX_INT8 = 3, VT_ONNX_INT32 = 6, VT_ONNX_INT64 = 7, VT_ONNX_BOOL = 9 };

/* A TensorProto, still in the file, whose numbers are known to be all there; or a few INT64 that were computed from sizes
 * while loading. */
typedef struct vt_constant {
    vt_wire message;
    vt_text raw;       /* raw_data; empty if the numbers are in typed fields */
    uint64_t offset;
    uint32_t type;
    uint32_t rank;
    uint64_t dims[VT_ONNX_MAX_RANK];
    size_t count;
    bool computed;     /* its numbers are: */
    int64_t ints[VT_ONNX_MAX_RANK];
} vt_constant;

/* What a name stands for: a node of our graph, or a constant. */
typedef struct vt_value {
    vt_text name;
    int node; /* -1 for a constant */
    bool transposed; /* the node's map as n x height x width x channels */
    bool bytes;      /* what a QuantizeLinear made: only a DequantizeLinear reads it */
    bool stepped;    /* a constant of int8 or int32, each the multiple of its output channel's */
    vt_constant step;
    vt_constant constant;
} vt_value;

typedef struct vt_values {
    vt_value *slots; /* open addressing; a slot is free while name.data is NULL */
    size_t capacity, count;
} vt_values;

/* A node that is being translated. */
typedef struct vt_onnx_node {
    vt_graph *graph;
    vt_values *values;
    vt_wire message;
    vultus_error *error;
    uint64_t offset;
    vt_text type, name, domain;
    uint32_t n_inputs;                       /* of the file; those beyond the array are not kept */
    vt_text inputs[VT_ONNX_MAX_INPUTS];      /* an empty name is an input left out */
    vt_text output;                          /* the first */
} vt_onnx_node;

int vt_constant_read(const vt_wire *parent, const uint8_t *data, size_t size, uint64_t offset, vt_constant *constant,
                     vt_text *name);
int vt_constant_floats(const vt_constant *constant, float *out);
int vt_constant_ints(const vt_constant *constant, int64_t *out); /* any type of integers, or BOOL */
int64_t vt_raw_int(const vt_constant *constant, size_t i);       /* one of them, of a constant with raw bytes */

/* The name must be new. */
int vt_values_add(vt_values *values, vt_text name, const vt_value *value, uint64_t offset, vultus_error *error);
const vt_value *vt_values_find(const vt_values *values, vt_text name);

/* Input i as something computed. */
int vt_input_computed(const vt_onnx_node *node, uint32_t i, const vt_value **out);
/* The same, which must be a map or a vector as it is: not transposed, not cut into rows. */
int vt_input_node(const vt_onnx_node *node, uint32_t i, int *out);
/* Input i as a constant of this type; *out is NULL if it was left out. */
int vt_input_constant(const vt_onnx_node *node, uint32_t i, uint32_t type, const vt_constant **out);

/* Its data type; 0 if it was left out or is no constant. */
int vt_input_type(const vt_onnx_node *node, uint32_t i, uint32_t *type);
/* Input i as a constant of int8 with steps, or of floats: *out and whether. */
int vt_input_weight(const vt_onnx_node *node, uint32_t i, const vt_constant **out, bool *stepped);

/* Attributes: the default stays if the node does not have it. */
int vt_attribute_int(const vt_onnx_node *node, const char *name, int64_t *value);
int vt_attribute_float(const vt_onnx_node *node, const char *name, float *value, bool *found);
int vt_attribute_ints(const vt_onnx_node *node, const char *name, uint32_t n, int64_t *values);
int vt_attribute_text(const vt_onnx_node *node, const char *name, vt_text *value);
int vt_attribute_tensor(const vt_onnx_node *node, const char *name, vt_constant *value, bool *found);

/* For the operators: errors about the node, the name of its result. */
int vt_bad(const vt_onnx_node *node, const char *what);
int vt_unsupported(const vt_onnx_node *node, const char *what);
int vt_name_output(const vt_onnx_node *node, int index);

/* Floats in memory that the caller frees: exactly `count` of them; one number or one for each channel of the node, where
 * allow_bare takes the shape [channels] for a map too. */
int vt_take_floats(const vt_onnx_node *node, const vt_constant *constant, size_t count, float **out);
int vt_channel_constant(const vt_onnx_node *node, const vt_constant *constant, int of, bool allow_bare, float **out);

/* Strides, padding and dilation of Conv and MaxPool. kernel: height and width as far as they are known; the attribute
 * kernel_shape replaces them. */
int vt_onnx_window(const vt_onnx_node *node, int64_t kernel[2], vt_geometry *g);

/* onnx_quant.c */
int vt_op_quantize(vt_onnx_node *node);
int vt_op_dequantize(vt_onnx_node *node);
/* Weights in steps, input i: `count` numbers of so many output channels, and the step of each. */
int vt_take_weight(const vt_onnx_node *node, uint32_t i, size_t count, uint32_t rows, float **weight, float **step);
int vt_take_bias(const vt_onnx_node *node, uint32_t i, uint32_t count, float **bias);

/* onnx_arithmetic.c */
int vt_op_arithmetic(vt_onnx_node *node);
int vt_op_batch_norm(vt_onnx_node *node);

/* Operators on maps and rows that detectors need (onnx_maps.c). */
int vt_op_max_pool(vt_onnx_node *node);
int vt_op_average_pool(vt_onnx_node *node);
int vt_op_resize(vt_onnx_node *node);
int vt_op_rows(vt_onnx_node *node, const vt_value *from, const int64_t *dims, size_t rank); /* Reshape */
int vt_op_sigmoid(vt_onnx_node *node);
int vt_op_transpose(vt_onnx_node *node);
int vt_op_unsqueeze(vt_onnx_node *node); /* of a constant */

/* Of values that were made rows, and Concat of maps (onnx_rows.c). */
int vt_op_concat(vt_onnx_node *node);
int vt_op_exp(vt_onnx_node *node);
int vt_op_slice(vt_onnx_node *node);
int vt_op_softmax(vt_onnx_node *node);
/* A constant that broadcasts to rows, as vt_channels() floats in memory that the caller frees. */
int vt_row_constant(const vt_onnx_node *node, const vt_constant *constant, const vt_shape *rows, float **out);

/* Sizes, which are constants here, and what is computed from them (onnx_sizes.c). */
int vt_op_cast(vt_onnx_node *node);
int vt_op_gather(vt_onnx_node *node);
int vt_op_shape(vt_onnx_node *node);
int vt_op_squeeze(vt_onnx_node *node); /* and Unsqueeze */
int vt_concat_sizes(vt_onnx_node *node);
int vt_slice_sizes(vt_onnx_node *node);
/* Whether the input is a constant; 1, 0, or a negative status. */
int vt_input_is_constant(const vt_onnx_node *node, uint32_t i);
/* What Slice takes along its one axis, of a value with these dimensions. */
int vt_slice_bounds(const vt_onnx_node *node, const int64_t *dims, size_t rank, size_t *axis, int64_t *start, int64_t *end);

/* Translates the node; onnx_ops.c. */
int vt_onnx_translate(vt_onnx_node *node);

#endif
