/* Operators whose result sizes depend on the data: NonZero and Unique. */
#include <math.h>
#include <string.h>

#include "ops/families.h"
#include "ops/move.h"
#include "ops/operand.h"
#include "tensor/convert.h"

/* ---- NonZero ---- */

static spry_status infer_non_zero(op_shapes *s)
{
    const graph_type *x = op_shapes_ranked(s, 0);
    graph_dim dims[2] = {operand_unknown, operand_unknown};

    if (x != NULL) {
        dims[0].size = x->rank > 0 ? x->rank : 1;
    }
    op_shapes_set(s, 0, SPRY_DTYPE_I64, 2, dims);
    return SPRY_OK;
}

static bool is_zero(const tensor *x, int64_t i)
{
    return x->dtype == SPRY_DTYPE_STRING ? ((const spry_text *)x->data)[i].size == 0
                                         : convert_get_f64(x, i) == 0;
}

static spry_status run_non_zero(op_call *call)
{
    tensor x = *op_call_input(call, 0);
    int64_t count = tensor_count(&x);
    int64_t shape[2] = {0, 0};
    int64_t column = 0;
    tensor *out;
    spry_status status;

    if (x.rank == 0) { /* a list of one */
        x.shape[0] = 1;
        x.rank = 1;
    }
    shape[0] = x.rank;
    for (int64_t i = 0; i < count; i++) {
        shape[1] += is_zero(&x, i) ? 0 : 1;
    }
    status = op_call_output(call, 0, SPRY_DTYPE_I64, 2, shape, &out);
    if (status != SPRY_OK || out == NULL) {
        return status;
    }
    for (int64_t i = 0; i < count; i++) {
        int64_t rest = i;

        if (is_zero(&x, i)) {
            continue;
        }
        for (int axis = x.rank - 1; axis >= 0; axis--) {
            ((int64_t *)out->data)[axis * shape[1] + column] = rest % x.shape[axis];
            rest /= x.shape[axis];
        }
        column++;
    }
    return SPRY_OK;
}

/* ---- Unique ---- */

/* Items to compare: `width` elements each, as ordered integers or as texts. */
typedef struct unique_items {
    const int64_t *keys;
    const spry_text *texts;
    int64_t width;
    int64_t count;
} unique_items;

static int compare_texts(const spry_text *a, const spry_text *b)
{
    size_t shared = a->size < b->size ? a->size : b->size;
    int order = shared > 0 ? memcmp(a->data, b->data, shared) : 0;

    return order != 0 ? order : (a->size > b->size) - (a->size < b->size);
}

static int compare_items(const unique_items *items, int64_t a, int64_t b)
{
    int order = 0;

    for (int64_t i = 0; i < items->width && order == 0; i++) {
        int64_t x = a * items->width + i;
        int64_t y = b * items->width + i;

        order = items->texts != NULL
                    ? compare_texts(&items->texts[x], &items->texts[y])
                    : (items->keys[x] > items->keys[y]) - (items->keys[x] < items->keys[y]);
    }
    return order;
}

/* Stable merge sort of item numbers, so that the first of equal ones comes first. */
static void sort_items(const unique_items *items, int64_t *order, int64_t *spare)
{
    for (int64_t width = 1; width < items->count; width *= 2) {
        for (int64_t begin = 0; begin < items->count; begin += 2 * width) {
            int64_t middle = begin + width < items->count ? begin + width : items->count;
            int64_t end = begin + 2 * width < items->count ? begin + 2 * width : items->count;
            int64_t left = begin;
            int64_t right = middle;

            for (int64_t i = begin; i < end; i++) {
                bool take_left =
                    right == end ||
                    (left < middle && compare_items(items, order[left], order[right]) <= 0);

                spare[i] = take_left ? order[left++] : order[right++];
            }
        }
        memcpy(order, spare, (size_t)items->count * sizeof *order);
    }
}

