#include "image.h"

#include <stdbool.h>
#include <string.h>

#include "cli.h"

#define HEADER_MOST 4096          /* bytes of a PPM before its pixels */
#define RAW_MOST ((size_t)1 << 30) /* bytes of a file of chips */
#define SIDE_MOST 8192

/* The next number of a header, from *at on; 0 if there is none within its limits, since none of them may be 0. */
static uint32_t header_number(const content *file, size_t *at)
{
    const size_t end = file->size < HEADER_MOST ? file->size : HEADER_MOST, start = *at;
    uint32_t value = 0;

    while (*at < end && memchr(" \t\r\n\v\f#", file->data[*at], 7)) {
        if (file->data[*at] == '#')
            while (*at < end && file->data[*at] != '\n')
                ++*at;
        else
            ++*at;
    }
    if (*at == start)
        return 0;
    while (*at < end && file->data[*at] >= '0' && file->data[*at] <= '9' && value <= SIDE_MOST)
        value = 10 * value + (uint32_t)(file->data[(*at)++] - '0');
    return value <= SIDE_MOST ? value : 0;
}

const char *ppm_parse(content *file, uint32_t *width, uint32_t *height, uint8_t **pixels)
{
    size_t at = 2, size;

    if (file->size < 2 || memcmp(file->data, "P6", 2))
        return "no binary PPM: it does not begin with P6 (a file of raw chips has a name that ends with .raw)";
    *width = header_number(file, &at);
    *height = *width ? header_number(file, &at) : 0;
    if (!*height)
        return "width and height are no numbers within 1..8192";
    if (header_number(file, &at) != 255)
        return "the largest value of a pixel is not 255";
    if (at >= file->size || !memchr(" \t\r\n\v\f", file->data[at], 6))
        return "no white space before the pixels";
    at++;
    size = (size_t)*width * *height * 3;
    if (file->size - at != size)
        return file->size - at < size ? "it ends before its last pixel" : "there are bytes after its last pixel";
    *pixels = file->data + at;
    for (size_t i = 0; i < size; i += 3) {
        const uint8_t red = (*pixels)[i];

        (*pixels)[i] = (*pixels)[i + 2];
        (*pixels)[i + 2] = red;
    }
    return NULL;
}

static bool is_raw(const char *path)
{
    const size_t length = strlen(path);

    return length >= 4 && strcmp(path + length - 4, ".raw") == 0;
}

static int take_raw(const content *file, const char *path, uint32_t width, uint32_t height, uint8_t **chips, size_t *count)
{
    const size_t size = (size_t)width * height * 3;

    *chips = file->data;
    *count = file->size / size;
    if (file->size % size == 0 && *count)
        return 0;
    complain("%s: %zu bytes are no whole number of chips of %u x %u x 3", path, file->size, width, height);
    return -1;
}

static int take_ppm(content *file, const char *path, uint32_t width, uint32_t height, uint8_t **chips)
{
    uint32_t w, h;
    const char *wrong = ppm_parse(file, &w, &h, chips);

    if (wrong) {
        complain("%s: %s", path, wrong);
        return -1;
    }
    if (w == width && h == height)
        return 0;
    complain("%s: %u x %u pixels; the model takes aligned faces of %u x %u", path, w, h, width, height);
    return -1;
}

int chips_read(content *file, const char *path, uint32_t width, uint32_t height, uint8_t **chips, size_t *count)
{
    const bool raw = is_raw(path);
    int status = content_read(file, path, raw ? RAW_MOST : (size_t)SIDE_MOST * SIDE_MOST * 3 + HEADER_MOST);

    if (status)
        return status;
    *count = 1;
    status = raw ? take_raw(file, path, width, height, chips, count) : take_ppm(file, path, width, height, chips);
    if (status)
        content_free(file);
    return status;
}
