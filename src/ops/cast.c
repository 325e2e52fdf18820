/* Cast and CastLike: any element type to any other.
 *
 * Floats become integers by truncation. Out of range, which the standard leaves open, 32 and 64
 * bits saturate and fewer bits keep the low ones, as NumPy and ONNX Runtime do; so do integers that
 * become narrower integers. Everything goes through the narrowest of f32, f64 and i64 that holds
 * the source exactly, so nothing is rounded twice. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/parse.h"
#include "base/text.h"
#include "ops/broadcast.h"
#include "ops/contents.h"
#include "ops/families.h"

enum { NUMBER_TEXT = 64 }; /* no number that fits a type needs more characters */

typedef enum cast_rounding { ROUND_UP, ROUND_DOWN, ROUND_NEAREST } cast_rounding;

typedef struct cast {
    const tensor *from;
    tensor *to;
    bool saturate;          /* of 8-bit floats */
    cast_rounding rounding; /* of f8e8m0 */
} cast;

/* ---- numbers to numbers ---- */

/* A power of two has no mantissa to round: its code is the exponent field, moved up by `rounding`.
 * The sign is dropped. */
static uint8_t exponent_code(float x, bool saturate, cast_rounding rounding)
{
    uint32_t bits = dtype_bits_of_f32(x) & 0x7fffffffu;
    uint32_t mantissa = bits & 0x7fffffu;
    uint32_t code = bits >> 23;
    uint32_t most = saturate ? 0xfe : 0xff;

    if (bits > 0x7f800000u) {
        return 0xff; /* NaN */
    }
    /* Halfway lies at 1.5 for normal numbers; below 2^-126 zero stands for 2^-127, the half. */
    if (rounding == ROUND_NEAREST) {
        code += code == 0 ? mantissa > 0x400000u : mantissa >= 0x400000u;
    } else if (rounding == ROUND_UP) {
        code += code == 0 ? mantissa > 0x400000u : mantissa != 0;
    }
    return (uint8_t)(code > most ? most : code);
}

static void write_small_float(const cast *c, int64_t start, int64_t n, const float *from)
{
    uint8_t *to = (uint8_t *)c->to->data + start;

    for (int64_t i = 0; i < n; i++) {
        to[i] = c->to->dtype == SPRY_DTYPE_F8E8M0
                    ? exponent_code(from[i], c->saturate, c->rounding)
                    : dtype_small_float_from_f32(c->to->dtype, from[i], c->saturate);
    }
}

static bool is_byte_float(spry_dtype dtype)
{
    return dtype_class_of(dtype) == DTYPE_CLASS_FLOAT && spry_dtype_bits(dtype) == 8;
}

static bool is_integer(spry_dtype dtype)
{
    dtype_class class = dtype_class_of(dtype);

    return class == DTYPE_CLASS_SIGNED || class == DTYPE_CLASS_UNSIGNED;
}

static void cast_f64(const cast *c, int64_t start, int64_t n)
{
    double wide[CONVERT_BLOCK];
    float narrow[CONVERT_BLOCK];

    convert_read_f64(c->from, start, n, wide);
    if (!is_byte_float(c->to->dtype)) {
        convert_write_f64(c->to, start, n, wide);
        return;
    }
    for (int64_t i = 0; i < n; i++) {
        narrow[i] = dtype_f32_for_narrowing(wide[i]);
    }
    write_small_float(c, start, n, narrow);
}

static void cast_f32(const cast *c, int64_t start, int64_t n)
{
    float block[CONVERT_BLOCK];

    convert_read_f32(c->from, start, n, block);
    if (is_byte_float(c->to->dtype)) {
        write_small_float(c, start, n, block);
    } else {
        convert_write_f32(c->to, start, n, block);
    }
}

static void cast_i64(const cast *c, int64_t start, int64_t n)
{
    int64_t block[CONVERT_BLOCK];

    convert_read_i64(c->from, start, n, block);
    convert_write_i64(c->to, start, n, block);
}

static void cast_piece(void *context, int64_t begin, int64_t end, int worker)
{
    const cast *c = context;
    spry_dtype from = c->from->dtype;
    bool to_float = dtype_class_of(c->to->dtype) == DTYPE_CLASS_FLOAT;
    bool from_float = dtype_class_of(from) == DTYPE_CLASS_FLOAT;
    /* u64's upper half would turn negative on its way through i64. */
    bool through_i64 = from_float ? is_integer(c->to->dtype) && spry_dtype_bits(c->to->dtype) < 32
                                  : !to_float || from != SPRY_DTYPE_U64;
    bool exact_f32 = spry_dtype_bits(from) <= 16 || from == SPRY_DTYPE_F32 ||
                     (from == SPRY_DTYPE_U64 && c->to->dtype == SPRY_DTYPE_F32);

    (void)worker;
    for (int64_t start = begin; start < end; start += CONVERT_BLOCK) {
        int64_t n = end - start < CONVERT_BLOCK ? end - start : CONVERT_BLOCK;

        if (through_i64 && !is_byte_float(c->to->dtype)) {
            cast_i64(c, start, n);
        } else if (exact_f32) {
            cast_f32(c, start, n);
        } else {
            cast_f64(c, start, n);
        }
    }
}

