/* Attention in the com.microsoft domain, as ONNX Runtime's optimiser writes it: Attention, which
 * holds the projections too, and MultiHeadAttention.
 *
 * Keys that a mask hides get `mask_filter_value` added to their score, so a query that sees none
 * weighs them all by their scores. Not supported, and refused by name: masks of packed batches,
 * packed operands, rotary embedding inside, buffers that past and present share. */
#include <math.h>
#include <string.h>

#include "base/checked.h"
#include "ops/attention.h"
#include "ops/families.h"
#include "ops/operand.h"
#include "ops/whole.h"
#include "tensor/convert.h"

/* Ports of MultiHeadAttention. */
enum { QUERY, KEY, VALUE, BIAS, PADDING, SCORE_BIAS, PAST_KEY, PAST_VALUE };
/* Ports of Attention. */
enum { X, WEIGHTS, X_BIAS, X_MASK, X_PAST, X_SCORE_BIAS };

static spry_status refuse(const op_call *call, const char *what)
{
    return op_call_fail(call, SPRY_UNSUPPORTED, "%s is not supported", what);
}

/* ---- masks ---- */

/* Is key `j` of image `b` hidden from query `i` by a mask over `total` keys? */
static bool is_hidden(const tensor *mask, int64_t batch, int64_t rows, int64_t total, int64_t b,
                      int64_t i, int64_t j)
{
    if (mask == NULL) {
        return false;
    }
    if (mask->rank == 1) { /* where keys end, then where they start */
        bool has_start = mask->shape[0] == 2 * batch;

        return j >= convert_get_i64(mask, b) || (has_start && j < convert_get_i64(mask, batch + b));
    }
    return convert_get_i64(mask, mask->rank == 2 ? b * total + j : (b * rows + i) * total + j) <= 0;
}

static bool mask_fits(const tensor *mask, int64_t batch, int64_t rows, int64_t total)
{
    if (mask == NULL) {
        return true;
    }
    if (mask->rank == 1) {
        return mask->shape[0] == batch || mask->shape[0] == 2 * batch;
    }
    return (mask->rank == 2 || (mask->rank == 3 && mask->shape[1] == rows)) &&
           mask->shape[0] == batch && mask->shape[mask->rank - 1] == total;
}

static bool bias_fits(const attention *a, const tensor *bias)
{
    const int64_t shape[4] = {a->batch, a->q_heads, a->rows, a->total};

    for (int i = 0; bias != NULL && bias->rank == 4 && i < 4; i++) {
        if (bias->shape[i] != shape[i] && (i > 1 || bias->shape[i] != 1)) {
            return false;
        }
    }
    return bias == NULL || bias->rank == 4;
}

/* What is added to the scores: [batch][heads or 1][rows][total] in scratch memory. */
static spry_status add_masks(op_call *call, attention *a, const tensor *mask, const tensor *bias,
                             tensor *made)
{
    double filter = (double)graph_attribute_float(call->node, "mask_filter_value", -10000.0f);
    int64_t heads = bias != NULL && bias->shape[1] > 1 ? a->q_heads : 1;
    int64_t shape[4] = {a->batch, heads, a->rows, a->total};
    void *memory = NULL;
    double *to;
    spry_status status;

    a->mask = NULL;
    if (mask == NULL && bias == NULL) {
        return SPRY_OK;
    }
    if (!mask_fits(mask, a->batch, a->rows, a->total) || !bias_fits(a, bias)) {
        return refuse(call, "a mask or bias of this shape");
    }
    status = whole_room(call, a->batch * heads * a->rows, a->total, sizeof *to, &memory);
    if (status == SPRY_OK) {
        status = tensor_init(made, SPRY_DTYPE_F64, 4, shape, memory, call->error);
    }
    if (status != SPRY_OK) {
        return status;
    }
    to = memory;
    for (int64_t n = 0; n < a->batch * heads * a->rows; n++) {
        int64_t b = n / a->rows / heads;
        int64_t h = n / a->rows % heads;
        int64_t i = n % a->rows;
        int64_t row =
            bias == NULL ? 0 : ((bias->shape[0] > 1 ? b : 0) * bias->shape[1] + h) * a->rows;

        for (int64_t j = 0; j < a->total; j++) {
            double sum = bias != NULL ? convert_get_f64(bias, (row + i) * a->total + j) : 0.0;

            to[n * a->total + j] =
                is_hidden(mask, a->batch, a->rows, a->total, b, i, j) ? sum + filter : sum;
        }
    }
    a->mask = made;
    return SPRY_OK;
}

