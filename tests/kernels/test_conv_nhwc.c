/* Channels-last convolution: every way on every variant against seven loops, between guards. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "kernels/conv/conv_nhwc.h"
#include "support/guarded.h"
#include "support/sample.h"

enum { CANARY = 0x5A };

static const brgemm_type types[] = {BRGEMM_F32, BRGEMM_BF16, BRGEMM_S8};

/* ---- problems ---- */

typedef struct problem {
    conv_nhwc_problem p;
    guarded x;
    void *weights;
    float *bias, *residual, *factor; /* each may be left out of `finish` */
    int32_t *offset;
    uint8_t flip, zero;
    int64_t y_extra; /* bytes between pixels of y */
    brgemm_finish finish;
    double *sums;         /* [pixels][channels], exact for bytes */
    double *squares;      /* of their terms, added up */
    unsigned char *first; /* the result of the first way on this kernel */
    bool has_first;
} problem;

static int64_t pixels_of(const problem *o)
{
    return o->p.batch * o->p.shape.out_h * o->p.shape.out_w;
}

static int64_t outputs_of(const problem *o)
{
    return o->p.groups * o->p.filters;
}

static int64_t inputs_of(const problem *o)
{
    return o->p.groups * o->p.shape.channels;
}

static void *filled(spry_random *r, brgemm_type type, size_t count)
{
    void *values = malloc((count + 1) * 4);

    assert_non_null(values);
    if (type == BRGEMM_S8) {
        sample_i8(r, values, count);
    } else {
        sample_f32(r, values, count);
    }
    return values;
}

/* The input element at a place that is inside, as the products see it. */
static double input_at(const problem *o, int64_t image, int64_t row, int64_t column,
                       int64_t channel)
{
    const conv_f32_shape *s = &o->p.shape;
    int64_t pixel = (image * s->in_h + row) * s->in_w + column;
    int64_t at = o->p.input_is_planar
                     ? ((image * s->channels + channel) * s->in_h + row) * s->in_w + column
                     : pixel * inputs_of(o) + channel;

    if (o->p.type == BRGEMM_S8) {
        return (uint8_t)(((uint8_t *)o->x.data)[at] ^ o->flip);
    }
    return (double)((float *)(void *)o->x.data)[at];
}

static double as_bf16(double x)
{
    uint32_t bits = (uint32_t)brgemm_bf16((float)x) << 16;
    float y;

    memcpy(&y, &bits, sizeof y);
    return (double)y;
}

static double product(const problem *o, double x, size_t weight)
{
    double w = o->p.type == BRGEMM_S8 ? (double)((int8_t *)o->weights)[weight]
                                      : (double)((float *)o->weights)[weight];

    return o->p.type == BRGEMM_BF16 ? as_bf16(x) * as_bf16(w) : x * w;
}

static void sum_patch(const problem *o, int64_t image, int64_t y, int64_t z, int64_t filter,
                      double *sum, double *squares)
{
    const conv_f32_shape *s = &o->p.shape;
    int64_t group = filter / o->p.filters;
    size_t weight = (size_t)(filter * s->channels * s->kernel_h * s->kernel_w);

    for (int64_t c = 0; c < s->channels; c++) {
        for (int64_t r = 0; r < s->kernel_h; r++) {
            for (int64_t q = 0; q < s->kernel_w; q++, weight++) {
                int64_t row = y * s->stride_h + r * s->dilation_h - s->pad_h;
                int64_t column = z * s->stride_w + q * s->dilation_w - s->pad_w;
                bool is_inside = row >= 0 && row < s->in_h && column >= 0 && column < s->in_w;
                double x = is_inside ? input_at(o, image, row, column, group * s->channels + c)
                                     : (o->p.type == BRGEMM_S8 ? o->zero ^ o->flip : 0);
                double term = product(o, x, weight);

                *sum += term;
                *squares += term * term;
            }
        }
    }
}

