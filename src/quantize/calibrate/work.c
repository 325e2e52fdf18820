/* MACs by operator, on a copy of the graph with a batch of one. */
#include "quantize/calibrate/work.h"

#include "base/alloc.h"
#include "model/infer.h"
#include "ops/op.h"
#include "quantize/choose.h"

static spry_status bind_batch(graph *g, spry_error *error)
{
    for (int32_t i = 0; i < g->input_count; i++) {
        const graph_value *input = &g->values[g->inputs[i]];
        graph_type type = input->type;
        spry_status status;

        if (type.kind != GRAPH_TYPE_TENSOR || !type.has_rank || type.rank == 0 ||
            type.dims[0].size >= 0) {
            continue;
        }
        type.dims[0] = (graph_dim){.size = 1};
        status = infer_bind_input(g, input->name, &type, error);
        if (status != SPRY_OK) {
            return status;
        }
    }
    return infer_graph(g, error);
}

static bool find_types(const graph *g, const int32_t *ids, int32_t count, const graph_type **types)
{
    for (int32_t i = 0; i < count; i++) {
        types[i] = ids[i] != GRAPH_NONE ? &g->values[ids[i]].type : NULL;
        if (types[i] != NULL && !graph_type_is_static(types[i])) {
            return false;
        }
    }
    return true;
}

static int64_t macs_of(const graph *g, const graph_node *n)
{
    enum { MOST_PORTS = 16 };
    const graph_type *inputs[MOST_PORTS];
    const graph_type *outputs[MOST_PORTS];
    op_work work = {n, inputs, outputs, n->input_count, n->output_count};
    const op *definition = op_of_node(n);
    int64_t macs = 0;
    int64_t flops = 0;

    if (n->removed || definition == NULL || definition->cost == NULL ||
        n->input_count > MOST_PORTS || n->output_count > MOST_PORTS ||
        !find_types(g, n->inputs, n->input_count, inputs) ||
        !find_types(g, n->outputs, n->output_count, outputs)) {
        return 0;
    }
    definition->cost(&work, &macs, &flops);
    return macs;
}

static bool is_quantized(const quantize_job *job, int32_t id)
{
    for (int32_t i = 0; i < job->activation_count; i++) {
        if (job->activations[i].value == id) {
            return true;
        }
    }
    return false;
}

/* Both factors are integers. */
static bool runs_in_integers(const quantize_job *job, int32_t node)
{
    const graph_node *n = &job->m->main->nodes[node];

    return n->input_count > WEIGHTS_PORT && is_quantized(job, n->inputs[0]) &&
           (job->is_integer[node] || is_quantized(job, n->inputs[WEIGHTS_PORT]));
}

static void add_to_row(quantize_job *job, int32_t node, int64_t macs, bool in_integers)
{
    const weight_record *r = job->record_of[node];

    if (r != NULL) {
        spry_quantize_row *row = &job->facts->rows[r - job->weights];

        row->macs += macs;
        row->integer_macs += in_integers ? macs : 0;
    }
}

spry_status work_count(quantize_job *job, spry_error *error)
{
    arena memory;
    graph *g = NULL;
    spry_status status;

    arena_init(&memory, &job->m->allocator, SIZE_MAX);
    status = graph_copy(job->m->main, &memory, NULL, &g, error);
    if (status == SPRY_OK) {
        status = bind_batch(g, error);
    }
    for (int32_t i = 0; status == SPRY_OK && i < job->node_count; i++) {
        int64_t macs = macs_of(g, &g->nodes[i]);
        bool in_integers = macs > 0 && runs_in_integers(job, i);

        job->facts->macs += macs;
        job->facts->integer_macs += in_integers ? macs : 0;
        add_to_row(job, i, macs, in_integers);
    }
    arena_fini(&memory);
    return status;
}
