/* The plan of a convolution by sparse weights. */
#include "kernels/sparse/sparse_conv.h"

enum {
    LINE = 64,
    BLOCK_BYTES = 32 * 1024,       /* of planes: the first-level cache */
    LONG_BLOCK_BYTES = 128 * 1024, /* where there is little to do in each row */
    LEAST_CHANNELS = 8,
    SUMS_BYTES = 384 * 1024, /* of a block of filters, in the second-level cache */
    FEW_ENTRIES = 6          /* per row of a block, which has a price of its own */
};

/* Cycles. */
static const double entry_cost = 1.0;   /* per vector */
static const double entry_start = 0.75; /* its place and its broadcast */
static const double row_cost = 2.5;     /* per vector: sums loaded and stored */
static const double row_start = 12.0;   /* of a row: its length is not known before */
static const double turn_cost = 0.45;   /* per pixel and channel, either side */
static const double tile_cost = 300.0;

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

/* Where every pixel is read once and where it lies, all images are one line. */
static void plan_shape(sparse_conv *c)
{
    conv_f32_shape *s = &c->shape;

    *s = c->problem.shape;
    c->batch = c->problem.batch;
    if (s->kernel_h == 1 && s->kernel_w == 1 && s->stride_h == 1 && s->stride_w == 1 &&
        s->pad_h == 0 && s->pad_w == 0 && s->out_h == s->in_h && s->out_w == s->in_w) {
        s->in_w = s->out_w = c->batch * s->in_h * s->in_w;
        s->in_h = s->out_h = 1;
        c->batch = 1;
    }
}

/* Which pixels a vector, and a tile, has. */
static void plan_tiles(sparse_conv *c)
{
    const conv_f32_shape *s = &c->shape;
    int64_t vectors = c->kernel->columns / c->kernel->vector;

    c->lanes = c->kernel->vector;
    c->width = c->lanes;
    while (c->width > 1 && c->width / 2 >= s->out_w) {
        c->width /= 2;
    }
    c->strips = least(c->lanes / c->width, s->out_h);
    c->strip_rows = parts_of(s->out_h, c->strips);
    c->tile_vectors = least(parts_of(s->out_w, c->width), vectors);
    c->tile_rows = least(vectors / c->tile_vectors, c->strip_rows);
    c->row_tiles = parts_of(c->strip_rows, c->tile_rows);
    c->column_tiles = parts_of(s->out_w, c->tile_vectors * c->width);
}

/* Bytes of the planes of a channel. */
static int64_t channel_bytes(const sparse_conv *c)
{
    return c->shape.kernel_w * c->residues * c->plane_rows * c->tile_vectors * c->lanes * 4;
}

/* Channels of a block: planes fit the first-level cache, but rows should have some entries. */
static void plan_blocks(const sparse_facts *facts, sparse_conv *c)
{
    const conv_f32_shape *s = &c->shape;
    int64_t places = s->kernel_h * s->kernel_w;
    int64_t per_channel = channel_bytes(c);
    int64_t fit = most(BLOCK_BYTES / per_channel, LEAST_CHANNELS);
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
    c->block_bytes = parts_of(c->channel_block * per_channel, LINE) * LINE;
    c->lists = (sparse_lists){.type = c->kernel->type,
                              .group = c->kernel->group,
                              .rows = c->problem.filters,
                              .k = s->channels * places,
                              .inner = places,
                              .k_block = c->channel_block * places,
                              .entries = facts->entries};
    fit = SUMS_BYTES / (c->tile_rows * c->tile_vectors * c->lanes * 4);
    c->lists.row_block = parts_of(c->problem.filters, parts_of(c->problem.filters, fit));
    sparse_lists_plan(&c->lists);
}

static int64_t tiles_of(const sparse_conv *c)
{
    return c->batch * c->row_tiles * c->column_tiles;
}

static double predict(const sparse_conv *c)
{
    const sparse_lists *l = &c->lists;
    double vectors = (double)(c->tile_rows * c->tile_vectors);
    double pixels = vectors * (double)c->lanes;
    double rows = (double)(l->rows * l->k_blocks);
    double planes = (double)(channel_bytes(c) / 4 * c->shape.channels * l->row_blocks);
    double tile = (double)l->entries * (vectors * entry_cost + entry_start) +
                  rows * (vectors * row_cost + row_start) +
                  turn_cost * (planes + pixels * (double)l->rows) + tile_cost;

    return tile * (double)tiles_of(c);
}

void sparse_conv_plan(const sparse_conv_problem *problem, const sparse_kernel *kernel,
                      const sparse_facts *facts, sparse_conv *c)
{
    *c = (sparse_conv){.problem = *problem,
                       .kernel = kernel,
                       .rows = sparse_rows_select(),
                       .transpose = transpose_select()};
    plan_shape(c);
    plan_tiles(c);
    c->residues = least(c->shape.stride_h, (c->shape.kernel_h - 1) * c->shape.dilation_h + 1);
    c->plane_rows =
        (c->shape.kernel_h - 1) * c->shape.dilation_h / c->shape.stride_h + c->tile_rows;
    plan_blocks(facts, c);
    c->pieces = tiles_of(c) * c->lists.row_blocks;
    c->multiplies =
        facts->entries * kernel->group * tiles_of(c) * c->tile_rows * c->tile_vectors * c->lanes;
    c->packed_bytes = c->lists.bytes + parts_of(c->lists.k_block * 4, LINE) * LINE;
    c->worker_bytes =
        c->block_bytes +
        parts_of(c->lists.row_block * c->tile_rows * c->tile_vectors * c->lanes * 4, LINE) * LINE;
    c->predicted_cost = predict(c);
}

/* The table of places stands behind the lists: it is needed while they are made. */
void sparse_conv_pack(const sparse_conv *c, const sparse_source *source, void *packed)
{
    const conv_f32_shape *s = &c->shape;
    uint32_t *at = (uint32_t *)(void *)((char *)packed + c->lists.bytes);
    int64_t row_bytes = c->tile_vectors * c->lanes * 4;
    int64_t plane_bytes = c->residues * c->plane_rows * row_bytes;

    for (int64_t channel = 0; channel < c->channel_block; channel++) {
        for (int64_t ky = 0; ky < s->kernel_h; ky++) {
            int64_t r = ky * s->dilation_h;

            for (int64_t kx = 0; kx < s->kernel_w; kx++) {
                int64_t row = r % s->stride_h * c->plane_rows + r / s->stride_h;

                *at++ =
                    (uint32_t)((kx * c->channel_block + channel) * plane_bytes + row * row_bytes);
            }
        }
    }
    sparse_lists_pack(&c->lists, source, at - c->lists.k_block, packed);
}
