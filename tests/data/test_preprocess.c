/* Recipes: names, JSON good and bad, and what each step does to pixels. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "data/resize.h"
#include "spry/preprocess.h"
#include "support/fault.h"
#include "tensor/convert.h"

static spry_tensor *picture(int64_t height, int64_t width, int64_t channels)
{
    const int64_t shape[] = {height, width, channels};
    spry_tensor *t = NULL;
    uint8_t *pixels;

    assert_int_equal(spry_tensor_create(NULL, SPRY_DTYPE_U8, 3, shape, &t, NULL), SPRY_OK);
    pixels = spry_tensor_data(t);
    for (int64_t i = 0; i < spry_tensor_count(t); i++) {
        pixels[i] = (uint8_t)(i * 37 % 256);
    }
    return t;
}

static spry_preprocess named(const char *name)
{
    spry_preprocess recipe;

    assert_int_equal(spry_preprocess_parse(name, &recipe, NULL), SPRY_OK);
    return recipe;
}

static spry_preprocess json(const char *text)
{
    spry_preprocess recipe;
    spry_error error = {0};

    if (spry_preprocess_parse_json(text, strlen(text), "recipe", &recipe, &error) != SPRY_OK) {
        fail_msg("%s: %s", error.where, error.what);
    }
    return recipe;
}

static spry_tensor *apply(const spry_preprocess *recipe, const spry_tensor *image, spry_dtype dtype,
                          int64_t a, int64_t b, int64_t c)
{
    const int64_t shape[] = {-1, a, b, c};
    spry_tensor *t = NULL;
    spry_error error = {0};

    if (spry_preprocess_image(NULL, recipe, image, dtype, 4, shape, &t, &error) != SPRY_OK) {
        fail_msg("%s", error.what);
    }
    return t;
}

static spry_status try_apply(const spry_preprocess *recipe, const spry_tensor *image, int64_t a,
                             int64_t b, int64_t c)
{
    const int64_t shape[] = {1, a, b, c};
    spry_tensor *t = NULL;
    spry_status status =
        spry_preprocess_image(NULL, recipe, image, SPRY_DTYPE_F32, 4, shape, &t, NULL);

    spry_tensor_destroy(t);
    return status;
}

static void names_normalise_as_documented(void **state)
{
    static const struct {
        const char *name;
        double scale;
        double mean[3];
        double std[3];
    } cases[] = {
        {"raw", 1.0, {0, 0, 0}, {1, 1, 1}},
        {"unit", 1 / 255.0, {0, 0, 0}, {1, 1, 1}},
        {"imagenet", 1 / 255.0, {.485, .456, .406}, {.229, .224, .225}},
        {"cifar", 1 / 255.0, {.4914, .4822, .4465}, {.2023, .1994, .2010}},
        {"tf", 1.0, {127.5, 127.5, 127.5}, {127.5, 127.5, 127.5}},
        {"tf128", 1.0, {128, 128, 128}, {128, 128, 128}},
    };
    spry_tensor *image = picture(5, 4, 3);
    const uint8_t *pixels = spry_tensor_const_data(image);

    (void)state;
    for (size_t k = 0; k < sizeof cases / sizeof cases[0]; k++) {
        spry_preprocess recipe = named(cases[k].name);
        spry_tensor *planes = apply(&recipe, image, SPRY_DTYPE_F32, 3, 5, 4);
        spry_tensor *mixed = apply(&recipe, image, SPRY_DTYPE_F32, 5, 4, 3);

        assert_string_equal(spry_preprocess_name((int32_t)k), cases[k].name);
        for (int64_t i = 0; i < 60; i++) {
            int64_t c = i % 3;
            float expected =
                (float)((pixels[i] * cases[k].scale - cases[k].mean[c]) / cases[k].std[c]);

            assert_true(((float *)spry_tensor_data(planes))[c * 20 + i / 3] == expected);
            assert_true(((float *)spry_tensor_data(mixed))[i] == expected);
        }
        spry_tensor_destroy(planes);
        spry_tensor_destroy(mixed);
    }
    assert_null(spry_preprocess_name(99));
    spry_tensor_destroy(image);
}

static void json_forms_come_back(void **state)
{
    static const char *const texts[] = {
        "{}",
        "{\"geometry\": \"none\", \"channels\": \"bgr\", \"layout\": \"nhwc\", \"dtype\": \"u8\"}",
        "{\"resize\": {\"shorter\": 256}, \"crop\": {\"height\": 224, \"width\": 200}}",
        "{\"resize\": {\"height\": 7, \"width\": 9}, \"method\": \"bicubic\", \"mean\": [1, 2, 3], "
        "\"std\": 4}",
        "{\"scale\": 0.00392156862745098, \"mean\": 0.1307, \"std\": 0.3081, "
        "\"channels\": \"gray\", \"method\": \"nearest\"}",
    };

    (void)state;
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        spry_preprocess recipe = json(texts[i]);
        spry_preprocess back;
        char text[1024];

        assert_int_equal(spry_preprocess_format_json(&recipe, text, sizeof text, NULL), SPRY_OK);
        back = json(text);
        assert_int_equal(back.geometry, recipe.geometry);
        assert_int_equal(back.resize_shorter, recipe.resize_shorter);
        assert_int_equal(back.resize_width, recipe.resize_width);
        assert_int_equal(back.crop_height, recipe.crop_height);
        assert_int_equal(back.method, recipe.method);
        assert_int_equal(back.channels, recipe.channels);
        assert_int_equal(back.layout, recipe.layout);
        assert_int_equal(back.dtype, recipe.dtype);
        assert_int_equal(back.statistics, recipe.statistics);
        assert_memory_equal(back.mean, recipe.mean, sizeof back.mean);
        assert_memory_equal(back.std, recipe.std, sizeof back.std);
        assert_true(back.scale == recipe.scale);
        assert_int_equal(spry_preprocess_format_json(&recipe, text, 20, NULL), SPRY_LIMIT);
    }
}

static void json_errors_name_the_key(void **state)
{
    static const struct {
        const char *text;
        const char *key;
    } cases[] = {
        {"{\"sclae\": 1}", "sclae"},
        {"{\"scale\": \"1\"}", "scale"},
        {"{\"mean\": [1, 2]}", "mean"},
        {"{\"mean\": [1, 2, 3], \"std\": [1, 2, 3, 4]}", "std"},
        {"{\"std\": [1, 0, 3]}", "std"},
        {"{\"std\": []}", "std"},
        {"{\"layout\": \"hwc\"}", "layout"},
        {"{\"channels\": 3}", "channels"},
        {"{\"dtype\": \"string\"}", "dtype"},
        {"{\"resize\": 256}", "resize"},
        {"{\"resize\": {\"shorter\": 0}}", "shorter"},
        {"{\"resize\": {\"shorter\": 256, \"width\": 3}}", "width"},
        {"{\"resize\": {\"height\": 256}}", "width"},
        {"{\"crop\": {\"height\": 99999, \"width\": 1}}", "height"},
        {"{\"crop\": {\"height\": 1, \"width\": 1}, \"geometry\": \"auto\"}", "geometry"},
        {"{\"method\": \"lanczos\"}", "method"},
        {"[]", ""},
        {"{", ""},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        spry_preprocess recipe;
        spry_error error = {0};

        assert_int_equal(spry_preprocess_parse_json(cases[i].text, strlen(cases[i].text), "recipe",
                                                    &recipe, &error),
                         SPRY_BAD_INPUT);
        if (strstr(error.what, cases[i].key) == NULL && strstr(error.where, cases[i].key) == NULL) {
            fail_msg("case %zu does not name '%s': %s: %s", i, cases[i].key, error.where,
                     error.what);
        }
    }
    {
        spry_preprocess recipe;

        assert_int_equal(spry_preprocess_parse("imagnet", &recipe, NULL), SPRY_USAGE);
        assert_int_equal(spry_preprocess_parse("/nowhere.json", &recipe, NULL), SPRY_IO);
    }
}

/* The default geometry against crop and resize done here. */
static void pictures_adapt_to_the_model(void **state)
{
    static const struct {
        int64_t height, width, to_height, to_width, cut_height, cut_width;
    } cases[] = {
        {256, 256, 224, 224, 224, 224}, {256, 256, 128, 128, 224, 224}, {32, 32, 32, 32, 32, 32},
        {28, 28, 32, 32, 28, 28},       {300, 400, 100, 100, 263, 263}, {100, 50, 40, 40, 44, 44},
        {100, 50, 60, 60, 50, 50},      {64, 64, 32, 16, 56, 28},       {1, 9, 2, 2, 1, 1},
    };
    spry_preprocess recipe = named("raw");

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        spry_tensor *image = picture(cases[i].height, cases[i].width, 3);
        spry_tensor *got =
            apply(&recipe, image, SPRY_DTYPE_U8, cases[i].to_height, cases[i].to_width, 3);
        const int64_t shape[] = {cases[i].to_height, cases[i].to_width, 3};
        spry_tensor *expected = NULL;
        resize_picture from = {spry_tensor_data(image), cases[i].cut_height, cases[i].cut_width, 3,
                               cases[i].width * 3};
        resize_picture to = {NULL, cases[i].to_height, cases[i].to_width, 3, cases[i].to_width * 3};

        assert_int_equal(spry_tensor_create(NULL, SPRY_DTYPE_U8, 3, shape, &expected, NULL),
                         SPRY_OK);
        to.data = spry_tensor_data(expected);
        from.data += (cases[i].height - cases[i].cut_height) / 2 * from.stride;
        from.data += (cases[i].width - cases[i].cut_width) / 2 * 3;
        assert_int_equal(resize_u8(NULL, &from, &to, SPRY_RESIZE_BILINEAR, NULL), SPRY_OK);
        assert_memory_equal(spry_tensor_data(got), to.data, spry_tensor_bytes(expected));
        spry_tensor_destroy(image);
        spry_tensor_destroy(got);
        spry_tensor_destroy(expected);
    }
}

