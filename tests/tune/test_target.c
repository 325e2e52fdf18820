/* Descriptions of machines: units are read and demanded, keys of others are left to them, mistyped
 * ones are refused by name. */
#define _GNU_SOURCE
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "support/data.h"
#include "support/fault.h"
#include "tune/target.h"

static double quantity(const char *string, quantity_unit unit)
{
    double value = NAN;

    assert_int_equal(quantity_parse(string, unit, &value), QUANTITY_FINE);
    return value;
}

static void is_near(double a, double b)
{
    if (!(fabs(a - b) <= 1e-12 * fabs(b))) {
        fail_msg("%.17g is not %.17g", a, b);
    }
}

static void reads_units(void **state)
{
    (void)state;
    is_near(quantity("1.5 GHz", UNIT_HERTZ), 1.5e9);
    is_near(quantity("700 GB/s", UNIT_BYTES_PER_SECOND), 700e9);
    is_near(quantity("25.6GB/s", UNIT_BYTES_PER_SECOND), 25.6e9);
    is_near(quantity("8 Gb/s", UNIT_BYTES_PER_SECOND), 1e9);
    is_near(quantity("40 KiB", UNIT_BYTES), 40960);
    is_near(quantity("1 MiB", UNIT_BITS), 8388608);
    is_near(quantity("8 us", UNIT_SECONDS), 8e-6);
    is_near(quantity("8 \xc2\xb5s", UNIT_SECONDS), 8e-6);
    is_near(quantity("3 ms", UNIT_SECONDS), 3e-3);
    is_near(quantity("3.2 pJ/b", UNIT_JOULES_PER_BIT), 3.2e-12);
    is_near(quantity("3.9pJ/bit", UNIT_JOULES_PER_BIT), 3.9e-12);
    is_near(quantity("8 pJ/B", UNIT_JOULES_PER_BIT), 1e-12);
    is_near(quantity("0.1 pJ/b/mm", UNIT_JOULES_PER_BIT_METER), 1e-10);
    is_near(quantity("0.3 pJ/MAC", UNIT_JOULES_PER_OPERATION), 0.15e-12);
    is_near(quantity("2 TFLOP/s", UNIT_OPERATIONS_PER_SECOND), 2e12);
    is_near(quantity("64 B/cycle", UNIT_BYTES_PER_CYCLE), 64);
    is_near(quantity("80 W", UNIT_WATTS), 80);
    is_near(quantity("1 J/s", UNIT_WATTS), 1);
    is_near(quantity("1024 nW/KiB", UNIT_WATTS_PER_BYTE), 1e-9);
    is_near(quantity("2e3 m", UNIT_METERS), 2000);
    is_near(quantity("-1e-3", UNIT_ONE), -1e-3);
}

static void refuses_other_units(void **state)
{
    static const struct {
        const char *string;
        quantity_unit unit;
        quantity_problem problem;
    } cases[] = {
        {"", UNIT_SECONDS, QUANTITY_NO_NUMBER},
        {"fast", UNIT_SECONDS, QUANTITY_NO_NUMBER},
        {"1.2.3 s", UNIT_SECONDS, QUANTITY_NO_NUMBER},
        {"nan s", UNIT_SECONDS, QUANTITY_NO_NUMBER},
        {"1e999 s", UNIT_SECONDS, QUANTITY_NO_NUMBER},
        {"5", UNIT_SECONDS, QUANTITY_NO_UNIT},
        {"5 ", UNIT_SECONDS, QUANTITY_NO_UNIT},
        {"5 sec", UNIT_SECONDS, QUANTITY_UNKNOWN_UNIT},
        {"5 KB", UNIT_BYTES, QUANTITY_UNKNOWN_UNIT},
        {"5 Kis", UNIT_SECONDS, QUANTITY_UNKNOWN_UNIT},
        {"5 B/", UNIT_BYTES, QUANTITY_UNKNOWN_UNIT},
        {"5 GB", UNIT_BYTES_PER_SECOND, QUANTITY_OTHER_UNIT},
        {"5 GHz", UNIT_SECONDS, QUANTITY_OTHER_UNIT},
        {"5 s", UNIT_ONE, QUANTITY_OTHER_UNIT},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        double value = 77;

        assert_int_equal(quantity_parse(cases[i].string, cases[i].unit, &value), cases[i].problem);
        assert_true(value == 77);
    }
}

