/* The matrix product that gemm and planar kernels are, mr pixels x 8 * nv channels at a time. After a matrix_<isa>.h has
 * said how such a tile is summed up, which includes this:
 *
 *     vt_accumulate(mr, nv, k, a, step, offsets, w, sums): sums[i][j] += the products of pixel i and channels 8 * j on
 *
 * mr, nv and whether there are offsets are constants where this is inlined. */
#ifndef VT_MATRIX_H
#define VT_MATRIX_H

/* The epilogue of a tile. Which one it is, is asked once, not for each of twelve registers: while another machine's thread
 * runs on the same core, instructions are what there is too little of. */
VT_INLINE void vt_finish_tile(const size_t mr, const size_t nv, vt_f32x8 sums[][3], float *out, size_t ldo, size_t pixel,
                              const vt_epilogue *e)
{
    const vt_f32x8 zero = vt_same(0), lo = vt_low(e), hi = vt_high(e);

    if (e->residual)
        VT_UNROLL
        for (size_t i = 0; i < mr; i++)
            VT_UNROLL
            for (size_t j = 0; j < nv; j++)
                sums[i][j] = vt_add(sums[i][j], vt_load(e->residual + (pixel + i) * e->ldr + 8 * j));
    if (e->act == VT_ACT_PRELU) {
        VT_UNROLL
        for (size_t j = 0; j < nv; j++) {
            const vt_f32x8 slope = vt_load(e->slope + 8 * j);

            VT_UNROLL
            for (size_t i = 0; i < mr; i++)
                vt_store(out + i * ldo + 8 * j, vt_fma(vt_min(zero, sums[i][j]), slope, vt_max(zero, sums[i][j])));
        }
    } else if (e->act == VT_ACT_CLIP) {
        VT_UNROLL
        for (size_t i = 0; i < mr; i++)
            VT_UNROLL
            for (size_t j = 0; j < nv; j++)
                vt_store(out + i * ldo + 8 * j, vt_min(hi, vt_max(lo, sums[i][j])));
    } else {
        VT_UNROLL
        for (size_t i = 0; i < mr; i++)
            VT_UNROLL
            for (size_t j = 0; j < nv; j++)
                vt_store(out + i * ldo + 8 * j, sums[i][j]);
    }
}

VT_INLINE void vt_tile(const size_t mr, const size_t nv, size_t k, const float *a, size_t step, const size_t *offsets,
                       const float *w, float *out, size_t ldo, size_t pixel, const vt_epilogue *e)
{
    vt_f32x8 sums[8][3];

    VT_UNROLL
    for (size_t i = 0; i < mr; i++)
        VT_UNROLL
        for (size_t j = 0; j < nv; j++)
            sums[i][j] = vt_load(e->bias ? e->bias + 8 * j : out + i * ldo + 8 * j);
    vt_accumulate(mr, nv, k, a, step, offsets, w, sums);
    vt_finish_tile(mr, nv, sums, out, ldo, pixel, e);
}

/* All m pixels of a panel. What is left after the full tiles is shared by two tiles where one alone would be wasted:
 * fewer than eight sums do not hide the latency of a multiply-add (four cycles, two a cycle). */
VT_INLINE void vt_matrix(const size_t mr, const size_t nv, size_t m, size_t k, const float *a, size_t step,
                         const size_t *offsets, const float *w, float *out, size_t ldo, const vt_epilogue *e)
{
    size_t i = 0;

    while (m - i >= mr && (m - i - mr == 0 || (m - i - mr) * nv >= 8)) {
        vt_tile(mr, nv, k, a + i * step, step, offsets, w, out + i * ldo, ldo, i, e);
        i += mr;
    }
    while (i < m) {
        const size_t left = m - i, rows = left > mr ? (left + 1) / 2 : left;

        switch (rows) {
#define VT_ROWS(n)                                                                                                     \
    case n:                                                                                                            \
        if (n <= mr)                                                                                                   \
            vt_tile(n, nv, k, a + i * step, step, offsets, w, out + i * ldo, ldo, i, e);                               \
        break;
            VT_ROWS(1)
            VT_ROWS(2)
            VT_ROWS(3)
            VT_ROWS(4)
            VT_ROWS(5)
            VT_ROWS(6)
            VT_ROWS(7)
            VT_ROWS(8)
#undef VT_ROWS
        default:
            break;
        }
        i += rows;
    }
}

#endif
