/* Documents are read under limits with errors that say where; what is written reads back. */
#define _GNU_SOURCE
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/json.h"
#include "base/limits.h"
#include "support/data.h"
#include "support/fault.h"

static json_document *open_text(const char *string)
{
    json_document *document = NULL;
    spry_error error;

    assert_int_equal(json_open_bytes(string, strlen(string), "test", &document, &error), SPRY_OK);
    return document;
}

static void takes_values_out(void **state)
{
    json_document *document = open_text("{\"a\": 5, \"b\": [1, 2.5, \"x\"], \"c\": {\"d\": true}, "
                                        "\"e\": -1e3, \"f\": \"\\u00e9\"}");
    json_node root;
    json_node b;
    json_node c;
    json_node item;
    int64_t i = 0;
    double f = 0;
    bool yes = false;
    const char *string = NULL;
    spry_error error;

    (void)state;
    json_root(document, &root);
    assert_int_equal(json_length(&root), 5);
    assert_true(json_has(&root, "a"));
    assert_false(json_has(&root, "z"));
    assert_int_equal(json_get_i64(&root, "a", 0, 5, &i, &error), SPRY_OK);
    assert_int_equal(i, 5);
    assert_int_equal(json_get_f64(&root, "a", 0, 9, &f, &error), SPRY_OK);
    assert_true(f == 5);
    assert_int_equal(json_get_f64(&root, "e", -INFINITY, INFINITY, &f, &error), SPRY_OK);
    assert_true(f == -1000);
    assert_int_equal(json_get_array(&root, "b", &b, &error), SPRY_OK);
    assert_int_equal(json_length(&b), 3);
    json_item(&b, 2, &item);
    assert_int_equal(json_length(&item), 0);
    assert_int_equal(json_as_string(&item, &string, &error), SPRY_OK);
    assert_string_equal(string, "x");
    assert_int_equal(json_get_object(&root, "c", &c, &error), SPRY_OK);
    assert_int_equal(json_get_bool(&c, "d", &yes, &error), SPRY_OK);
    assert_true(yes);
    assert_int_equal(json_get_string(&root, "f", &string, &error), SPRY_OK);
    assert_string_equal(string, "\xc3\xa9");
    item = (json_node){0};
    for (const char *key = "abcef"; *key != '\0'; key++) {
        assert_true(json_next(&root, &item));
        assert_memory_equal(item.key, key, 1);
    }
    assert_false(json_next(&root, &item));
    item = (json_node){0};
    assert_false(json_next(&b, &item));
    json_close(document);
    json_close(NULL);
}

static void errors_name_the_path(void **state)
{
    static const char *const known[] = {"layers"};
    json_document *document =
        open_text("{\"layers\": [{}, {\"name\": 5, \"size\": 70}], \"x\": 1}");
    json_node root;
    json_node layers;
    json_node layer;
    const char *string;
    int64_t i;
    double f;
    bool yes;
    spry_error error;

    (void)state;
    json_root(document, &root);
    assert_int_equal(json_get_array(&root, "layers", &layers, &error), SPRY_OK);
    json_item(&layers, 1, &layer);
    assert_int_equal(json_get_string(&layer, "name", &string, &error), SPRY_BAD_INPUT);
    assert_string_equal(error.where, "test");
    assert_string_equal(error.what, "layers[1].name must be a string");
    assert_int_equal(json_get_i64(&layer, "size", 1, 64, &i, &error), SPRY_BAD_INPUT);
    assert_string_equal(error.what, "layers[1].size must be an integer from 1 to 64");
    assert_int_equal(json_get_f64(&layer, "size", 0, 0.5, &f, &error), SPRY_BAD_INPUT);
    assert_string_equal(error.what, "layers[1].size must be a number from 0 to 0.5");
    assert_int_equal(json_get_bool(&layer, "size", &yes, &error), SPRY_BAD_INPUT);
    assert_string_equal(error.what, "layers[1].size must be true or false");
    assert_int_equal(json_get_bool(&layer, "other", &yes, &error), SPRY_BAD_INPUT);
    assert_string_equal(error.what, "layers[1].other is missing");
    assert_int_equal(json_get_object(&root, "x", &layer, &error), SPRY_BAD_INPUT);
    assert_string_equal(error.what, "x must be an object");
    assert_int_equal(json_get_array(&root, "x", &layer, &error), SPRY_BAD_INPUT);
    assert_string_equal(error.what, "x must be an array");
    assert_int_equal(json_as_array(&root, &error), SPRY_BAD_INPUT);
    assert_string_equal(error.what, "the document must be an array");
    assert_int_equal(json_get_bool(&layers, "x", &yes, &error), SPRY_BAD_INPUT);
    assert_string_equal(error.what, "layers must be an object");
    assert_int_equal(json_check_keys(&root, known, 1, &error), SPRY_BAD_INPUT);
    assert_string_equal(error.what, "x is not a known key");
    assert_int_equal(json_get_f64(&layers, "x", -INFINITY, INFINITY, &f, NULL), SPRY_BAD_INPUT);
    json_close(document);
}

