/* Derivatives of pooling, every variant against direct loops over random geometries. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "kernels/pool/pool_gradient.h"
#include "support/sample.h"

enum { MOST_SIDE = 9, MOST_OUT = MOST_SIDE + 4, MOST_CHANNELS = 70, CASES = 80 };

static float x[MOST_SIDE * MOST_SIDE * MOST_CHANNELS];
static float dy[MOST_OUT * MOST_OUT * MOST_CHANNELS];
static float dx[MOST_SIDE * MOST_SIDE * MOST_CHANNELS];
static double wanted[MOST_SIDE * MOST_SIDE * MOST_CHANNELS];

static void random_shape(spry_random *r, pool_gradient *p)
{
    *p = (pool_gradient){.in_h = sample_integer(r, 1, MOST_SIDE),
                         .in_w = sample_integer(r, 1, MOST_SIDE),
                         .kernel_h = sample_integer(r, 1, 4),
                         .kernel_w = sample_integer(r, 1, 4),
                         .stride_h = sample_integer(r, 1, 3),
                         .stride_w = sample_integer(r, 1, 3),
                         .pad_end_h = sample_integer(r, 0, 2),
                         .pad_end_w = sample_integer(r, 0, 2),
                         .pitch = sample_integer(r, 1, MOST_CHANNELS),
                         .counts_pads = sample_integer(r, 0, 1) != 0,
                         .x = x,
                         .dy = dy,
                         .dx = dx};
    p->channels = sample_integer(r, 1, p->pitch);
    p->pad_h = sample_integer(r, 0, p->kernel_h - 1);
    p->pad_w = sample_integer(r, 0, p->kernel_w - 1);
    p->out_h = (p->in_h + p->pad_h - 1) / p->stride_h + 1;
    p->out_w = (p->in_w + p->pad_w - 1) / p->stride_w + 1;
}

/* Window (i, j) of channel c. */
static void add_window(const pool_gradient *p, bool largest, int64_t i, int64_t j, int64_t c)
{
    double given = (double)dy[(i * p->out_w + j) * p->pitch + c];
    int64_t best = -1;
    int64_t counted = 0;

    for (int pass = 0; pass < 2; pass++) {
        for (int64_t k = 0; k < p->kernel_h * p->kernel_w; k++) {
            int64_t row = i * p->stride_h - p->pad_h + k / p->kernel_w;
            int64_t column = j * p->stride_w - p->pad_w + k % p->kernel_w;
            int64_t at = (row * p->in_w + column) * p->pitch + c;
            bool inside = row >= 0 && row < p->in_h && column >= 0 && column < p->in_w;

            if (pass == 0) {
                counted += p->counts_pads
                               ? row < p->in_h + p->pad_end_h && column < p->in_w + p->pad_end_w
                               : inside;
                best = inside && (best < 0 || x[at] > x[best]) ? at : best;
            } else if (inside && (!largest || at == best)) {
                wanted[at] += largest ? given : given / (double)counted;
            }
        }
    }
}

static void check(spry_random *r, const pool_gradient_kernel *kernel, bool largest)
{
    pool_gradient p;

    random_shape(r, &p);
    for (size_t i = 0; i < sizeof dx / sizeof *dx; i++) {
        dx[i] = 7.0f;
        wanted[i] = 0.0;
        x[i] = (float)sample_integer(r, -3, 3); /* many that are equal */
    }
    sample_f32(r, dy, sizeof dy / sizeof *dy);
    for (int64_t i = 0; i < p.out_h * p.out_w * p.channels; i++) {
        add_window(&p, largest, i / p.channels / p.out_w, i / p.channels % p.out_w, i % p.channels);
    }
    (largest ? kernel->largest : kernel->average)(&p);
    for (int64_t i = 0; i < p.in_h * p.in_w * p.pitch; i++) {
        if (i % p.pitch < p.channels) {
            assert_true(fabs((double)dx[i] - wanted[i]) < 2e-5);
        } else {
            assert_true(dx[i] == 7.0f);
        }
    }
}

static void each_variant(bool largest)
{
    for (int v = 0; v < pool_gradient_variant_count; v++) {
        spry_random r = spry_random_stream(8, 0);

        for (int i = 0; i < CASES && isa_usable(pool_gradient_variants[v].level); i++) {
            check(&r, pool_gradient_variants[v].table, largest);
        }
    }
}

static void test_largest(void **state)
{
    (void)state;
    each_variant(true);
}

static void test_average(void **state)
{
    (void)state;
    each_variant(false);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_largest),
                                       cmocka_unit_test(test_average)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
