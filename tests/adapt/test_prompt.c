/* Prompts: where they are in the sequence, and that nothing else moves. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "adapt/rewrite.h"
#include "model/match.h"
#include "model/model.h"
#include "support/adapting.h"
#include "support/data.h"

enum { TOKENS = 5, PROMPTS = 4, WIDTH = 8, BLOCKS = 3 };

static void expect(spry_status status, const spry_error *error)
{
    if (status != SPRY_OK) {
        fail_msg("%s: %s", error->where, error->what);
    }
}

static spry_model *make(const spry_model *base, int32_t prompts, bool shallow)
{
    spry_adapt_options o = adapting_options("prompt");
    spry_adaptation *facts = NULL;
    spry_model *m;

    o.prompts = prompts;
    o.shallow = shallow;
    m = adapting_make(base, &o, &facts);
    spry_adaptation_destroy(facts);
    return m;
}

static void test_none_is_base(void **state)
{
    spry_model *base = adapting_vit(2);
    spry_model *m = make(base, 0, false);

    (void)state;
    adapting_assert_same(m, base);
    spry_model_destroy(m);
    spry_model_destroy(base);
}

/* Each block reads and gives 1 + P + n tokens; the classifier reads the class token. */
static void check_lengths(bool shallow)
{
    spry_model *base = adapting_vit(BLOCKS);
    spry_model *m = make(base, PROMPTS, shallow);
    spry_error error = {0};
    rewrite look;
    int joins = 0;

    expect(rewrite_open(&look, m, NULL, &error), &error);
    assert_int_equal(look.found.attention_count, BLOCKS);
    for (int32_t i = 0; i < BLOCKS; i++) {
        const structure_residual *r = &look.found.attentions[i].around;
        const int32_t ends[] = {r->stream, r->sum};

        for (int k = 0; k < 2; k++) {
            const graph_type *type = &look.s->values[ends[k]].type;

            assert_int_equal(type->rank, 3);
            assert_int_equal(type->dims[1].size, TOKENS + PROMPTS);
            assert_int_equal(type->dims[2].size, WIDTH);
        }
    }
    for (int32_t i = 0; i < look.s->node_count; i++) {
        const graph_node *n = &look.s->nodes[i];

        joins += graph_node_is(n, "Concat") && n->input_count == 3 &&
                 look.s->values[n->outputs[0]].type.rank == 3;
    }
    assert_int_equal(joins, shallow ? 1 : BLOCKS);
    rewrite_close(&look);
    spry_model_destroy(m);
    spry_model_destroy(base);
}

static void test_lengths(void **state)
{
    (void)state;
    check_lengths(false);
    check_lengths(true);
}

/* Every block's prompts reach the output: changing one changes it. Those of later blocks change
 * nothing that comes before them, so they are all different inputs of the network. */
static void test_all_prompts_count(void **state)
{
    spry_model *base = adapting_vit(BLOCKS);
    spry_model *m = make(base, PROMPTS, false);
    spry_adaptation *facts = NULL;
    spry_error error = {0};
    const char *const *names;
    int prompts = 0;

    (void)state;
    expect(spry_adaptation_of(m, &facts, &error), &error);
    for (int32_t i = 0; i < spry_adaptation_trainable(facts, &names); i++) {
        int64_t count;
        float *x, before, *changed;
        spry_model *reference;

        if (strstr(names[i], "prompt") == NULL) {
            continue;
        }
        x = adapting_tensor(m, names[i], &count);
        assert_int_equal(count, PROMPTS * WIDTH);
        reference = adapting_reload(m);
        changed = &x[count - 1];
        before = *changed;
        *changed += 0.5f;
        assert_true(adapting_difference(m, reference) > 0.0);
        *changed = before;
        adapting_assert_same(m, reference);
        spry_model_destroy(reference);
        prompts++;
    }
    assert_int_equal(prompts, BLOCKS);
    spry_adaptation_destroy(facts);
    spry_model_destroy(m);
    spry_model_destroy(base);
}

/* As exporters write vision transformers: shapes written down or computed, with and without a class
 * token, norms before or after. */
static void test_exported_models(void **state)
{
    static const char *const files[] = {
        "cifar10-vit/vit_d64_preln.onnx", "cifar10-vit/vit_d128_postln.onnx",
        "onnx-real/cct2_32x32_opset20.onnx", "onnx-real/vit_pgd_2_3_16.onnx"};

    (void)state;
    for (size_t i = 0; i < sizeof files / sizeof files[0]; i++) {
        spry_error error = {0};
        spry_model *base = NULL;
        spry_model *m, *loaded;

        expect(spry_model_load(NULL, data_path(files[i]), &base, &error), &error);
        m = make(base, 3, false);
        loaded = adapting_reload(m);
        adapting_assert_same(m, loaded);
        assert_true(adapting_difference(m, base) > 1e-6);
        spry_model_destroy(loaded);
        spry_model_destroy(m);
        m = make(base, 0, false);
        adapting_assert_same(m, base);
        spry_model_destroy(m);
        spry_model_destroy(base);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_none_is_base),
        cmocka_unit_test(test_lengths),
        cmocka_unit_test(test_all_prompts_count),
        cmocka_unit_test(test_exported_models),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