/* ---- both ---- */

static spry_status read_common(op_call *call, attention *a)
{
    float scale = graph_attribute_float(call->node, "scale", 0.0f);

    a->scale = scale != 0.0f ? (double)scale : 1.0 / sqrt((double)a->size);
    a->causal = graph_attribute_int(call->node, "unidirectional", 0) != 0;
    /* Causal: query i sees what was cached and keys up to its own. */
    a->has_past = true;
    a->stage = ATTENTION_SCORES_NONE;
    if (graph_attribute_int(call->node, "do_rotary", 0) != 0) {
        return refuse(call, "do_rotary");
    }
    return graph_attribute_int(call->node, "past_present_share_buffer", 0) != 0
               ? refuse(call, "past_present_share_buffer")
               : SPRY_OK;
}

/* Adds a bias of heads * size numbers to rows of [batch][heads][positions][size]. */
static void add_bias(const tensor *bias, int64_t first, int64_t batch, int64_t heads,
                     int64_t positions, int64_t start, int64_t size, double *to)
{
    for (int64_t n = 0; n < batch * heads * positions; n++) {
        if (n % positions < start) {
            continue; /* from the cache: has it already */
        }
        for (int64_t i = 0; i < size; i++) {
            to[n * size + i] += convert_get_f64(bias, first + n / positions % heads * size + i);
        }
    }
}

/* ---- MultiHeadAttention ---- */

static spry_status infer_multi_head(op_shapes *s)
{
    const graph_type *query = op_shapes_ranked(s, QUERY);
    const graph_type *v = op_shapes_ranked(s, VALUE);
    graph_dim dims[3];
    int64_t width;

    if (query == NULL || query->rank != 3) {
        if (op_shapes_input(s, QUERY) != NULL) {
            op_shapes_set_unranked(s, 0, op_shapes_input(s, QUERY)->dtype);
        }
        return SPRY_OK;
    }
    memcpy(dims, query->dims, sizeof dims);
    if (v != NULL && v->rank == 3) {
        dims[2] = v->dims[2];
    } else if (v == NULL || v->rank != 4 || v->dims[1].size < 0 || v->dims[3].size < 0 ||
               !checked_mul_i64(v->dims[1].size, v->dims[3].size, &width)) {
        dims[2] = operand_unknown;
    } else {
        dims[2] = (graph_dim){.size = width};
    }
    op_shapes_set(s, 0, query->dtype, 3, dims);
    op_shapes_set_unranked(s, 1, query->dtype);
    op_shapes_set_unranked(s, 2, query->dtype);
    return SPRY_OK;
}

static bool cache_fits(const tensor *past, const attention *a, int64_t size)
{
    return past == NULL ||
           (past->rank == 4 && past->shape[0] == a->batch && past->shape[1] == a->kv_heads &&
            past->shape[2] == a->past && past->shape[3] == size);
}

