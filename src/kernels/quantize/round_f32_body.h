/* The loops of round_f32, compiled once per instruction set by the files that include this one.
 * They are written over blocks of as many numbers as a register holds, in the compiler's vector
 * types. Sums of rows are made in ROUND_F32_LANES lanes by all of them. */
#ifndef KERNELS_QUANTIZE_ROUND_F32_BODY_H
#define KERNELS_QUANTIZE_ROUND_F32_BODY_H

#include <math.h>
#include <stddef.h>
#include <string.h>

#include "kernels/quantize/round_f32.h"

#if defined(__AVX512F__)
enum { LANES = 16 };
#elif defined(__AVX2__)
enum { LANES = 8 };
#else
enum { LANES = 4 };
#endif
enum { HALF_LANES = LANES / 2, PARTS = ROUND_F32_LANES / LANES };

typedef float block_f32 __attribute__((vector_size(LANES * 4)));
typedef int32_t block_i32 __attribute__((vector_size(LANES * 4)));
typedef float half_f32 __attribute__((vector_size(HALF_LANES * 4)));
typedef double half_f64 __attribute__((vector_size(HALF_LANES * 8)));
typedef int8_t block_i8 __attribute__((vector_size(LANES)));
typedef int8_t half_i8 __attribute__((vector_size(HALF_LANES)));

#define ROUND_INLINE static inline __attribute__((always_inline))

#define ROUND_F32_KERNEL(text)                                                                   \
    {                                                                                            \
        .name = (text), .range = run_range, .is_finite = run_is_finite, .row = run_row,          \
        .units = run_units, .noise = run_noise, .keys = run_keys, .count_above = run_count_above \
    }

/* ---- blocks ---- */

ROUND_INLINE block_f32 load(const float *from)
{
    block_f32 x;

    memcpy(&x, from, sizeof x);
    return x;
}

/* `count` numbers; the other lanes are those of `rest`. */
ROUND_INLINE block_f32 load_part(const float *from, int64_t count, block_f32 rest)
{
    memcpy(&rest, from, (size_t)(count < LANES ? count : LANES) * sizeof *from);
    return rest;
}

ROUND_INLINE block_i32 load_keys(const int32_t *from)
{
    block_i32 x;

    memcpy(&x, from, sizeof x);
    return x;
}

ROUND_INLINE block_f32 set(float x)
{
    return x - (block_f32){0};
}

ROUND_INLINE block_i32 set_i32(int32_t x)
{
    return x - (block_i32){0};
}

ROUND_INLINE block_f32 choose(block_i32 mask, block_f32 a, block_f32 b)
{
    return (block_f32)((mask & (block_i32)a) | (~mask & (block_i32)b));
}

ROUND_INLINE block_i32 size_bits(block_f32 x)
{
    return (block_i32)x & set_i32(0x7FFFFFFF);
}

/* Half to even, for |x| < 2^22. */
ROUND_INLINE block_f32 round_even(block_f32 x)
{
    const block_f32 magic = set(12582912.0f); /* 1.5 x 2^23: its last bit is worth 1 */

    return (x + magic) - magic;
}

ROUND_INLINE half_f32 part_of(block_f32 x, int part)
{
    half_f32 half;

    memcpy(&half, (const float *)&x + (ptrdiff_t)part * HALF_LANES, sizeof half);
    return half;
}

/* ---- ranges ---- */

static void run_range(const float *x, int64_t count, float *low, float *high)
{
    block_f32 least = set(x[0]);
    block_f32 most = least;

    for (int64_t i = 0; i < count; i += LANES) {
        block_f32 v = count - i >= LANES ? load(x + i) : load_part(x + i, count - i, least);

        least = choose(v < least, v, least);
        most = choose(v > most, v, most);
    }
    *low = least[0];
    *high = most[0];
    for (int lane = 1; lane < LANES; lane++) {
        *low = least[lane] < *low ? least[lane] : *low;
        *high = most[lane] > *high ? most[lane] : *high;
    }
}

static bool run_is_finite(const float *x, int64_t count)
{
    const block_i32 exponent = set_i32(0x7F800000);
    block_i32 odd = set_i32(0);
    int32_t any = 0;

    for (int64_t i = 0; i < count; i += LANES) {
        block_f32 v = count - i >= LANES ? load(x + i) : load_part(x + i, count - i, set(0.0f));

        odd |= ((block_i32)v & exponent) == exponent;
    }
    for (int lane = 0; lane < LANES; lane++) {
        any |= odd[lane];
    }
    return any == 0;
}

