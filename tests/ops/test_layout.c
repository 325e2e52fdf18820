/* Operators that move elements, against naive loops over coordinates. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "support/op_harness.h"
#include "tensor/convert.h"

enum { ROUNDS = 60 };

static uint64_t state = 7;

static int64_t pick(int64_t below)
{
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return (int64_t)(state % (uint64_t)below);
}

/* A random shape: rank up to 6, sizes 0 to 5, odd and prime ones among them. */
static int random_shape(int least, int64_t *shape)
{
    int rank = least + (int)pick(7 - least);

    for (int i = 0; i < rank; i++) {
        shape[i] = pick(12) == 0 ? 0 : 1 + pick(5);
    }
    return rank;
}

/* The next input with elements 0, 1, 2, ... of a random whole-byte type. */
static tensor *counting_input(op_harness *h, int rank, const int64_t *shape)
{
    static const spry_dtype types[] = {SPRY_DTYPE_U16, SPRY_DTYPE_F32, SPRY_DTYPE_F64,
                                       SPRY_DTYPE_I64};
    tensor *t = op_harness_input(h, types[pick(4)], rank, shape);

    for (int64_t i = 0; i < tensor_count(t); i++) {
        convert_write_i64(t, i, 1, &i);
    }
    return t;
}

static void coordinates(const tensor *t, int64_t i, int64_t *at)
{
    for (int axis = t->rank - 1; axis >= 0; axis--) {
        at[axis] = i % t->shape[axis];
        i /= t->shape[axis];
    }
}

static int64_t element(const tensor *t, const int64_t *at)
{
    int64_t i = 0;

    for (int axis = 0; axis < t->rank; axis++) {
        i = i * t->shape[axis] + at[axis];
    }
    return convert_get_i64(t, i);
}

static void test_transpose(void **unused)
{
    (void)unused;
    for (int round = 0; round < ROUNDS; round++) {
        op_harness h;
        int64_t shape[8];
        int64_t perm[8];
        int rank = random_shape(0, shape);
        const tensor *x;
        const tensor *y;

        if (round == 0) { /* large enough for tiles and threads */
            rank = 3;
            shape[0] = 5;
            shape[1] = 67;
            shape[2] = 131;
        }
        op_harness_init(&h, "", "Transpose", 13);
        x = counting_input(&h, rank, shape);
        for (int i = 0; i < rank; i++) {
            int64_t k = pick(i + 1);

            perm[i] = perm[k];
            perm[k] = i;
        }
        op_harness_ints(&h, "perm", rank, perm);
        op_harness_run(&h, 1);
        y = op_harness_output(&h, 0);
        for (int64_t i = 0; i < tensor_count(y); i++) {
            int64_t at[8];
            int64_t from[8];

            coordinates(y, i, at);
            for (int k = 0; k < rank; k++) {
                from[perm[k]] = at[k];
            }
            assert_int_equal(convert_get_i64(y, i), element(x, from));
        }
        op_harness_fini(&h);
    }
}

static void test_transpose_packed(void **unused)
{
    const int64_t shape[2] = {3, 5};
    op_harness h;
    const tensor *x;

    (void)unused;
    op_harness_init(&h, "", "Transpose", 21);
    x = op_harness_input(&h, SPRY_DTYPE_I4, 2, shape);
    for (int64_t i = 0; i < 15; i++) {
        int64_t number = i - 7;

        convert_write_i64(&h.inputs[0].tensor, i, 1, &number);
    }
    op_harness_run(&h, 1);
    for (int64_t i = 0; i < 15; i++) {
        assert_int_equal(op_harness_i64_at(&h, 0, i), convert_get_i64(x, i % 3 * 5 + i / 3));
    }
    op_harness_fini(&h);
}

