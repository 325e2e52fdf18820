/* Where a description comes from, and how values are taken out of it. What was asked for is
 * remembered: target_keys.c finds what was not. */
#include "tune/target.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/arena.h"
#include "base/files.h"
#include "base/parse.h"
#include "tune/target_builtin.h"
#include "tune/target_keys.h"

enum { ARENA_CEILING = 16 << 20, MOST_KEYS = 1 << 16, PATH_SIZE = 4096 };

static const char remedy_units[] = "see targets/README.md for keys and units";

/* A value, wherever it stands: set by target_set, or in the file. */
typedef struct entry {
    const char *set; /* NULL: in the file */
    json_node node;
} entry;

/* ---- loading ---- */

static spry_status create(const spry_allocator *allocator, const char *name, target **t,
                          spry_error *error)
{
    spry_allocator chosen = alloc_resolve(allocator);
    target *made = alloc_zeroed(&chosen, sizeof *made);

    *t = NULL;
    if (made == NULL) {
        return alloc_failed(error, sizeof *made);
    }
    made->allocator = chosen;
    arena_init(&made->memory, &chosen, ARENA_CEILING);
    made->name = arena_text(&made->memory, name, strlen(name));
    if (made->name == NULL) {
        target_destroy(made);
        return alloc_failed(error, strlen(name));
    }
    *t = made;
    return SPRY_OK;
}

/* Takes over `document`. */
static spry_status adopt(const spry_allocator *allocator, const char *name, json_document *document,
                         target **t, spry_error *error)
{
    json_node root;
    spry_status status;

    json_root(document, &root);
    *t = NULL;
    status = json_as_object(&root, error);
    if (status == SPRY_OK) {
        status = create(allocator, name, t, error);
    }
    if (status != SPRY_OK) {
        json_close(document);
        return status;
    }
    (*t)->document = document;
    return SPRY_OK;
}

spry_status target_parse(const spry_allocator *allocator, const char *bytes, size_t size,
                         const char *name, target **t, spry_error *error)
{
    json_document *document;
    spry_status status = json_open_bytes(bytes, size, name, &document, error);

    *t = NULL;
    return status != SPRY_OK ? status : adopt(allocator, name, document, t, error);
}

static spry_status load_file(const spry_allocator *allocator, const char *path, target **t,
                             spry_error *error)
{
    json_document *document;
    spry_status status = json_open_file(path, &document, error);

    return status != SPRY_OK ? status : adopt(allocator, path, document, t, error);
}

const char *const *target_names(void)
{
    return target_builtin_names;
}

spry_status target_host_path(char *path, size_t size, spry_error *error)
{
    const char *cache = getenv("XDG_CACHE_HOME");
    const char *home = getenv("HOME");
    bool given = cache != NULL && cache[0] == '/';
    int length;

    if (!given && (home == NULL || home[0] == '\0')) {
        return spry_fail(error, SPRY_IO, "XDG_CACHE_HOME", "set it to a folder of yours",
                         "and HOME are not set: there is no place for the calibration");
    }
    length = given ? snprintf(path, size, "%s/spry/cpu.json", cache)
                   : snprintf(path, size, "%s/.cache/spry/cpu.json", home);
    if (length < 0 || (size_t)length >= size) {
        return spry_fail(error, SPRY_LIMIT, given ? cache : home, NULL, "is too long for a path");
    }
    return SPRY_OK;
}

static spry_status load_host(const spry_allocator *allocator, const char *name, target **t,
                             spry_error *error)
{
    char path[PATH_SIZE];
    spry_status status = target_host_path(path, sizeof path, error);

    if (status != SPRY_OK) {
        return status;
    }
    if (!file_exists(path)) {
        return spry_fail(error, SPRY_USAGE, name, "run `spry doctor --calibrate` once",
                         "is this machine, which has not been calibrated: there is no %.300s",
                         path);
    }
    return load_file(allocator, path, t, error);
}

