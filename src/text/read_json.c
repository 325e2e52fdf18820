/* tokenizer.json: the model and the added tokens. What a file asks for and Spry does not know is
 * refused by name: a tokenizer that is nearly right gives wrong results without saying so. */
#include <string.h>

#include "base/alloc.h"
#include "base/json.h"
#include "base/limits.h"
#include "text/read_json.h"

spry_status read_json_bool(const json_node *from, const char *key, bool fallback, bool *value,
                           spry_error *error)
{
    *value = fallback;
    return read_json_present(from, key) ? json_get_bool(from, key, value, error) : SPRY_OK;
}

spry_status read_json_string(const json_node *from, const char *key, const char *fallback,
                             const char **value, spry_error *error)
{
    *value = fallback;
    return read_json_present(from, key) ? json_get_string(from, key, value, error) : SPRY_OK;
}

bool read_json_present(const json_node *from, const char *key)
{
    json_node member;
    return json_has(from, key) && json_get(from, key, &member, NULL) == SPRY_OK &&
           !json_node_is_null(&member);
}

/* ---- models ---- */

static spry_status read_vocabulary(spry_tokenizer *t, const json_node *model, spry_error *error)
{
    json_node vocab;
    json_node member = {0};
    spry_status status = json_get_object(model, "vocab", &vocab, error);

    while (status == SPRY_OK && json_next(&vocab, &member)) {
        int64_t id = 0;

        status = json_as_i64(&member, 0, LIMIT_VOCABULARY - 1, &id, error);
        if (status == SPRY_OK) {
            status = vocabulary_add(&t->words, t->name, member.key, strlen(member.key), id, error);
        }
    }
    return status;
}

/* The id of the token that the member names; -1 where the member is absent. */
static spry_status read_token(spry_tokenizer *t, const json_node *from, const char *key,
                              int32_t *id, spry_error *error)
{
    const char *name = NULL;
    spry_status status = read_json_string(from, key, NULL, &name, error);

    *id = -1;
    if (status == SPRY_OK && name != NULL) {
        *id = vocabulary_find_string(&t->words, name);
    }
    return status;
}

/* A short string that is put before or behind others; refused when it is long. */
static spry_status read_affix(spry_tokenizer *t, const json_node *from, const char *key,
                              const char *fallback, const char **value, spry_error *error)
{
    spry_status status = read_json_string(from, key, fallback, value, error);

    if (status == SPRY_OK && strlen(*value) > TOKENIZER_MOST_AFFIX) {
        return spry_fail(error, SPRY_LIMIT, t->name, NULL, "'%s' has more than %d bytes", key,
                         (int)TOKENIZER_MOST_AFFIX);
    }
    if (status == SPRY_OK) {
        *value = tokenizer_keep(t, *value);
        status = *value != NULL ? SPRY_OK : alloc_failed(error, TOKENIZER_MOST_AFFIX);
    }
    return status;
}

static spry_status read_wordpiece(spry_tokenizer *t, const json_node *model, spry_error *error)
{
    int64_t longest = 100;
    spry_status status =
        read_affix(t, model, "continuing_subword_prefix", "##", &t->model.prefix, error);

    if (status == SPRY_OK && read_json_present(model, "max_input_chars_per_word")) {
        status = json_get_i64(model, "max_input_chars_per_word", 1, 10000, &longest, error);
    }
    t->model.longest_word = (int32_t)longest;
    t->model.kind = TOKEN_MODEL_WORDPIECE;
    if (status == SPRY_OK && t->model.unknown < 0) {
        status = spry_fail(error, SPRY_BAD_INPUT, t->name, NULL,
                           "model.unk_token names no token of the vocabulary");
    }
    return status;
}

/* "a b" or ["a", "b"]. */
static spry_status read_merge(spry_tokenizer *t, const json_node *item, int32_t rank,
                              spry_error *error)
{
    const char *left = NULL;
    const char *right = NULL;
    char both[2 * LIMIT_NAME_BYTES];
    size_t left_length = 0;

    if (json_length(item) == 2) {
        json_node part;

        json_item(item, 0, &part);
        spry_status status = json_as_string(&part, &left, error);
        json_item(item, 1, &part);
        status = status == SPRY_OK ? json_as_string(&part, &right, error) : status;
        if (status != SPRY_OK) {
            return status;
        }
        left_length = strlen(left);
    } else {
        spry_status status = json_as_string(item, &left, error);
        const char *blank = status == SPRY_OK ? strchr(left, ' ') : NULL;

        if (status != SPRY_OK || blank == NULL) {
            return status != SPRY_OK ? status : json_refuse(item, "must be two tokens", error);
        }
        left_length = (size_t)(blank - left);
        right = blank + 1;
    }
    size_t right_length = strlen(right);
    token_merge merge = {.rank = rank,
                         .left = vocabulary_find(&t->words, left, left_length),
                         .right = vocabulary_find(&t->words, right, right_length),
                         .merged = -1};
    if (left_length + right_length <= sizeof both) {
        memcpy(both, left, left_length);
        memcpy(both + left_length, right, right_length);
        merge.merged = vocabulary_find(&t->words, both, left_length + right_length);
    }
    if (merge.left < 0 || merge.right < 0 || merge.merged < 0) {
        return json_refuse(item, "has a token, or a result, that is not in the vocabulary", error);
    }
    token_model_add_merge(&t->model, merge);
    return SPRY_OK;
}

