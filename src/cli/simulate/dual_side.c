/* spry simulate dual-side: products on tensor cores that skip zeros of both operands. */
#include <inttypes.h>
#include <math.h>
#include <string.h>

#include "base/alloc.h"
#include "base/files.h"
#include "base/parse.h"
#include "base/threads.h"
#include "cli/output.h"
#include "cli/progress_bar.h"
#include "cli/simulate/models.h"
#include "cli/subject.h"
#include "cli/table.h"
#include "simulate/dual_side/network.h"
#include "spry/random.h"

static const char *const taken[] = {"target",  "set",     "density", "input", "preprocess",
                                    "level",   "seed",    "batch",   "csv",   "force",
                                    "compare", "threads", NULL};

enum { EXTENT_MOST = 8192 };

typedef struct row {
    const char *name;
    dual_side_cost cost;
    double difference; /* from the model's own results; NaN: not looked at */
} row;

typedef struct job {
    const cli_call *call;
    target *t;
    dual_side_machine machine;
    bool executes;
    arena memory;
    row *rows;
    int32_t count;
    int32_t left_out;
    threads *team;
} job;

/* ---- what is simulated ---- */

static float *draw(job *j, int64_t count, double density, uint64_t seed)
{
    float *x = arena_array(&j->memory, (size_t)count, sizeof *x);
    spry_random random = {.seed = seed};

    for (int64_t i = 0; x != NULL && i < count; i++) {
        double chance = (double)spry_random_u32(&random) * 0x1p-32;

        x[i] = chance < density ? (float)(1 + spry_random_u32(&random) % 8) : 0.0F;
    }
    return x;
}

/* Whole numbers of random places: sums are exact, so that the check is. */
static void check_product(const int64_t sizes[3], const float *a, const float *b, const float *y,
                          row *r)
{
    double worst = 0.0;
    double largest = 0.0;

    for (int64_t i = 0; i < sizes[0]; i += 1 + sizes[0] / 64) {
        for (int64_t j = 0; j < sizes[1]; j += 1 + sizes[1] / 64) {
            double sum = 0.0;

            for (int64_t k = 0; k < sizes[2]; k++) {
                sum += (double)a[i * sizes[2] + k] * (double)b[k * sizes[1] + j];
            }
            worst = fmax(worst, fabs(sum - (double)y[i * sizes[1] + j]));
            largest = fmax(largest, fabs(sum));
        }
    }
    r->difference = largest > 0.0 ? worst / largest : 0.0;
}

static spry_status run_codes(job *j, const int64_t sizes[3], const float *a, const float *b,
                             spry_error *error)
{
    row *r = &j->rows[0];
    tile_code left = {0};
    tile_code right = {0};
    dual_side_load load = {0};
    float *y = NULL;
    spry_status status = tile_code_matrix(&left, a, sizes[0], sizes[2], sizes[2], 1, error);

    arena_init(&right.memory, NULL, SIZE_MAX);
    if (status == SPRY_OK) {
        status = tile_code_matrix(&right, b, sizes[1], sizes[2], 1, sizes[1], error);
    }
    if (status == SPRY_OK) {
        status = dual_side_begin(&j->machine, &load, &r->cost, error);
    }
    if (status == SPRY_OK && j->executes) {
        y = arena_array(&j->memory, (size_t)(sizes[0] * sizes[1]), sizeof *y);
        status = y != NULL ? SPRY_OK : alloc_failed(error, (size_t)(sizes[0] * sizes[1]));
    }
    if (status == SPRY_OK) {
        status = dual_side_product(&j->machine, &load, &left, &right, false, y, j->team, &r->cost,
                                   error);
        dual_side_end(&j->machine, &load, &r->cost);
    }
    if (status == SPRY_OK && j->executes) {
        check_product(sizes, a, b, y, r);
    }
    tile_code_fini(&left);
    tile_code_fini(&right);
    return status;
}

static spry_status run_random(job *j, const int64_t sizes[3], spry_error *error)
{
    const char *word = cli_text(j->call, "density");
    uint64_t seed = (uint64_t)cli_integer(j->call, "seed");
    const char *colon = strchr(word, ':');
    char first[32] = "";
    double density[2];
    float *a;
    float *b;

    if (colon != NULL && (size_t)(colon - word) < sizeof first) {
        memcpy(first, word, (size_t)(colon - word));
    }
    if (!parse_f64(first, 0.0, 1.0, &density[0]) || !parse_f64(colon + 1, 0.0, 1.0, &density[1])) {
        return spry_fail(error, SPRY_USAGE, "--density", "write --density 0.5:0.25",
                         "'%.40s' is not two shares from 0 to 1", word);
    }
    a = draw(j, sizes[0] * sizes[2], density[0], seed);
    b = draw(j, sizes[2] * sizes[1], density[1], seed + 1);
    j->rows = arena_array(&j->memory, 1, sizeof *j->rows);
    if (a == NULL || b == NULL || j->rows == NULL) {
        return spry_fail(error, SPRY_LIMIT, j->call->arguments[1], NULL, "no memory for matrices");
    }
    j->count = 1;
    j->rows[0] = (row){.name = j->call->arguments[1], .difference = NAN};
    return run_codes(j, sizes, a, b, error);
}