/* ---- rows ---- */

/* Codes of weights as floats: rounding what is clamped is clamping what is rounded, for the bounds
 * are whole. */
ROUND_INLINE block_f32 code_of(block_f32 position, block_f32 low, block_f32 high)
{
    position = choose(position < low, low, position);
    position = choose(position > high, high, position);
    return round_even(position);
}

/* Where rounding the other way gives a code. What lies outside the codes cannot move. */
ROUND_INLINE block_i32 may_flip(block_f32 error, block_f32 code, block_f32 low, block_f32 high)
{
    return ((error < set(0.0f)) & (code < high)) | ((error > set(0.0f)) & (code > low));
}

static void run_row(round_f32_row *r)
{
    const block_f32 low = set((float)r->low);
    const block_f32 high = set((float)r->high);
    half_f64 sums[PARTS][2] = {{{0}}};
    half_f64 sizes[PARTS][2] = {{{0}}};

    for (int64_t i = 0; i < r->count; i += LANES) {
        int64_t here = r->count - i < LANES ? r->count - i : LANES;
        /* A weight of 0 has no error. */
        block_f32 weights =
            here == LANES ? load(r->weights + i) : load_part(r->weights + i, here, set(0.0f));
        block_f32 position = weights / set(r->step) + set((float)r->zero);
        block_f32 code = code_of(position, low, high);
        block_f32 error = code - position;
        block_f32 eligible = choose(may_flip(error, code, low, high), error, set(0.0f));
        block_i8 codes =
            __builtin_convertvector(__builtin_convertvector(code, block_i32), block_i8);

        if (here < LANES) { /* lanes without a weight */
            for (int64_t lane = here; lane < LANES; lane++) {
                error[lane] = 0.0f;
            }
        }
        for (int part = 0; part < 2; part++) {
            half_f32 e = part_of(error, part);
            half_f32 size = part_of((block_f32)size_bits(error), part);

            sums[i / LANES % PARTS][part] += __builtin_convertvector(e, half_f64);
            sizes[i / LANES % PARTS][part] += __builtin_convertvector(size, half_f64);
        }
        if (here == LANES) {
            memcpy(r->codes + i, &codes, LANES);
            memcpy(r->errors + i, &eligible, sizeof eligible);
        } else {
            memcpy(r->codes + i, &codes, (size_t)here);
            memcpy(r->errors + i, &eligible, (size_t)here * sizeof(float));
        }
    }
    r->sum = 0.0;
    r->size = 0.0;
    for (int half = 0; half < 2 * PARTS; half++) {
        for (int lane = 0; lane < HALF_LANES; lane++) {
            r->sum += sums[half / 2][half % 2][lane];
            r->size += sizes[half / 2][half % 2][lane];
        }
    }
}

/* ---- units, one in each lane ---- */

typedef struct lanes {
    block_f32 *errors; /* [size] */
    block_i32 *codes;
    block_i32 *keys; /* larger: flipped earlier; 0: not at all */
    block_i32 *ranks;
    double before[LANES], after[LANES];
    int32_t flips[LANES];
    int32_t next_rank[LANES]; /* size: none */
    int32_t step[LANES];      /* of a flip: +1 or -1 */
} lanes;

/* Rounds element `i` of each unit. */
ROUND_INLINE void round_lanes(const round_f32_units *u, lanes *l, int64_t first, int64_t here,
                              int64_t size)
{
    const block_f32 low = set((float)u->low);
    const block_f32 high = set((float)u->high);
    block_f32 step = set(0.0f);
    block_f32 zero = set(0.0f);
    half_f64 sums[2] = {{0}};

    for (int64_t lane = 0; lane < LANES; lane++) {
        int64_t unit = first + (lane < here ? lane : 0);
        const float *from = u->weights + unit * size;
        float *to = (float *)l->errors + lane;

        step[lane] = u->steps[unit * u->stride];
        zero[lane] = (float)u->zeros[unit * u->stride];
        for (int64_t i = 0; i < size; i++) {
            to[i * LANES] = from[i];
        }
    }
    for (int64_t i = 0; i < size; i++) {
        block_f32 position = l->errors[i] / step + zero;
        block_f32 code = code_of(position, low, high);
        block_f32 error = code - position;

        l->errors[i] = error;
        l->codes[i] = __builtin_convertvector(code, block_i32);
        l->keys[i] = size_bits(error) & may_flip(error, code, low, high);
        for (int part = 0; part < 2; part++) {
            sums[part] += __builtin_convertvector(part_of(error, part), half_f64);
        }
    }
    memcpy(l->before, sums, sizeof sums);
}

