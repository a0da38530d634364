/* After a simd_*.h. */
#ifndef VT_WINO_IN_6X6_H
#define VT_WINO_IN_6X6_H

#include "epilogue.h"
#include "wino.h"

/* Where the six columns of a tile lie, from the start of a row, and which of them are inside the map. */
typedef struct vt_wino_columns {
    size_t at[6];
    vt_f32x8 inside[6];
} vt_wino_columns;

VT_INLINE void vt_wino_forward(const vt_f32x8 *d, vt_f32x8 *t)
{
    const vt_f32x8 two = vt_same(2), half = vt_same(0.5f), most = vt_same(2.5f);
    const vt_f32x8 a = vt_same(VT_WINO_A), b = vt_same(VT_WINO_B);
    const vt_f32x8 e1 = vt_fnma(two, d[2], d[4]), o1 = vt_fnma(two, d[1], d[3]);
    const vt_f32x8 e2 = vt_fnma(half, d[2], d[4]), o2 = vt_fnma(half, d[1], d[3]);

    t[0] = vt_add(vt_fnma(most, d[2], d[0]), d[4]);
    t[1] = vt_fma(a, o1, e1);
    t[2] = vt_fnma(a, o1, e1);
    t[3] = vt_fma(b, o2, e2);
    t[4] = vt_fnma(b, o2, e2);
    t[5] = vt_add(vt_fnma(most, d[3], d[1]), d[5]);
}

/* Eight channels of one tile. */
VT_INLINE void vt_wino_in_tile(const bool edge, const bool affine, const vt_wino_in *in,
                               const vt_wino_columns *columns, size_t c, float *out)
{
    const vt_f32x8 scale = affine ? vt_load(in->scale + c) : vt_same(0);
    const vt_f32x8 shift = affine ? vt_load(in->shift + c) : vt_same(0);
    vt_f32x8 t[6][6], d[6];

    for (size_t y = 0; y < 6; y++) {
        if (edge && !in->rows[y]) {
            VT_UNROLL
            for (size_t x = 0; x < 6; x++)
                t[y][x] = vt_same(0);
            continue;
        }
        VT_UNROLL
        for (size_t x = 0; x < 6; x++) {
            d[x] = vt_load(in->rows[y] + columns->at[x] + c);
            if (affine)
                d[x] = vt_fma(d[x], scale, shift);
            if (edge)
                d[x] = vt_and(d[x], columns->inside[x]);
        }
        vt_wino_forward(d, t[y]);
    }
    for (size_t x = 0; x < 6; x++) {
        vt_f32x8 v[6];

        VT_UNROLL
        for (size_t y = 0; y < 6; y++)
            d[y] = t[y][x];
        vt_wino_forward(d, v);
        VT_UNROLL
        for (size_t y = 0; y < 6; y++)
            vt_store(out + (6 * y + x) * in->plane + c, v[y]);
    }
}

VT_INLINE void vt_wino_in_channels(const bool edge, const bool affine, const vt_wino_in *in,
                                   const vt_wino_columns *columns, float *out)
{
    for (size_t c = 0; c < in->cp; c += 8)
        vt_wino_in_tile(edge, affine, in, columns, c, out);
}

VT_INLINE void vt_wino_in_6x6(const vt_wino_in *in)
{
    bool edge_row = false;

    for (size_t y = 0; y < 6; y++)
        edge_row |= !in->rows[y];
    for (size_t i = 0; i < in->tiles; i++) {
        float *out = in->out + i * in->ldo;
        bool edge = edge_row;
        vt_wino_columns columns;

        for (size_t x = 0; x < 6; x++) {
            const size_t column = 4 * i + x - in->left; /* wraps where left of the map */
            const bool inside = column < in->w;

            columns.at[x] = inside ? column * in->ld : 0;
            columns.inside[x] = vt_mask(inside);
            edge |= !inside;
        }
        if (edge && in->scale)
            vt_wino_in_channels(true, true, in, &columns, out);
        else if (edge)
            vt_wino_in_channels(true, false, in, &columns, out);
        else if (in->scale)
            vt_wino_in_channels(false, true, in, &columns, out);
        else
            vt_wino_in_channels(false, false, in, &columns, out);
    }
}

#endif