static void bad_text_is_refused_with_its_place(void **state)
{
    static const struct {
        const char *text;
        spry_status status;
        const char *where;
    } cases[] = {
        {"", SPRY_BAD_INPUT, "test:1:0"},
        {"{\n  \"a\": 1,\n  \"a\": 2\n}", SPRY_BAD_INPUT, "test:3:5"},
        {"[1,]", SPRY_BAD_INPUT, "test:1:4"},
        {"[1] 2", SPRY_BAD_INPUT, "test:1:5"},
        {"[\"\\u0000\"]", SPRY_BAD_INPUT, NULL},
        {"[\"\xff\"]", SPRY_BAD_INPUT, NULL},
        {"[1e999]", SPRY_BAD_INPUT, NULL},
        {"[99999999999999999999]", SPRY_BAD_INPUT, NULL},
        {"{\"a\"", SPRY_BAD_INPUT, NULL},
        {"[\"\\", SPRY_BAD_INPUT, NULL},
        {"[NaN]", SPRY_BAD_INPUT, NULL},
        {"nothing", SPRY_BAD_INPUT, NULL},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        json_document *document = NULL;
        spry_error error;

        assert_int_equal(
            json_open_bytes(cases[i].text, strlen(cases[i].text), "test", &document, &error),
            cases[i].status);
        assert_null(document);
        if (cases[i].where != NULL) {
            assert_string_equal(error.where, cases[i].where);
        }
    }
}

static spry_status open_nested(size_t depth, spry_error *error)
{
    char nested[2000];
    json_document *document = NULL;
    spry_status status;

    memset(nested, '[', depth);
    memset(nested + depth, ']', depth);
    status = json_open_bytes(nested, 2 * depth, "nest", &document, error);
    json_close(document);
    return status;
}

static void limits_are_kept(void **state)
{
    static const char brackets[] = "[\"[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[\\\"[[[[\", \"]\"]";
    spry_error error;
    json_document *document = NULL;
    char *large = calloc(1, LIMIT_JSON_BYTES + 1);

    (void)state;
    assert_int_equal(open_nested(LIMIT_JSON_DEPTH, &error), SPRY_OK);
    assert_int_equal(open_nested(LIMIT_JSON_DEPTH + 1, &error), SPRY_LIMIT);
    assert_string_equal(error.where, "nest:1:33");
    assert_int_equal(open_nested(1000, &error), SPRY_LIMIT);
    json_close(open_text(brackets));
    assert_non_null(large);
    memset(large, ' ', LIMIT_JSON_BYTES + 1);
    large[0] = '1';
    assert_int_equal(json_open_bytes(large, LIMIT_JSON_BYTES + 1, "big", &document, &error),
                     SPRY_LIMIT);
    assert_int_equal(json_open_bytes(large, LIMIT_JSON_BYTES, "big", &document, &error), SPRY_OK);
    json_close(document);
    free(large);
}

