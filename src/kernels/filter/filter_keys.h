/* Keys and values of one head, held for filtered attention: rows for the exact products, and
 * the leading bits of the keys' INT16 codes for finding the keys that matter.
 *
 * Codes are those of Energon (arXiv 2110.09310): K16 = round(k / scale), symmetric per head; of
 * fewer bits, the leading ones of K16, so K4 = K16 >> 12 and K2 = K4 >> 2 are no second rounding.
 * Plane p holds bits 15 - 2p and 14 - 2p of every code: K2 is plane 0 and K4 = 4 K2 + plane 1. */
#ifndef KERNELS_FILTER_FILTER_KEYS_H
#define KERNELS_FILTER_FILTER_KEYS_H

#include <stdbool.h>
#include <stdint.h>

enum {
    FILTER_MOST_SIZE = 1024, /* elements per key and value */
    FILTER_PLANES = 4,       /* 8 leading bits */
    FILTER_ROW_BYTES = 16,   /* rows of a plane are multiples of this */
    FILTER_ROW = 32          /* rows of keys and values are multiples of this many elements */
};

/* Keys and values in memory of the caller; `filter_append` fills it. */
typedef struct filter_keys {
    int64_t size;     /* 1 to FILTER_MOST_SIZE: of keys and of values */
    int64_t count;    /* keys held */
    int64_t capacity; /* keys there is room for */
    float scale;      /* of K16; 0: all codes are zero, so that every key survives */
    float beyond;     /* by how much the farthest element lies outside of the scale's range */
    bool is_bf16;     /* rows hold bf16; else f32 */
    int plane_count;  /* planes held, 2 or FILTER_PLANES */
    /* [capacity][filter_row_bytes]: byte b holds the codes of elements b, b + bytes, b + 2 bytes
     * and b + 3 bytes from its low bits on; beyond `size` they are zero codes. Plane 0 holds
     * K2 + 2, so that every plane is unsigned. */
    uint8_t *planes[FILTER_PLANES];
    /* [capacity][filter_pitch], aligned to 64 bytes; zeros beyond `size`. Both may be NULL where
     * survivors alone are wanted. */
    void *k, *v;
} filter_keys;

/* Bytes per key of a plane, and elements per row of keys and values. */
int64_t filter_row_bytes(int64_t size);
int64_t filter_pitch(int64_t size);

/* The scale of numbers whose largest magnitude is 32767 codes: 0 of zeros, NaN if one of them is
 * not finite. */
float filter_scale(const float *x, int64_t n);

/* round(x / scale) within [-32767, 32767]; 0 where scale is 0. NaN is 0. */
int16_t filter_code(float x, float scale);

/* The leading 4 bits of a query's code, rounded: an offset that all elements of a query have would
 * weigh keys by the sum of their elements, while that of keys is the same for all. [-8, 7]. */
int8_t filter_query_code(int16_t code);

/* Puts `n` keys and values behind those that are held, as far as there is room: rows `k_token`
 * and `v_token` floats apart. Codes beyond the range of the scale saturate. Returns how many it
 * took. */
int64_t filter_append(filter_keys *keys, const float *k, int64_t k_token, const float *v,
                      int64_t v_token, int64_t n);

#endif
