/* Folders as a whole. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "base/files.h"
#include "base/folder.h"
#include "support/data.h"

static char root[512];

static int make_root(void **state)
{
    (void)state;
    (void)snprintf(root, sizeof root, "%s", data_make_folder());
    return 0;
}

static int remove_root(void **state)
{
    (void)state;
    data_remove_folder(root);
    return 0;
}

static spry_status count_until(void *context, const char *name, spry_error *error)
{
    int *left = context;

    assert_true(strcmp(name, "a") == 0 || strcmp(name, "b") == 0);
    return --*left < 0 ? spry_fail(error, SPRY_CANCELLED, name, NULL, "enough") : SPRY_OK;
}

static void entries_are_listed(void **state)
{
    const char *path = data_join(root, "list");
    int left = 2;

    (void)state;
    assert_int_equal(file_make_folder(path, NULL), SPRY_OK);
    data_write(data_join(path, "a"), "", 0);
    data_write(data_join(path, "b"), "", 0);
    assert_int_equal(folder_list(path, count_until, &left, NULL), SPRY_OK);
    assert_int_equal(left, 0);
    left = 1;
    assert_int_equal(folder_list(path, count_until, &left, NULL), SPRY_CANCELLED);
    assert_int_equal(folder_list("/nowhere", count_until, &left, NULL), SPRY_IO);
}

static void folders_change_places(void **state)
{
    char first[PATH_MAX];
    char second[PATH_MAX];
    const char *to = data_join(root, "target");

    (void)state;
    assert_int_equal(folder_make_temporary(root, "x-", first, sizeof first, NULL), SPRY_OK);
    assert_int_equal(folder_make_temporary(root, "x-", second, sizeof second, NULL), SPRY_OK);
    assert_string_not_equal(first, second);
    data_write(data_join(first, "one"), "1", 1);
    data_write(data_join(second, "two"), "2", 1);
    assert_int_equal(folder_move(first, to, NULL), SPRY_OK);
    assert_false(file_exists(first));
    assert_int_equal(folder_move(second, to, NULL), SPRY_OK);
    assert_true(file_exists(data_join(to, "two")));
    assert_true(file_exists(data_join(second, "one")));
    assert_int_equal(folder_remove(second, NULL), SPRY_OK);
    assert_false(file_exists(second));
    assert_int_equal(folder_remove(second, NULL), SPRY_IO);
    assert_int_equal(mkdir(data_join(to, "deeper"), 0700), 0);
    assert_int_equal(folder_remove(to, NULL), SPRY_IO);
    assert_int_equal(folder_move("/nowhere/a", "/nowhere/b", NULL), SPRY_IO);
    assert_int_equal(folder_make_temporary("/nowhere", "x-", first, sizeof first, NULL), SPRY_IO);
    assert_int_equal(folder_make_temporary(root, "x-", first, 8, NULL), SPRY_IO);
}

static void locks_keep_others_out(void **state)
{
    int first = -1;
    int second = -1;

    (void)state;
    assert_int_equal(folder_lock(root, &first, NULL), SPRY_OK);
    assert_int_equal(folder_lock(root, &second, NULL), SPRY_IO);
    assert_int_equal(second, -1);
    folder_unlock(first);
    assert_int_equal(folder_lock(root, &second, NULL), SPRY_OK);
    folder_unlock(second);
    folder_unlock(-1);
    assert_int_equal(folder_lock("/nowhere", &second, NULL), SPRY_IO);
    assert_true(folder_free_bytes(root) > 0);
    assert_true(folder_free_bytes("/nowhere") == UINT64_MAX);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(entries_are_listed),
        cmocka_unit_test(folders_change_places),
        cmocka_unit_test(locks_keep_others_out),
    };

    return cmocka_run_group_tests(tests, make_root, remove_root);
}
