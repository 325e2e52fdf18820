/* Ranks of scores: equal scores, and scores that are no numbers. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "measure/evaluate.h"
#include "support/sample.h"

static void test_best_and_rank(void **state)
{
    const float scores[] = {1, 3, 2, 3};
    const float odd[] = {NAN, -1, NAN, -2};
    const float none[] = {NAN, NAN};
    (void)state;

    assert_int_equal(evaluate_best(scores, 4), 1);
    assert_int_equal(evaluate_rank(scores, 4, 1), 0);
    assert_int_equal(evaluate_rank(scores, 4, 3), 1);
    assert_int_equal(evaluate_rank(scores, 4, 2), 2);
    assert_int_equal(evaluate_rank(scores, 4, 0), 3);
    assert_int_equal(evaluate_best(odd, 4), 1);
    assert_int_equal(evaluate_rank(odd, 4, 0), 4);
    assert_int_equal(evaluate_rank(odd, 4, 3), 1);
    assert_int_equal(evaluate_best(none, 2), 0);
    assert_int_equal(evaluate_best(scores, 1), 0);
}

/* Ranks are a permutation, and the best has rank 0. */
static void test_ranks_are_a_permutation(void **state)
{
    enum { COUNT = 97 };
    spry_random random = spry_random_stream(5, 0);
    (void)state;

    for (int round = 0; round < 20; round++) {
        float scores[COUNT];
        bool seen[COUNT] = {false};
        sample_f32(&random, scores, COUNT);
        assert_int_equal(evaluate_rank(scores, COUNT, evaluate_best(scores, COUNT)), 0);
        for (int64_t i = 0; i < COUNT; i++) {
            int64_t rank = evaluate_rank(scores, COUNT, i);
            assert_true(rank >= 0 && rank < COUNT && !seen[rank]);
            seen[rank] = true;
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_best_and_rank),
        cmocka_unit_test(test_ranks_are_a_permutation),
    };

    return cmocka_run_group_tests_name("evaluate", tests, NULL, NULL);
}
