/* The innermost loop of the AVX2 matrix kernels: one broadcast of the input and nv loads of weights for mr * nv
 * multiply-adds. 6 x 2, 4 x 3 and 8 x 1 tiles keep 12, 12 and 8 of the 16 registers for sums.
 *
 * Full tiles need all 16 registers and as few instructions as possible: where another thread runs on the same core, it
 * takes half of the instructions that a cycle can start, and a loop with more than 20 of them for 12 multiply-adds falls
 * behind them. Compilers do not keep to that (they move sums from register to register), so four steps of the depth
 * are written down. */
#ifndef VT_MATRIX_AVX2_H
#define VT_MATRIX_AVX2_H

#include "simd_avx2.h"

#include "epilogue.h"

#define VT_WEIGHTS(at, reg) "vmovaps " at "(%[w]), %%" reg "\n\t"
#define VT_ROW2(x, s0, s1)                                                                                             \
    "vbroadcastss " x ", %%ymm15\n\t"                                                                                  \
    "vfmadd231ps %%ymm13, %%ymm15, %[" s0 "]\n\t"                                                                      \
    "vfmadd231ps %%ymm14, %%ymm15, %[" s1 "]\n\t"
#define VT_ROW3(x, s0, s1, s2)                                                                                         \
    "vbroadcastss " x ", %%ymm15\n\t"                                                                                  \
    "vfmadd231ps %%ymm12, %%ymm15, %[" s0 "]\n\t"                                                                      \
    "vfmadd231ps %%ymm13, %%ymm15, %[" s1 "]\n\t"                                                                      \
    "vfmadd231ps %%ymm14, %%ymm15, %[" s2 "]\n\t"
#define VT_STEP_6X2(p, w0, w1)                                                                                         \
    VT_WEIGHTS(w0, "ymm13") VT_WEIGHTS(w1, "ymm14") VT_ROW2(p "(%[x])", "s0", "s1")                                    \
    VT_ROW2(p "(%[x],%[step])", "s2", "s3") VT_ROW2(p "(%[x],%[step],2)", "s4", "s5")                                  \
    VT_ROW2(p "(%%rcx)", "s6", "s7") VT_ROW2(p "(%%rcx,%[step])", "s8", "s9")                                          \
    VT_ROW2(p "(%%rcx,%[step],2)", "s10", "s11")
#define VT_STEP_4X3(p, w0, w1, w2)                                                                                     \
    VT_WEIGHTS(w0, "ymm12") VT_WEIGHTS(w1, "ymm13") VT_WEIGHTS(w2, "ymm14") VT_ROW3(p "(%[x])", "s0", "s1", "s2")      \
    VT_ROW3(p "(%[x],%[step])", "s3", "s4", "s5") VT_ROW3(p "(%[x],%[step],2)", "s6", "s7", "s8")                      \
    VT_ROW3(p "(%%rcx)", "s9", "s10", "s11")
#define VT_SUM(n, i, j) [s##n] "+x"(sums[i][j])

/* The largest multiple of four steps; how many that was. */
VT_INLINE size_t vt_steps_6x2(size_t k, const float *x, size_t step, const float *w, vt_f32x8 sums[][3])
{
    const size_t fours = k / 4;

    if (fours)
        __asm__ volatile("mov %[fours], %%rax\n\t"
                         "lea (%[step],%[step],2), %%rcx\n\t"
                         "add %[x], %%rcx\n\t"
                         ".p2align 5\n"
                         "1:\n\t" VT_STEP_6X2("0", "0", "32") VT_STEP_6X2("4", "64", "96") VT_STEP_6X2("8", "128", "160")
                             VT_STEP_6X2("12", "192", "224")
                         "add $16, %[x]\n\t"
                         "add $16, %%rcx\n\t"
                         "add $256, %[w]\n\t"
                         "dec %%rax\n\t"
                         "jnz 1b\n\t"
                         : VT_SUM(0, 0, 0), VT_SUM(1, 0, 1), VT_SUM(2, 1, 0), VT_SUM(3, 1, 1), VT_SUM(4, 2, 0),
                           VT_SUM(5, 2, 1), VT_SUM(6, 3, 0), VT_SUM(7, 3, 1), VT_SUM(8, 4, 0), VT_SUM(9, 4, 1),
                           VT_SUM(10, 5, 0), VT_SUM(11, 5, 1), [x] "+r"(x), [w] "+r"(w)
                         : [step] "r"(step * sizeof *x), [fours] "r"(fours)
                         : "rax", "rcx", "ymm13", "ymm14", "ymm15", "cc", "memory");
    return 4 * fours;
}

