/* LoRA's products into the weights beside which they stand. */
#include <string.h>

#include "adapt/record.h"
#include "base/alloc.h"
#include "model/insert.h"

/* What is needed of one product: a[inputs][rank], b[rank][count]; those of convolutions are
 * [rank][inputs] and [count][rank]. */
typedef struct factors {
    const float *a, *b;
    int64_t rank;
} factors;

static const tensor *factor_of(const graph *g, const char *name)
{
    int32_t id = graph_find_value(g, name);
    const tensor *t = id != GRAPH_NONE ? graph_constant(g, id) : NULL;

    return t != NULL && t->dtype == SPRY_DTYPE_F32 && t->rank >= 2 ? t : NULL;
}

static spry_status refuse(const rewrite *job, const adapt_site *site, spry_error *error)
{
    return spry_fail(error, SPRY_BAD_INPUT, job->m->path, "adapt the base model again",
                     "its metadata do not describe the product that '%.200s' adds", site->sum);
}

/* The linear operator that the product stands beside, and its factors in the sizes that fit. */
static spry_status find_site(const rewrite *job, const adapt_site *site, int32_t *linear,
                             factors *f, spry_error *error)
{
    int32_t sum = graph_find_value(job->g, site->sum);
    int32_t index;
    const graph_node *n = sum != GRAPH_NONE ? rewrite_node(job, sum, &index) : NULL;
    const tensor *a = factor_of(job->g, site->a);
    const tensor *b = factor_of(job->g, site->b);
    const structure_linear *l;

    *linear = n != NULL && graph_node_is(n, "Add") ? structure_linear_of(&job->found, n->inputs[0])
                                                   : GRAPH_NONE;
    if (*linear == GRAPH_NONE || a == NULL || b == NULL) {
        return refuse(job, site, error);
    }
    l = &job->found.linears[*linear];
    *f = (factors){a->data, b->data, l->is_conv ? a->shape[0] : a->shape[1]};
    if (f->rank == 0 || tensor_count(a) != l->inputs * f->rank ||
        (l->is_conv ? b->shape[1] : b->shape[0]) != f->rank ||
        tensor_count(b) != site->count * f->rank || site->first + site->count > l->outputs) {
        return refuse(job, site, error);
    }
    return SPRY_OK;
}

/* w += scale a b; sums are taken in f64. */
static void add_product(float *w, const structure_linear *l, const factors *f,
                        const adapt_site *site)
{
    int64_t row = l->is_transposed || l->is_conv ? 1 : l->outputs; /* to the next input */
    int64_t column = l->is_transposed || l->is_conv ? l->inputs : 1;

    for (int64_t i = 0; i < l->inputs; i++) {
        for (int64_t o = 0; o < site->count; o++) {
            float *at = &w[i * row + (site->first + o) * column];
            double sum = 0.0;

            for (int64_t r = 0; r < f->rank; r++) {
                double a = l->is_conv ? f->a[r * l->inputs + i] : f->a[i * f->rank + r];
                double b = l->is_conv ? f->b[o * f->rank + r] : f->b[r * site->count + o];

                sum += a * b;
            }
            *at = (float)((double)*at + site->scale * sum);
        }
    }
}

/* The weights of a linear that are the job's to write into; made when first asked for. */
static spry_status own_weights(rewrite *job, int32_t linear, tensor **own, float **data,
                               spry_error *error)
{
    const structure_linear *l = &job->found.linears[linear];
    const tensor *old = job->s->values[l->weight].constant;
    int32_t node = job->g->values[l->product].producer;
    int32_t made;
    spry_status status;

    if (own[linear] == NULL) {
        status = insert_constant(job->g, job->g->values[l->weight].name, "merged", old->dtype,
                                 old->rank, old->shape, old->data, &made, error);
        if (status != SPRY_OK) {
            return status;
        }
        graph_set_input(job->g, node, 1, made);
        own[linear] = (tensor *)(uintptr_t)job->g->values[made].constant; /* made just now */
    }
    *data = own[linear]->data;
    return SPRY_OK;
}

static spry_status merge_site(rewrite *job, const adapt_site *site, tensor **own, spry_error *error)
{
    int32_t linear = GRAPH_NONE;
    float *data = NULL;
    factors f = {NULL, NULL, 0};
    spry_status status = find_site(job, site, &linear, &f, error);

    if (status == SPRY_OK) {
        status = own_weights(job, linear, own, &data, error);
    }
    if (status == SPRY_OK) {
        add_product(data, &job->found.linears[linear], &f, site);
    }
    return status;
}

/* The sums go once all weights have what was added: several products share one. */
static spry_status drop_sum(rewrite *job, const adapt_site *site, spry_error *error)
{
    int32_t sum = graph_find_value(job->g, site->sum);
    int32_t index;
    const graph_node *n = sum != GRAPH_NONE ? rewrite_node(job, sum, &index) : NULL;

    return n != NULL ? graph_replace_value(job->g, sum, n->inputs[0], error) : SPRY_OK;
}

static spry_status merge_sites(rewrite *job, const spry_adaptation *record, spry_error *error)
{
    size_t count = (size_t)job->found.linear_count + 1;
    tensor **own = arena_array(&job->memory, count, sizeof(tensor *));
    spry_status status = own != NULL ? SPRY_OK : alloc_failed(error, count * sizeof(tensor *));

    for (int32_t i = 0; status == SPRY_OK && i < record->site_count; i++) {
        status = merge_site(job, &record->sites[i], own, error);
    }
    for (int32_t i = 0; status == SPRY_OK && i < record->site_count; i++) {
        status = drop_sum(job, &record->sites[i], error);
    }
    return status;
}

spry_status spry_adapt_merge(const spry_model *adapted, spry_model **merged, bool *is_plain,
                             spry_error *error)
{
    spry_adaptation *record = NULL;
    rewrite job = {.m = NULL};
    spry_status status = spry_adaptation_of(adapted, &record, error);

    *merged = NULL;
    *is_plain = false;
    if (status != SPRY_OK) {
        return status;
    }
    status = rewrite_open(&job, adapted, NULL, error);
    if (status == SPRY_OK) {
        status = merge_sites(&job, record, error);
    }
    if (status == SPRY_OK) {
        status = rewrite_finish(&job, error);
    }
    if (status == SPRY_OK) {
        status = record_detach(job.m, error);
    }
    if (status == SPRY_OK) {
        const char *method = record->options.method;

        *is_plain = strcmp(method, "adapter") != 0 &&
                    (strcmp(method, "prompt") != 0 || record->options.prompts == 0);
        *merged = job.m;
        job.m = NULL;
    }
    rewrite_close(&job);
    spry_adaptation_destroy(record);
    return status;
}
