/* CumSum: running sums along an axis. Floats accumulate in f64. */
#include "ops/broadcast.h"
#include "ops/families.h"
#include "ops/lines.h"

typedef struct cumulative {
    const tensor *from;
    tensor *to;
    lines along;
    bool exclusive, reverse;
} cumulative;

/* One line, in blocks from its first element (or last, in reverse) on: a negative stride walks
 * backwards. */
static void sum_floats(const cumulative *c, int64_t start, int64_t stride)
{
    double block[CONVERT_BLOCK];
    double sum = 0.0;

    for (int64_t i = 0; i < c->along.length; i += CONVERT_BLOCK) {
        int64_t left = c->along.length - i;
        int64_t n = left < CONVERT_BLOCK ? left : CONVERT_BLOCK;

        lines_read_f64(c->from, start + i * stride, stride, n, block);
        for (int64_t k = 0; k < n; k++) {
            double before = sum;

            sum += block[k];
            block[k] = c->exclusive ? before : sum;
        }
        lines_write_f64(c->to, start + i * stride, stride, n, block);
    }
}

static void sum_integers(const cumulative *c, int64_t start, int64_t stride)
{
    int64_t block[CONVERT_BLOCK];
    uint64_t sum = 0;

    for (int64_t i = 0; i < c->along.length; i += CONVERT_BLOCK) {
        int64_t left = c->along.length - i;
        int64_t n = left < CONVERT_BLOCK ? left : CONVERT_BLOCK;

        lines_read_i64(c->from, start + i * stride, stride, n, block);
        for (int64_t k = 0; k < n; k++) {
            uint64_t before = sum;

            sum += (uint64_t)block[k];
            block[k] = (int64_t)(c->exclusive ? before : sum);
        }
        lines_write_i64(c->to, start + i * stride, stride, n, block);
    }
}

static void sum_piece(void *context, int64_t begin, int64_t end, int worker)
{
    const cumulative *c = context;
    bool floats = dtype_class_of(c->from->dtype) == DTYPE_CLASS_FLOAT;
    int64_t stride = c->reverse ? -c->along.inner : c->along.inner;

    (void)worker;
    for (int64_t k = begin; k < end; k++) {
        int64_t start = lines_start(&c->along, k);

        start += c->reverse ? (c->along.length - 1) * c->along.inner : 0;
        if (floats) {
            sum_floats(c, start, stride);
        } else {
            sum_integers(c, start, stride);
        }
    }
}

static spry_status run_cum_sum(op_call *call)
{
    cumulative c = {.from = op_call_input(call, 0)};
    int64_t given;
    int count;
    int axis;
    spry_status status = op_call_ints(call, 1, &given, 1, &count);

    if (status != SPRY_OK) {
        return status;
    }
    if (c.from == NULL || count != 1 || !op_normalize_axis(given, c.from->rank, &axis)) {
        return op_call_fail(call, SPRY_BAD_INPUT, "the axis does not exist");
    }
    status = op_call_output_like(call, 0, c.from->dtype, c.from, &c.to);
    if (status != SPRY_OK || c.to == NULL) {
        return status;
    }
    c.along = lines_along(c.from, axis);
    c.exclusive = graph_attribute_int(call->node, "exclusive", 0) != 0;
    c.reverse = graph_attribute_int(call->node, "reverse", 0) != 0;
    if (c.along.length > 0) {
        threads_for(call->team, c.along.count, lines_grain(c.along.length, BROADCAST_GRAIN),
                    sum_piece, &c);
    }
    return SPRY_OK;
}

const op ops_cumulative[] = {
    {.name = "CumSum",
     .domain = "",
     .since = 11,
     .min_inputs = 2,
     .max_inputs = 2,
     .min_outputs = 1,
     .max_outputs = 1,
     .flags = OP_IN_PLACE,
     .types = {OP_NUMERIC, OP_INDEX},
     .infer = op_infer_same,
     .run = run_cum_sum,
     .cost = broadcast_cost},
    {.name = NULL},
};
