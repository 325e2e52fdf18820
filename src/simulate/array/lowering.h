/* How a convolution becomes passes of a systolic array whose weights stay, and what it moves: in
 * closed form, and against a memory that is simulated command by command.
 *
 * Channel first, as in "Characterizing and Demystifying the Implicit Convolution Algorithm on
 * Commercial Matrix-Multiplication Accelerators" (arXiv 2110.03901): one pass per tap, per as many
 * channels as the array has rows, per as many filters as it has columns; each row of the array
 * reads one channel, whatever the stride. Where channels fill few rows, several taps share a pass
 * (multi-tile), which costs as many copies of the feature map on chip.
 *
 * Channel last builds patches from input rows that are read whole, so that with a stride most of
 * what is read goes unused; explicit writes the patches to memory and reads them again. */
#ifndef SIMULATE_ARRAY_LOWERING_H
#define SIMULATE_ARRAY_LOWERING_H

#include "simulate/array/systolic.h"
#include "simulate/dram/dram.h"
#include "simulate/layers.h"

typedef enum lowering_way {
    LOWERING_CHANNEL_FIRST,
    LOWERING_CHANNEL_LAST,
    LOWERING_EXPLICIT,
    LOWERING_WAYS
} lowering_way;

/* Taps that may share a pass. */
typedef enum lowering_multi {
    LOWERING_MULTI_OFF,
    LOWERING_MULTI_ROW,  /* of one kernel row */
    LOWERING_MULTI_FULL, /* any */
    LOWERING_MULTIS
} lowering_multi;

extern const char *const lowering_way_names[];   /* "channel-first", ..., NULL */
extern const char *const lowering_multi_names[]; /* "off", "row", "full", NULL */

typedef struct lowering_machine {
    systolic_shape shape;
    int64_t arrays;        /* that share the filters of a layer */
    uint64_t period;       /* of the clock, fs */
    int64_t element_bytes; /* of operands and results in memory */
    int64_t scratch_bytes; /* on chip; half of it is being filled while the other half is used */
    double bandwidth;      /* of one stream from the memory, bytes a second */
    bool has_dram;         /* `dram` is known */
    dram_options dram;
} lowering_machine;

/* What a layer comes to. Cycles are the array's. */
typedef struct lowering_cost {
    int64_t taps_together; /* that share a pass */
    int64_t passes;        /* all arrays and groups together */
    int64_t rounds;        /* of passes, of the array that has most */
    uint64_t streamed;     /* rounds x pixels */
    uint64_t compute;      /* with filling, draining and weights that are late */
    uint64_t late_weights; /* cycles of them */
    uint64_t fetch;        /* cycles that patches wait for the scratch pad (channel last) */
    uint64_t memory;       /* cycles that the memory is busy for the layer */
    uint64_t cycles;       /* in all */
    double utilisation;    /* multiply-adds over what all elements could do in `cycles` */
    int64_t read_bytes, written_bytes; /* of the memory */
    int64_t loaded;                    /* elements that the scratch pad delivers */
    double macs_per_loaded;
    double macs;
    uint64_t commands[DRAM_COMMANDS]; /* of the simulated memory */
} lowering_cost;

/* In closed form. */
void lowering_estimate(const lowering_machine *m, const simulate_layer *l, lowering_way way,
                       lowering_multi multi, lowering_cost *cost);

/* The same with loads and stores that go through the simulated memory, while the array computes
 * what has arrived. Fails with SPRY_LIMIT (memory). */
SPRY_MUST_USE spry_status lowering_simulate(const spry_allocator *allocator,
                                            const lowering_machine *m, const simulate_layer *l,
                                            lowering_way way, lowering_multi multi,
                                            lowering_cost *cost, spry_error *error);

/* The parts into which a layer is cut so that loading, computing and storing overlap: the larger
 * operand comes in parts, the smaller one whole with the first of them. */
typedef struct lowering_parts {
    int64_t count;
    int64_t first_load; /* bytes before anything can be computed */
    int64_t later_load; /* with each other part */
    int64_t store;      /* after each part */
} lowering_parts;

lowering_parts lowering_cut(const lowering_machine *m, const simulate_layer *l,
                            const lowering_cost *cost);

#endif
