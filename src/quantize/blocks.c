/* Steps and codes of blocks. */
#include "quantize/blocks.h"

#include <float.h>
#include <math.h>
#include <string.h>

#include "base/alloc.h"

/* ---- cutting ---- */

static spry_status map_of(const int32_t *order, int64_t channels, int64_t block, arena *memory,
                          const int32_t **map, spry_error *error)
{
    int32_t *to;

    *map = NULL;
    if (order == NULL || block >= channels) {
        return SPRY_OK;
    }
    to = arena_array(memory, (size_t)channels, sizeof *to);
    if (to == NULL) {
        return alloc_failed(error, (size_t)channels * sizeof *to);
    }
    for (int64_t place = 0; place < channels; place++) {
        to[order[place]] = (int32_t)(place / block);
    }
    *map = to;
    return SPRY_OK;
}

spry_status blocks_cut(weight_record *r, int64_t row_block, int64_t column_block,
                       const int32_t *output_order, const int32_t *input_order, arena *memory,
                       spry_error *error)
{
    int64_t rows = row_block < r->w.outputs ? row_block : r->w.outputs;
    int64_t columns = column_block < r->w.inputs ? column_block : r->w.inputs;
    spry_status status = record_cut(r, rows, columns, memory, error);

    if (status == SPRY_OK) {
        status = map_of(output_order, r->w.outputs, rows, memory, &r->row_map, error);
    }
    if (status == SPRY_OK) {
        status = map_of(input_order, r->w.inputs, columns, memory, &r->column_map, error);
    }
    return status;
}

void blocks_order(const int32_t *map, int64_t channels, int64_t blocks, int32_t *order)
{
    int64_t place = 0;

    for (int64_t block = 0; map != NULL && block < blocks; block++) {
        for (int64_t i = 0; i < channels; i++) {
            if (map[i] == block) {
                order[place++] = (int32_t)i;
            }
        }
    }
    for (; place < channels; place++) {
        order[place] = (int32_t)place;
    }
}

/* ---- steps ---- */

typedef struct kernel_place {
    int64_t block;
    int64_t first; /* of its taps */
} kernel_place;

static kernel_place place_of(const weight_record *r, int64_t index)
{
    return (kernel_place){record_block(r, index / r->w.inputs, index % r->w.inputs),
                          index * r->w.taps};
}

static int64_t kernels(const weight_record *r)
{
    return r->w.outputs * r->w.inputs;
}

void blocks_absmax(weight_record *r, const float *dense)
{
    int64_t blocks = record_blocks(r);
    double reach = (double)(1 << (r->bits - 1)) - 0.5;

    memset(r->steps, 0, (size_t)blocks * sizeof *r->steps);
    memset(r->zeros, 0, (size_t)blocks * sizeof *r->zeros);
    for (int64_t i = 0; i < kernels(r); i++) {
        kernel_place at = place_of(r, i);

        for (int64_t tap = 0; tap < r->w.taps; tap++) {
            float size = fabsf(dense[at.first + tap]);

            r->steps[at.block] = size > r->steps[at.block] ? size : r->steps[at.block];
        }
    }
    for (int64_t i = 0; i < blocks; i++) {
        double step = (double)r->steps[i] / reach;

        /* A floor far below any trained weight: keeps quotients finite. */
        step = step > (double)FLT_MIN * 16777216.0 ? step : (double)FLT_MIN * 16777216.0;
        r->steps[i] = r->steps[i] > 0.0f ? (float)step : 1.0f;
    }
}

/* Squared error of each block with its step times `factor`. */
static void sum_errors(const weight_record *r, const float *dense, double factor, double *errors)
{
    grid_codes limits = blocks_codes(r);

    memset(errors, 0, (size_t)record_blocks(r) * sizeof *errors);
    for (int64_t i = 0; i < kernels(r); i++) {
        kernel_place at = place_of(r, i);
        float step = (float)((double)r->steps[at.block] * factor);

        for (int64_t tap = 0; tap < r->w.taps; tap++) {
            float x = dense[at.first + tap];
            double d = (double)(blocks_round_one(x, step, limits) * step) - (double)x;

            errors[at.block] += d * d;
        }
    }
}

spry_status blocks_least_error(weight_record *r, const float *dense, double least, double most,
                               int count, const spry_allocator *allocator, spry_error *error)
{
    int64_t blocks = record_blocks(r);
    size_t bytes = (size_t)blocks * 3 * sizeof(double);
    double *errors = alloc_bytes(allocator, bytes);
    double *best = errors + blocks;
    double *factors = best + blocks;

    if (errors == NULL) {
        return alloc_failed(error, bytes);
    }
    sum_errors(r, dense, 1.0, best);
    for (int64_t i = 0; i < blocks; i++) {
        factors[i] = 1.0;
    }
    for (int c = 0; c < count; c++) {
        double factor = least + (most - least) * c / (count - 1);

        sum_errors(r, dense, factor, errors);
        for (int64_t i = 0; i < blocks; i++) {
            if (errors[i] < best[i]) {
                best[i] = errors[i];
                factors[i] = factor;
            }
        }
    }
    for (int64_t i = 0; i < blocks; i++) {
        r->steps[i] = (float)((double)r->steps[i] * factors[i]);
    }
    alloc_release(allocator, errors, bytes);
    return SPRY_OK;
}

/* ---- codes ---- */

