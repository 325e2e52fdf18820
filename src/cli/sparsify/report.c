/* What came of pruning. */
#include <inttypes.h>

#include "cli/output.h"
#include "cli/sparsify/command.h"
#include "cli/table.h"

enum { BEFORE, AFTER };

static double share(int64_t part, int64_t all)
{
    return all > 0 ? (double)part / (double)all : 0.0;
}

static spry_status print_layers(const sparsify_state *s, spry_error *error)
{
    static const table_column columns[] = {{"layer", false},
                                           {"weights", true},
                                           {"zeros %", true},
                                           {"filters gone", true},
                                           {NULL, false}};
    const spry_sparsity_row *rows;
    int32_t count = spry_sparsity_rows(s->zeros, &rows);
    int64_t weights = 0;
    int64_t zeros = 0;
    spry_status status;
    table t;

    table_init(&t, columns);
    for (int32_t i = 0; i < count; i++) {
        table_cell(&t, "%s", rows[i].node);
        table_cell(&t, "%" PRId64, rows[i].weights);
        table_cell(&t, "%.1f", 100.0 * share(rows[i].zeros, rows[i].weights));
        table_cell(&t, "%" PRId64 " of %" PRId64, rows[i].zero_filters, rows[i].filters);
        weights += rows[i].weights;
        zeros += rows[i].zeros;
    }
    table_cell(&t, "all");
    table_cell(&t, "%" PRId64, weights);
    table_cell(&t, "%.1f", 100.0 * share(zeros, weights));
    table_cell(&t, " ");
    status = table_print(&t, TABLE_PLAIN, s->call->out, error);
    table_fini(&t);
    return status;
}

static spry_status print_text(const sparsify_state *s, spry_error *error)
{
    FILE *to = s->call->out;
    spry_status status = print_layers(s, error);

    (void)fprintf(to, "\n              dense    pruned\n");
    (void)fprintf(to, "file kB    %8.1f  %8.1f\n", (double)s->bytes[BEFORE] * 1e-3,
                  (double)s->bytes[AFTER] * 1e-3);
    if (s->race.speed_up > 0.0) {
        (void)fprintf(to, "latency ms %8.3f  %8.3f  %.2f times as fast\n", s->race.ms[BEFORE],
                      s->race.ms[AFTER], s->race.speed_up);
    }
    if (s->top1[BEFORE] >= 0.0) {
        (void)fprintf(to, "top-1 %%    %8.2f  %8.2f  %+.2f points\n", 100.0 * s->top1[BEFORE],
                      100.0 * s->top1[AFTER], 100.0 * (s->top1[AFTER] - s->top1[BEFORE]));
    }
    (void)fprintf(to, "wrote %s\n", cli_text(s->call, "output"));
    return status;
}

static void write_side(json_writer *json, const char *key, const sparsify_state *s, int side)
{
    json_write_object(json, key);
    json_write_i64(json, "bytes", s->bytes[side]);
    if (s->race.speed_up > 0.0) {
        json_write_f64(json, "latency_ms", s->race.ms[side]);
    }
    if (s->top1[side] >= 0.0) {
        json_write_f64(json, "top1", s->top1[side]);
    }
    json_write_end(json);
}

static void write_layers(json_writer *json, const sparsify_state *s)
{
    const spry_sparsity_row *rows;
    int32_t count = spry_sparsity_rows(s->zeros, &rows);

    json_write_array(json, "layers");
    for (int32_t i = 0; i < count; i++) {
        json_write_object(json, NULL);
        json_write_string(json, "weight", rows[i].name);
        json_write_string(json, "node", rows[i].node);
        json_write_i64(json, "weights", rows[i].weights);
        json_write_i64(json, "zeros", rows[i].zeros);
        json_write_i64(json, "panels", rows[i].panels);
        json_write_i64(json, "zero_panels", rows[i].zero_panels);
        json_write_i64(json, "filters", rows[i].filters);
        json_write_i64(json, "zero_filters", rows[i].zero_filters);
        json_write_end(json);
    }
    json_write_end(json);
}

/* To `path`, or where results go when it is NULL. */
static spry_status write_json(const sparsify_state *s, const char *path, spry_error *error)
{
    const cli_call *call = s->call;
    const output_record record = {.model = call->arguments[0],
                                  .threads = (int)cli_integer(call, "threads"),
                                  .is_seeded = true,
                                  .seed = (uint64_t)cli_integer(call, "seed")};
    output_document document;
    json_writer *json = &document.json;
    spry_status status;

    output_begin(&document, call);
    json_write_string(json, "output", cli_text(call, "output"));
    json_write_string(json, "method", s->options.method);
    write_side(json, "dense", s, BEFORE);
    write_side(json, "pruned", s, AFTER);
    if (s->race.speed_up > 0.0) {
        json_write_f64(json, "speed_up", s->race.speed_up);
    }
    write_layers(json, s);
    status = output_write_record(json, &record, error);
    if (status != SPRY_OK) {
        output_drop(&document);
        return status;
    }
    return path != NULL ? output_save(&document, path, error) : output_end(&document, call, error);
}

spry_status sparsify_tell(sparsify_state *s, spry_error *error)
{
    const char *path = cli_text(s->call, "report");
    spry_status status = path != NULL ? write_json(s, path, error) : SPRY_OK;

    if (status == SPRY_OK) {
        status = cli_given(s->call, "json") ? write_json(s, NULL, error) : print_text(s, error);
    }
    return status == SPRY_OK ? sparsify_judge(s) : status;
}
