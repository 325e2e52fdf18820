/* TwinQuantize: numbers on two ranges that share one code. */
#include "ops/twin.h"

#include "kernels/elementwise/twin_s8.h"
#include "ops/broadcast.h"
#include "ops/families.h"

bool twin_read(const graph_node *n, twin_grid *grid)
{
    int64_t kind = graph_attribute_int(n, TWIN_KIND, -1);
    int64_t bits = graph_attribute_int(n, TWIN_BITS, 0);
    float d1 = graph_attribute_float(n, TWIN_D1, 0.0f);
    float d2 = graph_attribute_float(n, TWIN_D2, 0.0f);

    *grid = (twin_grid){(twin_kind)kind, (int)bits, d1, d2};
    return (kind == TWIN_POSITIVE || kind == TWIN_SIGNED) && bits >= TWIN_LEAST_BITS &&
           bits <= TWIN_MOST_BITS && d1 > 0.0f && d2 > 0.0f && isfinite(d1) && isfinite(d2);
}

typedef struct twin_run {
    const twin_s8_kernel *kernel;
    twin_grid grid;
    const float *from;
    float *to;
} twin_run;

static void round_piece(void *context, int64_t begin, int64_t end, int worker)
{
    const twin_run *r = context;

    (void)worker;
    r->kernel->round(r->to + begin, r->from + begin, end - begin, r->grid);
}

static spry_status run_twin(op_call *call)
{
    const tensor *x = op_call_input(call, 0);
    twin_run r = {.kernel = twin_s8_select()};
    tensor *y;
    spry_status status;

    if (!twin_read(call->node, &r.grid)) {
        return op_call_fail(call, SPRY_BAD_INPUT,
                            "kind (0 or 1), bits (2 to 8), d1 or d2 (above 0) make no sense");
    }
    if (x == NULL) {
        return op_call_fail(call, SPRY_BAD_INPUT, "the data is missing");
    }
    status = op_call_output_like(call, 0, SPRY_DTYPE_F32, x, &y);
    if (status != SPRY_OK || y == NULL) {
        return status;
    }
    r.from = x->data;
    r.to = y->data;
    threads_for(call->team, tensor_count(x), BROADCAST_GRAIN, round_piece, &r);
    return SPRY_OK;
}

const op ops_twin[] = {
    {.name = TWIN_OP,
     .domain = TWIN_DOMAIN,
     .since = 1,
     .min_inputs = 1,
     .max_inputs = 1,
     .min_outputs = 1,
     .max_outputs = 1,
     .flags = OP_IN_PLACE,
     .types = {1u << SPRY_DTYPE_F32},
     .infer = op_infer_same,
     .run = run_twin,
     .cost = broadcast_cost},
    {.name = NULL},
};
