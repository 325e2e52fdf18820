/* Operands and activations of recurrent layers. */
#include "ops/recurrent.h"

#include <math.h>
#include <string.h>

#include "ops/whole.h"
#include "tensor/convert.h"

const recurrent_form recurrent_rnn = {RECURRENT_RNN, 1, 1, {"Tanh"}};
const recurrent_form recurrent_gru = {RECURRENT_GRU, 3, 2, {"Sigmoid", "Tanh"}};
const recurrent_form recurrent_lstm = {RECURRENT_LSTM, 4, 3, {"Sigmoid", "Tanh", "Tanh"}};

/* ---- activations, each with its slope ---- */

static double act_affine(double x, double alpha, double beta)
{
    return alpha * x + beta;
}
static double slope_affine(double x, double alpha, double beta)
{
    (void)x;
    (void)beta;
    return alpha;
}

static double act_elu(double x, double alpha, double beta)
{
    (void)beta;
    return x < 0.0 ? alpha * expm1(x) : x;
}
static double slope_elu(double x, double alpha, double beta)
{
    (void)beta;
    return x < 0.0 ? alpha * exp(x) : 1.0;
}

static double act_hard_sigmoid(double x, double alpha, double beta)
{
    return fmax(0.0, fmin(1.0, alpha * x + beta));
}
static double slope_hard_sigmoid(double x, double alpha, double beta)
{
    return alpha * x + beta > 0.0 && alpha * x + beta < 1.0 ? alpha : 0.0;
}

static double act_leaky_relu(double x, double alpha, double beta)
{
    (void)beta;
    return x < 0.0 ? alpha * x : x;
}
static double slope_leaky_relu(double x, double alpha, double beta)
{
    (void)beta;
    return x < 0.0 ? alpha : 1.0;
}

static double act_relu(double x, double alpha, double beta)
{
    (void)alpha;
    (void)beta;
    return x < 0.0 ? 0.0 : x;
}
static double slope_relu(double x, double alpha, double beta)
{
    (void)alpha;
    (void)beta;
    return x > 0.0 ? 1.0 : 0.0;
}

static double act_scaled_tanh(double x, double alpha, double beta)
{
    return alpha * tanh(beta * x);
}
static double slope_scaled_tanh(double x, double alpha, double beta)
{
    return alpha * beta * (1.0 - tanh(beta * x) * tanh(beta * x));
}

static double act_sigmoid(double x, double alpha, double beta)
{
    (void)alpha;
    (void)beta;
    return 1.0 / (1.0 + exp(-x));
}
static double slope_sigmoid(double x, double alpha, double beta)
{
    (void)alpha;
    (void)beta;
    return exp(-fabs(x)) / ((1.0 + exp(-fabs(x))) * (1.0 + exp(-fabs(x))));
}

static double act_softplus(double x, double alpha, double beta)
{
    (void)alpha;
    (void)beta;
    return x > 0.0 ? x + log1p(exp(-x)) : log1p(exp(x));
}
static double slope_softplus(double x, double alpha, double beta)
{
    (void)alpha;
    (void)beta;
    return 1.0 / (1.0 + exp(-x));
}

static double act_softsign(double x, double alpha, double beta)
{
    (void)alpha;
    (void)beta;
    return x / (1.0 + fabs(x));
}
static double slope_softsign(double x, double alpha, double beta)
{
    (void)alpha;
    (void)beta;
    return 1.0 / ((1.0 + fabs(x)) * (1.0 + fabs(x)));
}

static double act_tanh(double x, double alpha, double beta)
{
    (void)alpha;
    (void)beta;
    return tanh(x);
}
static double slope_tanh(double x, double alpha, double beta)
{
    (void)alpha;
    (void)beta;
    return 1.0 - tanh(x) * tanh(x);
}

static double act_thresholded_relu(double x, double alpha, double beta)
{
    (void)beta;
    return x > alpha ? x : 0.0;
}
static double slope_thresholded_relu(double x, double alpha, double beta)
{
    (void)beta;
    return x > alpha ? 1.0 : 0.0;
}

typedef struct activation_row {
    const char *name;
    recurrent_activation standard; /* with its default parameters */
    bool takes_alpha, takes_beta;
} activation_row;

