/* Flipping roundings of one output channel until errors cancel. */
#include "quantize/method/squant_row.h"

#include <math.h>
#include <string.h>

/* First weight of unit `u`. */
static int64_t unit_begin(const squant_layout *l, int64_t u)
{
    return l->taps == 1 && l->blocks > 1 ? l->spans[u] : u * l->taps;
}

/* ---- rounding, without and with stage K ---- */

/* Rounds to the nearest; errors are of single weights. */
static void round_elements(const squant_row *row)
{
    const squant_layout *l = row->layout;
    const squant_room *room = row->room;
    double size = 0.0;

    for (int64_t b = 0; b < l->blocks; b++) {
        int64_t begin = l->spans[b] * l->taps;
        round_f32_row part = {.weights = row->weights + begin,
                              .count = l->spans[b + 1] * l->taps - begin,
                              .step = row->steps[b],
                              .zero = row->zeros[b],
                              .low = l->limits.low,
                              .high = l->limits.high,
                              .codes = row->codes + begin,
                              .errors = room->errors + begin};

        l->kernel->row(&part);
        room->before[b] = part.sum;
        size += part.size;
    }
    if (l->units == l->size) { /* units of one weight: they have one mean */
        room->after[0] = size / (double)l->size;
    }
}

static double sum_errors(const squant_row *row, int64_t begin, int64_t end, int64_t block)
{
    double sum = 0.0;

    for (int64_t i = begin; i < end; i++) {
        sum += (double)((float)row->codes[i] -
                        grid_position(row->weights[i], row->steps[block], row->zeros[block]));
    }
    return sum;
}

/* The sums of units that no stage needed. */
static void sum_units(const squant_row *row, double *sums)
{
    const squant_layout *l = row->layout;
    int64_t block = 0;

    for (int64_t u = 0; u < l->units; u++) {
        while (unit_begin(l, u) >= l->spans[block + 1] * l->taps) {
            block++;
        }
        sums[u] = sum_errors(row, unit_begin(l, u), unit_begin(l, u + 1), block);
    }
}

/* Stage K on units [first, first + units) of `size` weights each. */
static void round_units(const squant_row *row, int64_t first, int64_t units, int64_t size)
{
    const squant_layout *l = row->layout;
    const squant_room *room = row->room;
    bool one_step = l->blocks == 1;
    bool is_group = l->taps == 1;
    round_f32_units u = {
        .weights = row->weights + unit_begin(l, first),
        .units = units,
        .size = size,
        .steps = one_step ? row->steps : (is_group ? row->steps : room->unit_steps) + first,
        .zeros = one_step ? row->zeros : (is_group ? row->zeros : room->unit_zeros) + first,
        .stride = one_step ? 0 : 1,
        .low = l->limits.low,
        .high = l->limits.high,
        .codes = row->codes + unit_begin(l, first),
        .before = room->before + first,
        .after = room->after + first,
        .flips = room->flips + first,
        .next = room->errors + first,
        .next_element = room->next_element + first,
        .scratch = room->scratch};

    l->kernel->units(&u);
}

/* Units of equal size are worked on together. */
static void round_all_units(const squant_row *row)
{
    const squant_layout *l = row->layout;
    int64_t next;

    if (l->taps > 1) {
        round_units(row, 0, l->units, l->taps);
        return;
    }
    for (int64_t u = 0; u < l->units; u = next) {
        int64_t size = l->spans[u + 1] - l->spans[u];

        next = u + 1;
        while (next < l->units && l->spans[next + 1] - l->spans[next] == size) {
            next++;
        }
        round_units(row, u, next - u, size);
    }
}

/* ---- stage C where all flips weigh the same ---- */

/* How many of `pool` flips bring a sum of that size nearest to zero; of two, the smaller. */
static int64_t flips_for(double sum, int64_t pool)
{
    double wanted = ceil(fabs(sum) - 0.5);

    return wanted < (double)pool ? (int64_t)fmax(wanted, 0.0) : pool;
}

/* The key of the last of `wanted` keys, largest first; *ties is how many keys equal to it are among
 * them. Bisects the bits of floats below 1; 0 < wanted <= number of keys that are not 0. */
