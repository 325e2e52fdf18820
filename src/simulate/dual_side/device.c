#include "simulate/dual_side/device.h"

#include <math.h>
#include <string.h>

#include "base/alloc.h"
#include "simulate/prices.h"

enum {
    BLOCK_LANES = 128, /* of results that share what they read, on each side */
    SUM_BYTES = 4,
    DENSE_BYTES = 2
};

spry_status dual_side_begin(const dual_side_machine *m, dual_side_load *load, dual_side_cost *cost,
                            spry_error *error)
{
    size_t count = (size_t)(m->units * m->pairs);

    *cost = (dual_side_cost){0};
    *load = (dual_side_load){0};
    arena_init(&load->memory, NULL, SIZE_MAX);
    load->cycles = arena_array(&load->memory, count, sizeof *load->cycles);
    if (load->cycles == NULL) {
        return alloc_failed(error, count * sizeof *load->cycles);
    }
    memset(load->cycles, 0, count * sizeof *load->cycles);
    return SPRY_OK;
}

/* ---- tiles ---- */

typedef struct tile_row {
    const outer_core *core;
    const tile_code *rows, *columns; /* on the sides of eight and sixteen */
    bool is_swapped;
    float *result;     /* [lanes of left][lanes of right] */
    outer_cost *costs; /* of each tile */
} tile_row;

/* Sums of a tile to where they belong. */
static void store_tile(const tile_row *r, const float *sums, int64_t i, int64_t j)
{
    int64_t pitch = r->is_swapped ? r->rows->lanes : r->columns->lanes;

    for (int64_t y = 0; y < TILE_LANES && i * TILE_LANES + y < r->rows->lanes; y++) {
        for (int64_t x = 0; x < TILE_LANES && j * TILE_LANES + x < r->columns->lanes; x++) {
            int64_t row = i * TILE_LANES + y;
            int64_t column = j * TILE_LANES + x;
            int64_t at = r->is_swapped ? column * pitch + row : row * pitch + column;

            r->result[at] = sums[y * TILE_LANES + x];
        }
    }
}

static void run_tiles(void *context, int64_t begin, int64_t end, int worker)
{
    const tile_row *r = context;
    float sums[TILE_LANES * TILE_LANES];

    (void)worker;
    for (int64_t t = begin; t < end; t++) {
        int64_t i = t / r->columns->tiles;
        int64_t j = t % r->columns->tiles;

        memset(sums, 0, sizeof sums);
        outer_core_run(r->core, r->rows, r->columns, i, j, sums, &r->costs[t]);
        store_tile(r, sums, i, j);
    }
}

/* Instructions of each tile, without the products. */
static void count_tiles(void *context, int64_t begin, int64_t end, int worker)
{
    const tile_row *r = context;

    (void)worker;
    for (int64_t t = begin; t < end; t++) {
        outer_core_run(r->core, r->rows, r->columns, t / r->columns->tiles, t % r->columns->tiles,
                       NULL, &r->costs[t]);
    }
}

static void add_work(outer_cost *sum, const outer_cost *c)
{
    sum->steps += c->steps;
    sum->issued += c->issued;
    sum->skipped += c->skipped;
    sum->products += c->products;
    sum->merge += c->merge;
    sum->issue += c->issue;
    sum->cycles += c->cycles;
}

/* ---- bytes ---- */

/* Blocks of results that the units work on side by side are as square as can be, and what they read
 * together comes once from the memory; everything does that fits the cache. */
static int64_t traffic(const dual_side_machine *m, int64_t left_lanes, int64_t left_bytes,
                       int64_t right_lanes, int64_t right_bytes)
{
    int64_t down = (int64_t)floor(sqrt((double)m->units));
    int64_t along = m->units / (down > 0 ? down : 1);
    int64_t row_blocks = (left_lanes + BLOCK_LANES - 1) / BLOCK_LANES;
    int64_t column_blocks = (right_lanes + BLOCK_LANES - 1) / BLOCK_LANES;

    if (left_bytes + right_bytes <= m->cache_bytes) {
        return left_bytes + right_bytes;
    }
    return left_bytes * ((column_blocks + along - 1) / along) +
           right_bytes * ((row_blocks + down - 1) / down);
}

static uint64_t memory_cycles(const dual_side_machine *m, int64_t bytes)
{
    return (uint64_t)ceil((double)bytes / m->bandwidth * m->clock);
}

/* ---- elsewhere ---- */

static uint64_t at_least(double cycles, uint64_t memory, int64_t launch)
{
    uint64_t compute = (uint64_t)ceil(cycles);

    return (compute > memory ? compute : memory) + (uint64_t)launch;
}

/* The same tiles dealt to as many cores, whatever is in them. A memory that the others share is
 * charged with the dense bytes. */
