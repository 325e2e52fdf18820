/* Einsum against a sum over every assignment of labels. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "support/op_harness.h"
#include "tensor/convert.h"

static uint64_t state = 5;

static int64_t pick(int64_t below)
{
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return (int64_t)(state % (uint64_t)below);
}

/* Offset in `t` of the element that the letters of `term` name. */
static int64_t offset(const tensor *t, const char *term, const int64_t *at)
{
    int64_t place = 0;

    for (int k = 0; k < t->rank; k++) {
        place = place * t->shape[k] + (t->shape[k] == 1 ? 0 : at[term[k] - 'a']);
    }
    return place;
}

static void test_against_enumeration(void **unused)
{
    static const struct {
        const char *equation;
        const char *terms[4]; /* operands, then the result */
    } cases[] = {
        {"ab,bc->ac", {"ab", "bc", "ac"}},
        {"ab , cb -> ca", {"ab", "cb", "ca"}},
        {"abc,acd->abd", {"abc", "acd", "abd"}},
        {"abcd,aecd->abe", {"abcd", "aecd", "abe"}},
        {"ab->ba", {"ab", "ba"}},
        {"ab->", {"ab", ""}},
        {"aa->a", {"aa", "a"}},
        {"aab,b", {"aab", "b", ""}},
        {"a,b->ab", {"a", "b", "ab"}},
        {"a,a->", {"a", "a", ""}},
        {"ab,bc,cd->ad", {"ab", "bc", "cd", "ad"}},
        {"ab,ac,ad->bcd", {"ab", "ac", "ad", "bcd"}},
        {"ab,cd->a", {"ab", "cd", "a"}},
        {",ab->ab", {"", "ab", "ab"}},
        {"ba", {"ba", "ab"}},
    };

    (void)unused;
    for (size_t i = 0; i < 4 * (sizeof cases / sizeof *cases); i++) {
        const char *const *terms = cases[i / 4].terms;
        int operands = 1;
        int64_t size[26];
        double expected[700] = {0};
        int64_t shape[8];
        int64_t total = 1;
        tensor result;
        op_harness h;

        while (operands < 3 && terms[operands + 1] != NULL) {
            operands++;
        }
        for (int k = 0; k < 26; k++) {
            size[k] = k < 5 ? pick(12) == 0 ? 0 : 1 + pick(4) : 1;
            total *= size[k];
        }
        op_harness_init(&h, "", "Einsum", 12);
        op_harness_string(&h, "equation", cases[i / 4].equation);
        for (int o = 0; o <= operands; o++) {
            int rank = (int)strlen(terms[o]);

            for (int k = 0; k < rank; k++) {
                shape[k] = size[terms[o][k] - 'a'];
            }
            if (o == operands) {
                assert_int_equal(tensor_init(&result, SPRY_DTYPE_F32, rank, shape, NULL, NULL),
                                 SPRY_OK);
                break;
            }
            op_harness_input(&h, SPRY_DTYPE_F32, rank, shape);
            for (int64_t k = 0; k < tensor_count(&h.inputs[o].tensor); k++) {
                double number = (double)(pick(9) - 4);

                convert_write_f64(&h.inputs[o].tensor, k, 1, &number);
            }
        }
        /* Letters that no operand has are not summed over. */
        for (int k = 0; k < 5; k++) {
            bool used = false;

            for (int o = 0; o < operands; o++) {
                used = used || strchr(terms[o], 'a' + k) != NULL;
            }
            size[k] = used ? size[k] : 1;
        }
        total = size[0] * size[1] * size[2] * size[3] * size[4];
        for (int64_t n = 0; n < total; n++) {
            int64_t at[5];
            int64_t rest = n;
            double product = 1;

            for (int k = 0; k < 5; k++) {
                at[k] = rest % size[k];
                rest /= size[k];
            }
            for (int o = 0; o < operands; o++) {
                const tensor *x = &h.inputs[o].tensor;

                product *= convert_get_f64(x, offset(x, terms[o], at));
            }
            expected[offset(&result, terms[operands], at)] += product;
        }
        op_harness_run(&h, 1);
        op_harness_expect(&h, 0, SPRY_DTYPE_F32, result.rank, result.shape);
        op_harness_expect_f64(&h, 0, expected, 1e-5);
        op_harness_fini(&h);
    }
}

static void test_ellipsis(void **unused)
{
    const int64_t a_shape[4] = {2, 1, 3, 2};
    const int64_t b_shape[3] = {5, 2, 2};
    const int64_t shape[4] = {2, 5, 3, 2};
    op_harness h;

    (void)unused;
    op_harness_init(&h, "", "Einsum", 12);
    op_harness_string(&h, "equation", "...ij,...jk->...ik");
    op_harness_input(&h, SPRY_DTYPE_F64, 4, a_shape);
    op_harness_input(&h, SPRY_DTYPE_F64, 3, b_shape);
    for (int64_t i = 0; i < 20; i++) {
        double number = (double)i;

        convert_write_f64(&h.inputs[1].tensor, i, 1, &number);
        convert_write_f64(&h.inputs[0].tensor, i % 12, 1, &number);
    }
    op_harness_run(&h, 1);
    op_harness_expect(&h, 0, SPRY_DTYPE_F64, 4, shape);
    for (int64_t i = 0; i < 60; i++) {
        double sum = 0;

        for (int64_t j = 0; j < 2; j++) {
            sum += convert_get_f64(&h.inputs[0].tensor, i / 30 * 6 + i / 2 % 3 * 2 + j) *
                   convert_get_f64(&h.inputs[1].tensor, i / 6 % 5 * 4 + j * 2 + i % 2);
        }
        assert_true(op_harness_f64_at(&h, 0, i) == sum);
    }
    op_harness_fini(&h);
}

static void test_refused(void **unused)
{
    static const char *const equations[] = {"ab",     "ab,bc,cd->ad", "ab,bc->aa", "ab,bc->az",
                                            "a1,bc-", "ab,bc->ac,",   "abc,bc->a", ""};
    const int64_t shape[2] = {2, 3};

    (void)unused;
    for (size_t i = 0; i <= sizeof equations / sizeof *equations; i++) {
        op_harness h;

        op_harness_init(&h, "", "Einsum", 12);
        op_harness_string(&h, "equation", i == 8 ? "ab,bc->ac" : equations[i]);
        op_harness_input(&h, SPRY_DTYPE_F32, 2, shape);
        op_harness_input(&h, SPRY_DTYPE_F32, 2, shape);
        assert_int_equal(op_harness_try(&h, 1), SPRY_BAD_INPUT);
        op_harness_fini(&h);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_against_enumeration),
        cmocka_unit_test(test_ellipsis),
        cmocka_unit_test(test_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
