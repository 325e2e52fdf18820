/* Factors of the inverse Gram matrix, and rounding by them. */
#include "quantize/method/gptq.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"

enum {
    COLUMNS = 128,  /* rounded before what follows hears of it */
    ROWS = 8,       /* rounded together: each part of U is read once for all */
    GRAIN = 1 << 16 /* products that are worth the start of a thread */
};

static const double DAMPING = 0.01;

/* What gptq_round works with. */
typedef struct gptq_work {
    const gptq_layer *l;
    int32_t *order; /* [size]: element that is rounded as number j */
    double *lower;  /* [size][size]: H, then R^T, with H = R R^T and R upper */
    double *upper;  /* [size][size]: U */
    int64_t column; /* that is being eliminated */
    double *rooms;  /* per worker */
    int8_t *tried;  /* per worker: [size] codes */
} gptq_work;

/* ---- order and matrix ---- */

typedef struct ranked {
    double key;
    int32_t index;
} ranked;

static int by_falling_key(const void *a, const void *b)
{
    const ranked *x = a;
    const ranked *y = b;

    if (x->key != y->key) {
        return x->key < y->key ? 1 : -1;
    }
    return x->index < y->index ? -1 : 1;
}

static void choose_order(const gptq_work *w, ranked *room)
{
    int64_t size = w->l->size;

    for (int64_t i = 0; i < size; i++) {
        room[i] = (ranked){w->l->in_order ? 0.0 : w->l->gram[i * size + i], (int32_t)i};
    }
    qsort(room, (size_t)size, sizeof *room, by_falling_key);
    for (int64_t i = 0; i < size; i++) {
        w->order[i] = room[i].index;
    }
}

/* The lower half in that order, damped. Inputs that are always zero have no say. */
static void fill_matrix(const gptq_work *w)
{
    int64_t size = w->l->size;
    double mean = 0.0;

    for (int64_t i = 0; i < size; i++) {
        mean += w->l->gram[i * size + i] / (double)size;
    }
    for (int64_t i = 0; i < size; i++) {
        const double *row = w->l->gram + w->order[i] * size;
        double *to = w->lower + i * size;

        for (int64_t k = 0; k < i; k++) {
            to[k] = row[w->order[k]];
        }
        to[i] = row[w->order[i]] > 0.0 ? row[w->order[i]] + DAMPING * mean : 1.0;
    }
}

/* ---- factors ---- */

/* Takes row `column` of R^T out of the rows [begin, end) above it. */
static void eliminate(void *context, int64_t begin, int64_t end, int worker)
{
    const gptq_work *w = context;
    int64_t size = w->l->size;
    const double *from = w->lower + w->column * size;

    (void)worker;
    for (int64_t i = begin; i < end; i++) {
        double *row = w->lower + i * size;
        double factor = from[i];

        for (int64_t k = 0; k <= i; k++) {
            row[k] -= factor * from[k];
        }
    }
}

/* H = R R^T from the last column on. False when H is not positive definite. */
static bool factorise(gptq_work *w, threads *team)
{
    int64_t size = w->l->size;

    for (w->column = size - 1; w->column >= 0; w->column--) {
        double *row = w->lower + w->column * size;
        double root = sqrt(row[w->column]);

        if (!(root > 0.0) || !isfinite(root)) {
            return false;
        }
        for (int64_t k = 0; k < w->column; k++) {
            row[k] /= root;
        }
        row[w->column] = root;
        threads_for(team, w->column, GRAIN / size + 1, eliminate, w);
    }
    return true;
}

/* Columns [begin, end) of U = R^-1, from the last row up. */
static void invert(void *context, int64_t begin, int64_t end, int worker)
{
    const gptq_work *w = context;
    int64_t size = w->l->size;

    (void)worker;
    for (int64_t i = end - 1; i >= 0; i--) {
        double *to = w->upper + i * size;
        double scale = 1.0 / w->lower[i * size + i];

        for (int64_t j = begin; j < end; j++) {
            to[j] = 0.0;
        }
        for (int64_t k = i + 1; k < end; k++) {
            double factor = w->lower[k * size + i];
            const double *row = w->upper + k * size;

            for (int64_t j = k > begin ? k : begin; j < end; j++) {
                to[j] -= factor * row[j];
            }
        }
        for (int64_t j = begin; j < end; j++) {
            to[j] *= scale;
        }
        if (i >= begin) {
            to[i] = scale;
        }
    }
}

/* ---- rounding ---- */

/* Rounds columns [first, last) of one row; errors[j - first]. */
static void round_columns(const gptq_work *w, int64_t row, int64_t first, int64_t last,
                          double *weights, double *errors, int8_t *codes)
{
    const gptq_layer *l = w->l;

    for (int64_t j = first; j < last; j++) {
        int32_t element = w->order[j];
        int64_t block = row * l->blocks + l->block_of[element];
        float step = l->steps[block];
        int32_t zero = l->zeros[block];
        float code = rintf(grid_position((float)weights[j], step, zero));
        const double *u = w->upper + j * l->size;
        double error;

        code = fminf(fmaxf(code, (float)l->limits.low), (float)l->limits.high);
        codes[element] = (int8_t)code;
        error = (weights[j] - (double)grid_value((int32_t)code, step, zero)) / u[j];
        errors[j - first] = error;
        for (int64_t k = j + 1; k < last; k++) {
            weights[k] -= error * u[k];
        }
    }
}

