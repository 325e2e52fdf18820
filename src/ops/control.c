/* Operators that run subgraphs: If, Loop, Scan, SequenceMap. The host executes the bodies; here is
 * what goes in, what is carried on, and what is collected. */
#include <string.h>

#include "base/limits.h"
#include "ops/families.h"
#include "ops/move.h"
#include "ops/operand.h"
#include "ops/sequence.h"
#include "tensor/convert.h"

/* ---- values in scratch memory ---- */

/* `count` empty values. Undo with drop_values. */
static spry_status make_values(op_call *call, int32_t count, value **values)
{
    void *memory;
    spry_status status = op_call_scratch(call, ((size_t)count + 1) * sizeof **values, &memory);

    *values = memory;
    for (int32_t i = 0; status == SPRY_OK && i < count; i++) {
        value_init(&(*values)[i], call->allocator);
    }
    return status;
}

static void drop_values(value *values, int32_t count)
{
    for (int32_t i = 0; values != NULL && i < count; i++) {
        value_fini(&values[i]);
    }
}

static spry_status run_body(op_call *call, const graph *body, const value *inputs, int32_t count,
                            value *outputs)
{
    return call->host->run_graph(call->host->context, body, inputs, count, outputs,
                                 body->output_count, call->error);
}

/* An input's value for a body; elements that the input does not own stay borrowed: the input
 * outlives the node. */
static spry_status share_input(op_call *call, int i, value *to)
{
    return i < call->input_count && call->inputs[i] != NULL
               ? value_share(to, call->inputs[i], call->error)
               : SPRY_OK;
}

static spry_status set_scalar(op_call *call, value *v, spry_dtype dtype, int64_t number)
{
    spry_status status;

    value_fini(v);
    status = tensor_init_owned(&v->tensor, call->allocator, dtype, 0, NULL, call->error);
    if (status == SPRY_OK) {
        v->kind = SPRY_VALUE_TENSOR;
        v->dtype = dtype;
        convert_write_i64(&v->tensor, 0, 1, &number);
    }
    return status;
}

static bool truth(const tensor *t)
{
    return tensor_count(t) > 0 && convert_get_i64(t, 0) != 0;
}

/* ---- types ---- */

static const graph_type *body_output(const graph *body, int i)
{
    return body != NULL && i < body->output_count ? &body->values[body->outputs[i]].type : NULL;
}

/* Output `i` becomes what both types agree on; nothing when either is not a tensor. */
static void join_types(op_shapes *s, int i, const graph_type *a, const graph_type *b)
{
    graph_dim dims[SPRY_TENSOR_MAX_RANK];

    if (a == NULL || b == NULL || a->kind != GRAPH_TYPE_TENSOR || b->kind != GRAPH_TYPE_TENSOR) {
        return;
    }
    if (!a->has_rank || !b->has_rank || a->rank != b->rank) {
        op_shapes_set_unranked(s, i, a->dtype);
        return;
    }
    for (int k = 0; k < a->rank; k++) {
        dims[k] = (graph_dim){.size = a->dims[k].size == b->dims[k].size ? a->dims[k].size : -1};
    }
    op_shapes_set(s, i, a->dtype, a->rank, dims);
}

/* Output `i` becomes `item` with one more axis. */
static void stack_type(op_shapes *s, int i, const graph_type *item, int64_t axis, int64_t size)
{
    graph_dim dims[SPRY_TENSOR_MAX_RANK + 1];
    int at;

    if (item == NULL || item->kind != GRAPH_TYPE_TENSOR) {
        return;
    }
    if (!item->has_rank || item->rank == SPRY_TENSOR_MAX_RANK ||
        !op_normalize_axis(axis, item->rank + 1, &at)) {
        op_shapes_set_unranked(s, i, item->dtype);
        return;
    }
    for (int k = 0; k <= item->rank; k++) {
        dims[k] = (graph_dim){.size = size};
        if (k != at) {
            dims[k].size = item->dims[k < at ? k : k - 1].size;
        }
    }
    op_shapes_set(s, i, item->dtype, item->rank + 1, dims);
}

/* ---- If ---- */

