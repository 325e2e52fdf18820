/* Convolutions and products by permuted lanes, against seven loops. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "kernels/sparse/sparse_lanes.h"
#include "support/guarded.h"
#include "support/sample.h"

enum { CASES = 40, LINE = 64, MOST_WORKERS = 3 };

typedef struct problem {
    sparse_lanes_problem p;
    guarded x;      /* ends where memory ends */
    float *weights; /* [filters][channels][kernel_h][kernel_w] */
    float *bias, *residual, *y;
    brgemm_finish finish;
    int64_t outputs;
} problem;

static float *room(int64_t floats)
{
    float *memory = aligned_alloc(LINE, (size_t)(floats * 4 + LINE) / LINE * LINE);

    assert_non_null(memory);
    return memory;
}

static void pick_shape(spry_random *r, sparse_lanes_problem *p)
{
    conv_f32_shape *s = &p->shape;

    *s = (conv_f32_shape){.channels = SPARSE_LANES + sample_integer(r, 0, 40),
                          .in_h = sample_positive_size(r, 20),
                          .in_w = sample_positive_size(r, 40),
                          .kernel_h = sample_integer(r, 1, 3),
                          .kernel_w = sample_integer(r, 1, 3),
                          .stride_h = sample_integer(r, 1, 3),
                          .stride_w = sample_integer(r, 1, 2),
                          .dilation_h = sample_integer(r, 1, 2),
                          .dilation_w = sample_integer(r, 1, 2)};
    s->pad_h = sample_integer(r, 0, 2);
    s->pad_w = sample_integer(r, 0, 2);
    s->out_h = (s->in_h + 2 * s->pad_h - (s->kernel_h - 1) * s->dilation_h - 1) / s->stride_h + 1;
    s->out_w = (s->in_w + 2 * s->pad_w - (s->kernel_w - 1) * s->dilation_w - 1) / s->stride_w + 1;
    if (sample_integer(r, 0, 3) == 0 || s->in_h < 5 || s->in_w < 5) { /* a line of pixels */
        *s = (conv_f32_shape){.channels = s->channels,
                              .in_h = 1,
                              .in_w = sample_integer(r, 8, 250),
                              .out_h = 1,
                              .kernel_h = 1,
                              .kernel_w = 1,
                              .stride_h = 1,
                              .stride_w = 1,
                              .dilation_h = 1,
                              .dilation_w = 1};
        s->out_w = s->in_w;
    }
    p->batch = sample_integer(r, 1, 3);
    p->filters = sample_positive_size(r, 70);
}

static sparse_source source_of(const problem *o)
{
    const conv_f32_shape *s = &o->p.shape;
    int64_t k = s->channels * s->kernel_h * s->kernel_w;

    return (sparse_source){o->weights, o->p.filters, k, k, 1};
}

static problem make_problem(spry_random *r)
{
    static const double densities[] = {0.0, 0.05, 0.25, 1.0};
    problem o = {.finish = {.lower = -INFINITY, .upper = INFINITY}};
    const conv_f32_shape *s = &o.p.shape;
    int64_t inputs;
    int64_t weights;
    double density = densities[sample_integer(r, 0, 3)];
    sparse_source source;

    pick_shape(r, &o.p);
    inputs = o.p.batch * s->in_h * s->in_w * s->channels;
    o.outputs = o.p.batch * s->out_h * s->out_w * o.p.filters;
    weights = o.p.filters * s->channels * s->kernel_h * s->kernel_w;
    o.x = guarded_make((size_t)inputs * 4, true);
    o.weights = room(weights);
    o.bias = room(o.p.filters);
    o.residual = room(o.outputs);
    o.y = room(o.outputs);
    sample_f32(r, (float *)(void *)o.x.data, (size_t)inputs);
    sample_f32(r, o.weights, (size_t)weights);
    sample_f32(r, o.bias, (size_t)o.p.filters);
    sample_f32(r, o.residual, (size_t)o.outputs);
    for (int64_t i = 0; i < weights; i++) {
        o.weights[i] = spry_random_f64(r) < density ? o.weights[i] : 0.0f;
    }
    o.finish.bias = sample_integer(r, 0, 1) ? o.bias : NULL;
    o.finish.lower = sample_integer(r, 0, 1) ? 0.0f : -INFINITY;
    source = source_of(&o);
    o.p.slots = sparse_lanes_count(&source, s->kernel_h * s->kernel_w);
    return o;
}

static void free_problem(problem *o)
{
    guarded_free(&o->x);
    free(o->weights);
    free(o->bias);
    free(o->residual);
    free(o->y);
}

