/* The AVX-512 tile for every type: of 14 rows x 32 columns, which is 28 accumulators, 2 registers
 * of B and one broadcast of A, or of 16 rows x 16 columns. A file that includes this defines
 * before:
 *
 *   BRGEMM_ROWS, BRGEMM_COLUMNS  14 and 32, or 16 and 16
 *   brgemm_sums    the register type of sums: __m512 or __m512i
 *   brgemm_flips   (tile) -> whether brgemm_dot must look at the flip of tiles with one vector of
 *                  columns: where not, whole ones have code of their own
 *   brgemm_dot     (sum, four bytes of A broadcast, 64 bytes of B, tile, flips) -> sum
 *   brgemm_start   (tile, vector of columns) -> sum, before the first product
 *   BRGEMM_C_PARTS how many vectors of results share a cache line
 *   brgemm_load    fills the sums from C
 *   brgemm_store   finishes and stores the sums
 *   brgemm_splits  (tile) -> whether it may be finished in two parts
 *   brgemm_early   (rows of a tile) -> how many of them are the first part, or 0: in one
 *   brgemm_store_part  like brgemm_store, rows [first, rows) of a tile in two parts
 *
 * A step (four bytes of A per row) of 14 x 32 is 2 loads, 14 broadcasts and 28 multiply-adds. Rows
 * are addressed from two bases and a few registers of multiples of the pitch, so that no pointer
 * is kept, or spilled, per row.
 *
 * Stores wait for their sums in a queue that holds fewer than a tile has: where it is full, nothing
 * of the next tile gets in. So the last steps are done for some rows first, whose stores go on
 * while the others' products are summed. Every sum adds in the same order as ever. */
#ifndef KERNELS_BRGEMM_BRGEMM_TILE_AVX512_BODY_H
#define KERNELS_BRGEMM_BRGEMM_TILE_AVX512_BODY_H

#include "kernels/brgemm/brgemm_floats_avx512.h"

enum {
    MR = BRGEMM_ROWS,
    NR = BRGEMM_COLUMNS,
    HALF = MR / 2,
    PARTS = NR / BRGEMM_LANES,
    VECTOR = 64,
    LAST_STEPS = 4
};

/* Where a tap's rows lie. */
typedef struct brgemm_rows {
    const char *top;    /* rows [0, HALF) */
    const char *bottom; /* the others */
    int64_t pitch, pitch3, pitch5, pitch7;
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
    case 6: base += r->pitch3 * 2; break;
    default: base += r->pitch7; break;
    }
    memcpy(&word, base, sizeof word);
    return _mm512_set1_epi32(word);
}

/* One step of rows [first, rows). */
BRGEMM_INLINE void brgemm_step(const brgemm_tile *t, const brgemm_rows *r, int64_t at,
                               const char *b, int first, int rows, int parts, bool flips,
                               brgemm_sums *sums)
{
    __m512i line[2];

#pragma GCC unroll 2
    for (int part = 0; part < parts; part++) {
        line[part] = _mm512_loadu_si512(b + part * VECTOR);
    }
#pragma GCC unroll 16
    for (int i = first; i < rows; i++) {
        __m512i a = brgemm_broadcast(r, i, at);

#pragma GCC unroll 2
        for (int part = 0; part < parts; part++) {
            sums[i * parts + part] = brgemm_dot(sums[i * parts + part], a, line[part], t, flips);
        }
    }
}

/* Asks for the lines of C before the sums are there to be stored. */
BRGEMM_INLINE void brgemm_fetch_c(const brgemm_tile *t, int rows, int parts)
{
#pragma GCC unroll 16
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

#pragma GCC unroll 16
        for (int i = 0; i < rows; i++) {
            sums[i * parts + part] = start;
        }
    }
}

/* The last steps of rows [first, rows), if they were kept back, and what follows them. */
BRGEMM_INLINE void brgemm_end_part(const brgemm_tile *t, const brgemm_rows *r, const char *b,
                                   int first, int rows, int parts, bool kept, bool flips,
                                   brgemm_sums *sums)
{
    if (kept) {
#pragma GCC unroll 2
        for (int i = 0; i < LAST_STEPS; i++) {
            brgemm_step(t, r, 4 * i, b + (ptrdiff_t)i * NR * 4, first, rows, parts, flips, sums);
        }
    }
    brgemm_store_part(t, first, rows, parts, MR, sums);
}

/* `rows`, `parts` (vectors of columns), `asks` (for t->next) and `flips` are constants at every
 * call, so that the sums become registers. */
BRGEMM_INLINE void brgemm_tile_of(const brgemm_tile *t, int rows, int parts, bool asks, bool flips)
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
    if (HALF > 7) {
        r.pitch7 = r.pitch3 + 4 * r.pitch;
        __asm__("" : "+r"(r.pitch7));
    }
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
            brgemm_step(t, &r, 0, b, 0, rows, parts, flips, sums);
            brgemm_step(t, &r, 4, b + (size_t)NR * 4, 0, rows, parts, flips, sums);
            r.top += 8;
            r.bottom += 8;
            b += (size_t)NR * 8;
        }
        if (left > 0) {
            brgemm_step(t, &r, 0, b, 0, rows, parts, flips, sums);
            r.top += 4;
            r.bottom += 4;
            b += (size_t)NR * 4;
        }
    }
    if (splits) {
        brgemm_end_part(t, &r, b, 0, early, parts, keeps, flips, sums);
        brgemm_end_part(t, &r, b, early, rows, parts, keeps, flips, sums);
    } else {
        brgemm_store(t, rows, parts, MR, sums);
    }
}

BRGEMM_INLINE void brgemm_tile_parts(const brgemm_tile *t, int parts)
{
    switch (t->rows) {
#if BRGEMM_ROWS > 14
    case 16: brgemm_tile_of(t, 16, parts, false, true); break;
    case 15: brgemm_tile_of(t, 15, parts, false, true); break;
#endif
    case 14: brgemm_tile_of(t, 14, parts, false, true); break;
    case 13: brgemm_tile_of(t, 13, parts, false, true); break;
    case 12: brgemm_tile_of(t, 12, parts, false, true); break;
    case 11: brgemm_tile_of(t, 11, parts, false, true); break;
    case 10: brgemm_tile_of(t, 10, parts, false, true); break;
    case 9: brgemm_tile_of(t, 9, parts, false, true); break;
    case 8: brgemm_tile_of(t, 8, parts, false, true); break;
    case 7: brgemm_tile_of(t, 7, parts, false, true); break;
    case 6: brgemm_tile_of(t, 6, parts, false, true); break;
    case 5: brgemm_tile_of(t, 5, parts, false, true); break;
    case 4: brgemm_tile_of(t, 4, parts, false, true); break;
    case 3: brgemm_tile_of(t, 3, parts, false, true); break;
    case 2: brgemm_tile_of(t, 2, parts, false, true); break;
    default: brgemm_tile_of(t, 1, parts, false, true); break;
    }
}

static void tile(const brgemm_tile *t)
{
    if (PARTS == 1 && t->rows == MR && !brgemm_flips(t)) {
        brgemm_tile_of(t, MR, PARTS, false, false);
    } else if (PARTS > 1 && t->next != NULL && t->rows == MR && t->columns > BRGEMM_LANES) {
        brgemm_tile_of(t, MR, PARTS, true, true);
    } else if (PARTS > 1 && t->columns > BRGEMM_LANES) {
        brgemm_tile_parts(t, PARTS);
    } else {
        brgemm_tile_parts(t, 1);
    }
}

#endif
