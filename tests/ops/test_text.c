/* Operators on strings and labels, by example. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "support/op_harness.h"

static void expect_texts(const op_harness *h, const char *const *expected)
{
    const tensor *t = op_harness_output(h, 0);

    for (int64_t i = 0; i < tensor_count(t); i++) {
        const spry_text *text = (const spry_text *)t->data + i;

        assert_int_equal(text->size, strlen(expected[i]));
        assert_memory_equal(text->data, expected[i], text->size);
    }
}

static void test_concat(void **unused)
{
    static const char *const left[2] = {"a", ""};
    static const char *const right[3] = {"x", "", "yz"};
    static const char *const joined[6] = {"ax", "a", "ayz", "x", "", "yz"};
    const int64_t left_shape[2] = {2, 1};
    const int64_t three = 3;
    const int64_t shape[2] = {2, 3};
    op_harness h;

    (void)unused;
    op_harness_init(&h, "", "StringConcat", 20);
    op_harness_texts(&h, 2, left_shape, left);
    op_harness_texts(&h, 1, &three, right);
    op_harness_run(&h, 1);
    op_harness_expect(&h, 0, SPRY_DTYPE_STRING, 2, shape);
    expect_texts(&h, joined);
    op_harness_fini(&h);
}

static void test_split(void **unused)
{
    static const struct {
        const char *delimiter; /* NULL: white space */
        int64_t most;          /* -1: no limit */
        const char *text;
        int64_t count;
        const char *parts[4];
    } cases[] = {
        {NULL, -1, "  a bc\td ", 3, {"a", "bc", "d"}},
        {NULL, 1, " a b c", 2, {"a", "b c"}},
        {"--", -1, "a--b----c", 4, {"a", "b", "", "c"}},
        {"-", -1, "", 0, {NULL}},
        {"-", -1, "-", 2, {"", ""}},
        {"abc", -1, "ab", 1, {"ab"}},
        {NULL, -1, "   ", 0, {NULL}},
    };
    const int64_t one = 1;

    (void)unused;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        op_harness h;

        op_harness_init(&h, "", "StringSplit", 20);
        if (cases[i].delimiter != NULL) {
            op_harness_string(&h, "delimiter", cases[i].delimiter);
        }
        if (cases[i].most >= 0) {
            op_harness_int(&h, "maxsplit", cases[i].most);
        }
        op_harness_texts(&h, 1, &one, &cases[i].text);
        op_harness_run(&h, 2);
        assert_int_equal(op_harness_i64_at(&h, 1, 0), cases[i].count);
        assert_int_equal(op_harness_output(&h, 0)->shape[1], cases[i].count);
        expect_texts(&h, cases[i].parts);
        op_harness_fini(&h);
    }
}

static void test_normalizer(void **unused)
{
    static const char *const texts[3] = {"Monday", "\xc3\x84pfel", "tuesday"};
    static const char *const stop = "monday";
    static const char *const upper[2] = {"\xc3\x84PFEL", "TUESDAY"};
    static const char *const lower[2] = {"\xc3\xa4pfel", "tuesday"};
    const int64_t three = 3;

    (void)unused;
    for (int i = 0; i < 2; i++) {
        op_harness h;

        op_harness_init(&h, "", "StringNormalizer", 10);
        op_harness_string(&h, "case_change_action", i == 0 ? "UPPER" : "LOWER");
        op_harness_strings(&h, "stopwords", 1, &stop);
        op_harness_texts(&h, 1, &three, texts);
        op_harness_run(&h, 1);
        assert_int_equal(op_harness_output(&h, 0)->shape[0], 2);
        expect_texts(&h, i == 0 ? upper : lower);
        op_harness_fini(&h);
    }
}

static void test_labels(void **unused)
{
    static const char *const keys[2] = {"cat", "dog"};
    static const char *const texts[3] = {"dog", "cow", "cat"};
    const int64_t values[2] = {7, 9};
    const int64_t expected[2][3] = {{9, -1, 7}, {1, -1, 0}};
    const int64_t three = 3;

    (void)unused;
    for (int version = 1; version <= 2; version++) {
        op_harness h;

        op_harness_init(&h, "ai.onnx.ml", "LabelEncoder", version);
        if (version == 2) {
            op_harness_strings(&h, "keys_strings", 2, keys);
            op_harness_ints(&h, "values_int64s", 2, values);
        } else {
            op_harness_strings(&h, "classes_strings", 2, keys);
        }
        op_harness_texts(&h, 1, &three, texts);
        op_harness_run(&h, 1);
        op_harness_expect_i64(&h, 0, expected[version == 2 ? 0 : 1]);
        op_harness_fini(&h);
    }
}

/* Attributes of the pool that lead out of it are refused. */
static void test_hostile_pool(void **unused)
{
    static const int64_t counts[][2] = {{0, 9}, {-1, 2}, {3, 2}, {0, 2}};
    static const int64_t columns[][4] = {{0, 1, 2, 3}, {0, 1, 2, 3}, {0, 1, 2, 3}, {0, 1, -2, 3}};
    const int64_t pool[4] = {1, 2, 3, 4};
    const int64_t four = 4;

    (void)unused;
    for (int i = 0; i < 4; i++) {
        op_harness h;

        op_harness_init(&h, "", "TfIdfVectorizer", 9);
        op_harness_ints(&h, "pool_int64s", 4, pool);
        op_harness_ints(&h, "ngram_counts", 2, counts[i]);
        op_harness_ints(&h, "ngram_indexes", 4, columns[i]);
        op_harness_int(&h, "max_gram_length", 2);
        op_harness_i64s(&h, SPRY_DTYPE_I64, 1, &four, pool);
        assert_int_equal(op_harness_try(&h, 1), SPRY_BAD_INPUT);
        op_harness_fini(&h);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_concat),       cmocka_unit_test(test_split),
        cmocka_unit_test(test_normalizer),   cmocka_unit_test(test_labels),
        cmocka_unit_test(test_hostile_pool),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
