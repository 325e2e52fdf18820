/* Figures, tables and the JSON document of a benchmark. */
#include "cli/bench_report.h"

#include "base/alloc.h"
#include "base/threads.h"
#include "cli/output.h"
#include "cli/table.h"
#include "measure/bench.h"

enum { SLOWEST = 10 };

/* ---- one node ---- */

static double node_ms(const spry_profile_row *row)
{
    return row->calls > 0 ? row->milliseconds / (double)row->calls : 0.0;
}

static double node_percent(const bench_report *b, const spry_profile_row *row)
{
    return b->total_ms > 0.0 ? 100.0 * row->milliseconds / b->total_ms : 0.0;
}

/* Operations (two per multiply-add) or bytes per nanosecond: G/s. */
static double rate(double amount, double ms)
{
    return ms > 0.0 ? amount / (ms * 1e6) : 0.0;
}

static double node_gflops(const spry_profile_row *row)
{
    return rate(2.0 * (double)row->macs, node_ms(row));
}

/* Percent of what as many cores can do at most with numbers of the kernel's type; 0: not known. */
static double node_share(const bench_report *b, const spry_profile_row *row)
{
    peak_type type = peak_type_of(row->kernel);
    int asked = b->s.options.threads > 0 ? b->s.options.threads : threads_available();
    int cores = row->threads > 0 ? row->threads : asked;

    if (type == PEAK_TYPES || !(b->machine.gigaflops[type] > 0.0)) {
        return 0.0;
    }
    return 100.0 * node_gflops(row) / (b->machine.gigaflops[type] * cores);
}

/* What the planner foretold; 0: nothing. */
static double node_foretold_ms(const bench_report *b, const spry_profile_row *row)
{
    return b->machine.gigahertz > 0.0 ? row->predicted_cycles / (b->machine.gigahertz * 1e6) : 0.0;
}

/* ---- tables ---- */

/* A number, or nothing where there is none. */
static void optional_cell(table *t, const char *format, double number)
{
    if (number > 0.0) {
        table_cell(t, format, number);
    } else {
        table_cell(t, "%s", "");
    }
}

/* The way, and the share of the results that was computed where a mask decides. */
static void way_cell(table *t, const spry_profile_row *row)
{
    if (row->density >= 0.0) {
        table_cell(t, "%s %.0f %%", row->plan, 100.0 * row->density);
    } else {
        table_cell(t, "%s", row->plan);
    }
}

/* A share in percent, or nothing where it is negative. */
static void share_cell(table *t, double share)
{
    if (share >= 0.0) {
        table_cell(t, "%.0f", 100.0 * share);
    } else {
        table_cell(t, "%s", "");
    }
}

/* Which columns behind the last one every table has: those of layers that skip zeros. */
static bool skips_zeros(const spry_profile_row *rows, int32_t count)
{
    bool any = false;

    for (int32_t i = 0; i < count; i++) {
        any = any || rows[i].gain >= 0.0;
    }
    return any;
}

static table_style style_of(const cli_call *call)
{
    if (cli_given(call, "csv")) {
        return TABLE_CSV;
    }
    return cli_given(call, "md") ? TABLE_MARKDOWN : TABLE_PLAIN;
}

static void title(const bench_report *b, const char *words)
{
    if (style_of(b->call) != TABLE_CSV) {
        (void)fprintf(b->call->out, "\n%s\n%s", words,
                      style_of(b->call) == TABLE_MARKDOWN ? "\n" : "");
    }
}

/* Finishes a table. */
static spry_status print(const bench_report *b, table *t, spry_error *error)
{
    spry_status status = table_print(t, style_of(b->call), b->call->out, error);

    table_fini(t);
    return status;
}

static spry_status print_summary(const bench_report *b, spry_error *error)
{
    static const table_column columns[] = {
        {"model", false},   {"median ms", true}, {"min ms", true}, {"mean ms", true},
        {"+- ms", true},    {"p90 ms", true},    {"p99 ms", true}, {"first ms", true},
        {"load ms", true},  {"memory MB", true}, {"runs", true},   {"threads", true},
        {"machine", false}, {NULL, false}};
    const spry_bench_result *r = &b->result;
    char machine[256];
    table t;

    output_describe_machine(machine, sizeof machine, b->s.options.threads);
    table_init(&t, columns);
    table_cell(&t, "%s", b->s.path);
    table_cell(&t, "%.4g", r->median_ms);
    table_cell(&t, "%.4g", r->min_ms);
    table_cell(&t, "%.4g", r->mean_ms);
    table_cell(&t, "%.2g", r->deviation_ms);
    table_cell(&t, "%.4g", r->p90_ms);
    table_cell(&t, "%.4g", r->p99_ms);
    table_cell(&t, "%.4g", r->first_ms);
    table_cell(&t, "%.4g", b->s.load_ms);
    table_cell(&t, "%.1f", (double)r->peak_rss_bytes * 1e-6);
    table_cell(&t, "%d", r->runs);
    table_cell(&t, "%d", b->s.options.threads > 0 ? b->s.options.threads : threads_available());
    table_cell(&t, "%s", machine);
    return print(b, &t, error);
}

