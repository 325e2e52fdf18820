/* spry simulate metro MODEL: the traffic of a network's layers on a mesh of tiles. */
#include <inttypes.h>
#include <math.h>
#include <string.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "base/files.h"
#include "cli/output.h"
#include "cli/progress_bar.h"
#include "cli/simulate/models.h"
#include "cli/table.h"
#include "simulate/metro/baseline.h"
#include "simulate/metro/network.h"
#include "simulate/metro/replay.h"
#include "simulate/metro/search.h"
#include "simulate/noc/mesh_target.h"
#include "spry/model.h"

/* What flows that are not scheduled are compared with. */
typedef struct rival {
    const char *name;
    mesh_routing routing;
    bool trees;
} rival;

static const rival rivals[] = {{"tree", MESH_DOR, true},
                               {"dor", MESH_DOR, false},
                               {"xy_yx", MESH_XY_YX, false},
                               {"romm", MESH_ROMM, false},
                               {"adaptive", MESH_ADAPTIVE, false}};

enum { RIVALS = sizeof rivals / sizeof *rivals, TREE = 0, UNICAST = 1 };

typedef struct row {
    int flows;
    metro_parts parts;
    int64_t compute, makespan, bound, floor, first;
    int generations;
    int64_t flit_links;
    int entries;
    uint64_t packets[RIVALS]; /* with --compare */
} row;

typedef struct job {
    const cli_call *call;
    target *t;
    mesh_options network;
    metro_tiles tiles;
    metro_options options;
    simulate_layers layers;
    row *rows;
    double seconds; /* of scheduling */
    threads *team;
} job;

static bool compares(const job *j)
{
    return cli_given(j->call, "compare");
}

/* What was found is scheduled once more, turned into tables, and put to the test. */
static spry_status confirm(const job *j, const metro_flows *f, const metro_found *found, row *r,
                           spry_error *error)
{
    metro_schedule s = {0};
    metro_program p = {0};
    metro_replayed replayed = {0};
    spry_status status =
        metro_schedule_make(f, &j->options, found->routes, found->order, &s, error);

    if (status == SPRY_OK) {
        status = metro_program_make(&s, &p, error);
    }
    if (status == SPRY_OK) {
        status = metro_replay(&s, &p, &replayed, error);
    }
    if (status == SPRY_OK && replayed.finish != s.makespan) {
        status = spry_fail(error, SPRY_INTERNAL, "replay", NULL,
                           "it took %" PRId64 " cycles, not %" PRId64, replayed.finish, s.makespan);
    }
    r->makespan = s.makespan;
    r->bound = s.bound;
    r->floor = found->floor;
    r->first = found->first;
    r->generations = found->generations;
    r->flit_links = s.flit_links;
    r->entries = p.most_entries;
    metro_program_fini(&p);
    metro_schedule_fini(&s);
    return status;
}

static spry_status compare_rivals(const job *j, const metro_flows *f, row *r, spry_error *error)
{
    spry_status status = SPRY_OK;

    for (int i = 0; i < RIVALS && status == SPRY_OK; i++) {
        mesh_options network = j->network;
        metro_baseline result;

        network.routing = rivals[i].routing;
        status = metro_packets(f, &j->options, &network, rivals[i].trees, &result, error);
        r->packets[i] = result.makespan;
    }
    return status;
}

static spry_status schedule_layer(job *j, const simulate_layer *l, row *r, spry_error *error)
{
    metro_search_options search = metro_search_options_default();
    metro_found found = {0};
    metro_flows f;
    arena memory;
    int64_t begin = clock_ns();
    spry_status status;

    arena_init(&memory, NULL, (size_t)1 << 30);
    metro_flows_init(&f, j->network.width, j->network.height);
    search.seed = (uint64_t)cli_integer(j->call, "seed");
    search.generations = (int)cli_integer(j->call, "generations");
    search.team = j->team;
    r->parts = metro_parts_of(l, j->network.width, j->network.height);
    r->compute = metro_layer_compute(l, &j->tiles, r->parts);
    status = metro_layer_flows(&f, l, &j->tiles, r->parts, error);
    r->flows = f.count;
    if (status == SPRY_OK) {
        status = metro_search(&f, &j->options, &search, &memory, &found, error);
    }
    j->seconds += (double)(clock_ns() - begin) * 1e-9;
    if (status == SPRY_OK) {
        status = confirm(j, &f, &found, r, error);
    }
    if (status == SPRY_OK && compares(j)) {
        status = compare_rivals(j, &f, r, error);
    }
    metro_flows_fini(&f);
    arena_fini(&memory);
    return status;
}

