/* Which numbers of a weight go. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "sparsify/layers.h"

/* Where a unit begins and ends. */
typedef struct unit_box {
    int64_t output, outputs, channel, channels, tap, taps;
} unit_box;

static int64_t least(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

static unit_box box_of(const sparsify_layer *l, int64_t unit)
{
    const sparsify_view *v = &l->view;
    int64_t taps = (v->taps + l->unit.taps - 1) / l->unit.taps;
    int64_t channels = (v->channels + l->unit.channels - 1) / l->unit.channels;
    unit_box b = {.output = unit / (taps * channels) * l->unit.outputs,
                  .channel = unit / taps % channels * l->unit.channels,
                  .tap = unit % taps * l->unit.taps};

    b.outputs = least(b.output + l->unit.outputs, v->outputs);
    b.channels = least(b.channel + l->unit.channels, v->channels);
    b.taps = least(b.tap + l->unit.taps, v->taps);
    return b;
}

/* Positions of a run of channels, by falling magnitude; equal ones in their order. */
static void rank_run(const float *numbers, int64_t at, int64_t step, int64_t count, int32_t *places)
{
    for (int64_t i = 0; i < count; i++) {
        int32_t position = (int32_t)(at + i * step);
        int64_t k = i;

        while (k > 0 && fabsf(numbers[places[at + (k - 1) * step]]) < fabsf(numbers[position])) {
            places[at + k * step] = places[at + (k - 1) * step];
            k--;
        }
        places[at + k * step] = position;
    }
}

const int32_t *sparsify_rank(const sparsify_layer *l, const float *numbers, int32_t *places)
{
    const sparsify_view *v = &l->view;

    if (l->unit.ranked == 0) {
        return NULL;
    }
    for (int64_t m = 0; m < v->outputs; m++) {
        for (int64_t t = 0; t < v->taps; t++) {
            for (int64_t c = 0; c < v->channels; c += l->unit.ranked) {
                rank_run(numbers, m * v->output_stride + c * v->channel_stride + t * v->tap_stride,
                         v->channel_stride, least(l->unit.ranked, v->channels - c), places);
            }
        }
    }
    return places;
}

double sparsify_unit_energy(const sparsify_layer *l, const float *numbers, const int32_t *places,
                            int32_t unit, int64_t *count)
{
    const sparsify_view *v = &l->view;
    unit_box b = box_of(l, unit);
    double sum = 0.0;

    for (int64_t m = b.output; m < b.outputs; m++) {
        for (int64_t c = b.channel; c < b.channels; c++) {
            for (int64_t t = b.tap; t < b.taps; t++) {
                int64_t at = m * v->output_stride + c * v->channel_stride + t * v->tap_stride;
                double x = (double)numbers[places != NULL ? places[at] : at];

                sum += x * x;
            }
        }
    }
    *count = (b.outputs - b.output) * (b.channels - b.channel) * (b.taps - b.tap);
    return sum;
}

static void clear_unit(const sparsify_layer *l, const int32_t *places, int32_t unit, uint8_t *mask)
{
    const sparsify_view *v = &l->view;
    unit_box b = box_of(l, unit);

    for (int64_t m = b.output; m < b.outputs; m++) {
        for (int64_t c = b.channel; c < b.channels; c++) {
            for (int64_t t = b.tap; t < b.taps; t++) {
                int64_t at = m * v->output_stride + c * v->channel_stride + t * v->tap_stride;

                mask[places != NULL ? places[at] : at] = 0;
            }
        }
    }
}

static int by_score(const void *left, const void *right)
{
    const sparsify_score *a = left;
    const sparsify_score *b = right;

    if (a->score != b->score) {
        return a->score < b->score ? -1 : 1;
    }
    if (a->layer != b->layer) {
        return a->layer < b->layer ? -1 : 1;
    }
    return a->unit < b->unit ? -1 : a->unit > b->unit;
}

void sparsify_sort(sparsify_score *scores, int64_t count)
{
    qsort(scores, (size_t)count, sizeof *scores, by_score);
}

/* The units with the least mean square, until as many numbers are gone as are wanted. One always
 * stays. */
static void mask_units(const sparsify_layer *l, const float *numbers, double part,
                       const sparsify_room *room, uint8_t *mask)
{
    const int32_t *places = sparsify_rank(l, numbers, room->places);
    sparsify_score *scores = room->scores;
    double wanted = l->ratio * part * (double)l->count;
    int64_t gone = 0;

    for (int32_t u = 0; u < l->units; u++) {
        int64_t count;
        double energy = sparsify_unit_energy(l, numbers, places, u, &count);

        scores[u] = (sparsify_score){energy / (double)count, 0, u};
    }
    sparsify_sort(scores, l->units);
    for (int64_t i = 0; i + 1 < l->units; i++) {
        int64_t count;

        (void)sparsify_unit_energy(l, numbers, places, scores[i].unit, &count);
        if ((double)gone + 0.5 * (double)count > wanted) {
            break;
        }
        clear_unit(l, places, scores[i].unit, mask);
        gone += count;
    }
}

/* Of `count` neighbours all but the largest go. */
static void mask_group(const float *numbers, int64_t step, int count, int gone, uint8_t *mask)
{
    for (int k = 0; k < gone; k++) {
        int smallest = -1;

        for (int i = 0; i < count; i++) {
            if (mask[i * step] != 0 &&
                (smallest < 0 || fabsf(numbers[i * step]) < fabsf(numbers[smallest * step]))) {
                smallest = i;
            }
        }
        mask[smallest * step] = 0;
    }
}

static void mask_neighbours(const sparsify_layers *all, const sparsify_layer *l,
                            const float *numbers, double part, uint8_t *mask)
{
    const sparsify_view *v = &l->view;
    int gone = (int)lround((double)(all->of - all->keep) * (l->ratio > 0.0 ? part : 0.0));

    for (int64_t m = 0; m < v->outputs; m++) {
        for (int64_t t = 0; t < v->taps; t++) {
            for (int64_t c = 0; c + all->of <= v->channels; c += all->of) {
                int64_t at = m * v->output_stride + c * v->channel_stride + t * v->tap_stride;

                mask_group(numbers + at, v->channel_stride, all->of, gone, mask + at);
            }
        }
    }
}

spry_status sparsify_room_make(const sparsify_layers *l, arena *memory, sparsify_room *room,
                               spry_error *error)
{
    room->scores = arena_array(memory, (size_t)l->most_units, sizeof *room->scores);
    room->places = arena_array(memory, (size_t)l->most_numbers, sizeof *room->places);
    return room->scores != NULL && room->places != NULL
               ? SPRY_OK
               : alloc_failed(error, (size_t)l->most_units * sizeof *room->scores);
}

void sparsify_mask(const sparsify_layers *all, const sparsify_layer *l, const float *numbers,
                   double part, const sparsify_room *room, uint8_t *mask)
{
    memset(mask, 1, (size_t)l->count);
    if (l->stays) {
        return;
    }
    if (all->method->unit == NULL) {
        mask_neighbours(all, l, numbers, part, mask);
    } else {
        mask_units(l, numbers, part, room, mask);
    }
}

void sparsify_apply(const uint8_t *mask, int64_t count, float *numbers)
{
    for (int64_t i = 0; i < count; i++) {
        numbers[i] = mask[i] != 0 ? numbers[i] : 0.0f;
    }
}
