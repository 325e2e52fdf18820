/* Recurrent layers: RNN, GRU, LSTM.
 *
 * All compute in f64. The inputs of all steps are multiplied by W at once, each step's state by R;
 * rows of these products hold the pre-activations of all gates of one batch element. A reversed
 * direction visits every sequence from its own last element. */
#include <math.h>
#include <string.h>

#include "base/checked.h"
#include "ops/families.h"
#include "ops/operand.h"
#include "ops/product.h"
#include "ops/whole.h"
#include "tensor/convert.h"

enum { IN_X, IN_W, IN_R, IN_B, IN_LENGTHS, IN_H, IN_C, IN_P };
enum { OUT_Y, OUT_H, OUT_C };
enum { MOST_ACTIVATIONS = 3 };

typedef enum cell_kind { CELL_RNN, CELL_GRU, CELL_LSTM } cell_kind;

/* What the three operators differ in. */
typedef struct cell_form {
    cell_kind kind;
    int gates;
    int activations; /* per direction */
    const char *defaults[MOST_ACTIVATIONS];
} cell_form;

static const cell_form form_rnn = {CELL_RNN, 1, 1, {"Tanh"}};
static const cell_form form_gru = {CELL_GRU, 3, 2, {"Sigmoid", "Tanh"}};
static const cell_form form_lstm = {CELL_LSTM, 4, 3, {"Sigmoid", "Tanh", "Tanh"}};

/* ---- activations ---- */

typedef struct activation {
    double (*function)(double x, double alpha, double beta);
    double alpha, beta;
} activation;

static double act_affine(double x, double alpha, double beta)
{
    return alpha * x + beta;
}
static double act_elu(double x, double alpha, double beta)
{
    (void)beta;
    return x < 0.0 ? alpha * expm1(x) : x;
}
static double act_hard_sigmoid(double x, double alpha, double beta)
{
    return fmax(0.0, fmin(1.0, alpha * x + beta));
}
static double act_leaky_relu(double x, double alpha, double beta)
{
    (void)beta;
    return x < 0.0 ? alpha * x : x;
}
static double act_relu(double x, double alpha, double beta)
{
    (void)alpha;
    (void)beta;
    return x < 0.0 ? 0.0 : x;
}
static double act_scaled_tanh(double x, double alpha, double beta)
{
    return alpha * tanh(beta * x);
}
static double act_sigmoid(double x, double alpha, double beta)
{
    (void)alpha;
    (void)beta;
    return 1.0 / (1.0 + exp(-x));
}
static double act_softplus(double x, double alpha, double beta)
{
    (void)alpha;
    (void)beta;
    return x > 0.0 ? x + log1p(exp(-x)) : log1p(exp(x));
}
static double act_softsign(double x, double alpha, double beta)
{
    (void)alpha;
    (void)beta;
    return x / (1.0 + fabs(x));
}
static double act_tanh(double x, double alpha, double beta)
{
    (void)alpha;
    (void)beta;
    return tanh(x);
}
static double act_thresholded_relu(double x, double alpha, double beta)
{
    (void)beta;
    return x > alpha ? x : 0.0;
}

typedef struct activation_row {
    const char *name;
    activation standard; /* with its default parameters */
    bool takes_alpha, takes_beta;
} activation_row;

static const activation_row activation_rows[] = {
    {"Affine", {act_affine, 1.0, 0.0}, true, true},
    {"Elu", {act_elu, 1.0, 0.0}, true, false},
    {"HardSigmoid", {act_hard_sigmoid, 0.2, 0.5}, true, true},
    {"LeakyRelu", {act_leaky_relu, 0.01, 0.0}, true, false},
    {"Relu", {act_relu, 0.0, 0.0}, false, false},
    {"ScaledTanh", {act_scaled_tanh, 1.0, 1.0}, true, true},
    {"Sigmoid", {act_sigmoid, 0.0, 0.0}, false, false},
    {"Softplus", {act_softplus, 0.0, 0.0}, false, false},
    {"Softsign", {act_softsign, 0.0, 0.0}, false, false},
    {"Tanh", {act_tanh, 0.0, 0.0}, false, false},
    {"ThresholdedRelu", {act_thresholded_relu, 1.0, 0.0}, true, false},
};

/* Names are compared without regard to case. */
static const activation_row *find_activation(const char *name)
{
    for (size_t i = 0; i < sizeof activation_rows / sizeof *activation_rows; i++) {
        const char *a = activation_rows[i].name;
        const char *b = name;

        while (*a != '\0' && (*a | 0x20) == (*b | 0x20)) {
            a++;
            b++;
        }
        if (*a == '\0' && *b == '\0') {
            return &activation_rows[i];
        }
    }
    return NULL;
}

