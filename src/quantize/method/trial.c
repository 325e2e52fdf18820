/* Products of codes, and their distance from the float product while they are in cache. */
#include "quantize/method/trial.h"

#include <math.h>
#include <string.h>

#include "base/alloc.h"
#include "kernels/brgemm/brgemm_product.h"
#include "kernels/elementwise/linear_s8.h"
#include "kernels/elementwise/twin_s8.h"

enum {
    PIECE_ROWS = 128, /* rows of a group per piece of work */
    MOST_SEGMENTS = 4,
    GRAIN = 4 /* rows that are put on a grid at a time */
};

static int64_t round_up(int64_t n, int64_t multiple)
{
    return (n + multiple - 1) / multiple * multiple;
}

static int64_t pieces_per_group(const trial *t)
{
    return (t->rows + PIECE_ROWS - 1) / PIECE_ROWS;
}

/* ---- room ---- */

spry_status trial_create(trial *t, arena *memory, spry_error *error)
{
    size_t rows = (size_t)(t->groups * t->rows);
    size_t columns = (size_t)(t->groups * t->n);
    size_t b_count = (size_t)(t->groups * t->n * t->k);

    t->kernel = brgemm_select(BRGEMM_S8);
    t->distance = tile_error_select();
    t->pitch = round_up(t->k, t->kernel->group);
    t->packed_size = round_up(brgemm_packed_size(t->kernel, 1, t->k, t->n), 64);
    t->piece_count = t->groups * pieces_per_group(t);
    t->a = arena_array(memory, rows * (size_t)t->k, sizeof *t->a);
    t->b = arena_array(memory, b_count, sizeof *t->b);
    t->exact = arena_array(memory, rows * (size_t)t->n, sizeof *t->exact);
    t->codes = arena_bytes(memory, b_count);
    t->packed = arena_bytes(memory, (size_t)(t->groups * t->packed_size) + 64);
    t->sums = arena_array(memory, columns, sizeof *t->sums);
    t->b_steps = arena_array(memory, columns, sizeof *t->b_steps);
    t->a_grids = arena_array(memory, (size_t)t->a_units, sizeof *t->a_grids);
    t->pieces = arena_array(memory, (size_t)(t->piece_count * t->units), sizeof *t->pieces);
    for (int i = 0; i < 2; i++) {
        t->planes[i] = arena_bytes(memory, rows * (size_t)t->pitch + 64);
    }
    if (fisher_has_gradients(t->metric)) {
        t->importance = arena_array(memory, rows * (size_t)t->n, sizeof *t->importance);
    }
    return t->a != NULL && t->b != NULL && t->exact != NULL && t->codes != NULL &&
                   t->packed != NULL && t->sums != NULL && t->b_steps != NULL &&
                   t->a_grids != NULL && t->pieces != NULL && t->planes[0] != NULL &&
                   t->planes[1] != NULL &&
                   (t->importance != NULL || !fisher_has_gradients(t->metric))
               ? SPRY_OK
               : alloc_failed(error, b_count * sizeof *t->b);
}

spry_status trial_begin(trial *t, arena *memory, spry_error *error)
{
    const brgemm_kernel *kernel = brgemm_select(BRGEMM_F32);
    brgemm_product_problem problem = {.m = t->rows, .n = t->n, .k = t->k, .a_row = t->k, .a_k = 1};
    brgemm_product p;
    void *packed;
    void *workspace;

    brgemm_product_plan(&problem, kernel, threads_count(t->team), &p);
    packed = arena_bytes(memory, (size_t)p.packed_bytes);
    workspace = arena_bytes(memory, (size_t)(p.worker_bytes * threads_count(t->team)) + 64);
    if (packed == NULL || workspace == NULL) {
        return alloc_failed(error, (size_t)p.packed_bytes);
    }
    for (int64_t g = 0; g < t->groups; g++) {
        const brgemm_source source = {.data = t->b + g * t->k * t->n,
                                      .k_stride = t->unit_of != NULL ? 1 : t->n,
                                      .column_stride = t->unit_of != NULL ? t->k : 1};
        brgemm_product_call call = {.p = &p,
                                    .a = t->a + g * t->rows * t->k,
                                    .packed = packed,
                                    .c = t->exact + g * t->rows * t->n,
                                    .finish = {.lower = -INFINITY, .upper = INFINITY},
                                    .workspace = workspace};

        brgemm_pack(kernel, &source, 1, t->k, t->n, packed);
        threads_for(t->team, p.pieces, 1, brgemm_product_run, &call);
    }
    return SPRY_OK;
}

