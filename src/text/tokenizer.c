/* Text to tokens. */
#include "text/tokenizer.h"

#include <string.h>

#include "base/alloc.h"
#include "base/files.h"
#include "base/limits.h"
#include "text/unicode.h"

struct spry_encoding {
    token_list tokens;
};

/* One encoding under way. */
typedef struct encoder {
    const spry_tokenizer *t;
    token_list *out;
    bool finds_added;
    chars normal, scratch;
    words words, spare;
    token_scratch tokens;
} encoder;

/* ---- one text ---- */

static void add_special(encoder *x, const added_match *match, const char_at *c)
{
    token_list_add(x->out, (spry_token){.id = match->token->id,
                                        .begin = c[match->begin].begin,
                                        .end = c[match->end - 1].end});
}

/* Normalised text between added tokens. */
static void encode_words(encoder *x, const char_at *c, size_t count, bool is_first)
{
    size_t begin = 0;

    if (count == 0) {
        return;
    }
    words_clear(&x->words);
    chars_add_all(&x->words.chars, c, count);
    words_end(&x->words);
    split(x->t->splits, x->t->split_count, is_first, &x->words, &x->spare);
    for (size_t i = 0; i < x->words.count && !x->words.chars.failed; i++) {
        token_model_word(&x->t->model, x->words.chars.at + begin, x->words.ends[i] - begin,
                         &x->tokens, x->out);
        begin = x->words.ends[i];
    }
    x->out->failed = x->out->failed || x->words.chars.failed;
}

/* Text between added tokens that are looked for as written. */
static void encode_part(encoder *x, const char_at *c, size_t count, bool is_first)
{
    chars_clear(&x->normal);
    chars_add_all(&x->normal, c, count);
    normalize(x->t->normal, x->t->normal_count, &x->normal, &x->scratch);
    x->out->failed = x->out->failed || x->normal.failed;

    const char_at *at = x->normal.at;
    for (size_t i = 0; i < x->normal.count && !x->out->failed;) {
        added_match match = {NULL, x->normal.count, x->normal.count};

        if (x->finds_added) {
            match = added_find(&x->t->added, true, at, x->normal.count, i);
        }
        encode_words(x, at + i, match.begin - i, is_first && i == 0);
        if (match.token != NULL) {
            add_special(x, &match, at);
        }
        i = match.end;
    }
}

/* White space at the ends of what a token came from is not its text. */
static void trim(token_list *out, size_t from, const char *text)
{
    for (size_t i = from; i < out->count; i++) {
        spry_token *t = &out->at[i];

        while (t->begin < t->end && strchr(" \t\n\r\v\f", text[t->begin]) != NULL &&
               text[t->begin] != '\0') {
            t->begin++;
        }
        while (t->end > t->begin && strchr(" \t\n\r\v\f", text[t->end - 1]) != NULL &&
               text[t->end - 1] != '\0') {
            t->end--;
        }
    }
}

spry_status tokenizer_tokens(const spry_tokenizer *t, const char *text, size_t size,
                             bool no_special_in_text, token_list *out, spry_error *error)
{
    encoder x = {.t = t, .out = out, .finds_added = !no_special_in_text};
    size_t before = out->count;
    chars raw;

    chars_init(&raw, &t->allocator);
    chars_init(&x.normal, &t->allocator);
    chars_init(&x.scratch, &t->allocator);
    words_init(&x.words, &t->allocator);
    words_init(&x.spare, &t->allocator);
    token_scratch_init(&x.tokens, &t->allocator);

    spry_status status = chars_read(&raw, text, size, 0, error);
    for (size_t i = 0; status == SPRY_OK && i < raw.count && !out->failed;) {
        added_match match = {NULL, raw.count, raw.count};

        if (x.finds_added) {
            match = added_find(&t->added, false, raw.at, raw.count, i);
        }
        if (match.begin > i) {
            encode_part(&x, raw.at + i, match.begin - i, i == 0);
        }
        if (match.token != NULL) {
            add_special(&x, &match, raw.at);
        }
        i = match.end;
    }
    if (status == SPRY_OK) {
        status = token_list_status(out, error);
    }
    if (status == SPRY_OK && t->trim_offsets) {
        trim(out, before, text);
    }
    token_scratch_fini(&x.tokens);
    words_fini(&x.words);
    words_fini(&x.spare);
    chars_fini(&x.scratch);
    chars_fini(&x.normal);
    chars_fini(&raw);
    return status;
}

