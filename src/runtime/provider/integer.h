/* What the integer providers share: where the operators of ONNX keep their scales and zero points,
 * and how those become offsets and factors of a product. */
#ifndef RUNTIME_PROVIDER_INTEGER_H
#define RUNTIME_PROVIDER_INTEGER_H

#include "kernels/brgemm/brgemm.h"
#include "runtime/cache/packed.h"
#include "runtime/provider/provider.h"

/* Port numbers; -1 where the operator has none. */
typedef struct integer_ports {
    int x, x_scale, x_zero;
    int w, w_scale, w_zero;
    int y_scale, y_zero;
    int bias;
} integer_ports;

/* An integer product or convolution as its node describes it. Scales and zero points may be
 * computed at run time, and so may the second operand of a product; the zero point of constant
 * weights and the bias are constant. */
typedef struct integer_node {
    integer_ports ports;
    spry_dtype y_dtype;
    brgemm_result result;
    const tensor *w;         /* NULL: computed */
    const int32_t *bias;     /* per channel, or NULL */
    const float *float_bias; /* the same, added to f32 results */
    uint8_t x_flip;          /* makes the input unsigned */
    uint8_t w_flip;          /* makes the weights signed */
    int32_t w_zero;          /* of the signed weights, when they are constant */
    float lower, upper;      /* the clamp in real numbers */
} integer_node;

/* Output channels (columns of MatMul): what depends on weights alone, and what else is known before
 * the run. */
typedef struct integer_channels {
    int64_t count;
    const int32_t *sums;    /* of each channel's weights less their zero point */
    const int32_t *offsets; /* and factors: when scales and zero points are constant, else NULL */
    const float *factors;   /* NULL too where the result is BRGEMM_SUMS */
    packed_memory memory;   /* of the sums */
    packed_memory settled;  /* of offsets and factors */
} integer_channels;

/* Reads a node called `type_linear` (QLinearConv, QLinearMatMul; INTEGER_DOMAIN too) or `type_sums`
 * (ConvInteger, MatMulInteger). False when it is none, or not one that the kernels can do: then the
 * reference kernel runs. */
bool integer_read(const provider_site *site, const char *type_linear, const char *type_sums,
                  integer_node *n);

/* True when scales and bias fit that many channels, and sums of `k` products fit 32 bits. */
bool integer_fits(const provider_site *site, const integer_node *n, int64_t channels, int64_t k);

/* Weight (channel, step) lies at channel * channel_stride + step * k_stride.
 * Fails with SPRY_LIMIT (memory). Release with integer_channels_release. */
SPRY_MUST_USE spry_status integer_channels_create(const provider_site *site, const integer_node *n,
                                                  int64_t count, int64_t channel_stride, int64_t k,
                                                  int64_t k_stride, integer_channels *channels,
                                                  spry_error *error);
void integer_channels_release(const spry_allocator *allocator, integer_channels *channels);

/* Bytes of room for the offsets and factors of all channels. */
size_t integer_room(const integer_channels *channels);

/* The input's zero point in this run. */
int32_t integer_zero(const integer_node *n, const op_call *call);

/* The zero point of the signed weights in this run. */
int32_t integer_w_zero(const integer_node *n, const op_call *call);

/* What is added to the sums of `count` channels so that bias and the input's zero point are in
 * them; `sums` are those of the channels' weights less their zero point. */
void integer_offsets(const integer_node *n, const op_call *call, const int32_t *sums, int64_t count,
                     int32_t *offsets);
/* What each channel's sums are multiplied by. */
void integer_factors(const integer_node *n, const op_call *call, int64_t count, float *factors);

/* The rest of the finish of this run: offsets and factors are the caller's to set (factors where
 * the result is not BRGEMM_SUMS). */
brgemm_finish integer_brgemm_finish(const integer_node *n, const op_call *call);
/* All of it; `room`, of integer_room bytes, is where offsets and factors go that were not known
 * before. */
brgemm_finish integer_channel_finish(const integer_node *n, const op_call *call,
                                     const integer_channels *channels, void *room);

#endif
