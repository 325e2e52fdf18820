/* tokenizer.json: normalizers and pre-tokenizers. */
#include <string.h>

#include "base/alloc.h"
#include "text/read_json.h"

/* ---- shared ---- */

spry_status read_json_by_type(spry_tokenizer *t, const json_node *node, const char *what,
                              const read_json_kind *kinds, spry_error *error)
{
    const char *type = NULL;
    spry_status status = json_get_string(node, "type", &type, error);

    for (; status == SPRY_OK && kinds->name != NULL; kinds++) {
        if (strcmp(kinds->name, type) == 0) {
            return kinds->read(t, node, error);
        }
    }
    return status == SPRY_OK ? tokenizer_unsupported(t, what, type, error) : status;
}

spry_status read_json_sequence(spry_tokenizer *t, const json_node *node, const char *key,
                               const char *what, const read_json_kind *kinds, spry_error *error)
{
    json_node list;
    spry_status status = json_get_array(node, key, &list, error);
    size_t count = status == SPRY_OK ? json_length(&list) : 0;

    for (size_t i = 0; status == SPRY_OK && i < count; i++) {
        json_node item;

        json_item(&list, i, &item);
        status = json_as_object(&item, error);
        if (status == SPRY_OK) {
            status = read_json_by_type(t, &item, what, kinds, error);
        }
    }
    return status;
}

spry_status read_json_pattern(spry_tokenizer *t, const json_node *node, bool *is_regex,
                              const char **pattern, spry_error *error)
{
    json_node member;
    spry_status status = json_get(node, "pattern", &member, error);

    if (status != SPRY_OK) {
        return status;
    }
    *is_regex = json_has(&member, "Regex");
    status = json_get_string(&member, *is_regex ? "Regex" : "String", pattern, error);
    (void)t;
    return status;
}

spry_status read_json_points(spry_tokenizer *t, const char *string, code_points *points,
                             spry_error *error)
{
    *points = code_points_read(&t->memory, string, strlen(string));
    return points->at != NULL ? SPRY_OK : alloc_failed(error, strlen(string));
}

static spry_status too_many(const spry_tokenizer *t, spry_error *error)
{
    return spry_fail(error, SPRY_LIMIT, t->name, NULL, "there are more than %d steps of one kind",
                     (int)TOKENIZER_MOST_STEPS);
}

/* ---- normalizers ---- */

static spry_status add_normal(spry_tokenizer *t, normalize_step step, spry_error *error)
{
    if (t->normal_count == TOKENIZER_MOST_STEPS) {
        return too_many(t, error);
    }
    t->normal[t->normal_count++] = step;
    return SPRY_OK;
}

static spry_status add_kind(spry_tokenizer *t, bool wanted, normalize_kind kind, spry_error *error)
{
    return wanted ? add_normal(t, (normalize_step){.kind = kind}, error) : SPRY_OK;
}

static spry_status read_bert(spry_tokenizer *t, const json_node *node, spry_error *error)
{
    bool clean = true;
    bool cjk = true;
    bool lower = true;
    bool strip = true;
    spry_status status = read_json_bool(node, "clean_text", true, &clean, error);

    status = status == SPRY_OK ? read_json_bool(node, "handle_chinese_chars", true, &cjk, error)
                               : status;
    status = status == SPRY_OK ? read_json_bool(node, "lowercase", true, &lower, error) : status;
    status =
        status == SPRY_OK ? read_json_bool(node, "strip_accents", lower, &strip, error) : status;
    status = status == SPRY_OK ? add_kind(t, clean, NORMALIZE_CLEAN, error) : status;
    status = status == SPRY_OK ? add_kind(t, cjk, NORMALIZE_CJK, error) : status;
    status = status == SPRY_OK ? add_kind(t, strip, NORMALIZE_NFD, error) : status;
    status = status == SPRY_OK ? add_kind(t, strip, NORMALIZE_DROP_NONSPACING, error) : status;
    status = status == SPRY_OK ? add_kind(t, lower, NORMALIZE_LOWER, error) : status;
    t->info.lower_case = t->info.lower_case || lower;
    return status;
}

