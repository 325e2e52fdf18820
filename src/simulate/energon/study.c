#include "simulate/energon/study.h"

#include <math.h>
#include <string.h>

#include "base/alloc.h"

#define HIDDEN_BELOW (-1e30F) /* what is added to a score that shall not count */

energon_study_options energon_study_options_default(const energon_machine *machine)
{
    return (energon_study_options){.machine = machine,
                                   .rule = {.rounds = 2},
                                   .a3_rounds = 0.5,
                                   .a3_threshold = 0.05,
                                   .spatten_tokens = 0.5,
                                   .spatten_values = 0.5};
}

/* ---- a head's operands ---- */

static bool sees(const attention_problem *p, int64_t batch, int64_t head, int64_t query,
                 int64_t key)
{
    const attention_mask *m = &p->mask;
    int64_t at = batch * m->batch + head * m->head + query * m->row + key;

    if ((p->is_causal && key > query + p->past) ||
        (p->lengths != NULL && key >= p->lengths[batch])) {
        return false;
    }
    switch (m->kind) {
    case ATTENTION_ADD: return ((const float *)m->data)[at] > HIDDEN_BELOW;
    case ATTENTION_KEEP: return ((const uint8_t *)m->data)[at] != 0;
    case ATTENTION_HIDE: return ((const uint8_t *)m->data)[at] == 0;
    default: return true;
    }
}

static float *gather(arena *memory, const attention_operand *o, int64_t batch, int64_t head,
                     int64_t count, int64_t size)
{
    float *to = arena_array(memory, (size_t)(count * size) + 1, sizeof *to);

    for (int64_t i = 0; to != NULL && i < count; i++) {
        memcpy(to + i * size, o->data + batch * o->batch + head * o->head + i * o->token,
               (size_t)size * sizeof *to);
    }
    return to;
}

/* Softmax of a row over what it sees, in f64. */
static void weigh(const energon_operands *o, int64_t query, float *weights)
{
    const uint8_t *visible = o->visible + query * o->keys;
    double most = -INFINITY;
    double sum = 0.0;

    for (int64_t j = 0; j < o->keys; j++) {
        double score = 0.0;

        for (int64_t t = 0; t < o->size; t++) {
            score += (double)o->q[query * o->size + t] * (double)o->k[j * o->size + t];
        }
        weights[j] = visible[j] ? (float)(score * (double)o->scale) : -INFINITY;
        most = fmax(most, (double)weights[j]);
    }
    for (int64_t j = 0; j < o->keys; j++) {
        weights[j] = visible[j] ? (float)exp((double)weights[j] - most) : 0.0F;
        sum += (double)weights[j];
    }
    for (int64_t j = 0; j < o->keys && sum > 0.0; j++) {
        weights[j] = (float)((double)weights[j] / sum);
    }
}

static spry_status make_operands(const attention_problem *p, int64_t batch, int64_t head,
                                 arena *memory, energon_operands *o, spry_error *error)
{
    int64_t sharing = p->heads / p->kv_heads;
    size_t cells = (size_t)(p->rows * p->keys);
    uint8_t *visible = arena_array(memory, cells + 1, sizeof *visible);
    float *weights = arena_array(memory, cells + 1, sizeof *weights);
    float *dense = arena_array(memory, (size_t)(p->rows * p->size) + 1, sizeof *dense);

    *o = (energon_operands){.queries = p->rows,
                            .keys = p->keys,
                            .size = p->size,
                            .scale = p->scale,
                            .q = gather(memory, &p->q, batch, head, p->rows, p->size),
                            .k = gather(memory, &p->k, batch, head / sharing, p->keys, p->size),
                            .v = gather(memory, &p->v, batch, head / sharing, p->keys, p->size),
                            .visible = visible,
                            .weights = weights,
                            .dense = dense,
                            .is_new = head % sharing == 0};
    if (visible == NULL || weights == NULL || dense == NULL || o->q == NULL || o->k == NULL ||
        o->v == NULL) {
        return alloc_failed(error, cells * sizeof *weights);
    }
    for (int64_t i = 0; i < p->rows; i++) {
        for (int64_t j = 0; j < p->keys; j++) {
            visible[i * p->keys + j] = sees(p, batch, head, i, j);
        }
        weigh(o, i, weights + i * p->keys);
        memset(dense + i * p->size, 0, (size_t)p->size * sizeof *dense);
        for (int64_t j = 0; j < p->keys; j++) {
            for (int64_t t = 0; t < p->size; t++) {
                dense[i * p->size + t] += weights[i * p->keys + j] * o->v[j * p->size + t];
            }
        }
    }
    return SPRY_OK;
}

