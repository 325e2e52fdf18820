/* The report of spry quantize as JSON. */
#include <math.h>

#include "cli/output.h"
#include "cli/quantize/report.h"

static void write_side(json_writer *json, const char *name, const quantize_side *s)
{
    json_write_object(json, name);
    json_write_i64(json, "bytes", s->bytes);
    if (s->median_ms > 0.0) {
        json_write_f64(json, "median_ms", s->median_ms);
    }
    if (s->top1 >= 0.0) {
        json_write_f64(json, "top1", s->top1);
    }
    json_write_end(json);
}

/* What a method that searches has to tell. */
static void write_search(json_writer *json, const spry_quantize_row *row)
{
    if (row->order_before > 0.0) {
        json_write_f64(json, "order_before", row->order_before);
        json_write_f64(json, "order_sorted", row->order_sorted);
        json_write_f64(json, "order_after", row->order_after);
    }
    if (row->output_error_before > 0.0) {
        json_write_f64(json, "output_error_before", row->output_error_before);
        json_write_f64(json, "output_error_after", row->output_error_after);
    }
    if (row->remark[0] != '\0') {
        json_write_string(json, "remark", row->remark);
    }
}

static void write_layers(json_writer *json, const spry_quantization *facts)
{
    const spry_quantize_row *rows;
    const spry_quantize_skip *skips;
    int32_t count = spry_quantization_rows(facts, &rows);
    int32_t skipped = spry_quantization_skipped(facts, &skips);

    json_write_array(json, "layers");
    for (int32_t i = 0; i < count; i++) {
        json_write_object(json, NULL);
        json_write_string(json, "node", rows[i].node);
        json_write_string(json, "weight", rows[i].weight);
        json_write_i64(json, "weights", rows[i].weights);
        json_write_i64(json, "bits", rows[i].bits);
        json_write_f64(json, "bits_per_weight", rows[i].bits_per_weight);
        json_write_i64(json, "macs", rows[i].macs);
        json_write_i64(json, "integer_macs", rows[i].integer_macs);
        json_write_f64(json, "least_step", (double)rows[i].least_step);
        json_write_f64(json, "most_step", (double)rows[i].most_step);
        if (isfinite(rows[i].sqnr_db)) {
            json_write_f64(json, "sqnr_db", rows[i].sqnr_db);
        }
        json_write_i64(json, "kernel_flips", rows[i].kernel_flips);
        json_write_i64(json, "channel_flips", rows[i].channel_flips);
        json_write_f64(json, "kernel_error_before", rows[i].kernel_error_before);
        json_write_f64(json, "kernel_error_after", rows[i].kernel_error_after);
        json_write_f64(json, "channel_error_before", rows[i].channel_error_before);
        json_write_f64(json, "channel_error_after", rows[i].channel_error_after);
        json_write_f64(json, "milliseconds", rows[i].milliseconds);
        json_write_i64(json, "blocks", rows[i].blocks);
        write_search(json, &rows[i]);
        json_write_end(json);
    }
    json_write_end(json);
    json_write_array(json, "skipped");
    for (int32_t i = 0; i < skipped; i++) {
        json_write_object(json, NULL);
        json_write_string(json, "node", skips[i].node);
        json_write_string(json, "reason", skips[i].reason);
        json_write_end(json);
    }
    json_write_end(json);
}

static void write_sensitivity(json_writer *json, const spry_sensitivity *s)
{
    const spry_sensitivity_row *rows;
    int32_t count = spry_sensitivity_rows(s, &rows);

    json_write_f64(json, "float_top1_on_samples", spry_sensitivity_float_top1(s));
    json_write_array(json, "sensitivity");
    for (int32_t i = 0; i < count; i++) {
        json_write_object(json, NULL);
        json_write_string(json, "node", rows[i].node);
        json_write_i64(json, "bits", rows[i].weight_bits);
        json_write_f64(json, "divergence", rows[i].divergence);
        json_write_f64(json, "sqnr_db", rows[i].sqnr_db);
        json_write_f64(json, "agreement", rows[i].agreement);
        json_write_f64(json, "top1", rows[i].top1);
        json_write_end(json);
    }
    json_write_end(json);
}

/* What a search found, where there was one. */
static void write_products(json_writer *json, const spry_quantization *facts)
{
    const spry_quantize_layer *layers;
    int32_t count = spry_quantization_layers(facts, &layers);

    if (count == 0) {
        return;
    }
    json_write_array(json, "products");
    for (int32_t i = 0; i < count; i++) {
        const spry_quantize_layer *l = &layers[i];

        json_write_object(json, NULL);
        json_write_string(json, "node", l->node);
        json_write_string(json, "grid", l->grid);
        json_write_f64(json, "step", (double)l->step);
        if (l->fine_step > 0.0f) {
            json_write_f64(json, "fine_step", (double)l->fine_step);
            json_write_i64(json, "m", l->m);
        }
        json_write_f64(json, "error_before", l->error_before);
        json_write_f64(json, "error_after", l->error_after);
        json_write_f64(json, "gradient", l->gradient);
        if (l->remark[0] != '\0') {
            json_write_string(json, "remark", l->remark);
        }
        json_write_end(json);
    }
    json_write_end(json);
}