static spry_status infer_if(op_shapes *s)
{
    const graph *branches[2] = {graph_attribute_graph(s->node, "then_branch"),
                                graph_attribute_graph(s->node, "else_branch")};

    for (int i = 0; i < s->output_count; i++) {
        join_types(s, i, body_output(branches[0], i), body_output(branches[1], i));
    }
    return SPRY_OK;
}

static spry_status run_if(op_call *call)
{
    const tensor *condition = op_call_input(call, 0);
    const graph *branch =
        graph_attribute_graph(call->node, truth(condition) ? "then_branch" : "else_branch");
    value *results;
    spry_status status;

    if (branch == NULL || tensor_count(condition) != 1 ||
        branch->output_count < call->output_count) {
        return op_call_fail(call, SPRY_BAD_INPUT, "condition or branches make no sense");
    }
    status = make_values(call, branch->output_count, &results);
    if (status != SPRY_OK) {
        return status;
    }
    status = run_body(call, branch, NULL, 0, results);
    for (int i = 0; i < call->output_count && status == SPRY_OK; i++) {
        status = sequence_give(call, i, &results[i]);
    }
    drop_values(results, branch->output_count);
    return status;
}

/* ---- what Loop and Scan collect ---- */

/* Output `i` for no iteration at all: the body's type says what it would hold. */
static spry_status give_nothing(op_call *call, int i, const graph_type *type, int64_t axis)
{
    int64_t shape[SPRY_TENSOR_MAX_RANK] = {0};
    int rank = 1;
    tensor *out;
    int at = 0;

    if (type->kind != GRAPH_TYPE_TENSOR || type->dtype == SPRY_DTYPE_NONE) {
        return op_call_fail(call, SPRY_BAD_INPUT, "no iteration, and no type for output %d", i);
    }
    if (type->has_rank && type->rank < SPRY_TENSOR_MAX_RANK) {
        rank = type->rank + 1;
        (void)op_normalize_axis(axis, rank, &at);
        for (int k = 0; k < type->rank; k++) {
            shape[k < at ? k : k + 1] = type->dims[k].size > 0 ? type->dims[k].size : 0;
        }
        shape[at] = 0;
    }
    return op_call_output(call, i, type->dtype, rank, shape, &out);
}

/* Values that go from one iteration to the next and values that pile up. */
typedef struct control_state {
    const graph *body;
    value *inputs;  /* of the body */
    value *outputs; /* of the body */
    value *piles;   /* sequences */
    int32_t fixed;  /* body inputs before the carried ones; body outputs before them: skip */
    int32_t skip;
    int32_t carried;
    int32_t pile_count;
} control_state;

static spry_status state_create(op_call *call, control_state *c)
{
    spry_status status = make_values(call, c->body->input_count, &c->inputs);

    c->pile_count = c->body->output_count - c->skip - c->carried;
    if (status == SPRY_OK) {
        status = make_values(call, c->body->output_count, &c->outputs);
    }
    if (status == SPRY_OK) {
        status = make_values(call, c->pile_count, &c->piles);
    }
    for (int32_t i = 0; status == SPRY_OK && i < c->pile_count; i++) {
        c->piles[i].kind = SPRY_VALUE_SEQUENCE;
    }
    return status;
}

static void state_drop(control_state *c)
{
    drop_values(c->inputs, c->body->input_count);
    drop_values(c->outputs, c->body->output_count);
    drop_values(c->piles, c->pile_count);
}

/* One iteration: runs the body, carries its results over, piles up the others. */
static spry_status state_step(op_call *call, control_state *c)
{
    spry_status status = run_body(call, c->body, c->inputs, c->body->input_count, c->outputs);

    for (int32_t i = 0; i < c->pile_count && status == SPRY_OK; i++) {
        status = sequence_append(call, &c->piles[i], &c->outputs[c->skip + c->carried + i]);
    }
    for (int32_t i = 0; i < c->carried && status == SPRY_OK; i++) {
        value_fini(&c->inputs[c->fixed + i]);
        value_move(&c->inputs[c->fixed + i], &c->outputs[c->skip + i]);
    }
    return status;
}

/* ---- Loop ---- */

