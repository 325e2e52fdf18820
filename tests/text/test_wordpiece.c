/* WordPiece as BERT does it: strings worked out by hand, and recorded ids of real questions. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <string.h>

#include "base/json.h"
#include "support/data.h"
#include "support/fault.h"
#include "support/tokens.h"

#define SPECIAL "[PAD] [UNK] [CLS] [SEP] [MASK] "
static const char uncased[] = SPECIAL
    "un want ##want ##ed run ##ning , ' . - a ##a e elan strasse s ##s i istanbul \xe4\xb8\xad "
    "\xe5\x9b\xbd \xd0\xb9 \xd0\xb8 don t \xe1\x84\x92 \xe3\x82\xab caf ##e $ 1 ##2 ##3 \xce\xbf "
    "##\xcf\x83 ##\xce\xb4";

static void the_longest_piece_is_taken_from_the_left(void **state)
{
    spry_tokenizer *t = tokens_words(uncased);

    (void)state;
    tokens_expect(t, "UNwanted running", "un ##want ##ed run ##ning");
    tokens_expect(t, "unwantedX running", "[UNK] run ##ning");
    tokens_expect(t, "", "");
    tokens_expect(t, " \t\r\n", "");
    tokens_expect(t, "a-a,a.", "a - a , a .");
    tokens_expect(t, "don't", "don ' t");
    tokens_expect(t, "$123", "$ 1 ##2 ##3");
    tokens_expect_origins(t, " UNwanted  running", "UN|want|ed|run|ning");
    tokens_expect_back(t, "UNwanted running, don't.", "unwanted running, don ' t.");
    spry_tokenizer_destroy(t);
}

static void hard_characters_become_plain_ones(void **state)
{
    static const struct {
        const char *in, *tokens, *origins;
    } cases[] = {
        {"\xc3\x89lan", "elan", "\xc3\x89lan"},             /* composed */
        {"E\xcc\x81lan", "elan", "E\xcc\x81lan"},           /* decomposed */
        {"\xc4\xb0stanbul", "istanbul", "\xc4\xb0stanbul"}, /* capital I with a dot */
        {"stra\xc3\x9f"
         "e",
         "[UNK]",
         "stra\xc3\x9f"
         "e"},                                /* sharp s stays: no strasse */
        {"\xd0\x99", "\xd0\xb8", "\xd0\x99"}, /* short I loses its breve too */
        {"a\xc2\xad"
         "a",
         "a ##a", "a|a"}, /* soft hyphen: a format, gone */
        {"a\xe2\x80\x8b"
         "a",
         "a ##a", "a|a"}, /* zero width space: gone */
        {"a\xc2\xa0"
         "a",
         "a a", "a|a"}, /* no-break space */
        {"a\xe3\x80\x80"
         "a",
         "a a", "a|a"}, /* ideographic space */
        {"a\xe2\x80\xa8"
         "a",
         "a a", "a|a"}, /* line separator */
        {"a\xef\xbf\xbd"
         "a",
         "a ##a", "a|a"}, /* U+FFFD: gone */
        {"a\x01\x7f"
         "a",
         "a ##a", "a|a"}, /* controls: gone */
        {"\xe4\xb8\xad\xe5\x9b\xbd"
         "a",
         "\xe4\xb8\xad \xe5\x9b\xbd a", "\xe4\xb8\xad|\xe5\x9b\xbd|a"}, /* ideographs are words */
        {"\xe3\x82\xac", "\xe3\x82\xab", "\xe3\x82\xac"}, /* ga is ka with a mark: dropped */
        {"\xe2\x80\x9c"
         "a\xe2\x80\x9d",
         "[UNK] a [UNK]", "\xe2\x80\x9c|a|\xe2\x80\x9d"}, /* quotation marks */
        {"Caf\xc3\xa9", "caf ##e", "Caf|\xc3\xa9"},
        {"\xf0\x9f\x98\x80", "[UNK]", "\xf0\x9f\x98\x80"},
        {"\xce\x9f\xce\xa3", "\xce\xbf ##\xcf\x83", "\xce\x9f|\xce\xa3"}, /* sigma at the end */
    };
    spry_tokenizer *t = tokens_words(uncased);

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        tokens_expect(t, cases[i].in, cases[i].tokens);
        tokens_expect_origins(t, cases[i].in, cases[i].origins);
    }
    spry_tokenizer_destroy(t);
}

