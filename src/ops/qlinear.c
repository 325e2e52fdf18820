/* Operators on quantised tensors in the com.microsoft domain, as ONNX Runtime's quantiser writes
 * them: dequantise, compute in f32, quantise by the rule of tensor/quantize.h. */
#include <math.h>

#include "ops/broadcast.h"
#include "ops/families.h"
#include "ops/lines.h"
#include "tensor/quantize.h"

/* How one tensor's bytes stand for numbers. */
typedef struct linear {
    float scale;
    int32_t zero;
} linear;

static linear linear_of(const op_call *call, int scale_port, int zero_port)
{
    return (linear){(float)op_call_scalar(call, scale_port, 1.0),
                    (int32_t)op_call_scalar(call, zero_port, 0.0)};
}

static void dequantize(const float *from, int64_t n, linear l, float *to)
{
    for (int64_t i = 0; i < n; i++) {
        to[i] = (from[i] - (float)l.zero) * l.scale;
    }
}

static void quantize(tensor *to, int64_t start, int64_t n, linear l, const float *from)
{
    quantize_target target = quantize_target_of(to->dtype, l.zero);
    int64_t block[CONVERT_BLOCK];

    for (int64_t i = 0; i < n; i++) {
        block[i] = quantize_f32(from[i], l.scale, target);
    }
    convert_write_i64(to, start, n, block);
}

/* ---- two tensors ---- */

typedef struct pair_row {
    bool product; /* else sum */
} pair_row;

typedef struct pair {
    bool product;
    broadcast a, b;
    linear a_scale, b_scale, to_scale;
    tensor *to;
} pair;

static void pair_piece(void *context, int64_t begin, int64_t end, int worker)
{
    const pair *p = context;
    float room[CONVERT_BLOCK];
    float a[CONVERT_BLOCK];
    float b[CONVERT_BLOCK];

    (void)worker;
    for (int64_t start = begin; start < end; start += CONVERT_BLOCK) {
        int64_t n = end - start < CONVERT_BLOCK ? end - start : CONVERT_BLOCK;

        dequantize(broadcast_f32(&p->a, start, n, room), n, p->a_scale, a);
        dequantize(broadcast_f32(&p->b, start, n, room), n, p->b_scale, b);
        for (int64_t i = 0; i < n; i++) {
            a[i] = p->product ? a[i] * b[i] : a[i] + b[i];
        }
        quantize(p->to, start, n, p->to_scale, a);
    }
}

/* Inputs: A, its scale and zero point, B, its scale and zero point, the result's. */
static spry_status run_pair(op_call *call)
{
    const pair_row *row = op_of_node(call->node)->detail;
    const tensor *a = op_call_input(call, 0);
    const tensor *b = op_call_input(call, 3);
    const value *both[2] = {call->inputs[0], call->input_count > 3 ? call->inputs[3] : NULL};
    op_call shapes = *call;
    pair p = {.product = row->product};
    int64_t shape[SPRY_TENSOR_MAX_RANK];
    int rank;
    spry_status status;

    shapes.inputs = both;
    shapes.input_count = 2;
    status = broadcast_shape(&shapes, 2, &rank, shape);
    if (status != SPRY_OK) {
        return status;
    }
    status = op_call_output(call, 0, a->dtype, rank, shape, &p.to);
    if (status != SPRY_OK || p.to == NULL) {
        return status;
    }
    broadcast_init(&p.a, a, rank, shape);
    broadcast_init(&p.b, b, rank, shape);
    p.a_scale = linear_of(call, 1, 2);
    p.b_scale = linear_of(call, 4, 5);
    p.to_scale = linear_of(call, 6, 7);
    threads_for(call->team, tensor_count(p.to), BROADCAST_GRAIN, pair_piece, &p);
    return SPRY_OK;
}

static spry_status infer_pair(op_shapes *s)
{
    const graph_type *a = op_shapes_ranked(s, 0);
    const graph_type *b = op_shapes_ranked(s, 3);
    graph_dim dims[SPRY_TENSOR_MAX_RANK];
    int rank;
    spry_status status;

    if (a == NULL || b == NULL) {
        return SPRY_OK;
    }
    status = op_shapes_broadcast(s, a, b, dims, &rank);
    if (status == SPRY_OK) {
        op_shapes_set(s, 0, a->dtype, rank, dims);
    }
    return status;
}

/* ---- one tensor: a table of all 256 results ---- */

typedef struct map_row {
    float (*function)(float x, float alpha);
} map_row;

static float map_sigmoid(float x, float alpha)
{
    (void)alpha;
    return 1.0f / (1.0f + expf(-x));
}

static float map_leaky_relu(float x, float alpha)
{
    return x < 0.0f ? alpha * x : x;
}

typedef struct map {
    const uint8_t *from;
    uint8_t *to;
    uint8_t table[256]; /* by the byte's bits */
} map;

