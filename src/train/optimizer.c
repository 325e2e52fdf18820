/* One loop per optimiser, in blocks of a known size that compilers turn into vector code. */
#include "train/optimizer.h"

#include <math.h>

enum { BLOCK = 256, GRAIN = 64 * BLOCK, MOST_PARTS = 256, LANES = 8 };

/* One step's numbers, in the precision that the loops compute in. */
typedef struct step {
    optimizer_kind kind;
    bool nesterov, first;
    float decay, shrink;    /* shrink: what AdamW leaves of a weight */
    float momentum, damped; /* SGD: kept, added */
    float keep1, add1, keep2, add2;
    float rate;       /* Adam: divided by the correction of m */
    float correction; /* Adam: what v is multiplied by */
    float epsilon;
    const float *gradient;
    float *weights, *one, *two;
} step;

optimizer optimizer_default(optimizer_kind kind)
{
    optimizer o = {.kind = kind};

    if (kind != OPTIMIZER_SGD) {
        o.beta1 = 0.9;
        o.beta2 = 0.999;
        o.epsilon = 1e-8;
        o.decay = kind == OPTIMIZER_ADAMW ? 0.01 : 0.0;
    }
    return o;
}

int optimizer_states(const optimizer *o)
{
    if (o->kind != OPTIMIZER_SGD) {
        return 2;
    }
    return o->momentum != 0.0 ? 1 : 0;
}

static inline void plain_block(const step *s, const float *restrict gradient,
                               float *restrict weights, int64_t n)
{
    for (int64_t i = 0; i < n; i++) {
        weights[i] -= s->rate * (gradient[i] + s->decay * weights[i]);
    }
}

static inline void momentum_block(const step *s, const float *restrict gradient,
                                  float *restrict weights, float *restrict velocity, int64_t n)
{
    float keep = s->first ? 0.0f : s->momentum;
    float add = s->first ? 1.0f : s->damped;
    float of_gradient = s->nesterov ? 1.0f : 0.0f;
    float of_velocity = s->nesterov ? s->momentum : 1.0f;

    for (int64_t i = 0; i < n; i++) {
        float g = gradient[i] + s->decay * weights[i];

        velocity[i] = keep * velocity[i] + add * g;
        weights[i] -= s->rate * (of_gradient * g + of_velocity * velocity[i]);
    }
}

static inline void adam_block(const step *s, const float *restrict gradient,
                              float *restrict weights, float *restrict mean, float *restrict square,
                              int64_t n)
{
    for (int64_t i = 0; i < n; i++) {
        float g = gradient[i] + s->decay * weights[i];

        mean[i] = s->keep1 * mean[i] + s->add1 * g;
        square[i] = s->keep2 * square[i] + s->add2 * g * g;
        weights[i] = s->shrink * weights[i] -
                     s->rate * mean[i] / (sqrtf(s->correction * square[i]) + s->epsilon);
    }
}

static inline void step_block(const step *s, int64_t at, int64_t n)
{
    if (s->kind != OPTIMIZER_SGD) {
        adam_block(s, s->gradient + at, s->weights + at, s->one + at, s->two + at, n);
    } else if (s->one != NULL) {
        momentum_block(s, s->gradient + at, s->weights + at, s->one + at, n);
    } else {
        plain_block(s, s->gradient + at, s->weights + at, n);
    }
}

/* A first step forgets what the state held, be it NaN. */
static void clear(float *state, int64_t begin, int64_t end)
{
    for (int64_t i = begin; state != NULL && i < end; i++) {
        state[i] = 0.0f;
    }
}

static void step_piece(void *context, int64_t begin, int64_t end, int worker)
{
    const step *s = context;
    int64_t at = begin;

    (void)worker;
    if (s->first) {
        clear(s->one, begin, end);
        clear(s->two, begin, end);
    }
    for (; at + BLOCK <= end; at += BLOCK) {
        step_block(s, at, BLOCK);
    }
    step_block(s, at, end - at);
}

