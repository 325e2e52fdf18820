/* Resizing against recorded results of the Pillow library (9.4), bit by bit, and simple facts. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "data/resize.h"
#include "support/fault.h"

typedef struct resize_case {
    spry_resize_method method;
    int64_t height;
    int64_t width;
    int64_t channels;
    int64_t to_height;
    int64_t to_width;
    uint32_t hash; /* 32-bit FNV-1a of Pillow's result for the pattern below */
} resize_case;

static const resize_case cases[] = {
    {SPRY_RESIZE_BILINEAR, 5, 7, 3, 5, 7, 0x957aaa9fu},
    {SPRY_RESIZE_BILINEAR, 5, 7, 3, 3, 4, 0xe32e1505u},
    {SPRY_RESIZE_BILINEAR, 5, 7, 3, 11, 9, 0xe14c2052u},
    {SPRY_RESIZE_BILINEAR, 1, 1, 3, 4, 3, 0xaa50ad71u},
    {SPRY_RESIZE_BILINEAR, 64, 48, 3, 17, 31, 0x9e45ba07u},
    {SPRY_RESIZE_BILINEAR, 33, 47, 1, 224, 3, 0xbe5a6f59u},
    {SPRY_RESIZE_BILINEAR, 100, 1, 1, 7, 5, 0x02ac90feu},
    {SPRY_RESIZE_BILINEAR, 224, 224, 3, 128, 128, 0xe502ca97u},
    {SPRY_RESIZE_BILINEAR, 224, 224, 3, 160, 160, 0x1ab910e0u},
    {SPRY_RESIZE_BILINEAR, 50, 60, 3, 50, 30, 0x7e330913u},
    {SPRY_RESIZE_BILINEAR, 50, 60, 3, 25, 60, 0x3613814fu},
    {SPRY_RESIZE_BICUBIC, 5, 7, 3, 5, 7, 0x957aaa9fu},
    {SPRY_RESIZE_BICUBIC, 5, 7, 3, 3, 4, 0xdd0f8376u},
    {SPRY_RESIZE_BICUBIC, 5, 7, 3, 11, 9, 0x6b92779au},
    {SPRY_RESIZE_BICUBIC, 1, 1, 3, 4, 3, 0xaa50ad71u},
    {SPRY_RESIZE_BICUBIC, 64, 48, 3, 17, 31, 0xb1f2d6abu},
    {SPRY_RESIZE_BICUBIC, 33, 47, 1, 224, 3, 0x6f7218dau},
    {SPRY_RESIZE_BICUBIC, 100, 1, 1, 7, 5, 0xabe517d2u},
    {SPRY_RESIZE_BICUBIC, 224, 224, 3, 128, 128, 0xf7a08f31u},
    {SPRY_RESIZE_BICUBIC, 224, 224, 3, 160, 160, 0xdf89268au},
    {SPRY_RESIZE_BICUBIC, 50, 60, 3, 50, 30, 0xcfdf2ae1u},
    {SPRY_RESIZE_BICUBIC, 50, 60, 3, 25, 60, 0x107cb773u},
    {SPRY_RESIZE_NEAREST, 5, 7, 3, 5, 7, 0x957aaa9fu},
    {SPRY_RESIZE_NEAREST, 5, 7, 3, 3, 4, 0x59528cbcu},
    {SPRY_RESIZE_NEAREST, 5, 7, 3, 11, 9, 0xfa437e4du},
    {SPRY_RESIZE_NEAREST, 1, 1, 3, 4, 3, 0xaa50ad71u},
    {SPRY_RESIZE_NEAREST, 33, 47, 1, 224, 3, 0x84d326ddu},
    {SPRY_RESIZE_NEAREST, 100, 1, 1, 7, 5, 0x5568b70cu},
    {SPRY_RESIZE_NEAREST, 224, 224, 3, 128, 128, 0xc116a8fcu},
    {SPRY_RESIZE_NEAREST, 224, 224, 3, 160, 160, 0x16e2358fu},
    {SPRY_RESIZE_NEAREST, 50, 60, 3, 50, 30, 0x17ca22b0u},
    {SPRY_RESIZE_NEAREST, 50, 60, 3, 25, 60, 0xbf18d4a0u},
};

