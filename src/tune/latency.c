/* Formulas of single operators. Everything is a double: counts stay far below 2^53. */
#include "tune/latency.h"

#include <math.h>
#include <string.h>

#include "spry/random.h"

enum {
    BYTES = 4,          /* per number */
    CUTS = 8,           /* a dimension is also tried cut into 1 to 7 parts */
    MOST_POWER = 256,   /* powers of two stop below */
    SIDE_BY_SIDE = 256, /* most squares in one tile */
    DRAWS = 2000
};

static const double most_rate = 1e18;

spry_status latency_device_read(latency_device *d, target *t, spry_error *error)
{
    static const char *const ways[] = {"add", "max"};
    double dram;
    double cache;
    double sector;
    double clock;
    double launch;
    int64_t units;
    int64_t macs;
    int64_t pipeline;
    int64_t batch;
    int way;
    spry_status status = target_count(t, "compute.units", 1, 1000000, &units, error);

    if (status != SPRY_OK ||
        (status = target_count(t, "compute.macs_per_cycle", 1, 1000000000, &macs, error)) !=
            SPRY_OK ||
        (status = target_count(t, "compute.pipeline", 1, 1000, &pipeline, error)) != SPRY_OK ||
        (status = target_quantity(t, "compute.clock", UNIT_HERTZ, 1, 1e12, &clock, error)) !=
            SPRY_OK ||
        (status = target_quantity(t, "memory.dram.bandwidth", UNIT_BYTES_PER_SECOND, 1, most_rate,
                                  &dram, error)) != SPRY_OK ||
        (status = target_quantity(t, "memory.l2.bandwidth", UNIT_BYTES_PER_SECOND, 1, most_rate,
                                  &cache, error)) != SPRY_OK ||
        (status = target_quantity(t, "memory.l2.sector", UNIT_BYTES, BYTES, 1 << 20, &sector,
                                  error)) != SPRY_OK ||
        (status = target_quantity(t, "latency.launch", UNIT_SECONDS, 0, 1, &launch, error)) !=
            SPRY_OK ||
        (status = target_count(t, "latency.batch", 1, 1000000, &batch, error)) != SPRY_OK ||
        (status = target_choice(t, "latency.combine", ways, 2, &way, error)) != SPRY_OK) {
        return status;
    }
    *d = (latency_device){.units = (double)units,
                          .macs = (double)macs,
                          .pipeline = (double)pipeline,
                          .clock = clock,
                          .dram = dram / BYTES,
                          .cache = cache / BYTES,
                          .sector = sector / BYTES,
                          .launch = launch,
                          .batch = batch,
                          .overlaps = way == 1};
    return SPRY_OK;
}

/* ---- helpers ---- */

static double parts(double whole, double part)
{
    return ceil(whole / part);
}

static int insert(int64_t *sizes, int count, int64_t size)
{
    int at = 0;

    while (at < count && sizes[at] < size) {
        at++;
    }
    if (at < count && sizes[at] == size) {
        return count;
    }
    memmove(sizes + at + 1, sizes + at, (size_t)(count - at) * sizeof *sizes);
    sizes[at] = size;
    return count + 1;
}

int latency_candidates(int64_t n, int64_t *sizes)
{
    int64_t most = n < CUTS ? n : CUTS;
    int count = 0;

    for (int64_t power = 1; power <= 2 * n && power < MOST_POWER; power *= 2) {
        count = insert(sizes, count, power);
    }
    for (int64_t i = 1; i < most; i++) {
        count = insert(sizes, count, (n + i - 1) / i);
        count = insert(sizes, count, i);
    }
    return count;
}

double latency_fill(double x, double q)
{
    return x / (ceil(x / q) * q);
}

double latency_run_share(double run, double gap, double sector)
{
    if (run > sector) {
        return latency_fill(run, sector);
    }
    gap = gap > 0 ? gap : 0; /* a tile may be wider than its map */
    return run + gap > sector ? run / sector : run / (run + gap);
}

/* A side larger than the map means the map. */
static int64_t side_of(int64_t extent, int64_t side)
{
    return side < extent ? side : extent;
}

double latency_square_count(int64_t height, int64_t width, latency_squares q)
{
    double all = parts((double)height, (double)side_of(height, q.side)) *
                 parts((double)width, (double)side_of(width, q.side));

    /* A density that was written in decimals must not make one square more. */
    return ceil(q.density * all - 1e-9);
}

