/* QuantizeLinear, DequantizeLinear, DynamicQuantizeLinear: per tensor, along an axis, in blocks. */
#include "tensor/quantize.h"

#include "base/checked.h"
#include "ops/broadcast.h"
#include "ops/families.h"

/* Which scale belongs to an element: the data seen as [outer, axis, inner]. */
typedef struct scales {
    const tensor *scale;
    const tensor *zero; /* NULL: 0 */
    int64_t axis, inner;
    int64_t block; /* elements of the axis per scale; 0: one scale for everything */
    int64_t blocks;
    bool per_inner; /* blocked: every inner position has scales of its own */
} scales;

static spry_status scales_init(const op_call *call, scales *l)
{
    const tensor *x = op_call_input(call, 0);
    int64_t block = graph_attribute_int(call->node, "block_size", 0);
    int axis;
    bool fits;

    *l = (scales){.scale = op_call_input(call, 1), .zero = op_call_input(call, 2)};
    if (x == NULL || l->scale == NULL) {
        return op_call_fail(call, SPRY_BAD_INPUT, "the data or its scale is missing");
    }
    if (l->zero != NULL && tensor_count(l->zero) != tensor_count(l->scale)) {
        return op_call_fail(call, SPRY_BAD_INPUT, "scale and zero point differ in size");
    }
    if (block == 0 && tensor_count(l->scale) == 1) {
        return SPRY_OK;
    }
    if (!op_normalize_axis(graph_attribute_int(call->node, "axis", 1), x->rank, &axis)) {
        return op_call_fail(call, SPRY_BAD_INPUT, "axis outside the data's %d", x->rank);
    }
    l->axis = x->shape[axis];
    l->inner = tensor_span(x, axis + 1, x->rank);
    l->per_inner = block > 0;
    l->block = block > 0 ? block : 1;
    l->blocks = l->axis / l->block + (l->axis % l->block != 0);
    fits = block >= 0 && l->scale->rank == (block > 0 ? x->rank : 1);
    for (int d = 0; fits && d < l->scale->rank; d++) {
        int64_t expected = block == 0 || d == axis ? l->blocks : x->shape[d];

        fits = l->scale->shape[d] == expected;
    }
    return fits ? SPRY_OK
                : op_call_fail(call, SPRY_BAD_INPUT, "the scale's shape does not fit the data");
}

/* Scales and zero points of elements [start, start + n). */
static void scales_read(const scales *l, int64_t start, int64_t n, float *scale, float *zero)
{
    int64_t inner = l->block == 0 ? 0 : start % l->inner;
    int64_t row = l->block == 0 ? 0 : start / l->inner; /* outer * axis + position */

    for (int64_t i = 0; i < n;) {
        int64_t run = n - i;
        int64_t index = 0;

        if (l->block > 0) {
            int64_t block = row % l->axis / l->block;

            run = l->per_inner ? 1 : l->inner - inner;
            run = run < n - i ? run : n - i;
            index = l->per_inner ? (row / l->axis * l->blocks + block) * l->inner + inner : block;
            inner += run;
            row += inner == l->inner;
            inner = inner == l->inner ? 0 : inner;
        }
        convert_read_f32(l->scale, index, 1, &scale[i]);
        zero[i] = 0.0f;
        if (l->zero != NULL) {
            convert_read_f32(l->zero, index, 1, &zero[i]);
        }
        for (int64_t k = 1; k < run; k++) {
            scale[i + k] = scale[i];
            zero[i + k] = zero[i];
        }
        i += run;
    }
}

typedef struct quantize {
    const tensor *from;
    tensor *to;
    scales scales;
    bool saturate; /* of 8-bit floats */
} quantize;

/* ---- QuantizeLinear ---- */