/* ---- shapes ---- */

static int64_t directions_of(const graph_node *node)
{
    return strcmp(graph_attribute_string(node, "direction", "forward"), "bidirectional") == 0 ? 2
                                                                                              : 1;
}

static spry_status infer_recurrent(op_shapes *s)
{
    const graph_type *x = op_shapes_ranked(s, IN_X);
    const graph_type *r = op_shapes_ranked(s, IN_R);
    bool batch_first = graph_attribute_int(s->node, "layout", 0) != 0;
    graph_dim directions = {.size = directions_of(s->node)};
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
        op_shapes_set(s, OUT_Y, operand_dtype(s, IN_X), 4,
                      (const graph_dim[]){batch, steps, directions, hidden});
    } else {
        op_shapes_set(s, OUT_Y, operand_dtype(s, IN_X), 4,
                      (const graph_dim[]){steps, directions, batch, hidden});
    }
    for (int i = OUT_H; i <= OUT_C; i++) {
        op_shapes_set(s, i, operand_dtype(s, IN_X), 3,
                      batch_first ? (const graph_dim[]){batch, directions, hidden}
                                  : (const graph_dim[]){directions, batch, hidden});
    }
    return SPRY_OK;
}

static void recurrent_cost(const op_work *w, int64_t *macs, int64_t *flops)
{
    const graph_type *x = w->inputs[IN_X];

    *macs = x->dims[0].size * x->dims[1].size *
            (op_work_count(w->inputs[IN_W]) + op_work_count(w->inputs[IN_R]));
    *flops = 2 * *macs;
}

/* ---- one call ---- */

typedef struct layer {
    const cell_form *form;
    int64_t steps, batch, directions, input, hidden;
    bool batch_first;
    bool backward;    /* the only direction runs backwards */
    bool reset_after; /* GRU: linear_before_reset */
    bool coupled;     /* LSTM: input_forget */
    double clip;      /* infinity: none */
    activation activations[2 * MOST_ACTIVATIONS];
    const double *x;             /* as given */
    const double *w, *r, *b, *p; /* as given; b and p may be NULL */
    const int64_t *lengths;      /* NULL: all steps */
    tensor *y;
    double *state; /* [directions][batch][hidden] */
    double *cell;  /* LSTM: the same */
    /* work space of one direction */
    double *turned_w, *turned_r; /* [input or hidden][gates * hidden] */
    double *from_input;          /* [rows of x][gates * hidden] */
    double *from_state;          /* [batch][gates * hidden] */
    double *gated;               /* GRU: [batch][hidden], reset x state */
} layer;

static double apply(const layer *l, int64_t direction, int which, double x)
{
    const activation *a = &l->activations[direction * l->form->activations + which];
    double clipped = x > l->clip ? l->clip : x < -l->clip ? -l->clip : x;

    return a->function(clipped, a->alpha, a->beta);
}

/* W or R of one direction, transposed. */
static void turn(const double *from, int64_t rows, int64_t columns, double *to)
{
    for (int64_t i = 0; i < rows; i++) {
        for (int64_t j = 0; j < columns; j++) {
            to[j * rows + i] = from[i * columns + j];
        }
    }
}

/* Bias of gate `g`, unit `i`; `recurrent`: the second half. */
static double bias_at(const layer *l, int64_t direction, bool recurrent, int g, int64_t i)
{
    int64_t each = l->form->gates * l->hidden;

    return l->b != NULL ? l->b[(2 * direction + recurrent) * each + g * l->hidden + i] : 0.0;
}

static double peephole(const layer *l, int64_t direction, int g, int64_t i, double cell)
{
    return l->p != NULL ? l->p[(direction * 3 + g) * l->hidden + i] * cell : 0.0;
}

/* One batch element at one step: pre-activations from the input and from the state. */
typedef struct cell_step {
    int64_t direction, element;
    const double *in;   /* [gates * hidden] */
    const double *back; /* [gates * hidden] */
} cell_step;

static double sum_at(const layer *l, const cell_step *s, int g, int64_t i)
{
    int64_t at = g * l->hidden + i;

    return s->in[at] + s->back[at] + bias_at(l, s->direction, false, g, i) +
           bias_at(l, s->direction, true, g, i);
}

static void step_rnn(const layer *l, const cell_step *s, double *h)
{
    for (int64_t i = 0; i < l->hidden; i++) {
        h[i] = apply(l, s->direction, 0, sum_at(l, s, 0, i));
    }
}

