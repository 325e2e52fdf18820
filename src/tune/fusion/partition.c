#include "tune/fusion/partition.h"

#include <math.h>

#include "base/alloc.h"

enum { TRYING_LAYERS_MOST = 16 };

const char *const partition_strategy_names[PARTITION_STRATEGIES + 1] = {"s1", "s2", "s3", "s4",
                                                                        "s5", "s6", "s7", NULL};
const char *const partition_strategy_texts[PARTITION_STRATEGIES] = {
    "one core, no fusion",
    "fixed cores, no fusion",
    "cores by layer, no fusion",
    "all cores, everything fused",
    "fixed cores, blocks of equal length",
    "DLFusion",
    "best partition",
};

int32_t partition_round_team(const partition_problem *p, double team)
{
    int32_t best = p->teams[0];

    for (int32_t i = 1; i < p->team_count; i++) {
        double farther = fabs(log2(team) - log2(p->teams[i]));

        best = farther < fabs(log2(team) - log2(best)) ? p->teams[i] : best;
    }
    return best;
}

static spry_status open_result(const partition_problem *p, arena *memory, partition *result,
                               spry_error *error)
{
    *result = (partition){0};
    result->blocks = arena_array(memory, (size_t)p->network.count + 1, sizeof *result->blocks);
    return result->blocks != NULL
               ? SPRY_OK
               : alloc_failed(error, ((size_t)p->network.count + 1) * sizeof *result->blocks);
}

static void emit(const partition_problem *p, partition *r, int32_t first, int32_t last,
                 int32_t team)
{
    double seconds = p->cost(p->context, first, last, team);

    r->blocks[r->count++] = (partition_block){first, last, team, seconds};
    r->seconds += seconds;
}

/* The team that costs least; the smallest of equals. */
static int32_t best_team(const partition_problem *p, int32_t first, int32_t last, double *seconds)
{
    int32_t best = p->teams[0];

    *seconds = p->cost(p->context, first, last, best);
    for (int32_t i = 1; i < p->team_count; i++) {
        double other = p->cost(p->context, first, last, p->teams[i]);

        if (other < *seconds) {
            *seconds = other;
            best = p->teams[i];
        }
    }
    return best;
}

/* ---- fixed strategies ---- */

static void cut_alone(const partition_problem *p, partition_strategy strategy, partition *r)
{
    for (int32_t i = 0; i < p->network.count; i++) {
        emit(p, r, i, i,
             strategy == PARTITION_S1   ? p->teams[0]
             : strategy == PARTITION_S2 ? p->fixed_team
                                        : p->wanted[i]);
    }
}

/* Blocks that are as long as they can be up to `most` layers. */
static void cut_long(const partition_problem *p, int32_t most, int32_t team, partition *r)
{
    for (int32_t first = 0; first < p->network.count;) {
        int32_t last = first;
        int32_t next;

        while ((next = fusion_next_end(&p->network, first, last, most)) >= 0) {
            last = next;
        }
        emit(p, r, first, last, team);
        first = last + 1;
    }
}

/* ---- the pass of DLFusion ---- */

/* A block has the mean of the teams that its layers want, each as heavy as its operations: poolings
 * and sums want one core and are no reason to run the convolutions around them on fewer. */
static int32_t mean_team(const partition_problem *p, int32_t first, int32_t last,
                         double *operations)
{
    double teams = 0;

    *operations = 0;
    for (int32_t i = first; i <= last; i++) {
        double mine = fusion_layer_operations(&p->network.layers[i]);

        *operations += mine;
        teams += mine * p->wanted[i];
    }
    return *operations > 0 ? partition_round_team(p, teams / *operations) : p->wanted[first];
}

static void cut_in_a_pass(const partition_problem *p, partition *r)
{
    for (int32_t first = 0; first < p->network.count;) {
        int32_t last = first;
        double operations;
        int32_t team = mean_team(p, first, last, &operations);

        while (operations / team < p->critical) {
            int32_t next = fusion_next_end(&p->network, first, last, p->longest);
            int32_t wider = next >= 0 ? mean_team(p, first, next, &operations) : team;

            if (next < 0 || (p->fits != NULL && !p->fits(p->context, first, next, wider))) {
                break;
            }
            last = next;
            team = wider;
        }
        emit(p, r, first, last, team);
        first = last + 1;
    }
}

