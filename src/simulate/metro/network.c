#include "simulate/metro/network.h"

enum { LONG_REDUCTION = 16, CHANNEL_PARTS = 4, SUM_BYTES = 4 };

typedef struct job {
    metro_flows *f;
    const simulate_layer *l;
    const metro_tiles *tiles;
    metro_parts parts;
    int64_t taken; /* flows that came from memory so far: ports take turns */
    int nodes[METRO_SIDE_MOST * METRO_SIDE_MOST];
} job;

static int64_t pieces(int64_t whole, int64_t piece)
{
    return (whole + piece - 1) / piece;
}

static int64_t least(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

void metro_tiles_default(metro_tiles *t, int width, int height)
{
    const int corners[] = {0, width - 1, (height - 1) * width, height * width - 1};

    *t = (metro_tiles){.element_bytes = 1, .macs = 256};
    for (int i = 0; i < 4; i++) {
        bool is_new = true;

        for (int j = 0; j < t->port_count; j++) {
            is_new = is_new && t->ports[j] != corners[i];
        }
        if (is_new) {
            t->ports[t->port_count++] = corners[i];
        }
    }
}

metro_parts metro_parts_of(const simulate_layer *l, int width, int height)
{
    int64_t filters = l->filters;
    int64_t pixels = simulate_layer_pixels(l);
    int64_t reduction = l->channels / l->groups * l->kernel_height * l->kernel_width;
    int tiles = width * height;

    if (l->groups == 1 && reduction > LONG_REDUCTION * filters && l->channels >= CHANNEL_PARTS &&
        tiles % CHANNEL_PARTS == 0) {
        int filter_parts = (int)least(filters, tiles / CHANNEL_PARTS);

        return (metro_parts){filter_parts, tiles / CHANNEL_PARTS / filter_parts, CHANNEL_PARTS};
    }
    if (filters >= width && pixels >= height) {
        return (metro_parts){width, height, 1};
    }
    return filters >= pixels ? (metro_parts){(int)least(filters, tiles), 1, 1}
                             : (metro_parts){1, (int)least(pixels, tiles), 1};
}

static int tile_of(const job *j, int filter, int pixel, int channel)
{
    return (pixel * j->parts.channels + channel) * j->parts.filters + filter;
}

/* Bytes of a part of the inputs: the rows of pixels that its results need. */
static int64_t input_bytes(const job *j)
{
    const simulate_layer *l = j->l;
    int64_t pixels = pieces(simulate_layer_pixels(l), j->parts.pixels);
    int64_t rows = pieces(pixels, l->out_width);
    int64_t in_rows = least((rows - 1) * l->stride_height + l->kernel_height, l->in_height);
    int64_t width = rows == 1 ? least((pixels - 1) * l->stride_width + l->kernel_width, l->in_width)
                              : l->in_width;

    return in_rows * width * pieces(l->channels, j->parts.channels) * j->tiles->element_bytes;
}

static int64_t weight_bytes(const job *j)
{
    const simulate_layer *l = j->l;

    return pieces(l->filters, j->parts.filters) *
           pieces(l->channels / l->groups, j->parts.channels) * l->kernel_height * l->kernel_width *
           j->tiles->element_bytes;
}

static int64_t result_count(const job *j)
{
    return pieces(j->l->filters, j->parts.filters) *
           pieces(simulate_layer_pixels(j->l), j->parts.pixels);
}

/* From the ports in turn to the nodes of the job. */
static spry_status load(job *j, int count, int64_t bytes, spry_error *error)
{
    const metro_flow flow = {.id = j->f->count,
                             .one = j->tiles->ports[j->taken++ % j->tiles->port_count],
                             .many = j->nodes,
                             .count = count,
                             .bytes = bytes,
                             .due = METRO_CYCLE_MOST};

    return metro_flows_add(j->f, &flow, error);
}

static int distance(const job *j, int a, int b)
{
    int w = j->f->width;
    int dx = a % w - b % w;
    int dy = a / w - b / w;

    return (dx < 0 ? -dx : dx) + (dy < 0 ? -dy : dy);
}

/* A tile's results go to the nearest port; of equally near ones, tiles take turns. */
static spry_status store(job *j, int tile, spry_error *error)
{
    int best = 0;
    metro_flow flow = {.id = j->f->count,
                       .is_reduce = false,
                       .one = tile,
                       .many = j->nodes,
                       .count = 1,
                       .bytes = result_count(j) * j->tiles->element_bytes,
                       .due = METRO_CYCLE_MOST};

    for (int i = 1; i < j->tiles->port_count; i++) {
        int turn = (tile + i) % j->tiles->port_count;

        best = distance(j, tile, j->tiles->ports[turn]) < distance(j, tile, j->tiles->ports[best])
                   ? turn
                   : best;
    }
    j->nodes[0] = j->tiles->ports[best];
    return metro_flows_add(j->f, &flow, error);
}

static spry_status load_weights(job *j, spry_error *error)
{
    spry_status status = SPRY_OK;

    for (int k = 0; k < j->parts.filters && status == SPRY_OK; k++) {
        for (int c = 0; c < j->parts.channels && status == SPRY_OK; c++) {
            for (int s = 0; s < j->parts.pixels; s++) {
                j->nodes[s] = tile_of(j, k, s, c);
            }
            status = load(j, j->parts.pixels, weight_bytes(j), error);
        }
    }
    return status;
}

/* Where filters read channels of their own, every tile gets just those. */
static spry_status load_own_inputs(job *j, int pixel, spry_error *error)
{
    int64_t bytes = pieces(input_bytes(j), j->parts.filters);
    spry_status status = SPRY_OK;

    for (int k = 0; k < j->parts.filters && status == SPRY_OK; k++) {
        j->nodes[0] = tile_of(j, k, pixel, 0);
        status = load(j, 1, bytes, error);
    }
    return status;
}

static spry_status load_inputs(job *j, spry_error *error)
{
    spry_status status = SPRY_OK;

    for (int s = 0; s < j->parts.pixels && status == SPRY_OK; s++) {
        for (int c = 0; c < j->parts.channels && status == SPRY_OK; c++) {
            for (int k = 0; k < j->parts.filters; k++) {
                j->nodes[k] = tile_of(j, k, s, c);
            }
            status = j->l->groups > 1 ? load_own_inputs(j, s, error)
                                      : load(j, j->parts.filters, input_bytes(j), error);
        }
    }
    return status;
}

static spry_status take_results(job *j, spry_error *error)
{
    spry_status status = SPRY_OK;

    for (int s = 0; s < j->parts.pixels && status == SPRY_OK; s++) {
        for (int k = 0; k < j->parts.filters && status == SPRY_OK; k++) {
            int owner = tile_of(j, k, s, 0);

            for (int c = 1; c < j->parts.channels; c++) {
                j->nodes[c - 1] = tile_of(j, k, s, c);
            }
            if (j->parts.channels > 1) {
                const metro_flow sums = {.id = j->f->count,
                                         .is_reduce = true,
                                         .one = owner,
                                         .many = j->nodes,
                                         .count = j->parts.channels - 1,
                                         .bytes = result_count(j) * SUM_BYTES,
                                         .due = METRO_CYCLE_MOST};

                status = metro_flows_add(j->f, &sums, error);
            }
            if (status == SPRY_OK) {
                status = store(j, owner, error);
            }
        }
    }
    return status;
}

spry_status metro_layer_flows(metro_flows *f, const simulate_layer *l, const metro_tiles *tiles,
                              metro_parts parts, spry_error *error)
{
    job j = {.f = f, .l = l, .tiles = tiles, .parts = parts};
    spry_status status = tiles->port_count > 0
                             ? SPRY_OK
                             : spry_fail(error, SPRY_USAGE, "metro", NULL,
                                         "tiles without a port to memory have no traffic");

    if (status == SPRY_OK) {
        status = load_weights(&j, error);
    }
    if (status == SPRY_OK) {
        status = load_inputs(&j, error);
    }
    return status == SPRY_OK ? take_results(&j, error) : status;
}

int64_t metro_layer_compute(const simulate_layer *l, const metro_tiles *tiles, metro_parts parts)
{
    int64_t macs =
        pieces(l->filters, parts.filters) * pieces(simulate_layer_pixels(l), parts.pixels) *
        pieces(l->channels / l->groups, parts.channels) * l->kernel_height * l->kernel_width;

    return pieces(macs, tiles->macs);
}