static latency finish(const latency_device *d, double compute, double traffic)
{
    double longer = compute > traffic ? compute : traffic;

    return (latency){.compute = compute,
                     .traffic = traffic,
                     .launch = d->launch,
                     .total = d->launch + (d->overlaps ? longer : compute + traffic)};
}

/* The tile sizes that are tried. */
typedef struct tilings {
    int64_t sizes[LATENCY_TILE][LATENCY_CANDIDATES];
    int counts[LATENCY_TILE];
} tilings;

/* Of `side_by_side` 0 the tiles hold no squares. */
static void list_tilings(tilings *t, int64_t channels, int64_t height, int64_t width,
                         int64_t side_by_side)
{
    const int64_t whole[LATENCY_TILE] = {channels, height, width, side_by_side};

    for (int i = 0; i < LATENCY_TILE; i++) {
        t->sizes[i][0] = 0;
        t->counts[i] = whole[i] > 0 ? latency_candidates(whole[i], t->sizes[i]) : 1;
    }
}

/* The time of an operator cut into tiles of that many channels, rows, columns, squares. */
typedef latency (*tiled_function)(const void *operator, const double tile[LATENCY_TILE]);

/* The fastest tiling; the first one where several are equal. */
static latency search(const tilings *t, tiled_function time, const void *operator)
{
    int64_t total = (int64_t)t->counts[0] * t->counts[1] * t->counts[2] * t->counts[3];
    latency best = {0};

    for (int64_t i = 0; i < total; i++) {
        int64_t sizes[LATENCY_TILE];
        double tile[LATENCY_TILE];
        int64_t rest = i;
        latency found;

        for (int k = LATENCY_TILE - 1; k >= 0; k--) {
            sizes[k] = t->sizes[k][rest % t->counts[k]];
            tile[k] = (double)sizes[k];
            rest /= t->counts[k];
        }
        found = time(operator, tile);
        if (i == 0 || found.total < best.total) {
            best = found;
            for (int k = 0; k < LATENCY_TILE; k++) {
                best.tile[k] = (int)sizes[k];
            }
        }
    }
    return best;
}

/* The time with `tile`s that were found before. */
static latency at_tile(const int tile[LATENCY_TILE], tiled_function time, const void *operator)
{
    double sizes[LATENCY_TILE];
    latency found;

    for (int k = 0; k < LATENCY_TILE; k++) {
        sizes[k] = tile[k];
    }
    found = time(operator, sizes);
    memcpy(found.tile, tile, sizeof found.tile);
    return found;
}

/* Seconds that the engine with the most tiles needs for `macs` per tile, of which `parallel` at a
 * time may be done in parallel. */
static double engine_time(const latency_device *d, double macs, double parallel, double tiles)
{
    return macs / (d->clock * d->macs) / latency_fill(parallel, d->macs * d->pipeline) *
           parts(tiles, d->units);
}

/* Input rows (or columns) that `rows` output rows of one tile read. */
static double reach(const latency_device *d, double rows, int64_t kernel, int64_t stride)
{
    return d->as_published ? (rows + (double)kernel - 1) * (double)stride
                           : (rows - 1) * (double)stride + (double)kernel;
}

bool latency_conv_equal(const latency_conv *a, const latency_conv *b)
{
    return a->inputs == b->inputs && a->outputs == b->outputs && a->height == b->height &&
           a->width == b->width && a->kernel_height == b->kernel_height &&
           a->kernel_width == b->kernel_width && a->stride == b->stride && a->groups == b->groups;
}

/* What a memo tells operators apart by, beside the convolution. */
typedef enum memo_way { MEMO_DENSE, MEMO_INDEXED, MEMO_GATHERED, MEMO_ADDED } memo_way;

/* The tile that was found for the operator before; NULL: none. */
static const int *remembered(const latency_device *d, const latency_conv *c, int64_t height,
                             int64_t width, memo_way way)
{
    for (int i = 0; d->memo != NULL && i < d->memo->count; i++) {
        if (d->memo->entries[i].way == (int)way && d->memo->entries[i].height == height &&
            d->memo->entries[i].width == width &&
            latency_conv_equal(&d->memo->entries[i].conv, c)) {
            return d->memo->entries[i].tile;
        }
    }
    return NULL;
}