/* Numbers as integers of the same order: zeros are equal, NaNs are equal and last. */
static void ordered_keys(const tensor *t, int64_t *keys)
{
    int64_t count = tensor_count(t);

    if (dtype_class_of(t->dtype) != DTYPE_CLASS_FLOAT) {
        convert_read_i64(t, 0, count, keys);
        for (int64_t i = 0; i < count && t->dtype == SPRY_DTYPE_U64; i++) {
            keys[i] = (int64_t)((uint64_t)keys[i] ^ (uint64_t)1 << 63);
        }
        return;
    }
    for (int64_t i = 0; i < count; i++) {
        double number = convert_get_f64(t, i);
        uint64_t bits;

        number = number == 0 ? 0 : number;
        memcpy(&bits, &number, sizeof bits);
        bits = bits >> 63 != 0 ? ~bits ^ (uint64_t)1 << 63 : bits;
        keys[i] = isnan(number) ? INT64_MAX : (int64_t)bits;
    }
}

typedef struct unique_groups {
    int64_t *first;   /* group -> its first item */
    int64_t *inverse; /* item -> group */
    int64_t *counts;  /* group -> items */
    int64_t count;
} unique_groups;

/* Numbers the groups by sorted order, or by first occurrence. */
static void group_items(const unique_items *items, const int64_t *order, bool sorted,
                        int64_t *renumber, unique_groups *g)
{
    int64_t group = -1;

    for (int64_t i = 0; i < items->count; i++) {
        if (i == 0 || compare_items(items, order[i - 1], order[i]) != 0) {
            group++;
            g->first[group] = order[i];
            g->counts[group] = 0;
        }
        g->inverse[order[i]] = group;
        g->counts[group]++;
    }
    g->count = group + 1;
    if (sorted) {
        return;
    }
    for (int64_t i = 0; i < g->count; i++) {
        renumber[i] = -1;
    }
    group = 0;
    for (int64_t i = 0; i < items->count; i++) {
        int64_t old = g->inverse[i];

        if (renumber[old] < 0) {
            renumber[old] = group++;
        }
        g->inverse[i] = renumber[old];
    }
    for (int64_t i = 0; i < g->count; i++) {
        g->counts[i] = 0;
    }
    for (int64_t i = items->count - 1; i >= 0; i--) {
        g->first[g->inverse[i]] = i;
        g->counts[g->inverse[i]]++;
    }
}

static spry_status infer_unique(op_shapes *s)
{
    const graph_type *x = op_shapes_ranked(s, 0);
    const graph_dim list = operand_unknown;
    graph_dim dims[SPRY_TENSOR_MAX_RANK];
    int axis;

    for (int i = 1; i < 4; i++) {
        op_shapes_set(s, i, SPRY_DTYPE_I64, 1, &list);
    }
    if (graph_attribute_find(s->node, "axis") == NULL) {
        op_shapes_set(s, 0, operand_dtype(s, 0), 1, &list);
    } else if (x == NULL) {
        op_shapes_set_unranked(s, 0, operand_dtype(s, 0));
    } else {
        if (!op_normalize_axis(graph_attribute_int(s->node, "axis", 0), x->rank, &axis)) {
            return op_shapes_fail(s, "axis is outside of rank %d", x->rank);
        }
        memcpy(dims, x->dims, sizeof dims);
        dims[axis] = operand_unknown;
        op_shapes_set(s, 0, x->dtype, x->rank, dims);
    }
    return SPRY_OK;
}

/* x with `axis` in front, so that items lie together. */
static spry_status axis_first(op_call *call, const tensor *x, int axis, tensor *items)
{
    int64_t shape[3] = {x->shape[axis], tensor_span(x, 0, axis), tensor_span(x, axis + 1, x->rank)};
    move_plan plan = {.rank = 0};
    void *memory;
    spry_status status = op_call_scratch(call, x->bytes, &memory);

    if (status == SPRY_OK) {
        status = tensor_init(items, x->dtype, 3, shape, memory, call->error);
    }
    if (status == SPRY_OK) {
        move_add_axis(&plan, shape[0], shape[1] * shape[2], shape[2]);
        move_add_axis(&plan, shape[1], shape[2], shape[0] * shape[2]);
        move_add_axis(&plan, shape[2], 1, 1);
        move_strided(call->team, &plan, move_element_size(x->dtype), memory, x->data);
    }
    return status;
}

