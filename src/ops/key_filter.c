/* KeyFilter where the attention around it is not known: query by query. */
#include "ops/key_filter.h"

#include <math.h>

#include "kernels/filter/filter.h"
#include "ops/families.h"
#include "ops/op.h"

typedef struct filter_heads {
    const float *scores, *queries, *keys, *scale;
    const double *alpha;
    float *to;
    int64_t heads, rows, count, size; /* count: of keys */
    /* Room for one head, and for one query. */
    uint8_t *planes[KEY_FILTER_ROUNDS];
    int32_t *index, *s;
    int8_t *q4;
    float *key;
    uint8_t *fate;
} filter_heads;

static filter_keys store_keys(const filter_heads *f, int64_t head)
{
    filter_keys keys = {.size = f->size,
                        .capacity = f->count,
                        .scale = f->scale[head % f->heads],
                        .plane_count = KEY_FILTER_ROUNDS,
                        .planes = {f->planes[0], f->planes[1]}};

    for (int64_t j = 0; j < f->count; j++) {
        for (int64_t t = 0; t < f->size; t++) {
            f->key[t] = f->keys[(head * f->size + t) * f->count + j];
        }
        (void)filter_append(&keys, f->key, f->size, NULL, 0, 1);
    }
    return keys;
}

/* False where the query is not finite. */
static bool filter_row(const filter_heads *f, const filter_keys *keys, int64_t head, int64_t row)
{
    const filter_rule rule = {
        .rounds = KEY_FILTER_ROUNDS,
        .alpha = {f->alpha[head % f->heads], f->alpha[f->heads + head % f->heads]}};
    const float *scores = f->scores + (head * f->rows + row) * f->count;
    float *to = f->to + (head * f->rows + row) * f->count;
    filter_candidates from = {.is_listed = true, .fate = f->fate};
    filter_work work = {0};

    for (int64_t j = 0; j < f->count; j++) {
        f->index[from.n] = (int32_t)j;
        from.n += scores[j] >= FILTER_HIDDEN;
        f->fate[j] = 0;
    }
    if (!filter_query(f->queries + (head * f->rows + row) * f->size, f->size, f->q4)) {
        return false;
    }
    if (from.n > 0) {
        (void)filter_run(filter_select(), keys, &rule, f->q4, &from, f->index, f->s, &work);
    }
    for (int64_t j = 0; j < f->count; j++) {
        bool is_dropped = f->fate[j] != 0 && f->fate[j] <= KEY_FILTER_ROUNDS;

        to[j] = is_dropped ? KEY_FILTER_FILL : scores[j];
    }
    return true;
}

static spry_status make_room(op_call *call, filter_heads *f)
{
    size_t planes = (size_t)(f->count * filter_row_bytes(f->size));
    size_t keys = (size_t)f->count;
    size_t words = 2 * keys * sizeof(int32_t);
    size_t elements = (size_t)f->size * sizeof(float);
    void *memory;
    spry_status status = op_call_scratch(
        call, words + elements + 2 * planes + keys + (size_t)(4 * filter_row_bytes(f->size)),
        &memory);

    if (status == SPRY_OK) {
        f->index = memory;
        f->s = f->index + keys;
        f->key = (float *)(void *)(f->s + keys);
        f->planes[0] = (uint8_t *)(f->key + f->size);
        f->planes[1] = f->planes[0] + planes;
        f->q4 = (int8_t *)(f->planes[1] + planes);
        f->fate = (uint8_t *)(f->q4 + 4 * filter_row_bytes(f->size));
    }
    return status;
}

static bool fits(const tensor *const *in)
{
    const int64_t *s = in[KEY_FILTER_SCORES]->shape;
    const tensor *q = in[KEY_FILTER_QUERIES];
    const tensor *k = in[KEY_FILTER_KEYS];

    return in[KEY_FILTER_SCORES]->rank == 4 && q->rank == 4 && k->rank == 4 &&
           q->shape[0] == s[0] && q->shape[1] == s[1] && q->shape[2] == s[2] &&
           k->shape[0] == s[0] && k->shape[1] == s[1] && k->shape[2] == q->shape[3] &&
           k->shape[3] == s[3] && q->shape[3] >= 1 && q->shape[3] <= FILTER_MOST_SIZE &&
           tensor_count(in[KEY_FILTER_SCALE]) == s[1] &&
           tensor_count(in[KEY_FILTER_ALPHA]) == KEY_FILTER_ROUNDS * s[1] && s[3] <= INT32_MAX;
}

static bool has_thresholds(const tensor *alpha)
{
    const double *a = alpha->data;

    for (int64_t i = 0; i < tensor_count(alpha); i++) {
        if (!(a[i] >= -1.0 && a[i] < 1.0)) {
            return false;
        }
    }
    return true;
}

static spry_status run(op_call *call)
{
    static const spry_dtype dtypes[KEY_FILTER_PORTS] = {
        SPRY_DTYPE_F32, SPRY_DTYPE_F32, SPRY_DTYPE_F32, SPRY_DTYPE_F32, SPRY_DTYPE_F64};
    const tensor *in[KEY_FILTER_PORTS];
    filter_heads f;
    tensor *y;
    spry_status status;

    for (int i = 0; i < KEY_FILTER_PORTS; i++) {
        in[i] = op_call_input(call, i);
        if (in[i] == NULL || in[i]->dtype != dtypes[i]) {
            return op_call_fail(call, SPRY_BAD_INPUT, "input %d is missing or of another type", i);
        }
    }
    if (!fits(in) || !has_thresholds(in[KEY_FILTER_ALPHA])) {
        return op_call_fail(call, SPRY_BAD_INPUT, "scores, keys and thresholds do not fit");
    }
    status = op_call_output_like(call, 0, SPRY_DTYPE_F32, in[0], &y);
    if (status != SPRY_OK || y == NULL) {
        return status;
    }
    f = (filter_heads){.scores = in[KEY_FILTER_SCORES]->data,
                       .queries = in[KEY_FILTER_QUERIES]->data,
                       .keys = in[KEY_FILTER_KEYS]->data,
                       .scale = in[KEY_FILTER_SCALE]->data,
                       .alpha = in[KEY_FILTER_ALPHA]->data,
                       .to = y->data,
                       .heads = in[0]->shape[1],
                       .rows = in[0]->shape[2],
                       .count = in[0]->shape[3],
                       .size = in[KEY_FILTER_QUERIES]->shape[3]};
    status = make_room(call, &f);
    for (int64_t head = 0; status == SPRY_OK && head < in[0]->shape[0] * f.heads; head++) {
        filter_keys keys = store_keys(&f, head);

        for (int64_t row = 0; row < f.rows; row++) {
            if (!filter_row(&f, &keys, head, row)) {
                return op_call_fail(call, SPRY_BAD_INPUT,
                                    "query %lld of head %lld is not a finite number",
                                    (long long)row, (long long)(head % f.heads));
            }
        }
    }
    return status;
}

const op ops_key_filter[] = {
    {.name = KEY_FILTER_OP,
     .domain = KEY_FILTER_DOMAIN,
     .since = 1,
     .min_inputs = KEY_FILTER_PORTS,
     .max_inputs = KEY_FILTER_PORTS,
     .min_outputs = 1,
     .max_outputs = 1,
     .types = {1u << SPRY_DTYPE_F32, 1u << SPRY_DTYPE_F32, 1u << SPRY_DTYPE_F32,
               1u << SPRY_DTYPE_F32, 1u << SPRY_DTYPE_F64},
     .infer = op_infer_same,
     .run = run},
    {.name = NULL},
};
