/* Depthwise convolution of channels-last images: every output channel sees one input channel, so
 * that lanes are channels and each kernel position is one multiplication of neighbouring numbers.
 * The same for groups of a few channels, whose floats are spread over the lanes in registers.
 *
 * depthwise_nhwc_plan (once) -> depthwise_nhwc_pack (once) -> depthwise_nhwc_run (any number of
 * times, from several threads on different pieces). Images are read where they lie: padding is
 * skipped (floats) or made in registers (bytes), never copied. Plain functions on memory of the
 * caller's. */
#ifndef KERNELS_CONV_DEPTHWISE_NHWC_H
#define KERNELS_CONV_DEPTHWISE_NHWC_H

#include "kernels/brgemm/brgemm.h"
#include "kernels/conv/conv_f32.h"

/* What is to be computed. Output channel o reads the `depth` input channels from
 * o / multiplier * depth on. */
typedef struct depthwise_nhwc_problem {
    conv_f32_shape shape; /* `channels`: all of the input */
    int64_t batch;
    int64_t multiplier; /* output channels per group */
    int64_t depth;      /* input channels per group; of BRGEMM_S8: 1 */
    brgemm_type type;   /* BRGEMM_F32 or BRGEMM_S8 */
    size_t result_size; /* bytes of an element of the output */
} depthwise_nhwc_problem;

/* Channels of the output. */
static inline int64_t depthwise_nhwc_outputs(const depthwise_nhwc_problem *p)
{
    return p->shape.channels / p->depth * p->multiplier;
}

/* Output rows [row, row + rows) of one image, blocks of channels [block, block + blocks). Pointers
 * are those of the image's first pixel and channel. */
typedef struct depthwise_nhwc_band {
    const depthwise_nhwc_problem *problem;
    const void *x;
    uint8_t flip; /* bytes: XORed with those of x */
    uint8_t zero; /* bytes: padding, flipped */
    const void *packed;
    void *y;
    int64_t y_pitch;
    const brgemm_finish *finish;
    int64_t row, rows;
    int64_t block, blocks;
} depthwise_nhwc_band;

/* A variant. Weights are packed in blocks of `lanes` channels, zeros beyond the last one:
 *     floats: [block][kernel_h][kernel_w][depth][lanes]
 *     bytes:  [block][kernel_w][kernel_h / group][lanes][kernel_h % group], zeros beyond kernel_h,
 *             as int8_t (group 4) or int16_t (group 2), less their zero point; lanes in the order
 *             of depthwise_nhwc_s8_place */
typedef struct depthwise_nhwc_kernel {
    const char *name; /* "depthwise_nhwc_f32__avx512" */
    brgemm_type type;
    int lanes;
    int group;
    int at_once; /* blocks that are best done together */
    void (*run)(const depthwise_nhwc_band *b);
} depthwise_nhwc_kernel;

/* The lists that dispatch, tests and benchmarks share, one per type: lowest level first. `table`
 * points to a depthwise_nhwc_kernel. All variants for bytes give the same bits. */
typedef struct depthwise_nhwc_variants {
    const isa_variant *list;
    int count;
} depthwise_nhwc_variants;
depthwise_nhwc_variants depthwise_nhwc_variants_of(brgemm_type type);

/* True when the variant can compute the problem: the input channels of a block of floats fit a
 * register; group 4 wants weights of 8 bits, and blocks of 64 bytes channels that are not repeated.
 * Of BRGEMM_S8 `low` and `high` are the least and the largest
 * weight less their zero point. */
bool depthwise_nhwc_can(const depthwise_nhwc_kernel *kernel, const depthwise_nhwc_problem *problem,
                        int low, int high);

/* The best variant that may run now and can: the last one whose blocks the channels fill well. The
 * first one where none can. */
const depthwise_nhwc_kernel *depthwise_nhwc_select(const depthwise_nhwc_problem *problem, int low,
                                                   int high);

/* How: immutable, holds no memory. How work is cut never changes a result. */
typedef struct depthwise_nhwc {
    depthwise_nhwc_problem problem;
    const depthwise_nhwc_kernel *kernel;
    int64_t packed_bytes; /* of the weights */
    int64_t blocks;       /* of channels */
    int64_t row_slice;    /* output rows per piece of work */
    int64_t block_slice;  /* blocks per piece of work */
    int64_t pieces;       /* of work */
} depthwise_nhwc;

/* Plans for a team of `workers`. */
void depthwise_nhwc_plan(const depthwise_nhwc_problem *problem, const depthwise_nhwc_kernel *kernel,
                         int workers, depthwise_nhwc *d);

/* Packs weights [output channels][depth][kernel_h][kernel_w] into packed_bytes at `packed`: floats,
 * or bytes that are XORed with `flip` and made less by `zero`. */
void depthwise_nhwc_pack(const depthwise_nhwc *d, const void *weights, uint8_t flip, int32_t zero,
                         void *packed);

/* One run. */
typedef struct depthwise_nhwc_call {
    const depthwise_nhwc *d;
    const void *x; /* [batch][in_h][in_w][channels] */
    uint8_t flip;  /* BRGEMM_S8: 0x80 makes signed x unsigned */
    uint8_t zero;  /* BRGEMM_S8: the byte of padding, before flipping */
    const void *packed;
    void *y;         /* [batch][out_h][out_w][output channels] */
    int64_t y_pitch; /* bytes from pixel to pixel of y: more when y is a slice of channels */
    /* Pointers are those of channel 0 and pixel 0; the residual is dense, its pitches are set by
     * the run. */
    brgemm_finish finish;
} depthwise_nhwc_call;

/* Does pieces [begin, end) of the work: a threads_body, with the call as context. */
void depthwise_nhwc_run(void *call, int64_t begin, int64_t end, int worker);

#endif
