/* An accelerator with systolic arrays as a target describes it. */
#ifndef SIMULATE_ARRAY_LOWERING_TARGET_H
#define SIMULATE_ARRAY_LOWERING_TARGET_H

#include "simulate/array/lowering.h"
#include "tune/target.h"

/* Joules of one event each; all 0 where the target has no prices. */
typedef struct lowering_prices {
    bool are_known;
    double mac, scratch_bit, memory_bit;
    const char *source; /* of the figures; lives as long as the target */
} lowering_prices;

/* Sections array, memory.sram, energy, and memory.dram with its timing where there is one. Fail
 * with SPRY_BAD_INPUT (a key is missing, mistyped or out of range). */
SPRY_MUST_USE spry_status lowering_machine_read(target *t, lowering_machine *m, spry_error *error);
SPRY_MUST_USE spry_status lowering_prices_read(target *t, lowering_prices *p, spry_error *error);

/* Bits that cross the scratch pad's ports for a layer. */
double lowering_scratch_bits(const lowering_machine *m, const lowering_cost *cost);
/* Joules of a layer. */
double lowering_energy(const lowering_machine *m, const lowering_prices *p,
                       const lowering_cost *cost);

#endif
