/* Convolution by kernels of 3 x 3 pixels, stride 1, of channels-last f32 images with fewer
 * multiplications: F(m x m, 3 x 3) of Winograd (Lavin and Gray, arXiv 1509.09308).
 *
 * The output is cut into tiles of m x m pixels. The window of (m + 2) x (m + 2) pixels that a
 * tile sees, and each kernel, are transformed to (m + 2)^2 numbers; there, convolution is one
 * product per number, summed over channels: (m + 2)^2 matrix products of tiles x channels by
 * channels x filters, whose results are transformed back. Per output pixel and pair of channels
 * that is 4 (m = 2) or 2.25 (m = 4) multiplications instead of 9; the transformed weights are 16/9
 * or 4 times as large.
 *
 * Results differ from the direct sum's by rounding. The transforms interpolate at 0, 1, -1 and
 * infinity for m = 2, and at 0, +-5/8, +-3/2 and infinity for m = 4: all their constants are exact
 * floats, and the error is half that of the usual 0, +-1, +-2 (conv_winograd_error tells how large
 * it is for given weights). An infinity or NaN in a window makes its whole tile NaN or infinite.
 *
 * conv_winograd_plan (once) -> conv_winograd_pack (once) -> per run conv_winograd_gather where the
 * plan shares its images, then conv_winograd_run. Plain functions on memory of the caller's. How
 * the work is cut never changes a bit. */
#ifndef KERNELS_CONV_CONV_WINOGRAD_H
#define KERNELS_CONV_CONV_WINOGRAD_H

#include <stdbool.h>
#include <stdint.h>

#include "kernels/brgemm/brgemm.h"
#include "kernels/conv/conv_f32.h"
#include "kernels/conv/conv_winograd_transforms.h"

/* What is to be computed: one group. */
typedef struct conv_winograd_problem {
    conv_f32_shape shape;
    int64_t batch;
    int64_t filters;
} conv_winograd_problem;

/* How: immutable, holds no memory. Counts and pitches are in floats where not said otherwise. */
typedef struct conv_winograd {
    conv_winograd_problem problem;
    const brgemm_kernel *kernel;
    const conv_winograd_transforms *transforms;
    int size;      /* m: 2 or 4 */
    int positions; /* (m + 2)^2 */
    int64_t tiles_h, tiles_w;
    int64_t tiles;         /* of all images */
    int64_t tile_block;    /* tiles that are multiplied together */
    int64_t filter_block;  /* filters that are multiplied together: whole panels */
    int64_t image_pitch;   /* transformed windows: from tile to tile */
    int64_t image_step;    /* and from position to position */
    int64_t product_pitch; /* products: from tile to tile */
    int64_t product_step;
    bool shared;           /* windows of all tiles are transformed before the products start */
    int64_t packed_bytes;  /* of the weights */
    int64_t worker_bytes;  /* workspace per worker, 64-byte aligned */
    int64_t shared_bytes;  /* workspace for all */
    int64_t gathers;       /* pieces of work of conv_winograd_gather; 0 when not shared */
    int64_t pieces;        /* of conv_winograd_run */
    double predicted_cost; /* in cycles, of one worker alone, all weights cold */
    double team_cost;      /* the same for the team, from start to end */
} conv_winograd;

/* True for 3 x 3 kernels with stride and dilation 1. */
bool conv_winograd_can(const conv_f32_shape *shape);

/* Plans F(size x size, 3 x 3), size 2 or 4, for a team of `workers` with an f32 kernel. The
 * predicted cost is that of one worker whatever the team, so that what is chosen by it does not
 * depend on the number of threads. */
void conv_winograd_plan(const conv_winograd_problem *problem, const brgemm_kernel *kernel,
                        const conv_winograd_transforms *transforms, int size, int workers,
                        conv_winograd *c);

/* The weights of one panel of filters (kernel->nr of them). */
static inline int64_t conv_winograd_panels(const conv_winograd *c)
{
    return (c->problem.filters + c->kernel->nr - 1) / c->kernel->nr;
}

/* Transforms weights [filters][channels][3][3] in double precision, rounds once and packs panels
 * [first, end) into their place in `packed`, packed_bytes in all: per panel of kernel->nr filters
 * [positions][channels][nr], zeros beyond the last filter. */
void conv_winograd_pack(const conv_winograd *c, const float *weights, int64_t first, int64_t end,
                        void *packed);

/* One run. */
typedef struct conv_winograd_call {
    const conv_winograd *c;
    const float *x; /* [batch][in_h][in_w][channels] */
    const void *packed;
    float *y;        /* [batch][out_h][out_w][filters] */
    int64_t y_pitch; /* bytes from pixel to pixel of y: more when y is a slice of channels */
    /* bias, residual, activate and clamp; pointers are those of channel 0 and pixel 0. The residual
     * is dense: its pitches are not read. It must not overlap y unless it is y. */
    brgemm_finish finish;
    void *workspace; /* shared_bytes, then worker_bytes per worker */
    /* Tiles to compute instead of all, or NULL: for plans that share nothing. Pieces are then
     * conv_winograd_listed_pieces. */
    const int32_t *listed;
    int64_t listed_count;
    const uint8_t *wanted;  /* [batch][out_h][out_w]: others are not written; NULL: all are */
    int64_t y_row, y_image; /* bytes; 0: rows and images of y follow each other */
} conv_winograd_call;

static inline int64_t conv_winograd_listed_pieces(const conv_winograd_call *call)
{
    return (call->listed_count + call->c->tile_block - 1) / call->c->tile_block;
}

/* Lists, in `tiles`, those that hold a one of [batch][out_h][out_w]; `covered` (or NULL) gets ones
 * at all their pixels and zeros elsewhere. Returns how many. */
int64_t conv_winograd_list(const conv_winograd *c, const uint8_t *wanted, int32_t *tiles,
                           uint8_t *covered);

/* Shared plans only. Transforms the windows of pieces [begin, end) of [0, gathers): a threads_body,
 * with the conv_winograd_call as context. All are done before any piece of conv_winograd_run
 * starts. */
void conv_winograd_gather(void *call, int64_t begin, int64_t end, int worker);

/* Does pieces [begin, end) of [0, pieces) with that worker's part of the workspace: a
 * threads_body. */
void conv_winograd_run(void *call, int64_t begin, int64_t end, int worker);

/* The largest error of a sample of output tiles, relative to the range of the sample's results:
 * inputs are drawn from [-1, 1] and [0, 1], always the same ones, and the truth is the direct sum
 * in double precision. Layers of trained networks have 1e-7 to 1e-6, random weights up to 3e-6.
 * `packed` is what conv_winograd_pack made of `weights`; `scratch` holds
 * conv_winograd_error_bytes(c) and is 64-byte aligned. NaN when a weight is not finite. */
int64_t conv_winograd_error_bytes(const conv_winograd *c);
double conv_winograd_error(const conv_winograd *c, const float *weights, const void *packed,
                           void *scratch);

#endif
