/* Blocks as nodes: how layers are kept in one and read again. */
#include <string.h>

#include "runtime/block/block.h"

int block_layer_count(const graph_node *n)
{
    int64_t count;

    if (strcmp(n->domain, BLOCK_DOMAIN) != 0) {
        return 0;
    }
    (void)graph_attribute_ints(n, BLOCK_LAYERS, &count);
    return (int)(count / BLOCK_RECORD);
}

void block_read_layer(const graph_node *n, int layer, block_node *l)
{
    int64_t count;
    const int64_t *records = graph_attribute_ints(n, BLOCK_LAYERS, &count);
    const int64_t *values = graph_attribute_ints(n, BLOCK_VALUES, &count);
    const graph_attribute *names = graph_attribute_find(n, BLOCK_NAMES);
    block_record r;

    memcpy(&r, records + layer * BLOCK_RECORD, sizeof r);
    for (int64_t i = 0; i < r.ports; i++) {
        l->inputs[i] = (int32_t)values[r.first_port + i];
    }
    l->output = (int32_t)r.output;
    l->first_port = r.first_port;
    l->macs = r.macs;
    l->node = (graph_node){.name = n->name,
                           .type = names->as.strings[2 * layer].data,
                           .domain = names->as.strings[2 * layer + 1].data,
                           .overload = "",
                           .inputs = l->inputs,
                           .input_count = (int32_t)r.ports,
                           .outputs = &l->output,
                           .output_count = 1,
                           .attributes = n->attributes + r.first_attribute,
                           .attribute_count = (int32_t)r.attributes,
                           .opset = (int32_t)r.opset,
                           .op = n->op};
}

int64_t block_macs(const graph *g, const graph_node *n)
{
    const graph_type *inputs[BLOCK_LAYER_PORTS] = {NULL};
    const graph_type *output = &g->values[n->outputs[0]].type;
    op_work work = {n, inputs, &output, n->input_count, 1};
    int64_t macs = 0;
    int64_t flops = 0;

    if (n->op == NULL || n->op->cost == NULL || n->input_count > BLOCK_LAYER_PORTS ||
        !graph_type_is_static(output)) {
        return 0;
    }
    for (int32_t i = 0; i < n->input_count; i++) {
        inputs[i] = n->inputs[i] != GRAPH_NONE ? &g->values[n->inputs[i]].type : NULL;
        if (inputs[i] != NULL && !graph_type_is_static(inputs[i])) {
            return 0;
        }
    }
    n->op->cost(&work, &macs, &flops);
    return macs;
}

static bool copy_block(const spry_block *from, arena *memory, spry_block *to)
{
    const char **names = arena_array(memory, (size_t)from->layer_count + 1, sizeof *names);

    *to = *from;
    to->layers = names;
    for (int32_t i = 0; names != NULL && i < from->layer_count; i++) {
        names[i] = arena_text(memory, from->layers[i], strlen(from->layers[i]));
        if (names[i] == NULL) {
            return false;
        }
    }
    return names != NULL;
}

const spry_blocks *block_copy(const spry_blocks *from, arena *memory)
{
    spry_blocks *to = arena_zeroed(memory, sizeof *to);
    spry_block *blocks = arena_array(memory, (size_t)from->count + 1, sizeof *blocks);

    if (to == NULL || blocks == NULL) {
        return NULL;
    }
    for (int64_t i = 0; i < from->count; i++) {
        if (!copy_block(&from->blocks[i], memory, &blocks[i])) {
            return NULL;
        }
    }
    *to = (spry_blocks){blocks, from->count};
    return to;
}
