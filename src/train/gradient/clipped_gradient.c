/* Norms per example from what a node reads and the derivative by what it gives. */
#include "train/gradient/clipped_gradient.h"

#include <string.h>

#include "base/alloc.h"
#include "model/infer.h"
#include "train/emit.h"
#include "train/gradient/gradient.h"
#include "train/gradient/weight_readers.h"

typedef struct builder {
    graph *g;
    const clipped_request *r;
    emitter e;
    weight_readers readers;
    int32_t *each;   /* per weight: its gradient by each example, where that is kept; GRAPH_NONE */
    int32_t squares; /* f32 [batch]: the sum so far */
    spry_error *error;
} builder;

static spry_status refuse(const builder *b, int32_t node, const char *why)
{
    return weight_readers_refuse(b->g, node, why, b->error);
}

/* ---- D of every reader ---- */

static spry_status find_derivatives(builder *b)
{
    size_t count = (size_t)b->readers.count + 1;
    int32_t *outputs = arena_array(b->g->memory, count, sizeof *outputs);
    int32_t *derivatives = arena_array(b->g->memory, count, sizeof *derivatives);
    gradient_request request = {
        .value = b->r->loss, .seed = GRAPH_NONE, .of = outputs, .count = b->readers.count};
    spry_status status;

    if (outputs == NULL || derivatives == NULL) {
        return alloc_failed(b->error, count * sizeof *outputs);
    }
    for (int32_t i = 0; i < b->readers.count; i++) {
        outputs[i] = b->readers.items[i].output;
    }
    status = gradient_build(b->g, &request, derivatives, b->error);
    for (int32_t i = 0; i < b->readers.count; i++) {
        b->readers.items[i].dy = derivatives[i];
    }
    return status == SPRY_OK ? infer_graph(b->g, b->error) : status;
}

/* ---- norms ---- */

static const graph_type *type_of(const builder *b, int32_t value)
{
    return &b->g->values[value].type;
}

static int64_t count_of(const graph_type *type, int first)
{
    int64_t count = 1;

    for (int i = first; i < type->rank; i++) {
        count *= type->dims[i].size;
    }
    return count;
}

/* The weight, where `id` is the weight itself: its gradients may then be kept. */
static int32_t weight_at(const builder *b, int32_t weight, int32_t id)
{
    return weight != GRAPH_NONE && b->r->of[weight] == id ? weight : GRAPH_NONE;
}

/* [batch, rows, n] -> [batch]: the squares of the sums over the rows, of `a` or of `a` times `by`,
 * which are the gradients by `weight` (GRAPH_NONE: not kept). */
static int32_t sum_squares(builder *b, int32_t a, int32_t by, int64_t rows, int64_t n,
                           int32_t weight)
{
    const int64_t shape[3] = {b->r->batch, rows, n};
    bool is_plain = rows == 1 && by == GRAPH_NONE;
    int32_t inputs[2];
    int32_t made[2] = {GRAPH_NONE, GRAPH_NONE};

    inputs[0] = emit_reshape(&b->e, a, 3, shape);
    inputs[1] = by != GRAPH_NONE ? emit_reshape(&b->e, by, 3, shape) : GRAPH_NONE;
    (void)emit_own(&b->e, "SumSquares", by != GRAPH_NONE ? 2 : 1, inputs,
                   weight != GRAPH_NONE && !is_plain ? 2 : 1, made);
    if (weight != GRAPH_NONE) {
        b->each[weight] = is_plain ? inputs[0] : made[1];
    }
    return made[0];
}

static void add_squares(builder *b, int32_t squares)
{
    b->squares =
        b->squares == GRAPH_NONE ? squares : emit_binary(&b->e, "Add", b->squares, squares);
}

/* What lies over the axes of the weight `like` after broadcasting: the derivative by a weight that
 * was added, per example. Gives the norm of `a`, of the output's shape, times `by` (GRAPH_NONE:
 * ones), summed over the others. */