/* ---- the first operand ---- */

static const trial_grid *grid_of_group(const trial *t, int64_t group)
{
    return &t->a_grids[t->a_units > 1 ? group % t->a_units : 0];
}

static quantize_target target_of(const trial *t, const trial_grid *grid)
{
    tensor_grid whole = {.dtype = grid->dtype, .bits = t->bits};
    grid_codes codes = tensor_grid_codes(&whole);

    return (quantize_target){codes.low, codes.high, grid->zero};
}

static void put_rows(void *context, int64_t begin, int64_t end, int worker)
{
    const trial *t = context;
    const linear_s8_kernel *linear = linear_s8_select();
    const twin_s8_kernel *twin = twin_s8_select();

    (void)worker;
    for (int64_t row = begin; row < end; row++) {
        const trial_grid *grid = grid_of_group(t, row / t->rows);
        const float *from = t->a + row * t->k;
        uint8_t *first = t->planes[0] + row * t->pitch;

        if (grid->is_twin) {
            (void)twin->split(first, t->planes[1] + row * t->pitch, from, t->k, grid->twin);
        } else {
            linear->quantize(first, from, t->k, grid->step, target_of(t, grid));
        }
    }
}

void trial_set_a(trial *t, const trial_grid *grids)
{
    memcpy(t->a_grids, grids, (size_t)t->a_units * sizeof *grids);
    threads_for(t->team, t->groups * t->rows, GRAIN, put_rows, t);
}

/* ---- the second ---- */

static void put_panel(const trial *t, int64_t group, int64_t column, int64_t count)
{
    const linear_s8_kernel *linear = linear_s8_select();
    const quantize_target target = {t->b_codes.low, t->b_codes.high, 0};
    bool turned = t->unit_of != NULL;
    const float *b = t->b + group * t->k * t->n;
    uint8_t *codes = t->codes + group * t->k * t->n;
    const float *steps = t->b_steps + group * t->n;
    int32_t *sums = t->sums + group * t->n + column;
    const brgemm_source source = {.data = codes + column * (turned ? t->k : 1),
                                  .k_stride = turned ? 1 : t->n,
                                  .column_stride = turned ? t->k : 1};

    memset(sums, 0, (size_t)count * sizeof *sums);
    for (int64_t j = 0; turned && j < count; j++) {
        int64_t at = (column + j) * t->k;

        linear->quantize(codes + at, b + at, t->k, steps[column + j], target);
        for (int64_t i = 0; i < t->k; i++) {
            sums[j] += (int8_t)codes[at + i];
        }
    }
    for (int64_t i = 0; !turned && i < t->k; i++) {
        int64_t at = i * t->n + column;

        linear->quantize(codes + at, b + at, count, steps[column], target);
        for (int64_t j = 0; j < count; j++) {
            sums[j] += (int8_t)codes[at + j];
        }
    }
    brgemm_s8_pack_panel(t->kernel, &source, t->k, count,
                         t->packed + group * t->packed_size + column * t->pitch);
}

