/* From the bytes of a file to a graph. */
#ifndef VT_LOAD_H
#define VT_LOAD_H

#include "graph.h"

#define VT_PROBE_SIDE 320 /* at which a network of any size is looked at when it is opened */
#define VT_MAX_FILE ((uint64_t)1 << 31)

typedef struct vt_file {
    const uint8_t *data;
    size_t size;
} vt_file;

/* Reads a whole file into memory that vt_file_free() gives back. */
int vt_file_read(const char *path, vt_file *file, vultus_error *error);
void vt_file_free(vt_file *file);

/* Tells the format by the first bytes and fills a graph, which the caller frees also on failure; before, it is zero but
 * for `network`, `height` and `width`. */
int vt_load(const vt_file *file, vt_graph *graph, vultus_error *error);
int vt_load_efm3(const vt_file *file, vt_graph *graph, vultus_error *error);
int vt_load_onnx(const vt_file *file, vt_graph *graph, vultus_error *error);

/* A 32-bit little-endian word of any alignment. */
static inline uint32_t vt_u32(const uint8_t *p)
{
    return (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

/* Copies n little-endian floats; fails, naming the byte, at the first that is not finite. offset is that of src. */
int vt_copy_floats(float *dst, const uint8_t *src, size_t n, uint64_t offset, vultus_error *error);

/* Turns batch-norm statistics into scale and shift, in place of nothing: both are written. */
int vt_batch_norm(double *scale, double *shift, const float *gamma, const float *beta, const float *mean,
                  const float *variance, size_t n, double epsilon, uint64_t offset, vultus_error *error);

#endif
