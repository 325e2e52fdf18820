/* Convolutions and products that skip zeros, of weights or of both sides, against seven loops. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "kernels/sparse/sparse_both.h"
#include "kernels/sparse/sparse_conv.h"
#include "support/guarded.h"
#include "support/sample.h"

enum { CASES = 25, LINE = 64 };

typedef struct problem {
    conv_f32_shape s;
    int64_t batch, filters;
    guarded x;
    float *weights; /* [filters][channels][kernel_h][kernel_w] */
    float *bias, *residual;
    brgemm_finish finish;
    double *expected, *size; /* [pixels][filters] */
} problem;

static const double densities[] = {0.0, 0.02, 0.1, 0.5, 1.0};

static float *room(int64_t floats)
{
    float *memory = aligned_alloc(LINE, (size_t)(floats * 4 + LINE) / LINE * LINE);

    assert_non_null(memory);
    return memory;
}

static void thin_out(spry_random *r, float *x, int64_t count, double density)
{
    sample_f32(r, x, (size_t)count);
    for (int64_t i = 0; i < count; i++) {
        x[i] = spry_random_f64(r) < density ? x[i] : 0.0f;
    }
}

static void pick_shape(spry_random *r, problem *o, bool plain)
{
    conv_f32_shape *s = &o->s;

    *s = (conv_f32_shape){.channels = sample_positive_size(r, 70),
                          .in_h = sample_positive_size(r, 20),
                          .in_w = sample_positive_size(r, 40),
                          .kernel_h = sample_integer(r, 1, 3),
                          .kernel_w = sample_integer(r, 1, 3),
                          .stride_h = plain ? 1 : sample_integer(r, 1, 3),
                          .stride_w = plain ? 1 : sample_integer(r, 1, 3),
                          .dilation_h = plain ? 1 : sample_integer(r, 1, 2),
                          .dilation_w = plain ? 1 : sample_integer(r, 1, 2)};
    s->pad_h = sample_integer(r, 0, s->kernel_h - 1);
    s->pad_w = sample_integer(r, 0, s->kernel_w - 1);
    s->out_h = (s->in_h + 2 * s->pad_h - (s->kernel_h - 1) * s->dilation_h - 1) / s->stride_h + 1;
    s->out_w = (s->in_w + 2 * s->pad_w - (s->kernel_w - 1) * s->dilation_w - 1) / s->stride_w + 1;
    if (s->out_h < 1 || s->out_w < 1 || s->in_h < s->kernel_h * 2 || s->in_w < s->kernel_w * 2) {
        s->in_h = s->in_w = s->out_h = s->out_w = 8; /* one by one */
        s->kernel_h = s->kernel_w = s->stride_h = s->stride_w = 1;
        s->pad_h = s->pad_w = 0;
    }
    o->batch = sample_integer(r, 1, 3);
    o->filters = sample_positive_size(r, 150);
}

/* One output, in double precision. */
static double expect(const problem *o, int64_t image, int64_t oy, int64_t ox, int64_t filter,
                     double *size)
{
    const conv_f32_shape *s = &o->s;
    const float *x = (const float *)(const void *)o->x.data;
    double sum = 0.0;

    *size = 0.0;
    for (int64_t ky = 0; ky < s->kernel_h; ky++) {
        for (int64_t kx = 0; kx < s->kernel_w; kx++) {
            int64_t iy = oy * s->stride_h + ky * s->dilation_h - s->pad_h;
            int64_t ix = ox * s->stride_w + kx * s->dilation_w - s->pad_w;

            for (int64_t c = 0;
                 iy >= 0 && iy < s->in_h && ix >= 0 && ix < s->in_w && c < s->channels; c++) {
                int64_t w = ((filter * s->channels + c) * s->kernel_h + ky) * s->kernel_w + kx;
                double p = (double)x[((image * s->in_h + iy) * s->in_w + ix) * s->channels + c] *
                           (double)o->weights[w];

                sum += p;
                *size += fabs(p);
            }
        }
    }
    return sum;
}

static void compute(problem *o)
{
    int64_t at = 0;

    for (int64_t image = 0; image < o->batch; image++) {
        for (int64_t oy = 0; oy < o->s.out_h; oy++) {
            for (int64_t ox = 0; ox < o->s.out_w; ox++) {
                for (int64_t f = 0; f < o->filters; f++, at++) {
                    double v = expect(o, image, oy, ox, f, &o->size[at]);

                    v += o->finish.bias != NULL ? (double)o->bias[f] : 0.0;
                    v += o->finish.residual != NULL ? (double)o->residual[at] : 0.0;
                    o->size[at] += fabs(v) + 1.0;
                    o->expected[at] = fmax(v, (double)o->finish.lower);
                }
            }
        }
    }
}

