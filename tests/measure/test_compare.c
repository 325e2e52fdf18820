/* Differences against numbers worked out by hand. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "spry/compare.h"
#include "support/fault.h"
#include "support/proto.h"

static spry_tensor *wrap(float *values, int rank, const int64_t *shape, size_t count)
{
    spry_tensor *t = NULL;

    assert_int_equal(spry_tensor_wrap(NULL, SPRY_DTYPE_F32, rank, shape, values,
                                      count * sizeof *values, &t, NULL),
                     SPRY_OK);
    return t;
}

static void test_known_differences(void **state)
{
    float a[] = {1, 2, 3, 4, 0, -4};
    float b[] = {1, 2, 4, 4, 0, -4};
    float c[] = {3, 2, 1, 4, 0, -4};
    const int64_t shape[] = {2, 3};
    spry_tensor *ta = wrap(a, 2, shape, 6);
    spry_tensor *tb = wrap(b, 2, shape, 6);
    spry_tensor *tc = wrap(c, 2, shape, 6);
    spry_comparison *comparison = NULL;
    const spry_difference *rows = NULL;
    (void)state;

    assert_int_equal(spry_comparison_create(NULL, &comparison, NULL), SPRY_OK);
    assert_int_equal(spry_comparison_add(comparison, "equal", ta, ta, NULL), SPRY_OK);
    assert_int_equal(spry_comparison_add(comparison, "near", ta, tb, NULL), SPRY_OK);
    assert_int_equal(spry_comparison_add(comparison, "far", ta, tc, NULL), SPRY_OK);
    assert_int_equal(spry_comparison_rows(comparison, &rows), 3);
    assert_true(isinf(rows[0].sqnr_db) && rows[0].max_abs == 0 && rows[0].agreement == 1);
    assert_true(fabs(rows[0].cosine - 1) < 1e-12);
    assert_true(rows[1].max_abs == 1 && rows[1].range == 8 && rows[1].max_rel == 0.125);
    assert_true(fabs(rows[1].mean_abs - 1.0 / 6) < 1e-12);
    assert_true(fabs(rows[1].sqnr_db - 10 * log10(46.0)) < 1e-9);
    assert_true(fabs(rows[1].cosine - 49 / sqrt(46.0 * 53)) < 1e-12);
    assert_true(rows[2].agreement == 0.5 && rows[2].max_abs == 2);
    assert_true(rows[0].suspicion == 0 && rows[1].suspicion > 0 && rows[2].suspicion > 0);
    spry_comparison_destroy(comparison);
    spry_tensor_destroy(ta);
    spry_tensor_destroy(tb);
    spry_tensor_destroy(tc);
}

static void test_odd_elements(void **state)
{
    float a[] = {NAN, INFINITY, 1};
    float b[] = {NAN, INFINITY, 1};
    float c[] = {1, INFINITY, NAN};
    const int64_t shape[] = {3};
    const int64_t other_shape[] = {1, 3};
    spry_tensor *ta = wrap(a, 1, shape, 3);
    spry_tensor *tb = wrap(b, 1, shape, 3);
    spry_tensor *tc = wrap(c, 1, shape, 3);
    spry_tensor *td = wrap(c, 2, other_shape, 3);
    spry_comparison *comparison = NULL;
    const spry_difference *rows = NULL;
    (void)state;

    assert_int_equal(spry_comparison_create(NULL, &comparison, NULL), SPRY_OK);
    assert_int_equal(spry_comparison_add(comparison, "same", ta, tb, NULL), SPRY_OK);
    assert_int_equal(spry_comparison_add(comparison, "odd", ta, tc, NULL), SPRY_OK);
    assert_int_equal(spry_comparison_add(comparison, "shape", ta, td, NULL), SPRY_USAGE);
    assert_int_equal(spry_comparison_rows(comparison, &rows), 2);
    assert_true(rows[0].odd == 0 && rows[0].max_abs == 0);
    assert_true(rows[1].odd == 2 && isinf(rows[1].max_abs) && isinf(rows[1].max_rel));
    spry_comparison_destroy(comparison);
    spry_tensor_destroy(ta);
    spry_tensor_destroy(tb);
    spry_tensor_destroy(tc);
    spry_tensor_destroy(td);
}

/* Two runs under one name are one longer run; rows longer than a block are followed across it. */
static void test_runs_add_up(void **state)
{
    enum { COUNT = 1500 };
    static float a[COUNT];
    static float b[COUNT];
    const int64_t whole[] = {1, COUNT};
    const int64_t half[] = {1, COUNT / 2};
    spry_comparison *comparison = NULL;
    const spry_difference *rows = NULL;
    (void)state;

    for (int i = 0; i < COUNT; i++) {
        a[i] = (float)((i * 37) % 101) / 7;
        b[i] = a[i] + (float)((i * 13) % 11 - 5) / 100;
    }
    a[1400] = 100;
    b[1400] = 100;
    spry_tensor *t[] = {wrap(a, 2, whole, COUNT),
                        wrap(b, 2, whole, COUNT),
                        wrap(a, 2, half, COUNT / 2),
                        wrap(b, 2, half, COUNT / 2),
                        wrap(a + COUNT / 2, 2, half, COUNT / 2),
                        wrap(b + COUNT / 2, 2, half, COUNT / 2)};
    assert_int_equal(spry_comparison_create(NULL, &comparison, NULL), SPRY_OK);
    assert_int_equal(spry_comparison_add(comparison, "whole", t[0], t[1], NULL), SPRY_OK);
    assert_int_equal(spry_comparison_add(comparison, "halves", t[2], t[3], NULL), SPRY_OK);
    assert_int_equal(spry_comparison_add(comparison, "halves", t[4], t[5], NULL), SPRY_OK);
    assert_int_equal(spry_comparison_rows(comparison, &rows), 2);
    assert_int_equal(rows[0].elements, rows[1].elements);
    assert_true(rows[0].max_abs == rows[1].max_abs && rows[0].range == rows[1].range);
    assert_true(fabs(rows[0].sqnr_db - rows[1].sqnr_db) < 1e-9);
    assert_true(rows[0].agreement == 1);
    spry_comparison_destroy(comparison);
    for (int i = 0; i < 6; i++) {
        spry_tensor_destroy(t[i]);
    }
}

