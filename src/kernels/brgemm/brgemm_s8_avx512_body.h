/* The AVX-512 VNNI tile of bytes: one instruction multiplies 64 pairs and adds them to 16 sums,
 * exactly. A file that includes this defines BRGEMM_ROWS and BRGEMM_COLUMNS, brgemm_flips, and
 * brgemm_keeps: (rows) -> whether tiles of so many rows become bytes in registers.
 *
 * The usual finish, bytes by factors below 1, works on the sums where they are; everything else
 * goes through memory, where rows can be looped over. */
#ifndef KERNELS_BRGEMM_BRGEMM_S8_AVX512_BODY_H
#define KERNELS_BRGEMM_BRGEMM_S8_AVX512_BODY_H

#include "kernels/brgemm/brgemm_floats_avx512.h"

typedef __m512i brgemm_sums;

enum { MOST_ROWS = BRGEMM_ROWS, MOST_PARTS = BRGEMM_COLUMNS / BRGEMM_LANES, BRGEMM_C_PARTS = 2 };

/* The lanes of vector `part` that a tile of `columns` has. */
BRGEMM_INLINE __mmask16 lanes_of(int columns, int part)
{
    int left = columns - part * BRGEMM_LANES;

    return (__mmask16)(left >= BRGEMM_LANES ? 0xFFFF : (1u << (left > 0 ? left : 0)) - 1);
}

/* Sums start from the offsets, which saves adding those later. */
BRGEMM_INLINE brgemm_sums brgemm_start(const brgemm_tile *t, int part)
{
    const int32_t *offset = t->finish != NULL ? t->finish->offset : NULL;

    return offset == NULL
               ? _mm512_setzero_si512()
               : _mm512_maskz_loadu_epi32(lanes_of(t->columns, part), offset + part * BRGEMM_LANES);
}

BRGEMM_INLINE brgemm_sums brgemm_dot(brgemm_sums sum, __m512i a, __m512i b, const brgemm_tile *t,
                                     bool flips)
{
    __m512i flipped = flips ? _mm512_xor_si512(a, _mm512_set1_epi8((char)t->flip)) : a;

    return _mm512_dpbusd_epi32(sum, flipped, b);
}

BRGEMM_INLINE void brgemm_load(const brgemm_tile *t, int rows, int parts, int mr, brgemm_sums *sums)
{
#pragma GCC unroll 16
    for (int i = 0; i < rows; i++) {
#pragma GCC unroll 2
        for (int part = 0; part < parts; part++) {
            const int32_t *c = (const int32_t *)(const void *)brgemm_c_row(t, i, mr);

            sums[i * parts + part] = _mm512_add_epi32(
                brgemm_start(t, part),
                _mm512_maskz_loadu_epi32(lanes_of(t->columns, part), c + part * BRGEMM_LANES));
        }
    }
}

/* ---- bytes in registers ---- */

/* What turns sums into bytes when every factor is below 1, so that a scaled sum fits 32 bits. Bytes
 * are made unsigned, and flipped at the end where they are not. */
typedef struct byte_finish {
    __m512 factor[MOST_PARTS];
    __m512i zero, low, high, flip;
} byte_finish;

/* False when the finish is another one. */
BRGEMM_INLINE bool read_byte_finish(const brgemm_tile *t, int parts, byte_finish *b)
{
    const brgemm_finish *f = t->finish;
    __mmask16 small = 0xFFFF;
    int to_unsigned;

    if (f == NULL || f->result != BRGEMM_BYTES || f->factor == NULL) {
        return false;
    }
#pragma GCC unroll 2
    for (int part = 0; part < parts; part++) {
        __mmask16 mask = lanes_of(t->columns, part);

        b->factor[part] = _mm512_maskz_loadu_ps(mask, f->factor + part * BRGEMM_LANES);
        small &=
            _mm512_cmp_ps_mask(_mm512_abs_ps(b->factor[part]), _mm512_set1_ps(1.0f), _CMP_LT_OQ);
    }
    to_unsigned = f->low < 0 ? 128 : 0;
    b->zero = _mm512_set1_epi16((short)(f->zero + to_unsigned));
    b->low = _mm512_set1_epi8((char)(f->low + to_unsigned));
    b->high = _mm512_set1_epi8((char)(f->high + to_unsigned));
    b->flip = _mm512_set1_epi8((char)to_unsigned);
    return small == 0xFFFF;
}

