/* spry simulate dual-side: products on tensor cores that skip zeros of both operands. */
#include <math.h>
#include <string.h>

#include "base/alloc.h"
#include "base/parse.h"
#include "base/threads.h"
#include "cli/progress_bar.h"
#include "cli/simulate/models.h"
#include "cli/simulate/tell.h"
#include "cli/subject.h"
#include "simulate/dual_side/network.h"
#include "spry/random.h"

static const char *const taken[] = {"level", "batch", "compare", "threads", "seed", NULL};

static const cli_option own[] = {
    {.name = "density",
     .kind = CLI_TEXT,
     .value = "A:B",
     .fallback = "0.5:0.25",
     .help = "of MxNxK: shares of the two matrices that are not zero"},
    SUBJECT_FILE_OPTIONS,
    {0},
};

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
    bool is_network;
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

static double issued_share(const dual_side_cost *c)
{
    double all = (double)(c->work.issued + c->work.skipped);

    return all > 0.0 ? 100.0 * (double)c->work.issued / all : 0.0;
}

static void tell_layers(const job *j, report *r)
{
    static const report_column columns[] = {{"name", "layer", -1, REPORT_PLAIN},
                                            {"input_density", "inputs %", 1, REPORT_BAR},
                                            {"weight_density", "weights %", 1, REPORT_BAR},
                                            {"issued", "issued %", 1, REPORT_BAR},
                                            {"instructions", "instructions", 0, REPORT_PLAIN},
                                            {"merge_cycles", "merging", 0, REPORT_PLAIN},
                                            {"memory_cycles", "memory", 0, REPORT_PLAIN},
                                            {"cycles", "cycles", 0, REPORT_BAR},
                                            {"dense_cycles", "dense", 0, REPORT_BAR},
                                            {"speed", "speed", 2, REPORT_BAR},
                                            {"uneven", "uneven", 2, REPORT_PLAIN},
                                            {"bound", "bound", -1, REPORT_PLAIN},
                                            {NULL, NULL, 0, REPORT_PLAIN}};
    int track = timeline_track(r->timeline, "layers");
    double femto = 1e15 / j->machine.clock;
    uint64_t at = 0;

    report_table_begin(r, "layers", "Layers", columns);
    for (int32_t i = 0; i < j->count; i++) {
        const dual_side_cost *c = &j->rows[i].cost;
        uint64_t end = at + (uint64_t)((double)c->cycles * femto);

        report_cell_word(r, j->rows[i].name);
        report_cell(r, 100.0 * c->left_density);
        report_cell(r, 100.0 * c->right_density);
        report_cell(r, issued_share(c));
        report_cell(r, (double)c->work.issued);
        report_cell(r, (double)c->work.merge);
        report_cell(r, (double)c->memory);
        report_cell(r, (double)c->cycles);
        report_cell(r, (double)c->dense);
        report_cell(r, speed(c->dense, c->cycles));
        report_cell(r, c->mean > 0.0 ? (double)c->busiest / c->mean : 1.0);
        report_cell_word(r, bound_of(j, c));
        timeline_span(r->timeline, track, at, end, "layer",
                      timeline_keep(r->timeline, j->rows[i].name));
        at = end;
    }
}

static void tell_others(const dual_side_cost *c, report *r)
{
    static const report_column columns[] = {{"cores", "cores", -1, REPORT_PLAIN},
                                            {"cycles", "cycles", 0, REPORT_BAR},
                                            {"note", "", -1, REPORT_PLAIN},
                                            {NULL, NULL, 0, REPORT_PLAIN}};
    const struct {
        const char *name;
        uint64_t cycles;
        const char *note;
    } rows[] = {
        {"dual-side", c->cycles, "skip zeros of both sides"},
        {"dense", c->dense, "skip nothing"},
        {"vector-wise", c->vector_wise, "gain where a quarter of the weights is left"},
        {"2 of 4", c->two_of_four, "gain where half of the weights is left"},
        {"compressed", c->compressed, "rows without zeros, outside the tensor cores"},
    };

    report_table_begin(r, "others", "Other cores", columns);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        report_cell_word(r, rows[i].name);
        report_cell(r, (double)rows[i].cycles);
        report_cell_word(r, rows[i].note);
    }
}

