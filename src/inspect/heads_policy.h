/* The choice of keys for one head. */
#ifndef INSPECT_HEADS_POLICY_H
#define INSPECT_HEADS_POLICY_H

#include "kernels/attention/attention_heads.h"
#include "spry/heads.h"

/* The cheapest window and sinks that keep 1 - epsilon of the weights; dense where that is not much
 * cheaper than all keys. `reach` is [SPRY_HEAD_POLICY_SINKS + 1][length]: the weight of keys by
 * their rank as a sink (the last: no sink) and distance; `sinks` are the keys of those ranks, -1
 * from the last on. *kept is the share that stays. */
void heads_choose_policy(const double *reach, int64_t length, const int64_t *sinks, double epsilon,
                         bool is_causal, attention_policy *policy, double *kept);

#endif
