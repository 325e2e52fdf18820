/* Flipping roundings until the errors of kernels and channels cancel. */
#include "quantize/squant.h"

#include <math.h>
#include <stdbool.h>
#include <string.h>

#include "base/alloc.h"

/* ---- one unit: a kernel, or a channel ---- */

/* |error| first, then the lower index: a total order, the same on every machine. The bits of a
 * positive float order as the number does. */
static uint64_t priority(float error, int64_t index)
{
    float size = fabsf(error);
    uint32_t bits;

    memcpy(&bits, &size, sizeof bits);
    return (uint64_t)bits << 32 | (uint32_t) ~(uint32_t)index;
}

static void swap(squant_entry *a, squant_entry *b)
{
    squant_entry t = *a;

    *a = *b;
    *b = t;
}

/* Moves the `wanted` entries of highest priority to the front, in any order (quickselect). */
static void select_first(squant_entry *e, int64_t count, int64_t wanted)
{
    int64_t begin = 0;
    int64_t end = count;

    while (wanted > begin && wanted < end) {
        uint64_t pivot = e[begin + (end - begin) / 2].key;
        int64_t i = begin;
        int64_t j = end - 1;

        while (i <= j) {
            while (e[i].key > pivot) {
                i++;
            }
            while (e[j].key < pivot) {
                j--;
            }
            if (i <= j) {
                swap(&e[i++], &e[j--]);
            }
        }
        if (wanted <= j + 1) {
            end = j + 1;
        } else if (wanted >= i) {
            begin = i;
        } else {
            return; /* between both lie entries equal to the pivot */
        }
    }
}

static int64_t extreme(const squant_entry *e, int64_t begin, int64_t end, bool highest)
{
    int64_t best = begin;

    for (int64_t i = begin + 1; i < end; i++) {
        if (highest ? e[i].key > e[best].key : e[i].key < e[best].key) {
            best = i;
        }
    }
    return best;
}

/* How many of `pool` flips bring a sum of that size nearest to zero; of two, the smaller. */
static int64_t flips_for(double sum, int64_t pool)
{
    double wanted = ceil(fabs(sum) - 0.5);

    return wanted < (double)pool ? (int64_t)fmax(wanted, 0.0) : pool;
}

/* Error of element `i` as it is now. */
static float error_of(const squant_channel *c, int64_t i)
{
    return (float)c->codes[i] - c->positions[i];
}

static double error_sum(const squant_channel *c, int64_t begin, int64_t end)
{
    double sum = 0.0;

    for (int64_t i = begin; i < end; i++) {
        sum += (double)error_of(c, i);
    }
    return sum;
}

/* Elements of [begin, end) that were rounded against `step` and have a code on the other side. */
static int64_t gather_rounded(const squant_channel *c, int64_t begin, int64_t end, int step,
                              squant_entry *pool)
{
    int64_t count = 0;

    for (int64_t i = begin; i < end; i++) {
        float error = error_of(c, i);
        float x = c->positions[i];
        bool fits = step > 0 ? (error < 0.0f) & (x < (float)c->limits.high)
                             : (error > 0.0f) & (x > (float)c->limits.low);

        /* Written in any case: whether an element fits is a coin's throw that no branch predicts.
         */
        pool[count] = (squant_entry){priority(error, i), (int32_t)i, step};
        count += fits;
    }
    return count;
}

/* Performs the first `flips` of the pool. */
static void apply(const squant_channel *c, squant_entry *pool, int64_t count, int64_t flips)
{
    select_first(pool, count, flips);
    for (int64_t i = 0; i < flips; i++) {
        c->codes[pool[i].index] = (int8_t)(c->codes[pool[i].index] + pool[i].step);
    }
}

/* Stage K on one kernel. *next is the one element that stage C may move, with step 0 when none:
 * the last flip is taken back when the sum went past zero, else one more is made. */
static int64_t flip_kernel(const squant_channel *c, int64_t begin, squant_entry *pool,
                           squant_entry *next)
{
    double sum = error_sum(c, begin, begin + c->taps);
    int step = sum < 0.0 ? 1 : -1;
    int64_t count;
    int64_t flips;

    next->step = 0;
    if (sum == 0.0) {
        return 0;
    }
    count = gather_rounded(c, begin, begin + c->taps, step, pool);
    flips = flips_for(sum, count);
    apply(c, pool, count, flips);
    if (flips > 0 && (double)flips >= fabs(sum)) {
        *next = pool[extreme(pool, 0, flips, false)];
        next->step = -step;
    } else if (flips < count) {
        *next = pool[extreme(pool, flips, count, true)];
    }
    return flips;
}

/* ---- a channel ---- */

/* Stage K on every kernel; leaves the candidates of stage C at the front of `scratch`. Each kernel
 * works at its end, which the candidates of those before never reach. */
static int64_t flip_kernels(const squant_channel *c, squant_entry *scratch, int64_t *candidates)
{
    squant_entry *pool = scratch + (c->inputs - 1) * c->taps;
    int64_t flips = 0;

    *candidates = 0;
    for (int64_t n = 0; n < c->inputs; n++) {
        squant_entry next;

        flips += flip_kernel(c, n * c->taps, pool, &next);
        if (next.step != 0) {
            scratch[(*candidates)++] = next;
        }
    }
    return flips;
}

/* Keeps the candidates that move in that direction, ordered by their error as it is now. */
static int64_t keep_direction(const squant_channel *c, squant_entry *pool, int64_t count, int step)
{
    int64_t kept = 0;

    for (int64_t i = 0; i < count; i++) {
        if (pool[i].step == step) {
            pool[kept] = pool[i];
            pool[kept].key = priority(error_of(c, pool[i].index), pool[i].index);
            kept++;
        }
    }
    return kept;
}

