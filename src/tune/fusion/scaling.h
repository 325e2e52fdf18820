/* How many cores suit a layer, learnt from layers of all sizes that were timed on one machine.
 *
 * log2(cores) = alpha log10(channels) + beta log10(operations) + gamma by least squares, as
 * DLFusion has it; where the rounded prediction is right for fewer than 70 % of the layers, the
 * nearest of them decides instead, by the same two logarithms. Also the operations per core at
 * which a core reaches nine tenths of its speed. */
#ifndef TUNE_FUSION_SCALING_H
#define TUNE_FUSION_SCALING_H

#include <stdbool.h>
#include <stdint.h>

#include "tune/fusion/fusion.h"

enum { SCALING_POINTS_MOST = 192 };

/* A layer that was timed. */
typedef struct scaling_point {
    double operations;
    double channels;                   /* of its result */
    double seconds[FUSION_TEAMS_MOST]; /* with each of the teams */
} scaling_point;

typedef struct scaling {
    int32_t teams[FUSION_TEAMS_MOST]; /* ascending, the first is 1 */
    int32_t team_count;
    double alpha, beta, gamma;
    double r_squared; /* of log2(cores) */
    double accuracy;  /* share of layers whose rounded prediction is their best team */
    bool by_neighbour;
    double critical; /* operations per core */
    int32_t point_count;
    struct {
        double operations, channels;
        int32_t team;
        double speed[FUSION_TEAMS_MOST]; /* with each team, over that of one */
    } points[SCALING_POINTS_MOST];       /* best team of each */
} scaling;

/* `count` points, at most SCALING_POINTS_MOST, each with a time for each of `s->teams`. */
void scaling_fit(scaling *s, const scaling_point *points, int32_t count);
/* The team for a layer: one of the teams. */
int32_t scaling_team(const scaling *s, double operations, double channels);
/* How many times as fast as one member team number `team` of the list makes a layer: as it did the
 * most similar one. */
double scaling_speed(const scaling *s, double operations, double channels, int32_t team);

/* The synthetic layers that 2.6 of the method asks for: a convolution of `kernel` taps a side (or,
 * where groups > 1, one filter per channel) that keeps the size of its image. */
typedef struct scaling_layer {
    int64_t inputs, outputs, side, kernel, groups;
} scaling_layer;

/* Fills up to SCALING_POINTS_MOST entries, the same each time; returns how many. None has more than
 * `most` operations. */
int32_t scaling_layers(double most, scaling_layer *layers);
double scaling_layer_operations(const scaling_layer *l);

#endif
