/* Block conversions. f32 is the hub of the types up to 32 bits that it holds exactly, f64 of the
 * wider floats, i64 of the integers: each hub has direct loops for its own types and goes through
 * another hub for the rest, a block at a time. */
#include "tensor/convert.h"

#include <string.h>

static const unsigned char *bytes_at(const tensor *t, int64_t start)
{
    return (const unsigned char *)t->data + (size_t)start * (spry_dtype_bits(t->dtype) / 8);
}

static unsigned char *room_at(tensor *t, int64_t start)
{
    return (unsigned char *)t->data + (size_t)start * (spry_dtype_bits(t->dtype) / 8);
}

/* The code of one sub-byte element. */
static uint8_t packed_get(const unsigned char *data, int64_t index, unsigned bits)
{
    unsigned per_byte = 8 / bits;
    unsigned shift = (unsigned)((uint64_t)index % per_byte) * bits;

    return (uint8_t)(data[(uint64_t)index / per_byte] >> shift & ((1u << bits) - 1));
}

static void packed_set(unsigned char *data, int64_t index, unsigned bits, uint8_t code)
{
    unsigned per_byte = 8 / bits;
    unsigned shift = (unsigned)((uint64_t)index % per_byte) * bits;
    unsigned mask = ((1u << bits) - 1) << shift;
    unsigned char *byte = &data[(uint64_t)index / per_byte];

    *byte = (unsigned char)((*byte & ~mask) | ((unsigned)code << shift & mask));
}

/* Value of a sub-byte integer code. */
static int packed_integer(uint8_t code, unsigned bits, bool is_signed)
{
    int value = code;

    return is_signed && value >> (bits - 1) != 0 ? value - (1 << bits) : value;
}

static void read_small_f32(const tensor *t, int64_t start, int64_t count, float *to)
{
    unsigned bits = spry_dtype_bits(t->dtype);
    dtype_class kind = dtype_class_of(t->dtype);
    const unsigned char *data = t->data;

    for (int64_t i = 0; i < count; i++) {
        uint8_t code = bits == 8 ? data[start + i] : packed_get(data, start + i, bits);

        to[i] = kind == DTYPE_CLASS_FLOAT
                    ? dtype_small_float_to_f32(t->dtype, code)
                    : (float)packed_integer(code, bits, kind == DTYPE_CLASS_SIGNED);
    }
}

/* Types that every hub but their own reaches through f32. */
static bool exact_in_f32(spry_dtype dtype)
{
    unsigned bits = spry_dtype_bits(dtype);

    return dtype == SPRY_DTYPE_F32 ||
           (bits <= 16 && dtype_class_of(dtype) != DTYPE_CLASS_STRING && bits > 0);
}

/* Integers of whole bytes, and bool. */
static bool is_whole_integer(spry_dtype dtype)
{
    dtype_class kind = dtype_class_of(dtype);

    return kind == DTYPE_CLASS_BOOL ||
           ((kind == DTYPE_CLASS_SIGNED || kind == DTYPE_CLASS_UNSIGNED) &&
            spry_dtype_bits(dtype) >= 8);
}

static void read_integer_f32(spry_dtype dtype, const void *from, int64_t count, float *to)
{
    switch (dtype) {
    case SPRY_DTYPE_U8:
    case SPRY_DTYPE_BOOL:
        for (int64_t i = 0; i < count; i++) {
            to[i] = ((const uint8_t *)from)[i];
        }
        break;
    case SPRY_DTYPE_I8:
        for (int64_t i = 0; i < count; i++) {
            to[i] = ((const int8_t *)from)[i];
        }
        break;
    case SPRY_DTYPE_U16:
        for (int64_t i = 0; i < count; i++) {
            to[i] = ((const uint16_t *)from)[i];
        }
        break;
    case SPRY_DTYPE_I16:
        for (int64_t i = 0; i < count; i++) {
            to[i] = ((const int16_t *)from)[i];
        }
        break;
    case SPRY_DTYPE_I32:
        for (int64_t i = 0; i < count; i++) {
            to[i] = (float)((const int32_t *)from)[i];
        }
        break;
    case SPRY_DTYPE_U32:
        for (int64_t i = 0; i < count; i++) {
            to[i] = (float)((const uint32_t *)from)[i];
        }
        break;
    case SPRY_DTYPE_I64:
        for (int64_t i = 0; i < count; i++) {
            to[i] = (float)((const int64_t *)from)[i];
        }
        break;
    case SPRY_DTYPE_U64:
        for (int64_t i = 0; i < count; i++) {
            to[i] = (float)((const uint64_t *)from)[i];
        }
        break;
    default: break;
    }
}