BRGEMM_INLINE __m512i scaled(const byte_finish *b, int part, __m512i sum)
{
    return _mm512_cvtps_epi32(_mm512_mul_ps(_mm512_cvtepi32_ps(sum), b->factor[part]));
}

/* The bytes of four vectors of scaled sums, one after the other. */
BRGEMM_INLINE __m512i to_bytes(const byte_finish *b, const __m512i q[4])
{
    const __m512i order = _mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
    __m512i left = _mm512_adds_epi16(_mm512_packs_epi32(q[0], q[1]), b->zero);
    __m512i right = _mm512_adds_epi16(_mm512_packs_epi32(q[2], q[3]), b->zero);
    __m512i bytes = _mm512_packus_epi16(left, right);

    bytes = _mm512_min_epu8(_mm512_max_epu8(bytes, b->low), b->high);
    return _mm512_permutexvar_epi32(order, _mm512_xor_si512(bytes, b->flip));
}

/* Two vectors per row: two rows at a time. */
BRGEMM_INLINE void store_wide(const brgemm_tile *t, int rows, int mr, bool whole,
                              const byte_finish *b, const __m512i *sums)
{
    __mmask32 mask = (__mmask32)(((uint64_t)1 << t->columns) - 1);

#pragma GCC unroll 7
    for (int i = 0; i < rows; i += 2) {
        int j = i + 1 < rows ? i + 1 : i;
        __m512i q[4] = {scaled(b, 0, sums[2 * i]), scaled(b, 1, sums[2 * i + 1]),
                        scaled(b, 0, sums[2 * j]), scaled(b, 1, sums[2 * j + 1])};
        __m512i bytes = to_bytes(b, q);
        __m256i one = _mm512_castsi512_si256(bytes);
        __m256i other = _mm512_extracti64x4_epi64(bytes, 1);

        if (whole) {
            _mm256_storeu_si256((__m256i *)(void *)brgemm_c_row(t, i, mr), one);
            _mm256_storeu_si256((__m256i *)(void *)brgemm_c_row(t, j, mr), other);
        } else {
            _mm256_mask_storeu_epi8(brgemm_c_row(t, i, mr), mask, one);
            _mm256_mask_storeu_epi8(brgemm_c_row(t, j, mr), mask, other);
        }
    }
}

BRGEMM_INLINE void store_sixteen(char *c, int columns, __m128i bytes)
{
    if (columns == BRGEMM_LANES) {
        _mm_storeu_si128((__m128i *)(void *)c, bytes);
    } else {
        _mm_mask_storeu_epi8(c, lanes_of(columns, 0), bytes);
    }
}

/* One vector per row: four rows at a time. */
BRGEMM_INLINE void store_narrow(const brgemm_tile *t, int rows, int mr, const byte_finish *b,
                                const __m512i *sums)
{
#pragma GCC unroll 4
    for (int i = 0; i < rows; i += 4) {
        __m512i q[4];
        __m512i bytes;

#pragma GCC unroll 4
        for (int j = 0; j < 4; j++) {
            q[j] = scaled(b, 0, sums[i + j < rows ? i + j : i]);
        }
        bytes = to_bytes(b, q);
        store_sixteen(brgemm_c_row(t, i, mr), t->columns, _mm512_castsi512_si128(bytes));
        if (i + 1 < rows) {
            store_sixteen(brgemm_c_row(t, i + 1, mr), t->columns,
                          _mm512_extracti32x4_epi32(bytes, 1));
        }
        if (i + 2 < rows) {
            store_sixteen(brgemm_c_row(t, i + 2, mr), t->columns,
                          _mm512_extracti32x4_epi32(bytes, 2));
        }
        if (i + 3 < rows) {
            store_sixteen(brgemm_c_row(t, i + 3, mr), t->columns,
                          _mm512_extracti32x4_epi32(bytes, 3));
        }
    }
}

/* False when the finish is another one. */
BRGEMM_INLINE bool store_bytes(const brgemm_tile *t, int rows, int parts, int mr,
                               const __m512i *sums)
{
    byte_finish b;

    if (!read_byte_finish(t, parts, &b)) {
        return false;
    }
    if (parts == 1) {
        store_narrow(t, rows, mr, &b, sums);
    } else if (t->columns == MOST_PARTS * BRGEMM_LANES) {
        store_wide(t, rows, mr, true, &b, sums);
    } else {
        store_wide(t, rows, mr, false, &b, sums);
    }
    return true;
}

