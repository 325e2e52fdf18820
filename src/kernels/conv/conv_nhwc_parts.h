/* What the files of conv_nhwc share. */
#ifndef KERNELS_CONV_CONV_NHWC_PARTS_H
#define KERNELS_CONV_CONV_NHWC_PARTS_H

#include "kernels/conv/conv_nhwc.h"

enum { CONV_NHWC_ALIGN = 64 };

static inline int64_t conv_nhwc_round_up(int64_t n, int64_t multiple)
{
    return (n + multiple - 1) / multiple * multiple;
}

static inline int64_t conv_nhwc_pieces(int64_t extent, int64_t slice)
{
    return (extent + slice - 1) / slice;
}

static inline int64_t conv_nhwc_least(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

/* Bytes of an element of x. */
static inline int64_t conv_nhwc_x_size(brgemm_type type)
{
    return type == BRGEMM_S8 ? 1 : 4;
}

/* True for the ways that copy patches of whole pixels. */
static inline bool conv_nhwc_copies_patches(conv_nhwc_way way)
{
    return way == CONV_NHWC_WHMERGE || way == CONV_NHWC_COMPACT || way == CONV_NHWC_PANEL ||
           way == CONV_NHWC_EXPLICIT;
}

/* True for convolutions by single pixels: every result is made of the input pixel at its place. */
static inline bool conv_nhwc_is_product(const conv_f32_shape *s)
{
    return s->kernel_h == 1 && s->kernel_w == 1 && s->stride_h == 1 && s->stride_w == 1 &&
           s->pad_h == 0 && s->pad_w == 0 && s->out_h == s->in_h && s->out_w == s->in_w;
}

/* Input rows that `rows` output rows read. */
static inline int64_t conv_nhwc_band_rows(const conv_f32_shape *s, int64_t rows)
{
    return (rows - 1) * s->stride_h + (s->kernel_h - 1) * s->dilation_h + 1;
}

/* Bytes that start a worker's part of the workspace. */
typedef struct conv_nhwc_scratch {
    int64_t offsets;  /* of taps */
    int64_t tile;     /* a tile of results */
    int64_t residual; /* and of their residuals */
    int64_t pixel;    /* of padding */
    int64_t a;        /* band or patches */
} conv_nhwc_scratch;
conv_nhwc_scratch conv_nhwc_scratch_of(const conv_nhwc *c);

/* One image and group of x, for copying. */
typedef struct conv_nhwc_source {
    const conv_nhwc *c;
    const char *x;  /* pixel 0, channel 0 of the group */
    int64_t pixel;  /* bytes from pixel to pixel of x */
    uint8_t zero;   /* byte of padding */
    bool is_planar; /* x is [channels][height][width] */
} conv_nhwc_source;
conv_nhwc_source conv_nhwc_source_of(const conv_nhwc_call *call, int64_t image, int64_t group);

/* Copies the padded band of input rows that output rows [row, row + rows) read. */
void conv_nhwc_copy_band(const conv_nhwc_source *s, int64_t row, int64_t rows, void *to);

/* Copies the patches of output pixels [pixel, pixel + count), row-major. */
void conv_nhwc_copy_patches(const conv_nhwc_source *s, int64_t pixel, int64_t count, char *to);

/* Computes the pixels and filters of a piece. */
typedef struct conv_nhwc_piece {
    const conv_nhwc_call *call;
    int64_t image, group;
    int64_t row, rows;
    int64_t filter, filters; /* within the group */
    const char *packed;      /* weights of its first filter, which starts a panel */
    char *worker;            /* that worker's workspace */
} conv_nhwc_piece;
void conv_nhwc_run_piece(const conv_nhwc_piece *p);

#endif
