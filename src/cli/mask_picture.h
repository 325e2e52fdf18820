/* A sample, and what a block computes of it: the rest is dark and blue. */
#ifndef CLI_MASK_PICTURE_H
#define CLI_MASK_PICTURE_H

#include <stdbool.h>

#include "spry/tensor.h"

/* Sample `index` of a batch, channels first; of more than three the first three are shown, of one
 * or two the first. */
typedef struct mask_picture {
    const float *sample; /* [channels][height][width] */
    int64_t index;
    int64_t channels, height, width;
    float low, high; /* of the sample: black and white */
} mask_picture;

/* Is it a batch of pictures, f32 [N,C,H,W]? */
bool mask_picture_fits(const spry_tensor *batch);
mask_picture mask_picture_of(const spry_tensor *batch, int64_t index);

/* Draws it into `pixels`, whose rows have `row_width` of them, red, green and blue, each pixel as a
 * square of `scale`: as far as `mask` [N,1,h,w] is 1, or all where that is NULL. */
void mask_picture_draw(const mask_picture *p, const spry_tensor *mask, int64_t scale,
                       uint8_t *pixels, int64_t row_width);

/* How much of the map is computed for sample `index`: 0 to 1. */
double mask_share(const spry_tensor *mask, int64_t index);

#endif
