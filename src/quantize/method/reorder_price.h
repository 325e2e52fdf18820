/* What orders of channels cost (reorder.h), block by block, so that a changed order is priced again
 * only where it changed. */
#ifndef QUANTIZE_REORDER_PRICE_H
#define QUANTIZE_REORDER_PRICE_H

#include <stdbool.h>

#include "base/arena.h"
#include "quantize/method/reorder.h"

/* One of the two orders. */
typedef enum axis { OUTPUTS, INPUTS } axis;

/* What is ordered, and how it is cut; arrays are indexed by axis. */
typedef struct reorder_layout {
    const reorder_weights *w;
    reorder_objective objective;
    int64_t channels[2], block[2], blocks[2];
    float *largest[2]; /* [OUTPUTS]: [outputs][inputs], over taps; [INPUTS]: the same, transposed */
} reorder_layout;

typedef struct candidate {
    int32_t *order[2]; /* [channels]: by axis */
    double *prices;    /* [row blocks][column blocks] */
    double total;
} candidate;

/* Largest numbers over the blocks of one order, per channel of the other. */
typedef struct maxima {
    float *by[2]; /* by[INPUTS]: [column blocks][outputs]; by[OUTPUTS]: [row blocks][inputs] */
} maxima;

/* Fill a layout, and make room for a candidate and for maxima. Memory is `room`'s; false: there is
 * none. */
bool layout_make(const reorder_weights *w, reorder_objective objective, arena *room,
                 reorder_layout *l);
bool candidate_make(const reorder_layout *l, arena *room, candidate *c);
bool maxima_make(const reorder_layout *l, arena *room, maxima *m);

/* The maxima over the blocks of `a`. */
void maxima_find(const reorder_layout *l, const candidate *c, maxima *m, axis a);

/* Price of block `block` of `a` with block `other` of the other axis, from the maxima over the
 * blocks of that. */
double price_block(const reorder_layout *l, const candidate *c, const maxima *m, axis a,
                   int64_t block, int64_t other);
/* Where the candidate keeps it. */
double *price_at(const reorder_layout *l, const candidate *c, axis a, int64_t block, int64_t other);
/* Prices again what lies in one block of `a`; in all. */
void price_line(const reorder_layout *l, candidate *c, const maxima *m, axis a, int64_t block);
void price_all(const reorder_layout *l, candidate *c, const maxima *m, axis a);

#endif