static void quantize_block(const quantize *q, int64_t start, int64_t n)
{
    float x[CONVERT_BLOCK];
    float scale[CONVERT_BLOCK];
    float zero[CONVERT_BLOCK];
    int64_t result[CONVERT_BLOCK];
    uint8_t *bytes = q->to->data;

    convert_read_f32(q->from, start, n, x);
    scales_read(&q->scales, start, n, scale, zero);
    if (dtype_class_of(q->to->dtype) != DTYPE_CLASS_FLOAT) {
        quantize_target target = quantize_target_of(q->to->dtype, 0);

        for (int64_t i = 0; i < n; i++) {
            target.zero = (int32_t)zero[i];
            result[i] = quantize_f32(x[i], scale[i], target);
        }
        convert_write_i64(q->to, start, n, result);
        return;
    }
    for (int64_t i = 0; i < n; i++) {
        x[i] = x[i] / scale[i] + zero[i];
    }
    if (spry_dtype_bits(q->to->dtype) == 8) {
        for (int64_t i = 0; i < n; i++) {
            bytes[start + i] = dtype_small_float_from_f32(q->to->dtype, x[i], q->saturate);
        }
    } else {
        convert_write_f32(q->to, start, n, x);
    }
}

static void quantize_piece(void *context, int64_t begin, int64_t end, int worker)
{
    (void)worker;
    for (int64_t start = begin; start < end; start += CONVERT_BLOCK) {
        quantize_block(context, start, end - start < CONVERT_BLOCK ? end - start : CONVERT_BLOCK);
    }
}

/* The type of the result: that of the zero point, else the attribute, else u8. */
static spry_dtype quantized_dtype(const graph_node *node, spry_dtype zero)
{
    int64_t named = graph_attribute_int(node, "output_dtype", SPRY_DTYPE_NONE);

    if (zero != SPRY_DTYPE_NONE) {
        return zero;
    }
    return named == SPRY_DTYPE_NONE ? SPRY_DTYPE_U8 : (spry_dtype)named;
}

static bool is_quantized(spry_dtype dtype)
{
    dtype_class class = dtype_class_of(dtype);
    unsigned bits = spry_dtype_bits(dtype);

    return ((class == DTYPE_CLASS_SIGNED || class == DTYPE_CLASS_UNSIGNED) && bits <= 16) ||
           (class == DTYPE_CLASS_FLOAT && bits <= 8);
}

static spry_status run_quantize(op_call *call)
{
    quantize q = {.from = op_call_input(call, 0)};
    spry_status status = scales_init(call, &q.scales);
    spry_dtype dtype;

    if (status != SPRY_OK) {
        return status;
    }
    dtype =
        quantized_dtype(call->node, q.scales.zero != NULL ? q.scales.zero->dtype : SPRY_DTYPE_NONE);
    if (!is_quantized(dtype)) {
        return op_call_fail(call, SPRY_BAD_INPUT, "%s is no quantised type",
                            spry_dtype_name(dtype));
    }
    q.saturate = graph_attribute_int(call->node, "saturate", 1) != 0;
    status = op_call_output_like(call, 0, dtype, q.from, &q.to);
    if (status == SPRY_OK && q.to != NULL) {
        threads_for(call->team, tensor_count(q.from), BROADCAST_GRAIN, quantize_piece, &q);
    }
    return status;
}

static spry_status infer_quantize(op_shapes *s)
{
    const graph_type *x = op_shapes_ranked(s, 0);
    const graph_type *zero = op_shapes_input(s, 2);
    spry_dtype dtype;

    if (zero != NULL && zero->kind != GRAPH_TYPE_TENSOR) {
        return SPRY_OK;
    }
    dtype = quantized_dtype(s->node, zero != NULL ? zero->dtype : SPRY_DTYPE_NONE);
    if (x != NULL) {
        op_shapes_set(s, 0, dtype, x->rank, x->dims);
    } else {
        op_shapes_set_unranked(s, 0, dtype);
    }
    return SPRY_OK;
}

/* ---- DequantizeLinear ---- */