static void sum_all(problem *o)
{
    const conv_f32_shape *s = &o->p.shape;
    size_t at = 0;

    o->sums = calloc((size_t)(pixels_of(o) * outputs_of(o)) + 1, sizeof(double));
    o->squares = calloc((size_t)(pixels_of(o) * outputs_of(o)) + 1, sizeof(double));
    assert_true(o->sums != NULL && o->squares != NULL);
    for (int64_t image = 0; image < o->p.batch; image++) {
        for (int64_t y = 0; y < s->out_h; y++) {
            for (int64_t z = 0; z < s->out_w; z++) {
                for (int64_t f = 0; f < outputs_of(o); f++, at++) {
                    sum_patch(o, image, y, z, f, &o->sums[at], &o->squares[at]);
                }
            }
        }
    }
}

static void make_finish(problem *o, spry_random *r)
{
    uint64_t parts = spry_random_below(r, 64);
    size_t channels = (size_t)outputs_of(o);
    size_t results = (size_t)pixels_of(o) * channels;

    o->bias = filled(r, BRGEMM_F32, channels);
    o->residual = filled(r, BRGEMM_F32, results);
    o->factor = filled(r, BRGEMM_F32, channels);
    o->offset = malloc((channels + 1) * 4);
    assert_non_null(o->offset);
    for (size_t i = 0; i < channels; i++) {
        o->offset[i] = (int32_t)sample_integer(r, -9999, 9999);
        o->factor[i] *= 1e-3f;
    }
    o->finish = (brgemm_finish){.bias = parts & 1 ? o->bias : NULL,
                                .residual = parts & 2 ? o->residual : NULL,
                                .lower = parts & 4 ? 0.0f : -INFINITY,
                                .upper = parts & 4 ? 6.0f : INFINITY,
                                .result = (brgemm_result)spry_random_below(r, 3),
                                .offset = parts & 8 ? o->offset : NULL,
                                .factor = parts & 16 ? o->factor : NULL,
                                .zero = 7,
                                .low = parts & 32 ? 0 : -128,
                                .high = parts & 32 ? 255 : 127};
    o->p.result_size = o->p.type == BRGEMM_S8 && o->finish.result == BRGEMM_BYTES ? 1 : 4;
    o->y_extra = (int64_t)o->p.result_size * sample_integer(r, 0, 3);
}

static void fill_problem(problem *o, spry_random *r)
{
    const conv_f32_shape *s = &o->p.shape;
    size_t count = (size_t)(o->p.batch * s->in_h * s->in_w * inputs_of(o));
    bool at_end = spry_random_below(r, 3) != 0;

    o->x = guarded_make(count * (o->p.type == BRGEMM_S8 ? 1 : 4), at_end);
    if (o->p.type == BRGEMM_S8) {
        sample_u8(r, (uint8_t *)o->x.data, count);
    } else {
        sample_f32(r, (float *)(void *)o->x.data, count);
    }
    o->weights =
        filled(r, o->p.type, (size_t)(outputs_of(o) * s->channels * s->kernel_h * s->kernel_w));
    if (o->p.type == BRGEMM_S8) {
        o->flip = spry_random_below(r, 2) != 0 ? 0x80 : 0;
        o->zero = (uint8_t)spry_random_below(r, 256);
    }
    make_finish(o, r);
    sum_all(o);
    o->first = malloc((size_t)(pixels_of(o) * outputs_of(o)) * 4 + 4);
    assert_non_null(o->first);
}

static void free_problem(problem *o)
{
    guarded_free(&o->x);
    free(o->weights);
    free(o->bias);
    free(o->residual);
    free(o->factor);
    free(o->offset);
    free(o->sums);
    free(o->squares);
    free(o->first);
}

static int64_t pick(spry_random *r, const int64_t *from, size_t count)
{
    return from[spry_random_below(r, count)];
}

