"""The C engine's public interface, as `include/vultus/vultus.h` declares it."""

from libc.stddef cimport size_t
from libc.stdint cimport int32_t, uint8_t, uint32_t, uint64_t


cdef extern from "vultus/vultus.h" nogil:
    const uint64_t VULTUS_NO_OFFSET

    enum:
        VULTUS_OK
        VULTUS_ERROR_ARGUMENT
        VULTUS_ERROR_IO
        VULTUS_ERROR_FORMAT
        VULTUS_ERROR_UNSUPPORTED
        VULTUS_ERROR_MEMORY
        VULTUS_ERROR_ISA
        VULTUS_ERROR_THREAD
        VULTUS_ERROR_FORKED

    ctypedef struct vultus_error:
        int32_t status
        int32_t sys_errno
        uint64_t offset
        char text[256]

    enum:
        VULTUS_ISA_AUTO
        VULTUS_ISA_SCALAR
        VULTUS_ISA_AVX2
        VULTUS_ISA_NEON

    enum:
        VULTUS_CPU_AVX
        VULTUS_CPU_FMA
        VULTUS_CPU_AVX2
        VULTUS_CPU_AVX_VNNI
        VULTUS_CPU_AVX512
        VULTUS_CPU_AVX512_VNNI
        VULTUS_CPU_NEON

    enum:
        VULTUS_EMBED_RAW

    enum:
        VULTUS_PRECISION_FILE
        VULTUS_PRECISION_FP32
        VULTUS_PRECISION_INT8

    ctypedef struct vultus_options:
        uint32_t threads
        uint32_t isa
        uint32_t precision

    ctypedef struct vultus_engine:
        pass

    ctypedef struct vultus_info:
        uint32_t dim
        uint32_t height
        uint32_t width
        uint32_t threads
        uint32_t isa
        uint32_t layers
        uint64_t weight_bytes
        uint64_t thread_bytes
        double mean[3]
        double std[3]
        uint32_t bgr
        char format[8]
        uint32_t precision

    void vultus_options_default(vultus_options *options)
    int vultus_open(vultus_engine **engine, const char *path, const vultus_options *options, vultus_error *error)
    int vultus_open_memory(vultus_engine **engine, const void *data, size_t size, const vultus_options *options,
                           vultus_error *error)
    void vultus_close(vultus_engine **engine)
    int vultus_embed(vultus_engine *engine, const float *x, size_t n, uint32_t flags, float *y, vultus_error *error)
    int vultus_embed_chips(vultus_engine *engine, const uint8_t *chips, size_t n, uint32_t flags, float *y,
                           vultus_error *error)
    void vultus_get_info(const vultus_engine *engine, vultus_info *info)
    const char *vultus_layer(const vultus_engine *engine, size_t i)

    ctypedef struct vultus_layer_time:
        double seconds
        uint64_t macs
        int32_t group
        const char *kind
        char text[160]

    int vultus_profile(vultus_engine *engine, const float *x, size_t n, uint32_t rounds, vultus_layer_time *times,
                       size_t capacity, size_t *count, vultus_error *error)
    const uint32_t VULTUS_NETWORK_SIZES

    ctypedef struct vultus_network:
        pass

    ctypedef struct vultus_network_info:
        uint32_t height
        uint32_t width
        uint32_t outputs
        uint32_t threads
        uint32_t isa
        uint32_t bgr
        uint32_t sizes
        uint64_t file_bytes
        uint64_t weight_bytes
        uint64_t thread_bytes
        double mean[3]
        double std[3]

    ctypedef struct vultus_output:
        const char *name
        uint32_t rank
        uint32_t dims[4]

    int vultus_network_open(vultus_network **network, const char *path, const vultus_options *options,
                            vultus_error *error)
    void vultus_network_close(vultus_network **network)
    int vultus_network_output(vultus_network *network, uint32_t height, uint32_t width, uint32_t i,
                              vultus_output *output, vultus_error *error)
    int vultus_network_run(vultus_network *network, const float *x, size_t n, uint32_t height, uint32_t width,
                           float **outputs, vultus_error *error)
    int vultus_network_run_pixels(vultus_network *network, const uint8_t *pixels, size_t n, uint32_t height,
                                  uint32_t width, float **outputs, vultus_error *error)
    int vultus_network_layer(vultus_network *network, uint32_t height, uint32_t width, size_t i, char *text,
                             size_t size, vultus_error *error)
    int vultus_network_profile(vultus_network *network, const float *x, size_t n, uint32_t height, uint32_t width,
                               uint32_t rounds, vultus_layer_time *times, size_t capacity, size_t *count,
                               vultus_error *error)
    void vultus_network_get_info(vultus_network *network, vultus_network_info *info)
    uint32_t vultus_cpu_features()
    int vultus_isa_usable(uint32_t isa)
    const char *vultus_isa_name(uint32_t isa)
    double vultus_peak_gflops(uint32_t isa, uint32_t threads, double seconds)
    const char *vultus_version()

    ctypedef struct vultus_face:
        float box[4]
        float score
        float landmarks[10]
        uint32_t place

    int vultus_decode_yunet(const float *const *heads, uint32_t height, uint32_t width, float score, vultus_face *faces,
                            size_t capacity, size_t *found, vultus_error *error)
    int vultus_decode_ultralight(const float *scores, const float *locations, uint32_t height, uint32_t width,
                                 float score, vultus_face *faces, size_t capacity, size_t *found, vultus_error *error)
    size_t vultus_ultralight_rows(uint32_t height, uint32_t width)
    int vultus_suppress(vultus_face *faces, size_t n, float iou, size_t *kept, vultus_error *error)
