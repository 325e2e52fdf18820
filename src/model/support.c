/* Compares every node with the operator tables. */
#include "model/support.h"

#include <inttypes.h>
#include <string.h>

#include "base/text.h"
#include "model/graph_walk.h"
#include "model/infer.h"
#include "model/pass.h"
#include "ops/op.h"

typedef struct lister {
    spry_unsupported_callback callback;
    void *context;
    int64_t count;
} lister;

static void report(lister *l, const graph *g, const graph_node *n, int32_t input, spry_dtype dtype)
{
    char label[SPRY_ERROR_WHERE_SIZE];
    spry_unsupported item = {.struct_size = sizeof item,
                             .node = graph_node_label(g, n, label, sizeof label),
                             .type = n->type,
                             .domain = n->domain,
                             .opset = n->opset,
                             .input = input,
                             .dtype = dtype};

    l->count++;
    if (l->callback != NULL) {
        l->callback(l->context, &item);
    }
}

/* Element types that an operator accepts at a port; 0: anything. */
static uint32_t accepted_types(const op *o, int32_t port)
{
    int32_t last = OP_TYPE_SLOTS - 1;

    if ((o->flags & OP_LAST_TYPES_REPEAT) != 0) {
        int32_t filled = OP_TYPE_SLOTS;

        while (filled > 1 && o->types[filled - 1] == 0) {
            filled--;
        }
        last = filled - 1;
        return o->types[port < last ? port : last];
    }
    return port <= last ? o->types[port] : 0;
}

static void list_types(lister *l, const graph *g, const graph_node *n)
{
    for (int32_t i = 0; i < n->input_count; i++) {
        const graph_type *type = n->inputs[i] != GRAPH_NONE ? &g->values[n->inputs[i]].type : NULL;
        uint32_t accepted = accepted_types(n->op, i);

        if (type != NULL && accepted != 0 && type->kind == GRAPH_TYPE_TENSOR &&
            type->dtype != SPRY_DTYPE_NONE && (accepted & dtype_bit(type->dtype)) == 0) {
            report(l, g, n, i, type->dtype);
        }
    }
}

/* Depth is bounded by LIMIT_SUBGRAPH_DEPTH. */
static void list_graph(lister *l, const graph *g)
{
    for (int32_t i = 0; i < g->node_count; i++) {
        const graph_node *n = &g->nodes[i];

        if (n->removed) {
            continue;
        }
        if (n->op == NULL) {
            report(l, g, n, -1, SPRY_DTYPE_NONE);
        } else {
            list_types(l, g, n);
        }
        for (int32_t k = 0; k < n->attribute_count; k++) {
            int64_t count;
            graph *const *bodies = graph_attribute_subgraphs(&n->attributes[k], &count);

            for (int64_t b = 0; b < count; b++) {
                list_graph(l, bodies[b]);
            }
        }
    }
}

int64_t support_list(const graph *g, spry_unsupported_callback callback, void *context)
{
    lister l = {.callback = callback, .context = context};

    list_graph(&l, g);
    return l.count;
}

/* ---- as one error ---- */

enum { NAMED_IN_ERROR = 8 };

typedef struct summary {
    text names;
    int64_t count;
} summary;

static void summarise(void *context, const spry_unsupported *item)
{
    summary *s = context;

    if (s->count++ >= NAMED_IN_ERROR) {
        return;
    }
    text_append_string(&s->names, s->count > 1 ? "; " : "");
    text_append_format(&s->names, "%.100s (%s%s%.60s-%" PRId64, item->node, item->domain,
                       item->domain[0] != '\0' ? "." : "", item->type, item->opset);
    if (item->dtype != SPRY_DTYPE_NONE) {
        text_append_format(&s->names, ", input %d of type %s", (int)item->input,
                           spry_dtype_name(item->dtype));
    }
    text_append_string(&s->names, ")");
}

spry_status support_check(const graph *g, spry_error *error)
{
    char buffer[SPRY_ERROR_WHAT_SIZE - 64];
    summary s = {.count = 0};

    text_init_fixed(&s.names, buffer, sizeof buffer);
    if (support_list(g, summarise, &s) == 0) {
        return SPRY_OK;
    }
    return spry_fail(error, SPRY_UNSUPPORTED, "model", "list all of them with: spry inspect MODEL",
                     "%" PRId64 " unsupported: %s%s", s.count, buffer,
                     s.count > NAMED_IN_ERROR ? "; ..." : "");
}

/* ---- for a model ---- */

spry_status spry_model_unsupported(const spry_model *m, spry_unsupported_callback callback,
                                   void *context, int64_t *count, spry_error *error)
{
    arena memory;
    pass_context passes = {.m = m};
    graph *g = NULL;
    spry_status status;

    *count = 0;
    arena_init(&memory, &m->allocator, SIZE_MAX);
    status = graph_copy(m->main, &memory, NULL, &g, error);
    if (status == SPRY_OK) {
        status = pass_inline(g, &passes, error);
    }
    if (status == SPRY_OK) {
        /* Contradicting shapes are another failure, reported when a session is made; element types
         * found up to there count. */
        spry_status inferred = infer_graph(g, NULL);

        status = inferred == SPRY_LIMIT ? spry_fail(error, SPRY_LIMIT, m->path, NULL,
                                                    "memory ran out while types were inferred")
                                        : SPRY_OK;
    }
    if (status == SPRY_OK) {
        *count = support_list(g, callback, context);
    }
    arena_fini(&memory);
    return status;
}
