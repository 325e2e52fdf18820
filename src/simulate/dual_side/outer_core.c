#include "simulate/dual_side/outer_core.h"

#include <string.h>

const char *const outer_banking_names[] = {"linear", "xor", NULL};

static int groups_of(int count, int size)
{
    return (count + size - 1) / size;
}

/* ---- the buffer's banks ---- */

enum { COUNTER_PLANES = 7 }; /* a bank is asked up to 64 times by a step */

/* How often each of 128 banks is asked for: bit b of plane p is bit p of bank b's count. */
typedef struct bank_counts {
    uint64_t planes[COUNTER_PLANES][2];
} bank_counts;

static void count_banks(bank_counts *n, uint64_t low, uint64_t high)
{
    uint64_t carry[2] = {low, high};

    for (int p = 0; p < COUNTER_PLANES; p++) {
        for (int half = 0; half < 2; half++) {
            uint64_t next = n->planes[p][half] & carry[half];

            n->planes[p][half] ^= carry[half];
            carry[half] = next;
        }
    }
}

static int most_asked(const bank_counts *n)
{
    uint64_t left[2] = {UINT64_MAX, UINT64_MAX};
    int most = 0;

    for (int p = COUNTER_PLANES - 1; p >= 0; p--) {
        uint64_t low = n->planes[p][0] & left[0];
        uint64_t high = n->planes[p][1] & left[1];

        if ((low | high) != 0) {
            most |= 1 << p;
            left[0] = low;
            left[1] = high;
        }
    }
    return most;
}

/* The columns `mask` of row `r` as banks. */
static void ask_row(const outer_core *core, bank_counts *n, int r, uint32_t mask)
{
    int banks = core->banks;
    uint64_t bits[2] = {0, 0};

    if (core->banking == OUTER_XOR) {
        for (uint32_t m = mask; m != 0; m &= m - 1) {
            int bank = (__builtin_ctz(m) ^ (5 * r)) % banks;

            bits[bank / 64] |= (uint64_t)1 << bank % 64;
        }
    } else {
        int shift = (banks / 8 > 8 ? banks / 8 : 8) * r % banks;

        /* The mask is cut where it leaves the last bank. */
        for (int part = 0; part < 2; part++) {
            int room = banks - shift;
            uint64_t piece = part == 0 ? mask : room < TILE_LANES ? (uint64_t)mask >> room : 0;
            int at = part == 0 ? shift : 0;
            uint64_t fits = part == 0 && room < TILE_LANES ? ((uint64_t)1 << room) - 1 : UINT64_MAX;

            piece &= fits;
            bits[at / 64] |= piece << at % 64;
            if (at / 64 == 0 && at % 64 > 32) {
                bits[1] |= piece >> (64 - at % 64);
            }
        }
    }
    count_banks(n, bits[0], bits[1]);
}

/* The lowest `count` bits of *rest, which loses them. */
static uint32_t take_bits(uint32_t *rest, int count)
{
    uint32_t before = *rest;

    for (int i = 0; i < count && *rest != 0; i++) {
        *rest &= *rest - 1;
    }
    return before & ~*rest;
}

/* Cycles that the buffer needs for a step's results, `window` instructions at a time. */
static uint64_t merge_cycles(const outer_core *core, uint32_t rows, uint32_t columns)
{
    uint64_t cycles = 0;
    bank_counts n = {0};
    int pending = 0;

    while (rows != 0) {
        uint32_t some_rows = take_bits(&rows, OUTER_ROWS);
        uint32_t rest = columns;

        while (rest != 0) {
            uint32_t some_columns = take_bits(&rest, OUTER_COLUMNS);

            for (uint32_t r = some_rows; r != 0; r &= r - 1) {
                ask_row(core, &n, __builtin_ctz(r), some_columns);
            }
            pending++;
            if (pending == core->window) {
                cycles += (uint64_t)most_asked(&n);
                n = (bank_counts){0};
                pending = 0;
            }
        }
    }
    return cycles + (uint64_t)most_asked(&n);
}

/* ---- products ---- */

static void add_products(uint32_t rows, uint32_t columns, const float *a, const float *b,
                         float *sums)
{
    int places[TILE_LANES];
    int count = 0;

    for (uint32_t c = columns; c != 0; c &= c - 1) {
        places[count++] = __builtin_ctz(c);
    }
    for (uint32_t r = rows; r != 0; r &= r - 1, a++) {
        float *to = sums + TILE_LANES * __builtin_ctz(r);

        for (int i = 0; i < count; i++) {
            to[places[i]] += *a * b[i];
        }
    }
}

static void run_step(const outer_core *core, uint32_t rows, uint32_t columns, outer_cost *cost)
{
    int a = __builtin_popcount(rows);
    int b = __builtin_popcount(columns);
    uint64_t issued = (uint64_t)(groups_of(a, OUTER_ROWS) * groups_of(b, OUTER_COLUMNS));
    uint64_t merge = core->banks > 0 && issued > 0 ? merge_cycles(core, rows, columns) : 0;
    uint64_t busy = issued > merge ? issued : merge;
    uint64_t issue = !core->hides_issue && issued < OUTER_ISSUE ? OUTER_ISSUE : 0;

    cost->issued += issued;
    cost->skipped += OUTER_FULL - issued;
    cost->products += (uint64_t)(a * b);
    cost->merge += merge;
    cost->issue += issue > busy ? issue - busy : 0;
    cost->cycles += issue > busy ? issue : busy;
}

void outer_core_run(const outer_core *core, const tile_code *a, const tile_code *b, int64_t i,
                    int64_t j, float *sums, outer_cost *cost)
{
    for (int64_t s = 0; s < a->slices; s++) {
        const uint32_t *rows = a->bits + (i * a->slices + s) * TILE_STEPS;
        const uint32_t *columns = b->bits + (j * b->slices + s) * TILE_STEPS;
        const float *left = a->values + a->begin[i * (a->slices + 1) + s];
        const float *right = b->values + b->begin[j * (b->slices + 1) + s];

        if (!a->occupied[i * a->slices + s] || !b->occupied[j * b->slices + s]) {
            cost->skipped += OUTER_FULL * TILE_STEPS;
            continue;
        }
        cost->cycles += core->is_double_buffered ? 0 : OUTER_PROLOGUE;
        cost->steps += TILE_STEPS;
        for (int k = 0; k < TILE_STEPS; k++) {
            run_step(core, rows[k], columns[k], cost);
            if (sums != NULL) {
                add_products(rows[k], columns[k], left, right, sums);
            }
            left += __builtin_popcount(rows[k]);
            right += __builtin_popcount(columns[k]);
        }
    }
}

uint64_t outer_core_count(const tile_code *a, const tile_code *b)
{
    uint64_t issued = 0;

    for (int64_t i = 0; i < a->tiles; i++) {
        const uint32_t *rows = a->bits + i * a->slices * TILE_STEPS;

        for (int64_t j = 0; j < b->tiles; j++) {
            const uint32_t *columns = b->bits + j * b->slices * TILE_STEPS;

            for (int64_t k = 0; k < a->slices * TILE_STEPS; k++) {
                issued += (uint64_t)(groups_of(__builtin_popcount(rows[k]), OUTER_ROWS) *
                                     groups_of(__builtin_popcount(columns[k]), OUTER_COLUMNS));
            }
        }
    }
    return issued;
}
