/* Rewriting attention, and what the node that it becomes says. */
#include "runtime/attention/attention.h"

#include <string.h>

#include "base/alloc.h"
#include "model/pass.h"
#include "ops/head_policy.h"
#include "ops/key_filter.h"
#include "runtime/attention/match.h"
#include "runtime/chain.h"

#define FORM "spry_form"   /* the whole numbers of the form */
#define SCALE "spry_scale" /* floats */
#define BLIND "spry_blind"
#define FILL "spry_fill"
#define POLICIES "spry_policies" /* [heads][POLICY_NUMBERS] */
#define FACTOR "spry_key_factor"

static void cost(const op_work *w, int64_t *macs, int64_t *flops)
{
    attention_form form;
    const attention_problem *p = &form.problem;

    if (attention_read(w->node, &form)) {
        *macs = p->batch * p->heads * p->rows * p->keys * (p->size + p->value_size);
        *flops = 2 * *macs;
    }
}

static const op attention_op = {.name = "Attention",
                                .domain = ATTENTION_DOMAIN,
                                .min_inputs = 3,
                                .max_inputs = ATTENTION_FILTER_PORTS,
                                .min_outputs = 1,
                                .max_outputs = 1,
                                .run = chain_refuse_to_run,
                                .cost = cost};

/* ---- the form as an attribute ---- */

enum { FORM_NUMBERS = 27, KIND = FORM_NUMBERS, CAUSAL, FORM_ALL };

/* Every whole number of the form, in the order of the attribute. */
static void list_numbers(attention_form *form, int64_t **numbers)
{
    attention_problem *p = &form->problem;
    int64_t *all[FORM_NUMBERS] = {
        &p->batch,         &p->heads,        &p->kv_heads,  &p->rows,          &p->keys,
        &p->size,          &p->value_size,   &p->past,      &p->q.batch,       &p->q.head,
        &p->q.token,       &p->k.batch,      &p->k.head,    &p->k.token,       &p->v.batch,
        &p->v.head,        &p->v.token,      &p->out_batch, &p->out_head,      &p->out_token,
        &p->mask.batch,    &p->mask.head,    &p->mask.row,  &form->offsets[0], &form->offsets[1],
        &form->offsets[2], &form->offsets[3]};

    memcpy(numbers, all, sizeof all);
}

static spry_status write_form(graph *g, int32_t node, const attention_form *form, spry_error *error)
{
    attention_form copy = *form;
    int64_t *from[FORM_NUMBERS];
    int64_t numbers[FORM_ALL];
    spry_status status;

    list_numbers(&copy, from);
    for (int i = 0; i < FORM_NUMBERS; i++) {
        numbers[i] = *from[i];
    }
    numbers[KIND] = (int64_t)copy.problem.mask.kind;
    numbers[CAUSAL] = copy.problem.is_causal;
    status = graph_set_ints(g, node, FORM, FORM_ALL, numbers, error);
    if (status == SPRY_OK) {
        status = graph_set_float(g, node, SCALE, copy.problem.scale, error);
    }
    if (status == SPRY_OK) {
        status = graph_set_float(g, node, BLIND, copy.problem.blind, error);
    }
    return status == SPRY_OK ? graph_set_float(g, node, FILL, copy.problem.mask.fill, error)
                             : status;
}

bool attention_read(const graph_node *n, attention_form *form)
{
    int64_t count = 0;
    const int64_t *numbers = graph_attribute_ints(n, FORM, &count);
    int64_t *to[FORM_NUMBERS];

    if (strcmp(n->domain, ATTENTION_DOMAIN) != 0 || count != FORM_ALL) {
        return false;
    }
    *form = (attention_form){0};
    list_numbers(form, to);
    for (int i = 0; i < FORM_NUMBERS; i++) {
        *to[i] = numbers[i];
    }
    form->problem.mask.kind = (attention_mask_kind)numbers[KIND];
    form->problem.is_causal = numbers[CAUSAL] != 0;
    form->problem.scale = graph_attribute_float(n, SCALE, 1.0f);
    form->problem.blind = graph_attribute_float(n, BLIND, 0.0f);
    form->problem.mask.fill = graph_attribute_float(n, FILL, 0.0f);
    return true;
}

/* ---- policies as an attribute ---- */

enum { BEFORE, AFTER, COUNT, SINKS, POLICY_NUMBERS = SINKS + ATTENTION_MOST_SINKS };

bool attention_read_policies(const graph_node *n, int64_t heads, attention_policy *policies)
{
    int64_t count = 0;
    const int64_t *numbers = graph_attribute_ints(n, POLICIES, &count);

    if (count != heads * POLICY_NUMBERS) {
        return false;
    }
    for (int64_t h = 0; h < heads; h++, numbers += POLICY_NUMBERS) {
        policies[h] = (attention_policy){.is_dense = numbers[BEFORE] >= HEAD_POLICY_ALL &&
                                                     numbers[AFTER] >= HEAD_POLICY_ALL,
                                         .before = numbers[BEFORE],
                                         .after = numbers[AFTER],
                                         .sink_count = numbers[COUNT]};
        memcpy(policies[h].sinks, numbers + SINKS, sizeof policies[h].sinks);
    }
    return true;
}

/* The sinks of one head in ascending order, without those that stand for none; returns how many. */
static int64_t sort_sinks(const int64_t *from, int64_t count, int64_t *to)
{
    int64_t kept = 0;

    for (int64_t i = 0; i < count; i++) {
        int64_t at = kept;

        while (at > 0 && to[at - 1] > from[i]) {
            at--;
        }
        if (from[i] < 0 || (at > 0 && to[at - 1] == from[i])) {
            continue;
        }
        memmove(to + at + 1, to + at, (size_t)(kept - at) * sizeof *to);
        to[at] = from[i];
        kept++;
    }
    return kept;
}