static void test_slice(void **unused)
{
    (void)unused;
    for (int round = 0; round < ROUNDS; round++) {
        op_harness h;
        int64_t shape[8];
        int64_t lists[4][8];
        int rank = random_shape(1, shape);
        const int64_t length = rank;
        const tensor *x;
        const tensor *y;

        op_harness_init(&h, "", "Slice", 13);
        x = counting_input(&h, rank, shape);
        for (int i = 0; i < rank; i++) {
            lists[0][i] = pick(16) - 8;
            lists[1][i] = pick(9) == 0 ? INT64_MAX : pick(9) == 0 ? INT64_MIN : pick(16) - 8;
            lists[2][i] = pick(2) == 0 ? i : i - rank;
            lists[3][i] = pick(2) == 0 ? 1 + pick(3) : -1 - pick(3);
        }
        for (int i = 0; i < 4; i++) {
            op_harness_i64s(&h, SPRY_DTYPE_I64, 1, &length, lists[i]);
        }
        op_harness_run(&h, 1);
        y = op_harness_output(&h, 0);
        for (int i = 0; i < rank; i++) { /* as Python writes it */
            int64_t step = lists[3][i];
            int64_t at = lists[0][i] < 0 ? lists[0][i] + shape[i] : lists[0][i];
            int64_t end =
                lists[1][i] < 0 && lists[1][i] > -100 ? lists[1][i] + shape[i] : lists[1][i];
            int64_t count = 0;
            int64_t least = step > 0 ? 0 : -1;

            at = at < least ? least : at;
            at = step < 0 && at > shape[i] - 1 ? shape[i] - 1 : at;
            end = end < least ? least : end;
            lists[0][i] = at;
            for (; (step > 0 ? at < end && at < shape[i] : at > end && at >= 0); at += step) {
                count++;
            }
            assert_int_equal(y->shape[i], count);
        }
        for (int64_t i = 0; i < tensor_count(y); i++) {
            int64_t at[8];

            coordinates(y, i, at);
            for (int k = 0; k < rank; k++) {
                at[k] = lists[0][k] + at[k] * lists[3][k];
            }
            assert_int_equal(convert_get_i64(y, i), element(x, at));
        }
        op_harness_fini(&h);
    }
}

static void test_pad(void **unused)
{
    static const char *const modes[] = {"constant", "edge", "reflect", "wrap"};

    (void)unused;
    for (int round = 0; round < ROUNDS; round++) {
        op_harness h;
        int64_t shape[8];
        int64_t pads[16];
        int rank = random_shape(1, shape);
        const int64_t length = 2 * rank;
        int mode = (int)pick(4);
        const tensor *x;
        const tensor *y;

        for (int i = 0; i < rank; i++) {
            shape[i] = shape[i] < 2 ? 2 : shape[i];
        }
        op_harness_init(&h, "", "Pad", 19);
        op_harness_string(&h, "mode", modes[mode]);
        x = counting_input(&h, rank, shape);
        for (int i = 0; i < 2 * rank; i++) {
            pads[i] = pick(3) - (mode == 0 ? 1 : 0); /* constant: also crops */
            pads[i] = pads[i] >= shape[i % rank] ? 0 : pads[i];
        }
        op_harness_i64s(&h, SPRY_DTYPE_I64, 1, &length, pads);
        op_harness_run(&h, 1);
        y = op_harness_output(&h, 0);
        for (int64_t i = 0; i < tensor_count(y); i++) {
            int64_t at[8];
            bool inside = true;

            coordinates(y, i, at);
            for (int k = 0; k < rank; k++) {
                int64_t size = shape[k];

                at[k] -= pads[k];
                if (at[k] < 0 || at[k] >= size) {
                    inside = inside && mode != 0;
                    at[k] = mode == 1   ? (at[k] < 0 ? 0 : size - 1)
                            : mode == 2 ? (at[k] < 0 ? -at[k] : 2 * size - 2 - at[k])
                                        : (at[k] + size) % size;
                }
            }
            assert_int_equal(convert_get_i64(y, i), inside ? element(x, at) : 0);
        }
        op_harness_fini(&h);
    }
}