/* ---- what stands around ---- */

static void append_source(token_list *out, const token_list *from, int32_t source, int32_t segment)
{
    for (size_t i = 0; i < from->count; i++) {
        spry_token token = from->at[i];

        token.source = source;
        token.segment = segment;
        token_list_add(out, token);
    }
}

static void apply_form(const form *f, const token_list sources[2], token_list *out)
{
    for (size_t i = 0; i < f->count; i++) {
        const form_item *item = &f->items[i];

        if (item->source >= 0) {
            append_source(out, &sources[item->source], item->source, item->segment);
        } else {
            token_list_add(out,
                           (spry_token){.id = item->id, .segment = item->segment, .source = -1});
        }
    }
}

void tokenizer_bert_form(spry_tokenizer *t, int64_t begin, int64_t end, bool segments)
{
    const form_item cls = {.source = -1, .id = begin};
    const form_item sep = {.source = -1, .id = end};
    const form_item a = {.source = 0};
    const form_item b = {.source = 1, .segment = segments};
    const form_item last = {.source = -1, .id = end, .segment = segments};

    t->single = (form){{cls, a, sep}, 3};
    t->pair = segments ? (form){{cls, a, sep, b, last}, 5} : (form){{cls, a, sep, sep, b, last}, 6};
}

spry_encode_options spry_encode_options_default(void)
{
    return (spry_encode_options){.struct_size = sizeof(spry_encode_options)};
}

spry_status spry_tokenizer_encode(const spry_tokenizer *t, const char *text, size_t size,
                                  const spry_encode_options *options, spry_encoding **encoding,
                                  spry_error *error)
{
    static const form bare = {{{.source = 0}, {.source = 1, .segment = 1}}, 2};
    const spry_encode_options defaults = spry_encode_options_default();
    token_list sources[2];

    *encoding = NULL;
    options = options != NULL ? options : &defaults;
    if (options->struct_size != sizeof *options) {
        return spry_fail(error, SPRY_USAGE, NULL, "start from spry_encode_options_default()",
                         "the options of the encoding are not initialised");
    }
    const form *f = options->no_special ? &bare : options->pair != NULL ? &t->pair : &t->single;
    if (f->count == 0 && options->pair != NULL) {
        return spry_fail(error, SPRY_USAGE, "tokenizer", NULL,
                         "the tokenizer does not say how two texts are put together");
    }
    spry_encoding *made = alloc_zeroed(&t->allocator, sizeof *made);
    if (made == NULL) {
        return alloc_failed(error, sizeof *made);
    }
    token_list_init(&made->tokens, &t->allocator);
    token_list_init(&sources[0], &t->allocator);
    token_list_init(&sources[1], &t->allocator);
    spry_status status =
        tokenizer_tokens(t, text, size, options->no_special_in_text, &sources[0], error);
    if (status == SPRY_OK && options->pair != NULL) {
        status = tokenizer_tokens(t, options->pair, options->pair_size, options->no_special_in_text,
                                  &sources[1], error);
    }
    if (status == SPRY_OK) {
        apply_form(f->count > 0 ? f : &bare, sources, &made->tokens);
        status = token_list_status(&made->tokens, error);
    }
    token_list_fini(&sources[0]);
    token_list_fini(&sources[1]);
    if (status != SPRY_OK) {
        spry_encoding_destroy(made);
        return status;
    }
    *encoding = made;
    return SPRY_OK;
}

int64_t spry_encoding_tokens(const spry_encoding *encoding, const spry_token **tokens)
{
    *tokens = encoding->tokens.at;
    return (int64_t)encoding->tokens.count;
}

void spry_encoding_destroy(spry_encoding *encoding)
{
    if (encoding != NULL) {
        spry_allocator allocator = encoding->tokens.allocator;

        token_list_fini(&encoding->tokens);
        alloc_release(&allocator, encoding, sizeof *encoding);
    }
}

/* ---- reading ---- */

spry_tokenizer_options spry_tokenizer_options_default(void)
{
    return (spry_tokenizer_options){.struct_size = sizeof(spry_tokenizer_options)};
}

