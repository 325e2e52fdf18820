/* Random tensors, and Dropout. Every element has its own place in a counter-based stream, keyed by
 * the node's `seed` attribute or the run's seed: the same numbers for any number of threads. */
#include <math.h>
#include <string.h>

#include "ops/broadcast.h"
#include "ops/families.h"
#include "ops/lines.h"
#include "spry/random.h"

typedef enum random_kind { RANDOM_NORMAL, RANDOM_UNIFORM, RANDOM_BERNOULLI } random_kind;

typedef struct random_row {
    random_kind kind;
    bool like; /* shape from input 0 instead of an attribute */
} random_row;

enum { NORMAL_WORDS = 4, UNIFORM_WORDS = 2 }; /* of the stream, per element */

static uint64_t seed_of(const op_call *call)
{
    const graph_attribute *a = graph_attribute_find(call->node, "seed");

    if (a != NULL && a->kind == GRAPH_ATTRIBUTE_FLOAT) {
        return dtype_bits_of_f32(a->as.floats[0]);
    }
    return a != NULL && a->kind == GRAPH_ATTRIBUTE_INT ? (uint64_t)a->as.ints[0] : call->seed;
}

static spry_random at_element(uint64_t seed, int64_t element, int words)
{
    spry_random r = spry_random_stream(seed, 0);

    spry_random_seek(&r, (uint64_t)element * (uint64_t)words);
    return r;
}

/* ---- RandomNormal, RandomUniform, their Like forms, Bernoulli ---- */

typedef struct noise {
    random_kind kind;
    const tensor *chances; /* of Bernoulli */
    tensor *to;
    uint64_t seed;
    double a, b; /* mean and deviation, or low and high */
} noise;

static void fill_block(const noise *w, int64_t start, int64_t n)
{
    double block[CONVERT_BLOCK];
    spry_random r =
        at_element(w->seed, start, w->kind == RANDOM_NORMAL ? NORMAL_WORDS : UNIFORM_WORDS);

    if (w->kind == RANDOM_BERNOULLI) {
        convert_read_f64(w->chances, start, n, block);
    }
    for (int64_t i = 0; i < n; i++) {
        switch (w->kind) {
        case RANDOM_NORMAL: block[i] = w->a + w->b * spry_random_normal(&r); break;
        case RANDOM_UNIFORM: block[i] = w->a + (w->b - w->a) * spry_random_f64(&r); break;
        case RANDOM_BERNOULLI: block[i] = spry_random_f64(&r) < block[i]; break;
        }
    }
    convert_write_f64(w->to, start, n, block);
}

static void fill_piece(void *context, int64_t begin, int64_t end, int worker)
{
    (void)worker;
    for (int64_t start = begin; start < end; start += CONVERT_BLOCK) {
        fill_block(context, start, end - start < CONVERT_BLOCK ? end - start : CONVERT_BLOCK);
    }
}

/* The attribute's type, else input 0's, else f32. */
static spry_dtype random_dtype(const graph_node *node, spry_dtype like)
{
    int64_t named = graph_attribute_int(node, "dtype", SPRY_DTYPE_NONE);

    if (named > SPRY_DTYPE_NONE && named < SPRY_DTYPE_COUNT) {
        return (spry_dtype)named;
    }
    return like != SPRY_DTYPE_NONE ? like : SPRY_DTYPE_F32;
}

static spry_status run_random(op_call *call)
{
    const random_row *row = op_of_node(call->node)->detail;
    const tensor *like = row->like ? op_call_input(call, 0) : NULL;
    noise w = {.kind = row->kind, .chances = like, .seed = seed_of(call)};
    int64_t rank;
    const int64_t *shape = graph_attribute_ints(call->node, "shape", &rank);
    bool normal = row->kind == RANDOM_NORMAL;
    spry_status status;

    if ((row->like && like == NULL) || rank > SPRY_TENSOR_MAX_RANK) {
        return op_call_fail(call, SPRY_BAD_INPUT, "there is no shape");
    }
    w.a = (double)graph_attribute_float(call->node, normal ? "mean" : "low", 0.0f);
    w.b = (double)graph_attribute_float(call->node, normal ? "scale" : "high", 1.0f);
    if (row->like) {
        rank = like->rank;
        shape = like->shape;
    }
    status = op_call_output(call, 0,
                            random_dtype(call->node, like != NULL ? like->dtype : SPRY_DTYPE_NONE),
                            (int)rank, shape, &w.to);
    if (status == SPRY_OK && w.to != NULL) {
        threads_for(call->team, tensor_count(w.to), BROADCAST_GRAIN, fill_piece, &w);
    }
    return status;
}

