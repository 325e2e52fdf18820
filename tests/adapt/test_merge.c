/* LoRA: what it computes, and that merging it computes the same. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "model/model.h"
#include "support/adapting.h"
#include "support/data.h"
#include "support/net.h"

static void expect(spry_status status, const spry_error *error)
{
    if (status != SPRY_OK) {
        fail_msg("%s: %s", error->where, error->what);
    }
}

static int count_nodes(const spry_model *m, const char *type)
{
    int count = 0;

    for (int32_t i = 0; i < m->main->node_count; i++) {
        count += !m->main->nodes[i].removed && graph_node_is(&m->main->nodes[i], type);
    }
    return count;
}

/* ---- by hand ---- */

/* y = (x W) V with x = (1, 2), W = [[1, 2], [3, 4]], V the head. With rank 1, alpha 3, A = (1, -1),
 * B = (2, 1): s A B = 3 [[2, 1], [-2, -1]], W' = [[7, 5], [-3, 1]], x W' = (1, 7). */
static void test_by_hand(void **state)
{
    static const char *const targets[] = {"w"};
    const model_opset opset = {"", 13};
    spry_model base = {
        .path = "by hand", .ir_version = 7, .opsets = (model_opset *)&opset, .opset_count = 1};
    spry_adapt_options o = adapting_options("lora");
    spry_adaptation *facts = NULL;
    spry_model *m, *merged = NULL;
    spry_error error = {0};
    const char *const *names;
    const tensor *w;
    int64_t count;
    bool plain;
    float *x;
    net n;

    (void)state;
    net_init(&n, 13);
    net_input(&n, "x", SPRY_DTYPE_F32, 2, (int64_t[]){-1, 2});
    net_constant(&n, "w", SPRY_DTYPE_F32, 2, (int64_t[]){2, 2}, (float[]){1, 2, 3, 4});
    net_constant(&n, "v", SPRY_DTYPE_F32, 2, (int64_t[]){2, 2}, (float[]){1, 0, 0, 1});
    net_node(&n, "MatMul", "x w", "h");
    net_node(&n, "MatMul", "h v", "y");
    net_output(&n, "y");
    base.allocator = *spry_allocator_system();
    base.main = n.g;
    o.rank = 1;
    o.alpha = 3.0;
    o.targets = targets;
    o.target_count = 1;
    m = adapting_make(&base, &o, &facts);
    assert_int_equal(spry_adaptation_trainable(facts, &names), 3); /* and the head */
    x = adapting_tensor(m, names[0], &count);
    assert_int_equal(count, 2);
    memcpy(x, (float[]){1, -1}, 2 * sizeof *x);
    x = adapting_tensor(m, names[1], &count);
    memcpy(x, (float[]){2, 1}, 2 * sizeof *x);
    expect(spry_adapt_merge(m, &merged, &plain, &error), &error);
    assert_true(plain);
    assert_int_equal(count_nodes(merged, "MatMul"), 2);
    assert_int_equal(count_nodes(merged, "Add"), 0);
    w = graph_constant(merged->main, merged->main->nodes[0].inputs[1]);
    assert_memory_equal(w->data, ((float[]){7, 5, -3, 1}), 4 * sizeof(float));
    assert_true(adapting_difference(m, merged) < 1e-6);
    spry_model_destroy(merged);
    spry_adaptation_destroy(facts);
    spry_model_destroy(m);
    net_fini(&n);
}

/* ---- models ---- */

/* Trained as well as it goes by drawing, then merged: the same to rounding, the base's
 * operators. */
static void check_merge(const spry_model *base, const char *const *targets, int32_t count)
{
    spry_adapt_options o = adapting_options("lora");
    spry_adaptation *facts = NULL;
    spry_model *m, *merged = NULL, *loaded;
    spry_error error = {0};
    bool plain;

    o.targets = targets;
    o.target_count = count;
    m = adapting_make(base, &o, &facts);
    adapting_train(m, facts);
    assert_true(adapting_difference(m, base) > 1e-3);
    loaded = adapting_reload(m);
    adapting_assert_same(m, loaded);
    expect(spry_adapt_merge(loaded, &merged, &plain, &error), &error);
    assert_true(plain);
    assert_true(adapting_difference(merged, m) < 1e-5);
    assert_int_equal(count_nodes(merged, "MatMul"), count_nodes(base, "MatMul"));
    assert_int_equal(count_nodes(merged, "Conv"), count_nodes(base, "Conv"));
    assert_int_equal(count_nodes(merged, "Add"), count_nodes(base, "Add"));
    spry_adaptation_destroy(facts);
    assert_int_equal(spry_adaptation_of(merged, &facts, &error), SPRY_USAGE);
    spry_model_destroy(merged);
    spry_model_destroy(loaded);
    spry_model_destroy(m);
}

