/* Reader of EFM3, the weight file of the FaceX MobileFaceNet family. Little-endian, no padding:
 *
 *     "EFM3" | u32 version | 80 bytes header | u32 n, n bytes JSON | u32 count | count x (u32 bytes, numbers)
 *
 * The header (16 bytes, then 8 records of 8 bytes) states the whole network; the JSON is for people and not read.
 * Tensors come in the order of computation. Version 3, FP32: for each convolution its weight, the four vectors of its
 * batch norm, and its PReLU slopes if it has any. Version 4, INT8 (docs/formats.md): what its input is rounded to, its
 * weight in steps, the step and the bias of each output channel, and the slopes.
 */
#include <stdlib.h>
#include <string.h>

#include "load.h"

#define SIDE 112
#define EPSILON 1e-5
#define HEADER_AT 8
#define HEADER_BYTES 80
#define STAGES_MAX 8

typedef struct stage {
    uint32_t expansion, blocks, stride;
} stage;

typedef struct header {
    uint32_t n_stages, stem_kernel, stem_stride, stem, block, final, dim, global_kernel;
    stage stages[STAGES_MAX];
} header;

typedef struct reader {
    uint32_t version;
    const vt_file *file;
    size_t at; /* <= file->size */
    vt_graph *graph;
    vultus_error *error;
} reader;

static int take(reader *r, size_t bytes, const char *what, const uint8_t **data)
{
    if (r->file->size - r->at < bytes)
        return vt_fail_at(r->error, VULTUS_ERROR_FORMAT, r->at, "the file ends within %s: %zu bytes of %zu are there", what,
                          r->file->size - r->at, bytes);
    *data = r->file->data + r->at;
    r->at += bytes;
    return VULTUS_OK;
}

static int take_u32(reader *r, const char *what, uint32_t *value)
{
    const uint8_t *p = NULL;
    const int status = take(r, 4, what, &p);

    if (!status)
        *value = vt_u32(p);
    return status;
}

static int check_zero(const reader *r, const uint8_t *p, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (p[i])
            return vt_fail_at(r->error, VULTUS_ERROR_FORMAT, (uint64_t)(p + i - r->file->data),
                              "a reserved byte of the header is %u, not zero", p[i]);
    return VULTUS_OK;
}

static int read_stages(const reader *r, const uint8_t *records, header *h)
{
    for (uint32_t i = 0; i < STAGES_MAX; i++) {
        const uint8_t *p = records + (size_t)8 * i;
        const uint64_t offset = (uint64_t)(p - r->file->data);
        const int status = i < h->n_stages ? check_zero(r, p + 3, 5) : check_zero(r, p, 8);

        if (status)
            return status;
        if (i >= h->n_stages)
            continue;
        h->stages[i] = (stage){p[0], p[1], p[2]};
        if (p[0] == 0 || p[1] == 0 || p[2] == 0)
            return vt_fail_at(r->error, VULTUS_ERROR_FORMAT, offset,
                              "stage %u has expansion %u, %u blocks and stride %u; none may be 0", i, p[0], p[1], p[2]);
    }
    return VULTUS_OK;
}

static int read_header(reader *r, header *h)
{
    const uint8_t *p = NULL;
    int status = take(r, HEADER_BYTES, "the architecture header", &p);

    if (status)
        return status;
    *h = (header){.n_stages = p[1],
                  .stem_kernel = p[2],
                  .stem_stride = p[3],
                  .stem = p[4] | (uint32_t)p[5] << 8,
                  .block = p[6] | (uint32_t)p[7] << 8,
                  .final = p[8] | (uint32_t)p[9] << 8,
                  .dim = p[10] | (uint32_t)p[11] << 8,
                  .global_kernel = p[12]};
    if (p[0] != 1)
        return vt_fail_at(r->error, VULTUS_ERROR_FORMAT, HEADER_AT, "header version %u, of which only 1 is known", p[0]);
    if (h->n_stages < 1 || h->n_stages > STAGES_MAX)
        return vt_fail_at(r->error, VULTUS_ERROR_FORMAT, HEADER_AT + 1, "%u stages, which is outside 1..8", h->n_stages);
    if (h->stem_kernel != 3)
        return vt_fail_at(r->error, VULTUS_ERROR_FORMAT, HEADER_AT + 2, "a stem kernel of %u; the format has 3 only",
                          h->stem_kernel);
    if (h->stem_stride == 0)
        return vt_fail_at(r->error, VULTUS_ERROR_FORMAT, HEADER_AT + 3, "a stem stride of 0");
    if (!h->stem || !h->block || !h->final || !h->dim)
        return vt_fail_at(r->error, VULTUS_ERROR_FORMAT, HEADER_AT + 4,
                          "channels %u / %u / %u and %u numbers of embedding; none may be 0", h->stem, h->block, h->final,
                          h->dim);
    status = check_zero(r, p + 13, 3);
    return status ? status : read_stages(r, p + 16, h);
}

