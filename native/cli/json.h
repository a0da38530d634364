/* JSON on stdout. */
#ifndef CLI_JSON_H
#define CLI_JSON_H

#include <stddef.h>

/* In quotes; bytes that are not UTF-8 become U+FFFD. */
void json_text(const char *text);

/* Shortest digits that are enough for a float; null if it is not finite. */
void json_number(double value);
void json_numbers(const float *values, size_t count);

#endif
