/* The matrix product that gemm and planar kernels are, mr pixels x 8 * nv channels at a time. After a matrix_<isa>.h has
 * said how such a tile is summed up, which includes this:
 *
 *     vt_accumulate(mr, nv, k, a, step, offsets, w, sums): sums[i][j] += the products of pixel i and channels 8 * j on
 *
 * mr, nv and whether there are offsets are constants where this is inlined. */
#ifndef VT_MATRIX_H
#define VT_MATRIX_H

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
    VT_UNROLL
    for (size_t j = 0; j < nv; j++)
        vt_finish_pixels(mr, &sums[0][j], 3, e, out + 8 * j, ldo, pixel, 8 * j);
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
