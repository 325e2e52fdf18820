/* Checkpoints through everything that can happen to them: replaced, cut short, killed half-way, a
 * disk that is full. */
#define _GNU_SOURCE
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/files.h"
#include "base/folder.h"
#include "support/data.h"
#include "support/fault.h"
#include "train/checkpoint.h"

enum { SIDE = 5000 };

static char root[512];

static int make_root(void **state)
{
    (void)state;
    /* Flushing to a disk hundreds of times takes seconds; what happens is the same in memory. */
    if (getenv("TMPDIR") == NULL && access("/dev/shm", W_OK) == 0) {
        assert_int_equal(setenv("TMPDIR", "/dev/shm", 1), 0);
    }
    (void)snprintf(root, sizeof root, "%s", data_make_folder());
    return 0;
}

static int remove_root(void **state)
{
    (void)state;
    data_remove_folder(root);
    return 0;
}

/* All numbers of a checkpoint follow from its step. */
static spry_status save(const char *folder, int64_t step, const checkpoint_keep *keep,
                        spry_error *error)
{
    static float weights[SIDE];
    int64_t moments[3];
    const int64_t shape[] = {SIDE};
    const int64_t three[] = {3};
    char json[64];
    tensor w;
    tensor m;
    const checkpoint_tensor tensors[] = {
        {CHECKPOINT_WEIGHTS, "net.w", &w},
        {CHECKPOINT_OPTIMIZER, "net.w", &m},
        {CHECKPOINT_OPTIMIZER, "also", &m},
    };

    for (int i = 0; i < SIDE; i++) {
        weights[i] = (float)(step * 10 + i);
    }
    for (int i = 0; i < 3; i++) {
        moments[i] = step - i;
    }
    assert_int_equal(tensor_init(&w, SPRY_DTYPE_F32, 1, shape, weights, NULL), SPRY_OK);
    assert_int_equal(tensor_init(&m, SPRY_DTYPE_I64, 1, three, moments, NULL), SPRY_OK);
    (void)snprintf(json, sizeof json, "{\"step\": %lld, \"rate\": 0.1}", (long long)step);
    return checkpoint_save(folder, step, tensors, 3, json, keep, error);
}

static void must_save(const char *folder, int64_t step, const checkpoint_keep *keep)
{
    spry_error error = {0};

    if (save(folder, step, keep, &error) != SPRY_OK) {
        fail_msg("%s: %s", error.where, error.what);
    }
}

static checkpoint *load(const char *folder)
{
    spry_error error = {0};
    checkpoint *c = NULL;

    if (checkpoint_load(folder, NULL, &c, &error) != SPRY_OK) {
        fail_msg("%s: %s", error.where, error.what);
    }
    return c;
}

/* Is it whole, and that of `step`? */
static void expect(const checkpoint *c, int64_t step)
{
    const tensor *w = checkpoint_find(c, CHECKPOINT_WEIGHTS, "net.w");
    const tensor *m = checkpoint_find(c, CHECKPOINT_OPTIMIZER, "also");
    json_node node;
    int64_t found = -1;

    assert_int_equal(checkpoint_step(c), step);
    assert_non_null(w);
    assert_non_null(m);
    assert_int_equal(tensor_count(w), SIDE);
    for (int i = 0; i < SIDE; i++) {
        assert_true(((const float *)w->data)[i] == (float)(step * 10 + i));
    }
    assert_int_equal(((const int64_t *)m->data)[2], step - 2);
    json_root(checkpoint_state(c), &node);
    assert_int_equal(json_get_i64(&node, "step", 0, INT64_MAX, &found, NULL), SPRY_OK);
    assert_int_equal(found, step);
}

static void expect_loaded(const char *folder, int64_t step, const char *warning)
{
    checkpoint *c = load(folder);

    expect(c, step);
    if (warning == NULL) {
        assert_null(checkpoint_warning(c));
    } else {
        assert_non_null(checkpoint_warning(c));
        assert_non_null(strstr(checkpoint_warning(c), warning));
    }
    checkpoint_close(c);
}

static spry_status count_entry(void *context, const char *name, spry_error *error)
{
    int *count = context;

    (void)name;
    (void)error;
    ++*count;
    return SPRY_OK;
}

static int entries(const char *folder)
{
    int count = 0;

    assert_int_equal(folder_list(folder, count_entry, &count, NULL), SPRY_OK);
    return count;
}

