/* Packs weights for Winograd convolution and runs it: windows to points, products, points to
 * pixels. */
#include "kernels/conv/conv_winograd.h"

#include <math.h>
#include <string.h>

enum { TAPS = 9 };

static int64_t least(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

void conv_winograd_pack(const conv_winograd *c, const float *weights, int64_t first, int64_t end,
                        void *packed)
{
    int64_t channels = c->problem.shape.channels;
    int64_t nr = c->kernel->nr;

    for (int64_t panel = first; panel < end; panel++) {
        winograd_kernels k = {.weights = weights + panel * nr * channels * TAPS,
                              .channels = channels,
                              .filters = least(nr, c->problem.filters - panel * nr),
                              .nr = nr,
                              .to = (float *)packed + panel * c->positions * channels * nr};

        (c->size == 2 ? c->transforms->kernels2 : c->transforms->kernels4)(&k);
    }
}

/* Where a tile lies. */
typedef struct tile_place {
    int64_t image, row, column; /* of its first output pixel */
} tile_place;

static tile_place place_of(const conv_winograd *c, int64_t tile)
{
    int64_t row = tile / c->tiles_w;

    return (tile_place){row / c->tiles_h, row % c->tiles_h * c->size, tile % c->tiles_w * c->size};
}

static void gather_tile(const conv_winograd_call *call, int64_t tile, const float *zeros, float *to)
{
    const conv_winograd *c = call->c;
    const conv_f32_shape *s = &c->problem.shape;
    tile_place at = place_of(c, tile);
    const float *image = call->x + at.image * s->in_h * s->in_w * s->channels;
    int side = c->size + 2;
    winograd_window w = {.channels = s->channels, .to = to, .step = c->image_step};

    for (int i = 0; i < side; i++) {
        int64_t row = at.row - s->pad_h + i;

        for (int j = 0; j < side; j++) {
            int64_t column = at.column - s->pad_w + j;
            bool inside = row >= 0 && row < s->in_h && column >= 0 && column < s->in_w;

            w.pixels[i * side + j] =
                inside ? image + (row * s->in_w + column) * s->channels : zeros;
        }
    }
    (c->size == 2 ? c->transforms->window2 : c->transforms->window4)(&w);
}

/* Number of the tile that comes as number i. */
static int64_t tile_at(const conv_winograd_call *call, int64_t i)
{
    return call->listed != NULL ? call->listed[i] : i;
}

/* Tiles [first, end) into rows from `to` on. */
static void gather_tiles(const conv_winograd_call *call, int64_t first, int64_t end,
                         const float *zeros, float *to)
{
    for (int64_t i = first; i < end; i++, to += call->c->image_pitch) {
        gather_tile(call, tile_at(call, i), zeros, to);
    }
}

/* The products of `tiles` rows by the filters [first, first + filters), position by position, so
 * that a panel of weights is read once for all tiles. */
static void multiply(const conv_winograd_call *call, const float *images, int64_t tiles,
                     int64_t first, int64_t filters, float *products)
{
    static const int64_t no_offset[1] = {0};
    const conv_winograd *c = call->c;
    int64_t channels = c->problem.shape.channels;
    int mr = c->kernel->mr;
    int nr = c->kernel->nr;
    int64_t panel_floats = c->positions * channels * nr;
    int64_t image_bytes = c->image_pitch * (int64_t)sizeof(float);
    int64_t product_bytes = c->product_pitch * (int64_t)sizeof(float);
    brgemm_tile t = {.a_pitch = image_bytes,
                     .a_second = mr / 2 * image_bytes,
                     .tap_offsets = no_offset,
                     .taps = 1,
                     .steps = channels,
                     .c_pitch = product_bytes,
                     .c_second = mr / 2 * product_bytes};

    for (int p = 0; p < c->positions; p++) {
        for (int64_t f = 0; f < filters; f += nr) {
            int64_t groups = (tiles + mr - 1) / mr;

            t.b = (const float *)call->packed + (first + f) / nr * panel_floats + p * channels * nr;
            t.columns = (int)least(nr, filters - f);
            for (int64_t row = 0; row < tiles; row += t.rows, groups--) {
                t.rows = (int)((tiles - row + groups - 1) / groups);
                t.a = images + p * c->image_step + row * c->image_pitch;
                t.c = products + p * c->product_step + row * c->product_pitch + f;
                c->kernel->tile(&t);
            }
        }
    }
}

static void activate_tile(const conv_winograd_call *call, const winograd_tile *t)
{
    for (int i = 0; i < t->rows; i++) {
        for (int j = 0; j < t->columns; j++) {
            float *y = t->y + i * t->row_pitch + j * t->pixel_pitch;

            call->finish.activate(y, y, t->channels);
        }
    }
}

static void store_tile(const conv_winograd_call *call, const winograd_tile *t)
{
    (call->c->size == 2 ? call->c->transforms->tile2 : call->c->transforms->tile4)(t);
    if (call->finish.activate != NULL) {
        activate_tile(call, t);
    }
}

static bool is_all_wanted(const uint8_t *wanted, int64_t width, const winograd_tile *t)
{
    for (int i = 0; i < t->rows; i++) {
        if (memchr(wanted + i * width, 0, (size_t)t->columns) != NULL) {
            return false;
        }
    }
    return true;
}

/* A tile of which some pixels are not to be written, by way of one of its own. */
static void store_wanted(const conv_winograd_call *call, const uint8_t *wanted,
                         const winograd_tile *t)
{
    enum { MOST_PIXELS = 16 };
    float pixels[MOST_PIXELS * 2 * BRGEMM_MOST_NR];
    int64_t width = call->c->problem.shape.out_w;
    winograd_tile own = *t;

    own.y = pixels;
    own.pixel_pitch = t->channels;
    own.row_pitch = t->columns * t->channels;
    store_tile(call, &own);
    for (int i = 0; i < t->rows; i++) {
        for (int j = 0; j < t->columns; j++) {
            if (wanted[i * width + j] != 0) {
                memcpy(t->y + i * t->row_pitch + j * t->pixel_pitch,
                       pixels + i * own.row_pitch + j * own.pixel_pitch,
                       (size_t)t->channels * sizeof *pixels);
            }
        }
    }
}

/* The pixels of tile number `tile` and filters [first, first + filters) from their products. */
static void scatter_tile(const conv_winograd_call *call, int64_t tile, int64_t first,
                         int64_t filters, const float *products)
{
    const conv_winograd *c = call->c;
    const conv_f32_shape *s = &c->problem.shape;
    const brgemm_finish *f = &call->finish;
    tile_place at = place_of(c, tile);
    int64_t pixel = (at.image * s->out_h + at.row) * s->out_w + at.column;
    int64_t y_pitch = call->y_pitch / (int64_t)sizeof(float);
    int64_t y_row = call->y_row != 0 ? call->y_row / (int64_t)sizeof(float) : s->out_w * y_pitch;
    int64_t y_image =
        call->y_image != 0 ? call->y_image / (int64_t)sizeof(float) : s->out_h * y_row;
    winograd_tile t = {
        .from = products,
        .step = c->product_step,
        .channels = filters,
        .rows = (int)least(c->size, s->out_h - at.row),
        .columns = (int)least(c->size, s->out_w - at.column),
        .y = call->y + at.image * y_image + at.row * y_row + at.column * y_pitch + first,
        .row_pitch = y_row,
        .pixel_pitch = y_pitch,
        .bias = f->bias != NULL ? f->bias + first : NULL,
        .residual = f->residual != NULL ? f->residual + pixel * c->problem.filters + first : NULL,
        .residual_row = s->out_w * c->problem.filters,
        .residual_pixel = c->problem.filters,
        .lower = f->activate != NULL ? -INFINITY : f->lower,
        .upper = f->activate != NULL ? INFINITY : f->upper};

    if (call->wanted != NULL && !is_all_wanted(call->wanted + pixel, s->out_w, &t)) {
        store_wanted(call, call->wanted + pixel, &t);
        return;
    }
    store_tile(call, &t);
}

/* Tiles [first_tile, end_tile), whose windows are at `images`, and one block of filters. */
static void run_block(const conv_winograd_call *call, int64_t first_tile, int64_t end_tile,
                      const float *images, int64_t filter, float *products)
{
    const conv_winograd *c = call->c;
    int64_t filters = least(c->filter_block, c->problem.filters - filter);

    multiply(call, images, end_tile - first_tile, filter, filters, products);
    for (int64_t i = first_tile; i < end_tile; i++, products += c->product_pitch) {
        scatter_tile(call, tile_at(call, i), filter, filters, products);
    }
}

/* A worker's memory: zeros for one pixel, products, and, when not shared, windows. */
typedef struct worker_memory {
    float *zeros, *products, *images;
} worker_memory;

static worker_memory memory_of(const conv_winograd_call *call, int worker)
{
    const conv_winograd *c = call->c;
    char *own = (char *)call->workspace + c->shared_bytes + worker * c->worker_bytes;
    worker_memory m = {.zeros = (float *)own};
    int64_t zeros = (c->problem.shape.channels + WINOGRAD_LANES - 1) / WINOGRAD_LANES;

    m.products = m.zeros + zeros * WINOGRAD_LANES;
    m.images = m.products + c->positions * c->product_step;
    memset(m.zeros, 0, (size_t)c->problem.shape.channels * sizeof *m.zeros);
    return m;
}

void conv_winograd_gather(void *context, int64_t begin, int64_t end, int worker)
{
    const conv_winograd_call *call = context;
    const conv_winograd *c = call->c;
    worker_memory memory = memory_of(call, worker);
    int64_t first = c->tiles * begin / c->gathers;

    gather_tiles(call, first, c->tiles * end / c->gathers, memory.zeros,
                 (float *)call->workspace + first * c->image_pitch);
}

void conv_winograd_run(void *context, int64_t begin, int64_t end, int worker)
{
    const conv_winograd_call *call = context;
    const conv_winograd *c = call->c;
    worker_memory memory = memory_of(call, worker);
    int64_t tiles = call->listed != NULL ? call->listed_count : c->tiles;
    int64_t blocks = (tiles + c->tile_block - 1) / c->tile_block;

    for (int64_t piece = begin; piece < end; piece++) {
        int64_t tile = piece % blocks * c->tile_block;
        int64_t end_tile = least(tile + c->tile_block, tiles);

        if (c->shared) {
            run_block(call, tile, end_tile, (float *)call->workspace + tile * c->image_pitch,
                      piece / blocks * c->filter_block, memory.products);
            continue;
        }
        gather_tiles(call, tile, end_tile, memory.zeros, memory.images);
        for (int64_t f = 0; f < c->problem.filters; f += c->filter_block) {
            run_block(call, tile, end_tile, memory.images, f, memory.products);
        }
    }
}

/* Is any of few bytes not 0? A call of memchr would take longer. */
static bool is_any(const uint8_t *bytes, int64_t n)
{
    uint8_t all = 0;

    for (int64_t i = 0; i < n; i++) {
        all |= bytes[i];
    }
    return all != 0;
}

int64_t conv_winograd_list(const conv_winograd *c, const uint8_t *wanted, int32_t *tiles,
                           uint8_t *covered)
{
    const conv_f32_shape *s = &c->problem.shape;
    int64_t count = 0;

    if (covered != NULL) {
        memset(covered, 0, (size_t)(c->problem.batch * s->out_h * s->out_w));
    }
    for (int64_t tile = 0; tile < c->tiles; tile++) {
        tile_place at = place_of(c, tile);
        int64_t pixel = (at.image * s->out_h + at.row) * s->out_w + at.column;
        int64_t rows = least(c->size, s->out_h - at.row);
        int64_t columns = least(c->size, s->out_w - at.column);
        bool is_wanted = false;

        for (int64_t i = 0; i < rows && !is_wanted; i++) {
            is_wanted = is_any(wanted + pixel + i * s->out_w, columns);
        }
        if (!is_wanted) {
            continue;
        }
        tiles[count++] = (int32_t)tile;
        for (int64_t i = 0; i < rows && covered != NULL; i++) {
            memset(covered + pixel + i * s->out_w, 1, (size_t)columns);
        }
    }
    return count;
}