static spry_status add_broadcast(builder *b, int32_t node, int32_t a, int32_t by, int32_t like,
                                 int32_t weight)
{
    const graph_type *wide = type_of(b, b->g->nodes[node].outputs[0]);
    const graph_type *narrow = type_of(b, like);
    int lead = wide->rank - narrow->rank;
    int64_t size = count_of(narrow, 0);
    int64_t each = count_of(wide, 1);
    int64_t axes[SPRY_TENSOR_MAX_RANK];
    int64_t count = 0;
    bool is_in_front = true; /* what is summed over */

    if (wide->rank < 1 || lead < 0 || wide->dims[0].size != b->r->batch ||
        (lead == 0 && narrow->dims[0].size != 1)) {
        return refuse(b, node, "its examples do not lie along the first axis");
    }
    for (int i = 1; i < wide->rank; i++) {
        if (i < lead || narrow->dims[i - lead].size == 1) {
            is_in_front = is_in_front && count == i - 1;
            axes[count++] = i;
        }
    }
    if (is_in_front) {
        add_squares(b, sum_squares(b, a, by, size > 0 ? each / size : 0, size, weight));
        return SPRY_OK;
    }
    a = by != GRAPH_NONE ? emit_binary(&b->e, "Mul", a, by) : a;
    a = emit_reduce(&b->e, "ReduceSum", a, count, axes, true);
    add_squares(b, sum_squares(b, a, GRAPH_NONE, 1, size, weight));
    return SPRY_OK;
}

/* Are the gradients of `count` numbers no more than the numbers that they are made of? They are
 * then kept, which is faster than to make their sum anew. */
static bool is_worth_keeping(int64_t count, int64_t made_of)
{
    return count <= made_of;
}

/* X [batch, rows, in], D [batch, rows, out]. */
static void add_product(builder *b, int32_t x, int32_t dy, int64_t rows, int64_t in, int64_t out,
                        int32_t weight)
{
    int32_t inputs[2];
    int32_t made[2] = {GRAPH_NONE, GRAPH_NONE};
    bool keeps = weight != GRAPH_NONE && is_worth_keeping(in * out, rows * (in + out));

    inputs[0] = emit_reshape(&b->e, x, 3, (const int64_t[]){b->r->batch, rows, in});
    inputs[1] = emit_reshape(&b->e, dy, 3, (const int64_t[]){b->r->batch, rows, out});
    (void)emit_own(&b->e, "ProductSquares", 2, inputs, keeps ? 2 : 1, made);
    add_squares(b, made[0]);
    if (keeps) {
        b->each[weight] = made[1];
    }
}

/* Columns [first, first + count) of the last axis, which has `all`. */
static int32_t take_columns(builder *b, int32_t a, int64_t first, int64_t count, int64_t all)
{
    const int64_t last = -1;
    const int64_t end = first + count;
    int32_t inputs[4] = {a};

    if (count == all) {
        return a;
    }
    inputs[1] = emit_ints(&b->e, 1, &first);
    inputs[2] = emit_ints(&b->e, 1, &end);
    inputs[3] = emit_ints(&b->e, 1, &last);
    return emit_node(&b->e, "Slice", 4, inputs);
}

static spry_status matmul_norms(builder *b, const weight_reader *r)
{
    const graph_node *n = &b->g->nodes[r->node];
    const graph_type x = *type_of(b, n->inputs[0]);
    const graph_type w = *type_of(b, n->inputs[1]);
    const int32_t from = n->inputs[0];
    int64_t rows;

    if (r->weight[0] != GRAPH_NONE || w.rank != 2 || x.rank < 2 || x.dims[0].size != b->r->batch) {
        return refuse(b, r->node, "the weight is no matrix behind examples along the first axis");
    }
    rows = count_of(&x, 1) / x.dims[x.rank - 1].size;
    if (r->parts == GRAPH_NONE) {
        add_product(b, from, r->dy, rows, w.dims[0].size, w.dims[1].size,
                    weight_at(b, r->weight[1], n->inputs[1]));
    }
    for (int32_t i = r->parts; i != GRAPH_NONE; i = b->readers.windows[i].next) {
        const weight_window *p = &b->readers.windows[i];

        add_product(b, take_columns(b, from, p->row, p->rows, w.dims[0].size),
                    take_columns(b, r->dy, p->column, p->columns, w.dims[1].size), rows, p->rows,
                    p->columns, weight_at(b, p->weight, p->value));
    }
    return SPRY_OK;
}

