#include "simulate/array/lowering.h"

#include <stddef.h>

const char *const lowering_way_names[] = {"channel-first", "channel-last", "explicit", NULL};
const char *const lowering_multi_names[] = {"off", "row", "full", NULL};

enum { PARTS_MOST = 16 };

static int64_t least(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

static int64_t pieces(int64_t whole, int64_t piece)
{
    return (whole + piece - 1) / piece;
}

/* Passes over taps and channels of one group, for one block of filters. */
static int64_t passes_of_taps(const systolic_shape *shape, const simulate_layer *l,
                              lowering_way way, lowering_multi multi, int64_t *together)
{
    int64_t channels = l->channels / l->groups;
    int64_t taps = l->kernel_height * l->kernel_width;
    int64_t fit = shape->rows / channels;

    *together = 1;
    if (way == LOWERING_EXPLICIT) { /* a matrix like any other */
        return pieces(taps * channels, shape->rows);
    }
    if (fit < 2 || multi == LOWERING_MULTI_OFF) {
        return pieces(channels, shape->rows) * taps;
    }
    if (multi == LOWERING_MULTI_FULL) {
        *together = least(fit, taps);
        return pieces(taps, *together);
    }
    *together = least(fit, l->kernel_width);
    return l->kernel_height * pieces(l->kernel_width, *together);
}

static int64_t input_elements(const simulate_layer *l)
{
    return l->images * l->in_height * l->in_width * l->channels;
}

static int64_t weight_elements(const simulate_layer *l)
{
    return l->kernel_height * l->kernel_width * l->channels / l->groups * l->filters;
}

/* Elements that a patch of channel last reads per output row and kernel row: all columns between
 * the first and the last that some window of the row touches. */
static int64_t row_elements(const simulate_layer *l)
{
    return ((l->out_width - 1) * l->stride_width + l->dilation_width * (l->kernel_width - 1) + 1) *
           l->channels;
}

static void count_memory(const lowering_machine *m, const simulate_layer *l, lowering_way way,
                         lowering_cost *cost)
{
    int64_t half = m->scratch_bytes / 2;
    int64_t inputs = input_elements(l) * m->element_bytes;
    int64_t weights = weight_elements(l) * m->element_bytes;
    int64_t outputs = simulate_layer_pixels(l) * l->filters * m->element_bytes;
    int64_t patches = simulate_layer_pixels(l) * l->kernel_height * l->kernel_width * l->channels *
                      m->element_bytes;
    int64_t streamed = way == LOWERING_EXPLICIT ? patches : inputs;
    /* Where neither operand fits, one is kept in parts and the other comes again with each. */
    int64_t keep_weights = streamed * (streamed > half ? pieces(weights, half) : 1) + weights;
    int64_t keep_inputs = streamed + weights * (weights > half ? pieces(streamed, half) : 1);

    cost->read_bytes = least(keep_weights, keep_inputs);
    cost->written_bytes = outputs;
    if (way == LOWERING_EXPLICIT && l->kernel_height * l->kernel_width > 1) {
        cost->read_bytes += inputs;
        cost->written_bytes += patches;
    }
}

static void count_compute(const lowering_machine *m, const simulate_layer *l, lowering_way way,
                          lowering_multi multi, lowering_cost *cost)
{
    uint64_t pixels = (uint64_t)simulate_layer_pixels(l);
    uint64_t rows = (uint64_t)m->shape.rows;
    int64_t blocks = pieces(l->filters / l->groups, m->shape.columns) * l->groups;
    int64_t per_block = passes_of_taps(&m->shape, l, way, multi, &cost->taps_together);

    cost->passes = per_block * blocks;
    cost->rounds = per_block * pieces(blocks, m->arrays);
    cost->streamed = (uint64_t)cost->rounds * pixels;
    cost->late_weights = pixels < rows ? (uint64_t)(cost->rounds - 1) * (rows - pixels) : 0;
    cost->compute = systolic_cycles_weights(m->shape, (uint64_t)cost->rounds, pixels);
    cost->macs = simulate_layer_macs(l);
}

/* What the scratch pad delivers, and how long patches of channel last wait for it: it gives as many
 * elements a cycle as the array has rows. */
static void count_loads(const lowering_machine *m, const simulate_layer *l, lowering_way way,
                        lowering_cost *cost)
{
    int64_t blocks = pieces(l->filters / l->groups, m->shape.columns);
    int64_t per_block;

    if (way == LOWERING_CHANNEL_LAST) {
        per_block = l->images * l->out_height * l->kernel_height * row_elements(l);
    } else {
        per_block = simulate_layer_pixels(l) * l->kernel_height * l->kernel_width * l->channels;
    }
    cost->loaded = per_block * blocks;
    cost->macs_per_loaded = cost->macs / (double)cost->loaded;
    if (way == LOWERING_CHANNEL_LAST) {
        uint64_t needed =
            (uint64_t)pieces(per_block, m->shape.rows) * (uint64_t)pieces(blocks, m->arrays);

        cost->fetch = needed > cost->streamed ? needed - cost->streamed : 0;
        cost->compute += cost->fetch;
    }
}

lowering_parts lowering_cut(const lowering_machine *m, const simulate_layer *l,
                            const lowering_cost *cost)
{
    int64_t weights = least(weight_elements(l) * m->element_bytes, cost->read_bytes);
    int64_t rest = cost->read_bytes - weights;
    int64_t larger = weights > rest ? weights : rest;
    int64_t most = weights > rest ? cost->rounds : pieces(simulate_layer_pixels(l), m->shape.rows);
    lowering_parts p = {.count = least(most < 1 ? 1 : most, PARTS_MOST)};

    p.later_load = larger / p.count;
    p.first_load = cost->read_bytes - p.later_load * (p.count - 1);
    p.store = pieces(cost->written_bytes, p.count);
    return p;
}

/* Cycles of the array while the memory moves so many bytes. */
static uint64_t moving(const lowering_machine *m, int64_t bytes)
{
    return (uint64_t)((double)bytes / m->bandwidth * 1e15 / (double)m->period + 0.5);
}

static void finish(const lowering_machine *m, lowering_cost *cost)
{
    double elements = (double)m->shape.rows * (double)m->shape.columns * (double)m->arrays;

    cost->utilisation = cost->cycles > 0 ? cost->macs / (elements * (double)cost->cycles) : 0.0;
}

static void count(const lowering_machine *m, const simulate_layer *l, lowering_way way,
                  lowering_multi multi, lowering_cost *cost)
{
    *cost = (lowering_cost){0};
    count_compute(m, l, way, multi, cost);
    count_loads(m, l, way, cost);
    count_memory(m, l, way, cost);
}

void lowering_estimate(const lowering_machine *m, const simulate_layer *l, lowering_way way,
                       lowering_multi multi, lowering_cost *cost)
{
    lowering_parts p;
    uint64_t first;
    uint64_t last;
    uint64_t between;

    count(m, l, way, multi, cost);
    p = lowering_cut(m, l, cost);
    cost->memory = moving(m, cost->read_bytes + cost->written_bytes);
    first = moving(m, p.first_load);
    last = moving(m, p.store);
    between = cost->memory > first + last ? cost->memory - first - last : 0;
    cost->cycles = first + (cost->compute > between ? cost->compute : between) + last;
    finish(m, cost);
}