static void test_concat_and_split(void **unused)
{
    (void)unused;
    for (int round = 0; round < ROUNDS; round++) {
        op_harness split;
        op_harness concat;
        int64_t shape[8];
        int64_t sizes[3];
        int rank = random_shape(1, shape);
        int axis = (int)pick(rank);
        const int64_t three = 3;
        const tensor *x;

        sizes[0] = pick(shape[axis] + 1);
        sizes[1] = pick(shape[axis] - sizes[0] + 1);
        sizes[2] = shape[axis] - sizes[0] - sizes[1];
        op_harness_init(&split, "", "Split", 13);
        op_harness_int(&split, "axis", axis - rank);
        x = counting_input(&split, rank, shape);
        op_harness_i64s(&split, SPRY_DTYPE_I64, 1, &three, sizes);
        op_harness_run(&split, 3);
        op_harness_init(&concat, "", "Concat", 13);
        op_harness_int(&concat, "axis", axis);
        for (int i = 0; i < 3; i++) {
            const tensor *part = op_harness_output(&split, i);
            tensor *in = op_harness_input(&concat, part->dtype, rank, part->shape);

            memcpy(in->data, part->data, part->bytes);
            for (int64_t k = 0; k < tensor_count(part); k++) {
                int64_t at[8];

                coordinates(part, k, at);
                at[axis] += i == 0 ? 0 : i == 1 ? sizes[0] : sizes[0] + sizes[1];
                assert_int_equal(convert_get_i64(part, k), element(x, at));
            }
        }
        op_harness_run(&concat, 1);
        assert_memory_equal(op_harness_output(&concat, 0)->data, x->data, x->bytes);
        op_harness_fini(&split);
        op_harness_fini(&concat);
    }
}

static void test_tile_and_expand(void **unused)
{
    (void)unused;
    for (int round = 0; round < ROUNDS; round++) {
        op_harness tile;
        op_harness expand;
        int64_t shape[8];
        int64_t repeats[8];
        int rank = random_shape(1, shape);
        const int64_t length = rank;
        const tensor *x;
        const tensor *y;

        op_harness_init(&tile, "", "Tile", 13);
        x = counting_input(&tile, rank, shape);
        for (int i = 0; i < rank; i++) {
            repeats[i] = pick(8) == 0 ? 0 : 1 + pick(2);
        }
        op_harness_i64s(&tile, SPRY_DTYPE_I64, 1, &length, repeats);
        op_harness_run(&tile, 1);
        y = op_harness_output(&tile, 0);
        for (int64_t i = 0; i < tensor_count(y); i++) {
            int64_t at[8];

            coordinates(y, i, at);
            for (int k = 0; k < rank; k++) {
                at[k] %= shape[k];
            }
            assert_int_equal(convert_get_i64(y, i), element(x, at));
        }
        op_harness_fini(&tile);

        op_harness_init(&expand, "", "Expand", 13);
        for (int i = 0; i < rank; i++) {
            repeats[i] = shape[i]; /* to */
            shape[i] = pick(2) == 0 ? 1 : shape[i];
            repeats[i] = shape[i] != 1 && pick(2) == 0 ? 1 : repeats[i];
        }
        x = counting_input(&expand, rank, shape);
        op_harness_i64s(&expand, SPRY_DTYPE_I64, 1, &length, repeats);
        op_harness_run(&expand, 1);
        y = op_harness_output(&expand, 0);
        for (int64_t i = 0; i < tensor_count(y); i++) {
            int64_t at[8];

            coordinates(y, i, at);
            for (int k = 0; k < rank; k++) {
                at[k] = shape[k] == 1 ? 0 : at[k];
            }
            assert_int_equal(convert_get_i64(y, i), element(x, at));
        }
        op_harness_fini(&expand);
    }
}

static void test_depth_and_space_undo_each_other(void **unused)
{
    (void)unused;
    for (int round = 0; round < ROUNDS; round++) {
        const int64_t block = 1 + pick(3);
        const int64_t shape[4] = {1 + pick(2), block * block * (1 + pick(3)), pick(5), 1 + pick(5)};
        op_harness there;
        op_harness back;
        const tensor *x;
        const tensor *y;

        op_harness_init(&there, "", "DepthToSpace", 13);
        op_harness_int(&there, "blocksize", block);
        x = counting_input(&there, 4, shape);
        op_harness_run(&there, 1);
        y = op_harness_output(&there, 0);
        op_harness_init(&back, "", "SpaceToDepth", 13);
        op_harness_int(&back, "blocksize", block);
        memcpy(op_harness_input(&back, y->dtype, 4, y->shape)->data, y->data, y->bytes);
        op_harness_run(&back, 1);
        assert_memory_equal(op_harness_output(&back, 0)->data, x->data, x->bytes);
        op_harness_fini(&there);
        op_harness_fini(&back);
    }
}