static spry_status gemm_norms(builder *b, const weight_reader *r)
{
    const graph_node n = b->g->nodes[r->node];
    const graph_type x = *type_of(b, n.inputs[0]);
    float alpha = graph_attribute_float(&n, "alpha", 1.0f);
    float beta = graph_attribute_float(&n, "beta", 1.0f);

    if (r->weight[0] != GRAPH_NONE || graph_attribute_int(&n, "transA", 0) != 0 ||
        x.dims[0].size != b->r->batch || alpha != 1.0f || beta != 1.0f) {
        return refuse(b, r->node, "it scales, or its examples do not lie along the first axis");
    }
    if (r->weight[1] != GRAPH_NONE) {
        add_product(b, n.inputs[0], r->dy, 1, x.dims[1].size, count_of(type_of(b, r->dy), 1),
                    GRAPH_NONE);
    }
    return r->weight[2] != GRAPH_NONE ? add_broadcast(b, r->node, r->dy, GRAPH_NONE, n.inputs[2],
                                                      weight_at(b, r->weight[2], n.inputs[2]))
                                      : SPRY_OK;
}

/* The weights' derivative of each example: a convolution whose groups are examples. */
static int32_t conv_weights(builder *b, const graph_node *n, int32_t dy)
{
    static const char *const kept[] = {"strides", "dilations", "pads", "kernel_shape", "auto_pad"};
    emitter *e = &b->e;
    const graph_type x = *type_of(b, n->inputs[0]);
    const graph_type y = *type_of(b, dy);
    int64_t wide[SPRY_TENSOR_MAX_RANK];
    int64_t narrow[SPRY_TENSOR_MAX_RANK];
    int32_t inputs[2];
    int32_t share;

    for (int i = 0; i < x.rank; i++) {
        wide[i] = x.dims[i].size;
        narrow[i] = y.dims[i].size;
    }
    wide[1] *= wide[0];
    narrow[1] *= narrow[0];
    wide[0] = narrow[0] = 1;
    inputs[0] = emit_reshape(e, n->inputs[0], x.rank, wide);
    inputs[1] = emit_reshape(e, dy, y.rank, narrow);
    (void)emit_own(e, "ConvWeightGradient", 2, inputs, 1, &share);
    for (size_t i = 0; i < sizeof kept / sizeof *kept && e->status == SPRY_OK; i++) {
        const graph_attribute *a = graph_attribute_find(n, kept[i]);

        if (a != NULL) {
            e->status = graph_set_attribute(e->g, e->g->values[share].producer, a, e->error);
        }
    }
    emit_set_int(e, share, "group", graph_attribute_int(n, "group", 1) * b->r->batch);
    return share;
}

/* The norm of the sums over everything but examples and channels (axis 1) of `a`. */
static void add_channels(builder *b, int32_t a, int64_t channels, int32_t weight)
{
    emitter *e = &b->e;
    int32_t rows = emit_reshape(e, a, 3, (const int64_t[]){b->r->batch, channels, -1});

    add_squares(b, sum_squares(b, emit_reduce(e, "ReduceSum", rows, 1, &(int64_t){2}, false),
                               GRAPH_NONE, 1, channels, weight));
}

