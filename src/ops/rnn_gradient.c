/* Back through time: the derivatives of recurrent layers, in the domain "ai.spry":
 *
 *     LSTMGradient, GRUGradient, RNNGradient(X, W, R, B, lengths, H, C, P, dY, dY_h, dY_c)
 *         -> dX, dW, dR, dB, dH, dC, dP
 *
 * The operator runs the layer again, keeping what every step started from and what its activations
 * were applied to, so that nothing but its inputs is held between the two passes. A step back takes
 * dh (and dc) to the derivatives by these sums, one row of `from_sums` per time and batch element;
 * products of whole arrays then make dX, dW and dR of all rows at once. */
#include <string.h>

#include "ops/families.h"
#include "ops/product.h"
#include "ops/recurrent.h"
#include "ops/whole.h"
#include "tensor/convert.h"

#define REAL (1u << SPRY_DTYPE_F32 | 1u << SPRY_DTYPE_F64)

enum { IN_DY = RECURRENT_PORTS, IN_DH, IN_DC, IN_COUNT };
enum { OUT_X, OUT_W, OUT_R, OUT_B, OUT_H, OUT_C, OUT_P, OUT_COUNT };

/* The port that an output is the derivative by. */
static const int port_of[OUT_COUNT] = {RECURRENT_X, RECURRENT_W, RECURRENT_R, RECURRENT_B,
                                       RECURRENT_H, RECURRENT_C, RECURRENT_P};

typedef struct back {
    recurrent l;
    const double *dy;      /* as y; NULL: 0 */
    double *dh, *dc;       /* [directions][batch][hidden]: by the present state */
    double *to[OUT_COUNT]; /* whole results; NULL: not wanted */
    double *from_sums;     /* [rows of x][width]: by the sums of the input's side */
    double *from_products; /* [steps][batch][width], as visited: of the state's side */
    double *before;        /* [batch][width]: dh by the products of one step */
    double *gated;         /* GRU that resets before: [steps][batch][hidden] */
} back;

/* One batch element at one step, in the arrays of the step. */
typedef struct back_step {
    int64_t direction;
    const double *sums, *state, *cell, *now_cell, *products;
    double *dh, *dc;
    double *in, *out; /* rows of from_sums and from_products */
} back_step;

static back_step step_at(const back *b, int64_t direction, int64_t n, int64_t e)
{
    const recurrent *l = &b->l;
    int64_t row = n * l->batch + e;
    int64_t at = (direction * l->batch + e) * l->hidden;
    int64_t t = recurrent_time(l, direction, n, e);

    return (back_step){.direction = direction,
                       .sums = l->sums + row * l->width,
                       .state = l->before_state + row * l->hidden,
                       .cell = l->before_cell + row * l->hidden,
                       .now_cell = l->now_cell + row * l->hidden,
                       .products = l->products + row * l->hidden,
                       .dh = b->dh + at,
                       .dc = b->dc + at,
                       .in = b->from_sums + recurrent_x_row(l, t, e) * l->width,
                       .out = b->from_products + row * l->width};
}

/* ---- cells: dh becomes the part of the state before that does not go through R ---- */

static void back_rnn(const back *b, const back_step *s)
{
    for (int64_t i = 0; i < b->l.hidden; i++) {
        s->in[i] = s->dh[i] * recurrent_slope(&b->l, s->direction, 0, s->sums[i]);
        s->out[i] = s->in[i];
        s->dh[i] = 0.0;
    }
}

/* Gates z, r, h. Where the state is reset before the product, dr needs that product's derivative:
 * back_reset goes on. */
