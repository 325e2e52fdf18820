/* One head: its keys stored, its queries filtered, and what they lose. */
#include <math.h>
#include <string.h>

#include "inspect/energon.h"
#include "kernels/attention/attention_f32_vector.h"
#include "kernels/filter/filter_bound.h"

/* A head of image 0. */
typedef struct head_view {
    const float *q, *k, *v;
    attention_mask mask;
} head_view;

static head_view view_head(const attention_problem *p, int64_t head)
{
    int64_t group = head / (p->heads / p->kv_heads);
    head_view h = {.q = p->q.data + head * p->q.head,
                   .k = p->k.data + group * p->k.head,
                   .v = p->v.data + group * p->v.head,
                   .mask = p->mask};
    int64_t size = p->mask.kind == ATTENTION_ADD ? (int64_t)sizeof(float) : 1;

    if (p->mask.kind != ATTENTION_NO_MASK) {
        h.mask.data = (const uint8_t *)p->mask.data + head * p->mask.head * size;
    }
    return h;
}

float energon_key_range(const attention_problem *p, int64_t head)
{
    head_view h = view_head(p, head);
    float most = 0.0f;

    for (int64_t j = 0; j < p->keys; j++) {
        for (int64_t t = 0; t < p->size; t++) {
            float x = fabsf(h.k[j * p->k.token + t]);

            if (!isfinite(x)) {
                return NAN;
            }
            most = x > most ? x : most;
        }
    }
    return most;
}

typedef struct measuring {
    const attention_problem *p;
    head_view h;
    const float *dense_out;
    filter_keys keys;
    filter_call call;
    uint8_t *fate; /* [rows][keys] */
    float *out;    /* [rows][size] */
    int32_t *workspace;
    int8_t *digits;
    int32_t *index, *s; /* [keys] */
    float *upper;       /* [keys] */
} measuring;

static bool make_room(measuring *m, arena *scratch)
{
    const attention_problem *p = m->p;
    size_t keys = (size_t)p->keys;
    size_t plane = keys * (size_t)filter_row_bytes(p->size);
    size_t row = keys * (size_t)filter_pitch(p->size) * sizeof(float);
    bool made = true;

    for (int i = 0; i < SPRY_ENERGON_ROUNDS; i++) {
        m->keys.planes[i] = arena_bytes(scratch, plane);
        made = made && m->keys.planes[i] != NULL;
    }
    m->keys.k = arena_bytes(scratch, row);
    m->keys.v = arena_bytes(scratch, row);
    m->fate = arena_bytes(scratch, keys * (size_t)p->rows);
    m->out = arena_bytes(scratch, (size_t)(p->rows * p->size) * sizeof *m->out);
    m->workspace = arena_bytes(scratch, (size_t)filter_workspace(&m->keys) * sizeof(int32_t));
    m->digits = arena_bytes(scratch, (size_t)filter_bound_bytes(p->size));
    m->index = arena_bytes(scratch, keys * sizeof *m->index);
    m->s = arena_bytes(scratch, keys * sizeof *m->s);
    m->upper = arena_bytes(scratch, keys * sizeof *m->upper);
    return made && m->keys.k != NULL && m->keys.v != NULL && m->fate != NULL && m->out != NULL &&
           m->workspace != NULL && m->digits != NULL && m->index != NULL && m->s != NULL &&
           m->upper != NULL;
}

/* The exact score in units of log 2. */
static double score_of(const measuring *m, int64_t row, int64_t key)
{
    const attention_problem *p = m->p;
    const float *q = m->h.q + row * p->q.token;
    const float *k = m->h.k + key * p->k.token;
    double sum = 0.0;

    for (int64_t t = 0; t < p->size; t++) {
        sum += (double)q[t] * (double)k[t];
    }
    sum *= (double)p->scale;
    if (m->h.mask.kind == ATTENTION_ADD) {
        sum += (double)((const float *)m->h.mask.data)[row * m->h.mask.row + key];
    }
    return sum * (double)ATTENTION_LOG2E;
}

