/* Augmentation: results by hand, properties, and fixed sums that hold on every machine. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "data/augment.h"
#include "data/augment_steps.h"
#include "data/image.h"
#include "support/fault.h"

enum { MOST = 64 * 64 * 3 };

static augment parse(const char *text)
{
    spry_error error = {0};
    augment a;

    if (augment_parse(text, &a, &error) != SPRY_OK) {
        fail_msg("%s: %s", text, error.what);
    }
    return a;
}

/* A picture over `pixels`, filled with something irregular. */
static tensor picture(uint8_t *pixels, int64_t height, int64_t width, int64_t channels)
{
    const int64_t shape[] = {height, width, channels};
    tensor t;

    for (int64_t i = 0; i < height * width * channels; i++) {
        pixels[i] = (uint8_t)((uint32_t)(i + 1) * 2654435761u >> 21);
    }
    assert_int_equal(tensor_init(&t, SPRY_DTYPE_U8, 3, shape, pixels, NULL), SPRY_OK);
    return t;
}

static void apply(const char *text, int64_t epoch, int64_t index, tensor *t)
{
    augment a = parse(text);

    assert_int_equal(augment_apply(&a, NULL, 9, epoch, index, true, t, NULL), SPRY_OK);
}

static uint32_t sum_of(const tensor *t)
{
    uint32_t hash = 0x811c9dc5u;

    for (size_t i = 0; i < t->bytes; i++) {
        hash = (hash ^ ((const uint8_t *)t->data)[i]) * 0x01000193u;
    }
    return hash;
}

static void texts_become_steps(void **state)
{
    augment a = parse("crop:4,zoom:0.5,flip,vflip:0.25,rotate:10,jitter:0.2,gray,invert,cutout:8,"
                      "noise:2,gain:0.1");

    (void)state;
    assert_int_equal(a.count, 11);
    for (int i = 0; i < a.count; i++) {
        assert_int_equal(a.steps[i].kind, i); /* the table has the order of the enum */
    }
    assert_true(a.steps[AUGMENT_FLIP].number[0] == 0.5);
    assert_true(a.steps[AUGMENT_VFLIP].number[0] == 0.25);
    assert_true(a.steps[AUGMENT_JITTER].number[2] == 0.2);
    assert_true(a.steps[AUGMENT_JITTER].number[3] == 0);
    a = parse("jitter:0.1:0.2:0.3:0.5");
    assert_true(a.steps[0].number[3] == 0.5);
    assert_int_equal(parse("none").count, 0);
    assert_int_equal(parse("").count, 0);
}

static void wrong_texts_are_explained(void **state)
{
    static const char *const wrong[] = {"crop",           "crop:",
                                        "crop:4.5",       "crop:0",
                                        "crop:4:4",       "shear:3",
                                        "flip:1.5",       "flip:x",
                                        "flip,",          ",flip",
                                        "zoom:0",         "rotate:-1",
                                        "jitter:1:1:1:1", "jitter:1:1:1:.5:1",
                                        "flip flip",      "cutout:nan"};
    char many[200] = "";
    augment a;

    (void)state;
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        spry_error error = {.code = SPRY_OK};

        assert_int_equal(augment_parse(wrong[i], &a, &error), SPRY_USAGE);
        assert_true(error.what[0] != '\0' && error.remedy[0] != '\0');
    }
    memset(many, 'x', sizeof many - 1);
    assert_int_equal(augment_parse(many, &a, NULL), SPRY_USAGE);
    for (int i = 0; i < 17; i++) {
        memcpy(many + i * 5, "flip,", 5);
    }
    many[17 * 5 - 1] = '\0';
    assert_int_equal(augment_parse(many, &a, NULL), SPRY_USAGE);
    a = parse("flip");
    assert_int_equal(augment_check(&a, false, NULL), SPRY_USAGE);
    a = parse("noise:1,gain:0.5");
    assert_int_equal(augment_check(&a, true, NULL), SPRY_USAGE);
    assert_int_equal(augment_check(&a, false, NULL), SPRY_OK);
}