static void remember(const latency_device *d, const latency_conv *c, int64_t height, int64_t width,
                     memo_way way, const int tile[LATENCY_TILE])
{
    latency_memo *m = d->memo;

    if (m != NULL && m->count < LATENCY_MEMO) {
        m->entries[m->count].conv = *c;
        m->entries[m->count].height = height;
        m->entries[m->count].width = width;
        m->entries[m->count].way = (int)way;
        memcpy(m->entries[m->count].tile, tile, sizeof m->entries[0].tile);
        m->count++;
    }
}

/* Tiles of c x h x w elements in a map. */
static double tiles_of(double channels, double height, double width,
                       const double tile[LATENCY_TILE])
{
    return parts(channels, tile[0]) * parts(height, tile[1]) * parts(width, tile[2]);
}

/* Squares of a map: how many are computed, how large they are. */
typedef struct squares {
    double count;
    double mean; /* of all counts from 1 to all: what tiles are chosen for */
    double rows, columns;
    int64_t height, width; /* the same as whole numbers */
} squares;

static squares squares_of(int64_t height, int64_t width, latency_squares q)
{
    squares s = {.height = side_of(height, q.side), .width = side_of(width, q.side)};
    double all = parts((double)height, (double)s.height) * parts((double)width, (double)s.width);

    s.count = latency_square_count(height, width, q);
    s.mean = (1 + all) / 2;
    s.rows = (double)s.height;
    s.columns = (double)s.width;
    return s;
}

/* ---- convolutions ---- */

/* What all tilings of one convolution share. */
typedef struct conv_facts {
    const latency_device *d;
    const latency_conv *c;
    double batch;
    double inputs, outputs; /* channels of one group */
    double taps;            /* weights per output channel */
    bool gathered;
    squares at;
} conv_facts;

static conv_facts conv_facts_of(const latency_device *d, const latency_conv *c)
{
    double inputs = (double)c->inputs / (double)c->groups;

    return (conv_facts){.d = d,
                        .c = c,
                        .batch = (double)d->batch,
                        .inputs = inputs,
                        .outputs = (double)c->outputs / (double)c->groups,
                        .taps = inputs * (double)(c->kernel_height * c->kernel_width)};
}

/* Numbers of one image that a tile reads. */
static double tile_input(const conv_facts *f, const double tile[LATENCY_TILE])
{
    const latency_conv *v = f->c;

    return parts(tile[0], f->outputs) * f->inputs *
           reach(f->d, tile[1], v->kernel_height, v->stride) *
           reach(f->d, tile[2], v->kernel_width, v->stride);
}

static latency conv_dense_tiled(const void *operator, const double tile[LATENCY_TILE])
{
    const conv_facts *f = operator;
    const latency_device *d = f->d;
    const latency_conv *v = f->c;
    double elements = tile[0] * tile[1] * tile[2];
    double tiles = tiles_of((double)v->outputs, (double)v->height, (double)v->width, tile);
    double compute = engine_time(d, elements * f->taps * f->batch, elements, tiles);
    double near = tiles * (tile[0] * f->taps + f->batch * (tile_input(f, tile) + elements));
    double area = (double)(v->height * v->width);
    double far = (double)v->outputs * f->taps +
                 f->batch * area * (double)(v->inputs * v->stride * v->stride + v->outputs);
    double share = latency_run_share(tile[2], (double)v->width - tile[2], d->sector);

    return finish(d, compute, far / d->dram + near / d->cache / share);
}

latency latency_conv_dense(const latency_device *d, const latency_conv *c)
{
    conv_facts f = conv_facts_of(d, c);
    const int *known = remembered(d, c, 0, 0, MEMO_DENSE);
    tilings all;
    latency best;

    if (known != NULL) {
        return at_tile(known, conv_dense_tiled, &f);
    }
    list_tilings(&all, c->outputs, c->height, c->width, 0);
    best = search(&all, conv_dense_tiled, &f);
    remember(d, c, 0, 0, MEMO_DENSE, best.tile);
    return best;
}

