/* Reading JSON with jansson. Its own nesting limit is 2048 and its parser is recursive, so depth is
 * checked here before it sees the text. */
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include <jansson.h>

#include "base/alloc.h"
#include "base/files.h"
#include "base/json.h"
#include "base/limits.h"

enum { PATH_BYTES = 256, PATH_DEPTH = LIMIT_JSON_DEPTH + 1 };

struct json_document {
    json_t *root;
    char name[SPRY_ERROR_WHERE_SIZE];
};

/* Line and column (from 1) of `position`, for an error. */
static spry_status fail_at(const char *bytes, size_t position, const char *name, spry_error *error)
{
    char where[SPRY_ERROR_WHERE_SIZE];
    size_t line = 1;
    size_t start = 0;

    for (size_t i = 0; i < position; i++) {
        if (bytes[i] == '\n') {
            line++;
            start = i + 1;
        }
    }
    (void)snprintf(where, sizeof where, "%s:%zu:%zu", name, line, position - start + 1);
    return spry_fail(error, SPRY_LIMIT, where, NULL, "values nest deeper than %d levels",
                     LIMIT_JSON_DEPTH);
}

/* Counts brackets outside of strings. Text that is not JSON may be counted wrongly, but never
 * lower than the parser would nest. */
static spry_status check_depth(const char *bytes, size_t size, const char *name, spry_error *error)
{
    int depth = 0;
    bool in_string = false;

    for (size_t i = 0; i < size; i++) {
        char c = bytes[i];

        if (in_string) {
            if (c == '\\') {
                i++;
            }
            in_string = c != '"';
        } else if (c == '"') {
            in_string = true;
        } else if (c == '[' || c == '{') {
            if (++depth > LIMIT_JSON_DEPTH) {
                return fail_at(bytes, i, name, error);
            }
        } else if ((c == ']' || c == '}') && depth > 0) {
            depth--;
        }
    }
    return SPRY_OK;
}

spry_status json_open_bytes(const char *bytes, size_t size, const char *name,
                            json_document **document, spry_error *error)
{
    const size_t flags = JSON_REJECT_DUPLICATES | JSON_DECODE_ANY;
    char where[SPRY_ERROR_WHERE_SIZE];
    json_document *made;
    json_error_t problem;
    spry_status status;

    *document = NULL;
    if (size > LIMIT_JSON_BYTES) {
        return spry_fail(error, SPRY_LIMIT, name, NULL,
                         "has %zu bytes of JSON; at most %d are accepted", size, LIMIT_JSON_BYTES);
    }
    status = check_depth(bytes, size, name, error);
    if (status != SPRY_OK) {
        return status;
    }
    made = alloc_zeroed(spry_allocator_system(), sizeof *made);
    if (made == NULL) {
        return alloc_failed(error, sizeof *made);
    }
    made->root = json_loadb(bytes, size, flags, &problem);
    if (made->root == NULL) {
        alloc_release(spry_allocator_system(), made, sizeof *made);
        if (json_error_code(&problem) == json_error_out_of_memory) {
            return alloc_failed(error, size);
        }
        (void)snprintf(where, sizeof where, "%s:%d:%d", name, problem.line, problem.column);
        return spry_fail(error, SPRY_BAD_INPUT, where, NULL, "is not valid JSON: %s", problem.text);
    }
    (void)snprintf(made->name, sizeof made->name, "%s", name);
    *document = made;
    return SPRY_OK;
}

spry_status json_open_file(const char *path, json_document **document, spry_error *error)
{
    file_map map;
    spry_status status;

    *document = NULL;
    status = file_map_open(path, LIMIT_JSON_BYTES, &map, error);
    if (status == SPRY_OK) {
        status = json_open_bytes((const char *)map.data, map.size, path, document, error);
        file_map_close(&map);
    }
    return status;
}

void json_close(json_document *document)
{
    if (document != NULL) {
        json_decref(document->root);
        alloc_release(spry_allocator_system(), document, sizeof *document);
    }
}

void json_root(const json_document *document, json_node *root)
{
    *root = (json_node){.value = document->root, .document = document};
}

bool json_has(const json_node *from, const char *key)
{
    return json_object_get(from->value, key) != NULL;
}

size_t json_length(const json_node *node)
{
    return json_is_object((const json_t *)node->value) ? json_object_size(node->value)
                                                       : json_array_size(node->value);
}

void json_item(const json_node *array, size_t index, json_node *item)
{
    *item = (json_node){.value = json_array_get(array->value, index),
                        .parent = array,
                        .index = index,
                        .document = array->document};
}

bool json_next(const json_node *object, json_node *member)
{
    /* jansson iterates a read-only object only through a pointer to non-const. */
    json_t *value = (json_t *)(uintptr_t)object->value;
    void *iterator = member->key == NULL
                         ? json_object_iter(value)
                         : json_object_iter_next(value, json_object_key_to_iter(member->key));

    if (iterator == NULL) {
        return false;
    }
    *member = (json_node){.value = json_object_iter_value(iterator),
                          .parent = object,
                          .key = json_object_iter_key(iterator),
                          .document = object->document};
    return true;
}

