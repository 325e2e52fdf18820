/* Cutting a tensor into channels, and their grids. */
#include "quantize/method/squant.h"

#include <string.h>

#include "base/alloc.h"
#include "base/arena.h"
#include "quantize/method/squant_row.h"

typedef struct tensor_run {
    const squant_tensor *t;
    const grid_options *grid;
    squant_layout layout;
    arena memory;
    squant_room *rooms; /* [workers] */
    float **weights;    /* [workers][size]: a channel in the order worked in; NULL without order */
    int8_t **codes;     /* likewise */
    float *low, *high;  /* [outputs][blocks], where blocks span several outputs */
    int64_t row_block;
    squant_report *reports; /* [outputs] */
} tensor_run;

static int64_t row_block_of(const tensor_run *r, int64_t output)
{
    return r->t->row_map != NULL ? r->t->row_map[output] : output / r->row_block;
}

/* ---- room ---- */

/* Where groups of inputs begin, and their order where a map puts them elsewhere. */
static bool lay_out_inputs(tensor_run *r)
{
    const squant_tensor *t = r->t;
    squant_layout *l = &r->layout;
    int64_t column_block = t->column_block != 0 ? t->column_block : t->inputs;

    l->blocks =
        t->column_blocks != 0 ? t->column_blocks : (t->inputs + column_block - 1) / column_block;
    l->spans = arena_array(&r->memory, (size_t)l->blocks + 1, sizeof *l->spans);
    if (l->spans == NULL) {
        return false;
    }
    if (t->column_map == NULL) {
        for (int64_t b = 0; b <= l->blocks; b++) {
            l->spans[b] = b * column_block < t->inputs ? b * column_block : t->inputs;
        }
        return true;
    }
    l->order = arena_array(&r->memory, (size_t)t->inputs + 1, sizeof *l->order);
    if (l->order == NULL) {
        return false;
    }
    for (int64_t b = 0, place = 0; b < l->blocks; b++) {
        for (int64_t n = 0; n < t->inputs; n++) {
            if (t->column_map[n] == b) {
                l->order[place++] = (int32_t)n;
            }
        }
        l->spans[b + 1] = place;
    }
    return true;
}

static bool lay_out(tensor_run *r, squant_stages stages)
{
    const squant_tensor *t = r->t;
    squant_layout *l = &r->layout;
    float *means = NULL;

    *l = (squant_layout){.kernel = round_f32_select(),
                         .stages = stages,
                         .limits = grid_codes_of(r->grid),
                         .taps = t->taps,
                         .size = t->inputs * t->taps};
    r->row_block = t->row_block != 0 ? t->row_block : 1;
    if (!lay_out_inputs(r)) {
        return false;
    }
    l->units = t->taps == 1 && l->blocks > 1 ? l->blocks : t->inputs;
    l->by_unit = (stages & SQUANT_K) != 0 && (t->taps > 1 || l->blocks > 1);
    l->means = t->means;
    if (t->means != NULL && l->order != NULL) {
        means = arena_array(&r->memory, (size_t)t->inputs, sizeof *means);
        l->means = means;
        for (int64_t n = 0; means != NULL && n < t->inputs; n++) {
            means[n] = t->means[l->order[n]];
        }
        return means != NULL;
    }
    return true;
}

static int64_t largest_unit(const squant_layout *l)
{
    int64_t most = l->taps;

    for (int64_t b = 0; l->taps == 1 && b < l->blocks; b++) {
        int64_t size = l->spans[b + 1] - l->spans[b];

        most = size > most ? size : most;
    }
    return most;
}

static bool make_room(tensor_run *r, squant_room *room)
{
    const squant_layout *l = &r->layout;
    bool is_weighted = l->blocks > 1 || l->means != NULL;
    size_t size = (size_t)l->size;
    size_t sums = (size_t)(l->units > l->blocks ? l->units : l->blocks) + 1;
    size_t units = l->by_unit ? (size_t)l->units : 1;
    size_t scratch = l->by_unit ? (size_t)round_f32_scratch(largest_unit(l)) : 1;
    arena *m = &r->memory;

    *room = (squant_room){.errors = arena_bytes(m, size * sizeof(float)),
                          .keys = arena_bytes(m, size * sizeof(int32_t)),
                          .before = arena_array(m, sums, sizeof(double)),
                          .after = arena_array(m, sums, sizeof(double)),
                          .flips = arena_array(m, units, sizeof(int32_t)),
                          .next_element = arena_array(m, units, sizeof(int32_t)),
                          .unit_steps = arena_array(m, units, sizeof(float)),
                          .unit_zeros = arena_array(m, units, sizeof(int32_t)),
                          .scratch = arena_bytes(m, scratch * sizeof(int32_t)),
                          .candidates =
                              arena_bytes(m, is_weighted ? size * sizeof(squant_candidate) : 1)};
    return room->errors != NULL && room->keys != NULL && room->before != NULL &&
           room->after != NULL && room->flips != NULL && room->next_element != NULL &&
           room->unit_steps != NULL && room->unit_zeros != NULL && room->scratch != NULL &&
           room->candidates != NULL;
}

