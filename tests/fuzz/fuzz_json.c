/* Any bytes either are refused with an error, or give a document that can be walked, written and
 * read again. A round trip that fails stops the program. */
#include <math.h>
#include <stdint.h>
#include <stdlib.h>

#include "base/json.h"
#include "base/limits.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void copy_node(json_writer *w, const char *key, const json_node *node);

static void copy_scalar(json_writer *w, const char *key, const json_node *node)
{
    const char *string;
    int64_t integer;
    double number;
    bool boolean;

    if (json_as_string(node, &string, NULL) == SPRY_OK) {
        json_write_string(w, key, string);
    } else if (json_as_i64(node, INT64_MIN, INT64_MAX, &integer, NULL) == SPRY_OK) {
        json_write_i64(w, key, integer);
    } else if (json_as_f64(node, -INFINITY, INFINITY, &number, NULL) == SPRY_OK) {
        json_write_f64(w, key, number);
    } else if (json_as_bool(node, &boolean, NULL) == SPRY_OK) {
        json_write_bool(w, key, boolean);
    } else {
        json_write_null(w, key);
    }
}

static void copy_object(json_writer *w, const char *key, const json_node *node)
{
    json_node member = {0};

    json_write_object(w, key);
    while (json_next(node, &member)) {
        copy_node(w, member.key, &member);
    }
    json_write_end(w);
}

static void copy_array(json_writer *w, const char *key, const json_node *node)
{
    json_write_array(w, key);
    for (size_t i = 0; i < json_length(node); i++) {
        json_node item;

        json_item(node, i, &item);
        copy_node(w, NULL, &item);
    }
    json_write_end(w);
}

static void copy_node(json_writer *w, const char *key, const json_node *node)
{
    if (json_as_object(node, NULL) == SPRY_OK) {
        copy_object(w, key, node);
    } else if (json_as_array(node, NULL) == SPRY_OK) {
        copy_array(w, key, node);
    } else {
        copy_scalar(w, key, node);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    json_document *document = NULL;
    json_document *again = NULL;
    json_node root;
    json_writer writer;
    spry_error error;
    text copy;

    if (json_open_bytes((const char *)data, size, "fuzz", &document, &error) != SPRY_OK) {
        return 0;
    }
    json_root(document, &root);
    text_init(&copy, NULL, LIMIT_JSON_BYTES);
    json_writer_init(&writer, &copy, size % 2 == 0 ? 0 : 2);
    copy_node(&writer, NULL, &root);
    if (text_status(&copy, "copy", NULL) != SPRY_OK ||
        json_open_bytes(copy.data, copy.length, "copy", &again, &error) != SPRY_OK) {
        abort();
    }
    json_close(again);
    json_close(document);
    text_fini(&copy);
    return 0;
}
