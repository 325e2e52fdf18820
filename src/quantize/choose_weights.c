/* Which weights become integers. */
#include "base/alloc.h"
#include "quantize/assignment.h"
#include "quantize/choose.h"

/* An initializer may be the weights of several operators: its record, or a new one. */
static spry_status add_weight(quantize_job *job, int32_t node, const weight *w, int bits,
                              spry_error *error)
{
    weight_record *r = job->weights;
    weight_record *end = r + job->weight_count;

    while (r < end && (r->w.value != w->value || r->w.output_axis != w->output_axis)) {
        r++;
    }
    if (r == end) {
        *r = (weight_record){.w = *w, .bits = bits, .symmetric = job->options->symmetric};
        job->weight_count++;
    }
    job->record_of[node] = r;
    return r->user_count++ > 0 ? SPRY_OK : weight_check(job->m->main, w, error);
}

static spry_status list_users(quantize_job *job, spry_error *error)
{
    int32_t *users = arena_array(job->memory, (size_t)job->node_count + 1, sizeof *users);

    if (users == NULL) {
        return alloc_failed(error, (size_t)job->node_count * sizeof *users);
    }
    for (int32_t i = 0; i < job->weight_count; i++) {
        job->weights[i].users = users;
        users += job->weights[i].user_count;
        job->weights[i].user_count = 0;
    }
    for (int32_t node = 0; node < job->node_count; node++) {
        weight_record *r = job->record_of[node];

        if (r != NULL) {
            r->users[r->user_count++] = node;
        }
    }
    return SPRY_OK;
}

/* An initializer that operators share, but not its bits, becomes one initializer for each number of
 * bits. */
static spry_status unshare(quantize_job *job, weight *w, int bits, spry_error *error)
{
    graph *g = job->m->main;
    bool is_shared = false;
    spry_status status = SPRY_OK;

    for (int32_t i = 0; i < w->node; i++) {
        const char *reason;
        weight other;

        if (!weight_of_node(g, i, &other, &reason) || other.source != w->source) {
            continue;
        }
        if (assignment_of(job, &g->nodes[i]).weights == bits) {
            w->value = other.value;
            is_shared = false;
            break;
        }
        is_shared = is_shared || other.value == w->value;
    }
    if (is_shared) {
        status = graph_add_constant(g, g->values[w->value].name, w->source, &w->value, error);
    }
    if (status == SPRY_OK) {
        graph_set_input(g, w->node, WEIGHTS_PORT, w->value);
    }
    return status;
}

static spry_status make_room(quantize_job *job, spry_error *error)
{
    size_t nodes = (size_t)job->m->main->node_count + 1;
    spry_status status = facts_create(&job->m->allocator, job->m->main, &job->facts, error);

    if (status == SPRY_OK) {
        job->is_integer = arena_array(job->memory, nodes, sizeof *job->is_integer);
        job->weights = arena_array(job->memory, nodes, sizeof *job->weights);
        job->record_of = arena_array(job->memory, nodes, sizeof(weight_record *));
        if (job->is_integer == NULL || job->weights == NULL || job->record_of == NULL) {
            status = alloc_failed(error, nodes * sizeof *job->weights);
        }
    }
    return status;
}

static void find_ends(quantize_job *job)
{
    const graph *g = job->m->main;

    for (int32_t i = 0; i < g->node_count; i++) {
        const char *reason;
        weight w;

        if (weight_of_node(g, i, &w, &reason)) {
            job->first = job->first == GRAPH_NONE ? i : job->first;
            job->last = i;
        }
    }
}

static spry_status choose_weight(quantize_job *job, int32_t node, spry_error *error)
{
    graph *g = job->m->main;
    operator_bits bits = assignment_of(job, &g->nodes[node]);
    const char *reason = NULL;
    weight w;
    spry_status status;

    if (!weight_of_node(g, node, &w, &reason)) {
        return reason != NULL ? facts_add_skip(job->facts, g, node, reason, error) : SPRY_OK;
    }
    status = unshare(job, &w, bits.weights, error);
    if (status != SPRY_OK) {
        return status;
    }
    if (bits.weights == 0) {
        reason = bits.excluded ? "excluded" : "assigned to f32";
        return facts_add_skip(job->facts, g, node, reason, error);
    }
    job->is_integer[node] = true;
    return add_weight(job, node, &w, bits.weights, error);
}

spry_status choose_weights(quantize_job *job, spry_error *error)
{
    spry_status status = make_room(job, error);

    job->node_count = job->m->main->node_count;
    find_ends(job);
    for (int32_t i = 0; status == SPRY_OK && i < job->node_count; i++) {
        status = choose_weight(job, i, error);
    }
    if (status == SPRY_OK && job->weight_count == 0) {
        status = spry_fail(error, SPRY_UNSUPPORTED, job->m->path, NULL,
                           "there is no Conv, ConvTranspose, Gemm or MatMul with f32 weights to "
                           "quantize");
    }
    return status == SPRY_OK ? list_users(job, error) : status;
}
