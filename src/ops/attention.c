/* Attention (grouped queries, masks, caches) and RotaryEmbedding.
 *
 * The reference takes one query at a time: its scores against all keys, their softmax, and the
 * weighted sum of the values, in f64. */
#include <math.h>
#include <string.h>

#include "base/checked.h"
#include "ops/attention.h"
#include "ops/families.h"
#include "ops/operand.h"
#include "ops/whole.h"
#include "tensor/convert.h"

enum { IN_QUERY, IN_KEY, IN_VALUE, IN_MASK, IN_PAST_KEY, IN_PAST_VALUE, IN_LENGTHS };
enum { OUT_RESULT, OUT_KEY, OUT_VALUE, OUT_SCORES };

/* ---- shapes ---- */

bool attention_read_heads(int rank, const int64_t *dims, int64_t heads, attention_head_sizes *h)
{
    if (rank == 4) {
        *h = (attention_head_sizes){dims[1], dims[2], dims[3]};
        return true;
    }
    if (rank != 3 || heads < 1 || heads > INT32_MAX || (dims[2] >= 0 && dims[2] % heads != 0)) {
        return false;
    }
    *h = (attention_head_sizes){heads, dims[1], dims[2] >= 0 ? dims[2] / heads : -1};
    return true;
}

static int64_t heads_attribute(const graph_node *node, int input)
{
    return graph_attribute_int(node, input == IN_QUERY ? "q_num_heads" : "kv_num_heads", 0);
}

static void set_caches(op_shapes *s, graph_dim batch, const attention_head_sizes *h)
{
    for (int i = 0; i < 2; i++) {
        const graph_type *past = op_shapes_ranked(s, IN_PAST_KEY + i);
        bool absent = op_shapes_input(s, IN_PAST_KEY + i) == NULL;
        const attention_head_sizes *own = &h[1 + i];
        int64_t before = absent ? 0 : past != NULL && past->rank == 4 ? past->dims[2].size : -1;
        graph_dim dims[4] = {batch, {.size = own->heads}, {.size = -1}, {.size = own->size}};

        if (before >= 0 && own->positions >= 0) {
            dims[2].size = before + own->positions;
        }
        op_shapes_set(s, OUT_KEY + i, operand_dtype(s, IN_KEY + i), 4, dims);
        if (i == 0) {
            graph_dim scores[4] = {batch, {.size = h[0].heads}, {.size = h[0].positions}, dims[2]};

            op_shapes_set(s, OUT_SCORES, operand_dtype(s, IN_QUERY), 4, scores);
        }
    }
}

static spry_status infer_attention(op_shapes *s)
{
    const graph_type *query = op_shapes_ranked(s, IN_QUERY);
    attention_head_sizes h[3];
    graph_dim dims[4];

    for (int i = 0; i < 3; i++) {
        const graph_type *type = op_shapes_ranked(s, i);
        int64_t sizes[SPRY_TENSOR_MAX_RANK];

        if (type == NULL) {
            return operand_unranked(s, OUT_RESULT, operand_dtype(s, IN_QUERY));
        }
        for (int d = 0; d < type->rank; d++) {
            sizes[d] = type->dims[d].size;
        }
        if (type->rank != query->rank ||
            !attention_read_heads(type->rank, sizes, heads_attribute(s->node, i), &h[i])) {
            return op_shapes_fail(s, "input %d does not divide into heads", i);
        }
    }
    if (h[0].size >= 0 && h[1].size >= 0 && h[0].size != h[1].size) {
        return op_shapes_fail(s, "queries of %lld elements against keys of %lld",
                              (long long)h[0].size, (long long)h[1].size);
    }
    if (query->rank == 4) {
        memcpy(dims, query->dims, sizeof dims);
        dims[3] = op_shapes_ranked(s, IN_VALUE)->dims[3];
    } else {
        memcpy(dims, query->dims, 2 * sizeof *dims);
        dims[2] = (graph_dim){.size = h[2].size >= 0 ? h[2].size * h[0].heads : -1};
    }
    op_shapes_set(s, OUT_RESULT, query->dtype, query->rank, dims);
    set_caches(s, query->dims[0], h);
    return SPRY_OK;
}

static void attention_cost(const op_work *w, int64_t *macs, int64_t *flops)
{
    const graph_type *key = w->inputs[IN_KEY];
    int64_t positions = key->dims[key->rank - 2].size;

    *macs = (op_work_count(w->inputs[IN_QUERY]) + op_work_count(w->outputs[0])) * positions;
    *flops = 2 * *macs;
}

/* ---- one call ---- */

