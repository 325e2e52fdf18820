/* Blocks are sums of operators. */
#include "tune/latency_network.h"

#include <math.h>
#include <string.h>

#include "base/alloc.h"

enum { MOST_BLOCKS = 1 << 16, LOGITS = 2 };

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

bool latency_block_equal(const latency_block *a, const latency_block *b)
{
    bool equal = a->stage == b->stage && a->inputs == b->inputs && a->in_height == b->in_height &&
                 a->in_width == b->in_width && a->conv_count == b->conv_count &&
                 a->has_shortcut == b->has_shortcut && a->squeezed == b->squeezed &&
                 a->squeeze_after == b->squeeze_after;

    for (int i = 0; equal && i < a->conv_count; i++) {
        equal = latency_conv_equal(&a->convs[i], &b->convs[i]);
    }
    return equal && (!a->has_shortcut || latency_conv_equal(&a->shortcut, &b->shortcut));
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