static void steps_resize_and_crop(void **state)
{
    spry_preprocess recipe = json("{\"resize\": {\"shorter\": 8}, \"method\": \"nearest\", "
                                  "\"crop\": {\"height\": 6, \"width\": 6}}");
    spry_tensor *image = picture(4, 6, 3);
    const uint8_t *pixels = spry_tensor_const_data(image);
    spry_tensor *got = apply(&recipe, image, SPRY_DTYPE_U8, -1, -1, 3);
    const uint8_t *result = spry_tensor_const_data(got);

    (void)state;
    assert_int_equal(spry_tensor_shape(got)[1], 6);
    for (int64_t y = 0; y < 6; y++) { /* doubled to 8 x 12, cut at (1, 3) */
        for (int64_t x = 0; x < 6; x++) {
            int64_t from = ((y + 1) / 2 * 6 + (x + 3) / 2) * 3;

            assert_memory_equal(result + (y * 6 + x) * 3, pixels + from, 3);
        }
    }
    spry_tensor_destroy(got);
    assert_int_equal(try_apply(&recipe, image, 7, 7, 3), SPRY_USAGE);
    recipe.crop_height = 9;
    assert_int_equal(try_apply(&recipe, image, 9, 6, 3), SPRY_USAGE);
    spry_tensor_destroy(image);
}

