/* Clusters of points in few dimensions, and how good they are. Everything follows from the points
 * and the seed. Points are [count][size]. */
#ifndef INSPECT_HEADS_CLUSTER_H
#define INSPECT_HEADS_CLUSTER_H

#include "base/arena.h"
#include "spry/random.h"

/* Every column to mean 0 and deviation 1; columns that do not vary are dropped. Returns the columns
 * left, which then lie side by side. */
int64_t cluster_standardise(double *points, int64_t count, int64_t size);

/* Turns standardised points to their principal axes, of which as many are kept as have 95 % of the
 * variance; these, *size of them, then lie side by side. Fails with SPRY_LIMIT (memory). */
SPRY_MUST_USE spry_status cluster_principal(double *points, int64_t count, int64_t *size,
                                            arena *memory, spry_error *error);

/* k-means++ with 20 starts; the least inertia wins. Labels are 0 to k - 1 in no special order;
 * `memory` is for the time of the call. k is 1 to count. Fails with SPRY_LIMIT (memory). */
SPRY_MUST_USE spry_status cluster_means(const double *points, int64_t count, int64_t size,
                                        int32_t k, spry_random *random, arena *memory,
                                        int32_t *labels, double *inertia, spry_error *error);

/* Mean over points of (b - a) / max(a, b): a is the mean distance to the own cluster, b the least
 * to another; 0 for a cluster of one and for k = 1. */
double cluster_silhouette(const double *points, int64_t count, int64_t size, const int32_t *labels,
                          int32_t k);

/* Adjusted Rand index of two partitions with labels below `most`: 1 for the same one. */
double cluster_agreement(const int32_t *a, const int32_t *b, int64_t count, int32_t most);

/* Average linkage over `distances` [count][count], which are overwritten; cut at k clusters. Fails
 * with SPRY_LIMIT (memory). */
SPRY_MUST_USE spry_status cluster_linkage(double *distances, int64_t count, int32_t k,
                                          arena *memory, int32_t *labels, spry_error *error);

/* What was tried for one number of clusters. */
typedef struct cluster_try {
    int32_t k;
    double inertia, silhouette;
} cluster_try;

typedef struct cluster_choice {
    int32_t k; /* 1: no structure */
    double silhouette, null_mean, null_deviation;
    cluster_try tries[16];
    int try_count;
} cluster_choice;

/* Clusters for the k in [2, most] with the best silhouette (the smaller of equals), if it beats
 * that of 20 copies with permuted columns by three deviations, else one. With `wanted` > 0 that
 * number. Points lie along their principal axes: columns that depend on each other would make
 * chance look like structure. Fails with SPRY_LIMIT (memory). */
SPRY_MUST_USE spry_status cluster_choose(const double *points, int64_t count, int64_t size,
                                         int32_t most, int32_t wanted, uint64_t seed, arena *memory,
                                         int32_t *labels, cluster_choice *choice,
                                         spry_error *error);

#endif
