/* Summaries of tensors against loops over plain arrays. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "measure/summary.h"
#include "spry/random.h"

static tensor wrap(spry_dtype dtype, int rank, const int64_t *shape, void *data)
{
    tensor t;

    assert_int_equal(tensor_init(&t, dtype, rank, shape, data, NULL), SPRY_OK);
    return t;
}

static void matches_a_plain_loop(void **state)
{
    static float values[2053];
    spry_random random = spry_random_stream(7, 0);

    (void)state;
    spry_random_fill_normal(&random, values, 2053, 3.0f, 2.0f);
    for (int64_t count = 1; count <= 2053; count += 171) {
        tensor t = wrap(SPRY_DTYPE_F32, 1, &count, values);
        double least = (double)values[0];
        double most = (double)values[0];
        double sum = 0.0;
        summary s;

        for (int64_t i = 0; i < count; i++) {
            least = (double)values[i] < least ? (double)values[i] : least;
            most = (double)values[i] > most ? (double)values[i] : most;
            sum += (double)values[i];
        }
        summary_of(&t, &s);
        assert_int_equal(s.count, count);
        assert_int_equal(s.finite, count);
        assert_true(s.min == least && s.max == most);
        assert_true(fabs(s.mean - sum / (double)count) < 1e-9);
    }
}

static void odd_elements_are_left_out(void **state)
{
    float values[] = {NAN, 2.0f, INFINITY, -1.0f, -INFINITY};
    const int64_t five = 5;
    const int64_t none = 0;
    tensor t = wrap(SPRY_DTYPE_F32, 1, &five, values);
    tensor empty = wrap(SPRY_DTYPE_F32, 1, &none, values);
    spry_text words[1] = {{"a", 1}};
    const int64_t one = 1;
    tensor text = wrap(SPRY_DTYPE_STRING, 1, &one, words);
    summary s;

    (void)state;
    summary_of(&t, &s);
    assert_int_equal(s.finite, 2);
    assert_true(s.min == -1.0 && s.max == 2.0 && s.mean == 0.5);
    summary_of(&empty, &s);
    assert_true(s.count == 0 && s.finite == 0 && s.mean == 0.0);
    summary_of(&text, &s);
    assert_true(s.count == 1 && s.finite == 0);
}

static void scores_are_recognised(void **state)
{
    static float values[64];
    static const struct {
        int rank;
        int64_t shape[5];
        bool scores;
    } cases[] = {
        {1, {10}, true},        {2, {1, 10}, true},       {4, {1, 10, 1, 1}, true},
        {2, {2, 10}, false},    {2, {1, 1}, false},       {0, {0}, false},
        {3, {1, 10, 1}, false}, {4, {1, 4, 2, 2}, false}, {5, {1, 4, 1, 1, 1}, false},
        {2, {1, 0}, false},
    };
    const int64_t ten = 10;
    tensor integers = wrap(SPRY_DTYPE_I32, 1, &ten, values);

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        tensor t = wrap(SPRY_DTYPE_F32, cases[i].rank, cases[i].shape, values);

        assert_int_equal(summary_is_scores(&t), cases[i].scores);
    }
    assert_false(summary_is_scores(&integers));
}

static void the_largest_come_first(void **state)
{
    float values[] = {1.0f, 7.0f, NAN, 7.0f, -3.0f, 9.0f, 2.0f};
    const int64_t count = 7;
    tensor t = wrap(SPRY_DTYPE_F32, 1, &count, values);
    int64_t indices[7];
    double found[7];

    (void)state;
    assert_int_equal(summary_top(&t, 3, indices, found), 3);
    assert_int_equal(indices[0], 5);
    assert_int_equal(indices[1], 1);
    assert_int_equal(indices[2], 3);
    assert_true(found[0] == 9.0);
    assert_int_equal(summary_top(&t, 7, indices, found), 6);
    assert_int_equal(indices[5], 4);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(matches_a_plain_loop),
        cmocka_unit_test(odd_elements_are_left_out),
        cmocka_unit_test(scores_are_recognised),
        cmocka_unit_test(the_largest_come_first),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
