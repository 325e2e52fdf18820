/* Data sets in CSV: forms that must be read, and mistakes that must be named. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "data/csv.h"
#include "spry/dataset.h"
#include "support/data.h"
#include "support/fault.h"

static char folder[512];

static int make_folder(void **state)
{
    (void)state;
    (void)snprintf(folder, sizeof folder, "%s", data_make_folder());
    return 0;
}

static int remove_folder(void **state)
{
    (void)state;
    data_remove_folder(folder);
    return 0;
}

/* Writes the text to a file and opens it, with `column` behind the path. */
static spry_status try_text(const char *text, const char *column, spry_dataset **d,
                            spry_error *error)
{
    char description[700];

    data_write(data_join(folder, "set.csv"), text, strlen(text));
    (void)snprintf(description, sizeof description, "csv:%s/set.csv%s", folder, column);
    return spry_dataset_open(NULL, description, d, error);
}

static spry_dataset *open_text(const char *text, const char *column)
{
    spry_error error = {0};
    spry_dataset *d = NULL;

    if (try_text(text, column, &d, &error) != SPRY_OK) {
        fail_msg("%s: %s", error.where, error.what);
    }
    return d;
}

static void expect_row(spry_dataset *d, int64_t index, int64_t label, int64_t columns,
                       const float *values)
{
    spry_tensor *t = NULL;

    assert_int_equal(spry_dataset_label(d, index), label);
    assert_int_equal(spry_dataset_sample(d, index, &t, NULL), SPRY_OK);
    assert_int_equal(spry_tensor_dtype(t), SPRY_DTYPE_F32);
    assert_int_equal(spry_tensor_rank(t), 1);
    assert_int_equal(spry_tensor_count(t), columns);
    assert_memory_equal(spry_tensor_data(t), values, (size_t)columns * sizeof *values);
    spry_tensor_destroy(t);
}

static void classes_may_be_words(void **state)
{
    const float rose[] = {-1, 0.25F};
    const float oak[] = {3e3F, 4};
    spry_dataset *d =
        open_text("width,height,kind\r\n3e3, 4 ,oak\r\n\r\n-1,.25,\"a \"\"rose\"\"\"", "");

    (void)state;
    assert_int_equal(spry_dataset_count(d), 2);
    assert_int_equal(spry_dataset_class_count(d), 2);
    assert_string_equal(spry_dataset_class_name(d, 0), "a \"rose\"");
    assert_string_equal(spry_dataset_class_name(d, 1), "oak");
    expect_row(d, 0, 1, 2, oak);
    expect_row(d, 1, 0, 2, rose);
    spry_dataset_close(d);
}

static void the_column_of_the_class_can_be_chosen(void **state)
{
    static const char named[] = "\xef\xbb\xbf"
                                "y;a;b\n4;1;2\n0;3;5\n";
    static const char bare[] = "4\t1\t2\n0\t3\t5\n";
    const float first[] = {1, 2};
    const float second[] = {3, 5};
    const struct {
        const char *text;
        const char *column;
    } cases[] = {{named, "@y"}, {named, "@1"}, {bare, "@1"}};

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        spry_dataset *d = open_text(cases[i].text, cases[i].column);

        assert_int_equal(spry_dataset_count(d), 2);
        assert_int_equal(spry_dataset_class_count(d), 5);
        assert_null(spry_dataset_class_name(d, 0));
        expect_row(d, 0, 4, 2, first);
        expect_row(d, 1, 0, 2, second);
        spry_dataset_close(d);
    }
    {
        const float only[] = {7};
        spry_dataset *d = open_text("cat,7\ndog,8\n", "@1"); /* no names: 7 is a number */

        assert_int_equal(spry_dataset_count(d), 2);
        expect_row(d, 0, 0, 1, only);
        spry_dataset_close(d);
        d = open_text("7,2.0\n8,1\n", ""); /* the last column, written as other programs do */
        expect_row(d, 0, 2, 1, only);
        spry_dataset_close(d);
    }
}

