/* What is recorded, from any thread, comes out as a Chrome trace. */
#define _GNU_SOURCE
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/json.h"
#include "base/threads.h"
#include "base/trace.h"
#include "support/data.h"
#include "support/fault.h"

static trace *make_trace(void)
{
    trace *t = NULL;
    spry_error error;

    assert_int_equal(trace_create(NULL, &t, &error), SPRY_OK);
    return t;
}

static void no_trace_is_free(void **state)
{
    (void)state;
    assert_int_equal(trace_begin(NULL), 0);
    trace_end(NULL, 0, "op", "a", NULL);
    trace_span(NULL, 0, 1, "op", "a", NULL);
    trace_counter(NULL, "memory", 1);
    trace_name_thread(NULL, "main");
    trace_destroy(NULL);
}

static const char *get_string(const json_node *from, const char *key)
{
    const char *value = NULL;

    assert_int_equal(json_get_string(from, key, &value, NULL), SPRY_OK);
    return value;
}

static double get_f64(const json_node *from, const char *key)
{
    double value = 0;

    assert_int_equal(json_get_f64(from, key, -1e18, 1e18, &value, NULL), SPRY_OK);
    return value;
}

static void writes_chrome_events(void **state)
{
    const char *folder = data_make_folder();
    const char *path = data_join(folder, "trace.json");
    trace *t = make_trace();
    int64_t start = trace_begin(t);
    json_document *document = NULL;
    json_node root;
    json_node events;
    json_node event;
    json_node args;
    char name[] = "inner \"quoted\"";
    spry_error error;

    (void)state;
    trace_span(t, start + 1000, start + 2500, "op", name, "1x3");
    name[0] = '?'; /* copied, so this must not show */
    trace_span(t, start, start + 5000, "op", "outer", NULL);
    trace_counter(t, "memory", 2.5);
    trace_name_thread(t, "main");
    assert_int_equal(trace_write(t, path, &error), SPRY_OK);
    assert_int_equal(json_open_file(path, &document, &error), SPRY_OK);
    json_root(document, &root);
    assert_int_equal(json_get_array(&root, "traceEvents", &events, &error), SPRY_OK);
    assert_int_equal(json_length(&events), 4);
    json_item(&events, 0, &event);
    assert_string_equal(get_string(&event, "ph"), "M");
    assert_int_equal(json_get_object(&event, "args", &args, &error), SPRY_OK);
    assert_string_equal(get_string(&args, "name"), "main");
    json_item(&events, 1, &event);
    assert_string_equal(get_string(&event, "name"), "outer");
    assert_string_equal(get_string(&event, "ph"), "X");
    assert_true(get_f64(&event, "dur") == 5);
    assert_false(json_has(&event, "args"));
    json_item(&events, 2, &event);
    assert_string_equal(get_string(&event, "name"), "inner \"quoted\"");
    assert_string_equal(get_string(&event, "cat"), "op");
    assert_true(get_f64(&event, "dur") == 1.5);
    assert_true(get_f64(&event, "ts") >= 1);
    assert_int_equal(json_get_object(&event, "args", &args, &error), SPRY_OK);
    assert_string_equal(get_string(&args, "detail"), "1x3");
    json_item(&events, 3, &event);
    assert_string_equal(get_string(&event, "ph"), "C");
    assert_int_equal(trace_dropped(t), 0);
    json_close(document);
    trace_destroy(t);
    data_remove_folder(folder);
}

static void record_some(void *context, int64_t begin, int64_t end, int worker)
{
    (void)worker;
    for (int64_t i = begin; i < end; i++) {
        int64_t start = trace_begin(context);

        trace_end(context, start, "test", "piece", NULL);
    }
}

static void any_thread_records(void **state)
{
    const char *folder = data_make_folder();
    const char *path = data_join(folder, "trace.json");
    trace *t = make_trace();
    threads *team = NULL;
    json_document *document = NULL;
    json_node root;
    json_node events;
    double before = -1;

    (void)state;
    assert_int_equal(threads_create(NULL, 3, &team, NULL), SPRY_OK);
    threads_for(team, 1000, 10, record_some, t);
    threads_destroy(team);
    assert_int_equal(trace_write(t, path, NULL), SPRY_OK);
    trace_destroy(t);
    assert_int_equal(json_open_file(path, &document, NULL), SPRY_OK);
    json_root(document, &root);
    assert_int_equal(json_get_array(&root, "traceEvents", &events, NULL), SPRY_OK);
    assert_int_equal(json_length(&events), 1000);
    for (size_t i = 0; i < 1000; i++) {
        json_node event;

        json_item(&events, i, &event);
        assert_true(get_f64(&event, "ts") >= before);
        before = get_f64(&event, "ts");
    }
    json_close(document);
    data_remove_folder(folder);
}

static spry_status record_and_write(const spry_allocator *allocator, void *context,
                                    spry_error *error)
{
    trace *t = NULL;
    spry_status status = trace_create(allocator, &t, error);

    for (int i = 0; i < 200 && status == SPRY_OK; i++) {
        trace_end(t, trace_begin(t), "test", "a name that takes some memory", "and a detail");
    }
    if (status == SPRY_OK) {
        status = trace_write(t, context, error);
    }
    trace_destroy(t);
    return status;
}

static void memory_may_run_out(void **state)
{
    const char *folder = data_make_folder();
    char path[200];

    (void)state;
    assert_true(strlen(folder) < 100);
    memcpy(path, folder, strlen(folder) + 1);
    memcpy(path + strlen(path), "/t", 3);
    assert_true(fault_sweep(record_and_write, path) > 5);
    data_remove_folder(folder);
}

static void an_impossible_path_is_reported(void **state)
{
    trace *t = make_trace();
    spry_error error;

    (void)state;
    assert_int_equal(trace_write(t, "/does/not/exist", &error), SPRY_IO);
    trace_destroy(t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(no_trace_is_free),
        cmocka_unit_test(writes_chrome_events),
        cmocka_unit_test(any_thread_records),
        cmocka_unit_test(memory_may_run_out),
        cmocka_unit_test(an_impossible_path_is_reported),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
