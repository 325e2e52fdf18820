/* The table of element types, and the small floats. */
#include "tensor/dtype.h"

#include <strings.h>

#include "base/checked.h"

typedef struct dtype_row {
    const char *name;
    dtype_class kind;
    unsigned bits;
    const char *aliases[4]; /* ONNX and NumPy spellings */
} dtype_row;

static const dtype_row rows[SPRY_DTYPE_COUNT] = {
    [SPRY_DTYPE_NONE] = {"none", DTYPE_CLASS_NONE, 0, {0}},
    [SPRY_DTYPE_F32] = {"f32", DTYPE_CLASS_FLOAT, 32, {"float", "float32"}},
    [SPRY_DTYPE_U8] = {"u8", DTYPE_CLASS_UNSIGNED, 8, {"uint8"}},
    [SPRY_DTYPE_I8] = {"i8", DTYPE_CLASS_SIGNED, 8, {"int8"}},
    [SPRY_DTYPE_U16] = {"u16", DTYPE_CLASS_UNSIGNED, 16, {"uint16"}},
    [SPRY_DTYPE_I16] = {"i16", DTYPE_CLASS_SIGNED, 16, {"int16"}},
    [SPRY_DTYPE_I32] = {"i32", DTYPE_CLASS_SIGNED, 32, {"int32"}},
    [SPRY_DTYPE_I64] = {"i64", DTYPE_CLASS_SIGNED, 64, {"int64"}},
    [SPRY_DTYPE_STRING] = {"string", DTYPE_CLASS_STRING, 0, {"str"}},
    [SPRY_DTYPE_BOOL] = {"bool", DTYPE_CLASS_BOOL, 8, {0}},
    [SPRY_DTYPE_F16] = {"f16", DTYPE_CLASS_FLOAT, 16, {"float16", "half"}},
    [SPRY_DTYPE_F64] = {"f64", DTYPE_CLASS_FLOAT, 64, {"double", "float64"}},
    [SPRY_DTYPE_U32] = {"u32", DTYPE_CLASS_UNSIGNED, 32, {"uint32"}},
    [SPRY_DTYPE_U64] = {"u64", DTYPE_CLASS_UNSIGNED, 64, {"uint64"}},
    [SPRY_DTYPE_C64] = {"c64", DTYPE_CLASS_COMPLEX, 64, {"complex64"}},
    [SPRY_DTYPE_C128] = {"c128", DTYPE_CLASS_COMPLEX, 128, {"complex128"}},
    [SPRY_DTYPE_BF16] = {"bf16", DTYPE_CLASS_FLOAT, 16, {"bfloat16"}},
    [SPRY_DTYPE_F8E4M3FN] = {"f8e4m3fn", DTYPE_CLASS_FLOAT, 8, {"float8e4m3fn", "float8_e4m3fn"}},
    [SPRY_DTYPE_F8E4M3FNUZ] = {"f8e4m3fnuz",
                               DTYPE_CLASS_FLOAT,
                               8,
                               {"float8e4m3fnuz", "float8_e4m3fnuz"}},
    [SPRY_DTYPE_F8E5M2] = {"f8e5m2", DTYPE_CLASS_FLOAT, 8, {"float8e5m2", "float8_e5m2"}},
    [SPRY_DTYPE_F8E5M2FNUZ] = {"f8e5m2fnuz",
                               DTYPE_CLASS_FLOAT,
                               8,
                               {"float8e5m2fnuz", "float8_e5m2fnuz"}},
    [SPRY_DTYPE_U4] = {"u4", DTYPE_CLASS_UNSIGNED, 4, {"uint4"}},
    [SPRY_DTYPE_I4] = {"i4", DTYPE_CLASS_SIGNED, 4, {"int4"}},
    [SPRY_DTYPE_F4E2M1] = {"f4e2m1", DTYPE_CLASS_FLOAT, 4, {"float4e2m1", "float4_e2m1fn"}},
    [SPRY_DTYPE_F8E8M0] = {"f8e8m0", DTYPE_CLASS_FLOAT, 8, {"float8e8m0", "float8_e8m0fnu"}},
    [SPRY_DTYPE_U2] = {"u2", DTYPE_CLASS_UNSIGNED, 2, {"uint2"}},
    [SPRY_DTYPE_I2] = {"i2", DTYPE_CLASS_SIGNED, 2, {"int2"}},
};

