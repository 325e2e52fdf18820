/* Rows of the profile, and what an operator costs. */
#include "runtime/profile.h"

#include <string.h>

#include "base/alloc.h"
#include "base/limits.h"

void profile_init(profile *p, const spry_allocator *allocator)
{
    *p = (profile){.allocator = alloc_resolve(allocator)};
    arena_init(&p->memory, allocator, SIZE_MAX);
}

void profile_fini(profile *p)
{
    alloc_release(&p->allocator, p->rows, p->capacity * sizeof *p->rows);
    arena_fini(&p->memory);
    p->rows = NULL;
    p->count = 0;
    p->capacity = 0;
}

void profile_reset(profile *p)
{
    for (int32_t i = 0; i < p->count; i++) {
        p->rows[i].calls = 0;
        p->rows[i].milliseconds = 0;
        p->rows[i].density = p->rows[i].density < 0 ? -1 : 0;
        p->rows[i].input_density = p->rows[i].input_density < 0 ? -1 : 0;
        p->rows[i].gain = p->rows[i].gain < 0 ? -1 : 0;
    }
}

/* Moves a mean over calls. */
static void move_mean(double *mean, double number, int64_t calls)
{
    *mean += (number - *mean) / (double)calls;
}

void profile_add(profile *p, int32_t row, int64_t nanoseconds, const provider_step *step)
{
    spry_profile_row *r = &p->rows[row];
    const provider_sparsity *zeros = step->sparsity;

    r->calls++;
    r->milliseconds += (double)nanoseconds * 1e-6;
    if (step->density != NULL) {
        move_mean(&r->density, *step->density, r->calls);
    }
    if (step->traffic != NULL) {
        r->block_outside = step->traffic->outside;
    }
    if (zeros != NULL) {
        move_mean(&r->gain, zeros->gain, r->calls);
        r->plan = zeros->way != NULL ? zeros->way : r->plan;
        if (zeros->activations >= 0.0) {
            r->input_density = r->calls == 1 ? 0.0 : r->input_density;
            move_mean(&r->input_density, zeros->activations, r->calls);
        }
    }
}

static int64_t bytes_of(const graph_type *type)
{
    size_t bytes = 0;

    return type != NULL && dtype_storage_bytes(type->dtype, op_work_count(type), &bytes)
               ? (int64_t)bytes
               : 0;
}

/* Fills macs and bytes of the row where all types are static. */
static void find_cost(const graph *g, const graph_node *node, spry_profile_row *row)
{
    enum { MOST_PORTS = 64 };
    const graph_type *inputs[MOST_PORTS] = {NULL};
    const graph_type *outputs[MOST_PORTS] = {NULL};
    op_work work = {node, inputs, outputs, node->input_count, node->output_count};
    int64_t flops = 0;

    if (node->input_count > MOST_PORTS || node->output_count > MOST_PORTS) {
        return;
    }
    for (int32_t i = 0; i < node->input_count; i++) {
        const graph_value *v = node->inputs[i] >= 0 ? &g->values[node->inputs[i]] : NULL;

        if (v != NULL && !graph_type_is_static(&v->type)) {
            return;
        }
        inputs[i] = v != NULL ? &v->type : NULL;
        row->bytes += bytes_of(inputs[i]);
    }
    for (int32_t i = 0; i < node->output_count; i++) {
        const graph_value *v = node->outputs[i] >= 0 ? &g->values[node->outputs[i]] : NULL;

        if (v != NULL && !graph_type_is_static(&v->type)) {
            return;
        }
        outputs[i] = v != NULL ? &v->type : NULL;
        row->bytes += bytes_of(outputs[i]);
    }
    if (node->op->cost != NULL) {
        node->op->cost(&work, &row->macs, &flops);
    }
}

static spry_status find_row(profile *p, const plan *of, const plan_step *step, int32_t *row,
                            spry_error *error)
{
    const provider_sparsity *zeros = step->provided.sparsity;
    const provider_traffic *traffic = step->provided.traffic;
    const char *result = step->node->output_count > 0 && step->node->outputs[0] != GRAPH_NONE
                             ? of->g->values[step->node->outputs[0]].name
                             : "";
    char label[512];
    spry_status status;
    spry_profile_row *made;

    (void)graph_node_label(of->g, step->node, label, sizeof label);
    for (int32_t i = 0; i < p->count; i++) {
        if (strcmp(p->rows[i].node, label) == 0) {
            *row = i;
            return SPRY_OK;
        }
    }
    status = alloc_grow(&p->allocator, (void **)&p->rows, &p->capacity, (size_t)p->count + 1,
                        sizeof *p->rows, LIMIT_GRAPH_NODES, error);
    if (status != SPRY_OK) {
        return status;
    }
    made = &p->rows[p->count];
    *made = (spry_profile_row){
        .node = arena_text(&p->memory, label, strlen(label)),
        .type = arena_text(&p->memory, step->node->type, strlen(step->node->type)),
        .kernel = step->provider != NULL ? step->provided.kernel : "reference",
        .plan = step->provided.plan != NULL ? step->provided.plan : "",
        .threads = step->provided.threads,
        .predicted_cycles = step->provided.predicted_cycles,
        .density = step->provided.density != NULL ? 0 : -1,
        .weight_density = zeros != NULL ? zeros->weights : -1,
        .input_density = -1,
        .gain = zeros != NULL ? 0 : -1,
        .block_images = traffic != NULL ? traffic->images : -1,
        .block_windows = traffic != NULL ? traffic->windows : -1,
        .block_outside = traffic != NULL ? 0 : -1,
        .block_redundancy = traffic != NULL ? traffic->redundancy : -1,
        .result = arena_text(&p->memory, result, strlen(result))};
    if (made->node == NULL || made->type == NULL || made->result == NULL) {
        return alloc_failed(error, sizeof label);
    }
    find_cost(of->g, step->node, made);
    *row = p->count++;
    return SPRY_OK;
}

spry_status profile_attach(profile *p, plan *of, spry_error *error)
{
    for (int32_t s = 0; s < of->step_count; s++) {
        spry_status status = find_row(p, of, &of->steps[s], &of->steps[s].profile_row, error);

        if (status != SPRY_OK) {
            return status;
        }
    }
    return SPRY_OK;
}
