/* HeadPolicy where the attention around it is not known: by plain loops. */
#include "ops/head_policy.h"

#include "ops/families.h"
#include "ops/op.h"

typedef struct policy_run {
    const float *from;
    float *to;
    const int64_t *before, *after, *sinks;
    int64_t heads, rows, keys, sink_count;
} policy_run;

static bool is_sink(const policy_run *r, int64_t head, int64_t key)
{
    for (int64_t i = 0; i < r->sink_count; i++) {
        if (r->sinks[head * r->sink_count + i] == key) {
            return true;
        }
    }
    return false;
}

static void run_rows(void *context, int64_t begin, int64_t end, int worker)
{
    const policy_run *r = context;

    (void)worker;
    for (int64_t n = begin; n < end; n++) {
        int64_t head = n / r->rows % r->heads;
        int64_t row = n % r->rows + r->keys - r->rows;

        for (int64_t j = 0; j < r->keys; j++) {
            bool stays =
                (j - row >= -r->before[head] && j - row <= r->after[head]) || is_sink(r, head, j);

            r->to[n * r->keys + j] = stays ? r->from[n * r->keys + j] : HEAD_POLICY_FILL;
        }
    }
}

static spry_status run(op_call *call)
{
    const tensor *in[HEAD_POLICY_PORTS];
    policy_run r;
    tensor *y;
    spry_status status;

    for (int i = 0; i < HEAD_POLICY_PORTS; i++) {
        in[i] = op_call_input(call, i);
        if (in[i] == NULL || (i != HEAD_POLICY_SCORES && in[i]->dtype != SPRY_DTYPE_I64)) {
            return op_call_fail(call, SPRY_BAD_INPUT, "input %d is missing or no int64", i);
        }
    }
    if (in[0]->rank != 4 || tensor_count(in[HEAD_POLICY_BEFORE]) != in[0]->shape[1] ||
        tensor_count(in[HEAD_POLICY_AFTER]) != in[0]->shape[1] || in[0]->shape[1] < 1 ||
        tensor_count(in[HEAD_POLICY_SINKS]) % in[0]->shape[1] != 0) {
        return op_call_fail(call, SPRY_BAD_INPUT, "scores and policies do not fit");
    }
    status = op_call_output_like(call, 0, SPRY_DTYPE_F32, in[0], &y);
    if (status != SPRY_OK || y == NULL) {
        return status;
    }
    r = (policy_run){.from = in[0]->data,
                     .to = y->data,
                     .before = in[HEAD_POLICY_BEFORE]->data,
                     .after = in[HEAD_POLICY_AFTER]->data,
                     .sinks = in[HEAD_POLICY_SINKS]->data,
                     .heads = in[0]->shape[1],
                     .rows = in[0]->shape[2],
                     .keys = in[0]->shape[3],
                     .sink_count = tensor_count(in[HEAD_POLICY_SINKS]) / in[0]->shape[1]};
    threads_for(call->team, in[0]->shape[0] * r.heads * r.rows, 1, run_rows, &r);
    return SPRY_OK;
}

const op ops_head_policy[] = {
    {.name = HEAD_POLICY_OP,
     .domain = HEAD_POLICY_DOMAIN,
     .since = 1,
     .min_inputs = HEAD_POLICY_PORTS,
     .max_inputs = HEAD_POLICY_PORTS,
     .min_outputs = 1,
     .max_outputs = 1,
     .types = {1u << SPRY_DTYPE_F32, 1u << SPRY_DTYPE_I64, 1u << SPRY_DTYPE_I64,
               1u << SPRY_DTYPE_I64},
     .infer = op_infer_same,
     .run = run},
    {.name = NULL},
};
