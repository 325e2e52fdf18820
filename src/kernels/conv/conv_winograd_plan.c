/* Chooses how Winograd convolution is blocked, by a model of what each block costs.
 *
 * What counts beside the arithmetic is how the transformed weights arrive: they are up to four
 * times as large as the weights, and are read once per block of tiles. The tile asks for a vector
 * of weights every mr cycles, which even memory can nearly deliver, so reading is hidden behind the
 * arithmetic unless a block has few tiles. Transformed windows and products are small beside it. */
#include <math.h>

#include "kernels/conv/conv_winograd.h"

/* The model's machine, in bytes and cycles of a core. */
enum {
    FAR_BYTES_PER_CYCLE = 6,   /* of weights from memory */
    NEAR_BYTES_PER_CYCLE = 16, /* from the last cache, which holds: */
    NEAR_ALWAYS = 2 << 20,     /* weights of this size: small layers make small networks */
    NEAR_AGAIN = 16 << 20,     /* and of this size when they are read again */
    USABLE_CACHE = 768 << 10,  /* of a core's second-level cache, for windows and products */
    FLOATS_PER_CYCLE = 16,     /* multiplied and added */
    CYCLES_PER_CALL = 120,     /* of the kernel, for its stores and set-up */
    LEAST_CYCLES_PER_STEP = 4, /* a kernel step reads its weights at least so long */
    CYCLES_PER_JOIN = 10000,   /* threads wait for each other between gathering and products */
    WINDOW2 = 60,              /* transforms of a vector of channels */
    WINDOW4 = 180,
    RESULT2 = 45,
    RESULT4 = 130,
    STORE_BYTES_PER_CYCLE =
        3,                   /* of results beyond the second-level cache, in runs of a tile's row */
    SMALL_WEIGHTS = 1 << 20, /* weights of which two panels at a time are used */
    PIECES_PER_WORKER = 4
};

static int64_t pieces_of(int64_t extent, int64_t slice)
{
    return (extent + slice - 1) / slice;
}

/* Floats from row to row: an odd number of vectors, so that rows and positions that are read or
 * written together do not fall into the same sets of the cache. */
static int64_t odd_pitch(int64_t floats)
{
    return (pieces_of(floats, WINOGRAD_LANES) | 1) * WINOGRAD_LANES;
}

bool conv_winograd_can(const conv_f32_shape *s)
{
    return s->kernel_h == 3 && s->kernel_w == 3 && s->stride_h == 1 && s->stride_w == 1 &&
           s->dilation_h == 1 && s->dilation_w == 1;
}

/* Sets pitches and sizes for the block sizes in `c`, for a team of `workers`. */
static void set_sizes(conv_winograd *c, int workers)
{
    int64_t channels = c->problem.shape.channels;
    int64_t rows = c->shared ? c->tiles : c->tile_block;
    int64_t zeros = pieces_of(channels, WINOGRAD_LANES) * WINOGRAD_LANES;
    int64_t images;

    c->image_pitch = odd_pitch(channels);
    c->image_step = odd_pitch(rows * c->image_pitch);
    c->product_pitch = odd_pitch(c->filter_block);
    c->product_step = odd_pitch(c->tile_block * c->product_pitch);
    images = c->positions * c->image_step;
    c->shared_bytes = c->shared ? images * (int64_t)sizeof(float) : 0;
    c->worker_bytes = (zeros + c->positions * c->product_step + (c->shared ? 0 : images)) *
                      (int64_t)sizeof(float);
    c->gathers = 0;
    c->pieces = pieces_of(c->tiles, c->tile_block);
    if (c->shared) {
        int64_t wanted = (int64_t)workers * PIECES_PER_WORKER;

        c->gathers = wanted < c->tiles ? wanted : c->tiles;
        c->pieces *= pieces_of(c->problem.filters, c->filter_block);
    }
}

/* Where a block's weights come from. */
typedef enum weights_source { FROM_MEMORY, FROM_CACHE } weights_source;

/* Cycles of the products of one block of tiles by `panels` panels of filters, `readers` workers
 * reading weights of their own. A worker that has less to multiply than to read waits for memory,
 * and one that has more still waits for half of it. */
static double product_cycles(const conv_winograd *c, int64_t panels, weights_source source,
                             int readers)
{
    double channels = (double)c->problem.shape.channels;
    int64_t calls = pieces_of(c->tile_block, c->kernel->mr);
    double rows = (double)c->tile_block / (double)calls;
    double step = fmax(LEAST_CYCLES_PER_STEP, rows * c->kernel->nr / FLOATS_PER_CYCLE);
    double bytes = (double)c->kernel->nr * (double)sizeof(float);
    double far = bytes * readers / FAR_BYTES_PER_CYCLE;
    double first = source == FROM_MEMORY ? fmax(far, step + far / 2)
                                         : fmax(bytes / NEAR_BYTES_PER_CYCLE, step);

    return (double)(c->positions * panels) *
           (channels * (first + (double)(calls - 1) * step) + (double)(calls * CYCLES_PER_CALL));
}

