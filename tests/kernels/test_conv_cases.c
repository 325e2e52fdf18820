/* Small convolutions of bytes, many of them: every way on every variant, depthwise ones too, cut
 * for teams of any size, gives the bits that seven loops and the rule of rounding give, and touches
 * nothing else. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "kernels/conv/conv_nhwc.h"
#include "kernels/conv/depthwise_nhwc.h"
#include "support/cases.h"
#include "support/finish_s8.h"
#include "support/guarded.h"
#include "support/sample.h"

enum {
    MOST_IN = 1 << 16,
    MOST_WEIGHTS = 60000,
    MOST_PACKED = 1 << 20,
    MOST_OUT = 1 << 12, /* elements */
    WORKSPACE = 1 << 21,
    WAYS_PER_CASE = 2,
    CANARY = 0x5A
};

typedef struct trial {
    conv_nhwc_problem p;
    guarded x, packed, y, workspace;
    uint8_t weights[MOST_WEIGHTS];
    uint8_t flip, zero, w_flip;
    int32_t w_zero; /* of depthwise ones */
    finish_s8 drawn;
    float residual[MOST_OUT];
    uint32_t expected[MOST_OUT];
    int64_t pixels, channels; /* of the output */
    size_t size, pitch;       /* of its elements, of its pixels */
    int64_t runs[CONV_NHWC_WAYS];
} trial;

static int64_t pick(spry_random *r, const int8_t *from, size_t count)
{
    return from[spry_random_below(r, count)];
}

/* One axis: sizes that give an output. False: none. */
static bool draw_axis(spry_random *r, bool is_plain, int64_t axis[6])
{
    static const int8_t kernels[] = {1, 1, 2, 3, 3, 3, 4, 5, 7};
    int64_t in = sample_integer(r, 1, 9);
    int64_t kernel = pick(r, kernels, sizeof kernels);
    int64_t stride = is_plain ? 1 : sample_integer(r, 1, 4);
    int64_t dilation = is_plain ? 1 : sample_integer(r, 1, 3);
    int64_t before = spry_random_below(r, 3) != 0 ? sample_integer(r, 0, 4) : 0;
    int64_t after = spry_random_below(r, 3) != 0 ? sample_integer(r, 0, 4) : 0;
    int64_t room = in + before + after - dilation * (kernel - 1) - 1;
    const int64_t made[6] = {in, room / stride + 1, kernel, stride, dilation, before};

    memcpy(axis, made, sizeof made);
    return room >= 0;
}

/* Few multiplications, so that cases are cheap; one case of fifty is larger. */
static bool draw_problem(spry_random *r, bool is_depthwise, conv_nhwc_problem *p)
{
    static const int8_t sizes[] = {1, 1, 2, 3, 4, 5, 7, 8, 12, 15, 16, 17, 31, 32, 33, 64, 65};
    static const int8_t groups[] = {1, 1, 1, 1, 1, 2, 3};
    bool is_plain = spry_random_below(r, 2) != 0;
    int64_t most = spry_random_below(r, 50) == 0 ? 60000 : 3000;
    int64_t h[6];
    int64_t w[6];

    if (!draw_axis(r, is_plain, h) || !draw_axis(r, is_plain, w)) {
        return false;
    }
    *p = (conv_nhwc_problem){.shape = {pick(r, sizes, sizeof sizes), h[0], w[0], h[1], w[1], h[2],
                                       w[2], h[3], w[3], h[4], w[4], h[5], w[5]},
                             .batch = spry_random_below(r, 4) == 0 ? sample_integer(r, 2, 3) : 1,
                             .groups = pick(r, groups, sizeof groups),
                             .filters = pick(r, sizes, sizeof sizes),
                             .type = BRGEMM_S8};
    if (is_depthwise) {
        p->groups = spry_random_below(r, 8) == 0 ? 130 : p->shape.channels;
        p->shape.channels = 1;
        p->filters = spry_random_below(r, 4) == 0 ? sample_integer(r, 2, 5) : 1;
    }
    int64_t outputs = p->batch * h[1] * w[1] * p->groups * p->filters;

    return outputs * p->shape.channels * h[2] * w[2] <= most && outputs <= MOST_OUT &&
           p->groups * p->filters <= FINISH_S8_MOST;
}