static void writes_what_it_reads(void **state)
{
    static const double values[] = {0, 1, 999, 1000, 1.5e9, 8e-6, 3.2e-12, 4.2e14, 0.25};
    char buffer[QUANTITY_SIZE];

    (void)state;
    for (int unit = 0; unit < UNIT_COUNT; unit++) {
        for (size_t i = 0; i < sizeof values / sizeof *values; i++) {
            double back = quantity(quantity_format(buffer, values[i], (quantity_unit)unit),
                                   (quantity_unit)unit);

            assert_true(fabs(back - values[i]) <= 1e-3 * values[i]);
        }
        if (unit != UNIT_ONE) {
            (void)quantity(quantity_example((quantity_unit)unit), (quantity_unit)unit);
        }
    }
    assert_string_equal(quantity_format(buffer, 7e11, UNIT_BYTES_PER_SECOND), "700 GB/s");
    assert_string_equal(quantity_format(buffer, 8e-6, UNIT_SECONDS), "8 us");
}

static target *open_text(const char *json)
{
    target *t = NULL;
    spry_error error;

    assert_int_equal(target_parse(NULL, json, strlen(json), "toy.json", &t, &error), SPRY_OK);
    return t;
}

static const char toy[] = "{\"about\": {\"name\": \"toy\", \"anything\": [1, {\"x\": 2}]},"
                          "\"compute\": {\"units\": 4, \"clock\": \"2 GHz\", \"sizes\": [3, 5]},"
                          "\"memory\": {\"dram\": {\"bandwidth\": \"10 GB/s\", \"zero\": \"0 B\"}},"
                          "\"latency\": {\"combine\": \"add\", \"overlap\": true, \"share\": 0.5},"
                          "\"simulate\": {\"other\": {\"reader\": [{\"s\": 1}]}}}";

static void takes_values_out(void **state)
{
    static const char *const ways[] = {"max", "add"};
    target *t = open_text(toy);
    spry_error error;
    double value = 0;
    int64_t count = 0;
    bool flag = false;
    const char *word = NULL;
    int way = -1;

    (void)state;
    assert_int_equal(target_count(t, "compute.units", 1, 99, &count, &error), SPRY_OK);
    assert_int_equal(count, 4);
    assert_int_equal(target_quantity(t, "compute.clock", UNIT_HERTZ, 1, 1e12, &value, &error),
                     SPRY_OK);
    is_near(value, 2e9);
    assert_int_equal(target_length(t, "compute.sizes"), 2);
    assert_int_equal(target_count(t, "compute.sizes.0", 1, 9, &count, &error), SPRY_OK);
    assert_int_equal(target_count(t, "compute.sizes.1", 1, 9, &count, &error), SPRY_OK);
    assert_int_equal(count, 5);
    assert_false(target_has(t, "compute.sizes.2"));
    assert_int_equal(target_choice(t, "latency.combine", ways, 2, &way, &error), SPRY_OK);
    assert_int_equal(way, 1);
    assert_int_equal(target_flag(t, "latency.overlap", &flag, &error), SPRY_OK);
    assert_true(flag);
    assert_int_equal(target_quantity(t, "latency.share", UNIT_ONE, 0, 1, &value, &error), SPRY_OK);
    is_near(value, 0.5);
    assert_int_equal(target_quantity_or(t, "latency.absent", UNIT_SECONDS, 0, 1, &value, &error),
                     SPRY_OK);
    is_near(value, 0.5);
    assert_int_equal(target_text(t, "about.name", &word, &error), SPRY_OK);
    assert_string_equal(word, "toy");
    /* memory.dram holds a key of a section that nobody read, simulate belongs to others. */
    assert_int_equal(target_finish(t, &error), SPRY_OK);
    target_destroy(t);
    target_destroy(NULL);
}

