/* Cutting weights into blocks. */
#include "quantize/record.h"

#include <math.h>

#include "base/alloc.h"

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
    int per_block = 32 + (r->symmetric ? 0 : r->bits);

    return r->bits + (double)per_block * (double)record_blocks(r) / (double)weight_count(&r->w);
}

double record_sqnr(const weight_record *r, const float *dense)
{
    const int8_t *code = r->codes;
    double signal = 0.0;
    double noise = 0.0;

    for (int64_t m = 0; m < r->w.outputs; m++) {
        for (int64_t n = 0; n < r->w.inputs; n++) {
            int64_t block = record_block(r, m, n);

            for (int64_t tap = 0; tap < r->w.taps; tap++) {
                double x = (double)*dense++;
                double d = (double)grid_value(*code++, r->steps[block], r->zeros[block]) - x;

                signal += x * x;
                noise += d * d;
            }
        }
    }
    return noise > 0.0 ? 10.0 * log10(signal / noise) : INFINITY;
}