void convert_read_f32(const tensor *t, int64_t start, int64_t count, float *to)
{
    const void *from = bytes_at(t, start);

    switch (t->dtype) {
    case SPRY_DTYPE_F32:
        if (count > 0) {
            memcpy(to, from, (size_t)count * sizeof *to);
        }
        break;
    case SPRY_DTYPE_F64:
        for (int64_t i = 0; i < count; i++) {
            to[i] = (float)((const double *)from)[i];
        }
        break;
    case SPRY_DTYPE_F16:
        for (int64_t i = 0; i < count; i++) {
            to[i] = dtype_f16_to_f32(((const uint16_t *)from)[i]);
        }
        break;
    case SPRY_DTYPE_BF16:
        for (int64_t i = 0; i < count; i++) {
            to[i] = dtype_bf16_to_f32(((const uint16_t *)from)[i]);
        }
        break;
    default:
        if (is_whole_integer(t->dtype)) {
            read_integer_f32(t->dtype, from, count, to);
        } else if (exact_in_f32(t->dtype)) {
            read_small_f32(t, start, count, to);
        } else if (count > 0) {
            memset(to, 0, (size_t)count * sizeof *to);
        }
        break;
    }
}

void convert_read_f64(const tensor *t, int64_t start, int64_t count, double *to)
{
    const void *from = bytes_at(t, start);
    float block[CONVERT_BLOCK];

    switch (t->dtype) {
    case SPRY_DTYPE_F64:
        if (count > 0) {
            memcpy(to, from, (size_t)count * sizeof *to);
        }
        return;
    case SPRY_DTYPE_I32:
        for (int64_t i = 0; i < count; i++) {
            to[i] = ((const int32_t *)from)[i];
        }
        return;
    case SPRY_DTYPE_U32:
        for (int64_t i = 0; i < count; i++) {
            to[i] = ((const uint32_t *)from)[i];
        }
        return;
    case SPRY_DTYPE_I64:
        for (int64_t i = 0; i < count; i++) {
            to[i] = (double)((const int64_t *)from)[i];
        }
        return;
    case SPRY_DTYPE_U64:
        for (int64_t i = 0; i < count; i++) {
            to[i] = (double)((const uint64_t *)from)[i];
        }
        return;
    default: break;
    }
    for (int64_t done = 0; done < count; done += CONVERT_BLOCK) {
        int64_t n = count - done < CONVERT_BLOCK ? count - done : CONVERT_BLOCK;

        convert_read_f32(t, start + done, n, block);
        for (int64_t i = 0; i < n; i++) {
            to[done + i] = (double)block[i];
        }
    }
}

/* Towards zero; what lies outside becomes the nearest limit, NaN becomes 0. */
static int64_t saturate_i64(double value, int64_t low, int64_t high)
{
    if (value != value) {
        return 0;
    }
    if (value >= (double)high) { /* (double)INT64_MAX is 2^63: not below it */
        return high;
    }
    return value <= (double)low ? low : (int64_t)value;
}

static void read_float_i64(const tensor *t, int64_t start, int64_t count, int64_t *to)
{
    double block[CONVERT_BLOCK];

    for (int64_t done = 0; done < count; done += CONVERT_BLOCK) {
        int64_t n = count - done < CONVERT_BLOCK ? count - done : CONVERT_BLOCK;

        convert_read_f64(t, start + done, n, block);
        for (int64_t i = 0; i < n; i++) {
            to[done + i] = saturate_i64(block[i], INT64_MIN, INT64_MAX);
        }
    }
}

