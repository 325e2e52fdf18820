/* Cutting weights into blocks. */
#include "quantize/record.h"

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
    int per_zero = r->real_zeros != NULL ? 32 : r->symmetric ? 0 : r->bits;
    int per_block = 32 + per_zero;

    return r->bits + (double)per_block * (double)record_blocks(r) / (double)weight_count(&r->w);
}

int64_t record_run(const weight_record *r, int64_t output, int64_t input)
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