/* What follows hears of the errors of columns [first, last). */
static void spread_errors(const gptq_work *w, int64_t first, int64_t last, int64_t rows,
                          double *weights, const double *errors)
{
    enum { TILE = 256 };
    int64_t size = w->l->size;

    for (int64_t tile = last; tile < size; tile += TILE) {
        int64_t end = tile + TILE < size ? tile + TILE : size;

        for (int64_t row = 0; row < rows; row++) {
            double *to = weights + row * size;

            for (int64_t j = first; j < last; j++) {
                double error = errors[row * COLUMNS + j - first];
                const double *u = w->upper + j * size;

                for (int64_t k = tile; k < end; k++) {
                    to[k] -= error * u[k];
                }
            }
        }
    }
}

/* |w X - w' X|^2 of one row; `room` has room for size numbers. */
static double objective(const gptq_layer *l, int64_t row, const int8_t *codes, double *room)
{
    const float *weights = l->weights + row * l->size;
    double sum = 0.0;

    for (int64_t i = 0; i < l->size; i++) {
        int64_t block = row * l->blocks + l->block_of[i];

        room[i] =
            (double)weights[i] - (double)grid_value(codes[i], l->steps[block], l->zeros[block]);
    }
    for (int64_t i = 0; i < l->size; i++) {
        const double *gram = l->gram + i * l->size;
        double product = 0.0;

        for (int64_t k = 0; k < l->size; k++) {
            product += gram[k] * room[k];
        }
        sum += room[i] * product;
    }
    return sum;
}

static void round_rows(void *context, int64_t begin, int64_t end, int worker)
{
    const gptq_work *w = context;
    const gptq_layer *l = w->l;
    double *weights = w->rooms + worker * ROWS * (l->size + COLUMNS);
    double *errors = weights + ROWS * l->size;
    int8_t *tried = w->tried + worker * ROWS * l->size;
    int64_t rows = end - begin;

    for (int64_t row = 0; row < rows; row++) {
        for (int64_t j = 0; j < l->size; j++) {
            weights[row * l->size + j] = (double)l->weights[(begin + row) * l->size + w->order[j]];
        }
    }
    for (int64_t first = 0; first < l->size; first += COLUMNS) {
        int64_t last = first + COLUMNS < l->size ? first + COLUMNS : l->size;

        for (int64_t row = 0; row < rows; row++) {
            round_columns(w, begin + row, first, last, weights + row * l->size,
                          errors + row * COLUMNS, tried + row * l->size);
        }
        spread_errors(w, first, last, rows, weights, errors);
    }
    for (int64_t row = 0; row < rows; row++) {
        int8_t *codes = l->codes + (begin + row) * l->size;
        int8_t *found = tried + row * l->size;

        if (objective(l, begin + row, found, weights) < objective(l, begin + row, codes, weights)) {
            memcpy(codes, found, (size_t)l->size);
        }
    }
}

/* ---- the whole ---- */

spry_status gptq_round(const gptq_layer *l, const spry_allocator *allocator, threads *team,
                       spry_error *error)
{
    size_t size = (size_t)l->size;
    size_t workers = (size_t)threads_count(team);
    size_t rooms = workers * ROWS * (size + COLUMNS);
    gptq_work w = {.l = l};
    ranked *room = alloc_array(allocator, size, sizeof *room);
    bool complete;

    w.order = alloc_array(allocator, size, sizeof *w.order);
    w.lower = alloc_array(allocator, size * size, sizeof *w.lower);
    w.upper = alloc_array(allocator, size * size, sizeof *w.upper);
    w.rooms = alloc_array(allocator, rooms, sizeof *w.rooms);
    w.tried = alloc_array(allocator, workers * ROWS * size, sizeof *w.tried);
    complete = room != NULL && w.order != NULL && w.lower != NULL && w.upper != NULL &&
               w.rooms != NULL && w.tried != NULL;
    if (complete) {
        choose_order(&w, room);
        fill_matrix(&w);
        if (factorise(&w, team)) {
            threads_for(team, l->size, COLUMNS, invert, &w);
            threads_for(team, l->rows, ROWS, round_rows, &w);
        }
    }
    alloc_release(allocator, room, size * sizeof *room);
    alloc_release(allocator, w.order, size * sizeof *w.order);
    alloc_release(allocator, w.lower, size * size * sizeof *w.lower);
    alloc_release(allocator, w.upper, size * size * sizeof *w.upper);
    alloc_release(allocator, w.rooms, rooms * sizeof *w.rooms);
    alloc_release(allocator, w.tried, workers * ROWS * size * sizeof *w.tried);
    return complete ? SPRY_OK : alloc_failed(error, 2 * size * size * sizeof *w.lower);
}
