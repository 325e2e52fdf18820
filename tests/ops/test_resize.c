/* Resize and its relatives against formulas applied pixel by pixel. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "support/op_harness.h"
#include "tensor/convert.h"

enum { ROUNDS = 60 };

static uint64_t state = 3;

static int64_t pick(int64_t below)
{
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return (int64_t)(state % (uint64_t)below);
}

static void fill(tensor *t)
{
    for (int64_t i = 0; i < tensor_count(t); i++) {
        double number = (double)(pick(2001) - 1000) / 100;

        convert_write_f64(t, i, 1, &number);
    }
}

static int64_t clamp(int64_t at, int64_t size)
{
    return at < 0 ? 0 : at >= size ? size - 1 : at;
}

static void test_sizes(void **unused)
{
    static const char *const grids[] = {"half_pixel", "asymmetric", "align_corners"};

    (void)unused;
    for (int round = 0; round < ROUNDS; round++) {
        const int64_t shape[4] = {1 + pick(2), 1 + pick(3), 1 + pick(7), 1 + pick(7)};
        const int64_t sizes[4] = {shape[0], shape[1], 1 + pick(13), 1 + pick(13)};
        const int64_t four = 4;
        int grid = (int)pick(3);
        bool linear = pick(2) == 0;
        const tensor *x;
        const tensor *y;
        op_harness h;

        op_harness_init(&h, "", "Resize", 13);
        op_harness_string(&h, "mode", linear ? "linear" : "nearest");
        op_harness_string(&h, "nearest_mode", "floor");
        op_harness_string(&h, "coordinate_transformation_mode", grids[grid]);
        fill(op_harness_input(&h, SPRY_DTYPE_F32, 4, shape));
        x = &h.inputs[0].tensor;
        op_harness_omit(&h);
        op_harness_omit(&h);
        op_harness_i64s(&h, SPRY_DTYPE_I64, 1, &four, sizes);
        op_harness_run(&h, 1);
        y = op_harness_output(&h, 0);
        for (int64_t i = 0; i < tensor_count(y); i++) {
            const int64_t place[2] = {i / sizes[3] % sizes[2], i % sizes[3]};
            int64_t plane = i / (sizes[2] * sizes[3]) * shape[2] * shape[3];
            int64_t low[2];
            double part[2];
            double sum = 0;
            bool exact = false; /* rounding down may go either way there */

            for (int k = 0; k < 2; k++) {
                double in = (double)shape[2 + k];
                double out = (double)sizes[2 + k];
                double at = (double)place[k];

                at = grid == 0   ? (at + 0.5) * in / out - 0.5
                     : grid == 1 ? at * in / out
                     : out > 1   ? at * (in - 1) / (out - 1)
                                 : 0;
                exact = exact || fabs(at - rint(at)) < 1e-6;
                low[k] = (int64_t)floor(at);
                part[k] = linear ? at - floor(at) : 0;
            }
            for (int k = 0; k < 4; k++) {
                double weight =
                    (k / 2 == 0 ? 1 - part[0] : part[0]) * (k % 2 == 0 ? 1 - part[1] : part[1]);

                sum +=
                    weight * convert_get_f64(x, plane + clamp(low[0] + k / 2, shape[2]) * shape[3] +
                                                    clamp(low[1] + k % 2, shape[3]));
            }
            if (linear || !exact) {
                assert_true(fabs(sum - convert_get_f64(y, i)) < 1e-4);
            }
        }
        op_harness_fini(&h);
    }
}

/* Doubling by nearest pixels repeats each pixel, in every version of the operator. */
static void test_doubling(void **unused)
{
    static const struct {
        const char *name;
        int opset;
    } forms[] = {{"Upsample", 7}, {"Upsample", 9}, {"Resize", 10}, {"Resize", 11}, {"Resize", 19}};
    const int64_t shape[3] = {1, 3, 5};
    const float scales[3] = {1, 2, 3};
    const int64_t three = 3;

    (void)unused;
    for (size_t f = 0; f < sizeof forms / sizeof *forms; f++) {
        op_harness h;

        op_harness_init(&h, "", forms[f].name, forms[f].opset);
        op_harness_string(&h, "mode", "nearest");
        fill(op_harness_input(&h, SPRY_DTYPE_U8, 3, shape));
        if (forms[f].opset == 7) {
            op_harness_floats(&h, "scales", 3, scales);
        } else {
            if (forms[f].opset >= 11) {
                op_harness_omit(&h);
            }
            op_harness_f32(&h, 1, &three, scales);
        }
        op_harness_run(&h, 1);
        for (int64_t i = 0; i < 90; i++) {
            assert_int_equal(op_harness_i64_at(&h, 0, i),
                             convert_get_i64(&h.inputs[0].tensor, i / 30 * 5 + i % 15 / 3));
        }
        op_harness_fini(&h);
    }
}

static void test_hostile_scales(void **unused)
{
    static const float scales[][2] = {{1e30F, 1}, {-1, 1}, {0, 1}, {NAN, 1}, {INFINITY, 1}};
    const int64_t shape[2] = {2, 3};
    const int64_t two = 2;

    (void)unused;
    for (size_t i = 0; i < sizeof scales / sizeof *scales; i++) {
        op_harness h;

        op_harness_init(&h, "", "Resize", 13);
        op_harness_input(&h, SPRY_DTYPE_F32, 2, shape);
        op_harness_omit(&h);
        op_harness_f32(&h, 1, &two, scales[i]);
        h.hide_constants = true;
        assert_int_equal(op_harness_try(&h, 1), SPRY_BAD_INPUT);
        op_harness_fini(&h);
    }
}

