/* Times what blocks of channels cost: ptq_sl gemm | search
 *
 *     gemm     products of bytes with scales per block of k, as a share of the speed of those with
 *              a scale per column; and of f32
 *     search   steps by Gram matrices, against the same by outputs that are computed each time
 *
 * Sides take turns; a ratio is the median over the turns. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "base/threads.h"
#include "kernels/brgemm/blocks_s8.h"
#include "kernels/gemm/gemm_f32.h"
#include "quantize/method/block_search.h"

#include <math.h>

enum { EXIT_USAGE = 2, TURNS = 9, LINE = 64, BLOCKS = 5 };

static const double TURN_NS = 3e7;

static int compare(const void *a, const void *b)
{
    double x = *(const double *)a;
    double y = *(const double *)b;

    return (x > y) - (x < y);
}

static double median(double *numbers)
{
    qsort(numbers, TURNS, sizeof *numbers, compare);
    return numbers[TURNS / 2];
}

typedef void (*work)(void *context);

/* Nanoseconds of one call, over as many as fill a turn. */
static double time_of(work f, void *context)
{
    int64_t begun = clock_ns();
    int64_t count = 0;

    do {
        f(context);
        count++;
    } while ((double)(clock_ns() - begun) < TURN_NS);
    return (double)(clock_ns() - begun) / (double)count;
}

/* ---- gemm ---- */

typedef struct gemm_bench {
    int64_t m, n, k, block;
    uint8_t *a, *packed, *packed_blocks;
    int8_t *w;
    int32_t *offsets;
    float *factors, *c, *fa, *fb, *fpacked_a, *fpacked_b;
} gemm_bench;

static void *room(int64_t bytes)
{
    void *memory = aligned_alloc(LINE, (size_t)((bytes + 2 * LINE) / LINE * LINE));

    if (memory == NULL) {
        exit(EXIT_FAILURE);
    }
    memset(memory, 1, (size_t)bytes);
    return memory;
}

static void by_columns(void *context)
{
    static const int64_t none = 0;
    const gemm_bench *g = context;
    const brgemm_kernel *kernel = brgemm_select(BRGEMM_S8);
    int64_t mr = kernel->mr;

    for (int64_t column = 0; column < g->n; column += kernel->nr) {
        brgemm_finish finish = {.result = BRGEMM_FLOATS,
                                .offset = g->offsets + column,
                                .factor = g->factors + column,
                                .lower = -INFINITY,
                                .upper = INFINITY};

        for (int64_t row = 0; row < g->m; row += mr) {
            brgemm_tile t = {.a = g->a + row * g->k,
                             .a_pitch = g->k,
                             .a_second = mr / 2 * g->k,
                             .tap_offsets = &none,
                             .taps = 1,
                             .steps = g->k / 4,
                             .b = g->packed + column * g->k,
                             .c = g->c + row * g->n + column,
                             .c_pitch = g->n * (int64_t)sizeof(float),
                             .c_second = mr / 2 * g->n * (int64_t)sizeof(float),
                             .rows = (int)(g->m - row < mr ? g->m - row : mr),
                             .columns = kernel->nr,
                             .finish = &finish};

            kernel->tile(&t);
        }
    }
}

static void by_blocks(void *context)
{
    const gemm_bench *g = context;
    const blocks_s8_kernel *kernel = blocks_s8_select();
    blocks_s8_problem p = {.m = g->m,
                           .n = g->n,
                           .tile = {.a = g->a,
                                    .a_pitch = g->k,
                                    .b = g->packed_blocks,
                                    .steps = g->k / 4,
                                    .block = g->block / 4,
                                    .offsets = g->offsets,
                                    .factors = g->factors,
                                    .pitch = g->n,
                                    .lower = -INFINITY,
                                    .upper = INFINITY,
                                    .c = g->c,
                                    .c_pitch = g->n}};

    blocks_s8_run(kernel, &p);
}

static void by_floats(void *context)
{
    const gemm_bench *g = context;
    const gemm_f32_kernel *kernel = gemm_f32_select();
    gemm_f32_problem p = {.m = g->m,
                          .k = g->k,
                          .n = g->n,
                          .packed_a = g->fpacked_a,
                          .b = {.packed = g->fpacked_b},
                          .c = g->c,
                          .c_stride = g->n,
                          .finish = {.lower = -INFINITY, .upper = INFINITY}};

    gemm_f32_run(kernel, &p, NULL);
}

