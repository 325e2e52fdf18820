/* Who gets which bits: patterns, order, names, shared weights. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "quantize/assignment.h"
#include "spry/model.h"
#include "support/proto.h"

enum { SIDE = 4 };

/* x -> MatMul(w) -> MatMul(w) -> Gemm(v) -> y, the nodes without names. */
static spry_model *make_model(void)
{
    const int64_t shape[] = {SIDE, SIDE};
    const int64_t free_shape[] = {-1, SIDE};
    float weights[SIDE * SIDE];
    proto body = {0};
    proto file = {0};
    spry_model *m = NULL;

    for (int i = 0; i < SIDE * SIDE; i++) {
        weights[i] = (float)(i * 7 % 11 - 5) * 0.1f;
    }
    proto_node(&body, 1, "MatMul", "x w", "a");
    proto_node(&body, 1, "MatMul", "a w", "b");
    proto_node(&body, 1, "Gemm", "b v", "y");
    proto_tensor(&body, 5, "w", SPRY_DTYPE_F32, 2, shape, weights, sizeof weights);
    proto_tensor(&body, 5, "v", SPRY_DTYPE_F32, 2, shape, weights, sizeof weights);
    proto_value_info(&body, 11, "x", SPRY_DTYPE_F32, 2, free_shape);
    proto_value_info(&body, 12, "y", SPRY_DTYPE_F32, 2, free_shape);
    proto_model(&file, 10, 13, &body);
    assert_int_equal(spry_model_parse(NULL, file.data, file.size, NULL, &m, NULL), SPRY_OK);
    proto_fini(&file);
    return m;
}

/* Quantizes and checks bits of the rows, 0 ending them; then how many operators stay f32. */
static void check(const spry_quantize_assignment *assignments, int32_t count, const char *excluded,
                  const int *bits, int32_t skipped)
{
    spry_quantize_options options = spry_quantize_options_default();
    spry_model *source = make_model();
    spry_model *made = NULL;
    spry_quantization *facts = NULL;
    const spry_quantize_row *rows;
    const spry_quantize_skip *skips;
    spry_error error = {0};

    options.assignments = assignments;
    options.assignment_count = count;
    options.exclude = &excluded;
    options.exclude_count = excluded != NULL;
    if (spry_quantize(source, &options, &made, &facts, &error) != SPRY_OK) {
        fail_msg("%s: %s", error.where, error.what);
    }
    int32_t row_count = spry_quantization_rows(facts, &rows);
    for (int32_t i = 0; i < row_count; i++) {
        assert_int_equal(rows[i].bits, bits[i]);
    }
    assert_int_equal(bits[row_count], 0);
    assert_int_equal(spry_quantization_skipped(facts, &skips), skipped);
    spry_quantization_destroy(facts);
    spry_model_destroy(made);
    spry_model_destroy(source);
}

static void last_rule_decides(void **state)
{
    const spry_quantize_assignment rules[] = {
        {.weight_bits = 4, .activation_bits = SPRY_QUANTIZE_AS_ASKED},
        {.type = "Gemm", .weight_bits = 3, .activation_bits = SPRY_QUANTIZE_AS_ASKED},
        {.node = "Gemm*", .weight_bits = SPRY_QUANTIZE_AS_ASKED, .activation_bits = 0},
        {.node = "Gemm #2", .weight_bits = 6, .activation_bits = SPRY_QUANTIZE_AS_ASKED},
    };

    (void)state;
    check(NULL, 0, NULL, (const int[]){8, 8, 0}, 0);
    check(rules, 1, NULL, (const int[]){4, 4, 0}, 0);
    check(rules, 3, NULL, (const int[]){4, 3, 0}, 0);
    check(rules, 4, NULL, (const int[]){4, 6, 0}, 0);
    check(rules, 4, "Gemm #2", (const int[]){4, 0}, 1);
}