/* ---- strings ---- */

/* The shortest text that reads back as the same number in the type itself. */
static void append_number(text *t, const tensor *from, int64_t index)
{
    double x = convert_get_f64(from, index);
    float narrow = (float)x;
    char digits[NUMBER_TEXT];

    switch (dtype_class_of(from->dtype)) {
    case DTYPE_CLASS_UNSIGNED:
        text_append_format(t, "%llu", (unsigned long long)convert_get_i64(from, index));
        return;
    case DTYPE_CLASS_SIGNED:
    case DTYPE_CLASS_BOOL:
        text_append_format(t, "%lld", (long long)convert_get_i64(from, index));
        return;
    default: break;
    }
    if (!isfinite(x)) {
        text_append_string(t, isnan(x) ? "NaN" : x > 0.0 ? "INF" : "-INF");
        return;
    }
    for (int places = 1; from->dtype != SPRY_DTYPE_F64 && places <= 9; places++) {
        text rounded;
        double candidate;

        text_init_fixed(&rounded, digits, sizeof digits);
        text_append_format(&rounded, "%.*g", places, x);
        candidate = strtod(digits, NULL); /* written just so, in the same locale */
        if ((float)candidate == narrow) {
            x = candidate;
            break;
        }
    }
    text_append_f64(t, x);
}

static spry_status cast_to_text(op_call *call, const cast *c)
{
    spry_text *to = c->to->data;
    char buffer[NUMBER_TEXT];

    for (int64_t i = 0; i < tensor_count(c->from); i++) {
        text t;
        spry_status status;

        if (c->from->dtype == SPRY_DTYPE_STRING) {
            to[i] = ((const spry_text *)c->from->data)[i];
            continue;
        }
        text_init_fixed(&t, buffer, sizeof buffer);
        append_number(&t, c->from, i);
        status = op_call_text(call, t.data, t.length, &to[i]);
        if (status != SPRY_OK) {
            return status;
        }
    }
    return SPRY_OK;
}

static bool same_word(const char *a, const char *lower)
{
    for (; *lower != '\0'; a++, lower++) {
        if ((char)(*a | 0x20) != *lower) {
            return false;
        }
    }
    return *a == '\0';
}

/* A number, "NaN" or "INF" with an optional sign, in any case, between blanks. */
static bool parse_number(const char *word, double *number)
{
    const char *unsigned_word = word + (word[0] == '+' || word[0] == '-');
    double sign = word[0] == '-' ? -1.0 : 1.0;

    if (same_word(unsigned_word, "nan")) {
        *number = (double)NAN;
        return true;
    }
    if (same_word(unsigned_word, "inf") || same_word(unsigned_word, "infinity")) {
        *number = sign * (double)INFINITY;
        return true;
    }
    return parse_f64(word[0] == '+' ? word + 1 : word, -HUGE_VAL, HUGE_VAL, number);
}

static bool parse_element(const cast *c, int64_t index)
{
    const spry_text *from = (const spry_text *)c->from->data + index;
    dtype_class class = dtype_class_of(c->to->dtype);
    const char *data = from->data;
    size_t size = from->size;
    char word[NUMBER_TEXT * 16]; /* exact decimal expansions are long */
    int64_t integer;
    uint64_t natural;
    double number;

    while (size > 0 && (data[0] == ' ' || data[0] == '\t' || data[0] == '\n')) {
        data++;
        size--;
    }
    while (size > 0 &&
           (data[size - 1] == ' ' || data[size - 1] == '\t' || data[size - 1] == '\n')) {
        size--;
    }
    if (size == 0 || size >= sizeof word) {
        return false;
    }
    memcpy(word, data, size);
    word[size] = '\0';
    if (class != DTYPE_CLASS_FLOAT && parse_i64(word, INT64_MIN, INT64_MAX, &integer)) {
        convert_write_i64(c->to, index, 1, &integer);
        return true;
    }
    if (c->to->dtype == SPRY_DTYPE_U64 && parse_u64(word, 0, UINT64_MAX, &natural)) {
        ((uint64_t *)c->to->data)[index] = natural;
        return true;
    }
    if (!parse_number(word, &number)) {
        return false;
    }
    if (is_byte_float(c->to->dtype)) {
        float narrow = dtype_f32_for_narrowing(number);

        write_small_float(c, index, 1, &narrow);
    } else {
        convert_write_f64(c->to, index, 1, &number);
    }
    return true;
}

