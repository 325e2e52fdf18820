/* Recurrent cells against their equations, unit by unit. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "support/op_harness.h"
#include "tensor/convert.h"

enum { ROUNDS = 60, MOST_HIDDEN = 8, MOST = 20000 };
enum { X, W, R, B, LENGTHS, H, C, P };

typedef struct problem {
    const op_harness *h;
    char kind; /* 'R', 'G', 'L' */
    int64_t steps, batch, directions, input, hidden, gates;
    bool batch_first, backward, reset_after;
} problem;

static double sigmoid(double x)
{
    return 1.0 / (1.0 + exp(-x));
}

static double at(const problem *p, int input, int64_t i)
{
    return input < p->h->input_count && p->h->present[input]
               ? convert_get_f64(&p->h->inputs[input].tensor, i)
               : 0.0;
}

/* W x + Wb (of gate g, unit i), and R h + Rb. */
static double from_input(const problem *p, int64_t d, int64_t t, int64_t e, int64_t g, int64_t i)
{
    int64_t row = d * p->gates * p->hidden + g * p->hidden + i;
    int64_t x = p->batch_first ? e * p->steps + t : t * p->batch + e;
    double sum = at(p, B, 2 * d * p->gates * p->hidden + g * p->hidden + i);

    for (int64_t k = 0; k < p->input; k++) {
        sum += at(p, W, row * p->input + k) * at(p, X, x * p->input + k);
    }
    return sum;
}

static double recurrent_bias(const problem *p, int64_t d, int64_t g, int64_t i)
{
    return at(p, B, (2 * d + 1) * p->gates * p->hidden + g * p->hidden + i);
}

static double from_state(const problem *p, int64_t d, const double *h, int64_t g, int64_t i)
{
    int64_t row = d * p->gates * p->hidden + g * p->hidden + i;
    double sum = 0.0;

    for (int64_t k = 0; k < p->hidden; k++) {
        sum += at(p, R, row * p->hidden + k) * h[k];
    }
    return sum;
}

static double gate(const problem *p, int64_t d, int64_t t, int64_t e, const double *h, int64_t g,
                   int64_t i)
{
    return from_input(p, d, t, e, g, i) + from_state(p, d, h, g, i) + recurrent_bias(p, d, g, i);
}

static void step(const problem *p, int64_t d, int64_t t, int64_t e, double *h, double *c)
{
    double old[MOST_HIDDEN];
    double reset[MOST_HIDDEN];

    memcpy(old, h, sizeof old);
    for (int64_t i = 0; i < p->hidden && p->kind == 'G'; i++) {
        reset[i] = sigmoid(gate(p, d, t, e, old, 1, i)) * old[i];
    }
    for (int64_t i = 0; i < p->hidden; i++) {
        if (p->kind == 'R') {
            h[i] = tanh(gate(p, d, t, e, old, 0, i));
        } else if (p->kind == 'G') {
            double z = sigmoid(gate(p, d, t, e, old, 0, i));
            double r = sigmoid(gate(p, d, t, e, old, 1, i));
            double back = p->reset_after
                              ? r * (from_state(p, d, old, 2, i) + recurrent_bias(p, d, 2, i))
                              : from_state(p, d, reset, 2, i) + recurrent_bias(p, d, 2, i);

            h[i] = (1.0 - z) * tanh(from_input(p, d, t, e, 2, i) + back) + z * old[i];
        } else {
            const int64_t peep = d * 3 * p->hidden + i;
            double in = sigmoid(gate(p, d, t, e, old, 0, i) + at(p, P, peep) * c[i]);
            double forget =
                sigmoid(gate(p, d, t, e, old, 2, i) + at(p, P, peep + 2 * p->hidden) * c[i]);

            c[i] = forget * c[i] + in * tanh(gate(p, d, t, e, old, 3, i));
            h[i] = tanh(c[i]) *
                   sigmoid(gate(p, d, t, e, old, 1, i) + at(p, P, peep + p->hidden) * c[i]);
        }
    }
}

/* What outputs 0, 1 and 2 must be. */
static double y[MOST];
static double last_h[MOST];
static double last_c[MOST];

static void solve(const problem *p)
{
    memset(y, 0, sizeof y);
    for (int64_t d = 0; d < p->directions; d++) {
        for (int64_t e = 0; e < p->batch; e++) {
            int64_t row = p->batch_first ? e * p->directions + d : d * p->batch + e;
            int64_t length = p->h->present[LENGTHS] ? (int64_t)at(p, LENGTHS, e) : p->steps;
            double h[MOST_HIDDEN];
            double c[MOST_HIDDEN];

            for (int64_t i = 0; i < p->hidden; i++) {
                h[i] = at(p, H, row * p->hidden + i);
                c[i] = at(p, C, row * p->hidden + i);
            }
            for (int64_t n = 0; n < length; n++) {
                int64_t t = d == 1 || p->backward ? length - 1 - n : n;
                int64_t to = p->batch_first ? (e * p->steps + t) * p->directions + d
                                            : (t * p->directions + d) * p->batch + e;

                step(p, d, t, e, h, c);
                memcpy(y + to * p->hidden, h, (size_t)p->hidden * sizeof *h);
            }
            memcpy(last_h + row * p->hidden, h, (size_t)p->hidden * sizeof *h);
            memcpy(last_c + row * p->hidden, c, (size_t)p->hidden * sizeof *c);
        }
    }
}

static void draw(op_harness *h, spry_dtype dtype, int64_t a, int64_t b, int64_t c)
{
    tensor *t = op_harness_any(h, dtype, c > 0 ? 3 : 2, (int64_t[]){a, b, c}, false);

    for (int64_t i = 0; i < tensor_count(t); i++) {
        double small = convert_get_f64(t, i) / 8.0;

        convert_write_f64(t, i, 1, &small);
    }
}

