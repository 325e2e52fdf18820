/* Methods as a whole: how many parameters they train, that they start where the base is, what they
 * say of themselves, and what they refuse. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "adapt/method.h"
#include "model/model.h"
#include "support/adapting.h"
#include "support/fault.h"

static void expect(spry_status status, const spry_error *error)
{
    if (status != SPRY_OK) {
        fail_msg("%s: %s", error->where, error->what);
    }
}

/* Without the hash of the base, which takes longer than all else with large models. */
static int64_t trained(const spry_model *base, const char *method, int64_t classes)
{
    spry_adapt_options o = spry_adapt_options_default();
    spry_error error = {0};
    int64_t count = 0;
    rewrite job;

    o.method = method;
    o.classes = classes;
    expect(rewrite_open(&job, base, &o, &error), &error);
    expect(adapt_method_run(&job, &error), &error);
    for (int32_t i = 0; i < job.trainable_count; i++) {
        count += tensor_count(job.g->values[job.trainable[i]].constant);
    }
    rewrite_close(&job);
    return count;
}

/* ---- published arithmetic ---- */

/* Counts of a ViT with 16x16 patches of 224x224 images. All of them are linear in the number of
 * blocks, so models of one and two blocks say what deep ones have. */
typedef struct counts {
    const char *name;
    int64_t depth, classes;
    int64_t full, head, bias, adapter, prompt, lora;
} counts;

static const counts published[] = {
    {"vit-tiny", 12, 100, 5543716, 19300, 45028, 58564, 42340, 93028},
    {"vit-small", 12, 100, 21704164, 38500, 89956, 116932, 84580, 185956},
    {"vit-base", 12, 100, 85875556, 76900, 179812, 233668, 169060, 371812},
    {"vit-base", 12, 45, 85833261, 34605, 137517, 191373, 126765, 329517},
    {"vit-base", 12, 2, 85800194, 1538, 104450, 158306, 93698, 296450},
    {"vit-large", 24, 100, 303404132, 102500, 374884, 520484, 348260, 888932},
};

static int64_t extrapolate(spry_model *const models[2], const counts *c, const char *method)
{
    int64_t one = trained(models[0], method, c->classes);

    return one + (c->depth - 1) * (trained(models[1], method, c->classes) - one);
}

static void check_counts(spry_model *const models[2], const counts *c)
{
    assert_int_equal(extrapolate(models, c, "full"), c->full);
    assert_int_equal(extrapolate(models, c, "head"), c->head);
    assert_int_equal(extrapolate(models, c, "bias"), c->bias);
    assert_int_equal(extrapolate(models, c, "adapter"), c->adapter);
    assert_int_equal(extrapolate(models, c, "prompt"), c->prompt);
    assert_int_equal(extrapolate(models, c, "lora"), c->lora);
}

static void test_counts(void **state)
{
    const size_t rows = sizeof published / sizeof published[0];
    size_t i = 0;

    (void)state;
    while (i < rows) {
        const char *name = published[i].name;
        spry_model *models[2];
        spry_error error = {0};

        for (int64_t depth = 1; depth <= 2; depth++) {
            spry_architecture_options o = spry_architecture_options_default();

            o.depth = depth;
            o.classes = 7; /* replaced */
            expect(spry_architecture_create(NULL, name, &o, &models[depth - 1], &error), &error);
        }
        for (; i < rows && strcmp(published[i].name, name) == 0; i++) {
            check_counts(models, &published[i]);
        }
        spry_model_destroy(models[0]);
        spry_model_destroy(models[1]);
    }
}

/* Ten classes and five prompts, shallow and deep: 11,530 and 53,770 for ViT-B, by another
 * implementation of prompts. The counts are linear in width, so narrow models do. */
static void test_counts_prompts(void **state)
{
    const int64_t width = 8, depth = 12, classes = 10, prompts = 5;
    spry_model *base = adapting_vit(depth);

    (void)state;
    for (int shallow = 0; shallow < 2; shallow++) {
        spry_adapt_options o = adapting_options("prompt");
        spry_adaptation *facts = NULL;
        int64_t trainable;
        int64_t total;
        spry_model *m;

        o.prompts = (int32_t)prompts;
        o.shallow = shallow != 0;
        o.classes = classes;
        m = adapting_make(base, &o, &facts);
        spry_adaptation_counts(facts, &trainable, &total);
        assert_int_equal(trainable,
                         prompts * width * (shallow ? 1 : depth) + classes * (width + 1));
        spry_adaptation_destroy(facts);
        spry_model_destroy(m);
    }
    spry_model_destroy(base);
}

/* ---- where they start ---- */

