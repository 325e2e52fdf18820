/* tokenizer.json: post-processors (what stands around texts) and decoders. */
#include <string.h>

#include "base/alloc.h"
#include "base/limits.h"
#include "text/read_json.h"

/* ---- post-processors ---- */

static spry_status read_special_id(const json_node *specials, const char *name, int64_t *id,
                                   spry_error *error)
{
    json_node special;
    json_node ids;
    json_node first;
    spry_status status = json_get_object(specials, name, &special, error);

    status = status == SPRY_OK ? json_get_array(&special, "ids", &ids, error) : status;
    if (status == SPRY_OK && json_length(&ids) != 1) {
        return json_refuse(&ids, "must hold one id", error);
    }
    if (status == SPRY_OK) {
        json_item(&ids, 0, &first);
        status = json_as_i64(&first, 0, LIMIT_VOCABULARY - 1, id, error);
    }
    return status;
}

/* {"Sequence": {"id": "A", "type_id": 0}} or {"SpecialToken": {"id": "[CLS]", "type_id": 0}} */
static spry_status read_item(const json_node *node, const json_node *specials, form_item *item,
                             spry_error *error)
{
    bool is_text = json_has(node, "Sequence");
    json_node inner;
    const char *name = NULL;
    int64_t segment = 0;
    spry_status status =
        json_get_object(node, is_text ? "Sequence" : "SpecialToken", &inner, error);

    status = status == SPRY_OK ? json_get_string(&inner, "id", &name, error) : status;
    status =
        status == SPRY_OK ? json_get_i64(&inner, "type_id", 0, INT32_MAX, &segment, error) : status;
    if (status != SPRY_OK) {
        return status;
    }
    *item = (form_item){.source = -1, .segment = (int32_t)segment};
    if (!is_text) {
        return read_special_id(specials, name, &item->id, error);
    }
    item->source = strcmp(name, "A") == 0 ? 0 : 1;
    return item->source == 0 || strcmp(name, "B") == 0
               ? SPRY_OK
               : json_refuse(&inner, "must be A or B", error);
}

static spry_status read_one_form(const json_node *node, const char *key, form *f, spry_error *error)
{
    json_node list;
    json_node specials;
    spry_status status = json_get_array(node, key, &list, error);

    status = status == SPRY_OK ? json_get_object(node, "special_tokens", &specials, error) : status;
    size_t count = status == SPRY_OK ? json_length(&list) : 0;
    if (count > TOKENIZER_MOST_FORM) {
        return json_refuse(&list, "has too many parts", error);
    }
    for (size_t i = 0; status == SPRY_OK && i < count; i++) {
        json_node item;

        json_item(&list, i, &item);
        status = json_as_object(&item, error);
        if (status == SPRY_OK) {
            status = read_item(&item, &specials, &f->items[i], error);
        }
    }
    f->count = status == SPRY_OK ? count : 0;
    return status;
}

static spry_status read_template(spry_tokenizer *t, const json_node *node, spry_error *error)
{
    spry_status status = read_one_form(node, "single", &t->single, error);

    return status == SPRY_OK && read_json_present(node, "pair")
               ? read_one_form(node, "pair", &t->pair, error)
               : status;
}

/* ["[SEP]", 102] */
static spry_status read_named_id(const json_node *node, const char *key, int64_t *id,
                                 spry_error *error)
{
    json_node pair;
    json_node number;
    spry_status status = json_get_array(node, key, &pair, error);

    if (status == SPRY_OK && json_length(&pair) != 2) {
        return json_refuse(&pair, "must be a token and its id", error);
    }
    if (status == SPRY_OK) {
        json_item(&pair, 1, &number);
        status = json_as_i64(&number, 0, LIMIT_VOCABULARY - 1, id, error);
    }
    return status;
}

static spry_status read_ends(spry_tokenizer *t, const json_node *node, bool segments,
                             spry_error *error)
{
    int64_t begin = 0;
    int64_t end = 0;
    spry_status status = read_named_id(node, "cls", &begin, error);

    status = status == SPRY_OK ? read_named_id(node, "sep", &end, error) : status;
    if (status == SPRY_OK) {
        tokenizer_bert_form(t, begin, end, segments);
    }
    return status;
}

static spry_status read_bert(spry_tokenizer *t, const json_node *node, spry_error *error)
{
    return read_ends(t, node, true, error);
}

static spry_status read_trim(spry_tokenizer *t, const json_node *node, spry_error *error)
{
    return read_json_bool(node, "trim_offsets", true, &t->trim_offsets, error);
}

static spry_status read_roberta(spry_tokenizer *t, const json_node *node, spry_error *error)
{
    spry_status status = read_trim(t, node, error);

    return status == SPRY_OK ? read_ends(t, node, false, error) : status;
}

static spry_status read_form_sequence(spry_tokenizer *t, const json_node *node, spry_error *error);

static const read_json_kind form_kinds[] = {
    {"Sequence", read_form_sequence}, {"TemplateProcessing", read_template},
    {"BertProcessing", read_bert},    {"RobertaProcessing", read_roberta},
    {"ByteLevel", read_trim},         {NULL, NULL},
};

static spry_status read_form_sequence(spry_tokenizer *t, const json_node *node, spry_error *error)
{
    return read_json_sequence(t, node, "processors", "post-processor", form_kinds, error);
}

