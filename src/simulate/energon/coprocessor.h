/* Energon's co-processor (arXiv 2110.09310) on the survivors of a run: codes of all keys of a head
 * on the chip, rows of keys and values fetched when a query first wants them. */
#ifndef SIMULATE_ENERGON_COPROCESSOR_H
#define SIMULATE_ENERGON_COPROCESSOR_H

#include "simulate/energon/pipeline.h"
#include "simulate/energon/trace.h"
#include "tune/target.h"

/* Sections coprocessor, compute.clock, memory.dram.bandwidth and energy of a target. Fails with
 * SPRY_BAD_INPUT (a key is missing, mistyped or out of range). */
SPRY_MUST_USE spry_status energon_machine_read(target *t, energon_machine *m, spry_error *error);

/* Adds what all heads of the trace take to `cost`, which is zero at first. `is_dense`: nothing is
 * chosen, every visible key counts, and its row comes whole. Fails with SPRY_BAD_INPUT (the codes
 * of a head do not fit their buffer: names the key of the target), SPRY_LIMIT (memory). */
SPRY_MUST_USE spry_status energon_run(const energon_machine *m, const energon_trace *t,
                                      bool is_dense, energon_cost *cost, spry_error *error);

/* Joules of the parts; 0 without prices. */
typedef struct energon_energy {
    double choosing, attending, buffers, memory;
} energon_energy;

energon_energy energon_energy_of(const energon_machine *m, const energon_cost *cost);
/* Bits that the engines read from the buffers. */
double energon_buffer_bits(const energon_cost *cost);

#endif
