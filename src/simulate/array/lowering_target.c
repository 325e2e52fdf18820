#include "simulate/array/lowering_target.h"

#include "simulate/dram/dram_target.h"
#include "simulate/dram/dram_trace.h"
#include "simulate/prices.h"

spry_status lowering_machine_read(target *t, lowering_machine *m, spry_error *error)
{
    int64_t rows = 0;
    int64_t columns = 0;
    int64_t count = 1;
    double clock = 0.0;
    double element = 2.0;
    double scratch = 0.0;
    spry_status status = target_count(t, "array.rows", 1, SYSTOLIC_SIDE_MOST, &rows, error);

    *m = (lowering_machine){0};
    if (status == SPRY_OK) {
        status = target_count(t, "array.columns", 1, SYSTOLIC_SIDE_MOST, &columns, error);
    }
    if (status == SPRY_OK) {
        status = target_count_or(t, "array.count", 1, 1024, &count, error);
    }
    if (status == SPRY_OK) {
        status = target_quantity_or(t, "array.element", UNIT_BYTES, 1, 8, &element, error);
    }
    if (status == SPRY_OK) {
        status = target_quantity(t, "compute.clock", UNIT_HERTZ, 1e6, 1e11, &clock, error);
    }
    if (status == SPRY_OK) {
        status = target_quantity(t, "memory.sram.size", UNIT_BYTES, 1024, 1e12, &scratch, error);
    }
    if (status == SPRY_OK && target_has(t, "memory.dram.timing")) {
        m->has_dram = true;
        status = dram_options_read(t, &m->dram, error);
        if (status == SPRY_OK) {
            status = dram_stream_bandwidth(NULL, &m->dram, &m->bandwidth, error);
        }
    }
    if (status == SPRY_OK && !m->has_dram) {
        status = target_quantity(t, "memory.dram.bandwidth", UNIT_BYTES_PER_SECOND, 1e6, 1e15,
                                 &m->bandwidth, error);
    }
    if (status == SPRY_OK) {
        m->shape = (systolic_shape){(int)rows, (int)columns};
        m->arrays = count;
        m->period = (uint64_t)(1e15 / clock + 0.5);
        m->element_bytes = (int64_t)element;
        m->scratch_bytes = (int64_t)scratch;
    }
    return status;
}

spry_status lowering_prices_read(target *t, lowering_prices *p, spry_error *error)
{
    spry_status status = SPRY_OK;

    *p = (lowering_prices){.are_known = target_has(t, "energy.mac"), .source = prices_source(t)};
    if (p->are_known) {
        status = prices_read(t, "energy.mac", UNIT_JOULES, &p->mac, error);
    }
    if (status == SPRY_OK && p->are_known) {
        status = prices_read(t, "energy.scratch", UNIT_JOULES_PER_BIT, &p->scratch_bit, error);
    }
    if (status == SPRY_OK && p->are_known) {
        status = prices_read(t, "energy.memory", UNIT_JOULES_PER_BIT, &p->memory_bit, error);
    }
    return status;
}

double lowering_scratch_bits(const lowering_machine *m, const lowering_cost *cost)
{
    return 8.0 * ((double)m->element_bytes * (double)cost->loaded +
                  (double)(cost->read_bytes + cost->written_bytes));
}

double lowering_energy(const lowering_machine *m, const lowering_prices *p,
                       const lowering_cost *cost)
{
    return p->mac * cost->macs + p->scratch_bit * lowering_scratch_bits(m, cost) +
           p->memory_bit * 8.0 * (double)(cost->read_bytes + cost->written_bytes);
}
