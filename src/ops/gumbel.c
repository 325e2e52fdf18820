/* GumbelGate(difference, cooling) -> gate, slope, in the domain "ai.spry": what a comparison of
 * logits is while it learns. `cooling` is a temperature, or [temperature, strength of the noise],
 * which is 1 otherwise.
 *
 *     a     = (difference + strength * logistic noise) / temperature
 *     gate  = 1 where a >= 0, else 0          the chance of 1 is sigmoid(difference / strength)
 *     slope = y (1 - y) / temperature, y = sigmoid(a)
 *
 * The gradient takes `slope` for the derivative of `gate` (straight through). Noise is drawn by
 * element from the run's seed, as for Dropout: the same for any number of threads. */
#include "ops/gumbel.h"

#include <math.h>

#include "ops/broadcast.h"
#include "ops/families.h"
#include "spry/random.h"

#define REAL (1u << SPRY_DTYPE_F32 | 1u << SPRY_DTYPE_F64)

enum { DRAW_WORDS = 2 }; /* of the stream, per element */

double gumbel_noise(uint64_t bits)
{
    double u = ((double)(bits >> 12) + 0.5) * 0x1p-52;

    return log(u) - log1p(-u);
}

double gumbel_soft(double difference, double noise, double temperature)
{
    return 1.0 / (1.0 + exp(-(difference + noise) / temperature));
}

/* By exp(-|a|), which neither overflows nor loses what is small. */
double gumbel_slope(double difference, double noise, double temperature)
{
    double e = exp(-fabs(difference + noise) / temperature);

    return e / ((1.0 + e) * (1.0 + e) * temperature);
}

typedef struct gate {
    const tensor *difference;
    tensor *to, *slope; /* may be NULL */
    double cooling[2];  /* the temperature, the strength of the noise */
    uint64_t seed;
} gate;

static void gate_piece(void *context, int64_t begin, int64_t end, int worker)
{
    const gate *t = context;
    double block[CONVERT_BLOCK];
    double slopes[CONVERT_BLOCK];
    spry_random r = spry_random_stream(t->seed, 0);

    (void)worker;
    for (int64_t start = begin; start < end; start += CONVERT_BLOCK) {
        int64_t n = end - start < CONVERT_BLOCK ? end - start : CONVERT_BLOCK;

        convert_read_f64(t->difference, start, n, block);
        spry_random_seek(&r, (uint64_t)start * DRAW_WORDS);
        for (int64_t i = 0; i < n; i++) {
            double noise = t->cooling[1] * gumbel_noise(spry_random_u64(&r));

            slopes[i] = t->slope != NULL ? gumbel_slope(block[i], noise, t->cooling[0]) : 0.0;
            block[i] = block[i] + noise >= 0.0;
        }
        if (t->to != NULL) {
            convert_write_f64(t->to, start, n, block);
        }
        if (t->slope != NULL) {
            convert_write_f64(t->slope, start, n, slopes);
        }
    }
}

static spry_status run_gate(op_call *call)
{
    gate t = {.difference = op_call_input(call, 0), .cooling = {0.0, 1.0}, .seed = call->seed};
    const tensor *cooling = op_call_input(call, 1);
    int64_t count = cooling != NULL ? tensor_count(cooling) : 0;
    spry_status status;

    convert_read_f64(cooling, 0, count < 2 ? count : 2, t.cooling);
    if (t.difference == NULL || count > 2 || !(t.cooling[0] > 0.0) || !(t.cooling[1] >= 0.0)) {
        return op_call_fail(call, SPRY_BAD_INPUT,
                            "the temperature %g is not positive, or the noise %g negative",
                            t.cooling[0], t.cooling[1]);
    }
    status = op_call_output_like(call, 0, t.difference->dtype, t.difference, &t.to);
    if (status == SPRY_OK) {
        status = op_call_output_like(call, 1, t.difference->dtype, t.difference, &t.slope);
    }
    if (status == SPRY_OK) {
        threads_for(call->team, tensor_count(t.difference), BROADCAST_GRAIN, gate_piece, &t);
    }
    return status;
}

static spry_status infer_gate(op_shapes *s)
{
    op_shapes_copy(s, 0, 0);
    op_shapes_copy(s, 1, 0);
    return SPRY_OK;
}

/* clang-format off */
const op ops_gumbel[] = {
    {.name = "GumbelGate", .domain = OP_OWN_DOMAIN, .since = 1, .min_inputs = 2, .max_inputs = 2,
     .min_outputs = 1, .max_outputs = 2, .flags = OP_RANDOM, .types = {REAL, REAL},
     .infer = infer_gate, .run = run_gate, .cost = broadcast_cost},
    {.name = NULL},
};
/* clang-format on */
