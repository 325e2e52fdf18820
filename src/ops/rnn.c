/* Recurrent layers: RNN, GRU, LSTM.
 *
 * The inputs of all steps are multiplied by W at once, each step's state by R; rows of these
 * products hold the pre-activations of all gates of one batch element. */
#include <string.h>

#include "ops/families.h"
#include "ops/operand.h"
#include "ops/product.h"
#include "ops/recurrent.h"
#include "tensor/convert.h"

enum { OUT_Y, OUT_H, OUT_C };

/* ---- shapes ---- */

static spry_status infer_recurrent(op_shapes *s)
{
    const graph_type *x = op_shapes_ranked(s, RECURRENT_X);
    const graph_type *r = op_shapes_ranked(s, RECURRENT_R);
    bool batch_first = graph_attribute_int(s->node, "layout", 0) != 0;
    graph_dim directions = {.size = recurrent_directions(s->node)};
    graph_dim hidden = {.size = graph_attribute_int(s->node, "hidden_size", -1)};
    graph_dim batch = operand_unknown;
    graph_dim steps = operand_unknown;

    if ((x != NULL && x->rank != 3) || (r != NULL && r->rank != 3)) {
        return op_shapes_fail(s, "X and R must have three dimensions");
    }
    if (r != NULL && r->dims[2].size >= 0) {
        hidden = r->dims[2];
    }
    if (x != NULL) {
        batch = x->dims[batch_first ? 0 : 1];
        steps = x->dims[batch_first ? 1 : 0];
    }
    if (batch_first) {
        op_shapes_set(s, OUT_Y, operand_dtype(s, RECURRENT_X), 4,
                      (const graph_dim[]){batch, steps, directions, hidden});
    } else {
        op_shapes_set(s, OUT_Y, operand_dtype(s, RECURRENT_X), 4,
                      (const graph_dim[]){steps, directions, batch, hidden});
    }
    for (int i = OUT_H; i <= OUT_C; i++) {
        op_shapes_set(s, i, operand_dtype(s, RECURRENT_X), 3,
                      batch_first ? (const graph_dim[]){batch, directions, hidden}
                                  : (const graph_dim[]){directions, batch, hidden});
    }
    return SPRY_OK;
}

static void recurrent_cost(const op_work *w, int64_t *macs, int64_t *flops)
{
    const graph_type *x = w->inputs[RECURRENT_X];

    *macs = x->dims[0].size * x->dims[1].size *
            (op_work_count(w->inputs[RECURRENT_W]) + op_work_count(w->inputs[RECURRENT_R]));
    *flops = 2 * *macs;
}

/* ---- one call ---- */

/* W or R of one direction, transposed. */
static void turn(const double *from, int64_t rows, int64_t columns, double *to)
{
    for (int64_t i = 0; i < rows; i++) {
        for (int64_t j = 0; j < columns; j++) {
            to[j * rows + i] = from[i * columns + j];
        }
    }
}

/* Bias of gate `g`, unit `i`; `of_state`: the second half. */
static double bias_at(const recurrent *l, int64_t direction, bool of_state, int g, int64_t i)
{
    int64_t each = l->form->gates * l->hidden;

    return l->b != NULL ? l->b[(2 * direction + of_state) * each + g * l->hidden + i] : 0.0;
}

static double peephole(const recurrent *l, int64_t direction, int g, int64_t i, double cell)
{
    return l->p != NULL ? l->p[(direction * 3 + g) * l->hidden + i] * cell : 0.0;
}

/* One batch element at one step: pre-activations from the input and from the state. */
typedef struct cell_step {
    int64_t direction, element;
    const double *in;   /* [width] */
    const double *back; /* [width] */
    double *sums;       /* what is kept (recurrent.h); NULL: nothing */
    double *products, *now_cell;
} cell_step;

static double sum_at(const recurrent *l, const cell_step *s, int g, int64_t i)
{
    int64_t at = g * l->hidden + i;

    return s->in[at] + s->back[at] + bias_at(l, s->direction, false, g, i) +
           bias_at(l, s->direction, true, g, i);
}

/* The activation of gate `g`, unit `i`, whose pre-activation is kept. */
static double gate(const recurrent *l, const cell_step *s, int which, int g, int64_t i, double sum)
{
    if (s->sums != NULL) {
        s->sums[g * l->hidden + i] = sum;
    }
    return recurrent_apply(l, s->direction, which, sum);
}

static void step_rnn(const recurrent *l, const cell_step *s, double *h)
{
    for (int64_t i = 0; i < l->hidden; i++) {
        h[i] = gate(l, s, 0, 0, i, sum_at(l, s, 0, i));
    }
}

/* Gates z, r, h. `back` of gate h holds the product with the state (reset_after) or with the state
 * that was reset before. */
