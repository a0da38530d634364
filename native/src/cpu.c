#define _GNU_SOURCE
#include "cpu.h"

#include <errno.h>
#include <sched.h>
#include <stddef.h>
#include <unistd.h>

#if defined(__x86_64__)
#include <cpuid.h>

static uint64_t xgetbv0(void)
{
    uint32_t low, high;

    __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
    return (uint64_t)high << 32 | low;
}

/* A vector unit counts only if the operating system saves its registers: OSXSAVE and XCR0 tell. */
static uint32_t probe(void)
{
    uint32_t a, b, c, d, flags = 0;
    uint64_t saved;

    if (!__get_cpuid(1, &a, &b, &c, &d) || !(c & bit_OSXSAVE))
        return 0;
    saved = xgetbv0();
    if ((saved & 0x6) != 0x6 || !(c & bit_AVX))
        return 0;
    flags |= VULTUS_CPU_AVX;
    if (c & bit_FMA)
        flags |= VULTUS_CPU_FMA;
    if (!__get_cpuid_count(7, 0, &a, &b, &c, &d))
        return flags;
    if (b & bit_AVX2)
        flags |= VULTUS_CPU_AVX2;
    if ((saved & 0xe6) == 0xe6) {
        const uint32_t foundation = 1u << 16 | 1u << 17 | 1u << 30 | 1u << 31; /* F, DQ, BW, VL */

        if ((b & foundation) == foundation) {
            flags |= VULTUS_CPU_AVX512;
            if (c & (1u << 11))
                flags |= VULTUS_CPU_AVX512_VNNI;
        }
    }
    if (a >= 1 && __get_cpuid_count(7, 1, &a, &b, &c, &d) && (a & (1u << 4)))
        flags |= VULTUS_CPU_AVX_VNNI;
    return flags;
}
#elif defined(__aarch64__)
static uint32_t probe(void)
{
    return VULTUS_CPU_NEON; /* part of the base architecture */
}
#else
static uint32_t probe(void)
{
    return 0;
}
#endif

static const struct {
    const char *name;
    uint32_t needs;
    bool built;
} isas[VT_ISA_COUNT] = {
    [VULTUS_ISA_SCALAR] = {"scalar", 0, true},
    [VULTUS_ISA_AVX2] = {"avx2", VULTUS_CPU_AVX2 | VULTUS_CPU_FMA,
#ifdef VT_BUILT_AVX2
                         true},
#else
                         false},
#endif
    [VULTUS_ISA_NEON] = {"neon", VULTUS_CPU_NEON,
#ifdef VT_BUILT_NEON
                         true},
#else
                         false},
#endif
};

uint32_t vultus_cpu_features(void)
{
    return probe();
}

const char *vultus_isa_name(uint32_t isa)
{
    return isa < VT_ISA_COUNT ? isas[isa].name : NULL;
}

int vultus_isa_usable(uint32_t isa)
{
    if (!vultus_isa_name(isa) || !isas[isa].built)
        return 0;
    return (probe() & isas[isa].needs) == isas[isa].needs ? 1 : -1;
}

int vt_isa_resolve(uint32_t asked, vultus_isa *isa, vultus_error *error)
{
    int usable;

    if (asked == VULTUS_ISA_AUTO) {
        for (asked = VT_ISA_COUNT - 1; vultus_isa_usable(asked) != 1; asked--)
            ; /* scalar always is */
        *isa = (vultus_isa)asked;
        return VULTUS_OK;
    }
    if (!vultus_isa_name(asked))
        return vt_fail(error, VULTUS_ERROR_ARGUMENT, "%u is no instruction set of vultus_isa", asked);
    usable = vultus_isa_usable(asked);
    if (usable == 0)
        return vt_fail(error, VULTUS_ERROR_ISA, "this build has no %s kernels", vultus_isa_name(asked));
    if (usable < 0)
        return vt_fail(error, VULTUS_ERROR_ISA, "this processor, or its operating system, cannot run %s kernels",
                       vultus_isa_name(asked));
    *isa = (vultus_isa)asked;
    return VULTUS_OK;
}

unsigned vt_cpu_count(void)
{
    long online;

#ifdef __linux__
    cpu_set_t set;
    int count;

    if (sched_getaffinity(0, sizeof set, &set) == 0 && (count = CPU_COUNT(&set)) > 0)
        return (unsigned)count;
#endif
    online = sysconf(_SC_NPROCESSORS_ONLN);
    return online > 0 ? (unsigned)online : 1;
}

int vt_cpu_pin(pthread_t thread, unsigned index)
{
#ifdef __linux__
    cpu_set_t allowed, one;

    if (sched_getaffinity(0, sizeof allowed, &allowed) || CPU_COUNT(&allowed) == 0)
        return EINVAL;
    index %= (unsigned)CPU_COUNT(&allowed);
    for (size_t cpu = 0; cpu < CPU_SETSIZE; cpu++) {
        if (!CPU_ISSET(cpu, &allowed) || index--)
            continue;
        CPU_ZERO(&one);
        CPU_SET(cpu, &one);
        return pthread_setaffinity_np(thread, sizeof one, &one);
    }
    return EINVAL;
#else
    (void)thread;
    (void)index;
    return ENOSYS;
#endif
}