static spry_status read_multi_head(op_call *call, attention *a, attention_head_sizes *h)
{
    int64_t heads = graph_attribute_int(call->node, "num_heads", 0);
    const tensor *bias = op_call_input(call, BIAS);
    const tensor *past = op_call_input(call, PAST_KEY);
    int64_t queries;

    for (int i = QUERY; i <= VALUE; i++) {
        const tensor *t = op_call_input(call, i);

        if (t == NULL || t->rank == 5) {
            return refuse(call, "queries, keys and values in one operand");
        }
        if (!attention_read_heads(t->rank, t->shape, heads, &h[i]) || h[i].heads != heads ||
            t->shape[0] != op_call_input(call, QUERY)->shape[0]) {
            return op_call_fail(call, SPRY_BAD_INPUT, "input %d does not divide into heads", i);
        }
    }
    *a = (attention){.batch = op_call_input(call, QUERY)->shape[0],
                     .q_heads = heads,
                     .kv_heads = heads,
                     .rows = h[0].positions,
                     .past = past != NULL && past->rank == 4 ? past->shape[2] : 0,
                     .size = h[0].size,
                     .v_size = h[2].size};
    a->total = a->past + h[1].positions;
    if (op_call_input(call, QUERY)->rank != 3 || h[0].size != h[1].size ||
        h[1].positions != h[2].positions ||
        (past == NULL) != (op_call_input(call, PAST_VALUE) == NULL) ||
        !cache_fits(past, a, a->size) ||
        !cache_fits(op_call_input(call, PAST_VALUE), a, a->v_size) ||
        (bias != NULL && tensor_count(bias) != heads * (2 * a->size + a->v_size)) ||
        !checked_mul_i64(a->batch * heads, a->rows, &queries)) {
        return op_call_fail(call, SPRY_BAD_INPUT, "queries, keys, values and caches do not fit");
    }
    return read_common(call, a);
}

/* Keys or values with what was cached, as output `i`. */
static spry_status write_present(op_call *call, const attention *a, int i, int64_t size,
                                 const double *from)
{
    int64_t shape[4] = {a->batch, a->kv_heads, a->total, size};
    tensor *to;
    spry_status status = op_call_output(call, i, op_call_input(call, QUERY)->dtype, 4, shape, &to);

    if (status == SPRY_OK && to != NULL) {
        convert_write_f64(to, 0, tensor_count(to), from);
    }
    return status;
}

static spry_status make_multi_head_outputs(op_call *call, attention *a)
{
    int64_t shape[3] = {a->batch, a->rows, a->q_heads * a->v_size};
    spry_status status =
        op_call_output(call, 0, op_call_input(call, QUERY)->dtype, 3, shape, &a->y);

    if (status == SPRY_OK) {
        status = write_present(call, a, 1, a->size, a->k);
    }
    return status == SPRY_OK ? write_present(call, a, 2, a->v_size, a->v) : status;
}

static spry_status run_multi_head(op_call *call)
{
    const tensor *bias = op_call_input(call, BIAS);
    attention a;
    attention_head_sizes h[3];
    tensor mask;
    const double **parts[3] = {&a.q, &a.k, &a.v};
    spry_status status = read_multi_head(call, &a, h);

    for (int i = QUERY; i <= VALUE && status == SPRY_OK; i++) {
        const tensor *past = i == QUERY ? NULL : op_call_input(call, PAST_KEY + i - KEY);
        int64_t before = i == QUERY ? 0 : a.past;

        status = attention_load(call, op_call_input(call, i), past, &h[i], before, parts[i]);
        if (status == SPRY_OK && bias != NULL) {
            add_bias(bias, i * a.q_heads * a.size, a.batch, a.q_heads, before + h[i].positions,
                     before, h[i].size, (double *)(uintptr_t)*parts[i]);
        }
    }
    if (status == SPRY_OK) {
        status = add_masks(call, &a, op_call_input(call, PADDING), op_call_input(call, SCORE_BIAS),
                           &mask);
    }
    if (status == SPRY_OK) {
        status = make_multi_head_outputs(call, &a);
    }
    return status == SPRY_OK ? attention_compute(call, &a) : status;
}

/* ---- Attention ---- */

/* Columns of the weights that are queries, keys and values. */
static bool read_widths(const graph_node *n, int64_t columns, int64_t *widths)
{
    int64_t count = 0;
    const int64_t *given = graph_attribute_ints(n, "qkv_hidden_sizes", &count);

    for (int i = 0; i < 3; i++) {
        widths[i] = count == 3 ? given[i] : columns / 3;
    }
    return widths[0] > 0 && widths[0] <= columns / 2 && widths[0] == widths[1] && widths[2] > 0 &&
           widths[2] == columns - 2 * widths[0];
}

