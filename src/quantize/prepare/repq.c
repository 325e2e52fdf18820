/* RepQ (arXiv 2212.08254): what a LayerNormalization gives differs by orders of magnitude between
 * channels. Steps per channel d_c and zero points z_c would fit, but an activation has one of each,
 * d and z. Numbers that are quantized with d and z after
 *
 *     y'_c = y_c / r_c - b_c        r_c = d_c / d        b_c = (z - z_c) d
 *
 * have the codes of y_c with d_c and z_c. The normalization's own factors and offsets give y'; the
 * weights of the layers behind it, W_c r_c, and their biases, plus sum W_c r_c b_c, take it
 * back. */
#include <math.h>

#include "base/alloc.h"
#include "quantize/calibrate/samples.h"
#include "quantize/format/insert.h"
#include "quantize/prepare/bias.h"
#include "quantize/prepare/preparation.h"

/* An affine map per channel of the last axis, which only layers with weights read. */
typedef struct norm {
    int32_t result;
    int32_t gamma_node, gamma_port, beta_node, beta_port;
    const float *gamma, *beta; /* [channels]; no beta: NULL */
    int64_t channels;
    float *low, *high; /* [channels], over the samples */
} norm;

typedef struct repq {
    quantize_job *job;
    graph *g;
    arena memory;
    graph_uses uses;
    norm *norms;
    int32_t count;
} repq;

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
static bool find_parts(const repq *q, int32_t node, norm *found)
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
static bool is_layer(const repq *q, int32_t node, const norm *n, weight *w)
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

static bool fits(const repq *q, const norm *n)
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

static spry_status find_norms(repq *q, spry_error *error)
{
    const graph *g = q->g;
    spry_status status = graph_find_uses(g, &q->memory, &q->uses, error);

    if (status != SPRY_OK) {
        return status;
    }
    q->norms = arena_array(&q->memory, (size_t)g->node_count + 1, sizeof *q->norms);
    if (q->norms == NULL) {
        return alloc_failed(error, (size_t)g->node_count * sizeof *q->norms);
    }
    for (int32_t i = 0; i < g->node_count; i++) {
        norm *n = &q->norms[q->count];

        if ((!find_fused(g, i, n) && !find_parts(q, i, n)) || !fits(q, n)) {
            continue;
        }
        n->low = arena_array(&q->memory, (size_t)n->channels, sizeof *n->low);
        n->high = arena_array(&q->memory, (size_t)n->channels, sizeof *n->high);
        if (n->low == NULL || n->high == NULL) {
            return alloc_failed(error, (size_t)n->channels * sizeof *n->low);
        }
        for (int64_t c = 0; c < n->channels; c++) {
            n->low[c] = INFINITY;
            n->high[c] = -INFINITY;
        }
        q->count++;
    }
    return SPRY_OK;
}

/* ---- ranges ---- */

static spry_status watch(void *context, const samples_view *view, spry_error *error)
{
    repq *q = context;

    (void)error;
    for (int32_t i = 0; i < q->count; i++) {
        norm *n = &q->norms[i];
        const float *x = view->tensors[i]->data;
        int64_t rows = tensor_count(view->tensors[i]) / n->channels;

        for (int64_t row = 0; row < rows; row++, x += n->channels) {
            for (int64_t c = 0; c < n->channels; c++) {
                n->low[c] = x[c] < n->low[c] ? x[c] : n->low[c];
                n->high[c] = x[c] > n->high[c] ? x[c] : n->high[c];
            }
        }
    }
    return SPRY_OK;
}

/* ---- moving ---- */

