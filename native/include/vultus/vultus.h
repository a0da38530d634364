/* vultus.h - the whole public interface of the vultus engine.
 *
 * An engine runs a face embedding network: chips of faces in, vectors out. A network (vultus_network) is any other of
 * ours, such as a detector: pictures of any size in, several arrays out. The library reads EFM3 files and ONNX graphs,
 * needs nothing but libc, libm and pthreads, and does not use the environment, the locale or global state.
 *
 *     vultus_engine *engine;
 *     vultus_error error;
 *     if (vultus_open(&engine, "model.onnx", NULL, &error)) { fprintf(stderr, "%s\n", error.text); return 1; }
 *     vultus_embed_chips(engine, pixels, 1, 0, vector, &error);
 *     vultus_close(&engine);
 *
 * Every function that can fail returns VULTUS_OK (0) or a negative vultus_status, and says why in the vultus_error it
 * was given. The library never prints, never aborts and installs no signal handler.
 */
#ifndef VULTUS_H
#define VULTUS_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#if defined(__GNUC__)
#define VULTUS_API __attribute__((visibility("default")))
#else
#define VULTUS_API
#endif

#define VULTUS_VERSION "0.1.0"

/* No byte of the file is to blame: the value of vultus_error.offset for errors that are not about a file's content. */
#define VULTUS_NO_OFFSET UINT64_MAX

typedef enum vultus_status {
    VULTUS_OK = 0,
    VULTUS_ERROR_ARGUMENT = -1,    /* a parameter is out of the range stated here */
    VULTUS_ERROR_IO = -2,          /* the file could not be read; sys_errno says why */
    VULTUS_ERROR_FORMAT = -3,      /* the file contradicts itself, ends early, or exceeds a limit; offset says where */
    VULTUS_ERROR_UNSUPPORTED = -4, /* a valid file with something that this engine does not compute; named in text */
    VULTUS_ERROR_MEMORY = -5,      /* an allocation failed */
    VULTUS_ERROR_ISA = -6,         /* the asked instruction set is not in this build or not on this processor */
    VULTUS_ERROR_THREAD = -7,      /* a thread could not be started */
    VULTUS_ERROR_FORKED = -8       /* the engine was opened before a fork(), by the parent; open another one */
} vultus_status;

/* Filled by a function that fails, untouched by one that succeeds. Owned by the caller, one for each thread. */
typedef struct vultus_error {
    int32_t status;    /* a vultus_status */
    int32_t sys_errno; /* errno of VULTUS_ERROR_IO, else 0 */
    uint64_t offset;   /* byte of the file that the text is about, or VULTUS_NO_OFFSET */
    char text[256];    /* one line, NUL-terminated, without a full stop; names the byte too when there is one */
} vultus_error;

/* Instruction sets that kernels are written for. */
typedef enum vultus_isa {
    VULTUS_ISA_AUTO = 0,   /* the best that this build carries and this processor runs */
    VULTUS_ISA_SCALAR = 1, /* plain C as the compiler's base flags allow; the reference of all others */
    VULTUS_ISA_AVX2 = 2,   /* x86-64 with AVX2 and FMA */
    VULTUS_ISA_NEON = 3    /* AArch64 */
} vultus_isa;

/* What a network is computed in. */
typedef enum vultus_precision {
    VULTUS_PRECISION_FILE = 0, /* as the file is */
    VULTUS_PRECISION_FP32 = 1,
    VULTUS_PRECISION_INT8 = 2  /* convolutions from bytes, as far as the file says and kernels are there; else floats */
} vultus_precision;

/* Bits of vultus_cpu_features(): what processor and operating system offer together, used here or not. */
#define VULTUS_CPU_AVX (1u << 0)
#define VULTUS_CPU_FMA (1u << 1)
#define VULTUS_CPU_AVX2 (1u << 2)
#define VULTUS_CPU_AVX_VNNI (1u << 3)
#define VULTUS_CPU_AVX512 (1u << 4)      /* F, BW, DQ and VL */
#define VULTUS_CPU_AVX512_VNNI (1u << 5) /* with VULTUS_CPU_AVX512 */
#define VULTUS_CPU_NEON (1u << 6)

