/* Runs single operators under test; see the header. */
#include "support/op_harness.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "tensor/convert.h"

enum { THREADS = 3 };

void op_harness_init(op_harness *h, const char *domain, const char *name, int opset)
{
    *h = (op_harness){.seed = 1};
    arena_init(&h->memory, NULL, (size_t)1 << 30);
    h->g.memory = &h->memory;
    h->node = (graph_node){.name = "", .type = name, .domain = domain, .opset = opset};
    h->node.overload = "";
    h->node.attributes = h->attributes;
    for (int i = 0; i < OP_HARNESS_PORTS; i++) {
        value_init(&h->inputs[i], NULL);
        value_init(&h->outputs[i], NULL);
    }
}

void op_harness_fini(op_harness *h)
{
    for (int i = 0; i < OP_HARNESS_PORTS; i++) {
        value_fini(&h->inputs[i]);
        value_fini(&h->outputs[i]);
    }
    arena_fini(&h->memory);
}

/* ---- attributes ---- */

static void *keep(op_harness *h, const void *data, size_t bytes)
{
    void *copy = arena_bytes(&h->memory, bytes + 1);

    assert_non_null(copy);
    if (bytes > 0) {
        memcpy(copy, data, bytes);
    }
    return copy;
}

static graph_attribute *add(op_harness *h, const char *name, graph_attribute_kind kind,
                            int64_t count)
{
    graph_attribute *a = &h->attributes[h->node.attribute_count];

    assert_true(h->node.attribute_count < OP_HARNESS_ATTRIBUTES);
    h->node.attribute_count++;
    *a = (graph_attribute){.name = name, .kind = kind, .count = count};
    return a;
}

void op_harness_ints(op_harness *h, const char *name, int64_t count, const int64_t *numbers)
{
    add(h, name, GRAPH_ATTRIBUTE_INTS, count)->as.ints =
        keep(h, numbers, (size_t)count * sizeof *numbers);
}

void op_harness_floats(op_harness *h, const char *name, int64_t count, const float *numbers)
{
    add(h, name, GRAPH_ATTRIBUTE_FLOATS, count)->as.floats =
        keep(h, numbers, (size_t)count * sizeof *numbers);
}

void op_harness_strings(op_harness *h, const char *name, int64_t count, const char *const *texts)
{
    spry_text *copies = arena_array(&h->memory, (size_t)count + 1, sizeof *copies);

    assert_non_null(copies);
    for (int64_t i = 0; i < count; i++) {
        copies[i].size = strlen(texts[i]);
        copies[i].data = arena_text(&h->memory, texts[i], copies[i].size);
    }
    add(h, name, GRAPH_ATTRIBUTE_STRINGS, count)->as.strings = copies;
}

void op_harness_int(op_harness *h, const char *name, int64_t number)
{
    add(h, name, GRAPH_ATTRIBUTE_INT, 1)->as.ints = keep(h, &number, sizeof number);
}

void op_harness_float(op_harness *h, const char *name, float number)
{
    add(h, name, GRAPH_ATTRIBUTE_FLOAT, 1)->as.floats = keep(h, &number, sizeof number);
}

void op_harness_string(op_harness *h, const char *name, const char *text)
{
    op_harness_strings(h, name, 1, &text);
    h->attributes[h->node.attribute_count - 1].kind = GRAPH_ATTRIBUTE_STRING;
}

void op_harness_tensor(op_harness *h, const char *name, const tensor *t)
{
    tensor *copy = keep(h, t, sizeof *t);

    copy->data = keep(h, t->data, t->bytes);
    copy->storage = NULL;
    add(h, name, GRAPH_ATTRIBUTE_TENSOR, 1)->as.tensors = copy;
}

void op_harness_graph(op_harness *h, const char *name, graph *body)
{
    add(h, name, GRAPH_ATTRIBUTE_GRAPH, 1)->as.graphs = keep(h, &body, sizeof(graph *));
}

/* ---- inputs ---- */

value *op_harness_value(op_harness *h)
{
    assert_true(h->input_count < OP_HARNESS_PORTS);
    h->present[h->input_count] = true;
    return &h->inputs[h->input_count++];
}

void op_harness_omit(op_harness *h)
{
    assert_true(h->input_count < OP_HARNESS_PORTS);
    h->present[h->input_count++] = false;
}

tensor *op_harness_input(op_harness *h, spry_dtype dtype, int rank, const int64_t *shape)
{
    value *v = op_harness_value(h);
    spry_status status = tensor_init_owned(&v->tensor, NULL, dtype, rank, shape, &h->error);

    assert_int_equal(status, SPRY_OK);
    v->kind = SPRY_VALUE_TENSOR;
    v->dtype = dtype;
    return &v->tensor;
}