/* How many flips bring each sum nearest to zero (of two numbers, the smaller), and which element
 * may move after them: the last one back when the sum went past zero, else one more. */
ROUND_INLINE void count_flips(lanes *l, const int32_t *candidates, int64_t size)
{
    for (int lane = 0; lane < LANES; lane++) {
        double sum = l->before[lane];
        double most = fabs(sum);
        double capped = most < (double)size ? most : (double)size;
        int32_t wanted = (int32_t)(capped - 0.5);
        int32_t flips;

        wanted += capped - 0.5 > (double)wanted ? 1 : 0;
        flips = wanted < candidates[lane] ? wanted : candidates[lane];
        l->step[lane] = sum < 0.0 ? 1 : -1;
        l->flips[lane] = flips;
        l->after[lane] = sum + (double)(l->step[lane] * flips);
        if (flips > 0 && (double)flips >= most) {
            l->next_rank[lane] = flips - 1;
        } else {
            l->next_rank[lane] = sum != 0.0 && flips < candidates[lane] ? flips : (int32_t)size;
        }
    }
}

/* Ranks of keys in each unit: of equal keys the first goes first. */
ROUND_INLINE void rank_lanes(lanes *l, int64_t size)
{
    for (int64_t i = 0; i < size; i++) {
        l->ranks[i] = set_i32(0);
    }
    for (int64_t i = 0; i < size; i++) {
        block_i32 key = l->keys[i];
        block_i32 rank = l->ranks[i];

        for (int64_t j = i + 1; j < size; j++) {
            block_i32 is_first = key >= l->keys[j];

            l->ranks[j] -= is_first;
            rank += is_first + 1;
        }
        l->ranks[i] = rank;
    }
}

ROUND_INLINE void flip_lanes(const round_f32_units *u, lanes *l, int64_t first, int64_t here,
                             int64_t size)
{
    block_i32 step;
    block_i32 flips;
    block_i32 next_rank;
    block_i32 next_element = set_i32(0);
    block_f32 next = set(0.0f);

    memcpy(&step, l->step, sizeof step);
    memcpy(&flips, l->flips, sizeof flips);
    memcpy(&next_rank, l->next_rank, sizeof next_rank);
    for (int64_t i = 0; i < size; i++) {
        block_i32 flipped = (l->ranks[i] < flips) & step;
        block_f32 error = l->errors[i] + __builtin_convertvector(flipped, block_f32);
        block_i32 is_next = l->ranks[i] == next_rank;

        l->codes[i] += flipped;
        next = choose(is_next, error, next);
        next_element = (is_next & set_i32((int32_t)i)) | (~is_next & next_element);
    }
    for (int64_t lane = 0; lane < here; lane++) {
        const int32_t *from = (const int32_t *)l->codes + lane;
        int8_t *to = u->codes + (first + lane) * size;

        for (int64_t i = 0; i < size; i++) {
            to[i] = (int8_t)from[i * LANES];
        }
    }
    memcpy(u->before + first, l->before, (size_t)here * sizeof *u->before);
    memcpy(u->after + first, l->after, (size_t)here * sizeof *u->after);
    memcpy(u->flips + first, l->flips, (size_t)here * sizeof *u->flips);
    memcpy(u->next + first, &next, (size_t)here * sizeof *u->next);
    memcpy(u->next_element + first, &next_element, (size_t)here * sizeof *u->next_element);
}