/* Gates z, r, h. `back` of gate h holds the product with the state (reset_after) or with the state
 * that was reset before. */
static void step_gru(const layer *l, const cell_step *s, double *h)
{
    for (int64_t i = 0; i < l->hidden; i++) {
        double update = apply(l, s->direction, 0, sum_at(l, s, 0, i));
        double back = s->back[2 * l->hidden + i] + bias_at(l, s->direction, true, 2, i);
        double fresh;

        if (l->reset_after) {
            back *= apply(l, s->direction, 0, sum_at(l, s, 1, i));
        }
        fresh = apply(l, s->direction, 1,
                      s->in[2 * l->hidden + i] + back + bias_at(l, s->direction, false, 2, i));
        h[i] = (1.0 - update) * fresh + update * h[i];
    }
}

/* Gates i, o, f, c. */
static void step_lstm(const layer *l, const cell_step *s, double *h, double *c)
{
    int64_t d = s->direction;

    for (int64_t i = 0; i < l->hidden; i++) {
        double in = apply(l, d, 0, sum_at(l, s, 0, i) + peephole(l, d, 0, i, c[i]));
        double forget =
            l->coupled ? 1.0 - in : apply(l, d, 0, sum_at(l, s, 2, i) + peephole(l, d, 2, i, c[i]));
        double fresh = apply(l, d, 1, sum_at(l, s, 3, i));
        double out;

        c[i] = forget * c[i] + in * fresh;
        out = apply(l, d, 0, sum_at(l, s, 1, i) + peephole(l, d, 1, i, c[i]));
        h[i] = out * apply(l, d, 2, c[i]);
    }
}

static int64_t length_of(const layer *l, int64_t element)
{
    return l->lengths != NULL ? l->lengths[element] : l->steps;
}

/* Row of x (steps and batch elements in their given order). */
static int64_t row_of(const layer *l, int64_t step, int64_t element)
{
    return l->batch_first ? element * l->steps + step : step * l->batch + element;
}

static void store(const layer *l, int64_t direction, int64_t step, int64_t element, const double *h)
{
    int64_t row = l->batch_first ? (element * l->steps + step) * l->directions + direction
                                 : (step * l->directions + direction) * l->batch + element;

    if (l->y != NULL) {
        convert_write_f64(l->y, row * l->hidden, l->hidden, h);
    }
}