static spry_status read_nfd(spry_tokenizer *t, const json_node *node, spry_error *error)
{
    (void)node;
    return add_kind(t, true, NORMALIZE_NFD, error);
}

static spry_status read_nfc(spry_tokenizer *t, const json_node *node, spry_error *error)
{
    (void)node;
    return add_kind(t, true, NORMALIZE_NFC, error);
}

static spry_status read_nfkd(spry_tokenizer *t, const json_node *node, spry_error *error)
{
    (void)node;
    return add_kind(t, true, NORMALIZE_NFKD, error);
}

static spry_status read_nfkc(spry_tokenizer *t, const json_node *node, spry_error *error)
{
    (void)node;
    return add_kind(t, true, NORMALIZE_NFKC, error);
}

static spry_status read_lower(spry_tokenizer *t, const json_node *node, spry_error *error)
{
    (void)node;
    t->info.lower_case = true;
    return add_kind(t, true, NORMALIZE_LOWER, error);
}

static spry_status read_marks(spry_tokenizer *t, const json_node *node, spry_error *error)
{
    (void)node;
    return add_kind(t, true, NORMALIZE_DROP_MARKS, error);
}

static spry_status read_strip(spry_tokenizer *t, const json_node *node, spry_error *error)
{
    normalize_step step = {.kind = NORMALIZE_STRIP};
    spry_status status = read_json_bool(node, "strip_left", true, &step.left, error);

    status =
        status == SPRY_OK ? read_json_bool(node, "strip_right", true, &step.right, error) : status;
    return status == SPRY_OK ? add_normal(t, step, error) : status;
}

static spry_status read_replace(spry_tokenizer *t, const json_node *node, spry_error *error)
{
    normalize_step step = {.kind = NORMALIZE_REPLACE};
    const char *pattern = NULL;
    const char *content = NULL;
    bool is_regex = false;
    spry_status status = read_json_pattern(t, node, &is_regex, &pattern, error);

    status = status == SPRY_OK ? json_get_string(node, "content", &content, error) : status;
    status = status == SPRY_OK ? read_json_points(t, content, &step.to, error) : status;
    if (status == SPRY_OK && is_regex) {
        step.kind = NORMALIZE_REPLACE_SPACES;
        step.white = strcmp(pattern, "\\s+") == 0;
        step.least = strcmp(pattern, " {2,}") == 0 ? 2 : 1;
        if (!step.white && step.least == 1) {
            return tokenizer_unsupported(t, "regular expression", pattern, error);
        }
    }
    status = status == SPRY_OK ? read_json_points(t, pattern, &step.from, error) : status;
    return status == SPRY_OK ? add_normal(t, step, error) : status;
}

static spry_status read_prepend(spry_tokenizer *t, const json_node *node, spry_error *error)
{
    normalize_step step = {.kind = NORMALIZE_PREPEND};
    const char *content = NULL;
    spry_status status = json_get_string(node, "prepend", &content, error);

    status = status == SPRY_OK ? read_json_points(t, content, &step.to, error) : status;
    return status == SPRY_OK ? add_normal(t, step, error) : status;
}

static spry_status read_normal_sequence(spry_tokenizer *t, const json_node *node,
                                        spry_error *error);

static const read_json_kind normal_kinds[] = {
    {"Sequence", read_normal_sequence},
    {"BertNormalizer", read_bert},
    {"NFD", read_nfd},
    {"NFC", read_nfc},
    {"NFKD", read_nfkd},
    {"NFKC", read_nfkc},
    {"Lowercase", read_lower},
    {"StripAccents", read_marks},
    {"Strip", read_strip},
    {"Replace", read_replace},
    {"Prepend", read_prepend},
    {NULL, NULL},
};

static spry_status read_normal_sequence(spry_tokenizer *t, const json_node *node, spry_error *error)
{
    return read_json_sequence(t, node, "normalizers", "normalizer", normal_kinds, error);
}

