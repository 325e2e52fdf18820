/* How long operators of a convolutional network take on a described machine that has many equal
 * engines under one shared memory: dense, and where a mask leaves out squares of pixels.
 *
 * The analytic predictor of LASNet and LAUDNet (arXiv 2210.06223, 2308.15949). Each operator is cut
 * into tiles that engines take in turn; all tile sizes are tried, and the fastest counts. Its time
 * is that of the multiply-adds of the engine with the most tiles, that of the traffic to the shared
 * memory and to the cache before it (added, or the longer of the two), and that of the launch.
 * Numbers are of 4 bytes.
 *
 * In squares of S x S pixels, of which a share `density` is computed, a kernel cannot be cut anew
 * per image: tiles are chosen for the mean number of squares, then used for the given one. */
#ifndef TUNE_LATENCY_H
#define TUNE_LATENCY_H

#include <stdbool.h>

#include "tune/target.h"

/* Tilings that were found before, so that the same operator at another density needs no search.
 * Empty when zeroed; for one device, and one thread at a time. */
typedef struct latency_memo latency_memo;

/* A machine; units, multiply-adds and numbers as double, for they are only multiplied. */
typedef struct latency_device {
    double units;    /* engines */
    double macs;     /* multiply-adds of one engine per cycle */
    double pipeline; /* cycles of them that must be in flight */
    double clock;    /* Hz */
    double dram;     /* numbers per second */
    double cache;    /* numbers per second, of the shared cache */
    double sector;   /* numbers that the cache moves at once */
    double launch;   /* seconds before each operator */
    int64_t batch;   /* images at a time */
    bool overlaps;   /* computing and traffic: the longer of the two counts, not the sum */
    /* Err as the published program does: in the border of a tile with a stride, tiles of fully
     * connected layers, shortcuts that keep the size, and averages in the masker. */
    bool as_published;
    latency_memo *memo; /* NULL: every search is made */
} latency_device;

/* Takes the keys of targets/README.md. Fails as target_quantity. */
SPRY_MUST_USE spry_status latency_device_read(latency_device *d, target *t, spry_error *error);

enum { LATENCY_TILE = 4 };

/* Of the whole batch, in seconds. */
typedef struct latency {
    double compute;
    double traffic;
    double launch;
    double total;
    int tile
        [LATENCY_TILE]; /* channels, height, width, squares side by side; 0 where there is none */
} latency;

typedef struct latency_conv {
    int64_t inputs, outputs; /* channels */
    int64_t height, width;   /* of the output */
    int64_t kernel_height, kernel_width;
    int64_t stride;
    int64_t groups;
} latency_conv;

/* Which squares are computed. */
typedef struct latency_squares {
    int64_t side;   /* pixels; larger than the map: one square */
    double density; /* share of squares, 0 to 1 */
} latency_squares;

enum { LATENCY_MEMO = 512 };

struct latency_memo {
    int count; /* full: later ones are not kept */
    struct {
        latency_conv conv;
        int64_t height, width; /* of a square; 0: dense */
        int way;
        int tile[LATENCY_TILE];
    } entries[LATENCY_MEMO];
};

bool latency_conv_equal(const latency_conv *a, const latency_conv *b);

/* ---- helpers, as the paper's program has them ---- */

enum { LATENCY_CANDIDATES = 32 };
/* Sizes that a dimension of `n` is cut into, ascending; returns how many. */
int latency_candidates(int64_t n, int64_t *sizes);
/* x / (x rounded up to whole q) */
double latency_fill(double x, double q);
/* Useful share of what memory moves when runs of `run` numbers lie `gap` apart and it moves
 * `sector` at once. */
double latency_run_share(double run, double gap, double sector);
/* Squares that are computed of a map. */
double latency_square_count(int64_t height, int64_t width, latency_squares q);

/* ---- operators ---- */

latency latency_conv_dense(const latency_device *d, const latency_conv *c);
/* Computes squares of the output. `gathered`: the input holds just what these need; else the kernel
 * reads the whole map by index. */
latency latency_conv_squares(const latency_device *d, const latency_conv *c, latency_squares q,
                             bool gathered);
/* Copies squares with `border` pixels around them out of a map of that many channels, and back. */
latency latency_gather(const latency_device *d, int64_t channels, int64_t height, int64_t width,
                       latency_squares q, int64_t border);
latency latency_scatter(const latency_device *d, int64_t channels, int64_t height, int64_t width,
                        latency_squares q);
/* Adds squares to a map: the other pixels are copied. */
latency latency_scatter_add(const latency_device *d, int64_t channels, int64_t height,
                            int64_t width, latency_squares q);
/* One operation per element of `operands` maps. */
latency latency_elementwise(const latency_device *d, int64_t channels, int64_t height,
                            int64_t width, int operands);
/* Averages a map to one of to_height x to_width. */
latency latency_pool(const latency_device *d, int64_t channels, int64_t height, int64_t width,
                     int64_t to_height, int64_t to_width);
latency latency_linear(const latency_device *d, int64_t inputs, int64_t outputs);
/* Squeeze and excitation: average, two fully connected layers, and the product. */
latency latency_squeeze(const latency_device *d, int64_t channels, int64_t squeezed, int64_t height,
                        int64_t width);

/* ---- skipping of channels ---- */

/* Mean of the largest share of kept channels among tiles of `tile` of `channels` channels, of which
 * each is kept with probability `density`, but at least `density`: the engine with the most sets
 * the time. Drawn, with the same result everywhere. */
double latency_channel_load(int64_t channels, int64_t tile, double density);

/* One after the other: sums. */
latency latency_after(latency a, latency b);
/* Times `share`, but for the launch. */
latency latency_scaled(latency a, double share);

#endif
