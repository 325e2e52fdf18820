/* Tokenizers in tests. */
#include "support/tokens.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <string.h>

spry_tokenizer *tokens_parse(const char *bytes, size_t size)
{
    spry_error error = {0};
    spry_tokenizer *t = NULL;

    if (spry_tokenizer_parse(bytes, size, "test", NULL, &t, &error) != SPRY_OK) {
        fail_msg("%s: %s", error.where, error.what);
    }
    return t;
}

spry_tokenizer *tokens_words(const char *lines)
{
    char file[TOKENS_MOST];

    (void)snprintf(file, sizeof file, "%s", lines);
    for (char *c = file; *c != '\0'; c++) {
        *c = *c == ' ' ? '\n' : *c;
    }
    return tokens_parse(file, strlen(file));
}

spry_tokenizer *tokens_json(const char *json)
{
    return tokens_parse(json, strlen(json));
}

static spry_encoding *encode(const spry_tokenizer *t, const char *string, const spry_token **tokens,
                             int64_t *count)
{
    spry_encode_options options = spry_encode_options_default();
    spry_error error = {0};
    spry_encoding *e = NULL;

    options.no_special = true;
    if (spry_tokenizer_encode(t, string, strlen(string), &options, &e, &error) != SPRY_OK) {
        fail_msg("'%s': %s: %s", string, error.where, error.what);
    }
    *count = spry_encoding_tokens(e, tokens);
    assert_true(*count <= TOKENS_MOST);
    return e;
}

int64_t tokens_ids(const spry_tokenizer *t, const char *string, int64_t ids[TOKENS_MOST])
{
    const spry_token *tokens = NULL;
    int64_t count = 0;
    spry_encoding *e = encode(t, string, &tokens, &count);

    for (int64_t i = 0; i < count; i++) {
        ids[i] = tokens[i].id;
    }
    spry_encoding_destroy(e);
    return count;
}

void tokens_expect(const spry_tokenizer *t, const char *string, const char *expected)
{
    char found[TOKENS_MOST] = "";
    size_t length = 0;
    const spry_token *tokens = NULL;
    int64_t count = 0;
    spry_encoding *e = encode(t, string, &tokens, &count);

    for (int64_t i = 0; i < count; i++) {
        const char *name = spry_tokenizer_token(t, tokens[i].id);

        assert_non_null(name);
        length +=
            (size_t)snprintf(found + length, sizeof found - length, "%s%s", i > 0 ? " " : "", name);
        assert_true(length < sizeof found);
    }
    assert_string_equal(found, expected);
    spry_encoding_destroy(e);
}

void tokens_expect_origins(const spry_tokenizer *t, const char *string, const char *expected)
{
    char found[TOKENS_MOST] = "";
    size_t length = 0;
    const spry_token *tokens = NULL;
    int64_t count = 0;
    spry_encoding *e = encode(t, string, &tokens, &count);

    for (int64_t i = 0; i < count; i++) {
        assert_true(tokens[i].begin >= 0 && tokens[i].begin <= tokens[i].end &&
                    tokens[i].end <= (int64_t)strlen(string));
        length +=
            (size_t)snprintf(found + length, sizeof found - length, "%s%.*s", i > 0 ? "|" : "",
                             (int)(tokens[i].end - tokens[i].begin), string + tokens[i].begin);
        assert_true(length < sizeof found);
    }
    assert_string_equal(found, expected);
    spry_encoding_destroy(e);
}

void tokens_expect_back(const spry_tokenizer *t, const char *string, const char *expected)
{
    int64_t ids[TOKENS_MOST];
    char found[TOKENS_MOST];
    size_t length = 0;
    int64_t count = tokens_ids(t, string, ids);

    assert_int_equal(spry_tokenizer_decode(t, ids, count, true, found, sizeof found, &length, NULL),
                     SPRY_OK);
    assert_string_equal(found, expected);
    assert_int_equal(length, strlen(expected));
}
