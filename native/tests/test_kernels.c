/* Every kernel of the list that this machine can run, against plain double-precision loops (checker_*.c), over random
 * shapes with odd sizes and edges, between canaries and pages that must not be touched. `test_kernels [seed [rounds]]`;
 * `test_kernels --bench` times them on shapes of real networks instead. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "checker.h"

#define VT_KERNEL_GEMM(symbol, isa, mr, nr) {#symbol, &gemm_family, isa, mr, nr, {.gemm = symbol}},
#define VT_KERNEL_PLANAR(symbol, isa, mr, nr) {#symbol, &planar_family, isa, mr, nr, {.planar = symbol}},
#define VT_KERNEL_DW3X3(symbol, isa, mr, nr) {#symbol, &dw3x3_family, isa, mr, nr, {.dw = symbol}},
#define VT_KERNEL_DWKXK(symbol, isa, mr, nr) {#symbol, &dwkxk_family, isa, mr, nr, {.dw = symbol}},
#define VT_KERNEL_DW3X3_PAIR(symbol, isa, mr, nr) {#symbol, &dw3x3_pair_family, isa, mr, nr, {.dw_pair = symbol}},
#define VT_KERNEL_ELTWISE(symbol, isa, mr, nr) {#symbol, &eltwise_family, isa, mr, nr, {.eltwise = symbol}},
#define VT_KERNEL_MAX_POOL(symbol, isa, mr, nr) {#symbol, &max_pool_family, isa, mr, nr, {.max_pool = symbol}},
#define VT_KERNEL_SIGMOID(symbol, isa, mr, nr) {#symbol, &sigmoid_family, isa, mr, nr, {.curve = symbol}},
#define VT_KERNEL_EXPONENTIAL(symbol, isa, mr, nr) {#symbol, &exponential_family, isa, mr, nr, {.curve = symbol}},
#define VT_KERNEL_GEMM8(symbol, isa, mr, nr) {#symbol, &gemm8_family, isa, mr, nr, {.gemm8 = symbol}},
#define VT_KERNEL_DW8(symbol, isa, mr, nr) {#symbol, &dw8_family, isa, mr, nr, {.dw8 = symbol}},
#define VT_KERNEL_QUANTIZE(symbol, isa, mr, nr) {#symbol, &quantize_family, isa, mr, nr, {.quantize = symbol}},
#define VT_KERNEL_PLANES(symbol, isa, mr, nr) {#symbol, &planes_family, isa, mr, nr, {.planes = symbol}},
#define VT_KERNEL_DEQUANTIZE(symbol, isa, mr, nr) {#symbol, &dequantize_family, isa, mr, nr, {.dequantize = symbol}},
#define VT_KERNEL_WINO_IN(symbol, isa, mr, nr) {#symbol, &wino_in_family, isa, mr, nr, {.wino_in = symbol}},
#define VT_KERNEL_WINO_OUT(symbol, isa, mr, nr) {#symbol, &wino_out_family, isa, mr, nr, {.wino_out = symbol}},
static const kernel kernels[] = {
#include "kernels/kernels.inc"
};

int main(int argc, char **argv)
{
    const bool timing = argc > 1 && strcmp(argv[1], "--bench") == 0;
    const int rounds = argc > 2 ? atoi(argv[2]) : 300;
    size_t skipped = 0;

    if (rounds < 1) {
        fprintf(stderr, "usage: test_kernels [SEED [ROUNDS] | --bench]\n");
        return 2;
    }
    seed_from(argc, argv);
    for (size_t i = 0; i < sizeof kernels / sizeof *kernels; i++) {
        const kernel *k = &kernels[i];

        if (vultus_isa_usable(k->isa) != 1) {
            printf("%-24s %-7s not on this processor\n", k->name, vultus_isa_name(k->isa));
            skipped++;
        } else if (timing) {
            k->family->bench(k);
        } else {
            printf("%-24s %-7s ", k->name, vultus_isa_name(k->isa));
            fflush(stdout); /* in case it does not come back */
            for (int round = 0; round < rounds; round++)
                k->family->check(k);
            printf("%d shapes agree\n", rounds);
        }
    }
    printf("%zu kernels, %zu skipped\n", sizeof kernels / sizeof *kernels, skipped);
    return 0;
}