/* Every crop is one of the windows of the padded picture, and all of them come up. */
static void crops_are_windows_of_the_padded_picture(void **state)
{
    enum { H = 5, W = 4, P = 2 };
    static uint8_t before[MOST];
    static uint8_t after[MOST];
    int hits[2 * P + 1][2 * P + 1] = {{0}};

    (void)state;
    for (int64_t index = 0; index < 500; index++) {
        tensor t = picture(after, H, W, 3);
        int found = 0;

        (void)picture(before, H, W, 3);
        apply("crop:2", 0, index, &t);
        for (int down = -P; down <= P; down++) {
            for (int right = -P; right <= P; right++) {
                bool same = true;

                for (int i = 0; i < H * W * 3 && same; i++) {
                    int y = i / (W * 3) + down;
                    int x = i / 3 % W + right;
                    bool inside = y >= 0 && y < H && x >= 0 && x < W;

                    same = after[i] == (inside ? before[(y * W + x) * 3 + i % 3] : 0);
                }
                hits[down + P][right + P] += same;
                found += same;
            }
        }
        assert_int_equal(found, 1);
    }
    for (int i = 0; i < 25; i++) {
        assert_in_range(hits[i / 5][i % 5], 3, 50); /* 20 +- 4.4 */
    }
}

static void crops_beyond_the_picture_are_black(void **state)
{
    uint8_t pixels[3];
    int black = 0;

    (void)state;
    for (int64_t index = 0; index < 100; index++) {
        tensor t = picture(pixels, 1, 1, 3);

        apply("crop:3", 0, index, &t);
        black += pixels[0] == 0 && pixels[1] == 0 && pixels[2] == 0;
    }
    assert_in_range(black, 90, 100);
}

static void flips_turn_back(void **state)
{
    static const int64_t sizes[][3] = {{4, 5, 3}, {3, 4, 1}, {1, 1, 3}, {7, 1, 1}, {1, 6, 3}};
    uint8_t pixels[80];
    uint8_t kept[80];

    (void)state;
    for (size_t n = 0; n < sizeof sizes / sizeof sizes[0]; n++) {
        int64_t h = sizes[n][0];
        int64_t w = sizes[n][1];
        int64_t c = sizes[n][2];
        tensor t = picture(pixels, h, w, c);

        memcpy(kept, pixels, sizeof kept);
        apply("flip:1", 0, 0, &t);
        for (int64_t i = 0; i < h * w * c; i++) {
            int64_t y = i / (w * c);
            int64_t x = i / c % w;

            assert_int_equal(pixels[i], kept[(y * w + w - 1 - x) * c + i % c]);
        }
        apply("vflip:1", 0, 0, &t);
        for (int64_t i = 0; i < h * w * c; i++) {
            int64_t y = i / (w * c);
            int64_t x = i / c % w;

            assert_int_equal(pixels[i], kept[((h - 1 - y) * w + w - 1 - x) * c + i % c]);
        }
        apply("vflip:1,flip:1,flip:0,invert:1,invert:1", 0, 0, &t);
        assert_memory_equal(pixels, kept, t.bytes);
    }
}

static void chances_are_met(void **state)
{
    int flipped = 0;

    (void)state;
    for (int64_t i = 0; i < 4000; i++) {
        uint8_t pixels[] = {1, 2};
        const int64_t shape[] = {1, 2, 1};
        tensor t;

        assert_int_equal(tensor_init(&t, SPRY_DTYPE_U8, 3, shape, pixels, NULL), SPRY_OK);
        apply("flip:0.3", i / 100, i % 100, &t);
        flipped += pixels[0] == 2;
    }
    assert_in_range(flipped, 1200 - 116, 1200 + 116); /* four deviations */
}

static void cutouts_cover_squares(void **state)
{
    static uint8_t pixels[MOST];
    int64_t largest = 0;
    int64_t smallest = 1000;

    (void)state;
    for (int64_t index = 0; index < 300; index++) {
        tensor t = picture(pixels, 10, 12, 1);
        int64_t covered = 0;

        for (int i = 0; i < 120; i++) {
            pixels[i] = (uint8_t)(i % 100);
        }
        apply("cutout:4", 1, index, &t);
        for (int i = 0; i < 120; i++) {
            covered += pixels[i] == 128;
            assert_true(pixels[i] == 128 || pixels[i] == i % 100);
        }
        largest = covered > largest ? covered : largest;
        smallest = covered < smallest ? covered : smallest;
    }
    assert_int_equal(largest, 16);
    assert_int_equal(smallest, 4); /* in a corner: centre on the first pixel */
}