static void time_shape(int64_t m, int64_t n, int64_t k)
{
    static const int64_t blocks[BLOCKS] = {32, 64, 128, 256, 0};
    const gemm_f32_kernel *f32 = gemm_f32_select();
    gemm_bench g = {.m = m, .n = n, .k = k};
    brgemm_source source = {.k_stride = n, .column_stride = 1};

    g.a = room(m * k + LINE);
    g.w = room(k * n);
    g.offsets = room(k / 16 * n * 4);
    g.factors = room(k / 16 * n * 4);
    g.c = room(m * n * 4);
    g.packed = room(brgemm_packed_size(brgemm_select(BRGEMM_S8), 1, k, n));
    g.packed_blocks = room(brgemm_packed_size(blocks_s8_select()->layout, 1, k, n));
    g.fa = room(m * k * 4);
    g.fb = room(k * n * 4);
    g.fpacked_a = room(gemm_f32_packed_size(m, k, f32->mr) * 4);
    g.fpacked_b = room(gemm_f32_packed_size(n, k, f32->nr) * 4);
    source.data = g.w;
    brgemm_pack(brgemm_select(BRGEMM_S8), &source, 1, k, n, g.packed);
    brgemm_pack(blocks_s8_select()->layout, &source, 1, k, n, g.packed_blocks);
    gemm_f32_pack(g.fa, k, 1, m, k, f32->mr, g.fpacked_a);
    gemm_f32_pack(g.fb, 1, n, n, k, f32->nr, g.fpacked_b);
    for (int b = 0; b < BLOCKS; b++) {
        double columns[TURNS];
        double floats[TURNS];
        double mine[TURNS];

        g.block = blocks[b] > 0 ? blocks[b] : k;
        for (int i = 0; i < TURNS; i++) {
            double x = time_of(by_columns, &g);
            double y = time_of(by_blocks, &g);

            mine[i] = y;
            columns[i] = x / y;
            floats[i] = time_of(by_floats, &g) / y;
        }
        double ns = median(mine);
        (void)printf(
            "%lldx%lldx%lld blocks of %lld: %.3f ms, %.0f GOP/s, %.1f %% of scales per column, "
            "%.2f x f32\n",
            (long long)m, (long long)k, (long long)n, (long long)g.block, ns * 1e-6,
            2.0 * (double)m * (double)n * (double)k / ns, 100.0 * median(columns), median(floats));
    }
    free(g.a);
    free(g.w);
    free(g.offsets);
    free(g.factors);
    free(g.c);
    free(g.packed);
    free(g.packed_blocks);
    free(g.fa);
    free(g.fb);
    free(g.fpacked_a);
    free(g.fpacked_b);
}

/* ---- search ---- */

enum { OUTPUTS = 32, INPUTS = 32, TAPS = 9, SIZE = INPUTS * TAPS, POINTS = 16384, GROUP = 8 };

typedef struct search_bench {
    weight_record r;
    arena memory;
    float *dense, *x, *y; /* [OUTPUTS][SIZE], [POINTS][SIZE], [POINTS][OUTPUTS] */
    float *packed_x, *first, *values, *packed_w, *outputs;
    double *xx;
} search_bench;

/* Squared errors of a block of outputs, which are computed as products of f32. */
static double error_of_rows(search_bench *s, int64_t begin, int64_t rows)
{
    const gemm_f32_kernel *kernel = gemm_f32_select();
    gemm_f32_problem p = {.m = rows,
                          .k = SIZE,
                          .n = POINTS,
                          .packed_a = s->packed_w,
                          .b = {.packed = s->packed_x},
                          .c = s->outputs,
                          .c_stride = POINTS,
                          .finish = {.lower = -INFINITY, .upper = INFINITY}};
    double sum = 0.0;

    gemm_f32_pack(s->values + begin * SIZE, SIZE, 1, rows, SIZE, kernel->mr, s->packed_w);
    gemm_f32_run(kernel, &p, NULL);
    for (int64_t i = 0; i < rows; i++) {
        const float *y = s->y + (begin + i) * POINTS;
        const float *z = s->outputs + i * POINTS;

        for (int64_t point = 0; point < POINTS; point++) {
            double d = (double)(y[point] - z[point]);

            sum += d * d;
        }
    }
    return sum;
}

static void set_block(search_bench *s, int64_t block, float step)
{
    grid_codes limits = blocks_codes(&s->r);
    int64_t row = block / s->r.column_blocks * GROUP;
    int64_t column = block % s->r.column_blocks * GROUP * TAPS;

    for (int64_t m = row; m < row + GROUP; m++) {
        for (int64_t i = column; i < column + GROUP * TAPS; i++) {
            s->values[m * SIZE + i] = blocks_round_one(s->dense[m * SIZE + i], step, limits) * step;
        }
    }
}

/* One round by the definition. */
static void search_explicitly(search_bench *s, const block_search_options *o)
{
    blocks_round(&s->r, s->dense);
    blocks_values(&s->r, s->values);
    for (int64_t block = 0; block < record_blocks(&s->r); block++) {
        int64_t row = block / s->r.column_blocks * GROUP;
        float best = s->r.steps[block];
        double least = error_of_rows(s, row, GROUP);

        for (int i = 0; i < o->candidates; i++) {
            double factor = o->least + (o->most - o->least) * i / (o->candidates - 1);
            float step = (float)((double)s->first[block] * factor);
            double error;

            set_block(s, block, step);
            error = error_of_rows(s, row, GROUP);
            if (error < least) {
                least = error;
                best = step;
            }
        }
        s->r.steps[block] = best;
        set_block(s, block, best);
    }
}