VT_INLINE size_t vt_steps_4x3(size_t k, const float *x, size_t step, const float *w, vt_f32x8 sums[][3])
{
    const size_t fours = k / 4;

    if (fours)
        __asm__ volatile("mov %[fours], %%rax\n\t"
                         "lea (%[step],%[step],2), %%rcx\n\t"
                         "add %[x], %%rcx\n\t"
                         ".p2align 5\n"
                         "1:\n\t" VT_STEP_4X3("0", "0", "32", "64") VT_STEP_4X3("4", "96", "128", "160")
                             VT_STEP_4X3("8", "192", "224", "256") VT_STEP_4X3("12", "288", "320", "352")
                         "add $16, %[x]\n\t"
                         "add $16, %%rcx\n\t"
                         "add $384, %[w]\n\t"
                         "dec %%rax\n\t"
                         "jnz 1b\n\t"
                         : VT_SUM(0, 0, 0), VT_SUM(1, 0, 1), VT_SUM(2, 0, 2), VT_SUM(3, 1, 0), VT_SUM(4, 1, 1),
                           VT_SUM(5, 1, 2), VT_SUM(6, 2, 0), VT_SUM(7, 2, 1), VT_SUM(8, 2, 2), VT_SUM(9, 3, 0),
                           VT_SUM(10, 3, 1), VT_SUM(11, 3, 2), [x] "+r"(x), [w] "+r"(w)
                         : [step] "r"(step * sizeof *x), [fours] "r"(fours)
                         : "rax", "rcx", "ymm12", "ymm13", "ymm14", "ymm15", "cc", "memory");
    return 4 * fours;
}

/* The same of a gathered input, three steps at a time: a kernel of 3 x 3 has a multiple of that. */
typedef struct vt_gather {
    const float *x;
    size_t step; /* bytes */
    const size_t *offsets;
    size_t threes;
    const float *w;
} vt_gather;

#define VT_GATHER_BEGIN                                                                                                \
    "mov (%[g]), %%r9\n\t"                                                                                             \
    "mov 8(%[g]), %%rcx\n\t"                                                                                           \
    "mov 16(%[g]), %%r10\n\t"                                                                                          \
    "mov 24(%[g]), %%rax\n\t"                                                                                          \
    "mov 32(%[g]), %%r11\n\t"                                                                                          \
    "lea (%%rcx,%%rcx,2), %%rdx\n\t"                                                                                   \
    "lea (%%rcx,%%rcx,4), %%r8\n\t"                                                                                    \
    ".p2align 5\n"                                                                                                     \
    "1:\n\t"
#define VT_GATHER_AT(offset) "mov " offset "(%%r10), %%rsi\n\tlea (%%r9,%%rsi,4), %%rsi\n\t"
#define VT_GATHERED(at, reg) "vmovaps " at "(%%r11), %%" reg "\n\t"
#define VT_GATHER_6X2(offset, w0, w1)                                                                                  \
    VT_GATHER_AT(offset) VT_GATHERED(w0, "ymm13") VT_GATHERED(w1, "ymm14") VT_ROW2("(%%rsi)", "s0", "s1")              \
    VT_ROW2("(%%rsi,%%rcx)", "s2", "s3") VT_ROW2("(%%rsi,%%rcx,2)", "s4", "s5") VT_ROW2("(%%rsi,%%rdx)", "s6", "s7")   \
    VT_ROW2("(%%rsi,%%rcx,4)", "s8", "s9") VT_ROW2("(%%rsi,%%r8)", "s10", "s11")
