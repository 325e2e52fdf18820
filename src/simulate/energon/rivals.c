#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "simulate/energon/study.h"

enum { FLAT_PERCENT = 10 };

double energon_cosine(const float *a, const float *b, int64_t n)
{
    double dot = 0.0;
    double aa = 0.0;
    double bb = 0.0;

    for (int64_t i = 0; i < n; i++) {
        dot += (double)a[i] * (double)b[i];
        aa += (double)a[i] * (double)a[i];
        bb += (double)b[i] * (double)b[i];
    }
    return aa > 0.0 && bb > 0.0 ? dot / sqrt(aa * bb) : aa == bb ? 1.0 : 0.0;
}

/* Softmax over the keys that are kept: their dense weights, made to sum to one again. */
static void judge(const energon_operands *o, int64_t query, const uint8_t *kept, float *out,
                  energon_quality *quality)
{
    const float *weights = o->weights + query * o->keys;
    double mass = 0.0;

    memset(out, 0, (size_t)o->size * sizeof *out);
    for (int64_t j = 0; j < o->keys; j++) {
        if (kept[j]) {
            mass += (double)weights[j];
            for (int64_t t = 0; t < o->size; t++) {
                out[t] += weights[j] * o->v[j * o->size + t];
            }
        }
    }
    for (int64_t t = 0; t < o->size && mass > 0.0; t++) {
        out[t] = (float)((double)out[t] / mass);
    }
    quality->mass += mass;
    quality->cosine += energon_cosine(out, o->dense + query * o->size, o->size);
    quality->queries++;
}

/* ---- A3: greedy search in sorted columns ---- */

typedef struct column_entry {
    float value;
    int32_t row;
} column_entry;

static int by_value(const void *a, const void *b)
{
    const column_entry *x = a;
    const column_entry *y = b;

    return x->value != y->value ? (x->value < y->value ? -1 : 1) : x->row - y->row;
}

typedef struct greedy {
    column_entry *columns;           /* [size][keys], ascending */
    int64_t *from_top, *from_bottom; /* [size]: next entries of the largest and smallest products */
    double *score;
    uint8_t *kept;
    float *out;
} greedy;

static spry_status make_greedy(const energon_operands *o, arena *memory, greedy *g,
                               spry_error *error)
{
    size_t cells = (size_t)(o->keys * o->size);

    g->columns = arena_array(memory, cells, sizeof *g->columns);
    g->from_top = arena_array(memory, (size_t)o->size, sizeof *g->from_top);
    g->from_bottom = arena_array(memory, (size_t)o->size, sizeof *g->from_bottom);
    g->score = arena_array(memory, (size_t)o->keys, sizeof *g->score);
    g->kept = arena_array(memory, (size_t)o->keys, sizeof *g->kept);
    g->out = arena_array(memory, (size_t)o->size, sizeof *g->out);
    if (g->columns == NULL || g->from_top == NULL || g->from_bottom == NULL || g->score == NULL ||
        g->kept == NULL || g->out == NULL) {
        return alloc_failed(error, cells * sizeof *g->columns);
    }
    for (int64_t t = 0; t < o->size; t++) {
        for (int64_t j = 0; j < o->keys; j++) {
            g->columns[t * o->keys + j] = (column_entry){o->k[j * o->size + t], (int32_t)j};
        }
        qsort(g->columns + t * o->keys, (size_t)o->keys, sizeof *g->columns, by_value);
    }
    return SPRY_OK;
}

/* The entry of column t that gives the next largest (or smallest) product: keys ascend, so which
 * end it is follows from the query's sign. */
static const column_entry *next_entry(const greedy *g, const energon_operands *o, const float *q,
                                      int64_t t, bool is_largest)
{
    int64_t used = is_largest ? g->from_top[t] : g->from_bottom[t];
    bool from_high = (q[t] > 0.0F) == is_largest;

    return used >= o->keys ? NULL
                           : &g->columns[t * o->keys + (from_high ? o->keys - 1 - used : used)];
}

