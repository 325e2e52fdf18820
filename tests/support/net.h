/* Builds small graphs by names, for tests of passes and inference. Anything that fails fails the
 * running test. */
#ifndef SUPPORT_NET_H
#define SUPPORT_NET_H

#include "model/graph.h"

typedef struct net {
    arena memory;
    graph *g;
    int32_t opset;
} net;

void net_init(net *n, int32_t opset);
void net_fini(net *n);

/* Inputs and outputs of the graph. A dimension of -1 is the symbol "N". */
int32_t net_input(net *n, const char *name, spry_dtype dtype, int rank, const int64_t *shape);
void net_output(net *n, const char *name);

/* Constants with a copy of the data. */
int32_t net_constant(net *n, const char *name, spry_dtype dtype, int rank, const int64_t *shape,
                     const void *data);

/* A node over values of those names (separated by blanks, "-" omits one); outputs are made. */
int32_t net_node(net *n, const char *type, const char *inputs, const char *outputs);

/* Nodes of that type that are left. */
int net_count(const net *n, const char *type);
/* The only node of that type. */
const graph_node *net_find(const net *n, const char *type);
int32_t net_value(const net *n, const char *name);

#endif
