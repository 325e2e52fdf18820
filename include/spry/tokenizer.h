/* Tokenizers: text to the numbers that language models take, and back.
 *
 *     spry_tokenizer *tokenizer = NULL;
 *     spry_encoding *encoding = NULL;
 *     const spry_token *tokens = NULL;
 *     spry_status status = spry_tokenizer_load("vocab.txt", NULL, &tokenizer, &error);
 *     status = spry_tokenizer_encode(tokenizer, text, strlen(text), NULL, &encoding, &error);
 *     int64_t count = spry_encoding_tokens(encoding, &tokens);
 *     ... tokens[i].id came from text[tokens[i].begin .. tokens[i].end) ...
 *     spry_encoding_destroy(encoding);
 *     spry_tokenizer_destroy(tokenizer);
 *
 * Three kinds of files are read, and told apart by what they hold:
 *
 *     vocab.txt        WordPiece (BERT and its relatives): a token per line, ids from 0
 *     tokenizer.json   WordPiece, byte-pair encoding (GPT-2, Llama and others) and whole words,
 *                      with normalisation, cutting into words and special tokens as it says
 *     tokenizer.bin    byte pairs with scores, as llama2.c writes them
 *
 * A tokenizer does not change once it is loaded: several threads may use it at once. */
#ifndef SPRY_TOKENIZER_H
#define SPRY_TOKENIZER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "spry/allocator.h"
#include "spry/status.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct spry_tokenizer spry_tokenizer;
typedef struct spry_encoding spry_encoding;

typedef enum spry_lower_case {
    SPRY_LOWER_CASE_AUTO = 0, /* by the vocabulary: no token but special ones has a capital */
    SPRY_LOWER_CASE_YES = 1,
    SPRY_LOWER_CASE_NO = 2
} spry_lower_case;

typedef struct spry_tokenizer_options {
    size_t struct_size;         /* sizeof(spry_tokenizer_options): lets the struct grow */
    spry_lower_case lower_case; /* vocab.txt only: is text put into lower case, without accents? */
    int32_t longest_word;       /* vocab.txt only: words of more characters are unknown; 0: 100 */
    const spry_allocator *allocator;
} spry_tokenizer_options;

SPRY_API spry_tokenizer_options spry_tokenizer_options_default(void);

/* Reads a tokenizer; options may be NULL.
 * Fails with SPRY_IO, SPRY_BAD_INPUT (malformed), SPRY_UNSUPPORTED (a part of a tokenizer.json that
 * Spry does not know, which is named), SPRY_LIMIT, SPRY_USAGE (options). */
SPRY_API SPRY_MUST_USE spry_status spry_tokenizer_load(const char *path,
                                                       const spry_tokenizer_options *options,
                                                       spry_tokenizer **tokenizer,
                                                       spry_error *error);
/* As above from `size` bytes in memory, which are not needed afterwards; `name` stands for them in
 * errors. */
SPRY_API SPRY_MUST_USE spry_status spry_tokenizer_parse(const void *bytes, size_t size,
                                                        const char *name,
                                                        const spry_tokenizer_options *options,
                                                        spry_tokenizer **tokenizer,
                                                        spry_error *error);
/* NULL is allowed. */
SPRY_API void spry_tokenizer_destroy(spry_tokenizer *tokenizer);

typedef struct spry_tokenizer_info {
    const char *kind; /* "WordPiece", "BPE" or "WordLevel" */
    int64_t size;     /* largest id + 1 */
    bool lower_case;
    /* Ids of special tokens, -1 where there is none: unknown, beginning (BERT's [CLS]), end
     * ([SEP]), padding, mask. */
    int64_t unknown, begin, end, padding, mask;
} spry_tokenizer_info;

SPRY_API spry_tokenizer_info spry_tokenizer_describe(const spry_tokenizer *tokenizer);
/* Bytes of a token as the vocabulary writes it, NUL-terminated, valid as long as the tokenizer;
 * NULL when there is none. */
SPRY_API const char *spry_tokenizer_token(const spry_tokenizer *tokenizer, int64_t id);
/* Id of a token as the vocabulary writes it; -1 when there is none. */
SPRY_API int64_t spry_tokenizer_id(const spry_tokenizer *tokenizer, const char *token);

typedef struct spry_token {
    int64_t id;
    int64_t begin, end; /* bytes [begin, end) of the text it came from; equal where it was added */
    int32_t segment;    /* 0 or 1: BERT's token_type_ids */
    int32_t source;     /* 0: the text, 1: the second text, -1: added */
} spry_token;

typedef struct spry_encode_options {
    size_t struct_size;      /* sizeof(spry_encode_options) */
    const char *pair;        /* a second text; NULL: none */
    size_t pair_size;        /* its bytes */
    bool no_special;         /* add no special tokens around the texts */
    bool no_special_in_text; /* "[SEP]" in a text is five characters like any others */
} spry_encode_options;

SPRY_API spry_encode_options spry_encode_options_default(void);

/* Tokens of `size` bytes of UTF-8; options may be NULL.
 * Fails with SPRY_BAD_INPUT (not UTF-8: the byte is named), SPRY_LIMIT (text too long, memory),
 * SPRY_USAGE (options; a tokenizer without a form for two texts). */
SPRY_API SPRY_MUST_USE spry_status spry_tokenizer_encode(const spry_tokenizer *tokenizer,
                                                         const char *text, size_t size,
                                                         const spry_encode_options *options,
                                                         spry_encoding **encoding,
                                                         spry_error *error);
/* Number of tokens; *tokens lives as long as the encoding. */
SPRY_API int64_t spry_encoding_tokens(const spry_encoding *encoding, const spry_token **tokens);
/* NULL is allowed. */
SPRY_API void spry_encoding_destroy(spry_encoding *encoding);

/* Text of `count` ids into `buffer`, NUL-terminated and cut at its `size`; special tokens are left
 * out when `skip_special`. Byte tokens can make it invalid UTF-8. *length receives the bytes of the
 * whole, so a call with size 0 asks how many. Ids without a token are left out.
 * Fails with SPRY_LIMIT (memory). */
SPRY_API SPRY_MUST_USE spry_status spry_tokenizer_decode(const spry_tokenizer *tokenizer,
                                                         const int64_t *ids, int64_t count,
                                                         bool skip_special, char *buffer,
                                                         size_t size, size_t *length,
                                                         spry_error *error);

#ifdef __cplusplus
}
#endif

#endif