/* ---- filtering ---- */

static bool hold_keys(const energon_operands *o, arena *memory, filter_keys *keys)
{
    size_t rows = (size_t)(o->keys * filter_pitch(o->size));

    *keys = (filter_keys){.size = o->size, .capacity = o->keys, .plane_count = FILTER_PLANES};
    keys->scale = filter_scale(o->k, o->keys * o->size);
    keys->k = arena_bytes(memory, rows * sizeof(float));
    keys->v = arena_bytes(memory, rows * sizeof(float));
    for (int i = 0; i < FILTER_PLANES; i++) {
        keys->planes[i] = arena_bytes(memory, (size_t)(o->keys * filter_row_bytes(o->size)));
        if (keys->planes[i] == NULL) {
            return false;
        }
    }
    if (keys->k == NULL || keys->v == NULL) {
        return false;
    }
    (void)filter_append(keys, o->k, o->size, o->v, o->size, o->keys);
    return true;
}

static void judge_own(energon_study *s, const energon_operands *o, const uint8_t *fate,
                      const float *out)
{
    energon_quality *quality = &s->quality[ENERGON_OWN];

    for (int64_t i = 0; i < o->queries; i++) {
        for (int64_t j = 0; j < o->keys; j++) {
            quality->mass += fate[i * o->keys + j] > s->options.rule.rounds
                                 ? (double)o->weights[i * o->keys + j]
                                 : 0.0;
        }
        quality->cosine += energon_cosine(out + i * o->size, o->dense + i * o->size, o->size);
        quality->queries++;
    }
}

static spry_status filter_head(energon_study *s, const energon_operands *o, int64_t stored,
                               arena *memory, spry_error *error)
{
    size_t cells = (size_t)(o->queries * o->keys);
    filter_work work = {0};
    filter_keys keys;
    filter_call call;
    int32_t *room;
    uint8_t *fate = arena_array(memory, cells + 1, sizeof *fate);
    float *out = arena_array(memory, (size_t)(o->queries * o->size) + 1, sizeof *out);
    uint8_t *hidden = arena_array(memory, cells + 1, sizeof *hidden);

    if (fate == NULL || out == NULL || hidden == NULL || !hold_keys(o, memory, &keys)) {
        return alloc_failed(error, cells);
    }
    room = arena_array(memory, (size_t)filter_workspace(&keys) + 1, sizeof *room);
    if (room == NULL) {
        return alloc_failed(error, (size_t)filter_workspace(&keys) * sizeof *room);
    }
    for (size_t i = 0; i < cells; i++) {
        hidden[i] = !o->visible[i];
        fate[i] = 0;
    }
    call = (filter_call){
        .keys = &keys,
        .rule = s->options.rule,
        .q = o->q,
        .q_token = o->size,
        .rows = o->queries,
        .scale = o->scale,
        .limit = o->keys,
        .mask = {.kind = ATTENTION_HIDE, .data = hidden, .row = o->keys, .fill = -INFINITY},
        .out = out,
        .out_token = o->size,
        .fate = fate,
        .fate_row = o->keys};
    if (filter_attention(filter_select(), &call, 0, o->queries, room, &work) < o->queries) {
        return spry_fail(error, SPRY_BAD_INPUT, "queries", NULL, "one is not a finite number");
    }
    judge_own(s, o, fate, out);
    return energon_trace_add(&s->trace, fate, o->queries, o->keys, o->size, stored,
                             s->options.rule.rounds, error);
}

/* ---- what a session shows ---- */

static void count_attention(void *context, const char *name, const attention_problem *p)
{
    energon_study *s = context;

    (void)name;
    (void)p;
    s->layer_count++;
}

static void count_filtered(void *context, const char *name, const attention_problem *p,
                           const attention_filtered *filtered)
{
    (void)filtered;
    count_attention(context, name, p);
}

static spry_status study_head(energon_study *s, const attention_problem *p, int64_t batch,
                              int64_t head, spry_error *error)
{
    int64_t stored =
        ((int64_t)s->layers << 32) + batch * p->kv_heads + head / (p->heads / p->kv_heads);
    energon_operands o;
    arena memory;
    spry_status status;

    arena_init(&memory, NULL, SIZE_MAX);
    status = make_operands(p, batch, head, &memory, &o, error);
    if (status == SPRY_OK) {
        status = filter_head(s, &o, stored, &memory, error);
    }
    if (status == SPRY_OK) {
        status = energon_a3_head(s, &o, error);
    }
    if (status == SPRY_OK) {
        status = energon_spatten_head(s, &o, error);
    }
    arena_fini(&memory);
    return status;
}

