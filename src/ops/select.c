/* Operators that choose between values: Where and Clip. */
#include <math.h>
#include <string.h>

#include "ops/broadcast.h"
#include "ops/contents.h"
#include "ops/families.h"

/* ---- Where ---- */

typedef struct where {
    broadcast condition, x, y;
    tensor *to;
    size_t size; /* bytes per element */
} where;

/* Elements of 4 bytes: f32 above all, any other type bit by bit. */
static void where_words(const where *w, int64_t start, int64_t n, const int64_t *c,
                        const int64_t *x, const int64_t *y)
{
    const uint8_t *condition = w->condition.input->data;
    const uint32_t *yes = w->x.input->data;
    const uint32_t *no = w->y.input->data;
    uint32_t *to = (uint32_t *)w->to->data + start;

    for (int64_t i = 0; i < n; i++) {
        to[i] = condition[c[i]] != 0 ? yes[x[i]] : no[y[i]];
    }
}

static void where_bytes(const where *w, int64_t start, int64_t n, const int64_t *c,
                        const int64_t *x, const int64_t *y)
{
    const uint8_t *condition = w->condition.input->data;
    const char *yes = w->x.input->data;
    const char *no = w->y.input->data;
    char *to = (char *)w->to->data + (size_t)start * w->size;

    for (int64_t i = 0; i < n; i++) {
        const char *from =
            condition[c[i]] != 0 ? yes + (size_t)x[i] * w->size : no + (size_t)y[i] * w->size;

        memcpy(to + (size_t)i * w->size, from, w->size);
    }
}

static void where_piece(void *context, int64_t begin, int64_t end, int worker)
{
    const where *w = context;
    int64_t c[CONVERT_BLOCK];
    int64_t x[CONVERT_BLOCK];
    int64_t y[CONVERT_BLOCK];

    (void)worker;
    for (int64_t start = begin; start < end; start += CONVERT_BLOCK) {
        int64_t n = end - start < CONVERT_BLOCK ? end - start : CONVERT_BLOCK;

        broadcast_offsets(&w->condition, start, n, c);
        broadcast_offsets(&w->x, start, n, x);
        broadcast_offsets(&w->y, start, n, y);
        if (w->size == sizeof(uint32_t)) {
            where_words(w, start, n, c, x, y);
        } else {
            where_bytes(w, start, n, c, x, y);
        }
    }
}

static spry_status run_where(op_call *call)
{
    where w;
    int64_t shape[SPRY_TENSOR_MAX_RANK];
    int rank;
    spry_dtype dtype;
    spry_status status = broadcast_shape(call, 3, &rank, shape);

    if (status != SPRY_OK) {
        return status;
    }
    dtype = op_call_input(call, 1)->dtype;
    if (dtype != op_call_input(call, 2)->dtype ||
        op_call_input(call, 0)->dtype != SPRY_DTYPE_BOOL) {
        return op_call_fail(call, SPRY_BAD_INPUT, "inputs have the wrong element types");
    }
    status = op_call_output(call, 0, dtype, rank, shape, &w.to);
    if (status != SPRY_OK || w.to == NULL) {
        return status;
    }
    broadcast_init(&w.condition, op_call_input(call, 0), rank, shape);
    broadcast_init(&w.x, op_call_input(call, 1), rank, shape);
    broadcast_init(&w.y, op_call_input(call, 2), rank, shape);
    w.size = dtype == SPRY_DTYPE_STRING ? sizeof(spry_text) : spry_dtype_bits(dtype) / 8;
    threads_for(call->team, tensor_count(w.to), BROADCAST_GRAIN, where_piece, &w);
    return SPRY_OK;
}

/* Where of shapes: known where the condition is a constant. */
static spry_status where_contents(op_shapes *s)
{
    graph_dim rooms[2][OPERAND_CONTENTS];
    graph_dim result[OPERAND_CONTENTS];
    const tensor *condition = s->constants[0];
    int32_t yes_count;
    int32_t no_count;
    const graph_dim *yes = operand_integers(s, 1, rooms[0], &yes_count);
    const graph_dim *no = operand_integers(s, 2, rooms[1], &no_count);
    int64_t count = condition != NULL ? tensor_count(condition) : 0;

    if (condition == NULL || condition->rank > 1 || yes == NULL || no == NULL) {
        return SPRY_OK;
    }
    count = count == 1 ? yes_count : count;
    count = count == 1 ? no_count : count;
    if (count > OPERAND_CONTENTS || (yes_count != 1 && yes_count != count) ||
        (no_count != 1 && no_count != count)) {
        return SPRY_OK;
    }
    for (int k = 0; k < (int)count; k++) {
        int64_t chosen = convert_get_i64(condition, tensor_count(condition) == 1 ? 0 : k);

        result[k] = chosen != 0 ? yes[yes_count == 1 ? 0 : k] : no[no_count == 1 ? 0 : k];
    }
    return contents_set(s, (int)count, result);
}

static spry_status infer_where(op_shapes *s)
{
    const graph_type *x = op_shapes_input(s, 1);
    spry_status status = op_infer_broadcast(s);

    if (status != SPRY_OK || s->output_count == 0 || s->input_count != 3) {
        return status;
    }
    s->outputs[0].dtype = x != NULL && x->kind == GRAPH_TYPE_TENSOR ? x->dtype : SPRY_DTYPE_NONE;
    return where_contents(s);
}

/* ---- Clip ---- */

