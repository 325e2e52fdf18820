/* The rounds, and the portable variant. */
#include "kernels/filter/filter.h"

#include <math.h>
#include <string.h>

#include "kernels/filter/filter_attend_body.h"
#include "kernels/filter/filter_variants.h"

static void score(const filter_scoring *p, filter_stats *stats)
{
    for (int64_t i = 0; i < p->n; i++) {
        int64_t key = p->index != NULL ? p->index[i] : p->first + i;
        const uint8_t *row = p->plane + key * p->row_bytes;
        int32_t sum = p->bias + (p->again ? 4 * p->s[i] : 0);

        for (int64_t t = 0; t < 4 * p->row_bytes; t++) {
            sum += p->q[t] * (row[t % p->row_bytes] >> 2 * (t / p->row_bytes) & 3);
        }
        p->s[i] = sum;
        stats->most = sum > stats->most ? sum : stats->most;
        stats->least = sum < stats->least ? sum : stats->least;
        stats->sum += sum;
    }
    stats->count += p->n;
}

int64_t filter_select_keys(const int32_t *s, const int32_t *index, int32_t first, int64_t n,
                           int32_t least, int32_t *to_s, int32_t *to_index)
{
    int64_t kept = 0;

    for (int64_t i = 0; i < n; i++) {
        int32_t x = s[i];

        to_index[kept] = index != NULL ? index[i] : first + (int32_t)i;
        to_s[kept] = x;
        kept += x >= least;
    }
    return kept;
}

static const filter_kernel filter__generic = {"filter__generic", score, filter_select_keys,
                                              filter_attend};

const isa_variant filter_variants[] = {
    {"filter__generic", ISA_GENERIC, &filter__generic},
#ifdef SPRY_HAVE_AVX2
    {"filter__avx2", ISA_AVX2, &filter__avx2},
#endif
#ifdef SPRY_HAVE_AVX512VNNI
    {"filter__avx512vnni", ISA_AVX512VNNI, &filter__avx512vnni},
#endif
};
const int filter_variant_count = sizeof filter_variants / sizeof *filter_variants;

const filter_kernel *filter_select(void)
{
    return isa_select(filter_variants, filter_variant_count);
}

int32_t filter_threshold(const filter_stats *stats, double alpha)
{
    int64_t floor_mean = stats->sum / stats->count;
    int32_t least = 0;

    if (alpha == 0.0) {
        /* Integers that reach the mean are those that reach it rounded up: division rounds
         * towards zero, which is up below zero. */
        least = (int32_t)(floor_mean + (stats->sum > floor_mean * stats->count));
    } else {
        double mean = (double)stats->sum / (double)stats->count;
        double end = alpha > 0.0 ? stats->most : stats->least;

        /* What rounding may have added does not cost the keys at a threshold that is an integer. */
        least = (int32_t)ceil(mean + fabs(alpha) * (end - mean) - 0x1p-40 * fabs(end - mean));
    }
    return least < stats->most ? least : stats->most;
}

void filter_work_add(filter_work *to, const filter_work *from)
{
    to->keys += from->keys;
    for (int r = 0; r < FILTER_ROUNDS; r++) {
        to->kept[r] += from->kept[r];
    }
    to->low_products += from->low_products;
    to->code_bytes += from->code_bytes;
    to->exact_products += from->exact_products;
    to->key_bytes += from->key_bytes;
    to->value_bytes += from->value_bytes;
}

bool filter_rule_is_valid(const filter_rule *rule, const filter_keys *keys)
{
    static const int planes[FILTER_ROUNDS + 1] = {0, 1, 2, FILTER_PLANES};

    if (rule->rounds < 0 || rule->rounds > FILTER_ROUNDS ||
        planes[rule->rounds] > keys->plane_count) {
        return false;
    }
    for (int r = 0; r < rule->rounds; r++) {
        if (!(fabs(rule->alpha[r]) < 1.0)) {
            return false;
        }
    }
    return true;
}

bool filter_query(const float *q, int64_t size, int8_t *q4)
{
    float scale = filter_scale(q, size);

    memset(q4, 0, (size_t)(4 * filter_row_bytes(size)));
    for (int64_t t = 0; t < size && !isnan(scale); t++) {
        q4[t] = filter_query_code(filter_code(q[t], scale));
    }
    return !isnan(scale);
}

typedef struct filtering {
    const filter_kernel *kernel;
    const filter_keys *keys;
    const int8_t *q4;
    int32_t *index, *s;
    int64_t row_bytes;
    int32_t offset; /* what codes of plane 0 being 2 too large adds to scores, negated */
} filtering;