static spry_status conv_norms(builder *b, const weight_reader *r)
{
    const graph_node n = b->g->nodes[r->node];
    const graph_type w = *type_of(b, n.inputs[1]);
    int64_t kernel[SPRY_TENSOR_MAX_RANK];
    bool keeps;

    if (type_of(b, n.inputs[0])->dims[0].size != b->r->batch) {
        return refuse(b, r->node, "its examples do not lie along the first axis");
    }
    if (r->weight[1] != GRAPH_NONE) {
        int32_t share = conv_weights(b, &n, r->dy);

        for (int i = 2; i < w.rank; i++) {
            kernel[i - 2] = w.dims[i].size;
        }
        emit_set_ints(&b->e, share, "kernel_shape", w.rank - 2, kernel);
        keeps = is_worth_keeping(count_of(&w, 0), count_of(type_of(b, n.inputs[0]), 1) +
                                                      count_of(type_of(b, r->dy), 1));
        add_squares(b, sum_squares(b, share, GRAPH_NONE, 1, count_of(&w, 0),
                                   keeps ? weight_at(b, r->weight[1], n.inputs[1]) : GRAPH_NONE));
    }
    if (r->weight[2] != GRAPH_NONE) {
        add_channels(b, r->dy, type_of(b, r->dy)->dims[1].size,
                     weight_at(b, r->weight[2], n.inputs[2]));
    }
    return SPRY_OK;
}

/* With running statistics: y = scale n(x) + bias per channel. */
static spry_status batch_norm_norms(builder *b, const weight_reader *r)
{
    const graph_node n = b->g->nodes[r->node];
    const graph_type x = *type_of(b, n.inputs[0]);
    int64_t channels = x.rank > 1 ? x.dims[1].size : 0;
    int32_t sizes = emit_ints(&b->e, 1, &channels);
    int32_t inputs[5] = {n.inputs[0], GRAPH_NONE, GRAPH_NONE, n.inputs[3], n.inputs[4]};
    int32_t normal;

    if (graph_attribute_int(&n, "training_mode", 0) != 0) {
        return refuse(b, r->node,
                      "it mixes the examples of a batch: its statistics must be frozen");
    }
    if (x.rank < 2 || x.dims[0].size != b->r->batch) {
        return refuse(b, r->node, "its examples do not lie along the first axis");
    }
    if (r->weight[1] != GRAPH_NONE) {
        inputs[1] = emit_binary(&b->e, "Expand", emit_number(&b->e, x.dtype, 1.0), sizes);
        inputs[2] = emit_binary(&b->e, "Expand", emit_number(&b->e, x.dtype, 0.0), sizes);
        normal = emit_node(&b->e, "BatchNormalization", 5, inputs);
        emit_set_like(&b->e, normal, &n);
        add_channels(b, emit_binary(&b->e, "Mul", r->dy, normal), channels,
                     weight_at(b, r->weight[1], n.inputs[1]));
    }
    if (r->weight[2] != GRAPH_NONE) {
        add_channels(b, r->dy, channels, weight_at(b, r->weight[2], n.inputs[2]));
    }
    return SPRY_OK;
}

static spry_status add_norms(builder *b, const weight_reader *r)
{
    const graph_node n = b->g->nodes[r->node];
    spry_status status = SPRY_OK;

    for (int k = 0; k < 2 && status == SPRY_OK; k++) {
        if (r->weight[k] != GRAPH_NONE) { /* the sign of Sub is lost in squares */
            bool turns = k == 1 && graph_node_is(&n, "Sub");

            status = add_broadcast(b, r->node, r->dy, GRAPH_NONE, n.inputs[k],
                                   turns ? GRAPH_NONE : weight_at(b, r->weight[k], n.inputs[k]));
        }
    }
    return status;
}

static spry_status mul_norms(builder *b, const weight_reader *r)
{
    const graph_node n = b->g->nodes[r->node];
    spry_status status = SPRY_OK;

    for (int k = 0; k < 2 && status == SPRY_OK; k++) {
        if (r->weight[k] != GRAPH_NONE) {
            int32_t by = n.inputs[1 - k];

            if (count_of(type_of(b, by), 0) != count_of(type_of(b, r->output), 0)) {
                by = emit_expand_like(&b->e, by, r->output);
            }
            status = add_broadcast(b, r->node, r->dy, by, n.inputs[k],
                                   weight_at(b, r->weight[k], n.inputs[k]));
        }
    }
    return status;
}