static spry_status read_pairs(spry_tokenizer *t, const json_node *model, spry_error *error)
{
    token_model *m = &t->model;
    json_node merges;
    const char *prefix = "";
    spry_status status = json_get_array(model, "merges", &merges, error);

    m->kind = TOKEN_MODEL_BPE;
    if (status == SPRY_OK) {
        status = read_json_string(model, "continuing_subword_prefix", "", &prefix, error);
    }
    if (status == SPRY_OK && *prefix != '\0') {
        return tokenizer_unsupported(t, "continuing_subword_prefix", prefix, error);
    }
    if (status == SPRY_OK && read_json_present(model, "dropout")) {
        double dropout = 0;
        status = json_get_f64(model, "dropout", 0, 1, &dropout, error);
        if (status == SPRY_OK && dropout > 0) {
            return tokenizer_unsupported(t, "model option", "dropout", error);
        }
    }
    if (status == SPRY_OK) {
        status = read_affix(t, model, "end_of_word_suffix", "", &m->suffix, error);
    }
    if (status == SPRY_OK) {
        status = read_json_bool(model, "fuse_unk", false, &m->fuse_unknown, error);
    }
    if (status == SPRY_OK) {
        status = read_json_bool(model, "byte_fallback", false, &m->bytes, error);
    }
    if (status == SPRY_OK) {
        status = read_json_bool(model, "ignore_merges", false, &m->whole_words, error);
    }
    size_t count = status == SPRY_OK ? json_length(&merges) : 0;
    if (status == SPRY_OK) {
        status = token_model_make_merges(m, &t->allocator, count, error);
    }
    token_model_find_bytes(m);
    for (size_t i = 0; status == SPRY_OK && i < count; i++) {
        json_node item;

        json_item(&merges, i, &item);
        status = read_merge(t, &item, (int32_t)i, error);
    }
    return status;
}

static spry_status read_model(spry_tokenizer *t, const json_node *root, spry_error *error)
{
    json_node model;
    const char *kind = NULL;
    spry_status status = json_get_object(root, "model", &model, error);

    if (status == SPRY_OK) { /* old files have no type */
        status = read_json_string(&model, "type", json_has(&model, "merges") ? "BPE" : "WordPiece",
                                  &kind, error);
    }
    if (status != SPRY_OK) {
        return status;
    }
    static const struct {
        const char *name;
        spry_status (*read)(spry_tokenizer *t, const json_node *model, spry_error *error);
    } kinds[] = {{"WordPiece", read_wordpiece}, {"BPE", read_pairs}, {"WordLevel", NULL}};
    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++) {
        if (strcmp(kind, kinds[i].name) != 0) {
            continue;
        }
        t->info.kind = kinds[i].name;
        t->model.kind = TOKEN_MODEL_WORD;
        status = read_vocabulary(t, &model, error);
        if (status == SPRY_OK) {
            status = read_token(t, &model, "unk_token", &t->model.unknown, error);
        }
        t->info.unknown = t->model.unknown;
        return status == SPRY_OK && kinds[i].read != NULL ? kinds[i].read(t, &model, error)
                                                          : status;
    }
    return tokenizer_unsupported(t, "model", kind, error);
}

/* ---- added tokens ---- */

static spry_status read_added_token(spry_tokenizer *t, const json_node *item, spry_error *error)
{
    added_token token = {0};
    const char *content = NULL;
    spry_status status = json_get_string(item, "content", &content, error);
    const struct {
        const char *key;
        bool *to;
    } flags[] = {{"special", &token.special},
                 {"normalized", &token.normalized},
                 {"single_word", &token.single_word},
                 {"lstrip", &token.left},
                 {"rstrip", &token.right}};

    if (status == SPRY_OK) {
        status = json_get_i64(item, "id", 0, LIMIT_VOCABULARY - 1, &token.id, error);
    }
    for (size_t i = 0; status == SPRY_OK && i < sizeof flags / sizeof flags[0]; i++) {
        status = read_json_bool(item, flags[i].key, false, flags[i].to, error);
    }
    if (status == SPRY_OK) {
        status = vocabulary_add(&t->words, t->name, content, strlen(content), token.id, error);
    }
    if (status != SPRY_OK) {
        return status;
    }
    static const struct {
        const char *name;
        bool is_mask;
    } known[] = {{"[PAD]", false}, {"<pad>", false}, {"[MASK]", true}, {"<mask>", true}};
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++) {
        if (strcmp(content, known[i].name) == 0) {
            *(known[i].is_mask ? &t->info.mask : &t->info.padding) = token.id;
        }
    }
    token.content = code_points_read(&t->memory, content, strlen(content));
    if (token.content.at == NULL) {
        return alloc_failed(error, strlen(content));
    }
    t->added.at[t->added.count++] = token;
    return SPRY_OK;
}