static spry_status cast_from_text(op_call *call, const cast *c)
{
    for (int64_t i = 0; i < tensor_count(c->from); i++) {
        if (!parse_element(c, i)) {
            return op_call_fail(call, SPRY_BAD_INPUT, "element %lld is not a number", (long long)i);
        }
    }
    return SPRY_OK;
}

/* ---- the operators ---- */

static spry_status run_cast_to(op_call *call, spry_dtype dtype)
{
    cast c = {.from = op_call_input(call, 0)};
    const char *rounding = graph_attribute_string(call->node, "round_mode", "up");
    spry_status status;

    if (c.from == NULL) {
        return op_call_fail(call, SPRY_BAD_INPUT, "input 0 is missing");
    }
    if (dtype <= SPRY_DTYPE_NONE || dtype >= SPRY_DTYPE_COUNT ||
        dtype_class_of(dtype) == DTYPE_CLASS_COMPLEX ||
        dtype_class_of(c.from->dtype) == DTYPE_CLASS_COMPLEX) {
        return op_call_fail(call, SPRY_UNSUPPORTED, "no conversion between these types");
    }
    c.saturate = graph_attribute_int(call->node, "saturate", 1) != 0;
    c.rounding = strcmp(rounding, "down") == 0      ? ROUND_DOWN
                 : strcmp(rounding, "nearest") == 0 ? ROUND_NEAREST
                                                    : ROUND_UP;
    status = op_call_output_like(call, 0, dtype, c.from, &c.to);
    if (status != SPRY_OK || c.to == NULL) {
        return status;
    }
    if (dtype == SPRY_DTYPE_STRING) {
        return cast_to_text(call, &c);
    }
    if (c.from->dtype == SPRY_DTYPE_STRING) {
        return cast_from_text(call, &c);
    }
    threads_for(call->team, tensor_count(c.from), BROADCAST_GRAIN, cast_piece, &c);
    return SPRY_OK;
}

static spry_status run_cast(op_call *call)
{
    return run_cast_to(call, (spry_dtype)graph_attribute_int(call->node, "to", SPRY_DTYPE_NONE));
}

static spry_status run_cast_like(op_call *call)
{
    const tensor *like = op_call_input(call, 1);

    return run_cast_to(call, like != NULL ? like->dtype : SPRY_DTYPE_NONE);
}

static spry_status infer_as(op_shapes *s, spry_dtype dtype)
{
    graph_dim room[OPERAND_CONTENTS];
    const graph_type *from = op_shapes_ranked(s, 0);
    const graph_dim *contents;
    int32_t count;

    if (from == NULL) {
        op_shapes_set_unranked(s, 0, dtype);
        return SPRY_OK;
    }
    op_shapes_set(s, 0, dtype, from->rank, from->dims);
    contents = operand_integers(s, 0, room, &count);
    return contents != NULL ? contents_set(s, count, contents) : SPRY_OK;
}

static spry_status infer_cast(op_shapes *s)
{
    int64_t to = graph_attribute_int(s->node, "to", SPRY_DTYPE_NONE);

    if (to <= SPRY_DTYPE_NONE || to >= SPRY_DTYPE_COUNT) {
        return op_shapes_fail(s, "attribute `to` names no element type");
    }
    return infer_as(s, (spry_dtype)to);
}

static spry_status infer_cast_like(op_shapes *s)
{
    const graph_type *like = op_shapes_input(s, 1);

    if (like == NULL || like->kind != GRAPH_TYPE_TENSOR || like->dtype == SPRY_DTYPE_NONE) {
        return SPRY_OK;
    }
    return infer_as(s, like->dtype);
}

#define NOT_COMPLEX                            \
    ((((uint32_t)1 << SPRY_DTYPE_COUNT) - 2) & \
     ~((uint32_t)1 << SPRY_DTYPE_C64 | (uint32_t)1 << SPRY_DTYPE_C128))

const op ops_cast[] = {
    {.name = "Cast",
     .domain = "",
     .since = 6,
     .min_inputs = 1,
     .max_inputs = 1,
     .min_outputs = 1,
     .max_outputs = 1,
     .types = {NOT_COMPLEX},
     .infer = infer_cast,
     .run = run_cast,
     .cost = broadcast_cost},
    {.name = "CastLike",
     .domain = "",
     .since = 15,
     .min_inputs = 2,
     .max_inputs = 2,
     .min_outputs = 1,
     .max_outputs = 1,
     .types = {NOT_COMPLEX, NOT_COMPLEX},
     .infer = infer_cast_like,
     .run = run_cast_like,
     .cost = broadcast_cost},
    {.name = NULL},
};