static uint32_t tensors_implied(const header *h, uint32_t version)
{
    const uint32_t plain = version == 3 ? 5 : 4, prelu = plain + 1;
    uint32_t count = 3 * prelu + 2 * plain; /* stem, dw_stem, final_conv; gdconv, embed_proj */

    for (uint32_t i = 0; i < h->n_stages; i++)
        count += h->stages[i].blocks * (2 * prelu + plain);
    return count;
}

/* One record of exactly n floats into memory that the caller frees. */
static int take_tensor(reader *r, size_t n, const char *what, float **out)
{
    const size_t at = r->at;
    const uint8_t *p = NULL;
    uint32_t bytes;
    int status = take_u32(r, what, &bytes);

    if (status)
        return status;
    if (bytes != n * sizeof(float))
        return vt_fail_at(r->error, VULTUS_ERROR_FORMAT, at, "%s has %u bytes where the header implies %zu", what, bytes,
                          n * sizeof(float));
    status = take(r, bytes, what, &p);
    if (status)
        return status;
    *out = malloc(n * sizeof(float));
    if (!*out)
        return vt_fail_memory(r->error, n * sizeof(float));
    return vt_copy_floats(*out, p, n, at + 4, r->error);
}

static int take_batch_norm(reader *r, int conv, int *out)
{
    static const char *const names[] = {"a batch-norm weight", "a batch-norm bias", "a batch-norm mean",
                                        "a batch-norm variance"};
    const size_t n = r->graph->nodes[conv].shape.c;
    float *v[4] = {NULL, NULL, NULL, NULL};
    size_t variance_at = r->at;
    int status = VULTUS_OK;

    for (int i = 0; i < 4 && !status; i++) {
        variance_at = r->at;
        status = take_tensor(r, n, names[i], &v[i]);
    }
    if (!status)
        status = vt_graph_affine(r->graph, conv, variance_at, out, r->error);
    if (!status) {
        vt_node *node = &r->graph->nodes[*out];

        node->scale = malloc(n * sizeof(double));
        node->shift = malloc(n * sizeof(double));
        if (!node->scale || !node->shift)
            status = vt_fail_memory(r->error, n * sizeof(double));
        else
            status = vt_batch_norm(node->scale, node->shift, v[0], v[1], v[2], v[3], n, EPSILON, variance_at, r->error);
    }
    for (int i = 0; i < 4; i++)
        free(v[i]);
    return status;
}

/* One record of exactly n bytes, borrowed. */
static int take_bytes(reader *r, size_t n, const char *what, const uint8_t **out)
{
    const size_t at = r->at;
    uint32_t bytes;
    const int status = take_u32(r, what, &bytes);

    if (status)
        return status;
    if (bytes != n)
        return vt_fail_at(r->error, VULTUS_ERROR_FORMAT, at, "%s has %u bytes where the header implies %zu", what, bytes, n);
    return take(r, n, what, out);
}

/* What the input of a convolution is rounded to, if to anything: *at becomes the node that does it. */
static int take_quant(reader *r, int *at)
{
    const uint8_t *p = NULL;
    const size_t offset = r->at + 4;
    vt_quant quant = {0, 0};
    uint32_t zero;
    int status = take_bytes(r, 8, "a scale of activations", &p);

    if (!status)
        status = vt_copy_floats(&quant.scale, p, 1, offset, r->error);
    if (status)
        return status;
    zero = vt_u32(p + 4);
    if (zero > 255 || (quant.scale == 0 && zero))
        return vt_fail_at(r->error, VULTUS_ERROR_FORMAT, offset + 4, "a zero point of %u for a scale of %g", zero,
                          (double)quant.scale);
    quant.zero = (uint8_t)zero;
    return quant.scale == 0 ? VULTUS_OK : vt_graph_quant(r->graph, *at, quant, offset, at, r->error);
}

static int take_steps(reader *r, vt_node *node)
{
    const size_t count = vt_weight_count(r->graph, node), row = count / node->shape.c;
    const uint8_t *p = NULL;
    size_t at;
    int status = take_bytes(r, count, "a convolution weight", &p);

    at = r->at + 4;
    if (!status)
        status = take_tensor(r, node->shape.c, "the steps of a weight", &node->step);
    if (status)
        return status;
    node->weight = malloc(count * sizeof(float));
    if (!node->weight)
        return vt_fail_memory(r->error, count * sizeof(float));
    for (size_t n = 0; n < node->shape.c; n++) {
        if (!(node->step[n] >= 0))
            return vt_fail_at(r->error, VULTUS_ERROR_FORMAT, at + 4 * n, "a step of %g", (double)node->step[n]);
        for (size_t i = n * row; i < (n + 1) * row; i++)
            node->weight[i] = (float)(p[i] < 128 ? p[i] : p[i] - 256) * node->step[n];
    }
    return VULTUS_OK;
}

static int take_bias(reader *r, vt_node *node)
{
    float *bias = NULL;
    int status = take_tensor(r, node->shape.c, "a bias", &bias);

    if (!status) {
        node->shift = malloc(node->shape.c * sizeof *node->shift);
        status = node->shift ? VULTUS_OK : vt_fail_memory(r->error, node->shape.c * sizeof *node->shift);
    }
    for (uint32_t c = 0; c < node->shape.c && !status; c++)
        node->shift[c] = (double)bias[c];
    free(bias);
    return status;
}

