/* Blocks are sums of operators. */
#include "tune/latency_network.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"

enum { MOST_BLOCKS = 1 << 16, LOGITS = 2 };

/* ---- networks from tables ---- */

enum { TABLE_STAGES = 4, STEM_SIDE = 112, BOTTLENECK_EXPANSION = 4 };

/* ResNets: He and others, CVPR 2016, table 1, stepping in the convolution of 3x3. RegNets:
 * Radosavovic and others, CVPR 2020: no bottleneck, groups of fixed width, squeeze-and-excitation
 * to a quarter of the block's inputs. */
typedef struct family {
    const char *name;
    int depths[TABLE_STAGES];
    int widths[TABLE_STAGES]; /* of the 3x3 convolutions */
    int expansion;            /* of the output */
    int group_width;          /* 0: not grouped */
    int squeeze;              /* the inputs divided by; 0: none */
    int stem;                 /* channels before the first stage */
    int stem_side;            /* pixels */
} family;

static const family families[] = {
    {"resnet50", {3, 4, 6, 3}, {64, 128, 256, 512}, BOTTLENECK_EXPANSION, 0, 0, 64, STEM_SIDE / 2},
    {"resnet101",
     {3, 4, 23, 3},
     {64, 128, 256, 512},
     BOTTLENECK_EXPANSION,
     0,
     0,
     64,
     STEM_SIDE / 2},
    {"regnety-400m", {1, 3, 6, 6}, {48, 104, 208, 440}, 1, 8, 4, 32, STEM_SIDE},
    {"regnety-800m", {1, 3, 8, 2}, {64, 144, 320, 784}, 1, 16, 4, 32, STEM_SIDE},
};

const char *const latency_network_names[] = {"resnet50", "resnet101", "regnety-400m",
                                             "regnety-800m", NULL};

static latency_block table_block(const family *f, int stage, int number, int64_t inputs,
                                 int64_t side)
{
    int64_t width = f->widths[stage];
    int64_t outputs = width * f->expansion;
    latency_block b = {.stage = stage, .inputs = inputs, .conv_count = 3};
    int64_t to;

    b.in_height = b.in_width = side;
    /* The first stage of ResNets follows a pooling and does not step. */
    to = number == 0 && (stage > 0 || f->stem_side == STEM_SIDE) ? side / 2 : side;
    b.convs[0] = (latency_conv){inputs, width, side, side, 1, 1, 1, 1};
    b.convs[1] = (latency_conv){
        width, width, to, to, 3, 3, side / to, f->group_width > 0 ? width / f->group_width : 1};
    b.convs[2] = (latency_conv){width, outputs, to, to, 1, 1, 1, 1};
    b.has_shortcut = side != to || inputs != outputs;
    b.shortcut = (latency_conv){inputs, outputs, to, to, 1, 1, side / to, 1};
    b.squeezed = f->squeeze > 0 ? (int64_t)lround((double)inputs / f->squeeze) : 0;
    b.squeeze_after = 1;
    (void)snprintf(b.name, sizeof b.name, "layer%d.%d", stage + 1, number);
    return b;
}

static spry_status fill(latency_network *n, const family *f, spry_error *error)
{
    int64_t inputs = f->stem;
    int64_t side = f->stem_side;

    for (int stage = 0; stage < TABLE_STAGES; stage++) {
        for (int number = 0; number < f->depths[stage]; number++) {
            latency_block b = table_block(f, stage, number, inputs, side);
            spry_status status = latency_network_add_block(n, &b, error);

            if (status != SPRY_OK) {
                return status;
            }
            inputs = latency_block_last(&b)->outputs;
            side = latency_block_last(&b)->height;
        }
    }
    n->stage_count = TABLE_STAGES;
    return SPRY_OK;
}

spry_status latency_network_named(latency_network *n, const spry_allocator *allocator,
                                  const char *name, spry_error *error)
{
    *n = (latency_network){.allocator = alloc_resolve(allocator)};
    for (size_t i = 0; i < sizeof families / sizeof *families; i++) {
        if (strcmp(families[i].name, name) == 0) {
            return fill(n, &families[i], error);
        }
    }
    return spry_fail(error, SPRY_USAGE, name,
                     "use resnet50, resnet101, regnety-400m, regnety-800m or an ONNX file",
                     "is no network of the latency predictor");
}

void latency_network_fini(latency_network *n)
{
    alloc_release(&n->allocator, n->blocks, n->block_capacity * sizeof *n->blocks);
    alloc_release(&n->allocator, n->others, n->other_capacity * sizeof *n->others);
    *n = (latency_network){.allocator = n->allocator};
}