static bool has_step(const char *folder, int64_t step)
{
    char name[64];

    (void)snprintf(name, sizeof name, "step-%08lld", (long long)step);
    return file_exists(data_join(folder, name));
}

/* A folder of its own for each test. */
static void open_folder(char folder[600], const char *name)
{
    (void)snprintf(folder, 600, "%s/%s/deep", root, name);
}

static void what_is_saved_is_loaded(void **state)
{
    char folder[600];
    checkpoint *c;
    checkpoint *none = NULL;

    (void)state;
    open_folder(folder, "plain");
    assert_false(checkpoint_exists(folder));
    assert_int_equal(checkpoint_load(folder, NULL, &none, NULL), SPRY_IO);
    assert_null(none);
    must_save(folder, 7, NULL);
    assert_true(checkpoint_exists(folder));
    c = load(folder);
    expect(c, 7);
    assert_null(checkpoint_warning(c));
    assert_int_equal(checkpoint_count(c, CHECKPOINT_WEIGHTS), 1);
    assert_int_equal(checkpoint_count(c, CHECKPOINT_OPTIMIZER), 2);
    assert_string_equal(checkpoint_name(c, CHECKPOINT_OPTIMIZER, 0), "also");
    assert_null(checkpoint_name(c, CHECKPOINT_OPTIMIZER, 2));
    assert_null(checkpoint_at(c, CHECKPOINT_OPTIMIZER, 2));
    assert_null(checkpoint_find(c, CHECKPOINT_WEIGHTS, "also"));
    assert_string_equal(checkpoint_path(c), data_join(folder, "step-00000007"));
    checkpoint_close(c);
    expect_loaded(data_join(folder, "step-00000007/"), 7, NULL);
    checkpoint_close(NULL);
    /* Its own sums are those of the usual program. */
    assert_int_equal(entries(data_join(folder, "step-00000007")), 4);
}

static void a_step_can_be_saved_again(void **state)
{
    char folder[600];

    (void)state;
    open_folder(folder, "again");
    must_save(folder, 5, NULL);
    must_save(folder, 9, NULL);
    data_write(data_join(folder, "step-00000005/state.json"), "{}", 2);
    must_save(folder, 5, NULL);
    assert_int_equal(entries(folder), 3);
    expect_loaded(folder, 5, NULL); /* the latest, though not the highest */
    expect_loaded(data_join(folder, "step-00000009"), 9, NULL);
}

static void the_last_and_the_best_are_kept(void **state)
{
    const checkpoint_keep last = {.last = 2};
    const checkpoint_keep best = {.last = 2, .best = true};
    char folder[600];

    (void)state;
    open_folder(folder, "keep");
    for (int64_t step = 10; step <= 60; step += 10) {
        must_save(folder, step, step == 20 ? &best : &last);
    }
    assert_true(has_step(folder, 20) && has_step(folder, 50) && has_step(folder, 60));
    assert_int_equal(entries(folder), 5);
    must_save(folder, 70, &best);
    assert_false(has_step(folder, 20) || has_step(folder, 50));
    /* Going back: later ones belong to somebody else's plans. */
    must_save(folder, 5, &last);
    must_save(folder, 6, &last);
    must_save(folder, 8, &last);
    assert_false(has_step(folder, 5));
    assert_true(has_step(folder, 6) && has_step(folder, 8) && has_step(folder, 70));
    expect_loaded(folder, 8, NULL);
}

