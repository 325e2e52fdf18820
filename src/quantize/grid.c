/* Ranges to steps. */
#include "quantize/grid.h"

#include <float.h>
#include <math.h>

/* A floor far below any trained weight: keeps quotients finite. */
static const double LEAST_STEP = (double)FLT_MIN * 16777216.0;

grid_codes grid_codes_of(const grid_options *options)
{
    int32_t half = 1 << (options->bits - 1);

    return (grid_codes){options->symmetric ? 1 - half : -half, half - 1};
}

grid_codes tensor_grid_codes(const tensor_grid *grid)
{
    int32_t count = 1 << (grid->bits != 0 ? grid->bits : GRID_MOST_BITS);
    int32_t low = grid->dtype == SPRY_DTYPE_I8 ? -count / 2 : 0;

    return (grid_codes){low, low + count - 1};
}

static double round_to_step(double step)
{
    return step > LEAST_STEP ? step : LEAST_STEP;
}

static void affine_grid(double low, double high, const grid_options *options, float *step,
                        int32_t *zero)
{
    grid_codes codes = grid_codes_of(options);
    double place;

    if (!options->exact_range) {
        low = low < 0.0 ? low : 0.0;
        high = high > 0.0 ? high : 0.0;
    }
    *step = (float)round_to_step((high - low) / (codes.high - codes.low));
    place = codes.low - rint(low / (double)*step);
    /* A step at its floor can put the zero point anywhere: keep it an integer that fits. */
    place = place < -1e9 ? -1e9 : place > 1e9 ? 1e9 : place;
    *zero = (int32_t)place;
}

void grid_of_bounds(float low, float high, const grid_options *options, float *step, int32_t *zero)
{
    *zero = 0;
    *step = 1.0f;
    if (low == 0.0f && high == 0.0f) {
        return;
    }
    if (options->symmetric) {
        double most = fmax(fabs((double)low), fabs((double)high));

        *step = (float)round_to_step(most / grid_codes_of(options).high);
    } else {
        affine_grid((double)low, (double)high, options, step, zero);
    }
}
