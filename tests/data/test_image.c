/* Pictures: small ones of every format whose pixels are known, damaged ones, limits. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <turbojpeg.h>

#include "spry/image.h"
#include "support/data.h"
#include "support/fault.h"
#include "tensor/tensor.h"

enum { HEIGHT = 13, WIDTH = 21 };

/* 2 x 2 pixels red, green, blue, white as lossless WebP, and RGBA, gray + alpha, palette and 16-bit
 * gray PNG (of 1 x 2 pixels), made with the Pillow library. */
static const uint8_t webp[] = {
    0x52, 0x49, 0x46, 0x46, 0x2c, 0x00, 0x00, 0x00, 0x57, 0x45, 0x42, 0x50, 0x56,
    0x50, 0x38, 0x4c, 0x1f, 0x00, 0x00, 0x00, 0x2f, 0x01, 0x40, 0x00, 0x00, 0x1f,
    0x20, 0x10, 0x48, 0xde, 0x1f, 0x3a, 0x8d, 0xf9, 0x17, 0x10, 0x14, 0xfc, 0x1f,
    0xdd, 0xfc, 0x47, 0x64, 0x0f, 0xe0, 0x06, 0x0c, 0x11, 0xfd, 0x0f, 0x01, 0x00,
};
static const uint8_t png_rgba[] = {
    0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a, 0x00, 0x00, 0x00, 0x0d, 0x49, 0x48,
    0x44, 0x52, 0x00, 0x00, 0x00, 0x02, 0x00, 0x00, 0x00, 0x02, 0x08, 0x06, 0x00, 0x00,
    0x00, 0x72, 0xb6, 0x0d, 0x24, 0x00, 0x00, 0x00, 0x19, 0x49, 0x44, 0x41, 0x54, 0x78,
    0x9c, 0x05, 0xc1, 0x31, 0x01, 0x00, 0x00, 0x08, 0xc0, 0x20, 0xbc, 0xac, 0x6d, 0xf3,
    0x09, 0x22, 0xb9, 0x21, 0x65, 0x1f, 0x3c, 0xea, 0x06, 0x83, 0xcd, 0xa9, 0xa9, 0xde,
    0x00, 0x00, 0x00, 0x00, 0x49, 0x45, 0x4e, 0x44, 0xae, 0x42, 0x60, 0x82,
};
static const uint8_t png_palette[] = {
    0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a, 0x00, 0x00, 0x00, 0x0d, 0x49, 0x48, 0x44, 0x52,
    0x00, 0x00, 0x00, 0x02, 0x00, 0x00, 0x00, 0x02, 0x02, 0x03, 0x00, 0x00, 0x00, 0x0f, 0xd8, 0xe5,
    0xb7, 0x00, 0x00, 0x00, 0x0c, 0x50, 0x4c, 0x54, 0x45, 0xff, 0xff, 0xff, 0x00, 0xff, 0x00, 0xff,
    0x00, 0x00, 0x00, 0x00, 0xff, 0x17, 0x01, 0x40, 0xea, 0x00, 0x00, 0x00, 0x0c, 0x49, 0x44, 0x41,
    0x54, 0x78, 0x9c, 0x63, 0x98, 0xc0, 0x70, 0x00, 0x00, 0x02, 0x74, 0x01, 0x51, 0x9a, 0x22, 0xe2,
    0xfb, 0x00, 0x00, 0x00, 0x00, 0x49, 0x45, 0x4e, 0x44, 0xae, 0x42, 0x60, 0x82,
};
static const uint8_t png_gray_alpha[] = {
    0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a, 0x00, 0x00, 0x00, 0x0d, 0x49, 0x48,
    0x44, 0x52, 0x00, 0x00, 0x00, 0x02, 0x00, 0x00, 0x00, 0x01, 0x08, 0x04, 0x00, 0x00,
    0x00, 0x5e, 0x2b, 0xb7, 0x01, 0x00, 0x00, 0x00, 0x0d, 0x49, 0x44, 0x41, 0x54, 0x78,
    0x9c, 0x63, 0xe0, 0x62, 0x3d, 0xc1, 0x00, 0x00, 0x01, 0xcc, 0x00, 0xd8, 0x9b, 0x37,
    0xfa, 0xd0, 0x00, 0x00, 0x00, 0x00, 0x49, 0x45, 0x4e, 0x44, 0xae, 0x42, 0x60, 0x82,
};
static const uint8_t png_gray16[] = {
    0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a, 0x00, 0x00, 0x00, 0x0d, 0x49, 0x48,
    0x44, 0x52, 0x00, 0x00, 0x00, 0x02, 0x00, 0x00, 0x00, 0x01, 0x10, 0x00, 0x00, 0x00,
    0x00, 0x81, 0xd9, 0xfc, 0x15, 0x00, 0x00, 0x00, 0x0d, 0x49, 0x44, 0x41, 0x54, 0x78,
    0x9c, 0x63, 0x10, 0x32, 0xf9, 0xff, 0x1f, 0x00, 0x03, 0xe6, 0x02, 0x45, 0x2e, 0x42,
    0x96, 0x75, 0x00, 0x00, 0x00, 0x00, 0x49, 0x45, 0x4e, 0x44, 0xae, 0x42, 0x60, 0x82,
};