static void words_beyond_the_limit_are_unknown(void **state)
{
    spry_tokenizer_options options = spry_tokenizer_options_default();
    static const char file[] = "[UNK]\n[CLS]\n[SEP]\na\n##a\n";
    char word[202] = "";
    spry_tokenizer *t = tokens_parse(file, strlen(file));
    int64_t ids[TOKENS_MOST];

    (void)state;
    memset(word, 'a', 100);
    assert_int_equal(tokens_ids(t, word, ids), 100);
    word[100] = 'a';
    tokens_expect(t, word, "[UNK]");
    spry_tokenizer_destroy(t);
    options.longest_word = 200;
    memset(word, 'a', 200);
    assert_int_equal(spry_tokenizer_parse(file, strlen(file), "test", &options, &t, NULL), SPRY_OK);
    assert_int_equal(tokens_ids(t, word, ids), 200);
    word[200] = 'a';
    assert_int_equal(tokens_ids(t, word, ids), 1);
    spry_tokenizer_destroy(t);
}

static void capitals_in_the_vocabulary_keep_capitals(void **state)
{
    spry_tokenizer_options options = spry_tokenizer_options_default();
    static const char file[] = "[UNK]\n[CLS]\n[SEP]\nElan\n\xc3\x89lan\nelan\n";
    spry_tokenizer *t = tokens_parse(file, strlen(file));

    (void)state;
    assert_false(spry_tokenizer_describe(t).lower_case);
    tokens_expect(t, "Elan \xc3\x89lan elan", "Elan \xc3\x89lan elan");
    spry_tokenizer_destroy(t);
    options.lower_case = SPRY_LOWER_CASE_YES;
    assert_int_equal(spry_tokenizer_parse(file, strlen(file), "test", &options, &t, NULL), SPRY_OK);
    tokens_expect(t, "Elan \xc3\x89lan elan", "elan elan elan");
    spry_tokenizer_destroy(t);
}

static void special_tokens_stand_around_and_may_be_found(void **state)
{
    static const struct {
        int64_t id, begin, end;
        int32_t segment, source;
    } expected[] = {{2, 0, 0, 0, -1}, {15, 0, 1, 0, 0}, {4, 2, 8, 0, 0},
                    {3, 0, 0, 0, -1}, {17, 0, 1, 1, 1}, {3, 0, 0, 1, -1}};
    spry_encode_options options = spry_encode_options_default();
    spry_tokenizer *t = tokens_words(uncased);
    const spry_token *tokens = NULL;
    spry_encoding *e = NULL;

    (void)state;
    options.pair = "e";
    options.pair_size = 1;
    assert_int_equal(spry_tokenizer_encode(t, "a [MASK]", 8, &options, &e, NULL), SPRY_OK);
    assert_int_equal(spry_encoding_tokens(e, &tokens), 6);
    for (size_t i = 0; i < 6; i++) {
        assert_int_equal(tokens[i].id, expected[i].id);
        assert_int_equal(tokens[i].begin, expected[i].begin);
        assert_int_equal(tokens[i].end, expected[i].end);
        assert_int_equal(tokens[i].segment, expected[i].segment);
        assert_int_equal(tokens[i].source, expected[i].source);
    }
    spry_encoding_destroy(e);

    options = spry_encode_options_default();
    options.no_special_in_text = true;
    assert_int_equal(spry_tokenizer_encode(t, "[MASK]", 6, &options, &e, NULL), SPRY_OK);
    assert_int_equal(spry_encoding_tokens(e, &tokens), 5); /* [CLS] [ mask ] [SEP] */
    assert_int_equal(tokens[2].id, 1);
    spry_encoding_destroy(e);
    spry_tokenizer_destroy(t);
}

static void mistakes_are_named(void **state)
{
    static const struct {
        const char *file;
        size_t size;
        const char *what;
    } cases[] = {
        {"", 0, "no token [UNK]"},
        {"a\nb\n", 4, "no token [UNK]"},
        {"[UNK]\n[CLS]\n", 12, "no token [SEP]"},
        {"[UNK]\n[CLS]\n[SEP]\n\xff\n", 20, "line 4 is not text"},
        {"[UNK]\na\0b\n", 10, "line 2 is not text"},
    };
    spry_error error;
    spry_tokenizer *t = NULL;
    spry_encoding *e = NULL;

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        assert_int_equal(
            spry_tokenizer_parse(cases[i].file, cases[i].size, "vocab", NULL, &t, &error),
            SPRY_BAD_INPUT);
        assert_null(t);
        assert_string_equal(error.where, "vocab");
        assert_non_null(strstr(error.what, cases[i].what));
    }
    t = tokens_words(uncased);
    assert_int_equal(spry_tokenizer_encode(t, "ab\xc3(", 4, NULL, &e, &error), SPRY_BAD_INPUT);
    assert_non_null(strstr(error.what, "byte 2, 0xc3"));
    assert_null(e);
    spry_tokenizer_destroy(t);
    assert_int_equal(spry_tokenizer_load("/nowhere/vocab.txt", NULL, &t, &error), SPRY_IO);
}

