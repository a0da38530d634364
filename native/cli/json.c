#include "json.h"

#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

/* Bytes of the well-formed character at s, 0 if there is none. */
static size_t utf8_length(const unsigned char *s)
{
    const size_t n = *s < 0x80 ? 1 : *s >= 0xc2 && *s < 0xe0 ? 2 : (*s & 0xf0) == 0xe0 ? 3 : *s >= 0xf0 && *s < 0xf5 ? 4 : 0;

    for (size_t i = 1; i < n; i++)
        if ((s[i] & 0xc0) != 0x80)
            return 0;
    if ((*s == 0xe0 && s[1] < 0xa0) || (*s == 0xed && s[1] > 0x9f)) /* too long a form; half of a UTF-16 pair */
        return 0;
    return (*s == 0xf0 && s[1] < 0x90) || (*s == 0xf4 && s[1] > 0x8f) ? 0 : n;
}

void json_text(const char *text)
{
    const unsigned char *s = (const unsigned char *)text;

    putchar('"');
    while (*s) {
        const size_t n = utf8_length(s);

        if (*s == '"' || *s == '\\')
            printf("\\%c", *s);
        else if (*s < 0x20 || *s == 0x7f)
            printf("\\u%04x", *s);
        else if (n)
            fwrite(s, 1, n, stdout);
        else
            fputs("\\ufffd", stdout);
        s += n ? n : 1;
    }
    putchar('"');
}

void json_number(double value)
{
    if (isfinite(value))
        printf("%.9g", value);
    else
        fputs("null", stdout);
}

void json_numbers(const float *values, size_t count)
{
    putchar('[');
    for (size_t i = 0; i < count; i++) {
        if (i)
            fputs(", ", stdout);
        json_number(values[i]);
    }
    putchar(']');
}
