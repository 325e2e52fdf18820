/* Chooses how Winograd convolution is blocked, by a model of what each block costs. */
#include <math.h>

#include "kernels/conv/conv_winograd.h"

/* The model's machine, in bytes and cycles. */
enum {
    USABLE_CACHE = 3 * 256 * 1024, /* of a second-level cache of 1 MB */
    FAR_BYTES_PER_CYCLE = 10,      /* from beyond it */
    FLOATS_PER_CYCLE = 16,         /* multiplied and added */
    CYCLES_PER_CALL = 80,          /* of the kernel, for its stores and set-up */
    LEAST_CYCLES_PER_STEP = 4,     /* a kernel step reads two vectors of weights */
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
    int64_t blocks = pieces_of(c->tiles, c->tile_block);
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
    c->pieces = blocks;
    if (c->shared) {
        int64_t wanted = (int64_t)workers * PIECES_PER_WORKER;

        c->gathers = wanted < c->tiles ? wanted : c->tiles;
        c->pieces = blocks * pieces_of(c->problem.filters, c->filter_block);
    }
}

/* Cycles of all products, as far as the kernel's arithmetic goes. */
static double product_cycles(const conv_winograd *c, int64_t tiles)
{
    int64_t mr = c->kernel->mr;
    int64_t vectors = pieces_of(c->kernel->nr, FLOATS_PER_CYCLE);
    int64_t calls = pieces_of(tiles, mr);
    double step = fmax((double)LEAST_CYCLES_PER_STEP * (double)calls, (double)(tiles * vectors));

    return (double)(c->positions * conv_winograd_panels(c)) *
           ((double)c->problem.shape.channels * step + (double)(calls * CYCLES_PER_CALL));
}

/* Cycles of all work for the block sizes in `c`. */
static double cost_of(const conv_winograd *c)
{
    const conv_f32_shape *s = &c->problem.shape;
    int64_t filters = c->problem.filters;
    int64_t filter_blocks = pieces_of(filters, c->filter_block);
    int64_t blocks = pieces_of(c->tiles, c->tile_block);
    int64_t last = c->tiles - (blocks - 1) * c->tile_block;
    double tile_bytes = 4.0 * c->positions;
    double images = tile_bytes * (double)(c->image_pitch * (c->shared ? c->tiles : c->tile_block));
    double products = tile_bytes * (double)(c->product_pitch * c->tile_block);
    double all_images = tile_bytes * (double)(c->image_pitch * c->tiles);
    double all_products = tile_bytes * (double)(c->tiles * filters);
    double window = c->size == 2 ? 50 : 150;
    double result = c->size == 2 ? 45 : 130;
    double far = (double)c->packed_bytes * (double)blocks +
                 4.0 * (double)c->problem.batch *
                     (double)(s->in_h * s->in_w * s->channels + s->out_h * s->out_w * filters);

    if (images + products > (double)USABLE_CACHE) {
        far += all_images * (double)(1 + filter_blocks);
        far += products > (double)USABLE_CACHE / 2 ? 2 * all_products : 0;
    }
    return (double)(blocks - 1) * product_cycles(c, c->tile_block) + product_cycles(c, last) +
           (double)c->tiles * (window * (double)pieces_of(s->channels, WINOGRAD_LANES) +
                               result * (double)pieces_of(filters, WINOGRAD_LANES)) +
           far / (double)FAR_BYTES_PER_CYCLE;
}

/* True when the team would stand idle: fewer pieces than it has members, though there could be
 * more. */
static bool starves(const conv_winograd *c, int workers)
{
    return workers > 1 && c->pieces < workers;
}

/* Tries one pair of block sizes. */
static void consider(conv_winograd *trial, int workers, conv_winograd *best)
{
    bool better;

    set_sizes(trial, workers);
    trial->predicted_cost = cost_of(trial);
    better = best->pieces == 0 || starves(trial, workers) < starves(best, workers) ||
             (starves(trial, workers) == starves(best, workers) &&
              trial->predicted_cost < best->predicted_cost);
    if (better) {
        *best = *trial;
    }
}

/* The best blocks for that many workers. */
static conv_winograd choose_blocks(const conv_winograd *c, int workers)
{
    conv_winograd best = *c;
    conv_winograd trial = *c;
    int64_t mr = c->kernel->mr;
    int64_t nr = c->kernel->nr;
    int64_t all = pieces_of(c->problem.filters, nr) * nr;

    best.pieces = 0;
    for (int shared = 0; shared < 2; shared++) {
        trial.shared = shared != 0;
        for (int64_t tiles = mr; tiles < c->tiles + mr; tiles += mr) {
            trial.tile_block = tiles < c->tiles ? tiles : c->tiles;
            for (int64_t filters = nr; filters < 2 * all; filters *= 2) {
                trial.filter_block = filters < all ? filters : all;
                consider(&trial, workers, &best);
            }
        }
    }
    return best;
}

void conv_winograd_plan(const conv_winograd_problem *problem, const brgemm_kernel *kernel,
                        const conv_winograd_transforms *transforms, int size, int workers,
                        conv_winograd *c)
{
    const conv_f32_shape *s = &problem->shape;
    int64_t nr = kernel->nr;
    conv_winograd plan = {.problem = *problem,
                          .kernel = kernel,
                          .transforms = transforms,
                          .size = size,
                          .positions = (size + 2) * (size + 2),
                          .tiles_h = pieces_of(s->out_h, size),
                          .tiles_w = pieces_of(s->out_w, size)};

    plan.tiles = problem->batch * plan.tiles_h * plan.tiles_w;
    plan.packed_bytes = brgemm_packed_size(kernel, plan.positions, s->channels, problem->filters);
    plan.packing_bytes = plan.positions * s->channels *
                         (pieces_of(nr, WINOGRAD_LANES) * WINOGRAD_LANES) * (int64_t)sizeof(float);
    *c = choose_blocks(&plan, 1);
    if (workers > 1) {
        double cost = c->predicted_cost;

        *c = choose_blocks(&plan, workers);
        c->predicted_cost = cost;
    }
}
