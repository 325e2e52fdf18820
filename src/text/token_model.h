/* What finds the tokens of one word: WordPiece, byte pairs, or whole words. */
#ifndef TEXT_TOKEN_MODEL_H
#define TEXT_TOKEN_MODEL_H

#include "spry/tokenizer.h"
#include "text/chars.h"
#include "text/vocabulary.h"

/* Tokens with offsets; like chars, it remembers a failure. */
typedef struct token_list {
    spry_token *at;
    size_t count;
    size_t capacity;
    bool failed;
    spry_allocator allocator;
} token_list;

void token_list_init(token_list *t, const spry_allocator *allocator);
void token_list_fini(token_list *t);
void token_list_add(token_list *t, spry_token token);
SPRY_MUST_USE spry_status token_list_status(const token_list *t, spry_error *error);

typedef enum token_model_kind {
    TOKEN_MODEL_WORDPIECE,
    TOKEN_MODEL_BPE,   /* merges have ranks */
    TOKEN_MODEL_SCORE, /* two tokens merge where the vocabulary has both as one: best score first */
    TOKEN_MODEL_WORD
} token_model_kind;

/* A rule of byte pairs: `left` and `right` become `merged`. */
typedef struct token_merge {
    int32_t left, right;
    int32_t merged; /* -1 in a free slot */
    int32_t rank;   /* lower merges earlier */
} token_merge;

typedef struct token_model {
    token_model_kind kind;
    const vocabulary *words;
    int32_t unknown;      /* -1: unknown characters vanish */
    const char *prefix;   /* WORDPIECE: of tokens inside a word */
    int32_t longest_word; /* WORDPIECE: in characters */
    const char *suffix;   /* BPE: of the last token of a word; "" for none */
    bool bytes;           /* characters without a token become <0xXX> */
    bool fuse_unknown;    /* neighbouring unknown characters are one token */
    bool whole_words;     /* BPE: a word that is a token is not built by merges */
    token_merge *merges;  /* BPE: open hash table */
    size_t merge_slots;
    size_t merge_count;
    const float *scores;   /* SCORE: by id */
    int32_t byte_ids[256]; /* of <0xXX>, -1 where there is none */
} token_model;

/* Fills byte_ids from the vocabulary. */
void token_model_find_bytes(token_model *m);
/* Room for `count` merges in memory of `allocator`. Fails with SPRY_LIMIT. */
SPRY_MUST_USE spry_status token_model_make_merges(token_model *m, const spry_allocator *allocator,
                                                  size_t count, spry_error *error);
/* A rule; of two for the same pair, the later counts, as in other programs. */
void token_model_add_merge(token_model *m, token_merge merge);
void token_model_fini(token_model *m, const spry_allocator *allocator);

/* Memory that is used again from word to word. */
typedef struct token_scratch {
    spry_allocator allocator;
    char *bytes; /* of the word, UTF-8 */
    size_t byte_capacity;
    uint32_t *starts; /* [characters + 1] offsets into bytes */
    size_t start_capacity;
    struct token_symbol *symbols;
    size_t symbol_capacity;
    struct token_pair *heap;
    size_t heap_capacity;
    bool failed;
} token_scratch;

void token_scratch_init(token_scratch *s, const spry_allocator *allocator);
void token_scratch_fini(token_scratch *s);
/* The word's bytes and where its characters begin, into the scratch; false without memory. */
bool token_scratch_word(token_scratch *s, const char_at *c, size_t count);

/* Appends the tokens of a word of `count` >= 1 characters. */
void token_model_word(const token_model *m, const char_at *c, size_t count, token_scratch *scratch,
                      token_list *out);
/* token_pairs.c: the same of byte pairs. */
void token_pairs_word(const token_model *m, const char_at *c, size_t count, token_scratch *scratch,
                      token_list *out);

#endif