spry_status tokenizer_read_normalizer(spry_tokenizer *t, const json_node *node, spry_error *error)
{
    return read_json_by_type(t, node, "normalizer", normal_kinds, error);
}

/* ---- pre-tokenizers ---- */

static spry_status add_split(spry_tokenizer *t, split_step step, spry_error *error)
{
    if (t->split_count == TOKENIZER_MOST_STEPS) {
        return too_many(t, error);
    }
    t->splits[t->split_count++] = step;
    return SPRY_OK;
}

static spry_status read_split_bert(spry_tokenizer *t, const json_node *node, spry_error *error)
{
    (void)node;
    return add_split(t, (split_step){.kind = SPLIT_BERT}, error);
}

static spry_status read_spaces(spry_tokenizer *t, const json_node *node, spry_error *error)
{
    (void)node;
    return add_split(t, (split_step){.kind = SPLIT_SPACES}, error);
}

static spry_status read_words(spry_tokenizer *t, const json_node *node, spry_error *error)
{
    (void)node;
    return add_split(t, (split_step){.kind = SPLIT_WORDS}, error);
}

static spry_status read_keep(spry_tokenizer *t, const json_node *node, split_keep *keep,
                             spry_error *error)
{
    static const char *const names[] = {
        [SPLIT_ISOLATED] = "Isolated",      [SPLIT_REMOVED] = "Removed",
        [SPLIT_CONTIGUOUS] = "Contiguous",  [SPLIT_TO_PREVIOUS] = "MergedWithPrevious",
        [SPLIT_TO_NEXT] = "MergedWithNext",
    };
    const char *name = NULL;
    spry_status status = read_json_string(node, "behavior", "Isolated", &name, error);

    for (int i = 0; status == SPRY_OK && i <= SPLIT_TO_NEXT; i++) {
        if (strcmp(names[i], name) == 0) {
            *keep = (split_keep)i;
            return SPRY_OK;
        }
    }
    return status == SPRY_OK ? tokenizer_unsupported(t, "behavior", name, error) : status;
}

static spry_status read_punctuation(spry_tokenizer *t, const json_node *node, spry_error *error)
{
    split_step step = {.kind = SPLIT_PUNCTUATION};
    spry_status status = read_keep(t, node, &step.keep, error);

    return status == SPRY_OK ? add_split(t, step, error) : status;
}

static spry_status read_digits(spry_tokenizer *t, const json_node *node, spry_error *error)
{
    split_step step = {.kind = SPLIT_DIGITS};
    spry_status status = read_json_bool(node, "individual_digits", false, &step.each_digit, error);

    return status == SPRY_OK ? add_split(t, step, error) : status;
}

static spry_status read_bytes(spry_tokenizer *t, const json_node *node, spry_error *error)
{
    split_step step = {.kind = SPLIT_BYTES};
    bool prefix = true;
    bool cuts = true;
    spry_status status = read_json_bool(node, "add_prefix_space", true, &prefix, error);

    status = status == SPRY_OK ? read_json_bool(node, "use_regex", true, &cuts, error) : status;
    step.prefix = prefix ? SPLIT_ALWAYS : SPLIT_NEVER;
    step.pattern = cuts ? split_pattern_gpt2() : NULL;
    return status == SPRY_OK ? add_split(t, step, error) : status;
}

spry_status read_json_metaspace(spry_tokenizer *t, const json_node *node, const char **sign,
                                split_prefix *prefix, spry_error *error)
{
    const char *scheme = NULL;
    bool added = true;
    spry_status status = read_json_string(node, "replacement", "\xe2\x96\x81", sign, error);

    status =
        status == SPRY_OK ? read_json_bool(node, "add_prefix_space", true, &added, error) : status;
    status = status == SPRY_OK ? read_json_string(node, "prepend_scheme",
                                                  added ? "always" : "never", &scheme, error)
                               : status;
    if (status != SPRY_OK) {
        return status;
    }
    *prefix = strcmp(scheme, "always") == 0  ? SPLIT_ALWAYS
              : strcmp(scheme, "first") == 0 ? SPLIT_FIRST
                                             : SPLIT_NEVER;
    return *prefix == SPLIT_NEVER && strcmp(scheme, "never") != 0
               ? tokenizer_unsupported(t, "prepend_scheme", scheme, error)
               : SPRY_OK;
}

