/* A machine of any kind that the latency predictor knows, from its description: many equal engines
 * (latency.h), or a CPU that was measured (latency_cpu.h). */
#ifndef TUNE_LATENCY_MACHINE_H
#define TUNE_LATENCY_MACHINE_H

#include "tune/latency_cpu.h"

typedef struct latency_machine {
    bool is_cpu;
    latency_cpu cpu;
    latency_device device;
    int64_t batch;
} latency_machine;

/* Fails as target_quantity. */
SPRY_MUST_USE spry_status latency_machine_read(latency_machine *m, target *t, spry_error *error);

/* Seconds for the whole batch. */
double latency_machine_conv(const latency_machine *m, const latency_conv *c);
double latency_machine_dense(const latency_machine *m, const latency_block *b);
double latency_machine_sparse(const latency_machine *m, const latency_block *b,
                              const latency_plan *plan, bool *fused);

#endif
