/* Byte pairs: against the plain algorithm that looks at every pair again after each merge, and by
 * hand. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "support/data.h"
#include "support/sample.h"
#include "support/tokens.h"

/* ---- scores ---- */

typedef struct scored {
    char *file; /* as llama2.c writes it */
    size_t size;
    int count;
    const char *bytes[1024];
    int lengths[1024];
    float scores[1024];
} scored;

static void append(scored *s, float score, const char *bytes, int length)
{
    memcpy(s->file + s->size, &score, 4);
    memcpy(s->file + s->size + 4, &length, 4);
    memcpy(s->file + s->size + 8, bytes, (size_t)length);
    s->bytes[s->count] = s->file + s->size + 8;
    s->lengths[s->count] = length;
    s->scores[s->count++] = score;
    s->size += 8 + (size_t)length;
}

/* Special tokens, bytes, a few letters and random joins of what is there. Scores have ties. */
static void make_scored(scored *s, spry_random *random)
{
    static const char *const letters[] = {" ", "a", "b", "c", "\xc3\xa9"};
    const int32_t longest = 32;

    *s = (scored){.file = malloc(1 << 16), .size = 4};
    assert_non_null(s->file);
    memcpy(s->file, &longest, 4);
    append(s, 0, "<unk>", 5);
    append(s, 0, "\n<s>\n", 5);
    append(s, 0, "\n</s>\n", 6);
    for (unsigned b = 0; b < 256; b++) {
        char name[8];
        (void)snprintf(name, sizeof name, "<0x%02X>", b);
        append(s, 0, name, 6);
    }
    for (size_t i = 0; i < 5; i++) {
        append(s, 0, letters[i], (int)strlen(letters[i]));
    }
    for (int i = 0; i < 60; i++) {
        int64_t a = sample_integer(random, 259, s->count - 1);
        int64_t b = sample_integer(random, 259, s->count - 1);
        char both[64];
        int length = s->lengths[a] + s->lengths[b];
        bool is_new = length <= longest;

        if (is_new) {
            memcpy(both, s->bytes[a], (size_t)s->lengths[a]);
            memcpy(both + s->lengths[a], s->bytes[b], (size_t)s->lengths[b]);
        }
        for (int k = 0; k < s->count && is_new; k++) {
            is_new = s->lengths[k] != length || memcmp(s->bytes[k], both, (size_t)length) != 0;
        }
        if (is_new) {
            append(s, (float)-sample_integer(random, 0, 20), both, length);
        }
    }
}

static int find(const scored *s, const char *bytes, int length)
{
    for (int i = 0; i < s->count; i++) {
        if (s->lengths[i] == length && memcmp(s->bytes[i], bytes, (size_t)length) == 0) {
            return i;
        }
    }
    return -1;
}

/* The plain algorithm. */
static int64_t encode_plainly(const scored *s, const char *string, int64_t ids[TOKENS_MOST])
{
    int64_t count = 0;

    if (*string != '\0') {
        ids[count++] = find(s, " ", 1);
    }
    for (const char *c = string; *c != '\0';) {
        int length = ((uint8_t)*c & 0x80) == 0 ? 1 : ((uint8_t)*c & 0xe0) == 0xc0 ? 2 : 3;
        int id = find(s, c, length);

        if (id >= 0) {
            ids[count++] = id;
        }
        for (int k = 0; id < 0 && k < length; k++) {
            ids[count++] = (uint8_t)c[k] + 3;
        }
        c += length;
    }
    for (;;) {
        float best = -1e10F;
        int64_t at = -1;
        int merged = -1;

        for (int64_t i = 0; i + 1 < count; i++) {
            char both[256];
            int first = s->lengths[ids[i]];
            int second = s->lengths[ids[i + 1]];

            memcpy(both, s->bytes[ids[i]], (size_t)first);
            memcpy(both + first, s->bytes[ids[i + 1]], (size_t)second);
            int id = find(s, both, first + second);
            if (id >= 0 && s->scores[id] > best) {
                best = s->scores[id];
                at = i;
                merged = id;
            }
        }
        if (at < 0) {
            return count;
        }
        ids[at] = merged;
        memmove(ids + at + 1, ids + at + 2, (size_t)(count - at - 2) * sizeof *ids);
        count--;
    }
}

static void expect_plain(const scored *s, const spry_tokenizer *t, const char *string)
{
    int64_t expected[TOKENS_MOST];
    int64_t ids[TOKENS_MOST];
    int64_t count = encode_plainly(s, string, expected);

    assert_int_equal(tokens_ids(t, string, ids), count);
    for (int64_t i = 0; i < count; i++) {
        assert_int_equal(ids[i], expected[i]);
    }
}

