/* From options to a model that can be run. */
#include "cli/subject.h"

#include <string.h>

#include "base/clock.h"
#include "base/files.h"
#include "base/parse.h"
#include "cli/output.h"

const char *const subject_precisions[] = {"f32", "bf16", "int8", NULL};

spry_precision subject_precision_of(const char *name)
{
    int index = 0;

    while (strcmp(subject_precisions[index], name) != 0) {
        index++;
    }
    return (spry_precision)index;
}

/* A plan is for a number of threads and a precision; which ones, it says. */
static spry_status open_plan(subject *s, const cli_call *call, const char *path, spry_error *error)
{
    spry_status status = spry_tuning_load(NULL, path, &s->tuning, error);
    const spry_tune_totals *plan;

    if (status == SPRY_OK) {
        status = spry_tuning_check(s->tuning, s->model, error);
    }
    if (status != SPRY_OK) {
        return status;
    }
    plan = spry_tuning_totals(s->tuning);
    if (cli_given(call, "threads") && s->options.threads != plan->threads) {
        return spry_fail(error, SPRY_USAGE, path, "make a plan for these: spry tune --threads N",
                         "was made for %d threads, not for %d", plan->threads, s->options.threads);
    }
    if (cli_given(call, "precision") && s->options.precision != plan->precision) {
        return spry_fail(error, SPRY_USAGE, path, "make a plan for it: spry tune --precision TYPE",
                         "was made for %s", subject_precisions[plan->precision]);
    }
    s->options.threads = plan->threads;
    s->options.precision = plan->precision;
    s->options.blocks = spry_tuning_blocks(s->tuning);
    return SPRY_OK;
}

spry_status subject_open(subject *s, const cli_call *call, spry_error *error)
{
    return subject_open_path(s, call, call->arguments[0], error);
}

spry_status subject_open_path(subject *s, const cli_call *call, const char *path, spry_error *error)
{
    int64_t start = clock_ns();
    spry_status status;

    *s = (subject){.path = path, .options = spry_session_options_default()};
    s->options.threads = (int)cli_integer(call, "threads");
    s->options.precision = subject_precision_of(cli_text(call, "precision"));
    s->options.seed = (uint64_t)cli_integer(call, "seed");
    s->options.plan_cache = cli_text(call, "plan-cache");
    if (s->options.plan_cache != NULL) {
        status = file_make_folder(s->options.plan_cache, error);
        if (status != SPRY_OK) {
            return status;
        }
    }
    status = spry_model_load(NULL, s->path, &s->model, error);
    if (status == SPRY_OK && path == call->arguments[0] && cli_text(call, "plan") != NULL) {
        status = open_plan(s, call, cli_text(call, "plan"), error);
    }
    s->load_ms = (double)(clock_ns() - start) * 1e-6;
    return status;
}

spry_status subject_open_session(subject *s, spry_error *error)
{
    int64_t start = clock_ns();
    spry_status status;

    spry_session_destroy(s->session);
    s->session = NULL;
    status = spry_session_create(s->model, &s->options, &s->session, error);
    s->load_ms += (double)(clock_ns() - start) * 1e-6;
    return status;
}

void subject_tell_cache(const subject *s, const cli_call *call)
{
    if (s->options.plan_cache != NULL && s->session != NULL) {
        output_detail(call, "plan cache: %s", spry_session_plan_cache(s->session));
    }
}

void subject_close(subject *s)
{
    spry_feed_destroy(s->feed);
    spry_session_destroy(s->session);
    spry_model_destroy(s->model);
    spry_tuning_destroy(s->tuning);
}

/* ---- inputs ---- */

/* "batch=8"; the name may itself contain '='. */
static spry_status set_dimension(spry_feed *feed, const char *word, spry_error *error)
{
    const char *equals = strrchr(word, '=');
    char name[1024];
    int64_t size;

    if (equals == NULL || equals == word || (size_t)(equals - word) >= sizeof name ||
        !parse_i64(equals + 1, 0, INT32_MAX, &size)) {
        return spry_fail(error, SPRY_USAGE, "--set", "write --set batch=8",
                         "'%s' is not NAME=N with a whole number N", word);
    }
    (void)snprintf(name, sizeof name, "%.*s", (int)(equals - word), word);
    return spry_feed_set_dimension(feed, name, size, error);
}

/* "NAME=FILE" or "FILE". A file whose name contains '=' is recognised by being there. */
static spry_status load_input(spry_feed *feed, const char *word, const spry_preprocess *recipe,
                              spry_error *error)
{
    const char *equals = strchr(word, '=');
    char name[1024];

    if (equals == NULL || file_exists(word)) {
        return spry_feed_load(feed, NULL, word, recipe, error);
    }
    if ((size_t)(equals - word) >= sizeof name) {
        return spry_fail(error, SPRY_USAGE, "--input", NULL, "the input's name is too long");
    }
    (void)snprintf(name, sizeof name, "%.*s", (int)(equals - word), word);
    return spry_feed_load(feed, name, equals + 1, recipe, error);
}

static spry_status set_dimensions(spry_feed *feed, const cli_call *call, spry_error *error)
{
    spry_status status = SPRY_OK;
    const char *word;

    for (int i = 0; status == SPRY_OK && (word = cli_value(call, "set", i)) != NULL; i++) {
        status = set_dimension(feed, word, error);
    }
    return status;
}

static spry_status load_inputs(spry_feed *feed, const cli_call *call, spry_error *error)
{
    spry_preprocess recipe;
    spry_status status = spry_preprocess_parse(cli_text(call, "preprocess"), &recipe, error);
    const char *word;

    for (int i = 0; status == SPRY_OK && (word = cli_value(call, "input", i)) != NULL; i++) {
        status = load_input(feed, word, &recipe, error);
    }
    return status;
}

/* Results from random numbers must not be taken for results. */
static void say_what_was_assumed(const spry_feed *feed, const cli_call *call)
{
    for (int32_t i = 0; i < spry_feed_dimension_count(feed); i++) {
        spry_feed_dimension d = spry_feed_dimension_at(feed, i);

        if (d.is_assumed) {
            output_note(call, "dimension %s is taken as 1 (change it with --set %s=SIZE)", d.name,
                        d.name);
        }
    }
    for (int32_t i = 0; i < spry_feed_count(feed); i++) {
        if (spry_feed_is_random(feed, i)) {
            output_note(call, "input %s is random, seed %s (give a file with -i %s=FILE)",
                        spry_feed_name(feed, i), cli_text(call, "seed"), spry_feed_name(feed, i));
        }
    }
}

spry_status subject_fill(spry_feed *feed, const cli_call *call, uint64_t seed, spry_error *error)
{
    spry_status status = load_inputs(feed, call, error);

    if (status == SPRY_OK) {
        status = spry_feed_fill_random(feed, seed, error);
    }
    if (status == SPRY_OK) {
        say_what_was_assumed(feed, call);
    }
    return status;
}

spry_status subject_gather(subject *s, const cli_call *call, spry_error *error)
{
    spry_status status = spry_feed_create(NULL, s->model, &s->feed, error);

    if (status == SPRY_OK) {
        status = set_dimensions(s->feed, call, error);
    }
    return status == SPRY_OK ? subject_fill(s->feed, call, s->options.seed, error) : status;
}
