/* Two prices, one inside the search for the other. */
#include "measure/sparse_choice.h"

#include <math.h>

enum { STEPS = 60 };

/* Prices in units of damage, on a scale of exponents. */
static const double lowest = -60.0;
static const double highest = 60.0;

static void take_best(const sparse_point (*points)[SPARSE_LEVELS], int32_t layers, double of_time,
                      double of_zeros, int *levels)
{
    for (int32_t i = 0; i < layers; i++) {
        double best = INFINITY;

        levels[i] = 0;
        for (int k = 0; k < SPARSE_LEVELS; k++) {
            const sparse_point *p = &points[i][k];
            double price = p->damage + of_time * p->ms - of_zeros * p->zeros;

            if (price < best) {
                best = price;
                levels[i] = k;
            }
        }
    }
}

sparse_point sparse_sum(const sparse_point (*points)[SPARSE_LEVELS], int32_t layers,
                        const int *levels)
{
    sparse_point sum = {0};

    for (int32_t i = 0; i < layers; i++) {
        sum.damage += points[i][levels[i]].damage;
        sum.ms += points[i][levels[i]].ms;
        sum.zeros += points[i][levels[i]].zeros;
    }
    return sum;
}

/* The lowest price of zeros at which there are enough; levels are those of that price. */
static bool find_zeros(const sparse_point (*points)[SPARSE_LEVELS], int32_t layers, double of_time,
                       double wanted, int *levels)
{
    double low = lowest;
    double high = highest;

    take_best(points, layers, of_time, 0.0, levels);
    if (sparse_sum(points, layers, levels).zeros >= wanted) {
        return true;
    }
    for (int i = 0; i < STEPS; i++) {
        double middle = 0.5 * (low + high);

        take_best(points, layers, of_time, exp2(middle), levels);
        if (sparse_sum(points, layers, levels).zeros >= wanted) {
            high = middle;
        } else {
            low = middle;
        }
    }
    take_best(points, layers, of_time, exp2(high), levels);
    return sparse_sum(points, layers, levels).zeros >= wanted;
}

bool sparse_choose(const sparse_point (*points)[SPARSE_LEVELS], int32_t layers,
                   const sparse_wish *wish, int *levels)
{
    double low = lowest;
    double high = highest;
    bool is_full = find_zeros(points, layers, 0.0, wish->zeros, levels);

    if (is_full && sparse_sum(points, layers, levels).ms <= wish->ms) {
        return true;
    }
    for (int i = 0; i < STEPS; i++) {
        double middle = 0.5 * (low + high);

        is_full = find_zeros(points, layers, exp2(middle), wish->zeros, levels);
        if (is_full && sparse_sum(points, layers, levels).ms <= wish->ms) {
            high = middle;
        } else {
            low = middle;
        }
    }
    is_full = find_zeros(points, layers, exp2(high), wish->zeros, levels);
    return is_full && sparse_sum(points, layers, levels).ms <= wish->ms;
}
