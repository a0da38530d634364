/* Chips from files. */
#ifndef CLI_IMAGE_H
#define CLI_IMAGE_H

#include <stdint.h>

#include "file.h"

/* Binary PPM: "P6", width, height, 255 as decimal numbers, with white space and # comments between them, one white space,
 * then pixels, red first, and nothing after them. Turns the pixels to blue first where they are and points at them.
 * Returns NULL, or what is wrong. */
const char *ppm_parse(content *file, uint32_t *width, uint32_t *height, uint8_t **pixels);

/* The faces of a file, a PPM or, if its name ends with .raw, chips one after the other: *count of height x width x 3
 * bytes, blue first, from *chips on, which is within *file. Returns 0, or complains and returns -1. */
int chips_read(content *file, const char *path, uint32_t width, uint32_t height, uint8_t **chips, size_t *count);

#endif