static spry_status infer_random(op_shapes *s)
{
    const random_row *row = op_of_node(s->node)->detail;
    const graph_type *like = op_shapes_input(s, 0);
    graph_dim dims[SPRY_TENSOR_MAX_RANK];
    int64_t rank;
    const int64_t *shape = graph_attribute_ints(s->node, "shape", &rank);

    if (row->like) {
        if (like != NULL && like->kind == GRAPH_TYPE_TENSOR) {
            op_shapes_copy(s, 0, 0);
            s->outputs[0].dtype = random_dtype(s->node, like->dtype);
        }
        return SPRY_OK;
    }
    if (rank > SPRY_TENSOR_MAX_RANK) {
        return op_shapes_fail(s, "the shape has %lld axes", (long long)rank);
    }
    for (int64_t d = 0; d < rank; d++) {
        dims[d] = (graph_dim){.size = shape[d]};
        if (shape[d] < 0) {
            return op_shapes_fail(s, "the shape has a negative size");
        }
    }
    op_shapes_set(s, 0, random_dtype(s->node, SPRY_DTYPE_NONE), (int)rank, dims);
    return SPRY_OK;
}

/* ---- Multinomial ---- */

/* Draws from one row of logarithms of unnormalised chances. */
static void draw_row(const tensor *chances, int64_t row, int64_t samples, spry_random *r,
                     tensor *to)
{
    int64_t classes = chances->shape[1];
    double largest = -(double)INFINITY;
    double sum = 0.0;

    for (int64_t c = 0; c < classes; c++) {
        double x = convert_get_f64(chances, row * classes + c);

        largest = x > largest ? x : largest;
    }
    for (int64_t c = 0; c < classes; c++) {
        sum += exp(convert_get_f64(chances, row * classes + c) - largest);
    }
    for (int64_t i = 0; i < samples; i++) {
        double left = spry_random_f64(r) * sum;
        int64_t chosen = 0;

        for (; chosen + 1 < classes; chosen++) {
            left -= exp(convert_get_f64(chances, row * classes + chosen) - largest);
            if (left < 0.0) {
                break;
            }
        }
        convert_write_i64(to, row * samples + i, 1, &chosen);
    }
}

static spry_status run_multinomial(op_call *call)
{
    const tensor *chances = op_call_input(call, 0);
    int64_t samples = graph_attribute_int(call->node, "sample_size", 1);
    int64_t dtype = graph_attribute_int(call->node, "dtype", SPRY_DTYPE_I32);
    tensor *to;
    spry_status status;

    if (chances == NULL || chances->rank != 2 || chances->shape[1] == 0 || samples < 0 ||
        (dtype != SPRY_DTYPE_I32 && dtype != SPRY_DTYPE_I64)) {
        return op_call_fail(call, SPRY_BAD_INPUT, "there is nothing to draw from");
    }
    status = op_call_output(call, 0, (spry_dtype)dtype, 2,
                            (const int64_t[]){chances->shape[0], samples}, &to);
    for (int64_t row = 0; status == SPRY_OK && to != NULL && row < chances->shape[0]; row++) {
        spry_random r = spry_random_stream(seed_of(call), (uint64_t)row);

        draw_row(chances, row, samples, &r, to);
    }
    return status;
}

static spry_status infer_multinomial(op_shapes *s)
{
    const graph_type *chances = op_shapes_ranked(s, 0);
    int64_t samples = graph_attribute_int(s->node, "sample_size", 1);
    int64_t dtype = graph_attribute_int(s->node, "dtype", SPRY_DTYPE_I32);
    graph_dim dims[2] = {{.size = -1}, {.size = samples}};

    if ((chances != NULL && chances->rank != 2) || samples < 0 ||
        (dtype != SPRY_DTYPE_I32 && dtype != SPRY_DTYPE_I64)) {
        return op_shapes_fail(s, "the chances are no matrix, or attributes out of range");
    }
    dims[0] = chances != NULL ? chances->dims[0] : dims[0];
    op_shapes_set(s, 0, (spry_dtype)dtype, 2, dims);
    return SPRY_OK;
}

/* ---- Dropout ---- */

typedef struct dropout_row {
    bool typed_mask; /* the mask has the data's type, not bool */
    bool trains;     /* ratio and training mode are inputs */
} dropout_row;

typedef struct dropout {
    const tensor *from;
    tensor *to;   /* may be NULL */
    tensor *mask; /* may be NULL */
    uint64_t seed;
    double ratio; /* 0: nothing is dropped */
} dropout;