static spry_status run_layers(job *j, const simulate_layers *layers, const simulate_operands *o,
                              spry_error *error)
{
    progress_bar bar;
    spry_status status = SPRY_OK;

    j->rows = arena_array(&j->memory, (size_t)layers->count, sizeof *j->rows);
    if (j->rows == NULL) {
        return alloc_failed(error, (size_t)layers->count * sizeof *j->rows);
    }
    progress_bar_begin(&bar, j->call);
    for (int32_t i = 0; i < layers->count && status == SPRY_OK; i++) {
        const char *name = layers->items[i].name;
        row *r = &j->rows[i];

        *r = (row){.name = arena_text(&j->memory, name, strlen(name)), .difference = NAN};
        j->count = i + 1;
        status = dual_side_layer(&j->machine, &layers->items[i], &o->items[i], j->executes, j->team,
                                 &r->cost, &r->difference, error);
        if (status == SPRY_OK) {
            status = progress_report(&bar.hook, "simulating", i + 1, layers->count, error);
        }
    }
    progress_bar_end(&bar);
    return status;
}

/* The first open dimension is the batch. */
static spry_status set_batch(spry_feed *feed, int64_t batch, spry_error *error)
{
    return batch > 1 && spry_feed_dimension_count(feed) > 0
               ? spry_feed_set_dimension(feed, spry_feed_dimension_at(feed, 0).name, batch, error)
               : SPRY_OK;
}

static spry_status run_model(job *j, spry_error *error)
{
    uint64_t seed = (uint64_t)cli_integer(j->call, "seed");
    spry_session_options options = spry_session_options_default();
    simulate_layers layers = {0};
    simulate_operands operands = {0};
    spry_model *model = NULL;
    spry_feed *feed = NULL;
    spry_status status = spry_model_load(NULL, j->call->arguments[1], &model, error);

    options.threads = (int)cli_integer(j->call, "threads");
    if (status == SPRY_OK) {
        status = spry_feed_create(NULL, model, &feed, error);
    }
    if (status == SPRY_OK) {
        status = set_batch(feed, cli_integer(j->call, "batch"), error);
    }
    if (status == SPRY_OK) {
        status = subject_fill(feed, j->call, seed, error);
    }
    if (status == SPRY_OK) {
        status = simulate_layers_of_model(&layers, model, error);
        j->left_out = layers.left_out;
    }
    if (status == SPRY_OK) {
        status = simulate_operands_run(&operands, model, &layers, feed, &options, error);
    }
    if (status == SPRY_OK) {
        status = run_layers(j, &layers, &operands, error);
    }
    simulate_operands_fini(&operands);
    simulate_layers_fini(&layers);
    spry_feed_destroy(feed);
    spry_model_destroy(model);
    return status;
}

/* MxNxK? */
static bool is_sizes(const char *word, int64_t sizes[3])
{
    const char *rest = word;

    for (int i = 0; i < 3; i++) {
        size_t length = strcspn(rest, "x");
        char number[16] = "";

        if (length < sizeof number) {
            memcpy(number, rest, length);
        }
        if (!parse_i64(number, 1, EXTENT_MOST, &sizes[i]) || (rest[length] == 'x') != (i < 2)) {
            return false;
        }
        rest += length + 1;
    }
    return true;
}

/* ---- what is said ---- */

static double speed(uint64_t slower, uint64_t faster)
{
    return faster > 0 ? (double)slower / (double)faster : 0.0;
}

static row sum_of(const job *j)
{
    row sum = {.name = "all"};
    double densities[2] = {0.0, 0.0};

    for (int32_t i = 0; i < j->count; i++) {
        const dual_side_cost *c = &j->rows[i].cost;

        sum.cost.work.issued += c->work.issued;
        sum.cost.work.skipped += c->work.skipped;
        sum.cost.work.products += c->work.products;
        sum.cost.work.merge += c->work.merge;
        sum.cost.tiles += c->tiles;
        sum.cost.memory += c->memory;
        sum.cost.cycles += c->cycles;
        sum.cost.read_bytes += c->read_bytes;
        sum.cost.written_bytes += c->written_bytes;
        sum.cost.macs += c->macs;
        sum.cost.dense += c->dense;
        sum.cost.vector_wise += c->vector_wise;
        sum.cost.two_of_four += c->two_of_four;
        sum.cost.compressed += c->compressed;
        densities[0] += c->left_density * c->macs;
        densities[1] += c->right_density * c->macs;
        sum.difference = fmax(sum.difference, j->rows[i].difference);
    }
    sum.cost.left_density = sum.cost.macs > 0.0 ? densities[0] / sum.cost.macs : 0.0;
    sum.cost.right_density = sum.cost.macs > 0.0 ? densities[1] / sum.cost.macs : 0.0;
    return sum;
}

