/* What interference costs, and what versions gain, printed. */
#include "cli/bench/interference.h"

#include <stdio.h>

#include "base/alloc.h"
#include "cli/output.h"
#include "cli/progress_bar.h"
#include "cli/table.h"
#include "measure/interfered.h"

static const double most_seconds = 0.5; /* of one measurement */

bool bench_interference_wanted(const cli_call *call)
{
    return cli_given(call, "aggressor") || cli_given(call, "versions");
}

static double seconds_of(const cli_call *call)
{
    return cli_given(call, "seconds") ? cli_number(call, "seconds") : most_seconds;
}

/* ---- one level ---- */

static void print_level(const cli_call *call, const subject *s, const interfered *r)
{
    FILE *out = call->out;
    char machine[256];

    output_describe_machine(machine, sizeof machine, s->options.threads);
    (void)fprintf(out, "%s on %s\n\n", s->path, machine);
    if (r->level > 0) {
        (void)fprintf(out,
                      "aggressor level %d of %d on CPU %d: worked %.0f %% of the time, streamed "
                      "%.3g GB/s, followed %.3g million pointers per second\n",
                      r->level, (int)AGGRESSOR_LEVELS, r->work.cpu, 100.0 * r->work.share,
                      r->work.gigabytes, r->work.steps * 1e-6);
    } else {
        (void)fprintf(out, "aggressor none: what is measured twice is this machine's own unrest\n");
    }
    (void)fprintf(out, "alone     median %.4g ms\n", r->alone_ms);
    (void)fprintf(out, "beside    median %.4g ms over %d runs: %.2f times as long\n", r->beside_ms,
                  (int)r->runs, r->beside_ms / r->alone_ms);
    (void)fprintf(out, "proxy     operators take %.2f times as long: level %d of 0 to %d\n",
                  r->slowdown, r->proxy_level, (int)INTERFERENCE_LEVELS - 1);
    if (r->system.has_counters) {
        (void)fprintf(out, "counters  %.3g million cache misses of %.3g million references\n",
                      r->counts.misses * 1e-6, r->counts.references * 1e-6);
    } else {
        (void)fprintf(out, "counters  %s\n", r->system.counters);
    }
    if (r->system.has_traffic) {
        (void)fprintf(out, "traffic   %.3g GB/s between caches and memory\n",
                      r->counts.traffic * 1e-9 / r->seconds);
    } else {
        (void)fprintf(out, "traffic   %s\n", r->system.traffic);
    }
    if (r->system.has_pressure) {
        (void)fprintf(out, "waiting   for a CPU, some task: %.0f %% of the time\n",
                      100.0 * r->counts.waited / r->seconds);
    } else {
        (void)fprintf(out, "waiting   %s\n", r->system.pressure);
    }
    if (r->system.has_steal) {
        (void)fprintf(out, "stolen    by other machines of the host: %.3g s of %.3g s\n",
                      r->counts.stolen, r->seconds);
    } else {
        (void)fprintf(out, "stolen    %s\n", r->system.steal);
    }
}

static void write_level(json_writer *json, const interfered *r)
{
    json_write_object(json, "aggressor");
    json_write_i64(json, "level", r->level);
    json_write_i64(json, "cpu", r->work.cpu);
    json_write_f64(json, "share", r->work.share);
    json_write_f64(json, "stream_gigabytes_per_second", r->work.gigabytes);
    json_write_f64(json, "pointers_per_second", r->work.steps);
    json_write_end(json);
    json_write_f64(json, "alone_ms", r->alone_ms);
    json_write_f64(json, "beside_ms", r->beside_ms);
    json_write_object(json, "proxy");
    json_write_f64(json, "slowdown", r->slowdown);
    json_write_i64(json, "level", r->proxy_level);
    json_write_i64(json, "operators", r->pieces);
    json_write_end(json);
    json_write_object(json, "system");
    json_write_string(json, "counters", r->system.counters);
    json_write_string(json, "traffic", r->system.traffic);
    json_write_string(json, "pressure", r->system.pressure);
    json_write_string(json, "steal", r->system.steal);
    json_write_f64(json, "seconds", r->seconds);
    json_write_f64(json, "references", r->counts.references);
    json_write_f64(json, "misses", r->counts.misses);
    json_write_f64(json, "traffic_bytes", r->counts.traffic);
    json_write_f64(json, "waited_seconds", r->counts.waited);
    json_write_f64(json, "stolen_seconds", r->counts.stolen);
    json_write_end(json);
}

/* ---- versions ---- */

static spry_status print_kept(const cli_call *call, const interfered_versions *r, spry_error *error)
{
    static const table_column columns[] = {
        {"version", false}, {"alone ms", true}, {"GB/s", true}, {"0", true}, {"1", true},
        {"2", true},        {"3", true},        {"4", true},    {"5", true}, {NULL, false}};
    spry_status status;
    table t;

    table_init(&t, columns);
    for (int32_t i = 0; i < r->count; i++) {
        const interfered_version *v = &r->all[i];

        table_cell(&t, "%s", v->name);
        table_cell(&t, "%.4g", v->facts.alone_ms);
        table_cell(&t, "%.3g", v->facts.footprint * 1e-6);
        for (int level = 0; level < INTERFERED_LEVELS; level++) {
            if (v->is_kept) {
                table_cell(&t, "%.4g", v->ms[level]);
            } else {
                table_cell(&t, "%s", level == 0 ? "dropped" : "");
            }
        }
    }
    status = table_print(&t, TABLE_PLAIN, call->out, error);
    table_fini(&t);
    return status;
}

