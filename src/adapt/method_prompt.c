/* Prompts: tokens that are learnt, between the class token and the patches of a vision transformer.
 * Before the first block they are inserted; before later ones the places where they were get tokens
 * of their own (deep), or keep what the block before made of them (shallow). */
#include <math.h>

#include "adapt/build.h"
#include "adapt/method.h"
#include "adapt/tokens.h"
#include "base/alloc.h"
#include "model/infer.h"
#include "model/pass.h"
#include "tensor/convert.h"

typedef struct prompting {
    rewrite *job;
    const uint8_t *axes; /* tokens of the values of job->s */
    int32_t first;       /* value: the sequence before the first block */
    int64_t tokens, width;
    int64_t lead;  /* tokens before the prompts: 1 with a class token */
    double bound;  /* of what is drawn */
    int32_t batch; /* value: a list of the batch, 1, 1 */
    spry_error *error;
} prompting;

static spry_status refuse(const rewrite *job, const char *what, spry_error *error)
{
    return spry_fail(error, SPRY_UNSUPPORTED, job->m->path, "use lora, adapter, bias or full", "%s",
                     what);
}

/* ---- looking ---- */

/* The sequence before block `index`; GRAPH_NONE unless it is one of batch, tokens, features. */
static int32_t stream_of(const rewrite *job, int32_t index)
{
    int32_t id = job->found.attentions[index].around.stream;
    const graph_type *type = id != GRAPH_NONE ? &job->s->values[id].type : NULL;

    return type != NULL && type->rank == 3 && type->dtype == SPRY_DTYPE_F32 ? id : GRAPH_NONE;
}

/* Is the first token one that all images share? Looks for the Concat that puts it there. */
static bool has_class_token(const prompting *p)
{
    enum { MOST_STEPS = 16 };
    const graph *s = p->job->s;
    int32_t id = p->first;

    for (int step = 0; step < MOST_STEPS && id != GRAPH_NONE; step++) {
        int32_t producer = s->values[id].producer;
        const graph_node *n = producer != GRAPH_NONE ? &s->nodes[producer] : NULL;

        if (n == NULL) {
            return false;
        }
        if (graph_node_is(n, "Concat")) {
            const tensor *token =
                n->inputs[0] != GRAPH_NONE ? graph_constant(s, n->inputs[0]) : NULL;

            return token != NULL && token->rank == 3 && token->shape[1] == 1;
        }
        id = n->inputs[0] != GRAPH_NONE && graph_constant(s, n->inputs[0]) == NULL ? n->inputs[0]
             : n->input_count > 1                                                  ? n->inputs[1]
                                                                                   : GRAPH_NONE;
    }
    return false;
}

/* Elements of a patch over all channels: the inputs of the first convolution. */
static double bound_of(const prompting *p)
{
    const structure *found = &p->job->found;
    double patch = (double)p->width;

    for (int32_t i = found->linear_count - 1; i >= 0; i--) {
        patch = found->linears[i].is_conv ? (double)found->linears[i].inputs : patch;
    }
    return sqrt(6.0 / (patch + (double)p->width));
}

static spry_status look(prompting *p, spry_error *error)
{
    const rewrite *job = p->job;
    const graph_type *type;

    p->first = job->found.attention_count > 0 ? stream_of(job, 0) : GRAPH_NONE;
    if (p->first == GRAPH_NONE) {
        return refuse(job,
                      "no blocks of attention on sequences [batch, tokens, features], each "
                      "added to what it reads",
                      error);
    }
    type = &job->s->values[p->first].type;
    p->tokens = type->dims[1].size;
    p->width = type->dims[2].size;
    if (p->tokens < 2) {
        return refuse(job, "its sequences, along the second axis, have one token", error);
    }
    for (int32_t i = 0; i < job->found.attention_count; i++) {
        int32_t id = stream_of(job, i);

        if (id == GRAPH_NONE || !graph_type_same(&job->s->values[id].type, type)) {
            return refuse(job, "blocks of attention differ in the number of tokens or features",
                          error);
        }
    }
    p->lead = has_class_token(p);
    p->bound = bound_of(p);
    return tokens_track(job, p->first, &p->job->memory, &p->axes, error);
}

/* ---- what comes behind the last block ---- */

/* The value that the last block, attention or MLP, ends in. */
static int32_t last_sum(const rewrite *job)
{
    int32_t last = job->found.attentions[job->found.attention_count - 1].around.sum;

    for (int32_t i = 0; i < job->found.mlp_count; i++) {
        int32_t sum = job->found.mlps[i].around.sum;

        last = job->s->values[sum].producer > job->s->values[last].producer ? sum : last;
    }
    return last;
}

/* Is the first token all that is read of the sequence `end` in the end? Prompts may stay then. */
static bool reads_first_only(const prompting *p, int32_t end)
{
    const graph *s = p->job->s;

    for (int32_t i = s->values[end].producer + 1; i < s->node_count; i++) {
        const graph_node *n = &s->nodes[i];
        bool reads = false;
        const tensor *index;

        for (int32_t k = 0; !n->removed && k < n->input_count; k++) {
            reads = reads || (n->inputs[k] != GRAPH_NONE && p->axes[n->inputs[k]] != 0);
        }
        if (!reads || n->removed || p->axes[n->outputs[0]] != 0) {
            continue;
        }
        index = graph_node_is(n, "Gather") ? graph_constant(s, n->inputs[1]) : NULL;
        if (index == NULL || tensor_count(index) != 1 || convert_get_i64(index, 0) != 0) {
            return false;
        }
    }
    return p->axes[s->outputs[0]] == 0;
}

/* ---- rewriting ---- */

