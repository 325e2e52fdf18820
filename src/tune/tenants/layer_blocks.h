/* Blocks of layers that are scheduled as one, when several models share the cores (VELTAIR, arXiv
 * 2201.06212).
 *
 * Each layer gets a part of the model's latency target by its work; a run of layers needs the
 * fewest cores with which its times add up to no more than its parts. Cores are taken from the
 * scheduler block by block: a whole model as one block holds the cores that it needs on average,
 * single layers ask for what each needs, and collide with others when that is much. Between both, a
 * block ends as soon as it needs no more than a threshold, so that a hungry layer is averaged with
 * its neighbours. The threshold falls from all cores to the model's average as load grows. */
#ifndef TUNE_TENANTS_LAYER_BLOCKS_H
#define TUNE_TENANTS_LAYER_BLOCKS_H

#include <stdint.h>

#include "spry/status.h"

enum { LAYER_BLOCKS_MOST_CORES = 64, LAYER_BLOCKS_MOST_LAYERS = 100000 };

/* A model's times, measured alone. */
typedef struct layer_profile {
    int32_t layers;
    int32_t choices;      /* numbers of cores that were measured */
    const int32_t *cores; /* [choices], ascending; the last is all there are */
    const double *ms;     /* [layers][choices] */
    const double *work;   /* [layers]: operations, or any measure of a layer's part; above 0 */
    double target_ms;     /* latency that is promised */
    double safety;        /* part of it that is planned with: 0 to 1 */
} layer_profile;

/* Layers first to first + count - 1, on so many cores. */
typedef struct layer_block {
    int32_t first, count;
    int32_t cores;
} layer_block;

/* Fails with SPRY_USAGE (sizes, times or work out of range, cores that do not ascend). */
SPRY_MUST_USE spry_status layer_profile_check(const layer_profile *p, spry_error *error);

/* Fewest cores with which the layers keep their parts of the target; all cores where none do. */
int32_t layer_blocks_need(const layer_profile *p, int32_t first, int32_t count);
/* Time of the layers on so many cores, of which there must be a measurement. */
double layer_blocks_ms(const layer_profile *p, int32_t first, int32_t count, int32_t cores);
/* What the model needs as one block. */
int32_t layer_blocks_average(const layer_profile *p);

/* Cores up to which a block may ask, where `busy` cores are needed on average by all models that
 * run now, this one included. */
double layer_blocks_threshold(const layer_profile *p, double busy);

/* Cuts the model into blocks that take `least_ms` at least, into `blocks`, which has room for one
 * per layer; returns how many. */
int32_t layer_blocks_form(const layer_profile *p, double threshold, double least_ms,
                          layer_block *blocks);

/* Core-milliseconds that the blocks hold. */
double layer_blocks_core_ms(const layer_profile *p, const layer_block *blocks, int32_t count);

#endif
