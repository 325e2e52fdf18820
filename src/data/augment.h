/* Augmentation: samples that are changed at random each time they are seen, before the recipe.
 *
 * A list of steps, in their order, written as one text: "crop:4,flip,cutout:8".
 *
 *     crop:P            P black pixels on every side, then a window of the old size anywhere in it
 *     zoom:A            a part with A (0 to 1) to all of the area and proportions 3:4 to 4:3
 *     flip[:Q]          left and right swapped, with probability Q (1/2)
 *     vflip[:Q]         top and bottom swapped
 *     rotate:D          by -D to D degrees about the centre, bilinear, black where nothing was
 *     jitter:S          brightness, contrast and saturation by factors of 1 - S to 1 + S; or
 *     jitter:B:C:S[:H]  each by its own, and the hue by -H to H of the colour circle (H up to 1/2)
 *     gray[:Q]          without colour, with probability Q (1/10)
 *     invert[:Q]        negative, with probability Q (1/2)
 *     cutout:P          a gray square of P pixels, its centre anywhere in the picture
 *     noise:S           normal noise of deviation S; in pictures S is in units of pixel values
 *     gain:S            all values times 1 - S to 1 + S: for numbers, not for pictures
 *
 * Pictures keep their size, except under zoom, where the recipe's resizing restores it. What
 * happens to a sample is a function of (seed, epoch, index) alone, in integers (noise: in plain
 * IEEE operations), so it is the same on every machine and whatever was drawn before. */
#ifndef DATA_AUGMENT_H
#define DATA_AUGMENT_H

#include <stdbool.h>
#include <stdint.h>

#include "tensor/tensor.h"

enum { AUGMENT_MAX_STEPS = 16, AUGMENT_MAX_NUMBERS = 4 };

typedef enum augment_kind {
    AUGMENT_CROP,
    AUGMENT_ZOOM,
    AUGMENT_FLIP,
    AUGMENT_VFLIP,
    AUGMENT_ROTATE,
    AUGMENT_JITTER,
    AUGMENT_GRAY,
    AUGMENT_INVERT,
    AUGMENT_CUTOUT,
    AUGMENT_NOISE,
    AUGMENT_GAIN
} augment_kind;

typedef struct augment_step {
    augment_kind kind;
    double number[AUGMENT_MAX_NUMBERS];
} augment_step;

/* A plain value: zeroed, it changes nothing. */
typedef struct augment {
    int count;
    augment_step steps[AUGMENT_MAX_STEPS];
} augment;

/* Reads the text above; "none" and "" give no steps. Fails with SPRY_USAGE naming the part. */
SPRY_MUST_USE spry_status augment_parse(const char *text, augment *a, spry_error *error);

/* Can these steps be applied to pictures (u8[H,W,1 or 3]), or to numbers (any other tensors)?
 * Fails with SPRY_USAGE naming the step that cannot. */
SPRY_MUST_USE spry_status augment_check(const augment *a, bool pictures, spry_error *error);

/* Changes `sample`, a dense tensor whose memory is nobody else's; `picture` says which of the two
 * it is. `allocator` is for scratch. Fails with SPRY_LIMIT (memory), and as augment_check. */
SPRY_MUST_USE spry_status augment_apply(const augment *a, const spry_allocator *allocator,
                                        uint64_t seed, int64_t epoch, int64_t index, bool picture,
                                        tensor *sample, spry_error *error);

#endif
