/* Convolution of channels-last images by batch-reduce products (channel-first implicit im2col,
 * arXiv 2110.03901): each kernel position is a matrix product whose rows are read where the pixels
 * lie, so that the matrix of patches never exists. A matrix product is the convolution of a row of
 * pixels by kernels of one pixel.
 *
 * conv_nhwc_plan (once) -> conv_nhwc_pack (once) -> conv_nhwc_run (any number of times, from
 * several threads on different pieces). Everything is a plain function on memory of the caller's.
 *
 * What a plan does with the input:
 *   ROW      tiles of mr pixels of one output row, or of mr / 2 pixels of two
 *   FLAT     padded rows as one long line; the columns in between are computed and not stored
 *   PHASE    FLAT for strides: padded rows sorted by their phase
 *   KWMERGE  a kernel row is one tap of kernel_w x channels steps (dilation 1)
 *   WHMERGE  few channels: the whole patch is copied, one tap of kernel_h x kernel_w x channels
 *   COMPACT  1 x 1 with a stride, or rows whose pitch aliases in the cache: used pixels are copied
 *   PANEL    patches of a few tiles of pixels are copied, used for all filters
 *   INDIRECT pixels one by one, through a table of addresses; padding is a pixel of its own
 *   EXPLICIT the whole matrix of patches is stored first: there to be measured against
 * The first four read the image in place, or, where padding or a conversion is needed, a band: a
 * piece of work copies the input rows it reads, padded, into its workspace, which is
 * 1 / (kernel_h x kernel_w) of what explicit lowering copies.
 *
 * Additions are in the order (kernel row, kernel column, channel) whatever the way, so that f32 and
 * byte results of one kernel have the same bits on all ways. */
#ifndef KERNELS_CONV_CONV_NHWC_H
#define KERNELS_CONV_CONV_NHWC_H

#include "kernels/brgemm/bf16.h"
#include "kernels/brgemm/brgemm.h"
#include "kernels/conv/conv_f32.h"

typedef enum conv_nhwc_way {
    CONV_NHWC_AUTO, /* only asked for, never planned */
    CONV_NHWC_ROW,
    CONV_NHWC_FLAT,
    CONV_NHWC_PHASE,
    CONV_NHWC_KWMERGE,
    CONV_NHWC_WHMERGE,
    CONV_NHWC_COMPACT,
    CONV_NHWC_PANEL,
    CONV_NHWC_INDIRECT,
    CONV_NHWC_EXPLICIT,
    CONV_NHWC_WAYS
} conv_nhwc_way;

/* What is to be computed. `shape.channels` are those of one group. All sizes are at least 1. */
typedef struct conv_nhwc_problem {
    conv_f32_shape shape;
    int64_t batch;
    int64_t groups;
    int64_t filters; /* of one group */
    brgemm_type type;
    size_t result_size;   /* bytes of an element of the output */
    bool input_is_planar; /* f32 input lies [channels][height][width]: one group */
} conv_nhwc_problem;

/* How: immutable, holds no memory. */
typedef struct conv_nhwc {
    conv_nhwc_problem problem;
    const brgemm_kernel *kernel;
    conv_nhwc_way way;
    int taps;
    int64_t k;             /* per tap */
    int64_t packed_bytes;  /* of the weights */
    int64_t worker_bytes;  /* workspace per worker, 64-byte aligned */
    int64_t shared_bytes;  /* workspace for all (EXPLICIT) */
    int64_t row_slice;     /* output rows per piece of work */
    int64_t filter_slice;  /* filters per piece of work */
    int64_t pieces;        /* of work */
    double predicted_cost; /* of the planner's model, for reports: in cycles of one core */

    /* For the run. */
    conv_f32_shape shape; /* products of pixels are one tall column of them: all images */
    int64_t batch;
    bool is_copied;      /* bands are copied */
    bool pixels_outer;   /* order of loops in a piece: pixels, then panels of filters */
    int64_t pixel_pitch; /* bytes of A from input pixel to input pixel */
    int64_t line_pitch;  /* from input row to input row, of the same phase */
    int64_t phase_pitch; /* from phase to phase */
    int64_t phases;      /* of rows: 1 but for PHASE */
    int64_t line;        /* FLAT, PHASE: pixels from output row to output row; else out_w */
    int64_t block;       /* patches copied at one time */
    int64_t panel_bytes; /* of packed weights: nr filters */
    void (*narrow)(uint16_t *to, const float *from, int64_t n); /* BRGEMM_BF16 */
} conv_nhwc;