static void step_gru(const recurrent *l, const cell_step *s, double *h)
{
    for (int64_t i = 0; i < l->hidden; i++) {
        double update = gate(l, s, 0, 0, i, sum_at(l, s, 0, i));
        double back = s->back[2 * l->hidden + i] + bias_at(l, s->direction, true, 2, i);
        double fresh;

        if (l->reset_after) {
            if (s->products != NULL) {
                s->products[i] = back;
            }
            back *= gate(l, s, 0, 1, i, sum_at(l, s, 1, i));
        } else if (s->sums != NULL) {
            s->sums[l->hidden + i] = sum_at(l, s, 1, i);
        }
        fresh = gate(l, s, 1, 2, i,
                     s->in[2 * l->hidden + i] + back + bias_at(l, s->direction, false, 2, i));
        h[i] = (1.0 - update) * fresh + update * h[i];
    }
}

/* Gates i, o, f, c. */
static void step_lstm(const recurrent *l, const cell_step *s, double *h, double *c)
{
    int64_t d = s->direction;

    for (int64_t i = 0; i < l->hidden; i++) {
        double in = gate(l, s, 0, 0, i, sum_at(l, s, 0, i) + peephole(l, d, 0, i, c[i]));
        double forget = l->coupled
                            ? 1.0 - in
                            : gate(l, s, 0, 2, i, sum_at(l, s, 2, i) + peephole(l, d, 2, i, c[i]));
        double fresh = gate(l, s, 1, 3, i, sum_at(l, s, 3, i));
        double out;

        c[i] = forget * c[i] + in * fresh;
        out = gate(l, s, 0, 1, i, sum_at(l, s, 1, i) + peephole(l, d, 1, i, c[i]));
        h[i] = out * recurrent_apply(l, d, 2, c[i]);
        if (s->now_cell != NULL) {
            s->now_cell[i] = c[i];
        }
    }
}

/* from_state = state x R (columns of gate h from the reset state, for GRU without reset_after). */
static spry_status multiply_state(op_call *call, const recurrent *l, int64_t direction, int64_t n)
{
    int64_t width = l->width;
    double *state = l->state + direction * l->batch * l->hidden;
    product p = {.batch = 1,
                 .m = l->batch,
                 .n = width,
                 .k = l->hidden,
                 .a = state,
                 .a_row = l->hidden,
                 .a_k = 1,
                 .b = l->turned_r,
                 .b_k = width,
                 .b_column = 1,
                 .c = l->from_state};
    spry_status status = product_f64(call, &p);

    if (status != SPRY_OK || l->form->kind != RECURRENT_GRU || l->reset_after) {
        return status;
    }
    for (int64_t e = 0; e < l->batch; e++) {
        int64_t t = recurrent_time(l, direction, n < recurrent_length(l, e) ? n : 0, e);
        cell_step s = {.direction = direction, .element = e, .back = l->from_state + e * width};

        s.in = l->from_input + recurrent_x_row(l, t < 0 ? 0 : t, e) * width;
        for (int64_t i = 0; i < l->hidden; i++) {
            l->gated[e * l->hidden + i] =
                recurrent_apply(l, direction, 0, sum_at(l, &s, 1, i)) * state[e * l->hidden + i];
        }
    }
    for (int64_t e = 0; e < l->batch; e++) {
        double *to = l->from_state + e * width + 2 * l->hidden;

        memset(to, 0, (size_t)l->hidden * sizeof *to);
        for (int64_t k = 0; k < l->hidden; k++) {
            const double *from = l->turned_r + k * width + 2 * l->hidden;

            for (int64_t i = 0; i < l->hidden; i++) {
                to[i] += l->gated[e * l->hidden + k] * from[i];
            }
        }
    }
    return SPRY_OK;
}

/* What the step starts from, and where the rest is kept. */
static void keep_start(const recurrent *l, cell_step *s, int64_t row)
{
    int64_t at = (s->direction * l->batch + s->element) * l->hidden;
    size_t bytes = (size_t)l->hidden * sizeof(double);

    if (l->sums == NULL) {
        return;
    }
    s->sums = l->sums + row * l->width;
    memcpy(l->before_state + row * l->hidden, l->state + at, bytes);
    if (l->form->kind == RECURRENT_LSTM) {
        memcpy(l->before_cell + row * l->hidden, l->cell + at, bytes);
        s->now_cell = l->now_cell + row * l->hidden;
    } else if (l->form->kind == RECURRENT_GRU) {
        s->products = l->products + row * l->hidden;
    }
}

