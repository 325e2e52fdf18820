/* Tuning whole models: the same bits with the plan as without, plans that cover the layers, files
 * that run, and a search that ends when it is told to. */
#define _GNU_SOURCE
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "spry/architecture.h"
#include "spry/tune.h"

/* A small network with residual blocks, from a file, as plans name their model. */
typedef struct subject {
    char path[64];
    spry_model *m;
    spry_feed *feed;
} subject;

static void open_subject(subject *s, int64_t batch)
{
    spry_architecture_options options;
    spry_model *made = NULL;
    int file;

    *s = (subject){.path = "/tmp/spry_tune_XXXXXX"};
    file = mkstemp(s->path);
    assert_true(file >= 0);
    (void)close(file);
    options = spry_architecture_options_default();
    options.height = options.width = 24;
    assert_int_equal(spry_architecture_create(NULL, "resnet20", &options, &made, NULL), SPRY_OK);
    assert_int_equal(spry_model_save(made, s->path, NULL), SPRY_OK);
    spry_model_destroy(made);
    assert_int_equal(spry_model_load(NULL, s->path, &s->m, NULL), SPRY_OK);
    assert_int_equal(spry_feed_create(NULL, s->m, &s->feed, NULL), SPRY_OK);
    if (batch > 1) {
        assert_int_equal(spry_feed_set_dimension(s->feed, "N", batch, NULL), SPRY_OK);
    }
    assert_int_equal(spry_feed_fill_random(s->feed, 5, NULL), SPRY_OK);
}

static void close_subject(subject *s)
{
    spry_feed_destroy(s->feed);
    spry_model_destroy(s->m);
    (void)unlink(s->path);
}

static spry_value *run(const subject *s, int count, const spry_blocks *blocks)
{
    spry_session_options options = spry_session_options_default();
    spry_session *session = NULL;
    spry_value *output = NULL;
    spry_error error = {0};

    options.threads = count;
    options.blocks = blocks;
    assert_int_equal(spry_session_create(s->m, &options, &session, &error), SPRY_OK);
    if (spry_feed_run(s->feed, session, 1, &output, &error) != SPRY_OK) {
        fail_msg("%s: %s", error.where, error.what);
    }
    spry_session_destroy(session);
    return output;
}

/* Runs with and without the plan of a strategy. */
static void check(const subject *s, spry_tune_strategy strategy, double seconds, int count)
{
    spry_tune_options options = spry_tune_options_default();
    const spry_tune_totals *totals;
    const spry_tune_row *rows;
    spry_tuning *t = NULL;
    spry_error error = {0};
    spry_value *plain;
    spry_value *planned;
    const spry_tensor *a;
    const spry_tensor *b;
    int32_t layers = 0;

    options.strategy = strategy;
    options.seconds = seconds;
    options.threads = count;
    if (spry_tune(s->m, s->feed, &options, &t, &error) != SPRY_OK) {
        fail_msg("%s: %s", error.where, error.what);
    }
    totals = spry_tuning_totals(t);
    assert_int_equal(totals->threads, count);
    assert_int_equal(totals->measured_ms > 0, seconds > 0);
    assert_true(seconds <= 0 || totals->measured_ms <= totals->unfused_ms);
    for (int32_t i = 0; i < spry_tuning_rows(t, &rows); i++) {
        layers += rows[i].block->layer_count;
        assert_in_range(rows[i].block->threads, 1, count);
        assert_true(rows[i].predicted_ms > 0);
        assert_int_equal(rows[i].between > 0, rows[i].block->layer_count > 1);
    }
    assert_true(layers >= 19);
    assert_int_equal(spry_tuning_check(t, s->m, &error), SPRY_OK);
    if (strategy <= SPRY_TUNE_S3 && seconds <= 0) {
        assert_int_equal(spry_tuning_rows(t, &rows), layers);
    }
    plain = run(s, count, &(spry_blocks){NULL, 0});
    planned = run(s, count, spry_tuning_blocks(t));
    a = spry_value_tensor(plain);
    b = spry_value_tensor(planned);
    assert_memory_equal(spry_tensor_const_data(a), spry_tensor_const_data(b), spry_tensor_bytes(a));
    spry_value_destroy(plain);
    spry_value_destroy(planned);
    spry_tuning_destroy(t);
}

/* Without measuring: what is foretold runs, with the same bits. */
static void foretold(void **state)
{
    subject s;

    (void)state;
    open_subject(&s, 1);
    for (int k = SPRY_TUNE_S1; k <= SPRY_TUNE_MEASURED; k++) {
        check(&s, (spry_tune_strategy)k, 0, 2);
    }
    check(&s, SPRY_TUNE_S7, 0, 1);
    close_subject(&s);
    open_subject(&s, 3);
    check(&s, SPRY_TUNE_S6, 0, 2);
    close_subject(&s);
}

static void measured(void **state)
{
    subject s;

    (void)state;
    open_subject(&s, 1);
    check(&s, SPRY_TUNE_MEASURED, 0.05, 2);
    check(&s, SPRY_TUNE_S4, 0.02, 1);
    close_subject(&s);
}

static bool stop_at(void *context, const char *task, double done, double total)
{
    int *left = context;

    (void)task;
    (void)done;
    (void)total;
    return (*left)-- > 0;
}

/* Stopped at any question it ends with a plan that runs. */
static void stopped(void **state)
{
    spry_tune_options options = spry_tune_options_default();
    subject s;

    (void)state;
    open_subject(&s, 1);
    options.seconds = 30;
    options.threads = 1;
    for (int questions = 0; questions < 3; questions++) {
        int left = questions;
        const spry_progress progress = {stop_at, &left};
        spry_tuning *t = NULL;
        spry_value *v;

        options.progress = &progress;
        assert_int_equal(spry_tune(s.m, s.feed, &options, &t, NULL), SPRY_OK);
        assert_true(spry_tuning_totals(t)->was_stopped);
        v = run(&s, 1, spry_tuning_blocks(t));
        spry_value_destroy(v);
        spry_tuning_destroy(t);
    }
    close_subject(&s);
}

static void refusals(void **state)
{
    spry_tune_options options = spry_tune_options_default();
    spry_tuning *t = NULL;
    spry_error error = {0};
    subject s;

    (void)state;
    open_subject(&s, 1);
    options.struct_size = 3;
    assert_int_equal(spry_tune(s.m, s.feed, &options, &t, &error), SPRY_USAGE);
    options = spry_tune_options_default();
    options.seconds = -1;
    assert_int_equal(spry_tune(s.m, s.feed, &options, &t, &error), SPRY_USAGE);
    options = spry_tune_options_default();
    options.threads = 5000;
    assert_int_equal(spry_tune(s.m, s.feed, &options, &t, &error), SPRY_USAGE);
    options = spry_tune_options_default();
    options.target = "nowhere";
    assert_int_equal(spry_tune(s.m, s.feed, &options, &t, &error), SPRY_USAGE);
    options.target = "v100"; /* no CPU */
    assert_int_equal(spry_tune(s.m, s.feed, &options, &t, &error), SPRY_BAD_INPUT);
    assert_null(t);
    close_subject(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(foretold),
        cmocka_unit_test(measured),
        cmocka_unit_test(stopped),
        cmocka_unit_test(refusals),
    };

    (void)setenv("XDG_CACHE_HOME", "/tmp/spry-no-such-cache", 1); /* not calibrated */
    return cmocka_run_group_tests(tests, NULL, NULL);
}