static void scores_decide_as_in_the_plain_algorithm(void **state)
{
    static const char *const parts[] = {"a", "b", "c", " ", "\xc3\xa9", "\xe2\x82\xac", "\n"};
    spry_random random = spry_random_stream(21, 0);

    (void)state;
    for (int round = 0; round < 20; round++) {
        scored s;
        make_scored(&s, &random);
        spry_tokenizer *t = tokens_parse(s.file, s.size);

        for (int k = 0; k < 50; k++) {
            char back[257] = " ";
            char *string = back + 1;
            size_t length = 0;

            for (int64_t n = sample_size(&random, 60); n > 0; n--) {
                const char *part = parts[sample_integer(&random, 0, 6)];
                memcpy(string + length, part, strlen(part) + 1);
                length += strlen(part);
            }
            expect_plain(&s, t, string);
            tokens_expect_back(t, string, length > 0 ? back : "");
        }
        spry_tokenizer_destroy(t);
        free(s.file);
    }
}

/* ---- ranks ---- */

/* Merges by rank, on bytes written as characters: U+0120 is a blank, U+00C3 U+00A9 an e acute. */
static const char by_rank[] =
    "{\"model\": {\"type\": \"BPE\", \"vocab\": {\"a\": 0, \"b\": 1, \"c\": 2, \"\\u0120\": 3,"
    " \"ab\": 4, \"bc\": 5, \"\\u0120ab\": 6, \"abc\": 7, \"\\u00c3\": 8, \"\\u00a9\": 9,"
    " \"\\u00c3\\u00a9\": 10, \"1\": 11, \"'\": 12, \"s\": 13, \"'s\": 14, \"\\u010a\": 15},"
    " \"merges\": [\"b c\", \"a b\", [\"\\u0120\", \"ab\"], \"a bc\", \"\\u00c3 \\u00a9\","
    " \"' s\"]}, \"added_tokens\": [{\"id\": 16, \"content\": \"<|end|>\", \"special\": true}],"
    " \"pre_tokenizer\": {\"type\": \"ByteLevel\", \"add_prefix_space\": false},"
    " \"decoder\": {\"type\": \"ByteLevel\"},"
    " \"post_processor\": {\"type\": \"ByteLevel\", \"trim_offsets\": true}}";

static void the_lowest_rank_goes_first(void **state)
{
    spry_tokenizer *t = tokens_json(by_rank);

    (void)state;
    tokens_expect(t, "abc", "abc"); /* b c, then a bc */
    tokens_expect(t, "ab", "ab");
    tokens_expect(t, "a ab",
                  "a \xc4\xa0"
                  "ab");
    tokens_expect(t, "abab", "ab ab");
    tokens_expect(t, "a  ab",
                  "a \xc4\xa0 \xc4\xa0"
                  "ab"); /* the last blank goes with the word */
    tokens_expect(t, "a's1", "a 's 1");
    tokens_expect(t, "\xc3\xa9", "\xc3\x83\xc2\xa9");
    tokens_expect(t, "zab", "ab"); /* without an unknown token, what is not there vanishes */
    tokens_expect(t, "ab<|end|>ab\n", "ab <|end|> ab \xc4\x8a");
    tokens_expect_origins(t, "a ab \xc3\xa9", "a|ab||\xc3\xa9"); /* blanks are not text */
    tokens_expect_back(t, "a ab \xc3\xa9 's", "a ab \xc3\xa9 's");
    tokens_expect_back(t, "ab<|end|>a", "aba");
    spry_tokenizer_destroy(t);
}

static void long_texts_without_words_take_no_square_of_time(void **state)
{
    enum { SIZE = 200000 };
    scored s;
    spry_random random = spry_random_stream(22, 0);
    spry_encoding *e = NULL;
    const spry_token *tokens = NULL;
    char *string = malloc(SIZE);

    (void)state;
    assert_non_null(string);
    make_scored(&s, &random);
    for (size_t i = 0; i < SIZE; i++) {
        string[i] = (char)('a' + sample_integer(&random, 0, 2));
    }
    spry_tokenizer *t = tokens_parse(s.file, s.size);
    assert_int_equal(spry_tokenizer_encode(t, string, SIZE, NULL, &e, NULL), SPRY_OK);
    int64_t count = spry_encoding_tokens(e, &tokens);
    assert_int_equal(tokens[count - 1].end, SIZE);
    for (int64_t i = 2; i < count; i++) {
        assert_int_equal(tokens[i].begin, tokens[i - 1].end);
    }
    spry_encoding_destroy(e);
    spry_tokenizer_destroy(t);
    free(s.file);
    free(string);
}

