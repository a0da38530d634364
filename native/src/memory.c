/* Aligned arrays; large ones in huge pages where the system has them on request, because a stream of weights through
 * pages of 4 KB stops at the end of each. */
#define _DEFAULT_SOURCE /* madvise() */
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "plan.h"

#define HUGE_PAGE ((size_t)2 << 20)

void *vt_aligned(size_t count, size_t size)
{
    const size_t bytes = (count * size + VT_ALIGN - 1) / VT_ALIGN * VT_ALIGN, align = bytes < HUGE_PAGE ? VT_ALIGN : HUGE_PAGE;
    void *memory = aligned_alloc(align, bytes ? (bytes + align - 1) / align * align : align);

    if (!memory)
        return NULL;
#ifdef MADV_HUGEPAGE
    if (bytes >= HUGE_PAGE)
        (void)madvise(memory, bytes / HUGE_PAGE * HUGE_PAGE, MADV_HUGEPAGE); /* a wish */
#endif
    memset(memory, 0, bytes ? bytes : VT_ALIGN);
    return memory;
}
