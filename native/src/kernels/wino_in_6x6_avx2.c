#include "epilogue_avx2.h"
#include "wino.h"

/* Where the six columns of a tile lie, from the start of a row, and which of them are inside the map. */
struct window {
    size_t at[6];
    __m256 inside[6];
};

VT_INLINE void forward(const __m256 *d, __m256 *t)
{
    const __m256 two = _mm256_set1_ps(2), half = _mm256_set1_ps(0.5f), most = _mm256_set1_ps(2.5f);
    const __m256 a = _mm256_set1_ps(VT_WINO_A), b = _mm256_set1_ps(VT_WINO_B);
    const __m256 e1 = _mm256_fnmadd_ps(two, d[2], d[4]), o1 = _mm256_fnmadd_ps(two, d[1], d[3]);
    const __m256 e2 = _mm256_fnmadd_ps(half, d[2], d[4]), o2 = _mm256_fnmadd_ps(half, d[1], d[3]);

    t[0] = _mm256_add_ps(_mm256_fnmadd_ps(most, d[2], d[0]), d[4]);
    t[1] = _mm256_fmadd_ps(a, o1, e1);
    t[2] = _mm256_fnmadd_ps(a, o1, e1);
    t[3] = _mm256_fmadd_ps(b, o2, e2);
    t[4] = _mm256_fnmadd_ps(b, o2, e2);
    t[5] = _mm256_add_ps(_mm256_fnmadd_ps(most, d[3], d[1]), d[5]);
}

/* Eight channels of one tile. */
VT_INLINE void tile(const bool edge, const bool affine, const vt_wino_in *in, const struct window *columns, size_t c, float *out)
{
    const __m256 scale = affine ? _mm256_load_ps(in->scale + c) : _mm256_setzero_ps();
    const __m256 shift = affine ? _mm256_load_ps(in->shift + c) : _mm256_setzero_ps();
    __m256 t[6][6], d[6];

    for (size_t y = 0; y < 6; y++) {
        if (edge && !in->rows[y]) {
            VT_UNROLL
            for (size_t x = 0; x < 6; x++)
                t[y][x] = _mm256_setzero_ps();
            continue;
        }
        VT_UNROLL
        for (size_t x = 0; x < 6; x++) {
            d[x] = _mm256_load_ps(in->rows[y] + columns->at[x] + c);
            if (affine)
                d[x] = _mm256_fmadd_ps(d[x], scale, shift);
            if (edge)
                d[x] = _mm256_and_ps(d[x], columns->inside[x]);
        }
        forward(d, t[y]);
    }
    for (size_t x = 0; x < 6; x++) {
        __m256 v[6];

        VT_UNROLL
        for (size_t y = 0; y < 6; y++)
            d[y] = t[y][x];
        forward(d, v);
        VT_UNROLL
        for (size_t y = 0; y < 6; y++)
            _mm256_store_ps(out + (6 * y + x) * in->plane + c, v[y]);
    }
}

VT_INLINE void channels(const bool edge, const bool affine, const vt_wino_in *in, const struct window *columns, float *out)
{
    for (size_t c = 0; c < in->cp; c += 8)
        tile(edge, affine, in, columns, c, out);
}

void vt_wino_in_6x6_avx2(const vt_wino_in *in)
{
    bool edge_row = false;

    for (size_t y = 0; y < 6; y++)
        edge_row |= !in->rows[y];
    for (size_t i = 0; i < in->tiles; i++) {
        float *out = in->out + i * in->ldo;
        bool edge = edge_row;
        struct window columns;

        for (size_t x = 0; x < 6; x++) {
            const size_t column = 4 * i + x - in->left; /* wraps where left of the map */
            const bool inside = column < in->w;

            columns.at[x] = inside ? column * in->ld : 0;
            columns.inside[x] = _mm256_castsi256_ps(_mm256_set1_epi32(inside ? -1 : 0));
            edge |= !inside;
        }
        if (edge && in->scale)
            channels(true, true, in, &columns, out);
        else if (edge)
            channels(true, false, in, &columns, out);
        else if (in->scale)
            channels(false, true, in, &columns, out);
        else
            channels(false, false, in, &columns, out);
    }
}
