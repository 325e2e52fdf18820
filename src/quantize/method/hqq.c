/* Zero points by turns of rounding and shrinking. */
#include "quantize/method/hqq.h"

#include <math.h>
#include <string.h>

enum {
    MOST_ROUNDS = 20,
    MOST_ZERO = 256 /* farther from the codes, sums lose too many digits */
};

static const double NORM = 0.7;
static const double FIRST_WEIGHT = 10.0;
static const double WEIGHT_GROWTH = 1.01;

static double code_of(const hqq_group *g, double weight, double zero)
{
    double code = rint(weight / (double)g->step + zero);

    return fmin(fmax(code, g->limits.low), g->limits.high);
}

/* Mean |error| with that zero point. */
static double mean_error(const hqq_group *g, double zero)
{
    double sum = 0.0;

    for (int64_t i = 0; i < g->count; i++) {
        double w = (double)g->weights[i];

        sum += fabs(w - (code_of(g, w, zero) - zero) * (double)g->step);
    }
    return sum / (double)g->count;
}

static double shrink(double error, double weight)
{
    double size = fabs(error);

    if (size == 0.0) {
        return 0.0;
    }
    return copysign(fmax(size - pow(size, NORM - 1.0) / weight, 0.0), error);
}

static double next_zero(const hqq_group *g, double zero, double weight)
{
    double sum = 0.0;

    for (int64_t i = 0; i < g->count; i++) {
        double w = (double)g->weights[i];
        double code = code_of(g, w, zero);
        double kept = shrink(w - (code - zero) * (double)g->step, weight);

        sum += code - (w - kept) / (double)g->step;
    }
    return sum / (double)g->count;
}

/* The zero point at which the error is least, of those met before it rises. */
static double search_zero(const hqq_group *g, double zero)
{
    double weight = FIRST_WEIGHT;
    double least = mean_error(g, zero);

    for (int round = 0; round < MOST_ROUNDS; round++) {
        double next = next_zero(g, zero, weight);
        double error = mean_error(g, next);

        if (!(error < least)) {
            break;
        }
        zero = next;
        least = error;
        weight *= WEIGHT_GROWTH;
    }
    return zero;
}

/* Of the two integers beside it, the one with less error, within the codes. */
static double round_zero(const hqq_group *g, double zero)
{
    double low = fmin(fmax(floor(zero), g->limits.low), g->limits.high);
    double high = fmin(low + 1.0, g->limits.high);

    return mean_error(g, high) < mean_error(g, low) ? high : low;
}

void hqq_round(hqq_group *g)
{
    grid_options grid = {.bits = GRID_LEAST_BITS, .exact_range = !g->whole};
    int32_t whole_zero;
    float low = g->weights[0];
    float high = g->weights[0];

    for (int64_t i = 1; i < g->count; i++) {
        low = fminf(low, g->weights[i]);
        high = fmaxf(high, g->weights[i]);
    }
    while (grid_codes_of(&grid).high < g->limits.high) {
        grid.bits++;
    }
    grid_of_bounds(low, high, &grid, &g->step, &whole_zero);
    if (whole_zero < -MOST_ZERO || whole_zero > MOST_ZERO) {
        grid.exact_range = false;
        grid_of_bounds(low, high, &grid, &g->step, &whole_zero);
    }

    double zero = search_zero(g, (double)whole_zero);

    zero = g->whole ? round_zero(g, zero) : zero;
    g->zero = (float)zero;
    for (int64_t i = 0; i < g->count; i++) {
        g->codes[i] = (int8_t)code_of(g, (double)g->weights[i], (double)g->zero);
    }
}
