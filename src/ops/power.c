/* Pow: the result has the base's type, the exponent may have another. */
#include <math.h>

#include "ops/broadcast.h"
#include "ops/families.h"

typedef struct power {
    broadcast base, exponent;
    bool integers; /* both */
    tensor *to;
} power;

/* By squaring, wrapping around. A negative exponent gives what 1 / (base ^ -exponent) truncates to,
 * and 0 for base 0. */
static int64_t power_i64(int64_t base, int64_t exponent)
{
    uint64_t result = 1;
    uint64_t square = (uint64_t)base;

    if (exponent < 0) {
        if (base == -1) {
            return exponent % 2 == 0 ? 1 : -1;
        }
        return base == 1;
    }
    for (; exponent > 0; exponent >>= 1) {
        result *= (exponent & 1) != 0 ? square : 1;
        square *= square;
    }
    return (int64_t)result;
}

static void power_integers(const power *p, int64_t start, int64_t n)
{
    int64_t rooms[2][CONVERT_BLOCK];
    int64_t result[CONVERT_BLOCK];
    const int64_t *base = broadcast_i64(&p->base, start, n, rooms[0]);
    const int64_t *exponent = broadcast_i64(&p->exponent, start, n, rooms[1]);

    for (int64_t i = 0; i < n; i++) {
        result[i] = power_i64(base[i], exponent[i]);
    }
    convert_write_i64(p->to, start, n, result);
}

static void power_f64(const power *p, int64_t start, int64_t n)
{
    double rooms[2][CONVERT_BLOCK];
    double result[CONVERT_BLOCK];
    const double *base = broadcast_f64(&p->base, start, n, rooms[0]);
    const double *exponent = broadcast_f64(&p->exponent, start, n, rooms[1]);

    for (int64_t i = 0; i < n; i++) {
        result[i] = pow(base[i], exponent[i]);
    }
    convert_write_f64(p->to, start, n, result);
}

static void power_f32(const power *p, int64_t start, int64_t n)
{
    float rooms[2][CONVERT_BLOCK];
    float result[CONVERT_BLOCK];
    const float *base = broadcast_f32(&p->base, start, n, rooms[0]);
    const float *exponent = broadcast_f32(&p->exponent, start, n, rooms[1]);

    for (int64_t i = 0; i < n; i++) {
        /* Squares are by far the most frequent, and exact like this. */
        result[i] = exponent[i] == 2.0f ? base[i] * base[i] : powf(base[i], exponent[i]);
    }
    convert_write_f32(p->to, start, n, result);
}

static void power_piece(void *context, int64_t begin, int64_t end, int worker)
{
    const power *p = context;
    bool narrow =
        broadcast_is_f32(p->base.input->dtype) && spry_dtype_bits(p->exponent.input->dtype) <= 32;

    (void)worker;
    for (int64_t start = begin; start < end; start += CONVERT_BLOCK) {
        int64_t n = end - start < CONVERT_BLOCK ? end - start : CONVERT_BLOCK;

        if (p->integers) {
            power_integers(p, start, n);
        } else if (narrow) {
            power_f32(p, start, n);
        } else {
            power_f64(p, start, n);
        }
    }
}

static spry_status run_pow(op_call *call)
{
    power p;
    int64_t shape[SPRY_TENSOR_MAX_RANK];
    int rank;
    spry_status status = broadcast_shape(call, 2, &rank, shape);

    if (status != SPRY_OK) {
        return status;
    }
    status = op_call_output(call, 0, op_call_input(call, 0)->dtype, rank, shape, &p.to);
    if (status != SPRY_OK || p.to == NULL) {
        return status;
    }
    broadcast_init(&p.base, op_call_input(call, 0), rank, shape);
    broadcast_init(&p.exponent, op_call_input(call, 1), rank, shape);
    p.integers = dtype_class_of(p.base.input->dtype) != DTYPE_CLASS_FLOAT &&
                 dtype_class_of(p.exponent.input->dtype) != DTYPE_CLASS_FLOAT;
    threads_for(call->team, tensor_count(p.to), BROADCAST_GRAIN, power_piece, &p);
    return SPRY_OK;
}

const op ops_power[] = {
    {.name = "Pow",
     .domain = "",
     .since = 7,
     .min_inputs = 2,
     .max_inputs = 2,
     .min_outputs = 1,
     .max_outputs = 1,
     .flags = OP_IN_PLACE,
     .types = {OP_NUMERIC, OP_NUMERIC},
     .infer = op_infer_broadcast,
     .run = run_pow,
     .cost = broadcast_cost},
    {.name = NULL},
};