static void channels_follow_recipe_and_model(void **state)
{
    spry_preprocess recipe = named("raw");
    spry_tensor *colour = picture(1, 2, 3);
    spry_tensor *gray = picture(1, 2, 1);
    const uint8_t *p = spry_tensor_const_data(colour);
    spry_tensor *t = apply(&recipe, gray, SPRY_DTYPE_U8, 3, 1, 2);

    (void)state;
    assert_memory_equal(spry_tensor_data(t), "\x00\x25\x00\x25\x00\x25", 6);
    spry_tensor_destroy(t);
    t = apply(&recipe, colour, SPRY_DTYPE_U8, 1, 1, 2);
    for (int i = 0; i < 2; i++) {
        double luma = 0.299 * p[3 * i] + 0.587 * p[3 * i + 1] + 0.114 * p[3 * i + 2];

        assert_true(fabs(((uint8_t *)spry_tensor_data(t))[i] - luma) <= 0.51);
    }
    spry_tensor_destroy(t);
    recipe.channels = SPRY_CHANNELS_BGR;
    recipe.layout = SPRY_LAYOUT_NHWC; /* [N,1,2,3] could be either */
    t = apply(&recipe, colour, SPRY_DTYPE_U8, 1, 2, 3);
    for (int i = 0; i < 6; i++) {
        assert_int_equal(((uint8_t *)spry_tensor_data(t))[i], p[i / 3 * 3 + 2 - i % 3]);
    }
    spry_tensor_destroy(t);
    recipe.layout = SPRY_LAYOUT_AUTO;
    assert_int_equal(try_apply(&recipe, colour, 1, 1, 2), SPRY_USAGE);
    assert_int_equal(try_apply(&recipe, colour, 4, 1, 2), SPRY_USAGE);
    recipe = named("imagenet");
    assert_int_equal(try_apply(&recipe, gray, 1, 1, 2), SPRY_USAGE);
    spry_tensor_destroy(colour);
    spry_tensor_destroy(gray);
}