/* For f->at.count squares. */
static latency conv_squares_tiled(const void *operator, const double tile[LATENCY_TILE])
{
    const conv_facts *f = operator;
    const latency_device *d = f->d;
    const latency_conv *v = f->c;
    double count = f->at.count;
    double elements = tile[0] * tile[1] * tile[2];
    double tiles = tiles_of((double)v->outputs, f->at.rows, f->at.columns, tile);
    double compute =
        engine_time(d, elements * f->taps * tile[3], elements * f->batch * tile[3], tiles) *
        parts(count, tile[3]) * f->batch;
    double near = tiles * (tile[0] * f->taps + f->batch * count * (tile_input(f, tile) + elements));
    double input = f->gathered ? count * reach(d, f->at.rows, v->kernel_height, v->stride) *
                                     reach(d, f->at.columns, v->kernel_width, v->stride)
                               : (double)(v->height * v->width * v->stride * v->stride);
    double output = count * f->at.rows * f->at.columns;
    double far = (double)v->outputs * f->taps +
                 f->batch * ((double)v->inputs * input + (double)v->outputs * output);

    return finish(d, compute, far / d->dram + near / d->cache);
}

latency latency_conv_squares(const latency_device *d, const latency_conv *c, latency_squares q,
                             bool gathered)
{
    conv_facts f = conv_facts_of(d, c);
    memo_way way = gathered ? MEMO_GATHERED : MEMO_INDEXED;
    const int *known;
    double count;
    tilings all;
    latency best;

    f.gathered = gathered;
    f.at = squares_of(c->height, c->width, q);
    known = remembered(d, c, f.at.height, f.at.width, way);
    if (known != NULL) {
        return at_tile(known, conv_squares_tiled, &f);
    }
    count = f.at.count;
    f.at.count = f.at.mean;
    list_tilings(&all, c->outputs, f.at.height, f.at.width, SIDE_BY_SIDE);
    best = search(&all, conv_squares_tiled, &f);
    remember(d, c, f.at.height, f.at.width, way, best.tile);
    f.at.count = count;
    return at_tile(best.tile, conv_squares_tiled, &f);
}

/* ---- moving squares ---- */

/* Traffic of copying squares, of which `far` numbers go to or from the shared memory. */
static double move_time(const latency_device *d, double far, double moved, double run, double gap)
{
    return far / d->dram + moved / d->cache / latency_run_share(run, gap, d->sector) +
           moved / d->cache;
}

latency latency_gather(const latency_device *d, int64_t channels, int64_t height, int64_t width,
                       latency_squares q, int64_t border)
{
    squares at = squares_of(height, width, q);
    double columns = at.columns + 2 * (double)border;
    double images = (double)(channels * d->batch);
    double moved = images * at.count * (at.rows + 2 * (double)border) * columns;
    double map = images * (double)(height * width);

    return finish(d, 0, move_time(d, map + moved, moved, columns, (double)width - columns));
}

latency latency_scatter(const latency_device *d, int64_t channels, int64_t height, int64_t width,
                        latency_squares q)
{
    return latency_gather(d, channels, height, width, q, 0);
}

/* A map, and an operation on each of its elements or on those of its squares. */
typedef struct map_facts {
    const latency_device *d;
    double channels, height, width;
    squares at;
    double traffic; /* seconds */
} map_facts;

static latency squares_added_tiled(const void *operator, const double tile[LATENCY_TILE])
{
    const map_facts *f = operator;
    double batch = (double)f->d->batch;
    double work = tile[0] * tile[1] * tile[2] * tile[3];
    double tiles = tiles_of(f->channels, f->at.rows, f->at.columns, tile);

    return finish(
        f->d, engine_time(f->d, work, work * batch, tiles) * parts(f->at.count, tile[3]) * batch,
        f->traffic);
}

latency latency_scatter_add(const latency_device *d, int64_t channels, int64_t height,
                            int64_t width, latency_squares q)
{
    map_facts f = {.d = d, .channels = (double)channels, .at = squares_of(height, width, q)};
    const latency_conv key = {.outputs = channels, .height = height, .width = width};
    const int *known = remembered(d, &key, f.at.height, f.at.width, MEMO_ADDED);
    double count = f.at.count;
    double images = (double)(channels * d->batch);
    double moved = images * count * f.at.rows * f.at.columns;
    double map = images * (double)(height * width);
    tilings all;
    latency best;

    /* Squares lie one after the other: two are read, one is written. */
    f.traffic = (2 * map + moved) / d->dram +
                3 * moved / d->cache / latency_run_share(f.at.columns, 0, d->sector);
    if (known != NULL) {
        return at_tile(known, squares_added_tiled, &f);
    }
    f.at.count = f.at.mean;
    list_tilings(&all, channels, f.at.height, f.at.width, SIDE_BY_SIDE);
    best = search(&all, squares_added_tiled, &f);
    remember(d, &key, f.at.height, f.at.width, MEMO_ADDED, best.tile);
    f.at.count = count;
    return at_tile(best.tile, squares_added_tiled, &f);
}