static void dequantize_block(const quantize *q, int64_t start, int64_t n)
{
    float x[CONVERT_BLOCK];
    float scale[CONVERT_BLOCK];
    float zero[CONVERT_BLOCK];

    convert_read_f32(q->from, start, n, x);
    scales_read(&q->scales, start, n, scale, zero);
    for (int64_t i = 0; i < n; i++) {
        x[i] = (x[i] - zero[i]) * scale[i];
    }
    convert_write_f32(q->to, start, n, x);
}

static void dequantize_piece(void *context, int64_t begin, int64_t end, int worker)
{
    (void)worker;
    for (int64_t start = begin; start < end; start += CONVERT_BLOCK) {
        dequantize_block(context, start, end - start < CONVERT_BLOCK ? end - start : CONVERT_BLOCK);
    }
}

static spry_dtype real_dtype(const graph_node *node, spry_dtype scale)
{
    int64_t named = graph_attribute_int(node, "output_dtype", SPRY_DTYPE_NONE);

    return named == SPRY_DTYPE_NONE ? scale : (spry_dtype)named;
}

static spry_status run_dequantize(op_call *call)
{
    quantize q = {.from = op_call_input(call, 0)};
    spry_status status = scales_init(call, &q.scales);
    spry_dtype dtype;

    if (status != SPRY_OK) {
        return status;
    }
    dtype = real_dtype(call->node, q.scales.scale->dtype);
    if (!broadcast_is_f32(dtype)) {
        return op_call_fail(call, SPRY_BAD_INPUT, "cannot dequantise to %s",
                            spry_dtype_name(dtype));
    }
    status = op_call_output_like(call, 0, dtype, q.from, &q.to);
    if (status == SPRY_OK && q.to != NULL) {
        threads_for(call->team, tensor_count(q.from), BROADCAST_GRAIN, dequantize_piece, &q);
    }
    return status;
}

static spry_status infer_dequantize(op_shapes *s)
{
    const graph_type *x = op_shapes_ranked(s, 0);
    const graph_type *scale = op_shapes_input(s, 1);
    spry_dtype dtype =
        real_dtype(s->node, scale != NULL && scale->kind == GRAPH_TYPE_TENSOR ? scale->dtype
                                                                              : SPRY_DTYPE_NONE);

    if (x != NULL) {
        op_shapes_set(s, 0, dtype, x->rank, x->dims);
    } else {
        op_shapes_set_unranked(s, 0, dtype);
    }
    return SPRY_OK;
}

/* ---- DynamicQuantizeLinear ---- */

/* The range of the data, widened to hold zero. */
static void range_of(const tensor *t, float *low, float *high)
{
    float block[CONVERT_BLOCK];
    int64_t count = tensor_count(t);

    *low = 0.0f;
    *high = 0.0f;
    for (int64_t start = 0; start < count; start += CONVERT_BLOCK) {
        int64_t n = count - start < CONVERT_BLOCK ? count - start : CONVERT_BLOCK;

        convert_read_f32(t, start, n, block);
        for (int64_t i = 0; i < n; i++) {
            *low = block[i] < *low ? block[i] : *low;
            *high = block[i] > *high ? block[i] : *high;
        }
    }
}