static void files_are_read(void **state)
{
    const char *folder = data_make_folder();
    json_document *document = NULL;
    spry_error error;

    (void)state;
    data_write(data_join(folder, "good.json"), "{}", 2);
    data_write(data_join(folder, "bad.json"), "{", 1);
    assert_int_equal(json_open_file(data_join(folder, "good.json"), &document, &error), SPRY_OK);
    json_close(document);
    assert_int_equal(json_open_file(data_join(folder, "bad.json"), &document, &error),
                     SPRY_BAD_INPUT);
    assert_non_null(strstr(error.where, "bad.json:1:1"));
    assert_int_equal(json_open_file(data_join(folder, "none.json"), &document, &error), SPRY_IO);
    data_remove_folder(folder);
}

static void write_sample(json_writer *w)
{
    json_write_object(w, NULL);
    json_write_i64(w, "i", INT64_MIN);
    json_write_u64(w, "u", 7);
    json_write_f64(w, "f", 0.1);
    json_write_f64(w, "nan", NAN);
    json_write_array(w, "a");
    json_write_bool(w, NULL, true);
    json_write_null(w, NULL);
    json_write_string(w, NULL, "q\"\n");
    json_write_end(w);
    json_write_object(w, "empty");
    json_write_end(w);
    json_write_string(w, "none", NULL);
    json_write_bytes(w, "k\t", "ab", 1);
    json_write_end(w);
}

static void writes_what_reads_back(void **state)
{
    static const char line[] = "{\"i\":-9223372036854775808,\"u\":7,\"f\":0.1,\"nan\":null,"
                               "\"a\":[true,null,\"q\\\"\\n\"],\"empty\":{},\"none\":null,"
                               "\"k\\t\":\"a\"}";
    static const char lines[] = "{\n  \"i\": -9223372036854775808,\n  \"u\": 7,\n  \"f\": 0.1,\n"
                                "  \"nan\": null,\n  \"a\": [\n    true,\n    null,\n"
                                "    \"q\\\"\\n\"\n  ],\n  \"empty\": {},\n  \"none\": null,\n"
                                "  \"k\\t\": \"a\"\n}\n";
    text t;
    json_writer w;

    (void)state;
    text_init(&t, NULL, 10000);
    json_writer_init(&w, &t, 0);
    write_sample(&w);
    assert_string_equal(t.data, line);
    json_close(open_text(t.data));
    text_clear(&t);
    json_writer_init(&w, &t, 2);
    write_sample(&w);
    assert_string_equal(t.data, lines);
    json_close(open_text(t.data));
    assert_int_equal(text_status(&t, "sample", NULL), SPRY_OK);
    text_fini(&t);
}

static void misuse_of_the_writer_is_seen(void **state)
{
    text t;
    json_writer w;

    (void)state;
    text_init(&t, NULL, 10000);
    json_writer_init(&w, &t, 0);
    json_write_end(&w);
    assert_int_equal(text_status(&t, "sample", NULL), SPRY_LIMIT);
    text_clear(&t);
    json_writer_init(&w, &t, 0);
    for (int i = 0; i <= JSON_WRITER_DEPTH; i++) {
        json_write_array(&w, NULL);
    }
    assert_int_equal(text_status(&t, "sample", NULL), SPRY_LIMIT);
    text_fini(&t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(takes_values_out),
        cmocka_unit_test(errors_name_the_path),
        cmocka_unit_test(bad_text_is_refused_with_its_place),
        cmocka_unit_test(limits_are_kept),
        cmocka_unit_test(files_are_read),
        cmocka_unit_test(writes_what_reads_back),
        cmocka_unit_test(misuse_of_the_writer_is_seen),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
