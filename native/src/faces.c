/* From a detector's numbers to faces: candidates at or above a score, and greedy non-maximum suppression among them. */
#include <math.h>
#include <stdbool.h>
#include <string.h>

#include "error.h"
#include "graph.h"

/* The best candidates so far. While there is room they are in no order; then the worst stands at the root of a heap. */
typedef struct best {
    vultus_face *faces;
    size_t n, capacity;
} best;

/* Of one score, the face of the earlier place: so the order is the same on every machine. */
static bool better(const vultus_face *a, const vultus_face *b)
{
    return a->score != b->score ? a->score > b->score : a->place < b->place;
}

static void swap(vultus_face *a, vultus_face *b)
{
    const vultus_face t = *a;

    *a = *b;
    *b = t;
}

/* Restores the heap of n faces, the worst at its root, below the i-th. */
static void sift(vultus_face *faces, size_t n, size_t i)
{
    for (size_t child = 2 * i + 1; child < n; child = 2 * i + 1) {
        if (child + 1 < n && better(&faces[child], &faces[child + 1]))
            child++;
        if (!better(&faces[i], &faces[child]))
            return;
        swap(&faces[i], &faces[child]);
        i = child;
    }
}

static bool is_finite(const vultus_face *face)
{
    bool finite = isfinite(face->score);

    for (int i = 0; i < 4; i++)
        finite = finite && isfinite(face->box[i]);
    for (int i = 0; i < 10; i++)
        finite = finite && isfinite(face->landmarks[i]);
    return finite;
}

static void offer(best *list, const vultus_face *face)
{
    if (!is_finite(face))
        return;
    if (list->n < list->capacity) {
        list->faces[list->n++] = *face;
        if (list->n == list->capacity)
            for (size_t i = list->n / 2; i-- > 0;)
                sift(list->faces, list->n, i);
        return;
    }
    if (list->capacity && better(face, &list->faces[0])) {
        list->faces[0] = *face;
        sift(list->faces, list->n, 0);
    }
}

static float unit(float x)
{
    return x < 0 ? 0 : x > 1 ? 1 : x; /* NaN stays */
}

static int check(const void *a, const void *b, const vultus_face *faces, size_t capacity, const size_t *found,
                 uint32_t height, uint32_t width, float score, vultus_error *error)
{
    if (!a || !b || !found || (capacity && !faces))
        return vt_fail(error, VULTUS_ERROR_ARGUMENT, "the numbers or the places for faces are NULL");
    if (height == 0 || width == 0 || height > VT_MAX_SIDE || width > VT_MAX_SIDE)
        return vt_fail(error, VULTUS_ERROR_ARGUMENT, "%u x %u pixels are outside 1..%d", height, width, VT_MAX_SIDE);
    if (!(score >= 0 && score <= 1))
        return vt_fail(error, VULTUS_ERROR_ARGUMENT, "a score of %g is outside 0..1", (double)score);
    return VULTUS_OK;
}

/* The cells of one stride, row by row. */
static void yunet_level(best *list, const float *const heads[4], uint32_t stride, uint32_t rows, uint32_t columns,
                        float score, uint32_t place)
{
    const float s = (float)stride;

    for (size_t i = 0; i < (size_t)rows * columns; i++) {
        const float *box = heads[2] + 4 * i, *points = heads[3] + 10 * i;
        const float x = (float)(i % columns), y = (float)(i / columns);
        vultus_face face = {.score = sqrtf(unit(heads[0][i]) * unit(heads[1][i])), .place = place + (uint32_t)i};

        if (!(face.score >= score))
            continue;
        face.box[2] = expf(box[2]) * s;
        face.box[3] = expf(box[3]) * s;
        face.box[0] = (x + box[0]) * s - face.box[2] / 2;
        face.box[1] = (y + box[1]) * s - face.box[3] / 2;
        for (int k = 0; k < 5; k++) {
            face.landmarks[2 * k] = (x + points[2 * k]) * s;
            face.landmarks[2 * k + 1] = (y + points[2 * k + 1]) * s;
        }
        offer(list, &face);
    }
}

int vultus_decode_yunet(const float *const heads[12], uint32_t height, uint32_t width, float score, vultus_face *faces,
                        size_t capacity, size_t *found, vultus_error *error)
{
    best list = {faces, 0, capacity};
    uint32_t place = 0;
    int status = check(heads, heads, faces, capacity, found, height, width, score, error);

    if (!status && (height % 32 || width % 32))
        status = vt_fail(error, VULTUS_ERROR_ARGUMENT, "%u x %u pixels are no multiples of 32", height, width);
    for (int i = 0; i < 12 && !status; i++)
        if (!heads[i])
            status = vt_fail(error, VULTUS_ERROR_ARGUMENT, "head %d is NULL", i);
    for (uint32_t level = 0; level < 3 && !status; level++) {
        const float *const of[4] = {heads[level], heads[3 + level], heads[6 + level], heads[9 + level]};
        const uint32_t stride = 8u << level, rows = height / stride, columns = width / stride;

        yunet_level(&list, of, stride, rows, columns, score, place);
        place += rows * columns;
    }
    if (!status)
        *found = list.n;
    return status;
}