static double dot(const double *a, const double *b, int64_t n)
{
    double sums[4] = {0.0, 0.0, 0.0, 0.0};
    int64_t i = 0;

    for (; i + 4 <= n; i += 4) {
        for (int k = 0; k < 4; k++) {
            sums[k] += a[i + k] * b[i + k];
        }
    }
    for (; i < n; i++) {
        sums[0] += a[i] * b[i];
    }
    return sums[0] + sums[1] + (sums[2] + sums[3]);
}

/* What the mask adds for one score; keys beyond a mask that is too short are hidden. */
static double mask_at(const attention *a, const int64_t *at)
{
    const tensor *t = a->mask;
    int64_t index = 0;

    if (t == NULL) {
        return 0.0;
    }
    for (int d = 0; d < t->rank; d++) {
        int64_t i = at[4 - t->rank + d];

        if (d == t->rank - 1 && i >= t->shape[d]) {
            return -INFINITY;
        }
        index = index * t->shape[d] + (t->shape[d] == 1 && !(d == t->rank - 1) ? 0 : i);
    }
    if (t->dtype == SPRY_DTYPE_BOOL) {
        return convert_get_i64(t, index) != 0 ? 0.0 : -INFINITY;
    }
    return convert_get_f64(t, index);
}

static void keep_scores(const attention *a, attention_score_stage stage, int64_t row,
                        const double *scores)
{
    if (a->stage == stage && a->scores != NULL) {
        convert_write_f64(a->scores, row * a->total, a->total, scores);
    }
}

/* Hides what this query must not see and adds the mask. */
static void mask_scores(const attention *a, const int64_t *at, double *scores)
{
    int64_t valid = a->lengths != NULL ? convert_get_i64(a->lengths, at[0]) : a->total;
    int64_t last = a->total;
    int64_t index[4] = {at[0], at[1], at[2], 0};

    if (a->causal) {
        last = at[2] + (a->has_past ? a->past : a->lengths != NULL ? valid - a->rows : 0);
    }
    for (int64_t j = 0; j < a->total; j++) {
        index[3] = j;
        scores[j] = j > last || j >= valid ? -INFINITY : scores[j] + mask_at(a, index);
    }
}

static void softmax(double *scores, int64_t count)
{
    double most = -INFINITY;
    double sum = 0.0;

    for (int64_t j = 0; j < count; j++) {
        most = scores[j] > most || scores[j] != scores[j] ? scores[j] : most;
    }
    if (most == -INFINITY) { /* a query that sees nothing gives zeros */
        memset(scores, 0, (size_t)count * sizeof *scores);
        return;
    }
    for (int64_t j = 0; j < count; j++) {
        scores[j] = exp(scores[j] - most);
        sum += scores[j];
    }
    for (int64_t j = 0; j < count; j++) {
        scores[j] /= sum;
    }
}

/* Query number `row`, counted over images, heads and positions. */
static void attend(const attention *a, int64_t row, double *scores, double *out)
{
    int64_t at[4] = {row / (a->rows * a->q_heads), row / a->rows % a->q_heads, row % a->rows, 0};
    int64_t source = at[0] * a->kv_heads + at[1] / (a->q_heads / a->kv_heads);
    const double *k = a->k + source * a->total * a->size;
    const double *v = a->v + source * a->total * a->v_size;

    for (int64_t j = 0; j < a->total; j++) {
        scores[j] = a->scale * dot(a->q + row * a->size, k + j * a->size, a->size);
    }
    keep_scores(a, ATTENTION_SCORES_PLAIN, row, scores);
    for (int64_t j = 0; j < a->total && a->softcap > 0.0; j++) {
        scores[j] = a->softcap * tanh(scores[j] / a->softcap);
    }
    keep_scores(a, ATTENTION_SCORES_CAPPED, row, scores);
    mask_scores(a, at, scores);
    keep_scores(a, ATTENTION_SCORES_MASKED, row, scores);
    softmax(scores, a->total);
    keep_scores(a, ATTENTION_SCORES_SOFTMAX, row, scores);
    memset(out, 0, (size_t)a->v_size * sizeof *out);
    for (int64_t j = 0; j < a->total; j++) {
        for (int64_t i = 0; i < a->v_size && scores[j] != 0.0; i++) {
            out[i] += scores[j] * v[j * a->v_size + i];
        }
    }
}

static void run_queries(void *context, int64_t begin, int64_t end, int worker)
{
    const attention *a = context;
    double *scores = a->room + worker * (a->total + a->v_size);
    double *out = scores + a->total;

    for (int64_t row = begin; row < end; row++) {
        int64_t position = row % a->rows;
        int64_t head = row / a->rows % a->q_heads;
        int64_t image = row / (a->rows * a->q_heads);
        int64_t to = a->y != NULL && a->y->rank == 3
                         ? (image * a->rows + position) * a->q_heads + head
                         : row;

        attend(a, row, scores, out);
        if (a->y != NULL) {
            convert_write_f64(a->y, to * a->v_size, a->v_size, out);
        }
    }
}

