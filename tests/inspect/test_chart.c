/* Charts: where points and marks lie, what is left out, and that text from elsewhere is escaped. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/files.h"
#include "inspect/chart.h"
#include "support/data.h"

static const char hostile[] = "<script>\"'&";

static text drawn;

static int open_text(void **state)
{
    (void)state;
    text_init(&drawn, NULL, 1 << 20);
    return 0;
}

static int close_text(void **state)
{
    (void)state;
    text_fini(&drawn);
    return 0;
}

static spry_chart chart_of(const spry_chart_series *series, int32_t count)
{
    return (spry_chart){.struct_size = sizeof(spry_chart), .series = series, .count = count};
}

static void draw(const spry_chart *c, chart_look look)
{
    text_clear(&drawn);
    chart_append(c, &look, &drawn);
    assert_int_equal(text_status(&drawn, "chart", NULL), SPRY_OK);
}

static void expect(const char *part)
{
    if (strstr(drawn.data, part) == NULL) {
        fail_msg("no %s in %s", part, drawn.data);
    }
}

static int32_t count_of(const char *part)
{
    int32_t count = 0;

    for (const char *at = drawn.data; (at = strstr(at, part)) != NULL; at += strlen(part)) {
        count++;
    }
    return count;
}

/* 640 by 400: across from 52 to 628, up from 366 to 8. */
static void test_places(void **state)
{
    static const double x[] = {0, 5, 10};
    static const double y[] = {0, 100, 50};
    const spry_chart_series series = {.x = x, .y = y, .count = 3};
    spry_chart c = chart_of(&series, 1);

    (void)state;
    draw(&c, (chart_look){0});
    expect("cx=\"52.0\" cy=\"366.0\"");
    expect("cx=\"340.0\" cy=\"8.0\"");
    expect("cx=\"628.0\" cy=\"187.0\"");
    assert_int_equal(count_of("class=\"mark\""), 6 + 6); /* 0, 20, .. 100 and 0, 2, .. 10 */
    assert_int_equal(count_of("<polyline"), 0);
    c.width = 400;
    c.height = 200;
    c.y_name = "up";
    draw(&c, (chart_look){0});
    expect("viewBox=\"0 0 400 200\"");
    expect("cx=\"70.0\" cy=\"166.0\""); /* the name takes room */
}

/* Marks at 1, 2 and 5; 0 has no place. */
static void test_logarithmic(void **state)
{
    static const double x[] = {0.1, 1, 10, 0};
    static const double y[] = {1, 2, 3, 4};
    const spry_chart_series series = {.x = x, .y = y, .count = 4, .is_line = true};
    spry_chart c = chart_of(&series, 1);

    (void)state;
    c.log_x = true;
    draw(&c, (chart_look){0});
    expect("points=\"52.0,366.0 340.0,187.0 628.0,8.0 \"");
    expect(">0.2</text>");
    expect(">5</text>");
    assert_int_equal(count_of("<circle"), 3);
    static const double wide[] = {1e-3, 1, 1e3, 1};
    const spry_chart_series far = {.x = wide, .y = y, .count = 3};
    c = chart_of(&far, 1);
    c.log_x = true;
    draw(&c, (chart_look){0});
    expect(">0.001</text>");
    expect("cx=\"340.0\"");
    assert_int_equal(count_of(">0.2</text>"), 0);
}

static void test_diagonal(void **state)
{
    static const double x[] = {1, 2};
    static const double y[] = {7, 9};
    const spry_chart_series series = {.x = x, .y = y, .count = 2};
    spry_chart c = chart_of(&series, 1);

    (void)state;
    c.diagonal = true;
    draw(&c, (chart_look){0});
    expect("class=\"diagonal\" d=\"M52.0 366.0L628.0 8.0\"");
    assert_int_equal(count_of(">10</text>"), 2);
    assert_int_equal(count_of(">0</text>"), 2);
}

/* One value only, nothing finite, large and negative ones. */
static void test_odd_data(void **state)
{
    static const double same[] = {3, 3};
    static const double none[] = {NAN, INFINITY};
    static const double far[] = {-1e300, 1e300};
    const spry_chart_series cases[] = {{.x = same, .y = same, .count = 2},
                                       {.x = none, .y = same, .count = 2},
                                       {.x = same, .y = same, .count = 0},
                                       {.x = far, .y = far, .count = 2, .is_line = true}};

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        for (int flags = 0; flags < 8; flags++) {
            spry_chart c = chart_of(&cases[i], 1);

            c.log_x = (flags & 1) != 0;
            c.log_y = (flags & 2) != 0;
            c.diagonal = (flags & 4) != 0;
            draw(&c, (chart_look){.is_counted = flags == 0});
            assert_null(strstr(drawn.data, "nan"));
            assert_null(strstr(drawn.data, "inf"));
            assert_true(count_of("class=\"mark\"") < 200);
        }
    }
}

static void test_names(void **state)
{
    static const double x[] = {1, 2};
    static const char *const labels[] = {hostile, NULL};
    const spry_chart_series series[] = {
        {.name = hostile, .x = x, .y = x, .count = 2, .labels = labels},
        {.name = "other", .x = x, .y = x, .count = 1}};
    spry_chart c = chart_of(series, 2);

    (void)state;
    c.title = c.x_name = c.y_name = hostile;
    draw(&c, (chart_look){0});
    assert_null(strstr(drawn.data, "<script"));
    expect("&lt;script&gt;");
    expect("class=\"s1\"");
    expect(">other</text>");
    draw(&c, (chart_look){.classes = (const char *const[]){"one", "two"}, .is_plain = true});
    assert_null(strstr(drawn.data, ">other</text>"));
    expect("circle class=\"two\"");
}

static void test_file(void **state)
{
    static const double x[] = {1, 2};
    static const double below[] = {0, -1};
    const spry_chart_series series = {.x = x, .y = x, .count = 2};
    const spry_chart_series low = {.x = below, .y = x, .count = 2};
    const char *folder = data_make_folder();
    const char *path = data_join(folder, "chart.svg");
    spry_chart c = chart_of(&series, 1);
    spry_error error;
    file_map map;

    (void)state;
    assert_int_equal(spry_chart_save(&c, path, &error), SPRY_OK);
    assert_int_equal(file_map_open(path, 1 << 20, &map, &error), SPRY_OK);
    assert_memory_equal(map.data, "<svg xmlns=", 11);
    file_map_close(&map);
    c.height = 20;
    assert_int_equal(spry_chart_save(&c, path, &error), SPRY_USAGE);
    c = chart_of(&low, 1);
    c.log_x = true;
    assert_int_equal(spry_chart_save(&c, path, &error), SPRY_USAGE);
    c = chart_of(&series, 0);
    assert_int_equal(spry_chart_save(&c, path, &error), SPRY_USAGE);
    c = chart_of(&series, 1);
    c.diagonal = c.log_y = true;
    assert_int_equal(spry_chart_save(&c, path, &error), SPRY_USAGE);
    c.struct_size = 0;
    assert_int_equal(spry_chart_save(&c, path, &error), SPRY_USAGE);
    c = chart_of(&series, 1);
    assert_int_equal(spry_chart_save(&c, data_join(folder, "no/such.svg"), &error), SPRY_IO);
    data_remove_folder(folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_places),   cmocka_unit_test(test_logarithmic),
        cmocka_unit_test(test_diagonal), cmocka_unit_test(test_odd_data),
        cmocka_unit_test(test_names),    cmocka_unit_test(test_file),
    };

    return cmocka_run_group_tests(tests, open_text, close_text);
}