static void study_attention(void *context, const char *name, const attention_problem *p)
{
    energon_study *s = context;

    if (s->status == SPRY_OK && p->value_size != p->size) {
        s->status = spry_fail(&s->error, SPRY_UNSUPPORTED, name, NULL,
                              "its values have another size than its keys");
    }
    for (int64_t i = 0; i < p->batch * p->heads && s->status == SPRY_OK; i++) {
        s->status = study_head(s, p, i / p->heads, i % p->heads, &s->error);
    }
    if (s->status == SPRY_OK) {
        energon_spatten_prune(s);
    }
    s->layers++;
}

/* A model that filters itself: its own survivors. */
static void study_filtered(void *context, const char *name, const attention_problem *p,
                           const attention_filtered *filtered)
{
    energon_study *s = context;

    (void)name;
    s->has_rivals = false;
    for (int64_t i = 0; i < p->batch * p->heads && s->status == SPRY_OK; i++) {
        int64_t sharing = p->heads / p->kv_heads;
        int64_t stored =
            ((int64_t)s->layers << 32) + i / p->heads * p->kv_heads + i % p->heads / sharing;

        s->status = energon_trace_add(&s->trace, filtered->fate + i * p->rows * p->keys, p->rows,
                                      p->keys, p->size, stored, filtered->rounds, &s->error);
    }
    s->layers++;
}

static spry_status run_once(const spry_model *m, const spry_feed *feed,
                            const spry_session_options *session, const spry_attention_probe *probe,
                            spry_error *error)
{
    spry_session_options options = *session;
    int32_t count = spry_model_output_count(m);
    spry_allocator own = alloc_resolve(NULL);
    spry_value **outputs = alloc_array(&own, (size_t)count + 1, sizeof(spry_value *));
    spry_session *made = NULL;
    spry_status status;

    options.attention = probe;
    if (outputs == NULL) {
        return alloc_failed(error, (size_t)count * sizeof(spry_value *));
    }
    memset(outputs, 0, ((size_t)count + 1) * sizeof(spry_value *));
    status = spry_session_create(m, &options, &made, error);
    if (status == SPRY_OK) {
        status = spry_feed_run(feed, made, count, outputs, error);
    }
    for (int32_t i = 0; i < count; i++) {
        spry_value_destroy(outputs[i]);
    }
    spry_session_destroy(made);
    alloc_release(&own, outputs, ((size_t)count + 1) * sizeof(spry_value *));
    return status;
}

spry_status energon_study_run(energon_study *s, const energon_study_options *options,
                              const spry_model *m, spry_feed *feed,
                              const spry_session_options *session, spry_error *error)
{
    const spry_attention_probe counts = {
        .context = s, .look = count_attention, .filtered = count_filtered};
    const spry_attention_probe studies = {
        .context = s, .look = study_attention, .filtered = study_filtered};
    spry_status status;

    *s = (energon_study){.options = *options, .has_rivals = true};
    energon_trace_init(&s->trace);
    for (int i = 0; i < ENERGON_WAYS; i++) {
        energon_pipeline_begin(&s->pipelines[i], options->machine, s->begun[i], &s->costs[i]);
    }
    status = run_once(m, feed, session, &counts, error);
    if (status == SPRY_OK && s->layer_count == 0) {
        return spry_fail(error, SPRY_UNSUPPORTED, "model", NULL,
                         "it has no attention that is "
                         "recognised");
    }
    if (status == SPRY_OK) {
        status = run_once(m, feed, session, &studies, error);
    }
    if (status == SPRY_OK && s->status != SPRY_OK) {
        *error = s->error;
        return s->status;
    }
    if (status == SPRY_OK) {
        s->costs[ENERGON_OWN] = (energon_cost){0};
        status = energon_run(options->machine, &s->trace, false, &s->costs[ENERGON_OWN], error);
    }
    if (status == SPRY_OK) {
        s->costs[ENERGON_DENSE] = (energon_cost){0};
        status = energon_run(options->machine, &s->trace, true, &s->costs[ENERGON_DENSE], error);
    }
    return status;
}

void energon_study_fini(energon_study *s)
{
    energon_trace_fini(&s->trace);
}
