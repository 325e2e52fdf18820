/* Packing panel by panel gives what packing all at once gives, on every way and for both types. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "kernels/conv/conv_nhwc.h"
#include "support/sample.h"

enum { CASES = 150, MOST_PLACES = 150 };

static void random_problem(spry_random *r, brgemm_type type, conv_nhwc_problem *p)
{
    *p = (conv_nhwc_problem){.shape = {.channels = sample_integer(r, 1, 40),
                                       .in_h = 14,
                                       .in_w = 17,
                                       .kernel_h = sample_integer(r, 1, 4),
                                       .kernel_w = sample_integer(r, 1, 12),
                                       .stride_h = sample_integer(r, 1, 2),
                                       .dilation_h = 1,
                                       .dilation_w = 1},
                             .batch = 1,
                             .groups = sample_integer(r, 1, 2),
                             .filters = sample_integer(r, 1, 70),
                             .type = type,
                             .result_size = sizeof(float)};
    p->shape.stride_w = p->shape.stride_h;
    p->shape.out_h = (p->shape.in_h - p->shape.kernel_h) / p->shape.stride_h + 1;
    p->shape.out_w = (p->shape.in_w - p->shape.kernel_w) / p->shape.stride_w + 1;
}

/* The same weights in another order: filters and channels exchanged, places in reverse. */
static void exchange(const conv_nhwc_problem *p, const float *from, float *to, int64_t *places)
{
    int64_t count = p->shape.kernel_h * p->shape.kernel_w;

    for (int64_t i = 0; i < count; i++) {
        places[i] = count - 1 - i;
    }
    for (int64_t i = 0; i < p->groups * p->filters * p->shape.channels * count; i++) {
        int64_t place = i % count;
        int64_t channel = i / count % p->shape.channels;
        int64_t filter = i / count / p->shape.channels % p->filters;
        int64_t group = i / count / p->shape.channels / p->filters;

        to[((group * p->shape.channels + channel) * p->filters + filter) * count + places[place]] =
            from[i];
    }
}

static void check_plan(const conv_nhwc *plan, const float *weights)
{
    const conv_nhwc_problem *p = &plan->problem;
    int64_t count = p->shape.kernel_h * p->shape.kernel_w;
    int64_t all = p->groups * p->filters * p->shape.channels * count;
    int64_t places[MOST_PLACES];
    size_t bytes = (size_t)plan->packed_bytes;
    char *wanted = malloc(bytes);
    char *got = malloc(bytes);
    float *turned = malloc((size_t)all * sizeof *turned);
    conv_nhwc_packing packing = {.c = plan,
                                 .pairs = bf16_select(),
                                 .weights = {.data = weights,
                                             .group_stride = p->filters * p->shape.channels * count,
                                             .filter_stride = p->shape.channels * count,
                                             .channel_stride = count,
                                             .place_count = count},
                                 .packed = got};

    assert_true(wanted != NULL && got != NULL && turned != NULL);
    memset(got, 0xA5, bytes);
    conv_nhwc_pack(plan, weights, 0, wanted);
    for (int64_t i = conv_nhwc_panels(plan); i > 0; i--) {
        conv_nhwc_pack_panels(&packing, i - 1, i, 0);
    }
    assert_memory_equal(got, wanted, bytes);
    memset(got, 0xA5, bytes);
    exchange(p, weights, turned, places);
    packing.weights = (conv_nhwc_weights){.data = turned,
                                          .group_stride = p->filters * p->shape.channels * count,
                                          .filter_stride = count,
                                          .channel_stride = p->filters * count,
                                          .place_count = count,
                                          .places = places};
    conv_nhwc_pack_panels(&packing, 0, conv_nhwc_panels(plan), 0);
    assert_memory_equal(got, wanted, bytes);
    free(wanted);
    free(got);
    free(turned);
}

static void check(spry_random *r, brgemm_type type)
{
    conv_nhwc_problem p;
    int64_t count;
    float *weights;

    random_problem(r, type, &p);
    count = p.groups * p.filters * p.shape.channels * p.shape.kernel_h * p.shape.kernel_w;
    weights = malloc((size_t)count * sizeof *weights);
    assert_non_null(weights);
    sample_f32(r, weights, (size_t)count);
    for (int way = CONV_NHWC_ROW; way < CONV_NHWC_WAYS; way++) {
        conv_nhwc plan;

        if (conv_nhwc_can(&p, (conv_nhwc_way)way)) {
            conv_nhwc_plan(&p, brgemm_select(type), (conv_nhwc_way)way, 2, &plan);
            check_plan(&plan, weights);
        }
    }
    free(weights);
}

static void test_same_bytes(void **state)
{
    static const brgemm_type types[] = {BRGEMM_F32, BRGEMM_BF16};

    (void)state;
    for (size_t t = 0; t < sizeof types / sizeof *types; t++) {
        spry_random r = spry_random_stream(31, t);

        for (int i = 0; i < CASES; i++) {
            check(&r, types[t]);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_same_bytes)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