/* Small enough for the naive sums; false: not this time. */
static bool draw_problem(problem *o, spry_random *r, brgemm_type type)
{
    static const int64_t channels[] = {1, 2, 3, 4, 5, 15, 16, 17, 31, 33, 63, 64, 65, 130};
    static const int64_t groups[] = {1, 1, 1, 1, 1, 2, 3, 5};
    const size_t count = sizeof channels / sizeof *channels;
    bool is_pointwise = spry_random_below(r, 6) == 0;
    int64_t after_h = sample_integer(r, 0, 4);
    int64_t after_w = sample_integer(r, 0, 4);
    conv_f32_shape *s = &o->p.shape;

    *o = (problem){.p = {.type = type}};
    *s = (conv_f32_shape){.channels = pick(r, channels, count),
                          .in_h = sample_integer(r, 1, 20),
                          .in_w = sample_integer(r, 1, 20),
                          .kernel_h = is_pointwise ? 1 : sample_integer(r, 1, 7),
                          .kernel_w = is_pointwise ? 1 : sample_integer(r, 1, 7),
                          .stride_h = sample_integer(r, 1, 4),
                          .stride_w = sample_integer(r, 1, 4),
                          .dilation_h = sample_integer(r, 1, 3),
                          .dilation_w = sample_integer(r, 1, 3)};
    if (spry_random_below(r, 2) != 0) { /* what most layers are */
        s->stride_h = s->stride_w = 1;
        s->dilation_h = s->dilation_w = 1;
    }
    if (spry_random_below(r, 3) != 0) {
        s->pad_h = sample_integer(r, 0, 4);
        s->pad_w = sample_integer(r, 0, 4);
    } else {
        after_h = after_w = 0;
    }
    o->p.batch = sample_integer(r, 1, 3);
    o->p.groups = pick(r, groups, sizeof groups / sizeof *groups);
    o->p.filters = pick(r, channels, count);
    o->p.input_is_planar = type != BRGEMM_S8 && o->p.groups == 1 && spry_random_below(r, 8) == 0;
    s->out_h = s->in_h + s->pad_h + after_h - s->dilation_h * (s->kernel_h - 1) - 1;
    s->out_w = s->in_w + s->pad_w + after_w - s->dilation_w * (s->kernel_w - 1) - 1;
    if (s->out_h < 0 || s->out_w < 0) {
        return false;
    }
    s->out_h = s->out_h / s->stride_h + 1;
    s->out_w = s->out_w / s->stride_w + 1;
    return pixels_of(o) * outputs_of(o) * s->channels * s->kernel_h * s->kernel_w < 600000;
}

/* ---- runs ---- */

/* Runs the pieces in another order than they are numbered in, on two workers' memory. */
static void run_pieces(conv_nhwc_call *call)
{
    const conv_nhwc *c = call->c;
    int64_t pixels = c->batch * c->shape.out_h * c->shape.out_w;

    if (c->way == CONV_NHWC_EXPLICIT) {
        conv_nhwc_lower(call, pixels / 3, pixels, 1);
        conv_nhwc_lower(call, 0, pixels / 3, 0);
    }
    conv_nhwc_run(call, c->pieces / 2, c->pieces, 1);
    conv_nhwc_run(call, 0, c->pieces / 2, 0);
}

/* The result between canaries, which are checked: [pixels][channels]. */
static void run_plan(const problem *o, const conv_nhwc *c, unsigned char *result)
{
    size_t row = (size_t)outputs_of(o) * o->p.result_size;
    size_t pitch = row + (size_t)o->y_extra;
    size_t pixels = (size_t)pixels_of(o);
    guarded packed = guarded_make((size_t)c->packed_bytes, false);
    guarded workspace = guarded_make((size_t)(c->shared_bytes + 2 * c->worker_bytes), true);
    guarded y = guarded_make((pixels - 1) * pitch + row, c->pieces % 4 != 0); /* either end */
    conv_nhwc_call call = {.c = c,
                           .x = o->x.data,
                           .flip = o->flip,
                           .zero = o->zero,
                           .packed = packed.data,
                           .y = y.data,
                           .y_pitch = (int64_t)pitch,
                           .finish = o->finish,
                           .workspace = workspace.data};

    assert_true(c->worker_bytes % 64 == 0 && c->shared_bytes % 64 == 0);
    conv_nhwc_pack(c, o->weights, 0, packed.data);
    memset(workspace.data, 0xFF, (size_t)(c->shared_bytes + 2 * c->worker_bytes)); /* NaN */
    memset(y.data, CANARY, (pixels - 1) * pitch + row);
    run_pieces(&call);
    for (size_t i = 0; i < pixels; i++) {
        memcpy(result + i * row, y.data + i * pitch, row);
        for (size_t j = row; j < pitch && i + 1 < pixels; j++) {
            assert_int_equal(y.data[i * pitch + j], CANARY);
        }
    }
    guarded_free(&packed);
    guarded_free(&workspace);
    guarded_free(&y);
}

