#include "load.h"

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static int read_all(int fd, const char *path, vt_file *file, vultus_error *error)
{
    struct stat info;
    uint8_t *data;
    size_t size, got = 0;

    if (fstat(fd, &info))
        return vt_fail_io(error, errno, "%s: %s", path, strerror(errno));
    if (!S_ISREG(info.st_mode))
        return vt_fail_io(error, S_ISDIR(info.st_mode) ? EISDIR : EINVAL, "%s: not a regular file", path);
    if ((uint64_t)info.st_size > VT_MAX_FILE)
        return vt_fail(error, VULTUS_ERROR_FORMAT, "%s: a file of %lld bytes exceeds the limit of 2 GiB", path,
                       (long long)info.st_size);
    size = (size_t)info.st_size;
    data = malloc(size ? size : 1);
    if (!data)
        return vt_fail_memory(error, size);
    while (got < size) {
        const ssize_t n = read(fd, data + got, size - got);

        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0) {
            const int saved = n < 0 ? errno : EIO;

            free(data);
            return vt_fail_io(error, saved, "%s: %s", path, n < 0 ? strerror(saved) : "became shorter while it was read");
        }
        got += (size_t)n;
    }
    file->data = data;
    file->size = size;
    return VULTUS_OK;
}

int vt_file_read(const char *path, vt_file *file, vultus_error *error)
{
    const int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK); /* a FIFO must not hang us */
    int status;

    if (fd < 0)
        return vt_fail_io(error, errno, "%s: %s", path, strerror(errno));
    status = read_all(fd, path, file, error);
    close(fd);
    return status;
}

void vt_file_free(vt_file *file)
{
    free((void *)(uintptr_t)file->data);
    file->data = NULL;
    file->size = 0;
}

int vt_load(const vt_file *file, vt_graph *graph, vultus_error *error)
{
    if (file->size >= 4 && memcmp(file->data, "EFM3", 4) == 0)
        return graph->network ? vt_fail_at(error, VULTUS_ERROR_FORMAT, 0, "an EFM3 file is an embedder: open an engine")
                              : vt_load_efm3(file, graph, error);
    /* An ONNX file has no magic, but is a protobuf message whose first field is nearly always ir_version (1). */
    if (file->size >= 2 && file->data[0] == 0x08)
        return vt_load_onnx(file, graph, error);
    return vt_fail_at(error, VULTUS_ERROR_FORMAT, 0,
                      "neither an EFM3 file (it would begin with \"EFM3\") nor an ONNX model (with its ir_version)");
}

int vt_copy_floats(float *dst, const uint8_t *src, size_t n, uint64_t offset, vultus_error *error)
{
    for (size_t i = 0; i < n; i++) {
        const uint32_t bits = vt_u32(src + 4 * i);

        if ((bits & 0x7f800000u) == 0x7f800000u)
            return vt_fail_at(error, VULTUS_ERROR_FORMAT, offset + 4 * i, "a weight is not a finite number");
        memcpy(dst + i, &bits, sizeof bits);
    }
    return VULTUS_OK;
}

int vt_batch_norm(double *scale, double *shift, const float *gamma, const float *beta, const float *mean,
                  const float *variance, size_t n, double epsilon, uint64_t offset, vultus_error *error)
{
    for (size_t i = 0; i < n; i++) {
        const double sum = (double)variance[i] + epsilon;

        if (!(sum > 0))
            return vt_fail_at(error, VULTUS_ERROR_FORMAT, offset, "a batch norm has the variance %g in channel %zu",
                              (double)variance[i], i);
        scale[i] = (double)gamma[i] / sqrt(sum);
        shift[i] = (double)beta[i] - (double)mean[i] * scale[i];
    }
    return VULTUS_OK;
}
