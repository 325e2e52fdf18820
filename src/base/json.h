/* JSON, in and out.
 *
 * Reading: a document is opened from a file or bytes under limits, then values are taken out by
 * functions that check type and range. Their errors say where: "recipe.json: resize.width must be
 * an integer from 1 to 65536".
 *
 *     json_document *document;
 *     json_node root, resize;
 *     int64_t width;
 *     json_open_file(path, &document, error)
 *     json_root(document, &root)
 *     json_get_object(&root, "resize", &resize, error)
 *     json_get_i64(&resize, "width", 1, 65536, &width, error)
 *     json_close(document)
 *
 * A document owns everything taken from it. The parser's memory comes from the C library, bounded
 * by LIMIT_JSON_BYTES; documents can be read by several threads at once.
 *
 * Writing: json_writer puts members in the order of the calls, so equal data gives equal bytes. */
#ifndef BASE_JSON_H
#define BASE_JSON_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/text.h"
#include "spry/status.h"

typedef struct json_document json_document;

/* A value and the way to it. Parents must stay in place while a node is used; keys live in the
 * document or are string constants. */
typedef struct json_node {
    const void *value; /* the parser's; NULL only in a node that was never set */
    const struct json_node *parent;
    const char *key; /* NULL in items of an array, and in the root */
    size_t index;
    const json_document *document;
} json_node;

/* Parses a file or `size` bytes; `name` stands for the bytes in errors. Duplicate keys, text after
 * the value, invalid UTF-8 and NUL in strings are refused.
 * Fails with SPRY_BAD_INPUT (not JSON: `where` is name:line:column), SPRY_LIMIT (larger than
 * LIMIT_JSON_BYTES, deeper than LIMIT_JSON_DEPTH, memory), SPRY_IO. */
SPRY_MUST_USE spry_status json_open_file(const char *path, json_document **document,
                                         spry_error *error);
SPRY_MUST_USE spry_status json_open_bytes(const char *bytes, size_t size, const char *name,
                                          json_document **document, spry_error *error);
/* NULL is allowed. */
void json_close(json_document *document);

/* The outermost value. */
void json_root(const json_document *document, json_node *root);

/* Does the object `from` have the member `key`? Use before json_get_* for optional members. */
bool json_has(const json_node *from, const char *key);
/* Members of an object or items of an array; 0 for anything else. */
size_t json_length(const json_node *node);
/* Item `index`, which must be below json_length, of an array. */
void json_item(const json_node *array, size_t index, json_node *item);
/* Steps to the next member of an object, in the file's order, and sets member->key; `*member` is
 * (json_node){0} before the first step. False after the last. */
bool json_next(const json_node *object, json_node *member);

/* Is the value null? */
bool json_node_is_null(const json_node *node);

/* The value of a node. All fail with SPRY_BAD_INPUT naming the node when type or range differ.
 * An integer is written without fraction and exponent; a number may be an integer. */
SPRY_MUST_USE spry_status json_as_i64(const json_node *node, int64_t least, int64_t most,
                                      int64_t *value, spry_error *error);
SPRY_MUST_USE spry_status json_as_f64(const json_node *node, double least, double most,
                                      double *value, spry_error *error);
SPRY_MUST_USE spry_status json_as_bool(const json_node *node, bool *value, spry_error *error);
/* NUL-terminated UTF-8 without other NULs; lives as long as the document. */
SPRY_MUST_USE spry_status json_as_string(const json_node *node, const char **value,
                                         spry_error *error);
SPRY_MUST_USE spry_status json_as_object(const json_node *node, spry_error *error);
SPRY_MUST_USE spry_status json_as_array(const json_node *node, spry_error *error);

/* The same of the member `key` of an object; also fails when it is missing. */
SPRY_MUST_USE spry_status json_get(const json_node *from, const char *key, json_node *member,
                                   spry_error *error);
SPRY_MUST_USE spry_status json_get_i64(const json_node *from, const char *key, int64_t least,
                                       int64_t most, int64_t *value, spry_error *error);
SPRY_MUST_USE spry_status json_get_f64(const json_node *from, const char *key, double least,
                                       double most, double *value, spry_error *error);
SPRY_MUST_USE spry_status json_get_bool(const json_node *from, const char *key, bool *value,
                                        spry_error *error);
SPRY_MUST_USE spry_status json_get_string(const json_node *from, const char *key,
                                          const char **value, spry_error *error);
SPRY_MUST_USE spry_status json_get_object(const json_node *from, const char *key, json_node *object,
                                          spry_error *error);
SPRY_MUST_USE spry_status json_get_array(const json_node *from, const char *key, json_node *array,
                                         spry_error *error);

/* Refuses (SPRY_BAD_INPUT) members of an object that are not among `count` known keys: a mistyped
 * option must not be silently ignored. */
SPRY_MUST_USE spry_status json_check_keys(const json_node *object, const char *const *keys,
                                          size_t count, spry_error *error);

/* Fails with SPRY_BAD_INPUT, saying that `node` `problem` ("must name an input of the model"). */
SPRY_MUST_USE spry_status json_refuse(const json_node *node, const char *problem,
                                      spry_error *error);

enum { JSON_WRITER_DEPTH = 64 };

/* Appends JSON to a text. Misuse (more ends than begins, nesting above JSON_WRITER_DEPTH) marks the
 * text as failed, like running out of memory: ask text_status at the end. */
typedef struct json_writer {
    text *to;
    int indent; /* blanks per level; 0 writes one line */
    int depth;
    struct {
        bool array;
        bool filled;
    } levels[JSON_WRITER_DEPTH];
} json_writer;

void json_writer_init(json_writer *writer, text *to, int indent);

/* `key` names a member of the current object; NULL inside an array and for the outermost value. */
void json_write_object(json_writer *writer, const char *key);
void json_write_array(json_writer *writer, const char *key);
/* Ends the innermost object or array; a newline follows the outermost when indented. */
void json_write_end(json_writer *writer);
void json_write_i64(json_writer *writer, const char *key, int64_t value);
void json_write_u64(json_writer *writer, const char *key, uint64_t value);
/* Reads back as the same number; not-a-number and infinities are written as null. */
void json_write_f64(json_writer *writer, const char *key, double value);
void json_write_bool(json_writer *writer, const char *key, bool value);
void json_write_null(json_writer *writer, const char *key);
/* A NULL value is written as null; invalid UTF-8 is replaced by U+FFFD. */
void json_write_string(json_writer *writer, const char *key, const char *value);
void json_write_bytes(json_writer *writer, const char *key, const char *bytes, size_t length);

#endif