static char folder[512];

static int make_folder(void **state)
{
    (void)state;
    (void)snprintf(folder, sizeof folder, "%s", data_make_folder());
    return 0;
}

static int remove_folder(void **state)
{
    (void)state;
    data_remove_folder(folder);
    return 0;
}

static spry_tensor *picture(int64_t channels)
{
    const int64_t shape[] = {HEIGHT, WIDTH, channels};
    spry_tensor *t = NULL;
    uint8_t *pixels;

    assert_int_equal(spry_tensor_create(NULL, SPRY_DTYPE_U8, 3, shape, &t, NULL), SPRY_OK);
    pixels = spry_tensor_data(t);
    for (int64_t i = 0; i < spry_tensor_count(t); i++) {
        pixels[i] = (uint8_t)(i / channels * 3 % 200 + i % channels * 20);
    }
    return t;
}

/* The picture as JPEG; freed with tjFree. */
static uint8_t *encode_jpeg(const spry_tensor *t, int flags, unsigned long *size)
{
    tjhandle encoder = tjInitCompress();
    uint8_t *bytes = NULL;
    bool gray = t->shape[2] == 1;

    *size = 0;
    assert_non_null(encoder);
    assert_int_equal(tjCompress2(encoder, t->data, (int)t->shape[1], 0, (int)t->shape[0],
                                 gray ? TJPF_GRAY : TJPF_RGB, &bytes, size,
                                 gray ? TJSAMP_GRAY : TJSAMP_444, 100, flags),
                     0);
    (void)tjDestroy(encoder);
    return bytes;
}

static spry_status decode(const void *bytes, size_t size, spry_tensor **t, spry_error *error)
{
    uint8_t *exact = malloc(size > 0 ? size : 1); /* reads past the end are then seen */
    spry_status status;

    assert_non_null(exact);
    memcpy(exact, bytes, size);
    status = spry_image_decode(NULL, exact, size, "picture", t, error);
    free(exact);
    return status;
}

static void png_comes_back(void **state)
{
    (void)state;
    for (int64_t channels = 1; channels <= 3; channels += 2) {
        spry_tensor *t = picture(channels);
        spry_tensor *back = NULL;
        const char *path = data_join(folder, "misnamed.jpg"); /* content decides */

        assert_int_equal(spry_image_save_png(t, path, NULL), SPRY_OK);
        assert_int_equal(spry_image_load(NULL, path, &back, NULL), SPRY_OK);
        assert_true(tensor_same_shape(t, back));
        assert_memory_equal(spry_tensor_data(t), spry_tensor_data(back), spry_tensor_bytes(t));
        spry_tensor_destroy(t);
        spry_tensor_destroy(back);
    }
}

static void jpeg_comes_back_nearly(void **state)
{
    (void)state;
    for (int64_t channels = 1; channels <= 3; channels += 2) {
        spry_tensor *t = picture(channels);
        spry_tensor *back = NULL;
        unsigned long size;
        uint8_t *bytes = encode_jpeg(t, 0, &size);
        const uint8_t *a = spry_tensor_const_data(t);
        const uint8_t *b;

        assert_int_equal(decode(bytes, size, &back, NULL), SPRY_OK);
        assert_true(tensor_same_shape(t, back));
        b = spry_tensor_const_data(back);
        for (int64_t i = 0; i < spry_tensor_count(t); i++) {
            assert_in_range(a[i] - b[i] + 8, 0, 16);
        }
        tjFree(bytes);
        spry_tensor_destroy(t);
        spry_tensor_destroy(back);
    }
}