/* ---- operands ---- */

/* Copies heads of `t` to positions [first, ...) of to[batch][heads][positions][size]. */
static void gather_heads(const tensor *t, const attention_head_sizes *h, int64_t first,
                         int64_t positions, double *to)
{
    for (int64_t i = 0; i < t->shape[0] * h->heads; i++) {
        double *head = to + (i * positions + first) * h->size;

        if (t->rank == 4) {
            convert_read_f64(t, i * h->positions * h->size, h->positions * h->size, head);
            continue;
        }
        for (int64_t p = 0; p < h->positions; p++) {
            int64_t from = (i / h->heads * h->positions + p) * h->heads + i % h->heads;

            convert_read_f64(t, from * h->size, h->size, head + p * h->size);
        }
    }
}

spry_status attention_load(op_call *call, const tensor *t, const tensor *before,
                           const attention_head_sizes *h, int64_t past, const double **to)
{
    int64_t positions = past + h->positions;
    void *memory = NULL;
    spry_status status =
        whole_room(call, t->shape[0] * h->heads * h->size, positions, sizeof **to, &memory);

    if (status != SPRY_OK) {
        return status;
    }
    if (before != NULL) {
        attention_head_sizes old = {h->heads, past, h->size};

        gather_heads(before, &old, 0, positions, memory);
    }
    gather_heads(t, h, past, positions, memory);
    *to = memory;
    return SPRY_OK;
}

static bool cache_fits(const tensor *past, const tensor *t, const attention_head_sizes *h,
                       int64_t positions)
{
    return past == NULL ||
           (past->rank == 4 && past->shape[0] == t->shape[0] && past->shape[1] == h->heads &&
            past->shape[3] == h->size && past->shape[2] == positions);
}

static bool mask_fits(const attention *a, const tensor *mask)
{
    const int64_t shape[4] = {a->batch, a->q_heads, a->rows, a->total};

    if (mask == NULL) {
        return true;
    }
    for (int d = 0; d < mask->rank && mask->rank <= 4; d++) {
        int64_t size = mask->shape[d];
        bool last = d == mask->rank - 1;

        if (last ? size > a->total : size != 1 && size != shape[4 - mask->rank + d]) {
            return false;
        }
    }
    return mask->rank >= 1 && mask->rank <= 4;
}

static spry_status read_sizes(op_call *call, attention *a, attention_head_sizes *h)
{
    const tensor *q = op_call_input(call, IN_QUERY);
    const tensor *past[2] = {op_call_input(call, IN_PAST_KEY), op_call_input(call, IN_PAST_VALUE)};
    int64_t queries;

    for (int i = 0; i < 3; i++) {
        const tensor *t = op_call_input(call, i);

        if (t == NULL || t->rank != q->rank || t->shape[0] != q->shape[0] ||
            !attention_read_heads(t->rank, t->shape, heads_attribute(call->node, i), &h[i])) {
            return op_call_fail(call, SPRY_BAD_INPUT, "input %d does not divide into heads", i);
        }
    }
    a->has_past = past[0] != NULL;
    a->past = a->has_past && past[0]->rank == 4 ? past[0]->shape[2] : 0;
    if (h[0].size != h[1].size || h[1].heads != h[2].heads || h[1].heads < 1 ||
        h[0].heads % h[1].heads != 0 || h[1].positions != h[2].positions ||
        (past[0] == NULL) != (past[1] == NULL) || !cache_fits(past[0], q, &h[1], a->past) ||
        !cache_fits(past[1], q, &h[2], a->past)) {
        return op_call_fail(call, SPRY_BAD_INPUT, "queries, keys, values and caches do not fit");
    }
    a->batch = q->shape[0];
    a->q_heads = h[0].heads;
    a->kv_heads = h[1].heads;
    a->rows = h[0].positions;
    a->total = a->past + h[1].positions;
    a->size = h[0].size;
    a->v_size = h[2].size;
    if (!checked_mul_i64(a->batch, a->q_heads, &queries) ||
        !checked_mul_i64(queries, a->rows, &queries)) {
        return op_call_fail(call, SPRY_LIMIT, "there are too many queries");
    }
    return SPRY_OK;
}

