/* spry simulate metro: known traffic, scheduled beforehand. */
#include <inttypes.h>
#include <string.h>

#include "cli/output.h"
#include "cli/simulate/models.h"
#include "simulate/metro/replay.h"
#include "simulate/noc/mesh_target.h"

static const char *const taken[] = {"compare", "seed", NULL};

static const cli_option own[] = {
    {.name = "flit",
     .kind = CLI_INTEGER,
     .value = "BITS",
     .fallback = "256",
     .lowest = 8,
     .highest = 65536,
     .help = "width of a link"},
    {.name = "chunk",
     .kind = CLI_INTEGER,
     .value = "N",
     .fallback = "64",
     .lowest = 1,
     .highest = 1e9,
     .help = "flits that are scheduled together"},
    {.name = "generations",
     .kind = CLI_INTEGER,
     .value = "N",
     .fallback = "60",
     .lowest = 0,
     .highest = 1000000,
     .help = "of the search for routes and orders, at most; 0: rules of thumb alone"},
    {0},
};

typedef struct outcome {
    int64_t makespan, bound, tardiness, flit_links;
    int entries;
} outcome;

/* Routes all along rows, or all along columns; schedules, and lets the replay confirm it. */
static spry_status attempt(const metro_flows *f, const metro_options *o, bool columns,
                           outcome *result, spry_error *error)
{
    metro_schedule s = {0};
    metro_program p = {0};
    metro_replayed replayed = {0};
    arena memory;
    metro_route *routes;
    spry_status status;

    arena_init(&memory, NULL, (size_t)1 << 24);
    routes = arena_array(&memory, (size_t)f->count, sizeof *routes);
    if (routes == NULL) {
        return spry_fail(error, SPRY_LIMIT, "metro", NULL, "no memory for %d routes", f->count);
    }
    for (int i = 0; i < f->count; i++) {
        routes[i] = (metro_route){f->items[i].one, columns, columns};
    }
    status = metro_schedule_make(f, o, routes, NULL, &s, error);
    if (status == SPRY_OK) {
        status = metro_program_make(&s, &p, error);
    }
    if (status == SPRY_OK) {
        status = metro_replay(&s, &p, &replayed, error);
    }
    if (status == SPRY_OK && s.count > 0 && replayed.finish > s.makespan) {
        status = spry_fail(error, SPRY_INTERNAL, "replay", NULL, "it took longer than foretold");
    }
    *result = (outcome){s.makespan, s.bound, s.tardiness, s.flit_links, p.most_entries};
    metro_program_fini(&p);
    metro_schedule_fini(&s);
    arena_fini(&memory);
    return status;
}

static double gap(const outcome *o)
{
    return o->bound > 0 ? (double)o->makespan / (double)o->bound - 1.0 : 0.0;
}

static spry_status print_json(const cli_call *call, const target *t, const outcome *o, bool columns,
                              spry_error *error)
{
    const output_record record = {0};
    output_document document;
    spry_status status;

    output_begin(&document, call);
    json_write_string(&document.json, "model", "metro");
    target_write_resolved(t, &document.json, "target");
    json_write_string(&document.json, "routes", columns ? "columns first" : "rows first");
    json_write_i64(&document.json, "makespan", o->makespan);
    json_write_i64(&document.json, "bound", o->bound);
    json_write_f64(&document.json, "gap", gap(o));
    json_write_i64(&document.json, "tardiness", o->tardiness);
    json_write_i64(&document.json, "flit_links", o->flit_links);
    json_write_i64(&document.json, "most_entries", o->entries);
    status = output_write_record(&document.json, &record, error);
    if (status != SPRY_OK) {
        output_drop(&document);
        return status;
    }
    return output_end(&document, call, error);
}

static spry_status run_flows(const cli_call *call, spry_error *error)
{
    metro_options o = {.flit_bits = (int)cli_integer(call, "flit"),
                       .chunk_flits = (int)cli_integer(call, "chunk")};
    outcome rows;
    outcome columns;
    mesh_options network;
    metro_flows f = {0};
    target *t = NULL;
    spry_status status = simulate_target(call, "mesh-8x8", &t, error);

    if (status == SPRY_OK) {
        status = mesh_options_read(t, &network, error);
    }
    if (status == SPRY_OK) {
        status = target_finish(t, error);
    }
    if (status == SPRY_OK) {
        metro_flows_init(&f, network.width, network.height);
        status = metro_flows_read(&f, call->arguments[1], error);
    }
    if (status == SPRY_OK) {
        status = attempt(&f, &o, false, &rows, error);
    }
    if (status == SPRY_OK) {
        status = attempt(&f, &o, true, &columns, error);
    }
    if (status == SPRY_OK) {
        bool is_columns = columns.makespan < rows.makespan;
        const outcome *best = is_columns ? &columns : &rows;

        if (cli_given(call, "json")) {
            status = print_json(call, t, best, is_columns, error);
        } else {
            (void)fprintf(call->out, "makespan  %" PRId64 " cycles, %s first\n", best->makespan,
                          is_columns ? "columns" : "rows");
            (void)fprintf(call->out, "bound     %" PRId64 " cycles for these routes\n",
                          best->bound);
            (void)fprintf(call->out, "gap       %.2f %%\n", 100.0 * gap(best));
            (void)fprintf(call->out, "late      %" PRId64 " cycles over all flows\n",
                          best->tardiness);
            (void)fprintf(call->out, "tables    %d entries at most\n", best->entries);
        }
    }
    metro_flows_fini(&f);
    target_destroy(t);
    return status;
}

static bool ends_with(const char *path, const char *end)
{
    size_t length = strlen(path);

    return length >= strlen(end) && strcmp(path + length - strlen(end), end) == 0;
}

/* A table of flows, or else a network. */
static spry_status run(const cli_call *call, spry_error *error)
{
    return ends_with(call->arguments[1], ".csv") ? run_flows(call, error)
                                                 : simulate_metro_model(call, error);
}

const simulate_model simulate_metro = {
    .name = "metro",
    .part = {.title = "metro FLOWS.csv|MODEL.onnx",
             .about =
                 "Schedules known traffic over a mesh so that no two flits want one link, lets "
                 "a replay confirm it, and says how far it is from the bound of its routes. "
                 "FLOWS is a CSV of id,type,src,dst list,bytes,release,due,group; of an ONNX "
                 "file, every layer's weights, inputs and results are moved between memory "
                 "and tiles.",
             .options = own},
    .options = taken,
    .arguments = 1,
    .run = run};
