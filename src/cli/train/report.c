/* What came of training. */
#include <inttypes.h>
#include <string.h>

#include "cli/output.h"
#include "cli/train/page.h"

static void print_text(const train_outcome *o)
{
    const spry_training_totals *t = spry_training_totals_of(o->facts);
    FILE *to = o->setup->call->out;

    (void)fprintf(to, "\n%s after %" PRId64 " steps, loss %.4f", t->is_stopped ? "stopped" : "done",
                  t->steps, t->loss);
    if (t->best >= 0) {
        (void)fprintf(to, ", best validation %.2f %% in epoch %" PRId64, 100 * t->best,
                      t->best_epoch + 1);
    }
    (void)fprintf(to,
                  "\n%" PRId64 " of %" PRId64
                  " parameters trained (%.2f %%), %.1f samples/s, %.1f s, "
                  "%.1f MB for a step, %.1f MB of weights and state\n",
                  t->trained, t->parameters,
                  t->parameters > 0 ? 100.0 * (double)t->trained / (double)t->parameters : 0,
                  t->samples_per_second, t->seconds, (double)t->arena_bytes * 1e-6,
                  (double)t->weight_bytes * 1e-6);
    if (t->noise > 0) {
        (void)fprintf(
            to,
            "private%s: epsilon %.3f at delta %g for adding or removing one sample; noise "
            "%.4f, clip %g\n",
            o->setup->options.private_seeded ? " on paper only (--dp-seeded)" : "", t->epsilon,
            o->setup->options.private_delta, t->noise, o->setup->options.private_clip);
    }
    if (o->output != NULL) {
        (void)fprintf(to, "wrote %s\n", o->output);
    }
    if (cli_given(o->setup->call, "html")) {
        (void)fprintf(to, "wrote %s\n", cli_text(o->setup->call, "html"));
    }
}

static void write_epochs(const train_outcome *o, json_writer *json)
{
    const spry_train_epoch *rows = NULL;
    int64_t count = spry_training_epochs(o->facts, &rows);

    json_write_array(json, "epochs");
    for (int64_t i = 0; i < count; i++) {
        json_write_object(json, NULL);
        json_write_i64(json, "epoch", rows[i].epoch);
        json_write_i64(json, "step", rows[i].step);
        json_write_f64(json, "loss", rows[i].loss);
        json_write_f64(json, "accuracy", rows[i].accuracy);
        if (rows[i].validation >= 0) {
            json_write_f64(json, "validation", rows[i].validation);
            json_write_f64(json, "validation_loss", rows[i].validation_loss);
        }
        json_write_f64(json, "rate", rows[i].rate);
        json_write_f64(json, "seconds", rows[i].seconds);
        json_write_end(json);
    }
    json_write_end(json);
}

static spry_status print_json(const train_outcome *o, spry_error *error)
{
    const cli_call *call = o->setup->call;
    const spry_training_totals *t = spry_training_totals_of(o->facts);
    const output_record record = {.model = o->model,
                                  .threads = o->setup->options.threads,
                                  .is_seeded = true,
                                  .seed = o->setup->options.seed};
    output_document document;
    json_writer *json = &document.json;
    spry_status status;

    output_begin(&document, call);
    if (o->output != NULL) {
        json_write_string(json, "output", o->output);
    }
    json_write_string(json, "data", cli_text(call, "data"));
    json_write_i64(json, "steps", t->steps);
    json_write_bool(json, "stopped", t->is_stopped);
    json_write_i64(json, "trained_parameters", t->trained);
    json_write_i64(json, "parameters", t->parameters);
    json_write_f64(json, "loss", t->loss);
    if (t->best >= 0) {
        json_write_f64(json, "best_validation", t->best);
        json_write_i64(json, "best_epoch", t->best_epoch + 1);
    }
    if (t->noise > 0) {
        json_write_f64(json, "epsilon", t->epsilon);
        json_write_f64(json, "delta", o->setup->options.private_delta);
        json_write_f64(json, "noise", t->noise);
        json_write_bool(json, "is_private", !o->setup->options.private_seeded);
    }
    json_write_f64(json, "seconds", t->seconds);
    json_write_f64(json, "samples_per_second", t->samples_per_second);
    json_write_u64(json, "arena_bytes", t->arena_bytes);
    json_write_u64(json, "weight_bytes", t->weight_bytes);
    json_write_i64(json, "skipped_samples", t->skipped);
    write_epochs(o, json);
    status = output_write_record(json, &record, error);
    if (status != SPRY_OK) {
        output_drop(&document);
        return status;
    }
    return output_end(&document, call, error);
}

spry_status train_tell(const train_outcome *o, spry_error *error)
{
    const char *page = cli_text(o->setup->call, "html");

    if (page != NULL) {
        spry_status status = train_page_write(o, page, error);

        if (status != SPRY_OK) {
            return status;
        }
    }
    if (cli_given(o->setup->call, "json")) {
        return print_json(o, error);
    }
    if (!cli_given(o->setup->call, "quiet")) {
        print_text(o);
    }
    return SPRY_OK;
}