static void put_panels(void *context, int64_t begin, int64_t end, int worker)
{
    const trial *t = context;
    int64_t panels = (t->n + t->kernel->nr - 1) / t->kernel->nr;

    (void)worker;
    for (int64_t i = begin; i < end; i++) {
        int64_t column = i % panels * t->kernel->nr;
        int64_t left = t->n - column;

        put_panel(t, i / panels, column, left < t->kernel->nr ? left : t->kernel->nr);
    }
}

void trial_set_b(trial *t, const float *steps)
{
    for (int64_t g = 0; g < t->groups; g++) {
        for (int64_t j = 0; j < t->n; j++) {
            t->b_steps[g * t->n + j] = t->unit_of != NULL ? steps[j] : steps[g % t->heads];
        }
    }
    threads_for(t->team, t->groups * ((t->n + t->kernel->nr - 1) / t->kernel->nr), 1, put_panels,
                t);
}

/* ---- errors ---- */

/* Rows of a piece, and what has been summed of them. */
typedef struct piece {
    int64_t group, row, rows;
    double *errors;                           /* [units], or one of two activations */
    double dot[PIECE_ROWS][MOST_SEGMENTS][3]; /* of cosine: yy', yy, y'y' */
} piece;

/* Sums of a tile of one plane. */
static void multiply(const trial *t, const piece *p, int64_t row, int rows, int64_t column,
                     int count, int plane, int32_t *sums)
{
    static const int64_t none = 0;
    const trial_grid *grid = grid_of_group(t, p->group);
    bool is_signed = !grid->is_twin && grid->dtype == SPRY_DTYPE_I8;
    int mr = t->kernel->mr;
    brgemm_tile tile = {.a = t->planes[plane] + (p->group * t->rows + row) * t->pitch,
                        .a_pitch = t->pitch,
                        .a_second = mr / 2 * t->pitch,
                        .tap_offsets = &none,
                        .taps = 1,
                        .steps = t->pitch / t->kernel->group,
                        .b = t->packed + p->group * t->packed_size + column * t->pitch,
                        .flip = is_signed ? 0x80 : 0,
                        .c = sums,
                        .c_pitch = BRGEMM_MOST_NR * (int64_t)sizeof *sums,
                        .c_second = mr / 2 * BRGEMM_MOST_NR * (int64_t)sizeof *sums,
                        .rows = rows,
                        .columns = count};

    t->kernel->tile(&tile);
}

/* The quantised product of a tile. */
static void find_tile(const trial *t, const piece *p, int64_t row, int rows, int64_t column,
                      int count, float *y)
{
    const trial_grid *grid = grid_of_group(t, p->group);
    bool is_signed = !grid->is_twin && grid->dtype == SPRY_DTYPE_I8;
    int32_t room[2][BRGEMM_MOST_MR * BRGEMM_MOST_NR];
    tile_error_sums s = {.sums = {room[0]},
                         .pitch = BRGEMM_MOST_NR,
                         .zero = grid->zero + (is_signed ? 128 : 0),
                         .codes = t->sums + p->group * t->n + column,
                         .scales = {grid->step},
                         .steps = t->b_steps + p->group * t->n + column};

    multiply(t, p, row, rows, column, count, 0, room[0]);
    if (grid->is_twin) {
        multiply(t, p, row, rows, column, count, 1, room[1]);
        s.sums[1] = room[1];
        s.zero = 0;
        s.scales[0] = grid->twin.kind == TWIN_SIGNED ? -grid->twin.d1 : grid->twin.d1;
        s.scales[1] = grid->twin.d2;
    }
    t->distance->numbers(&s, rows, count, y);
}

/* Adds squared errors, weighted by importance. */
static void add_squares(const trial *t, piece *p, int64_t row, int rows, int64_t column, int count,
                        const float *y)
{
    float errors[BRGEMM_MOST_NR] = {0.0f};
    int64_t at = (p->group * t->rows + row) * t->n + column;

    t->distance->add_squares(y, BRGEMM_MOST_NR, t->exact + at,
                             t->importance != NULL ? t->importance + at : NULL, t->n, rows, count,
                             errors);
    for (int j = 0; j < count; j++) {
        p->errors[t->unit_of != NULL ? t->unit_of[column + j] : 0] += (double)errors[j];
    }
}

