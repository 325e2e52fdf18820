/* The run of a convolution by sparse weights. */
#include <string.h>

#include "kernels/sparse/sparse_conv.h"

/* A tile of outputs and a block of channels or filters. */
typedef struct place {
    int64_t image;
    int64_t row;    /* within a strip */
    int64_t column; /* pixel */
} place;

static int64_t least(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

static int64_t most(int64_t a, int64_t b)
{
    return a > b ? a : b;
}

/* Lanes [from, to) of vectors `pitch` bytes apart become zeros. */
static void clear_lanes(char *vectors, int64_t pitch, int64_t count, int64_t from, int64_t to)
{
    for (int64_t i = 0; i < count && from < to; i++) {
        memset(vectors + i * pitch + from * 4, 0, (size_t)(to - from) * 4);
    }
}

/* The part of a vector that one strip has: `width` pixels of input row `iy` for column `kx` of the
 * kernel, beginning with output pixel `ox`, into lanes from `lane`; of `channels` from `first`. */
static void fill_strip(const sparse_conv_call *call, int64_t image, int64_t iy, int64_t ox,
                       int64_t kx, int64_t first, int64_t channels, int64_t lane, char *to)
{
    const sparse_conv *c = call->c;
    const conv_f32_shape *s = &c->shape;
    int64_t pitch = c->residues * c->plane_rows * c->tile_vectors * c->lanes * 4;
    int64_t ix = ox * s->stride_w + kx * s->dilation_w - s->pad_w;
    int64_t begin = ix < 0 ? (-ix + s->stride_w - 1) / s->stride_w : 0;
    int64_t end = s->in_w - ix > 0 ? (s->in_w - ix + s->stride_w - 1) / s->stride_w : 0;

    end = iy < 0 || iy >= s->in_h ? 0 : least(end, c->width);
    begin = least(begin, end);
    if (end > begin) {
        int64_t pixel = (image * s->in_h + iy) * s->in_w + ix + begin * s->stride_w;
        transpose_matrix m = {.from = call->x + pixel * s->channels + first,
                              .to = to + (lane + begin) * 4,
                              .rows = end - begin,
                              .columns = channels,
                              .from_pitch = s->stride_w * s->channels * 4,
                              .to_pitch = pitch};

        c->transpose->words(&m);
    }
    clear_lanes(to, pitch, channels, lane, lane + begin);
    clear_lanes(to, pitch, channels, lane + end, lane + c->width);
}

/* Is row `row` of the planes of a residue read by any row of the tile? */
static bool is_read(const sparse_conv *c, int64_t residue, int64_t row)
{
    const conv_f32_shape *s = &c->shape;

    for (int64_t ky = 0; ky < s->kernel_h; ky++) {
        int64_t r = ky * s->dilation_h;
        int64_t y = row - r / s->stride_h;

        if (r % s->stride_h == residue && y >= 0 && y < c->tile_rows) {
            return true;
        }
    }
    return false;
}

/* One row of the planes, for all columns of the kernel. */
static void fill_row(const sparse_conv_call *call, const place *at, int64_t residue, int64_t row,
                     int64_t first, int64_t channels, char *planes)
{
    const sparse_conv *c = call->c;
    const conv_f32_shape *s = &c->shape;
    int64_t row_bytes = c->tile_vectors * c->lanes * 4;
    int64_t set_bytes = c->channel_block * c->residues * c->plane_rows * row_bytes;

    planes += (residue * c->plane_rows + row) * row_bytes;
    for (int64_t strip = 0; strip < c->lanes / c->width; strip++) {
        int64_t oy = strip * c->strip_rows + at->row + row;
        int64_t iy = strip < c->strips ? oy * s->stride_h + residue - s->pad_h : -1;

        for (int64_t kx = 0; kx < s->kernel_w; kx++) {
            for (int64_t v = 0; v < c->tile_vectors; v++) {
                fill_strip(call, at->image, iy, at->column + v * c->width, kx, first, channels,
                           strip * c->width, planes + kx * set_bytes + v * c->lanes * 4);
            }
        }
    }
}

static void fill(const sparse_conv_call *call, const place *at, int64_t first, int64_t channels,
                 char *planes)
{
    const sparse_conv *c = call->c;

    for (int64_t residue = 0; residue < c->residues; residue++) {
        for (int64_t row = 0; row < c->plane_rows; row++) {
            if (is_read(c, residue, row)) {
                fill_row(call, at, residue, row, first, channels, planes);
            }
        }
    }
}

/* Sums of `pixels` neighbours from lane `lane` of a row, back to where pixels' filters are
 * neighbours, and finished. */
static void drain_strip(const sparse_conv_call *call, const char *sums, int64_t pixel,
                        int64_t pixels, int64_t first, int64_t filters)
{
    const sparse_conv *c = call->c;
    int64_t all = c->problem.filters;
    float *y = call->y + pixel * all + first;
    brgemm_finish finish = call->finish;
    transpose_matrix m = {.from = sums,
                          .to = y,
                          .rows = filters,
                          .columns = pixels,
                          .from_pitch = c->tile_rows * c->tile_vectors * c->lanes * 4,
                          .to_pitch = all * 4};

    c->transpose->words(&m);
    finish.bias = finish.bias != NULL ? finish.bias + first : NULL;
    finish.residual = finish.residual != NULL ? finish.residual + pixel * all + first : NULL;
    finish.residual_pitch = all;
    c->rows->finish(y, all, y, all, pixels, filters, &finish);
}

static void drain(const sparse_conv_call *call, const place *at, int64_t first, int64_t filters,
                  const char *sums)
{
    const sparse_conv *c = call->c;
    const conv_f32_shape *s = &c->shape;

    for (int64_t row = 0; row < c->tile_rows && at->row + row < c->strip_rows; row++) {
        for (int64_t strip = 0; strip < c->strips; strip++) {
            int64_t oy = strip * c->strip_rows + at->row + row;
            int64_t line = (at->image * s->out_h + oy) * s->out_w;

            for (int64_t v = 0; v < c->tile_vectors && oy < s->out_h; v++) {
                int64_t ox = at->column + v * c->width;
                int64_t pixels = least(s->out_w - ox, c->width);
                int64_t lane = (row * c->tile_vectors + v) * c->lanes + strip * c->width;

                if (pixels > 0) {
                    drain_strip(call, sums + lane * 4, line + ox, pixels, first, filters);
                }
            }
        }
    }
}

static void run_piece(const sparse_conv_call *call, int64_t piece, char *workspace)
{
    const sparse_conv *c = call->c;
    const sparse_lists *l = &c->lists;
    int64_t row_block = piece % l->row_blocks;
    int64_t tile_number = piece / l->row_blocks;
    int64_t first = row_block * l->row_block;
    int64_t in_image = tile_number % (c->row_tiles * c->column_tiles);
    place at = {.image = tile_number / (c->row_tiles * c->column_tiles),
                .row = in_image / c->column_tiles * c->tile_rows,
                .column = in_image % c->column_tiles * c->tile_vectors * c->width};
    int64_t columns = c->tile_rows * c->tile_vectors * c->lanes;
    char *sums = workspace + c->block_bytes;
    sparse_tile tile = {.b = workspace,
                        .b_panel = c->kernel->panel * 4,
                        .c = sums,
                        .c_pitch = columns * 4,
                        .columns = (int)columns};

    for (int64_t block = 0; block < l->k_blocks; block++) {
        int64_t channel = block * c->channel_block;
        sparse_block rows = sparse_lists_block(l, call->packed, row_block, block);

        fill(call, &at, channel, least(c->shape.channels - channel, c->channel_block), workspace);
        tile.rows = rows.rows;
        tile.row_count = rows.row_count;
        tile.at = rows.at;
        tile.value = rows.value;
        tile.accumulate = block > 0;
        c->kernel->tile(&tile);
    }
    drain(call, &at, first, most(least(l->rows - first, l->row_block), 0), sums);
}

void sparse_conv_run(void *context, int64_t begin, int64_t end, int worker)
{
    const sparse_conv_call *call = context;
    char *workspace = (char *)call->workspace + worker * call->c->worker_bytes;

    for (int64_t piece = begin; piece < end; piece++) {
        run_piece(call, piece, workspace);
    }
}