static spry_status schedule_all(job *j, spry_error *error)
{
    spry_status status = SPRY_OK;
    progress_bar bar;

    progress_bar_begin(&bar, j->call);
    for (int32_t i = 0; i < j->layers.count && status == SPRY_OK; i++) {
        int32_t twin = 0;

        while (!simulate_layers_are_alike(&j->layers.items[twin], &j->layers.items[i])) {
            twin++;
        }
        if (twin < i) {
            j->rows[i] = j->rows[twin];
        } else {
            status = schedule_layer(j, &j->layers.items[i], &j->rows[i], error);
        }
        if (status == SPRY_OK) {
            status = progress_report(&bar.hook, "scheduling", i + 1, j->layers.count, error);
        }
    }
    progress_bar_end(&bar);
    return status;
}

/* ---- what is told ---- */

/* Over all layers. */
typedef struct total {
    int64_t compute, makespan, bound, floor, processing;
    uint64_t packets[RIVALS], packets_processing[RIVALS];
    double log_ratio[RIVALS];
    double worst_gap;
} total;

static double gap(const row *r)
{
    return r->bound > 0 ? (double)r->makespan / (double)r->bound - 1.0 : 0.0;
}

static uint64_t larger(uint64_t a, uint64_t b)
{
    return a > b ? a : b;
}

static total sum_up(const job *j)
{
    total t = {0};

    for (int32_t i = 0; i < j->layers.count; i++) {
        const row *r = &j->rows[i];

        t.compute += r->compute;
        t.makespan += r->makespan;
        t.bound += r->bound;
        t.floor += r->floor;
        t.processing += (int64_t)larger((uint64_t)r->compute, (uint64_t)r->makespan);
        t.worst_gap = fmax(t.worst_gap, gap(r));
        for (int k = 0; k < RIVALS && r->makespan > 0; k++) {
            t.packets[k] += r->packets[k];
            t.packets_processing[k] += larger((uint64_t)r->compute, r->packets[k]);
            t.log_ratio[k] += log((double)r->packets[k] / (double)r->makespan);
        }
    }
    return t;
}

static spry_status print_layers(const job *j, spry_error *error)
{
    static const table_column columns[] = {{"layer", false},  {"parts", false}, {"flows", true},
                                           {"compute", true}, {"moving", true}, {"bound", true},
                                           {"gap %", true},   {"tree", true},   {"ratio", true},
                                           {"unicast", true}, {"ratio", true},  {NULL, false}};
    spry_status status;
    table t;

    table_init(&t, columns);
    for (int32_t i = 0; i < j->layers.count; i++) {
        const row *r = &j->rows[i];

        table_cell(&t, "%s", j->layers.items[i].name);
        table_cell(&t, "%dx%dx%d", r->parts.filters, r->parts.pixels, r->parts.channels);
        table_cell(&t, "%d", r->flows);
        table_cell(&t, "%" PRId64, r->compute);
        table_cell(&t, "%" PRId64, r->makespan);
        table_cell(&t, "%" PRId64, r->bound);
        table_cell(&t, "%.2f", 100.0 * gap(r));
        for (int k = TREE; k <= UNICAST; k++) {
            if (compares(j)) {
                table_cell(&t, "%" PRIu64, r->packets[k]);
                table_cell(&t, "%.2f", (double)r->packets[k] / (double)r->makespan);
            } else {
                table_cell(&t, "-");
                table_cell(&t, "-");
            }
        }
    }
    status = table_print(&t, TABLE_PLAIN, j->call->out, error);
    table_fini(&t);
    return status;
}

static void print_total(const job *j)
{
    const total t = sum_up(j);
    FILE *out = j->call->out;

    (void)fprintf(out,
                  "\nmoving     %" PRId64 " cycles, %.2f %% above the bound of its routes, %.2f"
                  " %% above that of any (worst layer %.2f %%)\n",
                  t.makespan, 100.0 * ((double)t.makespan / (double)t.bound - 1.0),
                  100.0 * ((double)t.makespan / (double)t.floor - 1.0), 100.0 * t.worst_gap);
    (void)fprintf(out, "computing  %" PRId64 " cycles; both, one beside the other: %" PRId64 "\n",
                  t.compute, t.processing);
    for (int k = 0; k < RIVALS && compares(j); k++) {
        (void)fprintf(
            out,
            "%-9s  %" PRIu64 " cycles as %s: %.2f times as long, %.2f in the geometric mean;"
            " with computing %.2f\n",
            rivals[k].name, t.packets[k], rivals[k].trees ? "packets that fork" : "packets to each",
            (double)t.packets[k] / (double)t.makespan,
            exp(t.log_ratio[k] / (double)j->layers.count),
            (double)t.packets_processing[k] / (double)t.processing);
    }
    (void)fprintf(out, "scheduled in %.2f s\n", j->seconds);
}