static spry_status compare_some(const spry_allocator *allocator, void *context, spry_error *error)
{
    static const char *const names[] = {"a", "b", "c", "d", "e", "f", "g", "h", "i", "a"};
    spry_comparison *comparison = NULL;
    const spry_difference *rows = NULL;
    spry_status status = spry_comparison_create(allocator, &comparison, error);

    for (size_t i = 0; status == SPRY_OK && i < sizeof names / sizeof names[0]; i++) {
        status = spry_comparison_add(comparison, names[i], context, context, error);
    }
    if (status == SPRY_OK) {
        assert_int_equal(spry_comparison_rows(comparison, &rows), 9);
        assert_string_equal(rows[8].name, "i");
    }
    spry_comparison_destroy(comparison);
    return status;
}

static spry_status expose_results(const spry_allocator *allocator, void *context, spry_error *error)
{
    const proto *file = context;
    spry_model *source = NULL;
    spry_model *exposed = NULL;
    spry_status status = spry_model_parse(allocator, file->data, file->size, NULL, &source, error);

    if (status == SPRY_OK) {
        status = spry_model_expose(source, source, &exposed, error);
    }
    if (status == SPRY_OK) {
        assert_int_equal(spry_model_output_count(exposed), 2);
    }
    spry_model_destroy(exposed);
    spry_model_destroy(source);
    return status;
}

