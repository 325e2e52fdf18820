/* Training at the terminal. */
#include "cli/train/command.h"

#include <inttypes.h>
#include <string.h>

#include "cli/config.h"
#include "cli/interrupt.h"
#include "cli/output.h"
#include "cli/progress_bar.h"
#include "cli/train/log.h"

typedef struct listener {
    const cli_call *call;
    progress_bar bar;
    train_log log;
    train_curve *rates;
    bool prints; /* rows, to the result's stream */
    bool has_title;
    bool validates;
} listener;

/* Where there is no room left, every second point goes. */
static void keep_point(train_curve *curve, int64_t step, double value)
{
    curve->apart = curve->apart > 0 ? curve->apart : 1;
    if (curve->count == TRAIN_CURVE_POINTS) {
        for (int32_t i = 0; i < TRAIN_CURVE_POINTS / 2; i++) {
            curve->steps[i] = curve->steps[2 * i];
            curve->values[i] = curve->values[2 * i];
        }
        curve->count = TRAIN_CURVE_POINTS / 2;
        curve->apart *= 2;
    }
    if (curve->seen++ % curve->apart == 0) {
        curve->steps[curve->count] = (double)step;
        curve->values[curve->count++] = value;
    }
}

static void on_step(void *context, const spry_train_step *step)
{
    listener *l = context;

    (void)snprintf(l->bar.label, sizeof l->bar.label, "epoch %" PRId64 ", loss %.4f",
                   step->epoch + 1, step->loss);
    train_log_step(&l->log, step);
    keep_point(l->rates, step->step, step->rate);
}

static void print_row(listener *l, const spry_train_epoch *row)
{
    FILE *to = l->call->out;

    if (!l->has_title) {
        (void)fprintf(to, "epoch     step       loss  train %%%s        rate      s",
                      l->validates ? "  valid %" : "");
        for (int32_t i = 0; i < row->watched_count; i++) {
            (void)fprintf(to, "  %5s %%", row->watched_names[i]);
        }
        (void)fputc('\n', to);
        l->has_title = true;
    }
    (void)fprintf(to, "%5" PRId64 " %8" PRId64 " %10.4f  %7.2f", row->epoch, row->step, row->loss,
                  100 * row->accuracy);
    if (l->validates) {
        (void)fprintf(to, "  %7.2f", 100 * row->validation);
    }
    (void)fprintf(to, "  %10.3g %6.1f", row->rate, row->seconds);
    for (int32_t i = 0; i < row->watched_count; i++) {
        (void)fprintf(to, "  %7.2f", 100 * row->watched[i]);
    }
    (void)fputc('\n', to);
    (void)fflush(to);
}

static void on_epoch(void *context, const spry_train_epoch *epoch)
{
    listener *l = context;

    train_log_epoch(&l->log, epoch);
    if (l->prints) {
        progress_bar_end(&l->bar);
        print_row(l, epoch);
    }
}

static void on_note(void *context, const char *sentence)
{
    listener *l = context;

    progress_bar_end(&l->bar);
    output_note(l->call, "%s", sentence);
}

spry_status train_perform(const spry_model *source, train_setup *setup, train_outcome *outcome,
                          spry_error *error)
{
    listener l = {.call = setup->call,
                  .rates = &outcome->rates,
                  .prints = !cli_given(setup->call, "json") && !cli_given(setup->call, "quiet"),
                  .validates = setup->options.validation != NULL};
    const spry_train_observer observer = {on_step, on_epoch, on_note, &l};
    spry_status status = train_log_open(&l.log, cli_text(setup->call, "log"), error);

    outcome->setup = setup;
    if (status != SPRY_OK) {
        return status;
    }
    progress_bar_begin(&l.bar, setup->call);
    setup->options.observer = &observer;
    setup->options.progress = &l.bar.hook;
    status = spry_train(source, &setup->options, &outcome->trained, &outcome->facts, error);
    progress_bar_end(&l.bar);
    setup->options.observer = NULL;
    setup->options.progress = NULL;
    if (status == SPRY_OK && spry_training_totals_of(outcome->facts)->is_stopped) {
        interrupt_accept();
        output_note(setup->call, "stopped early; what was learnt so far is kept");
    }
    return train_log_close(&l.log, status, error);
}

void train_outcome_close(train_outcome *outcome)
{
    spry_training_destroy(outcome->facts);
    spry_model_destroy(outcome->trained);
}

spry_status train_run(const cli_call *call,
                      spry_status (*perform)(const cli_call *call, spry_error *error),
                      spry_error *error)
{
    cli_call whole = *call; /* with what --config says */
    const char *config = cli_text(call, "config");
    arena memory;
    spry_status status = SPRY_OK;

    arena_init(&memory, NULL, SIZE_MAX);
    if (config != NULL) {
        status = config_read(config, &whole, &memory, error);
    }
    if (status == SPRY_OK) {
        interrupt_begin();
        status = perform(&whole, error);
        interrupt_end();
    }
    arena_fini(&memory);
    return status;
}