static spry_status print_json(const job *j, spry_error *error)
{
    const output_record record = {.model = j->call->arguments[1],
                                  .is_seeded = true,
                                  .seed = (uint64_t)cli_integer(j->call, "seed")};
    const total t = sum_up(j);
    output_document document;
    json_writer *json = &document.json;
    spry_status status;

    output_begin(&document, j->call);
    json_write_string(json, "model", "metro");
    target_write_resolved(j->t, json, "target");
    json_write_i64(json, "makespan", t.makespan);
    json_write_i64(json, "bound", t.bound);
    json_write_i64(json, "floor", t.floor);
    json_write_i64(json, "compute", t.compute);
    json_write_i64(json, "processing", t.processing);
    for (int k = 0; k < RIVALS && compares(j); k++) {
        json_write_object(json, rivals[k].name);
        json_write_u64(json, "makespan", t.packets[k]);
        json_write_u64(json, "processing", t.packets_processing[k]);
        json_write_f64(json, "geometric_mean", exp(t.log_ratio[k] / (double)j->layers.count));
        json_write_end(json);
    }
    json_write_array(json, "layers");
    for (int32_t i = 0; i < j->layers.count; i++) {
        const row *r = &j->rows[i];

        json_write_object(json, NULL);
        json_write_string(json, "name", j->layers.items[i].name);
        json_write_i64(json, "flows", r->flows);
        json_write_i64(json, "compute", r->compute);
        json_write_i64(json, "makespan", r->makespan);
        json_write_i64(json, "bound", r->bound);
        json_write_i64(json, "floor", r->floor);
        json_write_i64(json, "rule_of_thumb", r->first);
        json_write_i64(json, "generations", r->generations);
        json_write_i64(json, "flit_links", r->flit_links);
        json_write_i64(json, "most_entries", r->entries);
        for (int k = 0; k < RIVALS && compares(j); k++) {
            json_write_u64(json, rivals[k].name, r->packets[k]);
        }
        json_write_end(json);
    }
    json_write_end(json);
    status = output_write_record(json, &record, error);
    if (status != SPRY_OK) {
        output_drop(&document);
        return status;
    }
    return output_end(&document, j->call, error);
}

static spry_status open_job(job *j, spry_error *error)
{
    spry_model *model = NULL;
    spry_status status = simulate_target(j->call, "mesh-8x8", &j->t, error);

    if (status == SPRY_OK) {
        status = mesh_options_read(j->t, &j->network, error);
    }
    if (status == SPRY_OK) {
        status = target_finish(j->t, error);
    }
    if (status == SPRY_OK) {
        metro_tiles_default(&j->tiles, j->network.width, j->network.height);
        status = spry_model_load(NULL, j->call->arguments[1], &model, error);
    }
    if (status == SPRY_OK) {
        status = simulate_layers_of_model(&j->layers, model, error);
    }
    spry_model_destroy(model);
    if (status == SPRY_OK) {
        j->rows = arena_array(&j->layers.memory, (size_t)j->layers.count, sizeof *j->rows);
        if (j->rows == NULL) {
            return alloc_failed(error, (size_t)j->layers.count * sizeof *j->rows);
        }
        status = threads_create(NULL, 0, &j->team, error);
    }
    return status;
}

spry_status simulate_metro_model(const cli_call *call, spry_error *error)
{
    job j = {.call = call,
             .options = {.flit_bits = (int)cli_integer(call, "flit"),
                         .chunk_flits = (int)cli_integer(call, "chunk")}};
    spry_status status = open_job(&j, error);

    if (status == SPRY_OK) {
        status = schedule_all(&j, error);
    }
    if (status == SPRY_OK && cli_given(call, "json")) {
        status = print_json(&j, error);
    } else if (status == SPRY_OK) {
        status = print_layers(&j, error);
        if (status == SPRY_OK) {
            print_total(&j);
        }
    }
    threads_destroy(j.team);
    simulate_layers_fini(&j.layers);
    target_destroy(j.t);
    return status;
}
