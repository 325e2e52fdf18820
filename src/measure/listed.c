/* Runs one layer at pixels of random patches. */
#include "measure/listed.h"

#include <math.h>
#include <string.h>

#include "base/alloc.h"
#include "base/arena.h"
#include "base/clock.h"
#include "kernels/conv/conv_listed.h"
#include "spry/random.h"

/* Memory of a layer: all of it in one arena. */
typedef struct layer {
    conv_listed plan;
    conv_winograd winograd;
    bool has_winograd;
    int32_t *winograd_tiles;
    arena memory;
    char *x, *packed, *y, *workspace;
    uint8_t *mask;
    pixel_list list;
} layer;

static int64_t pixels_of(const conv_nhwc_problem *p)
{
    return p->batch * p->shape.out_h * p->shape.out_w;
}

/* The problem with its padding as part of the image. */
static conv_nhwc_problem padded(const conv_nhwc_problem *problem)
{
    conv_nhwc_problem p = *problem;
    conv_f32_shape *s = &p.shape;

    s->in_h = (s->out_h - 1) * s->stride_h + (s->kernel_h - 1) * s->dilation_h + 1;
    s->in_w = (s->out_w - 1) * s->stride_w + (s->kernel_w - 1) * s->dilation_w + 1;
    s->pad_h = s->pad_w = 0;
    p.result_size = sizeof(float);
    return p;
}

static void fill(spry_random *r, void *to, size_t count, brgemm_type type)
{
    for (size_t i = 0; i < count; i++) {
        if (type == BRGEMM_S8) {
            ((uint8_t *)to)[i] = (uint8_t)spry_random_below(r, 127);
        } else {
            ((float *)to)[i] = spry_random_f32(r) - 0.5f;
        }
    }
}

static void fill_mask(spry_random *r, const conv_nhwc_problem *p, int64_t patch, double density,
                      uint8_t *mask)
{
    const conv_f32_shape *s = &p->shape;

    memset(mask, 0, (size_t)pixels_of(p));
    for (int64_t image = 0; image < p->batch; image++) {
        for (int64_t cell = 0; cell < s->out_h * s->out_w; cell++) {
            int64_t row = cell / s->out_w;
            int64_t column = cell % s->out_w;
            bool chosen;

            if (row % patch != 0 || column % patch != 0) {
                continue;
            }
            chosen = (double)spry_random_f32(r) < density;
            for (int64_t i = row; chosen && i < row + patch && i < s->out_h; i++) {
                int64_t end = column + patch < s->out_w ? column + patch : s->out_w;

                memset(mask + (image * s->out_h + i) * s->out_w + column, 1,
                       (size_t)(end - column));
            }
        }
    }
}

/* The mask, and the kernel that is expected to be the fastest at its pixels. */
static spry_status choose(const conv_nhwc_problem *problem, layer *l, int64_t patch, double density,
                          spry_random *r, spry_error *error)
{
    enum { SMALL = 2, LARGE = 4 }; /* tiles; small ones are kept for small patches only */
    const conv_nhwc_problem *p = &l->plan.dense.problem;
    const conv_winograd_problem whole = {problem->shape, p->batch, p->filters};
    double least;

    l->mask = arena_array(&l->memory, (size_t)pixels_of(p), 1);
    l->winograd_tiles = arena_array(&l->memory, (size_t)pixels_of(p), sizeof *l->winograd_tiles);
    if (l->mask == NULL || l->winograd_tiles == NULL) {
        return alloc_failed(error, (size_t)pixels_of(p) * sizeof *l->winograd_tiles);
    }
    fill_mask(r, p, patch, density, l->mask);
    least = l->plan.pixel_cost * (double)pixel_list_count(l->mask, pixels_of(p));
    for (int size = SMALL;
         size <= LARGE && p->type == BRGEMM_F32 && p->groups == 1 && conv_winograd_can(&p->shape);
         size *= 2) {
        conv_winograd plan;
        double cost;

        conv_winograd_plan(&whole, brgemm_select(BRGEMM_F32), conv_winograd_select(), size, 1,
                           &plan);
        cost = plan.predicted_cost / (double)plan.tiles *
               (double)conv_winograd_list(&plan, l->mask, l->winograd_tiles, NULL);
        if (conv_listed_prefers(&l->plan, &plan) && cost < least &&
            (size == LARGE || patch % LARGE != 0)) {
            least = cost;
            l->winograd = plan;
            l->has_winograd = true;
        }
    }
    return SPRY_OK;
}

