/* Events become lines that people and programs can read; unwanted ones cost nothing. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/json.h"
#include "base/log.h"

typedef struct sink {
    char line[5000];
    size_t length;
    int calls;
    log_level level;
} sink;

static void keep(void *context, log_level level, const char *line, size_t length)
{
    sink *s = context;

    assert_true(length < sizeof s->line);
    assert_int_equal(strlen(line), length);
    memcpy(s->line, line, length + 1);
    s->length = length;
    s->level = level;
    s->calls++;
}

static const log_field fields[] = {
    {"path", LOG_KIND_STRING, {.string = "a b.onnx"}},
    {"kind", LOG_KIND_STRING, {.string = "onnx"}},
    {"none", LOG_KIND_STRING, {.string = NULL}},
    {"nodes", LOG_KIND_I64, {.i64 = -42}},
    {"share", LOG_KIND_F64, {.f64 = 0.25}},
    {"ok", LOG_KIND_BOOL, {.boolean = true}},
};

static void writes_text_lines(void **state)
{
    sink s = {.calls = 0};
    log_output output = {.write = keep, .context = &s, .most = LOG_LEVEL_INFO};

    (void)state;
    log_event(&output, LOG_LEVEL_INFO, "model \"loaded\"\n", fields, 6);
    assert_string_equal(s.line,
                        "info: model \\\"loaded\\\"\\n path=\"a b.onnx\" kind=onnx none=\"\" "
                        "nodes=-42 share=0.25 ok=true\n");
    log_event(&output, LOG_LEVEL_ERROR, "bad", NULL, 0);
    assert_string_equal(s.line, "error: bad\n");
    assert_int_equal(s.level, LOG_LEVEL_ERROR);
}

static void writes_json_lines(void **state)
{
    sink s = {.calls = 0};
    log_output output = {
        .write = keep, .context = &s, .most = LOG_LEVEL_INFO, .format = LOG_FORMAT_JSON};

    (void)state;
    log_event(&output, LOG_LEVEL_WARN, "m", fields, 6);
    assert_string_equal(s.line, "{\"level\":\"warn\",\"message\":\"m\",\"path\":\"a b.onnx\","
                                "\"kind\":\"onnx\",\"none\":null,\"nodes\":-42,\"share\":0.25,"
                                "\"ok\":true}\n");
}

static void drops_what_is_not_wanted(void **state)
{
    sink s = {.calls = 0};
    log_output output = {.write = keep, .context = &s, .most = LOG_LEVEL_WARN};

    (void)state;
    log_event(NULL, LOG_LEVEL_ERROR, "m", NULL, 0);
    log_event(&output, LOG_LEVEL_INFO, "m", NULL, 0);
    log_event(&output, LOG_LEVEL_DEBUG, "m", NULL, 0);
    assert_int_equal(s.calls, 0);
    assert_true(log_wants(&output, LOG_LEVEL_WARN));
    assert_false(log_wants(&output, LOG_LEVEL_INFO));
    output.write = NULL;
    log_event(&output, LOG_LEVEL_ERROR, "m", NULL, 0);
    assert_int_equal(s.calls, 0);
}

static void long_lines_are_cut_whole(void **state)
{
    static char many[3000];
    sink s = {.calls = 0};
    log_output output = {.write = keep,
                         .context = &s,
                         .most = LOG_LEVEL_INFO,
                         .format = LOG_FORMAT_JSON,
                         .time = true};
    log_field two[] = {log_string("a", many), log_string("b", many)};

    (void)state;
    memset(many, 'x', sizeof many - 1);
    for (int round = 0; round < 2; round++) {
        json_document *document = NULL;
        json_node root;
        bool truncated = false;

        log_event(&output, LOG_LEVEL_INFO, many, two, 2);
        assert_int_equal(json_open_bytes(s.line, s.length, "line", &document, NULL), SPRY_OK);
        json_root(document, &root);
        assert_int_equal(json_get_bool(&root, "truncated", &truncated, NULL), SPRY_OK);
        assert_true(truncated);
        assert_int_equal(json_has(&root, "a"), round == 0);
        assert_true(json_has(&root, "time"));
        json_close(document);
        memset(many, '\x01', sizeof many - 1);
    }
    output.format = LOG_FORMAT_TEXT;
    log_event(&output, LOG_LEVEL_INFO, many, two, 2);
    assert_non_null(strstr(s.line, " truncated=true\n"));
    assert_int_equal(s.line[4], '-');
    assert_int_equal(s.calls, 3);
}

static void levels_have_names(void **state)
{
    log_level level = LOG_LEVEL_ERROR;

    (void)state;
    for (int i = 0; i < LOG_LEVEL_COUNT; i++) {
        assert_true(log_level_parse(log_level_name((log_level)i), &level));
        assert_int_equal(level, i);
    }
    assert_false(log_level_parse("loud", &level));
    assert_string_equal(log_level_name(LOG_LEVEL_COUNT), "unknown");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(writes_text_lines),        cmocka_unit_test(writes_json_lines),
        cmocka_unit_test(drops_what_is_not_wanted), cmocka_unit_test(long_lines_are_cut_whole),
        cmocka_unit_test(levels_have_names),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