static void other_forms_are_expanded(void **state)
{
    static const uint8_t colours[] = {255, 0, 0, 0, 255, 0, 0, 0, 255, 255, 255, 255};
    static const struct {
        const uint8_t *bytes;
        size_t size;
        const uint8_t *pixels;
        size_t count;
    } cases[] = {
        {webp, sizeof webp, colours, 12},
        {png_rgba, sizeof png_rgba, colours, 12},
        {png_palette, sizeof png_palette, colours, 12},
        {png_gray_alpha, sizeof png_gray_alpha, (const uint8_t *)"\x0a\xc8", 2},
        {png_gray16, sizeof png_gray16, (const uint8_t *)"\x12\xff", 2},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        spry_tensor *t = NULL;
        spry_error error = {0};

        if (decode(cases[i].bytes, cases[i].size, &t, &error) != SPRY_OK) {
            fail_msg("case %zu: %s", i, error.what);
        }
        assert_int_equal(spry_tensor_bytes(t), cases[i].count);
        assert_memory_equal(spry_tensor_data(t), cases[i].pixels, cases[i].count);
        spry_tensor_destroy(t);
    }
}

/* Cut anywhere, a picture is refused, and the error says what to do. */
static void cut_pictures_are_refused(void **state)
{
    spry_tensor *t = picture(3);
    unsigned long size;
    uint8_t *bytes = encode_jpeg(t, TJFLAG_PROGRESSIVE, &size);
    spry_tensor *back = NULL;

    (void)state;
    for (size_t cut = 0; cut + 2 < size; cut++) {
        spry_error error = {0};

        assert_int_equal(decode(bytes, cut, &back, &error), SPRY_BAD_INPUT);
        assert_null(back);
        assert_true(error.remedy[0] != '\0');
    }
    for (size_t cut = 0; cut + 12 < sizeof png_rgba; cut++) {
        assert_int_equal(decode(png_rgba, cut, &back, NULL), SPRY_BAD_INPUT);
    }
    for (size_t cut = 0; cut < sizeof webp - 2; cut++) {
        assert_int_equal(decode(webp, cut, &back, NULL), SPRY_BAD_INPUT);
    }
    tjFree(bytes);
    spry_tensor_destroy(t);
}

static void large_claims_are_refused_early(void **state)
{
    spry_tensor *t = picture(3);
    unsigned long size;
    uint8_t *bytes = encode_jpeg(t, 0, &size);
    uint8_t *many;
    spry_tensor *back = NULL;

    (void)state;
    for (size_t i = 0; i + 9 < size; i++) {
        if (bytes[i] == 0xff && bytes[i + 1] == 0xc0) { /* the frame: height and width follow */
            bytes[i + 5] = 0x20;
            bytes[i + 7] = 0x10;
            break;
        }
    }
    assert_int_equal(decode(bytes, size, &back, NULL), SPRY_BAD_INPUT); /* too few bytes */
    tjFree(bytes);
    spry_tensor_destroy(t);

    many = calloc(1, 1000);
    assert_non_null(many);
    memcpy(many, "\xff\xd8\xff", 3);
    for (size_t i = 0; i < 101; i++) {
        many[10 + 4 * i] = 0xff;
        many[11 + 4 * i] = 0xda;
    }
    assert_int_equal(decode(many, 1000, &back, NULL), SPRY_LIMIT);
    free(many);
}

