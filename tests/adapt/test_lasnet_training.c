/* Masked networks while they learn: everything moves, work falls towards its target, and the same
 * bits come out whatever the threads. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "model/model.h"
#include "spry/session.h"
#include "spry/train.h"
#include "support/adapting.h"
#include "support/data.h"
#include "support/lesson.h"
#include "train/training_form.h"

static char folder[256];
static spry_dataset *data;
static spry_error error;

static void expect(spry_status status)
{
    if (status != SPRY_OK) {
        fail_msg("%s: %s", error.where, error.what);
    }
}

static int open_all(void **state)
{
    (void)state;
    (void)snprintf(folder, sizeof folder, "%s", data_make_folder());
    data = lesson_data(folder, "train.npz", 96, 1);
    return 0;
}

static int close_all(void **state)
{
    (void)state;
    spry_dataset_close(data);
    data_remove_folder(folder);
    return 0;
}

static spry_model *make_base(void)
{
    spry_architecture_options o = spry_architecture_options_default();
    spry_model *m = NULL;

    o.height = o.width = LESSON_SIDE;
    o.channels = 1;
    o.units = 4;
    o.classes = LESSON_CLASSES;
    expect(spry_architecture_create(NULL, "resnet20", &o, &m, &error));
    return m;
}

typedef struct subject {
    spry_model *base, *masked;
    spry_adaptation *facts;
} subject;

static void open_subject(subject *s)
{
    spry_adapt_options o = adapting_options("lasnet");

    o.masker_bias = 1.0;
    s->base = make_base();
    s->masked = adapting_make(s->base, &o, &s->facts);
}

static void close_subject(subject *s)
{
    spry_adaptation_destroy(s->facts);
    spry_model_destroy(s->masked);
    spry_model_destroy(s->base);
}

/* With labels and teacher, or by what `goal` says. */
static spry_model *learn_towards(const subject *s, const spry_adapt_goal *wanted, bool is_fixed,
                                 int64_t steps, int team, spry_training **facts)
{
    spry_train_options o = spry_train_options_default();
    spry_adapt_goal goal = *wanted;
    spry_train_objective *objective = NULL;
    spry_model *trained;

    goal.teacher = s->base;
    expect(spry_adapt_objective(s->masked, &goal, &objective, &error));
    o.data = data;
    o.batch = 16;
    o.steps = steps;
    o.threads = team;
    o.rate = 0.02;
    o.clip = 5;
    o.gates = is_fixed ? NULL : SPRY_ADAPT_GATES;
    o.objective = objective;
    o.freeze_statistics = true;
    trained = lesson_learn(s->masked, &o, facts);
    spry_train_objective_destroy(objective);
    return trained;
}

/* With labels or without. */
static spry_model *learn(const subject *s, double target, bool ignores, int64_t steps, int team,
                         spry_training **facts)
{
    spry_adapt_goal goal = spry_adapt_goal_default();

    goal.target = target;
    goal.weight = 50;
    goal.ignore_labels = ignores;
    return learn_towards(s, &goal, false, steps, team, facts);
}

/* Every weight of the network and of its maskers has changed; the graph has not. */
static void test_all_moves(void **state)
{
    subject s;
    const char *const *names;
    spry_model *trained;

    (void)state;
    open_subject(&s);
    trained = learn(&s, 0.5, false, 8, 1, NULL);
    for (int32_t i = 0, count = spry_adaptation_trainable(s.facts, &names); i < count; i++) {
        int64_t elements;
        const float *before = lesson_numbers(s.masked, names[i], &elements);
        const float *after = lesson_numbers(trained, names[i], &elements);

        if (memcmp(before, after, (size_t)elements * sizeof *before) == 0) {
            fail_msg("'%s' never moves", names[i]);
        }
    }
    assert_int_equal(trained->main->node_count, s.masked->main->node_count);
    assert_int_equal(trained->function_count, s.masked->function_count);
    spry_model_destroy(trained);
    close_subject(&s);
}

static void test_same_bits(void **state)
{
    subject s;
    spry_model *one;
    spry_model *three;

    (void)state;
    open_subject(&s);
    one = learn(&s, 0.5, true, 5, 1, NULL);
    three = learn(&s, 0.5, true, 5, 3, NULL);
    assert_true(lesson_same(one, three, NULL));
    spry_model_destroy(three);
    spry_model_destroy(one);
    close_subject(&s);
}

/* What is told of the last epoch lies near the target, from above as from below. */
static void test_reaches_target(void **state)
{
    const spry_train_epoch *epochs = NULL;
    spry_training *facts = NULL;
    subject s;

    (void)state;
    open_subject(&s);
    spry_model_destroy(learn(&s, 0.6, false, 240, 2, &facts));
    assert_int_equal(spry_training_epochs(facts, &epochs), 40);
    assert_int_equal(epochs[39].watched_count, 2);
    assert_string_equal(epochs[39].watched_names[0], "work");
    assert_true(epochs[0].watched[0] > epochs[39].watched[0]);
    assert_true(epochs[39].watched[0] > 0.5 && epochs[39].watched[0] < 0.7);
    spry_training_destroy(facts);
    close_subject(&s);
}