static void test_starts_at_base(void **state)
{
    static const char *const methods[] = {"lora", "adapter", "bias", "head", "full"};
    static const char *const all[] = {"linear", "conv"};
    spry_model *base = adapting_vit(3);

    (void)state;
    for (size_t i = 0; i < sizeof methods / sizeof methods[0]; i++) {
        spry_adapt_options o = adapting_options(methods[i]);
        spry_adaptation *facts = NULL;
        spry_model *m = adapting_make(base, &o, &facts);
        spry_model *loaded = adapting_reload(m);

        adapting_assert_same(m, base);
        adapting_assert_same(loaded, base);
        spry_model_destroy(loaded);
        spry_model_destroy(m);
        spry_adaptation_destroy(facts);
        if (i == 0) {
            o.targets = all;
            o.target_count = 2;
            m = adapting_make(base, &o, &facts);
            adapting_assert_same(m, base);
            spry_model_destroy(m);
            spry_adaptation_destroy(facts);
        }
    }
    spry_model_destroy(base);
}

/* A gradient can reach every trained tensor: of two factors in a row, one is not zero. */
static void test_no_dead_factors(void **state)
{
    static const char *const methods[] = {"lora", "adapter"};
    spry_model *base = adapting_vit(2);

    (void)state;
    for (size_t i = 0; i < 2; i++) {
        spry_adapt_options o = adapting_options(methods[i]);
        spry_adaptation *facts = NULL;
        spry_model *m = adapting_make(base, &o, &facts);
        const char *const *names;
        int32_t count = spry_adaptation_trainable(facts, &names);
        int alive = 0;

        for (int32_t k = 0; k < count; k++) {
            const tensor *t = m->main->values[graph_find_value(m->main, names[k])].constant;
            const float *x = t->data;

            if (strstr(names[k], "adapter_down_weight") != NULL ||
                (strstr(names[k], "lora_") != NULL && names[k][strlen(names[k]) - 1] == 'a')) {
                assert_true(x[0] != 0.0f && x[tensor_count(t) - 1] != 0.0f);
                alive++;
            }
        }
        assert_int_equal(alive, i == 0 ? 4 : 2);
        spry_model_destroy(m);
        spry_adaptation_destroy(facts);
    }
    spry_model_destroy(base);
}

/* ---- heads ---- */

static void test_new_head(void **state)
{
    spry_model *base = adapting_vit(1);
    spry_adapt_options o = adapting_options("head");
    spry_adaptation *facts = NULL;
    int64_t count;
    spry_model *m;
    float *y;

    (void)state;
    o.classes = 9;
    m = adapting_make(base, &o, &facts);
    y = adapting_run(m, 1, &count);
    assert_int_equal(count, 2 * 9);
    free(y);
    spry_model_destroy(m);
    spry_adaptation_destroy(facts);
    o.zero_head = true;
    m = adapting_make(base, &o, &facts);
    y = adapting_run(m, 1, &count);
    for (int64_t i = 0; i < count; i++) {
        assert_true(y[i] == 0.0f);
    }
    free(y);
    spry_model_destroy(m);
    spry_adaptation_destroy(facts);
    spry_model_destroy(base);
}

static void test_new_head_of_cnn(void **state)
{
    static const char *const names[] = {"resnet20", "small-cnn", "lenet", "mlp"};

    (void)state;
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        spry_error error = {0};
        spry_model *base = NULL;
        int64_t count;
        float *y;

        expect(spry_architecture_create(NULL, names[i], NULL, &base, &error), &error);
        spry_adapt_options o = adapting_options("bias");
        spry_adaptation *facts = NULL;
        o.classes = 3;
        spry_model *m = adapting_make(base, &o, &facts);
        y = adapting_run(m, 1, &count);
        assert_int_equal(count, 2 * 3);
        free(y);
        spry_model_destroy(m);
        spry_adaptation_destroy(facts);
        spry_model_destroy(base);
    }
}

/* ---- facts ---- */

static void test_facts_survive_file(void **state)
{
    static const char *const targets[] = {"q", "o", "mlp"};
    spry_model *base = adapting_vit(2);
    spry_adapt_options o = adapting_options("lora");
    spry_adaptation *facts = NULL, *again = NULL;
    const char *const *a, *const *b;
    int64_t numbers[4];
    spry_error error = {0};

    (void)state;
    o.targets = targets;
    o.target_count = 3;
    o.seed = UINT64_MAX - 5;
    o.alpha = 3.75;
    spry_model *m = adapting_make(base, &o, &facts);
    spry_model *loaded = adapting_reload(m);
    expect(spry_adaptation_of(loaded, &again, &error), &error);
    assert_string_equal(spry_adaptation_method(again), "lora");
    assert_string_equal(spry_adaptation_base_hash(again), spry_adaptation_base_hash(facts));
    assert_true(spry_adaptation_options(again)->seed == o.seed);
    assert_true(spry_adaptation_options(again)->alpha == o.alpha);
    assert_int_equal(spry_adaptation_options(again)->target_count, 3);
    assert_string_equal(spry_adaptation_options(again)->targets[2], "mlp");
    assert_int_equal(spry_adaptation_trainable(facts, &a), spry_adaptation_trainable(again, &b));
    for (int32_t i = 0; i < spry_adaptation_trainable(facts, &a); i++) {
        assert_string_equal(a[i], b[i]);
    }
    assert_int_equal(spry_adaptation_nodes(facts, &a), spry_adaptation_nodes(again, &b));
    spry_adaptation_counts(facts, &numbers[0], &numbers[1]);
    spry_adaptation_counts(again, &numbers[2], &numbers[3]);
    assert_int_equal(numbers[0], numbers[2]);
    assert_int_equal(numbers[1], numbers[3]);
    /* q, o, up and down of two blocks, and the head. */
    assert_int_equal(numbers[0], 2 * 3 * (8 + 8 + 8 + 8 + 2 * (8 + 32)) + 8 * 5 + 5);
    spry_adaptation_destroy(again);
    spry_adaptation_destroy(facts);
    spry_model_destroy(loaded);
    spry_model_destroy(m);
    spry_model_destroy(base);
}

