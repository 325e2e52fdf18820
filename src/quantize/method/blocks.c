/* Steps and codes of blocks. */
#include "quantize/method/blocks.h"

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

spry_status blocks_flip(weight_record *r, const float *dense, squant_stages stages,
                        const spry_allocator *allocator, threads *team, squant_report *report,
                        spry_error *error)
{
    grid_options grid = {.bits = r->bits}; /* all codes; zero points are given */
    squant_tensor t = {.weights = dense,
                       .outputs = r->w.outputs,
                       .inputs = r->w.inputs,
                       .taps = r->w.taps,
                       .codes = r->codes,
                       .steps = r->steps,
                       .zeros = r->zeros,
                       .has_grid = true,
                       .row_block = r->row_block,
                       .column_block = r->column_block,
                       .column_blocks = r->column_blocks,
                       .row_map = r->row_map,
                       .column_map = r->column_map};

    return squant_round(&t, &grid, stages, allocator, team, report, error);
}