static spry_status run_dynamic(op_call *call)
{
    const tensor *x = op_call_input(call, 0);
    tensor *outputs[3];
    float low;
    float high;
    float scale;
    uint8_t zero;
    tensor scale_tensor;
    tensor zero_tensor;
    quantize q = {.from = x};
    spry_status status;

    if (x == NULL) {
        return op_call_fail(call, SPRY_BAD_INPUT, "input 0 is missing");
    }
    range_of(x, &low, &high);
    scale = (high - low) / 255.0f;
    scale = scale == 0.0f ? 1.0f : scale; /* all zeros: any scale will do */
    zero = (uint8_t)quantize_scaled(-low / scale, quantize_target_of(SPRY_DTYPE_U8, 0));
    status = op_call_output_like(call, 0, SPRY_DTYPE_U8, x, &outputs[0]);
    if (status == SPRY_OK) {
        status = op_call_output(call, 1, SPRY_DTYPE_F32, 0, NULL, &outputs[1]);
    }
    if (status == SPRY_OK) {
        status = op_call_output(call, 2, SPRY_DTYPE_U8, 0, NULL, &outputs[2]);
    }
    if (status == SPRY_OK) {
        status = tensor_init(&scale_tensor, SPRY_DTYPE_F32, 0, NULL, &scale, call->error);
    }
    if (status == SPRY_OK) {
        status = tensor_init(&zero_tensor, SPRY_DTYPE_U8, 0, NULL, &zero, call->error);
    }
    if (status != SPRY_OK) {
        return status;
    }
    if (outputs[1] != NULL) {
        convert_write_f32(outputs[1], 0, 1, &scale);
    }
    if (outputs[2] != NULL) {
        *(uint8_t *)outputs[2]->data = zero;
    }
    if (outputs[0] != NULL) {
        q.to = outputs[0];
        q.scales = (scales){.scale = &scale_tensor, .zero = &zero_tensor};
        threads_for(call->team, tensor_count(x), BROADCAST_GRAIN, quantize_piece, &q);
    }
    return SPRY_OK;
}

static spry_status infer_dynamic(op_shapes *s)
{
    const graph_type *x = op_shapes_ranked(s, 0);

    if (x != NULL) {
        op_shapes_set(s, 0, SPRY_DTYPE_U8, x->rank, x->dims);
    } else {
        op_shapes_set_unranked(s, 0, SPRY_DTYPE_U8);
    }
    op_shapes_set(s, 1, SPRY_DTYPE_F32, 0, NULL);
    op_shapes_set(s, 2, SPRY_DTYPE_U8, 0, NULL);
    return SPRY_OK;
}

#define BIT(NAME) ((uint32_t)1 << SPRY_DTYPE_##NAME)
#define QUANTIZED                                                                      \
    (BIT(U8) | BIT(I8) | BIT(U16) | BIT(I16) | BIT(U4) | BIT(I4) | BIT(U2) | BIT(I2) | \
     BIT(F8E4M3FN) | BIT(F8E4M3FNUZ) | BIT(F8E5M2) | BIT(F8E5M2FNUZ) | BIT(F4E2M1))
#define REAL (BIT(F32) | BIT(F16) | BIT(BF16))

#define LINEAR(NAME, DOMAIN, SINCE, FROM, ZERO, INFER, RUN)                                     \
    {                                                                                           \
        .name = (NAME), .domain = (DOMAIN), .since = (SINCE), .min_inputs = 2, .max_inputs = 3, \
        .min_outputs = 1, .max_outputs = 1, .types = {FROM, REAL | BIT(F8E8M0), ZERO},          \
        .infer = (INFER), .run = (RUN), .cost = broadcast_cost                                  \
    }

/* clang-format off */
const op ops_quantize[] = {
    LINEAR("DequantizeLinear", "", 10, QUANTIZED | BIT(I32), QUANTIZED | BIT(I32),
           infer_dequantize, run_dequantize),
    LINEAR("DequantizeLinear", "com.microsoft", 1, QUANTIZED | BIT(I32), QUANTIZED | BIT(I32),
           infer_dequantize, run_dequantize),
    {.name = "DynamicQuantizeLinear", .domain = "", .since = 11, .min_inputs = 1, .max_inputs = 1,
     .min_outputs = 3, .max_outputs = 3, .types = {BIT(F32)}, .infer = infer_dynamic,
     .run = run_dynamic, .cost = broadcast_cost},
    LINEAR("QuantizeLinear", "", 10, REAL | BIT(I32), QUANTIZED, infer_quantize, run_quantize),
    LINEAR("QuantizeLinear", "com.microsoft", 1, REAL | BIT(I32), QUANTIZED, infer_quantize,
           run_quantize),
    {.name = NULL},
};
/* clang-format on */