/* The name in small letters, as reports show it. */
const char *conv_nhwc_way_name(conv_nhwc_way way);

/* True when that way can compute the problem. */
bool conv_nhwc_can(const conv_nhwc_problem *problem, conv_nhwc_way way);

/* Plans for a team of `workers`; `way` is CONV_NHWC_AUTO, or one that can. */
void conv_nhwc_plan(const conv_nhwc_problem *problem, const brgemm_kernel *kernel,
                    conv_nhwc_way way, int workers, conv_nhwc *c);

/* Packs weights [groups x filters][channels][kernel_h][kernel_w] (floats, or bytes XORed with
 * `flip`) into packed_bytes at `packed`. */
void conv_nhwc_pack(const conv_nhwc *c, const void *weights, uint8_t flip, void *packed);

/* Float weights in memory, for packing in every run: strides are in floats. The places of a kernel
 * are neighbours, `place_count` of them; places[i] is that of position i of the plan's kernel, or
 * -1 where it has zeros. NULL: they are the same. */
typedef struct conv_nhwc_weights {
    const float *data;
    int64_t group_stride, filter_stride, channel_stride;
    int64_t place_count;
    const int64_t *places;
} conv_nhwc_weights;

/* Packs panels [begin, end) of conv_nhwc_panels: a threads_body, with a conv_nhwc_packing as
 * context. F32 and BF16 plans only. */
typedef struct conv_nhwc_packing {
    const conv_nhwc *c;
    const bf16_kernel *pairs; /* BF16 */
    conv_nhwc_weights weights;
    void *packed;
} conv_nhwc_packing;
int64_t conv_nhwc_panels(const conv_nhwc *c);
void conv_nhwc_pack_panels(void *packing, int64_t begin, int64_t end, int worker);

/* One run. Channels of all groups lie side by side. F32 and BF16 problems read floats. */
typedef struct conv_nhwc_call {
    const conv_nhwc *c;
    const void *x; /* [batch][in_h][in_w][groups x channels] */
    uint8_t flip;  /* BRGEMM_S8: as in brgemm_tile */
    uint8_t zero;  /* BRGEMM_S8: the byte of padding, before flipping */
    const void *packed;
    void *y;         /* [batch][out_h][out_w][groups x filters] */
    int64_t y_pitch; /* bytes from pixel to pixel of y: more when y is a slice of channels */
    /* Pointers are those of channel 0 and pixel 0; the residual is dense, its pitches are set by
     * the run. */
    brgemm_finish finish;
    void *workspace; /* shared_bytes, then worker_bytes per worker */
} conv_nhwc_call;

/* Does pieces [begin, end) of the work with that worker's part of the workspace: a threads_body,
 * with the conv_nhwc_call as context. */
void conv_nhwc_run(void *call, int64_t begin, int64_t end, int worker);

/* The plan of a strip: `out_rows` output rows as an image of their own, of whose input `in_rows`
 * rows are there, `pad_h` rows of padding above them. `c` is of batch 1, reads channels-last, is
 * not EXPLICIT, was made for at least as many rows, and for padding below if there may be any. */
void conv_nhwc_strip(const conv_nhwc *c, int64_t in_rows, int64_t out_rows, int64_t pad_h,
                     conv_nhwc *strip);

/* EXPLICIT only: output pixels [begin, end) of all images are lowered, before any piece runs. */
void conv_nhwc_lower(void *call, int64_t begin, int64_t end, int worker);

#endif
