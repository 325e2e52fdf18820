#include "simulate/energon/coprocessor.h"

#include "base/alloc.h"
#include "simulate/energon/row_buffer.h"
#include "simulate/prices.h"

enum { ROW_BITS = 16, CODE_BITS = 4, BYTE_BITS = 8, ROW_ELEMENT_BYTES = 2 };

/* A head's rows while it runs. */
typedef struct rows {
    row_buffer keys, values;
} rows;

static int64_t blocks(int64_t count, int64_t at_once)
{
    return (count + at_once - 1) / at_once;
}

static spry_status make_rows(const energon_machine *m, const energon_trace *t, arena *memory,
                             rows *r, spry_error *error)
{
    int64_t longest = 1;
    int64_t size = 1;
    spry_status status;

    for (int64_t h = 0; h < t->count; h++) {
        longest = t->heads[h].keys > longest ? t->heads[h].keys : longest;
        size = t->heads[h].size > size ? t->heads[h].size : size;
    }
    status = row_buffer_make(&r->keys, memory, longest, m->key_bytes / (ROW_ELEMENT_BYTES * size),
                             error);
    return status == SPRY_OK ? row_buffer_make(&r->values, memory, longest,
                                               m->value_bytes / (ROW_ELEMENT_BYTES * size), error)
                             : status;
}

/* Cycles until a query's keys are chosen. */
static int64_t choosing_cycles(const energon_machine *m, const int32_t *scored, int rounds,
                               int64_t size)
{
    int64_t cycles = m->drain;

    for (int r = 0; r < rounds; r++) {
        cycles += blocks(scored[r], m->filter_lanes) * blocks(size, m->filter_width);
        cycles += m->select_overlaps ? 0 : blocks(scored[r], m->select);
    }
    return cycles;
}

/* Rows that a query wants and that are not there. */
static int64_t fetch_row(rows *r, int32_t key, int64_t size, bool is_dense, energon_cost *cost)
{
    int64_t bits = 0;

    if (row_buffer_use(&r->keys, key)) {
        bits += size * (is_dense ? ROW_BITS : ROW_BITS - CODE_BITS);
        cost->key_rows++;
    }
    if (row_buffer_use(&r->values, key)) {
        bits += size * ROW_BITS;
        cost->value_rows++;
    }
    return bits / BYTE_BITS;
}

static void run_query(energon_pipeline *p, const energon_trace *t, const energon_head *h, int64_t q,
                      bool is_dense, rows *r)
{
    const int32_t *scored = h->scored + q * FILTER_ROUNDS;
    energon_step step = {0};

    p->cost->visible += (uint64_t)scored[0];
    if (is_dense) {
        step.scored = scored[0];
        for (int32_t key = 0; key < scored[0]; key++) {
            step.bytes += fetch_row(r, key, h->size, true, p->cost);
        }
    } else {
        step.scored = h->begin[q + 1] - h->begin[q];
        step.choosing = choosing_cycles(p->m, scored, t->rounds, h->size);
        for (int64_t i = h->begin[q]; i < h->begin[q + 1]; i++) {
            step.bytes += fetch_row(r, h->kept[i], h->size, false, p->cost);
        }
        for (int round = 0; round < t->rounds; round++) {
            p->cost->low_products += (uint64_t)(scored[round] * h->size);
        }
    }
    step.weighed = step.scored;
    p->cost->kept += (uint64_t)step.scored;
    energon_pipeline_query(p, &step, h->size);
}

spry_status energon_run(const energon_machine *m, const energon_trace *t, bool is_dense,
                        energon_cost *cost, spry_error *error)
{
    uint64_t begun[ENERGON_FIFO_MOST];
    energon_pipeline p;
    arena memory;
    rows r;
    spry_status status;

    arena_init(&memory, NULL, SIZE_MAX);
    status = make_rows(m, t, &memory, &r, error);
    energon_pipeline_begin(&p, m, begun, cost);
    for (int64_t i = 0; i < t->count && status == SPRY_OK; i++) {
        const energon_head *h = &t->heads[i];
        bool is_new = i == 0 || h->stored != h[-1].stored;
        int64_t codes = h->keys * h->size * CODE_BITS / BYTE_BITS;

        if (!is_dense && codes > m->code_bytes) {
            status = spry_fail(error, SPRY_BAD_INPUT, "coprocessor.codes",
                               "give it a larger buffer: --set coprocessor.codes=\"1 MiB\"",
                               "the codes of a head's %lld keys take %lld bytes, and %lld fit",
                               (long long)h->keys, (long long)codes, (long long)m->code_bytes);
            break;
        }
        if (is_new) {
            row_buffer_clear(&r.keys, h->keys);
            row_buffer_clear(&r.values, h->keys);
            if (!is_dense) {
                energon_pipeline_load(&p, (double)codes, i > 0 && 2 * codes <= m->code_bytes);
            }
        }
        for (int64_t q = 0; q < h->queries; q++) {
            run_query(&p, t, h, q, is_dense, &r);
        }
    }
    arena_fini(&memory);
    return status;
}

