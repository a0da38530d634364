/* What the processor can do, and which instruction sets this build has kernels for. */
#ifndef VT_CPU_H
#define VT_CPU_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "error.h"

#define VT_ISA_COUNT 4 /* one more than the largest vultus_isa */

/* Resolves VULTUS_ISA_AUTO; fails in words for an instruction set that cannot run. */
int vt_isa_resolve(uint32_t asked, vultus_isa *isa, vultus_error *error);

/* Processors that the calling process may run on, at least 1. */
unsigned vt_cpu_count(void);

/* Keeps a thread on the index-th of them, counted from 0 and round again. 0, or an errno: ENOSYS where it cannot be done. */
int vt_cpu_pin(pthread_t thread, unsigned index);

#endif