/* ---- refusals ---- */

static void refuse(const spry_model *base, const spry_adapt_options *o, spry_status status,
                   const char *says)
{
    spry_model *m = NULL;
    spry_adaptation *facts = NULL;
    spry_error error = {0};

    assert_int_equal(spry_adapt(base, o, &m, &facts, &error), status);
    assert_null(m);
    assert_null(facts);
    if (strstr(error.what, says) == NULL) {
        fail_msg("\"%s\" does not say \"%s\"", error.what, says);
    }
}

static void test_refuses(void **state)
{
    static const char *const nothing[] = {"no.such.*"};
    spry_model *base = adapting_vit(1);
    spry_model *cnn = NULL;
    spry_adapt_options o = adapting_options("lora");
    spry_adaptation *facts = NULL;
    spry_error error = {0};
    spry_model *m;

    (void)state;
    expect(spry_architecture_create(NULL, "small-cnn", NULL, &cnn, &error), &error);
    refuse(cnn, &o, SPRY_UNSUPPORTED, "no attention");
    o.method = "adapter";
    refuse(cnn, &o, SPRY_UNSUPPORTED, "no MLP");
    o.method = "prompt";
    refuse(cnn, &o, SPRY_UNSUPPORTED, "no blocks of attention");
    spry_model_destroy(cnn);

    o.method = "sorcery";
    refuse(base, &o, SPRY_USAGE, "no such method");
    o = adapting_options("lora");
    o.rank = 0;
    refuse(base, &o, SPRY_USAGE, "rank");
    o = adapting_options("lora");
    o.alpha = 0.0;
    refuse(base, &o, SPRY_USAGE, "alpha");
    o = adapting_options("lora");
    o.classes = 1;
    refuse(base, &o, SPRY_USAGE, "classes");
    o = adapting_options("prompt");
    o.prompts = -1;
    refuse(base, &o, SPRY_USAGE, "prompts");
    o = adapting_options("lora");
    o.targets = nothing;
    o.target_count = 1;
    refuse(base, &o, SPRY_USAGE, "no linear operator");
    o.struct_size = 0;
    refuse(base, &o, SPRY_USAGE, "not initialised");

    o = adapting_options("bias");
    m = adapting_make(base, &o, &facts);
    refuse(m, &o, SPRY_BAD_INPUT, "adapted already");
    spry_adaptation_destroy(facts);
    assert_int_equal(spry_adaptation_of(base, &facts, &error), SPRY_USAGE);
    assert_null(facts);
    spry_model_destroy(m);
    spry_model_destroy(base);
}

/* ---- memory ---- */

static spry_status adapt_once(const spry_allocator *allocator, void *context, spry_error *error)
{
    spry_model *base = NULL;
    spry_model *m = NULL;
    spry_adaptation *facts = NULL;
    spry_adapt_options o = adapting_options(context);
    spry_architecture_options a = spry_architecture_options_default();
    spry_status status;

    a.height = a.width = 8;
    a.patch = 4;
    a.units = 4;
    a.heads = 1;
    a.depth = 1;
    a.classes = 2;
    o.allocator = allocator;
    status = spry_architecture_create(allocator, "vit-cifar", &a, &base, error);
    if (status == SPRY_OK) {
        status = spry_adapt(base, &o, &m, &facts, error);
    }
    spry_adaptation_destroy(facts);
    spry_model_destroy(m);
    spry_model_destroy(base);
    return status;
}

static void test_memory_runs_out(void **state)
{
    static char methods[][8] = {"lora", "adapter", "bias", "prompt", "head", "full"};

    (void)state;
    for (size_t i = 0; i < sizeof methods / sizeof methods[0]; i++) {
        assert_true(fault_sweep(adapt_once, methods[i]) > 10);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_counts),
        cmocka_unit_test(test_counts_prompts),
        cmocka_unit_test(test_starts_at_base),
        cmocka_unit_test(test_no_dead_factors),
        cmocka_unit_test(test_new_head),
        cmocka_unit_test(test_new_head_of_cnn),
        cmocka_unit_test(test_facts_survive_file),
        cmocka_unit_test(test_refuses),
        cmocka_unit_test(test_memory_runs_out),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
