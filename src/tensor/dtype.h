/* Properties of the element types, and exact conversions of single values. */
#ifndef TENSOR_DTYPE_H
#define TENSOR_DTYPE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "spry/tensor.h"

typedef enum dtype_class {
    DTYPE_CLASS_NONE,
    DTYPE_CLASS_FLOAT,    /* every binary floating-point type, 4 to 64 bits */
    DTYPE_CLASS_SIGNED,   /* i2 to i64 */
    DTYPE_CLASS_UNSIGNED, /* u2 to u64 */
    DTYPE_CLASS_BOOL,
    DTYPE_CLASS_COMPLEX,
    DTYPE_CLASS_STRING
} dtype_class;

dtype_class dtype_class_of(spry_dtype dtype);
static inline uint32_t dtype_bit(spry_dtype dtype)
{
    return (uint32_t)1 << dtype;
}

/* Bytes that `count` elements occupy. Returns false on overflow, negative count or a type without
 * storage. Strings count sizeof(spry_text) each. */
bool dtype_storage_bytes(spry_dtype dtype, int64_t count, size_t *bytes);

/* Smallest and largest value of an integer type as i64 (u64's largest is INT64_MAX here). */
int64_t dtype_integer_min(spry_dtype dtype);
int64_t dtype_integer_max(spry_dtype dtype);

/* Round-to-nearest-even conversions; NaN stays NaN, overflow becomes infinity. */
float dtype_f16_to_f32(uint16_t bits);
uint16_t dtype_f16_from_f32(float value);
float dtype_bf16_to_f32(uint16_t bits);
uint16_t dtype_bf16_from_f32(float value);

/* 8-bit and 4-bit floats by type. `saturate` as in ONNX's Cast: overflow and infinity become the
 * largest finite value instead of infinity or NaN. */
float dtype_small_float_to_f32(spry_dtype dtype, uint8_t bits);
uint8_t dtype_small_float_from_f32(spry_dtype dtype, float value, bool saturate);

#endif