/* ---- floats in registers ---- */

/* False when the finish is another one. */
BRGEMM_INLINE bool store_floats(const brgemm_tile *t, int rows, int parts, int mr,
                                const __m512i *sums)
{
    const brgemm_finish *f = t->finish;
    __m512 floats[MOST_ROWS * MOST_PARTS];

    if (f == NULL || f->result != BRGEMM_FLOATS || f->factor == NULL) {
        return false;
    }
#pragma GCC unroll 2
    for (int part = 0; part < parts; part++) {
        __m512 factor =
            _mm512_maskz_loadu_ps(lanes_of(t->columns, part), f->factor + part * BRGEMM_LANES);

#pragma GCC unroll 16
        for (int i = 0; i < rows; i++) {
            floats[i * parts + part] =
                _mm512_mul_ps(_mm512_cvtepi32_ps(sums[i * parts + part]), factor);
        }
    }
    brgemm_finish_floats_avx512(t, 0, rows, parts, mr, floats);
    brgemm_store_floats_avx512(t, 0, rows, parts, mr, floats);
    return true;
}

/* ---- sums in registers ---- */

/* True when there is no finish other than offsets. */
BRGEMM_INLINE bool brgemm_splits(const brgemm_tile *t)
{
    return t->finish == NULL || t->finish->result == BRGEMM_SUMS;
}

/* Rows [first, rows); `is_whole` where every vector has all its lanes. */
BRGEMM_INLINE void put_sums(const brgemm_tile *t, int first, int rows, int parts, int mr,
                            bool is_whole, const __m512i *sums)
{
    char *c[2] = {(char *)t->c, (char *)t->c + t->c_second};
    int64_t pitch = t->c_pitch; /* does not change while C is written */
    __mmask16 last = lanes_of(t->columns, parts - 1);

#pragma GCC unroll 16
    for (int i = first; i < rows; i++) {
        char *row = i < mr / 2 ? c[0] + i * pitch : c[1] + (i - mr / 2) * pitch;

        if (parts == 2) {
            _mm512_storeu_si512(row, sums[i * parts]);
        }
        row += (parts - 1) * (ptrdiff_t)sizeof(__m512i);
        if (is_whole) {
            _mm512_storeu_si512(row, sums[(i + 1) * parts - 1]);
        } else {
            _mm512_mask_storeu_epi32(row, last, sums[(i + 1) * parts - 1]);
        }
    }
}

BRGEMM_INLINE void store_sums(const brgemm_tile *t, int first, int rows, int parts, int mr,
                              const __m512i *sums)
{
    if (t->columns == parts * BRGEMM_LANES) {
        put_sums(t, first, rows, parts, mr, true, sums);
    } else {
        put_sums(t, first, rows, parts, mr, false, sums);
    }
}

/* ---- through memory ---- */

