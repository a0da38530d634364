#include <math.h>
#include <stdlib.h>

#include "checker.h"

static void check_max_pool(const kernel *k)
{
    vt_dw_row r = {.cp = 8 * between(1, 6), .kh = between(1, 5), .kw = between(1, 5), .stride = between(1, 4), .dilation = 1};
    array rows[VT_DW_MAX_ROWS], out;
    size_t right;
    double *want;

    r.left = below((uint32_t)r.kw);
    right = below((uint32_t)r.kw);
    r.w_in = between(r.kw, 40);
    r.w_out = (r.w_in + r.left + right - r.kw) / r.stride + 1;
    r.ld_in = r.cp + 8 * below(3);
    r.ldo = r.cp + 8 * below(3);
    for (size_t i = 0; i < r.kh; i++) {
        rows[i] = input((r.w_in - 1) * r.ld_in + r.cp);
        r.rows[i] = rows[i].data;
    }
    out = output(r.w_out * r.ldo, false);
    r.out = out.data;
    want = doubles(r.w_out * r.cp);
    for (size_t x = 0; x < r.w_out; x++)
        for (size_t c = 0; c < r.cp; c++) {
            double most = -1e9;

            for (size_t ky = 0; ky < r.kh; ky++)
                for (size_t kx = 0; kx < r.kw; kx++) {
                    const long column = (long)(x * r.stride + kx) - (long)r.left;

                    if (column >= 0 && column < (long)r.w_in)
                        most = fmax(most, (double)r.rows[ky][(size_t)column * r.ld_in + c]);
                }
            want[x * r.cp + c] = most;
        }
    k->fn.max_pool(&r);
    compare(k, &out, want, r.w_out, r.cp, r.ldo);
    for (size_t i = 0; i < r.kh; i++)
        drop(rows[i]);
    drop(out);
    free(want);
}

static void run(const kernel *k, const void *job)
{
    k->fn.max_pool(job);
}

/* One row of a map of 112 pixels x 128 channels, 2 x 2 with stride 2. */
static void bench(const kernel *k)
{
    const size_t m = 112, cp = 128;
    array a = input(2 * m * cp), out = output(m / 2 * cp, false);

    time_kernel(k, (double)(2 * m * cp), run,
                &(vt_dw_row){.rows = {a.data, a.data + m * cp}, .w_in = m, .ld_in = cp, .out = out.data, .w_out = m / 2,
                             .ldo = cp, .cp = cp, .kh = 2, .kw = 2, .stride = 2, .dilation = 1});
    drop(a);
    drop(out);
}

const family max_pool_family = {check_max_pool, bench};