/* What became of the sum at element `at`: floats, or the integer. */
static double expected_at(const problem *o, size_t at)
{
    const brgemm_finish *f = &o->finish;
    size_t channel = at % (size_t)outputs_of(o);
    double v = o->sums[at];

    if (o->p.type == BRGEMM_S8) {
        v += f->offset != NULL ? f->offset[channel] : 0;
        if (f->result == BRGEMM_SUMS) {
            return v;
        }
        v = (double)((float)v * (f->factor != NULL ? f->factor[channel] : 1.0f));
        if (f->result == BRGEMM_BYTES) {
            v = nearbyint(v) + f->zero;
            return v < f->low ? f->low : v > f->high ? f->high : v;
        }
    }
    v += f->bias != NULL ? (double)f->bias[channel] : 0;
    v += f->residual != NULL ? (double)f->residual[at] : 0;
    v = v < (double)f->lower ? (double)f->lower : v;
    return v > (double)f->upper ? (double)f->upper : v;
}

static double got_at(const problem *o, const unsigned char *result, size_t at)
{
    float x;
    int32_t whole;

    if (o->p.result_size == 1) {
        return o->finish.low < 0 ? (double)(int8_t)result[at] : (double)result[at];
    }
    memcpy(&x, result + 4 * at, 4);
    memcpy(&whole, result + 4 * at, 4);
    return o->p.type == BRGEMM_S8 && o->finish.result == BRGEMM_SUMS ? (double)whole : (double)x;
}

/* 4 sqrt(K) units in the last place of the root of the sum of squared terms, which is how large
 * sums of K terms of random signs are; bytes scaled to floats are rounded a few times. */
static double bound_of(const problem *o, size_t at, double wanted)
{
    const conv_f32_shape *s = &o->p.shape;
    double depth = (double)(s->channels * s->kernel_h * s->kernel_w + 2);
    double bias = o->finish.bias != NULL ? (double)o->bias[at % (size_t)outputs_of(o)] : 0;
    double residual = o->finish.residual != NULL ? (double)o->residual[at] : 0;

    if (o->p.type == BRGEMM_S8) {
        return 4e-7 * (fabs(wanted) + 10);
    }
    return 4 * sqrt(depth) * 0x1p-23 * sqrt(o->squares[at] + bias * bias + residual * residual);
}

static void check_result(const problem *o, const conv_nhwc *c, const unsigned char *result)
{
    size_t count = (size_t)(pixels_of(o) * outputs_of(o));
    bool is_exact = o->p.type == BRGEMM_S8 && o->finish.result != BRGEMM_FLOATS;

    for (size_t i = 0; i < count; i++) {
        double wanted = expected_at(o, i);
        double got = got_at(o, result, i);
        double bound = is_exact ? 0 : bound_of(o, i, wanted);

        if (!(fabs(got - wanted) <= bound)) {
            fail_msg("%s %s: element %zu: %g, expected %g", c->kernel->name,
                     conv_nhwc_way_name(c->way), i, got, wanted);
        }
    }
}

static void check_way(problem *o, const brgemm_kernel *kernel, conv_nhwc_way way, int workers)
{
    size_t bytes = (size_t)(pixels_of(o) * outputs_of(o)) * o->p.result_size;
    unsigned char *result = malloc(bytes + 1);
    conv_nhwc c;

    assert_non_null(result);
    conv_nhwc_plan(&o->p, kernel, way, workers, &c);
    assert_true(c.pieces > 0 && (way == CONV_NHWC_AUTO || c.way == way));
    run_plan(o, &c, result);
    check_result(o, &c, result);
    if (o->p.type != BRGEMM_BF16) { /* one order of additions: the same bits on all ways */
        if (o->has_first && memcmp(result, o->first, bytes) != 0) {
            fail_msg("%s %s: other bits than the first way", kernel->name, conv_nhwc_way_name(way));
        }
        memcpy(o->first, result, bytes);
        o->has_first = true;
    }
    free(result);
}