/* Step number `n` of one direction for all batch elements that are that long. */
static void step_all(const recurrent *l, int64_t direction, int64_t n)
{
    for (int64_t e = 0; e < l->batch; e++) {
        int64_t t = recurrent_time(l, direction, n, e);
        int64_t at = (direction * l->batch + e) * l->hidden;
        cell_step s = {.direction = direction, .element = e, .back = l->from_state + e * l->width};

        if (n >= recurrent_length(l, e)) {
            continue;
        }
        s.in = l->from_input + recurrent_x_row(l, t, e) * l->width;
        keep_start(l, &s, n * l->batch + e);
        switch (l->form->kind) {
        case RECURRENT_RNN: step_rnn(l, &s, l->state + at); break;
        case RECURRENT_GRU: step_gru(l, &s, l->state + at); break;
        case RECURRENT_LSTM: step_lstm(l, &s, l->state + at, l->cell + at); break;
        }
        if (l->y != NULL) {
            convert_write_f64(l->y, recurrent_y_row(l, direction, t, e) * l->hidden, l->hidden,
                              l->state + at);
        }
    }
}

spry_status recurrent_run_direction(op_call *call, const recurrent *l, int64_t direction)
{
    int64_t width = l->width;
    product p = {.batch = 1,
                 .m = l->steps * l->batch,
                 .n = width,
                 .k = l->input,
                 .a = l->x,
                 .a_row = l->input,
                 .a_k = 1,
                 .b = l->turned_w,
                 .b_k = width,
                 .b_column = 1,
                 .c = l->from_input};
    spry_status status;

    turn(l->w + direction * width * l->input, width, l->input, l->turned_w);
    turn(l->r + direction * width * l->hidden, width, l->hidden, l->turned_r);
    status = product_f64(call, &p);
    for (int64_t n = 0; n < l->steps && status == SPRY_OK; n++) {
        status = multiply_state(call, l, direction, n);
        if (status == SPRY_OK) {
            step_all(l, direction, n);
        }
    }
    return status;
}

static spry_status store_state(op_call *call, const recurrent *l, int i, const double *from)
{
    spry_dtype dtype = op_call_input(call, RECURRENT_X)->dtype;
    int64_t rows_first[3] = {l->directions, l->batch, l->hidden};
    int64_t batch_first[3] = {l->batch, l->directions, l->hidden};
    tensor *to;
    spry_status status =
        op_call_output(call, i, dtype, 3, l->batch_first ? batch_first : rows_first, &to);

    for (int64_t k = 0; k < l->directions * l->batch && status == SPRY_OK && to != NULL; k++) {
        convert_write_f64(to, recurrent_state_row(l, k / l->batch, k % l->batch) * l->hidden,
                          l->hidden, from + k * l->hidden);
    }
    return status;
}

static spry_status make_result(op_call *call, recurrent *l)
{
    int64_t steps_first[4] = {l->steps, l->directions, l->batch, l->hidden};
    int64_t batch_first[4] = {l->batch, l->steps, l->directions, l->hidden};
    spry_status status = op_call_output(call, OUT_Y, op_call_input(call, RECURRENT_X)->dtype, 4,
                                        l->batch_first ? batch_first : steps_first, &l->y);

    if (status == SPRY_OK && l->y != NULL && l->y->bytes > 0) {
        memset(l->y->data, 0, l->y->bytes); /* what lies beyond a short sequence stays zero */
    }
    return status;
}

static spry_status run_recurrent(op_call *call)
{
    recurrent l;
    spry_status status = recurrent_read(call, op_of_node(call->node)->detail, &l);

    if (status == SPRY_OK) {
        status = make_result(call, &l);
    }
    for (int64_t d = 0; d < l.directions && status == SPRY_OK && l.batch > 0; d++) {
        status = recurrent_run_direction(call, &l, d);
    }
    if (status == SPRY_OK) {
        status = store_state(call, &l, OUT_H, l.state);
    }
    if (status == SPRY_OK && l.form->kind == RECURRENT_LSTM) {
        status = store_state(call, &l, OUT_C, l.cell);
    }
    return status;
}

#define RECURRENT(NAME, INPUTS, OUTPUTS, DETAIL)                                                   \
    {                                                                                              \
        .name = (NAME), .domain = "", .since = 7, .min_inputs = 3, .max_inputs = (INPUTS),         \
        .min_outputs = 0, .max_outputs = (OUTPUTS),                                                \
        .types = {OP_FLOATS, OP_FLOATS, OP_FLOATS, OP_FLOATS,                                      \
                  OP_INDEX,  OP_FLOATS, OP_FLOATS, OP_FLOATS},                                     \
        .infer = infer_recurrent, .run = run_recurrent, .cost = recurrent_cost, .detail = (DETAIL) \
    }

/* clang-format off */
const op ops_rnn[] = {
    RECURRENT("GRU", 6, 2, &recurrent_gru),
    RECURRENT("LSTM", 8, 3, &recurrent_lstm),
    RECURRENT("RNN", 6, 2, &recurrent_rnn),
    {.name = NULL},
};
/* clang-format on */
