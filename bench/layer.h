/* One layer of a network as the runtime executes it: the provider that a session would choose, its
 * packed weights, its plan. */
#ifndef BENCH_LAYER_H
#define BENCH_LAYER_H

#include "base/threads.h"
#include "runtime/provider/provider.h"
#include "shape.h"

typedef enum layer_type { LAYER_F32, LAYER_BF16, LAYER_U8S8, LAYER_TYPES } layer_type;
typedef enum layer_layout { LAYER_ANY, LAYER_NHWC, LAYER_NCHW, LAYER_LAYOUTS } layer_layout;

enum { LAYER_PORTS = 9 };

/* Zeros among a layer's numbers. */
typedef struct layer_zeros {
    double inputs;      /* share that is not zero, drawn number by number */
    double weights;     /* the same */
    double panels;      /* share of pieces of weights that are kept: those of one k in ... */
    long panel;         /* ... so many neighbouring columns or filters */
    bool by_lanes;      /* weights of convolutions: of each 16 channels as many for each filter */
    bool skips_nothing; /* executed as if there were none: the best dense way */
} layer_zeros;

typedef struct layer {
    arena memory; /* of everything here but what the provider holds */
    graph *g;
    graph_node *node;
    spry_session_options options;
    const layer_zeros *zeros; /* while it is made */
    const spry_allocator *allocator;
    threads *team;
    const provider *provider; /* NULL: nothing to run */
    provider_step step;
    value ports[LAYER_PORTS]; /* inputs */
    const value *inputs[LAYER_PORTS];
    value result;
    value *outputs[1];
    void *workspace;
    spry_error error;
} layer;

/* "f32", "bf16", "u8s8"; "any", "nhwc", "nchw": LAYER_TYPES and LAYER_LAYOUTS where unknown. */
layer_type layer_parse_type(const char *text);
layer_layout layer_parse_layout(const char *text);

/* Makes a layer of that shape with seeded numbers, without zeros where `zeros` is NULL (f32 only).
 * On false, `reason` (of `size` bytes) says why there is none; the layer is empty then. */
bool layer_make(layer *l, const shape *of, layer_type type, layer_layout layout,
                const layer_zeros *zeros, threads *team, char *reason, size_t size);
void layer_clear(layer *l);

/* Runs it once. On false, l->error says why. */
bool layer_run(layer *l);

#endif