static spry_status print_choices(const cli_call *call, const interfered_versions *r,
                                 spry_error *error)
{
    static const table_column columns[] = {{"aggressor", true},   {"slowdown", true},
                                           {"level", true},       {"fastest alone, ms", true},
                                           {"chosen, ms", true},  {"gain", true},
                                           {"at the end", false}, {NULL, false}};
    spry_status status;
    table t;

    table_init(&t, columns);
    for (int level = 0; level < INTERFERED_LEVELS; level++) {
        const interfered_choice *at = &r->at[level];

        table_cell(&t, "%d", level);
        table_cell(&t, "%.2f", at->slowdown);
        table_cell(&t, "%d", at->level);
        table_cell(&t, "%.4g", at->fixed_ms);
        table_cell(&t, "%.4g", at->adaptive_ms);
        table_cell(&t, "%.3f", at->fixed_ms / at->adaptive_ms);
        table_cell(&t, "%s", r->all[r->kept[at->last]].name);
    }
    status = table_print(&t, TABLE_PLAIN, call->out, error);
    table_fini(&t);
    return status;
}

static spry_status print_versions(const cli_call *call, const subject *s,
                                  const interfered_versions *r, spry_error *error)
{
    char machine[256];
    spry_status status;

    output_describe_machine(machine, sizeof machine, s->options.threads);
    (void)fprintf(call->out, "%s on %s\n\nVersions, mean ms of a run by level of the aggressor\n",
                  s->path, machine);
    status = print_kept(call, r, error);
    if (status == SPRY_OK) {
        (void)fprintf(call->out, "\nChosen while it works, in turns with the fastest alone (%s)\n",
                      r->all[r->kept[r->alone]].name);
        status = print_choices(call, r, error);
    }
    return status;
}

static void write_versions(json_writer *json, const interfered_versions *r)
{
    json_write_f64(json, "target_ms", r->target_ms);
    json_write_array(json, "versions");
    for (int32_t i = 0; i < r->count; i++) {
        const interfered_version *v = &r->all[i];

        json_write_object(json, NULL);
        json_write_string(json, "name", v->name);
        json_write_i64(json, "threads", v->threads);
        json_write_bool(json, "as_written", v->as_written);
        json_write_f64(json, "alone_ms", v->facts.alone_ms);
        json_write_f64(json, "bytes", v->bytes);
        json_write_bool(json, "kept", v->is_kept);
        json_write_array(json, "ms");
        for (int level = 0; v->is_kept && level < INTERFERED_LEVELS; level++) {
            json_write_f64(json, NULL, v->ms[level]);
        }
        json_write_end(json);
        json_write_end(json);
    }
    json_write_end(json);
    json_write_string(json, "fastest_alone", r->all[r->kept[r->alone]].name);
    json_write_array(json, "choices");
    for (int level = 0; level < INTERFERED_LEVELS; level++) {
        const interfered_choice *at = &r->at[level];

        json_write_object(json, NULL);
        json_write_i64(json, "aggressor", level);
        json_write_f64(json, "slowdown", at->slowdown);
        json_write_i64(json, "level", at->level);
        json_write_f64(json, "fixed_ms", at->fixed_ms);
        json_write_f64(json, "adaptive_ms", at->adaptive_ms);
        json_write_string(json, "last", r->all[r->kept[at->last]].name);
        json_write_end(json);
    }
    json_write_end(json);
}

/* ---- the whole ---- */

static spry_status print_json(const cli_call *call, const subject *s, const interfered *one,
                              const interfered_versions *all, spry_error *error)
{
    const output_record record = output_record_of(s->path, &s->options);
    output_document document;
    spry_status status;

    output_begin(&document, call);
    if (all != NULL) {
        write_versions(&document.json, all);
    } else {
        write_level(&document.json, one);
    }
    status = output_write_record(&document.json, &record, error);
    if (status != SPRY_OK) {
        output_drop(&document);
        return status;
    }
    return output_end(&document, call, error);
}

static spry_status compare_versions(const cli_call *call, const subject *s, spry_error *error)
{
    interfered_versions *r = alloc_zeroed(spry_allocator_system(), sizeof *r);
    progress_bar bar;
    spry_status status;

    if (r == NULL) {
        return alloc_failed(error, sizeof *r);
    }
    progress_bar_begin(&bar, call);
    status = interfered_versions_measure(s->model, s->feed, &s->options, cli_number(call, "target"),
                                         seconds_of(call), &bar.hook, r, error);
    progress_bar_end(&bar);
    if (status == SPRY_OK) {
        status = cli_given(call, "json") ? print_json(call, s, NULL, r, error)
                                         : print_versions(call, s, r, error);
    }
    alloc_release(spry_allocator_system(), r, sizeof *r);
    return status;
}

spry_status bench_interference(const cli_call *call, const subject *s, spry_error *error)
{
    interfered r;
    spry_status status;

    if (cli_given(call, "versions")) {
        return compare_versions(call, s, error);
    }
    status = interfered_measure(s->model, s->feed, &s->options, (int)cli_integer(call, "aggressor"),
                                seconds_of(call), &r, error);
    if (status != SPRY_OK) {
        return status;
    }
    if (cli_given(call, "json")) {
        return print_json(call, s, &r, NULL, error);
    }
    print_level(call, s, &r);
    return SPRY_OK;
}
