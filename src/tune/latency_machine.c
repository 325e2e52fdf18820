/* Which predictor a description is for. */
#include "tune/latency_machine.h"

spry_status latency_machine_read(latency_machine *m, target *t, spry_error *error)
{
    spry_status status = latency_device_read(&m->device, t, error);

    m->batch = m->device.batch;
    return status;
}

double latency_machine_conv(const latency_machine *m, const latency_conv *c)
{
    return latency_conv_dense(&m->device, c).total;
}

double latency_machine_dense(const latency_machine *m, const latency_block *b)
{
    return latency_block_dense(&m->device, b).total;
}

double latency_machine_sparse(const latency_machine *m, const latency_block *b,
                              const latency_plan *plan, bool *fused)
{
    return latency_block_sparse(&m->device, b, plan, fused).total;
}
