/* What a search found becomes records of weights and activations. */
#include <string.h>

#include "base/alloc.h"
#include "model/twin_function.h"
#include "quantize/method/search_check.h"

static activation_record *record_of(quantize_job *job, int32_t value)
{
    for (int32_t i = 0; i < job->activation_count; i++) {
        if (job->activations[i].value == value) {
            return &job->activations[i];
        }
    }
    return NULL;
}

static void add_record(quantize_job *job, int32_t value, tensor_grid grid)
{
    if (record_of(job, value) == NULL) {
        job->activations[job->activation_count] =
            (activation_record){.value = value, .like = job->activation_count, .grid = grid};
        job->activation_count++;
    }
}

/* Steps of heads, or the only one. */
static tensor_grid grid_of_heads(const float *steps, int64_t heads, int bits)
{
    tensor_grid grid = {.step = steps[0], .dtype = SPRY_DTYPE_I8, .bits = bits};

    if (heads > 1) {
        grid.step = 0.0f;
        grid.steps = steps;
        grid.step_count = heads;
        grid.axis = 1;
    }
    return grid;
}

static spry_status first_grid(quantize_job *job, const layer *l, const search_result *r,
                              tensor_grid *grid, spry_error *error)
{
    int64_t a_units = l->source == LAYER_SOFTMAX ? 1 : l->heads;
    float *steps = arena_array(job->memory, (size_t)a_units, sizeof *steps);
    twin_grid *twin = arena_array(job->memory, 1, sizeof *twin);

    if (steps == NULL || twin == NULL) {
        return alloc_failed(error, (size_t)a_units * sizeof *steps);
    }
    if (r->grids[0].is_twin) {
        *twin = r->grids[0].twin;
        *grid = (tensor_grid){.dtype = SPRY_DTYPE_U8, .bits = l->bits, .twin = twin};
        return SPRY_OK;
    }
    for (int64_t u = 0; u < a_units; u++) {
        steps[u] = r->grids[u].step;
    }
    *grid = grid_of_heads(steps, a_units, l->bits);
    grid->dtype = r->grids[0].dtype;
    grid->zero = r->grids[0].zero;
    return SPRY_OK;
}

/* Activations that convolutions read keep the grids of calibration, but not the image itself. */
static void keep_others(quantize_job *job, const activation_record *before, int32_t count)
{
    const graph *g = job->m->main;

    for (int32_t i = 0; i < count; i++) {
        bool is_read = false;

        for (int32_t k = 0; k < job->node_count; k++) {
            is_read = is_read || (job->is_integer[k] && strcmp(g->nodes[k].type, "Conv") == 0 &&
                                  g->nodes[k].inputs[0] == before[i].value);
        }
        if (is_read && !g->values[before[i].value].is_input) {
            add_record(job, before[i].value, before[i].grid);
            job->activations[job->activation_count - 1].grid.bits =
                before[before[i].like].grid.bits;
        }
    }
}

spry_status search_write(quantize_job *job, const layers *found, const search_result *results,
                         spry_error *error)
{
    const activation_record *before = job->activations;
    int32_t count = job->activation_count;
    size_t most = (size_t)(2 * found->count + count) + 1;
    bool any_twin = false;
    spry_status status = SPRY_OK;

    job->activations = arena_array(job->memory, most, sizeof *job->activations);
    job->activation_count = 0;
    if (job->activations == NULL) {
        return alloc_failed(error, most * sizeof *job->activations);
    }
    for (int32_t i = 0; status == SPRY_OK && i < found->count; i++) {
        const layer *l = &found->list[i];
        tensor_grid grid = {0};

        status = first_grid(job, l, &results[i], &grid, error);
        add_record(job, l->a, grid);
        any_twin = any_twin || grid.twin != NULL;
        if (l->weight == GRAPH_NONE) {
            add_record(job, l->b, grid_of_heads(results[i].steps, l->heads, l->bits));
        } else {
            memcpy(job->weights[l->weight].steps, results[i].steps,
                   (size_t)job->weights[l->weight].w.outputs * sizeof(float));
        }
    }
    keep_others(job, before, count);
    return status == SPRY_OK && any_twin ? twin_function_add(job->m, job->opset, error) : status;
}