static spry_status infer_loop(op_shapes *s)
{
    const graph *body = graph_attribute_graph(s->node, "body");
    int carried = s->input_count - 2;

    for (int i = 0; i < s->output_count; i++) {
        if (i < carried) {
            join_types(s, i, op_shapes_input(s, i + 2), body_output(body, i + 1));
        } else {
            stack_type(s, i, body_output(body, i + 1), 0, -1);
        }
    }
    return SPRY_OK;
}

static spry_status loop_iterate(op_call *call, control_state *c)
{
    const tensor *limit = op_call_input(call, 0);
    const tensor *condition = op_call_input(call, 1);
    int64_t count =
        limit != NULL && tensor_count(limit) > 0 ? convert_get_i64(limit, 0) : INT64_MAX;
    bool go_on = condition == NULL || truth(condition);
    spry_status status = SPRY_OK;

    for (int64_t i = 0; i < count && go_on && status == SPRY_OK; i++) {
        if (i == LIMIT_LOOP_ITERATIONS) {
            return op_call_fail(call, SPRY_LIMIT, "more than %d iterations", LIMIT_LOOP_ITERATIONS);
        }
        status = set_scalar(call, &c->inputs[0], SPRY_DTYPE_I64, i);
        if (status == SPRY_OK) {
            status = set_scalar(call, &c->inputs[1], SPRY_DTYPE_BOOL, 1);
        }
        if (status == SPRY_OK) {
            status = state_step(call, c);
        }
        if (status == SPRY_OK) {
            go_on = c->outputs[0].kind == SPRY_VALUE_TENSOR && truth(&c->outputs[0].tensor);
            drop_values(c->outputs, c->body->output_count);
        }
    }
    return status;
}

static spry_status run_loop(op_call *call)
{
    control_state c = {.fixed = 2, .skip = 1, .carried = call->input_count - 2};
    spry_status status;

    c.body = graph_attribute_graph(call->node, "body");
    if (c.body == NULL || c.carried < 0 || c.body->input_count != call->input_count ||
        c.body->output_count < 1 + c.carried || call->output_count > c.body->output_count - 1) {
        return op_call_fail(call, SPRY_BAD_INPUT, "the body does not fit the loop");
    }
    status = state_create(call, &c);
    for (int32_t i = 0; i < c.carried && status == SPRY_OK; i++) {
        status = share_input(call, i + 2, &c.inputs[2 + i]);
    }
    if (status == SPRY_OK) {
        status = loop_iterate(call, &c);
    }
    for (int i = 0; i < call->output_count && status == SPRY_OK; i++) {
        if (i < c.carried) {
            status = sequence_give(call, i, &c.inputs[2 + i]);
        } else if (c.piles[i - c.carried].count > 0) {
            status = sequence_stack(call, i, &c.piles[i - c.carried], 0, false);
        } else {
            status = give_nothing(call, i, body_output(c.body, i + 1), 0);
        }
    }
    state_drop(&c);
    return status;
}

/* ---- Scan ---- */

/* Entry `i` of a list attribute, 0 when it is shorter. */
static int64_t entry(const graph_node *node, const char *name, int i)
{
    int64_t count;
    const int64_t *list = graph_attribute_ints(node, name, &count);

    return list != NULL && i < count ? list[i] : 0;
}

static spry_status infer_scan(op_shapes *s)
{
    const graph *body = graph_attribute_graph(s->node, "body");
    int64_t scans = graph_attribute_int(s->node, "num_scan_inputs", 0);
    int64_t carried = s->input_count - scans;
    int64_t length = -1;

    for (int i = 0; i < scans && carried >= 0; i++) {
        const graph_type *x = op_shapes_ranked(s, (int)carried + i);
        int axis;

        if (x != NULL && op_normalize_axis(entry(s->node, "scan_input_axes", i), x->rank, &axis) &&
            x->dims[axis].size >= 0) {
            length = x->dims[axis].size;
        }
    }
    for (int i = 0; i < s->output_count && carried >= 0; i++) {
        if (i < carried) {
            join_types(s, i, op_shapes_input(s, i), body_output(body, i));
        } else {
            stack_type(s, i, body_output(body, i),
                       entry(s->node, "scan_output_axes", i - (int)carried), length);
        }
    }
    return SPRY_OK;
}