static spry_status with_little_memory(const spry_allocator *allocator, void *context,
                                      spry_error *error)
{
    spry_tokenizer_options options = spry_tokenizer_options_default();
    static const char file[] = "[UNK]\n[CLS]\n[SEP]\na\n##a\ne\n";
    spry_tokenizer *t = NULL;
    spry_encoding *e = NULL;

    (void)context;
    options.allocator = allocator;
    spry_status status = spry_tokenizer_parse(file, strlen(file), "test", &options, &t, error);
    if (status == SPRY_OK) {
        status = spry_tokenizer_encode(t, "aa \xc3\xa9 a\xcc\xa3\xcc\x81", 11, NULL, &e, error);
    }
    spry_encoding_destroy(e);
    spry_tokenizer_destroy(t);
    return status;
}

static void memory_may_run_out(void **state)
{
    (void)state;
    assert_true(fault_sweep(with_little_memory, NULL) > 5);
}

/* ---- recorded ids ---- */

static void expect_ids(const spry_tokenizer *t, const char *string, const json_node *from,
                       const char *key)
{
    int64_t ids[TOKENS_MOST];
    json_node expected;
    int64_t count = tokens_ids(t, string, ids);

    assert_int_equal(json_get_array(from, key, &expected, NULL), SPRY_OK);
    assert_int_equal(count, json_length(&expected));
    for (size_t i = 0; i < (size_t)count; i++) {
        json_node item;
        int64_t id = 0;

        json_item(&expected, i, &item);
        assert_int_equal(json_as_i64(&item, 0, 30521, &id, NULL), SPRY_OK);
        assert_int_equal(ids[i], id);
    }
}

/* The entry of the recorded ids for a question, or false. */
static bool find_entry(const json_node *list, const char *id, json_node *entry)
{
    for (size_t i = 0; i < json_length(list); i++) {
        const char *name = NULL;

        json_item(list, i, entry);
        assert_int_equal(json_get_string(entry, "id", &name, NULL), SPRY_OK);
        if (strcmp(name, id) == 0) {
            return true;
        }
    }
    return false;
}

static int expect_paragraph(const spry_tokenizer *t, const json_node *paragraph,
                            const json_node *list)
{
    const char *context = NULL;
    json_node questions;
    int found = 0;

    assert_int_equal(json_get_string(paragraph, "context", &context, NULL), SPRY_OK);
    assert_int_equal(json_get_array(paragraph, "qas", &questions, NULL), SPRY_OK);
    for (size_t i = 0; i < json_length(&questions); i++) {
        json_node item;
        json_node entry;
        const char *id = NULL;
        const char *question = NULL;

        json_item(&questions, i, &item);
        assert_int_equal(json_get_string(&item, "id", &id, NULL), SPRY_OK);
        assert_int_equal(json_get_string(&item, "question", &question, NULL), SPRY_OK);
        if (find_entry(list, id, &entry)) {
            expect_ids(t, question, &entry, "question_ids");
            expect_ids(t, context, &entry, "context_ids");
            found++;
        }
    }
    return found;
}

static void real_questions_give_the_recorded_ids(void **state)
{
    json_document *recorded = NULL;
    json_document *squad = NULL;
    json_node list;
    json_node root;
    json_node articles;
    spry_tokenizer *t = NULL;
    size_t found = 0;

    (void)state;
    assert_int_equal(
        spry_tokenizer_load(data_path("squad/bert-base-uncased-vocab.txt"), NULL, &t, NULL),
        SPRY_OK);
    assert_int_equal(json_open_file(data_path("squad/wordpiece_reference.json"), &recorded, NULL),
                     SPRY_OK);
    assert_int_equal(json_open_file(data_path("squad/dev-v2.0-cs224n-half.json"), &squad, NULL),
                     SPRY_OK);
    json_root(recorded, &list);
    json_root(squad, &root);
    assert_int_equal(json_get_array(&root, "data", &articles, NULL), SPRY_OK);
    for (size_t a = 0; a < json_length(&articles); a++) {
        json_node article;
        json_node paragraphs;

        json_item(&articles, a, &article);
        assert_int_equal(json_get_array(&article, "paragraphs", &paragraphs, NULL), SPRY_OK);
        for (size_t p = 0; p < json_length(&paragraphs); p++) {
            json_node paragraph;

            json_item(&paragraphs, p, &paragraph);
            found += (size_t)expect_paragraph(t, &paragraph, &list);
        }
    }
    assert_int_equal(found, json_length(&list));
    assert_int_equal(found, 150);
    json_close(squad);
    json_close(recorded);
    spry_tokenizer_destroy(t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_longest_piece_is_taken_from_the_left),
        cmocka_unit_test(hard_characters_become_plain_ones),
        cmocka_unit_test(words_beyond_the_limit_are_unknown),
        cmocka_unit_test(capitals_in_the_vocabulary_keep_capitals),
        cmocka_unit_test(special_tokens_stand_around_and_may_be_found),
        cmocka_unit_test(mistakes_are_named),
        cmocka_unit_test(memory_may_run_out),
        cmocka_unit_test(real_questions_give_the_recorded_ids),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
