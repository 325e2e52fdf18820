/* Properties of the element types, and exact conversions of single values. */
#ifndef TENSOR_DTYPE_H
#define TENSOR_DTYPE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

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

/* Round-to-nearest-even conversions; NaN stays NaN, overflow becomes infinity. Inline and without
 * jumps, so that loops over them become vector code. */
static inline float dtype_f32_of_bits(uint32_t bits)
{
    float value;

    memcpy(&value, &bits, sizeof value);
    return value;
}

static inline uint32_t dtype_bits_of_f32(float value)
{
    uint32_t bits;

    memcpy(&bits, &value, sizeof bits);
    return bits;
}

static inline float dtype_f16_to_f32(uint16_t bits)
{
    uint32_t shifted = (uint32_t)(bits & 0x7fff) << 13;
    uint32_t exponent = shifted & 0x0f800000u;
    uint32_t normal = shifted + (112u << 23);
    /* One exponent step too many, taken off again as a number: renormalises what f16 calls
     * subnormal. */
    uint32_t subnormal = dtype_bits_of_f32(dtype_f32_of_bits(shifted + (113u << 23)) -
                                           dtype_f32_of_bits(113u << 23));
    uint32_t infinite = shifted + (224u << 23);
    uint32_t magnitude = exponent == 0 ? subnormal : exponent == 0x0f800000u ? infinite : normal;

    return dtype_f32_of_bits(magnitude | (uint32_t)(bits & 0x8000) << 16);
}

static inline uint16_t dtype_f16_from_f32(float value)
{
    uint32_t bits = dtype_bits_of_f32(value);
    uint32_t magnitude = bits & 0x7fffffffu;
    uint32_t nan = 0x7e00u | (magnitude >> 13 & 0x3ffu);
    uint32_t normal = (magnitude - (112u << 23) + 0xfffu + (magnitude >> 13 & 1u)) >> 13;
    /* Adding 0.5 aligns the last bit kept with f32's last bit: the adder rounds. */
    uint32_t subnormal = dtype_bits_of_f32(dtype_f32_of_bits(magnitude) + 0.5f) - 0x3f000000u;
    uint32_t finite = magnitude < 0x38800000u ? subnormal : normal;
    uint32_t result = magnitude >= 0x477ff000u ? 0x7c00u : finite; /* from 65520 on */

    result = magnitude > 0x7f800000u ? nan : result;
    return (uint16_t)(result | (bits >> 16 & 0x8000u));
}

static inline float dtype_bf16_to_f32(uint16_t bits)
{
    return dtype_f32_of_bits((uint32_t)bits << 16);
}

static inline uint16_t dtype_bf16_from_f32(float value)
{
    uint32_t bits = dtype_bits_of_f32(value);
    uint32_t rounded = (bits + 0x7fffu + (bits >> 16 & 1u)) >> 16;
    uint32_t nan = bits >> 16 | 0x40u;

    return (uint16_t)((bits & 0x7fffffffu) > 0x7f800000u ? nan : rounded);
}

/* f64 to f32 by rounding to odd: a second rounding, to a type with fewer bits, then gives what one
 * rounding of the f64 would have given. */
float dtype_f32_for_narrowing(double value);

/* 8-bit and 4-bit floats by type. Round to nearest even. `saturate` as in ONNX's Cast: overflow and
 * infinity become the largest finite value instead of infinity or NaN. f4e2m1 always saturates and
 * has no NaN (NaN becomes 6); f8e8m0 has no sign (it is dropped) and no zero (2^-127 does).
 * Formats: OCP 8-bit floating point (E4M3FN, E5M2), arXiv 2206.02915 (FNUZ), OCP microscaling. */
float dtype_small_float_to_f32(spry_dtype dtype, uint8_t bits);
uint8_t dtype_small_float_from_f32(spry_dtype dtype, float value, bool saturate);

#endif
