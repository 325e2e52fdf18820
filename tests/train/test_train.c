/* Training as a whole: it learns, its bits do not depend on threads or interruptions, and what must
 * stay stays. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "support/data.h"
#include "support/lesson.h"
#include "train/privacy.h"

static char folder[256];
static spry_dataset *data;
static spry_dataset *test;
static spry_error error;

static int open_all(void **state)
{
    (void)state;
    (void)snprintf(folder, sizeof folder, "%s", data_make_folder());
    data = lesson_data(folder, "train.npz", 200, 1);
    test = lesson_data(folder, "test.npz", 101, 2);
    return 0;
}

static int close_all(void **state)
{
    (void)state;
    spry_dataset_close(data);
    spry_dataset_close(test);
    data_remove_folder(folder);
    return 0;
}

static spry_train_options quick(int64_t steps)
{
    spry_train_options o = spry_train_options_default();

    o.data = data;
    o.batch = 20;
    o.steps = steps;
    o.threads = 2;
    o.seed = 3;
    return o;
}

/* ---- learning ---- */

static void test_learns(void **state)
{
    static const char *const architectures[] = {"mlp", "lenet"};
    static const spry_optimizer optimizers[] = {SPRY_OPTIMIZER_SGD, SPRY_OPTIMIZER_ADAM,
                                                SPRY_OPTIMIZER_ADAMW};

    (void)state;
    for (int i = 0; i < 6; i++) {
        spry_model *source = lesson_model(architectures[i % 2]);
        spry_train_options o = quick(0);
        spry_training *facts = NULL;
        const spry_train_epoch *epochs = NULL;
        spry_model *trained;

        o.optimizer = optimizers[i / 2];
        o.rate = i / 2 == 0 ? 0.05 : 0.003;
        o.epochs = 8;
        o.validation = test;
        trained = lesson_learn(source, &o, &facts);
        assert_int_equal(spry_training_epochs(facts, &epochs), 8);
        assert_true(epochs[7].loss < 0.5 * epochs[0].loss);
        assert_true(epochs[7].validation > 0.8);
        assert_int_equal(spry_training_totals_of(facts)->steps, 80);
        spry_training_destroy(facts);
        spry_model_destroy(trained);
        spry_model_destroy(source);
    }
}

static void test_rate_zero_changes_nothing(void **state)
{
    spry_model *source = lesson_model("mlp");
    spry_train_options o = quick(3);
    spry_model *trained;

    (void)state;
    o.rate = 0;
    trained = lesson_learn(source, &o, NULL);
    assert_true(lesson_same(source, trained, NULL));
    spry_model_destroy(trained);
    spry_model_destroy(source);
}

/* ---- the same bits ---- */

static void test_threads(void **state)
{
    spry_model *source = lesson_model("lenet");
    spry_train_options o = quick(6);
    spry_model *first;

    (void)state;
    o.threads = 1;
    o.augment = "noise:0.1";
    first = lesson_learn(source, &o, NULL);
    for (int threads = 2; threads <= 4; threads++) {
        spry_model *other;

        o.threads = threads;
        other = lesson_learn(source, &o, NULL);
        assert_true(lesson_same(first, other, NULL));
        spry_model_destroy(other);
    }
    o.seed++;
    {
        spry_model *other = lesson_learn(source, &o, NULL);

        assert_false(lesson_same(first, other, NULL));
        spry_model_destroy(other);
    }
    spry_model_destroy(first);
    spry_model_destroy(source);
}

typedef struct stopper {
    double at;
} stopper;

static bool stop_at(void *context, const char *task, double done, double total)
{
    (void)task;
    (void)total;
    return done < ((const stopper *)context)->at;
}