spry_status tokenizer_read_form(spry_tokenizer *t, const json_node *node, spry_error *error)
{
    return read_json_by_type(t, node, "post-processor", form_kinds, error);
}

/* ---- decoders ---- */

static spry_status add_decode(spry_tokenizer *t, decode_kind kind, const char *from, const char *to,
                              decode_step step, spry_error *error)
{
    if (t->decode_count == TOKENIZER_MOST_STEPS) {
        return spry_fail(error, SPRY_LIMIT, t->name, NULL, "there are more than %d decoders",
                         (int)TOKENIZER_MOST_STEPS);
    }
    step.kind = kind;
    step.from = tokenizer_keep(t, from);
    step.to = tokenizer_keep(t, to);
    if (step.from == NULL || step.to == NULL) {
        return alloc_failed(error, 1);
    }
    t->decodes[t->decode_count++] = step;
    return SPRY_OK;
}

static spry_status read_decode_wordpiece(spry_tokenizer *t, const json_node *node,
                                         spry_error *error)
{
    decode_step step = {0};
    const char *prefix = NULL;
    spry_status status = read_json_string(node, "prefix", "##", &prefix, error);

    status = status == SPRY_OK ? read_json_bool(node, "cleanup", true, &step.flag, error) : status;
    return status == SPRY_OK ? add_decode(t, DECODE_WORDPIECE, prefix, "", step, error) : status;
}

static spry_status read_decode_bytes(spry_tokenizer *t, const json_node *node, spry_error *error)
{
    (void)node;
    return add_decode(t, DECODE_BYTES, "", "", (decode_step){0}, error);
}

static spry_status read_decode_metaspace(spry_tokenizer *t, const json_node *node,
                                         spry_error *error)
{
    const char *sign = NULL;
    split_prefix prefix = SPLIT_NEVER;
    spry_status status = read_json_metaspace(t, node, &sign, &prefix, error);

    return status == SPRY_OK ? add_decode(t, DECODE_METASPACE, sign, " ",
                                          (decode_step){.flag = prefix != SPLIT_NEVER}, error)
                             : status;
}

static spry_status read_decode_replace(spry_tokenizer *t, const json_node *node, spry_error *error)
{
    const char *pattern = NULL;
    const char *content = NULL;
    bool is_regex = false;
    spry_status status = read_json_pattern(t, node, &is_regex, &pattern, error);

    if (status == SPRY_OK && is_regex) {
        return tokenizer_unsupported(t, "regular expression", pattern, error);
    }
    status = status == SPRY_OK ? json_get_string(node, "content", &content, error) : status;
    return status == SPRY_OK
               ? add_decode(t, DECODE_REPLACE, pattern, content, (decode_step){0}, error)
               : status;
}

static spry_status read_decode_fallback(spry_tokenizer *t, const json_node *node, spry_error *error)
{
    (void)node;
    return add_decode(t, DECODE_FALLBACK, "", "", (decode_step){0}, error);
}

static spry_status read_decode_fuse(spry_tokenizer *t, const json_node *node, spry_error *error)
{
    (void)node;
    return add_decode(t, DECODE_FUSE, "", "", (decode_step){0}, error);
}

static spry_status read_decode_strip(spry_tokenizer *t, const json_node *node, spry_error *error)
{
    const char *content = NULL;
    int64_t left = 0;
    int64_t right = 0;
    spry_status status = json_get_string(node, "content", &content, error);

    status = status == SPRY_OK ? json_get_i64(node, "start", 0, INT32_MAX, &left, error) : status;
    status = status == SPRY_OK ? json_get_i64(node, "stop", 0, INT32_MAX, &right, error) : status;
    return status == SPRY_OK
               ? add_decode(t, DECODE_STRIP, content, "",
                            (decode_step){.left = (size_t)left, .right = (size_t)right}, error)
               : status;
}

static spry_status read_decode_suffix(spry_tokenizer *t, const json_node *node, spry_error *error)
{
    const char *suffix = NULL;
    spry_status status = read_json_string(node, "suffix", "</w>", &suffix, error);

    return status == SPRY_OK ? add_decode(t, DECODE_SUFFIX, suffix, "", (decode_step){0}, error)
                             : status;
}

static spry_status read_decode_sequence(spry_tokenizer *t, const json_node *node,
                                        spry_error *error);

static const read_json_kind decode_kinds[] = {
    {"Sequence", read_decode_sequence}, {"WordPiece", read_decode_wordpiece},
    {"ByteLevel", read_decode_bytes},   {"Metaspace", read_decode_metaspace},
    {"Replace", read_decode_replace},   {"ByteFallback", read_decode_fallback},
    {"Fuse", read_decode_fuse},         {"Strip", read_decode_strip},
    {"BPEDecoder", read_decode_suffix}, {NULL, NULL},
};

static spry_status read_decode_sequence(spry_tokenizer *t, const json_node *node, spry_error *error)
{
    return read_json_sequence(t, node, "decoders", "decoder", decode_kinds, error);
}

spry_status tokenizer_read_decoder(spry_tokenizer *t, const json_node *node, spry_error *error)
{
    return read_json_by_type(t, node, "decoder", decode_kinds, error);
}