static void test_reshape(void **unused)
{
    const int64_t shape[3] = {2, 3, 4};
    const int64_t three = 3;
    const struct {
        int64_t request[3];
        int64_t allow_zero;
        int64_t expected[3]; /* first -1: refused */
    } cases[] = {
        {{4, -1, 3}, 0, {4, 2, 3}},   {{0, 0, -1}, 0, {2, 3, 4}}, {{-1, -1, 4}, 0, {-1}},
        {{0, 3, 8}, 1, {-1}},         {{5, -1, 1}, 0, {-1}},      {{-2, 12, 1}, 0, {-1}},
        {{INT64_MAX, 4, 2}, 0, {-1}},
    };

    (void)unused;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        op_harness h;

        op_harness_init(&h, "", "Reshape", 14);
        op_harness_int(&h, "allowzero", cases[i].allow_zero);
        op_harness_input(&h, SPRY_DTYPE_F32, 3, shape);
        op_harness_i64s(&h, SPRY_DTYPE_I64, 1, &three, cases[i].request);
        if (cases[i].expected[0] < 0) {
            assert_int_equal(op_harness_try(&h, 1), SPRY_BAD_INPUT);
            h.hide_constants = true;
            assert_int_equal(op_harness_try(&h, 1), SPRY_BAD_INPUT);
        } else {
            op_harness_run(&h, 1);
            op_harness_expect(&h, 0, SPRY_DTYPE_F32, 3, cases[i].expected);
        }
        op_harness_fini(&h);
    }
}

/* One list of numbers that an operator must refuse, also when only the kernel sees it. */
static void refuse(const char *name, int opset, const int64_t *numbers, int64_t count)
{
    const int64_t shape[2] = {2, 3};
    op_harness h;

    op_harness_init(&h, "", name, opset);
    if (strcmp(name, "ConstantOfShape") != 0) {
        op_harness_input(&h, SPRY_DTYPE_F32, 2, shape);
    }
    op_harness_i64s(&h, SPRY_DTYPE_I64, 1, &count, numbers);
    h.hide_constants = true;
    assert_true(op_harness_try(&h, 1) != SPRY_OK);
    op_harness_fini(&h);
}

static void test_hostile_numbers(void **unused)
{
    const int64_t huge[2] = {INT64_MAX, INT64_MAX};
    const int64_t negative[2] = {-1, 2};
    const int64_t wide[4] = {INT32_MAX, INT32_MAX, INT32_MAX, 1};

    (void)unused;
    refuse("Tile", 13, huge, 2);
    refuse("Tile", 13, negative, 2);
    refuse("Expand", 13, huge, 2);
    refuse("Expand", 13, negative, 2);
    refuse("ConstantOfShape", 9, huge, 2);
    refuse("ConstantOfShape", 9, negative, 2);
    refuse("ConstantOfShape", 9, wide, 3);
    refuse("Pad", 13, wide, 4);
    refuse("CenterCropPad", 18, negative, 2);
    refuse("Unsqueeze", 13, huge, 2);
    refuse("Squeeze", 13, negative, 2);
    refuse("Split", 13, huge, 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_transpose),
        cmocka_unit_test(test_transpose_packed),
        cmocka_unit_test(test_slice),
        cmocka_unit_test(test_pad),
        cmocka_unit_test(test_concat_and_split),
        cmocka_unit_test(test_tile_and_expand),
        cmocka_unit_test(test_depth_and_space_undo_each_other),
        cmocka_unit_test(test_reshape),
        cmocka_unit_test(test_hostile_numbers),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
