/* Least squares of relative errors over layers at random squares. */
#include "measure/calibrate_listed.h"

#include <math.h>

#include "measure/listed.h"

enum { REPEATS = 12, SWEEPS = 300 };

static const double TICK = 1e-9; /* of the clock, in seconds */
static const int64_t sides[] = {1, 2, 4, 8, 14};
static const double densities[] = {0.1, 0.25, 0.5, 0.75};

enum { SIDES = sizeof sides / sizeof *sides, DENSITIES = sizeof densities / sizeof *densities };

static const latency_conv probes[] = {
    {64, 64, 56, 56, 3, 3, 1, 1},   {64, 256, 56, 56, 1, 1, 1, 1},  {256, 64, 56, 56, 1, 1, 1, 1},
    {128, 512, 28, 28, 1, 1, 1, 1}, {512, 128, 28, 28, 1, 1, 1, 1}, {128, 128, 28, 28, 3, 3, 2, 1},
    {24, 24, 40, 40, 3, 3, 1, 1},   {16, 64, 24, 24, 1, 1, 1, 1},   {16, 16, 32, 32, 3, 3, 1, 1},
    {32, 32, 16, 16, 3, 3, 1, 1},   {256, 256, 14, 14, 3, 3, 1, 1}, {1024, 256, 14, 14, 1, 1, 1, 1},
    {64, 64, 28, 28, 3, 3, 2, 1},   {192, 192, 20, 20, 3, 3, 1, 1}, {256, 1024, 14, 14, 1, 1, 1, 1},
};

/* None of them is among the probes. */
static const latency_conv others[] = {
    {96, 96, 28, 28, 3, 3, 1, 1},  {48, 192, 56, 56, 1, 1, 1, 1},  {192, 48, 56, 56, 1, 1, 1, 1},
    {320, 80, 28, 28, 1, 1, 1, 1}, {96, 384, 28, 28, 1, 1, 1, 1},  {160, 160, 14, 14, 3, 3, 2, 1},
    {16, 64, 32, 32, 3, 3, 1, 1},  {640, 160, 14, 14, 1, 1, 1, 1}, {128, 128, 28, 28, 3, 3, 1, 1},
    {96, 192, 28, 28, 3, 3, 2, 1},
};

enum { PROBES = sizeof probes / sizeof *probes, OTHERS = sizeof others / sizeof *others };

/* Point i of a list of layers: each at all sides with two densities, and once at all pixels.
 * False where the layer has no such squares, or drew none. */
static bool point_of(const latency_conv *layers, int i, calibration_point *p)
{
    int kind = i % CALIBRATION_LAYER_POINTS;
    int layer = i / CALIBRATION_LAYER_POINTS;
    int turn = kind / SIDES;

    *p = (calibration_point){.conv = layers[layer], .squares = {1, 1}};
    if (turn < 2) {
        p->squares.side = sides[kind % SIDES];
        p->squares.density = densities[(kind % SIDES + layer + 2 * turn) % DENSITIES];
    }
    return p->squares.side <= p->conv.height;
}

/* The density becomes that of what was drawn. */
static spry_status time_point(int seed, calibration_point *p, spry_error *error)
{
    conv_nhwc_problem problem = latency_cpu_problem(&p->conv);
    listed_cost cost;
    spry_status status = listed_measure(NULL, &problem, p->squares.side, p->squares.density,
                                        (uint64_t)seed, REPEATS, &cost, error);

    if (status == SPRY_OK) {
        p->squares.density = (double)cost.pixels / (double)(p->conv.height * p->conv.width);
        p->measured = fmax(1e-3 * cost.milliseconds, TICK);
    }
    return status;
}

/* Sums of products of what is fitted: terms over measured seconds, which are to add up to 1. */
typedef struct normal {
    double matrix[LATENCY_CPU_TERMS][LATENCY_CPU_TERMS];
    double right[LATENCY_CPU_TERMS];
} normal;