/* What is looked for in normalised text must be normalised itself. */
static spry_status normalize_added(spry_tokenizer *t, spry_error *error)
{
    chars c;
    chars scratch;
    bool failed = false;

    chars_init(&c, &t->allocator);
    chars_init(&scratch, &t->allocator);
    for (size_t i = 0; i < t->added.count && !failed; i++) {
        added_token *token = &t->added.at[i];

        if (!token->normalized) {
            continue;
        }
        chars_clear(&c);
        for (size_t k = 0; k < token->content.count; k++) {
            chars_add(&c, token->content.at[k], 0, 0);
        }
        normalize(t->normal, t->normal_count, &c, &scratch);
        uint32_t *at = arena_array(&t->memory, c.count + 1, sizeof *at);
        failed = c.failed || at == NULL;
        for (size_t k = 0; !failed && k < c.count; k++) {
            at[k] = c.at[k].code;
        }
        token->content = (code_points){at, c.count};
    }
    chars_fini(&c);
    chars_fini(&scratch);
    return failed ? alloc_failed(error, 0) : SPRY_OK;
}

static spry_status read_added(spry_tokenizer *t, const json_node *root, spry_error *error)
{
    json_node list;
    spry_status status = SPRY_OK;

    if (!read_json_present(root, "added_tokens")) {
        return SPRY_OK;
    }
    status = json_get_array(root, "added_tokens", &list, error);
    size_t count = status == SPRY_OK ? json_length(&list) : 0;
    t->added.at = arena_array(&t->memory, count + 1, sizeof *t->added.at);
    if (t->added.at == NULL) {
        return alloc_failed(error, count * sizeof *t->added.at);
    }
    for (size_t i = 0; status == SPRY_OK && i < count; i++) {
        json_node item;

        json_item(&list, i, &item);
        status = read_added_token(t, &item, error);
    }
    return status;
}

/* ---- the file ---- */

/* The tokens around a text tell what begins and ends it. */
static void find_ends(spry_tokenizer *t)
{
    bool is_behind = false;

    for (size_t i = 0; i < t->single.count; i++) {
        const form_item *item = &t->single.items[i];
        int64_t *to = is_behind ? &t->info.end : &t->info.begin;

        is_behind = is_behind || item->source == 0;
        if (item->source < 0 && *to < 0) {
            *to = item->id;
        }
    }
}

static spry_status read_all(spry_tokenizer *t, const json_node *root, spry_error *error)
{
    static const struct {
        const char *key;
        spry_status (*read)(spry_tokenizer *t, const json_node *node, spry_error *error);
    } parts[] = {{"normalizer", tokenizer_read_normalizer},
                 {"pre_tokenizer", tokenizer_read_splitter},
                 {"post_processor", tokenizer_read_form},
                 {"decoder", tokenizer_read_decoder}};
    spry_status status = json_as_object(root, error);

    status = status == SPRY_OK ? read_model(t, root, error) : status;
    status = status == SPRY_OK ? read_added(t, root, error) : status;
    for (size_t i = 0; status == SPRY_OK && i < sizeof parts / sizeof parts[0]; i++) {
        json_node part;

        if (!read_json_present(root, parts[i].key)) {
            continue;
        }
        status = json_get_object(root, parts[i].key, &part, error);
        if (status == SPRY_OK) {
            status = parts[i].read(t, &part, error);
        }
    }
    if (status == SPRY_OK && t->decode_count == 0) {
        t->decodes[t->decode_count++].kind = DECODE_SPACED;
    }
    if (status == SPRY_OK) {
        find_ends(t);
        status = normalize_added(t, error);
    }
    return status;
}

spry_status tokenizer_read_json(spry_tokenizer *t, const char *bytes, size_t size,
                                spry_error *error)
{
    json_document *document = NULL;
    json_node root;
    spry_status status = json_open_bytes(bytes, size, t->name, &document, error);

    if (status == SPRY_OK) {
        json_root(document, &root);
        status = read_all(t, &root, error);
    }
    json_close(document);
    return status;
}