spry_status latency_network_add_block(latency_network *n, const latency_block *block,
                                      spry_error *error)
{
    spry_status status = alloc_grow(&n->allocator, (void **)&n->blocks, &n->block_capacity,
                                    n->block_count + 1, sizeof *n->blocks, MOST_BLOCKS, error);

    if (status == SPRY_OK) {
        n->blocks[n->block_count++] = *block;
    }
    return status;
}

spry_status latency_network_add_other(latency_network *n, const latency_conv *conv,
                                      spry_error *error)
{
    spry_status status = alloc_grow(&n->allocator, (void **)&n->others, &n->other_capacity,
                                    n->other_count + 1, sizeof *n->others, MOST_BLOCKS, error);

    if (status == SPRY_OK) {
        n->others[n->other_count++] = *conv;
    }
    return status;
}

const latency_conv *latency_block_last(const latency_block *b)
{
    return &b->convs[b->conv_count - 1];
}

/* ---- masks ---- */

/* How many pixels of one axis of the input are read by 1, 2, ... squares: counts[n]. */
static void count_readers(int64_t extent, int64_t kernel, int64_t stride, int64_t side,
                          double counts[], int most)
{
    int64_t padding = kernel / 2;

    for (int i = 0; i <= most; i++) {
        counts[i] = 0;
    }
    for (int64_t y = 0; y < extent * stride; y++) {
        /* Output rows o read y where o x stride - padding <= y < o x stride - padding + kernel. */
        int64_t low = y + padding - kernel + 1;
        int64_t first = low > 0 ? (low + stride - 1) / stride : 0;
        int64_t last = (y + padding) / stride;
        int64_t readers;

        last = last < extent ? last : extent - 1;
        readers = first <= last ? last / side - first / side + 1 : 0;
        counts[readers < most ? readers : most]++;
    }
}

double latency_dilated(const latency_conv *c, latency_squares q)
{
    enum { MOST = 64 };
    double rows[MOST + 1];
    double columns[MOST + 1];
    double sum = 0;
    double pixels = (double)(c->height * c->stride) * (double)(c->width * c->stride);

    count_readers(c->height, c->kernel_height, c->stride, q.side, rows, MOST);
    count_readers(c->width, c->kernel_width, c->stride, q.side, columns, MOST);
    for (int i = 1; i <= MOST; i++) {
        for (int j = 1; j <= MOST && rows[i] > 0; j++) {
            sum += rows[i] * columns[j] * (1 - pow(1 - q.density, (double)i * j));
        }
    }
    return sum / pixels;
}

static int64_t cells(int64_t extent, int64_t side)
{
    return side < extent ? (extent + side - 1) / side : 1;
}

static latency logits(const latency_device *d, int64_t inputs, int64_t height, int64_t width)
{
    const latency_conv c = {inputs, LOGITS, height, width, 1, 1, 1, 1};

    return latency_conv_dense(d, &c);
}

/* Averaging and a convolution of 1x1 may change places: what is faster counts. The published
 * program always filters the whole map and leaves averaging out. */
static latency masker(const latency_device *d, const latency_block *b, int64_t side)
{
    const latency_conv *last = latency_block_last(b);
    int64_t height = cells(last->height, side);
    int64_t width = cells(last->width, side);
    latency whole = logits(d, b->inputs, b->in_height, b->in_width);
    latency pooled;

    if (d->as_published || (height == b->in_height && width == b->in_width)) {
        return whole;
    }
    whole = latency_after(whole, latency_pool(d, LOGITS, b->in_height, b->in_width, height, width));
    pooled = latency_after(latency_pool(d, b->inputs, b->in_height, b->in_width, height, width),
                           logits(d, b->inputs, height, width));
    return pooled.total < whole.total ? pooled : whole;
}

/* Two fully connected layers behind a global average (arXiv 2308.15949): to at least 16 hidden
 * units, and to one logit per channel. */
static latency channel_masker(const latency_device *d, const latency_block *b)
{
    enum { LEAST_HIDDEN = 16, SHRINK = 16 };
    int64_t groups = b->convs[0].outputs;
    int64_t hidden = groups / SHRINK > LEAST_HIDDEN ? groups / SHRINK : LEAST_HIDDEN;
    latency sum = latency_pool(d, b->inputs, b->in_height, b->in_width, 1, 1);

    sum = latency_after(sum, latency_linear(d, b->inputs, hidden));
    return latency_after(sum, latency_linear(d, hidden, groups));
}

/* ---- blocks ---- */

static latency squeeze(const latency_device *d, const latency_block *b)
{
    const latency_conv *c = &b->convs[b->squeeze_after];

    return b->squeezed > 0 ? latency_squeeze(d, c->outputs, b->squeezed, c->height, c->width)
                           : (latency){0};
}