static const dtype_row *row_of(spry_dtype dtype)
{
    size_t index = (size_t)dtype;

    return &rows[index < SPRY_DTYPE_COUNT ? index : 0];
}

const char *spry_dtype_name(spry_dtype dtype)
{
    return row_of(dtype)->name;
}

spry_dtype spry_dtype_parse(const char *name)
{
    enum { ALIASES = sizeof rows[0].aliases / sizeof rows[0].aliases[0] };

    if (name == NULL) {
        return SPRY_DTYPE_NONE;
    }
    for (int i = 1; i < SPRY_DTYPE_COUNT; i++) {
        if (strcasecmp(name, rows[i].name) == 0) {
            return (spry_dtype)i;
        }
        for (int a = 0; a < ALIASES && rows[i].aliases[a] != NULL; a++) {
            if (strcasecmp(name, rows[i].aliases[a]) == 0) {
                return (spry_dtype)i;
            }
        }
    }
    return SPRY_DTYPE_NONE;
}

unsigned spry_dtype_bits(spry_dtype dtype)
{
    return row_of(dtype)->bits;
}

dtype_class dtype_class_of(spry_dtype dtype)
{
    return row_of(dtype)->kind;
}

bool dtype_storage_bytes(spry_dtype dtype, int64_t count, size_t *bytes)
{
    unsigned bits = dtype == SPRY_DTYPE_STRING ? 8 * sizeof(spry_text) : spry_dtype_bits(dtype);
    size_t per_byte;

    if (count < 0 || bits == 0) {
        return false;
    }
    if (bits >= 8) {
        return checked_mul((size_t)count, bits / 8, bytes);
    }
    per_byte = 8 / bits;
    *bytes = (size_t)count / per_byte + ((size_t)count % per_byte != 0);
    return true;
}

int64_t dtype_integer_min(spry_dtype dtype)
{
    const dtype_row *row = row_of(dtype);

    return row->kind == DTYPE_CLASS_SIGNED ? -(INT64_MAX >> (64 - row->bits)) - 1 : 0;
}

int64_t dtype_integer_max(spry_dtype dtype)
{
    const dtype_row *row = row_of(dtype);

    switch (row->kind) {
    case DTYPE_CLASS_SIGNED: return INT64_MAX >> (64 - row->bits);
    case DTYPE_CLASS_UNSIGNED:
        return row->bits == 64 ? INT64_MAX : (int64_t)(((uint64_t)1 << row->bits) - 1);
    case DTYPE_CLASS_BOOL: return 1;
    default: return 0;
    }
}

float dtype_f32_for_narrowing(double value)
{
    float rounded = (float)value;
    uint32_t bits = dtype_bits_of_f32(rounded);
    double back = (double)rounded;

    if (back == value || value != value) {
        return rounded;
    }
    if ((back < 0 ? -back : back) > (value < 0 ? -value : value)) {
        bits--; /* towards zero */
    }
    return dtype_f32_of_bits(bits | 1u);
}

/* A small float: sign bit (if any) above exponent above mantissa. */
typedef struct small_float {
    int mantissa_bits;
    int bias;
    uint8_t sign;     /* mask of the sign bit; 0: unsigned */
    uint8_t largest;  /* code of the largest finite value */
    uint8_t overflow; /* code of what lies beyond, without saturation */
    uint8_t nan;
    bool infinite; /* `overflow` is an infinity, not a NaN */
    bool one_zero; /* the code of -0 means NaN */
} small_float;

