/* Tokenizers in tests: made from text, and asked for ids. Whatever fails fails the running test. */
#ifndef SUPPORT_TOKENS_H
#define SUPPORT_TOKENS_H

#include "spry/tokenizer.h"

enum { TOKENS_MOST = 4096 };

spry_tokenizer *tokens_parse(const char *bytes, size_t size);
/* Lines of a vocab.txt, separated by blanks; the order gives the ids. */
spry_tokenizer *tokens_words(const char *lines);
/* A tokenizer.json. */
spry_tokenizer *tokens_json(const char *json);

/* Ids of `string` without special tokens around it; returns how many. */
int64_t tokens_ids(const spry_tokenizer *t, const char *string, int64_t ids[TOKENS_MOST]);
/* Asserts that the tokens of `string` are `expected`, separated by blanks, as the vocabulary writes
 * them. */
void tokens_expect(const spry_tokenizer *t, const char *string, const char *expected);
/* Asserts that the bytes the tokens came from are `expected`, separated by '|'. */
void tokens_expect_origins(const spry_tokenizer *t, const char *string, const char *expected);
/* Asserts what the tokens of `string`, special ones left out, become as text. */
void tokens_expect_back(const spry_tokenizer *t, const char *string, const char *expected);

#endif
