/* Files in the format of SQuAD: {"data": [{"title", "paragraphs": [{"context", "qas": [{"id",
 * "question", "answers": [{"text", "answer_start"}], "is_impossible"}]}]}]}. Their offsets count
 * characters; here they count bytes. */
#include <string.h>

#include "base/alloc.h"
#include "base/arena.h"
#include "base/json.h"
#include "spry/answer.h"
#include "tensor/utf8.h"

enum { MOST_QUESTIONS = 10000000, MOST_ANSWERS = 1000 };

struct spry_squad {
    spry_allocator allocator;
    arena memory; /* of answers */
    json_document *document;
    spry_squad_question *questions;
    size_t count;
    size_t capacity;
    bool has_unanswerable;
};

/* The byte of character `index`; -1 beyond the end. */
static int64_t byte_of(const char *string, int64_t index)
{
    size_t size = strlen(string);
    size_t at = 0;

    for (int64_t i = 0; i < index; i++) {
        uint32_t code;
        size_t length = utf8_decode(string + at, size - at, &code);

        if (length == 0) {
            return -1;
        }
        at += length;
    }
    return (int64_t)at;
}

static spry_status read_answer(const json_node *node, const char *context, spry_squad_answer *a,
                               spry_error *error)
{
    int64_t start = 0;
    spry_status status = json_get_string(node, "text", &a->text, error);

    a->begin = -1;
    if (status != SPRY_OK || !json_has(node, "answer_start")) {
        return status;
    }
    status = json_get_i64(node, "answer_start", 0, INT32_MAX, &start, error);
    if (status != SPRY_OK) {
        return status;
    }
    a->begin = byte_of(context, start);
    if (a->begin < 0 || (size_t)a->begin + strlen(a->text) > strlen(context)) {
        return json_refuse(node, "lies behind the end of its context", error);
    }
    return SPRY_OK;
}

static spry_status read_answers(spry_squad *s, const json_node *node, spry_squad_question *q,
                                spry_error *error)
{
    bool is_impossible = false;
    json_node list;
    spry_status status = SPRY_OK;

    if (json_has(node, "is_impossible")) {
        status = json_get_bool(node, "is_impossible", &is_impossible, error);
    }
    if (status != SPRY_OK || is_impossible) {
        s->has_unanswerable = s->has_unanswerable || is_impossible;
        return status;
    }
    status = json_get_array(node, "answers", &list, error);
    size_t count = status == SPRY_OK ? json_length(&list) : 0;
    if (count > MOST_ANSWERS) {
        return json_refuse(&list, "has too many answers", error);
    }
    spry_squad_answer *answers = arena_array(&s->memory, count + 1, sizeof *answers);
    if (answers == NULL) {
        return alloc_failed(error, count * sizeof *answers);
    }
    q->answers = answers;
    q->answer_count = (int32_t)count;
    s->has_unanswerable = s->has_unanswerable || (status == SPRY_OK && count == 0);
    for (size_t i = 0; status == SPRY_OK && i < count; i++) {
        json_node item;

        json_item(&list, i, &item);
        status = read_answer(&item, q->context, &answers[i], error);
    }
    return status;
}

static spry_status read_question(spry_squad *s, const json_node *node, const char *title,
                                 const char *context, spry_error *error)
{
    spry_squad_question q = {.title = title, .context = context};
    void *questions = s->questions;
    spry_status status = json_get_string(node, "id", &q.id, error);

    status = status == SPRY_OK ? json_get_string(node, "question", &q.question, error) : status;
    status = status == SPRY_OK ? read_answers(s, node, &q, error) : status;
    if (status == SPRY_OK) {
        status = alloc_grow(&s->allocator, &questions, &s->capacity, s->count + 1,
                            sizeof *s->questions, MOST_QUESTIONS, error);
        s->questions = questions;
    }
    if (status == SPRY_OK) {
        s->questions[s->count++] = q;
    }
    return status;
}

static spry_status read_paragraph(spry_squad *s, const json_node *node, const char *title,
                                  spry_error *error)
{
    const char *context = NULL;
    json_node list;
    spry_status status = json_get_string(node, "context", &context, error);

    status = status == SPRY_OK ? json_get_array(node, "qas", &list, error) : status;
    for (size_t i = 0; status == SPRY_OK && i < json_length(&list); i++) {
        json_node item;

        json_item(&list, i, &item);
        status = read_question(s, &item, title, context, error);
    }
    return status;
}

static spry_status read_article(spry_squad *s, const json_node *node, spry_error *error)
{
    const char *title = "";
    json_node list;
    spry_status status = SPRY_OK;

    if (json_has(node, "title")) {
        status = json_get_string(node, "title", &title, error);
    }
    status = status == SPRY_OK ? json_get_array(node, "paragraphs", &list, error) : status;
    for (size_t i = 0; status == SPRY_OK && i < json_length(&list); i++) {
        json_node item;

        json_item(&list, i, &item);
        status = read_paragraph(s, &item, title, error);
    }
    return status;
}

/* Reads a document that the squad then owns, also after a failure. */
static spry_status read_document(const spry_allocator *allocator, json_document *document,
                                 const char *name, spry_squad **squad, spry_error *error)
{
    spry_allocator resolved = alloc_resolve(allocator);
    spry_squad *s = alloc_zeroed(&resolved, sizeof *s);
    json_node root;
    json_node list;

    if (s == NULL) {
        json_close(document);
        return alloc_failed(error, sizeof *s);
    }
    s->allocator = resolved;
    s->document = document;
    arena_init(&s->memory, &resolved, SIZE_MAX);
    json_root(s->document, &root);
    spry_status status = json_get_array(&root, "data", &list, error);
    for (size_t i = 0; status == SPRY_OK && i < json_length(&list); i++) {
        json_node item;

        json_item(&list, i, &item);
        status = read_article(s, &item, error);
    }
    if (status == SPRY_OK && s->count == 0) {
        status = spry_fail(error, SPRY_BAD_INPUT, name, NULL, "the file has no questions");
    }
    if (status != SPRY_OK) {
        spry_squad_close(s);
        return status;
    }
    *squad = s;
    return SPRY_OK;
}

spry_status spry_squad_open(const spry_allocator *allocator, const char *path, spry_squad **squad,
                            spry_error *error)
{
    json_document *document = NULL;
    spry_status status = json_open_file(path, &document, error);

    *squad = NULL;
    return status == SPRY_OK ? read_document(allocator, document, path, squad, error) : status;
}

spry_status spry_squad_parse(const spry_allocator *allocator, const char *bytes, size_t size,
                             const char *name, spry_squad **squad, spry_error *error)
{
    json_document *document = NULL;
    spry_status status = json_open_bytes(bytes, size, name, &document, error);

    *squad = NULL;
    return status == SPRY_OK ? read_document(allocator, document, name, squad, error) : status;
}

void spry_squad_close(spry_squad *s)
{
    if (s == NULL) {
        return;
    }
    spry_allocator allocator = s->allocator;

    json_close(s->document);
    alloc_release(&allocator, s->questions, s->capacity * sizeof *s->questions);
    arena_fini(&s->memory);
    alloc_release(&allocator, s, sizeof *s);
}

int64_t spry_squad_count(const spry_squad *s)
{
    return (int64_t)s->count;
}

bool spry_squad_has_unanswerable(const spry_squad *s)
{
    return s->has_unanswerable;
}

spry_squad_question spry_squad_at(const spry_squad *s, int64_t index)
{
    return s->questions[index];
}