/* Scores of the keys in `index`, or of the first n, with one more plane. */
static filter_stats score_plane(const filtering *f, int plane, bool is_listed, int64_t n,
                                filter_work *work)
{
    filter_stats stats = {.most = INT32_MIN, .least = INT32_MAX};

    for (int64_t at = 0; at < n; at += FILTER_BLOCK) {
        filter_scoring p = {.plane = f->keys->planes[plane],
                            .row_bytes = f->row_bytes,
                            .q = f->q4,
                            .index = is_listed ? f->index + at : NULL,
                            .first = (int32_t)at,
                            .n = n - at < FILTER_BLOCK ? n - at : FILTER_BLOCK,
                            .bias = plane == 0 ? f->offset : 0,
                            .again = plane > 0,
                            .s = f->s + at};

        f->kernel->score(&p, &stats);
        work->low_products += p.n * f->keys->size;
        work->code_bytes += p.n * f->row_bytes;
    }
    return stats;
}

static int64_t keep(const filtering *f, bool is_listed, int64_t n, int32_t least)
{
    int64_t kept = 0;

    for (int64_t at = 0; at < n; at += FILTER_BLOCK) {
        int64_t block = n - at < FILTER_BLOCK ? n - at : FILTER_BLOCK;

        kept += f->kernel->select(f->s + at, is_listed ? f->index + at : NULL, (int32_t)at, block,
                                  least, f->s + kept, f->index + kept);
    }
    return kept;
}

static void note_fate(uint8_t *fate, const int32_t *index, int64_t n, int rounds)
{
    for (int64_t i = 0; fate != NULL && i < n; i++) {
        fate[index[i]] = (uint8_t)(rounds + 1);
    }
}

int64_t filter_run(const filter_kernel *kernel, const filter_keys *keys, const filter_rule *rule,
                   const int8_t *q4, const filter_candidates *from, int32_t *index, int32_t *s,
                   filter_work *work)
{
    filtering f = {.kernel = kernel,
                   .keys = keys,
                   .q4 = q4,
                   .index = index,
                   .s = s,
                   .row_bytes = filter_row_bytes(keys->size)};
    int64_t n = from->n;
    int rounds = n < FILTER_LEAST_KEYS ? 0 : rule->rounds;

    work->keys += n;
    for (int64_t t = 0; t < 4 * f.row_bytes; t++) {
        f.offset -= 2 * q4[t];
    }
    for (int64_t i = 0; i < n && !from->is_listed && (rounds == 0 || from->fate != NULL); i++) {
        index[i] = (int32_t)i;
    }
    note_fate(from->fate, index, n, rounds == 0 ? rule->rounds : 0);
    for (int r = 0; r < FILTER_ROUNDS; r++) {
        if (r < rounds) {
            bool is_listed = from->is_listed || r > 0;
            filter_stats stats = score_plane(&f, r, is_listed, n, work);

            if (r == 2) {
                stats = score_plane(&f, 3, true, n, work);
            }
            n = keep(&f, is_listed, n, filter_threshold(&stats, rule->alpha[r]));
            note_fate(from->fate, index, n, r + 1);
        }
        work->kept[r] += n;
    }
    return n;
}

int64_t filter_workspace(const filter_keys *keys)
{
    return 3 * keys->capacity + filter_row_bytes(keys->size) + 2 * filter_pitch(keys->size);
}

/* ---- queries ---- */

/* What one query sees. */
typedef struct sight {
    filter_candidates from;
    bool has_bias; /* some visible key has a number of the mask */
    bool is_blind; /* the mask hides all, and not by infinities: all count, with its numbers */
} sight;

static bool is_hidden(const attention_mask *mask, int64_t at)
{
    switch (mask->kind) {
    case ATTENTION_ADD: return !(((const float *)mask->data)[at] >= FILTER_HIDDEN);
    case ATTENTION_KEEP: return ((const uint8_t *)mask->data)[at] == 0;
    case ATTENTION_HIDE: return ((const uint8_t *)mask->data)[at] != 0;
    default: return false;
    }
}

/* Can a row of which all is hidden still be weighed? */
static bool is_finite_mask(const attention_mask *mask, int64_t row, int64_t n)
{
    const float *added = mask->data;

    if (mask->kind != ATTENTION_ADD) {
        return isfinite(mask->fill);
    }
    for (int64_t i = 0; i < n; i++) {
        if (isfinite(added[row * mask->row + i])) {
            return true;
        }
    }
    return false;
}