static const char *bound_of(const job *j, const dual_side_cost *c)
{
    return c->memory >= c->busiest                     ? "memory"
           : (uint64_t)j->machine.launch >= c->busiest ? "launch"
           : (double)c->busiest > 1.25 * c->mean       ? "uneven"
           : c->work.merge > c->work.issued            ? "banks"
                                                       : "cores";
}

static spry_status print_rows(const job *j, spry_error *error)
{
    static const table_column columns[] = {
        {"layer", false}, {"inputs %", true}, {"weights %", true}, {"issued %", true},
        {"cycles", true}, {"dense", true},    {"speed", true},     {"uneven", true},
        {"bound", false}, {NULL, false}};
    spry_status status;
    table t;

    table_init(&t, columns);
    for (int32_t i = 0; i < j->count; i++) {
        const dual_side_cost *c = &j->rows[i].cost;
        double all = (double)(c->work.issued + c->work.skipped);

        table_cell(&t, "%s", j->rows[i].name);
        table_cell(&t, "%.1f", 100.0 * c->left_density);
        table_cell(&t, "%.1f", 100.0 * c->right_density);
        table_cell(&t, "%.1f", all > 0.0 ? 100.0 * (double)c->work.issued / all : 0.0);
        table_cell(&t, "%" PRIu64, c->cycles);
        table_cell(&t, "%" PRIu64, c->dense);
        table_cell(&t, "%.2fx", speed(c->dense, c->cycles));
        table_cell(&t, "%.2f", c->mean > 0.0 ? (double)c->busiest / c->mean : 1.0);
        table_cell(&t, "%s", bound_of(j, c));
    }
    status = table_print(&t, TABLE_PLAIN, j->call->out, error);
    table_fini(&t);
    return status;
}

static void print_sum(const job *j)
{
    row sum = sum_of(j);
    const dual_side_cost *c = &sum.cost;
    double ms = (double)c->cycles / j->machine.clock * 1e3;
    FILE *out = j->call->out;

    (void)fprintf(out, "\n%" PRIu64 " cycles, %.4f ms, %.2f times as fast as dense; %.1f MB moved",
                  c->cycles, ms, speed(c->dense, c->cycles),
                  (double)(c->read_bytes + c->written_bytes) * 1e-6);
    if (j->machine.has_prices) {
        (void)fprintf(out, ", %.3f mJ", dual_side_energy(&j->machine, c) * 1e3);
    }
    (void)fprintf(out, "\n");
    if (j->executes && !isnan(sum.difference)) {
        (void)fprintf(out, "results differ by at most %.1e of the largest (operands are f16)\n",
                      sum.difference);
    }
    if (cli_given(j->call, "compare")) {
        (void)fprintf(out,
                      "dense         %" PRIu64 " cycles\n"
                      "vector-wise   %" PRIu64 " cycles, where a quarter of the weights is left\n"
                      "2 of 4        %" PRIu64 " cycles, where half of the weights is left\n"
                      "compressed    %" PRIu64 " cycles, outside the tensor cores\n",
                      c->dense, c->vector_wise, c->two_of_four, c->compressed);
    }
}

static void write_row(json_writer *json, const job *j, const row *r)
{
    const dual_side_cost *c = &r->cost;

    json_write_f64(json, "input_density", c->left_density);
    json_write_f64(json, "weight_density", c->right_density);
    json_write_u64(json, "instructions", c->work.issued);
    json_write_u64(json, "skipped", c->work.skipped);
    json_write_u64(json, "products", c->work.products);
    json_write_u64(json, "merge_cycles", c->work.merge);
    json_write_i64(json, "tiles", c->tiles);
    json_write_u64(json, "memory_cycles", c->memory);
    json_write_u64(json, "cycles", c->cycles);
    json_write_f64(json, "macs", c->macs);
    json_write_i64(json, "read_bytes", c->read_bytes);
    json_write_i64(json, "written_bytes", c->written_bytes);
    json_write_u64(json, "dense_cycles", c->dense);
    json_write_u64(json, "vector_wise_cycles", c->vector_wise);
    json_write_u64(json, "two_of_four_cycles", c->two_of_four);
    json_write_u64(json, "compressed_cycles", c->compressed);
    json_write_f64(json, "speed_over_dense", speed(c->dense, c->cycles));
    if (j->machine.has_prices) {
        json_write_f64(json, "joules", dual_side_energy(&j->machine, c));
    }
    if (!isnan(r->difference) && j->executes) {
        json_write_f64(json, "difference", r->difference);
    }
}

