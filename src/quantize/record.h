/* What quantization decides about tensors: methods fill these records, formats write them. */
#ifndef QUANTIZE_RECORD_H
#define QUANTIZE_RECORD_H

#include "quantize/grid.h"
#include "quantize/method/squant.h"
#include "quantize/weights.h"

/* How the steps of blocks came about; see spry_quantize_row. */
typedef struct block_story {
    double order_before, order_sorted, order_after;
    double error_before, error_after;
    int rounds;
    bool searched;
    const char *remark;      /* or NULL */
    const float *first;      /* [blocks]: steps that the search began with */
    int64_t flipped_outputs; /* whose flips were kept */
    squant_report flips;
} block_story;

/* A weight tensor [outputs][inputs][taps] as integers. It is cut into blocks of outputs x inputs
 * that share a step and a zero point:
 *
 *     per tensor                  row_block = outputs, column_block = inputs
 *     per output channel          row_block = 1,       column_block = inputs
 *     groups of G inputs          row_block = 1,       column_block = G
 *
 * The last block of a row or column may be smaller. Methods may reorder channels before they cut:
 * then the maps say which block each channel belongs to. */
typedef struct weight_record {
    weight w;
    int32_t *users; /* operators that read these weights in this layout, in their order */
    int32_t user_count;
    int bits; /* GRID_LEAST_BITS to GRID_MOST_BITS */
    bool symmetric;
    int64_t row_block, column_block;
    int64_t row_blocks, column_blocks;
    const int32_t *row_map;    /* [outputs]: block of an output; NULL: output / row_block */
    const int32_t *column_map; /* [inputs]: likewise */
    float *steps;              /* [row_blocks][column_blocks] */
    int32_t *zeros;            /* likewise */
    float *real_zeros;         /* likewise, instead of `zeros`, where a method wants zero points
                                  between codes; NULL: it does not */
    int8_t *codes;             /* [outputs][inputs][taps], in the weight's own order */
    block_story *story;        /* of methods that search; NULL: none */
    const float *input_means;  /* [inputs]: of what the weights meet; NULL: not known */
} weight_record;

static inline int64_t record_block(const weight_record *r, int64_t output, int64_t input)
{
    int64_t row = r->row_map != NULL ? r->row_map[output] : output / r->row_block;
    int64_t column = r->column_map != NULL ? r->column_map[input] : input / r->column_block;

    return row * r->column_blocks + column;
}

static inline int64_t record_blocks(const weight_record *r)
{
    return r->row_blocks * r->column_blocks;
}

/* A step per output channel, channels in their own order: what all formats can say. */
static inline bool record_is_per_channel(const weight_record *r)
{
    return r->row_block == 1 && r->column_blocks == 1 && r->row_map == NULL;
}

/* A step per output channel or per group of consecutive inputs of one. */
static inline bool record_is_grouped(const weight_record *r)
{
    return r->row_block == 1 && r->row_map == NULL && r->column_map == NULL;
}

static inline float record_zero(const weight_record *r, int64_t block)
{
    return r->real_zeros != NULL ? r->real_zeros[block] : (float)r->zeros[block];
}

/* The number that a code of that block stands for. */
static inline float record_value(const weight_record *r, int64_t block, int32_t code)
{
    return ((float)code - record_zero(r, block)) * r->steps[block];
}

/* How many inputs from `input` on are of one block, in the row of `output`. */
int64_t record_run(const weight_record *r, int64_t output, int64_t input);

static inline grid_options record_grid(const weight_record *r)
{
    return (grid_options){.bits = r->bits, .symmetric = r->symmetric};
}

/* Cuts the weight into blocks and makes room for steps, zero points and codes in `memory`.
 * Fails with SPRY_LIMIT (memory). */
SPRY_MUST_USE spry_status record_cut(weight_record *r, int64_t row_block, int64_t column_block,
                                     arena *memory, spry_error *error);

/* Bits of codes, steps (32 each) and zero points, over the number of weights. */
double record_bits_per_weight(const weight_record *r);

/* An activation as integers of one step per tensor. */
typedef struct activation_record {
    int32_t value;
    int32_t like; /* index of the record whose grid it shares (MaxPool, Reshape and others only move
                     numbers), or its own index */
    int bits;     /* the most that an operator that reads it is given */
    tensor_grid grid;
} activation_record;

#endif
