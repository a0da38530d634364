#include <immintrin.h>

#include "kernels.h"

/* Eight pixels are 24 bytes, read as two overlapping halves: byte 3 * i + c of them is in the first for the i that it reaches,
 * else in the second, which begins 8 bytes later. -1 makes a zero. */
static const int8_t from_first[3][8] = {{0, 3, 6, 9, 12, 15, -1, -1}, {1, 4, 7, 10, 13, -1, -1, -1}, {2, 5, 8, 11, 14, -1, -1, -1}};
static const int8_t from_second[3][8] = {{-1, -1, -1, -1, -1, -1, 10, 13}, {-1, -1, -1, -1, -1, 8, 11, 14}, {-1, -1, -1, -1, -1, 9, 12, 15}};

static __m128i eight(const int8_t *bytes)
{
    return _mm_loadl_epi64((const __m128i *)(const void *)bytes);
}

void vt_planes_8_avx2(size_t n, const uint8_t *pixels, float *const *planes, const float *scale, const float *shift)
{
    size_t i = 0;

    for (; n - i >= 8; i += 8) {
        const __m128i first = _mm_loadu_si128((const __m128i *)(const void *)(pixels + 3 * i));
        const __m128i second = _mm_loadu_si128((const __m128i *)(const void *)(pixels + 3 * i + 8));

        for (size_t c = 0; c < 3; c++) {
            const __m128i bytes =
                _mm_or_si128(_mm_shuffle_epi8(first, eight(from_first[c])), _mm_shuffle_epi8(second, eight(from_second[c])));
            const __m256 numbers = _mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(bytes));

            _mm256_storeu_ps(planes[c] + i, _mm256_fmadd_ps(numbers, _mm256_set1_ps(scale[c]), _mm256_set1_ps(shift[c])));
        }
    }
    for (; i < n; i++)
        for (size_t c = 0; c < 3; c++)
            planes[c][i] = (float)pixels[3 * i + c] * scale[c] + shift[c];
}
