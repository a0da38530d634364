/* Decoding and suppression: limits, ties, numbers that are none, and that nothing outside the given places is written.
 * The arithmetic is held against numpy in tests/native/test_faces.py. `test_faces [seed]`. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "check.h"
#include "random.h"
#include "vultus/vultus.h"

#define SIDE 64u
#define MOST 40u

/* Any bits, among them NaN and infinity; or numbers that faces are made of. */
static void fill(float *out, size_t n, int wild)
{
    for (size_t i = 0; i < n; i++) {
        const uint32_t bits = any();

        if (wild && any() % 3)
            memcpy(out + i, &bits, sizeof bits);
        else
            out[i] = number();
    }
}

static void check_order(const vultus_face *faces, size_t kept)
{
    for (size_t i = 0; i < kept; i++)
        CHECK(isfinite(faces[i].score) && isfinite(faces[i].box[0]) && isfinite(faces[i].box[3]));
    for (size_t i = 1; i < kept; i++)
        CHECK(faces[i - 1].score > faces[i].score ||
              (faces[i - 1].score == faces[i].score && faces[i - 1].place < faces[i].place));
}

/* A block of exactly the faces' size, so that one too many is seen. */
static void decode(int ultralight, size_t capacity, float score, int wild)
{
    static const uint32_t numbers[4] = {1, 1, 4, 10};
    vultus_face *faces = malloc(capacity ? capacity * sizeof *faces : 1);
    const size_t rows = vultus_ultralight_rows(SIDE, SIDE - 7);
    float *heads[12];
    size_t found = 77, kept = 77;

    for (size_t i = 0; i < 12; i++) {
        const size_t cells = (SIDE / 8 >> i % 3) * (SIDE / 8 >> i % 3);
        const size_t n = !ultralight ? cells * numbers[i / 3] : i == 0 ? 2 * rows : i == 1 ? 4 * rows : 1;

        heads[i] = malloc(n * sizeof(float));
        CHECK(heads[i]);
        fill(heads[i], n, wild);
    }
    if (ultralight)
        CHECK(!vultus_decode_ultralight(heads[0], heads[1], SIDE, SIDE - 7, score, faces, capacity, &found, NULL));
    else
        CHECK(!vultus_decode_yunet((const float *const *)heads, SIDE, SIDE, score, faces, capacity, &found, NULL));
    CHECK(found <= capacity);
    for (size_t i = 0; i < found; i++)
        CHECK(faces[i].score >= score && faces[i].score <= (ultralight ? INFINITY : 1));
    CHECK(!vultus_suppress(faces, found, 0.3f, &kept, NULL) && kept <= found && (kept || !found));
    check_order(faces, kept);
    for (size_t i = 0; i < 12; i++)
        free(heads[i]);
    free(faces);
}

static void heap_of_equals(void)
{
    vultus_face faces[MOST];
    size_t kept;

    for (uint32_t i = 0; i < MOST; i++)
        faces[i] = (vultus_face){{100 * (float)(i % 10), 0, 50, 50}, 0.5f, {0}, MOST - i};
    CHECK(!vultus_suppress(faces, MOST, 0.5f, &kept, NULL) && kept == 10);
    for (uint32_t i = 0; i < 10; i++)
        CHECK(faces[i].place == i + 1); /* the last ten, of the lowest places */
    for (uint32_t i = 0; i < MOST; i++)
        faces[i] = (vultus_face){{5, 5, 0, 0}, 0.5f, {0}, i};
    CHECK(!vultus_suppress(faces, MOST, 0, &kept, NULL) && kept == MOST); /* without area nothing is shared */
    faces[3].box[1] = NAN;
    faces[5].score = INFINITY;
    CHECK(!vultus_suppress(faces, MOST, 0, &kept, NULL) && kept == MOST - 2);
}

static void arguments(void)
{
    static const float numbers[4 * 4] = {0};
    const float *heads[12] = {numbers, numbers, numbers, numbers, numbers, numbers,
                              numbers, numbers, numbers, numbers, numbers, NULL};
    vultus_face face;
    vultus_error error = {0};
    size_t n;

    CHECK(vultus_decode_yunet(heads, 32, 32, 0.5f, &face, 1, &n, &error) == VULTUS_ERROR_ARGUMENT);
    CHECK(strcmp(error.text, "head 11 is NULL") == 0);
    CHECK(vultus_decode_yunet(heads, 33, 32, 0.5f, &face, 1, &n, &error) == VULTUS_ERROR_ARGUMENT);
    CHECK(vultus_decode_yunet(NULL, 32, 32, 0.5f, &face, 1, &n, NULL) == VULTUS_ERROR_ARGUMENT);
    CHECK(vultus_decode_ultralight(numbers, NULL, 8, 8, 0.5f, &face, 1, &n, NULL) == VULTUS_ERROR_ARGUMENT);
    CHECK(vultus_decode_ultralight(numbers, numbers, 0, 8, 0.5f, &face, 1, &n, NULL) == VULTUS_ERROR_ARGUMENT);
    CHECK(vultus_decode_ultralight(numbers, numbers, 8, 8193, 0.5f, &face, 1, &n, NULL) == VULTUS_ERROR_ARGUMENT);
    CHECK(vultus_decode_ultralight(numbers, numbers, 8, 8, NAN, &face, 1, &n, NULL) == VULTUS_ERROR_ARGUMENT);
    CHECK(vultus_decode_ultralight(numbers, numbers, 8, 8, 0.5f, NULL, 1, &n, NULL) == VULTUS_ERROR_ARGUMENT);
    CHECK(vultus_decode_ultralight(numbers, numbers, 8, 8, 0.5f, NULL, 0, NULL, NULL) == VULTUS_ERROR_ARGUMENT);
    CHECK(vultus_suppress(NULL, 1, 0.5f, &n, NULL) == VULTUS_ERROR_ARGUMENT);
    CHECK(vultus_suppress(&face, 1, 1.5f, &n, NULL) == VULTUS_ERROR_ARGUMENT);
    CHECK(vultus_suppress(NULL, 0, 0.5f, &n, NULL) == VULTUS_OK && n == 0);
    CHECK(vultus_ultralight_rows(240, 320) == 4420 && vultus_ultralight_rows(480, 640) == 17640);
    CHECK(vultus_ultralight_rows(UINT32_MAX, 1) == 0);
}

int main(int argc, char **argv)
{
    seed_from(argc, argv);
    for (int round = 0; round < 400; round++)
        decode(round & 1, below(3) ? below(MOST) : 4000, below(4) ? 0.25f * (float)below(4) : 1, below(2) != 0);
    heap_of_equals();
    arguments();
    return 0;
}