/* As published for Llama: a text is one word, blanks are written as U+2581. */
static void characters_without_a_token_become_bytes(void **state)
{
    static const char json[] =
        "{\"model\": {\"type\": \"BPE\", \"unk_token\": \"<unk>\", \"fuse_unk\": true,"
        " \"byte_fallback\": true, \"vocab\": {\"<unk>\": 0, \"<s>\": 1, \"<0xC3>\": 2,"
        " \"<0xA9>\": 3, \"\\u2581\": 4, \"a\": 5, \"\\u2581a\": 6}, \"merges\": [\"\\u2581 a\"]},"
        " \"normalizer\": {\"type\": \"Sequence\", \"normalizers\": [{\"type\": \"Prepend\","
        " \"prepend\": \"\\u2581\"}, {\"type\": \"Replace\", \"pattern\": {\"String\": \" \"},"
        " \"content\": \"\\u2581\"}]},"
        " \"post_processor\": {\"type\": \"TemplateProcessing\", \"single\": [{\"SpecialToken\":"
        " {\"id\": \"<s>\", \"type_id\": 0}}, {\"Sequence\": {\"id\": \"A\", \"type_id\": 0}}],"
        " \"pair\": [{\"Sequence\": {\"id\": \"A\", \"type_id\": 0}}, {\"Sequence\":"
        " {\"id\": \"B\", \"type_id\": 1}}], \"special_tokens\": {\"<s>\": {\"id\": \"<s>\","
        " \"ids\": [1], \"tokens\": [\"<s>\"]}}},"
        " \"decoder\": {\"type\": \"Sequence\", \"decoders\": [{\"type\": \"Replace\","
        " \"pattern\": {\"String\": \"\\u2581\"}, \"content\": \" \"}, {\"type\":"
        " \"ByteFallback\"}, {\"type\": \"Fuse\"}, {\"type\": \"Strip\", \"content\": \" \","
        " \"start\": 1, \"stop\": 0}]}}";
    spry_tokenizer *t = tokens_json(json);

    (void)state;
    tokens_expect(t, "a a\xc3\xa9zza",
                  "\xe2\x96\x81"
                  "a \xe2\x96\x81"
                  "a <0xC3> <0xA9> <unk> a");
    tokens_expect_origins(t, "a a\xc3\xa9zza", "a| a|\xc3\xa9|\xc3\xa9|zz|a");
    tokens_expect_back(t,
                       "a a\xc3\xa9"
                       "a",
                       "a a\xc3\xa9"
                       "a");
    assert_int_equal(spry_tokenizer_describe(t).begin, 1);
    spry_tokenizer_destroy(t);
}

static void malformed_scores_are_refused(void **state)
{
    scored s;
    spry_random random = spry_random_stream(23, 0);
    spry_tokenizer *t = NULL;
    spry_error error;
    const uint32_t nan = 0x7fc00000;

    (void)state;
    make_scored(&s, &random);
    assert_int_equal(spry_tokenizer_parse(s.file, s.size - 1, "file", NULL, &t, &error),
                     SPRY_BAD_INPUT);
    assert_non_null(strstr(error.what, "is cut off"));
    assert_int_equal(spry_tokenizer_parse(s.file, 40, "file", NULL, &t, &error), SPRY_BAD_INPUT);
    assert_int_equal(spry_tokenizer_parse(s.file, 4, "file", NULL, &t, &error), SPRY_BAD_INPUT);
    memcpy(s.file + 4, &nan, 4);
    assert_int_equal(spry_tokenizer_parse(s.file, s.size, "file", NULL, &t, &error),
                     SPRY_BAD_INPUT);
    assert_non_null(strstr(error.what, "score of token 0"));
    free(s.file);
}

/* The story that the model tells, as text, gives the ids it was made of. */
static void a_story_gives_the_ids_it_was_made_of(void **state)
{
    static const int64_t expected[] = {1, 403, 407, 261, 378, 432};
    spry_encoding *e = NULL;
    const spry_token *tokens = NULL;
    spry_tokenizer *t = NULL;

    (void)state;
    assert_int_equal(spry_tokenizer_load(data_path("stories260k/tok512.bin"), NULL, &t, NULL),
                     SPRY_OK);
    assert_int_equal(spry_tokenizer_describe(t).size, 512);
    assert_int_equal(spry_tokenizer_encode(t, "Once upon a time,", 17, NULL, &e, NULL), SPRY_OK);
    assert_int_equal(spry_encoding_tokens(e, &tokens), 6);
    for (size_t i = 0; i < 6; i++) {
        assert_int_equal(tokens[i].id, expected[i]);
    }
    spry_encoding_destroy(e);
    spry_tokenizer_destroy(t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(scores_decide_as_in_the_plain_algorithm),
        cmocka_unit_test(the_lowest_rank_goes_first),
        cmocka_unit_test(long_texts_without_words_take_no_square_of_time),
        cmocka_unit_test(characters_without_a_token_become_bytes),
        cmocka_unit_test(malformed_scores_are_refused),
        cmocka_unit_test(a_story_gives_the_ids_it_was_made_of),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
