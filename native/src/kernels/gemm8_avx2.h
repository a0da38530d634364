/* The AVX2 tile of INT8 matrix products: mr pixels x 8 * nv channels in registers. Four bytes of the input are spread
 * over a register; vpmaddubsw multiplies them and adds pairs, vpmaddwd adds the pairs of pairs. Both run on two of the
 * four pipes, so that 32 products take a cycle: twice what floats do. */
#ifndef VT_GEMM8_AVX2_H
#define VT_GEMM8_AVX2_H

#include <string.h>

#include "finish8_avx2.h"

VT_INLINE __m256i vt_spread_avx2(const uint8_t *x)
{
    int32_t four;

    memcpy(&four, x, sizeof four);
    return _mm256_set1_epi32(four);
}

/* 8 * nv bytes of a pixel. */
VT_INLINE void vt_pack_bytes_avx2(const size_t nv, const __m256 *y, __m256i zero, uint8_t *to)
{
    if (nv >= 2) {
        const __m256i words = _mm256_permute4x64_epi64(vt_words_avx2(y[0], y[1], zero), 0xd8);

        _mm_storeu_si128((__m128i *)(void *)to,
                         _mm_packus_epi16(_mm256_castsi256_si128(words), _mm256_extracti128_si256(words, 1)));
    }
    if (nv % 2) {
        const __m256i words = _mm256_permute4x64_epi64(vt_words_avx2(y[nv - 1], y[nv - 1], zero), 0xd8);

        _mm_storel_epi64((__m128i *)(void *)(to + 8 * (nv - 1)),
                         _mm_packus_epi16(_mm256_castsi256_si128(words), _mm256_castsi256_si128(words)));
    }
}

/* From the sums of a tile to what is stored; all but sums, pixel and f are constants. */
VT_INLINE void vt_end8_avx2(const size_t mr, const size_t nv, __m256i sums[][3], size_t pixel, const vt_finish8 *f,
                            const vt_act act, const bool residual)
{
    const __m256i zero = _mm256_set1_epi16((int16_t)f->zero);

    VT_UNROLL
    for (size_t i = 0; i < mr; i++) {
        __m256 y[3];

        VT_UNROLL
        for (size_t j = 0; j < nv; j++)
            y[j] = vt_value8_avx2(sums[i][j], f, act, residual ? f->residual + (pixel + i) * f->ldr + 8 * j : NULL, 8 * j);
        if (f->bytes) {
            vt_pack_bytes_avx2(nv, y, zero, f->bytes + (pixel + i) * f->ldo);
            continue;
        }
        VT_UNROLL
        for (size_t j = 0; j < nv; j++)
            _mm256_store_ps(f->floats + (pixel + i) * f->ldo + 8 * j, y[j]);
    }
}

VT_INLINE void vt_tile8_avx2(const size_t mr, const size_t nv, size_t k, const uint8_t *a, size_t lda, const int8_t *w,
                             size_t pixel, const vt_finish8 *f)
{
    const __m256i ones = _mm256_set1_epi16(1);
    __m256i sums[8][3];

    VT_UNROLL
    for (size_t i = 0; i < mr; i++)
        VT_UNROLL
        for (size_t j = 0; j < nv; j++)
            sums[i][j] = vt_bias8_avx2(f, 8 * j);
    for (size_t p = 0; p < k; p += 4) {
        __m256i v[3];

        VT_UNROLL
        for (size_t j = 0; j < nv; j++)
            v[j] = _mm256_load_si256((const __m256i *)(const void *)(w + 32 * j));
        VT_UNROLL
        for (size_t i = 0; i < mr; i++) {
            const __m256i x = vt_spread_avx2(a + i * lda + p);

            VT_UNROLL
            for (size_t j = 0; j < nv; j++)
                sums[i][j] = _mm256_add_epi32(sums[i][j], _mm256_madd_epi16(_mm256_maddubs_epi16(x, v[j]), ones));
        }
        w += 32 * nv;
    }
    if (f->residual)
        vt_end8_avx2(mr, nv, sums, pixel, f, f->act, true);
    else if (f->act == VT_ACT_PRELU)
        vt_end8_avx2(mr, nv, sums, pixel, f, VT_ACT_PRELU, false);
    else if (f->act == VT_ACT_CLIP)
        vt_end8_avx2(mr, nv, sums, pixel, f, VT_ACT_CLIP, false);
    else
        vt_end8_avx2(mr, nv, sums, pixel, f, VT_ACT_NONE, false);
}

/* All m pixels of a panel. Sums of integers have no latency to hide, so that what is left needs no care. */
VT_INLINE void vt_gemm8_avx2(const size_t mr, const size_t nv, size_t m, size_t k, const uint8_t *a, size_t lda,
                             const int8_t *w, const vt_finish8 *f)
{
    size_t i = 0;

    for (; m - i >= mr; i += mr)
        vt_tile8_avx2(mr, nv, k, a + i * lda, lda, w, i, f);
    switch (m - i) {
#define VT_ROWS(n)                                                                                                     \
    case n:                                                                                                            \
        if (n < mr)                                                                                                    \
            vt_tile8_avx2(n, nv, k, a + i * lda, lda, w, i, f);                                                        \
        break;
        VT_ROWS(1)
        VT_ROWS(2)
        VT_ROWS(3)
        VT_ROWS(4)
        VT_ROWS(5)
        VT_ROWS(6)
        VT_ROWS(7)
#undef VT_ROWS
    default:
        break;
    }
}

#endif
