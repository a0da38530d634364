/* What the command line reads beside models: pictures and archives of arrays. */
#include <stdlib.h>
#include <string.h>

#include "../cli/cli.h"
#include "../cli/image.h"
#include "../cli/npz.h"
#include "attempt.h"

void complain(const char *format, ...)
{
    (void)format;
}

static void sum(const content *file, const char *name)
{
    volatile double total = 0;
    npy array;

    if (npz_find(file, name, &array))
        return;
    for (size_t i = 0; i < array.count; i++)
        total = total + npy_number(&array, i);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    content file = {malloc(size ? size : 1), size};
    uint32_t width, height;
    uint8_t *pixels;

    if (!file.data)
        return 0;
    memcpy(file.data, data, size);
    sum(&file, "x");
    sum(&file, "y");
    if (!ppm_parse(&file, &width, &height, &pixels) && pixels + (size_t)width * height * 3 != file.data + size)
        abort();
    content_free(&file);
    return 0;
}
