/* Gradients of single examples along axis 0 and their squared lengths, in the domain "ai.spry":
 * what clipping them one by one is made of (train/gradient/clipped_gradient.c).
 *
 *     ProductSquares(x [N, rows, in], dy [N, rows, out])    |x_i^T dy_i|^2, Frobenius; x_i^T dy_i
 *     SumSquares(x [N, rows, C], y)     |s_i|^2 with s_i the sum over rows of x_i y_i; s_i; y of
 *                                       the shape of x, or omitted: ones
 *     WeightedSum(x [N, ...], c [N])    the sum of c_i x_i
 *
 * Where the gradients are not wanted, they are not stored, and |X^T D|^2 may also be made as
 * <X X^T, D D^T>, when that takes fewer multiplications ("ghost" norms: Li, Tramer, Liang,
 * Hashimoto, arXiv 2110.05679). Either is made tile by tile. An example is summed by one thread, in
 * an order that its shape gives. */
#include <string.h>

#include "kernels/elementwise/gradient_f32.h"
#include "kernels/outer/outer.h"
#include "kernels/transpose/transpose.h"
#include "ops/families.h"
#include "ops/whole.h"

#define REAL (1u << SPRY_DTYPE_F32 | 1u << SPRY_DTYPE_F64)

enum {
    MOST_TILE = 64, /* rows and columns of a tile */
    RANK = 3,       /* of the inputs */
    COLUMNS = 4096  /* of a weighted sum at a time */
};

static void product_cost(const op_work *w, int64_t *macs, int64_t *flops)
{
    *macs = op_work_count(w->inputs[0]) * w->inputs[1]->dims[2].size;
    *flops = 2 * *macs;
}

static void sum_cost(const op_work *w, int64_t *macs, int64_t *flops)
{
    (void)macs;
    *flops = 2 * op_work_count(w->inputs[0]);
}

static spry_status infer_squares(op_shapes *s)
{
    graph_dim dims[RANK];
    const graph_type *x = op_shapes_ranked(s, 0);
    const graph_type *y = op_shapes_ranked(s, 1);

    if (x == NULL) {
        return SPRY_OK;
    }
    if (x->rank != RANK || (y != NULL && y->rank != RANK)) {
        return op_shapes_fail(s, "inputs are [examples, rows, columns], not of rank %d", x->rank);
    }
    op_shapes_set(s, 0, x->dtype, 1, x->dims);
    dims[0] = x->dims[0];
    dims[1] = x->dims[2];
    if (strcmp(s->node->type, "SumSquares") == 0) {
        op_shapes_set(s, 1, x->dtype, 2, dims);
    } else if (y != NULL) {
        dims[2] = y->dims[2];
        op_shapes_set(s, 1, x->dtype, RANK, dims);
    }
    return SPRY_OK;
}

/* ---- one example ---- */

typedef struct squares {
    const tensor *x, *y; /* y: NULL for ones */
    tensor *to;
    tensor *each; /* the gradients; NULL: not wanted */
    int64_t rows, in, out;
    bool by_rows; /* <X X^T, D D^T> */
    void *room;
    int64_t room_each; /* elements, per worker */
    const outer_kernel *outer;
    const gradient_f32_kernel *sums;
    const transpose_kernel *turn;
} squares;

typedef struct factor {
    const float *numbers;
    int64_t pitch;
} factor;

/* a^T b over `steps` rows. */
static void make_tile(const squares *s, factor a, factor b, int64_t steps, int rows, int columns,
                      float *tile, int64_t pitch)
{
    const outer_run run = {0, 0, steps};
    const outer_tile t = {.a = a.numbers,
                          .b = b.numbers,
                          .a_pitch = a.pitch * (int64_t)sizeof(float),
                          .b_pitch = b.pitch * (int64_t)sizeof(float),
                          .runs = &run,
                          .run_count = 1,
                          .c = tile,
                          .c_pitch = pitch,
                          .rows = rows,
                          .columns = columns};

    s->outer->tile(&t);
}

/* The sum of left times right, [rows, columns]; columns before `single` count twice. */
static double multiply_tiles(const squares *s, const float *left, const float *right, int64_t pitch,
                             int rows, int columns, int64_t single)
{
    float sums[MOST_TILE] = {0};
    const gradient_f32_dot dot = {left, right, pitch, pitch, rows, columns, sums};
    double total = 0.0;

    s->sums->dot(&dot);
    for (int j = 0; j < columns; j++) {
        total += (j < single ? 2.0 : 1.0) * (double)sums[j];
    }
    return total;
}