static int32_t last_key(const round_f32_kernel *kernel, const int32_t *keys, int64_t count,
                        int64_t wanted, int64_t *ties)
{
    int32_t low = 0;           /* at least `wanted` keys are above */
    int32_t high = 0x3F800001; /* fewer are, namely */
    int64_t above_high = 0;

    while (high - low > 1) {
        int32_t middle = low + (high - low) / 2;
        int64_t above = kernel->count_above(keys, count, middle);

        if (above == wanted) {
            *ties = 0;
            return middle;
        }
        if (above > wanted) {
            low = middle;
        } else {
            high = middle;
            above_high = above;
        }
    }
    *ties = wanted - above_high;
    return high;
}

static int64_t weight_of_candidate(const squant_row *row, int64_t i)
{
    const squant_layout *l = row->layout;

    return l->by_unit ? unit_begin(l, i) + row->room->next_element[i] : i;
}

/* Performs candidate `i`, in the only direction it has. */
static void flip(const squant_row *row, int64_t i)
{
    const squant_layout *l = row->layout;
    const squant_room *room = row->room;
    int step = room->errors[i] > 0.0f ? -1 : 1;

    row->codes[weight_of_candidate(row, i)] += (int8_t)step;
    if (l->by_unit) {
        room->after[i] += step;
    } else if (l->units == l->size) {
        room->after[0] += (1.0 - 2.0 * fabs((double)room->errors[i])) / (double)l->size;
    }
}

/* The largest errors first, ties in their order. */
static int64_t flip_equal(const squant_row *row, int64_t count, double sum)
{
    const squant_layout *l = row->layout;
    const squant_room *room = row->room;
    int64_t pool = l->kernel->keys(room->errors, count, sum > 0.0, room->keys);
    int64_t flips = flips_for(sum, pool);
    int64_t ties = 0;
    int32_t key;

    if (flips == 0) {
        return 0;
    }
    key = last_key(l->kernel, room->keys, count, flips, &ties);
    for (int64_t i = 0; i < count; i++) {
        if (room->keys[i] >= key && (room->keys[i] > key || ties-- > 0)) {
            flip(row, i);
        }
    }
    return flips;
}

/* ---- stage C where flips weigh differently ---- */

/* How much an error of one step at this place moves the channel. */
static double weight_of_error(const squant_row *row, int64_t input, int64_t block)
{
    const float *means = row->layout->means;

    return (double)row->steps[block] * (means != NULL ? (double)means[input] : 1.0);
}

/* Where a candidate lies. Blocks only grow from one candidate to the next. */
typedef struct place {
    int64_t block, input;
} place;

static place place_of(const squant_layout *l, const int32_t *next_element, int64_t i, int64_t block)
{
    bool is_group = l->by_unit && l->taps == 1;
    place p = {is_group ? i : block, l->by_unit ? i : i / l->taps};

    if (is_group) {
        p.input = l->spans[i] + next_element[i];
    }
    while (p.input >= l->spans[p.block + 1]) {
        p.block++;
    }
    return p;
}

/* The candidates that can make the channel's sum smaller; *least is the smallest change. */
static int64_t gather_candidates(const squant_row *row, int64_t count, double sum, double *least)
{
    const squant_layout *l = row->layout;
    const squant_room *room = row->room;
    place p = {0, 0};
    int64_t kept = 0;

    *least = INFINITY;
    for (int64_t i = 0; i < count; i++) {
        float error = room->errors[i];
        double change;

        p = place_of(l, room->next_element, i, p.block);
        change = weight_of_error(row, p.input, p.block) * (error > 0.0f ? -1.0 : 1.0);
        if (error != 0.0f && change * sum < 0.0) {
            float size = fabsf(error);
            uint32_t bits;

            memcpy(&bits, &size, sizeof bits);
            room->candidates[kept++] = (squant_candidate){
                (uint64_t)bits << 32 | (uint32_t) ~(uint32_t)i, (int32_t)i, change};
            *least = fmin(*least, fabs(change));
        }
    }
    return kept;
}

static void sift(squant_candidate *heap, int64_t count, int64_t at)
{
    squant_candidate moved = heap[at];

    for (int64_t child = 2 * at + 1; child < count; child = 2 * at + 1) {
        if (child + 1 < count && heap[child + 1].key > heap[child].key) {
            child++;
        }
        if (heap[child].key <= moved.key) {
            break;
        }
        heap[at] = heap[child];
        at = child;
    }
    heap[at] = moved;
}

