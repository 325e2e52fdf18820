/* TopK: the k largest (or smallest) elements of every line, in order.
 *
 * Elements are ordered by a 64-bit key: NaN above everything, equal ones by index. A heap of the k
 * best seen has its worst on top. */
#include "base/checked.h"
#include "ops/broadcast.h"
#include "ops/families.h"
#include "ops/lines.h"

typedef struct top_item {
    uint64_t key; /* larger is better */
    int64_t index;
} top_item;

typedef struct top_k {
    const tensor *from;
    tensor *values;  /* may be NULL */
    tensor *indices; /* may be NULL */
    lines along;
    int64_t k;
    bool smallest;
    top_item *heaps; /* k for each worker */
} top_k;

static uint64_t key_of(const tensor *t, int64_t at, bool smallest)
{
    uint64_t key;

    if (dtype_class_of(t->dtype) == DTYPE_CLASS_FLOAT) {
        double x = convert_get_f64(t, at) + 0.0; /* both zeros are equal */

        memcpy(&key, &x, sizeof key);
        key = x != x ? UINT64_MAX : key >> 63 != 0 ? ~key : key | (uint64_t)1 << 63;
    } else {
        key = (uint64_t)convert_get_i64(t, at);
        key ^= t->dtype == SPRY_DTYPE_U64 ? 0 : (uint64_t)1 << 63;
    }
    return smallest ? ~key : key;
}

static bool worse(top_item a, top_item b)
{
    return a.key < b.key || (a.key == b.key && a.index > b.index);
}

/* Restores the order below `at`. */
static void sift_down(top_item *heap, int64_t count, int64_t at)
{
    for (;;) {
        int64_t child = 2 * at + 1;
        top_item item = heap[at];

        if (child >= count) {
            return;
        }
        child += child + 1 < count && worse(heap[child + 1], heap[child]);
        if (!worse(heap[child], item)) {
            return;
        }
        heap[at] = heap[child];
        heap[child] = item;
        at = child;
    }
}

static void select_line(const top_k *t, int64_t line, top_item *heap)
{
    int64_t start = lines_start(&t->along, line);
    int64_t inner = t->along.inner;
    lines results = {t->along.count, t->k, inner};
    int64_t to = lines_start(&results, line);

    for (int64_t i = 0; i < t->along.length; i++) {
        top_item item = {key_of(t->from, start + i * inner, t->smallest), i};

        if (i < t->k) {
            heap[i] = item;
            for (int64_t at = i + 1 == t->k ? t->k / 2 : 0; at > 0; at--) {
                sift_down(heap, t->k, at - 1);
            }
        } else if (worse(heap[0], item)) {
            heap[0] = item;
            sift_down(heap, t->k, 0);
        }
    }
    for (int64_t left = t->k; left > 0; left--) { /* the worst is the last */
        int64_t at = to + (left - 1) * inner;
        int64_t index = heap[0].index;
        size_t size = spry_dtype_bits(t->from->dtype) / 8;

        if (t->indices != NULL) {
            ((int64_t *)t->indices->data)[at] = index;
        }
        if (t->values != NULL) {
            memcpy((char *)t->values->data + (size_t)at * size,
                   (const char *)t->from->data + (size_t)(start + index * inner) * size, size);
        }
        heap[0] = heap[left - 1];
        sift_down(heap, left - 1, 0);
    }
}

static void select_piece(void *context, int64_t begin, int64_t end, int worker)
{
    const top_k *t = context;

    for (int64_t line = begin; line < end; line++) {
        select_line(t, line, t->heaps + worker * t->k);
    }
}

