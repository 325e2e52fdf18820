/* A graph convolutional network (Kipf, Welling, arXiv 1609.02907): classes of the nodes of one
 * graph, by the features of each and of its neighbours. */
#include "architecture/architecture.h"

static const double dropped = 0.5;

/* The adjacency is normalised: with itself as a neighbour of every node, entry (i, j) of an edge is
 * 1 / sqrt(degree i x degree j). */
void architecture_gcn(builder *b, const spry_architecture_options *o, const int *form)
{
    builder_flow x = builder_input(b, "features", 2, (const int64_t[]){-1, o->features});
    builder_flow adjacency = builder_input(b, "adjacency", 2, (const int64_t[]){-1, -1});

    (void)form;
    for (int64_t i = 1; i < o->depth; i++) {
        x = builder_dropout(b, x, builder_name(b, "dropout%d", (int)i), dropped);
        x = builder_graph_conv(b, x, adjacency, builder_name(b, "conv%d", (int)i), o->units);
        x = builder_activation(b, x, builder_name(b, "relu%d", (int)i), "Relu");
    }
    x = builder_dropout(b, x, builder_name(b, "dropout%d", (int)o->depth), dropped);
    x = builder_graph_conv(b, x, adjacency, builder_name(b, "conv%d", (int)o->depth), o->classes);
    builder_at(b, "logits");
    x.id = emit_unary(&b->e, "Identity", x.id);
    builder_give(b, x);
}
