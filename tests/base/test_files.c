/* Maps stay inside their folder; a replaced file has its old or its new content, whole. */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/files.h"
#include "support/data.h"
#include "support/fault.h"

static char folder[PATH_MAX];

static int make_folder(void **state)
{
    const char *made = data_make_folder();

    (void)state;
    memcpy(folder, made, strlen(made) + 1);
    return 0;
}

static int remove_folder(void **state)
{
    (void)state;
    data_remove_folder(folder);
    return 0;
}

static const char *in(const char *name)
{
    return data_join(folder, name);
}

static void expect_content(const char *path, const void *bytes, size_t size)
{
    file_map map;
    spry_error error;

    assert_int_equal(file_map_open(path, UINT64_MAX, &map, &error), SPRY_OK);
    assert_int_equal(map.size, size);
    assert_memory_equal(map.data, bytes, size);
    file_map_close(&map);
    assert_int_equal(map.size, 0);
}

/* Entries of the folder: leftovers of a failed write would show. */
static int entries(void)
{
    DIR *listing = opendir(folder);
    int count = 0;

    assert_non_null(listing);
    while (readdir(listing) != NULL) {
        count++;
    }
    assert_int_equal(closedir(listing), 0);
    return count - 2;
}

static void maps_regular_files_only(void **state)
{
    file_map map;
    spry_error error;

    (void)state;
    data_write(in("some"), "hello", 5);
    expect_content(in("some"), "hello", 5);
    data_write(in("empty"), "", 0);
    expect_content(in("empty"), "", 0);
    assert_int_equal(symlink(in("some"), in("link")), 0);
    expect_content(in("link"), "hello", 5);
    assert_int_equal(file_map_open(in("some"), 4, &map, &error), SPRY_LIMIT);
    assert_string_equal(error.where, in("some"));
    assert_int_equal(file_map_open(in("some"), 5, &map, &error), SPRY_OK);
    file_map_close(&map);
    assert_int_equal(file_map_open(in("absent"), 4, &map, &error), SPRY_IO);
    assert_string_equal(error.remedy, "check the path");
    assert_int_equal(file_map_open(folder, 4, &map, &error), SPRY_IO);
    assert_int_equal(file_map_open("/dev/null", 4, &map, &error), SPRY_IO);
    assert_int_equal(mkfifo(in("pipe"), 0600), 0);
    assert_int_equal(file_map_open(in("pipe"), 4, &map, &error), SPRY_IO);
    assert_true(file_exists(in("some")));
    assert_false(file_exists(in("absent")));
}

/* Pages of mapped files that are resident in this process. */
static long mapped_pages(void)
{
    FILE *file = fopen("/proc/self/statm", "r");
    long shared = 0;

    assert_non_null(file);
    assert_int_equal(fscanf(file, "%*d %*d %ld", &shared), 1);
    (void)fclose(file);
    return shared;
}

static void released_pages_come_back(void **state)
{
    enum { BYTES = 16 << 20, PAGE = 4096 };
    uint8_t *bytes = malloc(BYTES);
    const char *path = in("large");
    file_map map;
    spry_error error;
    long before;

    (void)state;
    assert_non_null(bytes);
    for (size_t i = 0; i < BYTES; i++) {
        bytes[i] = (uint8_t)(i * 7 + i / PAGE);
    }
    assert_int_equal(file_replace(path, bytes, BYTES, &error), SPRY_OK);
    assert_int_equal(file_map_open(path, UINT64_MAX, &map, &error), SPRY_OK);
    assert_memory_equal(map.data, bytes, BYTES);
    before = mapped_pages();
    file_map_release(&map);
    assert_true(before - mapped_pages() > BYTES / PAGE / 2);
    assert_memory_equal(map.data, bytes, BYTES);
    file_map_close(&map);
    file_map_release(&map); /* nothing is mapped: nothing happens */
    free(bytes);
}

static void set_up_tree(void)
{
    assert_int_equal(file_make_folder(in("model/sub/deep"), NULL), SPRY_OK);
    data_write(in("secret"), "secret", 6);
    data_write(in("model/weights"), "w", 1);
    data_write(in("model/sub/weights"), "ww", 2);
    data_write(in("model/sub/..odd"), "www", 3);
    data_write(in("model/twice"), "2", 1);
    assert_int_equal(link(in("model/twice"), in("model/again")), 0);
    assert_int_equal(symlink("weights", in("model/link")), 0);
    assert_int_equal(symlink("../secret", in("model/out")), 0);
    assert_int_equal(symlink("sub", in("model/parent")), 0);
    assert_int_equal(symlink("/", in("model/root")), 0);
    assert_int_equal(mkfifo(in("model/pipe"), 0600), 0);
}