/* The slice of x at `index` of an axis, as a value. */
static spry_status take_slice(op_call *call, const tensor *x, int axis, int64_t index, value *to)
{
    int64_t shape[SPRY_TENSOR_MAX_RANK];
    int64_t inner = tensor_span(x, axis + 1, x->rank);
    size_t size = move_element_size(x->dtype);
    move_plan plan = {.rank = 0};
    spry_status status;

    for (int i = 0; i + 1 < x->rank; i++) {
        shape[i] = x->shape[i < axis ? i : i + 1];
    }
    value_fini(to);
    status =
        tensor_init_owned(&to->tensor, call->allocator, x->dtype, x->rank - 1, shape, call->error);
    if (status != SPRY_OK) {
        return status;
    }
    to->kind = SPRY_VALUE_TENSOR;
    to->dtype = x->dtype;
    move_add_axis(&plan, tensor_span(x, 0, axis), inner, x->shape[axis] * inner);
    move_add_axis(&plan, inner, 1, 1);
    move_strided(call->team, &plan, size, to->tensor.data,
                 (const char *)x->data + (size_t)(index * inner) * size);
    return SPRY_OK;
}

/* The common length of the scanned axes; -1 when they differ or an input does not fit. */
static int64_t scan_length(op_call *call, int carried)
{
    int64_t length = -1;

    for (int i = carried; i < call->input_count; i++) {
        const tensor *x = op_call_input(call, i);
        int axis;

        if (x == NULL ||
            !op_normalize_axis(entry(call->node, "scan_input_axes", i - carried), x->rank, &axis) ||
            (length >= 0 && x->shape[axis] != length)) {
            return -1;
        }
        length = x->shape[axis];
    }
    return length;
}

static spry_status scan_iterate(op_call *call, control_state *c, int64_t length)
{
    spry_status status = SPRY_OK;

    for (int64_t step = 0; step < length && status == SPRY_OK; step++) {
        for (int i = c->carried; i < call->input_count && status == SPRY_OK; i++) {
            const tensor *x = op_call_input(call, i);
            bool backward = entry(call->node, "scan_input_directions", i - c->carried) != 0;
            int axis = 0;

            (void)op_normalize_axis(entry(call->node, "scan_input_axes", i - c->carried), x->rank,
                                    &axis);
            status = take_slice(call, x, axis, backward ? length - 1 - step : step, &c->inputs[i]);
        }
        if (status == SPRY_OK) {
            status = state_step(call, c);
        }
        drop_values(c->outputs, c->body->output_count);
    }
    return status;
}

static spry_status run_scan(op_call *call)
{
    int64_t scans = graph_attribute_int(call->node, "num_scan_inputs", 0);
    control_state c = {.body = graph_attribute_graph(call->node, "body")};
    int64_t length;
    spry_status status;

    if (c.body == NULL || scans < 1 || scans > call->input_count ||
        c.body->input_count != call->input_count ||
        c.body->output_count < call->input_count - (int32_t)scans ||
        call->output_count > c.body->output_count) {
        return op_call_fail(call, SPRY_BAD_INPUT, "the body does not fit the scan");
    }
    c.carried = call->input_count - (int32_t)scans;
    length = scan_length(call, c.carried);
    if (length < 0) {
        return op_call_fail(call, SPRY_BAD_INPUT, "the scanned axes differ or are out of range");
    }
    status = state_create(call, &c);
    for (int32_t i = 0; i < c.carried && status == SPRY_OK; i++) {
        status = share_input(call, i, &c.inputs[i]);
    }
    if (status == SPRY_OK) {
        status = scan_iterate(call, &c, length);
    }
    for (int i = 0; i < call->output_count && status == SPRY_OK; i++) {
        int pile = i - c.carried;

        if (pile < 0) {
            status = sequence_give(call, i, &c.inputs[i]);
        } else if (length > 0) {
            status =
                sequence_stack(call, i, &c.piles[pile], entry(call->node, "scan_output_axes", pile),
                               entry(call->node, "scan_output_directions", pile) != 0);
        } else {
            status = give_nothing(call, i, body_output(c.body, i),
                                  entry(call->node, "scan_output_axes", pile));
        }
    }
    state_drop(&c);
    return status;
}

