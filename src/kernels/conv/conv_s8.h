/* Two-dimensional convolution of bytes: images with a halo, their patches gathered for the integer
 * product, and the depthwise loop. The geometry is that of conv_f32. */
#ifndef KERNELS_CONV_CONV_S8_H
#define KERNELS_CONV_CONV_S8_H

#include "kernels/conv/conv_f32.h"
#include "kernels/gemm/gemm_s8.h"

enum {
    CONV_S8_CHUNK = 16, /* columns that are gathered together */
    CONV_S8_SLACK = 64  /* bytes that may be read after the last plane with a halo */
};

/* A plane with its padding around it, so that no patch leaves it. Columns that a stride apart are
 * adjacent: a row is `stride_w` phases of `phase` bytes, and what one kernel position touches in a
 * row of outputs is contiguous. */
typedef struct conv_s8_halo {
    int64_t rows;
    int64_t phase;
    int64_t pitch; /* of rows: stride_w * phase */
    int64_t bytes; /* rows * pitch */
    int64_t stride;
    int64_t move_index, move_phase; /* from one kernel column to the next */
} conv_s8_halo;

/* A column of a plane with a halo: where a kernel position begins. */
typedef struct conv_s8_place {
    int64_t phase, index;
} conv_s8_place;

/* To the next kernel column. */
static inline void conv_s8_move(const conv_s8_halo *halo, conv_s8_place *at)
{
    at->index += halo->move_index;
    at->phase += halo->move_phase;
    if (at->phase >= halo->stride) {
        at->phase -= halo->stride;
        at->index++;
    }
}

conv_s8_halo conv_s8_halo_of(const conv_f32_shape *shape);

/* Copies in[in_h][in_w] to a plane with a halo of `zero`; every byte is XORed with `flip`. */
void conv_s8_add_halo(const conv_f32_shape *shape, const conv_s8_halo *halo, const uint8_t *in,
                      uint8_t zero, uint8_t flip, uint8_t *to);

/* The patch matrix of an image, as context of conv_s8_pack. */
typedef struct conv_s8_image {
    const conv_f32_shape *shape;
    const conv_s8_halo *halo;
    /* [channels][halo->bytes], and CONV_S8_SLACK; not needed for planes of one row whose width is a
     * multiple of CONV_S8_CHUNK and kernels of one pixel. */
    const uint8_t *data;
} conv_s8_image;

/* Packs columns [first, first + count) of the patch matrix, all steps, into panels of `width`
 * columns: a gemm_s8_source pack function. Row k = (channel, kernel row, kernel column), column n =
 * output pixel in row-major order. Columns that fill the last panel up hold anything, and so may
 * the GEMM_S8_SLACK bytes after it. */
void conv_s8_pack(const void *context, int64_t first, int64_t count, int width, uint8_t *to);

/* One channel of a depthwise convolution. The sums of bytes times weights, zero points not taken
 * off, are finished like row `row` of a product whose columns are the output pixels. */
typedef struct conv_s8_plane {
    const conv_f32_shape *shape;
    const conv_s8_halo *halo;
    const uint8_t *in;      /* with its halo, and CONV_S8_SLACK */
    const int16_t *weights; /* [kernel_h][kernel_w] */
    const gemm_s8_finish *finish;
    int row;
    void *out; /* [out_h][out_w] */
} conv_s8_plane;

typedef struct conv_s8_depthwise_kernel {
    const char *name;
    void (*run)(const conv_s8_plane *p);
} conv_s8_depthwise_kernel;

/* The list that dispatch, tests and benchmarks share: lowest level first. `table` points to a
 * conv_s8_depthwise_kernel. */
extern const isa_variant conv_s8_depthwise_variants[];
extern const int conv_s8_depthwise_variant_count;

/* The best variant that may run now. */
const conv_s8_depthwise_kernel *conv_s8_depthwise_select(void);

#endif
