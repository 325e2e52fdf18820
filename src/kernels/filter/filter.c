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

/* Scores of the keys in `index`, or of the first n in round 0, with one more plane. */
static filter_stats score_plane(const filtering *f, int plane, int64_t n, filter_work *work)
{
    filter_stats stats = {.most = INT32_MIN, .least = INT32_MAX};

    for (int64_t at = 0; at < n; at += FILTER_BLOCK) {
        filter_scoring p = {.plane = f->keys->planes[plane],
                            .row_bytes = f->row_bytes,
                            .q = f->q4,
                            .index = plane == 0 ? NULL : f->index + at,
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

static int64_t keep(const filtering *f, bool is_first, int64_t n, int32_t least)
{
    int64_t kept = 0;

    for (int64_t at = 0; at < n; at += FILTER_BLOCK) {
        int64_t block = n - at < FILTER_BLOCK ? n - at : FILTER_BLOCK;

        kept += f->kernel->select(f->s + at, is_first ? NULL : f->index + at, (int32_t)at, block,
                                  least, f->s + kept, f->index + kept);
    }
    return kept;
}

int64_t filter_run(const filter_kernel *kernel, const filter_keys *keys, const filter_rule *rule,
                   const int8_t *q4, int64_t n, int32_t *index, int32_t *s, filter_work *work)
{
    filtering f = {.kernel = kernel,
                   .keys = keys,
                   .q4 = q4,
                   .index = index,
                   .s = s,
                   .row_bytes = filter_row_bytes(keys->size)};
    int rounds = n < FILTER_LEAST_KEYS ? 0 : rule->rounds;

    work->keys += n;
    for (int64_t t = 0; t < 4 * f.row_bytes; t++) {
        f.offset -= 2 * q4[t];
    }
    for (int64_t i = 0; i < n && rounds == 0; i++) {
        index[i] = (int32_t)i;
    }
    for (int r = 0; r < FILTER_ROUNDS; r++) {
        if (r < rounds) {
            filter_stats stats = score_plane(&f, r, n, work);

            if (r == 2) {
                stats = score_plane(&f, 3, n, work);
            }
            n = keep(&f, r == 0, n, filter_threshold(&stats, rule->alpha[r]));
        }
        work->kept[r] += n;
    }
    return n;
}

int64_t filter_workspace(const filter_keys *keys)
{
    return 2 * keys->capacity + filter_row_bytes(keys->size) + 2 * filter_pitch(keys->size);
}

int64_t filter_attention(const filter_kernel *kernel, const filter_call *call, int64_t first,
                         int64_t end, int32_t *workspace, filter_work *work)
{
    const filter_keys *keys = call->keys;
    int64_t pitch = filter_pitch(keys->size);
    int64_t limit = call->limit < keys->count ? call->limit : keys->count;
    int32_t *index = workspace;
    int32_t *s = index + keys->capacity;
    int8_t *q4 = (int8_t *)(s + keys->capacity);
    float *q = (float *)(void *)(s + keys->capacity + filter_row_bytes(keys->size));
    float *result = q + pitch;

    memset(q, 0, (size_t)pitch * sizeof *q);
    for (int64_t row = first; row < end; row++) {
        const float *from = call->q + row * call->q_token;
        float *out = call->out + row * call->out_token;
        int64_t seen = row + call->past + 1;
        int64_t n = call->is_causal && seen < limit ? seen : limit;

        if (!filter_query(from, keys->size, q4)) {
            return row;
        }
        if (n <= 0) {
            memset(out, 0, (size_t)keys->size * sizeof *out);
            continue;
        }
        n = filter_run(kernel, keys, &call->rule, q4, n, index, s, work);
        for (int64_t t = 0; t < keys->size; t++) {
            q[t] = from[t] * (call->scale * ATTENTION_LOG2E);
        }
        kernel->attend(keys, q, index, n, result);
        work->exact_products += 2 * n * keys->size;
        work->key_bytes += n * pitch * (keys->is_bf16 ? 2 : 4);
        work->value_bytes += n * pitch * (keys->is_bf16 ? 2 : 4);
        memcpy(out, result, (size_t)keys->size * sizeof *out);
    }
    return end;
}
