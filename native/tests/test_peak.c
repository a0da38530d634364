/* The loops that measure the peak compute what they should, and the measure is a number that grows with nothing odd. */
#include <math.h>
#include <stdio.h>

#include "kernels/kernels.h"

static int failures;

static void expect(int holds, const char *what)
{
    if (!holds) {
        printf("FAILED: %s\n", what);
        failures++;
    }
}

/* s = s / 2 + 1 tends to 2, whatever it started from; one round of it tells how many sums there are. */
static void check_loop(const char *name, vt_peak_fn *fn, vultus_isa isa, size_t macs)
{
    if (vultus_isa_usable(isa) != 1) {
        printf("%s: not on this processor\n", name);
        return;
    }
    expect(fn(1, 0) == (float)macs, name);
    expect(fabsf(fn(100, 0.5f) - 2 * (float)macs) < 1e-3f, name);
}

int main(void)
{
#define VT_KERNEL_PEAK(symbol, isa, mr, nr) check_loop(#symbol, symbol, isa, (mr) * (nr));
#include "kernels/kernels.inc"
    const double scalar = vultus_peak_gflops(VULTUS_ISA_SCALAR, 1, 0), best = vultus_peak_gflops(VULTUS_ISA_AUTO, 1, 0.1);
    const double two = vultus_peak_gflops(VULTUS_ISA_AUTO, 2, NAN);

    printf("GFLOP/s: scalar %.1f, best %.1f, two threads %.1f\n", scalar, best, two);
    expect(scalar > 0.01 && scalar < 1e5, "the scalar peak is no number of this world");
    expect(best > 0.01 && best < 1e5, "the best peak is no number of this world");
    expect(two > 0.01 && two < 1e5, "the peak of two threads is no number of this world");
    expect(vultus_peak_gflops(99, 1, 0.1) == 0, "an instruction set that does not exist has a peak");
    expect(vultus_peak_gflops(VULTUS_ISA_AUTO, 257, 0.1) == 0, "too many threads have a peak");
    return failures != 0;
}
