/* What the steps of augmentation do to a picture, a dense tensor u8[H,W,1 or 3]. All numbers drawn
 * come from `r`. */
#ifndef DATA_AUGMENT_STEPS_H
#define DATA_AUGMENT_STEPS_H

#include "data/augment.h"
#include "spry/random.h"

/* True with probability q. */
static inline bool augment_chance(spry_random *r, double q)
{
    return (double)spry_random_u32(r) < q * 0x1p32;
}

/* Uniform in [-most, most]. */
static inline double augment_within(spry_random *r, double most)
{
    return (spry_random_f64(r) * 2 - 1) * most;
}

/* Moves: where pixels are. */
void augment_crop(tensor *picture, spry_random *r, int64_t padding);
void augment_zoom(tensor *picture, spry_random *r, double least);
void augment_flip(tensor *picture);
void augment_vflip(tensor *picture);
void augment_cutout(tensor *picture, spry_random *r, int64_t side);
/* Fails with SPRY_LIMIT (memory). */
SPRY_MUST_USE spry_status augment_rotate(tensor *picture, const spry_allocator *allocator,
                                         spry_random *r, double degrees, spry_error *error);

/* Colours: what pixels are. `most`: brightness, contrast, saturation, hue. */
void augment_jitter(tensor *picture, spry_random *r, const double most[AUGMENT_MAX_NUMBERS]);
void augment_gray(tensor *picture);
void augment_invert(tensor *picture);

#endif