static spry_status print_json(const job *j, spry_error *error)
{
    const output_record record = {.model = NULL,
                                  .threads = (int)cli_integer(j->call, "threads"),
                                  .is_seeded = true,
                                  .seed = (uint64_t)cli_integer(j->call, "seed")};
    row sum = sum_of(j);
    output_document document;
    spry_status status;

    output_begin(&document, j->call);
    json_write_string(&document.json, "model", "dual-side");
    target_write_resolved(j->t, &document.json, "target");
    json_write_string(&document.json, "level", j->executes ? "cycle" : "fast");
    write_row(&document.json, j, &sum);
    json_write_array(&document.json, "layers");
    for (int32_t i = 0; i < j->count; i++) {
        json_write_object(&document.json, NULL);
        json_write_string(&document.json, "name", j->rows[i].name);
        json_write_string(&document.json, "bound", bound_of(j, &j->rows[i].cost));
        json_write_bool(&document.json, "weights_on_eight", j->rows[i].cost.is_swapped);
        write_row(&document.json, j, &j->rows[i]);
        json_write_end(&document.json);
    }
    json_write_end(&document.json);
    status = output_write_record(&document.json, &record, error);
    if (status != SPRY_OK) {
        output_drop(&document);
        return status;
    }
    return output_end(&document, j->call, error);
}

static spry_status write_csv(const job *j, const char *path, spry_error *error)
{
    text t;
    spry_status status;

    text_init(&t, NULL, (size_t)1 << 26);
    text_append_string(&t, "layer,input_density,weight_density,instructions,skipped,cycles,"
                           "memory_cycles,dense_cycles,speed,bound\n");
    for (int32_t i = 0; i < j->count; i++) {
        const dual_side_cost *c = &j->rows[i].cost;

        text_append_format(&t,
                           "\"%s\",%.6f,%.6f,%" PRIu64 ",%" PRIu64 ",%" PRIu64 ",%" PRIu64
                           ",%" PRIu64 ",%.4f,%s\n",
                           j->rows[i].name, c->left_density, c->right_density, c->work.issued,
                           c->work.skipped, c->cycles, c->memory, c->dense,
                           speed(c->dense, c->cycles), bound_of(j, c));
    }
    status = text_status(&t, path, error);
    if (status == SPRY_OK) {
        status = file_replace(path, t.data, t.length, error);
    }
    text_fini(&t);
    return status;
}

static spry_status tell(const job *j, spry_error *error)
{
    const char *csv = cli_text(j->call, "csv");
    spry_status status = csv != NULL ? write_csv(j, csv, error) : SPRY_OK;

    if (status != SPRY_OK || cli_given(j->call, "json")) {
        return status == SPRY_OK ? print_json(j, error) : status;
    }
    status = print_rows(j, error);
    if (status == SPRY_OK) {
        print_sum(j);
    }
    if (j->left_out > 0) {
        output_detail(j->call, "%d nodes are no products and were left out", j->left_out);
    }
    return status;
}

static spry_status run(const cli_call *call, spry_error *error)
{
    job j = {.call = call, .executes = strcmp(cli_text(call, "level"), "cycle") == 0};
    const char *csv = cli_text(call, "csv");
    int64_t sizes[3];
    spry_status status = csv != NULL ? output_check_free(call, csv, error) : SPRY_OK;

    arena_init(&j.memory, NULL, SIZE_MAX);
    if (status == SPRY_OK) {
        status = simulate_target(call, "v100-dual-side", &j.t, error);
    }
    if (status == SPRY_OK) {
        status = dual_side_machine_read(j.t, &j.machine, error);
    }
    if (status == SPRY_OK) {
        status = target_finish(j.t, error);
    }
    if (status == SPRY_OK) {
        status = threads_create(NULL, (int)cli_integer(call, "threads"), &j.team, error);
    }
    if (status == SPRY_OK) {
        status = is_sizes(call->arguments[1], sizes) ? run_random(&j, sizes, error)
                                                     : run_model(&j, error);
    }
    if (status == SPRY_OK) {
        status = tell(&j, error);
    }
    threads_destroy(j.team);
    arena_fini(&j.memory);
    target_destroy(j.t);
    return status;
}

const simulate_model simulate_dual_side = {
    .name = "dual-side", .options = taken, .arguments = 1, .run = run};
