#include "simulate/array/systolic.h"

#include <stdbool.h>
#include <string.h>

#include "base/alloc.h"

uint64_t systolic_cycles_weights(systolic_shape shape, uint64_t passes, uint64_t m)
{
    uint64_t rows = (uint64_t)shape.rows;
    uint64_t period = m > rows ? m : rows;

    return passes == 0 ? 0 : rows + (passes - 1) * period + m + rows + (uint64_t)shape.columns - 2;
}

uint64_t systolic_cycles_outputs(systolic_shape shape, uint64_t k)
{
    return 2 * (uint64_t)shape.rows + (uint64_t)shape.columns + k - 2;
}

/* What moves between elements. */
typedef struct token {
    float value;
    bool is_there;
    bool starts; /* of an activation: the first of its pass, at which weights are exchanged */
} token;

/* One element's registers; `next_*` are written during a cycle and taken over at its end. */
typedef struct cell {
    float weight, shadow, next_shadow;
    token right, next_right;
    token down, next_down;
    float sum; /* where outputs stay */
} cell;

static spry_status make_cells(const spry_allocator *own, systolic_shape shape, cell **cells,
                              spry_error *error)
{
    size_t count = (size_t)shape.rows * (size_t)shape.columns;

    *cells = NULL;
    if (shape.rows < 1 || shape.columns < 1 || shape.rows > SYSTOLIC_SIDE_MOST ||
        shape.columns > SYSTOLIC_SIDE_MOST) {
        return spry_fail(error, SPRY_USAGE, "array", NULL, "its sides must be of 1 to %d elements",
                         SYSTOLIC_SIDE_MOST);
    }
    *cells = alloc_array(own, count, sizeof **cells);
    if (*cells == NULL) {
        return alloc_failed(error, count * sizeof **cells);
    }
    memset(*cells, 0, count * sizeof **cells);
    return SPRY_OK;
}

static void free_cells(const spry_allocator *own, systolic_shape shape, cell *cells)
{
    alloc_release(own, cells, (size_t)shape.rows * (size_t)shape.columns * sizeof *cells);
}

/* ---- weights stay ---- */

typedef struct weights_job {
    systolic_shape shape;
    const systolic_pass *passes;
    int64_t count, m, period;
    cell *cells;
} weights_job;

/* The activation that enters row i in a cycle: row i of a pass is i cycles late. */
static token entering(const weights_job *job, int i, int64_t cycle)
{
    int64_t at = cycle - job->shape.rows - i;
    int64_t pass = at >= 0 ? at / job->period : -1;
    int64_t m = at >= 0 ? at % job->period : 0;
    const systolic_pass *p;

    if (pass < 0 || pass >= job->count || m >= job->m) {
        return (token){0};
    }
    p = &job->passes[pass];
    return (token){i < p->depth ? p->a[m * p->a_pitch + i] : 0.0F, true, m == 0};
}

/* Does the shadow of element (i, j) take what is above it in a cycle; above row 0 is *weight. The
 * weights of a pass enter during the rows' worth of cycles before its start, that of the last row
 * first, j cycles late. A row joins in once the first of them has come down to it: until then it
 * keeps the weight that the pass before is about to begin with. */
static bool takes_weight(const weights_job *job, int i, int j, int64_t cycle, float *weight)
{
    int64_t at = cycle - j;
    int64_t pass = at >= 0 ? at / job->period : -1;
    int64_t step = at >= 0 ? at % job->period : 0;
    const systolic_pass *p;
    int64_t k;

    if (pass < 0 || pass >= job->count || step >= job->shape.rows || step < i) {
        return false;
    }
    p = &job->passes[pass];
    k = job->shape.rows - 1 - step;
    *weight = k < p->depth && j < p->width ? p->w[k * p->w_pitch + j] : 0.0F;
    return true;
}

/* Element (i, j) of one cycle, reading only what its neighbours held at its start. */
static void step_weights(const weights_job *job, int i, int j, int64_t cycle)
{
    int columns = job->shape.columns;
    cell *c = &job->cells[(size_t)i * (size_t)columns + (size_t)j];
    token a = j > 0 ? c[-1].right : entering(job, i, cycle);
    float above = i > 0 ? c[-columns].down.value : 0.0F;
    float weight = 0.0F;
    bool moves = takes_weight(job, i, j, cycle, &weight);

    if (a.is_there && a.starts) {
        c->weight = c->shadow;
    }
    c->next_right = a;
    c->next_down = (token){above + a.value * c->weight, a.is_there, false};
    c->next_shadow = !moves ? c->shadow : i > 0 ? c[-columns].shadow : weight;
}