/* r_c and b_c. Channels that never vary stay as they are. */
static void find_moves(const norm *n, double *r, double *b)
{
    double step = 0.0;
    double zero = 0.0;
    int64_t varying = 0;

    for (int64_t c = 0; c < n->channels; c++) {
        r[c] = ((double)n->high[c] - (double)n->low[c]) / 255.0; /* d_c */
        if (isfinite(r[c]) && r[c] > 1e-12) {
            b[c] = rint(-(double)n->low[c] / r[c]); /* z_c */
            step += r[c];
            zero += b[c];
            varying++;
        } else {
            r[c] = 0.0;
        }
    }
    step = varying != 0 ? step / (double)varying : 1.0;
    zero = varying != 0 ? rint(zero / (double)varying) : 0.0;
    for (int64_t c = 0; c < n->channels; c++) {
        b[c] = r[c] != 0.0 ? (zero - b[c]) * step : 0.0;
        r[c] = r[c] != 0.0 ? r[c] / step : 1.0;
    }
}

static spry_status replace_vector(graph *g, int32_t node, int32_t port, const char *suffix,
                                  int64_t count, const float *numbers, spry_error *error)
{
    const char *base = g->values[g->nodes[node].outputs[0]].name;
    int32_t value = GRAPH_NONE;
    spry_status status =
        insert_constant(g, base, suffix, SPRY_DTYPE_F32, 1, &count, numbers, &value, error);

    return status == SPRY_OK ? insert_input(g, node, port, value, error) : status;
}

static spry_status move_norm(repq *q, const norm *n, const double *r, const double *b,
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
        numbers[c] = (float)((n->beta != NULL ? (double)n->beta[c] : 0.0) / r[c] - b[c]);
    }
    return status == SPRY_OK ? replace_vector(q->g, n->beta_node, n->beta_port, "beta", n->channels,
                                              numbers, error)
                             : status;
}

static spry_status move_layer(repq *q, int32_t node, const weight *w, const double *r,
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
            delta[m] += (double)to[at] * b[c];
        }
    }
    status = insert_constant(g, g->values[w->value].name, "moved", SPRY_DTYPE_F32, w->source->rank,
                             w->source->shape, to, &value, error);
    if (status != SPRY_OK) {
        return status;
    }
    graph_set_input(g, node, WEIGHTS_PORT, value);
    return bias_add(g, &q->uses, node, w->outputs, delta, error);
}

static spry_status move(repq *q, const norm *n, spry_error *error)
{
    double *r = arena_array(&q->memory, (size_t)n->channels, sizeof *r);
    double *b = arena_array(&q->memory, (size_t)n->channels, sizeof *b);
    spry_status status;

    if (r == NULL || b == NULL) {
        return alloc_failed(error, (size_t)n->channels * sizeof *r);
    }
    find_moves(n, r, b);
    status = move_norm(q, n, r, b, error);
    for (int32_t i = q->uses.offsets[n->result];
         status == SPRY_OK && i < q->uses.offsets[n->result + 1]; i++) {
        weight w;

        if (is_layer(q, q->uses.users[i], n, &w)) {
            status = move_layer(q, q->uses.users[i], &w, r, b, error);
        }
    }
    return status;
}

static spry_status find_ranges(repq *q, spry_error *error)
{
    int32_t *values = arena_array(&q->memory, (size_t)q->count + 1, sizeof *values);

    if (values == NULL) {
        return alloc_failed(error, (size_t)q->count * sizeof *values);
    }
    for (int32_t i = 0; i < q->count; i++) {
        values[i] = q->norms[i].result;
    }
    return samples_visit(q->job->m, q->job->options, values, q->count, "measuring channels", watch,
                         q, error);
}

static spry_status reparameterise(quantize_job *job, spry_error *error)
{
    repq q = {.job = job, .g = job->m->main};
    spry_status status;

    arena_init(&q.memory, &job->m->allocator, SIZE_MAX);
    status = find_norms(&q, error);
    if (status == SPRY_OK && q.count != 0) {
        status = find_ranges(&q, error);
    }
    for (int32_t i = 0; status == SPRY_OK && i < q.count; i++) {
        status = move(&q, &q.norms[i], error);
    }
    arena_fini(&q.memory);
    return status == SPRY_OK ? graph_sort(q.g, error) : status;
}

const preparation preparation_repq = {
    .facts = {"repq", "ranges of normalized channels made equal, the layers behind take it back"},
    .needs_data = true,
    .run = reparameterise};
