/* SQuAD: its files, and its two scores, checked by hand. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <string.h>

#include "spry/answer.h"
#include "support/data.h"
#include "support/fault.h"

#define FILE_OF(QUESTIONS)                                                               \
    "{\"version\": \"x\", \"data\": [{\"title\": \"T\", \"paragraphs\": [{\"context\": " \
    "\"\\u00c9lan in Caf\\u00e9\", \"qas\": [" QUESTIONS "]}]}]}"

static spry_squad *parse(const char *json)
{
    spry_squad *s = NULL;
    spry_error error = {0};

    if (spry_squad_parse(NULL, json, strlen(json), "file", &s, &error) != SPRY_OK) {
        fail_msg("%s: %s", error.where, error.what);
    }
    return s;
}

static void offsets_count_bytes(void **state)
{
    spry_squad *s = parse(FILE_OF("{\"id\": \"1\", \"question\": \"Q?\", \"answers\": [{\"text\": "
                                  "\"Caf\\u00e9\", \"answer_start\": 8}, {\"text\": \"in\", "
                                  "\"answer_start\": 5}]}"));
    spry_squad_question q = spry_squad_at(s, 0);

    (void)state;
    assert_int_equal(spry_squad_count(s), 1);
    assert_false(spry_squad_has_unanswerable(s));
    assert_string_equal(q.id, "1");
    assert_string_equal(q.title, "T");
    assert_int_equal(q.answer_count, 2);
    assert_int_equal(q.answers[0].begin, 9); /* the first letter has two bytes */
    assert_memory_equal(q.context + q.answers[0].begin, q.answers[0].text,
                        strlen(q.answers[0].text));
    assert_int_equal(q.answers[1].begin, 6);
    spry_squad_close(s);
    s = parse(FILE_OF("{\"id\": \"1\", \"question\": \"Q?\", \"is_impossible\": true, \"answers\": "
                      "[], \"plausible_answers\": [{\"text\": \"in\", \"answer_start\": 5}]}"));
    assert_true(spry_squad_has_unanswerable(s));
    assert_int_equal(spry_squad_at(s, 0).answer_count, 0);
    spry_squad_close(s);
}

static void mistakes_are_named(void **state)
{
    static const struct {
        const char *json;
        const char *what;
    } cases[] = {
        {"{}", "data"},
        {"{\"data\": []}", "no questions"},
        {FILE_OF("{\"id\": \"1\", \"answers\": []}"), "question"},
        {FILE_OF("{\"id\": 1, \"question\": \"Q\", \"answers\": []}"), "must be a string"},
        {FILE_OF("{\"id\": \"1\", \"question\": \"Q\"}"), "answers"},
        {FILE_OF("{\"id\": \"1\", \"question\": \"Q\", \"answers\": [{\"text\": \"abc\", "
                 "\"answer_start\": 11}]}"),
         "behind the end"},
        {FILE_OF("{\"id\": \"1\", \"question\": \"Q\", \"answers\": [{\"text\": \"abc\", "
                 "\"answer_start\": 100}]}"),
         "behind the end"},
    };
    spry_squad *s = NULL;
    spry_error error;

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        assert_int_equal(
            spry_squad_parse(NULL, cases[i].json, strlen(cases[i].json), "file", &s, &error),
            SPRY_BAD_INPUT);
        assert_null(s);
        if (strstr(error.what, cases[i].what) == NULL &&
            strstr(error.where, cases[i].what) == NULL) {
            fail_msg("%s: %s: %s", cases[i].json, error.where, error.what);
        }
    }
}

static void scores_are_those_of_the_official_scripts(void **state)
{
    static const struct {
        const char *gold, *answer;
        double exact, f1;
    } cases[] = {
        {"The Eiffel Tower", "Eiffel tower!", 1, 1},
        {"10th and 11th centuries", "in the 10th and 11th centuries", 0, 8.0 / 9},
        {"U.S.", "US", 1, 1},
        {"apple-pie", "an apple pie", 0, 0},     /* punctuation goes before words are made */
        {"to be", "to be or not to be", 0, 0.5}, /* 2 of 6, 2 of 2 */
        {"be to be", "be be be", 0, 2.0 / 3},    /* two in common */
        {"theatre", "the atre", 0, 0},           /* articles only as words */
        {"the_end", "theend", 1, 1},             /* '_' is punctuation */
        {"\xc3\x89"
         "COLE",
         "\xc3\xa9"
         "cole",
         1, 1},
        {"cat",
         "the\xc2\xa0"
         "cat",
         1, 1},                                             /* no-break space */
        {"cat", "\xe2\x80\x9cthe\xe2\x80\x9d cat", 0, 0.5}, /* quotation marks stay, as words */
        {"cat", "", 0, 0},
        {"x", "a an the x", 1, 1},
        {"4.5", "45", 1, 1},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        const spry_squad_answer gold = {cases[i].gold, -1};
        const spry_squad_question q = {.answer_count = 1, .answers = &gold};
        double exact = -1;
        double f1 = -1;

        for (int version2 = 0; version2 < 2; version2++) {
            assert_int_equal(
                spry_squad_score(&q, cases[i].answer, version2 == 1, &exact, &f1, NULL), SPRY_OK);
            if (exact != cases[i].exact || fabs(f1 - cases[i].f1) > 1e-12) {
                fail_msg("'%s' and '%s': %g, %g", cases[i].gold, cases[i].answer, exact, f1);
            }
        }
    }
}

