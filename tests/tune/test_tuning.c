/* Plan files: what is written reads back, and what cannot be trusted is refused with file, place
 * and remedy. */
#define _GNU_SOURCE
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "spry/architecture.h"
#include "tune/tuning.h"

static const char whole[] =
    "{'spry_plan': 1, 'model': 'm.onnx', 'model_sha256': '00ff', 'machine': 'a processor, avx2',"
    "'threads': 2, 'precision': 'f32', 'strategy': 'measured',"
    "'inputs': [{'name': 'image', 'shape': [1, 3, 8, 8]}], 'predicted_ms': 3.5,"
    "'measured_ms': 3.25, 'unfused_ms': 4, 'automatic_ms': 3.75, 'blocks': ["
    "{'layers': ['a', 'b'], 'threads': 2, 'strip': 4, 'chunk': 0, 'between_bytes': 4096,"
    "'predicted_ms': 1, 'measured_ms': 1.5, 'alone_ms': 2},"
    "{'layers': ['c'], 'threads': 2, 'strip': 0, 'chunk': 0, 'between_bytes': 0,"
    "'predicted_ms': 1, 'measured_ms': 1, 'alone_ms': 1},"
    "{'layers': ['d'], 'threads': 1, 'strip': 0, 'chunk': 0, 'between_bytes': 0,"
    "'predicted_ms': 1.5, 'measured_ms': 0.75, 'alone_ms': 1}]}";

/* Parses the plan with `from` replaced by `to`. */
static spry_status parse(const char *from, const char *to, spry_tuning **t, spry_error *error)
{
    char bytes[2048];
    const char *found = strstr(whole, from);
    int length;

    assert_non_null(found);
    length = snprintf(bytes, sizeof bytes, "%.*s%s%s", (int)(found - whole), whole, to,
                      found + strlen(from));
    for (int i = 0; i < length; i++) {
        bytes[i] = bytes[i] == '\'' ? '"' : bytes[i];
    }
    return spry_tuning_parse(NULL, bytes, (size_t)length, "my.plan", t, error);
}

static void reads_back(void **state)
{
    char path[] = "/tmp/spry_tuning_XXXXXX";
    spry_tuning *t = NULL;
    spry_tuning *again = NULL;
    const spry_tune_row *rows;
    const spry_blocks *blocks;
    spry_error error = {0};
    int file = mkstemp(path);

    (void)state;
    assert_true(file >= 0);
    (void)close(file);
    assert_int_equal(parse("", "", &t, &error), SPRY_OK);
    assert_int_equal(spry_tuning_save(t, path, &error), SPRY_OK);
    assert_int_equal(spry_tuning_load(NULL, path, &again, &error), SPRY_OK);
    assert_int_equal(spry_tuning_rows(again, &rows), 3);
    assert_string_equal(rows[0].block->layers[1], "b");
    assert_int_equal(rows[0].block->strip, 4);
    assert_int_equal(rows[0].between, 4096);
    assert_true(rows[0].predicted_ms == 1 && rows[0].measured_ms == 1.5 && rows[0].alone_ms == 2);
    blocks = spry_tuning_blocks(again);
    assert_int_equal(blocks->count, 2); /* c is as it would be without a plan */
    assert_string_equal(blocks->blocks[1].layers[0], "d");
    assert_int_equal(blocks->blocks[1].threads, 1);
    assert_true(spry_tuning_totals(again)->unfused_ms == 4);
    assert_int_equal(spry_tuning_totals(again)->threads, 2);
    assert_string_equal(again->model_hash, t->model_hash);
    assert_string_equal(again->machine, t->machine);
    assert_int_equal(again->inputs[0].shape[1], 3);
    spry_tuning_destroy(t);
    spry_tuning_destroy(again);
    (void)unlink(path);
    assert_int_equal(spry_tuning_load(NULL, path, &again, &error), SPRY_IO);
    assert_null(again);
}