/* y = scale n(x) + bias: the normalised numbers are the operator's own without scale and bias. */
static spry_status layer_norm_norms(builder *b, const weight_reader *r)
{
    const graph_node n = b->g->nodes[r->node];
    const graph_type scale = *type_of(b, n.inputs[1]);
    spry_status status = SPRY_OK;

    if (r->weight[0] != GRAPH_NONE) {
        return refuse(b, r->node, "it normalises a weight");
    }
    if (r->weight[1] != GRAPH_NONE) {
        int64_t shape[SPRY_TENSOR_MAX_RANK];
        int32_t ones = emit_number(&b->e, scale.dtype, 1.0);
        int32_t normal;

        for (int i = 0; i < scale.rank; i++) {
            shape[i] = scale.dims[i].size;
        }
        ones = emit_binary(&b->e, "Expand", ones, emit_ints(&b->e, scale.rank, shape));
        normal = emit_binary(&b->e, "LayerNormalization", n.inputs[0], ones);
        emit_set_like(&b->e, normal, &n);
        status = add_broadcast(b, r->node, r->dy, normal, n.inputs[1],
                               weight_at(b, r->weight[1], n.inputs[1]));
    }
    return status == SPRY_OK && r->weight[2] != GRAPH_NONE
               ? add_broadcast(b, r->node, r->dy, GRAPH_NONE, n.inputs[2],
                               weight_at(b, r->weight[2], n.inputs[2]))
               : status;
}

static spry_status expand_norms(builder *b, const weight_reader *r)
{
    int32_t id = b->g->nodes[r->node].inputs[0];

    return add_broadcast(b, r->node, r->dy, GRAPH_NONE, id, weight_at(b, r->weight[0], id));
}

static spry_status emit_norms(builder *b)
{
    static const struct {
        const char *type;
        spry_status (*emit)(builder *b, const weight_reader *r);
    } rules[] = {
        {"BatchNormalization", batch_norm_norms},
        {"Conv", conv_norms},
        {"Gemm", gemm_norms},
        {"MatMul", matmul_norms},
        {"Add", add_norms},
        {"Sub", add_norms},
        {"Mul", mul_norms},
        {"Expand", expand_norms},
        {"LayerNormalization", layer_norm_norms},
    };
    spry_status status = SPRY_OK;

    for (int32_t i = 0; i < b->readers.count && status == SPRY_OK; i++) {
        const weight_reader *r = &b->readers.items[i];
        size_t k = 0;

        if (r->dy == GRAPH_NONE) {
            continue;
        }
        if (r->parts != GRAPH_NONE && !graph_node_is(&b->g->nodes[r->node], "MatMul")) {
            return refuse(b, r->node, "it reads several weights as one");
        }
        while (k < sizeof rules / sizeof *rules &&
               !graph_node_is(&b->g->nodes[r->node], rules[k].type)) {
            k++;
        }
        status = k < sizeof rules / sizeof *rules
                     ? rules[k].emit(b, r)
                     : refuse(b, r->node, "no norm is known for this operator");
    }
    return status == SPRY_OK ? b->e.status : status;
}

/* ---- the clipped sums ---- */

/* c [batch]. The norm of 0 gives limit / 0, which is above 1. */
static int32_t emit_factors(builder *b)
{
    emitter *e = &b->e;
    spry_dtype dtype = type_of(b, b->r->counts)->dtype;
    int32_t norms = emit_unary(e, "Sqrt", b->squares);
    int32_t least = emit_binary(e, "Div", emit_number(e, dtype, b->r->limit), norms);

    least = emit_binary(e, "Min", least, emit_number(e, dtype, 1.0));
    return emit_binary(e, "Mul", least, b->r->counts);
}

/* D with every example times its factor. */
static int32_t scaled(builder *b, int32_t dy, int32_t factors)
{
    int64_t shape[SPRY_TENSOR_MAX_RANK];
    int rank = type_of(b, dy)->rank;

    shape[0] = b->r->batch;
    for (int i = 1; i < rank; i++) {
        shape[i] = 1;
    }
    return emit_binary(&b->e, "Mul", dy, emit_reshape(&b->e, factors, rank, shape));
}