static void the_best_of_several_answers_counts(void **state)
{
    const spry_squad_answer golds[] = {{"one two", -1}, {"two", -1}, {"two three four", -1}};
    const spry_squad_question q = {.answer_count = 3, .answers = golds};
    double exact;
    double f1;

    (void)state;
    assert_int_equal(spry_squad_score(&q, "Two.", false, &exact, &f1, NULL), SPRY_OK);
    assert_true(exact == 1 && f1 == 1);
    assert_int_equal(spry_squad_score(&q, "three four", false, &exact, &f1, NULL), SPRY_OK);
    assert_true(exact == 0 && fabs(f1 - 0.8) < 1e-12); /* 2 of 2, 2 of 3 */
}

static void no_answer_is_an_answer_in_version_two(void **state)
{
    const spry_squad_question none = {0};
    const spry_squad_answer golds[] = {{"the", -1}, {"cat", -1}};
    const spry_squad_question empty = {.answer_count = 1, .answers = golds};
    const spry_squad_question both = {.answer_count = 2, .answers = golds};
    double exact;
    double f1;

    (void)state;
    assert_int_equal(spry_squad_score(&none, "", true, &exact, &f1, NULL), SPRY_OK);
    assert_true(exact == 1 && f1 == 1);
    assert_int_equal(spry_squad_score(&none, "cat", true, &exact, &f1, NULL), SPRY_OK);
    assert_true(exact == 0 && f1 == 0);
    /* An answer of articles alone has no words. Version 1.1: equal, yet nothing in common. */
    assert_int_equal(spry_squad_score(&empty, "a", false, &exact, &f1, NULL), SPRY_OK);
    assert_true(exact == 1 && f1 == 0);
    assert_int_equal(spry_squad_score(&empty, "a", true, &exact, &f1, NULL), SPRY_OK);
    assert_true(exact == 1 && f1 == 1);
    assert_int_equal(spry_squad_score(&both, "", true, &exact, &f1, NULL), SPRY_OK);
    assert_true(exact == 0 && f1 == 0); /* the other one counts */
}

static spry_status with_little_memory(const spry_allocator *allocator, void *context,
                                      spry_error *error)
{
    static const char json[] = FILE_OF("{\"id\": \"1\", \"question\": \"Q\", \"answers\": []}");
    spry_squad *s = NULL;
    spry_status status = spry_squad_parse(allocator, json, strlen(json), "file", &s, error);

    (void)context;
    spry_squad_close(s);
    return status;
}

static void memory_may_run_out(void **state)
{
    (void)state;
    assert_true(fault_sweep(with_little_memory, NULL) > 1);
}

/* Real files: every answer stands where the file says. */
static void real_answers_stand_where_they_should(void **state)
{
    static const struct {
        const char *path;
        int64_t count, answerable;
    } cases[] = {{"squad/dev-v1.1-format-answerable.json", 2910, 2910},
                 {"squad/dev-v2.0-cs224n-half.json", 6078, 2910}};

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        spry_squad *s = NULL;
        int64_t answerable = 0;

        assert_int_equal(spry_squad_open(NULL, data_path(cases[i].path), &s, NULL), SPRY_OK);
        assert_int_equal(spry_squad_count(s), cases[i].count);
        for (int64_t k = 0; k < spry_squad_count(s); k++) {
            spry_squad_question q = spry_squad_at(s, k);

            answerable += q.answer_count > 0;
            for (int32_t a = 0; a < q.answer_count; a++) {
                assert_memory_equal(q.context + q.answers[a].begin, q.answers[a].text,
                                    strlen(q.answers[a].text));
            }
        }
        assert_int_equal(answerable, cases[i].answerable);
        spry_squad_close(s);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(offsets_count_bytes),
        cmocka_unit_test(mistakes_are_named),
        cmocka_unit_test(scores_are_those_of_the_official_scripts),
        cmocka_unit_test(the_best_of_several_answers_counts),
        cmocka_unit_test(no_answer_is_an_answer_in_version_two),
        cmocka_unit_test(memory_may_run_out),
        cmocka_unit_test(real_answers_stand_where_they_should),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
