/* The float and the quantized file beside each other: size, latency, accuracy, and a verdict. */
#include <stdlib.h>
#include <sys/stat.h>

#include "cli/output.h"
#include "cli/progress_bar.h"
#include "cli/quantize/command.h"
#include "cli/race.h"
#include "spry/evaluate.h"

typedef struct rival {
    spry_model *model;
    spry_session *session;
} rival;

static void close_rival(rival *r)
{
    spry_session_destroy(r->session);
    spry_model_destroy(r->model);
}

/* From the file, as the next user will. */
static spry_status open_rival(const quantize_state *q, const char *path, rival *r,
                              spry_error *error)
{
    spry_session_options session = spry_session_options_default();
    spry_status status = spry_model_load(NULL, path, &r->model, error);

    session.threads = q->options.threads;
    if (status == SPRY_OK) {
        status = spry_session_create(r->model, &session, &r->session, error);
    }
    return status;
}

static spry_status race(quantize_state *q, const rival *before, const rival *after,
                        spry_error *error)
{
    const race_side sides[2] = {{before->model, before->session}, {after->model, after->session}};
    race_result result = {0};
    spry_status status = race_run(sides, &result, error);

    q->result.before.median_ms = result.ms[0];
    q->result.after.median_ms = result.ms[1];
    q->result.speed_up = result.speed_up;
    return status;
}

static spry_status evaluate(quantize_state *q, const rival *r, double *top1, spry_error *error)
{
    spry_evaluate_options asked = spry_evaluate_options_default();
    spry_evaluation *evaluation = NULL;
    progress_bar bar;
    spry_status status;

    progress_bar_begin(&bar, q->call);
    asked.recipe = &q->recipe;
    asked.limit = cli_integer(q->call, "limit");
    asked.class_offset = cli_integer(q->call, "class-offset");
    asked.progress = &bar.hook;
    status = spry_evaluate(r->model, r->session, q->data, &asked, &evaluation, error);
    progress_bar_end(&bar);
    if (status == SPRY_OK) {
        *top1 = spry_evaluation_totals(evaluation)->top1;
    }
    spry_evaluation_destroy(evaluation);
    return status;
}

static int64_t file_bytes(const char *path)
{
    struct stat status;

    return stat(path, &status) == 0 ? (int64_t)status.st_size : 0;
}

void quantize_compare_sizes(quantize_state *q)
{
    q->result.before.bytes = file_bytes(q->result.source);
    q->result.after.bytes = file_bytes(q->result.output);
}

spry_status quantize_compare_sides(quantize_state *q, spry_error *error)
{
    quantize_result *r = &q->result;
    rival before = {0};
    rival after = {0};
    spry_status status = open_rival(q, r->source, &before, error);

    quantize_compare_sizes(q);
    if (status == SPRY_OK) {
        status = open_rival(q, r->output, &after, error);
    }
    if (status == SPRY_OK && !cli_given(q->call, "no-bench")) {
        status = race(q, &before, &after, error);
    }
    if (status == SPRY_OK && q->data != NULL) {
        status = evaluate(q, &before, &r->before.top1, error);
    }
    if (status == SPRY_OK && q->data != NULL) {
        status = evaluate(q, &after, &r->after.top1, error);
    }
    close_rival(&before);
    close_rival(&after);
    return status;
}
/* ---- verdict ---- */

/* A model that is slower, or too much worse, is no success. */
spry_status quantize_judge(const quantize_state *q)
{
    const quantize_result *r = &q->result;
    double drop = 100.0 * (r->before.top1 - r->after.top1);
    spry_status status = SPRY_OK;

    if (q->options.activation_bits != 0 && r->speed_up > 0.0 && r->speed_up < 1.0) {
        output_warn(q->call, "the quantized model is slower on this machine: %.2f x", r->speed_up);
        status = SPRY_NEGATIVE;
    }
    if (cli_given(q->call, "max-drop") && drop > cli_number(q->call, "max-drop")) {
        output_warn(q->call, "top-1 falls by %.2f points, more than %s", drop,
                    cli_text(q->call, "max-drop"));
        status = SPRY_NEGATIVE;
    }
    if (q->mixed != NULL && !spry_mixed_is_met(q->mixed)) {
        output_warn(q->call, "no assignment of bits keeps the bounds; this one comes closest");
        status = SPRY_NEGATIVE;
    }
    return status;
}
