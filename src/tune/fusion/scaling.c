#include "tune/fusion/scaling.h"

#include <math.h>
#include <stdlib.h>

static const double enough_accuracy = 0.7;
static const double nearly = 0.9; /* of the 95th percentile of speed */

/* ---- synthetic layers ---- */

double scaling_layer_operations(const scaling_layer *l)
{
    return 2.0 * (double)(l->inputs / l->groups) * (double)l->outputs *
           (double)(l->side * l->side) * (double)(l->kernel * l->kernel);
}

int32_t scaling_layers(double most, scaling_layer *layers)
{
    static const int64_t widths[] = {16, 32, 64, 128, 256, 512, 1024};
    static const int64_t sides[] = {7, 14, 28, 56, 112};
    enum { WIDTHS = sizeof widths / sizeof *widths, SIDES = sizeof sides / sizeof *sides };
    int32_t count = 0;

    for (int s = 0; s < SIDES; s++) {
        for (int i = 0; i < WIDTHS; i++) {
            /* The same number of filters as channels, and four times as many, and a quarter. */
            const scaling_layer kinds[] = {
                {widths[i], widths[i], sides[s], 3, 1},
                {widths[i], widths[i], sides[s], 1, 1},
                {widths[i], i + 2 < WIDTHS ? widths[i + 2] : widths[i] / 4, sides[s], 1, 1},
                {widths[i], widths[i], sides[s], 3, widths[i]},
            };

            for (size_t k = 0; k < sizeof kinds / sizeof *kinds; k++) {
                if (count < SCALING_POINTS_MOST && scaling_layer_operations(&kinds[k]) <= most) {
                    layers[count++] = kinds[k];
                }
            }
        }
    }
    return count;
}

/* ---- the fit ---- */

static int32_t best_team(const scaling *s, const scaling_point *p)
{
    int32_t best = 0;

    for (int32_t i = 1; i < s->team_count; i++) {
        best = p->seconds[i] < p->seconds[best] ? i : best;
    }
    return s->teams[best];
}

static int ascending(const void *a, const void *b)
{
    double x = *(const double *)a;
    double y = *(const double *)b;

    return (x > y) - (x < y);
}

/* The fewest operations at which one core is nearly as fast as it gets. */
static double critical_operations(const scaling_point *points, int32_t count)
{
    double rates[SCALING_POINTS_MOST];
    double fast;
    double least = HUGE_VAL;

    for (int32_t i = 0; i < count; i++) {
        rates[i] = points[i].operations / points[i].seconds[0];
    }
    qsort(rates, (size_t)count, sizeof *rates, ascending);
    fast = count > 0 ? rates[(size_t)(0.95 * (count - 1))] : 0;
    for (int32_t i = 0; i < count; i++) {
        if (points[i].operations / points[i].seconds[0] >= nearly * fast) {
            least = fmin(least, points[i].operations);
        }
    }
    return least;
}

enum { UNKNOWNS = 3 };

/* Solves a symmetric system by elimination with pivots; false where it is singular. */
static bool solve(double a[UNKNOWNS][UNKNOWNS + 1], double x[UNKNOWNS])
{
    for (int c = 0; c < UNKNOWNS; c++) {
        int pivot = c;

        for (int r = c + 1; r < UNKNOWNS; r++) {
            pivot = fabs(a[r][c]) > fabs(a[pivot][c]) ? r : pivot;
        }
        if (fabs(a[pivot][c]) < 1e-12) {
            return false;
        }
        for (int k = 0; k <= UNKNOWNS; k++) {
            double kept = a[c][k];

            a[c][k] = a[pivot][k];
            a[pivot][k] = kept;
        }
        for (int r = 0; r < UNKNOWNS; r++) {
            double share = a[r][c] / a[c][c];

            for (int k = c; r != c && k <= UNKNOWNS; k++) {
                a[r][k] -= share * a[c][k];
            }
        }
    }
    for (int c = 0; c < UNKNOWNS; c++) {
        x[c] = a[c][UNKNOWNS] / a[c][c];
    }
    return true;
}