static spry_status make(const conv_nhwc_problem *p, layer *l, spry_random *r, spry_error *error)
{
    const conv_f32_shape *s = &p->shape;
    size_t size = p->type == BRGEMM_S8 ? 1 : sizeof(float);
    size_t inputs =
        (size_t)(p->batch * s->in_h * s->in_w * p->groups * s->channels) + 64 / sizeof(float);
    int64_t packed = l->has_winograd ? l->winograd.packed_bytes : l->plan.dense.packed_bytes;
    int64_t own = l->has_winograd ? l->winograd.shared_bytes + l->winograd.worker_bytes
                                  : l->plan.worker_bytes;
    size_t weights = (size_t)(p->groups * p->filters * s->channels * s->kernel_h * s->kernel_w);
    int64_t tiles = pixel_list_most_tiles(pixels_of(p), &l->plan.tiling);
    void *plain = arena_array(&l->memory, weights, size);

    l->x = arena_array(&l->memory, inputs, size);
    l->packed = arena_array(&l->memory, (size_t)packed + 64, 1);
    l->y = arena_array(&l->memory, (size_t)(pixels_of(p) * l->plan.columns), sizeof(float));
    l->workspace = arena_array(&l->memory, (size_t)own + 64, 1);
    l->list.tiles = arena_array(&l->memory, (size_t)tiles, sizeof *l->list.tiles);
    l->list.spots = arena_array(&l->memory, (size_t)pixels_of(p), sizeof *l->list.spots);
    if (plain == NULL || l->x == NULL || l->packed == NULL || l->y == NULL ||
        l->workspace == NULL || l->list.tiles == NULL || l->list.spots == NULL) {
        return alloc_failed(error, inputs * size);
    }
    l->packed += 63 - ((uintptr_t)l->packed + 63) % 64;
    l->workspace += 63 - ((uintptr_t)l->workspace + 63) % 64;
    fill(r, plain, weights, p->type);
    fill(r, l->x, inputs, p->type);
    if (l->has_winograd) {
        conv_winograd_pack(&l->winograd, plain, 0, conv_winograd_panels(&l->winograd), l->packed);
    } else {
        conv_nhwc_pack(&l->plan.dense, plain, 0, l->packed);
    }
    return SPRY_OK;
}

static void run_winograd(layer *l)
{
    const conv_nhwc_problem *p = &l->plan.dense.problem;
    conv_winograd plan = l->winograd;
    conv_winograd_call call = {.c = &plan,
                               .x = (const float *)(const void *)l->x,
                               .packed = l->packed,
                               .y = (float *)(void *)l->y,
                               .y_pitch = l->plan.columns * (int64_t)sizeof(float),
                               .finish = {.lower = -INFINITY, .upper = INFINITY},
                               .workspace = l->workspace,
                               .listed = l->winograd_tiles};

    call.listed_count = conv_winograd_list(&plan, l->mask, l->winograd_tiles, NULL);
    plan.problem.shape = p->shape; /* the image with its padding */
    conv_winograd_run(&call, 0, conv_winograd_listed_pieces(&call), 0);
}

static void run_direct(layer *l)
{
    const conv_nhwc_problem *p = &l->plan.dense.problem;
    const conv_f32_shape *s = &p->shape;
    int64_t x = p->groups * s->channels * (p->type == BRGEMM_S8 ? 1 : (int64_t)sizeof(float));
    int64_t y = l->plan.columns * (int64_t)sizeof(float);
    bool is_flat = s->kernel_h == 1 && s->kernel_w == 1 && s->stride_h == 1 && s->stride_w == 1;
    conv_listed_call call = {
        .c = &l->plan,
        .list = &l->list,
        .x = {l->x, x, x * s->in_w, x * s->in_w * s->in_h},
        .is_wide = p->type == BRGEMM_BF16,
        .packed = l->packed,
        .y = {l->y, y, y * s->out_w, y * s->out_w * s->out_h},
        .width = is_flat ? pixels_of(p) : s->out_w,
        .finish = {.result = p->type == BRGEMM_S8 ? BRGEMM_SUMS : BRGEMM_FLOATS,
                   .lower = -INFINITY,
                   .upper = INFINITY},
        .workers = 1,
        .workspace = l->workspace};

    pixel_list_build(l->mask, pixels_of(p) / call.width, call.width, &l->plan.tiling, &l->list);
    conv_listed_run(&call, 0, conv_listed_pieces(&call), 0);
}

static void run(layer *l)
{
    if (l->has_winograd) {
        run_winograd(l);
    } else {
        run_direct(l);
    }
}

static void measure(layer *l, int repeats, listed_cost *cost)
{
    cost->pixels = pixel_list_count(l->mask, pixels_of(&l->plan.dense.problem));
    cost->milliseconds = INFINITY;
    run(l); /* brings weights and code near */
    for (int i = 0; i < repeats; i++) {
        int64_t start = clock_ns();

        run(l);
        cost->milliseconds = fmin(cost->milliseconds, (double)(clock_ns() - start) * 1e-6);
    }
}

spry_status listed_measure(const spry_allocator *allocator, const conv_nhwc_problem *problem,
                           int64_t patch, double density, uint64_t seed, int repeats,
                           listed_cost *cost, spry_error *error)
{
    conv_nhwc_problem p = padded(problem);
    spry_random r = spry_random_stream(seed, 0);
    layer l = {0};
    spry_status status;

    if (patch < 1 || !(density >= 0.0 && density <= 1.0) || repeats < 1) {
        return spry_fail(error, SPRY_USAGE, "listed pixels",
                         "give patches of at least one pixel and a density from 0 to 1",
                         "patches of %lld, density %g", (long long)patch, density);
    }
    arena_init(&l.memory, allocator, SIZE_MAX);
    conv_listed_plan(&p, brgemm_select(p.type), &l.plan);
    status = choose(problem, &l, patch, density, &r, error);
    if (status == SPRY_OK) {
        status = make(&p, &l, &r, error);
    }
    if (status == SPRY_OK) {
        measure(&l, repeats, cost);
    }
    arena_fini(&l.memory);
    return status;
}
