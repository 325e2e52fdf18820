/* Finding normalizations, and moving maps through them. */
#include "quantize/prepare/norms.h"

#include <math.h>
#include <string.h>

#include "base/alloc.h"
#include "model/insert.h"
#include "quantize/calibrate/channel_summary.h"
#include "quantize/prepare/bias.h"

static bool is_standard(const graph_node *n, const char *type)
{
    return !n->removed && graph_node_is(n, type);
}

static const tensor *vector_at(const graph *g, const graph_node *n, int32_t port)
{
    const tensor *t = port < n->input_count && n->inputs[port] != GRAPH_NONE
                          ? graph_constant(g, n->inputs[port])
                          : NULL;

    return t != NULL && t->dtype == SPRY_DTYPE_F32 && t->rank == 1 ? t : NULL;
}

/* ---- finding ---- */

static bool find_fused(const graph *g, int32_t node, norm *found)
{
    const graph_node *n = &g->nodes[node];
    const tensor *gamma = vector_at(g, n, 1);
    const tensor *beta = vector_at(g, n, 2);
    bool has_beta = n->input_count > 2 && n->inputs[2] != GRAPH_NONE;

    if (!is_standard(n, "LayerNormalization") || gamma == NULL || (has_beta && beta == NULL) ||
        (beta != NULL && beta->shape[0] != gamma->shape[0])) {
        return false;
    }
    *found = (norm){.result = n->outputs[0],
                    .gamma_node = node,
                    .gamma_port = 1,
                    .beta_node = node,
                    .beta_port = 2,
                    .gamma = gamma->data,
                    .beta = beta != NULL ? beta->data : NULL,
                    .channels = gamma->shape[0]};
    return true;
}

/* The port of a two-input node that holds a vector, or -1. */
static int32_t vector_port(const graph *g, const graph_node *n)
{
    return vector_at(g, n, 0) != NULL ? 0 : vector_at(g, n, 1) != NULL ? 1 : -1;
}

/* Add(Mul(x, gamma), beta), as normalizations end that were exported in parts. */
static bool find_parts(const norms *q, int32_t node, norm *found)
{
    const graph *g = q->g;
    const graph_node *add = &g->nodes[node];
    int32_t beta_port = is_standard(add, "Add") ? vector_port(g, add) : -1;
    int32_t product = beta_port >= 0 ? add->inputs[1 - beta_port] : GRAPH_NONE;
    int32_t mul_node = product != GRAPH_NONE ? g->values[product].producer : GRAPH_NONE;
    int32_t gamma_port = mul_node != GRAPH_NONE && is_standard(&g->nodes[mul_node], "Mul")
                             ? vector_port(g, &g->nodes[mul_node])
                             : -1;

    if (gamma_port < 0 || g->values[product].is_output ||
        q->uses.offsets[product + 1] - q->uses.offsets[product] != 1) {
        return false;
    }
    const tensor *gamma = vector_at(g, &g->nodes[mul_node], gamma_port);
    const tensor *beta = vector_at(g, add, beta_port);

    *found = (norm){.result = add->outputs[0],
                    .gamma_node = mul_node,
                    .gamma_port = gamma_port,
                    .beta_node = node,
                    .beta_port = beta_port,
                    .gamma = gamma->data,
                    .beta = beta->data,
                    .channels = gamma->shape[0]};
    return beta->shape[0] == gamma->shape[0];
}

/* Reads the normalized value with weights of its own that nobody else uses. */
static bool is_layer(const norms *q, int32_t node, const norm *n, weight *w)
{
    const graph *g = q->g;
    const graph_node *user = &g->nodes[node];
    const char *reason;
    bool is_product = is_standard(user, "MatMul") ||
                      (is_standard(user, "Gemm") && graph_attribute_int(user, "transA", 0) == 0 &&
                       graph_attribute_float(user, "alpha", 1.0f) == 1.0f);

    return is_product && user->inputs[0] == n->result && user->inputs[1] != n->result &&
           weight_of_node(g, node, w, &reason) && w->inputs == n->channels &&
           q->uses.offsets[w->value + 1] - q->uses.offsets[w->value] == 1;
}

static bool fits(const norms *q, const norm *n)
{
    int32_t first = q->uses.offsets[n->result];
    int32_t end = q->uses.offsets[n->result + 1];
    weight w;

    for (int32_t i = first; i < end; i++) {
        if (!is_layer(q, q->uses.users[i], n, &w)) {
            return false;
        }
    }
    return first < end && !q->g->values[n->result].is_output;
}

static spry_status find_all(norms *q, spry_error *error)
{
    const graph *g = q->g;
    spry_status status = graph_find_uses(g, &q->memory, &q->uses, error);

    if (status != SPRY_OK) {
        return status;
    }
    q->list = arena_array(&q->memory, (size_t)g->node_count + 1, sizeof *q->list);
    if (q->list == NULL) {
        return alloc_failed(error, (size_t)g->node_count * sizeof *q->list);
    }
    for (int32_t i = 0; i < g->node_count; i++) {
        norm *n = &q->list[q->count];

        if ((!find_fused(g, i, n) && !find_parts(q, i, n)) || !fits(q, n)) {
            continue;
        }
        n->low = arena_array(&q->memory, (size_t)n->channels, sizeof *n->low);
        n->high = arena_array(&q->memory, (size_t)n->channels, sizeof *n->high);
        if (n->low == NULL || n->high == NULL) {
            return alloc_failed(error, (size_t)n->channels * sizeof *n->low);
        }
        q->count++;
    }
    return SPRY_OK;
}