static spry_status refuse_name(const char *name, spry_error *error)
{
    char known[512];
    text list;

    text_init_fixed(&list, known, sizeof known);
    for (const char *const *n = target_builtin_names; *n != NULL; n++) {
        text_append_string(&list, *n);
        text_append_string(&list, ", ");
    }
    return spry_fail(error, SPRY_USAGE, name, "write ./NAME.json to give a file",
                     "is no known target; there are %scpu, and files", known);
}

spry_status target_load(const spry_allocator *allocator, const char *name, target **t,
                        spry_error *error)
{
    size_t length = strlen(name);

    *t = NULL;
    if (strcmp(name, "cpu") == 0 || strcmp(name, "host") == 0) {
        return load_host(allocator, name, t, error);
    }
    for (size_t i = 0; target_builtin_names[i] != NULL; i++) {
        if (strcmp(target_builtin_names[i], name) == 0) {
            const char *json = target_builtin_texts[i];

            return target_parse(allocator, json, strlen(json), name, t, error);
        }
    }
    if (strchr(name, '/') != NULL || (length > 5 && strcmp(name + length - 5, ".json") == 0)) {
        return load_file(allocator, name, t, error);
    }
    return refuse_name(name, error);
}

void target_destroy(target *t)
{
    if (t != NULL) {
        spry_allocator allocator = t->allocator;

        json_close(t->document);
        alloc_release(&allocator, t->set, t->set_capacity * sizeof *t->set);
        alloc_release(&allocator, t->asked, t->asked_capacity * sizeof *t->asked);
        arena_fini(&t->memory);
        alloc_release(&allocator, t, sizeof *t);
    }
}

const char *target_name(const target *t)
{
    return t->name;
}

spry_status target_set(target *t, const char *assignment, spry_error *error)
{
    const char *equals = strchr(assignment, '=');
    target_set_value *one;
    spry_status status;

    if (equals == NULL || equals == assignment || equals[1] == '\0') {
        return spry_fail(error, SPRY_USAGE, assignment, "write memory.dram.bandwidth=\"900 GB/s\"",
                         "is not of the form KEY=VALUE");
    }
    status = alloc_grow(&t->allocator, (void **)&t->set, &t->set_capacity, t->set_count + 1,
                        sizeof *t->set, MOST_KEYS, error);
    if (status != SPRY_OK) {
        return status;
    }
    one = &t->set[t->set_count];
    one->key = arena_text(&t->memory, assignment, (size_t)(equals - assignment));
    one->value = arena_text(&t->memory, equals + 1, strlen(equals + 1));
    if (one->key == NULL || one->value == NULL) {
        return alloc_failed(error, strlen(assignment));
    }
    t->set_count++;
    return SPRY_OK;
}

/* ---- finding a key ---- */

/* Steps from `from` to the member or item that the first `length` bytes of `name` say. */
static bool step(const json_node *from, const char *name, size_t length, json_node *to)
{
    char copy[PATH_SIZE];
    int64_t index;

    if (length == 0 || length >= sizeof copy) {
        return false;
    }
    memcpy(copy, name, length);
    copy[length] = '\0';
    if (json_as_array(from, NULL) == SPRY_OK) {
        if (!parse_i64(copy, 0, (int64_t)json_length(from) - 1, &index)) {
            return false;
        }
        json_item(from, (size_t)index, to);
        return true;
    }
    return json_has(from, copy) && json_get(from, copy, to, NULL) == SPRY_OK;
}

static bool find(const target *t, const char *key, entry *e)
{
    json_node at;

    for (size_t i = t->set_count; i-- > 0;) {
        if (strcmp(t->set[i].key, key) == 0) {
            *e = (entry){.set = t->set[i].value};
            return true;
        }
    }
    json_root(t->document, &at);
    for (;;) {
        size_t length = strcspn(key, ".");
        json_node next;

        if (!step(&at, key, length, &next)) {
            return false;
        }
        at = next;
        at.parent = NULL; /* errors are told by `key`; the steps do not stay in place */
        if (key[length] == '\0') {
            break;
        }
        key += length + 1;
    }
    *e = (entry){.node = at};
    return true;
}