spry_status tokenizer_unsupported(const spry_tokenizer *t, const char *what, const char *name,
                                  spry_error *error)
{
    return spry_fail(error, SPRY_UNSUPPORTED, t->name, NULL, "the %s '%.200s' is not supported",
                     what, name);
}

const char *tokenizer_keep(spry_tokenizer *t, const char *string)
{
    return arena_text(&t->memory, string, strlen(string));
}

/* llama2.c's form begins with a small number of four bytes; text has no NUL. */
static bool looks_binary(const char *bytes, size_t size)
{
    return size >= 4 && memchr(bytes, '\0', 4) != NULL;
}

static bool looks_like_json(const char *bytes, size_t size)
{
    size_t i = 0;

    while (i < size && strchr(" \t\r\n", bytes[i]) != NULL && bytes[i] != '\0') {
        i++;
    }
    if (i == size || bytes[i] != '{') {
        return false;
    }
    for (i++; i < size && strchr(" \t\r\n", bytes[i]) != NULL && bytes[i] != '\0';) {
        i++;
    }
    return i < size && (bytes[i] == '"' || bytes[i] == '}');
}

spry_status spry_tokenizer_parse(const void *bytes, size_t size, const char *name,
                                 const spry_tokenizer_options *options, spry_tokenizer **tokenizer,
                                 spry_error *error)
{
    const spry_tokenizer_options defaults = spry_tokenizer_options_default();
    spry_status status;

    *tokenizer = NULL;
    options = options != NULL ? options : &defaults;
    if (options->struct_size != sizeof *options || options->longest_word < 0 ||
        options->lower_case > SPRY_LOWER_CASE_NO) {
        return spry_fail(error, SPRY_USAGE, NULL, "start from spry_tokenizer_options_default()",
                         "the tokenizer's options are not initialised");
    }
    spry_allocator allocator = alloc_resolve(options->allocator);
    spry_tokenizer *t = alloc_zeroed(&allocator, sizeof *t);
    if (t == NULL) {
        return alloc_failed(error, sizeof *t);
    }
    t->allocator = allocator;
    arena_init(&t->memory, &allocator, SIZE_MAX);
    vocabulary_init(&t->words, &allocator);
    t->name = name;
    t->model = (token_model){.words = &t->words, .unknown = -1, .prefix = "", .suffix = ""};
    t->info =
        (spry_tokenizer_info){.unknown = -1, .begin = -1, .end = -1, .padding = -1, .mask = -1};
    if (looks_binary(bytes, size)) {
        status = tokenizer_read_llama2(t, bytes, size, error);
    } else if (looks_like_json(bytes, size)) {
        status = tokenizer_read_json(t, bytes, size, error);
    } else {
        status = tokenizer_read_vocab(t, bytes, size, options, error);
    }
    t->name = NULL;
    t->info.size = (int64_t)t->words.count;
    if (status != SPRY_OK) {
        spry_tokenizer_destroy(t);
        return status;
    }
    added_sort(&t->added);
    *tokenizer = t;
    return SPRY_OK;
}

spry_status spry_tokenizer_load(const char *path, const spry_tokenizer_options *options,
                                spry_tokenizer **tokenizer, spry_error *error)
{
    file_map map;
    spry_status status = file_map_open(path, LIMIT_JSON_BYTES, &map, error);

    *tokenizer = NULL;
    if (status == SPRY_OK) {
        status = spry_tokenizer_parse(map.data, map.size, path, options, tokenizer, error);
        file_map_close(&map);
    }
    return status;
}

void spry_tokenizer_destroy(spry_tokenizer *t)
{
    if (t == NULL) {
        return;
    }
    spry_allocator allocator = t->allocator;

    token_model_fini(&t->model, &allocator);
    vocabulary_fini(&t->words);
    arena_fini(&t->memory);
    alloc_release(&allocator, t, sizeof *t);
}

spry_tokenizer_info spry_tokenizer_describe(const spry_tokenizer *t)
{
    return t->info;
}

const char *spry_tokenizer_token(const spry_tokenizer *t, int64_t id)
{
    return vocabulary_at(&t->words, id).bytes;
}

int64_t spry_tokenizer_id(const spry_tokenizer *t, const char *token)
{
    return vocabulary_find_string(&t->words, token);
}