static void add_point(const latency_cpu *cpu, const calibration_point *p, normal *n)
{
    double terms[LATENCY_CPU_TERMS];

    latency_cpu_terms(cpu, &p->conv, p->squares, terms);
    for (int i = 0; i < LATENCY_CPU_TERMS; i++) {
        n->right[i] += terms[i] / p->measured;
        for (int k = 0; k < LATENCY_CPU_TERMS; k++) {
            n->matrix[i][k] += terms[i] * terms[k] / (p->measured * p->measured);
        }
    }
}

/* One factor after the other, until nothing changes any more. */
static void solve(const normal *n, double *factors)
{
    for (int sweep = 0; sweep < SWEEPS; sweep++) {
        for (int i = 0; i < LATENCY_CPU_TERMS; i++) {
            double left = n->right[i];

            for (int k = 0; k < LATENCY_CPU_TERMS; k++) {
                left -= k != i ? n->matrix[i][k] * factors[k] : 0;
            }
            factors[i] = n->matrix[i][i] > 0 ? fmax(left / n->matrix[i][i], 0) : 0;
        }
    }
}

spry_status calibrate_listed(calibration *c, spry_error *error)
{
    normal n = {{{0}}, {0}};
    spry_status status = SPRY_OK;

    for (int i = 0; status == SPRY_OK && i < PROBES * CALIBRATION_LAYER_POINTS; i++) {
        calibration_point p;

        if (!point_of(probes, i, &p)) {
            continue;
        }
        status = time_point(i, &p, error);
        if (status == SPRY_OK && p.squares.density > 0) {
            add_point(&c->cpu, &p, &n);
        }
    }
    if (status == SPRY_OK) {
        /* Kernels that never run here are taken to do as foretold. */
        for (int i = 0; i < LATENCY_CPU_TERMS; i++) {
            c->cpu.listed[i] = 0;
        }
        solve(&n, c->cpu.listed);
        if (!(n.matrix[LATENCY_CPU_WINDOWS][LATENCY_CPU_WINDOWS] > 0)) {
            c->cpu.listed[LATENCY_CPU_WINDOWS] = 1;
        }
    }
    return status;
}

/* ---- the check ---- */

/* The rank of number i, from 0; of equal ones the first comes first. */
static double rank_of(const double *numbers, int count, int i)
{
    int rank = 0;

    for (int k = 0; k < count; k++) {
        rank += numbers[k] < numbers[i] || (numbers[k] == numbers[i] && k < i);
    }
    return rank;
}

double calibrate_rank_correlation(const double *a, const double *b, int count)
{
    double sum = 0;

    for (int i = 0; i < count; i++) {
        double difference = rank_of(a, count, i) - rank_of(b, count, i);

        sum += difference * difference;
    }
    return count > 1 ? 1 - 6 * sum / ((double)count * ((double)count * count - 1)) : 0;
}

spry_status calibrate_listed_check(calibration *c, spry_error *error)
{
    double measured[CALIBRATION_POINTS];
    double predicted[CALIBRATION_POINTS];
    spry_status status = SPRY_OK;

    _Static_assert(OTHERS * CALIBRATION_LAYER_POINTS <= CALIBRATION_POINTS, "room for all");
    for (int i = 0; status == SPRY_OK && i < OTHERS * CALIBRATION_LAYER_POINTS; i++) {
        calibration_point p;

        if (!point_of(others, i, &p)) {
            continue;
        }
        status = time_point(PROBES * CALIBRATION_LAYER_POINTS + i, &p, error);
        if (status == SPRY_OK && p.squares.density > 0) {
            /* Timed without what an operator costs by itself. */
            p.predicted = latency_cpu_listed(&c->cpu, &p.conv, p.squares) - c->cpu.per_operator;
            measured[c->point_count] = p.measured;
            predicted[c->point_count] = p.predicted;
            c->listed_error += fabs(p.predicted / p.measured - 1);
            c->points[c->point_count++] = p;
        }
    }
    if (c->point_count > 0) {
        c->listed_error /= c->point_count;
        c->listed_rank_correlation =
            calibrate_rank_correlation(measured, predicted, c->point_count);
    }
    return status;
}