/* Remembers that `key` was asked for; its place in t->asked, or NULL when memory ran out. */
static target_asked *ask(target *t, const char *key)
{
    target_asked *known = target_find_asked(t, key);
    char *copy;

    if (known != NULL) {
        return known;
    }
    if (alloc_grow(&t->allocator, (void **)&t->asked, &t->asked_capacity, t->asked_count + 1,
                   sizeof *t->asked, MOST_KEYS, NULL) != SPRY_OK) {
        return NULL;
    }
    copy = arena_text(&t->memory, key, strlen(key));
    if (copy == NULL) {
        return NULL;
    }
    t->asked[t->asked_count] = (target_asked){.key = copy};
    return &t->asked[t->asked_count++];
}

/* A key that somebody reads: `*record` is for its value. */
static spry_status look_up(target *t, const char *key, entry *e, target_asked **record,
                           spry_error *error)
{
    *record = ask(t, key);
    if (*record == NULL) {
        return alloc_failed(error, strlen(key));
    }
    return find(t, key, e) ? SPRY_OK : target_refuse(t, key, "is missing", error);
}

bool target_has(target *t, const char *key)
{
    entry e;

    (void)ask(t, key);
    return find(t, key, &e);
}

size_t target_length(target *t, const char *key)
{
    entry e;

    (void)ask(t, key);
    return find(t, key, &e) && e.set == NULL ? json_length(&e.node) : 0;
}

/* ---- values ---- */

spry_status target_refuse(const target *t, const char *key, const char *problem, spry_error *error)
{
    entry e;
    bool set = find(t, key, &e) && e.set != NULL;

    return spry_fail(error, SPRY_BAD_INPUT, set ? "--set" : t->name, remedy_units, "%s %s", key,
                     problem);
}

/* The text of an entry, or NULL where it has none; a number of the file goes to *number. */
static const char *text_of(const entry *e, double *number)
{
    const char *string = e->set;

    *number = NAN;
    if (string == NULL && json_as_string(&e->node, &string, NULL) != SPRY_OK) {
        string = NULL;
        if (json_as_f64(&e->node, -HUGE_VAL, HUGE_VAL, number, NULL) != SPRY_OK) {
            *number = NAN;
        }
    }
    return string;
}

static spry_status refuse_quantity(const target *t, const char *key, const char *given,
                                   quantity_problem problem, quantity_unit unit, spry_error *error)
{
    char what[256];
    const char *example = quantity_example(unit);

    if (unit == UNIT_ONE) {
        (void)snprintf(what, sizeof what, "must be a plain number, without a unit");
    } else if (problem == QUANTITY_OTHER_UNIT || problem == QUANTITY_UNKNOWN_UNIT) {
        (void)snprintf(what, sizeof what, "is \"%.64s\", whose unit is %s; write it like \"%s\"",
                       given, problem == QUANTITY_OTHER_UNIT ? "of something else" : "not known",
                       example);
    } else {
        (void)snprintf(what, sizeof what, "must be a number with a unit, like \"%s\"", example);
    }
    return target_refuse(t, key, what, error);
}

