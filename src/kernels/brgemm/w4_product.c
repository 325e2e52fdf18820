/* The loops around the tiles of weights of four bits. */
#include "kernels/brgemm/w4_product.h"

#include <math.h>
#include <string.h>

enum { LINE = 64, PIECE_WEIGHTS = 1 << 18 /* fewer are not worth the start of a thread */ };

static int64_t pieces_of(int64_t extent, int64_t slice)
{
    return (extent + slice - 1) / slice;
}

static int64_t least(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

/* The best tile of f32 for panels of that width. */
static const brgemm_kernel *tile_of_width(int nr)
{
    brgemm_variants variants = brgemm_variants_of(BRGEMM_F32);
    const brgemm_kernel *best = NULL;

    for (int i = 0; i < variants.count; i++) {
        const brgemm_kernel *kernel = variants.list[i].table;

        best = kernel->nr == nr && brgemm_usable(&variants.list[i]) ? kernel : best;
    }
    return best;
}

void w4_product_plan(const w4_problem *problem, const w4_kernel *kernel, int workers, w4_product *p)
{
    brgemm_product_problem unpacked = {.m = problem->m,
                                       .n = problem->n,
                                       .k = problem->k,
                                       .a_row = problem->k,
                                       .a_k = 1,
                                       .unpack_unit = problem->group};
    const brgemm_kernel *tile = tile_of_width(kernel->nr);
    int64_t panels = pieces_of(problem->n, kernel->nr);

    *p = (w4_product){.problem = *problem, .kernel = kernel};
    p->groups = pieces_of(problem->k, problem->group);
    p->packed_bytes =
        w4_packed_size(kernel, problem->k, problem->n, problem->group, problem->has_zeros);
    p->unpacks = problem->m > W4_FEW_ROWS && tile != NULL;
    if (p->unpacks) {
        brgemm_product_plan(&unpacked, tile, workers, &p->product);
        p->pieces = p->product.pieces;
        p->worker_bytes = p->product.worker_bytes;
        return;
    }
    p->pieces = least(least(workers, panels), problem->n * problem->k / PIECE_WEIGHTS + 1);
    p->panel_slice = pieces_of(panels, p->pieces);
    p->pieces = pieces_of(panels, p->panel_slice);
    p->shared_bytes = problem->m * p->groups * (problem->group + 1) * (int64_t)sizeof(float);
    p->shared_bytes = pieces_of(p->shared_bytes, LINE) * LINE;
}

void w4_product_prepare(const w4_product_call *call)
{
    const w4_product *p = call->p;
    int64_t padded = p->groups * p->problem.group;
    float *rows = call->workspace;
    float *sums = rows + p->problem.m * padded;

    if (p->unpacks) {
        return;
    }
    for (int64_t row = 0; row < p->problem.m; row++) {
        float *to = rows + row * padded;

        memcpy(to, call->a + row * p->problem.k, (size_t)p->problem.k * sizeof *to);
        memset(to + p->problem.k, 0, (size_t)(padded - p->problem.k) * sizeof *to);
        for (int64_t g = 0; p->problem.has_zeros && g < p->groups; g++) {
            float sum = 0;

            for (int i = 0; i < p->problem.group; i++) {
                sum += to[g * p->problem.group + i];
            }
            sums[row * p->groups + g] = sum;
        }
    }
}

/* ---- few rows: codes ---- */

static void run_codes(const w4_product_call *call, int64_t panel)
{
    const w4_product *p = call->p;
    const w4_problem *problem = &p->problem;
    int64_t padded = p->groups * problem->group;
    const float *rows = call->workspace;
    const float *sums = rows + problem->m * padded;
    int64_t column = panel * p->kernel->nr;
    int64_t bytes = w4_group_bytes(p->kernel, problem->group, problem->has_zeros) * p->groups;

    for (int64_t row = 0; row < problem->m; row += W4_MOST_ROWS) {
        w4_tile tile = {.a = rows + row * padded,
                        .a_pitch = padded,
                        .a_sums = sums + row * p->groups,
                        .sums_pitch = p->groups,
                        .panel = (const char *)call->packed + panel * bytes,
                        .groups = p->groups,
                        .group = problem->group,
                        .has_zeros = problem->has_zeros,
                        .bias = call->bias != NULL ? call->bias + column : NULL,
                        .c = call->c + row * problem->n + column,
                        .c_pitch = problem->n,
                        .rows = (int)least(problem->m - row, W4_MOST_ROWS),
                        .columns = (int)least(problem->n - column, p->kernel->nr)};

        p->kernel->tile(&tile);
    }
}

/* ---- many rows: unpacked weights ---- */

static void unpack(const void *context, int64_t panel, int64_t step, int64_t steps, void *to)
{
    const w4_product_call *call = context;
    const w4_problem *problem = &call->p->problem;
    int64_t bytes = w4_group_bytes(call->p->kernel, problem->group, problem->has_zeros);
    int64_t group = panel * call->p->groups + step / problem->group;

    call->p->kernel->unpack((const char *)call->packed + group * bytes,
                            pieces_of(steps, problem->group), problem->group, problem->has_zeros,
                            to);
}

void w4_product_run(void *context, int64_t begin, int64_t end, int worker)
{
    const w4_product_call *call = context;
    const w4_product *p = call->p;
    int64_t panels = pieces_of(p->problem.n, p->kernel->nr);

    if (p->unpacks) {
        brgemm_product_call unpacked = {
            .p = &p->product,
            .a = call->a,
            .packed = call,
            .unpack = unpack,
            .c = call->c,
            .finish = {.bias = call->bias, .lower = -INFINITY, .upper = INFINITY},
            .workspace = (char *)call->workspace + p->shared_bytes};

        brgemm_product_run(&unpacked, begin, end, worker);
        return;
    }
    for (int64_t panel = begin * p->panel_slice; panel < least(end * p->panel_slice, panels);
         panel++) {
        run_codes(call, panel);
    }
}
