/* What masked networks learn towards, besides being right: the work, or the milliseconds of a
 * machine, that are asked for.
 *
 *     term = weight ((work - target)^2 + mean over blocks of max(0, f - up)^2 + max(0, lo - f)^2)
 *
 * f is a block's work (or time) over that of the block without a mask, `work` that of the whole
 * network, over the images of a batch. A convolution in front of another is needed wherever that
 * reads, which is more than the mask: by how much counts, without a gradient. At first every block
 * is held to the target; over the first third of training the bounds open, until the whole alone
 * counts (LASNet, arXiv 2210.06223). */
#ifndef ADAPT_SPATIAL_OBJECTIVE_H
#define ADAPT_SPATIAL_OBJECTIVE_H

#include "spry/adapt.h"

/* Bounds of a block's work when that share of training is done: with c = cos^2(pi/2 min(done /
 * opening, 1)), up = 1 - c (1 - wanted), lo = c wanted. `opening` 0: open from the start. */
void spatial_bounds(double wanted, double done, double opening, double *up, double *lo);

/* The target of the whole network at that share of all steps: on a line from 1 at the start to
 * `wanted` at the share `descent`. */
double spatial_aim(double wanted, double done, double descent);

#endif
