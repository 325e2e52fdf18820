/* LoRA: beside x W stands s (x A) B, with A and B of a small inner width. Where one product makes
 * queries, keys and values, the columns of those that are not adapted get zeros. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "adapt/build.h"
#include "adapt/method.h"
#include "base/alloc.h"
#include "base/text.h"
#include "model/match.h"

enum { MOST_PARTS = 3 }; /* q, k, v of one product */

/* Columns of a linear that are adapted, with a letter for their names. */
typedef struct lora_part {
    const char *name; /* "q", "k", "v"; "" for all columns */
    int64_t first, count;
} lora_part;

/* What is wanted of each linear. */
typedef struct lora_plan {
    lora_part parts[MOST_PARTS];
    int count;
} lora_plan;

static const char *const default_targets[] = {"q", "v"};

/* ---- what is adapted ---- */

static bool is_free(const rewrite *job, int32_t linear)
{
    return linear != GRAPH_NONE && linear != job->found.head && job->found.linears[linear].is_plain;
}

/* Sorted by column, each once; all columns swallow parts. */
static bool want(const rewrite *job, lora_plan *plans, structure_columns c, const char *name)
{
    lora_plan *p;
    int at;

    if (!is_free(job, c.linear)) {
        return false;
    }
    p = &plans[c.linear];
    if (c.first == 0 && c.count == job->found.linears[c.linear].outputs) {
        *p = (lora_plan){.parts = {{"", 0, c.count}}, .count = 1};
        return true;
    }
    for (int i = 0; i < p->count; i++) {
        if (p->parts[i].first == c.first || p->parts[i].name[0] == '\0') {
            return true;
        }
    }
    if (p->count == MOST_PARTS) {
        return false;
    }
    for (at = p->count++; at > 0 && p->parts[at - 1].first > c.first; at--) {
        p->parts[at] = p->parts[at - 1];
    }
    p->parts[at] = (lora_part){name, c.first, c.count};
    return true;
}

static bool want_all(const rewrite *job, lora_plan *plans, int32_t linear)
{
    const structure_columns all = {linear, 0,
                                   linear != GRAPH_NONE ? job->found.linears[linear].outputs : 0};

    return want(job, plans, all, "");
}

static bool want_attention(const rewrite *job, lora_plan *plans, const char *target)
{
    bool any = false;

    for (int32_t i = 0; i < job->found.attention_count; i++) {
        const structure_attention *a = &job->found.attentions[i];

        switch (target[0]) {
        case 'q': any = want(job, plans, a->q, "q") || any; break;
        case 'k': any = want(job, plans, a->k, "k") || any; break;
        case 'v': any = want(job, plans, a->v, "v") || any; break;
        default: any = want_all(job, plans, a->projection) || any; break;
        }
    }
    return any;
}

static bool want_mlps(const rewrite *job, lora_plan *plans)
{
    bool any = false;

    for (int32_t i = 0; i < job->found.mlp_count; i++) {
        any = want_all(job, plans, job->found.mlps[i].up) || any;
        any = want_all(job, plans, job->found.mlps[i].down) || any;
    }
    return any;
}

static bool is_named(const rewrite *job, const structure_linear *l, const char *pattern)
{
    int32_t index;
    const graph_node *n = rewrite_node(job, l->product, &index);

    return (n != NULL && text_matches(pattern, n->name)) ||
           text_matches(pattern, job->g->values[l->weight].name) ||
           (l->bias != GRAPH_NONE && text_matches(pattern, job->g->values[l->bias].name));
}

static bool want_target(const rewrite *job, lora_plan *plans, const char *target)
{
    static const char *const of_attention[] = {"q", "k", "v", "o"};
    bool is_linear = strcmp(target, "linear") == 0;
    bool is_conv = strcmp(target, "conv") == 0;
    bool any = false;

    for (size_t i = 0; i < sizeof of_attention / sizeof of_attention[0]; i++) {
        if (strcmp(target, of_attention[i]) == 0) {
            return want_attention(job, plans, target);
        }
    }
    if (strcmp(target, "mlp") == 0) {
        return want_mlps(job, plans);
    }
    for (int32_t i = 0; i < job->found.linear_count; i++) {
        const structure_linear *l = &job->found.linears[i];

        if ((is_linear && !l->is_conv) || (is_conv && l->is_conv) ||
            (!is_linear && !is_conv && is_named(job, l, target))) {
            any = want_all(job, plans, i) || any;
        }
    }
    return any;
}

static spry_status make_plans(rewrite *job, lora_plan *plans, spry_error *error)
{
    bool by_default = job->options.target_count == 0;
    const char *const *targets = by_default ? default_targets : job->options.targets;
    int32_t count = by_default ? 2 : job->options.target_count;

    for (int32_t i = 0; i < count; i++) {
        if (want_target(job, plans, targets[i])) {
            continue;
        }
        return by_default
                   ? spry_fail(error, SPRY_UNSUPPORTED, job->m->path,
                               "name what is to be adapted: --target linear, --target conv, or "
                               "names of operators",
                               "no attention whose queries and values are columns of a MatMul or "
                               "Gemm with f32 weights")
                   : spry_fail(error, SPRY_USAGE, targets[i],
                               "use q, k, v, o, mlp, linear, conv, or names as spry inspect "
                               "shows them",
                               "no linear operator of the model, its head left out, is meant by "
                               "this target");
    }
    return SPRY_OK;
}

/* ---- adding it ---- */