static spry_status run_select(op_call *call, top_k t, int axis)
{
    int64_t shape[SPRY_TENSOR_MAX_RANK];
    void *room = NULL;
    size_t items;
    size_t bytes;
    spry_status status;

    memcpy(shape, t.from->shape, sizeof shape);
    shape[axis] = t.k;
    status = op_call_output(call, 0, t.from->dtype, t.from->rank, shape, &t.values);
    if (status == SPRY_OK) {
        status = op_call_output(call, 1, SPRY_DTYPE_I64, t.from->rank, shape, &t.indices);
    }
    if (status != SPRY_OK || t.k == 0) {
        return status;
    }
    if (!checked_mul((size_t)t.k, (size_t)threads_count(call->team), &items) ||
        !checked_mul(items, sizeof(top_item), &bytes)) {
        return op_call_fail(call, SPRY_LIMIT, "k is too large");
    }
    status = op_call_scratch(call, bytes, &room);
    if (status == SPRY_OK) {
        t.heaps = room;
        threads_for(call->team, t.along.count, lines_grain(t.along.length, BROADCAST_GRAIN / 4),
                    select_piece, &t);
    }
    return status;
}

static spry_status run_top_k(op_call *call)
{
    top_k t = {.from = op_call_input(call, 0)};
    int axis;
    int count = 1;
    spry_status status = SPRY_OK;

    if (t.from == NULL ||
        !op_normalize_axis(graph_attribute_int(call->node, "axis", -1), t.from->rank, &axis)) {
        return op_call_fail(call, SPRY_BAD_INPUT, "the axis does not exist");
    }
    t.k = graph_attribute_int(call->node, "k", -1);
    if (op_of_node(call->node)->max_inputs == 2) {
        status = op_call_ints(call, 1, &t.k, 1, &count);
    }
    if (status != SPRY_OK) {
        return status;
    }
    t.along = lines_along(t.from, axis);
    t.smallest = graph_attribute_int(call->node, "largest", 1) == 0;
    if (count != 1 || t.k < 0 || t.k > t.along.length) {
        return op_call_fail(call, SPRY_BAD_INPUT, "k is outside 0 to %lld",
                            (long long)t.along.length);
    }
    return run_select(call, t, axis);
}

static spry_status infer_top_k(op_shapes *s)
{
    const graph_type *x = op_shapes_ranked(s, 0);
    graph_dim dims[SPRY_TENSOR_MAX_RANK];
    int64_t k = graph_attribute_int(s->node, "k", -1);
    int count = 1;
    int axis;

    if (x == NULL) {
        return SPRY_OK;
    }
    if (!op_normalize_axis(graph_attribute_int(s->node, "axis", -1), x->rank, &axis)) {
        return op_shapes_fail(s, "the axis does not exist");
    }
    if (op_of_node(s->node)->max_inputs == 2) {
        spry_status status = op_shapes_ints(s, 1, &k, 1, &count);

        if (status != SPRY_OK) {
            return status;
        }
    }
    if (count == 1 && (k < 0 || (x->dims[axis].size >= 0 && k > x->dims[axis].size))) {
        return op_shapes_fail(s, "k is %lld", (long long)k);
    }
    memcpy(dims, x->dims, sizeof dims);
    dims[axis] = (graph_dim){.size = count == 1 ? k : -1};
    op_shapes_set(s, 0, x->dtype, x->rank, dims);
    op_shapes_set(s, 1, SPRY_DTYPE_I64, x->rank, dims);
    return SPRY_OK;
}

static void cost_top_k(const op_work *w, int64_t *macs, int64_t *flops)
{
    (void)macs;
    *flops += op_work_count(w->inputs[0]); /* one comparison each, more only for the best */
}

const op ops_top_k[] = {
    {.name = "TopK",
     .domain = "",
     .since = 1,
     .min_inputs = 1,
     .max_inputs = 1,
     .min_outputs = 2,
     .max_outputs = 2,
     .types = {OP_FLOATS},
     .infer = infer_top_k,
     .run = run_top_k,
     .cost = cost_top_k},
    {.name = "TopK",
     .domain = "",
     .since = 10,
     .min_inputs = 2,
     .max_inputs = 2,
     .min_outputs = 2,
     .max_outputs = 2,
     .types = {OP_NUMERIC, 1u << SPRY_DTYPE_I64},
     .infer = infer_top_k,
     .run = run_top_k,
     .cost = cost_top_k},
    {.name = NULL},
};