/* Start from vultus_options_default(); fields that this version does not know stay zero. */
typedef struct vultus_options {
    uint32_t threads; /* 1..256 processors to use at most; 0 = as many as the calling process may run on */
    uint32_t isa;     /* a vultus_isa; forcing one that cannot run is VULTUS_ERROR_ISA, never a silent fallback */
    uint32_t pin;     /* 1: the threads that the engine starts stay each on one processor, of those that the opening thread may
                       * run on the second, the third and so on; a calling thread is left alone. 0: as the system likes */
    uint32_t precision; /* a vultus_precision; if the file is of the other one, it is refused with VULTUS_ERROR_ARGUMENT */
    uint8_t reserved[48];
} vultus_options;

typedef struct vultus_engine vultus_engine; /* opaque */

typedef struct vultus_info {
    uint32_t dim;          /* numbers of one vector */
    uint32_t height;       /* of one chip, pixels */
    uint32_t width;        /* of one chip, pixels */
    uint32_t threads;      /* what 0 became */
    uint32_t isa;          /* what VULTUS_ISA_AUTO became */
    uint32_t layers;       /* valid indices of vultus_layer() are below this */
    uint64_t weight_bytes; /* packed weights, shared by all threads */
    uint64_t thread_bytes; /* working memory of each thread; all of it is taken by vultus_open() */
    double mean[3];        /* vultus_embed_chips() feeds (pixel - mean) / std, in the network's channel order */
    double std[3];
    uint32_t bgr;          /* 1 if the network wants blue first, else 0 */
    char format[8];        /* "EFM3" or "ONNX" */
    uint32_t precision;    /* VULTUS_PRECISION_FP32 or, if any convolution is computed from bytes, _INT8 */
    uint8_t reserved[60];
} vultus_info;

/* Flags of the embed functions. */
#define VULTUS_EMBED_RAW (1u << 0) /* leave the vector as the network gave it, not scaled to length 1 */

/* Sets every field to its default: threads 0, isa VULTUS_ISA_AUTO, pin 0, reserved bytes zero. */
VULTUS_API void vultus_options_default(vultus_options *options);

/* Opens the model at path, whose format is told by its first bytes, and makes it ready: weights packed, memory planned
 * and taken, threads started. The file is read once and closed; it is treated as hostile. path is borrowed.
 * options may be NULL for the defaults. On success *engine is owned by the caller, who gives it to vultus_close();
 * on failure *engine is NULL. error may be NULL. */
VULTUS_API int vultus_open(vultus_engine **engine, const char *path, const vultus_options *options, vultus_error *error);

/* The same for a model that is in memory. data is borrowed for the time of the call. size is at most 2 GiB. */
VULTUS_API int vultus_open_memory(vultus_engine **engine, const void *data, size_t size, const vultus_options *options,
                                  vultus_error *error);

/* Ends the threads, frees the engine and sets *engine to NULL. *engine may be NULL. No other thread may be inside a
 * function of this engine, or call one later. In a child after fork() it frees the memory only. */
VULTUS_API void vultus_close(vultus_engine **engine);

/* Computes the vectors of n faces. Thread-safe: any number of threads may use one engine at once; together they
 * compute on at most `threads` processors, and a call with one face on as many. Blocks until done, and allocates nothing.
 * x: n x 3 x height x width floats, C order, planes in the network's colour order (red first unless info.bgr), values
 *    normalised as the network was trained (EFM3: (pixel - 127.5) / 128). Borrowed. May be NULL if n is 0.
 * y: n x dim floats, written; each vector of Euclidean length 1 unless VULTUS_EMBED_RAW. A vector of length 0 stays 0.
 *    It must not overlap x.
 * flags: 0 or VULTUS_EMBED_RAW. */
VULTUS_API int vultus_embed(vultus_engine *engine, const float *x, size_t n, uint32_t flags, float *y,
                            vultus_error *error);

/* The same from pixels: chips are n x height x width x 3 bytes, blue, green, red, 0..255, C order. They are normalised
 * and put in order as the model declares (info.mean, info.std, info.bgr). */
VULTUS_API int vultus_embed_chips(vultus_engine *engine, const uint8_t *chips, size_t n, uint32_t flags, float *y,
                                  vultus_error *error);

/* Fills *info. Cannot fail; thread-safe. */
VULTUS_API void vultus_get_info(const vultus_engine *engine, vultus_info *info);

/* A line about layer i, for people: what it computes, its sizes and its kernel. Owned by the engine. NULL if there is
 * no such layer. Thread-safe. */
VULTUS_API const char *vultus_layer(const vultus_engine *engine, size_t i);

