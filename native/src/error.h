/* Errors: filled once where they are noticed, passed up as a negative status. */
#ifndef VT_ERROR_H
#define VT_ERROR_H

#include <stddef.h>
#include <stdint.h>

#include "vultus/vultus.h"

#if defined(__GNUC__)
#define VT_PRINTF(text, first) __attribute__((format(printf, text, first)))
#else
#define VT_PRINTF(text, first)
#endif

/* Each returns the status that it stores, so that `return vt_fail(...)` reads well. error may be NULL. */
int vt_fail(vultus_error *error, vultus_status status, const char *format, ...) VT_PRINTF(3, 4);
int vt_fail_io(vultus_error *error, int sys_errno, const char *format, ...) VT_PRINTF(3, 4);

/* Something is wrong at byte `offset` of the file; the text gets " (byte N)" appended. */
int vt_fail_at(vultus_error *error, vultus_status status, uint64_t offset, const char *format, ...) VT_PRINTF(4, 5);

int vt_fail_memory(vultus_error *error, uint64_t bytes);

#endif