typedef struct clip {
    const tensor *from;
    tensor *to;
    double low, high;      /* f64, and f32 after rounding */
    int64_t low_i, high_i; /* integers; u64 with the top bit flipped */
    bool is_u64;
} clip;

static void clip_floats(const clip *c, int64_t start, int64_t n)
{
    double block[CONVERT_BLOCK];

    convert_read_f64(c->from, start, n, block);
    for (int64_t i = 0; i < n; i++) {
        double x = block[i] < c->low ? c->low : block[i];

        block[i] = x > c->high ? c->high : x;
    }
    convert_write_f64(c->to, start, n, block);
}

static void clip_f32(const clip *c, int64_t start, int64_t n)
{
    float block[CONVERT_BLOCK];
    float low = (float)c->low;
    float high = (float)c->high;

    convert_read_f32(c->from, start, n, block);
    for (int64_t i = 0; i < n; i++) {
        float x = block[i] < low ? low : block[i];

        block[i] = x > high ? high : x;
    }
    convert_write_f32(c->to, start, n, block);
}

static void clip_integers(const clip *c, int64_t start, int64_t n)
{
    int64_t block[CONVERT_BLOCK];
    uint64_t flip = c->is_u64 ? (uint64_t)1 << 63 : 0;

    convert_read_i64(c->from, start, n, block);
    for (int64_t i = 0; i < n; i++) {
        int64_t x = (int64_t)((uint64_t)block[i] ^ flip);

        x = x < c->low_i ? c->low_i : x;
        x = x > c->high_i ? c->high_i : x;
        block[i] = (int64_t)((uint64_t)x ^ flip);
    }
    convert_write_i64(c->to, start, n, block);
}

static void clip_piece(void *context, int64_t begin, int64_t end, int worker)
{
    const clip *c = context;

    (void)worker;
    for (int64_t start = begin; start < end; start += CONVERT_BLOCK) {
        int64_t n = end - start < CONVERT_BLOCK ? end - start : CONVERT_BLOCK;

        if (broadcast_is_f32(c->from->dtype)) {
            clip_f32(c, start, n);
        } else if (c->from->dtype == SPRY_DTYPE_F64) {
            clip_floats(c, start, n);
        } else {
            clip_integers(c, start, n);
        }
    }
}

static spry_status run_clip(op_call *call, clip c)
{
    spry_status status;

    c.from = op_call_input(call, 0);
    if (c.from == NULL) {
        return op_call_fail(call, SPRY_BAD_INPUT, "input 0 is missing");
    }
    status = op_call_output_like(call, 0, c.from->dtype, c.from, &c.to);
    if (status == SPRY_OK && c.to != NULL) {
        threads_for(call->team, tensor_count(c.from), BROADCAST_GRAIN, clip_piece, &c);
    }
    return status;
}

static spry_status run_clip_attributes(op_call *call)
{
    return run_clip(call, (clip){
                              .low = (double)graph_attribute_float(call->node, "min", -INFINITY),
                              .high = (double)graph_attribute_float(call->node, "max", INFINITY),
                          });
}

static spry_status run_clip_inputs(op_call *call)
{
    clip c = {.low = -(double)INFINITY, .high = (double)INFINITY};
    const tensor *bounds[2] = {op_call_input(call, 1), op_call_input(call, 2)};
    int64_t flip;

    for (int i = 0; i < 2; i++) {
        if (bounds[i] != NULL && tensor_count(bounds[i]) != 1) {
            return op_call_fail(call, SPRY_BAD_INPUT, "bound %d is not a single number", i);
        }
    }
    c.is_u64 = op_call_input(call, 0) != NULL && op_call_input(call, 0)->dtype == SPRY_DTYPE_U64;
    flip = c.is_u64 ? INT64_MIN : 0;
    c.low_i = bounds[0] != NULL ? convert_get_i64(bounds[0], 0) ^ flip : INT64_MIN;
    c.high_i = bounds[1] != NULL ? convert_get_i64(bounds[1], 0) ^ flip : INT64_MAX;
    c.low = op_call_scalar(call, 1, c.low);
    c.high = op_call_scalar(call, 2, c.high);
    return run_clip(call, c);
}

#define ANY_BYTES (OP_NUMERIC | OP_BOOL | OP_STRING | 1u << SPRY_DTYPE_C64 | 1u << SPRY_DTYPE_C128)

/* clang-format off */
const op ops_select[] = {
    {.name = "Clip", .domain = "", .since = 6, .min_inputs = 1, .max_inputs = 1, .min_outputs = 1,
     .max_outputs = 1, .flags = OP_IN_PLACE, .types = {OP_FLOATS}, .infer = op_infer_same,
     .run = run_clip_attributes, .cost = broadcast_cost},
    {.name = "Clip", .domain = "", .since = 11, .min_inputs = 1, .max_inputs = 3, .min_outputs = 1,
     .max_outputs = 1, .flags = OP_IN_PLACE, .types = {OP_NUMERIC, OP_NUMERIC, OP_NUMERIC},
     .infer = op_infer_same, .run = run_clip_inputs, .cost = broadcast_cost},
    {.name = "Where", .domain = "", .since = 9, .min_inputs = 3, .max_inputs = 3, .min_outputs = 1,
     .max_outputs = 1, .types = {OP_BOOL, ANY_BYTES, ANY_BYTES}, .infer = infer_where,
     .run = run_where, .cost = broadcast_cost},
    {.name = NULL},
};
/* clang-format on */