static spry_status infer_projected(op_shapes *s)
{
    const graph_type *x = op_shapes_ranked(s, X);
    const graph_type *w = op_shapes_ranked(s, WEIGHTS);
    graph_dim dims[3];
    int64_t widths[3];

    if (x == NULL || x->rank != 3) {
        if (op_shapes_input(s, X) != NULL) {
            op_shapes_set_unranked(s, 0, op_shapes_input(s, X)->dtype);
        }
        return SPRY_OK;
    }
    memcpy(dims, x->dims, sizeof dims);
    dims[2] = (graph_dim){.size = -1};
    if (w != NULL && w->rank == 2 && w->dims[1].size >= 0) {
        if (!read_widths(s->node, w->dims[1].size, widths)) {
            return op_shapes_fail(s, "the weights do not divide into queries, keys and values");
        }
        dims[2].size = widths[2];
    }
    op_shapes_set(s, 0, x->dtype, 3, dims);
    op_shapes_set_unranked(s, 1, x->dtype);
    return SPRY_OK;
}

/* One part of x W + b: columns [first, first + heads * size) as
 * to[batch][heads][start + positions][size]. */
typedef struct projection {
    const double *x, *w, *b; /* b: NULL for zeros */
    int64_t depth, columns;
    int64_t first, heads, size;
    int64_t positions, start, total;
    double *to;
} projection;

static void project(void *context, int64_t begin, int64_t end, int worker)
{
    const projection *p = context;

    (void)worker;
    for (int64_t row = begin; row < end; row++) {
        int64_t image = row / p->positions;
        int64_t position = row % p->positions + p->start;

        for (int64_t c = 0; c < p->heads * p->size; c++) {
            double sum = p->b != NULL ? p->b[p->first + c] : 0.0;

            for (int64_t k = 0; k < p->depth; k++) {
                sum += p->x[row * p->depth + k] * p->w[k * p->columns + p->first + c];
            }
            p->to[((image * p->heads + c / p->size) * p->total + position) * p->size +
                  c % p->size] = sum;
        }
    }
}

/* Copies half `which` of [2][batch][heads][past][size] before the new keys. */
static void load_past(const tensor *past, int64_t which, const projection *p, int64_t batch)
{
    int64_t rows = p->start * p->size;

    for (int64_t n = 0; n < batch * p->heads; n++) {
        convert_read_f64(past, (which * batch * p->heads + n) * rows, rows,
                         p->to + n * p->total * p->size);
    }
}

static spry_status read_projected(op_call *call, attention *a, int64_t *widths)
{
    const tensor *x = op_call_input(call, X);
    const tensor *w = op_call_input(call, WEIGHTS);
    const tensor *b = op_call_input(call, X_BIAS);
    const tensor *past = op_call_input(call, X_PAST);
    int64_t heads = graph_attribute_int(call->node, "num_heads", 0);

    if (x == NULL || w == NULL || x->rank != 3 || w->rank != 2 || w->shape[0] != x->shape[2] ||
        (b != NULL && tensor_count(b) != w->shape[1]) || heads < 1 ||
        !read_widths(call->node, w->shape[1], widths) || widths[0] % heads != 0 ||
        widths[2] % heads != 0) {
        return op_call_fail(call, SPRY_BAD_INPUT, "input, weights and heads do not fit");
    }
    if (call->input_count > 6 && call->inputs[6] != NULL) {
        return refuse(call, "past_sequence_length");
    }
    *a = (attention){.batch = x->shape[0],
                     .q_heads = heads,
                     .kv_heads = heads,
                     .rows = x->shape[1],
                     .past = past != NULL && past->rank == 5 ? past->shape[3] : 0,
                     .size = widths[0] / heads,
                     .v_size = widths[2] / heads};
    a->total = a->past + a->rows;
    if (past != NULL &&
        (past->rank != 5 || past->shape[0] != 2 || past->shape[1] != a->batch ||
         past->shape[2] != heads || past->shape[4] != a->size || a->size != a->v_size)) {
        return op_call_fail(call, SPRY_BAD_INPUT, "the cache does not fit");
    }
    return read_common(call, a);
}

