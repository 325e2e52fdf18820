/* Adapted models when they are trained: what is to be trained moves, all of it, and nothing else
 * does. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "model/model.h"
#include "spry/train.h"
#include "support/adapting.h"
#include "support/data.h"
#include "support/lesson.h"

enum { MOST_RULES = 256, STEPS = 4 };

static const char *const methods[] = {"lora", "adapter", "bias", "prompt", "head", "full"};
enum { METHODS = sizeof methods / sizeof methods[0] };

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
    data = lesson_data(folder, "train.npz", 64, 1);
    return 0;
}

static int close_all(void **state)
{
    (void)state;
    spry_dataset_close(data);
    data_remove_folder(folder);
    return 0;
}

/* A vision transformer for the lesson's pictures. */
static spry_model *make_base(void)
{
    spry_architecture_options o = spry_architecture_options_default();
    spry_model *m = NULL;

    o.height = o.width = LESSON_SIDE;
    o.channels = 1;
    o.patch = 8;
    o.units = 8;
    o.heads = 2;
    o.depth = 2;
    o.classes = LESSON_CLASSES;
    expect(spry_architecture_create(NULL, "vit-cifar", &o, &m, &error));
    return m;
}

static spry_model *learn(const spry_model *m, const spry_adaptation *facts, int64_t steps)
{
    spry_train_rule rules[MOST_RULES] = {{"*", true, -1, -1}};
    spry_train_options o = spry_train_options_default();
    const char *const *names;
    int32_t count = spry_adaptation_trainable(facts, &names);

    assert_true(count < MOST_RULES);
    for (int32_t i = 0; i < count; i++) {
        rules[1 + i] = (spry_train_rule){names[i], false, -1, -1};
    }
    o.data = data;
    o.batch = 16;
    o.steps = steps;
    o.threads = 1;
    o.optimizer = SPRY_OPTIMIZER_ADAM;
    o.rate = 0.01;
    o.decay = 0.0;
    o.rules = rules;
    o.rule_count = 1 + count;
    return lesson_learn(m, &o, NULL);
}

static bool is_trained(const spry_adaptation *facts, const char *name)
{
    const char *const *names;
    int32_t count = spry_adaptation_trainable(facts, &names);

    for (int32_t i = 0; i < count; i++) {
        if (strcmp(names[i], name) == 0) {
            return true;
        }
    }
    return false;
}

/* Every trained tensor has changed, every other initializer has the bits that it had. */
static void check_moved(const spry_model *before, const spry_model *after,
                        const spry_adaptation *facts)
{
    int32_t moved = 0;
    const char *const *names;

    for (int32_t i = 0; i < before->main->value_count; i++) {
        const graph_value *v = &before->main->values[i];
        const tensor *old = v->producer == GRAPH_NONE ? v->constant : NULL;
        const tensor *now;
        bool same;

        if (old == NULL) {
            continue;
        }
        now = after->main->values[graph_find_value(after->main, v->name)].constant;
        same = memcmp(old->data, now->data, old->bytes) == 0;
        if (same == is_trained(facts, v->name)) {
            fail_msg("'%s' %s", v->name, same ? "is trained but never moves" : "moves");
        }
        moved += !same;
    }
    assert_int_equal(moved, spry_adaptation_trainable(facts, &names));
}

static void test_trains_its_own(void **state)
{
    spry_model *base = make_base();

    (void)state;
    for (size_t i = 0; i < METHODS; i++) {
        spry_adapt_options o = adapting_options(methods[i]);
        spry_adaptation *facts = NULL;
        spry_model *m = adapting_make(base, &o, &facts);
        spry_model *trained = learn(m, facts, STEPS);

        check_moved(m, trained, facts);
        spry_model_destroy(trained);
        spry_model_destroy(m);
        spry_adaptation_destroy(facts);
    }
    spry_model_destroy(base);
}

/* Were both factors of an adapter zero, nothing but the last bias would ever move: this is how that
 * shows. */
static void test_dead_adapter_shows(void **state)
{
    spry_model *base = make_base();
    spry_adapt_options o = adapting_options("adapter");
    spry_adaptation *facts = NULL;
    spry_model *m = adapting_make(base, &o, &facts);
    const char *const *names;
    int32_t count = spry_adaptation_trainable(facts, &names);
    spry_model *trained;

    (void)state;
    for (int32_t i = 0; i < count; i++) {
        if (strstr(names[i], "adapter_down_weight") != NULL) {
            int64_t elements;
            float *x = adapting_tensor(m, names[i], &elements);

            memset(x, 0, (size_t)elements * sizeof *x);
        }
    }
    trained = learn(m, facts, STEPS);
    for (int32_t i = 0; i < count; i++) {
        int64_t elements;
        const float *x = lesson_numbers(m, names[i], &elements);
        const float *y = lesson_numbers(trained, names[i], &elements);
        bool same = memcmp(x, y, (size_t)elements * sizeof *x) == 0;

        if (strstr(names[i], "adapter_") != NULL) {
            assert_true(same == (strstr(names[i], "adapter_up_bias") == NULL));
        }
    }
    spry_model_destroy(trained);
    spry_model_destroy(m);
    spry_adaptation_destroy(facts);
    spry_model_destroy(base);
}

/* The delta alone turns the base into what was trained. */
static void test_delta_is_all(void **state)
{
    const char *path = data_join(folder, "delta.safetensors");
    spry_model *base = make_base();

    (void)state;
    for (size_t i = 0; i < METHODS; i++) {
        spry_adapt_options o = adapting_options(methods[i]);
        spry_adaptation *facts = NULL;
        spry_adaptation *again = NULL;
        spry_model *m = adapting_make(base, &o, &facts);
        spry_model *trained = learn(m, facts, 2);
        spry_model *applied = NULL;

        expect(spry_adapt_save_delta(trained, path, &error));
        expect(spry_adapt_apply_delta(base, path, &applied, &again, &error));
        adapting_assert_same(applied, trained);
        spry_model_destroy(applied);
        spry_model_destroy(trained);
        spry_model_destroy(m);
        spry_adaptation_destroy(again);
        spry_adaptation_destroy(facts);
    }
    spry_model_destroy(base);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_trains_its_own),
        cmocka_unit_test(test_dead_adapter_shows),
        cmocka_unit_test(test_delta_is_all),
    };

    return cmocka_run_group_tests(tests, open_all, close_all);
}