/* Sums of the gradients that were kept. */
static void sum_kept(builder *b, int32_t factors, int32_t *gradients)
{
    for (int32_t i = 0; i < b->r->count; i++) {
        const graph_type *type = type_of(b, b->r->of[i]);
        int64_t shape[SPRY_TENSOR_MAX_RANK];
        int32_t inputs[2];
        int32_t sum = GRAPH_NONE;

        if (b->each[i] == GRAPH_NONE) {
            continue;
        }
        for (int k = 0; k < type->rank; k++) {
            shape[k] = type->dims[k].size;
        }
        inputs[0] =
            emit_reshape(&b->e, b->each[i], 2, (const int64_t[]){b->r->batch, count_of(type, 0)});
        inputs[1] = factors;
        (void)emit_own(&b->e, "WeightedSum", 2, inputs, 1, &sum);
        gradients[i] = emit_reshape(&b->e, sum, type->rank, shape);
    }
}

/* The other weights of a reader: the gradient with c D in place of D. */
static spry_status sum_reader(builder *b, weight_reader *r, int32_t factors, int32_t *list,
                              int32_t *gradients)
{
    int32_t all = weight_readers_list(&b->readers, r, list);
    int32_t *of = list + b->r->count;
    int32_t *found = of + b->r->count;
    int32_t count = 0;
    spry_status status;

    for (int32_t k = 0; k < all; k++) {
        if (b->each[list[k]] == GRAPH_NONE) {
            of[count] = b->r->of[list[k]];
            list[count++] = list[k];
        }
    }
    if (r->dy == GRAPH_NONE || count == 0) {
        return SPRY_OK;
    }
    r->dy = scaled(b, r->dy, factors);
    status = b->e.status == SPRY_OK ? infer_graph(b->g, b->error) : b->e.status;
    if (status == SPRY_OK) {
        gradient_request request = {.value = r->output, .seed = r->dy, .of = of, .count = count};

        status = gradient_build(b->g, &request, found, b->error);
    }
    for (int32_t k = 0; k < count && status == SPRY_OK; k++) {
        gradients[list[k]] = found[k];
    }
    return status;
}

static spry_status emit_sums(builder *b, int32_t *gradients)
{
    int32_t factors = emit_factors(b);
    size_t most = 3 * ((size_t)b->r->count + 1);
    int32_t *list = arena_array(b->g->memory, most, sizeof *list);
    spry_status status;

    if (list == NULL) {
        return alloc_failed(b->error, most * sizeof *list);
    }
    sum_kept(b, factors, gradients);
    status = b->e.status;
    for (int32_t i = 0; i < b->readers.count && status == SPRY_OK; i++) {
        status = sum_reader(b, &b->readers.items[i], factors, list, gradients);
    }
    return status == SPRY_OK ? infer_graph(b->g, b->error) : status;
}

spry_status clipped_gradient_build(graph *g, const clipped_request *r, int32_t *gradients,
                                   spry_error *error)
{
    builder b = {.g = g,
                 .r = r,
                 .e = {.g = g, .name = "clip", .error = error},
                 .squares = GRAPH_NONE,
                 .error = error};
    spry_status status = weight_readers_find(g, r->of, r->count, &b.readers, error);

    b.each = arena_array(g->memory, (size_t)r->count + 1, sizeof *b.each);
    if (b.each == NULL) {
        return alloc_failed(error, (size_t)r->count * sizeof *b.each);
    }
    for (int32_t i = 0; i < r->count; i++) {
        gradients[i] = GRAPH_NONE;
        b.each[i] = GRAPH_NONE;
    }
    if (status == SPRY_OK) {
        status = find_derivatives(&b);
    }
    if (status == SPRY_OK) {
        status = emit_norms(&b);
    }
    if (status == SPRY_OK && b.squares == GRAPH_NONE) {
        return SPRY_OK; /* the loss depends on no weight */
    }
    return status == SPRY_OK ? emit_sums(&b, gradients) : status;
}