static void compare(const dual_side_machine *m, const tile_code *left, const tile_code *right,
                    dual_side_cost *cost)
{
    int64_t cores = m->units * m->pairs;
    int64_t tiles = left->tiles * right->tiles;
    double rounds = (double)((tiles + cores - 1) / cores);
    double dense = rounds * OUTER_FULL * TILE_STEPS * (double)left->slices / m->dense_share;
    int64_t left_bytes = DENSE_BYTES * left->lanes * left->depth;
    int64_t right_bytes = DENSE_BYTES * right->lanes * right->depth;
    int64_t results = SUM_BYTES * left->lanes * right->lanes;
    uint64_t whole =
        memory_cycles(m, traffic(m, left->lanes, left_bytes, right->lanes, right_bytes) + results);
    double products = (double)left->lanes * (double)right->value_count;
    double weights = tile_code_density(right);

    cost->dense += at_least(dense, whole, 0);
    cost->vector_wise += at_least(weights <= 0.25 ? dense / m->vector_wise : dense, whole, 0);
    cost->two_of_four += at_least(weights <= 0.5 ? dense / 2.0 : dense, whole, 0);
    cost->compressed +=
        at_least(products / (m->scalar_lanes * m->scalar_share * (double)m->units), whole, 0);
}

/* ---- a product ---- */

spry_status dual_side_product(const dual_side_machine *m, dual_side_load *load,
                              const tile_code *left, const tile_code *right, bool is_swapped,
                              float *result, threads *team, dual_side_cost *cost, spry_error *error)
{
    tile_row r = {.core = &m->core,
                  .rows = is_swapped ? right : left,
                  .columns = is_swapped ? left : right,
                  .is_swapped = is_swapped,
                  .result = result};
    outer_core ideal = {.window = 1, .hides_issue = true, .is_double_buffered = true};
    int64_t tiles = left->tiles * right->tiles;
    int64_t total = (int64_t)(left->lanes * left->depth);

    if (left->depth != right->depth) {
        return spry_fail(error, SPRY_USAGE, "product", NULL, "depths of %lld and %lld differ",
                         (long long)left->depth, (long long)right->depth);
    }
    r.costs = arena_array(&load->memory, (size_t)tiles + 1, sizeof *r.costs);
    if (r.costs == NULL) {
        return alloc_failed(error, (size_t)tiles * sizeof *r.costs);
    }
    memset(r.costs, 0, (size_t)tiles * sizeof *r.costs);
    r.core = result != NULL ? &m->core : &ideal;
    threads_for(team, tiles, 16, result != NULL ? run_tiles : count_tiles, &r);
    for (int64_t t = 0; t < tiles; t++) {
        load->cycles[load->next] += r.costs[t].cycles;
        load->next = (load->next + 1) % (m->units * m->pairs);
        add_work(&cost->work, &r.costs[t]);
    }
    cost->tiles += tiles;
    cost->is_swapped = is_swapped;
    cost->macs += (double)total * (double)right->lanes;
    cost->left_density = tile_code_density(left);
    cost->right_density = tile_code_density(right);
    cost->read_bytes +=
        traffic(m, left->lanes, tile_code_bytes(left), right->lanes, tile_code_bytes(right));
    cost->written_bytes += SUM_BYTES * left->lanes * right->lanes;
    compare(m, left, right, cost);
    return SPRY_OK;
}

void dual_side_end(const dual_side_machine *m, dual_side_load *load, dual_side_cost *cost)
{
    int64_t count = m->units * m->pairs;
    double sum = 0.0;

    for (int64_t i = 0; i < count && load->cycles != NULL; i++) {
        cost->busiest = load->cycles[i] > cost->busiest ? load->cycles[i] : cost->busiest;
        sum += (double)load->cycles[i];
    }
    cost->mean = sum / (double)count;
    cost->memory = memory_cycles(m, cost->read_bytes + cost->written_bytes);
    cost->cycles = at_least((double)cost->busiest, cost->memory, m->launch);
    cost->dense += (uint64_t)m->launch;
    cost->vector_wise += (uint64_t)m->launch;
    cost->two_of_four += (uint64_t)m->launch;
    cost->compressed += (uint64_t)m->launch;
    arena_fini(&load->memory);
    load->cycles = NULL;
}

bool dual_side_should_swap(const tile_code *left, const tile_code *right)
{
    return outer_core_count(right, left) < outer_core_count(left, right);
}

double dual_side_merged_bits(const dual_side_cost *cost)
{
    return 2.0 * 8.0 * SUM_BYTES * (double)cost->work.products;
}

/* ---- the target ---- */