static spry_status read_options(op_call *call, attention *a)
{
    const graph_node *node = call->node;
    const tensor *lengths = op_call_input(call, IN_LENGTHS);
    int64_t stage = graph_attribute_int(node, "qk_matmul_output_mode", 0);

    a->mask = op_call_input(call, IN_MASK);
    a->lengths = lengths;
    a->causal = graph_attribute_int(node, "is_causal", 0) != 0;
    a->softcap = (double)graph_attribute_float(node, "softcap", 0.0f);
    a->scale = graph_attribute_find(node, "scale") != NULL
                   ? (double)graph_attribute_float(node, "scale", 1.0f)
                   : 1.0 / sqrt((double)a->size);
    a->stage = stage >= 0 && stage <= 3 ? (attention_score_stage)stage : ATTENTION_SCORES_NONE;
    if (a->stage == ATTENTION_SCORES_NONE || !mask_fits(a, a->mask) ||
        (lengths != NULL && tensor_count(lengths) != a->batch)) {
        return op_call_fail(call, SPRY_BAD_INPUT, "mask, lengths or output mode do not fit");
    }
    return SPRY_OK;
}

/* Keys and values with what was cached, as outputs 1 and 2. */
static spry_status write_cache(op_call *call, const attention *a, int i)
{
    const tensor *t = op_call_input(call, IN_KEY + i);
    int64_t size = i == 0 ? a->size : a->v_size;
    int64_t shape[4] = {a->batch, a->kv_heads, a->total, size};
    tensor *to;
    spry_status status = op_call_output(call, OUT_KEY + i, t->dtype, 4, shape, &to);

    if (status == SPRY_OK && to != NULL) {
        convert_write_f64(to, 0, tensor_count(to), i == 0 ? a->k : a->v);
    }
    return status;
}

static spry_status make_outputs(op_call *call, attention *a)
{
    const tensor *q = op_call_input(call, IN_QUERY);
    int64_t split[4] = {a->batch, a->q_heads, a->rows, a->v_size};
    int64_t joined[3] = {a->batch, a->rows, a->q_heads * a->v_size};
    int64_t scores[4] = {a->batch, a->q_heads, a->rows, a->total};
    spry_status status =
        op_call_output(call, OUT_RESULT, q->dtype, q->rank, q->rank == 4 ? split : joined, &a->y);

    if (status == SPRY_OK) {
        status = op_call_output(call, OUT_SCORES, q->dtype, 4, scores, &a->scores);
    }
    for (int i = 0; i < 2 && status == SPRY_OK; i++) {
        status = write_cache(call, a, i);
    }
    return status;
}

spry_status attention_compute(op_call *call, attention *a)
{
    void *memory = NULL;
    spry_status status =
        whole_room(call, a->total + a->v_size, threads_count(call->team), sizeof(double), &memory);

    if (status == SPRY_OK) {
        a->room = memory;
        threads_for(call->team, a->batch * a->q_heads * a->rows, 8, run_queries, a);
    }
    return status;
}

static spry_status run_attention(op_call *call)
{
    attention a = {.batch = 0};
    attention_head_sizes h[3];
    spry_status status;

    if (op_call_input(call, IN_QUERY) == NULL) {
        return op_call_fail(call, SPRY_BAD_INPUT, "the queries are missing");
    }
    status = read_sizes(call, &a, h);
    if (status == SPRY_OK) {
        status = read_options(call, &a);
    }
    if (status == SPRY_OK) {
        status = attention_load(call, op_call_input(call, IN_QUERY), NULL, &h[0], 0, &a.q);
    }
    if (status == SPRY_OK) {
        status = attention_load(call, op_call_input(call, IN_KEY), op_call_input(call, IN_PAST_KEY),
                                &h[1], a.past, &a.k);
    }
    if (status == SPRY_OK) {
        status = attention_load(call, op_call_input(call, IN_VALUE),
                                op_call_input(call, IN_PAST_VALUE), &h[2], a.past, &a.v);
    }
    if (status == SPRY_OK) {
        status = make_outputs(call, &a);
    }
    return status == SPRY_OK ? attention_compute(call, &a) : status;
}

/* ---- RotaryEmbedding ---- */

/* Turns pairs of elements of one head by the angles of its position. */
static void rotate(double *x, int64_t half, bool interleaved, const double *cosine,
                   const double *sine)
{
    for (int64_t i = 0; i < half; i++) {
        double *a = &x[interleaved ? 2 * i : i];
        double *b = &x[interleaved ? 2 * i + 1 : half + i];
        double first = *a;

        *a = first * cosine[i] - *b * sine[i];
        *b = first * sine[i] + *b * cosine[i];
    }
}

