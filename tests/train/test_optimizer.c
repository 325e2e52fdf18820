/* Optimisers by hand-computed steps, and against plain loops in f64. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>
#include <string.h>

#include "spry/random.h"
#include "train/optimizer.h"

static double one_step(const optimizer *o, double rate, int64_t step, float gradient, float weight,
                       float *m, float *v)
{
    float *const state[] = {m, v};

    optimizer_step(o, threads_single(), rate, step, 1, &gradient, &weight, state);
    return (double)weight;
}

/* rate 1e-3, gradients 0.1 and then -0.2. */
static void test_adam_by_hand(void **state)
{
    optimizer o = optimizer_default(OPTIMIZER_ADAM);
    float m = NAN; /* what is there before the first step does not matter */
    float v = NAN;

    (void)state;
    assert_true(fabs(one_step(&o, 1e-3, 1, 0.1f, 0.0f, &m, &v) + 9.999999e-4) < 1e-9);
    assert_true(fabs(one_step(&o, 1e-3, 2, -0.2f, 0.0f, &m, &v) - 3.661035e-4) < 1e-9);
    assert_true(fabs((double)m / (1.0 - 0.81) + 0.0578947) < 1e-6);
    assert_true(fabs((double)v / (1.0 - 0.999 * 0.999) - 0.0250075) < 1e-6);
}

/* Decay that is part of the gradient is not decay of the weight. */
static void test_decay(void **state)
{
    optimizer adam = optimizer_default(OPTIMIZER_ADAM);
    optimizer adamw = optimizer_default(OPTIMIZER_ADAMW);
    float m;
    float v;

    (void)state;
    adam.decay = 0.01;
    /* Without any other gradient the first step of Adam is as long as the rate. */
    assert_true(fabs(one_step(&adam, 0.1, 1, 0.0f, 2.0f, &m, &v) - 1.9) < 1e-6);
    assert_true(fabs(one_step(&adamw, 0.1, 1, 0.0f, 2.0f, &m, &v) - 2.0 * 0.999) < 1e-6);
}

/* Gradients 1 and 1 with momentum 0.9: the first velocity is the gradient, whatever is damped. */
static void test_momentum_by_hand(void **state)
{
    optimizer o = optimizer_default(OPTIMIZER_SGD);
    float v = NAN;

    (void)state;
    o.momentum = 0.9;
    o.dampening = 0.5;
    assert_int_equal(optimizer_states(&o), 1);
    assert_true(fabs(one_step(&o, 0.1, 1, 1.0f, 1.0f, &v, NULL) - 0.9) < 1e-7);
    assert_true(fabs(one_step(&o, 0.1, 2, 1.0f, 1.0f, &v, NULL) - (1.0 - 0.1 * 1.4)) < 1e-7);
    o.dampening = 0.0;
    o.nesterov = true;
    assert_true(fabs(one_step(&o, 0.1, 1, 1.0f, 1.0f, &v, NULL) - (1.0 - 0.1 * 1.9)) < 1e-7);
    o = optimizer_default(OPTIMIZER_SGD);
    o.decay = 0.5;
    assert_int_equal(optimizer_states(&o), 0);
    assert_true(fabs(one_step(&o, 0.1, 1, 1.0f, 2.0f, NULL, NULL) - 1.8) < 1e-7);
}

/* ---- many weights ---- */

enum { MOST = 40000, STEPS = 5 };

typedef struct run {
    float weights[MOST], one[MOST], two[MOST], gradient[MOST];
} run;

static void draw(float *to, int64_t count, uint64_t stream)
{
    spry_random r = spry_random_stream(3, stream);

    spry_random_fill_normal(&r, to, (size_t)count, 0.0f, 1.0f);
}

static void train(const optimizer *o, int team_size, int64_t count, run *r)
{
    float *const state[] = {r->one, r->two};
    threads *team = NULL;

    assert_int_equal(threads_create(NULL, team_size, &team, NULL), SPRY_OK);
    memset(r, 0x7f, sizeof *r);
    draw(r->weights, count, 0);
    for (int step = 1; step <= STEPS; step++) {
        draw(r->gradient, count, (uint64_t)step);
        optimizer_step(o, team, 0.01, step, count, r->gradient, r->weights, state);
    }
    threads_destroy(team);
}

/* The same in f64, from the definitions. */
static double expected(const optimizer *o, double w, const double *gradients)
{
    double m = 0.0;
    double v = 0.0;

    for (int t = 1; t <= STEPS; t++) {
        double g = gradients[t - 1] + (o->kind == OPTIMIZER_ADAMW ? 0.0 : o->decay * w);

        if (o->kind == OPTIMIZER_SGD) {
            m = t == 1 ? g : o->momentum * m + (1.0 - o->dampening) * g;
            w -= 0.01 * (o->momentum == 0.0 ? g : o->nesterov ? g + o->momentum * m : m);
            continue;
        }
        m = o->beta1 * m + (1.0 - o->beta1) * g;
        v = o->beta2 * v + (1.0 - o->beta2) * g * g;
        w -= o->kind == OPTIMIZER_ADAMW ? 0.01 * o->decay * w : 0.0;
        w -=
            0.01 * m / (1.0 - pow(o->beta1, t)) / (sqrt(v / (1.0 - pow(o->beta2, t))) + o->epsilon);
    }
    return w;
}

