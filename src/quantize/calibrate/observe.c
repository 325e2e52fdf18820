/* Streaming histograms. */
#include "quantize/calibrate/observe.h"

#include <math.h>
#include <string.h>

enum { HALF = OBSERVE_BINS / 2, CANDIDATES = 100, LEVELS = 128, ENTROPY_STRIDE = 16 };

spry_status observe_range_find(const char *name, observe_range *range, spry_error *error)
{
    static const char *const names[] = {"minmax", "percentile", "mse", "entropy"};

    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        if (strcmp(names[i], name) == 0) {
            *range = (observe_range)i;
            return SPRY_OK;
        }
    }
    return spry_fail(error, SPRY_USAGE, "range", "minmax, percentile, mse or entropy",
                     "there is no range \"%s\"", name);
}

static const double LEAST_SHARE = 1e-9; /* of a level that what is clamped finds empty */
static const double TAIL = 1e-4;        /* of OBSERVE_PERCENTILE */

/* Bin i of the half beside zero takes what was in bins 2i and 2i + 1, counted from zero. */
static void double_reach(observer *o)
{
    int64_t merged[OBSERVE_BINS] = {0};

    for (int i = 0; i < HALF; i++) {
        merged[HALF + i / 2] += o->bins[HALF + i];
        merged[HALF - 1 - i / 2] += o->bins[HALF - 1 - i];
    }
    memcpy(o->bins, merged, sizeof merged);
    o->reach *= 2.0f;
}

static void reach_for(observer *o, float size)
{
    if (o->reach == 0.0f && size > 0.0f) {
        int exponent;

        (void)frexpf(size, &exponent);
        o->reach = ldexpf(1.0f, exponent); /* size < reach */
    }
    while (o->reach <= size && o->reach < 1e38f && o->reach > 0.0f) {
        double_reach(o);
    }
}

void observe(observer *o, const float *x, int64_t count)
{
    float low = o->low;
    float high = o->high;

    for (int64_t i = 0; i < count; i++) { /* zero is in every range */
        low = x[i] < low && isfinite(x[i]) ? x[i] : low;
        high = x[i] > high && isfinite(x[i]) ? x[i] : high;
    }
    o->low = low;
    o->high = high;
    reach_for(o, fmaxf(-low, high));
    float per_unit = o->reach > 0.0f ? (float)HALF / o->reach : 0.0f;
    for (int64_t i = 0; i < count; i++) {
        float place = floorf(x[i] * per_unit) + (float)HALF;

        if (!isfinite(x[i])) {
            o->odd++;
            continue;
        }
        place = place < 0.0f ? 0.0f : place;
        o->bins[place < (float)(OBSERVE_BINS - 1) ? (int)place : OBSERVE_BINS - 1]++;
    }
    o->count += count;
}

static double bin_centre(const observer *o, int bin)
{
    return ((double)bin - HALF + 0.5) * (double)o->reach / HALF;
}

/* The range without the outermost numbers. */
static void trim(const observer *o, double *low, double *high)
{
    int64_t tail = (int64_t)((double)(o->count - o->odd) * TAIL);
    int64_t below = 0;
    int64_t above = 0;
    int first = 0;
    int last = OBSERVE_BINS - 1;

    while (first < HALF && below + o->bins[first] <= tail) {
        below += o->bins[first++];
    }
    while (last >= HALF && above + o->bins[last] <= tail) {
        above += o->bins[last--];
    }
    *low = fmax(*low, ((double)first - HALF) * (double)o->reach / HALF);
    *high = fmin(*high, ((double)last - HALF + 1) * (double)o->reach / HALF);
}

tensor_grid observe_grid_between(double low, double high, spry_dtype dtype, int bits)
{
    tensor_grid grid = {.step = 1.0f, .dtype = dtype, .bits = bits};
    grid_codes codes = tensor_grid_codes(&grid);

    grid.zero = codes.low;
    low = fmin(low, 0.0);
    high = fmax(high, 0.0);
    if (high - low > 0.0) {
        double place;

        grid.step = (float)fmax((high - low) / (codes.high - codes.low), 1e-30);
        place = rint(codes.low - low / (double)grid.step);
        grid.zero = (int32_t)fmin(fmax(place, codes.low), codes.high);
    }
    return grid;
}

