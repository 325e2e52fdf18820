/* Plans and runs a small graph (net.h), with the providers or by reference kernels alone. */
#ifndef SUPPORT_NET_RUN_H
#define SUPPORT_NET_RUN_H

#include <stdbool.h>

#include "support/net.h"
#include "tensor/value.h"

/* An f32 tensor over `data`, which the caller keeps. */
value net_floats(int rank, const int64_t *shape, float *data);

/* Infers types, plans for three threads and runs; *y receives output 0 (value_fini releases it).
 * `executor_name` is the provider that must execute the first step; NULL: any may. Anything
 * that fails fails the running test. */
void net_run(const net *n, bool with_providers, const char *executor_name, int count,
             const value *const *inputs, value *y);

#endif
