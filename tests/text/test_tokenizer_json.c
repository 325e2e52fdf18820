/* tokenizer.json: the parts that real files have, and refusals that name what is not known. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "support/tokens.h"

#define WORDS "\"vocab\": {\"[UNK]\": 0, \"a\": 1, \"##b\": 2, \"b\": 3, \",\": 4, \"1\": 5}"
#define PIECES "\"model\": {\"type\": \"WordPiece\", \"unk_token\": \"[UNK]\", " WORDS "}"
#define BY_WORD "\"model\": {\"type\": \"WordLevel\", \"unk_token\": \"[UNK]\", \"vocab\":"

/* A tokenizer of these parts whose words are tokens. */
static spry_tokenizer *word_level(const char *vocab, const char *parts)
{
    char json[TOKENS_MOST];

    (void)snprintf(json, sizeof json, "{" BY_WORD " {\"[UNK]\": 0, %s}}, %s}", vocab, parts);
    return tokens_json(json);
}

static void expect_split(const char *parts, const char *string, const char *origins)
{
    spry_tokenizer *t = word_level("\"zzz\": 1", parts);

    tokens_expect_origins(t, string, origins);
    spry_tokenizer_destroy(t);
}

static void texts_are_cut_as_the_file_says(void **state)
{
    static const struct {
        const char *parts, *in, *origins;
    } cases[] = {
        {"{\"type\": \"Whitespace\"}", "it's a_b, no!? ", "it|'|s|a_b|,|no|!?"},
        {"{\"type\": \"WhitespaceSplit\"}", " it's  a ", "it's|a"},
        {"{\"type\": \"BertPreTokenizer\"}", "a!?b c", "a|!|?|b|c"},
        {"{\"type\": \"Punctuation\"}", "a!?b c", "a|!|?|b c"},
        {"{\"type\": \"Punctuation\", \"behavior\": \"Removed\"}", "a!?b", "a|b"},
        {"{\"type\": \"Punctuation\", \"behavior\": \"Contiguous\"}", "a!?b", "a|!?|b"},
        {"{\"type\": \"Punctuation\", \"behavior\": \"MergedWithPrevious\"}", "a-!b", "a-|!|b"},
        {"{\"type\": \"Punctuation\", \"behavior\": \"MergedWithNext\"}", "a-!b", "a|-|!b"},
        {"{\"type\": \"Digits\"}", "a12b3", "a|12|b|3"},
        {"{\"type\": \"Digits\", \"individual_digits\": true}", "a12b3", "a|1|2|b|3"},
        {"{\"type\": \"CharDelimiterSplit\", \"delimiter\": \"-\"}", "a--b", "a|b"},
        {"{\"type\": \"Split\", \"pattern\": {\"String\": \"ab\"}, \"behavior\": \"Isolated\"}",
         "aabb", "a|ab|b"},
        {"{\"type\": \"Split\", \"pattern\": {\"String\": \"-\"}, \"behavior\": "
         "\"MergedWithPrevious\"}",
         "a-b-", "a-|b-"},
        {"{\"type\": \"Metaspace\"}", "a b", "a| b"},
        {"{\"type\": \"Sequence\", \"pretokenizers\": [{\"type\": \"WhitespaceSplit\"}, "
         "{\"type\": \"Digits\"}]}",
         "a1 2b", "a|1|2|b"},
        {"{\"type\": \"ByteLevel\", \"add_prefix_space\": false}", "it's 12 a!  b",
         "it|'s| 12| a|!| | b"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char parts[512];
        (void)snprintf(parts, sizeof parts, "\"pre_tokenizer\": %s", cases[i].parts);
        expect_split(parts, cases[i].in, cases[i].origins);
    }
}

static void known_expressions_are_followed(void **state)
{
    static const char digits_of_three[] =
        "\"pre_tokenizer\": {\"type\": \"Split\", \"behavior\": \"Isolated\", \"pattern\": "
        "{\"Regex\": \"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\\\r\\\\n\\\\p{L}\\\\p{N}]?\\\\p{L}+|"
        "\\\\p{N}{1,3}| ?[^\\\\s\\\\p{L}\\\\p{N}]+[\\\\r\\\\n]*|\\\\s*[\\\\r\\\\n]+|"
        "\\\\s+(?!\\\\S)|\\\\s+\"}}";

    (void)state;
    expect_split(digits_of_three, "It'S 12345 (a) !!\n\n  b  ",
                 "It|'S| |123|45| (|a|)| !!\n\n| | b|  ");
    expect_split(digits_of_three, "a \n \n b", "a| \n \n| b");
}

static void texts_are_normalised_as_the_file_says(void **state)
{
    static const struct {
        const char *parts, *in, *out;
    } cases[] = {
        {"{\"type\": \"NFC\"}", "e\xcc\x81", "\xc3\xa9"},
        {"{\"type\": \"NFD\"}", "\xc3\xa9", "e\xcc\x81"},
        {"{\"type\": \"NFKC\"}", "\xef\xac\x81\xc2\xb2", "fi2"},
        {"{\"type\": \"NFKD\"}", "\xe2\x85\xa7", "VIII"},
        {"{\"type\": \"NFC\"}", "a\xcc\xa3\xcc\x82", "\xe1\xba\xad"}, /* dot below, circumflex */
        {"{\"type\": \"NFC\"}", "a\xcc\x82\xcc\xa3", "\xe1\xba\xad"}, /* in the other order */
        {"{\"type\": \"NFC\"}", "\xe1\x84\x92\xe1\x85\xa1\xe1\x86\xab", "\xed\x95\x9c"}, /* han */
        {"{\"type\": \"NFC\"}", "\xe2\x84\xa6", "\xce\xa9"}, /* the ohm sign is an omega */
        {"{\"type\": \"Lowercase\"}",
         "\xc3\x89"
         "A",
         "\xc3\xa9"
         "a"},
        {"{\"type\": \"Lowercase\"}", "\xc4\xb0", "i\xcc\x87"},
        {"{\"type\": \"Sequence\", \"normalizers\": [{\"type\": \"NFD\"}, {\"type\": "
         "\"StripAccents\"}, {\"type\": \"Lowercase\"}]}",
         "\xc3\x89"
         "A",
         "ea"},
        {"{\"type\": \"Strip\"}", " a b ", "a b"},
        {"{\"type\": \"Strip\", \"strip_right\": false}", " a ", "a "},
        {"{\"type\": \"Replace\", \"pattern\": {\"String\": \"ab\"}, \"content\": \"c\"}", "abab",
         "cc"},
        {"{\"type\": \"Replace\", \"pattern\": {\"Regex\": \" {2,}\"}, \"content\": \" \"}",
         "a  b c   d", "a b c d"},
        {"{\"type\": \"Replace\", \"pattern\": {\"Regex\": \"\\\\s+\"}, \"content\": \"_\"}",
         "a\t \nb", "a_b"},
        {"{\"type\": \"Prepend\", \"prepend\": \"__\"}", "a", "__a"},
        {"{\"type\": \"BertNormalizer\", \"lowercase\": false}", "\xc3\x89\tA", "\xc3\x89 A"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char parts[512];
        char word[64];
        int64_t ids[TOKENS_MOST];

        (void)snprintf(parts, sizeof parts, "\"normalizer\": %s", cases[i].parts);
        (void)snprintf(word, sizeof word, "\"%s\": 7", cases[i].out);
        spry_tokenizer *t = word_level(word, parts);
        if (tokens_ids(t, cases[i].in, ids) != 1 || ids[0] != 7) {
            fail_msg("'%s' does not become '%s'", cases[i].in, cases[i].out);
        }
        spry_tokenizer_destroy(t);
    }
}

static void added_tokens_are_found_first(void **state)
{
    spry_tokenizer *t = tokens_json(
        "{" PIECES ", \"normalizer\": {\"type\": \"BertNormalizer\"}, \"pre_tokenizer\": {\"type\":"
        " \"BertPreTokenizer\"}, \"added_tokens\": ["
        "{\"id\": 10, \"content\": \"<x>\", \"special\": true},"
        "{\"id\": 11, \"content\": \"<x>y\"},"
        "{\"id\": 12, \"content\": \"OK\", \"normalized\": true},"
        "{\"id\": 13, \"content\": \"word\", \"single_word\": true},"
        "{\"id\": 14, \"content\": \"<l>\", \"lstrip\": true},"
        "{\"id\": 15, \"content\": \"<r>\", \"rstrip\": true}]}");

    (void)state;
    tokens_expect(t, "a<x>b", "a <x> b");
    tokens_expect(t, "ab<x>yb", "a ##b <x>y b"); /* the longest */
    tokens_expect(t, "aokb", "a OK b");          /* in lower case, as the text is then */
    tokens_expect(t, "<X>", "[UNK] [UNK] [UNK]");
    tokens_expect(t, "aword word", "[UNK] word");
    tokens_expect_origins(t, "a <l> b <r> a", "a| <l>|b|<r> |a");
    tokens_expect_back(t, "a<x>b", "a b");
    spry_tokenizer_destroy(t);
}

static void forms_stand_around_texts(void **state)
{
    static const struct {
        const char *form;
        int64_t ids[8];
        int32_t segments[8];
        int64_t count;
    } cases[] = {
        {"{\"type\": \"BertProcessing\", \"cls\": [\"[CLS]\", 8], \"sep\": [\"[SEP]\", 9]}",
         {8, 1, 9, 3, 9},
         {0, 0, 0, 1, 1},
         5},
        {"{\"type\": \"RobertaProcessing\", \"cls\": [\"<s>\", 8], \"sep\": [\"</s>\", 9]}",
         {8, 1, 9, 9, 3, 9},
         {0},
         6},
        {"{\"type\": \"Sequence\", \"processors\": [{\"type\": \"ByteLevel\"}, {\"type\": "
         "\"TemplateProcessing\", \"single\": [], \"pair\": [{\"Sequence\": {\"id\": \"B\", "
         "\"type_id\": 2}}, {\"SpecialToken\": {\"id\": \"x\", \"type_id\": 1}}, {\"Sequence\": "
         "{\"id\": \"A\", \"type_id\": 0}}], \"special_tokens\": {\"x\": {\"id\": \"x\", \"ids\": "
         "[4], \"tokens\": [\"x\"]}}}]}",
         {3, 4, 1},
         {2, 1, 0},
         3},
    };
    spry_encode_options options = spry_encode_options_default();

    (void)state;
    options.pair = "b";
    options.pair_size = 1;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char json[TOKENS_MOST];
        const spry_token *tokens = NULL;
        spry_encoding *e = NULL;

        (void)snprintf(json, sizeof json, "{" PIECES ", \"post_processor\": %s}", cases[i].form);
        spry_tokenizer *t = tokens_json(json);
        assert_int_equal(spry_tokenizer_encode(t, "a", 1, &options, &e, NULL), SPRY_OK);
        assert_int_equal(spry_encoding_tokens(e, &tokens), cases[i].count);
        for (int64_t k = 0; k < cases[i].count; k++) {
            assert_int_equal(tokens[k].id, cases[i].ids[k]);
            assert_int_equal(tokens[k].segment, cases[i].segments[k]);
        }
        spry_encoding_destroy(e);
        spry_tokenizer_destroy(t);
    }
}

static void what_is_not_known_is_named(void **state)
{
    static const struct {
        const char *json;
        spry_status status;
        const char *what;
    } cases[] = {
        {"{\"model\": {\"type\": \"Unigram\"}}", SPRY_UNSUPPORTED, "model 'Unigram'"},
        {"{" PIECES ", \"normalizer\": {\"type\": \"Precompiled\"}}", SPRY_UNSUPPORTED,
         "normalizer 'Precompiled'"},
        {"{" PIECES ", \"pre_tokenizer\": {\"type\": \"UnicodeScripts\"}}", SPRY_UNSUPPORTED,
         "pre-tokenizer 'UnicodeScripts'"},
        {"{" PIECES ", \"pre_tokenizer\": {\"type\": \"Split\", \"pattern\": {\"Regex\": \"a|b\"},"
         " \"behavior\": \"Isolated\"}}",
         SPRY_UNSUPPORTED, "regular expression 'a|b'"},
        {"{" PIECES ", \"post_processor\": {\"type\": \"New\"}}", SPRY_UNSUPPORTED,
         "post-processor 'New'"},
        {"{" PIECES ", \"decoder\": {\"type\": \"CTC\"}}", SPRY_UNSUPPORTED, "decoder 'CTC'"},
        {"{\"model\": {\"type\": \"WordPiece\", \"unk_token\": \"?\", " WORDS "}}", SPRY_BAD_INPUT,
         "unk_token"},
        {"{\"model\": {\"type\": \"BPE\", " WORDS ", \"merges\": [\"a 1\"]}}", SPRY_BAD_INPUT,
         "not in the vocabulary"},
        {"{\"model\": {\"type\": \"BPE\", " WORDS ", \"merges\": [\"a\"]}}", SPRY_BAD_INPUT,
         "must be two tokens"},
        {"{\"model\": {\"type\": \"WordPiece\", \"vocab\": {\"a\": 0, \"b\": 0}}}", SPRY_BAD_INPUT,
         "id 0 stands for"},
        {"{\"model\": {\"type\": \"WordPiece\", \"vocab\": {\"a\": -1}}}", SPRY_BAD_INPUT,
         "from 0"},
        {"{\"model\": []}", SPRY_BAD_INPUT, "must be an object"},
        {"{\"x\": 1}", SPRY_BAD_INPUT, "model"},
        {"{\"model\"", SPRY_BAD_INPUT, ""},
    };
    spry_tokenizer *t = NULL;
    spry_error error;

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        spry_status status =
            spry_tokenizer_parse(cases[i].json, strlen(cases[i].json), "file", NULL, &t, &error);
        if (status != cases[i].status || (strstr(error.what, cases[i].what) == NULL &&
                                          strstr(error.where, cases[i].what) == NULL)) {
            fail_msg("%s: %d: %s: %s", cases[i].json, (int)status, error.where, error.what);
        }
        assert_null(t);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(texts_are_cut_as_the_file_says),
        cmocka_unit_test(known_expressions_are_followed),
        cmocka_unit_test(texts_are_normalised_as_the_file_says),
        cmocka_unit_test(added_tokens_are_found_first),
        cmocka_unit_test(forms_stand_around_texts),
        cmocka_unit_test(what_is_not_known_is_named),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
