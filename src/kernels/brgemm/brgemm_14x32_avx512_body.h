/* The AVX-512 tile of 14 rows x 32 columns for every type: 28 accumulators, 2 registers of B, one
 * broadcast of A. A file that includes this defines before:
 *
 *   brgemm_sums    the register type of sums: __m512 or __m512i
 *   brgemm_dot     (sum, four bytes of A broadcast, 64 bytes of B, tile) -> sum
 *   brgemm_start   (tile, vector of columns) -> sum, before the first product
 *   BRGEMM_C_PARTS how many vectors of results share a cache line
 *   brgemm_load    fills the sums from C
 *   brgemm_store   finishes and stores the sums
 *   brgemm_splits  (tile) -> whether it may be finished in two parts
 *   brgemm_early   (rows of a tile) -> how many of them are the first part, or 0: in one
 *   brgemm_store_part  like brgemm_store, rows [first, rows) of a tile in two parts
 *
 * A step (four bytes of A per row) is 2 loads, 14 broadcasts and 28 multiply-adds. The 14 rows are
 * addressed from two bases and three registers of multiples of the pitch, so that no pointer is
 * kept, or spilled, per row.
 *
 * Stores wait for their sums in a queue that holds fewer than a tile has: where it is full, nothing
 * of the next tile gets in. So the last steps are done for some rows first, whose stores go on
 * while the others' products are summed. Every sum adds in the same order as ever. */
#ifndef KERNELS_BRGEMM_BRGEMM_14X32_AVX512_BODY_H
#define KERNELS_BRGEMM_BRGEMM_14X32_AVX512_BODY_H

#include "kernels/brgemm/brgemm_floats_avx512.h"

enum { MR = 14, NR = 32, HALF = MR / 2, VECTOR = 64, LAST_STEPS = 4 };

/* Where a tap's rows lie. */
typedef struct brgemm_rows {
    const char *top;    /* rows [0, HALF) */
    const char *bottom; /* the others */
    int64_t pitch, pitch3, pitch5;
} brgemm_rows;

BRGEMM_INLINE __m512i brgemm_broadcast(const brgemm_rows *r, int row, int64_t at)
{
    const char *base = (row < HALF ? r->top : r->bottom) + at;
    int32_t word;

    switch (row % HALF) {
    case 0: break;
    case 1: base += r->pitch; break;
    case 2: base += r->pitch * 2; break;
    case 3: base += r->pitch3; break;
    case 4: base += r->pitch * 4; break;
    case 5: base += r->pitch5; break;
    default: base += r->pitch3 * 2; break;
    }
    memcpy(&word, base, sizeof word);
    return _mm512_set1_epi32(word);
}

/* One step of rows [first, rows). */
BRGEMM_INLINE void brgemm_step(const brgemm_tile *t, const brgemm_rows *r, int64_t at,
                               const char *b, int first, int rows, int parts, brgemm_sums *sums)
{
    __m512i line[2];

#pragma GCC unroll 2
    for (int part = 0; part < parts; part++) {
        line[part] = _mm512_loadu_si512(b + part * VECTOR);
    }
#pragma GCC unroll 14
    for (int i = first; i < rows; i++) {
        __m512i a = brgemm_broadcast(r, i, at);

#pragma GCC unroll 2
        for (int part = 0; part < parts; part++) {
            sums[i * parts + part] = brgemm_dot(sums[i * parts + part], a, line[part], t);
        }
    }
}

/* Asks for the lines of C before the sums are there to be stored. */
BRGEMM_INLINE void brgemm_fetch_c(const brgemm_tile *t, int rows, int parts)
{
#pragma GCC unroll 14
    for (int i = 0; i < rows; i++) {
        const char *c = brgemm_c_row(t, i, MR);

#pragma GCC unroll 2
        for (int part = 0; part < parts; part += BRGEMM_C_PARTS) {
            _mm_prefetch(c + part * VECTOR, _MM_HINT_T0);
        }
    }
}

BRGEMM_INLINE void brgemm_begin(const brgemm_tile *t, int rows, int parts, brgemm_sums *sums)
{
    if (t->accumulate) {
        brgemm_load(t, rows, parts, MR, sums);
        return;
    }
#pragma GCC unroll 2
    for (int part = 0; part < parts; part++) {
        brgemm_sums start = brgemm_start(t, part);

#pragma GCC unroll 14
        for (int i = 0; i < rows; i++) {
            sums[i * parts + part] = start;
        }
    }
}

