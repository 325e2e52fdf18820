/* The loops around the steps of a strip, and the portable variant. */
#include "kernels/attention/attention_f32.h"

#include <math.h>

#include "kernels/attention/attention_rows.h"

#define TILE_ROWS 4
#include "kernels/attention/attention_f32_body.h"
#include "kernels/attention/attention_f32_variants.h"

static const attention_kernel attention_f32_4x8__generic =
    ATTENTION_F32("attention_f32_4x8__generic");

const isa_variant attention_f32_variants[] = {
    {"attention_f32_4x8__generic", ISA_GENERIC, &attention_f32_4x8__generic},
#ifdef SPRY_HAVE_AVX2
    {"attention_f32_6x16__avx2", ISA_AVX2, &attention_f32_6x16__avx2},
#endif
#ifdef SPRY_HAVE_AVX512
    {"attention_f32_14x32__avx512", ISA_AVX512, &attention_f32_14x32__avx512},
#endif
};
const int attention_f32_variant_count =
    sizeof attention_f32_variants / sizeof *attention_f32_variants;

const attention_kernel *attention_select(bool bf16)
{
    if (!bf16) {
        return isa_select(attention_f32_variants, attention_f32_variant_count);
    }
#ifdef SPRY_HAVE_AVX512BF16
    if (isa_has_bf16()) {
        return &attention_bf16_14x32__avx512bf16;
    }
#endif
    return NULL;
}

/* ---- pieces of work ---- */

enum { MOST_SLICE = 1024, ALIGNED = 16 /* floats of a cache line */ };