static bool is_dropped(uint8_t fate)
{
    return fate > 0 && fate <= SPRY_ENERGON_ROUNDS;
}

/* Weights that one query keeps, and what it is certain to lose at most. */
static bool measure_row(measuring *m, int64_t row, energon_sums *to)
{
    const attention_problem *p = m->p;
    const uint8_t *fate = m->fate + row * p->keys;
    double most = -INFINITY;
    double kept = 0.0;
    double dropped = 0.0;
    double bound = 0.0;
    filter_bound finer;
    filter_work ignored = {0};
    int64_t n = 0;

    for (int64_t j = 0; j < p->keys; j++) {
        most = fate[j] > 0 ? fmax(most, score_of(m, row, j)) : most;
    }
    if (!isfinite(most)) {
        return true;
    }
    for (int64_t j = 0; j < p->keys; j++) {
        if (fate[j] > 0) {
            *(is_dropped(fate[j]) ? &dropped : &kept) += exp2(score_of(m, row, j) - most);
        }
        m->index[n] = (int32_t)j;
        n += is_dropped(fate[j]);
    }
    if (!filter_bound_query(&m->keys, m->h.q + row * p->q.token, p->scale, m->digits, &finer)) {
        return false;
    }
    filter_bound_scores(filter_select(), &m->keys, &finer, m->index, n, m->s, m->upper, &ignored);
    for (int64_t i = 0; i < n; i++) {
        double added =
            m->h.mask.kind == ATTENTION_ADD
                ? (double)((const float *)m->h.mask.data)[row * m->h.mask.row + m->index[i]]
                : 0.0;

        bound += exp2((double)m->upper[i] + added * (double)ATTENTION_LOG2E - most);
    }
    bound = bound / (bound + kept);
    to->mass += kept / (kept + dropped);
    to->certificate += bound;
    to->worst = fmax(to->worst, bound);
    to->queries++;
    return true;
}

/* How far the results have moved. */
static void compare_row(const measuring *m, int64_t row, energon_sums *to)
{
    const attention_problem *p = m->p;

    for (int64_t t = 0; t < p->size; t++) {
        double x = (double)m->dense_out[row * p->out_token + t];
        double y = (double)m->out[row * p->size + t];

        to->xy += x * y;
        to->xx += x * x;
        to->yy += y * y;
    }
}

bool energon_measure(const attention_problem *p, int64_t head, const energon_filter *filter,
                     bool is_brief, arena *scratch, energon_sums *to)
{
    measuring m = {.p = p,
                   .h = view_head(p, head),
                   .dense_out = p->out + head * p->out_head,
                   .keys = {.size = p->size,
                            .capacity = p->keys,
                            .scale = filter->scale,
                            .plane_count = SPRY_ENERGON_ROUNDS}};
    bool fine = make_room(&m, scratch);

    if (!fine) {
        return false;
    }
    (void)filter_append(&m.keys, m.h.k, p->k.token, m.h.v, p->v.token, p->keys);
    m.call = (filter_call){.keys = &m.keys,
                           .rule = filter->rule,
                           .q = m.h.q,
                           .q_token = p->q.token,
                           .rows = p->rows,
                           .scale = p->scale,
                           .limit = p->keys,
                           .is_causal = p->is_causal,
                           .past = p->past,
                           .mask = m.h.mask,
                           .out = m.out,
                           .out_token = p->size,
                           .fate = m.fate,
                           .fate_row = p->keys};
    fine =
        filter_attention(filter_select(), &m.call, 0, p->rows, m.workspace, &to->work) == p->rows;
    for (int64_t row = 0; fine && row < p->rows; row++) {
        compare_row(&m, row, to);
        fine = is_brief || measure_row(&m, row, to);
    }
    return fine;
}