static void check_problem(problem *o, spry_random *r)
{
    brgemm_variants variants = brgemm_variants_of(o->p.type);

    for (int v = 0; v < variants.count; v++) {
        o->has_first = false;
        for (int way = 0; way < CONV_NHWC_WAYS && brgemm_usable(&variants.list[v]); way++) {
            if (way == CONV_NHWC_AUTO || conv_nhwc_can(&o->p, (conv_nhwc_way)way)) {
                check_way(o, variants.list[v].table, (conv_nhwc_way)way,
                          (int)sample_integer(r, 1, 5));
            }
        }
    }
}

/* ---- tests ---- */

static void check_random(brgemm_type type, uint64_t seed)
{
    spry_random r = spry_random_stream(seed, 0);

    for (int i = 0; i < 150;) {
        problem o;

        if (draw_problem(&o, &r, type)) {
            fill_problem(&o, &r);
            check_problem(&o, &r);
            free_problem(&o);
            i++;
        }
    }
}

static void test_random_f32(void **state)
{
    (void)state;
    check_random(BRGEMM_F32, 31);
}

static void test_random_bf16(void **state)
{
    (void)state;
    check_random(BRGEMM_BF16, 32);
}

static void test_random_s8(void **state)
{
    (void)state;
    check_random(BRGEMM_S8, 33);
}

/* One image, one group, one channel in and out, every way that can: x * weights, unfinished. */
static void run_floats(const conv_f32_shape *s, const float *x, const float *weights,
                       const float *expected, size_t count)
{
    for (int way = CONV_NHWC_AUTO; way < CONV_NHWC_WAYS; way++) {
        problem o = {.p = {.shape = *s,
                           .batch = 1,
                           .groups = 1,
                           .filters = 1,
                           .type = BRGEMM_F32,
                           .result_size = 4},
                     .finish = {.lower = -INFINITY, .upper = INFINITY}};
        conv_nhwc c;
        float result[64];
        union {
            const float *from;
            void *to;
        } weights_of = {weights};

        if (way != CONV_NHWC_AUTO && !conv_nhwc_can(&o.p, (conv_nhwc_way)way)) {
            continue;
        }
        o.x = guarded_make((size_t)(s->in_h * s->in_w) * sizeof *x, true);
        memcpy(o.x.data, x, (size_t)(s->in_h * s->in_w) * sizeof *x);
        o.weights = weights_of.to;
        conv_nhwc_plan(&o.p, brgemm_select(BRGEMM_F32), (conv_nhwc_way)way, 1, &c);
        run_plan(&o, &c, (unsigned char *)result);
        for (size_t i = 0; i < count; i++) {
            assert_true(result[i] == expected[i]);
        }
        guarded_free(&o.x);
    }
}

static void test_by_hand(void **state)
{
    static const float ones[9] = {1, 1, 1, 1, 1, 1, 1, 1, 1};
    static const float corner[9] = {1, 0, 0, 0, 0, 0, 0, 0, 0}; /* shifts by one row and column */
    static const float identity[1] = {1};
    conv_f32_shape s = {1, 4, 4, 2, 2, 3, 3, 1, 1, 1, 1, 0, 0};
    float x[16];
    float shifted[16] = {0};

    (void)state;
    for (int i = 0; i < 16; i++) {
        x[i] = (float)i;
        if (i >= 5 && i % 4 != 0) {
            shifted[i] = (float)(i - 5);
        }
    }
    run_floats(&s, x, ones, (const float[]){45, 54, 81, 90}, 4);
    s.stride_h = s.stride_w = 2;
    s.pad_h = s.pad_w = 1;
    run_floats(&s, x, ones, (const float[]){10, 24, 51, 90}, 4);
    s = (conv_f32_shape){1, 4, 4, 4, 4, 3, 3, 1, 1, 2, 2, 2, 2};
    run_floats(&s, x, ones, (const float[]){0 + 2 + 8 + 10}, 1);
    s = (conv_f32_shape){1, 4, 4, 4, 4, 3, 3, 1, 1, 1, 1, 1, 1};
    run_floats(&s, x, corner, shifted, 16);
    s = (conv_f32_shape){1, 4, 4, 4, 4, 1, 1, 1, 1, 1, 1, 0, 0};
    run_floats(&s, x, identity, x, 16);
}