/* The last steps of rows [first, rows), if they were kept back, and what follows them. */
BRGEMM_INLINE void brgemm_end_part(const brgemm_tile *t, const brgemm_rows *r, const char *b,
                                   int first, int rows, int parts, bool kept, brgemm_sums *sums)
{
    if (kept) {
#pragma GCC unroll 2
        for (int i = 0; i < LAST_STEPS; i++) {
            brgemm_step(t, r, 4 * i, b + (ptrdiff_t)i * NR * 4, first, rows, parts, sums);
        }
    }
    brgemm_store_part(t, first, rows, parts, MR, sums);
}

/* `rows`, `parts` (vectors of columns) and `asks` (for t->next) are constants at every call, so
 * that the sums become registers. */
BRGEMM_INLINE void brgemm_tile_of(const brgemm_tile *t, int rows, int parts, bool asks)
{
    brgemm_sums sums[MR * 2];
    int early = parts > 1 ? brgemm_early(rows) : 0;
    bool splits = early > 0 && brgemm_splits(t);
    bool keeps = splits && t->taps > 0 && t->steps >= LAST_STEPS;
    const char *b = t->b;
    const char *next = t->next;
    brgemm_rows r = {.pitch = t->a_pitch};

    r.pitch3 = r.pitch * 3;
    r.pitch5 = r.pitch * 5;
    /* Hides how the three are related, or the compiler makes pointers of their sums. */
    __asm__("" : "+r"(r.pitch), "+r"(r.pitch3), "+r"(r.pitch5));
    brgemm_fetch_c(t, rows, parts);
    brgemm_begin(t, rows, parts, sums);
    for (int tap = 0; tap < t->taps; tap++) {
        int64_t left;

        /* Hides that the tile stays the same, or the compiler keeps what it says in vector
         * registers, where it waits for the products of the tile before. */
        __asm__("" : "+r"(t));
        left = t->steps - (keeps && tap + 1 == t->taps ? LAST_STEPS : 0);
        r.top = (const char *)t->a + t->tap_offsets[tap];
        r.bottom = r.top + t->a_second;
        for (; left >= 2; left -= 2) {
            if (asks) {
                _mm_prefetch(next, _MM_HINT_T1);
                _mm_prefetch(next + VECTOR, _MM_HINT_T1);
                next += 2 * VECTOR;
            }
            brgemm_step(t, &r, 0, b, 0, rows, parts, sums);
            brgemm_step(t, &r, 4, b + (size_t)NR * 4, 0, rows, parts, sums);
            r.top += 8;
            r.bottom += 8;
            b += (size_t)NR * 8;
        }
        if (left > 0) {
            brgemm_step(t, &r, 0, b, 0, rows, parts, sums);
            r.top += 4;
            r.bottom += 4;
            b += (size_t)NR * 4;
        }
    }
    if (splits) {
        brgemm_end_part(t, &r, b, 0, early, parts, keeps, sums);
        brgemm_end_part(t, &r, b, early, rows, parts, keeps, sums);
    } else {
        brgemm_store(t, rows, parts, MR, sums);
    }
}

BRGEMM_INLINE void brgemm_tile_parts(const brgemm_tile *t, int parts)
{
    switch (t->rows) {
    case 14: brgemm_tile_of(t, 14, parts, false); break;
    case 13: brgemm_tile_of(t, 13, parts, false); break;
    case 12: brgemm_tile_of(t, 12, parts, false); break;
    case 11: brgemm_tile_of(t, 11, parts, false); break;
    case 10: brgemm_tile_of(t, 10, parts, false); break;
    case 9: brgemm_tile_of(t, 9, parts, false); break;
    case 8: brgemm_tile_of(t, 8, parts, false); break;
    case 7: brgemm_tile_of(t, 7, parts, false); break;
    case 6: brgemm_tile_of(t, 6, parts, false); break;
    case 5: brgemm_tile_of(t, 5, parts, false); break;
    case 4: brgemm_tile_of(t, 4, parts, false); break;
    case 3: brgemm_tile_of(t, 3, parts, false); break;
    case 2: brgemm_tile_of(t, 2, parts, false); break;
    default: brgemm_tile_of(t, 1, parts, false); break;
    }
}

static void tile(const brgemm_tile *t)
{
    if (t->next != NULL && t->rows == MR && t->columns > BRGEMM_LANES) {
        brgemm_tile_of(t, MR, 2, true);
    } else if (t->columns > BRGEMM_LANES) {
        brgemm_tile_parts(t, 2);
    } else {
        brgemm_tile_parts(t, 1);
    }
}

#endif
