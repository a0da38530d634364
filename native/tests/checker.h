/* The kernel checker: what its families share. A family (checker_<family>.c) knows how to try one of its kernels on a
 * random shape and how to time it; test_kernels.c has the list of all kernels.
 *
 * A new family: its function type in kernel_fn, its `family` declared here and defined in a file of its own, its line in
 * test_kernels.c. */
#ifndef TEST_CHECKER_H
#define TEST_CHECKER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "kernels/kernels.h"
#include "random.h"

typedef union kernel_fn {
    vt_gemm_fn *gemm;
    vt_planar_fn *planar;
    vt_dw_fn *dw;
    vt_dw_pair_fn *dw_pair;
    vt_eltwise_fn *eltwise;
    vt_pool_fn *max_pool;
    vt_curve_fn *curve;
    vt_gemm8_fn *gemm8;
    vt_dw8_fn *dw8;
    vt_quantize_fn *quantize;
    vt_dequantize_fn *dequantize;
    vt_wino_in_fn *wino_in;
    vt_wino_out_fn *wino_out;
    vt_planes_fn *planes;
} kernel_fn;

typedef struct kernel kernel;

typedef struct family {
    void (*check)(const kernel *k); /* on one random shape, against double precision; does not return if it is wrong */
    void (*bench)(const kernel *k); /* prints a line, by time_kernel() */
} family;

struct kernel {
    const char *name;
    const family *family;
    vultus_isa isa;
    size_t mr, nr;
    kernel_fn fn;
};

extern const family gemm_family, planar_family, dw3x3_family, dw3x3_pair_family, dwkxk_family, eltwise_family, max_pool_family,
    sigmoid_family, exponential_family, gemm8_family, dw8_family, quantize_family, dequantize_family, wino_in_family, wino_out_family,
    planes_family;

/* An array that begins after a page that nobody may touch or, as often, ends before one; a kernel that goes further dies.
 * On the other side are canaries: beside what is read a NaN, which shows in the sums; beside what is written a number that
 * no sum has, since a NaN that is read and written again would not show. */
typedef struct array {
    void *pages;
    size_t mapped;
    float *first, *end; /* all that is between the pages */
    float *data;        /* aligned to 32 bytes if n is a multiple of 8 */
    size_t n;
} array;

array input(size_t n);               /* random numbers */
array output(size_t n, bool random); /* those, or canaries throughout */
void drop(array a);
bool is_canary(const float *f);
void set_canary(float *f);
double *doubles(size_t n); /* zeros, for free() */

/* A random epilogue for pixels of cp channels, and what it reads. */
typedef struct finish {
    vt_epilogue e;
    array bias, slope, residual;
} finish;

finish random_finish(size_t pixels, size_t cp);
void drop_finish(finish *f);
double reference_finish(const vt_epilogue *e, double sum, size_t pixel, size_t c);

/* Ends the program. */
void fail(const kernel *k, const char *what, size_t at);

/* `got` holds pixels of cp channels ld apart; `want` is dense. Between pixels and around them nothing was written. */
void compare(const kernel *k, const array *got, const double *want, size_t pixels, size_t cp, size_t ld);

/* The canaries on either side only. */
void compare_outside(const kernel *k, const array *got);

/* Prints the best time of run(k, job), which does so many multiply-adds. */
void time_kernel(const kernel *k, double macs, void (*run)(const kernel *k, const void *job), const void *job);

#endif