static spry_status read_core(target *t, dual_side_machine *m, spry_error *error)
{
    int64_t banks = 0;
    int64_t window = 4;
    int banking = OUTER_LINEAR;
    bool hides = true;
    bool is_double = true;
    spry_status status = target_count_or(t, "tensor_core.banks", 0, 128, &banks, error);

    if (status == SPRY_OK && banks != 0 && banks != 32 && banks != 64 && banks != 128) {
        return target_refuse(t, "tensor_core.banks", "must be 0 (no conflicts), 32, 64 or 128",
                             error);
    }
    if (status == SPRY_OK) {
        status = target_count_or(t, "tensor_core.window", 1, OUTER_FULL, &window, error);
    }
    if (status == SPRY_OK && target_has(t, "tensor_core.banking")) {
        status = target_choice(t, "tensor_core.banking", outer_banking_names, OUTER_BANKINGS,
                               &banking, error);
    }
    if (status == SPRY_OK && target_has(t, "tensor_core.hides_issue")) {
        status = target_flag(t, "tensor_core.hides_issue", &hides, error);
    }
    if (status == SPRY_OK && target_has(t, "tensor_core.double_buffered")) {
        status = target_flag(t, "tensor_core.double_buffered", &is_double, error);
    }
    m->core = (outer_core){.banks = (int)banks,
                           .window = (int)window,
                           .banking = (outer_banking)banking,
                           .hides_issue = hides,
                           .is_double_buffered = is_double};
    return status;
}

/* Shares and factors: plain numbers, so they are written in hundredths. */
static spry_status read_percent(target *t, const char *key, int64_t most, double *value,
                                spry_error *error)
{
    int64_t percent = (int64_t)(*value * 100.0 + 0.5);
    spry_status status = target_count_or(t, key, 1, most, &percent, error);

    *value = (double)percent / 100.0;
    return status;
}

static spry_status read_others(target *t, dual_side_machine *m, spry_error *error)
{
    int64_t lanes = 64;
    spry_status status;

    m->dense_share = 0.9;
    m->vector_wise = 2.0;
    m->scalar_share = 0.25;
    status = read_percent(t, "tensor_core.dense_percent", 100, &m->dense_share, error);
    if (status == SPRY_OK) {
        status = read_percent(t, "tensor_core.vector_wise_percent", 400, &m->vector_wise, error);
    }
    if (status == SPRY_OK) {
        status = read_percent(t, "tensor_core.scalar_percent", 100, &m->scalar_share, error);
    }
    if (status == SPRY_OK) {
        status = target_count_or(t, "tensor_core.scalar_lanes", 1, 4096, &lanes, error);
    }
    m->scalar_lanes = (double)lanes;
    return status;
}

static spry_status read_prices(target *t, dual_side_machine *m, spry_error *error)
{
    spry_status status = SPRY_OK;

    m->has_prices = target_has(t, "energy.mac");
    m->source = prices_source(t);
    if (m->has_prices) {
        status = prices_read(t, "energy.mac", UNIT_JOULES, &m->mac_energy, error);
    }
    if (status == SPRY_OK && m->has_prices) {
        status = prices_read(t, "energy.scratch", UNIT_JOULES_PER_BIT, &m->merge_energy, error);
    }
    if (status == SPRY_OK && m->has_prices) {
        status = prices_read(t, "energy.memory", UNIT_JOULES_PER_BIT, &m->memory_energy, error);
    }
    return status;
}

spry_status dual_side_machine_read(target *t, dual_side_machine *m, spry_error *error)
{
    double cache = 0.0;
    spry_status status;

    *m = (dual_side_machine){0};
    status = read_core(t, m, error);
    if (status == SPRY_OK) {
        status = target_count(t, "compute.units", 1, 1024, &m->units, error);
    }
    if (status == SPRY_OK) {
        status = target_count(t, "tensor_core.pairs", 1, 64, &m->pairs, error);
    }
    if (status == SPRY_OK) {
        status = target_quantity(t, "compute.clock", UNIT_HERTZ, 1e6, 1e11, &m->clock, error);
    }
    if (status == SPRY_OK) {
        status = target_quantity(t, "memory.dram.bandwidth", UNIT_BYTES_PER_SECOND, 1e6, 1e15,
                                 &m->bandwidth, error);
    }
    if (status == SPRY_OK) {
        status = target_quantity(t, "tensor_core.cache", UNIT_BYTES, 1024, 1e12, &cache, error);
    }
    if (status == SPRY_OK) {
        status = target_count_or(t, "tensor_core.launch_cycles", 0, 1000000000, &m->launch, error);
    }
    if (status == SPRY_OK) {
        status = read_others(t, m, error);
    }
    m->cache_bytes = (int64_t)cache;
    return status == SPRY_OK ? read_prices(t, m, error) : status;
}