static const struct {
    const char *path;
    spry_status status;
    size_t size;
} beneath_cases[] = {
    {"weights", SPRY_OK, 1},
    {"./weights", SPRY_OK, 1},
    {"sub/weights", SPRY_OK, 2},
    {"sub//./weights", SPRY_OK, 2},
    {"sub/..odd", SPRY_OK, 3},
    {"", SPRY_BAD_INPUT, 0},
    {"..", SPRY_BAD_INPUT, 0},
    {"../secret", SPRY_BAD_INPUT, 0},
    {"sub/../weights", SPRY_BAD_INPUT, 0},
    {"sub/..", SPRY_BAD_INPUT, 0},
    {"sub/../", SPRY_BAD_INPUT, 0},
    {"/etc/passwd", SPRY_BAD_INPUT, 0},
    {"link", SPRY_BAD_INPUT, 0},
    {"out", SPRY_BAD_INPUT, 0},
    {"parent/weights", SPRY_BAD_INPUT, 0},
    {"root/etc/passwd", SPRY_BAD_INPUT, 0},
    {"twice", SPRY_BAD_INPUT, 0},
    {"again", SPRY_BAD_INPUT, 0},
    {"absent", SPRY_IO, 0},
    {"absent/weights", SPRY_IO, 0},
    {"weights/more", SPRY_IO, 0},
    {"sub", SPRY_IO, 0},
    {"sub/", SPRY_IO, 0},
    {".", SPRY_IO, 0},
    {"pipe", SPRY_IO, 0},
};

static void stays_inside_the_folder(void **state)
{
    (void)state;
    set_up_tree();
    for (size_t i = 0; i < sizeof beneath_cases / sizeof *beneath_cases; i++) {
        file_map map;
        spry_error error;
        spry_status status =
            file_map_open_beneath(in("model"), beneath_cases[i].path, 100, &map, &error);

        if (status != beneath_cases[i].status || map.size != beneath_cases[i].size) {
            fail_msg("\"%s\": %s, %zu bytes", beneath_cases[i].path, spry_status_name(status),
                     map.size);
        }
        file_map_close(&map);
    }
}

static void the_walk_by_parts_agrees(void **state)
{
    (void)state;
    set_up_tree();
    for (size_t i = 0; i < sizeof beneath_cases / sizeof *beneath_cases; i++) {
        const char *path = beneath_cases[i].path;
        int file;

        /* What the text or the file itself gives away is decided outside the walk. */
        if (strstr(path, "..") != NULL || *path == '/' || *path == '\0' ||
            strcmp(path, "twice") == 0 || strcmp(path, "again") == 0) {
            continue;
        }
        file = file_open_by_parts(in("model"), path);
        if (file < 0) {
            assert_int_equal(errno == ELOOP, beneath_cases[i].status == SPRY_BAD_INPUT);
        } else {
            struct stat about;

            assert_int_equal(fstat(file, &about), 0);
            assert_int_equal(S_ISREG(about.st_mode), beneath_cases[i].status == SPRY_OK);
            assert_int_equal(close(file), 0);
        }
    }
    assert_int_equal(file_open_by_parts(in("nowhere"), "weights"), -1);
}

static void replaces_whole_files(void **state)
{
    static uint8_t big[200000];
    file_writer *writer = NULL;
    spry_error error;

    (void)state;
    memset(big, 7, sizeof big);
    assert_int_equal(file_replace(in("a"), "one", 3, &error), SPRY_OK);
    expect_content(in("a"), "one", 3);
    assert_int_equal(chmod(in("a"), 0640), 0);
    assert_int_equal(file_writer_open(NULL, in("a"), &writer, &error), SPRY_OK);
    assert_int_equal(file_writer_append(writer, "two", 3, &error), SPRY_OK);
    assert_int_equal(file_writer_append(writer, big, sizeof big, &error), SPRY_OK);
    assert_int_equal(file_writer_append(writer, NULL, 0, &error), SPRY_OK);
    for (int i = 0; i < 100; i++) {
        assert_int_equal(file_writer_append(writer, big, 1999, &error), SPRY_OK);
    }
    assert_int_equal(file_writer_offset(writer), 3 + sizeof big + 199900);
    expect_content(in("a"), "one", 3);
    assert_int_equal(file_writer_commit(writer, &error), SPRY_OK);
    file_writer_close(writer);
    {
        file_map map;
        struct stat about;

        assert_int_equal(file_map_open(in("a"), UINT64_MAX, &map, &error), SPRY_OK);
        assert_int_equal(map.size, 3 + sizeof big + 199900);
        assert_memory_equal(map.data, "two\7", 4);
        assert_memory_equal(map.data + map.size - 1999, big, 1999);
        file_map_close(&map);
        assert_int_equal(stat(in("a"), &about), 0);
        assert_int_equal(about.st_mode & 07777, 0640);
    }
    assert_int_equal(file_replace(in("a"), NULL, 0, &error), SPRY_OK);
    expect_content(in("a"), "", 0);
    assert_int_equal(entries(), 1);
}

