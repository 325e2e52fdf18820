/* Methods: which numbers of a weight become zero together. One file each, one line in method.c. */
#ifndef SPARSIFY_METHOD_H
#define SPARSIFY_METHOD_H

#include <stdint.h>

#include "spry/sparsify.h"

/* A weight as [outputs][channels][taps], by the distances between neighbours. */
typedef struct sparsify_view {
    int64_t outputs, channels, taps;
    int64_t output_stride, channel_stride, tap_stride;
} sparsify_view;

/* Numbers that become zero together: a box of the view, smaller at its ends. `ranked`: channel j of
 * a box counts, in each run of that many channels and for each output by itself, the j-th largest
 * number in magnitude; 0: the channels as they are. */
typedef struct sparsify_unit {
    int64_t outputs, channels, taps;
    int64_t ranked;
} sparsify_unit;

typedef struct sparsify_method {
    spry_sparsify_method facts;
    /* The box for a weight; NULL: n:m. */
    sparsify_unit (*unit)(const sparsify_view *v);
} sparsify_method;

extern const sparsify_method sparsify_method_magnitude;
extern const sparsify_method sparsify_method_lanes;
extern const sparsify_method sparsify_method_panel;
extern const sparsify_method sparsify_method_block;
extern const sparsify_method sparsify_method_filter;
extern const sparsify_method sparsify_method_nm;

enum {
    SPARSIFY_PANEL = 16
}; /* outputs that the runtime's tiles compute together, and inputs that
                                 they choose from */

/* The method of that name. Fails with SPRY_USAGE, naming all. */
SPRY_MUST_USE spry_status sparsify_method_find(const char *name, const sparsify_method **found,
                                               spry_error *error);

#endif