static void map_piece(void *context, int64_t begin, int64_t end, int worker)
{
    const map *m = context;

    (void)worker;
    for (int64_t i = begin; i < end; i++) {
        m->to[i] = m->table[m->from[i]];
    }
}

static spry_status run_map(op_call *call)
{
    const map_row *row = op_of_node(call->node)->detail;
    const tensor *x = op_call_input(call, 0);
    linear from = linear_of(call, 1, 2);
    linear to = linear_of(call, 3, 4);
    float alpha = graph_attribute_float(call->node, "alpha", 0.01f);
    map m;
    tensor *out;
    spry_status status;

    if (x == NULL) {
        return op_call_fail(call, SPRY_BAD_INPUT, "input 0 is missing");
    }
    status = op_call_output_like(call, 0, x->dtype, x, &out);
    if (status != SPRY_OK || out == NULL) {
        return status;
    }
    for (int byte = 0; byte < 256; byte++) {
        int32_t q = x->dtype == SPRY_DTYPE_I8 && byte > 127 ? byte - 256 : byte;
        float y = row->function(quantize_back(q, from.scale, from.zero), alpha);

        m.table[byte] = (uint8_t)quantize_f32(y, to.scale, quantize_target_of(x->dtype, to.zero));
    }
    m.from = x->data;
    m.to = out->data;
    threads_for(call->team, tensor_count(x), BROADCAST_GRAIN, map_piece, &m);
    return SPRY_OK;
}

/* ---- QLinearGlobalAveragePool ---- */

typedef struct average {
    const tensor *from;
    tensor *to;
    linear from_scale, to_scale;
    lines along; /* one line of places per channel */
} average;

static void average_piece(void *context, int64_t begin, int64_t end, int worker)
{
    const average *a = context;

    (void)worker;
    for (int64_t k = begin; k < end; k++) {
        int64_t start = lines_start(&a->along, k);
        int64_t sum = 0;
        float mean;

        for (int64_t i = 0; i < a->along.length; i++) {
            sum += convert_get_i64(a->from, start + i * a->along.inner) - a->from_scale.zero;
        }
        mean = (float)sum / (float)a->along.length * a->from_scale.scale;
        quantize(a->to, k, 1, a->to_scale, &mean);
    }
}

static spry_status run_average(op_call *call)
{
    average a = {.from = op_call_input(call, 0)};
    bool last = graph_attribute_int(call->node, "channels_last", 0) != 0;
    int64_t shape[SPRY_TENSOR_MAX_RANK];
    spry_status status;

    if (a.from == NULL || a.from->rank < 3) {
        return op_call_fail(call, SPRY_BAD_INPUT, "there are no places to average over");
    }
    for (int d = 0; d < a.from->rank; d++) {
        bool kept = d == 0 || d == (last ? a.from->rank - 1 : 1);

        shape[d] = kept ? a.from->shape[d] : 1;
    }
    status = op_call_output(call, 0, a.from->dtype, a.from->rank, shape, &a.to);
    if (status != SPRY_OK || a.to == NULL) {
        return status;
    }
    a.from_scale = linear_of(call, 1, 2);
    a.to_scale = linear_of(call, 3, 4);
    a.along.inner = last ? a.from->shape[a.from->rank - 1] : 1;
    a.along.count = tensor_count(a.to);
    a.along.length =
        last ? tensor_span(a.from, 1, a.from->rank - 1) : tensor_span(a.from, 2, a.from->rank);
    threads_for(call->team, a.along.count, lines_grain(a.along.length, BROADCAST_GRAIN),
                average_piece, &a);
    return SPRY_OK;
}

static spry_status infer_average(op_shapes *s)
{
    const graph_type *x = op_shapes_ranked(s, 0);
    bool last = graph_attribute_int(s->node, "channels_last", 0) != 0;
    graph_dim dims[SPRY_TENSOR_MAX_RANK];

    for (int d = 0; x != NULL && d < x->rank; d++) {
        bool kept = d == 0 || d == (last ? x->rank - 1 : 1);

        dims[d] = kept ? x->dims[d] : (graph_dim){.size = 1};
    }
    if (x != NULL) {
        op_shapes_set(s, 0, x->dtype, x->rank, dims);
    }
    return SPRY_OK;
}

/* ---- QLinearConcat: the result's scale and zero point, then triples ---- */

/* Copies one input's rows into their place. */
static void place_input(const tensor *from, linear scale, tensor *to, linear to_scale, int axis,
                        int64_t before)
{
    int64_t row = tensor_span(from, axis, from->rank);
    int64_t to_row = tensor_span(to, axis, to->rank);
    int64_t offset = before * tensor_span(to, axis + 1, to->rank);
    float block[CONVERT_BLOCK];

    for (int64_t outer = 0; outer < tensor_span(from, 0, axis); outer++) {
        for (int64_t i = 0; i < row; i += CONVERT_BLOCK) {
            int64_t n = row - i < CONVERT_BLOCK ? row - i : CONVERT_BLOCK;

            convert_read_f32(from, outer * row + i, n, block);
            dequantize(block, n, scale, block);
            quantize(to, outer * to_row + offset + i, n, to_scale, block);
        }
    }
}

