/* Blockwise conversion between any element type and the few types that arithmetic is done in.
 *
 * Operators that must work on every type read a block of elements as f32, f64 or i64, compute, and
 * write the block back: one loop body per operator instead of one per type. All tensors here are
 * dense; `start` and `count` are in elements. */
#ifndef TENSOR_CONVERT_H
#define TENSOR_CONVERT_H

#include <stdbool.h>
#include <stdint.h>

#include "tensor/tensor.h"

/* Elements per block that callers keep on the stack. */
enum { CONVERT_BLOCK = 512 };

/* Reads elements of any numeric or bool type. Integers beyond 2^53 round in f64. Complex types and
 * strings give zeros. f64 -> f32 rounds to nearest even. Reading a float as i64 truncates towards
 * zero and saturates; NaN gives 0. u64 above INT64_MAX keeps its bits in i64. */
void convert_read_f32(const tensor *t, int64_t start, int64_t count, float *to);
void convert_read_f64(const tensor *t, int64_t start, int64_t count, double *to);
void convert_read_i64(const tensor *t, int64_t start, int64_t count, int64_t *to);

/* Writes elements. Floats going to integer types truncate towards zero and saturate; i64 going to
 * a narrower integer keeps the low bits (C's wrap-around, as NumPy and ONNX Runtime do); anything
 * nonzero is true for bool. Small floats saturate. */
void convert_write_f32(tensor *t, int64_t start, int64_t count, const float *from);
void convert_write_f64(tensor *t, int64_t start, int64_t count, const double *from);
void convert_write_i64(tensor *t, int64_t start, int64_t count, const int64_t *from);

/* One element of an integer (or bool) tensor; floats truncate. Index must be in range. */
int64_t convert_get_i64(const tensor *t, int64_t index);
double convert_get_f64(const tensor *t, int64_t index);

#endif
