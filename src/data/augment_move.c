/* Augmentation that moves or covers pixels. */
#include <math.h>
#include <string.h>

#include "base/alloc.h"
#include "base/random.h"
#include "data/augment_steps.h"

/* The gray that covers: between black and white. */
enum { COVER = 128, ZOOM_ATTEMPTS = 10 };

/* Pixels of a picture by row. */
typedef struct grid {
    uint8_t *data;
    int64_t height;
    int64_t width;
    int64_t channels;
    size_t row; /* bytes */
} grid;

static grid grid_of(const tensor *picture)
{
    return (grid){picture->data, picture->shape[0], picture->shape[1], picture->shape[2],
                  (size_t)(picture->shape[1] * picture->shape[2])};
}

/* Makes pixel (y, x) what was at (y + down, x + right), black where there was nothing. In place:
 * rows are taken in the order in which none is overwritten before it is read. */
static void shift(const grid *g, int64_t down, int64_t right)
{
    int64_t kept = right > 0 ? g->width - right : g->width + right;
    size_t gap = (size_t)((right > 0 ? right : -right) * g->channels);

    for (int64_t i = 0; i < g->height; i++) {
        int64_t y = down >= 0 ? i : g->height - 1 - i;
        uint8_t *to = g->data + (size_t)y * g->row;
        const uint8_t *from = g->data + (y + down) * (int64_t)g->row;

        if (y + down < 0 || y + down >= g->height || kept <= 0) {
            memset(to, 0, g->row);
        } else if (right >= 0) {
            memmove(to, from + gap, g->row - gap);
            memset(to + g->row - gap, 0, gap);
        } else {
            memmove(to + gap, from, g->row - gap);
            memset(to, 0, gap);
        }
    }
}

void augment_crop(tensor *picture, spry_random *r, int64_t padding)
{
    grid g = grid_of(picture);
    uint64_t places = 2 * (uint64_t)padding + 1;
    int64_t down = (int64_t)spry_random_below(r, places) - padding;
    int64_t right = (int64_t)spry_random_below(r, places) - padding;

    shift(&g, down, right);
}

/* Cuts a part out in place: its rows move towards the beginning. */
static void cut(tensor *picture, int64_t top, int64_t left, int64_t height, int64_t width)
{
    grid g = grid_of(picture);
    size_t row = (size_t)(width * g.channels);

    for (int64_t y = 0; y < height; y++) {
        memmove(g.data + (size_t)y * row,
                g.data + (size_t)(top + y) * g.row + (size_t)(left * g.channels), row);
    }
    picture->shape[0] = height;
    picture->shape[1] = width;
    picture->stride[0] = width * g.channels;
    picture->bytes = (size_t)height * row;
}

void augment_zoom(tensor *picture, spry_random *r, double least)
{
    grid g = grid_of(picture);
    double all = (double)g.height * (double)g.width;

    for (int i = 0; i < ZOOM_ATTEMPTS; i++) {
        double area = all * (least + (1 - least) * spry_random_f64(r));
        double proportion = 0.75 + 0.25 * spry_random_f64(r);
        bool upright = augment_chance(r, 0.5);
        int64_t longer = (int64_t)(sqrt(area / proportion) + 0.5);
        int64_t shorter = (int64_t)(sqrt(area * proportion) + 0.5);
        int64_t height = upright ? longer : shorter;
        int64_t width = upright ? shorter : longer;

        if (height >= 1 && width >= 1 && height <= g.height && width <= g.width) {
            int64_t top = (int64_t)spry_random_below(r, (uint64_t)(g.height - height + 1));
            int64_t left = (int64_t)spry_random_below(r, (uint64_t)(g.width - width + 1));

            cut(picture, top, left, height, width);
            return;
        }
    }
}

static void swap_bytes(uint8_t *a, uint8_t *b, size_t size)
{
    for (size_t i = 0; i < size; i++) {
        uint8_t kept = a[i];

        a[i] = b[i];
        b[i] = kept;
    }
}