static sight look(const filter_call *call, int64_t row, int64_t n, int32_t *index)
{
    const attention_mask *mask = &call->mask;
    sight seen = {.from.n = n};
    int64_t kept = 0;

    if (mask->kind == ATTENTION_NO_MASK || n <= 0) {
        return seen;
    }
    for (int64_t i = 0; i < n; i++) {
        index[kept] = (int32_t)i;
        if (!is_hidden(mask, row * mask->row + i)) {
            seen.has_bias =
                seen.has_bias || (mask->kind == ATTENTION_ADD &&
                                  ((const float *)mask->data)[row * mask->row + i] != 0);
            kept++;
        }
    }
    if (kept == 0 && is_finite_mask(mask, row, n)) {
        seen.is_blind = true;
        seen.has_bias = mask->kind == ATTENTION_ADD;
        return seen;
    }
    seen.from.n = kept;
    seen.from.is_listed = kept < n;
    return seen;
}

typedef struct query_rooms {
    int32_t *index, *s;
    float *bias, *q, *result;
    int8_t *q4;
} query_rooms;

static query_rooms rooms_of(const filter_keys *keys, int32_t *workspace)
{
    query_rooms r = {.q = (float *)(void *)workspace};

    /* Vectors first: the workspace is aligned. */
    r.result = r.q + filter_pitch(keys->size);
    r.q4 = (int8_t *)(r.result + filter_pitch(keys->size));
    r.index = (int32_t *)(void *)(r.q4 + 4 * filter_row_bytes(keys->size));
    r.s = r.index + keys->capacity;
    r.bias = (float *)(void *)(r.s + keys->capacity);
    return r;
}

static const float *list_bias(const filter_call *call, int64_t row, const query_rooms *r, int64_t n)
{
    const float *added = (const float *)call->mask.data + row * call->mask.row;

    /* In units of log 2 the largest floats would become infinite. */
    for (int64_t i = 0; i < n; i++) {
        float x = added[r->index[i]];

        r->bias[i] = x == -INFINITY ? x : fmaxf(x, -2e38f) * ATTENTION_LOG2E;
    }
    return r->bias;
}

static void keep_all(const filter_call *call, int64_t n, const filter_candidates *from,
                     int32_t *index, filter_work *work)
{
    for (int64_t i = 0; i < n; i++) {
        index[i] = (int32_t)i;
    }
    note_fate(from->fate, index, n, call->rule.rounds);
    work->keys += n;
    for (int i = 0; i < FILTER_ROUNDS; i++) {
        work->kept[i] += n;
    }
}

static void attend_row(const filter_kernel *kernel, const filter_call *call, int64_t row,
                       const query_rooms *r, filter_work *work)
{
    const filter_keys *keys = call->keys;
    int64_t limit = call->limit < keys->count ? call->limit : keys->count;
    int64_t seen_last = row + call->past + 1;
    int64_t n = call->is_causal && seen_last < limit ? seen_last : limit;
    const float *from = call->q + row * call->q_token;
    float *out = call->out + row * call->out_token;
    int64_t row_bytes = filter_pitch(keys->size) * (keys->is_bf16 ? 2 : 4);
    sight seen = look(call, row, n, r->index);

    seen.from.fate = call->fate != NULL ? call->fate + row * call->fate_row : NULL;
    if (seen.from.fate != NULL) {
        memset(seen.from.fate, 0, (size_t)call->fate_row);
    }
    if (seen.from.n <= 0) {
        for (int64_t t = 0; t < keys->size; t++) {
            out[t] = call->blind;
        }
        return;
    }
    if (seen.is_blind) {
        keep_all(call, n, &seen.from, r->index, work);
    } else {
        n = filter_run(kernel, keys, &call->rule, r->q4, &seen.from, r->index, r->s, work);
    }
    for (int64_t t = 0; t < keys->size; t++) {
        r->q[t] = from[t] * (call->scale * ATTENTION_LOG2E);
    }
    kernel->attend(keys, r->q, r->index, seen.has_bias ? list_bias(call, row, r, n) : NULL, n,
                   r->result);
    work->exact_products += 2 * n * keys->size;
    work->key_bytes += n * row_bytes;
    work->value_bytes += n * row_bytes;
    memcpy(out, r->result, (size_t)keys->size * sizeof *out);
}

int64_t filter_attention(const filter_kernel *kernel, const filter_call *call, int64_t first,
                         int64_t end, int32_t *workspace, filter_work *work)
{
    query_rooms r = rooms_of(call->keys, workspace);

    memset(r.q, 0, (size_t)filter_pitch(call->keys->size) * sizeof *r.q);
    for (int64_t row = first; row < end; row++) {
        if (!filter_query(call->q + row * call->q_token, call->keys->size, r.q4)) {
            return row;
        }
        attend_row(kernel, call, row, &r, work);
    }
    return end;
}