tensor *op_harness_f32(op_harness *h, int rank, const int64_t *shape, const float *data)
{
    tensor *t = op_harness_input(h, SPRY_DTYPE_F32, rank, shape);

    convert_write_f32(t, 0, tensor_count(t), data);
    return t;
}

tensor *op_harness_f64s(op_harness *h, spry_dtype dtype, int rank, const int64_t *shape,
                        const double *data)
{
    tensor *t = op_harness_input(h, dtype, rank, shape);

    convert_write_f64(t, 0, tensor_count(t), data);
    return t;
}

tensor *op_harness_i64s(op_harness *h, spry_dtype dtype, int rank, const int64_t *shape,
                        const int64_t *data)
{
    tensor *t = op_harness_input(h, dtype, rank, shape);

    convert_write_i64(t, 0, tensor_count(t), data);
    return t;
}

tensor *op_harness_texts(op_harness *h, int rank, const int64_t *shape, const char *const *texts)
{
    tensor *t = op_harness_input(h, SPRY_DTYPE_STRING, rank, shape);
    spry_text *to = t->data;

    for (int64_t i = 0; i < tensor_count(t); i++) {
        to[i] = (spry_text){texts[i], strlen(texts[i])};
    }
    return t;
}

int64_t op_harness_next(op_harness *h, int64_t below)
{
    h->state = h->state * 6364136223846793005u + 1442695040888963407u;
    return (int64_t)((h->state >> 33) % (uint64_t)below);
}

int op_harness_shape(op_harness *h, int most_rank, int64_t *shape)
{
    int rank = (int)op_harness_next(h, most_rank + 1);

    for (int d = 0; d < rank; d++) {
        int64_t draw = op_harness_next(h, 20);

        shape[d] = draw == 0 ? 0 : draw < 6 ? 1 : 2 + op_harness_next(h, rank > 3 ? 4 : 17);
    }
    return rank;
}

int op_harness_smaller(op_harness *h, int rank, const int64_t *shape, int64_t *smaller)
{
    int lead = op_harness_next(h, 3) == 0 ? (int)op_harness_next(h, rank + 1) : 0;

    for (int d = lead; d < rank; d++) {
        smaller[d - lead] = op_harness_next(h, 3) == 0 ? 1 : shape[d];
    }
    return rank - lead;
}

int64_t op_harness_source(const tensor *input, const tensor *output, int64_t index)
{
    int64_t source = 0;
    int64_t step = 1;

    for (int d = output->rank - 1; d >= 0; d--) {
        int at = d - (output->rank - input->rank);
        int64_t position = index % output->shape[d];

        index /= output->shape[d];
        if (at >= 0) {
            source += input->shape[at] == 1 ? 0 : position * step;
            step *= input->shape[at];
        }
    }
    return source;
}

static double any_float(op_harness *h, bool extremes)
{
    static const double odd[] = {INFINITY, -INFINITY, NAN, 0.0, -0.0, 1e-30, 6e4, -3e4};

    if (extremes && op_harness_next(h, 8) == 0) {
        return odd[op_harness_next(h, 8)];
    }
    return (double)(op_harness_next(h, 33) - 16) / 4.0;
}

static int64_t any_integer(op_harness *h, spry_dtype dtype, bool extremes)
{
    bool is_signed = dtype_class_of(dtype) == DTYPE_CLASS_SIGNED;

    if (dtype == SPRY_DTYPE_BOOL) {
        return op_harness_next(h, 2);
    }
    if (extremes && op_harness_next(h, 8) == 0) {
        int64_t limits[] = {dtype_integer_min(dtype), dtype_integer_max(dtype), -1, 0};

        return limits[op_harness_next(h, 4)];
    }
    return op_harness_next(h, 19) - (is_signed ? 9 : 0);
}

tensor *op_harness_any(op_harness *h, spry_dtype dtype, int rank, const int64_t *shape,
                       bool extremes)
{
    tensor *t = op_harness_input(h, dtype, rank, shape);

    for (int64_t i = 0; i < tensor_count(t); i++) {
        if (dtype_class_of(dtype) == DTYPE_CLASS_FLOAT) {
            double number = any_float(h, extremes);

            convert_write_f64(t, i, 1, &number);
        } else {
            int64_t number = any_integer(h, dtype, extremes);

            convert_write_i64(t, i, 1, &number);
        }
    }
    return t;
}

