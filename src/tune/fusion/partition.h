/* Cutting a network into blocks and giving each a number of threads (or cores): the strategies that
 * DLFusion (arXiv 2011.05630) compares, its one pass over the layers, and the best there is. */
#ifndef TUNE_FUSION_PARTITION_H
#define TUNE_FUSION_PARTITION_H

#include "base/arena.h"
#include "spry/status.h"
#include "tune/fusion/fusion.h"

typedef struct partition_block {
    int32_t first, last;
    int32_t team; /* threads or cores */
    double seconds;
} partition_block;

typedef struct partition {
    partition_block *blocks;
    int32_t count;
    double seconds;
} partition;

/* What is cut, and what it costs. */
typedef struct partition_problem {
    fusion_network network;
    int32_t teams[FUSION_TEAMS_MOST]; /* that a block may have: ascending, the first is 1 */
    int32_t team_count;
    int32_t longest; /* layers of a block, at most; of all strategies but "everything fused" */
    int32_t most;    /* the same of that one; 0: any number */
    /* Seconds that a block takes: a finite number for every run of fusion_is_block. */
    double (*cost)(const void *context, int32_t first, int32_t last, int32_t team);
    /* Does the block fit where its images in between are to stay? NULL: always. */
    bool (*fits)(const void *context, int32_t first, int32_t last, int32_t team);
    const void *context;
    /* For the pass over the layers: the team that is best for each alone, and the operations per
     * member at which one reaches nine tenths of its speed. */
    const int32_t *wanted;
    double critical;
    /* Of strategies with fixed numbers. */
    int32_t fixed_team;
    int32_t fixed_length;
} partition_problem;

typedef enum partition_strategy {
    PARTITION_S1, /* no fusion, a team of one */
    PARTITION_S2, /* no fusion, the fixed team */
    PARTITION_S3, /* no fusion, the wanted team of each layer */
    PARTITION_S4, /* everything fused that can be, the largest team */
    PARTITION_S5, /* blocks of the fixed length, the fixed team */
    PARTITION_S6, /* DLFusion's pass */
    PARTITION_S7, /* the best partition within `longest` */
    PARTITION_STRATEGIES
} partition_strategy;

/* "s1" ... "s7", and what they are in a few words. */
extern const char *const partition_strategy_names[PARTITION_STRATEGIES + 1];
extern const char *const partition_strategy_texts[PARTITION_STRATEGIES];

/* All write blocks from `memory`; a network without layers has none. Fail with SPRY_LIMIT. */
SPRY_MUST_USE spry_status partition_by(const partition_problem *p, partition_strategy strategy,
                                       arena *memory, partition *result, spry_error *error);
/* Every layer by itself, each with the team that costs least. */
SPRY_MUST_USE spry_status partition_alone(const partition_problem *p, arena *memory,
                                          partition *result, spry_error *error);
/* The best of all partitions, found by trying every one: for tests, at most 16 layers. */
SPRY_MUST_USE spry_status partition_by_trying(const partition_problem *p, arena *memory,
                                              partition *result, spry_error *error);

/* The one of the teams that is nearest in ratio; the smaller of two that are equally near. */
int32_t partition_round_team(const partition_problem *p, double team);

#endif
