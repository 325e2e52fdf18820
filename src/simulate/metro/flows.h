/* What is to be moved over a mesh whose traffic is known before it runs.
 *
 * A flow has one end and one or many others: a multicast goes from the one to the many, a reduction
 * from the many to the one, adding on the way. Nodes are numbered y * width + x. */
#ifndef SIMULATE_METRO_FLOWS_H
#define SIMULATE_METRO_FLOWS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/arena.h"
#include "spry/status.h"

enum { METRO_FLOWS_MOST = 4096, METRO_SIDE_MOST = 64 };
#define METRO_CYCLE_MOST ((int64_t)1 << 40)
#define METRO_BYTES_MOST ((int64_t)1 << 32)

typedef struct metro_flow {
    int64_t id;
    bool is_reduce;
    int one;
    int *many; /* distinct and without `one`, for which nothing needs moving */
    int count;
    int64_t bytes;
    int64_t release; /* cycle before which nothing leaves */
    int64_t due;     /* cycle; before `release`: late in any case */
    int64_t group;
} metro_flow;

typedef struct metro_flows {
    int width;
    int height;
    arena memory;
    metro_flow *items;
    int count;
    size_t capacity;
} metro_flows;

/* No flows yet. The sides are 1 to METRO_SIDE_MOST. */
void metro_flows_init(metro_flows *f, int width, int height);
void metro_flows_fini(metro_flows *f);

/* Adds a flow between `one` and `many`, which are copied. Fails with SPRY_USAGE (a node off the
 * mesh, bytes or a release below 0), SPRY_LIMIT. */
SPRY_MUST_USE spry_status metro_flows_add(metro_flows *f, const metro_flow *flow,
                                          spry_error *error);

/* Lines of "id,type,src,dst list,bytes,release,due,group"; a first line that begins with "id" is
 * passed over. Types are unicast, multicast, reduce, gather and scatter (unicasts with a group);
 * nodes of a list stand apart by blanks. due and group may be empty.
 * Fails with SPRY_BAD_INPUT (naming file:line), SPRY_LIMIT, SPRY_IO. */
SPRY_MUST_USE spry_status metro_flows_read(metro_flows *f, const char *path, spry_error *error);

#endif