static const small_float small_floats[] = {
    [SPRY_DTYPE_F8E4M3FN] = {3, 7, 0x80, 0x7e, 0x7f, 0x7f, false, false},
    [SPRY_DTYPE_F8E4M3FNUZ] = {3, 8, 0x80, 0x7f, 0x80, 0x80, false, true},
    [SPRY_DTYPE_F8E5M2] = {2, 15, 0x80, 0x7b, 0x7c, 0x7e, true, false},
    [SPRY_DTYPE_F8E5M2FNUZ] = {2, 16, 0x80, 0x7f, 0x80, 0x80, false, true},
    [SPRY_DTYPE_F4E2M1] = {1, 1, 0x08, 0x07, 0x07, 0x07, false, false},
    [SPRY_DTYPE_F8E8M0] = {0, 127, 0x00, 0xfe, 0xff, 0xff, false, false},
};

static float power_of_two(int exponent)
{
    /* 2^-127 is subnormal in f32, the only one needed. */
    return dtype_f32_of_bits(exponent == -127 ? 0x00400000u : (uint32_t)(exponent + 127) << 23);
}

static const small_float *small_float_of(spry_dtype dtype)
{
    bool known = dtype_class_of(dtype) == DTYPE_CLASS_FLOAT && spry_dtype_bits(dtype) <= 8;

    return known ? &small_floats[dtype] : NULL;
}

float dtype_small_float_to_f32(spry_dtype dtype, uint8_t bits)
{
    const float nan = dtype_f32_of_bits(0x7fc00000u);
    const small_float *f = small_float_of(dtype);
    uint8_t magnitude;
    int exponent;
    int mantissa;
    float value;

    if (f == NULL) {
        return 0.0f;
    }
    if (f->one_zero && bits == f->nan) {
        return nan;
    }
    magnitude = (uint8_t)(bits & ~f->sign & (dtype == SPRY_DTYPE_F4E2M1 ? 0x0f : 0xff));
    exponent = magnitude >> f->mantissa_bits;
    mantissa = magnitude & ((1 << f->mantissa_bits) - 1);
    if (magnitude > f->largest) {
        value = f->infinite && magnitude == f->overflow ? dtype_f32_of_bits(0x7f800000u) : nan;
    } else if (dtype == SPRY_DTYPE_F8E8M0) {
        value = power_of_two(exponent - f->bias);
    } else if (exponent == 0) {
        value = (float)mantissa * power_of_two(1 - f->bias - f->mantissa_bits);
    } else {
        value = (float)(mantissa + (1 << f->mantissa_bits)) *
                power_of_two(exponent - f->bias - f->mantissa_bits);
    }
    return (bits & f->sign) != 0 ? -value : value;
}

/* `value` / 2^shift, rounded to nearest even. */
static uint32_t shift_rounded(uint32_t value, int shift)
{
    uint32_t half = (uint32_t)1 << (shift - 1);

    return (value + half - 1 + (value >> shift & 1u)) >> shift;
}

uint8_t dtype_small_float_from_f32(spry_dtype dtype, float value, bool saturate)
{
    const small_float *f = small_float_of(dtype);
    uint32_t bits = dtype_bits_of_f32(value);
    uint32_t magnitude = bits & 0x7fffffffu;
    int exponent = (int)(magnitude >> 23) - 127;
    uint8_t sign;
    uint32_t code;
    int shift;

    if (f == NULL) {
        return 0;
    }
    if (magnitude > 0x7f800000u) {
        return f->nan;
    }
    sign = bits >> 31 != 0 ? f->sign : 0;
    shift = 23 - f->mantissa_bits;
    if (dtype == SPRY_DTYPE_F8E8M0 && magnitude < 0x800000u) {
        code = magnitude > 0x600000u; /* f32's subnormals: nearer to 2^-126 than to 2^-127 */
    } else if (exponent + f->bias >= (dtype == SPRY_DTYPE_F8E8M0 ? 0 : 1)) {
        int64_t rebased = (int64_t)magnitude + ((int64_t)(f->bias - 127) * (1 << 23));

        code = shift_rounded((uint32_t)rebased, shift);
    } else {
        shift += 1 - f->bias - exponent;
        code = shift > 25 ? 0 : shift_rounded((magnitude & 0x7fffffu) | 0x800000u, shift);
    }
    if (code > f->largest) {
        code = saturate ? f->largest : f->overflow;
    }
    if (f->one_zero && (code == 0 || code == f->nan)) {
        return (uint8_t)code;
    }
    return (uint8_t)(code | sign);
}
