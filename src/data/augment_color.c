/* Augmentation that changes colours, with factors in units of 2^-16. */
#include <string.h>

#include "data/augment_steps.h"
#include "data/image.h"

enum { ONE = 1 << 16 };

static uint8_t clamp(int64_t value)
{
    return (uint8_t)(value < 0 ? 0 : value > 255 ? 255 : value);
}

/* `middle` + (value - middle) x factor, rounded. */
static uint8_t away_from(int64_t middle, int64_t value, int64_t factor)
{
    return clamp((middle * ONE + (value - middle) * factor + ONE / 2) >> 16);
}

/* A factor of 1 - most to 1 + most. */
static int64_t draw_factor(spry_random *r, double most)
{
    return ONE + (int64_t)augment_within(r, most * ONE);
}

static void through_table(tensor *picture, const uint8_t table[256])
{
    uint8_t *data = picture->data;

    for (size_t i = 0; i < picture->bytes; i++) {
        data[i] = table[data[i]];
    }
}

/* All values away from (or, with a factor below 1, towards) `middle`. */
static void stretch(tensor *picture, int64_t middle, int64_t factor)
{
    uint8_t table[256];

    for (int64_t x = 0; x < 256; x++) {
        table[x] = away_from(middle, x, factor);
    }
    through_table(picture, table);
}

static int64_t mean_brightness(const tensor *picture)
{
    const uint8_t *data = picture->data;
    int64_t channels = picture->shape[2];
    int64_t pixels = picture->shape[0] * picture->shape[1];
    int64_t sum = 0;

    for (int64_t i = 0; i < pixels; i++) {
        sum += channels == 3 ? image_gray(data + 3 * i) : data[i];
    }
    return (sum + pixels / 2) / pixels;
}

/* Turns one pixel's hue by `turn`, in units of 2^-16 of a sixth of the colour circle. */
static void turn_hue(uint8_t *pixel, int64_t turn)
{
    int64_t high = 0;
    int64_t low = 255;
    int64_t first = 0; /* the largest channel */
    int64_t range;
    int64_t hue;
    int64_t part;
    int64_t ramp[4];

    for (int64_t c = 0; c < 3; c++) {
        first = pixel[c] > high ? c : first;
        high = pixel[c] > high ? pixel[c] : high;
        low = pixel[c] < low ? pixel[c] : low;
    }
    range = high - low;
    if (range == 0) {
        return;
    }
    hue = 2 * first * ONE +
          ((int64_t)pixel[(first + 1) % 3] - pixel[(first + 2) % 3]) * ONE / range + turn;
    hue = (hue % (6 * ONE) + 6 * ONE) % (6 * ONE);
    /* Along the circle each channel is high for two sixths, falls, is low for two, and rises. */
    part = hue % ONE;
    ramp[0] = high;
    ramp[1] = high - ((range * part + ONE / 2) >> 16);
    ramp[2] = low;
    ramp[3] = low + ((range * part + ONE / 2) >> 16);
    {
        static const uint8_t shapes[6][3] = {{0, 3, 2}, {1, 0, 2}, {2, 0, 3},
                                             {2, 1, 0}, {3, 2, 0}, {0, 2, 1}};
        const uint8_t *shape = shapes[hue / ONE];

        for (int c = 0; c < 3; c++) {
            pixel[c] = clamp(ramp[shape[c]]);
        }
    }
}

static void saturate(tensor *picture, int64_t factor)
{
    uint8_t *data = picture->data;

    for (size_t i = 0; i + 2 < picture->bytes; i += 3) {
        int64_t gray = image_gray(data + i);

        for (size_t c = 0; c < 3; c++) {
            data[i + c] = away_from(gray, data[i + c], factor);
        }
    }
}

void augment_jitter(tensor *picture, spry_random *r, const double most[AUGMENT_MAX_NUMBERS])
{
    int64_t brightness = draw_factor(r, most[0]);
    int64_t contrast = draw_factor(r, most[1]);
    int64_t saturation = draw_factor(r, most[2]);
    int64_t turn = (int64_t)augment_within(r, most[3] * 6 * ONE);
    uint8_t *data = picture->data;

    stretch(picture, 0, brightness);
    stretch(picture, mean_brightness(picture), contrast);
    if (picture->shape[2] != 3) {
        return;
    }
    if (saturation != ONE) {
        saturate(picture, saturation);
    }
    for (size_t i = 0; turn != 0 && i + 2 < picture->bytes; i += 3) {
        turn_hue(data + i, turn);
    }
}

void augment_gray(tensor *picture)
{
    uint8_t *data = picture->data;

    for (size_t i = 0; picture->shape[2] == 3 && i + 2 < picture->bytes; i += 3) {
        memset(data + i, image_gray(data + i), 3);
    }
}

void augment_invert(tensor *picture)
{
    uint8_t *data = picture->data;

    for (size_t i = 0; i < picture->bytes; i++) {
        data[i] = (uint8_t)(255 - data[i]);
    }
}
