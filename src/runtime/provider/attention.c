/* Attention by blocks, in f32 or bf16. */
#include <string.h>

#include "base/alloc.h"
#include "runtime/attention/attention.h"
#include "runtime/attention/probe.h"
#include "runtime/provider/providers.h"

typedef struct attention_state {
    spry_allocator allocator;
    const attention_kernel *kernel;
    attention_form form;
    int64_t floats; /* of workspace per worker */
    const spry_attention_probe *probe;
    const char *name;           /* of the result, for the probe */
    int64_t members;            /* workers; the survey's memory comes behind theirs */
    attention_policy *policies; /* [heads]; NULL: all look at all keys */
} attention_state;

static bool accepts(const provider_site *site)
{
    attention_form form;
    float factor;

    return attention_read(site->node, &form) && !attention_read_filter(site->node, &factor);
}

/* Heads are looked into, and restricted, in f32. */
static const attention_kernel *choose_kernel(const provider_site *site, const attention_problem *p)
{
    bool bf16 = site->options->precision == SPRY_PRECISION_BF16 &&
                site->options->attention == NULL && p->policies == NULL;
    const attention_kernel *kernel = attention_select(bf16);

    return kernel != NULL ? kernel : attention_select(false);
}

/* Floats per worker, in whole cache lines: for what a run may need. */
static int64_t measure_workspace(const attention_state *s, const attention_problem *p)
{
    static const attention_survey any_survey;
    static const attention_policy any_policy;
    attention_problem as = *p;
    int64_t most = 0;

    for (int way = 0; way < (s->probe != NULL ? 3 : 1); way++) {
        int64_t floats;

        as.survey = way == 1 ? &any_survey : NULL;
        as.policies = way == 2 ? &any_policy : p->policies;
        as.slice = attention_slice(s->kernel, &as, (int)s->members);
        floats = (attention_workspace(s->kernel, &as) + 15) / 16 * 16;
        most = floats > most ? floats : most;
    }
    return most;
}

static void destroy(void *state)
{
    attention_state *s = state;
    spry_allocator allocator = s->allocator;

    alloc_release(&allocator, s->policies, (size_t)s->form.problem.heads * sizeof *s->policies);
    alloc_release(&allocator, s, sizeof *s);
}

static spry_status read_policies(const provider_site *site, attention_state *s, spry_error *error)
{
    attention_problem *p = &s->form.problem;
    size_t bytes = (size_t)p->heads * sizeof *s->policies;

    s->policies = alloc_array(&s->allocator, (size_t)p->heads, sizeof *s->policies);
    if (s->policies == NULL) {
        return alloc_failed(error, bytes);
    }
    if (attention_read_policies(site->node, p->heads, s->policies)) {
        p->policies = s->policies;
    } else {
        alloc_release(&s->allocator, s->policies, bytes);
        s->policies = NULL;
    }
    return SPRY_OK;
}

static spry_status create(const provider_site *site, provider_step *step, spry_error *error)
{
    attention_state *s = alloc_zeroed(site->allocator, sizeof *s);
    int members = threads_count(site->team);
    attention_problem *p;

    if (s == NULL) {
        return alloc_failed(error, sizeof *s);
    }
    (void)attention_read(site->node, &s->form); /* accepted before */
    p = &s->form.problem;
    s->allocator = *site->allocator;
    s->probe = site->options->attention;
    s->name = site->g->values[site->node->outputs[0]].name;
    s->members = members;
    if (read_policies(site, s, error) != SPRY_OK) {
        destroy(s);
        return SPRY_LIMIT;
    }
    s->kernel = choose_kernel(site, p);
    s->floats = measure_workspace(s, p);
    p->slice = attention_slice(s->kernel, p, members);
    step->state = s;
    step->kernel = s->kernel->name;
    step->plan = p->policies != NULL ? "head policies" : NULL;
    step->threads = (int)provider_least(members, attention_pieces(p));
    step->workspace_bytes = (size_t)s->floats * sizeof(float) * (size_t)members;
    if (s->probe != NULL) {
        step->workspace_bytes += attention_probe_bytes(s->probe, p);
    }
    return SPRY_OK;
}

typedef struct attention_call {
    const attention_state *s;
    attention_problem problem;
    float *workspace;
} attention_call;

static void run_pieces(void *context, int64_t begin, int64_t end, int worker)
{
    const attention_call *c = context;

    for (int64_t piece = begin; piece < end; piece++) {
        attention_run(c->s->kernel, &c->problem, piece, c->workspace + worker * c->s->floats);
    }
}

static const float *operand(const op_call *call, const attention_state *s, int port)
{
    return (const float *)op_call_input(call, port)->data + s->form.offsets[port];
}

static void run_probed(const attention_state *s, attention_call *c, threads *team)
{
    const spry_attention_probe *probe = s->probe;
    attention_problem *p = &c->problem;
    attention_survey survey;

    if (probe->policies != NULL) {
        const attention_policy *policies = probe->policies(probe->context, s->name, p->heads);

        p->policies = policies != NULL ? policies : p->policies;
    }
    if (probe->see != NULL) {
        survey = attention_probe_survey(probe, p, c->workspace + s->members * s->floats);
        p->survey = &survey;
    }
    p->slice = attention_slice(s->kernel, p, (int)s->members);
    threads_for(team, attention_pieces(p), 1, run_pieces, c);
    if (probe->see != NULL) {
        probe->see(probe->context, s->name, p, &survey);
    }
    if (probe->look != NULL) {
        probe->look(probe->context, s->name, p);
    }
}

static spry_status run(void *state, op_call *call, void *workspace)
{
    const attention_state *s = state;
    const tensor *mask = op_call_input(call, ATTENTION_MASK);
    attention_call c = {.s = s, .problem = s->form.problem, .workspace = workspace};
    tensor *out;
    spry_status status;

    status = provider_output(call, SPRY_DTYPE_F32, &out);
    if (status != SPRY_OK || out == NULL) {
        return status;
    }
    c.problem.q.data = operand(call, s, ATTENTION_Q);
    c.problem.k.data = operand(call, s, ATTENTION_K);
    c.problem.v.data = operand(call, s, ATTENTION_V);
    c.problem.out = out->data;
    if (mask != NULL) {
        int64_t size = c.problem.mask.kind == ATTENTION_ADD ? (int64_t)sizeof(float) : 1;

        c.problem.mask.data = (const uint8_t *)mask->data + s->form.offsets[ATTENTION_MASK] * size;
    }
    if (s->probe != NULL) {
        run_probed(s, &c, call->team);
    } else {
        threads_for(call->team, attention_pieces(&c.problem), 1, run_pieces, &c);
    }
    return SPRY_OK;
}

const provider provider_attention = {"attention", PROVIDER_FUSES_NOTHING, accepts, create, run,
                                     destroy};
