/* Kernel families of INT8 layers: sums of products of bytes, exact, then one float for each sum.
 *
 * Activations are bytes 0..255, of which `zero` stands for 0; weights are -128..127. A sum of products is computed as it
 * is, zero points and all: what they add is constant and is in the bias. Processors without dot products of bytes add
 * products in pairs that saturate at 16 bits, so weights come in pairs that cannot reach that: the positive ones of a
 * pair add up to 128 at most, and so do the negative ones (VT_PAIR_MOST x 255 < 2^15).
 *
 * Maps of bytes lie like the others, pixel by pixel, ld bytes apart, a multiple of 32; a pixel's address is a multiple
 * of 32 too. Channels beyond the map's are written and read, but count for nothing.
 */
#ifndef VT_BYTES_H
#define VT_BYTES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "../graph.h"

#define VT_PAIR_MOST 128

/* From a sum to what is stored: y = act((sum + bias) * scale + residual), as a float; or without a residual, rounded to
 * the nearest (to even between two), plus zero, within 0..255, as a byte. Every kernel rounds after the product and after
 * each sum: all of them store the same. |sum + bias| * scale stays below 2^30. */
typedef struct vt_finish8 {
    const int32_t *bias;   /* [channels] */
    const float *scale;    /* [channels] */
    const float *residual; /* pixels ldr apart; NULL: none */
    size_t ldr;
    const float *slope;    /* [channels], of VT_ACT_PRELU: -1..1, so that it is max(y, slope * y) */
    float lo, hi;          /* of VT_ACT_CLIP */
    vt_act act;
    int zero;
    float *floats;         /* where it goes, pixels ldo apart: here or */
    uint8_t *bytes;        /* here; the other is NULL */
    size_t ldo;
} vt_finish8;

/* Of nr channels and m pixels: the sums over p < k of a[i * lda + p] * weight. k is a multiple of 4 and
 * w is [k / 4][nr][4]; the pairs are p, p + 1 for even p. */
typedef void vt_gemm8_fn(size_t m, size_t k, const uint8_t *a, size_t lda, const int8_t *w, const vt_finish8 *f);

/* Channels of a block of 32 as the depthwise kernels take them: position p of the arrays is this channel. */
static inline size_t vt_dw8_channel(size_t p)
{
    return (p / 32 * 32) | (p & 4) << 2 | (p & 24) >> 1 | (p & 3);
}

/* A row of a depthwise 3x3 of stride 1 or 2, left 0 or 1. Bytes in, bytes out, no residual. */
typedef struct vt_dw8_row {
    const uint8_t *rows[3];
    size_t step[3];     /* bytes from pixel to pixel; 0 for a row outside the map, which is `pad` */
    const uint8_t *pad; /* a pixel of zero points */
    size_t w_in, w_out, stride, left;
    size_t cp;          /* a multiple of 32 */
    const int8_t *w;    /* [cp / 32][kx][position][4]: the taps of rows 0, 2 and 1, and 0; the first two are a pair */
    vt_finish8 f;       /* [position], in blocks of 32 */
} vt_dw8_row;

typedef void vt_dw8_fn(const vt_dw8_row *row);

/* n pixels of cp floats, a multiple of 8, to bytes: x / scale rounded, plus zero, within 0..255; and back. */
typedef void vt_quantize_fn(size_t n, size_t cp, const float *x, size_t ldx, vt_quant q, uint8_t *out, size_t ldo);
typedef void vt_dequantize_fn(size_t n, size_t cp, const uint8_t *x, size_t ldx, vt_quant q, float *out, size_t ldo);

#endif
