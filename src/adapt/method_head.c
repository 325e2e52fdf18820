/* The classifier: trained with every method, new where other classes are wanted. */
#include "adapt/build.h"
#include "adapt/method.h"
#include "base/alloc.h"
#include "base/limits.h"
#include "model/insert.h"
#include "model/match.h"
#include "tensor/convert.h"

static const double HEAD_DEVIATION = 0.01;

static spry_status check_found(const rewrite *job, spry_error *error)
{
    return job->found.head != GRAPH_NONE
               ? SPRY_OK
               : spry_fail(error, SPRY_UNSUPPORTED, job->m->path,
                           "use the method full, or a model that ends in its classifier",
                           "no head: behind the last MatMul, Gemm or Conv with f32 weights only "
                           "operators like Softmax, Reshape and pooling may follow");
}

/* ---- a new head ---- */

static int32_t draw_weights(build *b, const structure_linear *l, const tensor *old, int64_t classes)
{
    int64_t shape[SPRY_TENSOR_MAX_RANK];

    for (int i = 0; i < old->rank; i++) {
        shape[i] = old->shape[i];
    }
    shape[l->is_transposed || l->is_conv ? 0 : old->rank - 1] = classes;
    return b->job->options.zero_head
               ? build_trained_zeros(b, "head_weight", old->rank, shape)
               : build_normal(b, "head_weight", old->rank, shape, HEAD_DEVIATION);
}

/* The bias, where there is one already: of the product's own, or the vector that is added. */
static spry_status renew_bias(build *b, const structure_linear *l, int64_t classes)
{
    graph *g = b->job->g;
    int32_t node = g->values[l->product].producer;
    const tensor *old = l->bias != GRAPH_NONE ? b->job->s->values[l->bias].constant : NULL;
    int32_t bias, first_new, sum;

    if (l->output != l->product) { /* keeps the axes that it had beside those of length one */
        int64_t shape[SPRY_TENSOR_MAX_RANK];

        for (int i = 0; i < old->rank; i++) {
            shape[i] = i == old->rank - 1 ? classes : 1;
        }
        bias = build_trained_zeros(b, "head_bias", old->rank, shape);
        node = g->values[l->output].producer;
        if (b->status == SPRY_OK) {
            graph_set_input(g, node, g->nodes[node].inputs[0] == l->product, bias);
        }
        return b->status;
    }
    bias = build_trained_zeros(b, "head_bias", 1, &classes);
    if (b->status != SPRY_OK) {
        return b->status;
    }
    if (!graph_node_is(&g->nodes[node], "MatMul")) {
        return insert_input(g, node, 2, bias, b->error);
    }
    first_new = g->node_count;
    sum = build_node(b, "Add", "head_sum", 2, (const int32_t[]){l->product, bias});
    build_redirect(b, l->product, sum, first_new);
    return b->status;
}

/* A shape that is written down, and has the old number of classes in it, gets the new one. */
static spry_status renew_shape(rewrite *job, int32_t id, int64_t before, int64_t after,
                               spry_error *error)
{
    int32_t index;
    graph_node *n = rewrite_node(job, id, &index);
    const tensor *shape = n != NULL && graph_node_is(n, "Reshape") && n->input_count > 1
                              ? job->s->values[n->inputs[1]].constant
                              : NULL;
    const char *name = n != NULL ? job->g->values[n->outputs[0]].name : "";
    int64_t numbers[SPRY_TENSOR_MAX_RANK];
    int32_t made;
    bool changes = false;
    spry_status status;

    if (shape == NULL || shape->dtype != SPRY_DTYPE_I64 || shape->rank != 1 ||
        shape->shape[0] > SPRY_TENSOR_MAX_RANK) {
        return SPRY_OK;
    }
    for (int64_t i = 0; i < shape->shape[0]; i++) {
        numbers[i] = convert_get_i64(shape, i);
        changes = changes || numbers[i] == before;
        numbers[i] = numbers[i] == before ? after : numbers[i];
    }
    if (!changes) {
        return SPRY_OK;
    }
    status = insert_constant(job->g, name, "shape", SPRY_DTYPE_I64, 1, shape->shape, numbers, &made,
                             error);
    if (status == SPRY_OK) {
        graph_set_input(job->g, index, 1, made);
    }
    return status;
}

/* Between the head and the output. */
static spry_status renew_shapes(rewrite *job, int64_t before, int64_t after, spry_error *error)
{
    const structure_linear *l = &job->found.linears[job->found.head];
    spry_status status = SPRY_OK;
    int32_t id = job->s->outputs[0];

    while (status == SPRY_OK && id != l->output && id != l->product) {
        status = renew_shape(job, id, before, after, error);
        id = job->s->nodes[job->s->values[id].producer].inputs[0];
    }
    return status;
}

spry_status head_renew(rewrite *job, spry_error *error)
{
    int64_t classes = job->options.classes;
    const structure_linear *l;
    build b;
    int32_t weights;
    spry_status status = classes != 0 ? check_found(job, error) : SPRY_OK;

    if (status != SPRY_OK || classes == 0) {
        return status;
    }
    l = &job->found.linears[job->found.head];
    if (!l->is_plain) {
        return spry_fail(error, SPRY_UNSUPPORTED, job->m->path, "keep its classes",
                         "the head is a Gemm with factors or a convolution in groups");
    }
    b = build_beside(job, l->product, error);
    weights = draw_weights(&b, l, job->s->values[l->weight].constant, classes);
    if (b.status == SPRY_OK) {
        graph_set_input(job->g, job->g->values[l->product].producer, 1, weights);
        status = renew_bias(&b, l, classes);
    }
    if (b.status != SPRY_OK) {
        return b.status;
    }
    return status == SPRY_OK ? renew_shapes(job, l->outputs, classes, error) : status;
}

/* ---- the head as it is ---- */

spry_status head_train(rewrite *job, spry_error *error)
{
    const structure_linear *l;
    int32_t parameter;
    spry_status status = check_found(job, error);

    if (status != SPRY_OK) {
        return status;
    }
    l = &job->found.linears[job->found.head];
    status = rewrite_mention(job, l->product, error);
    if (status != SPRY_OK || job->options.classes != 0) {
        return status; /* head_renew has listed its tensors */
    }
    status = rewrite_parameter(job, l->product, 1, &parameter, error);
    if (status == SPRY_OK) {
        status = rewrite_train(job, parameter, error);
    }
    if (status == SPRY_OK && l->bias != GRAPH_NONE) {
        int32_t holder = l->output;
        int32_t port = 2;

        if (l->output != l->product) {
            const graph_node *sum = &job->g->nodes[job->g->values[l->output].producer];

            port = sum->inputs[0] == l->product;
        }
        status = rewrite_parameter(job, holder, port, &parameter, error);
        if (status == SPRY_OK) {
            status = rewrite_train(job, parameter, error);
        }
    }
    return status;
}

const adapt_method adapt_method_head = {
    .facts = {.name = "head", .summary = "the classifier alone"},
};