static void add_extreme(greedy *g, const energon_operands *o, const float *q, bool is_largest)
{
    const column_entry *best = NULL;
    int64_t column = 0;
    double product = 0.0;

    for (int64_t t = 0; t < o->size; t++) {
        const column_entry *e = next_entry(g, o, q, t, is_largest);
        double p = e != NULL ? (double)e->value * (double)q[t] : 0.0;

        if (e != NULL && (best == NULL || (is_largest ? p > product : p < product))) {
            best = e;
            column = t;
            product = p;
        }
    }
    if (best != NULL && (is_largest ? product > 0.0 : product < 0.0)) {
        g->score[best->row] += product;
    }
    (is_largest ? g->from_top : g->from_bottom)[column]++;
}

spry_status energon_a3_head(energon_study *s, const energon_operands *o, spry_error *error)
{
    energon_pipeline *p = &s->pipelines[ENERGON_A3];
    int64_t rounds = (int64_t)ceil(s->options.a3_rounds * (double)o->keys);
    greedy g = {0};
    arena memory;
    spry_status status;

    arena_init(&memory, NULL, SIZE_MAX);
    status = make_greedy(o, &memory, &g, error);
    if (status == SPRY_OK && o->is_new) { /* keys and values, 16 bits each */
        energon_pipeline_load(p, 4.0 * (double)(o->keys * o->size), p->count > 0);
    }
    for (int64_t i = 0; i < o->queries && status == SPRY_OK; i++) {
        const float *q = o->q + i * o->size;
        const uint8_t *visible = o->visible + i * o->keys;
        energon_step step = {.choosing = rounds};
        float largest = 0.0F;

        memset(g.from_top, 0, (size_t)o->size * sizeof *g.from_top);
        memset(g.from_bottom, 0, (size_t)o->size * sizeof *g.from_bottom);
        memset(g.score, 0, (size_t)o->keys * sizeof *g.score);
        for (int64_t r = 0; r < rounds; r++) {
            add_extreme(&g, o, q, true);
            add_extreme(&g, o, q, false);
        }
        for (int64_t j = 0; j < o->keys; j++) {
            g.kept[j] = visible[j] && g.score[j] > 0.0;
            step.scored += g.kept[j];
            p->cost->visible += visible[j];
            if (g.kept[j]) {
                largest = fmaxf(largest, o->weights[i * o->keys + j]);
            }
        }
        for (int64_t j = 0; j < o->keys; j++) {
            g.kept[j] = g.kept[j] && (double)o->weights[i * o->keys + j] >=
                                         s->options.a3_threshold * (double)largest;
            step.weighed += g.kept[j];
        }
        p->cost->kept += (uint64_t)step.weighed;
        judge(o, i, g.kept, g.out, &s->quality[ENERGON_A3]);
        energon_pipeline_query(p, &step, o->size);
    }
    arena_fini(&memory);
    return status;
}

/* ---- SpAtten: tokens that had little weight so far are dropped ---- */

typedef struct ranked {
    float weight;
    int32_t token;
} ranked;

static int by_weight(const void *a, const void *b)
{
    const ranked *x = a;
    const ranked *y = b;

    return x->weight != y->weight ? (x->weight > y->weight ? -1 : 1) : x->token - y->token;
}

/* Tokens are those of one sequence: where their number changes, all are alive again. */
static spry_status meet_tokens(energon_study *s, int64_t keys, spry_error *error)
{
    if (s->tokens == keys) {
        return SPRY_OK;
    }
    s->importance = arena_array(&s->trace.memory, (size_t)keys, sizeof *s->importance);
    s->alive = arena_array(&s->trace.memory, (size_t)keys, sizeof *s->alive);
    if (s->importance == NULL || s->alive == NULL) {
        return alloc_failed(error, (size_t)keys * sizeof *s->importance);
    }
    memset(s->importance, 0, (size_t)keys * sizeof *s->importance);
    memset(s->alive, 1, (size_t)keys);
    s->tokens = keys;
    return SPRY_OK;
}

