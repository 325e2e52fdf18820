/* An accelerator of many cores with scratch pads under one memory, on which several layers can be
 * launched as one: what a block of layers costs with so many cores (DLFusion, arXiv 2011.05630).
 *
 * The cores of a block share the rows of its last layer, and each computes what its rows need of
 * the layers before: rows at the seams are computed twice, more of them the deeper the block and
 * the more cores. A layer by itself may be shared by its filters instead. A launch costs the core
 * `critical` / 9 operations to fill, so that with `critical` operations a core reaches nine tenths
 * of its peak, and beside them a constant, and per layer a rendezvous of its cores. Computing and
 * moving overlap. Weights, the input and the output of a block are moved once; images in between
 * only where a core's rows of a layer's input and result do not fit its scratch pad together. */
#ifndef SIMULATE_MLU_MLU_H
#define SIMULATE_MLU_MLU_H

#include "tune/fusion/partition.h"
#include "tune/fusion/scaling.h"
#include "tune/target.h"

typedef enum mlu_split { MLU_SPLIT_ROWS, MLU_SPLIT_CHANNELS, MLU_SPLIT_BEST } mlu_split;

typedef struct mlu_machine {
    int32_t cores;
    double core_peak;      /* operations per second */
    double efficiency;     /* share of it that large layers reach */
    double bandwidth;      /* bytes per second, shared by all cores */
    double on_chip;        /* bytes of a core's scratch pad */
    double launch;         /* seconds of a block */
    double synchronize;    /* seconds of a layer, times log2(cores) */
    double critical;       /* operations of one core */
    int64_t element_bytes; /* of images and weights */
    mlu_split split;       /* of a layer by itself; blocks share rows */
    int64_t grain;         /* filters that a core computes together */
    int32_t teams[FUSION_TEAMS_MOST];
    int32_t team_count;
    int32_t fixed_team, fixed_length; /* of the strategies with fixed numbers */
} mlu_machine;

/* Reads compute.units, memory.dram.bandwidth and the section fusion (targets/README.md). Fails as
 * target_quantity. */
SPRY_MUST_USE spry_status mlu_machine_read(target *t, mlu_machine *m, spry_error *error);
/* Is the key among those that the description says are assumed? */
bool mlu_is_assumed(target *t, const char *key);

/* What a block's cost is made of, in seconds. */
typedef struct mlu_cost {
    double compute, traffic, launch, synchronize;
    double total;
    double moved;      /* bytes */
    double operations; /* computed, those at seams as often as they are */
} mlu_cost;

/* Room for rows: an entry per layer of the network. */
typedef struct mlu_context {
    const mlu_machine *machine;
    fusion_network network;
    fusion_rows *rows;
} mlu_context;

void mlu_block_cost(const mlu_context *c, int32_t first, int32_t last, int32_t cores,
                    mlu_cost *cost);
/* For partition_problem, with an mlu_context. */
double mlu_block_seconds(const void *context, int32_t first, int32_t last, int32_t cores);
bool mlu_block_fits(const void *context, int32_t first, int32_t last, int32_t cores);

/* Learns how many cores suit a layer from the synthetic layers, on this machine. */
SPRY_MUST_USE spry_status mlu_fit(const mlu_machine *m, scaling *s, spry_error *error);

#endif