static void test_merges(void **state)
{
    static const char *const each[] = {"q", "k", "v", "o", "mlp", "linear"};
    static const char *const pairs[] = {"k", "v", "conv"};
    spry_model *base = adapting_vit(2);

    (void)state;
    check_merge(base, NULL, 0);
    for (size_t i = 0; i < sizeof each / sizeof each[0]; i++) {
        check_merge(base, &each[i], 1);
    }
    check_merge(base, pairs, 3);
    spry_model_destroy(base);
}

static void test_merges_convolutions(void **state)
{
    static const char *const targets[] = {"conv"};
    spry_model *base = NULL;
    spry_error error = {0};

    (void)state;
    expect(spry_architecture_create(NULL, "resnet20", NULL, &base, &error), &error);
    check_merge(base, targets, 1);
    spry_model_destroy(base);
}

/* As exporters write it: fused and split queries, keys and values, operator sets 9 to 20. */
static void test_merges_exported(void **state)
{
    static const char *const files[] = {"cifar10-vit/vit_d64_preln.onnx",
                                        "cifar10-vit/vit_d128_postln.onnx",
                                        "onnx-real/vit_pgd_2_3_16.onnx"};

    (void)state;
    for (size_t i = 0; i < sizeof files / sizeof files[0]; i++) {
        spry_model *base = NULL;
        spry_error error = {0};

        expect(spry_model_load(NULL, data_path(files[i]), &base, &error), &error);
        check_merge(base, NULL, 0);
        spry_model_destroy(base);
    }
}

static void test_keeps_what_is_graph(void **state)
{
    static const char *const methods[] = {"adapter", "prompt", "bias", "head", "full"};
    spry_model *base = adapting_vit(2);

    (void)state;
    for (size_t i = 0; i < sizeof methods / sizeof methods[0]; i++) {
        spry_adapt_options o = adapting_options(methods[i]);
        spry_adaptation *facts = NULL;
        spry_model *m = adapting_make(base, &o, &facts);
        spry_model *merged = NULL;
        spry_error error = {0};
        bool plain;

        adapting_train(m, facts);
        expect(spry_adapt_merge(m, &merged, &plain, &error), &error);
        assert_true(plain == (i >= 2));
        adapting_assert_same(merged, m);
        spry_model_destroy(merged);
        spry_model_destroy(m);
        spry_adaptation_destroy(facts);
    }
    spry_model_destroy(base);
}

/* Metadata that somebody has changed: an error, and no model. */
static void test_refuses_wrong_metadata(void **state)
{
    static const char *const lies[] = {
        "{}",
        "{\"schema\":1",
        "{\"schema\":1,\"method\":\"lora\",\"base\":\"ab\"}",
    };
    static const char frame[] =
        "{\"schema\":1,\"method\":\"lora\",\"base\":\"0123456789012345678901234567890123456789"
        "012345678901234567890123\",\"rank\":3,\"alpha\":1,\"prompts\":0,\"shallow\":false,"
        "\"targets\":[],\"classes\":0,\"zero_head\":false,\"seed\":0,\"total\":1,"
        "\"trainable\":[%s],\"nodes\":[],\"products\":[{\"sum\":\"%s\",\"a\":\"%s\",\"b\":\"%s\","
        "\"first\":%d,\"count\":8,\"scale\":1}]}";
    spry_model *base = adapting_vit(1);
    spry_adapt_options o = adapting_options("lora");
    spry_adaptation *facts = NULL;
    spry_model *m = adapting_make(base, &o, &facts);
    spry_model *merged = NULL;
    spry_error error = {0};
    const char *const *names;
    char text[2048];
    bool plain;

    (void)state;
    assert_true(spry_adaptation_trainable(facts, &names) > 2);
    for (int i = 0; i < 7; i++) {
        const char *sum = i == 3 ? "nowhere" : "blocks.0.attn.qkv_lora_sum";

        if (i < 3) {
            (void)snprintf(text, sizeof text, "%s", lies[i]);
        } else {
            (void)snprintf(text, sizeof text, frame, i == 4 ? "\"nowhere\"" : "", sum,
                           i == 5 ? "head.weight" : names[0], i == 6 ? names[0] : names[1],
                           i == 6 ? 2147483647 : 0);
        }
        m->metadata[m->metadata_count - 1].text = text;
        assert_int_equal(spry_adapt_merge(m, &merged, &plain, &error), SPRY_BAD_INPUT);
        assert_null(merged);
    }
    spry_adaptation_destroy(facts);
    spry_model_destroy(m);
    spry_model_destroy(base);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_by_hand),
        cmocka_unit_test(test_merges),
        cmocka_unit_test(test_merges_convolutions),
        cmocka_unit_test(test_merges_exported),
        cmocka_unit_test(test_keeps_what_is_graph),
        cmocka_unit_test(test_refuses_wrong_metadata),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