static void commit(weights_job *job)
{
    size_t count = (size_t)job->shape.rows * (size_t)job->shape.columns;

    for (size_t i = 0; i < count; i++) {
        job->cells[i].right = job->cells[i].next_right;
        job->cells[i].down = job->cells[i].next_down;
        job->cells[i].shadow = job->cells[i].next_shadow;
    }
}

/* Adds what leaves column j at the bottom: column j's row m of a pass comes m + j + rows cycles
 * after the pass starts. Returns whether anything did. */
static bool collect(const weights_job *job, int j, int64_t cycle)
{
    const cell *c =
        &job->cells[(size_t)(job->shape.rows - 1) * (size_t)job->shape.columns + (size_t)j];
    int64_t at = cycle - 2 * (int64_t)job->shape.rows - j + 1;
    int64_t pass;
    int64_t m;
    const systolic_pass *p;

    if (!c->down.is_there) {
        return false;
    }
    pass = at / job->period;
    m = at % job->period;
    p = &job->passes[pass];
    if (j < p->width) {
        p->sums[m * p->sums_pitch + j] += c->down.value;
    }
    return pass + 1 == job->count && m + 1 == job->m && j + 1 == job->shape.columns;
}

spry_status systolic_run_weights(const spry_allocator *allocator, systolic_shape shape,
                                 const systolic_pass *passes, int64_t count, int64_t m,
                                 uint64_t *cycles, spry_error *error)
{
    spry_allocator own = alloc_resolve(allocator);
    weights_job job = {.shape = shape,
                       .passes = passes,
                       .count = count,
                       .m = m,
                       .period = m > shape.rows ? m : shape.rows};
    bool is_done = count == 0;
    spry_status status = make_cells(&own, shape, &job.cells, error);

    *cycles = 0;
    if (status != SPRY_OK) {
        return status;
    }
    if (m < 1) {
        free_cells(&own, shape, job.cells);
        return spry_fail(error, SPRY_USAGE, "array", NULL, "a pass must have rows");
    }
    for (int64_t cycle = 0; !is_done; cycle++) {
        for (int i = 0; i < shape.rows; i++) {
            for (int j = 0; j < shape.columns; j++) {
                step_weights(&job, i, j, cycle);
            }
        }
        commit(&job);
        for (int j = 0; j < shape.columns; j++) {
            is_done = collect(&job, j, cycle) || is_done;
        }
        *cycles = (uint64_t)cycle + 1;
    }
    free_cells(&own, shape, job.cells);
    return SPRY_OK;
}

/* ---- outputs stay ---- */

static token row_operand(const float *a, int64_t k, int i, int64_t cycle)
{
    int64_t at = cycle - i;

    return at >= 0 && at < k ? (token){a[i * k + at], true, false} : (token){0};
}

static token column_operand(const float *b, int64_t k, int columns, int j, int64_t cycle)
{
    int64_t at = cycle - j;

    return at >= 0 && at < k ? (token){b[at * columns + j], true, false} : (token){0};
}

spry_status systolic_run_outputs(const spry_allocator *allocator, systolic_shape shape,
                                 const float *a, const float *b, int64_t k, float *sums,
                                 uint64_t *cycles, spry_error *error)
{
    spry_allocator own = alloc_resolve(allocator);
    int64_t last = shape.rows + shape.columns - 2 + k; /* the corner has its last product */
    int columns = shape.columns;
    cell *cells;
    spry_status status = make_cells(&own, shape, &cells, error);

    *cycles = 0;
    if (status != SPRY_OK) {
        return status;
    }
    for (int64_t cycle = 0; cycle < last; cycle++) {
        for (int i = shape.rows - 1; i >= 0; i--) {
            for (int j = columns - 1; j >= 0; j--) {
                cell *c = &cells[(size_t)i * (size_t)columns + (size_t)j];

                /* From the far corner on, so that neighbours still hold what they did. */
                c->right = j > 0 ? c[-1].right : row_operand(a, k, i, cycle);
                c->down = i > 0 ? c[-columns].down : column_operand(b, k, columns, j, cycle);
                if (c->right.is_there && c->down.is_there) {
                    c->sum += c->right.value * c->down.value;
                }
            }
        }
        ++*cycles;
    }
    for (int out = shape.rows - 1; out >= 0; out--) { /* sums move down, a row leaves a cycle */
        for (int j = 0; j < columns; j++) {
            sums[(size_t)out * (size_t)columns + (size_t)j] =
                cells[(size_t)(shape.rows - 1) * (size_t)columns + (size_t)j].sum;
        }
        for (int i = shape.rows - 1; i > 0; i--) {
            for (int j = 0; j < columns; j++) {
                cells[(size_t)i * (size_t)columns + (size_t)j].sum =
                    cells[(size_t)(i - 1) * (size_t)columns + (size_t)j].sum;
            }
        }
        ++*cycles;
    }
    free_cells(&own, shape, cells);
    return SPRY_OK;
}
