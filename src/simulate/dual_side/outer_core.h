/* A pair of tensor cores that multiply packed columns with packed rows: 8 x 16 products a cycle,
 * merged into a buffer of 32 x 32 sums at the places that the bitmaps say.
 *
 * For one step of the depth with a and b values on its sides, ceil(a / 8) ceil(b / 16) of 8
 * instructions are issued; the others are predicated off. Results of an instruction lie scattered
 * in the buffer: those that share a bank take turns. */
#ifndef SIMULATE_DUAL_SIDE_OUTER_CORE_H
#define SIMULATE_DUAL_SIDE_OUTER_CORE_H

#include "simulate/dual_side/tile_code.h"

enum { OUTER_ROWS = 8, OUTER_COLUMNS = 16, OUTER_FULL = 8, OUTER_ISSUE = 4, OUTER_PROLOGUE = 16 };

/* How sums lie in the banks: element (r, c) in bank (c + s r) mod banks, s = max(8, banks / 8), or
 * (c xor 5 r) mod banks. */
typedef enum outer_banking { OUTER_LINEAR, OUTER_XOR, OUTER_BANKINGS } outer_banking;
extern const char *const outer_banking_names[]; /* "linear", "xor", NULL */

typedef struct outer_core {
    int banks;  /* of the buffer: 32, 64 or 128; 0: results never wait */
    int window; /* instructions whose results the collector may mix, 1 to 8 */
    outer_banking banking;
    bool hides_issue; /* counting and predicates go on beside the products */
    bool is_double_buffered;
} outer_core;

/* Counts of what was done, and cycles. */
typedef struct outer_cost {
    uint64_t steps;    /* of the depth in tiles that are not empty */
    uint64_t issued;   /* value instructions (8 x 16 x 1) */
    uint64_t skipped;  /* of 8 per step of the depth of all tiles */
    uint64_t products; /* of values */
    uint64_t merge;    /* cycles that the buffer was busy */
    uint64_t issue;    /* cycles of counting that products did not cover */
    uint64_t cycles;
} outer_cost;

/* Adds the product of tile `i` of `a` with tile `j` of `b` to sums[32][32], unless NULL, and what
 * it takes to `cost`. The codes have one depth. */
void outer_core_run(const outer_core *core, const tile_code *a, const tile_code *b, int64_t i,
                    int64_t j, float *sums, outer_cost *cost);

/* Instructions alone, of all tiles. */
uint64_t outer_core_count(const tile_code *a, const tile_code *b);

#endif
