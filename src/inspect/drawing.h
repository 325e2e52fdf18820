/* The graph as boxes and edges, and as SVG and JSON for the page. */
#ifndef INSPECT_DRAWING_H
#define INSPECT_DRAWING_H

#include "base/text.h"
#include "inspect/layout.h"
#include "inspect/summary.h"

typedef enum drawing_kind { DRAWING_INPUT, DRAWING_NODE, DRAWING_OUTPUT } drawing_kind;

/* What else is said about a node. */
typedef struct drawing_note {
    int32_t step;        /* nodes of one step run as one and stand in one frame; -1: none */
    double share;        /* of something that all nodes divide: fills the box; -1: of the MACs */
    const char *caption; /* one more line; NULL: none */
} drawing_note;

/* Inputs first, then nodes in the graph's order, then outputs. Weights and Constant nodes are shown
 * inside the nodes that read them. Nodes that only compute shapes from shapes, of which exporters
 * write more than of all others, are not drawn: they depend on no input's elements. */
typedef struct drawing {
    const summary *s;
    const drawing_note *notes; /* by node; NULL: none */
    arena memory;
    layout picture;
    drawing_kind *kinds; /* per box */
    int32_t *subjects;   /* node for DRAWING_NODE; value for the others */
    int32_t *producers;  /* box that gives a value, or -1: by value */
    int32_t hidden;      /* nodes that are not drawn, Constant nodes not counted */
} drawing;

/* `notes` may be NULL and must outlive the drawing. Undo with drawing_fini, also on failure. Fails
 * as layout_place. */
SPRY_MUST_USE spry_status drawing_init(drawing *d, const summary *s, const drawing_note *notes,
                                       spry_error *error);
void drawing_fini(drawing *d);

void drawing_append_svg(const drawing *d, text *to);

/* An array with an object per box: type, name, attributes, inputs, outputs, costs. Has no '<', so
 * that it may stand inside a script element. */
void drawing_append_json(const drawing *d, text *to);

#endif
