/* Masks as outputs, to be looked at. */
#include <string.h>

#include "adapt/rewrite.h"
#include "adapt/spatial_block.h"
#include "base/alloc.h"
#include "train/training_form.h"

static spry_status find_blocks(const model *m, arena *memory, spatial_blocks *found,
                               spry_error *error)
{
    graph *s = NULL;
    graph_uses uses;
    spry_status status = rewrite_look(m, memory, &s, error);

    if (status == SPRY_OK) {
        status = graph_find_uses(s, memory, &uses, error);
    }
    return status == SPRY_OK ? spatial_blocks_find(s, &uses, memory, found, error) : status;
}

static spry_status add_outputs(model *m, const spatial_blocks *found, spry_error *error)
{
    graph *g = m->main;
    size_t most = (size_t)g->output_count + (size_t)found->count + 1;
    int32_t *outputs = arena_array(&m->memory, most, sizeof *outputs);
    int32_t count = g->output_count;

    if (outputs == NULL) {
        return alloc_failed(error, most * sizeof *outputs);
    }
    memcpy(outputs, g->outputs, (size_t)g->output_count * sizeof *outputs);
    for (int32_t i = 0; i < found->count; i++) {
        int32_t map = found->items[i].map;

        if (map != GRAPH_NONE && !g->values[map].is_output) {
            outputs[count++] = map;
        }
    }
    if (count == g->output_count) {
        return spry_fail(error, SPRY_USAGE, m->path, "make one with spry adapt -m lasnet",
                         "the model has no blocks with masks");
    }
    return training_set_outputs(g, outputs, count, error);
}

spry_status spry_adapt_reveal(const spry_model *adapted, spry_model **revealed, spry_error *error)
{
    spatial_blocks found;
    arena memory;
    spry_status status = training_model(adapted, revealed, error);

    if (status != SPRY_OK) {
        return status;
    }
    arena_init(&memory, &adapted->allocator, SIZE_MAX);
    status = find_blocks(*revealed, &memory, &found, error);
    if (status == SPRY_OK) {
        status = add_outputs(*revealed, &found, error);
    }
    arena_fini(&memory);
    if (status != SPRY_OK) {
        spry_model_destroy(*revealed);
        *revealed = NULL;
    }
    return status;
}
