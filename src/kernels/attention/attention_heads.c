/* One head after the other: with a survey, or only the keys of a policy. */
#include "kernels/attention/attention_heads.h"

#include <math.h>
#include <string.h>

#include "kernels/attention/attention_f32_vector.h"
#include "kernels/attention/attention_rows.h"

enum { LINE = 16 /* floats of a cache line */ };

static int64_t least(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

static int64_t most(int64_t a, int64_t b)
{
    return a > b ? a : b;
}

static int64_t rounded(int64_t extent, int64_t unit)
{
    return (extent + unit - 1) / unit * unit;
}

/* Some queries of one head. Keys and values are packed in blocks, all of which stay. */
typedef struct head_piece {
    const attention_kernel *kernel;
    const attention_problem *p;
    int64_t image, head;
    int64_t first, end; /* queries */
    int64_t keys;       /* that count for this image */
    int64_t block;      /* keys per block */
    int64_t k_floats, v_floats;
    float *k, *v;             /* [blocks] packed; those of sinks behind them */
    float *q;                 /* a packed strip */
    float *s;                 /* [blocks] strips; without a survey one */
    float *o;                 /* [mr][pitch] */
    float *gathered;          /* [sinks][size and value_size] */
    attention_moments *parts; /* [blocks] */
    float *tops;              /* [blocks][ATTENTION_MOST_MR] largest scores when it was weighed */
    float *factors;           /* the same: what its weights still have to be multiplied by */
    int64_t pitch;
    attention_rows state;
} head_piece;

static int64_t block_count(const head_piece *w)
{
    return (w->p->keys + w->block - 1) / w->block;
}

/* Where there are more keys than fit into a block, blocks are of one size. */
static int64_t block_size(const attention_problem *p)
{
    int64_t blocks = (p->keys + ATTENTION_SURVEY_BLOCK - 1) / ATTENTION_SURVEY_BLOCK;

    return rounded((p->keys + blocks - 1) / most(blocks, 1), 2 * LINE);
}

/* Lays the piece's memory out from `memory` on; returns the floats it takes. */
static int64_t lay_out(head_piece *w, float *memory)
{
    const attention_problem *p = w->p;
    int64_t mr = w->kernel->mr;
    int64_t nr = w->kernel->nr;
    int64_t at = LINE; /* zeros before the first strip */
    int64_t blocks;

    w->block = block_size(p);
    blocks = block_count(w);
    w->pitch = rounded(p->value_size, nr);
    w->k_floats = rounded(rounded(w->block, nr) * (p->size + 1), LINE);
    w->v_floats = rounded((w->block + 1) * w->pitch, LINE);
    w->s = memory + at;
    at += (p->survey != NULL ? blocks : 1) * mr * ATTENTION_PITCH + LINE;
    w->q = memory + at;
    at += mr * ATTENTION_PITCH;
    w->o = memory + at;
    at += rounded(mr * w->pitch, LINE);
    w->gathered = memory + at;
    at += rounded(ATTENTION_MOST_SINKS * most(p->size, p->value_size), LINE);
    w->tops = memory + at;
    at += blocks * ATTENTION_MOST_MR;
    w->factors = memory + at;
    at += blocks * ATTENTION_MOST_MR;
    w->parts = (attention_moments *)(void *)(memory + at);
    at += blocks * (int64_t)(sizeof *w->parts / sizeof *memory);
    w->k = memory + rounded(at, LINE);
    at = rounded(at, LINE) + (blocks + 1) * w->k_floats;
    w->v = memory + at;
    return at + (blocks + 1) * w->v_floats;
}

int64_t attention_heads_workspace(const attention_kernel *kernel, const attention_problem *p)
{
    static float nowhere[2 * LINE];
    head_piece w = {.kernel = kernel, .p = p};

    return lay_out(&w, nowhere);
}

static const float *key_at(const head_piece *w, int64_t key)
{
    const attention_operand *k = &w->p->k;

    return k->data + w->image * k->batch + w->head / (w->p->heads / w->p->kv_heads) * k->head +
           key * k->token;
}

static const float *value_at(const head_piece *w, int64_t key)
{
    const attention_operand *v = &w->p->v;

    return v->data + w->image * v->batch + w->head / (w->p->heads / w->p->kv_heads) * v->head +
           key * v->token;
}

static void pack_block(const head_piece *w, int64_t block)
{
    const attention_problem *p = w->p;
    int64_t key = block * w->block;
    int64_t n = least(w->keys - key, w->block);

    w->kernel->pack_keys(key_at(w, key), p->k.token, n, p->size, w->k + block * w->k_floats);
    w->kernel->pack_values(value_at(w, key), p->v.token, n, p->value_size,
                           w->v + block * w->v_floats);
}

static void begin_strip(head_piece *w, int64_t query, int rows)
{
    const attention_problem *p = w->p;
    const float *q = p->q.data + w->image * p->q.batch + w->head * p->q.head;
    const float *rows_of_q[ATTENTION_MOST_MR] = {NULL};

    for (int r = 0; r < rows; r++) {
        rows_of_q[r] = q + (query + r) * p->q.token;
    }
    w->kernel->pack_queries(rows_of_q, rows, p->size, p->scale * ATTENTION_LOG2E, w->q);
    for (int r = 0; r < ATTENTION_MOST_MR; r++) {
        w->state.most[r] = -INFINITY;
        w->state.sum[r] = 0.0f;
        w->state.energy[r] = 0.0f;
    }
}

static void end_strip(const head_piece *w, int64_t query, int rows)
{
    const attention_problem *p = w->p;
    float *to[ATTENTION_MOST_MR] = {NULL};

    for (int r = 0; r < rows; r++) {
        to[r] =
            p->out + w->image * p->out_batch + w->head * p->out_head + (query + r) * p->out_token;
    }
    attention_finish_rows(w->kernel, p, &w->state, w->o, w->pitch, rows, to);
    for (int r = 0; r < rows && p->policies != NULL && p->policies[w->head].is_off; r++) {
        memset(to[r], 0, (size_t)p->value_size * sizeof **to);
    }
}

/* ---- policies ---- */

void attention_policy_window(const attention_policy *policy, int64_t row, int64_t keys,
                             int64_t *first, int64_t *last)
{
    *first = 0;
    *last = keys - 1;
    if (!policy->is_dense && policy->before + policy->after < 0) {
        *last = -1;
    } else if (!policy->is_dense) {
        *first = least(most(row - policy->before, 0), keys - 1);
        *last = least(most(row + policy->after, 0), keys - 1);
    }
}

static bool in_window(const attention_policy *policy, int64_t row, int64_t key, int64_t keys)
{
    int64_t first;
    int64_t last;

    attention_policy_window(policy, row, keys, &first, &last);
    return key >= first && key <= last;
}

bool attention_policy_sees(const attention_policy *policy, int64_t row, int64_t key, int64_t keys)
{
    bool sees = in_window(policy, row, key, keys);

    for (int64_t i = 0; !sees && i < policy->sink_count; i++) {
        sees = policy->sinks[i] == key;
    }
    return sees;
}

static const attention_policy *policy_of(const head_piece *w)
{
    return w->p->policies != NULL ? &w->p->policies[w->head] : NULL;
}

/* Leaves of the scores s of the n keys from `key` on those that a row looks at. */
static void restrict_row(const head_piece *w, const attention_policy *policy, int64_t row,
                         int64_t key, int64_t n, bool with_sinks, float *s)
{
    float kept[ATTENTION_MOST_SINKS];
    int64_t first;
    int64_t last;

    attention_policy_window(policy, row, w->keys, &first, &last);

    for (int64_t i = 0; i < n && policy->is_flat; i++) {
        s[i] = 0.0f;
    }
    if (policy->is_dense) {
        return;
    }
    for (int64_t i = 0; with_sinks && i < policy->sink_count; i++) {
        int64_t at = policy->sinks[i] - key;

        kept[i] = at >= 0 && at < n ? s[at] : 0.0f;
    }
    for (int64_t j = 0; j < least(first - key, n); j++) {
        s[j] = -INFINITY;
    }
    for (int64_t j = most(last + 1 - key, 0); j < n; j++) {
        s[j] = -INFINITY;
    }
    for (int64_t i = 0; with_sinks && i < policy->sink_count; i++) {
        int64_t at = policy->sinks[i] - key;

        if (at >= 0 && at < n) {
            s[at] = kept[i];
        }
    }
}

/* Scores of a strip against the keys [key, key + n) of a packed block. */
static void score(const head_piece *w, int64_t query, int rows, const float *k, int64_t key,
                  int64_t n, bool with_sinks, float *s)
{
    const attention_policy *policy = policy_of(w);

    w->kernel->scores(w->q, k, rows, n, w->p->size, s);
    for (int r = 0; r < rows; r++) {
        const attention_row row = {w->image, w->head, query + r, w->keys};
        float *to = s + (int64_t)r * ATTENTION_PITCH;

        if (policy != NULL) {
            restrict_row(w, policy, query + r + w->p->past, key, n, with_sinks, to);
        }
        attention_mask_row(w->kernel, w->p, &row, key, n, to);
    }
}

/* The sinks as a block of their own, behind the others; returns how many count. */
static int64_t pack_sinks(const head_piece *w)
{
    const attention_problem *p = w->p;
    const attention_policy *policy = policy_of(w);
    int64_t count = policy->is_dense ? 0 : policy->sink_count;
    int64_t at = block_count(w);

    while (count > 0 && policy->sinks[count - 1] >= w->keys) {
        count--;
    }
    for (int64_t i = 0; i < count; i++) {
        memcpy(w->gathered + i * p->size, key_at(w, policy->sinks[i]),
               (size_t)p->size * sizeof *w->gathered);
    }
    w->kernel->pack_keys(w->gathered, p->size, count, p->size, w->k + at * w->k_floats);
    for (int64_t i = 0; i < count; i++) {
        memcpy(w->gathered + i * p->value_size, value_at(w, policy->sinks[i]),
               (size_t)p->value_size * sizeof *w->gathered);
    }
    w->kernel->pack_values(w->gathered, p->value_size, count, p->value_size,
                           w->v + at * w->v_floats);
    return count;
}

/* Adds what rows get from n keys whose scores are in place. */
static void add_weighted(head_piece *w, int rows, int64_t n, const float *v, int64_t packed,
                         bool *is_first)
{
    w->kernel->weigh(w->s, rows, n, &w->state);
    w->kernel->combine(w->s, v, rows, n, packed, w->p->value_size, *is_first ? NULL : &w->state,
                       w->o, w->pitch);
    *is_first = false;
}

/* Sinks that a row sees in its window too are left to the window. */
static void run_sinks(head_piece *w, int64_t query, int rows, int64_t count, bool *is_first)
{
    const attention_policy *policy = policy_of(w);
    int64_t at = block_count(w);

    if (count == 0) {
        return;
    }
    w->kernel->scores(w->q, w->k + at * w->k_floats, rows, count, w->p->size, w->s);
    for (int r = 0; r < rows; r++) {
        const attention_row row = {w->image, w->head, query + r, w->keys};
        float *s = w->s + (int64_t)r * ATTENTION_PITCH;

        for (int64_t i = 0; i < count; i++) {
            s[i] = policy->is_flat ? 0.0f : s[i];
            attention_mask_row(w->kernel, w->p, &row, policy->sinks[i], 1, s + i);
            if (in_window(policy, query + r + w->p->past, policy->sinks[i], w->keys)) {
                s[i] = -INFINITY;
            }
        }
    }
    add_weighted(w, rows, count, w->v + at * w->v_floats, count, is_first);
}

/* Only panels of keys that some row of the strip looks at are multiplied. */
static void run_window(head_piece *w, int64_t query, int rows, bool *is_first)
{
    const attention_policy *policy = policy_of(w);
    int64_t row = query + w->p->past;
    int64_t nr = w->kernel->nr;
    int64_t end = attention_visible(w->p, w->keys, query + rows - 1);
    int64_t first;
    int64_t last;

    attention_policy_window(policy, row, w->keys, &first, &last);
    if (first > last) {
        return;
    }
    attention_policy_window(policy, row + rows - 1, w->keys, &(int64_t){0}, &last);
    end = least(end, last + 1);
    while (first < end) {
        int64_t block = first / w->block;
        int64_t inside = (first - block * w->block) / nr * nr;
        int64_t key = block * w->block + inside;
        int64_t n = least(end, (block + 1) * w->block) - key;
        int64_t packed = least(w->keys - block * w->block, w->block);

        score(w, query, rows, w->k + block * w->k_floats + inside * w->p->size, key, n, false,
              w->s);
        add_weighted(w, rows, n, w->v + block * w->v_floats + inside * nr, packed, is_first);
        first = key + n;
    }
}

static void run_policy(head_piece *w)
{
    int64_t sinks = pack_sinks(w);

    for (int64_t query = w->first; query < w->end; query += w->kernel->mr) {
        int rows = (int)least(w->kernel->mr, w->end - query);
        bool is_first = true;

        begin_strip(w, query, rows);
        run_sinks(w, query, rows, sinks, &is_first);
        run_window(w, query, rows, &is_first);
        end_strip(w, query, rows);
    }
}

/* ---- surveys ---- */

/* Makes what lies behind the weights zero, as far as gather looks. */
static void clear_margin(const head_piece *w, int64_t n, float *s)
{
    int64_t from = rounded(n, LINE);

    for (int r = 0; r < w->kernel->mr; r++) {
        memset(s + (int64_t)r * ATTENTION_PITCH + from, 0, 2 * LINE * sizeof *s);
    }
}

/* Weights of one strip in all blocks; returns the keys that it sees. */
static int64_t survey_blocks(head_piece *w, int64_t query, int rows)
{
    int64_t end = attention_visible(w->p, w->keys, query + rows - 1);
    int64_t cuts[ATTENTION_MOST_MR];

    for (int64_t key = 0, i = 0; key < end; key += w->block, i++) {
        int64_t n = least(end - key, w->block);
        float *s = w->s + i * w->kernel->mr * ATTENTION_PITCH;

        for (int r = 0; r < rows; r++) {
            cuts[r] = most(least(query + r + w->p->past - key, n), 0);
        }
        score(w, query, rows, w->k + i * w->k_floats, key, n, true, s);
        w->kernel->weigh_energy(s, rows, n, &w->state);
        w->kernel->combine(s, w->v + i * w->v_floats, rows, n, least(w->keys - key, w->block),
                           w->p->value_size, i > 0 ? &w->state : NULL, w->o, w->pitch);
        clear_margin(w, n, s);
        memcpy(w->tops + i * ATTENTION_MOST_MR, w->state.most, sizeof w->state.most);
        w->kernel->moments(s, rows, n, cuts, &w->parts[i]);
    }
    return end;
}

static void find_factors(const head_piece *w, int rows, int64_t end)
{
    for (int64_t i = 0; i * w->block < end; i++) {
        const float *top = w->tops + i * ATTENTION_MOST_MR;
        float *factor = w->factors + i * ATTENTION_MOST_MR;

        for (int r = 0; r < rows; r++) {
            float decay = top[r] == w->state.most[r] ? 1.0f : exp2f(top[r] - w->state.most[r]);

            factor[r] = w->state.sum[r] > 0.0f ? decay / w->state.sum[r] : 0.0f;
        }
    }
}

/* The numbers of row r, from those of the blocks. The variance is that inside of blocks and that
 * between them: so nothing cancels. */
static void settle_row(const head_piece *w, int64_t query, int r, int64_t end)
{
    const attention_problem *p = w->p;
    const attention_survey *to = p->survey;
    int64_t at = (w->image * p->heads + w->head) * p->rows + query + r;
    double distance = 0.0;
    double mean = 0.0;
    double variance = 0.0;

    for (int64_t i = 0; i * w->block < end; i++) {
        const attention_moments *m = &w->parts[i];
        double factor = (double)w->factors[i * ATTENTION_MOST_MR + r];
        double row = (double)(query + r + p->past - i * w->block);
        double signed_sum = (double)m->first[r] - row * (double)m->sum[r];
        double before = (double)m->first_before[r] - row * (double)m->sum_before[r];

        distance += factor * (signed_sum - 2.0 * before);
        mean += factor * signed_sum;
    }
    for (int64_t i = 0; i * w->block < end; i++) {
        const attention_moments *m = &w->parts[i];
        double factor = (double)w->factors[i * ATTENTION_MOST_MR + r];
        double all = (double)m->sum[r];
        double away = all > 0.0 ? (double)m->first[r] / all -
                                      (double)(query + r + p->past - i * w->block) - mean
                                : 0.0;

        variance += factor * ((double)m->second[r] + all * away * away);
    }
    to->distance[at] = distance;
    to->offset[at] = mean;
    to->variance[at] = variance;
    to->entropy[at] =
        w->state.sum[r] > 0.0f
            ? (double)(logf(w->state.sum[r]) - w->state.energy[r] / w->state.sum[r] * 0.693147181f)
            : 0.0;
}

/* Sums by key and offset for each class of queries that the strip has. */
static void gather_strip(const head_piece *w, int64_t query, int rows, int64_t end)
{
    const attention_problem *p = w->p;
    const attention_survey *to = p->survey;
    int64_t head = w->image * p->heads + w->head;
    const int8_t *classes = to->classes != NULL ? to->classes + w->image * p->rows + query : NULL;

    for (int c = 0; c < to->class_count; c++) {
        bool is_there = false;

        for (int r = 0; r < rows; r++) {
            is_there = is_there || (classes != NULL ? classes[r] == c : c == 0);
        }
        for (int64_t i = 0, key = 0; is_there && key < end; i++, key += w->block) {
            float factors[ATTENTION_MOST_MR];

            for (int r = 0; r < rows; r++) {
                bool counts = classes != NULL ? classes[r] == c : c == 0;

                factors[r] = counts ? w->factors[i * ATTENTION_MOST_MR + r] : 0.0f;
            }
            w->kernel->gather(
                w->s + i * w->kernel->mr * ATTENTION_PITCH, rows, least(end - key, w->block),
                factors, to->columns + (head * to->class_count + c) * p->keys + key,
                to->profile + head * (p->rows + p->keys - 1) + key - query + p->rows - 1);
        }
    }
}

static void sample_rows(const head_piece *w, int64_t query, int rows, int64_t end)
{
    const attention_problem *p = w->p;
    const attention_survey *to = p->survey;

    for (int r = 0; to->samples != NULL && r < rows; r++) {
        int64_t number = (query + r) / to->sample_stride;
        float *sample =
            to->samples + ((w->image * p->heads + w->head) * to->sample_count + number) * p->keys;

        if ((query + r) % to->sample_stride != 0 || number >= to->sample_count) {
            continue;
        }
        memset(sample, 0, (size_t)p->keys * sizeof *sample);
        for (int64_t i = 0, key = 0; key < end; i++, key += w->block) {
            const float *s =
                w->s + i * w->kernel->mr * ATTENTION_PITCH + (int64_t)r * ATTENTION_PITCH;
            float factor = w->factors[i * ATTENTION_MOST_MR + r];

            for (int64_t j = 0; j < least(end - key, w->block); j++) {
                sample[key + j] = s[j] * factor;
            }
        }
    }
}

static void run_survey(head_piece *w)
{
    /* Margins before and between rows. */
    memset(w->s - LINE, 0,
           (size_t)(block_count(w) * w->kernel->mr * ATTENTION_PITCH + 2 * LINE) * sizeof *w->s);
    for (int64_t query = w->first; query < w->end; query += w->kernel->mr) {
        int rows = (int)least(w->kernel->mr, w->end - query);
        int64_t end;

        begin_strip(w, query, rows);
        end = survey_blocks(w, query, rows);
        end_strip(w, query, rows);
        find_factors(w, rows, end);
        for (int r = 0; r < rows; r++) {
            settle_row(w, query, r, end);
        }
        gather_strip(w, query, rows, end);
        sample_rows(w, query, rows, end);
    }
}

void attention_heads_run(const attention_kernel *kernel, const attention_problem *p, int64_t number,
                         float *workspace)
{
    int64_t slices = (p->rows + p->slice - 1) / p->slice;
    head_piece w = {.kernel = kernel,
                    .p = p,
                    .image = number / slices / p->heads,
                    .head = number / slices % p->heads,
                    .first = number % slices * p->slice};

    (void)lay_out(&w, workspace);
    w.end = least(w.first + p->slice, p->rows);
    w.keys = p->lengths != NULL ? least(p->lengths[w.image], p->keys) : p->keys;
    for (int64_t i = 0; i * w.block < w.keys; i++) {
        pack_block(&w, i);
    }
    if (p->survey != NULL) {
        run_survey(&w);
    } else {
        run_policy(&w);
    }
}
