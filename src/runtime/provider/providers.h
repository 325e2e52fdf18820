/* Every provider, one line per file, and what they share. */
#ifndef RUNTIME_PROVIDER_PROVIDERS_H
#define RUNTIME_PROVIDER_PROVIDERS_H

#include "kernels/brgemm/brgemm.h"
#include "kernels/conv/conv_f32.h"
#include "kernels/gemm/gemm_f32.h"
#include "ops/sliding_window.h"
#include "runtime/provider/provider.h"

extern const provider provider_attention;
extern const provider provider_block;
extern const provider provider_blocks_s8;
extern const provider provider_conv_3d;
extern const provider provider_conv_depthwise;
extern const provider provider_conv_f32;
extern const provider provider_conv_few;
extern const provider provider_conv_gradient;
extern const provider provider_conv_nhwc;
extern const provider provider_conv_pair;
extern const provider provider_conv_s8;
extern const provider provider_conv_transpose;
extern const provider provider_conv_winograd;
extern const provider provider_dense;
extern const provider provider_filter;
extern const provider provider_linear_s8;
extern const provider provider_matmul_f32;
extern const provider provider_matmul_s8;
extern const provider provider_nbits;
extern const provider provider_norm_nhwc;
extern const provider provider_norm_training;
extern const provider provider_outer;
extern const provider provider_pool_f32;
extern const provider provider_pool_gradient;
extern const provider provider_pool_nhwc;
extern const provider provider_product;
extern const provider provider_region;
extern const provider provider_rows_s8;
extern const provider provider_skim;
extern const provider provider_sparse;
extern const provider provider_sum;
extern const provider provider_twin_s8;

struct provider_strips; /* strips.h */
extern const struct provider_strips provider_conv_depthwise_strips;
extern const struct provider_strips provider_conv_nhwc_strips;
extern const struct provider_strips provider_conv_s8_strips;
extern const struct provider_strips provider_linear_s8_strips;
extern const struct provider_strips provider_pool_nhwc_strips;

/* The provider that would execute the node if `after`, one of the list, and those before it did not
 * exist, or NULL. */
const provider *provider_find_after(const provider_site *site, const provider *after);

/* True when the node is that standard operator, plain, fused (fuse.h) or moved (layout.h): a
 * provider that does not know layouts asks layout_is_nhwc too. */
bool provider_is(const provider_site *site, const char *type);

/* The same for an operator of the library's own domain, plain or moved. */
bool provider_is_own(const provider_site *site, const char *type);

/* True when the node is that standard operator on planar f32 images: its input, weights and result
 * are not empty and of known shape, ranks equal. */
bool provider_is_planar_f32(const provider_site *site, const char *type);

/* The window of a convolution of `x` (rank 3 or 4, in the node's layout) with weights of that
 * shape. False when the attributes make no sense: the reference kernel says why. */
bool provider_window(const provider_site *site, const graph_type *x, const int64_t *weights,
                     window *w);

/* The same for a pool. False also where a window may hold no pixel of the image. */
bool provider_pool_window(const provider_site *site, const graph_type *x, window *w);

/* A window of one or two axes as kernels see it: one-dimensional ones have height 1. */
conv_f32_shape provider_plane_shape(const window *w, int64_t channels);

/* Bias per column or channel, residual and clamp of the node, as far as constants say; the caller
 * sets the residual at run time. */
gemm_f32_finish provider_finish(const provider_site *site);
/* The activation of the node's results instead of a clamp (fuse.h), or NULL. */
brgemm_activation *provider_activation(const provider_site *site);
/* Output 0, of the shape that the plan knows. Fails as op_call_output. */
SPRY_MUST_USE spry_status provider_output(op_call *call, spry_dtype dtype, tensor **out);
/* True when a product with `n` columns has no bias, or one number per column for it. */
bool provider_reads_bias(const provider_site *site, int64_t n);
/* The node's input 2, a number per channel or column, or NULL. */
const float *provider_bias(const op_call *call);
/* The residual that the node adds, or NULL. */
const float *provider_residual(const op_call *call);

/* Pieces of at most `slice` that cover `extent`. */
static inline int64_t provider_pieces(int64_t extent, int64_t slice)
{
    return (extent + slice - 1) / slice;
}

static inline int64_t provider_least(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

#endif
