/* Which predictor a description is for. */
#include "tune/latency_machine.h"

spry_status latency_machine_read(latency_machine *m, target *t, spry_error *error)
{
    spry_status status;

    *m = (latency_machine){.is_cpu = latency_cpu_is(t), .batch = 1};
    if (m->is_cpu) {
        return latency_cpu_read(&m->cpu, t, error);
    }
    status = latency_device_read(&m->device, t, error);
    m->batch = m->device.batch;
    return status;
}

double latency_machine_conv(const latency_machine *m, const latency_conv *c)
{
    return m->is_cpu ? latency_cpu_conv(&m->cpu, c) : latency_conv_dense(&m->device, c).total;
}

double latency_machine_dense(const latency_machine *m, const latency_block *b)
{
    return m->is_cpu ? latency_cpu_dense(&m->cpu, b) : latency_block_dense(&m->device, b).total;
}

double latency_machine_sparse(const latency_machine *m, const latency_block *b,
                              const latency_plan *plan, bool *fused)
{
    return m->is_cpu ? latency_cpu_sparse(&m->cpu, b, plan, fused)
                     : latency_block_sparse(&m->device, b, plan, fused).total;
}
