/* Writing NPY 1.0. Goes through a sink in small pieces, so that no copy of the tensor is made. */
#include <stdio.h>
#include <string.h>

#include "base/checked.h"
#include "base/limits.h"
#include "tensor/convert.h"
#include "tensor/npy.h"
#include "tensor/utf8.h"

/* The NumPy type that every element type is written as. */
typedef struct written_row {
    const char *code;
    spry_dtype stored;
} written_row;

static const written_row written_rows[SPRY_DTYPE_COUNT] = {
    [SPRY_DTYPE_F32] = {"<f4", SPRY_DTYPE_F32},
    [SPRY_DTYPE_U8] = {"|u1", SPRY_DTYPE_U8},
    [SPRY_DTYPE_I8] = {"|i1", SPRY_DTYPE_I8},
    [SPRY_DTYPE_U16] = {"<u2", SPRY_DTYPE_U16},
    [SPRY_DTYPE_I16] = {"<i2", SPRY_DTYPE_I16},
    [SPRY_DTYPE_I32] = {"<i4", SPRY_DTYPE_I32},
    [SPRY_DTYPE_I64] = {"<i8", SPRY_DTYPE_I64},
    [SPRY_DTYPE_BOOL] = {"|b1", SPRY_DTYPE_BOOL},
    [SPRY_DTYPE_F16] = {"<f2", SPRY_DTYPE_F16},
    [SPRY_DTYPE_F64] = {"<f8", SPRY_DTYPE_F64},
    [SPRY_DTYPE_U32] = {"<u4", SPRY_DTYPE_U32},
    [SPRY_DTYPE_U64] = {"<u8", SPRY_DTYPE_U64},
    [SPRY_DTYPE_C64] = {"<c8", SPRY_DTYPE_C64},
    [SPRY_DTYPE_C128] = {"<c16", SPRY_DTYPE_C128},
    [SPRY_DTYPE_BF16] = {"<f4", SPRY_DTYPE_F32},
    [SPRY_DTYPE_F8E4M3FN] = {"<f4", SPRY_DTYPE_F32},
    [SPRY_DTYPE_F8E4M3FNUZ] = {"<f4", SPRY_DTYPE_F32},
    [SPRY_DTYPE_F8E5M2] = {"<f4", SPRY_DTYPE_F32},
    [SPRY_DTYPE_F8E5M2FNUZ] = {"<f4", SPRY_DTYPE_F32},
    [SPRY_DTYPE_F4E2M1] = {"<f4", SPRY_DTYPE_F32},
    [SPRY_DTYPE_F8E8M0] = {"<f4", SPRY_DTYPE_F32},
    [SPRY_DTYPE_U4] = {"|u1", SPRY_DTYPE_U8},
    [SPRY_DTYPE_I4] = {"|i1", SPRY_DTYPE_I8},
    [SPRY_DTYPE_U2] = {"|u1", SPRY_DTYPE_U8},
    [SPRY_DTYPE_I2] = {"|i1", SPRY_DTYPE_I8},
};

/* Code points of the longest string; fails when one is not UTF-8. */
static spry_status longest_text(const tensor *t, size_t *longest, spry_error *error)
{
    const spry_text *texts = t->data;
    int64_t count = tensor_count(t);

    *longest = 1;
    for (int64_t i = 0; i < count; i++) {
        size_t points = 0;

        for (size_t at = 0; at < texts[i].size; points++) {
            uint32_t code_point;
            size_t length = utf8_decode(texts[i].data + at, texts[i].size - at, &code_point);

            if (length == 0) {
                return spry_fail(error, SPRY_BAD_INPUT, "NPY", NULL,
                                 "string %lld is not UTF-8, so NumPy cannot read it", (long long)i);
            }
            at += length;
        }
        *longest = points > *longest ? points : *longest;
    }
    return SPRY_OK;
}