/* Twenty steps are seven, a stop, and thirteen more: the epoch's end lies between. */
static void test_resume(void **state)
{
    static const spry_optimizer optimizers[] = {SPRY_OPTIMIZER_SGD, SPRY_OPTIMIZER_ADAMW};

    (void)state;
    for (int i = 0; i < 2; i++) {
        char name[32];
        stopper stop = {7};
        const spry_progress progress = {stop_at, &stop};
        spry_model *source = lesson_model("lenet");
        spry_train_options o = quick(20);
        spry_training *facts = NULL;
        spry_model *straight;
        spry_model *part;
        spry_model *rest;
        double loss;

        (void)snprintf(name, sizeof name, "checkpoints%d", i);
        o.optimizer = optimizers[i];
        o.rate = 0.01;
        o.average = 0.9;
        o.augment = "noise:0.1";
        o.validation = test;
        o.keep_best = true;
        straight = lesson_learn(source, &o, NULL);
        o.checkpoints = data_join(folder, name);
        o.resume = true;
        o.progress = &progress;
        part = lesson_learn(source, &o, &facts);
        assert_true(spry_training_totals_of(facts)->is_stopped);
        assert_int_equal(spry_training_totals_of(facts)->steps, 7);
        assert_true(spry_training_totals_of(facts)->loss > 0); /* of a part of the first epoch */
        assert_false(lesson_same(straight, part, NULL));
        spry_model_destroy(part);
        spry_training_destroy(facts);
        o.progress = NULL;
        rest = lesson_learn(source, &o, &facts);
        assert_int_equal(spry_training_totals_of(facts)->steps, 20);
        assert_true(lesson_same(straight, rest, NULL));
        loss = spry_training_totals_of(facts)->loss;
        spry_training_destroy(facts);
        part = lesson_learn(source, &o, &facts); /* nothing is left to do */
        assert_true(lesson_same(straight, part, NULL));
        assert_true(loss > 0 && spry_training_totals_of(facts)->loss == loss);
        spry_model_destroy(part);
        spry_training_destroy(facts);
        o.batch = 10; /* is not what was interrupted */
        assert_int_equal(spry_train(source, &o, &part, &facts, &error), SPRY_USAGE);
        assert_non_null(strstr(error.what, "batch"));
        spry_model_destroy(rest);
        spry_model_destroy(straight);
        spry_model_destroy(source);
    }
}

/* Two halves make the whole, where no batch norm mixes examples. */
static void test_accumulate(void **state)
{
    spry_model *source = lesson_model("mlp");
    spry_train_options o = quick(4);
    spry_model *whole = lesson_learn(source, &o, NULL);
    spry_model *halves;

    (void)state;
    o.batch = 10;
    o.accumulate = 2;
    halves = lesson_learn(source, &o, NULL);
    for (int32_t i = 0; i < 1; i++) {
        int64_t count = 0;
        const float *a = lesson_numbers(whole, "fc1.weight", &count);
        const float *b = lesson_numbers(halves, "fc1.weight", &count);

        for (int64_t k = 0; k < count; k++) {
            assert_true(fabsf(a[k] - b[k]) < 1e-5f);
        }
    }
    spry_model_destroy(halves);
    spry_model_destroy(whole);
    spry_model_destroy(source);
}

/* ---- what is trained ---- */

static void test_rules(void **state)
{
    static const spry_train_rule only_head[] = {{"*", true, -1, -1}, {"fc2.*", false, -1, -1}};
    static const spry_train_rule wrong[] = {{"nothing.like.this", true, -1, -1}};
    static const spry_train_rule all[] = {{"*", true, -1, -1}};
    spry_model *source = lesson_model("lenet");
    spry_train_options o = quick(3);
    spry_training *facts = NULL;
    spry_model *trained;

    (void)state;
    o.rules = only_head;
    o.rule_count = 2;
    o.freeze_statistics = true;
    trained = lesson_learn(source, &o, &facts);
    assert_true(lesson_same(source, trained, "fc2.*"));
    assert_false(lesson_same(source, trained, NULL));
    assert_true(spry_training_totals_of(facts)->trained <
                spry_training_totals_of(facts)->parameters);
    spry_training_destroy(facts);
    spry_model_destroy(trained);
    o.rules = wrong;
    o.rule_count = 1;
    assert_int_equal(spry_train(source, &o, &trained, &facts, &error), SPRY_USAGE);
    assert_non_null(strstr(error.where, "nothing.like.this"));
    o.rules = all;
    assert_int_equal(spry_train(source, &o, &trained, &facts, &error), SPRY_USAGE);
    spry_model_destroy(source);
}