static void zooms_are_parts(void **state)
{
    static uint8_t before[MOST];
    static uint8_t after[MOST];

    (void)state;
    for (int64_t index = 0; index < 200; index++) {
        tensor t = picture(after, 40, 30, 3);
        int64_t found = 0;
        double area;
        double proportion;

        (void)picture(before, 40, 30, 3);
        apply("zoom:0.3", 0, index, &t);
        assert_true(tensor_is_dense(&t));
        area = (double)tensor_count(&t) / (40 * 30 * 3);
        proportion = (double)t.shape[0] / (double)t.shape[1];
        assert_true(area > 0.26 && area <= 1);
        assert_true((proportion > 0.69 && proportion < 1.45) || t.shape[0] == 40);
        for (int64_t y = 0; y <= 40 - t.shape[0]; y++) {
            for (int64_t x = 0; x <= 30 - t.shape[1]; x++) {
                bool same = true;

                for (int64_t row = 0; row < t.shape[0] && same; row++) {
                    same = memcmp(after + row * t.shape[1] * 3, before + ((y + row) * 30 + x) * 3,
                                  (size_t)t.shape[1] * 3) == 0;
                }
                found += same;
            }
        }
        assert_true(found >= 1);
    }
}

/* Turning by nothing changes nothing, and brightness moves where geometry says. */
static void rotations_turn_about_the_centre(void **state)
{
    static uint8_t pixels[MOST];
    tensor t = picture(pixels, 9, 9, 3);
    uint32_t before = sum_of(&t);
    int clockwise = 0;

    (void)state;
    apply("rotate:0", 0, 0, &t);
    assert_int_equal(sum_of(&t), before);
    for (int64_t index = 0; index < 100; index++) {
        double x = 0;
        double y = 0;
        double all = 0;

        t = picture(pixels, 41, 41, 1);
        memset(pixels, 0, t.bytes);
        for (int i = 0; i < 25; i++) { /* a square whose centre is 14 pixels right of the middle */
            pixels[(18 + i / 5) * 41 + 32 + i % 5] = 255;
        }
        apply("rotate:90", 0, index, &t);
        for (int i = 0; i < 41 * 41; i++) {
            x += pixels[i] * (i % 41 - 20.0);
            y += pixels[i] * (i / 41 - 20.0);
            all += pixels[i];
        }
        assert_true(fabs(all / (25 * 255) - 1) < 0.05);
        assert_true(fabs(hypot(x / all, y / all) - 14) < 0.2);
        assert_true(x / all > -0.5);
        clockwise += y > 0;
        memset(pixels, 0, t.bytes);
        pixels[20 * 41 + 20] = 200;
        apply("rotate:180", 0, index, &t);
        assert_int_equal(pixels[20 * 41 + 20], 200);
    }
    assert_in_range(clockwise, 30, 70);
}

static void colours_move_as_they_should(void **state)
{
    static uint8_t pixels[MOST];
    static const uint8_t red[3] = {200, 40, 40};
    const double hue_only[AUGMENT_MAX_NUMBERS] = {0, 0, 0, 0.5};
    int green = 0;

    (void)state;
    for (int64_t index = 0; index < 300; index++) {
        tensor t = picture(pixels, 1, 2, 3);
        spry_random r = spry_random_stream((uint64_t)index, 1);

        memcpy(pixels, red, 3);
        memset(pixels + 3, 77, 3);
        augment_jitter(&t, &r, hue_only);
        /* The hue leaves the largest and the smallest value, and gray, as they are. */
        for (int c = 0; c < 3; c++) {
            assert_in_range(pixels[c], 40, 200);
            assert_int_equal(pixels[3 + c], 77);
        }
        assert_true(pixels[0] == 200 || pixels[1] == 200 || pixels[2] == 200);
        assert_true(pixels[0] == 40 || pixels[1] == 40 || pixels[2] == 40);
        green += pixels[1] == 200;
    }
    assert_in_range(green, 70, 130); /* a third of the circle */
    {
        tensor t = picture(pixels, 1, 2, 3);
        uint8_t gray = image_gray(red);

        memcpy(pixels, red, 3);
        memset(pixels + 3, 9, 3);
        apply("gray:1", 0, 0, &t);
        assert_true(pixels[0] == gray && pixels[1] == gray && pixels[2] == gray && pixels[5] == 9);
    }
    for (int64_t index = 0; index < 100; index++) {
        tensor t = picture(pixels, 2, 1, 1);
        int low;
        int high;

        pixels[0] = 100;
        pixels[1] = 140;
        apply("jitter:0.2:0:0", 0, index, &t); /* 80 to 120 and 112 to 168, by one factor */
        low = pixels[0];
        high = pixels[1];
        assert_in_range(low, 80, 120);
        assert_true(abs(high * 5 - low * 7) <= 6);
        pixels[0] = 100;
        pixels[1] = 140;
        apply("jitter:0:0.5:0", 0, index, &t); /* about the mean, 120 */
        assert_in_range(pixels[0], 90, 110);
        assert_in_range(pixels[0] + pixels[1], 239, 241);
    }
}