/* How far two models' numbers of that name are apart. */
static double apart(const spry_model *a, const spry_model *b, const char *name)
{
    int64_t count;
    const float *x = lesson_numbers(a, name, &count);
    const float *y = lesson_numbers(b, name, &count);
    double sum = 0;

    for (int64_t i = 0; i < count; i++) {
        sum += fabs((double)x[i] - (double)y[i]);
    }
    return sum;
}

/* With fixed masks the network alone learns. */
static void test_fixed_masks(void **state)
{
    spry_adapt_goal goal = spry_adapt_goal_default();
    const char *const *names;
    spry_model *trained;
    subject s;

    (void)state;
    open_subject(&s);
    trained = learn_towards(&s, &goal, true, 4, 1, NULL);
    for (int32_t i = 0, count = spry_adaptation_trainable(s.facts, &names); i < count; i++) {
        bool is_masker = strstr(names[i], "_masker_") != NULL;

        assert_true((apart(s.masked, trained, names[i]) == 0) == is_masker);
    }
    spry_model_destroy(trained);
    close_subject(&s);
}

/* The last features count: they change what is learnt, though not what the classifier of equal
 * scores would. A teacher with features of another shape is refused. */
static void test_features(void **state)
{
    spry_adapt_goal goal = spry_adapt_goal_default();
    spry_architecture_options other = spry_architecture_options_default();
    spry_train_options o = spry_train_options_default();
    spry_train_objective *objective = NULL;
    spry_training *facts = NULL;
    spry_model *without;
    spry_model *with;
    spry_model *wide = NULL;
    spry_model *none = NULL;
    subject s;

    (void)state;
    open_subject(&s);
    goal.weight = 50;
    goal.teacher_weight = 1e-6;
    goal.ignore_labels = true;
    without = learn_towards(&s, &goal, false, 3, 1, NULL);
    goal.feature_weight = 10;
    with = learn_towards(&s, &goal, false, 3, 2, NULL);
    assert_false(lesson_same(with, without, NULL));
    spry_model_destroy(with);
    spry_model_destroy(without);
    other.height = other.width = LESSON_SIDE;
    other.channels = 1;
    other.units = 6;
    other.classes = LESSON_CLASSES;
    expect(spry_architecture_create(NULL, "resnet20", &other, &wide, &error));
    goal.teacher = wide;
    expect(spry_adapt_objective(s.masked, &goal, &objective, &error));
    o.data = data;
    o.objective = objective;
    o.gates = SPRY_ADAPT_GATES;
    assert_int_equal(spry_train(s.masked, &o, &none, &facts, &error), SPRY_USAGE);
    assert_string_equal(error.where, "features");
    spry_train_objective_destroy(objective);
    spry_model_destroy(wide);
    close_subject(&s);
}

/* Behind which the classifier comes: of ResNet-20 the last map, of a perceptron its last units. */
static void test_features_found(void **state)
{
    static const struct {
        const char *name, *op;
    } cases[] = {{"resnet20", "Relu"}, {"mlp", "Relu"}, {"vit-cifar", "LayerNormalization"}};

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        spry_architecture_options o = spry_architecture_options_default();
        spry_model *m = NULL;
        int32_t found;

        expect(spry_architecture_create(NULL, cases[i].name, &o, &m, &error));
        found = training_features(m->main);
        assert_true(found != GRAPH_NONE);
        assert_string_equal(m->main->nodes[m->main->values[found].producer].type, cases[i].op);
        spry_model_destroy(m);
    }
}

/* The delta alone turns the base into what was trained, masks and folded norms included. */
static void test_delta(void **state)
{
    const char *path = data_join(folder, "delta.safetensors");
    spry_adaptation *again = NULL;
    spry_model *applied = NULL;
    spry_model *trained;
    subject s;

    (void)state;
    open_subject(&s);
    trained = learn(&s, 0.5, false, 3, 1, NULL);
    expect(spry_adapt_save_delta(trained, path, &error));
    expect(spry_adapt_apply_delta(s.base, path, &applied, &again, &error));
    adapting_assert_same(applied, trained);
    spry_model_destroy(applied);
    spry_adaptation_destroy(again);
    spry_model_destroy(trained);
    close_subject(&s);
}

static void test_private_refused(void **state)
{
    spry_train_options o = spry_train_options_default();
    spry_adapt_goal goal = spry_adapt_goal_default();
    spry_train_objective *objective = NULL;
    spry_training *facts = NULL;
    spry_model *trained = NULL;
    subject s;

    (void)state;
    open_subject(&s);
    expect(spry_adapt_objective(s.masked, &goal, &objective, &error));
    o.data = data;
    o.objective = objective;
    o.private_noise = 1;
    o.private_clip = 1;
    o.private_delta = 1e-3;
    assert_int_equal(spry_train(s.masked, &o, &trained, &facts, &error), SPRY_USAGE);
    assert_string_equal(error.where, "privacy");
    spry_train_objective_destroy(objective);
    close_subject(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_all_moves),       cmocka_unit_test(test_same_bits),
        cmocka_unit_test(test_reaches_target),  cmocka_unit_test(test_delta),
        cmocka_unit_test(test_private_refused), cmocka_unit_test(test_fixed_masks),
        cmocka_unit_test(test_features),        cmocka_unit_test(test_features_found),
    };

    return cmocka_run_group_tests(tests, open_all, close_all);
}