/* ---- the best ---- */

/* best[j]: the cheapest way for layers before j, whose last block is from[j] to j - 1. */
static spry_status cut_best(const partition_problem *p, arena *memory, partition *r,
                            spry_error *error)
{
    size_t room = (size_t)p->network.count + 1;
    double *best = arena_array(memory, room, sizeof *best);
    partition_block *ending = arena_array(memory, room, sizeof *ending);
    int32_t count = 0;

    if (best == NULL || ending == NULL) {
        return alloc_failed(error, room * (sizeof *best + sizeof *ending));
    }
    for (int32_t j = 1; j <= p->network.count; j++) {
        best[j] = HUGE_VAL;
    }
    for (int32_t first = 0; first < p->network.count; first++) {
        int32_t last = first;

        while (last >= 0) {
            partition_block b = {.first = first, .last = last};

            b.team = best_team(p, first, last, &b.seconds);
            if (best[first] + b.seconds < best[last + 1]) {
                best[last + 1] = best[first] + b.seconds;
                ending[last + 1] = b;
            }
            last = fusion_next_end(&p->network, first, last, p->longest);
        }
    }
    for (int32_t j = p->network.count; j > 0; j = ending[j].first) {
        count++;
    }
    r->count = count;
    r->seconds = best[p->network.count];
    for (int32_t j = p->network.count; j > 0; j = ending[j].first) {
        r->blocks[--count] = ending[j];
    }
    return SPRY_OK;
}

spry_status partition_by(const partition_problem *p, partition_strategy strategy, arena *memory,
                         partition *result, spry_error *error)
{
    spry_status status = open_result(p, memory, result, error);

    if (status != SPRY_OK) {
        return status;
    }
    switch (strategy) {
    case PARTITION_S4:
        cut_long(p, p->most > 0 ? p->most : FUSION_LAYERS_MOST, p->teams[p->team_count - 1],
                 result);
        return SPRY_OK;
    case PARTITION_S5: cut_long(p, p->fixed_length, p->fixed_team, result); return SPRY_OK;
    case PARTITION_S6: cut_in_a_pass(p, result); return SPRY_OK;
    case PARTITION_S7: return cut_best(p, memory, result, error);
    default: cut_alone(p, strategy, result); return SPRY_OK;
    }
}

spry_status partition_alone(const partition_problem *p, arena *memory, partition *result,
                            spry_error *error)
{
    spry_status status = open_result(p, memory, result, error);

    for (int32_t i = 0; status == SPRY_OK && i < p->network.count; i++) {
        double seconds;

        emit(p, result, i, i, best_team(p, i, i, &seconds));
    }
    return status;
}

/* The partition in which layer i + 1 begins a block where bit i of `cuts` is set; false where one
 * of its runs is no block. */
static bool read_cuts(const partition_problem *p, uint32_t cuts, partition *r)
{
    int32_t first = 0;

    r->count = 0;
    r->seconds = 0;
    for (int32_t i = 0; i < p->network.count; i++) {
        if (i == p->network.count - 1 || (cuts >> i & 1U) != 0) {
            double seconds;

            if (i - first >= p->longest || !fusion_is_block(&p->network, first, i)) {
                return false;
            }
            emit(p, r, first, i, best_team(p, first, i, &seconds));
            first = i + 1;
        }
    }
    return true;
}

spry_status partition_by_trying(const partition_problem *p, arena *memory, partition *result,
                                spry_error *error)
{
    partition tried;
    uint32_t best = UINT32_MAX;
    double least = HUGE_VAL;
    spry_status status = open_result(p, memory, result, error);

    if (p->network.count > TRYING_LAYERS_MOST) {
        return spry_fail(error, SPRY_LIMIT, "partition", NULL, "more than %d layers",
                         (int)TRYING_LAYERS_MOST);
    }
    if (status != SPRY_OK || p->network.count == 0) {
        return status;
    }
    tried = *result;
    for (uint32_t cuts = 0; cuts < UINT32_C(1) << (p->network.count - 1); cuts++) {
        if (read_cuts(p, cuts, &tried) && tried.seconds < least) {
            least = tried.seconds;
            best = cuts;
        }
    }
    (void)read_cuts(p, best, result);
    return SPRY_OK;
}
