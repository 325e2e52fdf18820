/* Cutting weights into blocks. */
#include "quantize/record.h"

#include <math.h>

#include "base/alloc.h"
#include "kernels/quantize/round_f32.h"

spry_status record_cut(weight_record *r, int64_t row_block, int64_t column_block, arena *memory,
                       spry_error *error)
{
    size_t blocks;

    r->row_block = row_block;
    r->column_block = column_block;
    r->row_blocks = (r->w.outputs + row_block - 1) / row_block;
    r->column_blocks = (r->w.inputs + column_block - 1) / column_block;
    blocks = (size_t)record_blocks(r);
    r->steps = arena_array(memory, blocks, sizeof *r->steps);
    r->zeros = arena_array(memory, blocks, sizeof *r->zeros);
    r->codes = arena_bytes(memory, (size_t)weight_count(&r->w));
    return r->steps != NULL && r->zeros != NULL && r->codes != NULL
               ? SPRY_OK
               : alloc_failed(error, (size_t)weight_count(&r->w));
}

double record_bits_per_weight(const weight_record *r)
{
    int per_zero = r->real_zeros != NULL ? 32 : r->symmetric ? 0 : r->bits;
    int per_block = 32 + per_zero;

    return r->bits + (double)per_block * (double)record_blocks(r) / (double)weight_count(&r->w);
}

/* Weights of the same block that lie one after the other. */
static int64_t run_length(const weight_record *r, int64_t output, int64_t input)
{
    int64_t block = record_block(r, output, input);
    int64_t end = input + 1;

    if (r->column_map == NULL) {
        end = (input / r->column_block + 1) * r->column_block;
        return end < r->w.inputs ? end - input : r->w.inputs - input;
    }
    while (end < r->w.inputs && record_block(r, output, end) == block) {
        end++;
    }
    return end - input;
}

double record_sqnr(const weight_record *r, const float *dense)
{
    const round_f32_kernel *kernel = round_f32_select();
    double signal = 0.0;
    double noise = 0.0;

    for (int64_t m = 0; m < r->w.outputs; m++) {
        int64_t run;

        for (int64_t n = 0; n < r->w.inputs; n += run) {
            int64_t block = record_block(r, m, n);
            int64_t place = (m * r->w.inputs + n) * r->w.taps;

            run = run_length(r, m, n);
            kernel->noise(&(round_f32_codes){dense + place, r->codes + place, run * r->w.taps,
                                             r->steps[block], record_zero(r, block)},
                          &signal, &noise);
        }
    }
    return noise > 0.0 ? 10.0 * log10(signal / noise) : INFINITY;
}
