#include "epilogue_avx2.h"
#include "wino.h"

VT_INLINE void backward(const __m256 *m, __m256 *y)
{
    const __m256 two = _mm256_set1_ps(2), half = _mm256_set1_ps(0.5f);
    const __m256 a = _mm256_set1_ps(VT_WINO_A), b = _mm256_set1_ps(VT_WINO_B);
    const __m256 s1 = _mm256_add_ps(m[1], m[2]), d1 = _mm256_mul_ps(a, _mm256_sub_ps(m[1], m[2]));
    const __m256 s2 = _mm256_add_ps(m[3], m[4]), d2 = _mm256_mul_ps(b, _mm256_sub_ps(m[3], m[4]));

    y[0] = _mm256_add_ps(m[0], _mm256_add_ps(s1, s2));
    y[1] = _mm256_add_ps(d1, d2);
    y[2] = _mm256_fmadd_ps(two, s2, _mm256_mul_ps(half, s1));
    y[3] = _mm256_fmadd_ps(two, d2, _mm256_fmadd_ps(half, d1, m[5]));
}

/* Eight channels of one tile. */
VT_INLINE void tile(const vt_wino_out *out, size_t first, size_t columns, size_t c, const float *in)
{
    const __m256 bias = _mm256_load_ps(out->e.bias + c);
    __m256 t[4][6], m[6], y[4];

    for (size_t x = 0; x < 6; x++) {
        VT_UNROLL
        for (size_t i = 0; i < 6; i++)
            m[i] = _mm256_load_ps(in + (6 * i + x) * out->plane + c);
        backward(m, y);
        VT_UNROLL
        for (size_t i = 0; i < 4; i++)
            t[i][x] = y[i];
    }
    for (size_t i = 0; i < out->rows; i++) {
        backward(t[i], y);
        for (size_t x = 0; x < columns; x++) {
            const size_t p = i * out->w + first + x;

            _mm256_store_ps(out->out + p * out->ldo + c, vt_finish_avx2(_mm256_add_ps(y[x], bias), &out->e, p, c));
        }
    }
}

void vt_wino_out_4x4_avx2(const vt_wino_out *out)
{
    for (size_t i = 0; i < out->tiles; i++) {
        const size_t first = 4 * i, columns = out->w - first < 4 ? out->w - first : 4;

        for (size_t c = 0; c < out->cp; c += 8)
            tile(out, first, columns, c, out->in + i * out->ldi);
    }
}
