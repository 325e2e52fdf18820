/* A GPU whose tensor cores skip zeros on both sides: many pairs of cores (outer_core.h), tiles of
 * 32 x 32 results dealt to them in turn, and a memory behind a cache. */
#ifndef SIMULATE_DUAL_SIDE_DEVICE_H
#define SIMULATE_DUAL_SIDE_DEVICE_H

#include "base/threads.h"
#include "simulate/dual_side/outer_core.h"
#include "tune/target.h"

typedef struct dual_side_machine {
    outer_core core;
    int64_t units;       /* streaming multiprocessors */
    int64_t pairs;       /* of cores in each */
    double clock;        /* Hz */
    double bandwidth;    /* of the memory, bytes a second */
    int64_t cache_bytes; /* the last level's */
    int64_t launch;      /* cycles before the first tile */
    /* Of what it is compared with. */
    double dense_share;  /* of the peak that a dense product reaches */
    double vector_wise;  /* times as fast as dense, with a quarter of the weights */
    double scalar_lanes; /* multiply-adds a cycle and unit outside the tensor cores */
    double scalar_share; /* of those that a product with compressed rows reaches */
    bool has_prices;
    const char *source;   /* of prices; the target's */
    double mac_energy;    /* joules a product with its sum */
    double merge_energy;  /* joules a bit of the buffer */
    double memory_energy; /* joules a bit */
} dual_side_machine;

/* Sections tensor_core and energy of a target, and its units, clock and bandwidth. Fails with
 * SPRY_BAD_INPUT (a key is missing, mistyped or out of range). */
SPRY_MUST_USE spry_status dual_side_machine_read(target *t, dual_side_machine *m,
                                                 spry_error *error);

/* One product, or all groups of a layer together. Cycles are the device's clock's. */
typedef struct dual_side_cost {
    outer_cost work;
    int64_t tiles;
    uint64_t busiest; /* cycles of the pair of cores that has most */
    double mean;      /* of all pairs */
    uint64_t memory;  /* cycles that the memory is busy */
    uint64_t cycles;  /* in all */
    int64_t read_bytes, written_bytes;
    double macs;                        /* as if dense */
    double left_density, right_density; /* of the operands' elements */
    bool is_swapped;                    /* the right operand is on the side of eight */
    /* The same product elsewhere, cycles. */
    uint64_t dense;       /* tensor cores that skip nothing */
    uint64_t vector_wise; /* that skip three quarters of the weights, where so many are zero */
    uint64_t two_of_four; /* that skip half of them, where half are zero */
    uint64_t compressed;  /* rows of weights without zeros, no tensor cores */
} dual_side_cost;

/* What the pairs of cores have been dealt so far. */
typedef struct dual_side_load {
    arena memory;
    uint64_t *cycles; /* [units x pairs] */
    int64_t next;     /* pair that the next tile goes to */
} dual_side_load;

/* Products that follow share the device (the groups of a layer), until dual_side_end adds the
 * memory's time and releases the load; end it also after a failure. Fails with SPRY_LIMIT. */
SPRY_MUST_USE spry_status dual_side_begin(const dual_side_machine *m, dual_side_load *load,
                                          dual_side_cost *cost, spry_error *error);

/* The product of all lanes of `left` (rows) with those of `right` (columns: the weights).
 * `result`[lanes of left][lanes of right] is set; NULL: instructions are counted, and nothing is
 * multiplied or merged. Fails with SPRY_USAGE (depths differ), SPRY_LIMIT (memory). */
SPRY_MUST_USE spry_status dual_side_product(const dual_side_machine *m, dual_side_load *load,
                                            const tile_code *left, const tile_code *right,
                                            bool is_swapped, float *result, threads *team,
                                            dual_side_cost *cost, spry_error *error);
void dual_side_end(const dual_side_machine *m, dual_side_load *load, dual_side_cost *cost);

/* Should the right operand be on the side of eight? The side with more to skip at that grain. */
bool dual_side_should_swap(const tile_code *left, const tile_code *right);

/* Bits of sums that products read and write. */
double dual_side_merged_bits(const dual_side_cost *cost);

#endif