static void set_wins(void **state)
{
    target *t = open_text(toy);
    spry_error error;
    double value = 0;
    int64_t count = 0;

    (void)state;
    assert_int_equal(target_set(t, "compute.units=7", &error), SPRY_OK);
    assert_int_equal(target_set(t, "compute.units=8", &error), SPRY_OK);
    assert_int_equal(target_set(t, "compute.new=3 ms", &error), SPRY_OK);
    assert_int_equal(target_count(t, "compute.units", 1, 99, &count, &error), SPRY_OK);
    assert_int_equal(count, 8);
    assert_int_equal(target_finish(t, &error), SPRY_BAD_INPUT);
    assert_string_equal(error.where, "--set");
    assert_non_null(strstr(error.what, "compute.new"));
    assert_int_equal(target_quantity(t, "compute.new", UNIT_SECONDS, 0, 1, &value, &error),
                     SPRY_OK);
    is_near(value, 3e-3);
    (void)target_has(t, "compute.clock");
    assert_int_equal(target_finish(t, &error), SPRY_BAD_INPUT); /* compute.sizes */
    for (size_t i = 0; i < 4; i++) {
        static const char *const bad[] = {"compute.units", "=4", "", "compute.units="};

        assert_int_equal(target_set(t, bad[i], &error), SPRY_USAGE);
    }
    target_destroy(t);
}

static void expect_refusal(target *t, spry_status status, const spry_error *error, const char *word)
{
    (void)t;
    assert_int_equal(status, SPRY_BAD_INPUT);
    assert_string_equal(error->where, "toy.json");
    if (strstr(error->what, word) == NULL) {
        fail_msg("\"%s\" lacks \"%s\"", error->what, word);
    }
}

static void refuses_by_name(void **state)
{
    target *t = open_text(toy);
    spry_error e;
    double v = 0;
    int64_t n = 0;
    bool flag;
    const char *word;

    (void)state;
    expect_refusal(t, target_quantity(t, "memory.l2.size", UNIT_BYTES, 1, 9, &v, &e), &e,
                   "memory.l2.size is missing");
    expect_refusal(t, target_quantity(t, "compute.units", UNIT_HERTZ, 1, 9, &v, &e), &e, "unit");
    expect_refusal(t, target_quantity(t, "compute.clock", UNIT_SECONDS, 1, 9, &v, &e), &e,
                   "something else");
    expect_refusal(t, target_quantity(t, "memory.dram.zero", UNIT_BYTES, 1, 1e9, &v, &e), &e,
                   "must be from 1 B to 1 GB");
    expect_refusal(t, target_quantity(t, "compute", UNIT_BYTES, 1, 9, &v, &e), &e, "with a unit");
    expect_refusal(t, target_count(t, "compute.clock", 1, 9, &n, &e), &e, "whole number");
    expect_refusal(t, target_count(t, "compute.units", 5, 9, &n, &e), &e, "from 5 to 9");
    expect_refusal(t, target_flag(t, "compute.units", &flag, &e), &e, "true or false");
    expect_refusal(t, target_text(t, "compute.units", &word, &e), &e, "text");
    target_destroy(t);
}

static void finds_mistyped_keys(void **state)
{
    static const struct {
        const char *json;
        const char *key;
    } cases[] = {
        {"{\"compute\": {\"units\": 1, \"clok\": 2}}", "compute.clok"},
        {"{\"compute\": {\"units\": 1, \"deep\": {\"er\": [1]}}}", "compute.deep.er.0"},
        {"{\"compute\": {\"units\": 1, \"pipeline\": 3}, \"computer\": {}}", "computer"},
        {"{\"compute\": {}, \"memry\": {\"x\": 1}}", "memry.x"},
        {"{\"compute.pipeline\": 3}", "compute.pipeline"},
        {"{\"units\": 1}", "units"},
    };
    spry_error error;

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        target *t = open_text(cases[i].json);

        (void)target_has(t, "compute.pipeline");
        expect_refusal(t, target_finish(t, &error), &error, cases[i].key);
        target_destroy(t);
    }
}