static void drop_piece(void *context, int64_t begin, int64_t end, int worker)
{
    const dropout *d = context;
    double block[CONVERT_BLOCK];
    double kept[CONVERT_BLOCK];
    double scale = d->ratio < 1.0 ? 1.0 / (1.0 - d->ratio) : 0.0;

    (void)worker;
    for (int64_t start = begin; start < end; start += CONVERT_BLOCK) {
        int64_t n = end - start < CONVERT_BLOCK ? end - start : CONVERT_BLOCK;
        spry_random r = at_element(d->seed, start, UNIFORM_WORDS);

        convert_read_f64(d->from, start, n, block);
        for (int64_t i = 0; i < n; i++) {
            kept[i] = d->ratio == 0.0 || spry_random_f64(&r) >= d->ratio;
            block[i] = kept[i] != 0.0 ? block[i] * scale : 0.0;
        }
        if (d->to != NULL) {
            convert_write_f64(d->to, start, n, block);
        }
        if (d->mask != NULL) {
            convert_write_f64(d->mask, start, n, kept);
        }
    }
}

static spry_status run_dropout(op_call *call)
{
    const dropout_row *row = op_of_node(call->node)->detail;
    dropout d = {.from = op_call_input(call, 0), .seed = seed_of(call)};
    spry_status status;

    if (d.from == NULL) {
        return op_call_fail(call, SPRY_BAD_INPUT, "input 0 is missing");
    }
    if (row->trains && op_call_scalar(call, 2, 0.0) != 0.0) {
        d.ratio = op_call_scalar(call, 1, 0.5);
    }
    if (!(d.ratio >= 0.0 && d.ratio <= 1.0)) {
        return op_call_fail(call, SPRY_BAD_INPUT, "the ratio %g is no probability", d.ratio);
    }
    status = op_call_output_like(call, 0, d.from->dtype, d.from, &d.to);
    if (status == SPRY_OK) {
        status = op_call_output_like(call, 1, row->typed_mask ? d.from->dtype : SPRY_DTYPE_BOOL,
                                     d.from, &d.mask);
    }
    if (status == SPRY_OK) {
        threads_for(call->team, tensor_count(d.from), BROADCAST_GRAIN, drop_piece, &d);
    }
    return status;
}

static spry_status infer_dropout(op_shapes *s)
{
    const dropout_row *row = op_of_node(s->node)->detail;
    const graph_type *x = op_shapes_input(s, 0);

    op_shapes_copy(s, 0, 0);
    op_shapes_copy(s, 1, 0);
    if (s->output_count > 1 && x != NULL && x->kind == GRAPH_TYPE_TENSOR && !row->typed_mask) {
        s->outputs[1].dtype = SPRY_DTYPE_BOOL;
    }
    return SPRY_OK;
}

#define RANDOM(NAME, SINCE, TYPES, KIND, LIKE)                                              \
    {                                                                                       \
        .name = (NAME), .domain = "", .since = (SINCE), .min_inputs = (LIKE),               \
        .max_inputs = (LIKE), .min_outputs = 1, .max_outputs = 1, .flags = OP_RANDOM,       \
        .types = {TYPES}, .infer = infer_random, .run = run_random, .cost = broadcast_cost, \
        .detail = &((const random_row){KIND, (LIKE) != 0})                                  \
    }
#define DROPOUT(SINCE, INPUTS, TYPED_MASK)                                          \
    {                                                                               \
        .name = "Dropout", .domain = "", .since = (SINCE), .min_inputs = 1,         \
        .max_inputs = (INPUTS), .min_outputs = 1, .max_outputs = 2,                 \
        .flags = OP_RANDOM | OP_IN_PLACE, .types = {OP_FLOATS, OP_FLOATS, OP_BOOL}, \
        .infer = infer_dropout, .run = run_dropout, .cost = broadcast_cost,         \
        .detail = &((const dropout_row){TYPED_MASK, (INPUTS) == 3})                 \
    }

/* clang-format off */
const op ops_random[] = {
    RANDOM("Bernoulli", 15, OP_FLOATS, RANDOM_BERNOULLI, 1),
    DROPOUT(7, 1, true),
    DROPOUT(10, 1, false),
    DROPOUT(12, 3, false),
    {.name = "Multinomial", .domain = "", .since = 7, .min_inputs = 1, .max_inputs = 1,
     .min_outputs = 1, .max_outputs = 1, .flags = OP_RANDOM, .types = {OP_FLOATS},
     .infer = infer_multinomial, .run = run_multinomial, .cost = broadcast_cost},
    RANDOM("RandomNormal", 1, 0, RANDOM_NORMAL, 0),
    RANDOM("RandomNormalLike", 1, 0, RANDOM_NORMAL, 1),
    RANDOM("RandomUniform", 1, 0, RANDOM_UNIFORM, 0),
    RANDOM("RandomUniformLike", 1, 0, RANDOM_UNIFORM, 1),
    {.name = NULL},
};
/* clang-format on */