static void back_gru(const back *b, const back_step *s)
{
    const recurrent *l = &b->l;
    int64_t d = s->direction;

    for (int64_t i = 0; i < l->hidden; i++) {
        int64_t r = l->hidden + i;
        int64_t h = 2 * l->hidden + i;
        double update = recurrent_apply(l, d, 0, s->sums[i]);
        double fresh = recurrent_apply(l, d, 1, s->sums[h]);
        double reset = recurrent_apply(l, d, 0, s->sums[r]);

        s->in[i] = s->dh[i] * (s->state[i] - fresh) * recurrent_slope(l, d, 0, s->sums[i]);
        s->in[h] = s->dh[i] * (1.0 - update) * recurrent_slope(l, d, 1, s->sums[h]);
        s->in[r] =
            l->reset_after ? s->in[h] * s->products[i] * recurrent_slope(l, d, 0, s->sums[r]) : 0.0;
        s->out[i] = s->in[i];
        s->out[r] = s->in[r];
        s->out[h] = l->reset_after ? s->in[h] * reset : s->in[h];
        s->dh[i] *= update;
    }
}

/* `of_gated`: the derivative by reset x state. */
static void back_reset(const back *b, const back_step *s, const double *of_gated, double *gated)
{
    const recurrent *l = &b->l;

    for (int64_t i = 0; i < l->hidden; i++) {
        int64_t r = l->hidden + i;
        double reset = recurrent_apply(l, s->direction, 0, s->sums[r]);

        s->in[r] = of_gated[i] * s->state[i] * recurrent_slope(l, s->direction, 0, s->sums[r]);
        s->out[r] = s->in[r];
        s->dh[i] += of_gated[i] * reset;
        gated[i] = reset * s->state[i];
    }
}

/* Gates i, o, f, c. */
static void back_lstm(const back *b, const back_step *s)
{
    const recurrent *l = &b->l;
    int64_t d = s->direction;
    int64_t n = l->hidden;
    const double *p = l->p != NULL ? l->p + d * 3 * n : NULL;
    double *dp = b->to[OUT_P] != NULL ? b->to[OUT_P] + d * 3 * n : NULL;

    for (int64_t i = 0; i < n; i++) {
        double in = recurrent_apply(l, d, 0, s->sums[i]);
        double out = recurrent_apply(l, d, 0, s->sums[n + i]);
        double forget = l->coupled ? 1.0 - in : recurrent_apply(l, d, 0, s->sums[2 * n + i]);
        double fresh = recurrent_apply(l, d, 1, s->sums[3 * n + i]);
        double of_out = s->dh[i] * recurrent_apply(l, d, 2, s->now_cell[i]) *
                        recurrent_slope(l, d, 0, s->sums[n + i]);
        double dc = s->dc[i] + s->dh[i] * out * recurrent_slope(l, d, 2, s->now_cell[i]) +
                    (p != NULL ? of_out * p[n + i] : 0.0);
        double of_in =
            dc * (l->coupled ? fresh - s->cell[i] : fresh) * recurrent_slope(l, d, 0, s->sums[i]);
        double of_forget =
            l->coupled ? 0.0 : dc * s->cell[i] * recurrent_slope(l, d, 0, s->sums[2 * n + i]);

        s->in[i] = of_in;
        s->in[n + i] = of_out;
        s->in[2 * n + i] = of_forget;
        s->in[3 * n + i] = dc * in * recurrent_slope(l, d, 1, s->sums[3 * n + i]);
        s->dc[i] = dc * forget;
        if (p != NULL) {
            s->dc[i] += of_in * p[i] + of_forget * p[2 * n + i];
        }
        if (dp != NULL) {
            dp[i] += of_in * s->cell[i];
            dp[n + i] += of_out * s->now_cell[i];
            dp[2 * n + i] += of_forget * s->cell[i];
        }
        s->dh[i] = 0.0;
    }
    memcpy(s->out, s->in, (size_t)l->width * sizeof *s->out);
}

/* ---- steps ---- */

/* to[batch][hidden] = rows of from_products of step n, gates [first, last), times R. */
static spry_status times_r(op_call *call, const back *b, int64_t direction, int64_t n, int first,
                           int last)
{
    const recurrent *l = &b->l;
    product p = {.batch = 1,
                 .m = l->batch,
                 .n = l->hidden,
                 .k = (last - first) * l->hidden,
                 .a = b->from_products + n * l->batch * l->width + first * l->hidden,
                 .a_row = l->width,
                 .a_k = 1,
                 .b = l->r + (direction * l->width + first * l->hidden) * l->hidden,
                 .b_k = l->hidden,
                 .b_column = 1,
                 .c = b->before};

    return product_f64(call, &p);
}

