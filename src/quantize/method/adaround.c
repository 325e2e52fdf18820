/* Learning roundings, some rows at a time. */
#include "quantize/method/adaround.h"

#include <math.h>
#include <string.h>

#include "base/alloc.h"
#include "base/arena.h"
#include "kernels/gemm/gemm_f32.h"

enum { ROWS = 16 };

static const float STRETCH = 1.2f; /* of the sigmoid */
static const float SHIFT = -0.1f;  /* likewise */
static const double BETAS[] = {20.0, 2.0};

adaround_options adaround_options_default(void)
{
    return (adaround_options){.steps = 500, .rate = 0.03f, .lambda = 15.0f, .warm_up = 0.2};
}

/* A group of outputs that share a Gram matrix. */
typedef struct rounding {
    weight_record *r;
    const float *dense;
    const double *gram;
    const adaround_options *o;
    const gemm_f32_kernel *kernel;
    int64_t size, first, rows; /* of a row; outputs of the group */
    float *packed;             /* the Gram matrix */
    float *rooms;              /* [workers][room] */
    int64_t room;
} rounding;

/* Some rows on their way, [rows][size] each. */
typedef struct state {
    int64_t rows, first;       /* first output */
    float *v, *speed, *spread; /* Adam's moments of v */
    float *floors, *positions, *steps;
    float *d;        /* W' - W */
    float *slopes;   /* of the error, by d */
    float *h, *by_v; /* h and its slope by v */
    float *packed;
    double nearest[ROWS]; /* error of the nearest codes */
} state;

static int64_t room_of(const gemm_f32_kernel *kernel, int64_t size)
{
    return 10 * ROWS * size + gemm_f32_packed_size(ROWS, size, kernel->mr);
}

static state open_rows(const rounding *a, int64_t begin, int worker)
{
    int64_t part = ROWS * a->size;
    float *room = a->rooms + worker * a->room;
    int64_t left = a->rows - begin;

    return (state){.rows = left < ROWS ? left : ROWS,
                   .first = a->first + begin,
                   .v = room,
                   .speed = room + part,
                   .spread = room + 2 * part,
                   .floors = room + 3 * part,
                   .positions = room + 4 * part,
                   .steps = room + 5 * part,
                   .d = room + 6 * part,
                   .slopes = room + 7 * part,
                   .h = room + 8 * part,
                   .by_v = room + 9 * part,
                   .packed = room + 10 * part};
}

/* h, and its slope by v. */
static float whole_part(float v, float *slope)
{
    float s = 1.0f / (1.0f + expf(-v));
    float h = s * STRETCH + SHIFT;

    *slope = h > 0.0f && h < 1.0f ? STRETCH * s * (1.0f - s) : 0.0f;
    return fminf(fmaxf(h, 0.0f), 1.0f);
}

/* v with which h is the part behind the point. */
static float start_at(float part)
{
    float s = (part - SHIFT) / STRETCH;

    return -logf(1.0f / s - 1.0f);
}

static void start(const rounding *a, const state *s)
{
    const weight_record *r = a->r;
    int64_t taps = r->w.taps;

    for (int64_t m = 0; m < s->rows; m++) {
        const float *weights = a->dense + (s->first + m) * a->size;

        for (int64_t i = 0; i < a->size; i++) {
            int64_t block = record_block(r, s->first + m, i / taps);
            int64_t at = m * a->size + i;
            float x = grid_position(weights[i], r->steps[block], r->zeros[block]);

            s->positions[at] = x;
            s->floors[at] = floorf(x);
            s->steps[at] = r->steps[block];
            s->v[at] = start_at(x - s->floors[at]);
            s->speed[at] = 0.0f;
            s->spread[at] = 0.0f;
        }
    }
}

static float clamp_code(const rounding *a, float code)
{
    grid_options grid = record_grid(a->r);
    grid_codes limits = grid_codes_of(&grid);

    return fminf(fmaxf(code, (float)limits.low), (float)limits.high);
}

/* slopes = d G. */
static void multiply(const rounding *a, const state *s)
{
    gemm_f32_problem problem = {.m = s->rows,
                                .k = a->size,
                                .n = a->size,
                                .packed_a = s->packed,
                                .b = {.packed = a->packed},
                                .c = s->slopes,
                                .c_stride = a->size,
                                .finish = {.lower = -INFINITY, .upper = INFINITY}};

    gemm_f32_pack(s->d, a->size, 1, s->rows, a->size, a->kernel->mr, s->packed);
    gemm_f32_run(a->kernel, &problem, NULL);
}

static void find_slopes(const rounding *a, const state *s)
{
    for (int64_t i = 0; i < s->rows * a->size; i++) {
        s->h[i] = whole_part(s->v[i], &s->by_v[i]);
        s->d[i] = (clamp_code(a, s->floors[i] + s->h[i]) - s->positions[i]) * s->steps[i];
    }
    multiply(a, s);
}

/* Slope of lambda (1 - |2h - 1|^beta) by h. */
static float slope_of_whole(float h, float lambda, float beta)
{
    float side = 2.0f * h - 1.0f;
    float size = fabsf(side);

    return size > 0.0f ? -2.0f * lambda * beta * powf(size, beta - 1.0f) * copysignf(1.0f, side)
                       : 0.0f;
}