/* Priors of an Ultra-Light detector: the sides of their boxes, in pixels of the input, by stride. */
static const struct {
    uint32_t stride, count;
    float sides[3];
} priors[4] = {{8, 3, {10, 16, 24}}, {16, 2, {32, 48}}, {32, 2, {64, 96}}, {64, 3, {128, 192, 256}}};

static uint32_t cells(uint32_t side, uint32_t stride)
{
    return (side + stride - 1) / stride;
}

size_t vultus_ultralight_rows(uint32_t height, uint32_t width)
{
    size_t rows = 0;

    if (height > VT_MAX_SIDE || width > VT_MAX_SIDE)
        return 0;
    for (int i = 0; i < 4; i++)
        rows += (size_t)cells(height, priors[i].stride) * cells(width, priors[i].stride) * priors[i].count;
    return rows;
}

/* A prior's sides are cut to the picture's, and the cells share the picture evenly where the stride does not divide it:
 * so the network was trained. */
static vultus_face ultralight_face(const float *at, float x, float y, float side, float height, float width)
{
    const float w = side < width ? side : width, h = side < height ? side : height;
    vultus_face face = {.score = 0};

    face.box[2] = expf(at[2] * 0.2f) * w;
    face.box[3] = expf(at[3] * 0.2f) * h;
    face.box[0] = at[0] * 0.1f * w + x - face.box[2] / 2;
    face.box[1] = at[1] * 0.1f * h + y - face.box[3] / 2;
    return face;
}

int vultus_decode_ultralight(const float *scores, const float *locations, uint32_t height, uint32_t width, float score,
                             vultus_face *faces, size_t capacity, size_t *found, vultus_error *error)
{
    best list = {faces, 0, capacity};
    const int status = check(scores, locations, faces, capacity, found, height, width, score, error);
    uint32_t place = 0;

    for (int level = 0; level < 4 && !status; level++) {
        const uint32_t rows = cells(height, priors[level].stride), columns = cells(width, priors[level].stride);
        const float down = (float)height / (float)rows, across = (float)width / (float)columns;

        for (uint32_t i = 0; i < rows * columns; i++)
            for (uint32_t k = 0; k < priors[level].count; k++, place++) {
                const float x = ((float)(i % columns) + 0.5f) * across, y = ((float)(i / columns) + 0.5f) * down;
                vultus_face face;

                if (!(scores[2 * (size_t)place + 1] >= score))
                    continue;
                face = ultralight_face(locations + 4 * (size_t)place, x, y, priors[level].sides[k], (float)height,
                                       (float)width);
                face.score = scores[2 * (size_t)place + 1];
                face.place = place;
                offer(&list, &face);
            }
    }
    if (!status)
        *found = list.n;
    return status;
}

/* Whether the boxes share more than `iou` of what they cover together. */
static bool overlap(const vultus_face *a, const vultus_face *b, double iou)
{
    double shared = 1, areas[2];

    for (int i = 0; i < 2; i++) {
        const double low = a->box[i] > b->box[i] ? a->box[i] : b->box[i];
        const double end_a = (double)a->box[i] + (double)a->box[i + 2], end_b = (double)b->box[i] + (double)b->box[i + 2];
        const double extent = (end_a < end_b ? end_a : end_b) - low;

        shared *= extent > 0 ? extent : 0;
    }
    areas[0] = (double)a->box[2] * (double)a->box[3];
    areas[1] = (double)b->box[2] * (double)b->box[3];
    return shared > iou * (areas[0] + areas[1] - shared);
}

int vultus_suppress(vultus_face *faces, size_t n, float iou, size_t *kept, vultus_error *error)
{
    size_t left = 0;

    if (!kept || (n && !faces))
        return vt_fail(error, VULTUS_ERROR_ARGUMENT, "the faces are NULL");
    if (!(iou >= 0 && iou <= 1))
        return vt_fail(error, VULTUS_ERROR_ARGUMENT, "an overlap of %g is outside 0..1", (double)iou);
    for (size_t i = 0; i < n; i++)
        if (is_finite(&faces[i]))
            faces[left++] = faces[i];
    n = left;
    for (size_t i = n / 2; i-- > 0;)
        sift(faces, n, i);
    for (size_t end = n; end > 1; end--) { /* the worst to the end, again and again */
        swap(&faces[0], &faces[end - 1]);
        sift(faces, end - 1, 0);
    }
    for (size_t i = 0; i < n; i++) {
        left = i + 1;
        for (size_t j = i + 1; j < n; j++)
            if (!overlap(&faces[i], &faces[j], (double)iou))
                faces[left++] = faces[j];
        n = left;
    }
    *kept = n;
    return VULTUS_OK;
}