static void add_dy(const back *b, int64_t direction, int64_t n, int64_t e, double *dh)
{
    const recurrent *l = &b->l;
    int64_t t = recurrent_time(l, direction, n, e);
    const double *dy =
        b->dy != NULL ? b->dy + recurrent_y_row(l, direction, t, e) * l->hidden : NULL;

    for (int64_t i = 0; i < l->hidden && dy != NULL; i++) {
        dh[i] += dy[i];
    }
}

static spry_status step_back(op_call *call, const back *b, int64_t direction, int64_t n)
{
    const recurrent *l = &b->l;
    bool resets = l->form->kind == RECURRENT_GRU && !l->reset_after;
    int last = resets ? 2 : l->form->gates;
    spry_status status = SPRY_OK;

    for (int64_t e = 0; e < l->batch; e++) {
        back_step s;

        if (n >= recurrent_length(l, e)) {
            continue;
        }
        s = step_at(b, direction, n, e);
        add_dy(b, direction, n, e, s.dh);
        switch (l->form->kind) {
        case RECURRENT_RNN: back_rnn(b, &s); break;
        case RECURRENT_GRU: back_gru(b, &s); break;
        case RECURRENT_LSTM: back_lstm(b, &s); break;
        }
    }
    if (resets) {
        status = times_r(call, b, direction, n, 2, 3);
    }
    for (int64_t e = 0; e < l->batch && status == SPRY_OK && resets; e++) {
        if (n < recurrent_length(l, e)) {
            back_step s = step_at(b, direction, n, e);

            back_reset(b, &s, b->before + e * l->hidden, b->gated + (n * l->batch + e) * l->hidden);
        }
    }
    if (status == SPRY_OK) {
        status = times_r(call, b, direction, n, 0, last);
    }
    for (int64_t i = 0; i < l->batch * l->hidden && status == SPRY_OK; i++) {
        b->dh[direction * l->batch * l->hidden + i] += b->before[i];
    }
    return status;
}

/* ---- products over all rows ---- */

/* to[rows][columns] = the transpose of `a`, `rows` of its columns, times `b`. */
static spry_status transposed_product(op_call *call, const back *b, const double *a, int64_t rows,
                                      const double *with, int64_t columns, double *to)
{
    product p = {.batch = 1,
                 .m = rows,
                 .n = columns,
                 .k = b->l.steps * b->l.batch,
                 .a = a,
                 .a_row = 1,
                 .a_k = b->l.width,
                 .b = with,
                 .b_k = columns,
                 .b_column = 1,
                 .c = to};

    return product_f64(call, &p);
}

static spry_status give_weights(op_call *call, const back *b, int64_t direction)
{
    const recurrent *l = &b->l;
    bool resets = l->form->kind == RECURRENT_GRU && !l->reset_after;
    int64_t split = resets ? 2 * l->hidden : l->width;
    double *dr = b->to[OUT_R] != NULL ? b->to[OUT_R] + direction * l->width * l->hidden : NULL;
    spry_status status = SPRY_OK;

    if (b->to[OUT_W] != NULL) {
        status = transposed_product(call, b, b->from_sums, l->width, l->x, l->input,
                                    b->to[OUT_W] + direction * l->width * l->input);
    }
    if (dr != NULL && status == SPRY_OK) {
        status =
            transposed_product(call, b, b->from_products, split, l->before_state, l->hidden, dr);
    }
    if (dr != NULL && status == SPRY_OK && resets) {
        status = transposed_product(call, b, b->from_products + split, l->hidden, b->gated,
                                    l->hidden, dr + split * l->hidden);
    }
    for (int64_t row = 0; row < l->steps * l->batch && b->to[OUT_B] != NULL; row++) {
        double *db = b->to[OUT_B] + direction * 2 * l->width;

        for (int64_t i = 0; i < l->width; i++) {
            db[i] += b->from_sums[row * l->width + i];
            db[l->width + i] += b->from_products[row * l->width + i];
        }
    }
    return status;
}