/* What a core can do at most. */
static void print_peak(const bench_report *b)
{
    const char *separator = "peak      ";

    for (int t = 0; t < PEAK_TYPES; t++) {
        if (b->machine.kernel[t] != NULL) {
            (void)fprintf(b->call->out, "%s%s %.4g", separator, peak_type_name((peak_type)t),
                          b->machine.gigaflops[t]);
            separator = ", ";
        }
    }
    (void)fprintf(b->call->out, " GFLOP/s per core at %.3g GHz, measured\n", b->machine.gigahertz);
}

/* The same for people: one fact per line. */
static void print_facts(const bench_report *b)
{
    const spry_bench_result *r = &b->result;
    char machine[256];
    FILE *out = b->call->out;

    output_describe_machine(machine, sizeof machine, b->s.options.threads);
    (void)fprintf(out, "%s on %s\n\n", b->s.path, machine);
    (void)fprintf(out,
                  "latency   median %.4g ms, min %.4g, mean %.4g +- %.2g, p90 %.4g, p99 %.4g\n",
                  r->median_ms, r->min_ms, r->mean_ms, r->deviation_ms, r->p90_ms, r->p99_ms);
    (void)fprintf(out, "          over %d runs after %lld for warming up; the first took %.4g ms\n",
                  r->runs, (long long)cli_integer(b->call, "warmup"), r->first_ms);
    (void)fprintf(out, "rate      %.4g runs per second\n",
                  r->median_ms > 0.0 ? 1e3 / r->median_ms : 0.0);
    (void)fprintf(out, "load      %.4g ms\n", b->s.load_ms);
    (void)fprintf(out,
                  "memory    %.1f MB at most, %.1f MB of it activations, %.1f MB weights "
                  "packed for kernels\n",
                  (double)r->peak_rss_bytes * 1e-6, (double)b->arena_bytes * 1e-6,
                  (double)b->packed_bytes * 1e-6);
    print_peak(b);
}

static spry_status print_nodes(const bench_report *b, const spry_profile_row *rows, int32_t count,
                               spry_error *error)
{
    enum { PLAIN = 13 };
    table_column columns[] = {{"node", false},    {"operator", false}, {"kernel", false},
                              {"way", false},     {"threads", true},   {"ms", true},
                              {"foretold", true}, {"%", true},         {"MMAC", true},
                              {"GFLOP/s", true},  {"% of peak", true}, {"MB", true},
                              {"GB/s", true},     {"weights %", true}, {"inputs %", true},
                              {"x dense", true},  {NULL, false}};
    bool zeros = skips_zeros(rows, count);
    table t;

    if (!zeros) {
        columns[PLAIN] = (table_column){NULL, false};
    }
    table_init(&t, columns);
    for (int32_t i = 0; i < count; i++) {
        const spry_profile_row *row = &rows[i];

        table_cell(&t, "%s", row->node);
        table_cell(&t, "%s", row->type);
        table_cell(&t, "%s", row->kernel);
        way_cell(&t, row);
        optional_cell(&t, "%.0f", row->threads);
        table_cell(&t, "%.4f", node_ms(row));
        optional_cell(&t, "%.4f", node_foretold_ms(b, row));
        table_cell(&t, "%.1f", node_percent(b, row));
        table_cell(&t, "%.3f", (double)row->macs * 1e-6);
        table_cell(&t, "%.1f", node_gflops(row));
        optional_cell(&t, "%.1f", node_share(b, row));
        table_cell(&t, "%.3f", (double)row->bytes * 1e-6);
        table_cell(&t, "%.1f", rate((double)row->bytes, node_ms(row)));
        if (zeros) {
            share_cell(&t, row->weight_density);
            share_cell(&t, row->input_density);
            optional_cell(&t, "%.2f", row->gain);
        }
    }
    return print(b, &t, error);
}

static spry_status print_types(const bench_report *b, const spry_profile_row *types, int32_t count,
                               spry_error *error)
{
    static const table_column columns[] = {{"operator", false}, {"calls", true},   {"ms", true},
                                           {"%", true},         {"GFLOP/s", true}, {NULL, false}};
    table t;

    table_init(&t, columns);
    for (int32_t i = 0; i < count; i++) {
        const spry_profile_row *row = &types[i];

        table_cell(&t, "%s", row->type);
        table_cell(&t, "%.10g", (double)row->calls / b->profiled_runs);
        table_cell(&t, "%.4f", row->milliseconds / b->profiled_runs);
        table_cell(&t, "%.1f", node_percent(b, row));
        table_cell(&t, "%.1f", rate(2.0 * (double)row->macs, row->milliseconds));
    }
    return print(b, &t, error);
}

/* ---- the whole ---- */