/* ---- the shape rule ---- */

static bool accepts(const op *o, const op_harness *h)
{
    for (int i = 0; i < h->input_count; i++) {
        int last = OP_TYPE_SLOTS - 1;
        int slot = i < last ? i : last;

        if ((o->flags & OP_LAST_TYPES_REPEAT) != 0) {
            for (last = OP_TYPE_SLOTS - 1; last > 0 && o->types[last] == 0; last--) {
            }
            slot = i < last ? i : last;
        }
        if (h->present[i] && h->inputs[i].kind == SPRY_VALUE_TENSOR && o->types[slot] != 0 &&
            (o->types[slot] & dtype_bit(h->inputs[i].tensor.dtype)) == 0) {
            return false;
        }
    }
    return h->input_count >= o->min_inputs &&
           (o->max_inputs == OP_VARIADIC || h->input_count <= o->max_inputs);
}

static spry_status find(op_harness *h)
{
    const op *o = op_find(h->node.domain, h->node.type, h->node.opset);

    if (o == NULL || !accepts(o, h)) {
        return spry_fail(&h->error, SPRY_UNSUPPORTED, h->node.type, NULL,
                         "no such operator, opset, element type or number of inputs");
    }
    h->node.op = o;
    return SPRY_OK;
}

typedef enum knowledge { KNOWS_NOTHING, KNOWS_RANK, KNOWS_SHAPES, KNOWS_VALUES } knowledge;

static graph_type type_of(const value *v, knowledge known)
{
    graph_type type;

    if (known == KNOWS_NOTHING || v->kind == SPRY_VALUE_NONE) {
        return (graph_type){.kind = GRAPH_TYPE_UNKNOWN};
    }
    if (v->kind == SPRY_VALUE_SEQUENCE) {
        return (graph_type){.kind = GRAPH_TYPE_SEQUENCE};
    }
    type = (graph_type){.kind = GRAPH_TYPE_TENSOR, .dtype = v->tensor.dtype, .has_rank = true};
    type.rank = v->tensor.rank;
    for (int i = 0; i < type.rank; i++) {
        type.dims[i].size = known == KNOWS_RANK ? -1 : v->tensor.shape[i];
    }
    return type;
}

static spry_status infer(op_harness *h, knowledge known)
{
    graph_type types[OP_HARNESS_PORTS];
    const graph_type *inputs[OP_HARNESS_PORTS] = {NULL};
    const tensor *constants[OP_HARNESS_PORTS] = {NULL};
    const graph_dim *contents[OP_HARNESS_PORTS] = {NULL};
    int32_t content_counts[OP_HARNESS_PORTS] = {0};
    op_shapes s = {.g = &h->g, .node = &h->node, .inputs = inputs, .constants = constants};

    for (int i = 0; i < h->input_count; i++) {
        types[i] = type_of(&h->inputs[i], known);
        inputs[i] = h->present[i] ? &types[i] : NULL;
        if (known == KNOWS_VALUES && h->present[i] && h->inputs[i].kind == SPRY_VALUE_TENSOR) {
            constants[i] = &h->inputs[i].tensor;
        }
    }
    memset(h->types, 0, sizeof h->types);
    memset(h->contents, 0, sizeof h->contents);
    s.contents = contents;
    s.content_counts = content_counts;
    s.outputs = h->types;
    s.output_contents = h->contents;
    s.output_content_counts = h->content_counts;
    s.input_count = h->input_count;
    s.output_count = h->output_count;
    s.error = &h->error;
    return h->node.op->infer(&s);
}

static void set_ports(op_harness *h, int output_count)
{
    static int32_t ports[OP_HARNESS_PORTS];

    assert_true(output_count <= OP_HARNESS_PORTS);
    h->output_count = output_count;
    for (int i = 0; i < OP_HARNESS_PORTS; i++) {
        ports[i] = i;
    }
    h->node.inputs = ports;
    h->node.outputs = ports;
    h->node.input_count = h->input_count;
    h->node.output_count = output_count;
}

spry_status op_harness_infer(op_harness *h, int output_count)
{
    spry_status status;

    set_ports(h, output_count);
    status = find(h);
    return status != SPRY_OK ? status : infer(h, h->hide_constants ? KNOWS_SHAPES : KNOWS_VALUES);
}

