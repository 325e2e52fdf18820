/* The geometry of a sliding window, shared by convolution and pooling.
 *
 *     out = (in + pad_begin + pad_end - ((kernel - 1) * dilation + 1)) / stride + 1   per axis */
#ifndef OPS_SLIDING_WINDOW_H
#define OPS_SLIDING_WINDOW_H

#include <stdbool.h>
#include <stdint.h>

#include "model/graph.h"

enum { WINDOW_MOST_AXES = SPRY_TENSOR_MAX_RANK - 2 };

typedef struct window {
    int rank; /* spatial axes */
    int64_t in[WINDOW_MOST_AXES];
    int64_t out[WINDOW_MOST_AXES];
    int64_t kernel[WINDOW_MOST_AXES];
    int64_t stride[WINDOW_MOST_AXES];
    int64_t dilation[WINDOW_MOST_AXES];
    int64_t pad_begin[WINDOW_MOST_AXES];
    int64_t pad_end[WINDOW_MOST_AXES];
    char why[192]; /* a clause with this window's numbers, when it makes no sense */
} window;

/* Reads strides, dilations, pads and auto_pad of `node` for an input of `rank` spatial axes of the
 * sizes `in` (-1: unknown, which leaves `out` -1) and a window of the sizes `kernel`. With
 * `ceil_mode` the last window may hang over the end, as long as it starts inside the input or its
 * leading padding. Returns false, with a clause in *reason (a constant, or w->why), when the
 * attributes make no sense. */
bool window_from_node(const graph_node *node, int rank, const int64_t *in, const int64_t *kernel,
                      bool ceil_mode, window *w, const char **reason);

/* The same for a transposed convolution, where every input pixel paints a window of outputs:
 * out = (in - 1) * stride + (kernel - 1) * dilation + 1 + output_padding - pads, or output_shape
 * with the padding that gives it. Input pixel i and kernel position k meet output pixel
 * i * stride + k * dilation - pad_begin. */
bool window_transposed_from_node(const graph_node *node, int rank, const int64_t *in,
                                 const int64_t *kernel, window *w, const char **reason);

#endif