static uint64_t identity_of(const char *path)
{
    file_map map;

    assert_int_equal(file_map_open(path, UINT64_MAX, &map, NULL), SPRY_OK);
    uint64_t identity = map.identity;
    file_map_close(&map);
    return identity;
}

/* Also when content, name and size are the same; nothing waits for the disk here. */
static void another_file_has_another_identity(void **state)
{
    const char *path = in("file");
    file_writer *writer = NULL;

    (void)state;
    assert_int_equal(file_replace(path, "same", 4, NULL), SPRY_OK);
    uint64_t first = identity_of(path);
    assert_true(identity_of(path) == first);
    assert_int_equal(file_writer_open(NULL, path, &writer, NULL), SPRY_OK);
    assert_int_equal(file_writer_append(writer, "same", 4, NULL), SPRY_OK);
    assert_true(identity_of(path) == first);
    assert_int_equal(file_writer_commit_soon(writer, NULL), SPRY_OK);
    file_writer_close(writer);
    expect_content(path, "same", 4);
    assert_true(identity_of(path) != first);
}

static void follows_links_and_spares_devices(void **state)
{
    struct stat about;
    spry_error error;

    (void)state;
    data_write(in("real"), "old", 3);
    assert_int_equal(symlink("real", in("link")), 0);
    assert_int_equal(symlink("nothing", in("dangling")), 0);
    assert_int_equal(file_replace(in("link"), "new", 3, &error), SPRY_OK);
    expect_content(in("real"), "new", 3);
    assert_int_equal(lstat(in("link"), &about), 0);
    assert_true(S_ISLNK(about.st_mode));
    assert_int_equal(file_replace(in("dangling"), "new", 3, &error), SPRY_IO);
    assert_int_equal(file_replace("/dev/null", "new", 3, &error), SPRY_IO);
    assert_int_equal(stat("/dev/null", &about), 0);
    assert_true(S_ISCHR(about.st_mode));
    assert_int_equal(file_replace(folder, "new", 3, &error), SPRY_IO);
    assert_int_equal(file_replace(in("x/"), "new", 3, &error), SPRY_IO);
    assert_int_equal(file_replace(in("absent/x"), "new", 3, &error), SPRY_IO);
    assert_int_equal(file_replace("", "new", 3, &error), SPRY_IO);
    assert_int_equal(entries(), 3);
}

static void an_abandoned_write_changes_nothing(void **state)
{
    file_writer *writer = NULL;
    spry_error error;

    (void)state;
    data_write(in("a"), "old", 3);
    assert_int_equal(file_writer_open(NULL, in("a"), &writer, &error), SPRY_OK);
    assert_int_equal(file_writer_append(writer, "new", 3, &error), SPRY_OK);
    file_writer_close(writer);
    file_writer_close(NULL);
    expect_content(in("a"), "old", 3);
    assert_int_equal(entries(), 1);
}

static void a_full_disk_keeps_the_old_file(void **state)
{
    static const uint8_t big[300000];
    struct rlimit before;
    struct rlimit small;
    file_writer *writer = NULL;
    spry_error error;

    (void)state;
    data_write(in("a"), "old", 3);
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
    small = before;
    small.rlim_cur = 100000;
    (void)signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
    assert_int_equal(file_replace(in("a"), big, sizeof big, &error), SPRY_IO);
    assert_string_equal(error.remedy, "free some disk space or write elsewhere");
    assert_int_equal(file_writer_open(NULL, in("a"), &writer, &error), SPRY_OK);
    assert_int_equal(file_writer_append(writer, big, sizeof big, &error), SPRY_IO);
    assert_int_equal(file_writer_append(writer, big, 1, &error), SPRY_IO);
    assert_int_equal(file_writer_commit(writer, &error), SPRY_IO);
    file_writer_close(writer);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
    (void)signal(SIGXFSZ, SIG_DFL);
    expect_content(in("a"), "old", 3);
    assert_int_equal(entries(), 1);
}

