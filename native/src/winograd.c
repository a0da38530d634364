#include "winograd.h"

#include <math.h>
#include <string.h>

#define TILE 4
#define PLACES 36
#define CHANNELS_MIN 32                        /* below, transforming costs what multiplying saves */
#define SCRATCH_BYTES ((size_t)1280 << 10)     /* of tiles that go through the weights together, if a row of tiles fits */
#define TILES_SHARED 64                        /* of several faces, at least */
#define PANEL_MAX 24
#define ROW_BYTES_MAX ((uint64_t)8 << 20)      /* of one row of tiles */

/* Where the transformed tiles of a piece of a map lie: `plane` floats from place to place. The sets of a cache are shared
 * evenly by tiles and by places, since neither are an even number of cache lines apart. */
typedef struct layout {
    size_t ld, plane;
} layout;

static size_t up(size_t n, size_t to)
{
    return (n + to - 1) / to * to;
}

static layout layout_of(size_t cp, size_t tiles)
{
    const size_t ld = cp % 32 ? cp : cp + 16;

    return (layout){ld, (up(tiles * ld, 16) / 16 | 1) * 16};
}

static size_t tiles_across(size_t w)
{
    return (w + TILE - 1) / TILE;
}

/* Rows of tiles that go through the weights together: as many as fit the scratch, and of several faces more, since then
 * the weights are what takes time to read. */
static size_t rows_at_once(const vt_map *in, const vt_map *out)
{
    const size_t tiles = tiles_across(out->w), all = tiles_across(out->h) * out->slots;
    const size_t bytes = PLACES * tiles * (in->cp + out->cp) * sizeof(float);
    const size_t shared = out->slots > 1 ? (TILES_SHARED + tiles - 1) / tiles : 1;
    const size_t rows = SCRATCH_BYTES / bytes < shared ? shared : SCRATCH_BYTES / bytes;

    return rows < all ? rows : all;
}

bool vt_winograd_pays(const vt_node *conv, const vt_shape *in)
{
    const vt_geometry *g = &conv->g;
    const uint64_t tiles = (uint64_t)tiles_across(conv->shape.w) * tiles_across(conv->shape.h);

    if (g->groups != 1 || g->kh != 3 || g->kw != 3 || g->sy != 1 || g->sx != 1 || g->dy != 1 || g->dx != 1 ||
        g->left > TILE || in->rows)
        return false;
    if (in->c < CHANNELS_MIN || conv->shape.c < CHANNELS_MIN ||
        PLACES * tiles_across(conv->shape.w) * ((uint64_t)in->c + conv->shape.c + 64) * sizeof(float) > ROW_BYTES_MAX)
        return false;
    return (uint64_t)conv->shape.h * conv->shape.w * 9 * 2 >= tiles * PLACES * 3; /* half of the saving is left */
}

uint64_t vt_winograd_weights(uint32_t c_in, uint32_t c_out)
{
    return (uint64_t)PLACES * up(c_in, 8) * up(c_out, 8);
}

/* G g G^T of the filters of a panel's nr columns for one channel of the input; the matrices are in kernels/wino.h. */
static void transform(size_t nr, double g[9][PANEL_MAX], float u[PLACES][PANEL_MAX])
{
    const double a = sqrt(0.5), b = sqrt(2.0);
    const double matrix[6][3] = {{1, 0, 0},
                                 {-2.0 / 3, -2.0 / 3 * a, -1.0 / 3},
                                 {-2.0 / 3, 2.0 / 3 * a, -1.0 / 3},
                                 {1.0 / 6, 1.0 / 6 * b, 1.0 / 3},
                                 {1.0 / 6, -1.0 / 6 * b, 1.0 / 3},
                                 {0, 0, 1}};
    double t[18][PANEL_MAX];

    for (size_t i = 0; i < 18; i++) {
        const double *x = matrix[i % 6];

        for (size_t j = 0; j < nr; j++)
            t[i][j] = x[0] * g[i / 6 * 3][j] + x[1] * g[i / 6 * 3 + 1][j] + x[2] * g[i / 6 * 3 + 2][j];
    }
    for (size_t p = 0; p < PLACES; p++) {
        const double *y = matrix[p / 6];

        for (size_t j = 0; j < nr; j++)
            u[p][j] = (float)(y[0] * t[p % 6][j] + y[1] * t[6 + p % 6][j] + y[2] * t[12 + p % 6][j]);
    }
}

