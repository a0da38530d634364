/* Depthwise 3x3 of bytes: the three pixels of a column are interleaved once, channel by channel with a zero, and then
 * count for up to three outputs. What interleaving does to the order of 32 channels, packing undoes. */
#include "finish8_avx2.h"

/* Four registers of eight channels: rows 0, 2, 1 and nothing. */
VT_INLINE void interleave(const uint8_t *top, const uint8_t *middle, const uint8_t *bottom, __m256i *out)
{
    const __m256i zero = _mm256_setzero_si256();
    const __m256i a = _mm256_load_si256((const __m256i *)(const void *)top);
    const __m256i b = _mm256_load_si256((const __m256i *)(const void *)bottom);
    const __m256i c = _mm256_load_si256((const __m256i *)(const void *)middle);
    const __m256i low = _mm256_unpacklo_epi8(a, b), high = _mm256_unpackhi_epi8(a, b);
    const __m256i low_middle = _mm256_unpacklo_epi8(c, zero), high_middle = _mm256_unpackhi_epi8(c, zero);

    out[0] = _mm256_unpacklo_epi16(low, low_middle);
    out[1] = _mm256_unpackhi_epi16(low, low_middle);
    out[2] = _mm256_unpacklo_epi16(high, high_middle);
    out[3] = _mm256_unpackhi_epi16(high, high_middle);
}

VT_INLINE void column(const vt_dw8_row *r, size_t x, size_t c, __m256i *out)
{
    if (x < r->w_in)
        interleave(r->rows[0] + x * r->step[0] + c, r->rows[1] + x * r->step[1] + c, r->rows[2] + x * r->step[2] + c, out);
    else
        interleave(r->pad + c, r->pad + c, r->pad + c, out);
}

VT_INLINE __m256i products(__m256i quads, const int8_t *w)
{
    const __m256i weights = _mm256_load_si256((const __m256i *)(const void *)w);

    return _mm256_madd_epi16(_mm256_maddubs_epi16(quads, weights), _mm256_set1_epi16(1));
}

/* The block of 32 channels from c on, along the row. Stride and act are constants. */
VT_INLINE void block(const vt_dw8_row *r, size_t c, const size_t stride, const vt_act act)
{
    const __m256i zero = _mm256_set1_epi16((int16_t)r->f.zero);
    const int8_t *w = r->w + 12 * c;
    __m256i quads[3][4];

    if (stride == 1)
        column(r, 0 - r->left, c, quads[1]);
    column(r, stride == 1 ? 1 - r->left : 0 - r->left, c, quads[2]);
    for (size_t x = 0; x < r->w_out; x++) {
        const size_t at = x * stride - r->left;
        __m256 y[4];

        VT_UNROLL
        for (size_t j = 0; j < 4; j++)
            quads[0][j] = quads[stride][j];
        if (stride == 1)
            VT_UNROLL
            for (size_t j = 0; j < 4; j++)
                quads[1][j] = quads[2][j];
        else
            column(r, at + 1, c, quads[1]);
        column(r, at + 2, c, quads[2]);
        VT_UNROLL
        for (size_t j = 0; j < 4; j++) {
            const __m256i sum = _mm256_add_epi32(
                _mm256_add_epi32(vt_bias8_avx2(&r->f, c + 8 * j), products(quads[0][j], w + 32 * j)),
                _mm256_add_epi32(products(quads[1][j], w + 128 + 32 * j), products(quads[2][j], w + 256 + 32 * j)));

            y[j] = vt_value8_avx2(sum, &r->f, act, NULL, c + 8 * j);
        }
        _mm256_store_si256((__m256i *)(void *)(r->f.bytes + x * r->f.ldo + c),
                           _mm256_packus_epi16(vt_words_avx2(y[0], y[1], zero), vt_words_avx2(y[2], y[3], zero)));
    }
}

VT_INLINE void blocks(const vt_dw8_row *r, const size_t stride)
{
    for (size_t c = 0; c < r->cp; c += 32) {
        if (r->f.act == VT_ACT_PRELU)
            block(r, c, stride, VT_ACT_PRELU);
        else if (r->f.act == VT_ACT_CLIP)
            block(r, c, stride, VT_ACT_CLIP);
        else
            block(r, c, stride, VT_ACT_NONE);
    }
}

void vt_dw8_1x32_avx2(const vt_dw8_row *r)
{
    if (r->stride == 1)
        blocks(r, 1);
    else
        blocks(r, 2);
}