/* A child that writes in small steps and dies before step `stop`; returns the number of steps. */
static void write_and_die(int stop)
{
    file_writer *writer = NULL;
    int step = 0;

    if (step++ == stop) {
        (void)raise(SIGKILL);
    }
    if (file_writer_open(NULL, in("a"), &writer, NULL) != SPRY_OK) {
        _exit(1);
    }
    for (int i = 0; i < 5; i++) {
        static uint8_t part[40000];

        if (step++ == stop) {
            (void)raise(SIGKILL);
        }
        memset(part, 'n', sizeof part);
        if (file_writer_append(writer, part, sizeof part, NULL) != SPRY_OK) {
            _exit(1);
        }
    }
    if (step++ == stop) {
        (void)raise(SIGKILL);
    }
    if (file_writer_commit(writer, NULL) != SPRY_OK) {
        _exit(1);
    }
    if (step++ == stop) {
        (void)raise(SIGKILL);
    }
    _exit(0);
}

static void killing_leaves_old_or_new(void **state)
{
    (void)state;
    for (int stop = 0; stop < 8; stop++) {
        pid_t child;
        int result = 0;

        data_write(in("a"), "old", 3);
        child = fork();
        assert_true(child >= 0);
        if (child == 0) {
            write_and_die(stop);
        }
        assert_int_equal(waitpid(child, &result, 0), child);
        assert_true(WIFSIGNALED(result));
        if (stop < 7) {
            expect_content(in("a"), "old", 3);
        } else {
            struct stat about;

            assert_int_equal(stat(in("a"), &about), 0);
            assert_int_equal(about.st_size, 200000);
        }
    }
}

/* As above, but at arbitrary moments, also inside the steps. */
static void killing_at_any_moment_leaves_whole_content(void **state)
{
    (void)state;
    data_write(in("a"), "old", 3);
    for (int i = 0; i < 60; i++) {
        pid_t child = fork();
        struct stat about;

        assert_true(child >= 0);
        if (child == 0) {
            write_and_die(-1);
        }
        (void)usleep((useconds_t)(i * 20));
        (void)kill(child, SIGKILL);
        assert_int_equal(waitpid(child, NULL, 0), child);
        assert_int_equal(stat(in("a"), &about), 0);
        assert_true(about.st_size == 3 || about.st_size == 200000);
    }
}

static void makes_folders(void **state)
{
    spry_error error;

    (void)state;
    assert_int_equal(file_make_folder(in("x/y//z/"), &error), SPRY_OK);
    assert_true(file_exists(in("x/y/z")));
    assert_int_equal(file_make_folder(in("x/y/z"), &error), SPRY_OK);
    assert_int_equal(file_make_folder("/", &error), SPRY_OK);
    assert_int_equal(file_make_folder("", &error), SPRY_IO);
    data_write(in("plain"), "", 0);
    assert_int_equal(file_make_folder(in("plain"), &error), SPRY_IO);
    assert_int_equal(file_make_folder(in("plain/more"), &error), SPRY_IO);
}

static spry_status write_something(const spry_allocator *allocator, void *context,
                                   spry_error *error)
{
    file_writer *writer = NULL;
    spry_status status = file_writer_open(allocator, context, &writer, error);

    if (status == SPRY_OK) {
        status = file_writer_append(writer, "text", 4, error);
    }
    if (status == SPRY_OK) {
        status = file_writer_commit(writer, error);
    }
    file_writer_close(writer);
    return status;
}

static void memory_may_run_out(void **state)
{
    char path[PATH_MAX];
    const char *name = in("a");

    (void)state;
    memcpy(path, name, strlen(name) + 1);
    assert_int_equal(fault_sweep(write_something, path), 1);
    expect_content(path, "text", 4);
}

#define IN_FOLDER(test) cmocka_unit_test_setup_teardown(test, make_folder, remove_folder)

int main(void)
{
    const struct CMUnitTest tests[] = {
        IN_FOLDER(maps_regular_files_only),
        IN_FOLDER(released_pages_come_back),
        IN_FOLDER(stays_inside_the_folder),
        IN_FOLDER(the_walk_by_parts_agrees),
        IN_FOLDER(replaces_whole_files),
        IN_FOLDER(another_file_has_another_identity),
        IN_FOLDER(follows_links_and_spares_devices),
        IN_FOLDER(an_abandoned_write_changes_nothing),
        IN_FOLDER(a_full_disk_keeps_the_old_file),
        IN_FOLDER(killing_leaves_old_or_new),
        IN_FOLDER(killing_at_any_moment_leaves_whole_content),
        IN_FOLDER(makes_folders),
        IN_FOLDER(memory_may_run_out),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
