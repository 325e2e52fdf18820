/* Which weights become integers. */
#include <string.h>

#include "base/alloc.h"
#include "quantize/choose.h"

static bool is_excluded(const quantize_job *job, const graph_node *n)
{
    char label[256];

    (void)graph_node_label(job->m->main, n, label, sizeof label);
    for (int32_t i = 0; i < job->options->exclude_count; i++) {
        if (strcmp(job->options->exclude[i], n->name) == 0 ||
            strcmp(job->options->exclude[i], label) == 0) {
            return true;
        }
    }
    return false;
}

/* An initializer may be the weights of several operators. */
static bool is_known(const quantize_job *job, const weight *w)
{
    for (int32_t i = 0; i < job->weight_count; i++) {
        if (job->weights[i].w.value == w->value &&
            job->weights[i].w.output_axis == w->output_axis) {
            return true;
        }
    }
    return false;
}

static spry_status add_weight(quantize_job *job, const weight *w, spry_error *error)
{
    if (is_known(job, w)) {
        return SPRY_OK;
    }
    job->weights[job->weight_count++] = (weight_record){
        .w = *w, .bits = job->options->weight_bits, .symmetric = job->options->symmetric};
    return weight_check(job->m->main, w, error);
}

static spry_status make_room(quantize_job *job, spry_error *error)
{
    size_t nodes = (size_t)job->m->main->node_count + 1;
    spry_status status = facts_create(&job->m->allocator, job->m->main, &job->facts, error);

    if (status == SPRY_OK) {
        job->is_integer = arena_array(job->memory, nodes, sizeof *job->is_integer);
        job->weights = arena_array(job->memory, nodes, sizeof *job->weights);
        if (job->is_integer == NULL || job->weights == NULL) {
            status = alloc_failed(error, nodes * sizeof *job->weights);
        }
    }
    return status;
}

spry_status choose_weights(quantize_job *job, spry_error *error)
{
    graph *g = job->m->main;
    spry_status status = make_room(job, error);

    job->node_count = g->node_count;
    for (int32_t i = 0; status == SPRY_OK && i < g->node_count; i++) {
        const char *reason = NULL;
        weight w;
        bool fits = weight_of_node(g, i, &w, &reason);

        if (fits && is_excluded(job, &g->nodes[i])) {
            fits = false;
            reason = "excluded";
        }
        job->is_integer[i] = fits;
        if (fits) {
            status = add_weight(job, &w, error);
        } else if (reason != NULL) {
            status = facts_add_skip(job->facts, g, i, reason, error);
        }
    }
    if (status == SPRY_OK && job->weight_count == 0) {
        status = spry_fail(error, SPRY_UNSUPPORTED, job->m->path, NULL,
                           "there is no Conv, ConvTranspose, Gemm or MatMul with f32 weights to "
                           "quantize");
    }
    return status;
}