#define VT_GATHER_4X3(offset, w0, w1, w2)                                                                              \
    VT_GATHER_AT(offset) VT_GATHERED(w0, "ymm12") VT_GATHERED(w1, "ymm13") VT_GATHERED(w2, "ymm14")                    \
    VT_ROW3("(%%rsi)", "s0", "s1", "s2") VT_ROW3("(%%rsi,%%rcx)", "s3", "s4", "s5")                                    \
    VT_ROW3("(%%rsi,%%rcx,2)", "s6", "s7", "s8") VT_ROW3("(%%rsi,%%rdx)", "s9", "s10", "s11")
#define VT_GATHER_END(bytes)                                                                                           \
    "add $24, %%r10\n\t"                                                                                               \
    "add $" bytes ", %%r11\n\t"                                                                                        \
    "dec %%rax\n\t"                                                                                                    \
    "jnz 1b\n\t"
#define VT_GATHER_CLOBBERS "rax", "rcx", "rdx", "rsi", "r8", "r9", "r10", "r11", "cc", "memory"

VT_INLINE size_t vt_gather_6x2(const vt_gather *g, vt_f32x8 sums[][3])
{
    if (g->threes)
        __asm__ volatile(VT_GATHER_BEGIN VT_GATHER_6X2("0", "0", "32") VT_GATHER_6X2("8", "64", "96")
                             VT_GATHER_6X2("16", "128", "160") VT_GATHER_END("192")
                         : VT_SUM(0, 0, 0), VT_SUM(1, 0, 1), VT_SUM(2, 1, 0), VT_SUM(3, 1, 1), VT_SUM(4, 2, 0),
                           VT_SUM(5, 2, 1), VT_SUM(6, 3, 0), VT_SUM(7, 3, 1), VT_SUM(8, 4, 0), VT_SUM(9, 4, 1),
                           VT_SUM(10, 5, 0), VT_SUM(11, 5, 1)
                         : [g] "r"(g)
                         : VT_GATHER_CLOBBERS, "ymm13", "ymm14", "ymm15");
    return 3 * g->threes;
}

VT_INLINE size_t vt_gather_4x3(const vt_gather *g, vt_f32x8 sums[][3])
{
    if (g->threes)
        __asm__ volatile(VT_GATHER_BEGIN VT_GATHER_4X3("0", "0", "32", "64") VT_GATHER_4X3("8", "96", "128", "160")
                             VT_GATHER_4X3("16", "192", "224", "256") VT_GATHER_END("288")
                         : VT_SUM(0, 0, 0), VT_SUM(1, 0, 1), VT_SUM(2, 0, 2), VT_SUM(3, 1, 0), VT_SUM(4, 1, 1),
                           VT_SUM(5, 1, 2), VT_SUM(6, 2, 0), VT_SUM(7, 2, 1), VT_SUM(8, 2, 2), VT_SUM(9, 3, 0),
                           VT_SUM(10, 3, 1), VT_SUM(11, 3, 2)
                         : [g] "r"(g)
                         : VT_GATHER_CLOBBERS, "ymm12", "ymm13", "ymm14", "ymm15");
    return 3 * g->threes;
}

VT_INLINE void vt_accumulate(const size_t mr, const size_t nv, size_t k, const float *a, size_t step,
                             const size_t *offsets, const float *w, vt_f32x8 sums[][3])
{
    const bool wide = mr == 6 && nv == 2, full = wide || (mr == 4 && nv == 3);
    size_t p = 0;

    if (full && offsets) {
        const vt_gather g = {a, step * sizeof *a, offsets, k / 3, w};

        p = wide ? vt_gather_6x2(&g, sums) : vt_gather_4x3(&g, sums);
    } else if (full) {
        p = wide ? vt_steps_6x2(k, a, step, w, sums) : vt_steps_4x3(k, a, step, w, sums);
    }
    for (w += p * 8 * nv; p < k; p++, w += 8 * nv) {
        const float *x = a + (offsets ? offsets[p] : p);
        __m256 v[3];

        VT_UNROLL
        for (size_t j = 0; j < nv; j++)
            v[j] = _mm256_load_ps(w + 8 * j);
        VT_UNROLL
        for (size_t i = 0; i < mr; i++) {
            const __m256 b = _mm256_broadcast_ss(x + i * step);

            VT_UNROLL
            for (size_t j = 0; j < nv; j++)
                sums[i][j] = _mm256_fmadd_ps(b, v[j], sums[i][j]);
        }
    }
}

#include "matrix.h"

#endif