/* Both directions read x: the first one's product lies in the result, the second one's is added. */
static spry_status give_x(op_call *call, const back *b, int64_t direction)
{
    const recurrent *l = &b->l;
    int64_t rows = l->steps * l->batch;
    void *room = b->to[OUT_X];
    product p = {.batch = 1,
                 .m = rows,
                 .n = l->input,
                 .k = l->width,
                 .a = b->from_sums,
                 .a_row = l->width,
                 .a_k = 1,
                 .b = l->w + direction * l->width * l->input,
                 .b_k = l->input,
                 .b_column = 1};
    spry_status status = SPRY_OK;

    if (b->to[OUT_X] == NULL) {
        return SPRY_OK;
    }
    if (direction > 0) {
        status = whole_room(call, rows, l->input, sizeof(double), &room);
    }
    p.c = room;
    if (status == SPRY_OK) {
        status = product_f64(call, &p);
    }
    for (int64_t i = 0; i < rows * l->input && direction > 0 && status == SPRY_OK; i++) {
        b->to[OUT_X][i] += ((const double *)room)[i];
    }
    return status;
}

static spry_status run_direction(op_call *call, const back *b, int64_t direction)
{
    const recurrent *l = &b->l;
    size_t rows = (size_t)(l->steps * l->batch);
    size_t numbers = rows * (size_t)l->width * sizeof(double);
    spry_status status = recurrent_run_direction(call, l, direction);

    memset(b->from_sums, 0, numbers);
    memset(b->from_products, 0, numbers);
    memset(b->gated, 0, rows * (size_t)l->hidden * sizeof(double));
    for (int64_t n = l->steps - 1; n >= 0 && status == SPRY_OK; n--) {
        status = step_back(call, b, direction, n);
    }
    if (status == SPRY_OK) {
        status = give_weights(call, b, direction);
    }
    return status == SPRY_OK ? give_x(call, b, direction) : status;
}

/* ---- operands ---- */

static spry_status zeros(op_call *call, int64_t rows, int64_t columns, double **to)
{
    void *memory = NULL;
    spry_status status = whole_room(call, rows, columns, sizeof(double), &memory);

    *to = memory;
    if (status == SPRY_OK) {
        memset(memory, 0, (size_t)(rows * columns) * sizeof(double));
    }
    return status;
}

static spry_status make_room(op_call *call, back *b)
{
    recurrent *l = &b->l;
    int64_t rows = l->steps * l->batch;
    struct {
        double **to;
        int64_t rows, columns;
    } parts[] = {
        {&l->sums, rows, l->width},
        {&l->before_state, rows, l->hidden},
        {&l->before_cell, rows, l->hidden},
        {&l->now_cell, rows, l->hidden},
        {&l->products, rows, l->hidden},
        {&b->from_sums, rows, l->width},
        {&b->from_products, rows, l->width},
        {&b->gated, rows, l->hidden},
        {&b->before, l->batch, l->hidden},
        {&b->dh, l->directions * l->batch, l->hidden},
        {&b->dc, l->directions * l->batch, l->hidden},
    };
    spry_status status = SPRY_OK;

    for (size_t i = 0; i < sizeof parts / sizeof *parts && status == SPRY_OK; i++) {
        status = zeros(call, parts[i].rows, parts[i].columns, parts[i].to);
    }
    for (int i = 0; i < OUT_COUNT && status == SPRY_OK; i++) {
        const tensor *of = op_call_input(call, port_of[i]);

        if (of != NULL && op_call_wants(call, i)) {
            status = zeros(call, tensor_count(of), 1, &b->to[i]);
        }
    }
    return status;
}

static spry_status load_state(op_call *call, const recurrent *l, int port, double *to)
{
    const tensor *t = port < call->input_count ? op_call_input(call, port) : NULL;

    if (t == NULL) {
        return SPRY_OK;
    }
    if (tensor_count(t) != l->directions * l->batch * l->hidden) {
        return op_call_fail(call, SPRY_BAD_INPUT, "the derivative by a state has another size");
    }
    for (int64_t k = 0; k < l->directions * l->batch; k++) {
        convert_read_f64(t, recurrent_state_row(l, k / l->batch, k % l->batch) * l->hidden,
                         l->hidden, to + k * l->hidden);
    }
    return SPRY_OK;
}