/* Only elements that were rounded away from the wanted direction stay candidates. */
ROUND_INLINE void keep_candidates(lanes *l, int32_t *candidates, int64_t size)
{
    block_i32 count = set_i32(0);
    block_i32 wants_up = set_i32(0);

    for (int lane = 0; lane < LANES; lane++) {
        wants_up[lane] = l->before[lane] < 0.0 ? -1 : 0;
    }
    for (int64_t i = 0; i < size; i++) {
        block_i32 goes_up = l->errors[i] < set(0.0f);

        l->keys[i] &= ~(goes_up ^ wants_up);
        count -= l->keys[i] != 0;
    }
    memcpy(candidates, &count, sizeof count);
}

ROUND_INLINE void run_lanes(const round_f32_units *u, int64_t first, int64_t size)
{
    block_i32 *room = (block_i32 *)(void *)u->scratch;
    int64_t here = u->units - first < LANES ? u->units - first : LANES;
    int32_t candidates[LANES];
    lanes l = {.errors = (block_f32 *)room,
               .codes = room + size,
               .keys = room + 2 * size,
               .ranks = room + 3 * size};

    round_lanes(u, &l, first, here, size);
    keep_candidates(&l, candidates, size);
    count_flips(&l, candidates, size);
    rank_lanes(&l, size);
    flip_lanes(u, &l, first, here, size);
}

static void run_units(const round_f32_units *u)
{
    for (int64_t first = 0; first < u->units; first += LANES) {
        if (u->size == 9) { /* the usual kernel, its loops unrolled */
            run_lanes(u, first, 9);
        } else {
            run_lanes(u, first, u->size);
        }
    }
}

/* ---- noise ---- */

static void run_noise(const round_f32_codes *c, double *signal, double *noise)
{
    half_f64 signals[PARTS] = {{0}};
    half_f64 noises[PARTS] = {{0}};
    int64_t i = 0;

    for (; i + HALF_LANES <= c->count; i += HALF_LANES) {
        half_f32 x;
        half_i8 code;
        half_f64 exact;
        half_f64 d;

        memcpy(&x, c->weights + i, sizeof x);
        memcpy(&code, c->codes + i, sizeof code);
        exact = __builtin_convertvector(x, half_f64);
        x = (__builtin_convertvector(code, half_f32) - c->zero) * c->step;
        d = __builtin_convertvector(x, half_f64) - exact;
        signals[i / HALF_LANES % PARTS] += exact * exact;
        noises[i / HALF_LANES % PARTS] += d * d;
    }
    for (; i < c->count; i++) {
        double exact = (double)c->weights[i];
        double d = (double)(((float)c->codes[i] - c->zero) * c->step) - exact;

        signals[i / HALF_LANES % PARTS][i % HALF_LANES] += exact * exact;
        noises[i / HALF_LANES % PARTS][i % HALF_LANES] += d * d;
    }
    for (int part = 0; part < PARTS; part++) {
        for (int lane = 0; lane < HALF_LANES; lane++) {
            *signal += signals[part][lane];
            *noise += noises[part][lane];
        }
    }
}

/* ---- choosing among many ---- */

static int64_t run_keys(const float *errors, int64_t count, bool positive, int32_t *keys)
{
    const block_i32 wanted = set_i32(positive ? 0 : -1);
    block_i32 found = set_i32(0);
    int64_t total = 0;
    int64_t i = 0;

    for (; i + LANES <= count; i += LANES) {
        block_f32 error = load(errors + i);
        block_i32 key = size_bits(error) & ~((error < set(0.0f)) ^ wanted);

        found -= key != 0;
        memcpy(keys + i, &key, sizeof key);
    }
    for (int lane = 0; lane < LANES; lane++) {
        total += found[lane];
    }
    for (; i < count; i++) {
        block_f32 error = set(errors[i]);
        block_i32 key = size_bits(error);

        keys[i] = (errors[i] < 0.0f) == !positive ? key[0] : 0;
        total += keys[i] != 0;
    }
    return total;
}

static int64_t run_count_above(const int32_t *keys, int64_t count, int32_t key)
{
    const block_i32 least = set_i32(key);
    block_i32 found = set_i32(0);
    int64_t total = 0;
    int64_t i = 0;

    for (; i + LANES <= count; i += LANES) {
        found -= load_keys(keys + i) > least;
    }
    for (int lane = 0; lane < LANES; lane++) {
        total += found[lane];
    }
    for (; i < count; i++) {
        total += keys[i] > key;
    }
    return total;
}

#endif