void optimizer_step(const optimizer *o, threads *team, double rate, int64_t number, int64_t count,
                    const float *gradient, float *weights, float *const *state)
{
    int states = optimizer_states(o);
    bool adam = o->kind != OPTIMIZER_SGD;
    double steps = (double)number;
    step s = {.kind = o->kind,
              .nesterov = o->nesterov,
              .first = number <= 1,
              .decay = o->kind == OPTIMIZER_ADAMW ? 0.0f : (float)o->decay,
              .shrink = o->kind == OPTIMIZER_ADAMW ? (float)(1.0 - rate * o->decay) : 1.0f,
              .momentum = (float)o->momentum,
              .damped = (float)(1.0 - o->dampening),
              .keep1 = (float)o->beta1,
              .add1 = (float)(1.0 - o->beta1),
              .keep2 = (float)o->beta2,
              .add2 = (float)(1.0 - o->beta2),
              .rate = (float)(adam ? rate / (1.0 - pow(o->beta1, steps)) : rate),
              .correction = adam ? (float)(1.0 / (1.0 - pow(o->beta2, steps))) : 1.0f,
              .epsilon = (float)o->epsilon,
              .gradient = gradient,
              .weights = weights,
              .one = states > 0 ? state[0] : NULL,
              .two = states > 1 ? state[1] : NULL};

    threads_for(team, count, GRAIN, step_piece, &s);
}

/* ---- the length of the gradient ---- */

typedef struct length {
    float *gradient;
    int64_t part; /* elements per part */
    double sums[MOST_PARTS];
    float factor;
} length;

/* Sums side by side, so that an addition need not wait for the one before. */
static void sum_part(void *context, int64_t begin, int64_t end, int worker)
{
    length *l = context;
    double lanes[LANES] = {0.0};
    double sum = 0.0;
    int64_t i = begin;

    (void)worker;
    for (; i + LANES <= end; i += LANES) {
        for (int k = 0; k < LANES; k++) {
            lanes[k] += (double)l->gradient[i + k] * (double)l->gradient[i + k];
        }
    }
    for (; i < end; i++) {
        sum += (double)l->gradient[i] * (double)l->gradient[i];
    }
    for (int k = 0; k < LANES; k++) {
        sum += lanes[k];
    }
    l->sums[begin / l->part] = sum;
}

static void scale_part(void *context, int64_t begin, int64_t end, int worker)
{
    const length *l = context;

    (void)worker;
    for (int64_t i = begin; i < end; i++) {
        l->gradient[i] *= l->factor;
    }
}

double optimizer_clip(threads *team, double limit, int64_t count, float *gradient)
{
    length l = {.gradient = gradient, .part = count / MOST_PARTS + 1};
    double norm;

    threads_for(team, count, l.part, sum_part, &l);
    /* The parts are added by pairs, which depends on their number alone. */
    for (int gap = 1; gap < MOST_PARTS; gap *= 2) {
        for (int i = 0; i + gap < MOST_PARTS; i += 2 * gap) {
            l.sums[i] += l.sums[i + gap];
        }
    }
    norm = sqrt(l.sums[0]);
    if (norm > limit && isfinite(norm)) {
        l.factor = (float)(limit / norm);
        threads_for(team, count, GRAIN, scale_part, &l);
    }
    return norm;
}

/* ---- averages ---- */

typedef struct average {
    const float *weights;
    float *twin;
    float keep, add;
} average;

static inline void average_block(const average *a, const float *restrict weights,
                                 float *restrict twin, int64_t n)
{
    for (int64_t i = 0; i < n; i++) {
        twin[i] = a->keep * twin[i] + a->add * weights[i];
    }
}

static void average_piece(void *context, int64_t begin, int64_t end, int worker)
{
    const average *a = context;
    int64_t at = begin;

    (void)worker;
    for (; at + BLOCK <= end; at += BLOCK) {
        average_block(a, a->weights + at, a->twin + at, BLOCK);
    }
    average_block(a, a->weights + at, a->twin + at, end - at);
}

void optimizer_average(threads *team, double keep, int64_t count, const float *weights, float *twin)
{
    average a = {.weights = weights, .twin = twin, .keep = (float)keep, .add = (float)(1.0 - keep)};

    threads_for(team, count, GRAIN, average_piece, &a);
}