/* One sum, in double precision. */
static double expect(const problem *o, int64_t image, int64_t oy, int64_t ox, int64_t filter,
                     double *size)
{
    const conv_f32_shape *s = &o->p.shape;
    const float *x = (const float *)(const void *)o->x.data;
    double sum = 0.0;

    *size = 1.0;
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

static void check_result(const problem *o, bool adds)
{
    const conv_f32_shape *s = &o->p.shape;
    int64_t at = 0;

    for (int64_t row = 0; row < o->p.batch * s->out_h; row++) {
        for (int64_t ox = 0; ox < s->out_w; ox++) {
            for (int64_t f = 0; f < o->p.filters; f++, at++) {
                double size;
                double v = expect(o, row / s->out_h, row % s->out_h, ox, f, &size);

                v += o->finish.bias != NULL ? (double)o->bias[f] : 0.0;
                v += adds ? (double)o->residual[at] : 0.0;
                v = fmax(v, (double)o->finish.lower);
                if (!(fabs((double)o->y[at] - v) <= 1e-5 * (size + fabs(v)))) {
                    fail_msg("row %d, pixel %d, filter %d: %g, expected %g", (int)row, (int)ox,
                             (int)f, (double)o->y[at], v);
                }
            }
        }
    }
}

/* As so many workers cut it, one after the other. */
static void run(const problem *o, const sparse_lanes_kernel *kernel, int workers, bool adds,
                float *y)
{
    sparse_source source = source_of(o);
    sparse_lanes_conv c;
    char *packed;
    char *space;

    sparse_lanes_plan(&o->p, kernel, workers, &c);
    packed = (char *)room(c.packed_bytes / 4);
    space = (char *)room(c.worker_bytes / 4 + 1);
    sparse_lanes_pack(&c, &source, packed);
    sparse_lanes_call call = {.c = &c,
                              .x = (const float *)(const void *)o->x.data,
                              .packed = packed,
                              .y = y,
                              .finish = o->finish,
                              .workspace = space};

    call.finish.residual = adds ? o->residual : NULL;
    sparse_lanes_run(&call, 0, c.pieces, 0);
    free(packed);
    free(space);
}

static void is_the_convolution(void **state)
{
    spry_random r = spry_random_stream(61, 0);

    (void)state;
    for (int i = 0; i < CASES; i++) {
        problem o = make_problem(&r);
        bool adds = sample_integer(&r, 0, 1);

        for (int v = 0; v < sparse_lanes_variant_count && sparse_lanes_can(&o.p.shape); v++) {
            const isa_variant *variant = &sparse_lanes_variants[v];

            if (isa_usable(variant->level)) {
                float *again = room(o.outputs);

                run(&o, variant->table, 1, adds, o.y);
                check_result(&o, adds);
                run(&o, variant->table, MOST_WORKERS, adds, again);
                assert_memory_equal(o.y, again, (size_t)o.outputs * sizeof *again);
                free(again);
            }
        }
        free_problem(&o);
    }
}

/* Activations that are functions are given finished sums. */
static void negate(float *to, const float *from, int64_t n)
{
    for (int64_t i = 0; i < n; i++) {
        to[i] = -from[i];
    }
}

static void activates(void **state)
{
    spry_random r = spry_random_stream(62, 0);
    problem o = make_problem(&r);
    float *plain = room(o.outputs);

    (void)state;
    while (!sparse_lanes_can(&o.p.shape)) {
        free_problem(&o);
        free(plain);
        o = make_problem(&r);
        plain = room(o.outputs);
    }
    o.finish.lower = -INFINITY;
    for (int v = 0; v < sparse_lanes_variant_count; v++) {
        const isa_variant *variant = &sparse_lanes_variants[v];

        if (isa_usable(variant->level)) {
            o.finish.activate = NULL;
            run(&o, variant->table, 1, true, plain);
            o.finish.activate = negate;
            run(&o, variant->table, 1, true, o.y);
            for (int64_t i = 0; i < o.outputs; i++) {
                assert_true(o.y[i] == -plain[i]);
            }
        }
    }
    free(plain);
    free_problem(&o);
}

/* Two filters of 20 channels: the first keeps channels 0 and 19, the second 1 and 2. The windows
 * begin at 0 and 4; the first needs two slots, for the second filter, the second one. */
static void counts_slots(void **state)
{
    float weights[2][20] = {{0}};
    sparse_source source = {weights, 2, 20, 20, 1};

    (void)state;
    assert_int_equal(sparse_lanes_count(&source, 1), 0);
    weights[0][0] = 1.0f;
    weights[0][19] = 2.0f;
    weights[1][1] = 3.0f;
    weights[1][2] = 4.0f;
    assert_int_equal(sparse_lanes_count(&source, 1), 3);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(is_the_convolution),
        cmocka_unit_test(activates),
        cmocka_unit_test(counts_slots),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