static const activation_row activation_rows[] = {
    {"Affine", {act_affine, slope_affine, 1.0, 0.0}, true, true},
    {"Elu", {act_elu, slope_elu, 1.0, 0.0}, true, false},
    {"HardSigmoid", {act_hard_sigmoid, slope_hard_sigmoid, 0.2, 0.5}, true, true},
    {"LeakyRelu", {act_leaky_relu, slope_leaky_relu, 0.01, 0.0}, true, false},
    {"Relu", {act_relu, slope_relu, 0.0, 0.0}, false, false},
    {"ScaledTanh", {act_scaled_tanh, slope_scaled_tanh, 1.0, 1.0}, true, true},
    {"Sigmoid", {act_sigmoid, slope_sigmoid, 0.0, 0.0}, false, false},
    {"Softplus", {act_softplus, slope_softplus, 0.0, 0.0}, false, false},
    {"Softsign", {act_softsign, slope_softsign, 0.0, 0.0}, false, false},
    {"Tanh", {act_tanh, slope_tanh, 0.0, 0.0}, false, false},
    {"ThresholdedRelu", {act_thresholded_relu, slope_thresholded_relu, 1.0, 0.0}, true, false},
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

static double clipped(const recurrent *l, double x)
{
    return x > l->clip ? l->clip : x < -l->clip ? -l->clip : x;
}

double recurrent_apply(const recurrent *l, int64_t direction, int which, double x)
{
    const recurrent_activation *a = &l->activations[direction * l->form->activations + which];

    return a->function(clipped(l, x), a->alpha, a->beta);
}

double recurrent_slope(const recurrent *l, int64_t direction, int which, double x)
{
    const recurrent_activation *a = &l->activations[direction * l->form->activations + which];

    return fabs(x) > l->clip ? 0.0 : a->slope(x, a->alpha, a->beta);
}

/* ---- rows ---- */

int64_t recurrent_length(const recurrent *l, int64_t element)
{
    return l->lengths != NULL ? l->lengths[element] : l->steps;
}

int64_t recurrent_time(const recurrent *l, int64_t direction, int64_t n, int64_t element)
{
    return direction == 1 || l->backward ? recurrent_length(l, element) - 1 - n : n;
}

int64_t recurrent_x_row(const recurrent *l, int64_t time, int64_t element)
{
    return l->batch_first ? element * l->steps + time : time * l->batch + element;
}

int64_t recurrent_y_row(const recurrent *l, int64_t direction, int64_t time, int64_t element)
{
    return l->batch_first ? (element * l->steps + time) * l->directions + direction
                          : (time * l->directions + direction) * l->batch + element;
}

int64_t recurrent_state_row(const recurrent *l, int64_t direction, int64_t element)
{
    return l->batch_first ? element * l->directions + direction : direction * l->batch + element;
}

/* ---- operands ---- */

int64_t recurrent_directions(const graph_node *node)
{
    return strcmp(graph_attribute_string(node, "direction", "forward"), "bidirectional") == 0 ? 2
                                                                                              : 1;
}

/* The activations of all directions, each taking its parameters off the lists in turn. */
static spry_status read_activations(const op_call *call, recurrent *l)
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

static spry_status read_sizes(op_call *call, recurrent *l)
{
    const tensor *x = op_call_input(call, RECURRENT_X);
    const tensor *w = op_call_input(call, RECURRENT_W);
    const tensor *r = op_call_input(call, RECURRENT_R);
    int64_t gates = l->form->gates;

    if (x == NULL || w == NULL || r == NULL || x->rank != 3 || w->rank != 3 || r->rank != 3) {
        return op_call_fail(call, SPRY_BAD_INPUT, "X, W and R must have three dimensions");
    }
    l->batch = x->shape[l->batch_first ? 0 : 1];
    l->steps = x->shape[l->batch_first ? 1 : 0];
    l->input = x->shape[2];
    l->hidden = r->shape[2];
    l->width = gates * l->hidden;
    if (w->shape[0] != l->directions || r->shape[0] != l->directions ||
        w->shape[1] != gates * l->hidden || r->shape[1] != gates * l->hidden ||
        w->shape[2] != l->input ||
        !has_count(call, RECURRENT_B, 2 * l->directions * gates * l->hidden) ||
        !has_count(call, RECURRENT_LENGTHS, l->batch) ||
        !has_count(call, RECURRENT_H, l->directions * l->batch * l->hidden) ||
        !has_count(call, RECURRENT_C, l->directions * l->batch * l->hidden) ||
        !has_count(call, RECURRENT_P, l->directions * 3 * l->hidden)) {
        return op_call_fail(call, SPRY_BAD_INPUT, "weights, bias or states do not fit the input");
    }
    return SPRY_OK;
}

static spry_status read_options(op_call *call, recurrent *l)
{
    const graph_node *node = call->node;
    const char *direction = graph_attribute_string(node, "direction", "forward");

    l->directions = recurrent_directions(node);
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

static spry_status load_state(op_call *call, const recurrent *l, int i, double **to)
{
    const tensor *t = op_call_input(call, i);
    void *memory = NULL;
    spry_status status =
        whole_room(call, l->directions * l->batch, l->hidden, sizeof(double), &memory);

    *to = memory;
    for (int64_t k = 0; k < l->directions * l->batch && status == SPRY_OK; k++) {
        double *row = *to + k * l->hidden;

        if (t != NULL) {
            convert_read_f64(t, recurrent_state_row(l, k / l->batch, k % l->batch) * l->hidden,
                             l->hidden, row);
        } else {
            memset(row, 0, (size_t)l->hidden * sizeof *row);
        }
    }
    return status;
}

static spry_status load_operands(op_call *call, recurrent *l)
{
    const double **to[] = {&l->x, &l->w, &l->r, &l->b};
    spry_status status = SPRY_OK;

    for (int i = 0; i < 4 && status == SPRY_OK; i++) {
        status = whole_f64(call, op_call_input(call, i), to[i]);
    }
    if (status == SPRY_OK) {
        status = whole_f64(call, op_call_input(call, RECURRENT_P), &l->p);
    }
    if (status == SPRY_OK) {
        status = whole_i64(call, op_call_input(call, RECURRENT_LENGTHS), &l->lengths);
    }
    if (status == SPRY_OK) {
        status = load_state(call, l, RECURRENT_H, &l->state);
    }
    if (status == SPRY_OK) {
        status = load_state(call, l, RECURRENT_C, &l->cell);
    }
    for (int64_t e = 0; e < l->batch && status == SPRY_OK; e++) {
        if (recurrent_length(l, e) < 0 || recurrent_length(l, e) > l->steps) {
            return op_call_fail(call, SPRY_BAD_INPUT, "a sequence is longer than the input");
        }
    }
    return status;
}

static spry_status make_room(op_call *call, recurrent *l)
{
    int64_t width = l->width;
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

spry_status recurrent_read(op_call *call, const recurrent_form *form, recurrent *l)
{
    spry_status status;

    *l = (recurrent){.form = form};
    status = read_options(call, l);
    if (status == SPRY_OK) {
        status = read_sizes(call, l);
    }
    if (status == SPRY_OK) {
        status = load_operands(call, l);
    }
    return status == SPRY_OK ? make_room(call, l) : status;
}