static void noise_has_its_deviation(void **state)
{
    enum { COUNT = 20000 };
    static float values[COUNT];
    const int64_t shape[] = {COUNT};
    augment a = parse("noise:0.5,gain:0.2");
    double sum = 0;
    double squares = 0;
    tensor t;

    (void)state;
    for (int i = 0; i < COUNT; i++) {
        values[i] = 3;
    }
    a.count = 1;
    assert_int_equal(tensor_init(&t, SPRY_DTYPE_F32, 1, shape, values, NULL), SPRY_OK);
    assert_int_equal(augment_apply(&a, NULL, 1, 2, 3, false, &t, NULL), SPRY_OK);
    for (int i = 0; i < COUNT; i++) {
        sum += (double)values[i] - 3;
        squares += ((double)values[i] - 3) * ((double)values[i] - 3);
    }
    assert_true(fabs(sum / COUNT) < 4 * 0.5 / sqrt(COUNT));
    assert_true(fabs(squares / COUNT - 0.25) < 4 * 0.25 * sqrt(2.0 / COUNT));
    a.steps[0] = (augment_step){.kind = AUGMENT_GAIN, .number = {0.2}};
    values[0] = 1;
    values[1] = -2;
    assert_int_equal(augment_apply(&a, NULL, 1, 2, 3, false, &t, NULL), SPRY_OK);
    assert_true(values[0] > 0.8F && values[0] < 1.2F && values[0] != 1);
    assert_true(values[1] == -2 * values[0]);
}

/* The same numbers on every machine and for any order of calls; others for another seed, epoch or
 * sample. The sums were taken once, on x86-64. */
static void results_are_fixed(void **state)
{
    static const char *const texts[] = {
        "crop:4,flip",         "zoom:0.4", "rotate:30", "jitter:0.4:0.4:0.4:0.2", "cutout:9,vflip",
        "noise:20,invert:0.5", "gray:0.5",
    };
    static const uint32_t right[] = {0x5e806568, 0x854340bf, 0x7f7300a0, 0x4153db08,
                                     0x8109dd91, 0x7e5b4a89, 0x2f65729a};
    static uint8_t pixels[MOST];

    (void)state;
    for (size_t n = 0; n < sizeof texts / sizeof texts[0]; n++) {
        uint32_t sum = 0;
        uint32_t other = 0;

        for (int64_t i = 0; i < 20; i++) {
            tensor t = picture(pixels, 32, 33, 3);

            apply(texts[n], i / 5, i, &t);
            sum = sum * 31 + sum_of(&t);
            t = picture(pixels, 32, 33, 3);
            apply(texts[n], i / 5 + 1, i, &t);
            other = other * 31 + sum_of(&t);
        }
        assert_true(sum != other);
        if (sum != right[n]) {
            fail_msg("%s: 0x%08x", texts[n], sum);
        }
    }
}

static spry_status rotate_once(const spry_allocator *allocator, void *context, spry_error *error)
{
    uint8_t pixels[12];
    tensor t = picture(pixels, 2, 2, 3);

    return augment_apply(context, allocator, 1, 2, 3, true, &t, error);
}

static void failing_allocations_leak_nothing(void **state)
{
    augment a = parse("rotate:5");

    (void)state;
    assert_int_equal(fault_sweep(rotate_once, &a), 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(texts_become_steps),
        cmocka_unit_test(wrong_texts_are_explained),
        cmocka_unit_test(crops_are_windows_of_the_padded_picture),
        cmocka_unit_test(crops_beyond_the_picture_are_black),
        cmocka_unit_test(flips_turn_back),
        cmocka_unit_test(chances_are_met),
        cmocka_unit_test(cutouts_cover_squares),
        cmocka_unit_test(zooms_are_parts),
        cmocka_unit_test(rotations_turn_about_the_centre),
        cmocka_unit_test(colours_move_as_they_should),
        cmocka_unit_test(noise_has_its_deviation),
        cmocka_unit_test(results_are_fixed),
        cmocka_unit_test(failing_allocations_leak_nothing),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
