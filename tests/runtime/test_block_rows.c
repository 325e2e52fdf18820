/* Which rows of images strips of a block read and make, and windows that are too small for them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "runtime/block/state.h"

static conv_f32_shape shape_of(int64_t in_h, int64_t kernel, int64_t stride, int64_t pad)
{
    return (conv_f32_shape){.in_h = in_h,
                            .out_h = (in_h + 2 * pad - kernel) / stride + 1,
                            .kernel_h = kernel,
                            .stride_h = stride,
                            .dilation_h = 1,
                            .pad_h = pad};
}

/* A chain of layers, each of which reads the one before it. */
static void chain_of(block_state *s, int count, const conv_f32_shape *shapes, int64_t strip)
{
    memset(s, 0, sizeof *s);
    s->layer_count = count;
    for (int i = 0; i < count; i++) {
        s->layers[i].shape = shapes[i];
        s->layers[i].in = i - 1;
        s->layers[i].other = BLOCK_NOWHERE;
        s->layers[i].rows = shapes[i].out_h;
    }
    s->strip = strip;
    s->piece = shapes[count - 1].out_h;
}

static void check_reads(conv_f32_shape shape, int64_t row, int64_t end, int64_t first,
                        int64_t until)
{
    int64_t found_first;
    int64_t found_until;

    block_reads(&shape, row, end, &found_first, &found_until);
    assert_int_equal(found_first, first);
    assert_int_equal(found_until, until);
}

static void rows_of_two_convolutions(void **state)
{
    const conv_f32_shape shapes[] = {shape_of(8, 3, 1, 1), shape_of(8, 3, 1, 1)};
    block_state *s = malloc(sizeof *s);
    block_rows r;

    (void)state;
    assert_non_null(s);
    chain_of(s, 2, shapes, 2);
    block_rows_of(s, 4, 6, NULL, &r);
    assert_int_equal(r.start[0], 3);
    assert_int_equal(r.end[0], 7);
    check_reads(shapes[0], r.start[0], r.end[0], 2, 8);
    block_rows_of(s, 0, 2, NULL, &r);
    assert_int_equal(r.start[0], 0); /* the row before it is padding */
    assert_int_equal(r.end[0], 3);
    check_reads(shapes[0], r.start[0], r.end[0], 0, 4);
    free(s);
}

static void rows_of_strides(void **state)
{
    (void)state;
    check_reads(shape_of(12, 3, 2, 1), 1, 3, 1, 6);
    check_reads(shape_of(12, 1, 1, 0), 1, 6, 1, 6);
    check_reads(shape_of(12, 5, 2, 2), 0, 1, 0, 3);
    check_reads(shape_of(12, 3, 2, 1), 5, 6, 9, 12); /* 9 to 11: nothing lies below */
}

/* Going on, only new rows are made, and what is read again is kept. */
static void rows_that_are_there(void **state)
{
    const conv_f32_shape shapes[] = {shape_of(20, 1, 1, 0), shape_of(20, 5, 1, 2),
                                     shape_of(20, 3, 1, 1)};
    block_state *s = malloc(sizeof *s);
    int64_t made[3] = {0, 0, 0};
    block_rows r;

    (void)state;
    assert_non_null(s);
    chain_of(s, 3, shapes, 2);
    for (int64_t row = 0; row < 20; row += 2) {
        block_rows_of(s, row, row + 2, made, &r);
        for (int i = 0; i < 3; i++) {
            assert_int_equal(r.start[i], made[i]); /* each row once, none left out */
            assert_true(r.end[i] >= made[i] && r.keep[i] <= r.start[i]);
            made[i] = r.end[i];
        }
    }
    for (int i = 0; i < 3; i++) {
        assert_int_equal(made[i], 20);
    }
    free(s);
}

/* An image that a later layer reads again stays for both readers. */
static void rows_of_a_shortcut(void **state)
{
    const conv_f32_shape shapes[] = {shape_of(20, 1, 1, 0), shape_of(20, 3, 1, 1),
                                     shape_of(20, 3, 1, 1)};
    block_state *s = malloc(sizeof *s);
    block_rows r;

    (void)state;
    assert_non_null(s);
    chain_of(s, 3, shapes, 1);
    s->layers[2].other = 0;
    block_rows_of(s, 10, 11, (const int64_t[]){13, 12, 10}, &r);
    assert_int_equal(r.start[1], 12); /* of rows 9, 10 and 11 all are there */
    assert_int_equal(r.end[1], 12);
    assert_int_equal(r.keep[0], 10); /* to be added, though the next to be filtered is row 11 */
    free(s);
}

static void small_windows_do_not_fit(void **state)
{
    const conv_f32_shape shapes[] = {shape_of(30, 1, 1, 0), shape_of(30, 3, 1, 1),
                                     shape_of(30, 3, 1, 1)};
    block_state *s = malloc(sizeof *s);

    (void)state;
    assert_non_null(s);
    for (int64_t strip = 1; strip <= 8; strip++) {
        chain_of(s, 3, shapes, strip);
        s->layers[0].rows = strip + 4;
        s->layers[1].rows = strip + 2;
        s->layers[2].rows = strip;
        assert_true(block_fits(s));
        for (int i = 0; i < 3; i++) {
            s->layers[i].rows--;
            assert_false(block_fits(s));
            s->layers[i].rows++;
        }
    }
    free(s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rows_of_two_convolutions), cmocka_unit_test(rows_of_strides),
        cmocka_unit_test(rows_that_are_there),      cmocka_unit_test(rows_of_a_shortcut),
        cmocka_unit_test(small_windows_do_not_fit),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