static void damaged_ones_are_passed_over(void **state)
{
    static const char *const files[] = {"weights.safetensors", "optimizer.safetensors",
                                        "state.json", "SHA256SUMS"};
    static const char *const complaints[] = {"content", "content", "content", "not complete"};
    char folder[600];
    char path[700];
    checkpoint *c = NULL;
    spry_error error = {0};

    (void)state;
    open_folder(folder, "damaged");
    must_save(folder, 1, NULL);
    for (size_t i = 0; i < 4; i++) {
        struct stat about;
        int file;
        char byte;

        must_save(folder, 2, NULL);
        (void)snprintf(path, sizeof path, "%s/step-00000002/%s", folder, files[i]);
        assert_int_equal(stat(path, &about), 0);
        assert_int_equal(truncate(path, about.st_size / 2), 0); /* cut short */
        expect_loaded(folder, 1, complaints[i]);
        assert_int_equal(truncate(path, 0), 0);
        expect_loaded(folder, 1, complaints[i]);
        must_save(folder, 2, NULL);
        file = open(path, O_RDWR | O_CLOEXEC); /* one bit */
        assert_int_equal(pread(file, &byte, 1, about.st_size / 3), 1);
        byte ^= 1;
        assert_int_equal(pwrite(file, &byte, 1, about.st_size / 3), 1);
        assert_int_equal(close(file), 0);
        expect_loaded(folder, 1, files[i]);
        assert_int_equal(unlink(path), 0); /* gone */
        expect_loaded(folder, 1, files[i]);
    }
    assert_int_equal(checkpoint_load(data_join(folder, "step-00000002"), NULL, &c, NULL), SPRY_IO);
    (void)snprintf(path, sizeof path, "%s/step-00000001/state.json", folder);
    data_write(path, "x", 1);
    assert_int_equal(checkpoint_load(folder, NULL, &c, &error), SPRY_BAD_INPUT);
    assert_non_null(strstr(error.what, "none of its 2"));
    assert_true(checkpoint_exists(folder));
}

/* What a process that ends between any two of its acts leaves behind. */
static void interrupted_acts_leave_the_older_ones(void **state)
{
    char folder[600];
    char path[700];
    char aside[700];

    (void)state;
    open_folder(folder, "interrupted");
    must_save(folder, 1, NULL);
    must_save(folder, 2, NULL);
    /* Named, but not yet the latest. */
    data_write(data_join(folder, "latest"), "step-00000001\n", 14);
    expect_loaded(folder, 1, NULL);
    /* Not named: the temporary folder stays until the next save. */
    (void)snprintf(path, sizeof path, "%s/step-00000002", folder);
    (void)snprintf(aside, sizeof aside, "%s/tmp-0123456789abcdef", folder);
    assert_int_equal(rename(path, aside), 0);
    expect_loaded(folder, 1, NULL);
    must_save(folder, 3, NULL);
    assert_false(file_exists(aside));
    /* The latest names nothing, nonsense, or is not there. */
    data_write(data_join(folder, "latest"), "step-00000002\n", 14);
    expect_loaded(folder, 1, "is not there");
    data_write(data_join(folder, "latest"), "../../etc/passwd\n", 17);
    expect_loaded(folder, 3, NULL);
    assert_int_equal(unlink(data_join(folder, "latest")), 0);
    expect_loaded(folder, 3, NULL);
    /* Files of the user's are left alone. */
    data_write(data_join(folder, "tmp-notes"), "mine", 4);
    data_write(data_join(folder, "tmp-0123456789abcde0"), "mine", 4);
    must_save(folder, 4, NULL);
    assert_true(file_exists(data_join(folder, "tmp-notes")));
    assert_true(file_exists(data_join(folder, "tmp-0123456789abcde0")));
}

/* Saves steps until it is killed; never returns. */
static void save_for_ever(const char *folder, int64_t step)
{
    const checkpoint_keep keep = {.last = 2};

    for (;;) {
        if (save(folder, step++, &keep, NULL) != SPRY_OK) {
            _exit(1);
        }
    }
}

static void killed_processes_leave_whole_checkpoints(void **state)
{
    enum { KILLS = 30 };
    char folder[600];
    int64_t before = 1;
    int64_t one;

    (void)state;
    open_folder(folder, "killed");
    must_save(folder, before, NULL);
    one = clock_ns();
    must_save(folder, before, NULL);
    one = clock_ns() - one;
    for (int i = 0; i < KILLS; i++) {
        /* From none to three times what saving takes. */
        const struct timespec wait = {0, (long)(one * 3 * (i * 7 % KILLS) / KILLS) % 1000000000};
        checkpoint *c;
        int how;
        pid_t child = fork();

        assert_true(child >= 0);
        if (child == 0) {
            save_for_ever(folder, before + 1);
        }
        (void)nanosleep(&wait, NULL);
        assert_int_equal(kill(child, SIGKILL), 0);
        assert_int_equal(waitpid(child, &how, 0), child);
        assert_true(WIFSIGNALED(how));
        c = load(folder);
        assert_null(checkpoint_warning(c));
        assert_true(checkpoint_step(c) >= before);
        before = checkpoint_step(c);
        expect(c, before);
        checkpoint_close(c);
    }
    assert_true(before > 1);
}