static void mistakes_are_named(void **state)
{
    static const struct {
        const char *text;
        const char *column;
        const char *what;
        spry_status status;
    } cases[] = {
        {"a,b,y\n1,2,0\n1,,0\n", "", "line 3: column 2 ('b') is empty", SPRY_BAD_INPUT},
        {"1,2,0\n\n1,x,0\n", "", "line 3: column 2 is not a number: 'x'", SPRY_BAD_INPUT},
        {"1,2,0\n1,inf,0\n", "", "not a number", SPRY_BAD_INPUT},
        {"a,b,y\n1,2,0\n1,2\n", "", "line 3 has fewer columns", SPRY_BAD_INPUT},
        {"1,2,0\n1,2,0,\n", "", "line 2 has more columns", SPRY_BAD_INPUT},
        {"1,2,0\n1,2,\n", "", "line 2: column 3 should have the class but is empty",
         SPRY_BAD_INPUT},
        {"a,y\n1,0\n2,-1\n", "", "line 3: column 2 ('y') is not the number of a class: '-1'",
         SPRY_BAD_INPUT},
        {"a,y\n1,0\n2,0.5\n", "", "is not the number of a class", SPRY_BAD_INPUT},
        {"a,y\n1,0\n2,1000001\n", "", "is not the number of a class", SPRY_BAD_INPUT},
        {"a,y\n1,0\n2,cat\n", "", "should be the number of a class", SPRY_BAD_INPUT},
        {"a,y\n1,0\n", "@z", "there is no column 'z'", SPRY_USAGE},
        {"a,y\n1,0\n", "@3", "there is no column '3'", SPRY_USAGE},
        {"a,y\n1,0\n", "@0", "there is no column '0'", SPRY_USAGE},
        {"a,y\n1,\"0\n", "", "line 2 has a cell that begins with a quote", SPRY_BAD_INPUT},
        {"a,\"y\"z\n1,0\n", "", "line 1 has a cell that begins with a quote", SPRY_BAD_INPUT},
        {"1\n2\n", "", "the first line has 1 columns", SPRY_BAD_INPUT},
        {"", "", "no lines", SPRY_BAD_INPUT},
        {"\n\r\n", "", "no lines", SPRY_BAD_INPUT},
        {"a,b\n", "", "no samples", SPRY_BAD_INPUT},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        spry_error error = {.code = SPRY_OK};
        spry_dataset *d = NULL;

        assert_int_equal(try_text(cases[i].text, cases[i].column, &d, &error), cases[i].status);
        if (strstr(error.what, cases[i].what) == NULL) {
            fail_msg("case %zu: %s", i, error.what);
        }
        assert_true(error.remedy[0] != '\0');
        assert_non_null(strstr(error.where, "set.csv"));
        assert_null(d);
    }
}

static void long_cells_end(void **state)
{
    char text[CSV_CELL_BYTES + 100];
    spry_dataset *d = NULL;
    spry_error error;

    (void)state;
    for (int quoted = 0; quoted < 2; quoted++) {
        memset(text, '1', sizeof text);
        memcpy(text, "1,2\n", 4);
        text[4] = quoted ? '"' : '1';
        memcpy(text + sizeof text - 5, quoted ? "\",3\n" : "1,3\n", 5);
        assert_int_equal(try_text(text, "", &d, &error), SPRY_BAD_INPUT);
        assert_non_null(strstr(error.what, "is longer"));
    }
}

static void files_with_an_at_are_files(void **state)
{
    char description[700];
    spry_dataset *d = NULL;

    (void)state;
    data_write(data_join(folder, "a@b.csv"), "1,2\n3,0\n", 8);
    (void)snprintf(description, sizeof description, "csv:%s/a@b.csv", folder);
    assert_int_equal(spry_dataset_open(NULL, description, &d, NULL), SPRY_OK);
    spry_dataset_close(d);
    (void)snprintf(description, sizeof description, "csv:%s/a@b.csv@1", folder);
    assert_int_equal(spry_dataset_open(NULL, description, &d, NULL), SPRY_OK);
    assert_int_equal(spry_dataset_label(d, 1), 3);
    spry_dataset_close(d);
    (void)snprintf(description, sizeof description, "csv:%s/none.csv", folder);
    assert_int_equal(spry_dataset_open(NULL, description, &d, NULL), SPRY_IO);
}

static spry_status use_set(const spry_allocator *allocator, void *context, spry_error *error)
{
    spry_dataset *d = NULL;
    spry_tensor *t = NULL;
    spry_status status = spry_dataset_open(allocator, context, &d, error);

    if (status == SPRY_OK) {
        status = spry_dataset_sample(d, 1, &t, error);
    }
    spry_tensor_destroy(t);
    spry_dataset_close(d);
    return status;
}

static void failing_allocations_leak_nothing(void **state)
{
    char description[700];

    (void)state;
    data_write(data_join(folder, "set.csv"), "1,b\n2,a\n3,c\n", 12);
    (void)snprintf(description, sizeof description, "csv:%s/set.csv", folder);
    assert_true(fault_sweep(use_set, description) >= 4);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(classes_may_be_words),
        cmocka_unit_test(the_column_of_the_class_can_be_chosen),
        cmocka_unit_test(mistakes_are_named),
        cmocka_unit_test(long_cells_end),
        cmocka_unit_test(files_with_an_at_are_files),
        cmocka_unit_test(failing_allocations_leak_nothing),
    };

    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