static uint32_t sum_at(const trial *t, int64_t pixel, int64_t filter)
{
    const conv_f32_shape *s = &t->p.shape;
    int64_t image = pixel / (s->out_h * s->out_w) * s->in_h;
    int64_t y = pixel / s->out_w % s->out_h * s->stride_h - s->pad_h;
    int64_t x = pixel % s->out_w * s->stride_w - s->pad_w;
    int64_t first = filter / t->p.filters * s->channels;
    const uint8_t *w = t->weights + filter * s->channels * s->kernel_h * s->kernel_w;
    uint32_t sum = 0;

    for (int64_t c = 0; c < s->channels; c++) {
        for (int64_t tap = 0; tap < s->kernel_h * s->kernel_w; tap++) {
            int64_t row = y + tap / s->kernel_w * s->dilation_h;
            int64_t column = x + tap % s->kernel_w * s->dilation_w;
            bool inside = row >= 0 && row < s->in_h && column >= 0 && column < s->in_w;
            int64_t at = ((image + row) * s->in_w + column) * t->p.groups * s->channels + first + c;
            int32_t seen = (inside ? t->x.data[at] : t->zero) ^ t->flip;

            sum += (uint32_t)(seen * ((int8_t)(*w++ ^ t->w_flip) - t->w_zero));
        }
    }
    return sum;
}

static void make_trial(trial *t, spry_random *r, bool is_depthwise)
{
    const conv_f32_shape *s;
    size_t in;

    while (!draw_problem(r, is_depthwise, &t->p)) {
    }
    s = &t->p.shape;
    in = (size_t)(t->p.batch * s->in_h * s->in_w * t->p.groups * s->channels);
    t->pixels = t->p.batch * s->out_h * s->out_w;
    t->channels = t->p.groups * t->p.filters;
    finish_s8_draw(r, t->channels, &t->drawn);
    if (t->drawn.finish.result == BRGEMM_FLOATS && spry_random_below(r, 2) == 0) {
        t->drawn.finish.residual = t->residual;
    }
    t->size = finish_s8_size(&t->drawn.finish);
    t->p.result_size = t->size;
    t->pitch = ((size_t)t->channels + (size_t)spry_random_below(r, 3)) * t->size;
    guarded_place(&t->x, in, spry_random_below(r, 3) != 0);
    sample_bytes(r, t->x.data, in);
    sample_bytes(r, t->weights, (size_t)(t->channels * s->channels * s->kernel_h * s->kernel_w));
    t->flip = spry_random_below(r, 2) != 0 ? 0x80 : 0;
    t->w_flip = spry_random_below(r, 4) == 0 ? 0x80 : 0;
    t->zero = (uint8_t)spry_random_u32(r);
    t->w_zero = is_depthwise && spry_random_below(r, 3) == 0 ? (int8_t)spry_random_u32(r) : 0;
    for (int64_t i = 0; i < t->pixels * t->channels; i++) {
        t->expected[i] =
            finish_s8_expected(&t->drawn.finish, sum_at(t, i / t->channels, i % t->channels),
                               i % t->channels, t->residual[i]);
    }
}

static void check_result(const trial *t, const char *kernel, const char *way)
{
    size_t row = (size_t)t->channels * t->size;

    for (int64_t i = 0; i < t->pixels * t->channels; i++) {
        const uint8_t *at =
            t->y.data + (size_t)(i / t->channels) * t->pitch + (size_t)(i % t->channels) * t->size;
        uint32_t got = finish_s8_result(&t->drawn.finish, at);

        if (got != t->expected[i]) {
            fail_msg("%s %s: element %lld is %#x, expected %#x", kernel, way, (long long)i, got,
                     t->expected[i]);
        }
    }
    for (int64_t pixel = 0; pixel + 1 < t->pixels; pixel++) {
        for (size_t i = row; i < t->pitch; i++) {
            assert_int_equal(t->y.data[(size_t)pixel * t->pitch + i], CANARY);
        }
    }
}

/* Pieces in another order than they are numbered in, on two workers' memory. */
static void run_pieces(conv_nhwc_call *call, int64_t pixels)
{
    const conv_nhwc *c = call->c;

    if (c->way == CONV_NHWC_EXPLICIT) {
        conv_nhwc_lower(call, pixels / 3, pixels, 1);
        conv_nhwc_lower(call, 0, pixels / 3, 0);
    }
    conv_nhwc_run(call, c->pieces / 2, c->pieces, 1);
    conv_nhwc_run(call, 0, c->pieces / 2, 0);
}

/* The place of the result, filled with what must stay between its pixels. */
static void place_result(trial *t)
{
    size_t bytes = (size_t)(t->pixels - 1) * t->pitch + (size_t)t->channels * t->size;

    guarded_place(&t->y, bytes, true);
    memset(t->y.data, CANARY, bytes);
}

static void run(trial *t, const brgemm_kernel *kernel, conv_nhwc_way way, int workers)
{
    conv_nhwc c;

    conv_nhwc_plan(&t->p, kernel, way, workers, &c);
    size_t workspace = (size_t)(c.shared_bytes + 2 * c.worker_bytes);
    guarded_place(&t->packed, (size_t)c.packed_bytes, true);
    guarded_place(&t->workspace, workspace, true);
    place_result(t);
    conv_nhwc_call call = {.c = &c,
                           .x = t->x.data,
                           .flip = t->flip,
                           .zero = t->zero,
                           .packed = t->packed.data,
                           .y = t->y.data,
                           .y_pitch = (int64_t)t->pitch,
                           .finish = t->drawn.finish,
                           .workspace = t->workspace.data};

    conv_nhwc_pack(&c, t->weights, t->w_flip, t->packed.data);
    run_pieces(&call, t->pixels);
    check_result(t, kernel->name, conv_nhwc_way_name(c.way));
    t->runs[way]++;
}