static spry_status write_policies(graph *g, const attention_match *m, int32_t node, int64_t heads,
                                  spry_error *error)
{
    const graph_node *n = &g->nodes[m->policy];
    const tensor *before = graph_constant(g, n->inputs[HEAD_POLICY_BEFORE]);
    const tensor *after = graph_constant(g, n->inputs[HEAD_POLICY_AFTER]);
    const tensor *sinks = graph_constant(g, n->inputs[HEAD_POLICY_SINKS]);
    int64_t each = tensor_count(sinks) / heads;
    size_t count = (size_t)heads * POLICY_NUMBERS;
    int64_t *numbers = arena_array(g->memory, count, sizeof *numbers);

    if (numbers == NULL) {
        return alloc_failed(error, count * sizeof *numbers);
    }
    for (int64_t h = 0; h < heads; h++) {
        int64_t *to = numbers + h * POLICY_NUMBERS;

        to[BEFORE] = ((const int64_t *)before->data)[h];
        to[AFTER] = ((const int64_t *)after->data)[h];
        to[COUNT] = sort_sinks((const int64_t *)sinks->data + h * each, each, to + SINKS);
    }
    return graph_set_ints(g, node, POLICIES, (int64_t)count, numbers, error);
}

/* Can the kernel do what the policy says of this problem? */
static bool takes_policy(const graph *g, const attention_match *m, attention_form *form)
{
    attention_problem *p = &form->problem;
    const graph_node *n;

    if (m->policy == GRAPH_NONE) {
        return true;
    }
    n = &g->nodes[m->policy];
    /* Rows of HeadPolicy end with the last key. */
    if (tensor_count(graph_constant(g, n->inputs[HEAD_POLICY_BEFORE])) != p->heads ||
        (p->is_causal && p->past != p->keys - p->rows)) {
        return false;
    }
    p->past = p->keys - p->rows;
    p->blind = 0.0f;
    return true;
}

/* ---- filters ---- */

bool attention_read_filter(const graph_node *n, float *factor)
{
    *factor = graph_attribute_float(n, FACTOR, 1.0f);
    return strcmp(n->domain, ATTENTION_DOMAIN) == 0 && n->input_count == ATTENTION_FILTER_PORTS;
}

/* ---- rewriting ---- */

static spry_status rewrite(graph *g, const attention_match *m, const attention_form *form,
                           spry_error *error)
{
    graph_node *n = &g->nodes[m->node];
    spry_status status = SPRY_OK;
    bool has_mask = m->mask_kind != ATTENTION_NO_MASK;
    int32_t *ports = arena_array(g->memory, ATTENTION_FILTER_PORTS, sizeof *ports);

    if (ports == NULL) {
        return alloc_failed(error, ATTENTION_FILTER_PORTS * sizeof *ports);
    }
    ports[ATTENTION_Q] = m->q.base;
    ports[ATTENTION_K] = m->k.base;
    ports[ATTENTION_V] = m->v.base;
    ports[ATTENTION_MASK] = has_mask ? m->mask.base : GRAPH_NONE;
    if (m->filter != GRAPH_NONE) {
        ports[ATTENTION_SCALE] = g->nodes[m->filter].inputs[KEY_FILTER_SCALE];
        ports[ATTENTION_ALPHA] = g->nodes[m->filter].inputs[KEY_FILTER_ALPHA];
    }
    for (int i = 0; i < m->absorbed_count; i++) {
        graph_remove_node(g, m->absorbed[i]);
    }
    n->type = "Attention";
    n->domain = ATTENTION_DOMAIN;
    n->op = &attention_op;
    n->inputs = ports;
    n->input_count = m->filter != GRAPH_NONE ? ATTENTION_FILTER_PORTS
                     : has_mask              ? ATTENTION_PORTS
                                             : ATTENTION_MASK;
    n->output_count = 1;
    n->attributes = NULL;
    n->attribute_count = 0;
    graph_set_output(g, m->node, 0, m->result);
    if (m->policy != GRAPH_NONE) {
        status = write_policies(g, m, m->node, form->problem.heads, error);
    }
    if (status == SPRY_OK && m->filter != GRAPH_NONE) {
        status = graph_set_float(g, m->node, FACTOR, (float)m->k.factor, error);
    }
    return status == SPRY_OK ? write_form(g, m->node, form, error) : status;
}

spry_status attention_graph(graph *g, spry_error *error)
{
    pass_context context = {0};
    arena memory;
    graph_uses uses;
    spry_status status;
    int64_t found = 0;

    arena_init(&memory, &g->memory->allocator, SIZE_MAX);
    status = graph_find_uses(g, &memory, &uses, error);
    for (int32_t i = 0; status == SPRY_OK && i < g->node_count; i++) {
        attention_match m;
        attention_form form;

        if ((attention_match_softmax(g, &uses, i, &m) ||
             attention_match_operator(g, &uses, i, &m)) &&
            attention_settle(&m, &form) && takes_policy(g, &m, &form) &&
            attention_takes_filter(g, &m, &form)) {
            status = rewrite(g, &m, &form, error);
            found++;
        }
    }
    arena_fini(&memory);
    if (status == SPRY_OK && found > 0) {
        status = graph_sort(g, error);
    }
    return status == SPRY_OK && found > 0 ? pass_dead(g, &context, error) : status;
}