/* The header and the bytes of the data behind it. */
static spry_status compose(const tensor *t, char header[NPY_WRITTEN_HEADER_BYTES],
                           size_t *header_bytes, size_t *data_bytes, size_t *text_points,
                           spry_error *error)
{
    char code[32];
    size_t used;
    size_t item_bytes;
    int length;
    spry_status status = SPRY_OK;

    *text_points = 0;
    if (t->dtype == SPRY_DTYPE_STRING) {
        status = longest_text(t, text_points, error);
        item_bytes = *text_points * 4;
        (void)snprintf(code, sizeof code, "<U%zu", *text_points);
    } else {
        item_bytes = spry_dtype_bits(written_rows[t->dtype].stored) / 8;
        (void)snprintf(code, sizeof code, "%s", written_rows[t->dtype].code);
    }
    if (status != SPRY_OK) {
        return status;
    }
    if (!checked_mul((size_t)tensor_count(t), item_bytes, data_bytes) ||
        (t->dtype == SPRY_DTYPE_STRING && *data_bytes > LIMIT_NPY_TEXT_BYTES)) {
        return spry_fail(error, SPRY_LIMIT, "NPY", "save fewer or shorter strings per array",
                         "the strings, padded to the longest, take too much room");
    }
    memset(header, ' ', NPY_WRITTEN_HEADER_BYTES);
    length = snprintf(header + 10, NPY_WRITTEN_HEADER_BYTES - 10,
                      "{'descr': '%s', 'fortran_order': False, 'shape': (", code);
    used = 10 + (size_t)length;
    for (int i = 0; i < t->rank; i++) {
        length = snprintf(header + used, NPY_WRITTEN_HEADER_BYTES - used, "%lld,%s",
                          (long long)t->shape[i], i + 1 < t->rank ? " " : "");
        used += (size_t)length;
    }
    length = snprintf(header + used, NPY_WRITTEN_HEADER_BYTES - used, "), }");
    used += (size_t)length;
    header[used] = ' ';
    *header_bytes = (used + 1 + 63) / 64 * 64; /* the data starts aligned */
    header[*header_bytes - 1] = '\n';
    memcpy(header, "\x93NUMPY\x01", 7);
    header[7] = '\0';
    header[8] = (char)(uint8_t)((*header_bytes - 10) & 0xff);
    header[9] = (char)(uint8_t)((*header_bytes - 10) >> 8);
    return SPRY_OK;
}

_Static_assert(10 + 80 + SPRY_TENSOR_MAX_RANK * 12 + 8 + 64 <= NPY_WRITTEN_HEADER_BYTES,
               "the longest header fits");

spry_status npy_size(const tensor *t, size_t *size, spry_error *error)
{
    char header[NPY_WRITTEN_HEADER_BYTES];
    size_t header_bytes;
    size_t data_bytes;
    size_t text_points;
    spry_status status = compose(t, header, &header_bytes, &data_bytes, &text_points, error);

    *size = status == SPRY_OK ? header_bytes + data_bytes : 0;
    return status;
}

static spry_status write_texts(const tensor *t, size_t points, npy_sink sink, void *context,
                               spry_error *error)
{
    const spry_text *texts = t->data;
    int64_t count = tensor_count(t);
    spry_status status = SPRY_OK;

    for (int64_t i = 0; i < count && status == SPRY_OK; i++) {
        size_t at = 0;

        for (size_t p = 0; p < points && status == SPRY_OK; p++) {
            uint32_t code_point = 0;
            uint8_t bytes[4];

            at += utf8_decode(texts[i].data + at, texts[i].size - at, &code_point);
            for (int b = 0; b < 4; b++) {
                bytes[b] = (uint8_t)(code_point >> (8 * b));
            }
            status = sink(context, bytes, sizeof bytes, error);
        }
    }
    return status;
}

/* Elements in a wider type, a block at a time. */
static spry_status write_widened(const tensor *t, spry_dtype stored, npy_sink sink, void *context,
                                 spry_error *error)
{
    int64_t count = tensor_count(t);
    size_t size = spry_dtype_bits(stored) / 8;
    float block[CONVERT_BLOCK];
    float converted[CONVERT_BLOCK];
    spry_status status = SPRY_OK;

    for (int64_t done = 0; done < count && status == SPRY_OK; done += CONVERT_BLOCK) {
        int64_t n = count - done < CONVERT_BLOCK ? count - done : CONVERT_BLOCK;
        tensor room;

        status = tensor_init(&room, stored, 1, &n, converted, error);
        if (status == SPRY_OK) {
            convert_read_f32(t, done, n, block);
            convert_write_f32(&room, 0, n, block);
            status = sink(context, converted, (size_t)n * size, error);
        }
    }
    return status;
}

spry_status npy_write(const tensor *t, npy_sink sink, void *context, spry_error *error)
{
    char header[NPY_WRITTEN_HEADER_BYTES];
    size_t header_bytes;
    size_t data_bytes;
    size_t text_points;
    spry_dtype stored = written_rows[t->dtype].stored;
    spry_status status = compose(t, header, &header_bytes, &data_bytes, &text_points, error);

    if (status == SPRY_OK) {
        status = sink(context, header, header_bytes, error);
    }
    if (status != SPRY_OK) {
        return status;
    }
    if (t->dtype == SPRY_DTYPE_STRING) {
        return write_texts(t, text_points, sink, context, error);
    }
    if (stored != t->dtype) {
        return write_widened(t, stored, sink, context, error);
    }
    return data_bytes > 0 ? sink(context, t->data, data_bytes, error) : SPRY_OK;
}
