/* Keys of plans. Large constants are not read: they follow from the model's files, which the file
 * system identifies, and from what the other parts of the key say. */
#include "runtime/cache/plan_key.h"

#include <string.h>

#include "base/build_id.h"
#include "base/cpu.h"
#include "base/hash64.h"
#include "kernels/isa.h"
#include "model/model.h"
#include "model/weights.h"

static uint64_t add(uint64_t hash, const void *bytes, size_t size)
{
    return hash64(bytes, size, hash);
}

static uint64_t add_number(uint64_t hash, int64_t number)
{
    return add(hash, &number, sizeof number);
}

static uint64_t add_text(uint64_t hash, const char *text)
{
    return add(hash, text, strlen(text) + 1);
}

static uint64_t add_type(uint64_t hash, const graph_type *type)
{
    hash = add_number(hash, type->kind);
    hash = add_number(hash, type->dtype);
    hash = add_number(hash, type->has_rank ? type->rank : -1);
    for (int i = 0; i < type->rank; i++) {
        hash = add_number(hash, type->dims[i].size);
    }
    return hash;
}

static uint64_t add_tensor(uint64_t hash, const tensor *t)
{
    hash = add_number(hash, t->dtype);
    hash = add_number(hash, t->rank);
    hash = add(hash, t->shape, (size_t)t->rank * sizeof *t->shape);
    if (t->dtype == SPRY_DTYPE_STRING || t->bytes >= MODEL_WEIGHTS_LEAST) {
        return add_number(hash, (int64_t)t->bytes);
    }
    return add(hash, t->data, t->bytes);
}

static uint64_t add_attribute(uint64_t hash, const graph_attribute *a)
{
    hash = add_text(hash, a->name);
    hash = add_number(hash, a->kind);
    hash = add_number(hash, a->count);
    for (int64_t i = 0; i < a->count; i++) {
        switch (a->kind) {
        case GRAPH_ATTRIBUTE_FLOAT:
        case GRAPH_ATTRIBUTE_FLOATS:
            hash = add(hash, &a->as.floats[i], sizeof *a->as.floats);
            break;
        case GRAPH_ATTRIBUTE_INT:
        case GRAPH_ATTRIBUTE_INTS: hash = add_number(hash, a->as.ints[i]); break;
        case GRAPH_ATTRIBUTE_STRING:
        case GRAPH_ATTRIBUTE_STRINGS:
            hash = add(hash, a->as.strings[i].data, a->as.strings[i].size);
            break;
        case GRAPH_ATTRIBUTE_TENSOR:
        case GRAPH_ATTRIBUTE_TENSORS: hash = add_tensor(hash, &a->as.tensors[i]); break;
        default: break; /* bodies have plans without providers */
        }
    }
    return hash;
}

static uint64_t add_graph(uint64_t hash, const graph *g)
{
    for (int32_t i = 0; i < g->value_count; i++) {
        hash = add_type(hash, &g->values[i].type);
        if (g->values[i].constant != NULL) {
            hash = add_tensor(hash, g->values[i].constant);
        }
    }
    for (int32_t n = 0; n < g->node_count; n++) {
        const graph_node *node = &g->nodes[n];

        hash = add_text(hash, node->domain);
        hash = add_text(hash, node->type);
        hash = add_number(hash, node->removed);
        hash = add(hash, node->inputs, (size_t)node->input_count * sizeof *node->inputs);
        hash = add(hash, node->outputs, (size_t)node->output_count * sizeof *node->outputs);
        for (int32_t a = 0; a < node->attribute_count; a++) {
            hash = add_attribute(hash, &node->attributes[a]);
        }
    }
    return hash;
}

plan_key plan_key_of(const graph *g, const spry_session_options *options, const threads *team)
{
    const isa_choice *isa = isa_chosen();
    const model *m = g->source;
    uint64_t build = build_id();
    plan_key key = {0};

    if (m == NULL || m->identity == 0 || build == 0) {
        return key;
    }
    key.place = add_text(0, m->path);
    key.place = add_text(key.place, isa_name(isa->level));
    key.place = add_number(key.place, threads_count(team));
    key.place = add_number(key.place, options->precision);
    key.place = add_number(key.place, options->keep_order);
    for (int32_t i = 0; i < g->input_count; i++) {
        key.place = add_type(key.place, &g->values[g->inputs[i]].type);
    }
    key.content = add_number(key.place, (int64_t)build);
    key.content = add_number(key.content, (int64_t)m->identity);
    key.content = add_text(key.content, cpu_brand());
    key.content = add_number(key.content, isa->bf16 | isa->dot << 1 | isa->avxvnni << 2);
    key.content = add_graph(key.content, g);
    key.content += key.content == 0;
    return key;
}