/* ---- SequenceMap ---- */

static spry_status infer_map(op_shapes *s)
{
    const graph *body = graph_attribute_graph(s->node, "body");
    spry_status status = SPRY_OK;

    for (int i = 0; i < s->output_count && status == SPRY_OK; i++) {
        const graph_type *item = body_output(body, i);

        status = sequence_type(s, i, item != NULL ? item->dtype : SPRY_DTYPE_NONE);
    }
    return status;
}

/* Input `i` of the body for item `at`: an item of a sequence, or the same tensor every time. */
static spry_status map_input(op_call *call, int i, size_t at, value *to)
{
    const value *from = call->inputs[i];

    value_fini(to);
    if (from == NULL || (from->kind == SPRY_VALUE_SEQUENCE && at >= from->count)) {
        return op_call_fail(call, SPRY_BAD_INPUT, "sequence %d is shorter than the first", i);
    }
    return value_share(to, from->kind == SPRY_VALUE_SEQUENCE ? from->items[at] : from, call->error);
}

static spry_status run_map(op_call *call)
{
    const graph *body = graph_attribute_graph(call->node, "body");
    const value *first = call->inputs[0];
    value *inputs;
    value *results = NULL;
    value *out;
    spry_status status;

    if (body == NULL || first == NULL || first->kind != SPRY_VALUE_SEQUENCE ||
        body->input_count != call->input_count || body->output_count < call->output_count) {
        return op_call_fail(call, SPRY_BAD_INPUT, "the body does not fit the inputs");
    }
    status = make_values(call, body->input_count, &inputs);
    if (status == SPRY_OK) {
        status = make_values(call, body->output_count, &results);
    }
    if (status != SPRY_OK) {
        return status;
    }
    for (int i = 0; i < call->output_count; i++) {
        sequence_output(call, i, body_output(body, i)->dtype, &out);
    }
    for (size_t at = 0; at < first->count && status == SPRY_OK; at++) {
        for (int i = 0; i < call->input_count && status == SPRY_OK; i++) {
            status = map_input(call, i, at, &inputs[i]);
        }
        if (status == SPRY_OK) {
            status = run_body(call, body, inputs, body->input_count, results);
        }
        for (int i = 0; i < call->output_count && status == SPRY_OK; i++) {
            status = op_call_wants(call, i) ? sequence_append(call, call->outputs[i], &results[i])
                                            : SPRY_OK;
        }
        drop_values(results, body->output_count);
    }
    drop_values(inputs, body->input_count);
    return status;
}

/* clang-format off */
const op ops_control[] = {
    {.name = "If", .domain = "", .since = 1, .min_inputs = 1, .max_inputs = 1, .min_outputs = 1,
     .max_outputs = OP_VARIADIC, .flags = OP_SUBGRAPHS, .types = {OP_BOOL}, .infer = infer_if,
     .run = run_if},
    {.name = "Loop", .domain = "", .since = 1, .min_inputs = 2, .max_inputs = OP_VARIADIC,
     .min_outputs = 1, .max_outputs = OP_VARIADIC, .flags = OP_SUBGRAPHS,
     .types = {1u << SPRY_DTYPE_I64, OP_BOOL}, .infer = infer_loop, .run = run_loop},
    {.name = "Scan", .domain = "", .since = 9, .min_inputs = 1, .max_inputs = OP_VARIADIC,
     .min_outputs = 1, .max_outputs = OP_VARIADIC, .flags = OP_SUBGRAPHS, .infer = infer_scan,
     .run = run_scan},
    {.name = "SequenceMap", .domain = "", .since = 17, .min_inputs = 1, .max_inputs = OP_VARIADIC,
     .min_outputs = 1, .max_outputs = OP_VARIADIC, .flags = OP_SUBGRAPHS, .infer = infer_map,
     .run = run_map},
    {.name = NULL},
};
/* clang-format on */