static void step_down(const rounding *a, const state *s, int turn)
{
    const adaround_options *o = a->o;
    double done = (double)turn / o->steps;
    bool is_driven = done >= o->warm_up;
    double fall = is_driven ? (done - o->warm_up) / (1.0 - o->warm_up) : 0.0;
    float beta = (float)(BETAS[1] + (BETAS[0] - BETAS[1]) * (1.0 - fall));
    float speed_scale = 1.0f / (1.0f - powf(0.9f, (float)turn + 1.0f));
    float spread_scale = 1.0f / (1.0f - powf(0.999f, (float)turn + 1.0f));

    for (int64_t i = 0; i < s->rows * a->size; i++) {
        double nearest = s->nearest[i / a->size];
        float share = nearest > 0.0 ? (float)(2.0 / nearest) : 0.0f;
        float code = s->floors[i] + s->h[i];
        float by_h = clamp_code(a, code) == code ? s->slopes[i] * share * s->steps[i] : 0.0f;
        float slope;

        if (is_driven) {
            by_h += slope_of_whole(s->h[i], o->lambda / (float)a->size, beta);
        }
        slope = by_h * s->by_v[i];
        s->speed[i] = 0.9f * s->speed[i] + 0.1f * slope;
        s->spread[i] = 0.999f * s->spread[i] + 0.001f * slope * slope;
        s->v[i] -=
            o->rate * s->speed[i] * speed_scale / (sqrtf(s->spread[i] * spread_scale) + 1e-12f);
    }
}

/* d G d^T of each row, where d is that of some codes. */
static void find_errors(const rounding *a, const state *s, double errors[ROWS])
{
    multiply(a, s);
    for (int64_t m = 0; m < s->rows; m++) {
        errors[m] = 0.0;
        for (int64_t i = m * a->size; i < (m + 1) * a->size; i++) {
            errors[m] += (double)s->d[i] * (double)s->slopes[i];
        }
    }
}

static void measure_nearest(const rounding *a, state *s)
{
    const int8_t *codes = a->r->codes + s->first * a->size;

    for (int64_t i = 0; i < s->rows * a->size; i++) {
        s->d[i] = ((float)codes[i] - s->positions[i]) * s->steps[i];
    }
    find_errors(a, s, s->nearest);
}

static void finish(const rounding *a, const state *s)
{
    int8_t *codes = a->r->codes + s->first * a->size;
    double learnt[ROWS];

    for (int64_t i = 0; i < s->rows * a->size; i++) {
        bool is_up = whole_part(s->v[i], &s->by_v[i]) >= 0.5f;

        s->floors[i] = clamp_code(a, s->floors[i] + (is_up ? 1.0f : 0.0f));
        s->d[i] = (s->floors[i] - s->positions[i]) * s->steps[i];
    }
    find_errors(a, s, learnt);
    for (int64_t m = 0; m < s->rows; m++) {
        for (int64_t i = m * a->size; learnt[m] < s->nearest[m] && i < (m + 1) * a->size; i++) {
            codes[i] = (int8_t)s->floors[i];
        }
    }
}

static void round_rows(void *context, int64_t begin, int64_t end, int worker)
{
    const rounding *a = context;

    for (int64_t i = begin; i < end; i++) {
        state s = open_rows(a, i * ROWS, worker);

        start(a, &s);
        measure_nearest(a, &s);
        for (int turn = 0; turn < a->o->steps; turn++) {
            find_slopes(a, &s);
            step_down(a, &s, turn);
        }
        finish(a, &s);
    }
}

static void pack_gram(const rounding *a, float *plain)
{
    for (int64_t i = 0; i < a->size * a->size; i++) {
        plain[i] = (float)a->gram[i];
    }
    gemm_f32_pack(plain, 1, a->size, a->size, a->size, a->kernel->nr, a->packed);
}

spry_status adaround_weight(weight_record *r, const float *dense, const gram *sums,
                            const adaround_options *options, const spry_allocator *allocator,
                            threads *team, spry_error *error)
{
    int64_t size = sums->size;
    int64_t rows = r->w.outputs / sums->groups;
    rounding a = {.r = r,
                  .dense = dense,
                  .o = options,
                  .kernel = gemm_f32_select(),
                  .size = size,
                  .rows = rows};
    size_t bytes = (size_t)(size * size) * sizeof(float);
    arena memory;
    float *plain;

    arena_init(&memory, allocator, SIZE_MAX);
    a.room = room_of(a.kernel, size);
    a.packed = arena_bytes(&memory,
                           (size_t)gemm_f32_packed_size(size, size, a.kernel->nr) * sizeof(float));
    a.rooms = arena_bytes(&memory, (size_t)(a.room * threads_count(team)) * sizeof(float));
    plain = arena_bytes(&memory, bytes);
    if (a.packed == NULL || a.rooms == NULL || plain == NULL) {
        arena_fini(&memory);
        return alloc_failed(error, bytes);
    }
    for (int64_t g = 0; g < sums->groups; g++) {
        a.gram = sums->xx + g * size * size;
        a.first = g * rows;
        pack_gram(&a, plain);
        threads_for(team, (rows + ROWS - 1) / ROWS, 1, round_rows, &a);
    }
    arena_fini(&memory);
    return SPRY_OK;
}
