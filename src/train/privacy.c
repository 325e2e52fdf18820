/* Renyi accounting of the sampled Gaussian mechanism, in logarithms throughout. */
#include "train/privacy.h"

#include <math.h>
#include <stddef.h>

enum { BISECTIONS = 60 };
static const double most_noise = 1e6;

/* log(exp(a) + exp(b)) */
static double log_add(double a, double b)
{
    double large = a > b ? a : b;
    double small = a > b ? b : a;

    return small == -(double)INFINITY ? large : large + log1p(exp(small - large));
}

double privacy_divergence(double rate, double noise, int order)
{
    double sum = -(double)INFINITY;
    double binomial = 0.0; /* log */

    if (rate == 0.0) {
        return 0.0;
    }
    if (noise == 0.0) {
        return (double)INFINITY;
    }
    if (rate == 1.0) {
        return order / (2.0 * noise * noise);
    }
    for (int i = 0; i <= order; i++) {
        double pairs = (double)i * (double)(i - 1) / (2.0 * noise * noise);

        sum = log_add(sum, binomial + i * log(rate) + (order - i) * log1p(-rate) + pairs);
        binomial += log((double)(order - i)) - log((double)(i + 1));
    }
    return sum / (order - 1);
}

static spry_status check(const privacy_phase *phases, int32_t count, double delta, int most_order,
                         spry_error *error)
{
    bool fits = count >= 0 && delta > 0.0 && delta < 1.0 && most_order >= PRIVACY_LEAST_ORDER &&
                most_order <= PRIVACY_MOST_ORDER;

    for (int32_t i = 0; fits && i < count; i++) {
        fits = phases[i].rate >= 0.0 && phases[i].rate <= 1.0 && phases[i].noise >= 0.0 &&
               phases[i].steps >= 0;
    }
    if (!fits) {
        return spry_fail(error, SPRY_USAGE, "privacy",
                         "rates are in [0, 1], noise is not negative, delta is in (0, 1)",
                         "a rate, noise, number of steps, order or delta is outside of its range");
    }
    return SPRY_OK;
}

static double epsilon_at(const privacy_phase *phases, int32_t count, double delta, int order)
{
    double divergence = 0.0;

    for (int32_t i = 0; i < count; i++) {
        if (phases[i].steps > 0) {
            divergence += (double)phases[i].steps *
                          privacy_divergence(phases[i].rate, phases[i].noise, order);
        }
    }
    return divergence + log1p(-1.0 / order) - (log(delta) + log((double)order)) / (order - 1);
}

spry_status privacy_spend(const privacy_phase *phases, int32_t count, double delta, int most_order,
                          privacy_spent *spent, spry_error *error)
{
    spry_status status = check(phases, count, delta, most_order, error);

    *spent = (privacy_spent){.epsilon = (double)INFINITY, .order = PRIVACY_LEAST_ORDER};
    if (status != SPRY_OK) {
        return status;
    }
    for (int order = PRIVACY_LEAST_ORDER; order <= most_order; order++) {
        double epsilon = epsilon_at(phases, count, delta, order);

        if (epsilon < spent->epsilon) {
            spent->epsilon = epsilon;
            spent->order = order;
        }
    }
    spent->epsilon = spent->epsilon < 0.0 ? 0.0 : spent->epsilon;
    spent->at_edge = spent->order == PRIVACY_LEAST_ORDER || spent->order == most_order;
    return SPRY_OK;
}

spry_status privacy_noise_for(double rate, int64_t steps, double delta, double epsilon,
                              double *noise, spry_error *error)
{
    privacy_phase phase = {.rate = rate, .noise = 1e-3, .steps = steps};
    double low = 0.0; /* too little */
    privacy_spent spent;
    spry_status status = privacy_spend(&phase, 1, delta, PRIVACY_MOST_ORDER, &spent, error);

    *noise = 0.0;
    if (status == SPRY_OK && !(epsilon > 0.0)) {
        return spry_fail(error, SPRY_USAGE, "epsilon", NULL, "epsilon must be positive");
    }
    while (status == SPRY_OK && spent.epsilon > epsilon) {
        if (phase.noise >= most_noise) {
            return spry_fail(error, SPRY_USAGE, "privacy", "train fewer steps, or allow more",
                             "no noise up to %g keeps epsilon at %g", most_noise, epsilon);
        }
        low = phase.noise;
        phase.noise *= 2.0;
        status = privacy_spend(&phase, 1, delta, PRIVACY_MOST_ORDER, &spent, error);
    }
    *noise = phase.noise;
    for (int i = 0; i < BISECTIONS && status == SPRY_OK && *noise - low > 1e-6 * *noise; i++) {
        phase.noise = (low + *noise) / 2.0;
        status = privacy_spend(&phase, 1, delta, PRIVACY_MOST_ORDER, &spent, error);
        if (spent.epsilon > epsilon) {
            low = phase.noise;
        } else {
            *noise = phase.noise;
        }
    }
    return status;
}

/* ---- one release ---- */

/* The share of a normal distribution below x. */
static double below(double x)
{
    return 0.5 * erfc(-x / sqrt(2.0));
}

double privacy_release_delta(double noise, double epsilon)
{
    double half = 1.0 / (2.0 * noise);
    double tail = below(-half - epsilon * noise);

    /* exp(epsilon) may overflow where the tail is 0; their product does not. */
    return below(half - epsilon * noise) - (tail > 0.0 ? exp(epsilon + log(tail)) : 0.0);
}

double privacy_release_noise(double epsilon, double delta)
{
    double low = 0.0;
    double high = 1.0;

    while (privacy_release_delta(high, epsilon) > delta && high < most_noise * most_noise) {
        low = high;
        high *= 2.0;
    }
    for (int i = 0; i < BISECTIONS && high - low > 1e-9 * high; i++) {
        double middle = (low + high) / 2.0;

        if (privacy_release_delta(middle, epsilon) > delta) {
            low = middle;
        } else {
            high = middle;
        }
    }
    return high;
}
