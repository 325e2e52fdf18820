/* Formulas of the step. */
#include "train/schedule.h"

#include <math.h>

static const double pi = 3.14159265358979323846;
static const double cycle_start = 1.0 / 25.0; /* of base */
static const double cycle_rise = 0.3;         /* of the steps */

/* From a at 0 to b at 1 along half a cosine. */
static double ease(double a, double b, double part)
{
    return b + (a - b) * (1.0 + cos(pi * part)) / 2.0;
}

static double one_cycle(const schedule *s, double part)
{
    if (part < cycle_rise) {
        return ease(s->base * cycle_start, s->base, part / cycle_rise);
    }
    return ease(s->base, s->least, (part - cycle_rise) / (1.0 - cycle_rise));
}

static int32_t milestones_passed(const schedule *s, int64_t t)
{
    int32_t passed = 0;

    while (passed < s->milestone_count && s->milestones[passed] <= t) {
        passed++;
    }
    return passed;
}

double schedule_at(const schedule *s, int64_t t)
{
    int64_t after = t - s->warm_up;
    int64_t all = s->total - s->warm_up;
    double part = after < all ? (double)after / (double)all : 1.0;

    if (after < 0) {
        return s->base * (double)(t + 1) / (double)s->warm_up;
    }
    switch (s->kind) {
    case SCHEDULE_STEPS: return s->base * pow(s->gamma, (double)(after / s->every));
    case SCHEDULE_MILESTONES: return s->base * pow(s->gamma, milestones_passed(s, t));
    case SCHEDULE_EXPONENTIAL: return s->base * pow(s->gamma, (double)after);
    case SCHEDULE_POLYNOMIAL: return s->least + (s->base - s->least) * pow(1.0 - part, s->power);
    case SCHEDULE_COSINE: return ease(s->base, s->least, part);
    case SCHEDULE_ONE_CYCLE: return one_cycle(s, part);
    default: return s->base;
    }
}
