/* The inside of spry_tokenizer: the parts that readers fill and that encoding and decoding use. */
#ifndef TEXT_TOKENIZER_H
#define TEXT_TOKENIZER_H

#include "base/arena.h"
#include "spry/tokenizer.h"
#include "text/added.h"
#include "text/normalize.h"
#include "text/split.h"
#include "text/token_model.h"
#include "text/vocabulary.h"

enum { TOKENIZER_MOST_STEPS = 32, TOKENIZER_MOST_FORM = 16, TOKENIZER_MOST_AFFIX = 64 };

/* What stands around one or two texts. */
typedef struct form_item {
    int32_t source; /* 0, 1: a text; -1: token `id` */
    int64_t id;
    int32_t segment;
} form_item;

typedef struct form {
    form_item items[TOKENIZER_MOST_FORM];
    size_t count; /* 0: there is no such form */
} form;

typedef enum decode_kind {
    DECODE_WORDPIECE, /* `from`: the prefix of inner tokens; `flag`: no blanks before punctuation */
    DECODE_BYTES,     /* characters of byte-level vocabularies become bytes */
    DECODE_METASPACE, /* `from` becomes a blank; `flag`: none at the beginning */
    DECODE_REPLACE,
    DECODE_FALLBACK, /* <0xXX> becomes a byte */
    DECODE_FUSE,
    DECODE_STRIP,  /* up to `left` and `right` times `from`, at the ends */
    DECODE_SUFFIX, /* `from`, the end of words, becomes a blank between words */
    DECODE_SPACED, /* blanks between tokens */
    DECODE_LLAMA2  /* no blank after the token that begins texts */
} decode_kind;

typedef struct decode_step {
    decode_kind kind;
    const char *from, *to;
    size_t left, right;
    bool flag;
} decode_step;

struct spry_tokenizer {
    spry_allocator allocator;
    arena memory;     /* of what readers keep */
    const char *name; /* of the file, for errors while reading */
    vocabulary words;
    token_model model;
    normalize_step normal[TOKENIZER_MOST_STEPS];
    size_t normal_count;
    split_step splits[TOKENIZER_MOST_STEPS];
    size_t split_count;
    added_tokens added;
    form single, pair;
    bool trim_offsets; /* white space does not count as part of a token's text */
    decode_step decodes[TOKENIZER_MOST_STEPS];
    size_t decode_count;
    spry_tokenizer_info info;
};

/* Readers: each fills an empty tokenizer. Fail as spry_tokenizer_parse. */
SPRY_MUST_USE spry_status tokenizer_read_vocab(spry_tokenizer *t, const char *bytes, size_t size,
                                               const spry_tokenizer_options *options,
                                               spry_error *error);
SPRY_MUST_USE spry_status tokenizer_read_json(spry_tokenizer *t, const char *bytes, size_t size,
                                              spry_error *error);
SPRY_MUST_USE spry_status tokenizer_read_llama2(spry_tokenizer *t, const char *bytes, size_t size,
                                                spry_error *error);
/* Parts of tokenizer.json: read_json_steps.c, read_json_form.c. `node` is the member's value. */
struct json_node;
SPRY_MUST_USE spry_status tokenizer_read_normalizer(spry_tokenizer *t, const struct json_node *node,
                                                    spry_error *error);
SPRY_MUST_USE spry_status tokenizer_read_splitter(spry_tokenizer *t, const struct json_node *node,
                                                  spry_error *error);
SPRY_MUST_USE spry_status tokenizer_read_decoder(spry_tokenizer *t, const struct json_node *node,
                                                 spry_error *error);
SPRY_MUST_USE spry_status tokenizer_read_form(spry_tokenizer *t, const struct json_node *node,
                                              spry_error *error);
/* SPRY_UNSUPPORTED: a part of a tokenizer.json, "Unigram" as "model". */
spry_status tokenizer_unsupported(const spry_tokenizer *t, const char *what, const char *name,
                                  spry_error *error);
/* A copy that lives as long as the tokenizer; NULL without memory. */
const char *tokenizer_keep(spry_tokenizer *t, const char *string);

/* The form of BERT: [CLS] A [SEP] and [CLS] A [SEP] B [SEP]; `segments`: B's part is segment 1. */
void tokenizer_bert_form(spry_tokenizer *t, int64_t begin, int64_t end, bool segments);

/* Tokens of a text alone, without a form; `source` is noted in them.
 * Fails as spry_tokenizer_encode. */
SPRY_MUST_USE spry_status tokenizer_tokens(const spry_tokenizer *t, const char *text, size_t size,
                                           bool no_special_in_text, token_list *out,
                                           spry_error *error);

#endif
