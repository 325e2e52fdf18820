/* What the files of the layout pass share: images and their channels-last twins, and the rules that
 * say what becomes of each operator. */
#ifndef RUNTIME_LAYOUT_PASS_H
#define RUNTIME_LAYOUT_PASS_H

#include "runtime/layout/layout.h"

typedef struct layout_rule layout_rule;

typedef struct layout_node {
    const layout_rule *rule; /* NULL: stays planar */
    bool moved;              /* works on channels-last images */
    bool takes_planar;       /* moved, it could read its first image planar as well, */
    bool reads_planar;       /* and does */
    double gain;             /* bytes of transposition that moving it is worth */
} layout_node;

typedef struct layout_pass {
    graph *g;
    const spry_session_options *options;
    spry_error *error;
    arena memory;
    graph_uses uses;     /* these and the counts are of the graph as it was */
    int32_t value_count; /* values and nodes that the pass adds come after */
    int32_t node_count;
    layout_node *nodes;
    int32_t *twins; /* per value: the same image or constant channels-last, or GRAPH_NONE */
} layout_pass;

/* What becomes of an operator in a region. */
struct layout_rule {
    const char *type;
    const char *domain;
    int32_t since; /* first opset whose axes mean what the rule says */
    /* Does input `port` hold an image that must be channels-last too? */
    bool (*is_image)(const layout_pass *p, const graph_node *n, int32_t port);
    /* False when something that would have to be renumbered is not known. NULL: always fits. */
    bool (*fits)(const layout_pass *p, const graph_node *n);
    /* Renumbers axes and turns constants, when images have been replaced by their twins already.
     * NULL: nothing to do. Fails with SPRY_LIMIT (memory). */
    spry_status (*renumber)(layout_pass *p, int32_t node);
    /* Moves only when a provider executes it under this name, with LAYOUT_ATTRIBUTE. NULL: any
     * kernel does. */
    const char *asked_as;
    int32_t weights; /* their port, of convolutions: regions grow from those; 0: none */
    /* Planar, its provider turns the images itself: moved, it saves that. Regions grow from it. */
    bool turns;
    unsigned plain_results; /* bits of outputs that are no images whatever their rank */
};

/* The rule for that node, or NULL. */
const layout_rule *layout_find_rule(const graph_node *n);

/* True for [batch][channels][one to three axes] of known size, computed at run time. */
bool layout_is_image(const graph *g, int32_t id);
/* Where an axis of a planar image is among the axes of its twin. */
int layout_axis(int axis, int rank);
/* A twin's type. */
graph_type layout_type(const graph_type *planar);
/* Bytes of an image; 0 when it and its twin are the same bytes, so that turning is free. */
double layout_cost(const graph_type *planar);

/* The channels-last value beside an image. Fails with SPRY_LIMIT (memory). */
SPRY_MUST_USE spry_status layout_twin(layout_pass *p, int32_t id, int32_t *twin);

/* The same for a constant that is broadcast to images of `rank` axes; one element stays as it is.
 * Fails with SPRY_LIMIT (memory). */
SPRY_MUST_USE spry_status layout_constant(layout_pass *p, int32_t id, int rank, int32_t *twin);

/* A constant list with a number per axis of a planar image, or several such lists one after the
 * other, in the twin's order. Fails with SPRY_LIMIT (memory). */
SPRY_MUST_USE spry_status layout_list(layout_pass *p, int32_t id, int rank, int32_t *twin);

/* A constant list of integers. Fails with SPRY_LIMIT (memory). */
SPRY_MUST_USE spry_status layout_ints(layout_pass *p, int64_t count, const int64_t *numbers,
                                      int32_t *id);

/* Adds the Transpose (a Reshape, where that does) that makes an image from its twin, or the twin
 * from the image. Fails with SPRY_LIMIT (memory). */
SPRY_MUST_USE spry_status layout_add_edge(layout_pass *p, int32_t image, bool to_twin);

#endif