void squant_flip_channel(const squant_channel *c, squant_stages stages, squant_entry *scratch,
                         int64_t *kernel_flips, int64_t *channel_flips)
{
    bool by_kernel = (stages & SQUANT_K) != 0 && c->taps > 1;
    int64_t size = c->inputs * c->taps;
    int64_t count = 0;
    double sum;

    *kernel_flips = 0;
    *channel_flips = 0;
    if (by_kernel) {
        *kernel_flips = flip_kernels(c, scratch, &count);
    }
    if ((stages & SQUANT_C) == 0) {
        return;
    }
    sum = error_sum(c, 0, size);
    if (sum == 0.0) {
        return;
    }
    if (by_kernel) {
        count = keep_direction(c, scratch, count, sum < 0.0 ? 1 : -1);
    } else {
        count = gather_rounded(c, 0, size, sum < 0.0 ? 1 : -1, scratch);
    }
    *channel_flips = flips_for(sum, count);
    apply(c, scratch, count, *channel_flips);
}

/* ---- a tensor ---- */

typedef struct tensor_run {
    const squant_tensor *t;
    const grid_options *grid;
    squant_stages stages;
    float *positions;       /* [workers][inputs x taps] */
    squant_entry *scratch;  /* [workers][inputs x taps] */
    squant_report *reports; /* [outputs] */
} tensor_run;

static void round_to_nearest(const squant_tensor *t, int64_t channel, grid_codes limits,
                             float *positions)
{
    int64_t size = t->inputs * t->taps;
    const float *weights = t->weights + channel * size;
    int8_t *codes = t->codes + channel * size;
    float step = t->steps[channel];
    int32_t zero = t->zeros[channel];

    for (int64_t i = 0; i < size; i++) {
        float x = grid_position(weights[i], step, zero);
        float code = rintf(x);

        code = code < (float)limits.low ? (float)limits.low : code;
        code = code > (float)limits.high ? (float)limits.high : code;
        positions[i] = x;
        codes[i] = (int8_t)code;
    }
}

/* Mean |sum| of kernels, and |sum| of the channel. */
static void measure(const squant_channel *c, double *kernels, double *channel)
{
    double sum = 0.0;

    *kernels = 0.0;
    for (int64_t n = 0; n < c->inputs; n++) {
        double kernel = error_sum(c, n * c->taps, (n + 1) * c->taps);

        *kernels += fabs(kernel);
        sum += kernel;
    }
    *kernels /= (double)c->inputs;
    *channel = fabs(sum);
}

static void round_channels(void *context, int64_t begin, int64_t end, int worker)
{
    const tensor_run *r = context;
    const squant_tensor *t = r->t;
    int64_t size = t->inputs * t->taps;

    for (int64_t m = begin; m < end; m++) {
        squant_report *report = &r->reports[m];
        squant_channel c = {r->positions + worker * size, t->inputs, t->taps,
                            grid_codes_of(r->grid), t->codes + m * size};

        grid_of_channel(t->weights + m * size, size, r->grid, &t->steps[m], &t->zeros[m]);
        round_to_nearest(t, m, c.limits, r->positions + worker * size);
        measure(&c, &report->kernel_error_before, &report->channel_error_before);
        squant_flip_channel(&c, r->stages, r->scratch + worker * size, &report->kernel_flips,
                            &report->channel_flips);
        measure(&c, &report->kernel_error_after, &report->channel_error_after);
    }
}

static void sum_reports(const squant_report *reports, int64_t count, squant_report *total)
{
    double share = 1.0 / (double)count;

    memset(total, 0, sizeof *total);
    for (int64_t i = 0; i < count; i++) {
        total->kernel_flips += reports[i].kernel_flips;
        total->channel_flips += reports[i].channel_flips;
        total->kernel_error_before += reports[i].kernel_error_before * share;
        total->kernel_error_after += reports[i].kernel_error_after * share;
        total->channel_error_before += reports[i].channel_error_before * share;
        total->channel_error_after += reports[i].channel_error_after * share;
    }
}

spry_status squant_round(const squant_tensor *t, const grid_options *grid, squant_stages stages,
                         const spry_allocator *allocator, threads *team, squant_report *report,
                         spry_error *error)
{
    enum { WEIGHTS_PER_PIECE = 16384 };
    size_t size = (size_t)(t->inputs * t->taps);
    size_t rooms = size * (size_t)threads_count(team);
    tensor_run r = {t, grid, stages, NULL, NULL, NULL};

    if (t->outputs == 0 || size == 0) {
        if (report != NULL) {
            memset(report, 0, sizeof *report);
        }
        return SPRY_OK;
    }
    r.positions = alloc_bytes(allocator, rooms * sizeof *r.positions);
    r.scratch = alloc_bytes(allocator, rooms * sizeof *r.scratch);
    r.reports = alloc_array(allocator, (size_t)t->outputs, sizeof *r.reports);
    if (r.positions != NULL && r.scratch != NULL && r.reports != NULL) {
        threads_for(team, t->outputs, WEIGHTS_PER_PIECE / (int64_t)size + 1, round_channels, &r);
        if (report != NULL) {
            sum_reports(r.reports, t->outputs, report);
        }
    }
    alloc_release(allocator, r.positions, rooms * sizeof *r.positions);
    alloc_release(allocator, r.scratch, rooms * sizeof *r.scratch);
    alloc_release(allocator, r.reports, (size_t)t->outputs * sizeof *r.reports);
    return r.positions != NULL && r.scratch != NULL && r.reports != NULL
               ? SPRY_OK
               : alloc_failed(error, rooms * sizeof *r.scratch);
}
