#include <string.h>

#include "kernels/kernels.h"

/* A line of the list counts if it is plain C or of the chosen instruction set; the later one wins. */
void vt_kernels_select(vultus_isa chosen, vt_kernels *k)
{
    memset(k, 0, sizeof *k);
    k->isa = chosen;
#define TAKE(member, symbol, isa)                                                                                      \
    if ((isa) == VULTUS_ISA_SCALAR || (isa) == chosen) {                                                               \
        k->member = symbol;                                                                                            \
    }
#define NAME(index, symbol, isa)                                                                                       \
    if ((isa) == VULTUS_ISA_SCALAR || (isa) == chosen) {                                                               \
        k->names[index] = &#symbol[3]; /* without vt_ */                                                              \
    }
#define VT_KERNEL_GEMM(symbol, isa, mr, nr)                                                                            \
    TAKE(gemm[(nr) / 8 - 1], symbol, isa) NAME((nr) / 8 - 1, symbol, isa)
#define VT_KERNEL_PLANAR(symbol, isa, mr, nr)                                                                          \
    TAKE(planar[(nr) / 8 - 1], symbol, isa) NAME(VT_NR_COUNT + (nr) / 8 - 1, symbol, isa)
#define VT_KERNEL_DW3X3(symbol, isa, mr, nr) TAKE(dw3x3, symbol, isa) NAME(2 * VT_NR_COUNT, symbol, isa)
#define VT_KERNEL_DWKXK(symbol, isa, mr, nr) TAKE(dwkxk, symbol, isa) NAME(2 * VT_NR_COUNT + 1, symbol, isa)
#define VT_KERNEL_DW3X3_PAIR(symbol, isa, mr, nr) TAKE(dw3x3_pair, symbol, isa) NAME(2 * VT_NR_COUNT + 6, symbol, isa)
#define VT_KERNEL_ELTWISE(symbol, isa, mr, nr) TAKE(eltwise, symbol, isa) NAME(2 * VT_NR_COUNT + 2, symbol, isa)
#define VT_KERNEL_MAX_POOL(symbol, isa, mr, nr) TAKE(max_pool, symbol, isa) NAME(2 * VT_NR_COUNT + 3, symbol, isa)
#define VT_KERNEL_SIGMOID(symbol, isa, mr, nr) TAKE(sigmoid, symbol, isa) NAME(2 * VT_NR_COUNT + 4, symbol, isa)
#define VT_KERNEL_EXPONENTIAL(symbol, isa, mr, nr) TAKE(exponential, symbol, isa) NAME(2 * VT_NR_COUNT + 5, symbol, isa)
#define NAME8(index, symbol, isa) TAKE(names8[index], &#symbol[3], isa)
#define VT_KERNEL_GEMM8(symbol, isa, mr, nr) TAKE(gemm8[(nr) / 8 - 1], symbol, isa) NAME8((nr) / 8 - 1, symbol, isa)
#define VT_KERNEL_DW8(symbol, isa, mr, nr) TAKE(dw8, symbol, isa) NAME8(VT_NR_COUNT, symbol, isa)
#define VT_KERNEL_QUANTIZE(symbol, isa, mr, nr) TAKE(quantize, symbol, isa) NAME8(VT_NR_COUNT + 1, symbol, isa)
#define VT_KERNEL_DEQUANTIZE(symbol, isa, mr, nr) TAKE(dequantize, symbol, isa) NAME8(VT_NR_COUNT + 2, symbol, isa)
#define VT_KERNEL_WINO_IN(symbol, isa, mr, nr) TAKE(wino_in, symbol, isa)
#define VT_KERNEL_WINO_OUT(symbol, isa, mr, nr) TAKE(wino_out, symbol, isa)
#define VT_KERNEL_PLANES(symbol, isa, mr, nr) TAKE(planes, symbol, isa)
#define VT_KERNEL_PEAK(symbol, isa, mr, nr) TAKE(peak, symbol, isa) TAKE(peak_macs, (mr) * (nr), isa)
#include "kernels/kernels.inc"
}
