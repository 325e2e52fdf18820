/* Attention by blocks, in f32 or bf16. */
#include <string.h>

#include "base/alloc.h"
#include "runtime/attention.h"
#include "runtime/providers.h"

typedef struct attention_state {
    spry_allocator allocator;
    const attention_kernel *kernel;
    attention_form form;
    int64_t floats; /* of workspace per worker */
} attention_state;

static bool accepts(const provider_site *site)
{
    attention_form form;

    return attention_read(site->node, &form);
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
    s->kernel = attention_select(site->options->precision == SPRY_PRECISION_BF16);
    if (s->kernel == NULL) {
        s->kernel = attention_select(false);
    }
    p->slice = attention_slice(s->kernel, p, members);
    s->floats = attention_workspace(s->kernel, p);
    step->state = s;
    step->kernel = s->kernel->name;
    step->threads = (int)provider_least(members, attention_pieces(p));
    step->workspace_bytes = (size_t)s->floats * sizeof(float) * (size_t)members;
    return SPRY_OK;
}

static void destroy(void *state)
{
    attention_state *s = state;
    spry_allocator allocator = s->allocator;

    alloc_release(&allocator, s, sizeof *s);
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
    threads_for(call->team, attention_pieces(&c.problem), 1, run_pieces, &c);
    return SPRY_OK;
}

const provider provider_attention = {"attention", PROVIDER_FUSES_NOTHING, accepts, create, run,
                                     destroy};