static spry_status run_concat(op_call *call)
{
    const tensor *first = op_call_input(call, 2);
    int64_t shape[SPRY_TENSOR_MAX_RANK];
    int64_t before = 0;
    int axis;
    tensor *to;
    spry_status status;

    if (first == NULL || call->input_count % 3 != 2 ||
        !op_normalize_axis(graph_attribute_int(call->node, "axis", 0), first->rank, &axis)) {
        return op_call_fail(call, SPRY_BAD_INPUT, "inputs or axis do not fit");
    }
    for (int d = 0; d < first->rank; d++) {
        shape[d] = d == axis ? 0 : first->shape[d];
    }
    for (int i = 2; i < call->input_count; i += 3) {
        const tensor *t = op_call_input(call, i);

        for (int d = 0; t == NULL || d < first->rank; d++) {
            if (t == NULL || t->rank != first->rank || t->dtype != first->dtype ||
                (d != axis && t->shape[d] != first->shape[d])) {
                return op_call_fail(call, SPRY_BAD_INPUT, "input %d does not fit the first", i);
            }
        }
        shape[axis] += t->shape[axis];
    }
    status = op_call_output(call, 0, first->dtype, first->rank, shape, &to);
    for (int i = 2; status == SPRY_OK && to != NULL && i < call->input_count; i += 3) {
        const tensor *t = op_call_input(call, i);

        place_input(t, linear_of(call, i + 1, i + 2), to, linear_of(call, 0, 1), axis, before);
        before += t->shape[axis];
    }
    return status;
}

static spry_status infer_concat(op_shapes *s)
{
    const graph_type *first = op_shapes_ranked(s, 2);
    graph_dim dims[SPRY_TENSOR_MAX_RANK];
    int64_t sum = 0;
    int axis;

    if (first == NULL) {
        return SPRY_OK;
    }
    if (!op_normalize_axis(graph_attribute_int(s->node, "axis", 0), first->rank, &axis)) {
        return op_shapes_fail(s, "the axis does not exist");
    }
    for (int i = 2; i < s->input_count; i += 3) {
        const graph_type *type = op_shapes_ranked(s, i);
        int64_t size = type != NULL && type->rank == first->rank ? type->dims[axis].size : -1;

        sum = sum < 0 || size < 0 ? -1 : sum + size;
    }
    for (int d = 0; d < first->rank; d++) {
        dims[d] = d == axis ? (graph_dim){.size = sum} : first->dims[d];
    }
    op_shapes_set(s, 0, first->dtype, first->rank, dims);
    return SPRY_OK;
}

#define F32 (1u << SPRY_DTYPE_F32)
#define BYTE (1u << SPRY_DTYPE_U8 | 1u << SPRY_DTYPE_I8)
#define QLINEAR(NAME, MIN, MAX, INFER, RUN, DETAIL, ...)                                 \
    {                                                                                    \
        .name = (NAME), .domain = "com.microsoft", .since = 1, .min_inputs = (MIN),      \
        .max_inputs = (MAX), .min_outputs = 1, .max_outputs = 1, .types = {__VA_ARGS__}, \
        .infer = (INFER), .run = (RUN), .cost = broadcast_cost, .detail = (DETAIL)       \
    }

/* clang-format off */
const op ops_qlinear[] = {
    QLINEAR("QLinearAdd", 7, 8, infer_pair, run_pair, &((const pair_row){.product = false}),
            BYTE, F32, BYTE, BYTE, F32, BYTE, F32, BYTE),
    QLINEAR("QLinearConcat", 3, OP_VARIADIC, infer_concat, run_concat, NULL, F32, BYTE, BYTE),
    QLINEAR("QLinearGlobalAveragePool", 5, 5, infer_average, run_average, NULL,
            BYTE, F32, BYTE, F32, BYTE),
    QLINEAR("QLinearLeakyRelu", 4, 5, op_infer_same, run_map,
            &((const map_row){map_leaky_relu}), BYTE, F32, BYTE, F32, BYTE),
    QLINEAR("QLinearMul", 7, 8, infer_pair, run_pair, &((const pair_row){.product = true}),
            BYTE, F32, BYTE, BYTE, F32, BYTE, F32, BYTE),
    QLINEAR("QLinearSigmoid", 4, 5, op_infer_same, run_map, &((const map_row){map_sigmoid}),
            BYTE, F32, BYTE, F32, BYTE),
    {.name = NULL},
};
/* clang-format on */
