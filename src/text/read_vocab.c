/* vocab.txt: a token per line, as BERT's own files are. What else there is to know is fixed (BERT's
 * normalisation, "##" inside words) or follows from the tokens (lower case). */
#include <string.h>

#include "base/alloc.h"
#include "base/text.h"
#include "text/tokenizer.h"

enum { LONGEST_WORD = 100 };

/* Capitals outside of special tokens make a vocabulary one that keeps them. */
static bool has_capitals(const char *line, size_t length)
{
    if (length > 0 && line[0] == '[' && line[length - 1] == ']') {
        return false;
    }
    for (size_t i = 0; i < length; i++) {
        if (line[i] >= 'A' && line[i] <= 'Z') {
            return true;
        }
    }
    return false;
}

static spry_status read_lines(spry_tokenizer *t, const char *bytes, size_t size, bool *capitals,
                              spry_error *error)
{
    spry_status status = SPRY_OK;
    int64_t id = 0;

    for (size_t i = 0; status == SPRY_OK && i < size; id++) {
        const char *end = memchr(bytes + i, '\n', size - i);
        size_t length = end != NULL ? (size_t)(end - (bytes + i)) : size - i;
        size_t next = i + length + 1;

        length -= length > 0 && bytes[i + length - 1] == '\r';
        if (!text_is_utf8(bytes + i, length) || memchr(bytes + i, '\0', length) != NULL) {
            return spry_fail(error, SPRY_BAD_INPUT, t->name, "give a vocab.txt in UTF-8",
                             "line %lld is not text", (long long)id + 1);
        }
        if (length > 0) { /* an empty line leaves its number unused */
            status = vocabulary_add(&t->words, t->name, bytes + i, length, id, error);
            *capitals = *capitals || has_capitals(bytes + i, length);
        }
        i = next;
    }
    return status;
}

static spry_status add_specials(spry_tokenizer *t, spry_error *error)
{
    spry_tokenizer_info *info = &t->info;
    const struct {
        const char *name;
        int64_t *id;
    } specials[] = {{"[UNK]", &info->unknown},
                    {"[CLS]", &info->begin},
                    {"[SEP]", &info->end},
                    {"[PAD]", &info->padding},
                    {"[MASK]", &info->mask}};
    enum { SPECIALS = sizeof specials / sizeof specials[0] };

    t->added.at = arena_array(&t->memory, SPECIALS, sizeof *t->added.at);
    for (size_t i = 0; i < SPECIALS && t->added.at != NULL; i++) {
        code_points content =
            code_points_read(&t->memory, specials[i].name, strlen(specials[i].name));

        *specials[i].id = vocabulary_find_string(&t->words, specials[i].name);
        if (content.at == NULL) {
            return alloc_failed(error, 1);
        }
        if (*specials[i].id >= 0) {
            t->added.at[t->added.count++] =
                (added_token){.content = content, .id = *specials[i].id, .special = true};
        }
    }
    if (t->added.at == NULL) {
        return alloc_failed(error, SPECIALS * sizeof *t->added.at);
    }
    if (info->unknown < 0 || info->begin < 0 || info->end < 0) {
        return spry_fail(error, SPRY_BAD_INPUT, t->name,
                         "give BERT's vocab.txt, or the model's tokenizer.json",
                         "the vocabulary has no token %s",
                         info->unknown < 0 ? "[UNK]"
                         : info->begin < 0 ? "[CLS]"
                                           : "[SEP]");
    }
    return SPRY_OK;
}

spry_status tokenizer_read_vocab(spry_tokenizer *t, const char *bytes, size_t size,
                                 const spry_tokenizer_options *options, spry_error *error)
{
    static const char mark[] = {'\xef', '\xbb', '\xbf'};
    size_t skip = size >= sizeof mark && memcmp(bytes, mark, sizeof mark) == 0 ? sizeof mark : 0;
    bool capitals = false;
    spry_status status = read_lines(t, bytes + skip, size - skip, &capitals, error);

    if (status == SPRY_OK) {
        status = add_specials(t, error);
    }
    if (status != SPRY_OK) {
        return status;
    }
    t->info.kind = "WordPiece";
    t->info.lower_case = options->lower_case == SPRY_LOWER_CASE_AUTO
                             ? !capitals
                             : options->lower_case == SPRY_LOWER_CASE_YES;
    t->normal[t->normal_count++].kind = NORMALIZE_CLEAN;
    t->normal[t->normal_count++].kind = NORMALIZE_CJK;
    if (t->info.lower_case) {
        t->normal[t->normal_count++].kind = NORMALIZE_NFD;
        t->normal[t->normal_count++].kind = NORMALIZE_DROP_NONSPACING;
        t->normal[t->normal_count++].kind = NORMALIZE_LOWER;
    }
    t->splits[t->split_count++].kind = SPLIT_BERT;
    t->model.kind = TOKEN_MODEL_WORDPIECE;
    t->model.unknown = (int32_t)t->info.unknown;
    t->model.prefix = "##";
    t->model.longest_word = options->longest_word > 0 ? options->longest_word : LONGEST_WORD;
    t->decodes[t->decode_count++] =
        (decode_step){.kind = DECODE_WORDPIECE, .from = "##", .flag = true};
    tokenizer_bert_form(t, t->info.begin, t->info.end, true);
    return SPRY_OK;
}