static void check_many(const optimizer *o, int64_t count)
{
    static run one;
    static run three;
    static float gradients[STEPS][MOST];
    static float start[MOST];

    train(o, 1, count, &one);
    train(o, 3, count, &three);
    assert_memory_equal(one.weights, three.weights, (size_t)count * sizeof(float));
    draw(start, count, 0);
    for (int t = 0; t < STEPS; t++) {
        draw(gradients[t], count, (uint64_t)t + 1);
    }
    for (int64_t i = 0; i < count; i += 1 + count / 501) {
        double of_one[STEPS];
        double right;

        for (int t = 0; t < STEPS; t++) {
            of_one[t] = (double)gradients[t][i];
        }
        right = expected(o, (double)start[i], of_one);
        assert_true(fabs((double)one.weights[i] - right) < 2e-6 * (1.0 + fabs(right)));
    }
}

static void test_many(void **state)
{
    static const int64_t counts[] = {1, 255, 256, 257, 1000, MOST};

    (void)state;
    for (size_t i = 0; i < sizeof counts / sizeof *counts; i++) {
        optimizer o = optimizer_default(OPTIMIZER_SGD);

        o.decay = 0.1;
        check_many(&o, counts[i]);
        o.momentum = 0.9;
        o.dampening = 0.1;
        check_many(&o, counts[i]);
        o.nesterov = true;
        check_many(&o, counts[i]);
        o = optimizer_default(OPTIMIZER_ADAM);
        o.decay = 0.1;
        check_many(&o, counts[i]);
        o = optimizer_default(OPTIMIZER_ADAMW);
        check_many(&o, counts[i]);
    }
}

static void test_clip(void **state)
{
    static const int64_t counts[] = {1, 256, 257, 4099};

    (void)state;
    for (size_t k = 0; k < sizeof counts / sizeof *counts; k++) {
        static float one[MOST];
        static float three[MOST];
        threads *team = NULL;
        double sum = 0.0;
        double after = 0.0;
        double norm;

        draw(one, counts[k], 9);
        draw(three, counts[k], 9);
        for (int64_t i = 0; i < counts[k]; i++) {
            sum += (double)one[i] * (double)one[i];
        }
        norm = optimizer_clip(threads_single(), 1e9, counts[k], one);
        assert_true(fabs(norm - sqrt(sum)) < 1e-12 * norm);
        assert_memory_equal(one, three, (size_t)counts[k] * sizeof(float)); /* short enough */
        assert_int_equal(threads_create(NULL, 3, &team, NULL), SPRY_OK);
        assert_true(optimizer_clip(team, 0.25, counts[k], three) == norm);
        assert_true(optimizer_clip(threads_single(), 0.25, counts[k], one) == norm);
        threads_destroy(team);
        assert_memory_equal(one, three, (size_t)counts[k] * sizeof(float));
        for (int64_t i = 0; i < counts[k]; i++) {
            after += (double)one[i] * (double)one[i];
        }
        assert_true(fabs(sqrt(after) - 0.25) < 1e-6);
    }
}

static void test_clip_of_nothing(void **state)
{
    float odd[] = {1.0f, INFINITY};

    (void)state;
    assert_true(optimizer_clip(threads_single(), 1.0, 0, NULL) == 0.0);
    assert_true(isinf(optimizer_clip(threads_single(), 1.0, 2, odd)));
    assert_true(odd[0] == 1.0f);
}

static void test_average(void **state)
{
    static float weights[MOST];
    static float twin[MOST];

    (void)state;
    draw(weights, 1000, 1);
    draw(twin, 1000, 2);
    for (int i = 0; i < 1000; i++) {
        float before = twin[i];

        optimizer_average(threads_single(), 0.75, 1, &weights[i], &before);
        assert_true(fabs((double)before - (0.75 * (double)twin[i] + 0.25 * (double)weights[i])) <
                    1e-6);
        twin[i] = 0.0f;
    }
    optimizer_average(threads_single(), 0.0, 1000, weights, twin);
    assert_memory_equal(weights, twin, 1000 * sizeof(float));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_adam_by_hand),
        cmocka_unit_test(test_decay),
        cmocka_unit_test(test_momentum_by_hand),
        cmocka_unit_test(test_many),
        cmocka_unit_test(test_clip),
        cmocka_unit_test(test_clip_of_nothing),
        cmocka_unit_test(test_average),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