/* [batch, 1, 1], to repeat prompts by. */
static int32_t make_batch(prompting *p, build *b)
{
    int32_t shape = build_node(b, "Shape", "prompt_shape", 1, (const int32_t[]){p->first});
    int32_t size =
        build_node(b, "Gather", "prompt_batch", 2,
                   (const int32_t[]){shape, build_ints(b, "prompt_axis", 1, (const int64_t[]){0})});
    int32_t list = build_node(
        b, "Concat", "prompt_repeats", 2,
        (const int32_t[]){size, build_ints(b, "prompt_ones", 2, (const int64_t[]){1, 1})});

    build_set_int(b, list, "axis", 0);
    return list;
}

/* Puts prompts into the sequence `x`, of which `skipped` tokens behind the lead are left out. */
static spry_status put_prompts(prompting *p, int32_t x, int64_t skipped, spry_error *error)
{
    rewrite *job = p->job;
    int32_t first_new = job->g->node_count;
    build b = build_beside(job, x, error);
    int32_t pieces[3];
    int32_t count = 0;
    int32_t prompts = build_uniform(&b, "prompt", 3,
                                    (const int64_t[]){1, job->options.prompts, p->width}, p->bound);
    int32_t joined;

    if (p->batch == GRAPH_NONE) {
        p->batch = make_batch(p, &b);
    }
    if (p->lead > 0) {
        pieces[count++] = build_slice(&b, "prompt_lead", x, 1, 0, p->lead);
    }
    pieces[count++] =
        build_node(&b, "Expand", "prompt_tokens", 2, (const int32_t[]){prompts, p->batch});
    pieces[count++] = p->lead + skipped > 0
                          ? build_slice(&b, "prompt_rest", x, 1, p->lead + skipped, INT64_MAX)
                          : x;
    joined = build_node(&b, "Concat", "prompt_joined", count, pieces);
    build_set_int(&b, joined, "axis", 1);
    build_redirect(&b, x, joined, first_new);
    return b.status == SPRY_OK ? rewrite_mention(job, x, error) : b.status;
}

/* Takes the prompts out behind the last block. */
static spry_status drop_prompts(prompting *p, int32_t end, spry_error *error)
{
    int32_t first_new = p->job->g->node_count;
    build b = build_beside(p->job, end, error);
    int32_t rest =
        build_slice(&b, "prompt_end_rest", end, 1, p->lead + p->job->options.prompts, INT64_MAX);

    if (p->lead > 0) {
        int32_t lead = build_slice(&b, "prompt_end_lead", end, 1, 0, p->lead);

        rest = build_node(&b, "Concat", "prompt_end", 2, (const int32_t[]){lead, rest});
        build_set_int(&b, rest, "axis", 1);
    }
    build_redirect(&b, end, rest, first_new);
    return b.status;
}

/* ---- the proof ---- */

/* Has the output the shape that it had? A new head has given it other classes. */
static bool keeps_output(const rewrite *job, const rewrite *probe)
{
    const graph_type *before = &job->s->values[job->s->outputs[0]].type;
    const graph_type *after = &probe->s->values[probe->s->outputs[0]].type;
    bool same = before->rank == after->rank;

    for (int i = 0; same && i < before->rank - (job->options.classes != 0); i++) {
        same = before->dims[i].size == after->dims[i].size;
    }
    return same;
}

/* With a batch of one, the new graph must have the longer sequence at every block, and the output
 * that it had. */
static spry_status check(prompting *p, spry_error *error)
{
    const rewrite *job = p->job;
    const char *problem = NULL;
    rewrite probe;
    spry_error why = {.code = SPRY_OK};
    spry_status status = rewrite_finish(p->job, &why);

    if (status == SPRY_OK) {
        status = rewrite_open(&probe, job->m, NULL, &why);
    } else {
        probe = (rewrite){0};
    }
    if (status == SPRY_LIMIT) {
        *error = why;
    } else if (status != SPRY_OK) {
        problem = why.what;
        status = SPRY_OK;
    }
    for (int32_t i = 0; status == SPRY_OK && problem == NULL && i < job->found.attention_count;
         i++) {
        int32_t sum = job->found.attentions[i].around.sum;

        problem = probe.s->values[sum].type.dims[1].size == p->tokens + job->options.prompts
                      ? NULL
                      : "the number of tokens is written where it is not looked for";
    }
    if (status == SPRY_OK && problem == NULL && !keeps_output(job, &probe)) {
        problem = "the output would have another shape";
    }
    if (status == SPRY_OK && problem != NULL) {
        status = spry_fail(error, SPRY_UNSUPPORTED, job->m->path, "use lora, adapter, bias or full",
                           "its blocks do not take more tokens: %s", problem);
    }
    rewrite_close(&probe);
    return status;
}

static spry_status apply(rewrite *job, spry_error *error)
{
    prompting p = {.job = job, .batch = GRAPH_NONE};
    int64_t count = job->options.prompts;
    int32_t blocks = job->options.shallow ? 1 : job->found.attention_count;
    int32_t end;
    bool drops;
    spry_status status = look(&p, error);

    if (status != SPRY_OK || count == 0) {
        return status;
    }
    end = last_sum(job);
    drops = !(p.lead > 0 && reads_first_only(&p, end));
    status =
        tokens_stretch(job, p.axes, p.first, drops ? end : GRAPH_NONE, p.tokens + count, error);
    for (int32_t i = 0; status == SPRY_OK && i < blocks; i++) {
        status = put_prompts(&p, stream_of(job, i), i == 0 ? 0 : count, error);
    }
    if (status == SPRY_OK && drops) {
        status = drop_prompts(&p, end, error);
    }
    return status == SPRY_OK ? check(&p, error) : status;
}

const adapt_method adapt_method_prompt = {
    .facts = {.name = "prompt", .summary = "learnt tokens before every block, or the first"},
    .apply = apply,
};