/* Some of the ways that can, on every variant. */
static void run_ways(trial *t, spry_random *r)
{
    brgemm_variants variants = brgemm_variants_of(BRGEMM_S8);
    conv_nhwc_way ways[CONV_NHWC_WAYS] = {CONV_NHWC_AUTO};
    size_t count = 1;

    for (int way = CONV_NHWC_AUTO + 1; way < CONV_NHWC_WAYS; way++) {
        if (conv_nhwc_can(&t->p, (conv_nhwc_way)way)) {
            ways[count++] = (conv_nhwc_way)way;
        }
    }
    for (int i = 0; i < WAYS_PER_CASE; i++) {
        conv_nhwc_way way = ways[spry_random_below(r, count)];
        int workers = (int)sample_integer(r, 1, 5);

        for (int v = 0; v < variants.count; v++) {
            if (brgemm_usable(&variants.list[v])) {
                run(t, variants.list[v].table, way, workers);
            }
        }
    }
}

/* Every variant that can. */
static void run_depthwise(trial *t, spry_random *r)
{
    depthwise_nhwc_variants all = depthwise_nhwc_variants_of(BRGEMM_S8);
    depthwise_nhwc_problem p = {t->p.shape, t->p.batch, t->p.filters, 1, BRGEMM_S8, t->size};
    int workers = (int)sample_integer(r, 1, 9);

    p.shape.channels = t->p.groups;
    for (int v = 0; v < all.count; v++) {
        const depthwise_nhwc_kernel *kernel = all.list[v].table;
        depthwise_nhwc d;

        if (!isa_usable(all.list[v].level) ||
            !depthwise_nhwc_can(kernel, &p, INT8_MIN - t->w_zero, INT8_MAX - t->w_zero)) {
            continue;
        }
        depthwise_nhwc_plan(&p, kernel, workers, &d);
        guarded_place(&t->packed, (size_t)d.packed_bytes, true);
        place_result(t);
        depthwise_nhwc_call call = {.d = &d,
                                    .x = t->x.data,
                                    .flip = t->flip,
                                    .zero = t->zero,
                                    .packed = t->packed.data,
                                    .y = t->y.data,
                                    .y_pitch = (int64_t)t->pitch,
                                    .finish = t->drawn.finish};

        depthwise_nhwc_pack(&d, t->weights, t->w_flip, t->w_zero, t->packed.data);
        for (int64_t piece = d.pieces; piece > 0; piece--) {
            depthwise_nhwc_run(&call, piece - 1, piece, 0);
        }
        check_result(t, kernel->name, "depthwise");
    }
}

static void init_trial(trial *t, spry_random *r)
{
    t->x = guarded_make(MOST_IN, true);
    t->packed = guarded_make(MOST_PACKED, true);
    t->y = guarded_make(MOST_OUT * 4 * 3, true);
    t->workspace = guarded_make(WORKSPACE, true);
    for (int i = 0; i < MOST_OUT; i++) {
        t->residual[i] = (float)(spry_random_u32(r) % 200) - 100.0f;
    }
}

static void fini_trial(trial *t)
{
    guarded_free(&t->x);
    guarded_free(&t->packed);
    guarded_free(&t->y);
    guarded_free(&t->workspace);
}

static void test_ways(void **state)
{
    static trial t;
    spry_random r = spry_random_stream(81, 0);
    int64_t cases = cases_of("convolutions of bytes, two ways of each on every variant");

    (void)state;
    init_trial(&t, &r);
    for (int64_t i = 0; i < cases; i++) {
        make_trial(&t, &r, false);
        run_ways(&t, &r);
    }
    for (int way = 0; way < CONV_NHWC_WAYS; way++) {
        print_message("  %-8s %lld runs\n", conv_nhwc_way_name((conv_nhwc_way)way),
                      (long long)t.runs[way]);
        assert_true(cases < 1000 || t.runs[way] > 0);
    }
    fini_trial(&t);
}

static void test_depthwise(void **state)
{
    static trial t;
    spry_random r = spry_random_stream(82, 0);
    int64_t cases = cases_of("depthwise convolutions of bytes, every variant");

    (void)state;
    init_trial(&t, &r);
    for (int64_t i = 0; i < cases; i++) {
        make_trial(&t, &r, true);
        run_depthwise(&t, &r);
    }
    fini_trial(&t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_ways),
                                       cmocka_unit_test(test_depthwise)};

    return cmocka_run_group_tests_name("kernels/conv_cases", tests, NULL, NULL);
}