/* Writes the way from the root: layers[2].name, or "the document" for the root itself. */
static void describe(const json_node *node, char path[PATH_BYTES])
{
    const json_node *way[PATH_DEPTH];
    size_t depth = 0;
    text t;

    for (; node->parent != NULL && depth < PATH_DEPTH; node = node->parent) {
        way[depth++] = node;
    }
    text_init_fixed(&t, path, PATH_BYTES);
    if (depth == 0) {
        text_append_string(&t, "the document");
    }
    while (depth-- > 0) {
        if (way[depth]->key == NULL) {
            text_append_format(&t, "[%zu]", way[depth]->index);
        } else {
            text_append_format(&t, "%s%s", t.length != 0 ? "." : "", way[depth]->key);
        }
    }
}

spry_status json_refuse(const json_node *node, const char *problem, spry_error *error)
{
    char path[PATH_BYTES];

    describe(node, path);
    return spry_fail(error, SPRY_BAD_INPUT, node->document->name, NULL, "%s %s", path, problem);
}

spry_status json_as_i64(const json_node *node, int64_t least, int64_t most, int64_t *value,
                        spry_error *error)
{
    char problem[128];
    json_int_t number;

    if (json_is_integer((const json_t *)node->value)) {
        number = json_integer_value(node->value);
        if (number >= least && number <= most) {
            *value = number;
            return SPRY_OK;
        }
    }
    (void)snprintf(problem, sizeof problem, "must be an integer from %" PRId64 " to %" PRId64,
                   least, most);
    return json_refuse(node, problem, error);
}

spry_status json_as_f64(const json_node *node, double least, double most, double *value,
                        spry_error *error)
{
    char problem[128];
    double number;

    if (json_is_number((const json_t *)node->value)) {
        number = json_number_value(node->value);
        if (number >= least && number <= most) {
            *value = number;
            return SPRY_OK;
        }
    }
    if (isinf(least) && isinf(most)) {
        return json_refuse(node, "must be a number", error);
    }
    (void)snprintf(problem, sizeof problem, "must be a number from %g to %g", least, most);
    return json_refuse(node, problem, error);
}

bool json_node_is_null(const json_node *node)
{
    return json_is_null((const json_t *)node->value);
}

spry_status json_as_bool(const json_node *node, bool *value, spry_error *error)
{
    if (!json_is_boolean((const json_t *)node->value)) {
        return json_refuse(node, "must be true or false", error);
    }
    *value = json_is_true((const json_t *)node->value);
    return SPRY_OK;
}

spry_status json_as_string(const json_node *node, const char **value, spry_error *error)
{
    if (!json_is_string((const json_t *)node->value)) {
        return json_refuse(node, "must be a string", error);
    }
    *value = json_string_value(node->value);
    return SPRY_OK;
}

spry_status json_as_object(const json_node *node, spry_error *error)
{
    return json_is_object((const json_t *)node->value)
               ? SPRY_OK
               : json_refuse(node, "must be an object", error);
}

spry_status json_as_array(const json_node *node, spry_error *error)
{
    return json_is_array((const json_t *)node->value)
               ? SPRY_OK
               : json_refuse(node, "must be an array", error);
}

spry_status json_get(const json_node *from, const char *key, json_node *member, spry_error *error)
{
    spry_status status = json_as_object(from, error);

    if (status != SPRY_OK) {
        return status;
    }
    *member = (json_node){.value = json_object_get(from->value, key),
                          .parent = from,
                          .key = key,
                          .document = from->document};
    return member->value != NULL ? SPRY_OK : json_refuse(member, "is missing", error);
}

spry_status json_get_i64(const json_node *from, const char *key, int64_t least, int64_t most,
                         int64_t *value, spry_error *error)
{
    json_node member;
    spry_status status = json_get(from, key, &member, error);

    return status != SPRY_OK ? status : json_as_i64(&member, least, most, value, error);
}

spry_status json_get_f64(const json_node *from, const char *key, double least, double most,
                         double *value, spry_error *error)
{
    json_node member;
    spry_status status = json_get(from, key, &member, error);

    return status != SPRY_OK ? status : json_as_f64(&member, least, most, value, error);
}

spry_status json_get_bool(const json_node *from, const char *key, bool *value, spry_error *error)
{
    json_node member;
    spry_status status = json_get(from, key, &member, error);

    return status != SPRY_OK ? status : json_as_bool(&member, value, error);
}

spry_status json_get_string(const json_node *from, const char *key, const char **value,
                            spry_error *error)
{
    json_node member;
    spry_status status = json_get(from, key, &member, error);

    return status != SPRY_OK ? status : json_as_string(&member, value, error);
}

spry_status json_get_object(const json_node *from, const char *key, json_node *object,
                            spry_error *error)
{
    spry_status status = json_get(from, key, object, error);

    return status != SPRY_OK ? status : json_as_object(object, error);
}

spry_status json_get_array(const json_node *from, const char *key, json_node *array,
                           spry_error *error)
{
    spry_status status = json_get(from, key, array, error);

    return status != SPRY_OK ? status : json_as_array(array, error);
}

static bool is_among(const char *key, const char *const *keys, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (strcmp(key, keys[i]) == 0) {
            return true;
        }
    }
    return false;
}

spry_status json_check_keys(const json_node *object, const char *const *keys, size_t count,
                            spry_error *error)
{
    json_node member = {0};
    spry_status status = json_as_object(object, error);

    if (status != SPRY_OK) {
        return status;
    }
    while (json_next(object, &member)) {
        if (!is_among(member.key, keys, count)) {
            return json_refuse(&member, "is not a known key", error);
        }
    }
    return SPRY_OK;
}