/* All x equal to the zero point: borders and interior alike are the requantised bias. */
static void test_border_is_zero_point(void **state)
{
    spry_random r = spry_random_stream(35, 0);
    int8_t weights[4 * 9];
    uint8_t x[5 * 5 * 4];
    float half = 0.5f;
    int32_t offset = 0; /* bias - zero point * sum of weights */

    (void)state;
    memset(x, 128, sizeof x);
    sample_i8(&r, weights, sizeof weights);
    for (size_t i = 0; i < sizeof weights; i++) {
        offset -= 128 * weights[i];
    }
    offset += 41;
    for (int way = CONV_NHWC_ROW; way < CONV_NHWC_WAYS; way++) {
        problem o = {.p = {.shape = {4, 5, 5, 5, 5, 3, 3, 1, 1, 1, 1, 1, 1},
                           .batch = 1,
                           .groups = 1,
                           .filters = 1,
                           .type = BRGEMM_S8,
                           .result_size = 1},
                     .weights = weights,
                     .zero = 128,
                     .finish = {.result = BRGEMM_BYTES,
                                .offset = &offset,
                                .factor = &half,
                                .zero = 3,
                                .high = 255}};
        conv_nhwc c;
        unsigned char result[25];

        if (conv_nhwc_can(&o.p, (conv_nhwc_way)way)) {
            o.x = guarded_make(sizeof x, true);
            memcpy(o.x.data, x, sizeof x);
            conv_nhwc_plan(&o.p, brgemm_select(BRGEMM_S8), (conv_nhwc_way)way, 1, &c);
            run_plan(&o, &c, result);
            for (int i = 0; i < 25; i++) {
                assert_int_equal(result[i], 20 + 3); /* 20.5 goes to 20 */
            }
            guarded_free(&o.x);
        }
    }
}

/* Products of tokens: one row, many rows, long sums; slices for any team give the same bits. */
static void test_products(void **state)
{
    static const int64_t sizes[][3] = {{1, 300, 70}, {128, 64, 40}, {37, 33, 130}, {3, 1024, 5}};
    spry_random r = spry_random_stream(36, 0);

    (void)state;
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        for (size_t t = 0; t < sizeof types / sizeof *types; t++) {
            problem o = {.p = {.shape = {sizes[i][1], 1, sizes[i][0], 1, sizes[i][0], 1, 1, 1, 1, 1,
                                         1, 0, 0},
                               .batch = 1,
                               .groups = 1,
                               .filters = sizes[i][2],
                               .type = types[t]}};

            fill_problem(&o, &r);
            check_problem(&o, &r);
            free_problem(&o);
        }
    }
}

/* Implicit ways store no matrix of patches: their workspace is a band or a block. */
static void test_workspace(void **state)
{
    conv_nhwc_problem p = {.shape = {64, 56, 56, 56, 56, 3, 3, 1, 1, 1, 1, 1, 1},
                           .batch = 1,
                           .groups = 1,
                           .filters = 64,
                           .type = BRGEMM_F32,
                           .result_size = 4};
    conv_nhwc c;

    (void)state;
    conv_nhwc_plan(&p, brgemm_select(BRGEMM_F32), CONV_NHWC_EXPLICIT, 1, &c);
    assert_true(c.shared_bytes >= 56 * 56 * 9 * 64 * 4);
    conv_nhwc_plan(&p, brgemm_select(BRGEMM_F32), CONV_NHWC_AUTO, 1, &c);
    assert_true(c.shared_bytes == 0 && c.worker_bytes < 58 * 58 * 64 * 4 + 16384);
    p.shape.pad_h = p.shape.pad_w = 0;
    p.shape.out_h = p.shape.out_w = 54;
    conv_nhwc_plan(&p, brgemm_select(BRGEMM_F32), CONV_NHWC_ROW, 1, &c);
    assert_true(!c.is_copied && c.worker_bytes < 16384);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_by_hand),   cmocka_unit_test(test_random_f32),
        cmocka_unit_test(test_random_s8), cmocka_unit_test(test_random_bf16),
        cmocka_unit_test(test_products),  cmocka_unit_test(test_border_is_zero_point),
        cmocka_unit_test(test_workspace),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