static void refusals(void **state)
{
    static const struct {
        const char *from, *to, *where;
    } bad[] = {
        {"'spry_plan': 1", "'spry_plan': 2", "my.plan"},
        {"'spry_plan': 1", "'spry_plan': '1'", "spry_plan"},
        {"'spry_plan': 1, ", "", "my.plan"},
        {"'threads': 2", "'threads': 0", "threads"},
        {"'threads': 2, 'strip': 4", "'threads': 3, 'strip': 4", "blocks[0].threads"},
        {"'strip': 4", "'strip': -1", "blocks[0].strip"},
        {"'strip': 4", "'strips': 4", "strips"},
        {"['a', 'b']", "[]", "blocks[0].layers"},
        {"['a', 'b']", "['a', 3]", "blocks[0].layers[1]"},
        {"['a', 'b']", "'ab'", "blocks[0].layers"},
        {"'f32'", "'f64'", "precision"},
        {"'predicted_ms': 3.5", "'predicted_ms': -1", "predicted_ms"},
        {"[1, 3, 8, 8]", "[1, 3, 8, 8, 1, 1, 1, 1, 1]", "shape"},
        {"'blocks': [", "'blocks': {'a': ", "my.plan"},
        {"'unfused_ms': 4", "'unfused_ms': 4, 'extra': 1", "extra"},
    };
    spry_error error = {0};

    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        spry_tuning *t = NULL;

        if (parse(bad[i].from, bad[i].to, &t, &error) != SPRY_BAD_INPUT) {
            fail_msg("'%s' was taken", bad[i].to);
        }
        assert_null(t);
        if (strstr(error.where, bad[i].where) == NULL && strstr(error.what, bad[i].where) == NULL) {
            fail_msg("'%s': '%s' '%s'", bad[i].to, error.where, error.what);
        }
        assert_non_null(strstr(error.remedy, "spry tune"));
    }
    for (size_t size = 0; size < sizeof whole - 1; size += 7) { /* cut off anywhere */
        spry_tuning *t = NULL;

        assert_int_equal(spry_tuning_parse(NULL, whole, size, "my.plan", &t, &error),
                         SPRY_BAD_INPUT);
        assert_non_null(strstr(error.where, "my.plan"));
        assert_non_null(strstr(error.remedy, "spry tune"));
    }
}

/* Other content of the model, another machine, a layer that is not there. */
static void does_not_fit(void **state)
{
    char path[] = "/tmp/spry_model_XXXXXX";
    spry_model *m = NULL;
    spry_model *loaded = NULL;
    spry_tuning *t = NULL;
    spry_error error = {0};
    int file = mkstemp(path);

    (void)state;
    assert_true(file >= 0);
    (void)close(file);
    assert_int_equal(spry_architecture_create(NULL, "lenet", NULL, &m, &error), SPRY_OK);
    assert_int_equal(spry_model_save(m, path, &error), SPRY_OK);
    assert_int_equal(spry_model_load(NULL, path, &loaded, &error), SPRY_OK);
    assert_int_equal(parse("", "", &t, &error), SPRY_OK);
    assert_int_equal(spry_tuning_check(t, loaded, &error), SPRY_BAD_INPUT);
    assert_non_null(strstr(error.what, "other content"));
    assert_non_null(strstr(error.remedy, "spry tune"));
    assert_int_equal(sha256_file(path, t->model_hash, &error), SPRY_OK);
    assert_int_equal(spry_tuning_check(t, loaded, &error), SPRY_BAD_INPUT);
    assert_non_null(strstr(error.what, "another machine"));
    tuning_machine(t->machine);
    assert_int_equal(spry_tuning_check(t, loaded, &error), SPRY_BAD_INPUT);
    assert_non_null(strstr(error.where, "my.plan: blocks[0].layers[0]"));
    t->row_count = 0;
    assert_int_equal(spry_tuning_check(t, loaded, &error), SPRY_OK);
    spry_tuning_destroy(t);
    spry_model_destroy(loaded);
    spry_model_destroy(m);
    (void)unlink(path);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_back),
        cmocka_unit_test(refusals),
        cmocka_unit_test(does_not_fit),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
