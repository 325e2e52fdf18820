/* The run of a convolution by sparse weights. */
#include <string.h>

#include "kernels/sparse/sparse_conv.h"

static int64_t least(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

static int64_t most(int64_t a, int64_t b)
{
    return a > b ? a : b;
}

/* Which of `count` lanes, of whose numbers the first is `first` and each is `step` more, are in
 * [0, extent): a run of them. */
typedef struct lane_run {
    int64_t begin, end;
} lane_run;

static lane_run lanes_inside(int64_t first, int64_t step, int64_t count, int64_t extent)
{
    lane_run run = {first < 0 ? (-first + step - 1) / step : 0,
                    extent > first ? (extent - first + step - 1) / step : 0};

    run.end = least(run.end, count);
    run.begin = least(run.begin, run.end);
    return run;
}

/* Lanes [from, to) of vectors `pitch` bytes apart become zeros. */
static void clear_lanes(char *vectors, int64_t pitch, int64_t count, int64_t from, int64_t to)
{
    for (int64_t i = 0; i < count && from < to; i++) {
        memset(vectors + i * pitch + from * 4, 0, (size_t)(to - from) * 4);
    }
}

/* Channels [first, first + channels). */
typedef struct channel_run {
    int64_t first, channels;
} channel_run;

/* Lanes [lane, lane + count) of a vector of each channel: pixels `step` apart from the one at
 * `pixel` on, as far as `inside` says. */
static void turn_in(const sparse_conv_call *call, const channel_run *of, int64_t pixel,
                    int64_t step, int64_t lane, int64_t count, lane_run inside, char *to)
{
    const sparse_conv *c = call->c;
    int64_t pitch = c->plane_rows * c->residues * c->plane_columns * c->lanes * 4;
    transpose_matrix m = {.to = to + (lane + inside.begin) * 4,
                          .rows = inside.end - inside.begin,
                          .columns = of->channels,
                          .from_pitch = step * c->shape.channels * 4,
                          .to_pitch = pitch};

    if (m.rows > 0) {
        m.from = call->x + (pixel + inside.begin * step) * c->shape.channels + of->first;
        c->transpose->words(&m);
    }
    clear_lanes(to, pitch, of->channels, lane, lane + inside.begin);
    clear_lanes(to, pitch, of->channels, lane + inside.end, lane + count);
}

/* A piece: output rows and columns of all strips of an image. */
typedef struct conv_piece {
    int64_t image, row, column;
} conv_piece;

/* One vector of each channel: input row `iy` and column `ix` of the first strip. */
static void fill_vector(const sparse_conv_call *call, const conv_piece *p, const channel_run *of,
                        int64_t iy, int64_t ix, char *to)
{
    const sparse_conv *c = call->c;
    const conv_f32_shape *s = &c->shape;
    int64_t height = c->rows * s->stride_h;
    int64_t width = c->columns * s->stride_w;

    for (int64_t strip = 0; strip < c->column_strips; strip++) {
        int64_t x = ix + strip * width;
        lane_run inside = lanes_inside(iy, height, c->row_strips, s->in_h);

        if (x < 0 || x >= s->in_w) {
            inside.end = inside.begin;
        }
        turn_in(call, of, (p->image * s->in_w + x) * s->in_h + iy, height, strip * c->row_strips,
                c->row_strips, inside, to);
    }
}

/* Is row `row` of the planes read? */
static bool is_read(const sparse_conv *c, int64_t row)
{
    const conv_f32_shape *s = &c->shape;

    for (int64_t ky = 0; ky < s->kernel_h; ky++) {
        int64_t above = row - ky * s->dilation_h;

        if (above >= 0 && above % s->stride_h == 0) {
            return true;
        }
    }
    return false;
}

static void fill_image(const sparse_conv_call *call, const conv_piece *p, const channel_run *of,
                       char *planes)
{
    const sparse_conv *c = call->c;
    const conv_f32_shape *s = &c->shape;

    for (int64_t row = 0; row < c->plane_rows; row++) {
        int64_t iy = p->row * s->stride_h + row - s->pad_h;
        char *line = planes + row * c->residues * c->plane_columns * c->lanes * 4;

        for (int64_t i = 0; is_read(c, row) && i < c->residues * c->plane_columns; i++) {
            int64_t column = i % c->plane_columns * s->stride_w + i / c->plane_columns;

            fill_vector(call, p, of, iy, p->column * s->stride_w + column - s->pad_w,
                        line + i * c->lanes * 4);
        }
    }
}

/* Neighbours of a line. */
static void fill_line(const sparse_conv_call *call, const conv_piece *p, const channel_run *of,
                      char *planes)
{
    const sparse_conv *c = call->c;

    for (int64_t i = 0; i < c->plane_columns; i++) {
        int64_t pixel = (p->column + i) * c->lanes;

        turn_in(call, of, pixel, 1, 0, c->lanes, lanes_inside(pixel, 1, c->lanes, c->shape.in_w),
                planes + i * c->lanes * 4);
    }
}

/* A block of channels, as floats. */
static void fill_floats(const sparse_conv_call *call, const conv_piece *p, const channel_run *of,
                        char *planes)
{
    if (call->c->is_line) {
        fill_line(call, p, of, planes);
    } else {
        fill_image(call, p, of, planes);
    }
}

/* Channels [first, first + channels): bf16 by way of blocks of floats, behind all planes. */
static void fill(const sparse_conv_call *call, const conv_piece *p, int64_t first, int64_t channels,
                 char *planes)
{
    const sparse_conv *c = call->c;
    int64_t lanes = c->plane_rows * c->residues * c->plane_columns * c->lanes;
    int64_t end = least(c->shape.channels, first + channels);
    uint32_t *to = (uint32_t *)(void *)planes;
    channel_run of = {first, end - first};

    if (c->kernel->type == BRGEMM_F32) {
        fill_floats(call, p, &of, planes);
        return;
    }
    for (; of.first < end; of.first += c->channel_block) {
        const float *even = (const float *)(void *)(planes + c->planes_bytes);

        of.channels = least(end - of.first, c->channel_block);
        fill_floats(call, p, &of, planes + c->planes_bytes);
        for (int64_t i = 0; i < of.channels; i += 2, even += 2 * lanes, to += lanes) {
            c->pairs->pair(to, even, i + 1 < of.channels ? even + lanes : NULL, lanes);
        }
    }
}

/* Filters [first, first + filters). */
typedef struct filter_run {
    int64_t first, filters;
} filter_run;

/* `pixels` lanes of a vector of sums back to where a pixel's filters are neighbours, and
 * finished. */
static void turn_out(const sparse_conv_call *call, const filter_run *of, const char *sums,
                     int64_t sums_pitch, int64_t pixel, int64_t step, int64_t pixels)
{
    const sparse_conv *c = call->c;
    int64_t all = c->problem.filters;
    float *y = call->y + pixel * all + of->first;
    brgemm_finish finish = call->finish;
    transpose_matrix m = {.from = sums,
                          .to = y,
                          .rows = of->filters,
                          .columns = pixels,
                          .from_pitch = sums_pitch,
                          .to_pitch = step * all * 4};

    if (pixels <= 0) {
        return;
    }
    c->transpose->words(&m);
    finish.bias = finish.bias != NULL ? finish.bias + of->first : NULL;
    finish.residual = finish.residual != NULL ? finish.residual + pixel * all + of->first : NULL;
    finish.residual_pitch = step * all;
    c->row_kernel->finish(y, step * all, y, step * all, pixels, of->filters, &finish);
}

/* Vector number `v` of a tile that begins at `row` and `column`. */
static void drain_vector(const sparse_conv_call *call, const conv_piece *p, const filter_run *of,
                         int64_t row, int64_t column, const char *sums, int64_t sums_pitch)
{
    const sparse_conv *c = call->c;
    const conv_f32_shape *s = &c->shape;

    if (c->is_line) {
        int64_t pixel = column * c->lanes;

        turn_out(call, of, sums, sums_pitch, pixel, 1, least(s->out_w - pixel, c->lanes));
        return;
    }
    for (int64_t strip = 0; strip < c->column_strips; strip++) {
        int64_t x = column + strip * c->columns;
        lane_run inside = lanes_inside(row, c->rows, c->row_strips, s->out_h);

        if (x < s->out_w) {
            turn_out(call, of, sums + strip * c->row_strips * 4, sums_pitch,
                     (p->image * s->out_w + x) * s->out_h + row, c->rows, inside.end);
        }
    }
}

/* What the pieces of a call share. */
typedef struct tile_site {
    const sparse_conv_call *call;
    conv_piece piece;
    int64_t row_block;
    filter_run filters;
    char *planes;
    char *sums;
} tile_site;

static void run_tile(const tile_site *t, int64_t row, int64_t column, int64_t columns)
{
    const sparse_conv *c = t->call->c;
    const sparse_lists *l = &c->lists;
    int64_t line = c->residues * c->plane_columns * c->lanes * 4;
    int64_t pitch = columns * c->lanes * 4;
    const char *first = t->planes + (row - t->piece.row) * c->shape.stride_h * line +
                        (column - t->piece.column) * c->lanes * 4;
    sparse_tile tile = {.b_panel = c->kernel->panel * 4,
                        .c = t->sums,
                        .c_pitch = pitch,
                        .columns = (int)(columns * c->lanes)};

    for (int64_t block = 0; block < l->k_blocks; block++) {
        int64_t channel = block * c->channel_block;
        sparse_block rows = sparse_lists_block(l, t->call->packed, t->row_block, block);

        if (!c->is_whole) {
            fill(t->call, &t->piece, channel, c->channel_block, t->planes);
        }
        tile.b = first + (c->is_whole ? channel / c->kernel->group * c->plane_rows * line : 0);
        tile.rows = rows.rows;
        tile.row_count = rows.row_count;
        tile.at = rows.at;
        tile.value = rows.value;
        tile.accumulate = block > 0;
        c->kernel->tile(&tile);
    }
    for (int64_t v = 0; v < columns; v++) {
        drain_vector(t->call, &t->piece, &t->filters, row, column + v, t->sums + v * c->lanes * 4,
                     pitch);
    }
}

static void run_piece(const sparse_conv_call *call, int64_t number, char *workspace)
{
    const sparse_conv *c = call->c;
    const sparse_lists *l = &c->lists;
    int64_t place = number / l->row_blocks;
    int64_t in_image = place % (c->row_pieces * c->column_pieces);
    tile_site t = {.call = call,
                   .piece = {.image = place / (c->row_pieces * c->column_pieces),
                             .row = in_image / c->column_pieces * c->piece_rows,
                             .column = in_image % c->column_pieces * c->piece_columns},
                   .row_block = number % l->row_blocks,
                   .planes = workspace,
                   .sums = workspace + c->planes_bytes + c->floats_bytes};
    int64_t row_end = least(t.piece.row + c->piece_rows, c->rows);
    int64_t column_end = least(t.piece.column + c->piece_columns, c->columns);

    t.filters.first = t.row_block * l->row_block;
    t.filters.filters = most(least(l->rows - t.filters.first, l->row_block), 0);
    if (c->is_whole) {
        fill(call, &t.piece, 0, c->shape.channels, t.planes);
    }
    for (int64_t row = t.piece.row; row < row_end; row++) {
        for (int64_t column = t.piece.column; column < column_end; column += c->tile) {
            run_tile(&t, row, column, least(column_end - column, c->tile));
        }
    }
}

void sparse_conv_run(void *context, int64_t begin, int64_t end, int worker)
{
    const sparse_conv_call *call = context;
    char *workspace = (char *)call->workspace + worker * call->c->worker_bytes;

    for (int64_t piece = begin; piece < end; piece++) {
        run_piece(call, piece, workspace);
    }
}