static uint8_t pattern(int64_t y, int64_t x, int64_t c)
{
    return (uint8_t)(y * 31 + x * 17 + c * 71 + x * y % 13 * 7 + (x * x + y * 3) % 29 * 5);
}

static resize_picture make(int64_t height, int64_t width, int64_t channels)
{
    resize_picture p = {NULL, height, width, channels, width * channels};

    p.data = malloc((size_t)(height * p.stride));
    assert_non_null(p.data);
    for (int64_t i = 0; i < height * p.stride; i++) {
        int64_t x = i / channels % width;

        p.data[i] = pattern(i / p.stride, x, i % channels);
    }
    return p;
}

static uint32_t hash(const resize_picture *p)
{
    uint32_t h = 2166136261u;

    for (int64_t i = 0; i < p->height * p->stride; i++) {
        h = (h ^ p->data[i]) * 16777619u;
    }
    return h;
}

static void equals_pillow(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        const resize_case *c = &cases[i];
        resize_picture from = make(c->height, c->width, c->channels);
        resize_picture to = make(c->to_height, c->to_width, c->channels);

        assert_int_equal(resize_u8(NULL, &from, &to, c->method, NULL), SPRY_OK);
        if (hash(&to) != c->hash) {
            fail_msg("case %zu: hash %#x, expected %#x", i, hash(&to), c->hash);
        }
        free(from.data);
        free(to.data);
    }
}

/* A part of a picture (rows further apart than it is wide) resizes like a copy of the part. */
static void parts_resize_like_copies(void **state)
{
    resize_picture whole = make(20, 30, 3);
    resize_picture part = {whole.data + 4 * whole.stride + 5 * 3, 11, 13, 3, whole.stride};
    resize_picture copy = make(11, 13, 3);
    resize_picture a = make(7, 29, 3);
    resize_picture b = make(7, 29, 3);

    (void)state;
    for (int64_t y = 0; y < 11; y++) {
        memcpy(copy.data + y * copy.stride, part.data + y * part.stride, (size_t)copy.stride);
    }
    for (int method = 0; method < 3; method++) {
        assert_int_equal(resize_u8(NULL, &part, &a, (spry_resize_method)method, NULL), SPRY_OK);
        assert_int_equal(resize_u8(NULL, &copy, &b, (spry_resize_method)method, NULL), SPRY_OK);
        assert_memory_equal(a.data, b.data, (size_t)(a.height * a.stride));
    }
    free(whole.data);
    free(copy.data);
    free(a.data);
    free(b.data);
}

static void flat_colours_stay(void **state)
{
    resize_picture from = make(9, 14, 3);
    resize_picture to = make(31, 5, 3);

    (void)state;
    for (int method = 0; method < 3; method++) {
        for (int value = 0; value < 256; value += 51) {
            memset(from.data, value, (size_t)(from.height * from.stride));
            assert_int_equal(resize_u8(NULL, &from, &to, (spry_resize_method)method, NULL),
                             SPRY_OK);
            for (int64_t i = 0; i < to.height * to.stride; i++) {
                assert_int_equal(to.data[i], value);
            }
        }
    }
    free(from.data);
    free(to.data);
}

static spry_status resize_once(const spry_allocator *allocator, void *context, spry_error *error)
{
    resize_picture *pictures = context;

    return resize_u8(allocator, &pictures[0], &pictures[1], SPRY_RESIZE_BICUBIC, error);
}

static void failing_allocations_leak_nothing(void **state)
{
    resize_picture pictures[] = {make(9, 14, 1), make(3, 5, 1)};

    (void)state;
    assert_true(fault_sweep(resize_once, pictures) >= 7);
    free(pictures[0].data);
    free(pictures[1].data);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(equals_pillow),
        cmocka_unit_test(parts_resize_like_copies),
        cmocka_unit_test(flat_colours_stay),
        cmocka_unit_test(failing_allocations_leak_nothing),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