/* The groups' first items along `axis` as output 0. */
static spry_status give_items(op_call *call, const tensor *x, int axis, const unique_groups *g)
{
    size_t block = (size_t)tensor_span(x, axis + 1, x->rank) * move_element_size(x->dtype);
    int64_t shape[SPRY_TENSOR_MAX_RANK];
    tensor *out;
    spry_status status;

    memcpy(shape, x->shape, sizeof shape);
    shape[axis] = g->count;
    status = op_call_output(call, 0, x->dtype, x->rank, shape, &out);
    if (status != SPRY_OK || out == NULL || tensor_count(out) == 0) {
        return status;
    }
    for (int64_t outer = 0; outer < tensor_span(x, 0, axis); outer++) {
        for (int64_t i = 0; i < g->count; i++) {
            memcpy((char *)out->data + (size_t)(outer * g->count + i) * block,
                   (const char *)x->data + (size_t)(outer * x->shape[axis] + g->first[i]) * block,
                   block);
        }
    }
    return SPRY_OK;
}

static spry_status run_unique(op_call *call)
{
    tensor x = *op_call_input(call, 0);
    bool sorted = graph_attribute_int(call->node, "sorted", 1) != 0;
    unique_items items = {.width = 1};
    unique_groups g = {.count = 0};
    int64_t *lists[6]; /* keys, order, spare, first, inverse, counts */
    tensor moved;
    int axis = 0;
    spry_status status;

    if (graph_attribute_find(call->node, "axis") == NULL) {
        x.shape[0] = tensor_count(&x);
        x.rank = 1;
    } else if (!op_normalize_axis(graph_attribute_int(call->node, "axis", 0), x.rank, &axis)) {
        return op_call_fail(call, SPRY_BAD_INPUT, "axis is outside of rank %d", x.rank);
    }
    status = axis_first(call, &x, axis, &moved);
    if (status != SPRY_OK) {
        return status;
    }
    items.count = x.shape[axis];
    items.width = moved.shape[1] * moved.shape[2];
    for (int i = 0; i < 6 && status == SPRY_OK; i++) {
        int64_t count = i == 0 ? tensor_count(&x) : items.count;
        void *memory;

        status = op_call_scratch(call, ((size_t)count + 1) * sizeof *lists[i], &memory);
        lists[i] = memory;
    }
    if (status != SPRY_OK) {
        return status;
    }
    if (x.dtype == SPRY_DTYPE_STRING) {
        items.texts = moved.data;
    } else {
        ordered_keys(&moved, lists[0]);
        items.keys = lists[0];
    }
    for (int64_t i = 0; i < items.count; i++) {
        lists[1][i] = i;
    }
    sort_items(&items, lists[1], lists[2]);
    g = (unique_groups){lists[3], lists[4], lists[5], 0};
    group_items(&items, lists[1], sorted, lists[2], &g);
    status = give_items(call, &x, axis, &g);
    for (int i = 1; i < 4 && status == SPRY_OK; i++) {
        int64_t length = i == 2 ? items.count : g.count;
        tensor *out;

        status = op_call_output(call, i, SPRY_DTYPE_I64, 1, &length, &out);
        if (status == SPRY_OK && out != NULL && length > 0) {
            memcpy(out->data, lists[2 + i], (size_t)length * sizeof(int64_t));
        }
    }
    return status;
}

/* clang-format off */
const op ops_unique[] = {
    {.name = "NonZero", .domain = "", .since = 9, .min_inputs = 1, .max_inputs = 1,
     .min_outputs = 1, .max_outputs = 1, .types = {OP_NUMERIC | OP_BOOL | OP_STRING},
     .infer = infer_non_zero, .run = run_non_zero},
    {.name = "Unique", .domain = "", .since = 11, .min_inputs = 1, .max_inputs = 1,
     .min_outputs = 1, .max_outputs = 4, .types = {OP_NUMERIC | OP_BOOL | OP_STRING},
     .infer = infer_unique, .run = run_unique},
    {.name = NULL},
};
/* clang-format on */