void blocks_round(weight_record *r, const float *dense)
{
    grid_codes limits = blocks_codes(r);

    for (int64_t i = 0; i < kernels(r); i++) {
        kernel_place at = place_of(r, i);

        for (int64_t tap = at.first; tap < at.first + r->w.taps; tap++) {
            r->codes[tap] = (int8_t)blocks_round_one(dense[tap], r->steps[at.block], limits);
        }
    }
}

void blocks_values(const weight_record *r, float *values)
{
    for (int64_t i = 0; i < kernels(r); i++) {
        kernel_place at = place_of(r, i);

        for (int64_t tap = at.first; tap < at.first + r->w.taps; tap++) {
            values[tap] = grid_value(r->codes[tap], r->steps[at.block], r->zeros[at.block]);
        }
    }
}

double blocks_error(const weight_record *r, const float *dense)
{
    double sum = 0.0;

    for (int64_t i = 0; i < kernels(r); i++) {
        kernel_place at = place_of(r, i);

        for (int64_t tap = at.first; tap < at.first + r->w.taps; tap++) {
            double d = (double)grid_value(r->codes[tap], r->steps[at.block], r->zeros[at.block]) -
                       (double)dense[tap];

            sum += d * d;
        }
    }
    return sum;
}

/* ---- flips ---- */

/* The part of an output channel in one block, its kernels side by side. */
typedef struct segment {
    const int32_t *inputs; /* [count] */
    int64_t count;
    float *positions;
    int8_t *codes;
    squant_entry *scratch;
} segment;

static double sum_positions(const segment *s, int64_t begin, int64_t end)
{
    double sum = 0.0;

    for (int64_t i = begin; i < end; i++) {
        sum += (double)((float)s->codes[i] - s->positions[i]);
    }
    return sum;
}

static void add_report(const segment *s, int64_t taps, double share, double *kernel_error,
                       double *channel_error)
{
    double sum = 0.0;

    for (int64_t i = 0; i < s->count; i++) {
        sum += fabs(sum_positions(s, i * taps, (i + 1) * taps));
    }
    *kernel_error += sum * share / (double)s->count;
    *channel_error += fabs(sum_positions(s, 0, s->count * taps)) * share;
}

static void flip_segment(weight_record *r, const float *dense, int64_t output, const segment *s,
                         squant_stages stages, squant_report *report)
{
    int64_t taps = r->w.taps;
    double share = 1.0 / (double)(r->w.outputs * r->column_blocks);
    float step = r->steps[record_block(r, output, s->inputs[0])];
    squant_channel c = {s->positions, s->count, taps, blocks_codes(r), s->codes};
    int64_t kernel_flips;
    int64_t channel_flips;

    for (int64_t i = 0; i < s->count; i++) {
        int64_t from = (output * r->w.inputs + s->inputs[i]) * taps;

        for (int64_t tap = 0; tap < taps; tap++) {
            s->positions[i * taps + tap] = dense[from + tap] / step;
        }
        memcpy(s->codes + i * taps, r->codes + from, (size_t)taps);
    }
    add_report(s, taps, share, &report->kernel_error_before, &report->channel_error_before);
    squant_flip_channel(&c, stages, s->scratch, &kernel_flips, &channel_flips);
    report->kernel_flips += kernel_flips;
    report->channel_flips += channel_flips;
    add_report(s, taps, share, &report->kernel_error_after, &report->channel_error_after);
    for (int64_t i = 0; i < s->count; i++) {
        memcpy(r->codes + (output * r->w.inputs + s->inputs[i]) * taps, s->codes + i * taps,
               (size_t)taps);
    }
}

/* Inputs of one block after the other. */
static void flip_output(weight_record *r, const float *dense, int64_t output, const int32_t *order,
                        const segment *room, squant_stages stages, squant_report *report)
{
    int64_t begin = 0;

    while (begin < r->w.inputs) {
        int64_t block = record_block(r, output, order[begin]);
        segment s = *room;

        s.inputs = order + begin;
        for (s.count = 1; begin + s.count < r->w.inputs &&
                          record_block(r, output, order[begin + s.count]) == block;) {
            s.count++;
        }
        flip_segment(r, dense, output, &s, stages, report);
        begin += s.count;
    }
}

spry_status blocks_flip(weight_record *r, const float *dense, squant_stages stages,
                        const spry_allocator *allocator, squant_report *report, spry_error *error)
{
    size_t size = (size_t)(r->w.inputs * r->w.taps);
    size_t inputs = (size_t)r->w.inputs;
    segment room = {NULL, 0, alloc_bytes(allocator, size * sizeof(float)),
                    alloc_bytes(allocator, size),
                    alloc_bytes(allocator, size * sizeof(squant_entry))};
    int32_t *order = alloc_bytes(allocator, inputs * sizeof *order);
    bool fits =
        room.positions != NULL && room.codes != NULL && room.scratch != NULL && order != NULL;

    if (fits) {
        blocks_order(r->column_map, r->w.inputs, r->column_blocks, order);
        for (int64_t m = 0; m < r->w.outputs; m++) {
            flip_output(r, dense, m, order, &room, stages, report);
        }
    }
    alloc_release(allocator, room.positions, size * sizeof(float));
    alloc_release(allocator, room.codes, size);
    alloc_release(allocator, room.scratch, size * sizeof(squant_entry));
    alloc_release(allocator, order, inputs * sizeof *order);
    return fits ? SPRY_OK : alloc_failed(error, size * sizeof(squant_entry));
}