static spry_status read_metaspace(spry_tokenizer *t, const json_node *node, spry_error *error)
{
    split_step step = {.kind = SPLIT_METASPACE};
    const char *sign = NULL;
    spry_status status = read_json_metaspace(t, node, &sign, &step.prefix, error);

    status = status == SPRY_OK ? read_json_bool(node, "split", true, &step.cuts, error) : status;
    status = status == SPRY_OK ? read_json_points(t, sign, &step.from, error) : status;
    if (status == SPRY_OK && step.from.count != 1) {
        return tokenizer_unsupported(t, "replacement", sign, error);
    }
    return status == SPRY_OK ? add_split(t, step, error) : status;
}

static spry_status read_split(spry_tokenizer *t, const json_node *node, spry_error *error)
{
    split_step step = {.kind = SPLIT_TEXT};
    const char *pattern = NULL;
    bool is_regex = false;
    bool is_inverted = false;
    spry_status status = read_json_pattern(t, node, &is_regex, &pattern, error);

    status = status == SPRY_OK ? read_keep(t, node, &step.keep, error) : status;
    status =
        status == SPRY_OK ? read_json_bool(node, "invert", false, &is_inverted, error) : status;
    if (status != SPRY_OK) {
        return status;
    }
    if (is_regex) {
        /* These expressions match all of a text, so what is kept between matches is nothing, and
         * what matches is a word, said either way round. */
        step.kind = SPLIT_PATTERN;
        step.pattern = split_pattern_find(pattern);
        if (step.pattern == NULL || step.keep != (is_inverted ? SPLIT_REMOVED : SPLIT_ISOLATED)) {
            return tokenizer_unsupported(t, "regular expression", pattern, error);
        }
        return add_split(t, step, error);
    }
    if (is_inverted || step.keep == SPLIT_CONTIGUOUS) {
        return tokenizer_unsupported(t, "pre-tokenizer", "Split that inverts or joins", error);
    }
    status = read_json_points(t, pattern, &step.from, error);
    return status == SPRY_OK ? add_split(t, step, error) : status;
}

static spry_status read_delimiter(spry_tokenizer *t, const json_node *node, spry_error *error)
{
    split_step step = {.kind = SPLIT_TEXT, .keep = SPLIT_REMOVED};
    const char *delimiter = NULL;
    spry_status status = json_get_string(node, "delimiter", &delimiter, error);

    status = status == SPRY_OK ? read_json_points(t, delimiter, &step.from, error) : status;
    return status == SPRY_OK ? add_split(t, step, error) : status;
}

static spry_status read_split_sequence(spry_tokenizer *t, const json_node *node, spry_error *error);

static const read_json_kind split_kinds[] = {
    {"Sequence", read_split_sequence},
    {"BertPreTokenizer", read_split_bert},
    {"Whitespace", read_words},
    {"WhitespaceSplit", read_spaces},
    {"ByteLevel", read_bytes},
    {"Metaspace", read_metaspace},
    {"Punctuation", read_punctuation},
    {"Digits", read_digits},
    {"Split", read_split},
    {"CharDelimiterSplit", read_delimiter},
    {NULL, NULL},
};

static spry_status read_split_sequence(spry_tokenizer *t, const json_node *node, spry_error *error)
{
    return read_json_sequence(t, node, "pretokenizers", "pre-tokenizer", split_kinds, error);
}

spry_status tokenizer_read_splitter(spry_tokenizer *t, const json_node *node, spry_error *error)
{
    return read_json_by_type(t, node, "pre-tokenizer", split_kinds, error);
}