static spry_status load_derivatives(op_call *call, back *b)
{
    const recurrent *l = &b->l;
    const tensor *dy = op_call_input(call, IN_DY);
    spry_status status = whole_f64(call, dy, &b->dy);

    if (dy != NULL && tensor_count(dy) != l->steps * l->directions * l->batch * l->hidden) {
        return op_call_fail(call, SPRY_BAD_INPUT, "the derivative by Y has another size");
    }
    if (status == SPRY_OK) {
        status = load_state(call, l, IN_DH, b->dh);
    }
    return status == SPRY_OK ? load_state(call, l, IN_DC, b->dc) : status;
}

static void states_to(const back *b, const double *from, double *to)
{
    const recurrent *l = &b->l;

    for (int64_t k = 0; k < l->directions * l->batch && to != NULL; k++) {
        memcpy(to + recurrent_state_row(l, k / l->batch, k % l->batch) * l->hidden,
               from + k * l->hidden, (size_t)l->hidden * sizeof *to);
    }
}

static spry_status store(op_call *call, const back *b)
{
    spry_status status = SPRY_OK;

    for (int i = 0; i < OUT_COUNT && status == SPRY_OK; i++) {
        const tensor *of = op_call_input(call, port_of[i]);
        tensor *to = NULL;

        if (b->to[i] != NULL) {
            status = op_call_output_like(call, i, of->dtype, of, &to);
        }
        if (to != NULL) {
            convert_write_f64(to, 0, tensor_count(to), b->to[i]);
        }
    }
    return status;
}

static spry_status run_gradient(op_call *call)
{
    back b = {.dy = NULL};
    spry_status status = recurrent_read(call, op_of_node(call->node)->detail, &b.l);

    if (status == SPRY_OK) {
        status = make_room(call, &b);
    }
    if (status == SPRY_OK) {
        status = load_derivatives(call, &b);
    }
    for (int64_t d = 0; d < b.l.directions && status == SPRY_OK && b.l.batch > 0; d++) {
        status = run_direction(call, &b, d);
    }
    if (status == SPRY_OK) {
        states_to(&b, b.dh, b.to[OUT_H]);
        states_to(&b, b.dc, b.to[OUT_C]);
        status = store(call, &b);
    }
    return status;
}

static spry_status infer_gradient(op_shapes *s)
{
    for (int i = 0; i < OUT_COUNT; i++) {
        op_shapes_copy(s, i, port_of[i]);
    }
    return SPRY_OK;
}

/* A run of the layer, and twice its products. */
static void gradient_cost(const op_work *w, int64_t *macs, int64_t *flops)
{
    const graph_type *x = w->inputs[RECURRENT_X];

    *macs = 3 * x->dims[0].size * x->dims[1].size *
            (op_work_count(w->inputs[RECURRENT_W]) + op_work_count(w->inputs[RECURRENT_R]));
    *flops = 2 * *macs;
}

#define RECURRENT_GRADIENT(NAME, DETAIL)                                                        \
    {                                                                                           \
        .name = (NAME), .domain = OP_OWN_DOMAIN, .since = 1, .min_inputs = 3,                   \
        .max_inputs = IN_COUNT, .min_outputs = 0, .max_outputs = OUT_COUNT,                     \
        .types = {REAL, REAL, REAL, REAL, OP_INDEX, REAL, REAL, REAL}, .infer = infer_gradient, \
        .run = run_gradient, .cost = gradient_cost, .detail = (DETAIL)                          \
    }

/* clang-format off */
const op ops_rnn_gradient[] = {
    RECURRENT_GRADIENT("GRUGradient", &recurrent_gru),
    RECURRENT_GRADIENT("LSTMGradient", &recurrent_lstm),
    RECURRENT_GRADIENT("RNNGradient", &recurrent_rnn),
    {.name = NULL},
};
/* clang-format on */