static void integers_are_rounded(void **state)
{
    spry_preprocess recipe = json("{\"mean\": 128, \"std\": 2, \"dtype\": \"i8\"}");
    spry_tensor *image = picture(2, 2, 1);
    spry_tensor *t = apply(&recipe, image, SPRY_DTYPE_F32, 1, 2, 2);

    (void)state;
    assert_int_equal(spry_tensor_dtype(t), SPRY_DTYPE_I8);
    assert_memory_equal(spry_tensor_data(t), ((int8_t[]){-64, -46, -27, -8}), 4);
    spry_tensor_destroy(t);
    spry_tensor_destroy(image);
}

static void other_ranks_take_all_elements(void **state)
{
    spry_preprocess recipe = named("raw");
    spry_tensor *image = picture(4, 5, 1);
    const int64_t flat[] = {-1, 20};
    const int64_t small[] = {-1, 19};
    const int64_t open[] = {-1, -1};
    spry_tensor *t = NULL;

    (void)state;
    assert_int_equal(spry_preprocess_image(NULL, &recipe, image, SPRY_DTYPE_F32, 2, flat, &t, NULL),
                     SPRY_OK);
    assert_int_equal(spry_tensor_shape(t)[0], 1);
    assert_true(((float *)spry_tensor_data(t))[3] == 111.0f);
    spry_tensor_destroy(t);
    assert_int_equal(
        spry_preprocess_image(NULL, &recipe, image, SPRY_DTYPE_F32, 2, small, &t, NULL),
        SPRY_USAGE);
    assert_int_equal(spry_preprocess_image(NULL, &recipe, image, SPRY_DTYPE_F32, 2, open, &t, NULL),
                     SPRY_USAGE);
    assert_int_equal(
        spry_preprocess_image(NULL, &recipe, image, SPRY_DTYPE_BOOL, 2, flat, &t, NULL),
        SPRY_USAGE);
    recipe.std[0] = 0.0;
    assert_int_equal(spry_preprocess_image(NULL, &recipe, image, SPRY_DTYPE_F32, 2, flat, &t, NULL),
                     SPRY_USAGE);
    spry_tensor_destroy(image);
}

static spry_status apply_once(const spry_allocator *allocator, void *context, spry_error *error)
{
    const int64_t shape[] = {1, 1, 3, 5};
    spry_preprocess recipe = spry_preprocess_default();
    spry_tensor *t = NULL;
    spry_status status =
        spry_preprocess_image(allocator, &recipe, context, SPRY_DTYPE_F32, 4, shape, &t, error);

    spry_tensor_destroy(t);
    t = NULL;
    if (status == SPRY_OK) {
        status =
            spry_preprocess_image(allocator, &recipe, context, SPRY_DTYPE_U8, 4, shape, &t, error);
    }
    spry_tensor_destroy(t);
    return status;
}

static void failing_allocations_leak_nothing(void **state)
{
    spry_tensor *image = picture(9, 8, 3);

    (void)state;
    assert_true(fault_sweep(apply_once, image) >= 5);
    spry_tensor_destroy(image);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names_normalise_as_documented),
        cmocka_unit_test(json_forms_come_back),
        cmocka_unit_test(json_errors_name_the_key),
        cmocka_unit_test(pictures_adapt_to_the_model),
        cmocka_unit_test(steps_resize_and_crop),
        cmocka_unit_test(channels_follow_recipe_and_model),
        cmocka_unit_test(integers_are_rounded),
        cmocka_unit_test(other_ranks_take_all_elements),
        cmocka_unit_test(failing_allocations_leak_nothing),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
