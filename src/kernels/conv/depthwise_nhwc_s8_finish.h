/* What channels-last depthwise kernels for bytes share: blocks of channels, where their packed
 * weights lie, and the finish as plain loops. */
#ifndef KERNELS_CONV_DEPTHWISE_NHWC_S8_FINISH_H
#define KERNELS_CONV_DEPTHWISE_NHWC_S8_FINISH_H

#include <string.h>

#include "kernels/conv/depthwise_nhwc_variants.h"
#include "tensor/quantize.h"

enum {
    DS_MOST_LANES = 64, /* channels of a block */
    DS_GROUP_BYTES = 4  /* of weights, per channel: four of 8 bits, or two of 16 */
};

/* A block of channels. */
typedef struct ds_block {
    const depthwise_nhwc_band *band;
    conv_f32_shape shape;
    const uint8_t *in; /* the block's first channel, pixel 0 of the image */
    const uint8_t *packed;
    int64_t groups;   /* of kernel rows */
    int64_t channels; /* of the output */
    int64_t channel;  /* the block's first */
    int lanes;        /* channels of the block */
    int in_lanes;     /* input channels that they read */
    int multiplier;   /* output channels per input channel */
    int phase;        /* of the block's first channel among those */
} ds_block;

/* Block `index` of a band whose kernel has blocks of `lanes` and sums `group` rows at a time. */
static inline ds_block ds_block_of(const depthwise_nhwc_band *b, int64_t index, int lanes,
                                   int group)
{
    conv_f32_shape s = b->problem->shape;
    int64_t multiplier = b->problem->multiplier;
    int64_t channels = s.channels * multiplier;
    int64_t channel = index * lanes;
    int64_t left = channels - channel;
    int64_t in_left = s.channels - channel / multiplier;
    int64_t groups = (s.kernel_h + group - 1) / group;

    return (ds_block){.band = b,
                      .shape = s,
                      .in = (const uint8_t *)b->x + channel / multiplier,
                      .packed = (const uint8_t *)b->packed +
                                channel * s.kernel_w * groups * DS_GROUP_BYTES,
                      .groups = groups,
                      .channels = channels,
                      .channel = channel,
                      .lanes = (int)(left < lanes ? left : lanes),
                      .in_lanes = (int)(in_left < lanes ? in_left : lanes),
                      .multiplier = (int)multiplier,
                      .phase = (int)(channel % multiplier)};
}

/* The pixel that kernel position (r, q) of output (y, x) sees, or NULL outside the image. */
static inline const uint8_t *ds_pixel(const ds_block *b, int64_t y, int64_t x, int64_t r, int64_t q)
{
    const conv_f32_shape *s = &b->shape;
    int64_t row = y * s->stride_h - s->pad_h + r * s->dilation_h;
    int64_t column = x * s->stride_w - s->pad_w + q * s->dilation_w;

    if (row < 0 || row >= s->in_h || column < 0 || column >= s->in_w) {
        return NULL;
    }
    return b->in + (row * s->in_w + column) * s->channels;
}

static inline void ds_finish_floats(const ds_block *b, const float *scaled, int64_t pixel, float *y)
{
    const brgemm_finish *f = b->band->finish;
    float v[DS_MOST_LANES];

    for (int i = 0; i < b->lanes; i++) {
        v[i] = scaled[i];
        if (f->bias != NULL) {
            v[i] += f->bias[b->channel + i];
        }
        if (f->residual != NULL) {
            v[i] += f->residual[pixel * b->channels + b->channel + i];
        }
        if (f->activate == NULL) { /* written so that NaN stays NaN */
            v[i] = v[i] < f->lower ? f->lower : v[i];
            v[i] = v[i] > f->upper ? f->upper : v[i];
        }
    }
    if (f->activate != NULL) {
        f->activate(v, v, b->lanes);
    }
    memcpy(y, v, (size_t)b->lanes * sizeof *y);
}

/* Finishes the sums of output pixel `pixel`, offsets included, and stores them. */
static inline void ds_finish(const ds_block *b, const int32_t *sums, int64_t pixel)
{
    const brgemm_finish *f = b->band->finish;
    const quantize_target target = {f->low, f->high, f->zero};
    const size_t size = b->band->problem->result_size;
    uint8_t *y = (uint8_t *)b->band->y + pixel * b->band->y_pitch + (size_t)b->channel * size;
    float scaled[DS_MOST_LANES];
    uint8_t bytes[DS_MOST_LANES];

    if (f->result == BRGEMM_SUMS) {
        memcpy(y, sums, (size_t)b->lanes * sizeof *sums);
        return;
    }
    for (int i = 0; i < b->lanes; i++) {
        scaled[i] = (float)sums[i] * (f->factor != NULL ? f->factor[b->channel + i] : 1.0f);
    }
    if (f->result == BRGEMM_FLOATS) {
        ds_finish_floats(b, scaled, pixel, (float *)(void *)y);
        return;
    }
    for (int i = 0; i < b->lanes; i++) {
        bytes[i] = (uint8_t)quantize_scaled(scaled[i], target);
    }
    memcpy(y, bytes, (size_t)b->lanes);
}

#endif
