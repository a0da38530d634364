#include "error.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* File names and operator names come from outside: nothing but printable ASCII leaves in an error text. */
static void fill(vultus_error *error, vultus_status status, int sys_errno, uint64_t offset, const char *format,
                 va_list args)
{
    char where[32] = "";
    int length = 0;

    error->status = status;
    error->sys_errno = sys_errno;
    error->offset = offset;
    if (offset != VULTUS_NO_OFFSET)
        length = snprintf(where, sizeof where, " (byte %" PRIu64 ")", offset);
    vsnprintf(error->text, sizeof error->text - (size_t)length, format, args);
    for (char *p = error->text; *p; p++)
        if ((unsigned char)*p < 0x20 || (unsigned char)*p > 0x7e)
            *p = '?';
    memcpy(error->text + strlen(error->text), where, (size_t)length + 1);
}

int vt_fail(vultus_error *error, vultus_status status, const char *format, ...)
{
    va_list args;

    if (error) {
        va_start(args, format);
        fill(error, status, 0, VULTUS_NO_OFFSET, format, args);
        va_end(args);
    }
    return status;
}

int vt_fail_io(vultus_error *error, int sys_errno, const char *format, ...)
{
    va_list args;

    if (error) {
        va_start(args, format);
        fill(error, VULTUS_ERROR_IO, sys_errno, VULTUS_NO_OFFSET, format, args);
        va_end(args);
    }
    return VULTUS_ERROR_IO;
}

int vt_fail_at(vultus_error *error, vultus_status status, uint64_t offset, const char *format, ...)
{
    va_list args;

    if (error) {
        va_start(args, format);
        fill(error, status, 0, offset, format, args);
        va_end(args);
    }
    return status;
}

int vt_fail_memory(vultus_error *error, uint64_t bytes)
{
    return vt_fail(error, VULTUS_ERROR_MEMORY, "out of memory while taking %" PRIu64 " bytes", bytes);
}