void convert_read_i64(const tensor *t, int64_t start, int64_t count, int64_t *to)
{
    const void *from = bytes_at(t, start);

    switch (t->dtype) {
    case SPRY_DTYPE_I64:
    case SPRY_DTYPE_U64:
        if (count > 0) {
            memcpy(to, from, (size_t)count * sizeof *to);
        }
        break;
    case SPRY_DTYPE_I32:
        for (int64_t i = 0; i < count; i++) {
            to[i] = ((const int32_t *)from)[i];
        }
        break;
    case SPRY_DTYPE_U32:
        for (int64_t i = 0; i < count; i++) {
            to[i] = ((const uint32_t *)from)[i];
        }
        break;
    case SPRY_DTYPE_I16:
        for (int64_t i = 0; i < count; i++) {
            to[i] = ((const int16_t *)from)[i];
        }
        break;
    case SPRY_DTYPE_U16:
        for (int64_t i = 0; i < count; i++) {
            to[i] = ((const uint16_t *)from)[i];
        }
        break;
    case SPRY_DTYPE_I8:
        for (int64_t i = 0; i < count; i++) {
            to[i] = ((const int8_t *)from)[i];
        }
        break;
    case SPRY_DTYPE_U8:
    case SPRY_DTYPE_BOOL:
        for (int64_t i = 0; i < count; i++) {
            to[i] = ((const uint8_t *)from)[i];
        }
        break;
    default: read_float_i64(t, start, count, to); break;
    }
}

static void write_small_f32(tensor *t, int64_t start, int64_t count, const float *from)
{
    unsigned bits = spry_dtype_bits(t->dtype);
    unsigned char *data = t->data;

    for (int64_t i = 0; i < count; i++) {
        uint8_t code = dtype_small_float_from_f32(t->dtype, from[i], true);

        if (bits == 8) {
            data[start + i] = code;
        } else {
            packed_set(data, start + i, bits, code);
        }
    }
}

/* Clamped in f32, where both limits of an 8-bit type are exact. NaN fails both comparisons and is
 * replaced by 0. */
static float clamp_f32(float value, float low, float high)
{
    float clamped = value < low ? low : value;

    clamped = clamped > high ? high : clamped;
    return clamped == clamped ? clamped : 0.0f;
}

void convert_write_f32(tensor *t, int64_t start, int64_t count, const float *from)
{
    void *to = room_at(t, start);
    double block[CONVERT_BLOCK];

    switch (t->dtype) {
    case SPRY_DTYPE_F32:
        if (count > 0) {
            memcpy(to, from, (size_t)count * sizeof *from);
        }
        return;
    case SPRY_DTYPE_F16:
        for (int64_t i = 0; i < count; i++) {
            ((uint16_t *)to)[i] = dtype_f16_from_f32(from[i]);
        }
        return;
    case SPRY_DTYPE_BF16:
        for (int64_t i = 0; i < count; i++) {
            ((uint16_t *)to)[i] = dtype_bf16_from_f32(from[i]);
        }
        return;
    case SPRY_DTYPE_BOOL:
        for (int64_t i = 0; i < count; i++) {
            ((uint8_t *)to)[i] = from[i] != 0.0f;
        }
        return;
    case SPRY_DTYPE_U8:
        for (int64_t i = 0; i < count; i++) {
            ((uint8_t *)to)[i] = (uint8_t)(int32_t)clamp_f32(from[i], 0.0f, 255.0f);
        }
        return;
    case SPRY_DTYPE_I8:
        for (int64_t i = 0; i < count; i++) {
            ((int8_t *)to)[i] = (int8_t)(int32_t)clamp_f32(from[i], -128.0f, 127.0f);
        }
        return;
    default: break;
    }
    if (dtype_class_of(t->dtype) == DTYPE_CLASS_FLOAT && spry_dtype_bits(t->dtype) <= 8) {
        write_small_f32(t, start, count, from);
        return;
    }
    for (int64_t done = 0; done < count; done += CONVERT_BLOCK) {
        int64_t n = count - done < CONVERT_BLOCK ? count - done : CONVERT_BLOCK;

        for (int64_t i = 0; i < n; i++) {
            block[i] = (double)from[done + i];
        }
        convert_write_f64(t, start + done, n, block);
    }
}

/* u64 reaches twice as far as i64, the hub of all other integers. */
static void write_f64_u64(uint64_t *to, int64_t count, const double *from)
{
    const double two_to_63 = 9223372036854775808.0;

    for (int64_t i = 0; i < count; i++) {
        if (from[i] >= two_to_63) {
            to[i] = from[i] >= 2 * two_to_63 ? UINT64_MAX : (uint64_t)from[i];
        } else {
            to[i] = (uint64_t)saturate_i64(from[i], 0, INT64_MAX);
        }
    }
}