static problem make_problem(spry_random *r, bool plain)
{
    problem o = {.finish = {.upper = INFINITY}};
    int64_t inputs;
    int64_t outputs;
    int64_t weights;

    pick_shape(r, &o, plain);
    inputs = o.batch * o.s.in_h * o.s.in_w * o.s.channels;
    outputs = o.batch * o.s.out_h * o.s.out_w * o.filters;
    weights = o.filters * o.s.channels * o.s.kernel_h * o.s.kernel_w;
    o.x = guarded_make((size_t)inputs * 4, true);
    o.weights = room(weights);
    o.bias = room(o.filters);
    o.residual = room(outputs);
    o.expected = malloc((size_t)outputs * sizeof(double));
    o.size = malloc((size_t)outputs * sizeof(double));
    thin_out(r, (float *)(void *)o.x.data, inputs, densities[sample_integer(r, 0, 4)]);
    thin_out(r, o.weights, weights, densities[sample_integer(r, 0, 4)]);
    sample_f32(r, o.bias, (size_t)o.filters);
    sample_f32(r, o.residual, (size_t)outputs);
    o.finish.lower = sample_integer(r, 0, 1) != 0 ? 0.0f : -INFINITY;
    o.finish.bias = sample_integer(r, 0, 1) != 0 ? o.bias : NULL;
    o.finish.residual = sample_integer(r, 0, 1) != 0 ? o.residual : NULL;
    compute(&o);
    return o;
}

static void free_problem(problem *o)
{
    guarded_free(&o->x);
    free(o->weights);
    free(o->bias);
    free(o->residual);
    free(o->expected);
    free(o->size);
}

static void compare(const problem *o, const float *y, double tolerance)
{
    int64_t outputs = o->batch * o->s.out_h * o->s.out_w * o->filters;

    for (int64_t i = 0; i < outputs; i++) {
        assert_true(fabs((double)y[i] - o->expected[i]) <= tolerance * o->size[i]);
    }
}

/* Runs pieces backwards and one at a time: they do not depend on each other. */
static void run_pieces(void (*run)(void *, int64_t, int64_t, int), void *call, int64_t pieces)
{
    for (int64_t i = pieces - 1; i >= 0; i--) {
        run(call, i, i + 1, 0);
    }
}

static sparse_source source_of(const problem *o)
{
    int64_t k = o->s.channels * o->s.kernel_h * o->s.kernel_w;

    return (sparse_source){o->weights, o->filters, k, k, 1};
}

static void check_weights(spry_random *r, const sparse_kernel *kernel)
{
    problem o = make_problem(r, sample_integer(r, 0, 2) == 0);
    sparse_source source = source_of(&o);
    int64_t places = o.s.kernel_h * o.s.kernel_w;
    sparse_facts facts = sparse_facts_of(&source, kernel->group, kernel->type, places);
    sparse_conv_problem p = {o.s, o.batch, o.filters, kernel->type};
    int64_t outputs = o.batch * o.s.out_h * o.s.out_w * o.filters;
    sparse_conv c;
    float *y = room(outputs);
    void *packed;
    guarded workspace;
    sparse_conv_call call;

    sparse_conv_plan(&p, kernel, &facts, &c);
    assert_true(facts.entries <= facts.numbers && facts.numbers <= facts.entries * kernel->group);
    assert_true(c.predicted_cost > 0.0);
    packed = room(c.packed_bytes / 4);
    sparse_conv_pack(&c, &source, packed);
    workspace = guarded_make((size_t)c.worker_bytes, true);
    call = (sparse_conv_call){.c = &c,
                              .x = (const float *)(const void *)o.x.data,
                              .packed = packed,
                              .y = y,
                              .finish = o.finish,
                              .workspace = workspace.data};
    run_pieces(sparse_conv_run, &call, c.pieces);
    compare(&o, y, kernel->type == BRGEMM_F32 ? 3e-6 : 1e-2);
    guarded_free(&workspace);
    free(packed);
    free(y);
    free_problem(&o);
}

static void *pack_panels(const problem *o, const sparse_kernel *kernel)
{
    const brgemm_kernel panels = {.type = BRGEMM_F32, .nr = kernel->panel, .group = 1};
    int64_t taps = o->s.kernel_h * o->s.kernel_w;
    brgemm_source source = {.data = o->weights,
                            .tap_stride = 1,
                            .k_stride = taps,
                            .column_stride = o->s.channels * taps};
    void *packed = room(brgemm_packed_size(&panels, taps, o->s.channels, o->filters) / 4);

    brgemm_pack(&panels, &source, taps, o->s.channels, o->filters, packed);
    return packed;
}

/* Some channels have no weights at all, for some filters. */
static void cut_panels(spry_random *r, problem *o)
{
    int64_t k = o->s.channels * o->s.kernel_h * o->s.kernel_w;

    for (int64_t i = 0; i < k; i++) {
        int64_t first = sample_integer(r, 0, o->filters);

        for (int64_t f = first; f < o->filters && i % 3 != 0; f++) {
            o->weights[f * k + i] = 0.0f;
        }
    }
    compute(o);
}

