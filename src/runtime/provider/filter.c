/* Attention to the keys that filtering finds (kernels/filter): keys are stored once per head that
 * has its own, then queries find and read their survivors. */
#include <string.h>

#include "base/alloc.h"
#include "ops/key_filter.h"
#include "runtime/attention/attention.h"
#include "runtime/attention/probe.h"
#include "runtime/provider/providers.h"

enum { ROWS_PER_PIECE = 32, ALIGNMENT = 64 };

typedef struct filter_state {
    spry_allocator allocator;
    const filter_kernel *kernel;
    attention_form form;
    int64_t heads;      /* that have thresholds of their own: neighbours in images repeat them */
    filter_rule *rules; /* [heads] */
    float *scales;      /* [heads]: of codes of the keys as they lie in memory */
    bool is_bf16;
    const spry_attention_probe *probe;
    const char *name;
    int64_t members;
    double density; /* share of the keys that the last run kept */
    /* Bytes: of one head's planes (each) and rows (each of K, V), of one worker's room. */
    int64_t plane_bytes, row_bytes, worker_bytes;
} filter_state;

static int64_t whole_lines(int64_t bytes)
{
    return (bytes + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
}

static bool accepts(const provider_site *site)
{
    attention_form form;
    float factor;

    return attention_read_filter(site->node, &factor) && attention_read(site->node, &form);
}

static void destroy(void *state)
{
    filter_state *s = state;
    spry_allocator allocator = s->allocator;

    alloc_release(&allocator, s->rules, (size_t)s->heads * sizeof *s->rules);
    alloc_release(&allocator, s->scales, (size_t)s->heads * sizeof *s->scales);
    alloc_release(&allocator, s, sizeof *s);
}

static filter_rule rule_of(const double *alpha, int64_t heads, int64_t head)
{
    filter_rule rule = {.rounds = KEY_FILTER_ROUNDS};

    for (int r = 0; r < KEY_FILTER_ROUNDS; r++) {
        rule.alpha[r] = alpha[r * heads + head];
    }
    return rule;
}

/* Groups of query heads that share keys, all images. */
static int64_t groups_of(const attention_problem *p)
{
    return p->batch * p->kv_heads;
}

static void measure(filter_state *s)
{
    const attention_problem *p = &s->form.problem;
    filter_keys keys = {.size = p->size, .capacity = p->keys};
    int64_t element = s->is_bf16 ? (int64_t)sizeof(uint16_t) : (int64_t)sizeof(float);

    s->plane_bytes = whole_lines(p->keys * filter_row_bytes(p->size));
    s->row_bytes = whole_lines(p->keys * filter_pitch(p->size) * element);
    s->worker_bytes = whole_lines(filter_workspace(&keys) * (int64_t)sizeof(int32_t) +
                                  (int64_t)sizeof(filter_work));
}

static int64_t head_bytes(const filter_state *s)
{
    return KEY_FILTER_ROUNDS * s->plane_bytes + 2 * s->row_bytes;
}

static spry_status create(const provider_site *site, provider_step *step, spry_error *error)
{
    filter_state *s = alloc_zeroed(site->allocator, sizeof *s);
    const float *scales = provider_constant(site, ATTENTION_SCALE)->data;
    const double *alpha = provider_constant(site, ATTENTION_ALPHA)->data;
    int64_t heads = tensor_count(provider_constant(site, ATTENTION_SCALE));
    attention_problem *p;
    float factor;

    if (s == NULL) {
        return alloc_failed(error, sizeof *s);
    }
    (void)attention_read(site->node, &s->form); /* accepted before */
    (void)attention_read_filter(site->node, &factor);
    p = &s->form.problem;
    s->allocator = *site->allocator;
    s->probe = site->options->attention;
    s->name = site->g->values[site->node->outputs[0]].name;
    s->members = threads_count(site->team);
    s->kernel = filter_select();
    s->heads = heads;
    s->is_bf16 = site->options->precision == SPRY_PRECISION_BF16;
    s->rules = alloc_array(&s->allocator, (size_t)heads, sizeof *s->rules);
    s->scales = alloc_array(&s->allocator, (size_t)heads, sizeof *s->scales);
    if (s->rules == NULL || s->scales == NULL) {
        destroy(s);
        return alloc_failed(error, (size_t)heads * sizeof *s->rules);
    }
    for (int64_t h = 0; h < heads; h++) {
        s->rules[h] = rule_of(alpha, heads, h);
        s->scales[h] = scales[h] / factor;
    }
    measure(s);
    step->state = s;
    step->kernel = s->kernel->name;
    step->plan = s->is_bf16 ? "keys filtered, rows of bf16" : "keys filtered";
    step->threads = (int)provider_least(s->members, p->batch * p->heads * p->rows);
    step->workspace_bytes = (size_t)(groups_of(p) * head_bytes(s) + s->members * s->worker_bytes);
    if (s->probe != NULL && s->probe->filtered != NULL) {
        step->workspace_bytes += (size_t)(p->batch * p->heads * p->rows * p->keys);
    }
    step->density = &s->density;
    return SPRY_OK;
}

/* ---- running ---- */

typedef struct filter_run_call {
    const filter_state *s;
    attention_problem problem;
    char *stored;  /* [groups][head_bytes] */
    char *workers; /* [members][worker_bytes] */
    uint8_t *fate; /* or NULL */
    int64_t pieces_per_head;
    int64_t *refused; /* [members]: the first query that is not finite, or INT64_MAX */
} filter_run_call;

static filter_keys keys_of(const filter_run_call *c, int64_t group)
{
    const filter_state *s = c->s;
    const attention_problem *p = &c->problem;
    char *at = c->stored + group * head_bytes(s);
    int64_t head = group % p->kv_heads * (p->heads / p->kv_heads);
    filter_keys keys = {.size = p->size,
                        .capacity = p->keys,
                        .scale = s->scales[head % s->heads],
                        .is_bf16 = s->is_bf16,
                        .plane_count = KEY_FILTER_ROUNDS,
                        .k = at,
                        .v = at + s->row_bytes};

    for (int r = 0; r < KEY_FILTER_ROUNDS; r++) {
        keys.planes[r] = (uint8_t *)at + 2 * s->row_bytes + r * s->plane_bytes;
    }
    return keys;
}

static void store_groups(void *context, int64_t begin, int64_t end, int worker)
{
    const filter_run_call *c = context;
    const attention_problem *p = &c->problem;

    (void)worker;
    for (int64_t group = begin; group < end; group++) {
        filter_keys keys = keys_of(c, group);
        int64_t batch = group / p->kv_heads;
        int64_t head = group % p->kv_heads;

        (void)filter_append(&keys, p->k.data + batch * p->k.batch + head * p->k.head, p->k.token,
                            p->v.data + batch * p->v.batch + head * p->v.head, p->v.token, p->keys);
    }
}

/* The mask of one head. */
static attention_mask mask_of(const attention_problem *p, int64_t batch, int64_t head)
{
    attention_mask mask = p->mask;
    int64_t size = mask.kind == ATTENTION_ADD ? (int64_t)sizeof(float) : 1;

    if (mask.kind != ATTENTION_NO_MASK) {
        mask.data = (const uint8_t *)mask.data + (batch * mask.batch + head * mask.head) * size;
    }
    return mask;
}

static void filter_pieces(void *context, int64_t begin, int64_t end, int worker)
{
    const filter_run_call *c = context;
    const filter_state *s = c->s;
    const attention_problem *p = &c->problem;
    char *room = c->workers + worker * s->worker_bytes;
    filter_work *work = (filter_work *)(void *)room;
    int32_t *words = (int32_t *)(void *)(work + 1);

    for (int64_t piece = begin; piece < end; piece++) {
        int64_t number = piece / c->pieces_per_head; /* of the head, all images */
        int64_t batch = number / p->heads;
        int64_t head = number % p->heads;
        int64_t first = piece % c->pieces_per_head * ROWS_PER_PIECE;
        int64_t last = first + ROWS_PER_PIECE < p->rows ? first + ROWS_PER_PIECE : p->rows;
        filter_keys keys = keys_of(c, batch * p->kv_heads + head / (p->heads / p->kv_heads));
        filter_call call = {.keys = &keys,
                            .rule = s->rules[head % s->heads],
                            .q = p->q.data + batch * p->q.batch + head * p->q.head,
                            .q_token = p->q.token,
                            .rows = p->rows,
                            .scale = p->scale,
                            .limit = p->keys,
                            .is_causal = p->is_causal,
                            .past = p->past,
                            .mask = mask_of(p, batch, head),
                            .blind = p->blind,
                            .out = p->out + batch * p->out_batch + head * p->out_head,
                            .out_token = p->out_token,
                            .fate_row = p->keys};
        int64_t done;

        keys.count = p->keys;
        if (c->fate != NULL) {
            call.fate = c->fate + number * p->rows * p->keys;
        }
        done = filter_attention(s->kernel, &call, first, last, words, work);
        if (done < last && number * p->rows + done < c->refused[worker]) {
            c->refused[worker] = number * p->rows + done;
        }
    }
}

static spry_status check_rows(const filter_run_call *c, op_call *call)
{
    const attention_problem *p = &c->problem;
    int64_t first = INT64_MAX;

    for (int64_t i = 0; i < c->s->members; i++) {
        first = c->refused[i] < first ? c->refused[i] : first;
    }
    return first == INT64_MAX ? SPRY_OK
                              : op_call_fail(call, SPRY_BAD_INPUT,
                                             "query %lld of head %lld is not a finite number",
                                             (long long)(first % p->rows),
                                             (long long)(first / p->rows % p->heads));
}

static const float *operand(const op_call *call, const filter_state *s, int port)
{
    return (const float *)op_call_input(call, port)->data + s->form.offsets[port];
}

/* Keys and values, then queries, then what was done. */
static spry_status perform(filter_state *s, filter_run_call *c, op_call *call)
{
    const attention_problem *p = &c->problem;
    filter_work work = {0};
    spry_status status;

    for (int64_t i = 0; i < s->members; i++) {
        *(filter_work *)(void *)(c->workers + i * s->worker_bytes) = (filter_work){0};
        c->refused[i] = INT64_MAX;
    }
    threads_for(call->team, groups_of(p), 1, store_groups, c);
    threads_for(call->team, p->batch * p->heads * c->pieces_per_head, 1, filter_pieces, c);
    for (int64_t i = 0; i < s->members; i++) {
        filter_work_add(&work, (filter_work *)(void *)(c->workers + i * s->worker_bytes));
    }
    s->density = work.keys > 0 ? (double)work.kept[FILTER_ROUNDS - 1] / (double)work.keys : 1.0;
    status = check_rows(c, call);
    if (status == SPRY_OK && c->fate != NULL) {
        attention_filtered filtered = {KEY_FILTER_ROUNDS, c->fate, &work};

        s->probe->filtered(s->probe->context, s->name, p, &filtered);
    }
    return status;
}

static spry_status run(void *state, op_call *call, void *workspace)
{
    filter_state *s = state;
    const tensor *mask = op_call_input(call, ATTENTION_MASK);
    filter_run_call c = {.s = s, .problem = s->form.problem, .stored = workspace};
    void *memory;
    tensor *out;
    spry_status status;

    status = provider_output(call, SPRY_DTYPE_F32, &out);
    if (status != SPRY_OK || out == NULL) {
        return status;
    }
    status = op_call_scratch(call, (size_t)s->members * sizeof *c.refused, &memory);
    if (status != SPRY_OK) {
        return status;
    }
    c.refused = memory;
    c.workers = c.stored + groups_of(&c.problem) * head_bytes(s);
    c.pieces_per_head = (c.problem.rows + ROWS_PER_PIECE - 1) / ROWS_PER_PIECE;
    if (s->probe != NULL && s->probe->filtered != NULL) {
        c.fate = (uint8_t *)c.workers + s->members * s->worker_bytes;
    }
    c.problem.q.data = operand(call, s, ATTENTION_Q);
    c.problem.k.data = operand(call, s, ATTENTION_K);
    c.problem.v.data = operand(call, s, ATTENTION_V);
    c.problem.out = out->data;
    if (mask != NULL) {
        int64_t size = c.problem.mask.kind == ATTENTION_ADD ? (int64_t)sizeof(float) : 1;

        c.problem.mask.data = (const uint8_t *)mask->data + s->form.offsets[ATTENTION_MASK] * size;
    }
    return perform(s, &c, call);
}

const provider provider_filter = {"filter", PROVIDER_FUSES_NOTHING, accepts, create, run, destroy};