/* ---- energy ---- */

double energon_buffer_bits(const energon_cost *cost)
{
    return CODE_BITS / 2 * (double)cost->low_products + ROW_BITS * (double)cost->products;
}

energon_energy energon_energy_of(const energon_machine *m, const energon_cost *cost)
{
    return (energon_energy){
        .choosing = m->low_energy * (double)cost->low_products,
        .attending = m->mac_energy * (double)cost->products,
        .buffers = m->buffer_energy * energon_buffer_bits(cost),
        .memory = m->memory_energy * BYTE_BITS * cost->bytes,
    };
}

/* ---- the target ---- */

static spry_status read_counts(target *t, energon_machine *m, spry_error *error)
{
    const struct {
        const char *key;
        int64_t least, most;
        int64_t *to;
    } counts[] = {
        {"coprocessor.filter_lanes", 1, 4096, &m->filter_lanes},
        {"coprocessor.filter_width", 1, 4096, &m->filter_width},
        {"coprocessor.select", 1, 65536, &m->select},
        {"coprocessor.drain", 0, 65536, &m->drain},
        {"coprocessor.lanes", 1, 4096, &m->lanes},
        {"coprocessor.width", 1, 4096, &m->width},
        {"coprocessor.softmax", 1, 65536, &m->softmax},
        {"coprocessor.softmax_latency", 0, 65536, &m->softmax_latency},
        {"coprocessor.fifo", 1, ENERGON_FIFO_MOST, &m->fifo},
        {"coprocessor.memory_latency", 0, 1000000, &m->memory_latency},
    };
    spry_status status = SPRY_OK;

    for (size_t i = 0; i < sizeof counts / sizeof *counts && status == SPRY_OK; i++) {
        status =
            target_count(t, counts[i].key, counts[i].least, counts[i].most, counts[i].to, error);
    }
    return status;
}

static spry_status read_bytes(target *t, const char *key, int64_t *to, spry_error *error)
{
    double bytes = 0.0;
    spry_status status = target_quantity(t, key, UNIT_BYTES, 64, 1e12, &bytes, error);

    *to = (int64_t)bytes;
    return status;
}

static spry_status read_prices(target *t, energon_machine *m, spry_error *error)
{
    spry_status status;

    m->has_prices = target_has(t, "energy.mac");
    m->source = prices_source(t);
    if (!m->has_prices) {
        return SPRY_OK;
    }
    status = prices_read(t, "energy.mac", UNIT_JOULES, &m->mac_energy, error);
    if (status == SPRY_OK) {
        status = prices_read(t, "energy.low_mac", UNIT_JOULES, &m->low_energy, error);
    }
    if (status == SPRY_OK) {
        status = prices_read(t, "energy.scratch", UNIT_JOULES_PER_BIT, &m->buffer_energy, error);
    }
    return status == SPRY_OK
               ? prices_read(t, "energy.memory", UNIT_JOULES_PER_BIT, &m->memory_energy, error)
               : status;
}

spry_status energon_machine_read(target *t, energon_machine *m, spry_error *error)
{
    double bandwidth = 0.0;
    spry_status status;

    *m = (energon_machine){.select_overlaps = true, .is_pipelined = true};
    status = read_counts(t, m, error);
    if (status == SPRY_OK) {
        status = target_quantity(t, "compute.clock", UNIT_HERTZ, 1e6, 1e11, &m->clock, error);
    }
    if (status == SPRY_OK) {
        status = target_quantity(t, "memory.dram.bandwidth", UNIT_BYTES_PER_SECOND, 1e6, 1e15,
                                 &bandwidth, error);
    }
    if (status == SPRY_OK) {
        status = read_bytes(t, "coprocessor.codes", &m->code_bytes, error);
    }
    if (status == SPRY_OK) {
        status = read_bytes(t, "coprocessor.keys", &m->key_bytes, error);
    }
    if (status == SPRY_OK) {
        status = read_bytes(t, "coprocessor.values", &m->value_bytes, error);
    }
    if (status == SPRY_OK && target_has(t, "coprocessor.select_overlaps")) {
        status = target_flag(t, "coprocessor.select_overlaps", &m->select_overlaps, error);
    }
    if (status == SPRY_OK && target_has(t, "coprocessor.pipelined")) {
        status = target_flag(t, "coprocessor.pipelined", &m->is_pipelined, error);
    }
    m->memory_bytes = m->clock > 0.0 ? bandwidth / m->clock : 0.0;
    return status == SPRY_OK ? read_prices(t, m, error) : status;
}