/* One query over the tokens that are alive; the largest weights say which values are read. */
static void run_spatten_query(energon_study *s, const energon_operands *o, int64_t i, ranked *list,
                              uint8_t *kept, float *out)
{
    energon_pipeline *p = &s->pipelines[ENERGON_SPATTEN];
    const float *weights = o->weights + i * o->keys;
    energon_step step = {0};
    double sum = 0.0;
    bool is_flat;

    memset(kept, 0, (size_t)o->keys);
    for (int64_t j = 0; j < o->keys; j++) {
        p->cost->visible += o->visible[i * o->keys + j];
        if (o->visible[i * o->keys + j] && s->alive[j]) {
            list[step.scored++] = (ranked){weights[j], (int32_t)j};
            sum += (double)weights[j];
        }
    }
    qsort(list, (size_t)step.scored, sizeof *list, by_weight);
    step.weighed = (int64_t)ceil(s->options.spatten_values * (double)step.scored);
    for (int64_t r = 0; r < step.scored; r++) {
        s->importance[list[r].token] += sum > 0.0 ? (float)((double)list[r].weight / sum) : 0.0F;
        kept[list[r].token] = r < step.weighed;
    }
    is_flat = step.scored > 0 && 100.0 * (double)list[0].weight < FLAT_PERCENT * sum;
    p->cost->kept += (uint64_t)step.weighed;
    judge(o, i, kept, out, &s->quality[ENERGON_SPATTEN]);
    step.scored *= is_flat ? 2 : 1; /* computed again with all bits */
    energon_pipeline_query(p, &step, o->size);
}

spry_status energon_spatten_head(energon_study *s, const energon_operands *o, spry_error *error)
{
    energon_pipeline *p = &s->pipelines[ENERGON_SPATTEN];
    arena memory;
    ranked *list;
    uint8_t *kept;
    float *out;
    int64_t alive = 0;
    bool has_tokens = o->queries == o->keys;
    spry_status status = meet_tokens(s, o->keys, error);

    arena_init(&memory, NULL, SIZE_MAX);
    list = arena_array(&memory, (size_t)o->keys, sizeof *list);
    kept = arena_array(&memory, (size_t)o->keys, sizeof *kept);
    out = arena_array(&memory, (size_t)o->size, sizeof *out);
    if (status == SPRY_OK && (list == NULL || kept == NULL || out == NULL)) {
        status = alloc_failed(error, (size_t)o->keys * sizeof *list);
    }
    for (int64_t j = 0; j < o->keys && status == SPRY_OK; j++) {
        alive += s->alive[j];
    }
    if (status == SPRY_OK && o->is_new) { /* 12 bits of each key, 16 of half of the values */
        energon_pipeline_load(p, (1.5 + 2.0) * (double)(alive * o->size), p->count > 0);
    }
    for (int64_t i = 0; i < o->queries && status == SPRY_OK; i++) {
        if (!has_tokens || s->alive[i]) { /* a token that is gone asks nothing */
            run_spatten_query(s, o, i, list, kept, out);
        }
    }
    arena_fini(&memory);
    return status;
}

void energon_spatten_prune(energon_study *s)
{
    double depth = s->layer_count > 1 ? (double)s->layers / (double)(s->layer_count - 1) : 1.0;
    double share = 1.0 - (1.0 - s->options.spatten_tokens) * fmin(depth, 1.0);
    int64_t left = (int64_t)ceil(share * (double)s->tokens);
    ranked *list = alloc_array(&s->trace.memory.allocator, (size_t)s->tokens + 1, sizeof *list);

    if (list == NULL) {
        s->status = alloc_failed(&s->error, (size_t)s->tokens * sizeof *list);
        return;
    }
    for (int64_t j = 0; j < s->tokens; j++) {
        list[j] = (ranked){s->alive[j] ? s->importance[j] : -1.0F, (int32_t)j};
    }
    qsort(list, (size_t)s->tokens, sizeof *list, by_weight);
    for (int64_t r = left; r < s->tokens; r++) {
        s->alive[list[r].token] = 0;
    }
    alloc_release(&s->trace.memory.allocator, list, ((size_t)s->tokens + 1) * sizeof *list);
}