static int least(int64_t a, int64_t b)
{
    return (int)(a < b ? a : b);
}

/* The gradient itself, tile by tile; `each` may be NULL. */
static double square_product(const squares *s, const float *x, const float *dy, float *each)
{
    float tile[MOST_TILE * MOST_TILE];
    double total = 0.0;

    for (int64_t i = 0; i < s->in; i += s->outer->mr) {
        int rows = least(s->outer->mr, s->in - i);

        for (int64_t j = 0; j < s->out; j += s->outer->nr) {
            int columns = least(s->outer->nr, s->out - j);

            float *to = each != NULL ? each + i * s->out + j : tile;
            int64_t pitch = each != NULL ? s->out : columns;

            make_tile(s, (factor){x + i, s->in}, (factor){dy + j, s->out}, s->rows, rows, columns,
                      to, pitch);
            total += multiply_tiles(s, to, to, pitch, rows, columns, 0);
        }
    }
    return total;
}

/* Products of rows with rows: both matrices are symmetric, so that tiles left of the diagonal count
 * twice and those right of it are left out. */
static double square_rows(const squares *s, const float *x, const float *dy, float *room)
{
    const int64_t pitch = s->rows * (int64_t)sizeof(float);
    float *xt = room;
    float *dt = room + s->in * s->rows;
    const transpose_matrix turns[] = {
        {x, xt, s->rows, s->in, s->in * (int64_t)sizeof *x, pitch},
        {dy, dt, s->rows, s->out, s->out * (int64_t)sizeof *dy, pitch}};
    float left[MOST_TILE * MOST_TILE];
    float right[MOST_TILE * MOST_TILE];
    double total = 0.0;

    s->turn->words(&turns[0]);
    s->turn->words(&turns[1]);
    for (int64_t i = 0; i < s->rows; i += s->outer->mr) {
        int rows = least(s->outer->mr, s->rows - i);

        for (int64_t j = 0; j < i + rows; j += s->outer->nr) {
            int columns = least(s->outer->nr, i + rows - j);

            make_tile(s, (factor){xt + i, s->rows}, (factor){xt + j, s->rows}, s->in, rows, columns,
                      left, columns);
            make_tile(s, (factor){dt + i, s->rows}, (factor){dt + j, s->rows}, s->out, rows,
                      columns, right, columns);
            total += multiply_tiles(s, left, right, columns, rows, columns, i - j);
        }
    }
    return total;
}

static void products_f32(void *context, int64_t begin, int64_t end, int worker)
{
    const squares *s = context;

    for (int64_t n = begin; n < end; n++) {
        const float *x = (const float *)s->x->data + n * s->rows * s->in;
        const float *dy = (const float *)s->y->data + n * s->rows * s->out;

        float *each = s->each != NULL ? (float *)s->each->data + n * s->in * s->out : NULL;

        ((float *)s->to->data)[n] =
            (float)(s->by_rows ? square_rows(s, x, dy, (float *)s->room + worker * s->room_each)
                               : square_product(s, x, dy, each));
    }
}

static void products_f64(void *context, int64_t begin, int64_t end, int worker)
{
    const squares *s = context;

    (void)worker;
    for (int64_t n = begin; n < end; n++) {
        const double *x = (const double *)s->x->data + n * s->rows * s->in;
        const double *dy = (const double *)s->y->data + n * s->rows * s->out;
        double total = 0.0;

        for (int64_t i = 0; i < s->in; i++) {
            for (int64_t j = 0; j < s->out; j++) {
                double sum = 0.0;

                for (int64_t r = 0; r < s->rows; r++) {
                    sum += x[r * s->in + i] * dy[r * s->out + j];
                }
                total += sum * sum;
                if (s->each != NULL) {
                    ((double *)s->each->data)[(n * s->in + i) * s->out + j] = sum;
                }
            }
        }
        ((double *)s->to->data)[n] = total;
    }
}

