/* Paths and scratch folders of tests. */
#define _GNU_SOURCE
#include "support/data.h"

#include <ftw.h>
#include <limits.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

static const char *join_into(char buffer[PATH_MAX], const char *folder, const char *name)
{
    int length = snprintf(buffer, PATH_MAX, "%s/%s", folder, name);

    assert_in_range(length, 1, PATH_MAX - 1);
    return buffer;
}

const char *data_path(const char *relative)
{
    static char path[PATH_MAX];
    const char *folder = getenv("SPRY_DATA");

    if (folder == NULL || access(join_into(path, folder, relative), R_OK) != 0) {
        print_message("skipped: no data\n");
        skip();
    }
    return path;
}

const char *data_make_folder(void)
{
    static char path[PATH_MAX];
    const char *temporary = getenv("TMPDIR");

    (void)join_into(path, temporary != NULL ? temporary : "/tmp", "spry-test-XXXXXX");
    assert_non_null(mkdtemp(path));
    return path;
}

static int remove_entry(const char *path, const struct stat *about, int kind, struct FTW *walk)
{
    (void)about;
    (void)kind;
    (void)walk;
    return remove(path);
}

void data_remove_folder(const char *folder)
{
    assert_int_equal(nftw(folder, remove_entry, 8, FTW_DEPTH | FTW_PHYS), 0);
}

const char *data_join(const char *folder, const char *name)
{
    static char paths[8][PATH_MAX];
    static unsigned turn;

    turn = (turn + 1) % 8;
    return join_into(paths[turn], folder, name);
}

void data_write(const char *path, const void *bytes, size_t size)
{
    FILE *file = fopen(path, "wb");

    assert_non_null(file);
    assert_int_equal(fwrite(bytes, 1, size, file), size);
    assert_int_equal(fclose(file), 0);
}