/* Greedy: the largest errors first, each flipped when that makes the sum smaller. */
static int64_t flip_weighted(const squant_row *row, int64_t count, double *sum)
{
    squant_candidate *heap = row->room->candidates;
    double least;
    int64_t kept = gather_candidates(row, count, *sum, &least);
    int64_t flips = 0;

    for (int64_t i = kept / 2 - 1; i >= 0; i--) {
        sift(heap, kept, i);
    }
    while (kept > 0 && 2.0 * fabs(*sum) > least) {
        squant_candidate first = heap[0];

        heap[0] = heap[--kept];
        sift(heap, kept, 0);
        if (fabs(*sum + first.change) < fabs(*sum)) {
            *sum += first.change;
            flip(row, first.index);
            flips++;
        }
    }
    return flips;
}

/* The sum of errors in real numbers, and the mean weight of an error. */
static double weighted_sum(const squant_row *row, double *mean)
{
    const squant_layout *l = row->layout;
    double sum = 0.0;

    *mean = 0.0;
    for (int64_t b = 0; b < l->blocks; b++) {
        for (int64_t n = l->spans[b]; n < l->spans[b + 1]; n++) {
            double weight = weight_of_error(row, n, b);

            sum += weight * sum_errors(row, n * l->taps, (n + 1) * l->taps, b);
            *mean += fabs(weight);
        }
    }
    *mean /= (double)l->spans[l->blocks];
    return sum;
}

/* ---- a channel ---- */

static double mean_size(const double *sums, int64_t count)
{
    double total = 0.0;

    for (int64_t i = 0; i < count; i++) {
        total += fabs(sums[i]);
    }
    return total / (double)count;
}

static double total_of(const double *sums, int64_t count)
{
    double total = 0.0;

    for (int64_t i = 0; i < count; i++) {
        total += sums[i];
    }
    return total;
}

/* Stage C; both sums are of the channel as it is. */
static void flip_channel(const squant_row *row, double sum, squant_report *report)
{
    const squant_layout *l = row->layout;
    int64_t count = l->by_unit ? l->units : l->size;
    bool is_asked = (l->stages & SQUANT_C) != 0;
    double mean = 1.0;

    if (l->blocks > 1 || l->means != NULL) {
        sum = weighted_sum(row, &mean);
        mean = mean > 0.0 ? mean : 1.0;
        report->channel_error_before = fabs(sum) / mean;
        report->channel_flips = is_asked ? flip_weighted(row, count, &sum) : 0;
    } else {
        report->channel_error_before = fabs(sum);
        report->channel_flips = is_asked ? flip_equal(row, count, sum) : 0;
        sum = fabs(sum) - (double)report->channel_flips;
    }
    report->channel_error_after = fabs(sum) / mean;
}

static void round_by_unit(const squant_row *row, squant_report *report)
{
    const squant_layout *l = row->layout;
    const squant_room *room = row->room;

    round_all_units(row);
    flip_channel(row, total_of(room->after, l->units), report);
    if (l->blocks == 1 && l->means == NULL) {
        report->channel_error_before = fabs(total_of(room->before, l->units));
    }
    for (int64_t u = 0; u < l->units; u++) {
        report->kernel_flips += room->flips[u];
    }
    report->kernel_error_before = mean_size(room->before, l->units);
    report->kernel_error_after = mean_size(room->after, l->units);
}

static void round_by_weight(const squant_row *row, squant_report *report)
{
    const squant_layout *l = row->layout;
    const squant_room *room = row->room;
    double sum;

    round_elements(row);
    sum = total_of(room->before, l->blocks);
    if (l->units == l->size) {
        report->kernel_error_before = room->after[0];
        flip_channel(row, sum, report);
        report->kernel_error_after = room->after[0];
        return;
    }
    if (l->taps > 1) {
        sum_units(row, room->before);
    }
    report->kernel_error_before = mean_size(room->before, l->units);
    report->kernel_error_after = report->kernel_error_before;
    flip_channel(row, sum, report);
    if (report->channel_flips != 0) {
        sum_units(row, room->after);
        report->kernel_error_after = mean_size(room->after, l->units);
    }
}

void squant_round_row(const squant_row *row, squant_report *report)
{
    const squant_layout *l = row->layout;

    *report = (squant_report){0};
    if (l->by_unit && l->taps > 1 && l->blocks > 1) {
        for (int64_t b = 0; b < l->blocks; b++) {
            for (int64_t n = l->spans[b]; n < l->spans[b + 1]; n++) {
                row->room->unit_steps[n] = row->steps[b];
                row->room->unit_zeros[n] = row->zeros[b];
            }
        }
    }
    if (l->by_unit) {
        round_by_unit(row, report);
    } else {
        round_by_weight(row, report);
    }
}