/* The identity transformation gives the image back, in two and three dimensions. */
static void test_affine_identity(void **unused)
{
    (void)unused;
    for (int axes = 2; axes <= 3; axes++) {
        const int64_t size[5] = {2, 1, 3, 4, 2};
        const int64_t count = axes + 2;
        const int64_t theta_shape[3] = {2, axes, axes + 1};
        op_harness grid;
        op_harness sample;
        tensor *theta;
        const tensor *places;

        op_harness_init(&grid, "", "AffineGrid", 20);
        theta = op_harness_input(&grid, SPRY_DTYPE_F32, 3, theta_shape);
        for (int i = 0; i < 2 * axes; i++) {
            ((float *)theta->data)[i * (axes + 1) + i % axes] = 1;
        }
        op_harness_i64s(&grid, SPRY_DTYPE_I64, 1, &count, size);
        op_harness_run(&grid, 1);
        places = op_harness_output(&grid, 0);
        op_harness_init(&sample, "", "GridSample", 20);
        fill(op_harness_input(&sample, SPRY_DTYPE_F32, axes + 2, size));
        memcpy(op_harness_input(&sample, SPRY_DTYPE_F32, places->rank, places->shape)->data,
               places->data, places->bytes);
        op_harness_run(&sample, 1);
        for (int64_t i = 0; i < tensor_count(op_harness_output(&sample, 0)); i++) {
            assert_true(fabs(op_harness_f64_at(&sample, 0, i) -
                             convert_get_f64(&sample.inputs[0].tensor, i)) < 1e-4);
        }
        op_harness_fini(&grid);
        op_harness_fini(&sample);
    }
}

/* Places that are no numbers read something, or nothing, but never outside of the image. */
static void test_wild_grid(void **unused)
{
    static const char *const edges[] = {"zeros", "border", "reflection"};
    const float wild[8] = {NAN, INFINITY, -INFINITY, 1e38F, -1e38F, 0, 3e9F, NAN};
    const int64_t shape[4] = {1, 1, 3, 3};
    const int64_t grid_shape[4] = {1, 2, 2, 2};

    (void)unused;
    for (int i = 0; i < 6; i++) {
        op_harness h;

        op_harness_init(&h, "", "GridSample", 16);
        op_harness_string(&h, "padding_mode", edges[i / 2]);
        op_harness_string(&h, "mode", i % 2 == 0 ? "bicubic" : "bilinear");
        fill(op_harness_input(&h, SPRY_DTYPE_F32, 4, shape));
        op_harness_f32(&h, 4, grid_shape, wild);
        op_harness_run(&h, 1);
        op_harness_fini(&h);
    }
}

static double overlap(const float *a, const float *b)
{
    double h = fmin((double)a[2], (double)b[2]) - fmax((double)a[0], (double)b[0]);
    double w = fmin((double)a[3], (double)b[3]) - fmax((double)a[1], (double)b[1]);
    double shared = h > 0 && w > 0 ? h * w : 0;

    return shared / ((double)(a[2] - a[0]) * (double)(a[3] - a[1]) +
                     (double)(b[2] - b[0]) * (double)(b[3] - b[1]) - shared);
}

static void test_suppression(void **unused)
{
    (void)unused;
    for (int round = 0; round < ROUNDS; round++) {
        const int64_t n = 1 + pick(20);
        const int64_t box_shape[3] = {1, n, 4};
        const int64_t score_shape[3] = {1, 1, n};
        const int64_t limit = 1 + pick(10);
        const float threshold = 0.3F;
        float boxes[80];
        float scores[20];
        bool gone[20] = {false};
        int64_t found = 0;
        op_harness h;

        for (int64_t i = 0; i < n; i++) {
            boxes[4 * i] = (float)pick(10);
            boxes[4 * i + 1] = (float)pick(10);
            boxes[4 * i + 2] = boxes[4 * i] + 1 + (float)pick(8);
            boxes[4 * i + 3] = boxes[4 * i + 1] + 1 + (float)pick(8);
            scores[i] = (float)pick(1000);
        }
        op_harness_init(&h, "", "NonMaxSuppression", 11);
        op_harness_f32(&h, 3, box_shape, boxes);
        op_harness_f32(&h, 3, score_shape, scores);
        op_harness_i64s(&h, SPRY_DTYPE_I64, 0, NULL, &limit);
        op_harness_f32(&h, 0, NULL, &threshold);
        op_harness_run(&h, 1);
        for (;;) { /* the best that is left, again and again */
            int64_t best = -1;

            for (int64_t i = 0; i < n; i++) {
                if (!gone[i] && (best < 0 || scores[i] > scores[best])) {
                    best = i;
                }
            }
            if (best < 0 || found == limit) {
                break;
            }
            assert_int_equal(op_harness_i64_at(&h, 0, 3 * found++ + 2), best);
            for (int64_t i = 0; i < n; i++) {
                gone[i] = gone[i] || i == best ||
                          overlap(boxes + 4 * i, boxes + 4 * best) > (double)threshold;
            }
        }
        assert_int_equal(op_harness_output(&h, 0)->shape[0], found);
        op_harness_fini(&h);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sizes),          cmocka_unit_test(test_doubling),
        cmocka_unit_test(test_hostile_scales), cmocka_unit_test(test_affine_identity),
        cmocka_unit_test(test_wild_grid),      cmocka_unit_test(test_suppression),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