/* from_state = state x R (columns of gate h from the reset state, for GRU without reset_after). */
static spry_status multiply_state(op_call *call, const layer *l, int64_t direction, int64_t n)
{
    int64_t width = l->form->gates * l->hidden;
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

    if (status != SPRY_OK || l->form->kind != CELL_GRU || l->reset_after) {
        return status;
    }
    for (int64_t e = 0; e < l->batch; e++) {
        int64_t step = n < length_of(l, e) ? n : 0;
        int64_t t = direction == 1 || l->backward ? length_of(l, e) - 1 - step : step;
        cell_step s = {direction, e, NULL, l->from_state + e * width};

        s.in = l->from_input + row_of(l, t < 0 ? 0 : t, e) * width;
        for (int64_t i = 0; i < l->hidden; i++) {
            l->gated[e * l->hidden + i] =
                apply(l, direction, 0, sum_at(l, &s, 1, i)) * state[e * l->hidden + i];
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

/* Step number `n` of one direction for all batch elements that are that long. */
static void step_all(const layer *l, int64_t direction, int64_t n)
{
    int64_t width = l->form->gates * l->hidden;

    for (int64_t e = 0; e < l->batch; e++) {
        int64_t length = length_of(l, e);
        int64_t t = direction == 1 || l->backward ? length - 1 - n : n;
        int64_t at = (direction * l->batch + e) * l->hidden;
        cell_step s = {direction, e, NULL, l->from_state + e * width};

        if (n >= length) {
            continue;
        }
        s.in = l->from_input + row_of(l, t, e) * width;
        switch (l->form->kind) {
        case CELL_RNN: step_rnn(l, &s, l->state + at); break;
        case CELL_GRU: step_gru(l, &s, l->state + at); break;
        case CELL_LSTM: step_lstm(l, &s, l->state + at, l->cell + at); break;
        }
        store(l, direction, t, e, l->state + at);
    }
}

static spry_status run_direction(op_call *call, const layer *l, int64_t direction)
{
    int64_t width = l->form->gates * l->hidden;
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

/* ---- operands ---- */

/* The activations of all directions, each taking its parameters off the lists in turn. */
static spry_status read_activations(const op_call *call, layer *l)
{
    const graph_attribute *names = graph_attribute_find(call->node, "activations");
    int64_t count[2] = {0};
    const float *lists[2] = {graph_attribute_floats(call->node, "activation_alpha", &count[0]),
                             graph_attribute_floats(call->node, "activation_beta", &count[1])};
    int64_t wanted = l->directions * l->form->activations;
    int64_t used[2] = {0};

    if (names != NULL && (names->kind != GRAPH_ATTRIBUTE_STRINGS || names->count != wanted)) {
        return op_call_fail(call, SPRY_BAD_INPUT, "%lld activations are needed", (long long)wanted);
    }
    for (int64_t i = 0; i < wanted; i++) {
        const char *name =
            names != NULL ? names->as.strings[i].data : l->form->defaults[i % l->form->activations];
        const activation_row *row = find_activation(name);

        if (row == NULL) {
            return op_call_fail(call, SPRY_UNSUPPORTED, "activation '%s' is unknown", name);
        }
        l->activations[i] = row->standard;
        if (row->takes_alpha && used[0] < count[0]) {
            l->activations[i].alpha = (double)lists[0][used[0]++];
        }
        if (row->takes_beta && used[1] < count[1]) {
            l->activations[i].beta = (double)lists[1][used[1]++];
        }
    }
    return SPRY_OK;
}

static bool has_count(const op_call *call, int i, int64_t count)
{
    const tensor *t = op_call_input(call, i);

    return t == NULL || tensor_count(t) == count;
}

static spry_status read_sizes(op_call *call, layer *l)
{
    const tensor *x = op_call_input(call, IN_X);
    const tensor *w = op_call_input(call, IN_W);
    const tensor *r = op_call_input(call, IN_R);
    int64_t gates = l->form->gates;

    if (x == NULL || w == NULL || r == NULL || x->rank != 3 || w->rank != 3 || r->rank != 3) {
        return op_call_fail(call, SPRY_BAD_INPUT, "X, W and R must have three dimensions");
    }
    l->batch = x->shape[l->batch_first ? 0 : 1];
    l->steps = x->shape[l->batch_first ? 1 : 0];
    l->input = x->shape[2];
    l->hidden = r->shape[2];
    if (w->shape[0] != l->directions || r->shape[0] != l->directions ||
        w->shape[1] != gates * l->hidden || r->shape[1] != gates * l->hidden ||
        w->shape[2] != l->input || !has_count(call, IN_B, 2 * l->directions * gates * l->hidden) ||
        !has_count(call, IN_LENGTHS, l->batch) ||
        !has_count(call, IN_H, l->directions * l->batch * l->hidden) ||
        !has_count(call, IN_C, l->directions * l->batch * l->hidden) ||
        !has_count(call, IN_P, l->directions * 3 * l->hidden)) {
        return op_call_fail(call, SPRY_BAD_INPUT, "weights, bias or states do not fit the input");
    }
    return SPRY_OK;
}

static spry_status read_options(op_call *call, layer *l)
{
    const graph_node *node = call->node;
    const char *direction = graph_attribute_string(node, "direction", "forward");

    l->directions = directions_of(node);
    l->backward = strcmp(direction, "reverse") == 0;
    if (l->directions == 1 && !l->backward && strcmp(direction, "forward") != 0) {
        return op_call_fail(call, SPRY_BAD_INPUT, "direction '%s' is unknown", direction);
    }
    l->batch_first = graph_attribute_int(node, "layout", 0) != 0;
    l->reset_after = graph_attribute_int(node, "linear_before_reset", 0) != 0;
    l->coupled = graph_attribute_int(node, "input_forget", 0) != 0;
    l->clip = graph_attribute_find(node, "clip") != NULL
                  ? (double)graph_attribute_float(node, "clip", 0.0f)
                  : INFINITY;
    return read_activations(call, l);
}

/* States are given and returned as [batch][directions] when the layout says so. */
static int64_t state_row(const layer *l, int64_t direction, int64_t element)
{
    return l->batch_first ? element * l->directions + direction : direction * l->batch + element;
}

static spry_status load_state(op_call *call, const layer *l, int i, double **to)
{
    const tensor *t = op_call_input(call, i);
    void *memory = NULL;
    spry_status status =
        whole_room(call, l->directions * l->batch, l->hidden, sizeof(double), &memory);

    *to = memory;
    for (int64_t k = 0; k < l->directions * l->batch && status == SPRY_OK; k++) {
        double *row = *to + k * l->hidden;

        if (t != NULL) {
            convert_read_f64(t, state_row(l, k / l->batch, k % l->batch) * l->hidden, l->hidden,
                             row);
        } else {
            memset(row, 0, (size_t)l->hidden * sizeof *row);
        }
    }
    return status;
}

static spry_status store_state(op_call *call, const layer *l, int i, const double *from)
{
    spry_dtype dtype = op_call_input(call, IN_X)->dtype;
    int64_t rows_first[3] = {l->directions, l->batch, l->hidden};
    int64_t batch_first[3] = {l->batch, l->directions, l->hidden};
    tensor *to;
    spry_status status =
        op_call_output(call, i, dtype, 3, l->batch_first ? batch_first : rows_first, &to);

    for (int64_t k = 0; k < l->directions * l->batch && status == SPRY_OK && to != NULL; k++) {
        convert_write_f64(to, state_row(l, k / l->batch, k % l->batch) * l->hidden, l->hidden,
                          from + k * l->hidden);
    }
    return status;
}

static spry_status load_operands(op_call *call, layer *l)
{
    const double **to[] = {&l->x, &l->w, &l->r, &l->b};
    spry_status status = SPRY_OK;

    for (int i = 0; i < 4 && status == SPRY_OK; i++) {
        status = whole_f64(call, op_call_input(call, i), to[i]);
    }
    if (status == SPRY_OK) {
        status = whole_f64(call, op_call_input(call, IN_P), &l->p);
    }
    if (status == SPRY_OK) {
        status = whole_i64(call, op_call_input(call, IN_LENGTHS), &l->lengths);
    }
    if (status == SPRY_OK) {
        status = load_state(call, l, IN_H, &l->state);
    }
    if (status == SPRY_OK) {
        status = load_state(call, l, IN_C, &l->cell);
    }
    for (int64_t e = 0; e < l->batch && status == SPRY_OK; e++) {
        if (length_of(l, e) < 0 || length_of(l, e) > l->steps) {
            return op_call_fail(call, SPRY_BAD_INPUT, "a sequence is longer than the input");
        }
    }
    return status;
}

static spry_status make_room(op_call *call, layer *l)
{
    int64_t width = l->form->gates * l->hidden;
    struct {
        double **to;
        int64_t rows, columns;
    } parts[] = {
        {&l->turned_w, l->input, width},
        {&l->turned_r, l->hidden, width},
        {&l->from_input, l->steps * l->batch, width},
        {&l->from_state, l->batch, width},
        {&l->gated, l->batch, l->hidden},
    };
    spry_status status = SPRY_OK;

    for (size_t i = 0; i < sizeof parts / sizeof *parts && status == SPRY_OK; i++) {
        void *memory = NULL;

        status = whole_room(call, parts[i].rows, parts[i].columns, sizeof(double), &memory);
        *parts[i].to = memory;
    }
    return status;
}

static spry_status make_result(op_call *call, layer *l)
{
    int64_t steps_first[4] = {l->steps, l->directions, l->batch, l->hidden};
    int64_t batch_first[4] = {l->batch, l->steps, l->directions, l->hidden};
    spry_status status = op_call_output(call, OUT_Y, op_call_input(call, IN_X)->dtype, 4,
                                        l->batch_first ? batch_first : steps_first, &l->y);

    if (status == SPRY_OK && l->y != NULL && l->y->bytes > 0) {
        memset(l->y->data, 0, l->y->bytes); /* what lies beyond a short sequence stays zero */
    }
    return status;
}

static spry_status run_recurrent(op_call *call)
{
    layer l = {.form = op_of_node(call->node)->detail};
    spry_status status = read_options(call, &l);

    if (status == SPRY_OK) {
        status = read_sizes(call, &l);
    }
    if (status == SPRY_OK) {
        status = load_operands(call, &l);
    }
    if (status == SPRY_OK) {
        status = make_room(call, &l);
    }
    if (status == SPRY_OK) {
        status = make_result(call, &l);
    }
    for (int64_t d = 0; d < l.directions && status == SPRY_OK && l.batch > 0; d++) {
        status = run_direction(call, &l, d);
    }
    if (status == SPRY_OK) {
        status = store_state(call, &l, OUT_H, l.state);
    }
    if (status == SPRY_OK && l.form->kind == CELL_LSTM) {
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
    RECURRENT("GRU", 6, 2, &form_gru),
    RECURRENT("LSTM", 8, 3, &form_lstm),
    RECURRENT("RNN", 6, 2, &form_rnn),
    {.name = NULL},
};
/* clang-format on */
