#include "simulate/array/lowering_compute.h"

#include <string.h>

#include "base/arena.h"

/* Rows [first, first + depth) of the reduction that one pass takes: row t * channels + c is channel
 * c of tap t. */
typedef struct span {
    int64_t first;
    int depth;
} span;

typedef struct job {
    arena memory;
    systolic_shape shape;
    const simulate_layer *l;
    const float *x, *w;
    float *y;
    int64_t channels, filters; /* of a group */
    span *spans;
    int64_t span_count;
} job;

static int64_t least(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

static void add_span(job *j, int64_t first, int64_t depth)
{
    j->spans[j->span_count++] = (span){first, (int)depth};
}

/* The spans in the order of lowering.h. */
static void cut_reduction(job *j, lowering_way way, lowering_multi multi, int64_t together)
{
    const simulate_layer *l = j->l;
    int64_t rows = j->shape.rows;
    int64_t taps = l->kernel_height * l->kernel_width;
    bool is_one = way == LOWERING_EXPLICIT || (multi == LOWERING_MULTI_FULL && together > 1);
    int64_t run = is_one ? taps : together > 1 ? l->kernel_width : 1;
    int64_t step = way == LOWERING_EXPLICIT || together < 2 ? rows : together * j->channels;

    /* A run of taps is cut on its own: all of them, those of a kernel row, or each. */
    for (int64_t tap = 0; tap < taps; tap += run) {
        int64_t end = run * j->channels;

        for (int64_t at = 0; at < end; at += step) {
            add_span(j, tap * j->channels + at, least(step, end - at));
        }
    }
}

static const float *pixel(const job *j, int64_t m, int64_t tap)
{
    const simulate_layer *l = j->l;
    int64_t column = m % l->out_width * l->stride_width + tap % l->kernel_width * l->dilation_width;
    int64_t row = m / l->out_width % l->out_height * l->stride_height +
                  tap / l->kernel_width * l->dilation_height;
    int64_t image = m / l->out_width / l->out_height;

    return j->x + ((image * l->in_height + row) * l->in_width + column) * l->channels;
}

/* The operands of a pass: what its rows are fed, and its weights. */
static bool make_pass(job *j, int64_t group, int64_t block, const span *s, systolic_pass *p)
{
    int64_t pixels = simulate_layer_pixels(j->l);
    int64_t first = block * j->shape.columns;
    int64_t width = least(j->filters - first, j->shape.columns);
    float *a = arena_array(&j->memory, (size_t)(pixels * s->depth), sizeof *a);
    float *w = arena_array(&j->memory, (size_t)(s->depth * width), sizeof *w);

    if (a == NULL || w == NULL) {
        return false;
    }
    for (int i = 0; i < s->depth; i++) {
        int64_t tap = (s->first + i) / j->channels;
        int64_t channel = (s->first + i) % j->channels;

        for (int64_t m = 0; m < pixels; m++) {
            a[m * s->depth + i] = pixel(j, m, tap)[group * j->channels + channel];
        }
        memcpy(w + i * width, j->w + (s->first + i) * j->l->filters + group * j->filters + first,
               (size_t)width * sizeof *w);
    }
    *p = (systolic_pass){.a = a,
                         .w = w,
                         .sums = j->y + group * j->filters + first,
                         .a_pitch = s->depth,
                         .w_pitch = width,
                         .sums_pitch = j->l->filters,
                         .depth = s->depth,
                         .width = (int)width};
    return true;
}

static spry_status run_passes(job *j, uint64_t *cycles, spry_error *error)
{
    int64_t blocks = (j->filters + j->shape.columns - 1) / j->shape.columns;
    int64_t count = j->l->groups * blocks * j->span_count;
    int64_t made = 0;
    systolic_pass *passes = arena_array(&j->memory, (size_t)count, sizeof *passes);

    for (int64_t g = 0; passes != NULL && g < j->l->groups; g++) {
        for (int64_t b = 0; b < blocks; b++) {
            for (int64_t s = 0; s < j->span_count; s++) {
                if (!make_pass(j, g, b, &j->spans[s], &passes[made++])) {
                    passes = NULL;
                    break;
                }
            }
            if (passes == NULL) {
                break;
            }
        }
    }
    if (passes == NULL) {
        return spry_fail(error, SPRY_LIMIT, j->l->name, NULL, "no memory for its passes");
    }
    return systolic_run_weights(NULL, j->shape, passes, count, simulate_layer_pixels(j->l), cycles,
                                error);
}

spry_status lowering_compute(const spry_allocator *allocator, systolic_shape shape,
                             const simulate_layer *l, lowering_way way, lowering_multi multi,
                             const float *x, const float *w, float *y, uint64_t *cycles,
                             spry_error *error)
{
    lowering_machine machine = {.shape = shape,
                                .arrays = 1,
                                .period = 1,
                                .element_bytes = 4,
                                .scratch_bytes = 1 << 20,
                                .bandwidth = 1e9};
    lowering_cost cost;
    job j = {.shape = shape,
             .l = l,
             .x = x,
             .w = w,
             .y = y,
             .channels = l->channels / l->groups,
             .filters = l->filters / l->groups};
    size_t most = (size_t)(l->kernel_height * l->kernel_width * (j.channels / shape.rows + 1));
    spry_status status;

    lowering_estimate(&machine, l, way, multi, &cost);
    arena_init(&j.memory, allocator, SIZE_MAX);
    j.spans = arena_array(&j.memory, most, sizeof *j.spans);
    memset(y, 0, (size_t)(simulate_layer_pixels(l) * l->filters) * sizeof *y);
    if (j.spans == NULL) {
        status = spry_fail(error, SPRY_LIMIT, l->name, NULL, "no memory for its passes");
    } else {
        cut_reduction(&j, way, multi, cost.taps_together);
        status = run_passes(&j, cycles, error);
    }
    arena_fini(&j.memory);
    return status;
}