/* By the rule of tensor/quantize.h, whatever the factor. */
static inline __m128i any_bytes(const brgemm_finish *f, __m512 v)
{
    __m512 rounded = _mm512_roundscale_ps(v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
    __mmask16 is_number;
    __m512i whole;

    /* The second operand comes back when one is NaN, which then becomes 0. */
    rounded = _mm512_max_ps(_mm512_set1_ps((float)(f->low - f->zero)), rounded);
    rounded = _mm512_min_ps(_mm512_set1_ps((float)(f->high - f->zero)), rounded);
    is_number = _mm512_cmp_ps_mask(rounded, rounded, _CMP_ORD_Q);
    whole = _mm512_maskz_cvttps_epi32(is_number, rounded);
    return _mm512_cvtepi32_epi8(_mm512_add_epi32(whole, _mm512_set1_epi32(f->zero)));
}

/* Finishes what is no plain sum: sixteen columns of a row. Floats are left in place of the sums. */
static inline void finish_vector(const brgemm_tile *t, int part, char *c, __m512i *sum)
{
    const brgemm_finish *f = t->finish;
    __mmask16 mask = lanes_of(t->columns, part);
    __m512 v = _mm512_cvtepi32_ps(*sum);

    if (f->factor != NULL) {
        v = _mm512_mul_ps(v, _mm512_maskz_loadu_ps(mask, f->factor + part * BRGEMM_LANES));
    }
    if (f->result == BRGEMM_BYTES) {
        _mm_mask_storeu_epi8(c + part * BRGEMM_LANES, mask, any_bytes(f, v));
    } else {
        *sum = _mm512_castps_si512(v);
    }
}

/* Row `row` of floats: a tile of one row. */
static void store_float_row(const brgemm_tile *t, int row, int parts, int mr, const __m512i *sums)
{
    brgemm_finish finish = *t->finish;
    brgemm_tile line = {.c = brgemm_c_row(t, row, mr), .columns = t->columns, .finish = &finish};
    __m512 floats[MOST_PARTS];

    if (finish.residual != NULL) {
        finish.residual = brgemm_residual_row(t->finish, row, mr);
    }
    for (int part = 0; part < parts; part++) {
        floats[part] = _mm512_castsi512_ps(sums[part]);
    }
    if (parts == 1) {
        brgemm_finish_floats_avx512(&line, 0, 1, 1, 2, floats);
        brgemm_store_floats_avx512(&line, 0, 1, 1, 2, floats);
    } else {
        brgemm_finish_floats_avx512(&line, 0, 1, 2, 2, floats);
        brgemm_store_floats_avx512(&line, 0, 1, 2, 2, floats);
    }
}

static void store_any_row(const brgemm_tile *t, int row, int parts, int mr, __m512i *sums)
{
    char *c = brgemm_c_row(t, row, mr);

    for (int part = 0; part < parts; part++) {
        finish_vector(t, part, c, &sums[part]);
    }
    if (t->finish->result == BRGEMM_FLOATS) {
        store_float_row(t, row, parts, mr, sums);
    }
}

static __attribute__((noinline)) void store_any(const brgemm_tile *t, int parts, int mr,
                                                __m512i *sums)
{
    for (int i = 0; i < t->rows; i++) {
        store_any_row(t, i, parts, mr, sums + (ptrdiff_t)i * parts);
    }
}

static __attribute__((noinline)) void store_part(const brgemm_tile *t, int parts, int mr,
                                                 __m512i *sums)
{
    bool done =
        parts == 1 ? store_bytes(t, t->rows, 1, mr, sums) : store_bytes(t, t->rows, 2, mr, sums);

    if (!done) {
        store_any(t, parts, mr, sums);
    }
}

/* What differs by row is added where the sums are. */
BRGEMM_INLINE void add_row_offsets(const brgemm_tile *t, int first, int rows, int parts,
                                   __m512i *sums)
{
    if (t->finish == NULL || t->finish->row_offset == NULL) {
        return;
    }
#pragma GCC unroll 16
    for (int i = first; i < rows; i++) {
        __m512i offset = _mm512_set1_epi32(t->finish->row_offset[i]);

#pragma GCC unroll 2
        for (int part = 0; part < parts; part++) {
            sums[i * parts + part] = _mm512_add_epi32(sums[i * parts + part], offset);
        }
    }
}

BRGEMM_INLINE int brgemm_early(int rows)
{
    return rows > 8 ? 7 : 0;
}

BRGEMM_INLINE void brgemm_store_part(const brgemm_tile *t, int first, int rows, int parts, int mr,
                                     brgemm_sums *sums)
{
    add_row_offsets(t, first, rows, parts, sums);
    store_sums(t, first, rows, parts, mr, sums);
}

BRGEMM_INLINE void brgemm_store(const brgemm_tile *t, int rows, int parts, int mr,
                                brgemm_sums *sums)
{
    __m512i copy[MOST_ROWS * MOST_PARTS]; /* so that the sums stay in registers */

    add_row_offsets(t, 0, rows, parts, sums);
    if (brgemm_splits(t)) {
        store_sums(t, 0, rows, parts, mr, sums);
        return;
    }
    if ((brgemm_keeps(rows) && store_bytes(t, rows, parts, mr, sums)) ||
        (rows == mr && store_floats(t, rows, parts, mr, sums))) {
        return;
    }
#pragma GCC unroll 28
    for (int i = 0; i < rows * parts; i++) {
        copy[i] = sums[i];
    }
    if (brgemm_keeps(rows)) {
        store_any(t, parts, mr, copy);
    } else {
        store_part(t, parts, mr, copy);
    }
}

#include "kernels/brgemm/brgemm_tile_avx512_body.h"

#endif