static spry_status run_product_squares(op_call *call)
{
    squares s = {.x = op_call_input(call, 0), .y = op_call_input(call, 1)};
    spry_status status;

    if (s.x == NULL || s.y == NULL || s.x->rank != RANK || s.y->rank != RANK ||
        s.x->dtype != s.y->dtype || s.x->shape[0] != s.y->shape[0] ||
        s.x->shape[1] != s.y->shape[1]) {
        return op_call_fail(call, SPRY_BAD_INPUT, "the inputs differ in examples, rows or type");
    }
    s.rows = s.x->shape[1];
    s.in = s.x->shape[2];
    s.out = s.y->shape[2];
    s.outer = outer_select(OUTER_F32);
    s.sums = gradient_f32_select();
    s.turn = transpose_select();
    /* the half of the matrices of rows that is made, in whole tiles */
    s.by_rows =
        !op_call_wants(call, 1) && (double)(s.rows + s.outer->nr) / 2.0 * (double)(s.in + s.out) <
                                       (double)s.in * (double)s.out;
    status = op_call_output(call, 0, s.x->dtype, 1, s.x->shape, &s.to);
    if (status == SPRY_OK && op_call_wants(call, 1)) {
        const int64_t shape[RANK] = {s.x->shape[0], s.in, s.out};

        status = op_call_output(call, 1, s.x->dtype, RANK, shape, &s.each);
    }
    if (status == SPRY_OK && s.by_rows && s.x->dtype == SPRY_DTYPE_F32) {
        s.room_each = (s.in + s.out) * s.rows;
        status = whole_room(call, s.room_each, threads_count(call->team), sizeof(float), &s.room);
    }
    if (status == SPRY_OK && s.to != NULL) {
        threads_for(call->team, s.x->shape[0], 1,
                    s.x->dtype == SPRY_DTYPE_F32 ? products_f32 : products_f64, &s);
    }
    return status;
}

/* ---- sums ---- */

/* Sums of columns [c, c + count) of one example. */
static void sum_columns_f32(const squares *s, const float *x, const float *y, float *sums)
{
    for (int64_t c = 0; c < s->in; c++) {
        sums[c] = 0.0f;
    }
    if (y != NULL) {
        const gradient_f32_dot dot = {x, y, s->in, s->in, s->rows, s->in, sums};

        s->sums->dot(&dot);
        return;
    }
    for (int64_t r = 0; r < s->rows; r++) {
        for (int64_t c = 0; c < s->in; c++) {
            sums[c] += x[r * s->in + c];
        }
    }
}

static void sum_columns_f64(const squares *s, const double *x, const double *y, double *sums)
{
    for (int64_t c = 0; c < s->in; c++) {
        sums[c] = 0.0;
        for (int64_t r = 0; r < s->rows; r++) {
            sums[c] += x[r * s->in + c] * (y != NULL ? y[r * s->in + c] : 1.0);
        }
    }
}

/* Eight sums side by side, so that additions need not wait for each other. */
static double square_f32(const float *numbers, int64_t count)
{
    enum { LANES = 8 };
    double lanes[LANES] = {0.0};
    double total = 0.0;
    int64_t i = 0;

    for (; i + LANES <= count; i += LANES) {
        for (int k = 0; k < LANES; k++) {
            lanes[k] += (double)numbers[i + k] * (double)numbers[i + k];
        }
    }
    for (; i < count; i++) {
        total += (double)numbers[i] * (double)numbers[i];
    }
    for (int k = 0; k < LANES; k++) {
        total += lanes[k];
    }
    return total;
}

static void sums_of(void *context, int64_t begin, int64_t end, int worker)
{
    const squares *s = context;
    int64_t each = s->rows * s->in;

    for (int64_t n = begin; n < end; n++) {
        if (s->x->dtype == SPRY_DTYPE_F32) {
            const float *x = (const float *)s->x->data + n * each;
            const float *y = s->y != NULL ? (const float *)s->y->data + n * each : NULL;
            float *sums = s->each != NULL ? (float *)s->each->data + n * s->in
                                          : (float *)s->room + worker * s->in;

            if (s->rows == 1 && y == NULL && s->each == NULL) {
                ((float *)s->to->data)[n] = (float)square_f32(x, s->in);
                continue;
            }
            sum_columns_f32(s, x, y, sums);
            ((float *)s->to->data)[n] = (float)square_f32(sums, s->in);
        } else {
            double *sums = s->each != NULL ? (double *)s->each->data + n * s->in
                                           : (double *)s->room + worker * s->in;
            double total = 0.0;

            sum_columns_f64(s, (const double *)s->x->data + n * each,
                            s->y != NULL ? (const double *)s->y->data + n * each : NULL, sums);
            for (int64_t c = 0; c < s->in; c++) {
                total += sums[c] * sums[c];
            }
            ((double *)s->to->data)[n] = total;
        }
    }
}