static bool make_rooms(tensor_run *r, int workers)
{
    size_t size = (size_t)r->layout.size;
    size_t ranges = (size_t)r->t->outputs * (size_t)r->layout.blocks;
    bool fits = true;

    r->rooms = arena_array(&r->memory, (size_t)workers, sizeof *r->rooms);
    r->weights = arena_array(&r->memory, (size_t)workers, sizeof *r->weights);
    r->codes = arena_array(&r->memory, (size_t)workers, sizeof *r->codes);
    r->reports = arena_array(&r->memory, (size_t)r->t->outputs, sizeof *r->reports);
    if (r->rooms == NULL || r->weights == NULL || r->codes == NULL || r->reports == NULL) {
        return false;
    }
    for (int i = 0; fits && i < workers; i++) {
        fits = make_room(r, &r->rooms[i]);
        if (fits && r->layout.order != NULL) {
            r->weights[i] = arena_bytes(&r->memory, size * sizeof(float));
            r->codes[i] = arena_bytes(&r->memory, size);
            fits = r->weights[i] != NULL && r->codes[i] != NULL;
        }
    }
    if (fits && !r->t->has_grid && (r->row_block > 1 || r->t->row_map != NULL)) {
        r->low = arena_array(&r->memory, ranges, sizeof *r->low);
        r->high = arena_array(&r->memory, ranges, sizeof *r->high);
        fits = r->low != NULL && r->high != NULL;
    }
    return fits;
}

/* ---- channels ---- */

/* The channel's weights in the order worked in. */
static const float *weights_of(const tensor_run *r, int64_t output, int worker)
{
    const squant_layout *l = &r->layout;
    const float *weights = r->t->weights + output * l->size;
    float *to = r->weights[worker];

    if (l->order == NULL) {
        return weights;
    }
    for (int64_t n = 0; n < r->t->inputs; n++) {
        memcpy(to + n * l->taps, weights + l->order[n] * l->taps, (size_t)l->taps * sizeof *to);
    }
    return to;
}

static void find_range(const tensor_run *r, const float *weights, int64_t block, float *low,
                       float *high)
{
    const squant_layout *l = &r->layout;
    int64_t begin = l->spans[block] * l->taps;
    int64_t count = l->spans[block + 1] * l->taps - begin;

    *low = 0.0f;
    *high = 0.0f;
    if (count > 0) {
        l->kernel->range(weights + begin, count, low, high);
    }
}

static void find_ranges(void *context, int64_t begin, int64_t end, int worker)
{
    const tensor_run *r = context;
    int64_t blocks = r->layout.blocks;

    for (int64_t m = begin; m < end; m++) {
        const float *weights = weights_of(r, m, worker);

        for (int64_t b = 0; b < blocks; b++) {
            find_range(r, weights, b, &r->low[m * blocks + b], &r->high[m * blocks + b]);
        }
    }
}

/* Grids of blocks that span several outputs: the first output of each collects what the others
 * found. */
static void merge_ranges(const tensor_run *r)
{
    int64_t blocks = r->layout.blocks;

    for (int64_t m = 0; m < r->t->outputs; m++) {
        int64_t first = 0;

        while (row_block_of(r, first) != row_block_of(r, m)) {
            first++;
        }
        for (int64_t b = 0; b < blocks; b++) {
            float *low = &r->low[first * blocks + b];
            float *high = &r->high[first * blocks + b];
            int64_t place = row_block_of(r, m) * blocks + b;

            *low = r->low[m * blocks + b] < *low ? r->low[m * blocks + b] : *low;
            *high = r->high[m * blocks + b] > *high ? r->high[m * blocks + b] : *high;
            grid_of_bounds(*low, *high, r->grid, &r->t->steps[place], &r->t->zeros[place]);
        }
    }
}

static void round_channel(const tensor_run *r, int64_t output, int worker)
{
    const squant_tensor *t = r->t;
    const squant_layout *l = &r->layout;
    int64_t place = row_block_of(r, output) * l->blocks;
    int8_t *codes = t->codes + output * l->size;
    squant_row row = {.layout = l,
                      .room = &r->rooms[worker],
                      .weights = weights_of(r, output, worker),
                      .codes = l->order != NULL ? r->codes[worker] : codes,
                      .steps = t->steps + place,
                      .zeros = t->zeros + place};

    for (int64_t b = 0; !t->has_grid && r->low == NULL && b < l->blocks; b++) {
        float low;
        float high;

        find_range(r, row.weights, b, &low, &high);
        grid_of_bounds(low, high, r->grid, &t->steps[place + b], &t->zeros[place + b]);
    }
    squant_round_row(&row, &r->reports[output]);
    for (int64_t n = 0; l->order != NULL && n < t->inputs; n++) {
        memcpy(codes + l->order[n] * l->taps, row.codes + n * l->taps, (size_t)l->taps);
    }
}

static void round_channels(void *context, int64_t begin, int64_t end, int worker)
{
    for (int64_t m = begin; m < end; m++) {
        round_channel(context, m, worker);
    }
}

/* ---- a tensor ---- */

static void sum_reports(const squant_report *reports, int64_t count, squant_report *total)
{
    double share = 1.0 / (double)count;

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
    tensor_run r = {.t = t, .grid = grid};
    bool fits;

    if (report != NULL) {
        *report = (squant_report){0};
    }
    if (t->outputs == 0 || t->inputs == 0 || t->taps == 0) {
        return SPRY_OK;
    }
    arena_init(&r.memory, allocator, SIZE_MAX);
    fits = lay_out(&r, stages) && make_rooms(&r, threads_count(team));
    if (fits) {
        int64_t grain = WEIGHTS_PER_PIECE / r.layout.size + 1;

        if (r.low != NULL) {
            threads_for(team, t->outputs, grain, find_ranges, &r);
            merge_ranges(&r);
        }
        threads_for(team, t->outputs, grain, round_channels, &r);
        if (report != NULL) {
            sum_reports(r.reports, t->outputs, report);
        }
    }
    arena_fini(&r.memory);
    return fits ? SPRY_OK : alloc_failed(error, (size_t)t->outputs * (size_t)r.layout.size);
}