/* No row may be lost in silence either: rows cannot say that they failed. */
static void test_memory_runs_out(void **state)
{
    const int64_t shape[] = {2, 2};
    float numbers[] = {1, 2, 3, 4};
    spry_tensor *t = wrap(numbers, 2, shape, 4);
    proto graph = {0};
    proto file = {0};
    (void)state;

    assert_true(fault_sweep(compare_some, t) > 3);
    spry_tensor_destroy(t);
    proto_node(&graph, 1, "Relu", "x", "a");
    proto_node(&graph, 1, "Neg", "a", "y");
    proto_value_info(&graph, 11, "x", SPRY_DTYPE_F32, 2, shape);
    proto_value_info(&graph, 12, "y", SPRY_DTYPE_F32, 2, shape);
    proto_model(&file, 8, 13, &graph);
    assert_true(fault_sweep(expose_results, &file) > 3);
    proto_fini(&file);
}

/* Is there an output of that name behind the first? */
static bool is_exposed(const spry_model *source, const spry_model *other, const char *name)
{
    spry_model *exposed = NULL;
    bool found = false;

    assert_int_equal(spry_model_expose(source, other, &exposed, NULL), SPRY_OK);
    for (int32_t i = 1; i < spry_model_output_count(exposed); i++) {
        spry_port port;

        assert_int_equal(spry_model_output(exposed, i, &port, NULL), SPRY_OK);
        found = found || strcmp(port.name, name) == 0;
    }
    spry_model_destroy(exposed);
    return found;
}

/* x -> Relu -> middle -> Neg -> y; or rounded on the way, under the names of two quantizers. */
static spry_model *parse_line(int kind)
{
    static const char *const before[] = {"middle", "middle", "other"};
    static const char *const after[] = {"middle", "middle_dequantized",
                                        "middle_DequantizeLinear_Output"};
    const int64_t shape[] = {2, 2};
    const float step = 0.5f;
    const uint8_t zero = 3;
    char names[64];
    proto body = {0};
    proto file = {0};
    spry_model *m = NULL;

    proto_node(&body, 1, "Relu", "x", before[kind]);
    if (kind > 0) {
        (void)snprintf(names, sizeof names, "%s step zero", before[kind]);
        proto_node(&body, 1, "QuantizeLinear", names, "codes");
        proto_node(&body, 1, "DequantizeLinear", "codes step zero", after[kind]);
        proto_tensor(&body, 5, "step", SPRY_DTYPE_F32, 0, NULL, &step, sizeof step);
        proto_tensor(&body, 5, "zero", SPRY_DTYPE_U8, 0, NULL, &zero, sizeof zero);
    }
    proto_node(&body, 1, "Neg", after[kind], "y");
    proto_value_info(&body, 11, "x", SPRY_DTYPE_F32, 2, shape);
    proto_value_info(&body, 12, "y", SPRY_DTYPE_F32, 2, shape);
    proto_model(&file, 8, 13, &body);
    assert_int_equal(spry_model_parse(NULL, file.data, file.size, NULL, &m, NULL), SPRY_OK);
    proto_fini(&file);
    return m;
}

static void test_rounded_names(void **state)
{
    spry_model *plain = parse_line(0);

    (void)state;
    assert_false(spry_model_is_quantized(plain));
    for (int kind = 1; kind < 3; kind++) {
        spry_model *rounded = parse_line(kind);

        assert_true(spry_model_is_quantized(rounded));
        assert_true(is_exposed(plain, rounded, "middle"));
        assert_true(is_exposed(rounded, plain, "middle"));
        assert_false(is_exposed(plain, rounded, "other"));
        spry_model_destroy(rounded);
    }
    spry_model_destroy(plain);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_known_differences), cmocka_unit_test(test_odd_elements),
        cmocka_unit_test(test_runs_add_up),       cmocka_unit_test(test_memory_runs_out),
        cmocka_unit_test(test_rounded_names),
    };

    return cmocka_run_group_tests_name("compare", tests, NULL, NULL);
}
