/* Kernel families: what each function does, and what it may assume.
 *
 * Maps are stored pixel by pixel with the channels innermost. A pixel's channels are padded with zeros to a multiple of
 * 8 (`cp`), and pixels stand `ld` floats apart, ld >= cp and a multiple of 8. Every pointer to a pixel is aligned to
 * 32 bytes. No kernel reads or writes a byte outside the channels of the pixels that it is given.
 *
 * All lengths are in elements. `nr` is the number of output channels that a matrix kernel computes at a time; weights
 * are packed in panels of nr columns, [k][nr], by pack.c.
 */
#ifndef VT_KERNELS_H
#define VT_KERNELS_H

#include <stddef.h>
#include <stdint.h>

#include "../graph.h"
#include "bytes.h"

/* Before a loop of constant length: write it out, so that arrays indexed by it become registers; or keep it a loop. */
#if defined(__clang__)
#define VT_UNROLL _Pragma("clang loop unroll(full)")
#define VT_KEEP_LOOP _Pragma("clang loop unroll(disable)")
#elif defined(__GNUC__)
#define VT_UNROLL _Pragma("GCC unroll 16")
#define VT_KEEP_LOOP _Pragma("GCC unroll 1")
#else
#define VT_UNROLL
#define VT_KEEP_LOOP
#endif

/* From a sum to what is stored: y = act(sum + bias + residual). */
typedef struct vt_epilogue {
    const float *bias;     /* [channels]; NULL: the sum goes on from what `out` holds */
    const float *residual; /* like `out`, pixels ldr apart; NULL: none */
    size_t ldr;
    const float *slope;    /* [channels], of VT_ACT_PRELU */
    float lo, hi;          /* of VT_ACT_CLIP */
    vt_act act;
} vt_epilogue;

/* out[i][0..nr) = epilogue(sum over p < k of a[i * lda + p] * w[p * nr + 0..nr)), for i < m.
 * a needs the alignment of a float only. */
typedef void vt_gemm_fn(size_t m, size_t k, const float *a, size_t lda, const float *w, float *out, size_t ldo,
                        const vt_epilogue *e);

/* The same with a gathered a: a[i * step + offsets[p]]. For a convolution that reads padded planes: i runs along a row
 * of the output, p over channels, kernel rows and kernel columns. */
typedef void vt_planar_fn(size_t m, size_t k, const float *a, size_t step, const size_t *offsets, const float *w,
                          float *out, size_t ldo, const vt_epilogue *e);

#define VT_DW_MAX_ROWS VT_MAX_KERNEL

/* A row of a depthwise convolution. */
typedef struct vt_dw_row {
    const float *rows[VT_DW_MAX_ROWS]; /* kh input rows; one outside the map points at zeros */
    size_t w_in, ld_in;
    float *out;
    size_t w_out, ldo;
    size_t cp;
    size_t kh, kw, stride, dilation, left; /* left: columns of zero padding */
    const float *w;                        /* [kh][kw][cp] */
    vt_epilogue e;
} vt_dw_row;

typedef void vt_dw_fn(const vt_dw_row *row);

/* The output row below the one of a vt_dw_row. */
typedef struct vt_dw_below {
    float *out;
    const float *residual; /* as of the epilogue */
} vt_dw_below;

/* Both rows, from four input rows: kh = kw = 3, stride and dilation 1, at most one column of padding on either side. */
typedef void vt_dw_pair_fn(const vt_dw_row *row, const vt_dw_below *below);

/* Maxima instead of sums: of kh rows and kw columns, dilation 1; w and e are not read. A row outside the map is given as
 * one inside the window, which the maximum does not notice. */
typedef void vt_pool_fn(const vt_dw_row *row);

/* out[i] = f(x[i]) for i < n; out may be x. Neither needs an alignment. f is the sigmoid 1 / (1 + exp(-x)), to 2e-7, or the
 * exponential, to 3e-7 of itself, which becomes infinity or 0 where a float ends. */
typedef void vt_curve_fn(size_t n, const float *x, float *out);

/* The bytes of n pixels, three each, to planes: planes[c][i] = pixels[3 * i + c] * scale[c] + shift[c]. Nothing needs an
 * alignment. */
typedef void vt_planes_fn(size_t n, const uint8_t *pixels, float *const *planes, const float *scale, const float *shift);

/* n rounds of a fixed number of independent multiply-adds, s = s * x + 1, which touch no memory; returns the sum of all s.
 * It measures what the processor can do at all (peak.c). */
typedef float vt_peak_fn(size_t n, float x);

/* out = act(x * scale + shift + residual) for n pixels; scale and e->bias (the shift) are [cp], scale may be NULL. */
typedef void vt_eltwise_fn(size_t n, size_t cp, const float *x, size_t ldx, const float *scale, float *out, size_t ldo,
                           const vt_epilogue *e);

/* Winograd's F(4x4, 3x3): a convolution of stride 1 as 36 matrix products, one for each place of a transformed tile
 * (wino.h has the matrices). Tile i of a row of tiles makes output pixels 4i to 4i + 3 of each of four rows. */

