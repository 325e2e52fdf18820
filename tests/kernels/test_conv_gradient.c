/* The weights' derivative of convolutions against direct sums in double precision, over random
 * geometries and every tile; the same bits whatever the order and owner of the pieces. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "kernels/conv/conv_gradient.h"
#include "support/sample.h"

enum { CASES = 60, WORKERS = 3 };

typedef struct problem {
    conv_gradient_problem p;
    float *x, *dy, *dw, *again;
    double *wanted, *size; /* sums, and of absolute values */
    int64_t x_count, dy_count, dw_count;
} problem;

static float rounded(outer_type type, float x)
{
    uint32_t bits;

    memcpy(&bits, &x, sizeof bits);
    if (type == OUTER_BF16) {
        bits = (bits + 0x7FFF + (bits >> 16 & 1)) & 0xFFFF0000u;
    }
    memcpy(&x, &bits, sizeof bits);
    return x;
}

static void *allocate(int64_t count, size_t size)
{
    void *memory = calloc((size_t)count + 1, size);

    assert_non_null(memory);
    return memory;
}

static void random_shape(spry_random *r, conv_gradient_problem *p)
{
    conv_f32_shape *s = &p->shape;
    bool is_large = sample_integer(r, 0, 5) == 0;

    p->batch = sample_integer(r, 1, 3);
    p->groups = sample_integer(r, 0, 3) == 0 ? sample_integer(r, 2, 3) : 1;
    p->filters = sample_integer(r, 1, is_large ? 40 : 17);
    *s = (conv_f32_shape){.channels = sample_integer(r, 1, is_large ? 70 : 18),
                          .kernel_h = sample_integer(r, 1, 4),
                          .kernel_w = sample_integer(r, 1, 4),
                          .stride_h = sample_integer(r, 1, 3),
                          .stride_w = sample_integer(r, 1, 3),
                          .dilation_h = sample_integer(r, 1, 2),
                          .dilation_w = sample_integer(r, 1, 2)};
    if (sample_integer(r, 0, 3) == 0) {
        s->kernel_w = s->stride_w = 1;
    }
    s->pad_h = sample_integer(r, 0, 2);
    s->pad_w = s->kernel_w == 1 ? 0 : sample_integer(r, 0, 2);
    s->in_h = (s->kernel_h - 1) * s->dilation_h + sample_integer(r, 1, 9);
    s->in_w = (s->kernel_w - 1) * s->dilation_w + sample_integer(r, 1, 20);
    s->out_h = (s->in_h + 2 * s->pad_h - (s->kernel_h - 1) * s->dilation_h - 1) / s->stride_h + 1;
    s->out_w = (s->in_w + 2 * s->pad_w - (s->kernel_w - 1) * s->dilation_w - 1) / s->stride_w + 1;
}

static void add_pixel(problem *q, outer_type type, int64_t image, int64_t i, int64_t j)
{
    const conv_f32_shape *s = &q->p.shape;
    int64_t filters = q->p.groups * q->p.filters;
    int64_t channels = q->p.groups * s->channels;
    const float *dy = q->dy + ((image * s->out_h + i) * s->out_w + j) * filters;

    for (int64_t k = 0; k < s->kernel_h * s->kernel_w; k++) {
        int64_t row = i * s->stride_h - s->pad_h + k / s->kernel_w * s->dilation_h;
        int64_t column = j * s->stride_w - s->pad_w + k % s->kernel_w * s->dilation_w;
        const float *x = q->x + ((image * s->in_h + row) * s->in_w + column) * channels;

        if (row < 0 || row >= s->in_h || column < 0 || column >= s->in_w) {
            continue;
        }
        for (int64_t m = 0; m < filters; m++) {
            for (int64_t c = 0; c < s->channels; c++) {
                double product = (double)rounded(type, dy[m]) *
                                 (double)rounded(type, x[m / q->p.filters * s->channels + c]);
                int64_t at = (m * s->channels + c) * s->kernel_h * s->kernel_w + k;

                q->wanted[at] += product;
                q->size[at] += fabs(product);
            }
        }
    }
}