/* Files cannot grow beyond a limit, as on a disk that is full at that point. */
static void full_disks_leave_the_older_ones(void **state)
{
    static const rlim_t limits[] = {0, 10, 300, 8000, 20100};
    char folder[600];

    (void)state;
    open_folder(folder, "full");
    must_save(folder, 1, NULL);
    for (size_t i = 0; i < sizeof limits / sizeof limits[0]; i++) {
        int how;
        pid_t child = fork();

        assert_true(child >= 0);
        if (child == 0) {
            const struct rlimit limit = {limits[i], limits[i]};
            spry_error error = {.code = SPRY_OK};
            bool right;

            (void)signal(SIGXFSZ, SIG_IGN);
            right = setrlimit(RLIMIT_FSIZE, &limit) == 0 &&
                    save(folder, 2, NULL, &error) == SPRY_IO && error.remedy[0] != '\0';
            _exit(right ? 0 : 1);
        }
        assert_int_equal(waitpid(child, &how, 0), child);
        assert_true(WIFEXITED(how));
        assert_int_equal(WEXITSTATUS(how), 0);
        assert_int_equal(entries(folder), 2); /* latest, and step 1 */
        expect_loaded(folder, 1, NULL);
    }
}

static void wrong_calls_are_refused(void **state)
{
    static float number = 1;
    const int64_t one[] = {1};
    tensor t;
    const checkpoint_tensor twice[] = {{CHECKPOINT_WEIGHTS, "a", &t},
                                       {CHECKPOINT_WEIGHTS, "a", &t}};
    char folder[600];
    spry_error error = {0};
    int lock;

    (void)state;
    open_folder(folder, "wrong");
    assert_int_equal(tensor_init(&t, SPRY_DTYPE_F32, 1, one, &number, NULL), SPRY_OK);
    assert_int_equal(checkpoint_save(folder, -1, twice, 1, "{}", NULL, NULL), SPRY_USAGE);
    assert_int_equal(checkpoint_save(folder, 1, twice, 1, "{", NULL, NULL), SPRY_BAD_INPUT);
    assert_int_equal(checkpoint_save(folder, 1, twice, 1, "[]", NULL, NULL), SPRY_BAD_INPUT);
    assert_int_equal(checkpoint_save(folder, 1, twice, 2, "{}", NULL, NULL), SPRY_USAGE);
    assert_int_equal(entries(folder), 0);
    assert_int_equal(checkpoint_save(folder, 1, NULL, 0, "{}", NULL, NULL), SPRY_OK);
    assert_int_equal(folder_lock(folder, &lock, NULL), SPRY_OK);
    assert_int_equal(checkpoint_save(folder, 2, twice, 1, "{}", NULL, &error), SPRY_IO);
    assert_non_null(strstr(error.what, "another process"));
    folder_unlock(lock);
    assert_int_equal(checkpoint_save("/proc/nowhere", 2, twice, 1, "{}", NULL, NULL), SPRY_IO);
}

static spry_status load_once(const spry_allocator *allocator, void *context, spry_error *error)
{
    checkpoint *c = NULL;
    spry_status status = checkpoint_load(context, allocator, &c, error);

    checkpoint_close(c);
    return status;
}

static void failing_allocations_leak_nothing(void **state)
{
    char folder[600];

    (void)state;
    open_folder(folder, "sweep");
    must_save(folder, 1, NULL);
    must_save(folder, 2, NULL);
    data_write(data_join(folder, "step-00000002/state.json"), "{}", 2);
    assert_true(fault_sweep(load_once, folder) > 5);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_saved_is_loaded),
        cmocka_unit_test(a_step_can_be_saved_again),
        cmocka_unit_test(the_last_and_the_best_are_kept),
        cmocka_unit_test(damaged_ones_are_passed_over),
        cmocka_unit_test(interrupted_acts_leave_the_older_ones),
        cmocka_unit_test(killed_processes_leave_whole_checkpoints),
        cmocka_unit_test(full_disks_leave_the_older_ones),
        cmocka_unit_test(wrong_calls_are_refused),
        cmocka_unit_test(failing_allocations_leak_nothing),
    };

    return cmocka_run_group_tests(tests, make_root, remove_root);
}