/* All optional inputs but the last, each there or omitted. */
static void draw_options(op_harness *h, const problem *p, spry_dtype dtype, int round)
{
    int64_t first = p->batch_first ? p->batch : p->directions;
    int64_t second = p->batch_first ? p->directions : p->batch;

    if (round % 2 == 0) {
        draw(h, dtype, p->directions, 2 * p->gates * p->hidden, 0);
    } else {
        op_harness_omit(h);
    }
    if (round % 3 == 0) {
        tensor *lengths = op_harness_input(h, SPRY_DTYPE_I32, 1, &p->batch);

        for (int64_t e = 0; e < p->batch; e++) {
            ((int32_t *)lengths->data)[e] = (int32_t)op_harness_next(h, p->steps + 1);
        }
    } else {
        op_harness_omit(h);
    }
    for (int i = 0; i < (p->kind == 'L' ? 2 : 1); i++) {
        if (round % 4 < 2) {
            draw(h, dtype, first, second, p->hidden);
        } else {
            op_harness_omit(h);
        }
    }
    if (p->kind == 'L' && round % 5 < 3) {
        draw(h, dtype, p->directions, 3 * p->hidden, 0);
    }
}

static void check(const char *name, int64_t gates, int round)
{
    static const char *const directions[] = {"forward", "reverse", "bidirectional"};
    static const spry_dtype dtypes[] = {SPRY_DTYPE_F32, SPRY_DTYPE_F64, SPRY_DTYPE_F16};
    static const double tolerances[] = {1e-6, 1e-12, 2e-3};
    spry_dtype dtype = dtypes[round % 3];
    problem p = {.kind = name[0], .gates = gates};
    op_harness h;

    op_harness_init(&h, "", name, 14);
    h.state = (uint64_t)round;
    p.h = &h;
    p.steps = 1 + op_harness_next(&h, 5);
    p.batch = 1 + op_harness_next(&h, 3);
    p.input = 1 + op_harness_next(&h, 7);
    p.hidden = 1 + op_harness_next(&h, MOST_HIDDEN);
    p.batch_first = round % 2 == 1;
    p.backward = round / 2 % 3 == 1;
    p.directions = round / 2 % 3 == 2 ? 2 : 1;
    p.reset_after = round % 5 < 2;
    op_harness_string(&h, "direction", directions[round / 2 % 3]);
    op_harness_int(&h, "hidden_size", p.hidden);
    op_harness_int(&h, "layout", p.batch_first);
    if (p.kind == 'G') {
        op_harness_int(&h, "linear_before_reset", p.reset_after);
    }
    draw(&h, dtype, p.batch_first ? p.batch : p.steps, p.batch_first ? p.steps : p.batch, p.input);
    draw(&h, dtype, p.directions, gates * p.hidden, p.input);
    draw(&h, dtype, p.directions, gates * p.hidden, p.hidden);
    draw_options(&h, &p, dtype, round);
    op_harness_run(&h, p.kind == 'L' ? 3 : 2);
    solve(&p);
    op_harness_expect_f64(&h, 0, y, tolerances[round % 3]);
    op_harness_expect_f64(&h, 1, last_h, tolerances[round % 3]);
    if (p.kind == 'L') {
        op_harness_expect_f64(&h, 2, last_c, tolerances[round % 3]);
    }
    op_harness_fini(&h);
}

static void test_rnn(void **state)
{
    (void)state;
    for (int round = 0; round < ROUNDS; round++) {
        check("RNN", 1, round);
    }
}

static void test_gru(void **state)
{
    (void)state;
    for (int round = 0; round < ROUNDS; round++) {
        check("GRU", 3, round);
    }
}

static void test_lstm(void **state)
{
    (void)state;
    for (int round = 0; round < ROUNDS; round++) {
        check("LSTM", 4, round);
    }
}

static void test_refusals(void **state)
{
    op_harness h;

    (void)state;
    op_harness_init(&h, "", "RNN", 14);
    op_harness_strings(&h, "activations", 1, (const char *const[]){"Nothing"});
    draw(&h, SPRY_DTYPE_F32, 2, 1, 3);
    draw(&h, SPRY_DTYPE_F32, 1, 4, 3);
    draw(&h, SPRY_DTYPE_F32, 1, 4, 4);
    assert_int_equal(op_harness_try(&h, 1), SPRY_UNSUPPORTED);
    op_harness_fini(&h);

    op_harness_init(&h, "", "RNN", 14);
    draw(&h, SPRY_DTYPE_F32, 2, 1, 3);
    draw(&h, SPRY_DTYPE_F32, 1, 4, 3);
    draw(&h, SPRY_DTYPE_F32, 1, 5, 4);
    assert_int_equal(op_harness_try(&h, 1), SPRY_BAD_INPUT);
    op_harness_fini(&h);

    op_harness_init(&h, "", "RNN", 14);
    draw(&h, SPRY_DTYPE_F32, 2, 1, 3);
    draw(&h, SPRY_DTYPE_F32, 1, 4, 3);
    draw(&h, SPRY_DTYPE_F32, 1, 4, 4);
    op_harness_omit(&h);
    op_harness_i64s(&h, SPRY_DTYPE_I32, 1, (int64_t[]){1}, (int64_t[]){3});
    assert_int_equal(op_harness_try(&h, 1), SPRY_BAD_INPUT);
    op_harness_fini(&h);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rnn),
        cmocka_unit_test(test_gru),
        cmocka_unit_test(test_lstm),
        cmocka_unit_test(test_refusals),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