/* Squared error of the histogram on a grid. */
static double squared_error(const observer *o, const tensor_grid *grid)
{
    grid_codes codes = tensor_grid_codes(grid);
    double sum = 0.0;

    for (int i = 0; i < OBSERVE_BINS; i++) {
        if (o->bins[i] != 0) {
            double x = bin_centre(o, i);
            double code = rint(x / (double)grid->step) + grid->zero;
            double d;

            code = fmin(fmax(code, codes.low), codes.high);
            d = (code - grid->zero) * (double)grid->step - x;
            sum += d * d * (double)o->bins[i];
        }
    }
    return sum;
}

/* Divergence of sizes[0, bins) from what 128 levels leave of them, when all beyond is clamped to
 * the last bin. */
static double divergence(const double *sizes, int bins, double beyond, double total)
{
    double sum = 0.0;

    for (int level = 0; level < LEVELS; level++) {
        int begin = level * bins / LEVELS;
        int end = (level + 1) * bins / LEVELS;
        double in_level = 0.0;
        int used = 0;

        for (int i = begin; i < end; i++) {
            in_level += sizes[i];
            used += sizes[i] > 0.0 || (i == bins - 1 && beyond > 0.0);
        }
        for (int i = begin; i < end; i++) {
            double seen = sizes[i] + (i == bins - 1 ? beyond : 0.0);

            if (seen > 0.0) {
                double left = fmax(in_level / used / (total - beyond), LEAST_SHARE);

                sum += seen / total * log(seen / total / left);
            }
        }
    }
    return sum;
}

/* Clamps the range at the size whose clamping costs the least information (arXiv 2004.09602, 3.2);
 * 0 is a level of both signs. */
static void clamp_by_entropy(const observer *o, double *low, double *high)
{
    double sizes[HALF];
    double total = 0.0;
    double beyond = 0.0;
    double least = INFINITY;
    int best = HALF;

    for (int i = 0; i < HALF; i++) {
        sizes[i] = (double)(o->bins[HALF + i] + o->bins[HALF - 1 - i]);
        total += sizes[i];
    }
    /* Zeros, of which ReLU makes many, are exact on any grid and say nothing about it. */
    total -= sizes[0];
    sizes[0] = 0.0;
    for (int bins = HALF; bins >= LEVELS; bins -= ENTROPY_STRIDE) {
        double found = total > beyond ? divergence(sizes, bins, beyond, total) : INFINITY;

        if (found < least) {
            least = found;
            best = bins;
        }
        for (int i = bins - ENTROPY_STRIDE; i < bins; i++) {
            beyond += sizes[i];
        }
    }
    *low = fmax(*low, -(double)best * (double)o->reach / HALF);
    *high = fmin(*high, (double)best * (double)o->reach / HALF);
}

tensor_grid observe_grid(const observer *o, observe_range range, spry_dtype dtype, int bits)
{
    double low = (double)o->low;
    double high = (double)o->high;
    tensor_grid best;
    double least_error;

    if (range == OBSERVE_PERCENTILE) {
        trim(o, &low, &high);
    } else if (range == OBSERVE_ENTROPY) {
        clamp_by_entropy(o, &low, &high);
    }
    best = observe_grid_between(low, high, dtype, bits);
    if (range != OBSERVE_MSE) {
        return best;
    }
    least_error = squared_error(o, &best);
    for (int i = 1; i < CANDIDATES; i++) {
        double share = 1.0 - (double)i / CANDIDATES;
        tensor_grid grid = observe_grid_between(low * share, high * share, dtype, bits);
        double error = squared_error(o, &grid);

        if (error < least_error) {
            least_error = error;
            best = grid;
        }
    }
    return best;
}