/* ---- ranges ---- */

static spry_status find_ranges(norms *q, spry_error *error)
{
    channel_summary *ranges = arena_array(&q->memory, (size_t)q->count + 1, sizeof *ranges);

    if (ranges == NULL) {
        return alloc_failed(error, (size_t)q->count * sizeof *ranges);
    }
    for (int32_t i = 0; i < q->count; i++) {
        const norm *n = &q->list[i];

        ranges[i] = (channel_summary){.value = n->result,
                                      .channels = n->channels,
                                      .channels_last = true,
                                      .low = n->low,
                                      .high = n->high};
    }
    return channel_summary_find(q->job->m, q->job->options, ranges, q->count, "measuring channels",
                                error);
}

spry_status norms_find(quantize_job *job, norms *found, spry_error *error)
{
    spry_status status;

    *found = (norms){.job = job, .g = job->m->main};
    arena_init(&found->memory, &job->m->allocator, SIZE_MAX);
    status = find_all(found, error);
    return status == SPRY_OK && found->count != 0 ? find_ranges(found, error) : status;
}

void norms_release(norms *found)
{
    arena_fini(&found->memory);
}

void norms_weights(const norms *found, const norm *n, double *most)
{
    memset(most, 0, (size_t)n->channels * sizeof *most);
    for (int32_t i = found->uses.offsets[n->result]; i < found->uses.offsets[n->result + 1]; i++) {
        weight w;

        if (!is_layer(found, found->uses.users[i], n, &w)) {
            continue;
        }
        for (int64_t at = 0; at < weight_count(&w); at++) {
            int64_t c = at / w.input_stride % w.inputs;

            most[c] = fmax(most[c], fabs((double)((const float *)w.source->data)[at]));
        }
    }
}

/* ---- moving ---- */

static spry_status replace_vector(graph *g, int32_t node, int32_t port, const char *suffix,
                                  int64_t count, const float *numbers, spry_error *error)
{
    const char *base = g->values[g->nodes[node].outputs[0]].name;
    int32_t value = GRAPH_NONE;
    spry_status status =
        insert_constant(g, base, suffix, SPRY_DTYPE_F32, 1, &count, numbers, &value, error);

    return status == SPRY_OK ? insert_input(g, node, port, value, error) : status;
}

static spry_status move_norm(norms *q, const norm *n, const double *r, const double *b,
                             spry_error *error)
{
    float *numbers = arena_array(&q->memory, (size_t)n->channels, sizeof *numbers);
    spry_status status;

    if (numbers == NULL) {
        return alloc_failed(error, (size_t)n->channels * sizeof *numbers);
    }
    for (int64_t c = 0; c < n->channels; c++) {
        numbers[c] = (float)((double)n->gamma[c] / r[c]);
    }
    status =
        replace_vector(q->g, n->gamma_node, n->gamma_port, "gamma", n->channels, numbers, error);
    for (int64_t c = 0; c < n->channels; c++) {
        double beta = n->beta != NULL ? (double)n->beta[c] : 0.0;

        numbers[c] = (float)(beta / r[c] - (b != NULL ? b[c] : 0.0));
    }
    return status == SPRY_OK && (n->beta != NULL || b != NULL)
               ? replace_vector(q->g, n->beta_node, n->beta_port, "beta", n->channels, numbers,
                                error)
               : status;
}

static spry_status move_layer(norms *q, int32_t node, const weight *w, const double *r,
                              const double *b, spry_error *error)
{
    graph *g = q->g;
    const float *from = w->source->data;
    float *to = arena_array(&q->memory, (size_t)weight_count(w), sizeof *to);
    double *delta = arena_array(&q->memory, (size_t)w->outputs, sizeof *delta);
    int32_t value = GRAPH_NONE;
    spry_status status;

    if (to == NULL || delta == NULL) {
        return alloc_failed(error, (size_t)weight_count(w) * sizeof *to);
    }
    for (int64_t m = 0; m < w->outputs; m++) {
        for (int64_t c = 0; c < w->inputs; c++) {
            int64_t at = m * w->output_stride + c * w->input_stride;

            to[at] = (float)((double)from[at] * r[c]);
            delta[m] += b != NULL ? (double)to[at] * b[c] : 0.0;
        }
    }
    status = insert_constant(g, g->values[w->value].name, "moved", SPRY_DTYPE_F32, w->source->rank,
                             w->source->shape, to, &value, error);
    if (status != SPRY_OK) {
        return status;
    }
    graph_set_input(g, node, WEIGHTS_PORT, value);
    return b != NULL ? bias_add(g, &q->uses, node, w->outputs, delta, error) : SPRY_OK;
}

spry_status norms_move(norms *found, const norm *n, const double *r, const double *b,
                       spry_error *error)
{
    spry_status status = move_norm(found, n, r, b, error);

    for (int32_t i = found->uses.offsets[n->result];
         status == SPRY_OK && i < found->uses.offsets[n->result + 1]; i++) {
        weight w;

        if (is_layer(found, found->uses.users[i], n, &w)) {
            status = move_layer(found, found->uses.users[i], &w, r, b, error);
        }
    }
    return status;
}
