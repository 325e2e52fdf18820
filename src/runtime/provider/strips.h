/* Providers whose nodes can be computed a few rows at a time, for blocks (runtime/block): the same
 * bits as by their run, from images of which only some rows are in memory. Images are channels-last
 * and of rank 4. */
#ifndef RUNTIME_PROVIDER_STRIPS_H
#define RUNTIME_PROVIDER_STRIPS_H

#include "kernels/conv/conv_f32.h"
#include "runtime/provider/provider.h"

enum { STRIPS_OTHER = 3 }; /* port of a second image, that is added: FUSE_RESIDUAL, INTEGER_W */

/* Rows [row, row + rows) of one image of the result. */
typedef struct strip_rows {
    const void *shared; /* what `begin` has left */
    void *workspace;    /* of the worker */
    /* Rows [x_row, x_row + x_rows) of the image: all that the results read, and no more. Those
     * beyond the image are padding. */
    const void *x;
    int64_t x_row, x_rows;
    const void *other; /* the second image from row `row` on, or NULL */
    void *y;           /* the result from row `row` on */
    int64_t row, rows; /* at least one */
} strip_rows;

/* What `create` gives back. */
typedef struct strip_step {
    void *state; /* destroyed as the provider's own */
    size_t packed_bytes;
    size_t shared_bytes; /* of memory for `begin`: a multiple of 64 */
    size_t worker_bytes; /* of workspace per worker: a multiple of 64 */
    unsigned spent;      /* as in provider_step */
    const char *kernel;
} strip_step;

typedef struct provider_strips {
    const provider *of;
    /* The geometry; false when the provider has the node, but not by strips. */
    bool (*read)(const provider_site *site, conv_f32_shape *shape);
    /* Strips have at most `rows` rows. Fails with SPRY_LIMIT. */
    spry_status (*create)(const provider_site *site, int64_t rows, strip_step *step,
                          spry_error *error);
    /* Once per run: `call` has the node's constants, not its images. */
    void (*begin)(const void *state, const op_call *call, void *shared);
    void (*run)(const void *state, const strip_rows *r);
} provider_strips;

/* How to compute the node by strips, with its geometry, or NULL. */
const provider_strips *provider_strips_find(const provider_site *site, conv_f32_shape *shape);

static inline size_t strips_padded(size_t bytes)
{
    return (bytes + 63) / 64 * 64;
}

/* Rows of padding above what the results read. */
static inline int64_t strips_pad(const conv_f32_shape *s, const strip_rows *r)
{
    return r->x_row - (r->row * s->stride_h - s->pad_h);
}

/* Input rows that `rows` output rows read, padding included. */
static inline int64_t strips_reach(const conv_f32_shape *s, int64_t rows)
{
    return (rows - 1) * s->stride_h + (s->kernel_h - 1) * s->dilation_h + 1;
}

/* The geometry of strips of at most `rows` rows, for plans: as high as a strip reads, less where
 * the image ends before its last window does, so that nothing is read there. */
static inline conv_f32_shape strips_shape(const conv_f32_shape *s, int64_t rows)
{
    conv_f32_shape strip = *s;
    int64_t reach = strips_reach(s, rows);
    bool overhangs = strips_reach(s, s->out_h) > s->pad_h + s->in_h;

    strip.out_h = rows;
    strip.in_h = overhangs && reach > 1 ? reach - 1 : reach;
    return strip;
}

#endif