static void built_in_targets_parse(void **state)
{
    spry_error error;
    target *t;
    int count = 0;

    (void)state;
    for (const char *const *name = target_names(); *name != NULL; name++, count++) {
        const char *source;

        assert_int_equal(target_load(NULL, *name, &t, &error), SPRY_OK);
        assert_int_equal(target_text(t, "about.source", &source, &error), SPRY_OK);
        assert_string_equal(target_name(t), *name);
        assert_int_equal(target_finish(t, &error), SPRY_OK);
        target_destroy(t);
    }
    assert_true(count >= 5);
    assert_int_equal(target_load(NULL, "v101", &t, &error), SPRY_USAGE);
    assert_non_null(strstr(error.what, "v100"));
    assert_null(t);
    assert_int_equal(target_load(NULL, "./absent.json", &t, &error), SPRY_IO);
    assert_int_equal(target_parse(NULL, "[1]", 3, "x", &t, &error), SPRY_BAD_INPUT);
}

static void host_lies_in_the_cache(void **state)
{
    const char *folder = data_make_folder();
    char path[512];
    spry_error error;
    target *t;

    (void)state;
    assert_int_equal(setenv("XDG_CACHE_HOME", folder, 1), 0);
    assert_int_equal(target_host_path(path, sizeof path, &error), SPRY_OK);
    assert_memory_equal(path, folder, strlen(folder));
    assert_int_equal(target_host_path(path, 4, &error), SPRY_LIMIT);
    assert_int_equal(target_load(NULL, "cpu", &t, &error), SPRY_USAGE);
    assert_non_null(strstr(error.remedy, "--calibrate"));
    data_remove_folder(folder);
}

static spry_status use_all(const spry_allocator *allocator, void *context, spry_error *error)
{
    target *t;
    double value;
    spry_status status = target_parse(allocator, toy, strlen(toy), "toy.json", &t, error);

    (void)context;
    if (status == SPRY_OK) {
        status = target_set(t, "compute.clock=3 GHz", error);
    }
    if (status == SPRY_OK) {
        status = target_quantity(t, "compute.clock", UNIT_HERTZ, 1, 1e12, &value, error);
    }
    target_destroy(t);
    return status;
}

static void survives_lack_of_memory(void **state)
{
    (void)state;
    assert_true(fault_sweep(use_all, NULL) > 2);
}

static void tells_what_was_read(void **state)
{
    target *t = open_text(toy);
    text out;
    json_writer json;
    spry_error error;
    double value;
    int64_t count;

    (void)state;
    assert_int_equal(target_set(t, "compute.clock=3 GHz", &error), SPRY_OK);
    assert_int_equal(target_count(t, "compute.units", 1, 99, &count, &error), SPRY_OK);
    assert_int_equal(target_quantity(t, "compute.clock", UNIT_HERTZ, 1, 1e12, &value, &error),
                     SPRY_OK);
    (void)target_has(t, "compute.sizes");
    text_init(&out, NULL, 4096);
    json_writer_init(&json, &out, 0);
    target_write_resolved(t, &json, NULL);
    assert_string_equal(out.data, "{\"compute.units\":4,\"compute.clock\":\"3 GHz\"}");
    text_fini(&out);
    target_destroy(t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_units),
        cmocka_unit_test(refuses_other_units),
        cmocka_unit_test(writes_what_it_reads),
        cmocka_unit_test(takes_values_out),
        cmocka_unit_test(set_wins),
        cmocka_unit_test(refuses_by_name),
        cmocka_unit_test(finds_mistyped_keys),
        cmocka_unit_test(built_in_targets_parse),
        cmocka_unit_test(host_lies_in_the_cache),
        cmocka_unit_test(survives_lack_of_memory),
        cmocka_unit_test(tells_what_was_read),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
