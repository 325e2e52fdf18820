/* The plan of a convolution by sparse weights. */
#include "kernels/sparse/sparse_conv.h"

enum {
    LINE = 64,
    WIDE = 16,                     /* floats of the vectors that costs are given for */
    BLOCK_BYTES = 32 * 1024,       /* of planes that a tile reads: the first-level cache */
    LONG_BLOCK_BYTES = 128 * 1024, /* where there is little to do in each row */
    PIECE_BYTES = 384 * 1024,      /* of planes that a piece reads: the second-level cache */
    SUMS_BYTES = 384 * 1024,       /* of a block of filters, there too */
    LEAST_CHANNELS = 8,
    FEW_ENTRIES = 6 /* per row of a block, which has a price of its own */
};

/* Cycles. */
static const double entry_cost = 1.15; /* per vector */
static const double entry_start = 1.2; /* its place and its broadcast */
static const double row_cost = 3.5;    /* per vector: sums loaded and stored */
static const double row_start = 18.0;  /* of a row: its length is not known before */
static const double fill_cost = 12.0;  /* per vector and channel */
static const double drain_cost = 22.0; /* per vector and filter */
static const double tile_cost = 100.0;

static int64_t least(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

static int64_t most(int64_t a, int64_t b)
{
    return a > b ? a : b;
}

static int64_t parts_of(int64_t extent, int64_t part)
{
    return (extent + part - 1) / part;
}

/* The image turned by 90 degrees. Strips are cut from columns then: their pixels lie nearer to each
 * other in memory, and not at a power of two. */
static void turn_image(conv_f32_shape *s)
{
    *s = (conv_f32_shape){.channels = s->channels,
                          .in_h = s->in_w,
                          .in_w = s->in_h,
                          .out_h = s->out_w,
                          .out_w = s->out_h,
                          .kernel_h = s->kernel_w,
                          .kernel_w = s->kernel_h,
                          .stride_h = s->stride_w,
                          .stride_w = s->stride_h,
                          .dilation_h = s->dilation_w,
                          .dilation_w = s->dilation_h,
                          .pad_h = s->pad_w,
                          .pad_w = s->pad_h};
}

/* Where every pixel is read once and where it lies, all images are one line. */
static void plan_shape(sparse_conv *c)
{
    conv_f32_shape *s = &c->shape;

    *s = c->problem.shape;
    c->batch = c->problem.batch;
    c->is_line = s->kernel_h == 1 && s->kernel_w == 1 && s->stride_h == 1 && s->stride_w == 1 &&
                 s->pad_h == 0 && s->pad_w == 0 && s->out_h == s->in_h && s->out_w == s->in_w;
    if (c->is_line) {
        s->in_w = s->out_w = c->batch * s->in_h * s->in_w;
        s->in_h = s->out_h = 1;
        c->batch = 1;
    } else {
        turn_image(s);
    }
}

static void plan_strips(sparse_conv *c)
{
    const conv_f32_shape *s = &c->shape;

    c->lanes = c->kernel->vector;
    c->row_strips = 1;
    while (!c->is_line && c->row_strips < c->lanes && c->row_strips < s->out_h) {
        c->row_strips *= 2;
    }
    c->column_strips = c->lanes / c->row_strips;
    c->rows = parts_of(s->out_h, c->row_strips);
    c->columns = parts_of(s->out_w, c->column_strips); /* of a line: vectors */
    c->tile = least(c->columns, c->kernel->columns / c->lanes);
}

/* Sizes of the planes that a piece reads. */
static void set_piece(sparse_conv *c, int64_t rows, int64_t columns)
{
    const conv_f32_shape *s = &c->shape;
    int64_t reach = (s->kernel_w - 1) * s->dilation_w;

    c->piece_rows = rows;
    c->piece_columns = columns;
    c->row_pieces = parts_of(c->rows, rows);
    c->column_pieces = parts_of(c->columns, columns);
    c->plane_rows = (rows - 1) * s->stride_h + (s->kernel_h - 1) * s->dilation_h + 1;
    c->residues = least(s->stride_w, reach + 1);
    c->plane_columns = columns + reach / s->stride_w;
    c->is_whole = rows > 1 || columns > c->tile;
}

/* Of the plane of a channel, or of a group of them that lie together. */
static int64_t channel_bytes(const sparse_conv *c)
{
    return c->plane_rows * c->residues * c->plane_columns * c->lanes * 4;
}

/* The largest piece whose planes fit. */
static void plan_piece(sparse_conv *c)
{
    int64_t rows = c->is_line ? 1 : c->rows;
    int64_t columns = c->is_line ? c->tile : c->columns;

    set_piece(c, rows, columns);
    while (c->is_whole &&
           channel_bytes(c) * parts_of(c->shape.channels, c->kernel->group) > PIECE_BYTES) {
        if (columns > 2 * c->tile || (rows == 1 && columns > c->tile)) {
            columns = parts_of(parts_of(columns, 2), c->tile) * c->tile;
        } else {
            rows = parts_of(rows, 2);
        }
        set_piece(c, rows, columns);
    }
}

/* Channels of a block: what a tile reads of them fits the first-level cache, but rows should have
 * some entries. */
static void plan_blocks(const sparse_facts *facts, sparse_conv *c)
{
    const conv_f32_shape *s = &c->shape;
    int64_t places = s->kernel_h * s->kernel_w;
    int64_t reach = (s->kernel_w - 1) * s->dilation_w;
    int64_t per_channel =
        s->kernel_h * (c->tile + reach / s->stride_w) * c->residues * c->lanes * 4;
    int64_t group = c->kernel->group;
    int64_t fit = most(BLOCK_BYTES / per_channel, LEAST_CHANNELS) * group;
    double entries = (double)facts->entries / (double)(c->problem.filters * s->channels);

    if ((double)fit * entries < FEW_ENTRIES) {
        fit = most(
            fit, least((int64_t)(FEW_ENTRIES / (entries + 1e-9)), LONG_BLOCK_BYTES / per_channel));
    }
    fit = least(fit, s->channels);
    c->channel_block = parts_of(s->channels, parts_of(s->channels, fit));
    if (c->channel_block > c->lanes / 2) { /* turned in squares */
        c->channel_block = parts_of(c->channel_block, LEAST_CHANNELS) * LEAST_CHANNELS;
    }
    c->channel_block = parts_of(c->channel_block, group) * group;
    c->lists = (sparse_lists){.type = c->kernel->type,
                              .group = c->kernel->group,
                              .rows = c->problem.filters,
                              .k = s->channels * places,
                              .inner = places,
                              .k_block = c->channel_block * places,
                              .entries = facts->entries};
    fit = SUMS_BYTES / (c->tile * c->lanes * 4);
    c->lists.row_block = parts_of(c->problem.filters, parts_of(c->problem.filters, fit));
    sparse_lists_plan(&c->lists);
    c->planes_bytes =
        channel_bytes(c) * parts_of(c->is_whole ? s->channels : c->channel_block, group);
    c->floats_bytes = group > 1 ? channel_bytes(c) * c->channel_block : 0;
}

static double predict(const sparse_conv *c)
{
    const sparse_lists *l = &c->lists;
    double width = (double)c->lanes / WIDE; /* what a vector costs, in such of 64 bytes */
    double tiles = (double)(c->rows * parts_of(c->columns, c->tile));
    double vectors = width * (double)(c->rows * c->columns);
    double planes = (double)(c->row_pieces * c->column_pieces * l->row_blocks * channel_bytes(c) /
                             (WIDE * 4) * c->shape.channels);
    double list_rows = (double)(l->rows * l->k_blocks);
    double image = (double)l->entries * (vectors * entry_cost + tiles * entry_start) +
                   list_rows * (vectors * row_cost + tiles * row_start) + fill_cost * planes +
                   drain_cost * vectors * (double)l->rows + tile_cost * tiles;

    return image * (double)c->batch;
}

void sparse_conv_plan(const sparse_conv_problem *problem, const sparse_kernel *kernel,
                      const sparse_facts *facts, sparse_conv *c)
{
    *c = (sparse_conv){.problem = *problem,
                       .kernel = kernel,
                       .row_kernel = sparse_rows_select(),
                       .transpose = transpose_select(),
                       .pairs = bf16_select()};
    plan_shape(c);
    plan_strips(c);
    plan_piece(c);
    plan_blocks(facts, c);
    c->pieces = c->batch * c->row_pieces * c->column_pieces * c->lists.row_blocks;
    c->multiplies = facts->entries * kernel->group * c->batch * c->rows * c->columns * c->lanes;
    c->packed_bytes = c->lists.bytes + parts_of(c->lists.k_block * 4, LINE) * LINE;
    c->planes_bytes = parts_of(c->planes_bytes, LINE) * LINE;
    c->floats_bytes = parts_of(c->floats_bytes, LINE) * LINE;
    c->worker_bytes = c->planes_bytes + c->floats_bytes +
                      parts_of(c->lists.row_block * c->tile * c->lanes * 4, LINE) * LINE;
    c->predicted_cost = predict(c);
}

/* The table of places stands behind the lists: it is needed while they are made. */
void sparse_conv_pack(const sparse_conv *c, const sparse_source *source, void *packed)
{
    const conv_f32_shape *s = &c->shape;
    uint32_t *at = (uint32_t *)(void *)((char *)packed + c->lists.bytes);
    int64_t line = c->residues * c->plane_columns;

    for (int64_t channel = 0; channel < c->channel_block / c->kernel->group; channel++) {
        for (int64_t kx = 0; kx < s->kernel_w; kx++) { /* the image is turned */
            for (int64_t ky = 0; ky < s->kernel_h; ky++) {
                int64_t q = kx * s->dilation_w;
                int64_t column = q % s->stride_w * c->plane_columns + q / s->stride_w;
                int64_t row = channel * c->plane_rows + ky * s->dilation_h;

                *at++ = (uint32_t)((row * line + column) * c->lanes * 4);
            }
        }
    }
    sparse_lists_pack(&c->lists, source, at - c->lists.k_block / c->kernel->group, packed);
}