/* Adds products of rows for their cosines. */
static void add_dots(const trial *t, piece *p, int64_t row, int rows, int64_t column, int count,
                     const float *y)
{
    for (int i = 0; i < rows; i++) {
        const float *exact = t->exact + (p->group * t->rows + row + i) * t->n + column;
        const float *found = y + i * BRGEMM_MOST_NR;

        for (int j = 0; j < count; j++) {
            int32_t unit = t->unit_of != NULL ? t->unit_of[column + j] : 0;
            double *dot = p->dot[row - p->row + i][unit];

            dot[0] += (double)(exact[j] * found[j]);
            dot[1] += (double)(exact[j] * exact[j]);
            dot[2] += (double)(found[j] * found[j]);
        }
    }
}

static void finish_dots(const trial *t, piece *p)
{
    int64_t units = t->unit_of != NULL ? t->units : 1;

    for (int64_t i = 0; i < p->rows; i++) {
        for (int64_t u = 0; u < units; u++) {
            const double *dot = p->dot[i][u];
            double norm = sqrt(dot[1] * dot[2]);

            p->errors[u] += norm > 0.0 ? 1.0 - dot[0] / norm : dot[1] > 0.0 || dot[2] > 0.0;
        }
    }
}

static void measure_piece(const trial *t, int64_t number)
{
    int64_t blocks = pieces_per_group(t);
    int64_t row = number % blocks * PIECE_ROWS;
    float y[BRGEMM_MOST_MR * BRGEMM_MOST_NR];
    int mr = t->kernel->mr;
    int nr = t->kernel->nr;
    piece p;

    p.group = number / blocks;
    p.row = row;
    p.rows = t->rows - row < PIECE_ROWS ? t->rows - row : PIECE_ROWS;
    p.errors = t->pieces + number * t->units;
    memset(p.errors, 0, (size_t)t->units * sizeof *p.errors);
    if (t->metric == FISHER_COSINE) {
        memset(p.dot, 0, sizeof p.dot);
    }
    for (int64_t column = 0; column < t->n; column += nr) {
        int count = t->n - column < nr ? (int)(t->n - column) : nr;

        for (int64_t i = p.row; i < p.row + p.rows; i += mr) {
            int64_t left = p.row + p.rows - i;
            int rows = left < mr ? (int)left : mr;

            find_tile(t, &p, i, rows, column, count, y);
            if (t->metric == FISHER_COSINE) {
                add_dots(t, &p, i, rows, column, count, y);
            } else {
                add_squares(t, &p, i, rows, column, count, y);
            }
        }
    }
    if (t->metric == FISHER_COSINE) {
        finish_dots(t, &p);
    }
}

static void measure_pieces(void *context, int64_t begin, int64_t end, int worker)
{
    (void)worker;
    for (int64_t i = begin; i < end; i++) {
        measure_piece(context, i);
    }
}

void trial_measure(trial *t, double *errors)
{
    int64_t blocks = pieces_per_group(t);
    double count =
        (double)(t->groups * t->rows) * (t->metric == FISHER_COSINE ? 1.0 : (double)t->n);

    threads_for(t->team, t->piece_count, 1, measure_pieces, t);
    memset(errors, 0, (size_t)t->units * sizeof *errors);
    for (int64_t i = 0; i < t->piece_count; i++) {
        for (int64_t u = 0; t->unit_of != NULL && u < t->units; u++) {
            errors[u] += t->pieces[i * t->units + u];
        }
        if (t->unit_of == NULL) {
            errors[i / blocks % t->units] += t->pieces[i * t->units];
        }
    }
    for (int64_t u = 0; u < t->units; u++) {
        errors[u] /= count;
    }
}