static void tell_sum(const job *j, const row *sum, report *r)
{
    const dual_side_machine *m = &j->machine;
    const dual_side_cost *c = &sum->cost;
    double bytes = (double)(c->read_bytes + c->written_bytes);

    report_word(r, "level", "level", j->executes ? "cycle" : "fast");
    report_number(r, "cycles", "cycles", (double)c->cycles, 0, "");
    report_number(r, "milliseconds", "time", (double)c->cycles / m->clock * 1e3, 4, "ms");
    report_number(r, "speed", "over dense cores", speed(c->dense, c->cycles), 2, "times");
    report_number(r, "instructions", "instructions", (double)c->work.issued, 0, "");
    report_number(r, "skipped", "skipped", (double)c->work.skipped, 0, "");
    report_number(r, "products", "products", (double)c->work.products, 0, "");
    report_number(r, "macs", "multiply-adds if dense", c->macs, 0, "");
    report_number(r, "bytes", "moved", bytes, 0, "B");
    if (j->executes && !isnan(sum->difference)) {
        report_number(r, "difference", "difference from f32", sum->difference, -1,
                      "of the largest");
    }
    if (m->has_prices) {
        report_energy(r, "cores", "product", (double)c->work.products, m->mac_energy * 1e12,
                      m->source);
        report_energy(r, "sums", "bit", dual_side_merged_bits(c), m->merge_energy * 1e12,
                      m->source);
        report_energy(r, "memory", "bit", 8.0 * bytes, m->memory_energy * 1e12, m->source);
    }
}

static spry_status tell(const job *j, report *r, spry_error *error)
{
    const output_record record = {.model = j->is_network ? j->call->arguments[1] : NULL,
                                  .threads = (int)cli_integer(j->call, "threads"),
                                  .is_seeded = true,
                                  .seed = (uint64_t)cli_integer(j->call, "seed")};
    row sum = sum_of(j);

    simulate_report(r, j->call, "Tensor cores that skip zeros on both sides");
    tell_layers(j, r);
    if (cli_given(j->call, "compare")) {
        tell_others(&sum.cost, r);
    }
    tell_sum(j, &sum, r);
    if (j->left_out > 0) {
        output_detail(j->call, "%d nodes are no products and were left out", j->left_out);
    }
    return simulate_tell(j->call, r, j->t, &record, error);
}

static spry_status run(const cli_call *call, spry_error *error)
{
    job j = {.call = call, .executes = strcmp(cli_text(call, "level"), "cycle") == 0};
    int64_t sizes[3];
    report r = {0};
    spry_status status = simulate_target(call, "v100-dual-side", &j.t, error);

    arena_init(&j.memory, NULL, SIZE_MAX);
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
        j.is_network = !is_sizes(call->arguments[1], sizes);
        status = j.is_network ? run_model(&j, error) : run_random(&j, sizes, error);
    }
    if (status == SPRY_OK) {
        status = tell(&j, &r, error);
    }
    report_fini(&r);
    threads_destroy(j.team);
    arena_fini(&j.memory);
    target_destroy(j.t);
    return status;
}

const simulate_model simulate_dual_side = {
    .name = "dual-side",
    .part = {.title = "dual-side MODEL.onnx|MxNxK",
             .about = "Products on tensor cores that skip zeros of both operands: those of a "
                      "network, with the weights and inputs of a real run, or of random matrices. "
                      "fast counts instructions, --level cycle computes every product.",
             .options = own},
    .options = taken,
    .arguments = 1,
    .run = run};