static spry_status project_all(op_call *call, attention *a, const int64_t *widths)
{
    const tensor *past = op_call_input(call, X_PAST);
    const double **parts[3] = {&a->q, &a->k, &a->v};
    projection p = {.depth = op_call_input(call, WEIGHTS)->shape[0],
                    .columns = op_call_input(call, WEIGHTS)->shape[1],
                    .heads = a->q_heads,
                    .positions = a->rows};
    spry_status status = whole_f64(call, op_call_input(call, X), &p.x);

    if (status == SPRY_OK) {
        status = whole_f64(call, op_call_input(call, WEIGHTS), &p.w);
    }
    if (status == SPRY_OK) {
        status = whole_f64(call, op_call_input(call, X_BIAS), &p.b);
    }
    for (int i = 0; i < 3 && status == SPRY_OK; i++) {
        void *memory = NULL;

        p.start = i > 0 ? a->past : 0;
        p.total = p.start + a->rows;
        p.size = widths[i] / a->q_heads;
        status = whole_room(call, a->batch * widths[i], p.total, sizeof(double), &memory);
        if (status != SPRY_OK) {
            break;
        }
        p.to = memory;
        if (i > 0 && past != NULL) {
            load_past(past, i - 1, &p, a->batch);
        }
        threads_for(call->team, a->batch * a->rows, 1, project, &p);
        p.first += widths[i];
        *parts[i] = memory;
    }
    return status;
}

/* [2][batch][heads][total][size]: keys, then values. */
static spry_status write_both(op_call *call, const attention *a)
{
    int64_t shape[5] = {2, a->batch, a->kv_heads, a->total, a->size};
    int64_t half = a->batch * a->kv_heads * a->total * a->size;
    tensor *to = NULL;
    spry_status status = SPRY_OK;

    if (!op_call_wants(call, 1)) {
        return SPRY_OK;
    }
    if (a->size != a->v_size) {
        return refuse(call, "a cache for values of another size than keys");
    }
    status = op_call_output(call, 1, op_call_input(call, X)->dtype, 5, shape, &to);
    if (status == SPRY_OK && to != NULL) {
        convert_write_f64(to, 0, half, a->k);
        convert_write_f64(to, half, half, a->v);
    }
    return status;
}

static spry_status run_projected(op_call *call)
{
    attention a;
    tensor mask;
    int64_t widths[3];
    spry_status status = read_projected(call, &a, widths);

    if (status == SPRY_OK) {
        status = project_all(call, &a, widths);
    }
    if (status == SPRY_OK) {
        status = add_masks(call, &a, op_call_input(call, X_MASK), op_call_input(call, X_SCORE_BIAS),
                           &mask);
    }
    if (status == SPRY_OK) {
        int64_t shape[3] = {a.batch, a.rows, widths[2]};

        status = op_call_output(call, 0, op_call_input(call, X)->dtype, 3, shape, &a.y);
    }
    if (status == SPRY_OK) {
        status = write_both(call, &a);
    }
    return status == SPRY_OK ? attention_compute(call, &a) : status;
}

#define INTEGERS (1u << SPRY_DTYPE_I32)

/* clang-format off */
const op ops_attention_fused[] = {
    {.name = "Attention", .domain = "com.microsoft", .since = 1, .min_inputs = 2, .max_inputs = 7,
     .min_outputs = 1, .max_outputs = 2,
     .types = {OP_FLOATS, OP_FLOATS, OP_FLOATS, INTEGERS, OP_FLOATS, OP_FLOATS, INTEGERS},
     .infer = infer_projected, .run = run_projected},
    {.name = "MultiHeadAttention", .domain = "com.microsoft", .since = 1, .min_inputs = 1,
     .max_inputs = 8, .min_outputs = 1, .max_outputs = 3,
     .types = {OP_FLOATS, OP_FLOATS, OP_FLOATS, OP_FLOATS, INTEGERS, OP_FLOATS, OP_FLOATS,
               OP_FLOATS},
     .infer = infer_multi_head, .run = run_multi_head},
    {.name = NULL},
};
/* clang-format on */