/* What a frozen beginning makes of the data is computed once: steps are those of the rest, results
 * those of the whole (here: augmented by nothing, which is enough to go without the features). */
static void test_features(void **state)
{
    static const spry_train_rule only_head[] = {{"*", true, -1, -1}, {"fc2.*", false, 2, 0.5}};
    spry_model *source = lesson_model("lenet");
    spry_train_options o = quick(12);
    spry_training *cached = NULL;
    spry_training *plain = NULL;
    spry_model *first;
    spry_model *second;
    int64_t count = 0;
    const float *a;
    const float *b;

    (void)state;
    o.rules = only_head;
    o.rule_count = 2;
    o.freeze_statistics = true;
    o.validation = test;
    first = lesson_learn(source, &o, &cached);
    o.augment = "gain:0";
    second = lesson_learn(source, &o, &plain);
    assert_true(spry_training_totals_of(cached)->arena_bytes * 4 <
                spry_training_totals_of(plain)->arena_bytes);
    assert_int_equal(spry_training_totals_of(cached)->trained,
                     spry_training_totals_of(plain)->trained);
    assert_true(lesson_same(source, first, "fc2.*"));
    a = lesson_numbers(first, "fc2.weight", &count);
    b = lesson_numbers(second, "fc2.weight", &count);
    for (int64_t i = 0; i < count; i++) {
        assert_true(fabsf(a[i] - b[i]) < 1e-4f);
    }
    spry_training_destroy(cached);
    spry_training_destroy(plain);
    spry_model_destroy(first);
    spry_model_destroy(second);
    spry_model_destroy(source);
}

/* ---- privacy ---- */

static void test_private(void **state)
{
    static const char *const architectures[] = {"mlp", "vit-cifar"};

    (void)state;
    for (int i = 0; i < 2; i++) {
        spry_model *source = lesson_model(architectures[i]);
        spry_train_options o = quick(30);
        const privacy_phase phase = {0.1, 0.6, 30};
        privacy_spent spent;
        spry_training *facts = NULL;
        spry_model *first;
        spry_model *second;

        o.private_noise = 0.6;
        o.private_delta = 1e-3;
        o.private_clip = 1;
        o.private_seeded = true;
        o.rate = 0.2;
        first = lesson_learn(source, &o, &facts);
        assert_int_equal(privacy_spend(&phase, 1, 1e-3, PRIVACY_MOST_ORDER, &spent, NULL), SPRY_OK);
        assert_true(fabs(spry_training_totals_of(facts)->epsilon - spent.epsilon) < 1e-9);
        spry_training_destroy(facts);
        o.threads = 1;
        second = lesson_learn(source, &o, NULL);
        assert_true(lesson_same(first, second, NULL));
        spry_model_destroy(second);
        o.private_seeded = false;
        second = lesson_learn(source, &o, NULL);
        assert_false(lesson_same(first, second, NULL));
        spry_model_destroy(second);
        o.private_noise = 0;
        o.private_epsilon = 3; /* the noise follows from it */
        second = lesson_learn(source, &o, &facts);
        assert_true(spry_training_totals_of(facts)->epsilon <= 3);
        assert_true(spry_training_totals_of(facts)->epsilon > 2.99);
        spry_training_destroy(facts);
        spry_model_destroy(second);
        spry_model_destroy(first);
        spry_model_destroy(source);
    }
}