static void write_f64_integer(tensor *t, int64_t start, int64_t count, const double *from)
{
    int64_t low = dtype_integer_min(t->dtype);
    int64_t high = dtype_integer_max(t->dtype);
    int64_t block[CONVERT_BLOCK];

    for (int64_t done = 0; done < count; done += CONVERT_BLOCK) {
        int64_t n = count - done < CONVERT_BLOCK ? count - done : CONVERT_BLOCK;

        for (int64_t i = 0; i < n; i++) {
            block[i] = saturate_i64(from[done + i], low, high);
        }
        convert_write_i64(t, start + done, n, block);
    }
}

static void write_f64_float(tensor *t, int64_t start, int64_t count, const double *from)
{
    float block[CONVERT_BLOCK];
    bool narrow = t->dtype != SPRY_DTYPE_F32;

    for (int64_t done = 0; done < count; done += CONVERT_BLOCK) {
        int64_t n = count - done < CONVERT_BLOCK ? count - done : CONVERT_BLOCK;

        for (int64_t i = 0; i < n; i++) {
            block[i] = narrow ? dtype_f32_for_narrowing(from[done + i]) : (float)from[done + i];
        }
        convert_write_f32(t, start + done, n, block);
    }
}

void convert_write_f64(tensor *t, int64_t start, int64_t count, const double *from)
{
    void *to = room_at(t, start);

    if (t->dtype == SPRY_DTYPE_F64) {
        if (count > 0) {
            memcpy(to, from, (size_t)count * sizeof *from);
        }
        return;
    }
    if (t->dtype == SPRY_DTYPE_U64) {
        write_f64_u64(to, count, from);
        return;
    }
    switch (dtype_class_of(t->dtype)) {
    case DTYPE_CLASS_FLOAT: write_f64_float(t, start, count, from); break;
    case DTYPE_CLASS_SIGNED:
    case DTYPE_CLASS_UNSIGNED: write_f64_integer(t, start, count, from); break;
    case DTYPE_CLASS_BOOL:
        for (int64_t i = 0; i < count; i++) {
            ((uint8_t *)to)[i] = from[i] != 0.0;
        }
        break;
    default: break;
    }
}

static void write_i64_float(tensor *t, int64_t start, int64_t count, const int64_t *from)
{
    double block[CONVERT_BLOCK];

    for (int64_t done = 0; done < count; done += CONVERT_BLOCK) {
        int64_t n = count - done < CONVERT_BLOCK ? count - done : CONVERT_BLOCK;

        for (int64_t i = 0; i < n; i++) {
            block[i] = (double)from[done + i];
        }
        convert_write_f64(t, start + done, n, block);
    }
}

void convert_write_i64(tensor *t, int64_t start, int64_t count, const int64_t *from)
{
    void *to = room_at(t, start);
    unsigned bits = spry_dtype_bits(t->dtype);
    dtype_class kind = dtype_class_of(t->dtype);

    if (kind == DTYPE_CLASS_BOOL) {
        for (int64_t i = 0; i < count; i++) {
            ((uint8_t *)to)[i] = from[i] != 0;
        }
        return;
    }
    if (t->dtype == SPRY_DTYPE_F32) { /* directly: through f64 it would be rounded twice */
        for (int64_t i = 0; i < count; i++) {
            ((float *)to)[i] = (float)from[i];
        }
        return;
    }
    if (kind == DTYPE_CLASS_FLOAT) {
        write_i64_float(t, start, count, from);
        return;
    }
    if (kind != DTYPE_CLASS_SIGNED && kind != DTYPE_CLASS_UNSIGNED) {
        return;
    }
    switch (bits) {
    case 64:
        if (count > 0) {
            memcpy(to, from, (size_t)count * sizeof *from);
        }
        break;
    case 32:
        for (int64_t i = 0; i < count; i++) {
            ((uint32_t *)to)[i] = (uint32_t)from[i];
        }
        break;
    case 16:
        for (int64_t i = 0; i < count; i++) {
            ((uint16_t *)to)[i] = (uint16_t)from[i];
        }
        break;
    case 8:
        for (int64_t i = 0; i < count; i++) {
            ((uint8_t *)to)[i] = (uint8_t)from[i];
        }
        break;
    default:
        for (int64_t i = 0; i < count; i++) {
            packed_set(t->data, start + i, bits, (uint8_t)from[i]);
        }
        break;
    }
}

int64_t convert_get_i64(const tensor *t, int64_t index)
{
    int64_t result;

    convert_read_i64(t, index, 1, &result);
    return result;
}

double convert_get_f64(const tensor *t, int64_t index)
{
    double result;

    convert_read_f64(t, index, 1, &result);
    return result;
}