/* What a layer costs: one record of a profile. */
typedef struct vultus_layer_time {
    double seconds;   /* an image, of one thread */
    uint64_t macs;    /* multiply-adds of an image; 0 where a layer has none worth counting */
    int32_t group;    /* layers of one number are computed together, in bands of rows; -1: outside of any group */
    uint32_t reserved_word;
    const char *kind; /* "input", "output", "pointwise", "depthwise", ...; static */
    char text[160];   /* as vultus_layer() gives it */
} vultus_layer_time;

/* Measures where the time goes: `rounds` times (at most 1000000; with 0, every time is 0) the plan is computed for n images
 * (1..1024) by one thread, bands and all, with a look at the clock (some 30 ns) after each call of a layer; what is told is
 * the round that was fastest as a whole, divided by n.
 * x: n images as for vultus_embed(), or NULL for noise.
 * times: room for `capacity` records, the first of which is the input, the last the output (scaling and copying), the
 *    layers in order between. *count is set to how many there are; with a capacity of 0 nothing is measured, times may be
 *    NULL, and only *count is set. Any other capacity below *count is VULTUS_ERROR_ARGUMENT.
 * Thread-safe; takes memory for the answers while it measures. */
VULTUS_API int vultus_profile(vultus_engine *engine, const float *x, size_t n, uint32_t rounds,
                              vultus_layer_time *times, size_t capacity, size_t *count, vultus_error *error);

/* How many input sizes a network is ready for at a time; the one not used for longest makes room. */
#define VULTUS_NETWORK_SIZES 4

typedef struct vultus_network vultus_network; /* opaque */

typedef struct vultus_network_info {
    uint32_t height;       /* of the input, pixels; 0 if the file leaves it open */
    uint32_t width;        /* likewise, together with height */
    uint32_t outputs;      /* valid indices of vultus_network_output() are below this */
    uint32_t threads;      /* what 0 became */
    uint32_t isa;          /* what VULTUS_ISA_AUTO became */
    uint32_t bgr;          /* as in vultus_info, like mean and std */
    uint32_t sizes;        /* that are planned now, at most VULTUS_NETWORK_SIZES */
    uint32_t reserved_word;
    uint64_t file_bytes;   /* kept to plan other sizes */
    uint64_t weight_bytes; /* packed weights of all sizes that are planned now */
    uint64_t thread_bytes; /* working memory of each thread: that of the largest size so far */
    double mean[3];
    double std[3];
    uint8_t reserved[64];
} vultus_network_info;

/* One image's value of an output; of n images they follow one another. */
typedef struct vultus_output {
    const char *name; /* UTF-8 as far as the file's is; owned by the network */
    uint32_t rank;
    uint32_t dims[4]; /* rank of them: channels, height, width of a map; rows, columns; or the length of a vector */
} vultus_output;

/* Opens an ONNX graph with one input n x 3 x height x width, whose height and width are both given or both open, and any
 * outputs. It is planned once: at its own size, or at 320 x 320. Otherwise like vultus_open(). */
VULTUS_API int vultus_network_open(vultus_network **network, const char *path, const vultus_options *options,
                                   vultus_error *error);

/* The same for a model that is in memory; data is copied. */
VULTUS_API int vultus_network_open_memory(vultus_network **network, const void *data, size_t size,
                                          const vultus_options *options, vultus_error *error);

/* Like vultus_close(). */
VULTUS_API void vultus_network_close(vultus_network **network);

/* Name and shape of output i for images of the size, which is planned if it is not. Thread-safe. */
VULTUS_API int vultus_network_output(vultus_network *network, uint32_t height, uint32_t width, uint32_t i,
                                     vultus_output *output, vultus_error *error);

/* Computes the outputs of n images of one size. Thread-safe; together all calls compute on at most `threads` processors,
 * and a call with one image on as many. Blocks until done. The first call for a size plans it (a few milliseconds, memory
 * for its weights and, if it is the largest so far, for every thread's work); while it is planned nothing is allocated.
 * When all planned sizes are in use by other calls, a call for another size waits for one of them.
 * x: n x 3 x height x width floats, as for vultus_embed().
 * outputs: info.outputs pointers, each to n times the numbers of that output, or NULL for one that is not wanted. */
VULTUS_API int vultus_network_run(vultus_network *network, const float *x, size_t n, uint32_t height, uint32_t width,
                                  float *const *outputs, vultus_error *error);