static void fill(search_bench *s)
{
    const gemm_f32_kernel *kernel = gemm_f32_select();
    uint32_t state = 1;

    s->dense = room(OUTPUTS * SIZE * 4);
    s->values = room(OUTPUTS * SIZE * 4);
    s->x = room(POINTS * SIZE * 4);
    s->y = room((int64_t)POINTS * OUTPUTS * 4);
    s->outputs = room((int64_t)POINTS * OUTPUTS * 4);
    s->packed_x = room(gemm_f32_packed_size(POINTS, SIZE, kernel->nr) * 4);
    s->packed_w = room(gemm_f32_packed_size(OUTPUTS, SIZE, kernel->mr) * 4);
    s->xx = room((int64_t)SIZE * SIZE * 8);
    for (int64_t i = 0; i < OUTPUTS * SIZE; i++) {
        state = state * 1664525u + 1013904223u;
        s->dense[i] = (float)(state >> 8) / 16777216.0f - 0.5f;
    }
    for (int64_t i = 0; i < POINTS * SIZE; i++) {
        state = state * 1664525u + 1013904223u;
        s->x[i] = (float)(state >> 8) / 16777216.0f;
    }
    gemm_f32_pack(s->x, SIZE, 1, POINTS, SIZE, kernel->nr, s->packed_x);
    for (int64_t i = 0; i < SIZE; i++) {
        for (int64_t j = 0; j < SIZE; j++) {
            double sum = 0.0;

            for (int64_t point = 0; point < POINTS; point++) {
                sum += (double)s->x[point * SIZE + i] * (double)s->x[point * SIZE + j];
            }
            s->xx[i * SIZE + j] = sum;
        }
    }
}

static int time_search(void)
{
    spry_allocator allocator = alloc_resolve(NULL);
    block_search_options options = block_search_options_default();
    block_search_report report;
    search_bench s = {.r = {.w = {.outputs = OUTPUTS, .inputs = INPUTS, .taps = TAPS},
                            .bits = 4,
                            .symmetric = true}};
    double ratios[TURNS];
    double mine[TURNS];
    size_t bytes;

    options.rounds = 1;
    fill(&s);
    gram sums = {.groups = 1, .size = SIZE, .columns = POINTS, .xx = s.xx};
    arena_init(&s.memory, NULL, SIZE_MAX);
    if (blocks_cut(&s.r, GROUP, GROUP, NULL, NULL, &s.memory, NULL) != SPRY_OK) {
        return EXIT_FAILURE;
    }
    bytes = (size_t)record_blocks(&s.r) * sizeof *s.first;
    s.first = room((int64_t)bytes);
    blocks_absmax(&s.r, s.dense);
    memcpy(s.first, s.r.steps, bytes);
    memcpy(s.values, s.dense, OUTPUTS * SIZE * sizeof *s.values);
    (void)error_of_rows(&s, 0, OUTPUTS);
    memcpy(s.y, s.outputs, (size_t)POINTS * OUTPUTS * sizeof *s.y);
    for (int i = 0; i < 3; i++) {
        int64_t begun = clock_ns();
        int64_t middle;

        memcpy(s.r.steps, s.first, bytes);
        if (block_search(&s.r, s.dense, &sums, &options, &allocator, threads_single(), &report,
                         NULL) != SPRY_OK) {
            return EXIT_FAILURE;
        }
        middle = clock_ns();
        memcpy(s.r.steps, s.first, bytes);
        search_explicitly(&s, &options);
        mine[i] = (double)(middle - begun);
        ratios[i] = (double)(clock_ns() - middle) / mine[i];
    }
    qsort(ratios, 3, sizeof *ratios, compare);
    qsort(mine, 3, sizeof *mine, compare);
    (void)printf("search of %dx%dx%d in blocks of %dx%d, %d columns, %d candidates: %.2f ms, "
                 "%.1f x faster than with outputs\n",
                 OUTPUTS, INPUTS, TAPS, GROUP, GROUP, POINTS, options.candidates, mine[1] * 1e-6,
                 ratios[1]);
    arena_fini(&s.memory);
    free(s.dense);
    free(s.values);
    free(s.x);
    free(s.y);
    free(s.outputs);
    free(s.packed_x);
    free(s.packed_w);
    free(s.xx);
    free(s.first);
    return EXIT_SUCCESS;
}

int main(int count, char **arguments)
{
    if (count == 2 && strcmp(arguments[1], "gemm") == 0) {
        time_shape(1024, 1024, 1024);
        time_shape(197, 1536, 384);
        return EXIT_SUCCESS;
    }
    if (count == 2 && strcmp(arguments[1], "search") == 0) {
        return time_search();
    }
    (void)fprintf(stderr, "usage: ptq_sl gemm|search\n");
    return EXIT_USAGE;
}
