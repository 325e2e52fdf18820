/* 24 pixels by 16 filters: 24 accumulators, a permutation that reads memory and a multiply-add for
 * each pixel and slot. Permutations and multiply-adds share one of the ports that either can use,
 * so both together take a third longer than multiply-adds alone. */
#include <immintrin.h>
#include <math.h>

#include "kernels/sparse/sparse_lanes_variants.h"

#define LANES_INLINE static inline __attribute__((always_inline))

/* Pixel i of runs that lie at `x`; the multiples of the pitch are in registers. */
LANES_INLINE const float *pixel_of(const float *const *x, const int64_t *pitch, int i)
{
    return x[i / SPARSE_LANES_PIXELS] + pitch[i % SPARSE_LANES_PIXELS];
}

/* `runs` is a constant at every call. */
LANES_INLINE void multiply(const sparse_lanes_tile *t, int runs, __m512 *sums)
{
    const uint32_t *at = t->at;
    const uint8_t *lane = t->lane;
    const float *value = t->value;
    const int64_t p = t->x_pitch;
    const int64_t pitch[SPARSE_LANES_PIXELS] = {0, p, 2 * p, 3 * p, 4 * p, 5 * p, 6 * p, 7 * p};

#pragma GCC unroll 24
    for (int i = 0; i < runs * SPARSE_LANES_PIXELS; i++) {
        sums[i] = _mm512_setzero_ps();
    }
    for (int64_t s = 0; s < t->slots; s++, lane += SPARSE_LANES, value += SPARSE_LANES) {
        __m512i places = _mm512_cvtepu8_epi32(_mm_loadu_si128((const __m128i *)(const void *)lane));
        __m512 factors = _mm512_loadu_ps(value);
        const float *x[SPARSE_LANES_MOST_RUNS];

#pragma GCC unroll 3
        for (int r = 0; r < runs; r++) {
            x[r] = t->runs[r].x + at[s];
        }
#pragma GCC unroll 24
        for (int i = 0; i < runs * SPARSE_LANES_PIXELS; i++) {
            __m512 own = _mm512_permutexvar_ps(places, _mm512_loadu_ps(pixel_of(x, pitch, i)));

            sums[i] = _mm512_fmadd_ps(own, factors, sums[i]);
        }
    }
}

/* Lanes of pixel i that are written: of others neither y nor the residual may be touched.
 * `is_whole`, a constant: all are. */
LANES_INLINE __mmask16 lanes_of(const sparse_lanes_tile *t, int i, bool is_whole)
{
    const sparse_lanes_pixels *run = &t->runs[i / SPARSE_LANES_PIXELS];
    int pixel = i % SPARSE_LANES_PIXELS;
    unsigned lanes = 0xFFFFu >> (SPARSE_LANES - t->lanes);

    return (__mmask16)(is_whole ? 0xFFFFu : pixel >= run->first && pixel < run->end ? lanes : 0);
}

static bool is_whole(const sparse_lanes_tile *t)
{
    bool whole = t->lanes == SPARSE_LANES;

    for (int r = 0; r < t->count; r++) {
        whole = whole && t->runs[r].first == 0 && t->runs[r].end == SPARSE_LANES_PIXELS;
    }
    return whole;
}

LANES_INLINE void add_residual(const sparse_lanes_tile *t, int count, bool whole, __m512 *sums)
{
#pragma GCC unroll 24
    for (int i = 0; i < count; i++) {
        const float *from =
            t->runs[i / SPARSE_LANES_PIXELS].residual + i % SPARSE_LANES_PIXELS * t->y_pitch;

        sums[i] = _mm512_add_ps(sums[i], _mm512_maskz_loadu_ps(lanes_of(t, i, whole), from));
    }
}

/* All at once, and away from y: a call for a vector would cost as much as its multiplications. */
LANES_INLINE void activate(const brgemm_finish *f, int count, __m512 *sums)
{
    float room[SPARSE_LANES_MOST_RUNS * SPARSE_LANES_PIXELS * SPARSE_LANES]
        __attribute__((aligned(64)));

#pragma GCC unroll 24
    for (int i = 0; i < count; i++) {
        _mm512_store_ps(room + i * SPARSE_LANES, sums[i]);
    }
    f->activate(room, room, (int64_t)count * SPARSE_LANES);
#pragma GCC unroll 24
    for (int i = 0; i < count; i++) {
        sums[i] = _mm512_load_ps(room + i * SPARSE_LANES);
    }
}

LANES_INLINE void finish(const sparse_lanes_tile *t, int count, bool whole, __m512 *sums)
{
    const brgemm_finish *f = t->finish;
    __m512 lower = _mm512_set1_ps(f->lower);
    __m512 upper = _mm512_set1_ps(f->upper);

    if (f->bias != NULL) {
        __m512 bias =
            _mm512_maskz_loadu_ps((__mmask16)(0xFFFFu >> (SPARSE_LANES - t->lanes)), f->bias);

#pragma GCC unroll 24
        for (int i = 0; i < count; i++) {
            sums[i] = _mm512_add_ps(sums[i], bias);
        }
    }
    if (t->runs[0].residual != NULL) {
        add_residual(t, count, whole, sums);
    }
    if (f->activate != NULL) {
        activate(f, count, sums);
        return;
    }
#pragma GCC unroll 24
    for (int i = 0; i < count; i++) { /* the second operand comes back when one is NaN */
        sums[i] = _mm512_min_ps(upper, _mm512_max_ps(lower, sums[i]));
    }
}

LANES_INLINE void put(const sparse_lanes_tile *t, int count, bool whole, __m512 *sums)
{
    finish(t, count, whole, sums);
#pragma GCC unroll 24
    for (int i = 0; i < count; i++) {
        float *to = t->runs[i / SPARSE_LANES_PIXELS].y + i % SPARSE_LANES_PIXELS * t->y_pitch;

        _mm512_mask_storeu_ps(to, lanes_of(t, i, whole), sums[i]);
    }
}

LANES_INLINE void tile_of(const sparse_lanes_tile *t, int runs)
{
    __m512 sums[SPARSE_LANES_MOST_RUNS * SPARSE_LANES_PIXELS];

    multiply(t, runs, sums);
    if (is_whole(t)) {
        put(t, runs * SPARSE_LANES_PIXELS, true, sums);
    } else {
        put(t, runs * SPARSE_LANES_PIXELS, false, sums);
    }
}

static void tile(const sparse_lanes_tile *t)
{
    switch (t->count) {
    case 1: tile_of(t, 1); break;
    case 2: tile_of(t, 2); break;
    default: tile_of(t, 3); break;
    }
}

const sparse_lanes_kernel sparse_lanes_f32__avx512 = {"sparse_lanes_f32__avx512", tile};