static void check_both(spry_random *r, const sparse_kernel *kernel)
{
    problem o = make_problem(r, true);
    sparse_both_problem p = {o.s, o.batch, o.filters};
    int64_t outputs = o.batch * o.s.out_h * o.s.out_w * o.filters;
    sparse_both b;
    float *y = room(outputs);
    int64_t entries = 0;
    uint16_t *masks;
    double kept;
    guarded workspace;
    sparse_both_call call;

    cut_panels(r, &o);
    assert_true(sparse_both_can(&p, kernel, kernel->panel));
    sparse_both_plan(&p, kernel, (int)sample_integer(r, 1, 3), &b);
    masks = (uint16_t *)(void *)room(b.mask_bytes / 4 + 1);
    call = (sparse_both_call){.b = &b,
                              .x = (const float *)(const void *)o.x.data,
                              .packed = pack_panels(&o, kernel),
                              .masks = sample_integer(r, 0, 2) > 0 ? masks : NULL,
                              .density = densities[sample_integer(r, 0, 4)],
                              .kept = 1.0,
                              .y = y,
                              .finish = o.finish,
                              .entries = &entries};
    kept = sparse_both_masks(&b, call.packed, masks);
    assert_true(kept >= 0.0 && kept <= 1.0);
    workspace = guarded_make((size_t)b.worker_bytes, true);
    call.workspace = workspace.data;
    run_pieces(sparse_both_run, &call, b.pieces);
    compare(&o, y, 3e-6);
    guarded_free(&workspace);
    free((void *)(uintptr_t)call.packed);
    free(masks);
    free(y);
    free_problem(&o);
}

static void test_convolutions(void **state)
{
    brgemm_variants variants = sparse_variants_of(BRGEMM_F32);

    (void)state;
    for (int v = 0; v < variants.count; v++) {
        spry_random r = spry_random_stream(31, 0);

        for (int i = 0; i < CASES && sparse_usable(&variants.list[v]); i++) {
            check_weights(&r, variants.list[v].table);
            check_both(&r, variants.list[v].table);
        }
    }
}

static void test_bf16(void **state)
{
    brgemm_variants variants = sparse_variants_of(BRGEMM_BF16);

    (void)state;
    for (int v = 0; v < variants.count; v++) {
        spry_random r = spry_random_stream(33, 0);

        for (int i = 0; i < CASES && sparse_usable(&variants.list[v]); i++) {
            check_weights(&r, variants.list[v].table);
        }
    }
}

/* As many numbers are multiplied as are not zero on both sides, and no more. */
static void test_counts(void **state)
{
    enum { M = 70, K = 96, N = 200 };
    const sparse_kernel *kernel = sparse_select(BRGEMM_F32);
    spry_random r = spry_random_stream(32, 0);
    problem o = {.s = {.channels = K,
                       .in_h = 1,
                       .in_w = M,
                       .out_h = 1,
                       .out_w = M,
                       .kernel_h = 1,
                       .kernel_w = 1,
                       .stride_h = 1,
                       .stride_w = 1,
                       .dilation_h = 1,
                       .dilation_w = 1},
                 .batch = 1,
                 .filters = N,
                 .weights = room(N * K)};
    sparse_both_problem p = {o.s, 1, N};
    sparse_source source = source_of(&o);
    float *x = room(M * K);
    float *y = room(M * N);
    int64_t entries = 0;
    int64_t expected = 0;
    sparse_facts facts;
    sparse_both b;
    uint16_t *masks;
    sparse_both_call call;

    (void)state;
    thin_out(&r, x, M * K, 0.4);
    thin_out(&r, o.weights, N * K, 1.0);
    for (int64_t i = 0; i < N * K; i++) { /* half of the channels, in panels */
        o.weights[i] = (i / K / kernel->columns + i % K) % 2 == 0 ? o.weights[i] + 0.5f : 0.0f;
    }
    sparse_both_plan(&p, kernel, 1, &b);
    masks = (uint16_t *)(void *)room(b.mask_bytes / 4 + 1);
    call = (sparse_both_call){.b = &b,
                              .x = x,
                              .packed = pack_panels(&o, kernel),
                              .masks = masks,
                              .density = 0.4,
                              .kept = 0.5,
                              .y = y,
                              .finish = {.lower = -INFINITY, .upper = INFINITY},
                              .entries = &entries};
    assert_true(fabs(sparse_both_masks(&b, call.packed, masks) - 0.5) < 1e-9);
    call.workspace = room(b.worker_bytes / 4);
    run_pieces(sparse_both_run, &call, b.pieces);
    for (int64_t tile = 0; tile < b.tiles; tile++) {
        for (int64_t i = 0; i < M * K; i++) {
            expected += x[i] != 0.0f && (tile + i % K) % 2 == 0;
        }
    }
    assert_int_equal(entries, expected);
    facts = sparse_facts_of(&source, 1, BRGEMM_F32, 1);
    assert_true(facts.numbers > N * K * 2 / 5 && facts.numbers <= N * K / 2);
    assert_int_equal(facts.infinite, 0);
    assert_true(fabs(sparse_density(x, M, K) - 0.4) < 0.06);
    free(call.workspace);
    free((void *)(uintptr_t)call.packed);
    free(masks);
    free(x);
    free(y);
    free(o.weights);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_convolutions),
                                       cmocka_unit_test(test_bf16), cmocka_unit_test(test_counts)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
