/* Reports: what is kept, misuse, documents and rows; lanes of overlapping spans; a deadlock's
 * name. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "simulate/kernel/lanes.h"
#include "simulate/noc/mesh.h"
#include "simulate/report/report.h"

static const report_column columns[] = {{"name", "name", -1, REPORT_PLAIN},
                                        {"count", "count", 0, REPORT_BAR},
                                        {NULL, NULL, 0, REPORT_PLAIN}};

static void fill(report *r)
{
    char word[] = "a \"b\"";
    double x[] = {1, 2};
    double cells[] = {0, 1, 2, 3, 4, 5};

    report_number(r, "cycles", "cycles", 7, 0, "");
    report_word(r, "way", "way", word);
    report_table_begin(r, "rows", "Rows", columns);
    report_cell_word(r, word);
    report_cell(r, 2.5);
    report_cell_word(r, "c");
    report_cell(r, 3);
    report_chart_begin(r, &(report_chart_names){.key = "curve", .title = "Curve"});
    report_line(r, "line", x, x, 2);
    report_heat(r, &(report_heat_map){.key = "map",
                                      .title = "Map",
                                      .unit = "flits",
                                      .width = 3,
                                      .height = 2,
                                      .cells = cells});
    report_energy(r, "part", "event", 1e6, 2.0, "somebody");
    word[0] = 'z';
    x[0] = cells[5] = 9; /* all of it was copied */
}

static void test_documents(void **state)
{
    report r;
    text to;
    json_writer json;

    (void)state;
    report_init(&r, "thing", "A thing", 0);
    fill(&r);
    assert_int_equal(report_status(&r, NULL), SPRY_OK);
    assert_null(r.timeline);
    assert_true(report_joules(&r) == 2e-6);
    assert_int_equal(report_rows(&r.tables[0]), 2);
    text_init(&to, NULL, 1 << 16);
    assert_true(report_write_csv(&r, &to));
    assert_string_equal(to.data, "name,count\n\"a \"\"b\"\"\",2.5\n\"c\",3\n");
    text_clear(&to);
    json_writer_init(&json, &to, 0);
    json_write_object(&json, NULL);
    report_write_json(&r, &json);
    json_write_end(&json);
    assert_string_equal(
        to.data,
        "{\"cycles\":7,\"way\":\"a \\\"b\\\"\",\"joules\":2e-06,\"energy\":[{\"part\":\"part\","
        "\"event\":\"event\",\"count\":1000000,\"picojoules\":2,\"source\":\"somebody\"}],"
        "\"rows\":[{\"name\":\"a \\\"b\\\"\",\"count\":2.5},{\"name\":\"c\",\"count\":3}],"
        "\"curve\":[{\"name\":\"line\",\"x\":[1,2],\"y\":[1,2]}],"
        "\"map\":{\"width\":3,\"height\":2,\"unit\":\"flits\",\"cells\":[0,1,2,3,4,5]}}");
    text_fini(&to);
    report_fini(&r);
}

/* A cell before its table, a word where a number belongs, a line without a chart, a map of no
 * size. */
static void test_misuse(void **state)
{
    (void)state;
    for (int i = 0; i < 5; i++) {
        report r;
        text to;

        report_init(&r, "thing", "A thing", 0);
        text_init(&to, NULL, 100);
        assert_false(report_write_csv(&r, &to));
        if (i == 0) {
            report_cell(&r, 1);
        } else if (i == 1) {
            report_table_begin(&r, "rows", "Rows", columns);
            report_cell(&r, 1);
        } else if (i == 2) {
            report_table_begin(&r, "rows", "Rows", columns);
            report_cell_word(&r, "x");
            report_cell_word(&r, "y");
        } else if (i == 3) {
            report_line(&r, "line", NULL, NULL, 0);
        } else {
            report_heat(&r, &(report_heat_map){.key = "map", .title = "Map", .unit = ""});
        }
        assert_int_equal(report_status(&r, NULL), SPRY_LIMIT);
        text_fini(&to);
        report_fini(&r);
    }
}

/* Spans at random, in the order of their ends: none of a track overlap, all are there. */
static void test_lanes(void **state)
{
    lanes l = {0};
    uint64_t ends[LANES_MOST] = {0};
    timeline *t = NULL;
    timeline_record r;
    size_t at = 0;
    int count = 0;

    (void)state;
    assert_int_equal(timeline_create(NULL, 0, UINT64_MAX, 0, &t, NULL), SPRY_OK);
    for (uint64_t end = 10; end < 500; end++) {
        lanes_span(&l, t, "part", end - 1 - end * 7 % 10, end, "kind", timeline_keep(t, "x"));
    }
    while (timeline_next_span(t, &at, &r)) {
        assert_true(r.start >= ends[r.track]);
        ends[r.track] = r.end;
        count++;
    }
    assert_int_equal(count, 490);
    assert_true(l.count > 1 && l.count < LANES_MOST);
    assert_string_equal(timeline_track_path(t, 0), "part");
    assert_string_equal(timeline_track_path(t, 1), "part (2)");
    assert_null(timeline_track_path(t, l.count));
    lanes_span(&l, NULL, "part", 0, 1, "kind", "x");
    timeline_destroy(t);
}

static void test_deadlock_names_routers(void **state)
{
    const mesh_options o = {.width = 3, .height = 1, .channels = 1, .depth = 4};
    mesh *m = NULL;
    spry_error error = {0};

    (void)state;
    assert_int_equal(mesh_create(NULL, &o, NULL, NULL, &m, NULL), SPRY_OK);
    assert_int_equal(mesh_send(m, 0, 2, 20, 0, NULL), SPRY_OK);
    for (int i = 0; i < 8; i++) {
        mesh_step(m);
    }
    assert_false(mesh_stuck(m));
    assert_int_equal(mesh_deadlock(m, &error), SPRY_NEGATIVE);
    assert_non_null(strstr(error.what, "cycle 8"));
    assert_non_null(strstr(error.what, "0 ("));
    mesh_destroy(m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_documents),
        cmocka_unit_test(test_misuse),
        cmocka_unit_test(test_lanes),
        cmocka_unit_test(test_deadlock_names_routers),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