void vt_winograd_pack(float *out, const float *weight, uint32_t c_in, uint32_t c_out)
{
    const size_t depth = up(c_in, 8), cp = up(c_out, 8);
    double g[9][PANEL_MAX];
    float u[PLACES][PANEL_MAX];

    for (size_t n = 0; n < cp;) {
        const size_t nr = VT_NR(vt_panel(n, cp));

        memset(g, 0, sizeof g);
        for (size_t k = 0; k < c_in; k++) {
            for (size_t j = 0; j < nr && n + j < c_out; j++)
                for (size_t i = 0; i < 9; i++)
                    g[i][j] = (double)weight[((n + j) * c_in + k) * 9 + i];
            transform(nr, g, u);
            for (size_t p = 0; p < PLACES; p++)
                memcpy(out + (p * cp + n) * depth + k * nr, u[p], nr * sizeof(float));
        }
        n += nr;
    }
}

size_t vt_winograd_scratch(const vt_map *in, const vt_map *out)
{
    const size_t tiles = rows_at_once(in, out) * tiles_across(out->w);

    return PLACES * (layout_of(in->cp, tiles).plane + layout_of(out->cp, tiles).plane);
}

static void forward(const vt_plan *plan, const vt_layer *layer, const float *from, const layout *to, float *v, size_t row)
{
    const vt_map *in = &plan->maps[layer->in], *out = &plan->maps[layer->out];
    vt_wino_in call = {.w = in->w, .ld = in->ld, .left = layer->g.left, .tiles = tiles_across(out->w), .cp = in->cp,
                       .scale = layer->in_scale, .shift = layer->in_shift, .out = v, .ldo = to->ld, .plane = to->plane};

    for (size_t i = 0; i < 6; i++) {
        const size_t y = row + i - layer->g.top; /* wraps where above the map */

        call.rows[i] = y < in->h ? from + y * in->w * in->ld : NULL;
    }
    plan->kernels.wino_in(&call);
}

/* All places' products of `tiles` tiles: m = v u, channels column .. columns. */
static void multiply(const vt_plan *plan, const vt_layer *layer, const layout *from, const layout *to, const float *v,
                     float *m, size_t tiles, const float *zeros, size_t column, size_t columns)
{
    const size_t depth = plan->maps[layer->in].cp, cp = plan->maps[layer->out].cp;
    const size_t blocks = (depth + VT_K_BLOCK - 1) / VT_K_BLOCK, most = (depth + blocks - 1) / blocks;

    for (size_t p = 0; p < PLACES; p++) {
        for (size_t at = 0; at < depth; at += most) {
            const vt_epilogue e = {.bias = at ? NULL : zeros, .act = VT_ACT_NONE};
            const size_t k = depth - at < most ? depth - at : most;

            for (size_t n = column; n < columns;) {
                const int panel = vt_panel(n, cp);

                plan->kernels.gemm[panel](tiles, k, v + p * from->plane + at, from->ld,
                                          layer->weights + (p * cp + n) * depth + at * VT_NR(panel),
                                          m + p * to->plane + n, to->ld, &e);
                n += VT_NR(panel);
            }
        }
    }
}

void vt_winograd_run(const vt_plan *plan, const vt_layer *layer, const vt_winograd_faces *faces, const float *zeros,
                     float *scratch, size_t row, size_t end)
{
    const vt_map *from = &plan->maps[layer->in], *to = &plan->maps[layer->out];
    const size_t across = tiles_across(to->w), down = tiles_across(end - row), all = down * faces->count;
    const size_t most = rows_at_once(from, to);

    for (size_t first = 0, rows; first < all; first += rows) {
        rows = all - first < most ? all - first : most;
        const layout v = layout_of(from->cp, rows * across), m = layout_of(to->cp, rows * across);
        float *products = scratch + PLACES * v.plane;

        for (size_t i = 0; i < rows; i++) {
            const size_t face = (first + i) / down, y = row + (first + i) % down * TILE;

            forward(plan, layer, faces->in + face * faces->in_stride, &v, scratch + i * across * v.ld, y);
        }
        multiply(plan, layer, &v, &m, scratch, products, rows * across, zeros, faces->column, faces->columns);
        for (size_t i = 0; i < rows; i++) {
            const size_t face = (first + i) / down, below = (first + i) % down * TILE, pixels = below * to->w;
            vt_wino_out call = {.in = products + i * across * m.ld + faces->column, .ldi = m.ld, .plane = m.plane,
                                .tiles = across, .cp = faces->columns - faces->column,
                                .out = faces->out + face * faces->out_stride + pixels * to->ld + faces->column,
                                .w = to->w, .ldo = to->ld, .e = faces->e};

            call.rows = end - row - below < TILE ? end - row - below : TILE;
            call.e.bias += faces->column;
            call.e.slope = call.e.slope ? call.e.slope + faces->column : NULL;
            if (call.e.residual)
                call.e.residual += face * faces->residual_stride + pixels * call.e.ldr + faces->column;
            plan->kernels.wino_out(&call);
        }
    }
}
