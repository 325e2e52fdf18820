/* Comparisons: two tensors of one type, broadcast; the result is bool. */
#include <string.h>

#include "ops/broadcast.h"
#include "ops/families.h"

/* Which of "less", "equal", "greater" count as true. Unordered floats are none of them. */
typedef struct compare_row {
    bool less, equal, greater;
} compare_row;

typedef struct compare {
    const compare_row *row;
    broadcast a, b;
    dtype_class class;
    uint8_t *to;
} compare;

static uint8_t judge(const compare_row *row, bool less, bool equal, bool greater)
{
    return (uint8_t)((row->less & less) | (row->equal & equal) | (row->greater & greater));
}

static void compare_f64(const compare *c, int64_t start, int64_t n)
{
    double rooms[2][CONVERT_BLOCK];
    const double *a = broadcast_f64(&c->a, start, n, rooms[0]);
    const double *b = broadcast_f64(&c->b, start, n, rooms[1]);

    for (int64_t i = 0; i < n; i++) {
        c->to[start + i] = judge(c->row, a[i]<b[i], a[i] == b[i], a[i]> b[i]);
    }
}

static void compare_f32(const compare *c, int64_t start, int64_t n)
{
    float rooms[2][CONVERT_BLOCK];
    const float *a = broadcast_f32(&c->a, start, n, rooms[0]);
    const float *b = broadcast_f32(&c->b, start, n, rooms[1]);

    for (int64_t i = 0; i < n; i++) {
        c->to[start + i] = judge(c->row, a[i]<b[i], a[i] == b[i], a[i]> b[i]);
    }
}

static void compare_i64(const compare *c, int64_t start, int64_t n)
{
    int64_t rooms[2][CONVERT_BLOCK];
    const int64_t *a = broadcast_i64(&c->a, start, n, rooms[0]);
    const int64_t *b = broadcast_i64(&c->b, start, n, rooms[1]);
    /* Flipping the top bit orders unsigned numbers as signed ones. */
    uint64_t flip = c->class == DTYPE_CLASS_UNSIGNED ? (uint64_t)1 << 63 : 0;

    for (int64_t i = 0; i < n; i++) {
        int64_t x = (int64_t)((uint64_t)a[i] ^ flip);
        int64_t y = (int64_t)((uint64_t)b[i] ^ flip);

        c->to[start + i] = judge(c->row, x<y, x == y, x> y);
    }
}

static void compare_text(const compare *c, int64_t start, int64_t n)
{
    int64_t a[CONVERT_BLOCK];
    int64_t b[CONVERT_BLOCK];

    broadcast_offsets(&c->a, start, n, a);
    broadcast_offsets(&c->b, start, n, b);
    for (int64_t i = 0; i < n; i++) {
        const spry_text *x = (const spry_text *)c->a.input->data + a[i];
        const spry_text *y = (const spry_text *)c->b.input->data + b[i];
        bool equal = x->size == y->size && (x->size == 0 || memcmp(x->data, y->data, x->size) == 0);

        c->to[start + i] = judge(c->row, false, equal, false);
    }
}

static void compare_piece(void *context, int64_t begin, int64_t end, int worker)
{
    const compare *c = context;

    (void)worker;
    for (int64_t start = begin; start < end; start += CONVERT_BLOCK) {
        int64_t n = end - start < CONVERT_BLOCK ? end - start : CONVERT_BLOCK;

        if (c->class == DTYPE_CLASS_STRING) {
            compare_text(c, start, n);
        } else if (broadcast_is_f32(c->a.input->dtype)) {
            compare_f32(c, start, n);
        } else if (c->class == DTYPE_CLASS_FLOAT) {
            compare_f64(c, start, n);
        } else {
            compare_i64(c, start, n);
        }
    }
}

static spry_status run_compare(op_call *call)
{
    compare c = {.row = op_of_node(call->node)->detail};
    int64_t shape[SPRY_TENSOR_MAX_RANK];
    int rank;
    tensor *out;
    spry_status status = broadcast_shape(call, 2, &rank, shape);

    if (status != SPRY_OK) {
        return status;
    }
    if (op_call_input(call, 0)->dtype != op_call_input(call, 1)->dtype) {
        return op_call_fail(call, SPRY_BAD_INPUT, "inputs differ in element type");
    }
    status = op_call_output(call, 0, SPRY_DTYPE_BOOL, rank, shape, &out);
    if (status != SPRY_OK || out == NULL) {
        return status;
    }
    broadcast_init(&c.a, op_call_input(call, 0), rank, shape);
    broadcast_init(&c.b, op_call_input(call, 1), rank, shape);
    c.class = dtype_class_of(c.a.input->dtype);
    c.to = out->data;
    threads_for(call->team, tensor_count(out), BROADCAST_GRAIN, compare_piece, &c);
    return SPRY_OK;
}

#define COMPARE(NAME, SINCE, TYPES, ...)                                                          \
    {                                                                                             \
        .name = (NAME), .domain = "", .since = (SINCE), .min_inputs = 2, .max_inputs = 2,         \
        .min_outputs = 1, .max_outputs = 1, .types = {TYPES, TYPES}, .infer = op_infer_compare,   \
        .run = run_compare, .cost = broadcast_cost, .detail = &((const compare_row){__VA_ARGS__}) \
    }

/* clang-format off */
const op ops_compare[] = {
    COMPARE("Equal", 7, OP_NUMERIC | OP_BOOL | OP_STRING, .equal = true),
    COMPARE("Greater", 7, OP_NUMERIC, .greater = true),
    COMPARE("GreaterOrEqual", 12, OP_NUMERIC, .greater = true, .equal = true),
    COMPARE("Less", 7, OP_NUMERIC, .less = true),
    COMPARE("LessOrEqual", 12, OP_NUMERIC, .less = true, .equal = true),
    {.name = NULL},
};
/* clang-format on */