/* From a map to the products' left sides, one row of tiles: out[p * plane + i * ldo + c] = (B^T d B) at p = 6 * row +
 * column, for each of `cp` channels. d are the pixels of rows[0..5], columns 4i - left and on, scaled and shifted where
 * there is a scale, and zero outside the map. */
typedef struct vt_wino_in {
    const float *rows[6]; /* NULL: outside the map */
    size_t w, ld;
    size_t left;          /* columns of zero padding, at most 4 */
    size_t tiles, cp;
    const float *scale, *shift; /* [cp]; scale NULL: neither */
    float *out;
    size_t ldo, plane;
} vt_wino_in;

typedef void vt_wino_in_fn(const vt_wino_in *in);

/* From the products back: rows x w pixels ldo apart, one row after the other, are the epilogue of A^T m A. rows is at
 * most 4, w more than 4 * (tiles - 1) and at most 4 * tiles; what lies beyond is not written. The epilogue's pixels are
 * numbered in the same order. */
typedef struct vt_wino_out {
    const float *in;
    size_t ldi, plane;
    size_t tiles, cp;
    float *out;
    size_t rows, w, ldo;
    vt_epilogue e;
} vt_wino_out;

typedef void vt_wino_out_fn(const vt_wino_out *out);

/* Widths of panels, narrow to wide; every multiple of 8 is a sum of them. */
enum { VT_NR_8, VT_NR_16, VT_NR_24, VT_NR_COUNT };
#define VT_NR(index) (((size_t)(index) + 1) * 8)

/* One kernel of each kind: what a layer calls. */
typedef struct vt_kernels {
    vultus_isa isa;
    vt_gemm_fn *gemm[VT_NR_COUNT];
    vt_planar_fn *planar[VT_NR_COUNT];
    vt_dw_fn *dw3x3;   /* kh = kw = 3, dilation 1, stride 1 or 2, left 0 or 1 */
    vt_dw_fn *dwkxk;   /* any */
    vt_dw_pair_fn *dw3x3_pair; /* NULL where nothing is gained by two rows */
    vt_eltwise_fn *eltwise;
    vt_pool_fn *max_pool;
    vt_curve_fn *sigmoid;
    vt_curve_fn *exponential;
    vt_gemm8_fn *gemm8[VT_NR_COUNT];
    vt_dw8_fn *dw8;
    vt_quantize_fn *quantize;
    vt_dequantize_fn *dequantize;
    vt_wino_in_fn *wino_in;
    vt_wino_out_fn *wino_out;
    vt_planes_fn *planes;
    vt_peak_fn *peak;
    size_t peak_macs;  /* multiply-adds of one round of peak */
    const char *names[2 * VT_NR_COUNT + 7]; /* in the order of the members, without the peak */
    const char *names8[VT_NR_COUNT + 3];    /* those of bytes, likewise */
} vt_kernels;

/* Fills the table for an instruction set that is built and runs here: plain C first, then raised. */
void vt_kernels_select(vultus_isa isa, vt_kernels *kernels);

/* One declaration for each line of the list. */
#define VT_KERNEL_GEMM(symbol, isa, mr, nr) vt_gemm_fn symbol;
#define VT_KERNEL_PLANAR(symbol, isa, mr, nr) vt_planar_fn symbol;
#define VT_KERNEL_DW3X3(symbol, isa, mr, nr) vt_dw_fn symbol;
#define VT_KERNEL_DWKXK(symbol, isa, mr, nr) vt_dw_fn symbol;
#define VT_KERNEL_DW3X3_PAIR(symbol, isa, mr, nr) vt_dw_pair_fn symbol;
#define VT_KERNEL_ELTWISE(symbol, isa, mr, nr) vt_eltwise_fn symbol;
#define VT_KERNEL_MAX_POOL(symbol, isa, mr, nr) vt_pool_fn symbol;
#define VT_KERNEL_SIGMOID(symbol, isa, mr, nr) vt_curve_fn symbol;
#define VT_KERNEL_EXPONENTIAL(symbol, isa, mr, nr) vt_curve_fn symbol;
#define VT_KERNEL_GEMM8(symbol, isa, mr, nr) vt_gemm8_fn symbol;
#define VT_KERNEL_DW8(symbol, isa, mr, nr) vt_dw8_fn symbol;
#define VT_KERNEL_QUANTIZE(symbol, isa, mr, nr) vt_quantize_fn symbol;
#define VT_KERNEL_DEQUANTIZE(symbol, isa, mr, nr) vt_dequantize_fn symbol;
#define VT_KERNEL_WINO_IN(symbol, isa, mr, nr) vt_wino_in_fn symbol;
#define VT_KERNEL_WINO_OUT(symbol, isa, mr, nr) vt_wino_out_fn symbol;
#define VT_KERNEL_PLANES(symbol, isa, mr, nr) vt_planes_fn symbol;
#define VT_KERNEL_PEAK(symbol, isa, mr, nr) vt_peak_fn symbol;
#include "kernels.inc"

#endif