static void write_levels(json_writer *json, const char *name, const double *numbers)
{
    json_write_array(json, name);
    for (int level = 0; level < SPRY_MIXED_LEVELS; level++) {
        json_write_f64(json, NULL, numbers[level]);
    }
    json_write_end(json);
}

static void write_trials(json_writer *json, const spry_mixed *mixed)
{
    const spry_mixed_trial *trials;
    int32_t count = spry_mixed_trials(mixed, &trials);

    json_write_array(json, "trials");
    for (int32_t i = 0; i < count; i++) {
        json_write_object(json, NULL);
        json_write_string(json, "what", trials[i].what);
        json_write_array(json, "layers");
        for (int level = 0; level < SPRY_MIXED_LEVELS; level++) {
            json_write_i64(json, NULL, trials[i].count[level]);
        }
        json_write_end(json);
        if (!isnan(trials[i].drop)) {
            json_write_f64(json, "drop", trials[i].drop);
        }
        if (trials[i].ms > 0.0) {
            json_write_f64(json, "ms", trials[i].ms);
        }
        json_write_bool(json, "kept", trials[i].is_kept);
        json_write_end(json);
    }
    json_write_end(json);
}

/* Numbers of three levels: f32, 8 bits, the fewest. */
static void write_mixed(json_writer *json, const spry_mixed *mixed)
{
    const spry_mixed_row *rows;
    int32_t count = spry_mixed_rows(mixed, &rows);

    json_write_object(json, "mixed");
    json_write_bool(json, "met", spry_mixed_is_met(mixed));
    json_write_array(json, "choice");
    for (int32_t i = 0; i < count; i++) {
        json_write_object(json, NULL);
        json_write_string(json, "node", rows[i].node);
        json_write_i64(json, "bits", rows[i].bits);
        write_levels(json, "divergence", rows[i].divergence);
        write_levels(json, "ms", rows[i].ms);
        json_write_array(json, "bytes");
        for (int level = 0; level < SPRY_MIXED_LEVELS; level++) {
            json_write_i64(json, NULL, rows[i].bytes[level]);
        }
        json_write_end(json);
        json_write_bool(json, "slowed", rows[i].is_slowed);
        json_write_end(json);
    }
    json_write_end(json);
    write_trials(json, mixed);
    json_write_end(json);
}

static void write_sources(json_writer *json, const spry_quantization *facts)
{
    spry_quantize_sources sources = spry_quantization_sources(facts);

    json_write_object(json, "ranges_from");
    json_write_i64(json, "samples", sources.samples);
    json_write_i64(json, "batch_norms", sources.batch_norms);
    json_write_i64(json, "noise", sources.noise);
    json_write_end(json);
}

static spry_status write_document(json_writer *json, const quantize_result *r, spry_error *error)
{
    int64_t macs;
    int64_t of_integers;
    const output_record record = {.model = r->source, .threads = r->options->threads};

    json_write_string(json, "method", r->options->method);
    json_write_string(json, "output", r->output);
    json_write_i64(json, "weight_bits", r->options->weight_bits);
    json_write_i64(json, "activation_bits", r->options->activation_bits);
    json_write_i64(json, "activations", spry_quantization_activations(r->facts));
    write_sources(json, r->facts);
    json_write_f64(json, "seconds", r->seconds);
    write_side(json, "before", &r->before);
    write_side(json, "after", &r->after);
    if (r->speed_up > 0.0) {
        json_write_f64(json, "speed_up", r->speed_up);
    }
    spry_quantization_macs(r->facts, &macs, &of_integers);
    json_write_i64(json, "macs", macs);
    json_write_i64(json, "integer_macs", of_integers);
    write_layers(json, r->facts);
    write_products(json, r->facts);
    if (r->sensitivity != NULL) {
        write_sensitivity(json, r->sensitivity);
    }
    if (r->mixed != NULL) {
        write_mixed(json, r->mixed);
    }
    return output_write_record(json, &record, error);
}

static spry_status make_document(output_document *document, const cli_call *call,
                                 const quantize_result *r, spry_error *error)
{
    spry_status status;

    output_begin(document, call);
    status = write_document(&document->json, r, error);
    if (status != SPRY_OK) {
        output_drop(document);
    }
    return status;
}

spry_status quantize_report_json(const cli_call *call, const quantize_result *r, spry_error *error)
{
    output_document document;
    spry_status status = make_document(&document, call, r, error);

    return status == SPRY_OK ? output_end(&document, call, error) : status;
}

spry_status quantize_report_file(const cli_call *call, const quantize_result *r, const char *path,
                                 spry_error *error)
{
    output_document document;
    spry_status status = make_document(&document, call, r, error);

    return status == SPRY_OK ? output_save(&document, path, error) : status;
}
