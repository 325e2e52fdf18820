/* Masks to tiles of pixels. */
#include "kernels/conv/pixel_list.h"

#include <string.h>

static int64_t least(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

/* The next run of ones in [at, width) of a row; false when there is none. */
static bool next_run(const uint8_t *row, int64_t width, int64_t at, int64_t *begin, int64_t *end)
{
    const uint8_t *one = at < width ? memchr(row + at, 1, (size_t)(width - at)) : NULL;
    const uint8_t *zero;

    if (one == NULL) {
        return false;
    }
    *begin = one - row;
    zero = memchr(one, 0, (size_t)(width - *begin));
    *end = zero != NULL ? zero - row : width;
    return true;
}

/* ---- lists ---- */

int64_t pixel_list_most_tiles(int64_t pixels, const pixel_tiling *tiling)
{
    int64_t smallest = least(tiling->least_run, tiling->mr / 2);

    /* Runs, an unpaired half, and single pixels, of which one tile may not be full. */
    return pixels / (smallest > 0 ? smallest : 1) + pixels / tiling->mr + 2;
}

/* What is being put together. */
typedef struct building {
    const pixel_tiling *tiling;
    pixel_list *list;
    pixel_spot half; /* a run of half a tile that waits for another */
    bool has_half;
} building;

static pixel_tile *add_tile(building *b, pixel_tile_kind kind, int64_t count, pixel_spot first)
{
    pixel_tile *t = &b->list->tiles[b->list->tile_count++];

    *t = (pixel_tile){.first = first, .count = (int16_t)count, .kind = (int16_t)kind};
    return t;
}

static void add_singles(building *b, int64_t line, int64_t begin, int64_t end)
{
    int64_t mr = b->tiling->mr;

    for (int64_t i = begin; i < end; i++) {
        pixel_spot spot = {(int32_t)line, (int32_t)i};

        b->list->spots[b->list->spot_count++] = spot;
        if (b->list->spot_count % mr == 0) {
            add_tile(b, PIXEL_TILE_SINGLES, mr, spot)->start = (int32_t)(b->list->spot_count - mr);
        }
    }
}

static void add_run(building *b, int64_t line, int64_t begin, int64_t end)
{
    int64_t mr = b->tiling->mr;
    int64_t pixels = end - begin;
    int64_t tiles = (pixels + mr - 1) / mr;
    int64_t larger = pixels % tiles; /* tiles of one pixel more */

    if (pixels == mr / 2) {
        pixel_spot half = {(int32_t)line, (int32_t)begin};

        if (b->has_half) {
            add_tile(b, PIXEL_TILE_PAIR, mr, b->half)->second = half;
        }
        b->half = half;
        b->has_half = !b->has_half;
        return;
    }
    for (int64_t i = 0; i < tiles; i++) {
        int64_t count = pixels / tiles + (i < larger ? 1 : 0);

        (void)add_tile(b, PIXEL_TILE_RUN, count, (pixel_spot){(int32_t)line, (int32_t)begin});
        begin += count;
    }
}

void pixel_list_build(const uint8_t *mask, int64_t lines, int64_t width, const pixel_tiling *tiling,
                      pixel_list *list)
{
    building b = {.tiling = tiling, .list = list};
    int64_t left;

    list->tile_count = 0;
    list->spot_count = 0;
    for (int64_t line = 0; line < lines; line++) {
        int64_t begin;
        int64_t end = 0;

        while (next_run(mask + line * width, width, end, &begin, &end)) {
            if (end - begin < tiling->least_run) {
                add_singles(&b, line, begin, end);
            } else {
                add_run(&b, line, begin, end);
            }
        }
    }
    if (b.has_half) {
        (void)add_tile(&b, PIXEL_TILE_RUN, tiling->mr / 2, b.half);
    }
    left = list->spot_count % tiling->mr;
    if (left > 0) {
        add_tile(&b, PIXEL_TILE_SINGLES, left, (pixel_spot){0})->start =
            (int32_t)(list->spot_count - left);
    }
}

int64_t pixel_list_count(const uint8_t *mask, int64_t n)
{
    enum { WORD = 8, MOST_WORDS = 255 }; /* of which a byte holds the sum */
    const uint64_t even = 0x00FF00FF00FF00FF;
    int64_t count = 0;
    int64_t i = 0;

    while (i + WORD <= n) {
        uint64_t sums = 0;

        for (int words = 0; words < MOST_WORDS && i + WORD <= n; words++, i += WORD) {
            uint64_t word;

            memcpy(&word, mask + i, WORD);
            sums += word;
        }
        sums = (sums & even) + (sums >> 8 & even);
        count += (int64_t)((sums * 0x0001000100010001) >> 48);
    }
    for (; i < n; i++) {
        count += mask[i];
    }
    return count;
}

/* ---- dilation ---- */

/* Marks what results [begin, end) of a row read in one input row. */
static void mark_row(const conv_f32_shape *s, int64_t begin, int64_t end, uint8_t *row)
{
    if (s->dilation_w == 1 && s->stride_w <= s->kernel_w) { /* without gaps */
        int64_t first = begin * s->stride_w - s->pad_w;
        int64_t last = (end - 1) * s->stride_w - s->pad_w + s->kernel_w;

        first = first > 0 ? first : 0;
        last = least(last, s->in_w);
        if (first < last) {
            memset(row + first, 1, (size_t)(last - first));
        }
        return;
    }
    for (int64_t i = begin; i < end; i++) {
        for (int64_t q = 0; q < s->kernel_w; q++) {
            int64_t at = i * s->stride_w - s->pad_w + q * s->dilation_w;

            if (at >= 0 && at < s->in_w) {
                row[at] = 1;
            }
        }
    }
}

/* The first row of the kernel that reads what the line of results before has not marked yet: where
 * that is the same, as most are in cells of several pixels, only the last ones do. */
static int64_t first_new_row(const conv_f32_shape *s, int64_t line, const uint8_t *row)
{
    bool is_same = line % s->out_h > 0 && s->dilation_h == 1 && s->stride_h < s->kernel_h &&
                   memcmp(row, row - s->out_w, (size_t)s->out_w) == 0;

    return is_same ? s->kernel_h - s->stride_h : 0;
}

void pixel_list_dilate(const conv_f32_shape *s, int64_t images, const uint8_t *out, uint8_t *in)
{
    memset(in, 0, (size_t)(images * s->in_h * s->in_w));
    for (int64_t line = 0; line < images * s->out_h; line++) {
        const uint8_t *row_of_out = out + line * s->out_w;
        uint8_t *image = in + line / s->out_h * s->in_h * s->in_w;
        int64_t first = first_new_row(s, line, row_of_out);
        int64_t begin;
        int64_t end = 0;

        while (next_run(row_of_out, s->out_w, end, &begin, &end)) {
            for (int64_t r = first; r < s->kernel_h; r++) {
                int64_t row = line % s->out_h * s->stride_h - s->pad_h + r * s->dilation_h;

                if (row >= 0 && row < s->in_h) {
                    mark_row(s, begin, end, image + row * s->in_w);
                }
            }
        }
    }
}