void augment_flip(tensor *picture)
{
    grid g = grid_of(picture);

    for (int64_t y = 0; y < g.height; y++) {
        uint8_t *row = g.data + (size_t)y * g.row;

        for (int64_t x = 0; x < g.width / 2; x++) {
            swap_bytes(row + x * g.channels, row + (g.width - 1 - x) * g.channels,
                       (size_t)g.channels);
        }
    }
}

void augment_vflip(tensor *picture)
{
    grid g = grid_of(picture);

    for (int64_t y = 0; y < g.height / 2; y++) {
        swap_bytes(g.data + (size_t)y * g.row, g.data + (size_t)(g.height - 1 - y) * g.row, g.row);
    }
}

void augment_cutout(tensor *picture, spry_random *r, int64_t side)
{
    grid g = grid_of(picture);
    int64_t top = (int64_t)spry_random_below(r, (uint64_t)g.height) - side / 2;
    int64_t left = (int64_t)spry_random_below(r, (uint64_t)g.width) - side / 2;
    int64_t bottom = top + side < g.height ? top + side : g.height;
    int64_t right = left + side < g.width ? left + side : g.width;

    top = top > 0 ? top : 0;
    left = left > 0 ? left : 0;
    for (int64_t y = top; y < bottom; y++) {
        memset(g.data + (size_t)y * g.row + (size_t)(left * g.channels), COVER,
               (size_t)((right - left) * g.channels));
    }
}

/* --- rotation -------------------------------------------------------------------------------- */

static int64_t fixed(double value)
{
    return (int64_t)(value * 0x1p16 + (value < 0 ? -0.5 : 0.5));
}

/* The pixel at (y, x) in units of 2^-17 pixels, from its four neighbours; outside is black. */
static void blend(const grid *g, int64_t y, int64_t x, uint8_t *to)
{
    int64_t row = y >> 17; /* gcc and clang shift signed numbers arithmetically */
    int64_t column = x >> 17;
    uint32_t down = (uint32_t)(y >> 9) & 255;
    uint32_t right = (uint32_t)(x >> 9) & 255;
    const uint32_t weights[4] = {(256 - down) * (256 - right), (256 - down) * right,
                                 down * (256 - right), down * right};

    for (int64_t c = 0; c < g->channels; c++) {
        uint32_t sum = 0;

        for (int64_t n = 0; n < 4; n++) {
            int64_t yn = row + n / 2;
            int64_t xn = column + n % 2;

            if (yn >= 0 && yn < g->height && xn >= 0 && xn < g->width) {
                sum += weights[n] * g->data[(yn * g->width + xn) * g->channels + c];
            }
        }
        to[c] = (uint8_t)((sum + 0x8000u) >> 16);
    }
}

spry_status augment_rotate(tensor *picture, const spry_allocator *allocator, spry_random *r,
                           double degrees, spry_error *error)
{
    grid to = grid_of(picture);
    double turns = augment_within(r, degrees / 360);
    spry_allocator source = alloc_resolve(allocator);
    uint8_t *copy = alloc_bytes(&source, picture->bytes);
    grid from = to;
    double sine;
    double cosine;

    if (copy == NULL) {
        return alloc_failed(error, picture->bytes);
    }
    memcpy(copy, picture->data, picture->bytes);
    from.data = copy;
    random_sin_cos(turns < 0 ? turns + 1 : turns, &sine, &cosine);
    /* Distances from the centre in half pixels, turned back, are whole numbers of 2^-17 pixels. */
    for (int64_t y = 0; y < to.height; y++) {
        for (int64_t x = 0; x < to.width; x++) {
            int64_t across = 2 * x + 1 - to.width;
            int64_t along = 2 * y + 1 - to.height;
            int64_t from_x = fixed(cosine) * across - fixed(sine) * along;
            int64_t from_y = fixed(sine) * across + fixed(cosine) * along;

            blend(&from, from_y + (to.height - 1) * 0x10000, from_x + (to.width - 1) * 0x10000,
                  to.data + (y * to.width + x) * to.channels);
        }
    }
    alloc_release(&source, copy, picture->bytes);
    return SPRY_OK;
}