static spry_status run_sum_squares(op_call *call)
{
    squares s = {.x = op_call_input(call, 0), .y = op_call_input(call, 1)};
    spry_status status;

    if (s.x == NULL || s.x->rank != RANK ||
        (s.y != NULL && (!tensor_same_shape(s.x, s.y) || s.x->dtype != s.y->dtype))) {
        return op_call_fail(call, SPRY_BAD_INPUT, "the inputs differ in shape or type");
    }
    s.rows = s.x->shape[1];
    s.in = s.x->shape[2];
    s.sums = gradient_f32_select();
    status = op_call_output(call, 0, s.x->dtype, 1, s.x->shape, &s.to);
    if (status == SPRY_OK && op_call_wants(call, 1)) {
        const int64_t shape[2] = {s.x->shape[0], s.in};

        status = op_call_output(call, 1, s.x->dtype, 2, shape, &s.each);
    } else if (status == SPRY_OK) {
        status = whole_room(call, s.in, threads_count(call->team), sizeof(double), &s.room);
    }
    if (status == SPRY_OK && s.to != NULL) {
        threads_for(call->team, s.x->shape[0], 1, sums_of, &s);
    }
    return status;
}

/* ---- WeightedSum ---- */

static spry_status infer_weighted(op_shapes *s)
{
    const graph_type *x = op_shapes_ranked(s, 0);

    if (x == NULL) {
        return SPRY_OK;
    }
    if (x->rank < 1) {
        return op_shapes_fail(s, "a single number has no examples");
    }
    op_shapes_set(s, 0, x->dtype, x->rank - 1, x->dims + 1);
    return SPRY_OK;
}

typedef struct weighted {
    const tensor *x, *c;
    tensor *to;
    int64_t columns;
} weighted;

static void add_weighted(float *restrict to, const float *restrict x, float c, int64_t count)
{
    for (int64_t i = 0; i < count; i++) {
        to[i] += c * x[i];
    }
}

static void weigh_columns(void *context, int64_t begin, int64_t end, int worker)
{
    const weighted *w = context;

    (void)worker;
    if (w->x->dtype == SPRY_DTYPE_F32) {
        memset((float *)w->to->data + begin, 0, (size_t)(end - begin) * sizeof(float));
        for (int64_t n = 0; n < w->x->shape[0]; n++) {
            add_weighted((float *)w->to->data + begin,
                         (const float *)w->x->data + n * w->columns + begin,
                         ((const float *)w->c->data)[n], end - begin);
        }
        return;
    }
    for (int64_t i = begin; i < end; i++) {
        double sum = 0.0;

        for (int64_t n = 0; n < w->x->shape[0]; n++) {
            sum +=
                ((const double *)w->c->data)[n] * ((const double *)w->x->data)[n * w->columns + i];
        }
        ((double *)w->to->data)[i] = sum;
    }
}

static spry_status run_weighted_sum(op_call *call)
{
    weighted w = {.x = op_call_input(call, 0), .c = op_call_input(call, 1)};
    spry_status status;

    if (w.x == NULL || w.c == NULL || w.x->rank < 1 || w.c->rank != 1 ||
        w.c->shape[0] != w.x->shape[0] || w.c->dtype != w.x->dtype) {
        return op_call_fail(call, SPRY_BAD_INPUT, "a weight per example is wanted");
    }
    w.columns = tensor_span(w.x, 1, w.x->rank);
    status = op_call_output(call, 0, w.x->dtype, w.x->rank - 1, w.x->shape + 1, &w.to);
    if (status == SPRY_OK && w.to != NULL) {
        threads_for(call->team, w.columns, COLUMNS, weigh_columns, &w);
    }
    return status;
}

#define SQUARES(NAME, LEAST, OUTPUTS, INFER, RUN, COST)                                          \
    {                                                                                            \
        .name = (NAME), .domain = "ai.spry", .since = 1, .min_inputs = (LEAST), .max_inputs = 2, \
        .min_outputs = 1, .max_outputs = (OUTPUTS), .types = {REAL, REAL}, .infer = (INFER),     \
        .run = (RUN), .cost = (COST)                                                             \
    }

/* clang-format off */
const op ops_gradient_squares[] = {
    SQUARES("ProductSquares", 2, 2, infer_squares, run_product_squares, product_cost),
    SQUARES("SumSquares", 1, 2, infer_squares, run_sum_squares, sum_cost),
    SQUARES("WeightedSum", 2, 1, infer_weighted, run_weighted_sum, sum_cost),
    {.name = NULL},
};
/* clang-format on */
