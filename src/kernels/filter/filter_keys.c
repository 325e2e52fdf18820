/* Codes, bit planes and rows. */
#include "kernels/filter/filter_keys.h"

#include <math.h>
#include <string.h>

#include "kernels/brgemm/bf16.h"

static const int CODE_LIMIT = 32767;

int64_t filter_row_bytes(int64_t size)
{
    int64_t unit = (int64_t)FILTER_ROW_BYTES * 4;

    return (size + unit - 1) / unit * FILTER_ROW_BYTES;
}

int64_t filter_pitch(int64_t size)
{
    return (size + FILTER_ROW - 1) / FILTER_ROW * FILTER_ROW;
}

float filter_scale(const float *x, int64_t n)
{
    float most = 0.0f;

    for (int64_t i = 0; i < n; i++) {
        if (!isfinite(x[i])) {
            return NAN;
        }
        most = fabsf(x[i]) > most ? fabsf(x[i]) : most;
    }
    return most / (float)CODE_LIMIT;
}

int16_t filter_code(float x, float scale)
{
    float code = scale > 0.0f ? x / scale : 0.0f;

    if (!(fabsf(code) < (float)CODE_LIMIT)) {
        return (int16_t)(code > 0.0f ? CODE_LIMIT : (code < 0.0f ? -CODE_LIMIT : 0));
    }
    return (int16_t)lrintf(code);
}

int8_t filter_query_code(int16_t code)
{
    int rounded = (code + 2048) >> 12;

    return (int8_t)(rounded > 7 ? 7 : rounded);
}

/* A plane's 2 bits of a code; flipping the sign bit adds 2 to that of plane 0. */
static unsigned bits_of(uint16_t code, int plane)
{
    return (unsigned)(code ^ 0x8000U) >> (14 - 2 * plane) & 3U;
}

static void append_codes(filter_keys *keys, int64_t at, const float *k)
{
    int64_t bytes = filter_row_bytes(keys->size);
    uint16_t codes[FILTER_MOST_SIZE];

    for (int64_t t = 0; t < keys->size; t++) {
        float over = fabsf(k[t]) - (float)CODE_LIMIT * keys->scale;

        codes[t] = (uint16_t)filter_code(k[t], keys->scale);
        keys->beyond = over > keys->beyond ? over : keys->beyond;
    }
    memset(codes + keys->size, 0, (size_t)(4 * bytes - keys->size) * sizeof *codes);
    for (int p = 0; p < keys->plane_count; p++) {
        uint8_t *row = keys->planes[p] + at * bytes;

        for (int64_t i = 0; i < bytes; i++) {
            row[i] = (uint8_t)(bits_of(codes[i], p) | bits_of(codes[i + bytes], p) << 2 |
                               bits_of(codes[i + 2 * bytes], p) << 4 |
                               bits_of(codes[i + 3 * bytes], p) << 6);
        }
    }
}

static void append_row(const filter_keys *keys, void *rows, int64_t at, const float *from)
{
    int64_t pitch = filter_pitch(keys->size);
    size_t element = keys->is_bf16 ? sizeof(uint16_t) : sizeof(float);
    char *row = (char *)rows + (size_t)(at * pitch) * element;

    memset(row, 0, (size_t)pitch * element);
    if (keys->is_bf16) {
        bf16_select()->narrow((uint16_t *)(void *)row, from, keys->size);
    } else {
        memcpy(row, from, (size_t)keys->size * element);
    }
}

int64_t filter_append(filter_keys *keys, const float *k, int64_t k_token, const float *v,
                      int64_t v_token, int64_t n)
{
    int64_t room = keys->capacity - keys->count;

    n = n < room ? n : room;
    for (int64_t i = 0; i < n; i++) {
        append_codes(keys, keys->count, k + i * k_token);
        if (keys->k != NULL) {
            append_row(keys, keys->k, keys->count, k + i * k_token);
            append_row(keys, keys->v, keys->count, v + i * v_token);
        }
        keys->count++;
    }
    return n;
}