/* A convolution with its batch norm and, if asked, its PReLU: *at is the node before and then the last one. */
static int take_conv(reader *r, int *at, uint32_t c_out, uint32_t kernel, uint32_t stride, uint32_t padding,
                     bool depthwise, bool prelu)
{
    const uint32_t groups = depthwise ? c_out : 1;
    const vt_geometry g = {kernel, kernel, stride, stride, 1, 1, padding, padding, padding, padding, groups};
    const uint64_t offset = r->at;
    int node = 0, status = r->version == 3 ? VULTUS_OK : take_quant(r, at);

    if (!status)
        status = vt_graph_conv(r->graph, *at, c_out, &g, offset, &node, r->error);
    if (!status && r->version == 3) {
        status = take_tensor(r, vt_weight_count(r->graph, &r->graph->nodes[node]), "a convolution weight",
                             &r->graph->nodes[node].weight);
        if (!status)
            status = take_batch_norm(r, node, at);
    } else if (!status) {
        status = take_steps(r, &r->graph->nodes[node]);
        if (!status)
            status = take_bias(r, &r->graph->nodes[node]);
        *at = node;
    }
    if (!status && prelu) {
        status = vt_graph_prelu(r->graph, *at, r->at, &node, r->error);
        if (!status)
            status = take_tensor(r, c_out, "a PReLU slope", &r->graph->nodes[node].slope);
        *at = node;
    }
    return status;
}

static int take_block(reader *r, int *at, uint32_t expansion, uint32_t c_out, uint32_t stride)
{
    const int before = *at;
    const uint32_t c_in = r->graph->nodes[before].shape.c, wide = c_in * expansion; /* < 2^16 * 2^8 */
    int status = take_conv(r, at, wide, 1, 1, 0, false, true);

    if (!status)
        status = take_conv(r, at, wide, 3, stride, 1, true, true);
    if (!status)
        status = take_conv(r, at, c_out, 1, 1, 0, false, false);
    if (!status && stride == 1 && c_in == c_out)
        status = vt_graph_add(r->graph, before, *at, r->at, at, r->error);
    return status;
}

static int take_network(reader *r, const header *h)
{
    int at = 0;
    int status = take_conv(r, &at, h->stem, h->stem_kernel, h->stem_stride, 1, false, true);

    if (!status)
        status = take_conv(r, &at, h->stem, 3, 1, 1, true, true);
    for (uint32_t i = 0; i < h->n_stages; i++)
        for (uint32_t b = 0; b < h->stages[i].blocks && !status; b++)
            status = take_block(r, &at, h->stages[i].expansion, i ? h->block : h->stem, b ? 1 : h->stages[i].stride);
    if (!status)
        status = take_conv(r, &at, h->final, 1, 1, 0, false, true);
    if (!status) {
        const vt_shape s = r->graph->nodes[at].shape;

        if (s.h != h->global_kernel || s.w != h->global_kernel)
            return vt_fail_at(r->error, VULTUS_ERROR_FORMAT, HEADER_AT + 12,
                              "a global kernel of %u where the strides leave a map of %u x %u", h->global_kernel, s.h, s.w);
        status = take_conv(r, &at, h->final, h->global_kernel, 1, 0, true, false);
    }
    if (!status)
        status = take_conv(r, &at, h->dim, 1, 1, 0, false, false);
    if (!status)
        status = vt_graph_output(r->graph, "vector", 6, at, HEADER_AT, r->error);
    return status;
}

int vt_load_efm3(const vt_file *file, vt_graph *graph, vultus_error *error)
{
    reader r = {0, file, 4, graph, error};
    uint32_t json, count;
    const uint8_t *skipped;
    header h;
    int status = take_u32(&r, "the version", &r.version);

    if (!status && r.version != 3 && r.version != 4)
        return vt_fail_at(error, VULTUS_ERROR_FORMAT, 4, "EFM version %u, of which only 3 and 4 are known", r.version);
    if (!status)
        status = read_header(&r, &h);
    if (!status)
        status = take_u32(&r, "the length of the JSON text", &json);
    if (!status)
        status = take(&r, json, "the JSON text", &skipped);
    if (!status)
        status = take_u32(&r, "the number of tensors", &count);
    if (!status && count != tensors_implied(&h, r.version))
        return vt_fail_at(error, VULTUS_ERROR_FORMAT, r.at - 4, "%u tensors where the header implies %u", count,
                          tensors_implied(&h, r.version));
    if (!status)
        status = vt_graph_init(graph, "EFM3", SIDE, SIDE, 0, error);
    for (int c = 0; c < 3 && !status; c++) {
        graph->mean[c] = 127.5;
        graph->std[c] = 128;
    }
    if (!status)
        status = take_network(&r, &h);
    if (!status && r.at != file->size)
        return vt_fail_at(error, VULTUS_ERROR_FORMAT, r.at, "%zu bytes follow the last tensor", file->size - r.at);
    return status;
}