/* The factors of one part: a[inputs][rank], b[rank][count], or those of a convolution. */
static void add_factors(build *b, const structure_linear *l, const tensor *w, const lora_part *part,
                        int32_t *a, int32_t *bb)
{
    int64_t rank = b->job->options.rank;
    double bound = 1.0 / sqrt((double)l->inputs); /* Kaiming's with slope sqrt(5) */
    int64_t a_shape[SPRY_TENSOR_MAX_RANK] = {l->inputs, rank};
    int64_t b_shape[SPRY_TENSOR_MAX_RANK] = {rank, part->count};
    int axes = l->is_conv ? w->rank : 2;
    char name[32];

    if (l->is_conv) {
        memcpy(a_shape, w->shape, (size_t)axes * sizeof *a_shape);
        a_shape[0] = rank;
        b_shape[0] = l->outputs;
        b_shape[1] = rank;
        for (int i = 2; i < axes; i++) {
            b_shape[i] = 1;
        }
    }
    (void)snprintf(name, sizeof name, "lora_%s%sa", part->name, part->name[0] != '\0' ? "_" : "");
    *a = build_uniform(b, name, axes, a_shape, bound);
    name[strlen(name) - 1] = 'b';
    *bb = build_trained_zeros(b, name, axes, b_shape);
}

/* `value` with zeros before and behind, so that it makes all `outputs` columns. */
static int32_t widen(build *b, const lora_part *part, int64_t outputs, int32_t value)
{
    const int64_t behind = outputs - part->first - part->count;
    char name[32];

    if (part->first == 0 && behind == 0) {
        return value;
    }
    (void)snprintf(name, sizeof name, "lora_%s_wide", part->name);
    return build_pad(b, name, value, 2, (const int64_t[]){0, part->first, 0, behind});
}

static int32_t join(build *b, const char *suffix, int count, const int32_t *pieces, int64_t axis)
{
    int32_t joined;

    if (count == 1) {
        return pieces[0];
    }
    joined = build_node(b, "Concat", suffix, count, pieces);
    build_set_int(b, joined, "axis", axis);
    return joined;
}

/* x A as the linear reads x: a convolution keeps its geometry. */
static int32_t reduce(build *b, const structure_linear *l, int32_t x, int32_t a)
{
    int32_t made =
        build_node(b, l->is_conv ? "Conv" : "MatMul", "lora_down", 2, (const int32_t[]){x, a});
    const graph_node *old;
    graph_node *n;

    if (made == GRAPH_NONE || !l->is_conv) {
        return made;
    }
    n = &b->job->g->nodes[b->job->g->values[made].producer];
    old = &b->job->g->nodes[b->job->g->values[l->product].producer];
    b->status = graph_copy_attributes(b->job->g, old->attributes, old->attribute_count,
                                      &n->attributes, b->error);
    n->attribute_count = b->status == SPRY_OK ? old->attribute_count : 0;
    return made;
}

static spry_status record_sites(rewrite *job, const lora_plan *p, int32_t sum, const int32_t *a,
                                const int32_t *b, double scale, spry_error *error)
{
    const graph *g = job->g;
    spry_status status = SPRY_OK;

    for (int i = 0; status == SPRY_OK && i < p->count; i++) {
        const adapt_site site = {.a = g->values[a[i]].name,
                                 .b = g->values[b[i]].name,
                                 .sum = g->values[sum].name,
                                 .first = p->parts[i].first,
                                 .count = p->parts[i].count,
                                 .scale = scale};

        status = rewrite_add_site(job, &site, error);
    }
    return status;
}

static spry_status adapt_linear(rewrite *job, const structure_linear *l, const lora_plan *p,
                                spry_error *error)
{
    double scale = job->options.alpha / (double)job->options.rank;
    build b = build_beside(job, l->product, error);
    int32_t first_new = job->g->node_count;
    int32_t x = job->g->nodes[job->g->values[l->product].producer].inputs[0];
    int32_t a[MOST_PARTS], up[MOST_PARTS], wide[MOST_PARTS];
    int32_t inner, outer, sum;

    for (int i = 0; i < p->count; i++) {
        add_factors(&b, l, job->s->values[l->weight].constant, &p->parts[i], &a[i], &up[i]);
        wide[i] = l->is_conv ? up[i] : widen(&b, &p->parts[i], l->outputs, up[i]);
    }
    inner = reduce(&b, l, x, join(&b, "lora_downs", p->count, a, 1));
    inner = build_node(&b, "Mul", "lora_scaled", 2,
                       (const int32_t[]){inner, build_number(&b, "lora_scale", scale)});
    outer = build_node(&b, l->is_conv ? "Conv" : "MatMul", "lora_up", 2,
                       (const int32_t[]){inner, join(&b, "lora_ups", p->count, wide, 0)});
    sum = build_node(&b, "Add", "lora_sum", 2, (const int32_t[]){l->output, outer});
    build_redirect(&b, l->output, sum, first_new);
    if (b.status == SPRY_OK) {
        b.status = rewrite_mention(job, l->product, error);
    }
    return b.status == SPRY_OK ? record_sites(job, p, sum, a, up, scale, error) : b.status;
}

static spry_status apply(rewrite *job, spry_error *error)
{
    size_t count = (size_t)job->found.linear_count + 1;
    lora_plan *plans = arena_array(&job->memory, count, sizeof *plans);
    spry_status status =
        plans != NULL ? make_plans(job, plans, error) : alloc_failed(error, count * sizeof *plans);

    for (int32_t i = 0; status == SPRY_OK && i < job->found.linear_count; i++) {
        if (plans[i].count > 0) {
            status = adapt_linear(job, &job->found.linears[i], &plans[i], error);
        }
    }
    return status;
}

const adapt_method adapt_method_lora = {
    .facts = {.name = "lora", .summary = "products of small rank beside weights; can be merged"},
    .apply = apply,
};