static double predicted(const scaling *s, double operations, double channels)
{
    return s->alpha * log10(channels) + s->beta * log10(operations) + s->gamma;
}

static void fit_line(scaling *s)
{
    double a[UNKNOWNS][UNKNOWNS + 1] = {{0}};
    double x[UNKNOWNS] = {0};
    double mean = 0;
    double left = 0;
    double all = 0;

    for (int32_t i = 0; i < s->point_count; i++) {
        double y = log2(s->points[i].team);
        double row[UNKNOWNS] = {log10(s->points[i].channels), log10(s->points[i].operations), 1};

        mean += y / s->point_count;
        for (int r = 0; r < UNKNOWNS; r++) {
            for (int c = 0; c < UNKNOWNS; c++) {
                a[r][c] += row[r] * row[c];
            }
            a[r][UNKNOWNS] += row[r] * y;
        }
    }
    if (!solve(a, x)) {
        x[0] = x[1] = 0;
        x[2] = mean;
    }
    s->alpha = x[0];
    s->beta = x[1];
    s->gamma = x[2];
    for (int32_t i = 0; i < s->point_count; i++) {
        double y = log2(s->points[i].team);
        double error = y - predicted(s, s->points[i].operations, s->points[i].channels);

        left += error * error;
        all += (y - mean) * (y - mean);
    }
    s->r_squared = all > 0 ? 1 - left / all : 1;
}

/* The team whose logarithm is nearest to the line. */
static int32_t round_line(const scaling *s, double operations, double channels)
{
    double wanted = predicted(s, operations, channels);
    int32_t best = 0;

    for (int32_t i = 1; i < s->team_count; i++) {
        best = fabs(log2(s->teams[i]) - wanted) < fabs(log2(s->teams[best]) - wanted) ? i : best;
    }
    return s->teams[best];
}

/* The point that is nearest in both logarithms; -1 where there is none. */
static int32_t nearest_point(const scaling *s, double operations, double channels)
{
    double nearest = HUGE_VAL;
    int32_t found = -1;

    for (int32_t i = 0; i < s->point_count; i++) {
        double x = log10(s->points[i].operations / operations);
        double y = log10(s->points[i].channels / channels);

        if (x * x + y * y < nearest) {
            nearest = x * x + y * y;
            found = i;
        }
    }
    return found;
}

static int32_t ask_neighbour(const scaling *s, double operations, double channels)
{
    int32_t i = nearest_point(s, operations, channels);

    return i >= 0 ? s->points[i].team : s->teams[0];
}

double scaling_speed(const scaling *s, double operations, double channels, int32_t team)
{
    int32_t i = nearest_point(s, fmax(operations, 1), fmax(channels, 1));

    return i >= 0 ? s->points[i].speed[team] : 1;
}

void scaling_fit(scaling *s, const scaling_point *points, int32_t count)
{
    int32_t right = 0;

    s->point_count = count < SCALING_POINTS_MOST ? count : SCALING_POINTS_MOST;
    s->critical = critical_operations(points, s->point_count);
    for (int32_t i = 0; i < s->point_count; i++) {
        s->points[i].operations = points[i].operations;
        s->points[i].channels = points[i].channels;
        s->points[i].team = best_team(s, &points[i]);
        for (int32_t k = 0; k < s->team_count; k++) {
            s->points[i].speed[k] = points[i].seconds[0] / points[i].seconds[k];
        }
    }
    fit_line(s);
    for (int32_t i = 0; i < s->point_count; i++) {
        right += round_line(s, s->points[i].operations, s->points[i].channels) == s->points[i].team;
    }
    s->accuracy = s->point_count > 0 ? (double)right / s->point_count : 1;
    s->by_neighbour = s->accuracy < enough_accuracy;
}

int32_t scaling_team(const scaling *s, double operations, double channels)
{
    operations = fmax(operations, 1);
    channels = fmax(channels, 1);
    return s->by_neighbour ? ask_neighbour(s, operations, channels)
                           : round_line(s, operations, channels);
}