static void netpbm_pictures_are_read(void **state)
{
    static const struct {
        const char *bytes;
        size_t size;
        int64_t channels;
        uint8_t pixels[6];
    } cases[] = {
        {"P5\n# a comment\n2 1 255\nab", 25, 1, {'a', 'b'}},
        {"P6 1 1 255\nabcrest", 18, 3, {'a', 'b', 'c'}},
        {"P5 2 1 100\n\0\x32", 13, 1, {0, 128}},
        {"P5 2 1 65535\n\0\0\xff\xff", 17, 1, {0, 255}},
        {"P2\n3 1\n#x\n15\n0 15\n 7", 21, 1, {0, 255, 119}},
        {"P3 2 1 2 0 1 2  2 1 0", 21, 3, {0, 128, 255, 255, 128, 0}},
    };
    static const char *const wrong[] = {
        "P5 2 1 255\na",
        "P5 2 1 0\nab",
        "P5 2 1 65536\nabcd",
        "P5 0 1 255\n",
        "P5 2 1 100\nzz",
        "P2 2 1 9 1 ",
        "P2 2 1 9 1 10",
        "P2 2 1 9 1 x",
        "P5 -2 1 255\na",
        "P5 2 1 255",
        "P5 99999999 99999999 255\nab",
        "P5 99999999999999999999 1 255\nab",
        "P5\n# no end",
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        spry_tensor *t = NULL;

        assert_int_equal(
            spry_image_decode(NULL, cases[i].bytes, cases[i].size, "picture", &t, NULL), SPRY_OK);
        assert_int_equal(spry_tensor_shape(t)[2], cases[i].channels);
        assert_memory_equal(spry_tensor_data(t), cases[i].pixels, spry_tensor_bytes(t));
        spry_tensor_destroy(t);
    }
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        spry_tensor *t = NULL;
        spry_error error = {.code = SPRY_OK};

        assert_int_equal(spry_image_decode(NULL, wrong[i], strlen(wrong[i]), "picture", &t, &error),
                         SPRY_BAD_INPUT);
        assert_null(t);
        assert_true(error.what[0] != '\0');
    }
}

static void only_pictures_are_saved(void **state)
{
    const int64_t shape[] = {2, 2, 2};
    spry_tensor *t = NULL;

    (void)state;
    assert_int_equal(spry_tensor_create(NULL, SPRY_DTYPE_U8, 3, shape, &t, NULL), SPRY_OK);
    assert_int_equal(spry_image_save_png(t, "x.png", NULL), SPRY_USAGE);
    spry_tensor_destroy(t);
    assert_int_equal(spry_tensor_create(NULL, SPRY_DTYPE_F32, 2, shape, &t, NULL), SPRY_OK);
    assert_int_equal(spry_image_save_png(t, "x.png", NULL), SPRY_USAGE);
    spry_tensor_destroy(t);
    assert_int_equal(spry_image_load(NULL, "/nowhere.png", &t, NULL), SPRY_IO);
}

static spry_status load_once(const spry_allocator *allocator, void *context, spry_error *error)
{
    spry_tensor *t = NULL;
    spry_status status = spry_image_load(allocator, context, &t, error);

    spry_tensor_destroy(t);
    return status;
}

static void failing_allocations_leak_nothing(void **state)
{
    const struct {
        const uint8_t *bytes;
        size_t size;
    } files[] = {{png_rgba, sizeof png_rgba},
                 {png_palette, sizeof png_palette},
                 {png_gray_alpha, sizeof png_gray_alpha},
                 {png_gray16, sizeof png_gray16},
                 {webp, sizeof webp}};
    spry_tensor *t = picture(3);
    unsigned long size;
    uint8_t *jpeg;
    char path[600];

    (void)state;
    (void)snprintf(path, sizeof path, "%s", data_join(folder, "sweep"));
    for (size_t i = 0; i < sizeof files / sizeof files[0]; i++) {
        data_write(path, files[i].bytes, files[i].size);
        assert_true(fault_sweep(load_once, path) >= 2);
    }
    jpeg = encode_jpeg(t, 0, &size);
    data_write(path, jpeg, size);
    assert_true(fault_sweep(load_once, path) >= 2);
    tjFree(jpeg);
    spry_tensor_destroy(t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(png_comes_back),
        cmocka_unit_test(jpeg_comes_back_nearly),
        cmocka_unit_test(other_forms_are_expanded),
        cmocka_unit_test(cut_pictures_are_refused),
        cmocka_unit_test(large_claims_are_refused_early),
        cmocka_unit_test(netpbm_pictures_are_read),
        cmocka_unit_test(only_pictures_are_saved),
        cmocka_unit_test(failing_allocations_leak_nothing),
    };

    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
