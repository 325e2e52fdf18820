/* Convolutions of quantised tensors: ConvInteger, QLinearConv.
 *
 * Zero points are taken off first, so that padding is zero; sums of integers are exact in f64. */
#include <string.h>

#include "ops/conv.h"
#include "ops/families.h"
#include "ops/operand.h"
#include "ops/whole.h"
#include "tensor/convert.h"
#include "tensor/quantize.h"

static spry_status infer_conv_integer(op_shapes *s)
{
    return conv_infer(s, 1, SPRY_DTYPE_I32);
}

static spry_status infer_qlinear_conv(op_shapes *s)
{
    return conv_infer(s, 3, operand_dtype(s, 7));
}

/* A copy of `t` less its zero point: one, or one per slice of the first axis. */
static spry_status centre(op_call *call, const tensor *t, int zero_input, const double **to)
{
    const tensor *zero = op_call_input(call, zero_input);
    int64_t zeros = zero != NULL ? tensor_count(zero) : 1;
    int64_t count = tensor_count(t);
    void *memory = NULL;
    double *out;
    spry_status status = whole_room(call, count, 1, sizeof(double), &memory);

    if (status != SPRY_OK) {
        return status;
    }
    if (zeros != 1 && zeros != t->shape[0]) {
        return op_call_fail(call, SPRY_BAD_INPUT, "input %d has a wrong number of zero points",
                            zero_input);
    }
    out = memory;
    convert_read_f64(t, 0, count, out);
    for (int64_t i = 0; i < count && zero != NULL; i++) {
        out[i] -= convert_get_f64(zero, zeros == 1 ? 0 : i / (count / zeros));
    }
    *to = out;
    return SPRY_OK;
}

static void write_sums(const conv *c, int64_t plane, int64_t channel, double *out)
{
    (void)channel;
    convert_write_f64(c->y, plane * c->out_size, c->out_size, out);
}

static spry_status run_conv_integer(op_call *call)
{
    const tensor *x = op_call_input(call, 0);
    const tensor *weights = op_call_input(call, 1);
    int64_t shape[SPRY_TENSOR_MAX_RANK];
    conv c = {.write = write_sums};
    spry_status status = conv_init(call, x, weights, NULL, &c, shape);

    if (status == SPRY_OK) {
        status = op_call_output(call, 0, SPRY_DTYPE_I32, x->rank, shape, &c.y);
    }
    if (status != SPRY_OK || c.y == NULL) {
        return status;
    }
    if (op_call_input(call, 2) != NULL && tensor_count(op_call_input(call, 2)) != 1) {
        return op_call_fail(call, SPRY_BAD_INPUT, "the input's zero point must be one number");
    }
    status = centre(call, x, 2, &c.x);
    if (status == SPRY_OK) {
        status = centre(call, weights, 3, &c.weights);
    }
    return status == SPRY_OK ? conv_planes(call, &c) : status;
}

/* How sums become results. */
typedef struct requantization {
    float input_scale, output_scale;
    const tensor *weight_scales; /* one, or one per output channel */
    quantize_target target;
} requantization;

static void write_requantized(const conv *c, int64_t plane, int64_t channel, double *out)
{
    const requantization *r = c->detail;
    bool single = tensor_count(r->weight_scales) == 1;
    float weight_scale = (float)convert_get_f64(r->weight_scales, single ? 0 : channel);
    float multiplier = r->input_scale * weight_scale / r->output_scale;

    for (int64_t i = 0; i < c->out_size; i++) {
        double sum = out[i] < -2147483648.0 ? -2147483648.0 : out[i];

        sum = sum > 2147483647.0 ? 2147483647.0 : sum;
        out[i] = (double)quantize_accumulator((int32_t)sum, multiplier, r->target);
    }
    convert_write_f64(c->y, plane * c->out_size, c->out_size, out);
}

static spry_status check_qlinear(const op_call *call, const tensor *weights)
{
    const tensor *scales = op_call_input(call, 4);

    for (int i = 0; i < 8; i++) {
        const tensor *t = op_call_input(call, i);

        if (t == NULL || (i != 0 && i != 3 && i != 4 && i != 5 && tensor_count(t) != 1)) {
            return op_call_fail(call, SPRY_BAD_INPUT, "input %d must be one number", i);
        }
    }
    if (tensor_count(scales) != 1 && tensor_count(scales) != weights->shape[0]) {
        return op_call_fail(call, SPRY_BAD_INPUT,
                            "weight scales must be one, or one per output channel");
    }
    return SPRY_OK;
}

static spry_status run_qlinear_conv(op_call *call)
{
    const tensor *x = op_call_input(call, 0);
    const tensor *weights = op_call_input(call, 3);
    const tensor *y_zero = op_call_input(call, 7);
    int64_t shape[SPRY_TENSOR_MAX_RANK];
    requantization r;
    conv c = {.write = write_requantized, .detail = &r};
    spry_status status = conv_init(call, x, weights, op_call_input(call, 8), &c, shape);

    if (status == SPRY_OK) {
        status = check_qlinear(call, weights);
    }
    if (status == SPRY_OK) {
        status = op_call_output(call, 0, y_zero->dtype, x->rank, shape, &c.y);
    }
    if (status != SPRY_OK || c.y == NULL) {
        return status;
    }
    r.input_scale = (float)op_call_scalar(call, 1, 1.0);
    r.output_scale = (float)op_call_scalar(call, 6, 1.0);
    r.weight_scales = op_call_input(call, 4);
    r.target = quantize_target_of(y_zero->dtype, (int32_t)convert_get_i64(y_zero, 0));
    status = centre(call, x, 2, &c.x);
    if (status == SPRY_OK) {
        status = centre(call, weights, 5, &c.weights);
    }
    if (status == SPRY_OK) {
        status = whole_f64(call, op_call_input(call, 8), &c.bias);
    }
    return status == SPRY_OK ? conv_planes(call, &c) : status;
}

#define BYTES (1u << SPRY_DTYPE_I8 | 1u << SPRY_DTYPE_U8)
#define SCALE (1u << SPRY_DTYPE_F32)

/* clang-format off */
const op ops_conv_integer[] = {
    {.name = "ConvInteger", .domain = "", .since = 10, .min_inputs = 2, .max_inputs = 4,
     .min_outputs = 1, .max_outputs = 1, .types = {BYTES, BYTES, BYTES, BYTES},
     .infer = infer_conv_integer, .run = run_conv_integer, .cost = conv_cost},
    {.name = "QLinearConv", .domain = "", .since = 10, .min_inputs = 8, .max_inputs = 9,
     .min_outputs = 1, .max_outputs = 1,
     .types = {BYTES, SCALE, BYTES, BYTES, SCALE, BYTES, SCALE, BYTES},
     .infer = infer_qlinear_conv, .run = run_qlinear_conv, .cost = conv_cost},
    {.name = NULL},
};
/* clang-format on */