static spry_status print_where_time_goes(const bench_report *b, spry_profile_row *sorted,
                                         spry_error *error)
{
    int32_t count = bench_sum_types(b->rows, b->row_count, sorted);
    int32_t shown = b->row_count < SLOWEST ? b->row_count : SLOWEST;
    spry_status status;

    title(b, "By operator (one run)");
    status = print_types(b, sorted, count, error);
    if (status != SPRY_OK) {
        return status;
    }
    if (cli_given(b->call, "explain")) {
        title(b, "Every node, in order");
        return print_nodes(b, b->rows, b->row_count, error);
    }
    bench_sort_slowest(b->rows, b->row_count, sorted);
    title(b, "Slowest nodes");
    return print_nodes(b, sorted, shown, error);
}

spry_status bench_report_text(const bench_report *b, spry_error *error)
{
    size_t bytes = ((size_t)b->row_count + 1) * sizeof(spry_profile_row);
    spry_profile_row *sorted;
    spry_status status = SPRY_OK;

    if (style_of(b->call) == TABLE_CSV) {
        return cli_given(b->call, "explain") ? print_nodes(b, b->rows, b->row_count, error)
                                             : print_summary(b, error);
    }
    sorted = alloc_zeroed(spry_allocator_system(), bytes);
    if (sorted == NULL) {
        return alloc_failed(error, bytes);
    }
    if (style_of(b->call) == TABLE_MARKDOWN) {
        status = print_summary(b, error);
    } else {
        print_facts(b);
    }
    if (status == SPRY_OK) {
        status = print_where_time_goes(b, sorted, error);
    }
    alloc_release(spry_allocator_system(), sorted, bytes);
    return status;
}

static void write_latency(const spry_bench_result *r, json_writer *json)
{
    json_write_object(json, "latency_ms");
    json_write_f64(json, "min", r->min_ms);
    json_write_f64(json, "median", r->median_ms);
    json_write_f64(json, "mean", r->mean_ms);
    json_write_f64(json, "deviation", r->deviation_ms);
    json_write_f64(json, "p90", r->p90_ms);
    json_write_f64(json, "p95", r->p95_ms);
    json_write_f64(json, "p99", r->p99_ms);
    json_write_f64(json, "max", r->max_ms);
    json_write_end(json);
}

static void write_node(const bench_report *b, const spry_profile_row *row, json_writer *json)
{
    json_write_object(json, NULL);
    json_write_string(json, "node", row->node);
    json_write_string(json, "type", row->type);
    json_write_string(json, "kernel", row->kernel);
    json_write_string(json, "way", row->plan);
    json_write_i64(json, "threads", row->threads);
    json_write_i64(json, "calls", row->calls);
    json_write_f64(json, "ms", node_ms(row));
    json_write_f64(json, "foretold_ms", node_foretold_ms(b, row));
    json_write_f64(json, "percent", node_percent(b, row));
    json_write_i64(json, "macs", row->macs);
    json_write_f64(json, "gflops", node_gflops(row));
    json_write_f64(json, "percent_of_peak", node_share(b, row));
    json_write_i64(json, "bytes", row->bytes);
    if (row->density >= 0.0) {
        json_write_f64(json, "density", row->density);
    }
    if (row->gain >= 0.0) {
        json_write_f64(json, "weight_density", row->weight_density);
        json_write_f64(json, "foretold_gain", row->gain);
    }
    if (row->input_density >= 0.0) {
        json_write_f64(json, "input_density", row->input_density);
    }
    json_write_end(json);
}

static void write_peak(const peak *p, json_writer *json)
{
    json_write_object(json, "peak_gflops");
    for (int t = 0; t < PEAK_TYPES; t++) {
        if (p->kernel[t] != NULL) {
            json_write_f64(json, peak_type_name((peak_type)t), p->gigaflops[t]);
        }
    }
    json_write_end(json);
    json_write_f64(json, "clock_ghz", p->gigahertz);
}

spry_status bench_report_json(const bench_report *b, spry_error *error)
{
    const output_record record = output_record_of(b->s.path, &b->s.options);
    const spry_bench_result *r = &b->result;
    output_document document;
    json_writer *json = &document.json;
    spry_status status;

    output_begin(&document, b->call);
    write_latency(r, json);
    json_write_i64(json, "runs", r->runs);
    json_write_i64(json, "warmup", cli_integer(b->call, "warmup"));
    json_write_f64(json, "load_ms", b->s.load_ms);
    json_write_f64(json, "first_run_ms", r->first_ms);
    json_write_f64(json, "peak_rss_mb", (double)r->peak_rss_bytes * 1e-6);
    json_write_f64(json, "activation_mb", (double)b->arena_bytes * 1e-6);
    json_write_f64(json, "packed_mb", (double)b->packed_bytes * 1e-6);
    json_write_f64(json, "throttled_ms", r->throttled_ms);
    json_write_f64(json, "load_average", r->load_before);
    json_write_f64(json, "drift", r->drift);
    write_peak(&b->machine, json);
    json_write_array(json, "ops");
    for (int32_t i = 0; i < b->row_count; i++) {
        write_node(b, &b->rows[i], json);
    }
    json_write_end(json);
    status = output_write_record(json, &record, error);
    if (status != SPRY_OK) {
        output_drop(&document);
        return status;
    }
    return output_end(&document, b->call, error);
}