/* The published program leaves out those that only change the number of channels. */
static latency shortcut(const latency_device *d, const latency_block *b)
{
    bool counts = b->has_shortcut && !(d->as_published && b->shortcut.stride == 1);

    return counts ? latency_conv_dense(d, &b->shortcut) : (latency){0};
}

latency latency_block_dense(const latency_device *d, const latency_block *b)
{
    const latency_conv *last = latency_block_last(b);
    latency sum = latency_after(shortcut(d, b), squeeze(d, b));

    for (int i = 0; i < b->conv_count; i++) {
        sum = latency_after(sum, latency_conv_dense(d, &b->convs[i]));
    }
    return latency_after(sum, latency_elementwise(d, last->outputs, last->height, last->width, 2));
}

/* Masker and first convolution: one dense convolution with a filter more, or one after the other,
 * what is faster. */
static latency masked_first(const latency_device *d, const latency_block *b,
                            const latency_plan *plan, bool *fused)
{
    latency_conv wider = b->convs[0];
    latency_squares q = plan->squares;
    latency together;
    latency apart;

    wider.outputs++;
    together = latency_conv_dense(d, &wider);
    if (plan->halo == LATENCY_HALO_RANDOM && b->conv_count > 1) {
        q.density = latency_dilated(&b->convs[1], q);
    }
    apart = latency_after(masker(d, b, plan->squares.side),
                          latency_conv_squares(d, &b->convs[0], q, false));
    *fused = together.total < apart.total && wider.groups == 1;
    return *fused ? together : apart;
}

static latency block_squares(const latency_device *d, const latency_block *b,
                             const latency_plan *plan, bool *fused)
{
    const latency_conv *last = latency_block_last(b);
    latency sum = latency_after(shortcut(d, b), squeeze(d, b));

    sum = latency_after(sum, masked_first(d, b, plan, fused));
    for (int i = 1; i < b->conv_count; i++) {
        const latency_conv *c = &b->convs[i];
        /* Behind the second convolution there are only squares. A kernel of 1x1 takes them as they
         * are; a larger one would read across, so it reads the map by index. */
        bool gathered = i > 1 && c->kernel_height == 1 && c->kernel_width == 1;

        sum = latency_after(sum, latency_conv_squares(d, c, plan->squares, gathered));
    }
    return latency_after(
        sum, latency_scatter_add(d, last->outputs, last->height, last->width, plan->squares));
}

/* A convolution of which only kept channels are computed, out of kept ones (but for the ends of the
 * block). The engine with the most kept filters sets the time of computing. */
static latency channels_conv(const latency_device *d, const latency_conv *c, double density,
                             bool is_first, bool is_last)
{
    latency whole = latency_conv_dense(d, c);
    double load = is_last ? 1 : latency_channel_load(c->outputs, whole.tile[0], density);
    double from = is_first ? 1 : density;
    double to = is_last ? 1 : density;
    latency kept = whole;

    kept.compute = whole.compute * from * load;
    kept.traffic = whole.traffic * from * to;
    kept.total = kept.launch +
                 (d->overlaps ? fmax(kept.compute, kept.traffic) : kept.compute + kept.traffic);
    return kept;
}

static latency block_channels(const latency_device *d, const latency_block *b, double density)
{
    const latency_conv *last = latency_block_last(b);
    latency sum = latency_after(shortcut(d, b), squeeze(d, b));

    sum = latency_after(sum, channel_masker(d, b));
    for (int i = 0; i < b->conv_count; i++) {
        sum = latency_after(
            sum, channels_conv(d, &b->convs[i], density, i == 0, i == b->conv_count - 1));
    }
    return latency_after(sum, latency_elementwise(d, last->outputs, last->height, last->width, 2));
}

/* In a share `density` of runs the block runs, else its shortcut alone. */
static latency block_layers(const latency_device *d, const latency_block *b, double density)
{
    const latency_conv *last = latency_block_last(b);
    latency_block inner = *b;
    latency body;
    latency sum;

    inner.has_shortcut = false;
    body = latency_block_dense(d, &inner);
    body = (latency){.compute = body.compute * density,
                     .traffic = body.traffic * density,
                     .launch = body.launch * density,
                     .total = body.total * density};
    sum = latency_after(masker(d, b, last->height > last->width ? last->height : last->width),
                        shortcut(d, b));
    return latency_after(sum, body);
}

latency latency_block_sparse(const latency_device *d, const latency_block *b,
                             const latency_plan *plan, bool *fused)
{
    bool ignored;

    fused = fused != NULL ? fused : &ignored;
    *fused = false;
    switch (plan->skip) {
    case LATENCY_SKIP_CHANNELS: return block_channels(d, b, plan->squares.density);
    case LATENCY_SKIP_LAYERS: return block_layers(d, b, plan->squares.density);
    default: return block_squares(d, b, plan, fused);
    }
}