static void make(problem *q, spry_random *r, outer_type type)
{
    const conv_f32_shape *s = &q->p.shape;

    random_shape(r, &q->p);
    q->x_count = q->p.batch * s->in_h * s->in_w * q->p.groups * s->channels;
    q->dy_count = q->p.batch * s->out_h * s->out_w * q->p.groups * q->p.filters;
    q->dw_count = q->p.groups * q->p.filters * s->channels * s->kernel_h * s->kernel_w;
    q->x = allocate(q->x_count, sizeof(float));
    q->dy = allocate(q->dy_count, sizeof(float));
    q->dw = allocate(q->dw_count, sizeof(float));
    q->again = allocate(q->dw_count, sizeof(float));
    q->wanted = allocate(q->dw_count, sizeof(double));
    q->size = allocate(q->dw_count, sizeof(double));
    sample_f32(r, q->x, (size_t)q->x_count);
    sample_f32(r, q->dy, (size_t)q->dy_count);
    for (int64_t i = 0; i < q->p.batch * s->out_h * s->out_w; i++) {
        add_pixel(q, type, i / s->out_w / s->out_h, i / s->out_w % s->out_h, i % s->out_w);
    }
}

static void release(problem *q)
{
    free(q->x);
    free(q->dy);
    free(q->dw);
    free(q->again);
    free(q->wanted);
    free(q->size);
}

static void run(const problem *q, const outer_kernel *kernel, bool backwards, float *dw)
{
    conv_gradient plan;
    conv_gradient_call call = {.c = &plan, .x = q->x, .dy = q->dy, .dw = dw};
    int64_t rows = q->p.groups * q->p.filters;

    conv_gradient_plan(&q->p, kernel, &plan);
    call.workspace = aligned_alloc(
        64, (size_t)(plan.shared_bytes + WORKERS * plan.worker_bytes + 63) / 64 * 64 + 64);
    assert_non_null(call.workspace);
    memset(call.workspace, 0xA5, (size_t)(plan.shared_bytes + WORKERS * plan.worker_bytes));
    for (int64_t i = 0; i < plan.pieces; i++) {
        int64_t piece = backwards ? plan.pieces - 1 - i : i;

        conv_gradient_run(&call, piece, piece + 1, backwards ? (int)(i % WORKERS) : 0);
    }
    conv_gradient_finish(&call, 0, rows / 2, backwards ? 2 : 0);
    conv_gradient_finish(&call, rows / 2, rows, 0);
    free(call.workspace);
}

static void check(spry_random *r, const outer_kernel *kernel)
{
    problem q = {.x = NULL};

    make(&q, r, kernel->type);
    run(&q, kernel, false, q.dw);
    run(&q, kernel, true, q.again);
    assert_memory_equal(q.dw, q.again, (size_t)q.dw_count * sizeof *q.dw);
    for (int64_t i = 0; i < q.dw_count; i++) {
        if (!(fabs((double)q.dw[i] - q.wanted[i]) <= 3e-6 * q.size[i] + 1e-30)) {
            fail_msg("%s: weight %lld is %g, wanted %g", kernel->name, (long long)i,
                     (double)q.dw[i], q.wanted[i]);
        }
    }
    release(&q);
}

static void test_random(void **state)
{
    (void)state;
    for (int type = OUTER_F32; type <= OUTER_BF16; type++) {
        outer_variants variants = outer_variants_of((outer_type)type);

        for (int v = 0; v < variants.count; v++) {
            spry_random r = spry_random_stream(5, (uint64_t)type);

            for (int i = 0; i < CASES && outer_usable(&variants.list[v]); i++) {
                check(&r, variants.list[v].table);
            }
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_random)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
