/* The report without the page. */
#include "cli/report/print.h"

#include "cli/output.h"

enum { COSTLIEST = 5 };

static void print_one(FILE *out, const report *r)
{
    int32_t count = r->layer_count < COSTLIEST ? r->layer_count : COSTLIEST;

    for (int32_t i = 0; i < r->advice_count; i++) {
        (void)fprintf(out, "%s\n", r->advice[i]);
    }
    for (int32_t i = 0; i < count; i++) {
        const report_layer *l = &r->layers[r->slowest[i]];

        (void)fprintf(out, "\n%d. %s: %.3g ms, %.1f %%, bound by %s\n   %s\n", (int)i + 1,
                      l->row.node, l->ms, 100.0 * report_share(r, l), report_bound_names[l->bound],
                      l->why);
        if (l->try_next[0] != '\0') {
            (void)fprintf(out, "   Try: %s.\n", l->try_next);
        }
    }
}

void report_print_text(const cli_call *call, const report_page *p)
{
    (void)fprintf(call->out, "%s: %.4g ms a run (median of %d)\n", p->first.label,
                  p->first.r->runs.median_ms, (int)p->first.r->runs.runs);
    if (p->second.r != NULL) {
        (void)fprintf(call->out, "%s: %.4g ms a run (median of %d)\n", p->second.label,
                      p->second.r->runs.median_ms, (int)p->second.r->runs.runs);
    }
    print_one(call->out, p->first.r);
}

/* ---- JSON ---- */

/* Negative numbers stand for what is not known. */
static void write_known(json_writer *json, const char *key, double number)
{
    if (number >= 0.0) {
        json_write_f64(json, key, number);
    }
}

static void write_layer(json_writer *json, const report *r, const report_layer *l)
{
    json_write_object(json, NULL);
    json_write_string(json, "node", l->row.node);
    json_write_string(json, "type", l->row.type);
    json_write_string(json, "fused", l->fused);
    json_write_string(json, "kernel", l->row.kernel);
    json_write_string(json, "way", l->row.plan);
    json_write_i64(json, "threads", l->row.threads);
    json_write_f64(json, "ms", l->ms);
    write_known(json, "one_thread_ms", l->alone_ms);
    json_write_f64(json, "share", report_share(r, l));
    json_write_string(json, "bound_by", report_bound_names[l->bound]);
    json_write_f64(json, "arithmetic_ms", l->arithmetic_ms);
    json_write_f64(json, "memory_ms", l->memory_ms);
    json_write_f64(json, "operations", l->operations);
    json_write_f64(json, "bytes", l->bytes);
    write_known(json, "weight_bytes", l->weight_bytes);
    write_known(json, "alive_bytes", l->alive_bytes);
    write_known(json, "density", l->row.density);
    write_known(json, "weight_density", l->row.weight_density);
    write_known(json, "input_density", l->row.input_density);
    write_known(json, "gain", l->row.gain);
    json_write_string(json, "why", l->why);
    json_write_string(json, "try", l->try_next);
    json_write_end(json);
}

static void write_side(json_writer *json, const report_side *side)
{
    const report *r = side->r;

    json_write_string(json, "label", side->label);
    json_write_f64(json, "median_ms", r->runs.median_ms);
    json_write_f64(json, "min_ms", r->runs.min_ms);
    json_write_f64(json, "max_ms", r->runs.max_ms);
    json_write_i64(json, "runs", r->runs.runs);
    write_known(json, "one_thread_ms", r->alone_ms);
    json_write_i64(json, "activation_bytes", (int64_t)r->arena_bytes);
    json_write_i64(json, "packed_bytes", (int64_t)r->packed_bytes);
    json_write_array(json, "words");
    for (int32_t i = 0; i < r->advice_count; i++) {
        json_write_string(json, NULL, r->advice[i]);
    }
    json_write_end(json);
    json_write_array(json, "layers");
    for (int32_t i = 0; i < r->layer_count; i++) {
        write_layer(json, r, &r->layers[i]);
    }
    json_write_end(json);
}

static void write_machine(json_writer *json, const machine *m)
{
    json_write_object(json, "machine");
    json_write_i64(json, "threads", m->threads);
    json_write_bool(json, "calibrated", m->is_calibrated);
    json_write_object(json, "peak_gflops");
    for (int t = 0; t < PEAK_TYPES; t++) {
        if (m->core.gigaflops[t] > 0.0) {
            json_write_f64(json, peak_type_name((peak_type)t), m->core.gigaflops[t] * m->threads);
        }
    }
    json_write_end(json);
    json_write_object(json, "gigabytes_per_second");
    for (int i = 0; i < MACHINE_LEVELS; i++) {
        json_write_f64(json, machine_level_names[i], m->rates[i] * 1e-9);
    }
    json_write_end(json);
    json_write_end(json);
}

static void write_pairs(json_writer *json, const report_page *p)
{
    json_write_object(json, "against");
    write_side(json, &p->second);
    json_write_array(json, "pairs");
    for (int32_t i = 0; i < p->pair_count; i++) {
        json_write_array(json, NULL);
        json_write_i64(json, NULL, p->pairs[i].first);
        json_write_i64(json, NULL, p->pairs[i].second);
        json_write_end(json);
    }
    json_write_end(json);
    json_write_end(json);
}

spry_status report_print_json(const cli_call *call, const subject *s, const report_page *p,
                              spry_error *error)
{
    const output_record record = output_record_of(s->path, &s->options);
    output_document document;
    spry_status status;

    output_begin(&document, call);
    write_side(&document.json, &p->first);
    write_machine(&document.json, &p->first.r->m);
    if (p->second.r != NULL) {
        write_pairs(&document.json, p);
    }
    status = output_write_record(&document.json, &record, error);
    if (status != SPRY_OK) {
        output_drop(&document);
        return status;
    }
    return output_end(&document, call, error);
}