/* ---- dense operators without weights ---- */

static latency elementwise_tiled(const void *operator, const double tile[LATENCY_TILE])
{
    const map_facts *f = operator;
    double elements = tile[0] * tile[1] * tile[2];
    double tiles = tiles_of(f->channels, f->height, f->width, tile);

    return finish(f->d, engine_time(f->d, elements * (double)f->d->batch, elements, tiles),
                  f->traffic);
}

latency latency_elementwise(const latency_device *d, int64_t channels, int64_t height,
                            int64_t width, int operands)
{
    double numbers = (double)(d->batch * channels * height * width) * (operands + 1);
    map_facts f = {.d = d,
                   .channels = (double)channels,
                   .height = (double)height,
                   .width = (double)width,
                   .traffic = numbers / d->dram};
    tilings all;

    list_tilings(&all, channels, height, width, 0);
    return search(&all, elementwise_tiled, &f);
}

latency latency_pool(const latency_device *d, int64_t channels, int64_t height, int64_t width,
                     int64_t to_height, int64_t to_width)
{
    double numbers =
        (double)(channels * d->batch) * ((double)(height * width) + (double)(to_height * to_width));

    return finish(d, 0, numbers / d->dram);
}

/* A fully connected layer: tile[0] outputs by tile[1] inputs. */
typedef struct linear_facts {
    const latency_device *d;
    double inputs, outputs;
} linear_facts;

static latency linear_tiled(const void *operator, const double tile[LATENCY_TILE])
{
    const linear_facts *f = operator;
    const latency_device *d = f->d;
    double batch = (double)d->batch;
    double products = tile[0] * tile[1];
    double tiles =
        d->as_published ? products : parts(f->outputs, tile[0]) * parts(f->inputs, tile[1]);
    double near = tiles * (products + batch * (tile[0] + tile[1]));
    double far = f->inputs * f->outputs + batch * (f->inputs + f->outputs);

    return finish(d, engine_time(d, products * batch, products, tiles),
                  far / d->dram + near / d->cache);
}

latency latency_linear(const latency_device *d, int64_t inputs, int64_t outputs)
{
    linear_facts f = {d, (double)inputs, (double)outputs};
    tilings all;

    list_tilings(&all, outputs, inputs, 0, 0);
    return search(&all, linear_tiled, &f);
}

latency latency_squeeze(const latency_device *d, int64_t channels, int64_t squeezed, int64_t height,
                        int64_t width)
{
    latency sum = latency_pool(d, channels, height, width, 1, 1);

    sum = latency_after(sum, latency_linear(d, channels, squeezed));
    sum = latency_after(sum, latency_linear(d, squeezed, channels));
    return latency_after(sum, latency_elementwise(d, channels, height, width, 1));
}

/* ---- putting together ---- */

latency latency_after(latency a, latency b)
{
    return (latency){.compute = a.compute + b.compute,
                     .traffic = a.traffic + b.traffic,
                     .launch = a.launch + b.launch,
                     .total = a.total + b.total};
}

latency latency_scaled(latency a, double share)
{
    a.compute *= share;
    a.traffic *= share;
    a.total = a.launch + (a.total - a.launch) * share;
    return a;
}

double latency_channel_load(int64_t channels, int64_t tile, double density)
{
    spry_random random = spry_random_stream(0, 0);
    int64_t width = tile < channels ? tile : channels;
    double sum = 0;

    for (int draw = 0; draw < DRAWS; draw++) {
        int64_t most = 0;

        for (int64_t first = 0; first < channels; first += width) {
            int64_t kept = 0;

            for (int64_t i = first; i < channels && i < first + width; i++) {
                kept += spry_random_f64(&random) < density;
            }
            most = kept > most ? kept : most;
        }
        sum += (double)most / (double)width;
    }
    return fmax(sum / DRAWS, density);
}