static int64_t least(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

static int64_t rounded(int64_t extent, int64_t unit)
{
    return (extent + unit - 1) / unit * unit;
}

/* Groups of heads that are done together: those that share keys, or each alone. */
static int64_t groups(const attention_problem *p)
{
    return attention_goes_by_heads(p) ? p->heads : p->kv_heads;
}

/* Queries that share keys and values: those of all heads of a group, one head after the other. */
static int64_t queries(const attention_problem *p)
{
    return p->heads / groups(p) * p->rows;
}

int64_t attention_slice(const attention_kernel *kernel, const attention_problem *p, int workers)
{
    /* Keys are packed once per slice: below so many queries, that would take longer than work that
     * is shared out better would save. */
    enum { LEAST_SLICE = 56, PIECES_PER_WORKER = 3 };
    int64_t total = queries(p);
    int64_t parts = (total + MOST_SLICE - 1) / MOST_SLICE;
    int64_t wanted = (int64_t)workers * PIECES_PER_WORKER / (p->batch * groups(p));

    if (p->survey != NULL) {
        return total; /* sums over all queries of a head, in order */
    }
    if (workers > 1 && parts < wanted) {
        parts = least(wanted, total / LEAST_SLICE > parts ? total / LEAST_SLICE : parts);
    }
    return rounded((total + parts - 1) / parts, kernel->mr);
}

int64_t attention_pieces(const attention_problem *p)
{
    return p->batch * groups(p) * ((queries(p) + p->slice - 1) / p->slice);
}

/* ---- one piece ---- */

/* Where a piece keeps things, and what it is. */
typedef struct piece {
    const attention_kernel *kernel;
    const attention_problem *p;
    int64_t image, group;
    int64_t first, end; /* queries of the group */
    int64_t keys;       /* that count for this image */
    float *k, *v;       /* a packed block */
    float *q;           /* packed queries of the slice: see query_place */
    float *s;           /* a strip */
    float *o;           /* [slice][pitch] results so far */
    int64_t pitch;
    attention_rows *states; /* per strip */
} piece;

static int64_t keys_in_block(const attention_problem *p)
{
    return least(p->keys, ATTENTION_BLOCK);
}

/* Packed queries of strips lie side by side, as many as fit into the space between rows: they stay
 * for all blocks, because the rows they are from lie far apart and would drive keys and values out
 * of the cache. */
static int64_t query_floats(const attention_problem *p)
{
    return rounded(p->size, ALIGNED);
}

static int64_t strips_side_by_side(const attention_problem *p)
{
    return ATTENTION_PITCH / query_floats(p);
}

static float *query_place(const piece *w, int64_t query)
{
    int64_t strip = (query - w->first) / w->kernel->mr;
    int64_t side_by_side = strips_side_by_side(w->p);

    return w->q + strip / side_by_side * w->kernel->mr * ATTENTION_PITCH +
           strip % side_by_side * query_floats(w->p);
}

/* Lays the piece's memory out from `workspace` on; returns the floats it takes. */
static int64_t lay_out(piece *w, float *workspace)
{
    const attention_problem *p = w->p;
    int64_t block = keys_in_block(p);
    int64_t strip = (int64_t)w->kernel->mr * ATTENTION_PITCH;
    int64_t rows = rounded(p->slice, w->kernel->mr);
    int64_t strips = rows / w->kernel->mr;
    int64_t across = strips_side_by_side(p);
    /* One more of an odd number of elements or keys: bf16 goes by pairs. */
    int64_t k_floats = rounded(block, w->kernel->nr) * (p->size + 1);
    int64_t v_floats = (block + 1) * rounded(p->value_size, w->kernel->nr);
    int64_t at = 0;

    w->pitch = rounded(p->value_size, w->kernel->nr);
    w->q = workspace;
    at += (strips + across - 1) / across * rounded(strip, ALIGNED);
    w->s = workspace + at;
    at += rounded(strip, ALIGNED);
    w->k = workspace + at;
    at += rounded(k_floats, ALIGNED);
    w->v = workspace + at;
    at += rounded(v_floats, ALIGNED);
    w->o = workspace + at;
    at += rounded(rows * w->pitch, ALIGNED);
    w->states = (attention_rows *)(void *)(workspace + at);
    return at + strips * (int64_t)(sizeof *w->states / sizeof *workspace);
}

int64_t attention_workspace(const attention_kernel *kernel, const attention_problem *p)
{
    static float nowhere[1];
    piece w = {.kernel = kernel, .p = p};

    return attention_goes_by_heads(p) ? attention_heads_workspace(kernel, p) : lay_out(&w, nowhere);
}

/* A query of the group: which head, and which row of it. */
typedef struct place {
    int64_t head, row;
} place;

static place place_of(const piece *w, int64_t query)
{
    return (place){w->group * (w->p->heads / w->p->kv_heads) + query / w->p->rows,
                   query % w->p->rows};
}

static void step(const piece *w, place *at)
{
    if (++at->row == w->p->rows) {
        at->row = 0;
        at->head++;
    }
}

int64_t attention_visible(const attention_problem *p, int64_t keys, int64_t row)
{
    int64_t end = row + p->past + 1;

    return p->is_causal && end < keys ? (end > 0 ? end : 0) : keys;
}

/* Keys that some query of the strip sees. */
static int64_t strip_end(const piece *w, place at, int rows)
{
    /* The last row of the strip sees most, unless the strip goes on with the next head. */
    int64_t last = at.row + rows - 1;

    return attention_visible(w->p, w->keys, last < w->p->rows ? last : w->p->rows - 1);
}

/* As attention_mask_units does it. */
static float fill_units(float fill)
{
    return fill == -INFINITY ? fill : (fill < -2e38f ? -2e38f : fill) * ATTENTION_LOG2E;
}

void attention_mask_row(const attention_kernel *kernel, const attention_problem *p,
                        const attention_row *row, int64_t key, int64_t n, float *s)
{
    const attention_mask *m = &p->mask;
    int64_t at = row->image * m->batch + row->head * m->head + row->row * m->row + key;
    int64_t end = attention_visible(p, row->keys, row->row) - key;

    if (m->kind == ATTENTION_ADD) {
        kernel->add(s, (const float *)m->data + at, n);
    } else if (m->kind != ATTENTION_NO_MASK) {
        const uint8_t *bytes = (const uint8_t *)m->data + at;
        float fill = fill_units(m->fill);
        bool kept = m->kind == ATTENTION_KEEP;

        for (int64_t j = 0; j < n; j++) {
            s[j] = (bytes[j] != 0) == kept ? s[j] : fill;
        }
    }
    for (int64_t j = end > 0 ? end : 0; j < n; j++) {
        s[j] = -INFINITY;
    }
}

/* Has floats near by the time they are read: rows of a head lie far apart, which the hardware does
 * not foresee. */
static void ask_for(const float *from, int64_t size)
{
    for (int64_t e = 0; e < size; e += ALIGNED) {
        __builtin_prefetch(from + e, 0, 2);
    }
}

/* Asks for a row of queries; rows beyond the last one are the next head's. */
static void ask_for_query(const piece *w, place at)
{
    const attention_problem *p = w->p;

    if (at.row >= p->rows) {
        at = (place){at.head + 1, at.row - p->rows};
    }
    if (at.head < p->heads && at.row < p->rows) {
        ask_for(p->q.data + w->image * p->q.batch + at.head * p->q.head + at.row * p->q.token,
                p->size);
    }
}

static void pack_strip(const piece *w, place at, int rows, float *to)
{
    const attention_problem *p = w->p;
    const float *q = p->q.data + w->image * p->q.batch;
    const float *rows_of_q[ATTENTION_MOST_MR] = {NULL};

    for (int r = 0; r < rows; r++, step(w, &at)) {
        rows_of_q[r] = q + at.head * p->q.head + at.row * p->q.token;
        ask_for_query(w, (place){at.head, at.row + w->kernel->mr}); /* the next strip's */
    }
    w->kernel->pack_queries(rows_of_q, rows, p->size, p->scale * ATTENTION_LOG2E, to);
}

/* Scores of the strip of queries from `query` on against the n keys from `key` on, whose packed
 * block is in place. */
static void score_strip(const piece *w, int64_t query, int rows, int64_t key, int64_t n)
{
    const attention_problem *p = w->p;
    place at = place_of(w, query);

    w->kernel->scores(query_place(w, query), w->k, rows, n, p->size, w->s);
    if (p->mask.kind == ATTENTION_NO_MASK && !p->is_causal) {
        return;
    }
    for (int r = 0; r < rows; r++, step(w, &at)) {
        const attention_row row = {w->image, at.head, at.row, w->keys};

        attention_mask_row(w->kernel, p, &row, key, n, w->s + (int64_t)r * ATTENTION_PITCH);
    }
}

static int strip_rows(const piece *w, int64_t query)
{
    return (int)least(w->kernel->mr, w->end - query);
}

static attention_rows *state_of(const piece *w, int64_t query)
{
    return &w->states[(query - w->first) / w->kernel->mr];
}

static void pack_keys_of(const piece *w, int64_t key, int64_t n)
{
    const attention_operand *k = &w->p->k;

    w->kernel->pack_keys(k->data + w->image * k->batch + w->group * k->head + key * k->token,
                         k->token, n, w->p->size, w->k);
}

/* Asks for a strip's share of the keys and values that come after the block that ends at `end`: the
 * next ones, or the first ones again, or those of the next head. */
static void ask_for_next(const piece *w, int64_t query, int64_t end)
{
    const attention_problem *p = w->p;
    bool is_last = end >= w->keys;
    int64_t group = is_last && w->end == queries(p) ? w->group + 1 : w->group;
    int64_t first = is_last ? 0 : end;
    int64_t rows = least(w->keys - first, ATTENTION_BLOCK);
    int64_t strips = (w->end - w->first + w->kernel->mr - 1) / w->kernel->mr;
    int64_t share = (rows + strips - 1) / strips;
    int64_t row = (query - w->first) / w->kernel->mr * share;
    const float *k;
    const float *v;

    if (group == p->kv_heads) {
        return;
    }
    k = p->k.data + w->image * p->k.batch + group * p->k.head + first * p->k.token;
    v = p->v.data + w->image * p->v.batch + group * p->v.head + first * p->v.token;
    for (int64_t stop = least(rows, row + share); row < stop; row++) {
        ask_for(k + row * p->k.token, p->size);
        ask_for(v + row * p->v.token, p->value_size);
    }
}

/* Where the results of a strip go: memory that is asked for before it is written. */
static void find_results(const piece *w, place at, int rows, float **to)
{
    const attention_problem *p = w->p;

    for (int r = 0; r < rows; r++, step(w, &at)) {
        to[r] = p->out + w->image * p->out_batch + at.head * p->out_head + at.row * p->out_token;
        for (int64_t e = 0; e < p->value_size; e += ALIGNED) {
            __builtin_prefetch(to[r] + e, 1);
        }
    }
}

void attention_finish_rows(const attention_kernel *kernel, const attention_problem *p,
                           const attention_rows *state, const float *o, int64_t pitch, int rows,
                           float *const *to)
{
    float factors[ATTENTION_MOST_MR] = {0};

    for (int r = 0; r < rows; r++) {
        factors[r] = state->sum[r] == 0.0f ? 0.0f : 1.0f / state->sum[r];
    }
    kernel->finish(o, pitch, rows, p->value_size, factors, to);
    for (int r = 0; r < rows; r++) {
        for (int64_t i = 0; state->sum[r] == 0.0f && i < p->value_size; i++) {
            to[r][i] = p->blind;
        }
    }
}

/* All strips against keys [key, key + n), the last ones of this piece or not. */
static void run_block(const piece *w, int64_t key, int64_t n)
{
    const attention_problem *p = w->p;
    const attention_operand *v = &p->v;
    bool is_last = key + n >= w->keys;

    pack_keys_of(w, key, n);
    w->kernel->pack_values(v->data + w->image * v->batch + w->group * v->head + key * v->token,
                           v->token, n, p->value_size, w->v);
    for (int64_t query = w->first; query < w->end; query += w->kernel->mr) {
        int rows = strip_rows(w, query);
        place at = place_of(w, query);
        int64_t seen = least(strip_end(w, at, rows) - key, n);
        attention_rows *state = state_of(w, query);
        float *to[ATTENTION_MOST_MR] = {NULL};

        if (key == 0) {
            pack_strip(w, at, rows, query_place(w, query));
        }
        if (is_last) {
            find_results(w, at, rows, to);
        }
        if (seen > 0) {
            ask_for_next(w, query, key + n);
            score_strip(w, query, rows, key, seen);
            w->kernel->weigh(w->s, rows, seen, state);
            w->kernel->combine(w->s, w->v, rows, seen, n, p->value_size, key > 0 ? state : NULL,
                               w->o + (query - w->first) * w->pitch, w->pitch);
        }
        if (is_last) {
            attention_finish_rows(w->kernel, p, state, w->o + (query - w->first) * w->pitch,
                                  w->pitch, rows, to);
        }
    }
}

/* ---- observers ---- */

/* Rows from r on that are of one head. */
static int run_of_rows(const piece *w, const place *at, int rows, int r)
{
    return (int)least(rows - r, w->p->rows - at->row);
}

/* Shows the weights of one strip against one block, head by head. */
static void show(const piece *w, place at, int rows, int64_t key, int64_t n)
{
    const attention_observer *see = w->p->observer;

    for (int r = 0, count; r < rows; r += count) {
        count = run_of_rows(w, &at, rows, r);
        see->see(see->context, w->image, at.head, at.row, count, key, n,
                 w->s + (int64_t)r * ATTENTION_PITCH, ATTENTION_PITCH);
        at = (place){at.head + 1, 0};
    }
}

/* The keys that the observer wants of a strip: what it wants of any head in it. */
static void wanted_keys(const piece *w, place at, int rows, int64_t *first, int64_t *end)
{
    const attention_observer *see = w->p->observer;

    *first = w->p->keys;
    *end = 0;
    for (int r = 0, count; r < rows; r += count) {
        int64_t from = 0;
        int64_t to = w->p->keys;

        count = run_of_rows(w, &at, rows, r);
        if (see->range != NULL) {
            see->range(see->context, w->image, at.head, at.row, count, &from, &to);
        }
        *first = least(*first, from > 0 ? from : 0);
        *end = to > *end ? least(to, w->p->keys) : *end;
        at = (place){at.head + 1, 0};
    }
}

/* A second pass over the scores, with the sums that the first one found. */
static void observe(const piece *w)
{
    for (int64_t query = w->first; query < w->end; query += w->kernel->mr) {
        int rows = strip_rows(w, query);
        place at = place_of(w, query);
        int64_t key;
        int64_t end;

        wanted_keys(w, at, rows, &key, &end);
        for (; key < end; key += ATTENTION_BLOCK) {
            int64_t n = least(end - key, ATTENTION_BLOCK);

            pack_keys_of(w, key, n);
            score_strip(w, query, rows, key, n);
            for (int r = 0; r < rows && w->keys < w->p->keys; r++) {
                float *s = w->s + (int64_t)r * ATTENTION_PITCH;

                for (int64_t j = w->keys > key ? w->keys - key : 0; j < n; j++) {
                    s[j] = -INFINITY;
                }
            }
            w->kernel->normalise(w->s, rows, n, state_of(w, query));
            show(w, at, rows, key, n);
        }
    }
}

void attention_run(const attention_kernel *kernel, const attention_problem *p, int64_t number,
                   float *workspace)
{
    int64_t slices = (queries(p) + p->slice - 1) / p->slice;
    piece w = {.kernel = kernel, .p = p};

    if (attention_goes_by_heads(p)) {
        attention_heads_run(kernel, p, number, workspace);
        return;
    }
    (void)lay_out(&w, workspace);
    w.image = number / slices / p->kv_heads;
    w.group = number / slices % p->kv_heads;
    w.first = number % slices * p->slice;
    w.end = least(w.first + p->slice, queries(p));
    w.keys = p->lengths != NULL ? least(p->lengths[w.image], p->keys) : p->keys;
    for (int64_t query = w.first; query < w.end; query += kernel->mr) {
        attention_rows *state = state_of(&w, query);

        for (int r = 0; r < ATTENTION_MOST_MR; r++) {
            state->most[r] = -INFINITY;
            state->sum[r] = 0.0f;
        }
    }
    for (int64_t key = 0; key == 0 || key < w.keys; key += ATTENTION_BLOCK) {
        run_block(&w, key, least(w.keys - key, ATTENTION_BLOCK));
    }
    if (p->observer != NULL) {
        observe(&w);
    }
}