spry_status target_quantity(target *t, const char *key, quantity_unit unit, double least,
                            double most, double *value, spry_error *error)
{
    char low[QUANTITY_SIZE];
    char high[QUANTITY_SIZE];
    char what[160];
    entry e;
    target_asked *record;
    double number = 0;
    quantity_problem problem = QUANTITY_FINE;
    const char *given;
    spry_status status = look_up(t, key, &e, &record, error);

    if (status != SPRY_OK) {
        return status;
    }
    given = text_of(&e, &number);
    if (given != NULL) {
        problem = quantity_parse(given, unit, &number);
    } else if (isnan(number)) {
        problem = QUANTITY_NO_NUMBER;
    } else if (unit != UNIT_ONE) {
        problem = QUANTITY_NO_UNIT;
    }
    if (problem != QUANTITY_FINE) {
        return refuse_quantity(t, key, given, problem, unit, error);
    }
    if (!(number >= least && number <= most)) {
        (void)snprintf(what, sizeof what, "must be from %s to %s",
                       quantity_format(low, least, unit), quantity_format(high, most, unit));
        return target_refuse(t, key, what, error);
    }
    *value = number;
    *record =
        (target_asked){record->key, given != NULL && unit != UNIT_ONE ? given : NULL, number, true};
    return SPRY_OK;
}

spry_status target_count(target *t, const char *key, int64_t least, int64_t most, int64_t *value,
                         spry_error *error)
{
    char what[128];
    entry e;
    target_asked *record;
    int64_t number;
    bool fits;
    spry_status status = look_up(t, key, &e, &record, error);

    if (status != SPRY_OK) {
        return status;
    }
    fits = e.set != NULL ? parse_i64(e.set, least, most, &number)
                         : json_as_i64(&e.node, least, most, &number, NULL) == SPRY_OK;
    if (!fits) {
        (void)snprintf(what, sizeof what,
                       "must be a whole number from %" PRId64 " to %" PRId64 ", without a unit",
                       least, most);
        return target_refuse(t, key, what, error);
    }
    *value = number;
    *record = (target_asked){record->key, NULL, (double)number, true};
    return SPRY_OK;
}

spry_status target_flag(target *t, const char *key, bool *value, spry_error *error)
{
    entry e;
    target_asked *record;
    spry_status status = look_up(t, key, &e, &record, error);

    if (status != SPRY_OK) {
        return status;
    }
    if (e.set != NULL ? !parse_bool(e.set, value) : json_as_bool(&e.node, value, NULL) != SPRY_OK) {
        return target_refuse(t, key, "must be true or false", error);
    }
    *record = (target_asked){record->key, *value ? "true" : "false", 0, true};
    return SPRY_OK;
}

spry_status target_text(target *t, const char *key, const char **value, spry_error *error)
{
    entry e;
    target_asked *record;
    double number;
    const char *given;
    spry_status status = look_up(t, key, &e, &record, error);

    if (status != SPRY_OK) {
        return status;
    }
    given = text_of(&e, &number);
    if (given == NULL) {
        return target_refuse(t, key, "must be a text", error);
    }
    *value = given;
    *record = (target_asked){record->key, given, 0, true};
    return SPRY_OK;
}

spry_status target_choice(target *t, const char *key, const char *const *words, int count,
                          int *chosen, spry_error *error)
{
    char what[256];
    const char *given;
    text list;
    spry_status status = target_text(t, key, &given, error);

    if (status != SPRY_OK) {
        return status;
    }
    text_init_fixed(&list, what, sizeof what);
    text_append_string(&list, "must be one of");
    for (int i = 0; i < count; i++) {
        if (strcmp(given, words[i]) == 0) {
            *chosen = i;
            return SPRY_OK;
        }
        text_append_format(&list, "%s %s", i > 0 ? "," : "", words[i]);
    }
    return target_refuse(t, key, what, error);
}

spry_status target_quantity_or(target *t, const char *key, quantity_unit unit, double least,
                               double most, double *value, spry_error *error)
{
    return target_has(t, key) ? target_quantity(t, key, unit, least, most, value, error) : SPRY_OK;
}

spry_status target_count_or(target *t, const char *key, int64_t least, int64_t most, int64_t *value,
                            spry_error *error)
{
    return target_has(t, key) ? target_count(t, key, least, most, value, error) : SPRY_OK;
}