/* The same from pixels: n x height x width x 3 bytes, blue, green, red, as for vultus_embed_chips(). */
VULTUS_API int vultus_network_run_pixels(vultus_network *network, const uint8_t *pixels, size_t n, uint32_t height,
                                         uint32_t width, float *const *outputs, vultus_error *error);

/* The text of vultus_layer() for a size, cut to size - 1 bytes; empty if there is no layer i. Thread-safe. */
VULTUS_API int vultus_network_layer(vultus_network *network, uint32_t height, uint32_t width, size_t i, char *text,
                                    size_t size, vultus_error *error);

/* vultus_profile() of a network at a size. */
VULTUS_API int vultus_network_profile(vultus_network *network, const float *x, size_t n, uint32_t height, uint32_t width,
                                      uint32_t rounds, vultus_layer_time *times, size_t capacity, size_t *count,
                                      vultus_error *error);

/* Fills *info. Cannot fail; thread-safe. */
VULTUS_API void vultus_network_get_info(vultus_network *network, vultus_network_info *info);

/* A face that a detector found, in pixels of the picture that the network was given. */
typedef struct vultus_face {
    float box[4];        /* left, top, width, height; parts may lie outside the picture */
    float score;         /* 0..1 */
    float landmarks[10]; /* x and y of right eye, left eye, nose, right and left corner of the mouth; zeros if unknown */
    uint32_t place;      /* which of the network's places it comes from; decides between equal scores */
} vultus_face;

/* The faces that YuNet's heads stand for, for one picture of height x width pixels (multiples of 32), in no order.
 * heads: cls, obj, bbox and kps, of each those of the strides 8, 16 and 32, as vultus_network_run() gives them. Borrowed.
 * score: faces below it, or with a number that is not finite, are left out.
 * faces: places for `capacity` faces; of more than that, those of the highest scores are stored. *found: how many are.
 * Nothing is allocated. Thread-safe. */
VULTUS_API int vultus_decode_yunet(const float *const heads[12], uint32_t height, uint32_t width, float score,
                                   vultus_face *faces, size_t capacity, size_t *found, vultus_error *error);

/* The same of an Ultra-Light detector whose graph ends in its heads, for a picture of any size.
 * scores: vultus_ultralight_rows() x 2, after softmax: no face, face. locations: as many x 4, relative to the priors. */
VULTUS_API int vultus_decode_ultralight(const float *scores, const float *locations, uint32_t height, uint32_t width,
                                        float score, vultus_face *faces, size_t capacity, size_t *found,
                                        vultus_error *error);

/* Rows of an Ultra-Light detector's outputs for a picture of the size; 0 if that is too large. */
VULTUS_API size_t vultus_ultralight_rows(uint32_t height, uint32_t width);

/* Greedy non-maximum suppression, in place: faces become sorted, highest score first, and of those that share more than
 * `iou` (0..1) of the area they cover together only the better one stays. Faces with a number that is not finite go. *kept:
 * how many are left. Its time grows with n times *kept. Nothing is allocated. Thread-safe. */
VULTUS_API int vultus_suppress(vultus_face *faces, size_t n, float iou, size_t *kept, vultus_error *error);

/* What processor and operating system offer (VULTUS_CPU_ bits). Thread-safe. */
VULTUS_API uint32_t vultus_cpu_features(void);

/* 1 if this build carries kernels for the instruction set (a vultus_isa but AUTO) and this processor runs them, 0 if
 * not built, -1 if built but not runnable here. Thread-safe. */
VULTUS_API int vultus_isa_usable(uint32_t isa);

/* "scalar", "avx2", "neon", or NULL for a number that is no instruction set. Static. */
VULTUS_API const char *vultus_isa_name(uint32_t isa);

/* What a layer's speed is a share of: GFLOP/s (a multiply-add is two) of a loop of independent multiply-adds in registers,
 * on 1..256 threads at once; 0 is as many as the calling process may run on. isa: a vultus_isa. It takes `seconds`, which
 * is brought within 0.05..10, and gives the best ten milliseconds: 0.2 are enough on a quiet machine. 0 if the
 * instruction set cannot run here or the threads cannot be started. Thread-safe. */
VULTUS_API double vultus_peak_gflops(uint32_t isa, uint32_t threads, double seconds);

/* VULTUS_VERSION of the library, which may differ from the header's. Static. */
VULTUS_API const char *vultus_version(void);

#ifdef __cplusplus
}
#endif

#endif