/* What the rule said of output `i` must be true of the result. */
static void check_type(const op_harness *h, int i)
{
    const graph_type *type = &h->types[i];
    const value *v = &h->outputs[i];

    if (type->kind == GRAPH_TYPE_UNKNOWN || v->kind == SPRY_VALUE_NONE) {
        return;
    }
    assert_int_equal(type->kind == GRAPH_TYPE_TENSOR, v->kind == SPRY_VALUE_TENSOR);
    if (type->kind != GRAPH_TYPE_TENSOR) {
        return;
    }
    if (type->dtype != SPRY_DTYPE_NONE) {
        assert_string_equal(spry_dtype_name(type->dtype), spry_dtype_name(v->tensor.dtype));
    }
    if (h->contents[i] != NULL) {
        assert_int_equal(h->content_counts[i], tensor_count(&v->tensor));
    }
    for (int k = 0; h->contents[i] != NULL && k < h->content_counts[i]; k++) {
        if (h->contents[i][k].size >= 0) {
            assert_int_equal(h->contents[i][k].size, convert_get_i64(&v->tensor, k));
        }
    }
    if (!type->has_rank) {
        return;
    }
    assert_int_equal(type->rank, v->tensor.rank);
    for (int d = 0; d < type->rank; d++) {
        if (type->dims[d].size >= 0) {
            assert_int_equal(type->dims[d].size, v->tensor.shape[d]);
        }
    }
}

/* ---- runs ---- */

static spry_status run_into(op_harness *h, const value *const *inputs, value *outputs,
                            threads *team)
{
    value *wanted[OP_HARNESS_PORTS];
    arena scratch;
    op_call call = {.g = &h->g, .node = &h->node, .inputs = inputs, .outputs = wanted};
    spry_status status;

    for (int i = 0; i < h->output_count; i++) {
        wanted[i] = &outputs[i];
    }
    arena_init(&scratch, NULL, (size_t)1 << 30);
    call.input_count = h->input_count;
    call.output_count = h->output_count;
    call.scratch = &scratch;
    call.text = &h->memory;
    call.team = team;
    call.seed = h->seed;
    call.host = &h->host;
    call.error = &h->error;
    status = h->node.op->run(&call);
    arena_fini(&scratch);
    return status;
}

static void assert_same_tensor(const tensor *a, const tensor *b)
{
    assert_int_equal(a->dtype, b->dtype);
    assert_true(tensor_same_shape(a, b));
    if (a->dtype != SPRY_DTYPE_STRING) {
        assert_int_equal(a->bytes, b->bytes);
        assert_memory_equal(a->data, b->data, a->bytes);
        return;
    }
    for (int64_t i = 0; i < tensor_count(a); i++) {
        const spry_text *x = (const spry_text *)a->data + i;
        const spry_text *y = (const spry_text *)b->data + i;

        assert_int_equal(x->size, y->size);
        assert_memory_equal(x->data, y->data, x->size);
    }
}

/* Again with memory that the plan chose: garbage in new buffers, or (over >= 0) a copy of input
 * `over` that output 0 overwrites. */
static void run_planned(op_harness *h, int over, threads *team)
{
    const value *inputs[OP_HARNESS_PORTS];
    value planned[OP_HARNESS_PORTS];
    value copy;

    value_init(&copy, NULL);
    for (int i = 0; i < h->input_count; i++) {
        inputs[i] = h->present[i] ? &h->inputs[i] : NULL;
    }
    for (int i = 0; i < h->output_count; i++) {
        const tensor *t = &h->outputs[i].tensor;

        value_init(&planned[i], NULL);
        if (h->outputs[i].kind != SPRY_VALUE_TENSOR) {
            continue;
        }
        planned[i].kind = SPRY_VALUE_TENSOR;
        if (over >= 0 && i == 0) {
            copy.kind = SPRY_VALUE_TENSOR;
            assert_int_equal(
                tensor_init_copy(&copy.tensor, NULL, &h->inputs[over].tensor, &h->error), SPRY_OK);
            inputs[over] = &copy;
            tensor_init_view(&planned[0].tensor, &copy.tensor);
        } else {
            assert_int_equal(
                tensor_init_owned(&planned[i].tensor, NULL, t->dtype, t->rank, t->shape, &h->error),
                SPRY_OK);
            if (t->dtype != SPRY_DTYPE_STRING && (spry_dtype_bits(t->dtype) >= 8)) {
                memset(planned[i].tensor.data, 0xab, t->bytes);
            }
        }
    }
    assert_int_equal(run_into(h, inputs, planned, team), SPRY_OK);
    for (int i = 0; i < h->output_count; i++) {
        if (h->outputs[i].kind == SPRY_VALUE_TENSOR) {
            assert_same_tensor(&planned[i].tensor, &h->outputs[i].tensor);
        }
        value_fini(&planned[i]);
    }
    value_fini(&copy);
}