/* Two operators share w: where their bits differ, each has its own. */
static void shared_weights(void **state)
{
    const spry_quantize_assignment first[] = {
        {.node = "MatMul #0", .weight_bits = 4, .activation_bits = SPRY_QUANTIZE_AS_ASKED}};

    (void)state;
    check(first, 1, NULL, (const int[]){4, 8, 8, 0}, 0);
    check(first, 1, "MatMul #0", (const int[]){8, 8, 0}, 1);
    check(first, 1, "MatMul #1", (const int[]){4, 8, 0}, 1);
    check(NULL, 0, "MatMul*", (const int[]){8, 0}, 2);
}

static void check_refused(const spry_quantize_assignment *a, const char *what)
{
    spry_quantize_options options = spry_quantize_options_default();
    spry_model *source = make_model();
    spry_model *made = NULL;
    spry_quantization *facts = NULL;
    spry_error error = {0};

    options.assignments = a;
    options.assignment_count = 1;
    assert_int_equal(spry_quantize(source, &options, &made, &facts, &error), SPRY_USAGE);
    assert_non_null(strstr(error.what, what));
    spry_model_destroy(source);
}

static void refusals(void **state)
{
    (void)state;
    check_refused(&(spry_quantize_assignment){.node = "MatMul #9", .weight_bits = 4}, "called so");
    check_refused(&(spry_quantize_assignment){.weight_bits = 1}, "1 bits");
    check_refused(&(spry_quantize_assignment){.weight_bits = 9}, "9 bits");
    check_refused(&(spry_quantize_assignment){.weight_bits = 4, .activation_bits = 9}, "9 bits");
}

/* ---- files ---- */

static spry_status load(const char *body, spry_quantize_recipe **recipe, spry_error *error)
{
    char path[] = "/tmp/recipe_XXXXXX";
    int file = mkstemp(path);
    spry_status status;

    assert_true(file >= 0);
    assert_int_equal(write(file, body, strlen(body)), strlen(body));
    assert_int_equal(close(file), 0);
    status = spry_quantize_recipe_load(NULL, path, recipe, error);
    (void)unlink(path);
    return status;
}

static void recipes(void **state)
{
    static const char *const wrong[] = {
        "[]",
        "{}",
        "{\"rules\": {}}",
        "{\"rules\": [4]}",
        "{\"rules\": [{\"bits\": 4}]}",
        "{\"rules\": [{\"weight_bits\": 9}]}",
        "{\"rules\": [{\"weight_bits\": \"4\"}]}",
        "{\"rules\": [{\"name\": 3}]}",
        "{\"rules\": [{\"excluded\": true, \"weight_bits\": 4}]}",
        "{\"rules\": [",
    };
    const spry_quantize_assignment *rules;
    spry_quantize_recipe *recipe = NULL;
    spry_error error = {0};

    (void)state;
    assert_int_equal(
        load("{\"rules\": [{\"weight_bits\": 4}, {\"type\": \"Gemm\", \"excluded\": true},"
             " {\"name\": \"a*\", \"weight_bits\": 6, \"activation_bits\": 0}]}",
             &recipe, &error),
        SPRY_OK);
    assert_int_equal(spry_quantize_recipe_rules(recipe, &rules), 3);
    assert_null(rules[0].node);
    assert_null(rules[0].type);
    assert_int_equal(rules[0].weight_bits, 4);
    assert_int_equal(rules[0].activation_bits, SPRY_QUANTIZE_AS_ASKED);
    assert_string_equal(rules[1].type, "Gemm");
    assert_int_equal(rules[1].weight_bits, 0);
    assert_string_equal(rules[2].node, "a*");
    assert_int_equal(rules[2].weight_bits, 6);
    assert_int_equal(rules[2].activation_bits, 0);
    spry_quantize_recipe_destroy(recipe);
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        assert_int_equal(load(wrong[i], &recipe, &error), SPRY_BAD_INPUT);
        assert_null(recipe);
    }
    assert_int_equal(spry_quantize_recipe_load(NULL, "/nowhere/recipe", &recipe, &error), SPRY_IO);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(last_rule_decides),
        cmocka_unit_test(shared_weights),
        cmocka_unit_test(refusals),
        cmocka_unit_test(recipes),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