typedef struct rotary {
    const tensor *x;
    tensor *y;
    attention_head_sizes h;
    int64_t half;        /* angles per position */
    int64_t table_rows;  /* positions in the caches */
    const int64_t *rows; /* row of the caches per image and position */
    const double *cosine, *sine;
    bool interleaved;
} rotary;

static void rotate_all(const rotary *r, double *room)
{
    int64_t positions = r->h.positions;
    int64_t heads = r->h.heads;

    for (int64_t i = 0; i < r->x->shape[0] * positions * heads; i++) {
        int64_t image = i / (positions * heads);
        int64_t position = r->x->rank == 4 ? i % positions : i / heads % positions;
        int64_t row = r->rows[image * positions + position];

        convert_read_f64(r->x, i * r->h.size, r->h.size, room);
        rotate(room, r->half, r->interleaved, r->cosine + row * r->half, r->sine + row * r->half);
        convert_write_f64(r->y, i * r->h.size, r->h.size, room);
    }
}

/* The row of the caches for each position: given ids, or the position itself. */
static spry_status find_rows(op_call *call, rotary *r, const tensor *ids)
{
    int64_t count = r->x->shape[0] * r->h.positions;
    void *memory = NULL;
    int64_t *rows;
    spry_status status = whole_room(call, count, 1, sizeof *rows, &memory);

    if (status != SPRY_OK) {
        return status;
    }
    rows = memory;
    if (ids != NULL && tensor_count(ids) != count) {
        return op_call_fail(call, SPRY_BAD_INPUT, "position_ids must be one number per position");
    }
    for (int64_t i = 0; i < count; i++) {
        rows[i] = ids != NULL ? convert_get_i64(ids, i) : i;
        if (rows[i] < 0 || rows[i] >= r->table_rows) {
            return op_call_fail(call, SPRY_BAD_INPUT, "a position is outside the caches");
        }
    }
    r->rows = rows;
    return SPRY_OK;
}

static spry_status run_rotary(op_call *call)
{
    const tensor *x = op_call_input(call, 0);
    const tensor *cosine = op_call_input(call, 1);
    const tensor *sine = op_call_input(call, 2);
    int64_t size = graph_attribute_int(call->node, "rotary_embedding_dim", 0);
    rotary r = {.x = x};
    void *room = NULL;
    spry_status status;

    if (x == NULL || cosine == NULL || sine == NULL ||
        !attention_read_heads(x->rank, x->shape, graph_attribute_int(call->node, "num_heads", 0),
                              &r.h) ||
        cosine->rank < 2 || !tensor_same_shape(cosine, sine)) {
        return op_call_fail(call, SPRY_BAD_INPUT, "input and caches do not fit");
    }
    r.half = (size > 0 ? size : r.h.size) / 2;
    if (size < 0 || size > r.h.size || r.half < 1 || cosine->shape[cosine->rank - 1] != r.half) {
        return op_call_fail(call, SPRY_BAD_INPUT, "the caches need half a head's elements");
    }
    r.table_rows = tensor_count(cosine) / r.half;
    r.interleaved = graph_attribute_int(call->node, "interleaved", 0) != 0;
    status = op_call_output_like(call, 0, x->dtype, x, &r.y);
    if (status != SPRY_OK || r.y == NULL) {
        return status;
    }
    status = find_rows(call, &r, op_call_input(call, 3));
    if (status == SPRY_OK) {
        status = whole_f64(call, cosine, &r.cosine);
    }
    if (status == SPRY_OK) {
        status = whole_f64(call, sine, &r.sine);
    }
    if (status == SPRY_OK) {
        status = whole_room(call, r.h.size, 1, sizeof(double), &room);
    }
    if (status == SPRY_OK) {
        rotate_all(&r, room);
    }
    return status;
}

#define MASKS (OP_FLOATS | OP_BOOL)

/* clang-format off */
const op ops_attention[] = {
    {.name = "Attention", .domain = "", .since = 23, .min_inputs = 3, .max_inputs = 7,
     .min_outputs = 1, .max_outputs = 4,
     .types = {OP_FLOATS, OP_FLOATS, OP_FLOATS, MASKS, OP_FLOATS, OP_FLOATS,
               1u << SPRY_DTYPE_I64},
     .infer = infer_attention, .run = run_attention, .cost = attention_cost},
    {.name = "RotaryEmbedding", .domain = "", .since = 23, .min_inputs = 3, .max_inputs = 4,
     .min_outputs = 1, .max_outputs = 1,
     .types = {OP_FLOATS, OP_FLOATS, OP_FLOATS, 1u << SPRY_DTYPE_I64},
     .infer = op_infer_same, .run = run_rotary},
    {.name = NULL},
};
/* clang-format on */