static bool may_overwrite(const op_harness *h, int i)
{
    return h->present[i] && h->inputs[i].kind == SPRY_VALUE_TENSOR && h->output_count > 0 &&
           h->outputs[0].kind == SPRY_VALUE_TENSOR &&
           h->inputs[i].tensor.dtype == h->outputs[0].tensor.dtype &&
           h->inputs[i].tensor.dtype != SPRY_DTYPE_STRING &&
           tensor_same_shape(&h->inputs[i].tensor, &h->outputs[0].tensor);
}

spry_status op_harness_try(op_harness *h, int output_count)
{
    const value *inputs[OP_HARNESS_PORTS];
    spry_status status = op_harness_infer(h, output_count);
    threads *team;

    for (int i = 0; i < h->input_count; i++) {
        inputs[i] = h->present[i] ? &h->inputs[i] : NULL;
    }
    for (int i = 0; i < OP_HARNESS_PORTS; i++) {
        value_fini(&h->outputs[i]);
    }
    status = status == SPRY_OK ? run_into(h, inputs, h->outputs, threads_single()) : status;
    if (status != SPRY_OK) {
        return status;
    }
    for (int known = KNOWS_NOTHING; known <= KNOWS_VALUES; known++) {
        if (infer(h, (knowledge)known) != SPRY_OK) {
            fail_msg("%s: the shape rule fails, the kernel does not: %s", h->node.type,
                     h->error.what);
        }
        for (int i = 0; i < output_count; i++) {
            check_type(h, i);
        }
    }
    assert_int_equal(threads_create(NULL, THREADS, &team, &h->error), SPRY_OK);
    run_planned(h, -1, team);
    for (int i = 0; i < h->input_count && (h->node.op->flags & OP_IN_PLACE) != 0; i++) {
        if (may_overwrite(h, i)) {
            run_planned(h, i, team);
        }
    }
    threads_destroy(team);
    return SPRY_OK;
}

void op_harness_run(op_harness *h, int output_count)
{
    if (op_harness_try(h, output_count) != SPRY_OK) {
        fail_msg("%s (opset %d): %s", h->node.type, (int)h->node.opset, h->error.what);
    }
}

/* ---- results ---- */

const tensor *op_harness_output(const op_harness *h, int i)
{
    assert_true(i < h->output_count && h->outputs[i].kind == SPRY_VALUE_TENSOR);
    return &h->outputs[i].tensor;
}

float op_harness_f32_at(const op_harness *h, int i, int64_t index)
{
    return (float)convert_get_f64(op_harness_output(h, i), index);
}

double op_harness_f64_at(const op_harness *h, int i, int64_t index)
{
    return convert_get_f64(op_harness_output(h, i), index);
}

int64_t op_harness_i64_at(const op_harness *h, int i, int64_t index)
{
    return convert_get_i64(op_harness_output(h, i), index);
}

void op_harness_expect(const op_harness *h, int i, spry_dtype dtype, int rank, const int64_t *shape)
{
    const tensor *t = op_harness_output(h, i);

    assert_string_equal(spry_dtype_name(t->dtype), spry_dtype_name(dtype));
    assert_int_equal(t->rank, rank);
    for (int d = 0; d < rank; d++) {
        assert_int_equal(t->shape[d], shape[d]);
    }
}

void op_harness_expect_f64(const op_harness *h, int i, const double *expected, double tolerance)
{
    const tensor *t = op_harness_output(h, i);

    for (int64_t k = 0; k < tensor_count(t); k++) {
        double actual = convert_get_f64(t, k);
        double allowed = tolerance * (1.0 + fabs(expected[k]));

        if (actual == expected[k] || (isnan(actual) && isnan(expected[k]))) {
            continue;
        }
        if (!(fabs(actual - expected[k]) <= allowed)) {
            fail_msg("%s: element %lld of output %d is %.17g, expected %.17g", h->node.type,
                     (long long)k, i, actual, expected[k]);
        }
    }
}

void op_harness_expect_i64(const op_harness *h, int i, const int64_t *expected)
{
    const tensor *t = op_harness_output(h, i);

    for (int64_t k = 0; k < tensor_count(t); k++) {
        int64_t actual = convert_get_i64(t, k);

        if (actual != expected[k]) {
            fail_msg("%s: element %lld of output %d is %lld, expected %lld", h->node.type,
                     (long long)k, i, (long long)actual, (long long)expected[k]);
        }
    }
}