/* Cycles of all work for the block sizes in `c`. */
static double cost_of(const conv_winograd *c, int workers)
{
    int64_t blocks = pieces_of(c->tiles, c->tile_block);
    int64_t filters = c->shared ? c->filter_block : c->problem.filters; /* of a piece */
    double window = (double)pieces_of(c->problem.shape.channels, WINOGRAD_LANES) *
                    (c->size == 2 ? WINDOW2 : WINDOW4);
    double result = (double)pieces_of(filters, WINOGRAD_LANES) * (c->size == 2 ? RESULT2 : RESULT4);
    int64_t panels = pieces_of(filters, c->kernel->nr);
    int readers = c->shared ? 1 : workers;
    double first = product_cycles(
        c, panels, c->packed_bytes < NEAR_ALWAYS ? FROM_CACHE : FROM_MEMORY, readers);
    double again =
        product_cycles(c, panels, c->packed_bytes < NEAR_AGAIN ? FROM_CACHE : FROM_MEMORY, readers);
    double block_bytes = (double)sizeof(float) * c->positions *
                         (double)(c->tile_block * (c->image_pitch + c->product_pitch));
    double result_bytes =
        (double)sizeof(float) * (double)c->tiles * c->size * c->size * (double)c->problem.filters;
    double piece = (first + (double)(blocks - 1) * again) / (double)blocks +
                   (double)c->tile_block * (result + (c->shared ? 0 : window));
    double total = (double)pieces_of(c->pieces, workers) * piece;

    if (c->shared) {
        double bytes = (double)sizeof(float) * c->positions * (double)(c->tiles * c->image_pitch);

        total += (double)c->tiles * window / workers + CYCLES_PER_JOIN;
        total += bytes > (double)USABLE_CACHE ? 2 * bytes / NEAR_BYTES_PER_CYCLE / workers : 0;
    }
    if (result_bytes > (double)USABLE_CACHE) {
        total += result_bytes / STORE_BYTES_PER_CYCLE / workers;
    }
    if (block_bytes > (double)USABLE_CACHE) {
        total += 4 * block_bytes * (double)blocks / NEAR_BYTES_PER_CYCLE / workers;
    }
    return total;
}

/* Tries `blocks` blocks of about equally many tiles. */
static void consider(conv_winograd *trial, int64_t blocks, int workers, conv_winograd *best)
{
    trial->tile_block = pieces_of(trial->tiles, blocks);
    set_sizes(trial, workers);
    trial->team_cost = cost_of(trial, workers);
    if (best->pieces == 0 || trial->team_cost < best->team_cost) {
        *best = *trial;
    }
}

/* The best blocks for that many workers; ties go to the smaller ones. */
static void choose_blocks(conv_winograd *c, int workers)
{
    enum { MOST_CALLS = 16 }; /* of the kernel per block, panel and position */
    conv_winograd best = *c;
    conv_winograd trial = *c;
    int64_t calls = pieces_of(c->tiles, c->kernel->mr);

    best.pieces = 0;
    for (int shared = 0; shared <= (workers > 1); shared++) {
        int64_t multiple = shared ? 1 : workers;

        trial.shared = shared != 0;
        for (int64_t i = 1; i <= calls && i <= MOST_CALLS; i++) {
            int64_t blocks = pieces_of(pieces_of(calls, i), multiple) * multiple;

            consider(&trial, blocks < c->tiles ? blocks : c->tiles, workers, &best);
        }
    }
    *c = best;
}

void conv_winograd_plan(const conv_winograd_problem *problem, const brgemm_kernel *kernel,
                        const conv_winograd_transforms *transforms, int size, int workers,
                        conv_winograd *c)
{
    const conv_f32_shape *s = &problem->shape;
    int64_t nr = kernel->nr;
    int64_t panels = pieces_of(problem->filters, nr);
    double cost;

    *c = (conv_winograd){.problem = *problem,
                         .kernel = kernel,
                         .transforms = transforms,
                         .size = size,
                         .positions = (size + 2) * (size + 2),
                         .tiles_h = pieces_of(s->out_h, size),
                         .tiles_w = pieces_of(s->out_w, size)};
    c->tiles = problem->batch * c->tiles_h * c->tiles_w;
    c->packed_bytes = brgemm_packed_size(kernel, c->positions, s->channels, problem->filters);
    c->filter_block = panels > 1 && c->packed_bytes < SMALL_WEIGHTS ? 2 * nr : nr;
    choose_blocks(c, 1);
    cost = c->team_cost;
    if (workers > 1) {
        choose_blocks(c, workers);
    }
    c->predicted_cost = cost;
}
