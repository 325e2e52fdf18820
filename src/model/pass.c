/* The table of passes, and running them all. */
#include "model/pass.h"

#include <stddef.h>

#include "model/graph_walk.h"
#include "model/infer.h"

enum { MOST_ROUNDS = 4 };

static const pass_entry passes[] = {
    {"inline", pass_inline},
    {"dead", pass_dead},
    {"identity", pass_identity},
    {"quantize", pass_quantize},
    {"fold", pass_fold},
    {"batchnorm", pass_batchnorm},
    {"layer_norm", pass_layer_norm},
    {"activation", pass_activation},
    {"attention", pass_attention},
    {NULL, NULL},
};

const pass_entry *pass_table(void)
{
    return passes;
}

/* Runs one pass over the bodies that nodes of `g` hold, then over `g`. Depth is bounded by
 * LIMIT_SUBGRAPH_DEPTH. */
static spry_status run_everywhere(graph *g, const pass_entry *pass, pass_context *c,
                                  spry_error *error)
{
    for (int32_t i = 0; i < g->node_count; i++) {
        const graph_node *n = &g->nodes[i];

        for (int32_t k = 0; !n->removed && k < n->attribute_count; k++) {
            int64_t count;
            graph *const *bodies = graph_attribute_subgraphs(&n->attributes[k], &count);

            for (int64_t b = 0; b < count; b++) {
                spry_status status = run_everywhere(bodies[b], pass, c, error);

                if (status != SPRY_OK) {
                    return status;
                }
            }
        }
    }
    return pass->run(g, c, error);
}

static spry_status run_round(graph *g, pass_context *c, spry_error *error)
{
    spry_status status = infer_graph(g, error);

    for (const pass_entry *pass = passes; status == SPRY_OK && pass->name != NULL; pass++) {
        if (pass->run != pass_inline) {
            status = run_everywhere(g, pass, c, error);
        }
    }
    return status;
}

spry_status pass_run_all(graph *g, pass_context *c, spry_error *error)
{
    const pass_entry dead = {"dead", pass_dead};
    spry_status status = pass_inline(g, c, error);
    int64_t before = -1;

    for (int round = 0; status == SPRY_OK && round < MOST_ROUNDS && c->changes != before; round++) {
        before = c->changes;
        status = run_round(g, c, error);
    }
    return status == SPRY_OK ? run_everywhere(g, &dead, c, error) : status;
}