/* With next to no noise and clipping it learns as without privacy. */
static void test_private_learns(void **state)
{
    spry_model *source = lesson_model("mlp");
    spry_train_options o = quick(80);
    const spry_train_epoch *epochs = NULL;
    spry_training *facts = NULL;
    spry_model *trained;

    (void)state;
    o.private_noise = 1e-9;
    o.private_delta = 1e-3;
    o.private_clip = 1000;
    o.private_seeded = true;
    o.validation = test;
    trained = lesson_learn(source, &o, &facts);
    assert_true(spry_training_epochs(facts, &epochs) == 8);
    assert_true(epochs[7].validation > 0.8);
    spry_training_destroy(facts);
    spry_model_destroy(trained);
    spry_model_destroy(source);
}

static void test_private_refusals(void **state)
{
    spry_model *source = lesson_model("lenet");
    spry_model *trained = NULL;
    spry_training *facts = NULL;
    spry_train_options o = quick(2);

    (void)state;
    o.private_epsilon = 3;
    o.private_delta = 1e-3;
    o.private_clip = 1;
    assert_int_equal(spry_train(source, &o, &trained, &facts, &error), SPRY_UNSUPPORTED);
    assert_non_null(strstr(error.where, "BatchNormalization"));
    o.freeze_statistics = true;
    o.private_delta = 0;
    assert_int_equal(spry_train(source, &o, &trained, &facts, &error), SPRY_USAGE);
    o.private_delta = 1e-3;
    o.accumulate = 2;
    assert_int_equal(spry_train(source, &o, &trained, &facts, &error), SPRY_USAGE);
    spry_model_destroy(source);
}

/* ---- what goes wrong ---- */

static void test_loss_explodes(void **state)
{
    spry_model *source = lesson_model("mlp");
    spry_train_options o = quick(20);
    spry_model *trained = NULL;
    spry_training *facts = NULL;

    (void)state;
    o.rate = 1e6;
    o.momentum = 0.99;
    assert_int_equal(spry_train(source, &o, &trained, &facts, &error), SPRY_BAD_INPUT);
    assert_null(trained);
    assert_null(facts);
    assert_non_null(strstr(error.what, "not finite"));
    assert_true(error.where[0] != '\0');
    spry_model_destroy(source);
}

static void test_refusals(void **state)
{
    spry_model *source = lesson_model("mlp");
    spry_model *trained = NULL;
    spry_training *facts = NULL;
    spry_train_options o = quick(1);

    (void)state;
    o.data = NULL;
    assert_int_equal(spry_train(source, &o, &trained, &facts, &error), SPRY_USAGE);
    o = quick(1);
    o.rate = NAN;
    assert_int_equal(spry_train(source, &o, &trained, &facts, &error), SPRY_USAGE);
    o = quick(1);
    o.batch = 0;
    assert_int_equal(spry_train(source, &o, &trained, &facts, &error), SPRY_USAGE);
    o = quick(1);
    o.batch = 1000; /* more than there are samples */
    assert_int_equal(spry_train(source, &o, &trained, &facts, &error), SPRY_USAGE);
    o = quick(1);
    o.resume = true;
    assert_int_equal(spry_train(source, &o, &trained, &facts, &error), SPRY_USAGE);
    o = quick(1);
    o.augment = "flop";
    assert_int_equal(spry_train(source, &o, &trained, &facts, &error), SPRY_USAGE);
    spry_model_destroy(source);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_learns),         cmocka_unit_test(test_rate_zero_changes_nothing),
        cmocka_unit_test(test_threads),        cmocka_unit_test(test_resume),
        cmocka_unit_test(test_accumulate),     cmocka_unit_test(test_rules),
        cmocka_unit_test(test_features),       cmocka_unit_test(test_private),
        cmocka_unit_test(test_private_learns), cmocka_unit_test(test_private_refusals),
        cmocka_unit_test(test_loss_explodes),  cmocka_unit_test(test_refusals),
    };

    return cmocka_run_group_tests(tests, open_all, close_all);
}
