/* Reading safetensors: a scanner for exactly the JSON that a header may be. */
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/arena.h"
#include "base/limits.h"
#include "tensor/safetensors.h"
#include "tensor/utf8.h"

/* An entry of the metadata, newest first. */
typedef struct noted {
    safetensors_note note;
    struct noted *next;
} noted;

struct safetensors {
    spry_allocator allocator;
    arena text; /* names, metadata */
    noted *notes;
    safetensors_entry *entries;
    size_t count;
    size_t capacity;
    const uint8_t *bytes;
    size_t size;
    tensor_storage *storage;
    const char *where;
};

typedef struct dtype_row {
    const char *name;
    spry_dtype dtype;
} dtype_row;

static const dtype_row dtype_rows[] = {
    {"F32", SPRY_DTYPE_F32},        {"F16", SPRY_DTYPE_F16},
    {"BF16", SPRY_DTYPE_BF16},      {"F64", SPRY_DTYPE_F64},
    {"I8", SPRY_DTYPE_I8},          {"U8", SPRY_DTYPE_U8},
    {"I16", SPRY_DTYPE_I16},        {"U16", SPRY_DTYPE_U16},
    {"I32", SPRY_DTYPE_I32},        {"U32", SPRY_DTYPE_U32},
    {"I64", SPRY_DTYPE_I64},        {"U64", SPRY_DTYPE_U64},
    {"BOOL", SPRY_DTYPE_BOOL},      {"F8_E4M3", SPRY_DTYPE_F8E4M3FN},
    {"F8_E5M2", SPRY_DTYPE_F8E5M2}, {"F8_E8M0", SPRY_DTYPE_F8E8M0},
    {"F4", SPRY_DTYPE_F4E2M1},      {"C64", SPRY_DTYPE_C64},
};
enum { DTYPE_ROWS = sizeof dtype_rows / sizeof dtype_rows[0] };

const char *safetensors_dtype_name(spry_dtype dtype)
{
    for (size_t i = 0; i < DTYPE_ROWS; i++) {
        if (dtype_rows[i].dtype == dtype) {
            return dtype_rows[i].name;
        }
    }
    return NULL;
}

/* --- scanner --------------------------------------------------------------------------------- */

typedef struct scanner {
    const char *text;
    size_t size;
    size_t at;
    safetensors *file;
    spry_error *error;
} scanner;

static spry_status malformed(const scanner *s, const char *what)
{
    return spry_fail(s->error, SPRY_BAD_INPUT, s->file->where, "copy or save the file again",
                     "the safetensors header is malformed at byte %zu: %s", s->at + 8, what);
}

static void skip_spaces(scanner *s)
{
    while (s->at < s->size && (s->text[s->at] == ' ' || s->text[s->at] == '\n' ||
                               s->text[s->at] == '\t' || s->text[s->at] == '\r')) {
        s->at++;
    }
}

/* Skips spaces and, if it comes next, the character. */
static bool take(scanner *s, char wanted)
{
    skip_spaces(s);
    if (s->at < s->size && s->text[s->at] == wanted) {
        s->at++;
        return true;
    }
    return false;
}

/* Four hexadecimal digits at the position; false when they are not there. */
static bool take_hex(scanner *s, uint32_t *value)
{
    *value = 0;
    if (s->size - s->at < 4) {
        return false;
    }
    for (int i = 0; i < 4; i++) {
        char c = s->text[s->at++];
        int digit = c >= '0' && c <= '9'   ? c - '0'
                    : c >= 'a' && c <= 'f' ? c - 'a' + 10
                    : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                           : -1;

        if (digit < 0) {
            return false;
        }
        *value = *value << 4 | (uint32_t)digit;
    }
    return true;
}

/* What follows a backslash, as UTF-8. Returns the bytes written, 0 when malformed. */
static size_t take_escape(scanner *s, char to[UTF8_MAX_BYTES])
{
    static const char plain[] = "\"\\/bfnrt";
    static const char meaning[] = "\"\\/\b\f\n\r\t";
    uint32_t high;
    uint32_t low;
    const char *found;

    if (s->at >= s->size) {
        return 0;
    }
    if (s->text[s->at] != 'u') {
        found = s->text[s->at] != '\0' ? strchr(plain, s->text[s->at]) : NULL;
        s->at++;
        to[0] = found != NULL ? meaning[found - plain] : '\0';
        return found != NULL;
    }
    s->at++;
    if (!take_hex(s, &high) || high == 0) {
        return 0;
    }
    if (high >= 0xd800 && high < 0xdc00) { /* the first half of a pair */
        if (s->size - s->at < 6 || s->text[s->at] != '\\' || s->text[s->at + 1] != 'u') {
            return 0;
        }
        s->at += 2;
        if (!take_hex(s, &low) || low < 0xdc00 || low >= 0xe000) {
            return 0;
        }
        high = 0x10000 + ((high - 0xd800) << 10) + (low - 0xdc00);
    }
    return utf8_encode(high, to);
}

/* A string of at most `most` bytes into `out`, which has room for one more; with `out` NULL any
 * length is skipped. */
static spry_status take_text(scanner *s, char *out, size_t most, size_t *length)
{
    *length = 0;
    if (!take(s, '"')) {
        return malformed(s, "a string is expected");
    }
    while (s->at < s->size && s->text[s->at] != '"') {
        char piece[UTF8_MAX_BYTES];
        uint32_t code_point;
        size_t bytes;

        if (s->text[s->at] == '\\') {
            s->at++;
            bytes = take_escape(s, piece);
        } else {
            bytes = utf8_decode(s->text + s->at, s->size - s->at, &code_point);
            if (bytes > 0) {
                memcpy(piece, s->text + s->at, bytes);
                bytes = code_point < 0x20 ? 0 : bytes;
            }
            s->at += bytes;
        }
        if (bytes == 0) {
            return malformed(s, "a string has a bad escape or is not UTF-8");
        }
        if (out != NULL) {
            if (*length + bytes > most) {
                return spry_fail(s->error, SPRY_LIMIT, s->file->where, NULL,
                                 "a name is longer than %zu bytes", most);
            }
            memcpy(out + *length, piece, bytes);
        }
        *length += bytes;
    }
    if (s->at >= s->size) {
        return malformed(s, "a string does not end");
    }
    s->at++;
    if (out != NULL) {
        out[*length] = '\0';
    }
    return SPRY_OK;
}

/* A name into `out` of LIMIT_NAME_BYTES + 1 bytes. */
static spry_status take_string(scanner *s, char *out, size_t *length)
{
    return take_text(s, out, LIMIT_NAME_BYTES, length);
}

/* A string of any length that is kept as long as the file. */
static spry_status keep_string(scanner *s, const char **kept)
{
    size_t start = s->at;
    size_t length;
    char *out;
    spry_status status = take_text(s, NULL, 0, &length);

    if (status != SPRY_OK) {
        return status;
    }
    out = arena_bytes(&s->file->text, length + 1);
    if (out == NULL) {
        return alloc_failed(s->error, length + 1);
    }
    s->at = start;
    *kept = out;
    return take_text(s, out, length, &length);
}

static spry_status take_number(scanner *s, uint64_t *value)
{
    size_t start;

    *value = 0;
    skip_spaces(s);
    start = s->at;
    while (s->at < s->size && s->text[s->at] >= '0' && s->text[s->at] <= '9') {
        uint64_t digit = (uint64_t)(s->text[s->at] - '0');

        if (*value > (UINT64_MAX - digit) / 10) {
            return malformed(s, "a number is too large");
        }
        *value = *value * 10 + digit;
        s->at++;
    }
    if (s->at == start || (s->text[start] == '0' && s->at - start > 1)) {
        return malformed(s, "a non-negative whole number is expected");
    }
    return SPRY_OK;
}

static spry_status take_dtype(scanner *s, safetensors_entry *e)
{
    char name[LIMIT_NAME_BYTES + 1];
    size_t length;
    spry_status status = take_string(s, name, &length);

    if (status != SPRY_OK) {
        return status;
    }
    for (size_t i = 0; i < DTYPE_ROWS; i++) {
        if (strcmp(name, dtype_rows[i].name) == 0) {
            e->dtype = dtype_rows[i].dtype;
            return SPRY_OK;
        }
    }
    return spry_fail(s->error, SPRY_UNSUPPORTED, s->file->where,
                     "convert the tensor to a supported type before saving",
                     "tensor '%.100s' has the unknown element type '%.40s'", e->name, name);
}

static spry_status take_shape(scanner *s, safetensors_entry *e)
{
    if (!take(s, '[')) {
        return malformed(s, "the shape must be a list");
    }
    for (bool more = !take(s, ']'); more; more = take(s, ',')) {
        uint64_t dimension;
        spry_status status = take_number(s, &dimension);

        if (status != SPRY_OK) {
            return status;
        }
        if (e->rank == SPRY_TENSOR_MAX_RANK || dimension > (uint64_t)LIMIT_TENSOR_DIMENSION) {
            return spry_fail(s->error, SPRY_LIMIT, s->file->where, NULL,
                             "the shape of '%.100s' has more than %d dimensions or one above %lld",
                             e->name, SPRY_TENSOR_MAX_RANK, (long long)LIMIT_TENSOR_DIMENSION);
        }
        e->shape[e->rank++] = (int64_t)dimension;
        if (take(s, ']')) {
            return SPRY_OK;
        }
    }
    return e->rank == 0 ? SPRY_OK : malformed(s, "the shape does not end");
}

static spry_status take_offsets(scanner *s, safetensors_entry *e)
{
    uint64_t begin = 0;
    uint64_t end = 0;
    spry_status status;

    if (!take(s, '[')) {
        return malformed(s, "data_offsets must be a list");
    }
    status = take_number(s, &begin);
    if (status == SPRY_OK && !take(s, ',')) {
        status = malformed(s, "data_offsets must have two numbers");
    }
    if (status == SPRY_OK) {
        status = take_number(s, &end);
    }
    if (status == SPRY_OK && (!take(s, ']') || begin > end || end > s->file->size)) {
        status = malformed(s, "data_offsets do not lie within the file");
    }
    e->begin = (size_t)begin;
    e->end = (size_t)end;
    return status;
}

enum { HAS_DTYPE = 1, HAS_SHAPE = 2, HAS_OFFSETS = 4, HAS_ALL = 7 };

static spry_status take_field(scanner *s, safetensors_entry *e, unsigned *seen)
{
    char key[LIMIT_NAME_BYTES + 1];
    size_t length;
    unsigned field;
    spry_status status = take_string(s, key, &length);

    if (status != SPRY_OK) {
        return status;
    }
    field = strcmp(key, "dtype") == 0          ? HAS_DTYPE
            : strcmp(key, "shape") == 0        ? HAS_SHAPE
            : strcmp(key, "data_offsets") == 0 ? HAS_OFFSETS
                                               : 0u;
    if (field == 0 || (*seen & field) != 0) {
        return malformed(s, "a key is unknown or comes twice");
    }
    *seen |= field;
    if (!take(s, ':')) {
        return malformed(s, "a colon is expected");
    }
    return field == HAS_DTYPE   ? take_dtype(s, e)
           : field == HAS_SHAPE ? take_shape(s, e)
                                : take_offsets(s, e);
}

/* Do type and shape need exactly the bytes that the offsets span? */
static spry_status check_entry(const scanner *s, const safetensors_entry *e)
{
    tensor shape_only;
    spry_status status = tensor_init(&shape_only, e->dtype, e->rank, e->shape, NULL, s->error);

    if (status != SPRY_OK) {
        return spry_fail(s->error, SPRY_LIMIT, s->file->where, NULL, "tensor '%.100s' is too large",
                         e->name);
    }
    if (shape_only.bytes != e->end - e->begin) {
        return spry_fail(s->error, SPRY_BAD_INPUT, s->file->where, "save the file again",
                         "tensor '%.100s' needs %zu bytes but has %zu", e->name, shape_only.bytes,
                         e->end - e->begin);
    }
    return SPRY_OK;
}

static spry_status take_entry(scanner *s, const char *name, size_t length)
{
    safetensors *file = s->file;
    void *entries = file->entries;
    safetensors_entry e = {.name = arena_text(&file->text, name, length)};
    unsigned seen = 0;
    spry_status status;

    if (e.name == NULL) {
        return alloc_failed(s->error, length);
    }
    status = alloc_grow(&file->allocator, &entries, &file->capacity, file->count + 1,
                        sizeof *file->entries, LIMIT_SAFETENSORS_ENTRIES, s->error);
    file->entries = entries;
    if (status != SPRY_OK) {
        return status;
    }
    if (!take(s, '{')) {
        return malformed(s, "an object is expected");
    }
    do {
        status = take_field(s, &e, &seen);
        if (status != SPRY_OK) {
            return status;
        }
    } while (take(s, ','));
    if (!take(s, '}') || seen != HAS_ALL) {
        return malformed(s, "an entry needs dtype, shape and data_offsets");
    }
    status = check_entry(s, &e);
    if (status == SPRY_OK) {
        file->entries[file->count++] = e;
    }
    return status;
}

/* "__metadata__": strings to strings. */
static spry_status take_metadata(scanner *s)
{
    if (!take(s, '{')) {
        return malformed(s, "__metadata__ must be an object");
    }
    if (take(s, '}')) {
        return SPRY_OK;
    }
    do {
        noted *n = arena_zeroed(&s->file->text, sizeof *n);
        spry_status status =
            n != NULL ? keep_string(s, &n->note.key) : alloc_failed(s->error, sizeof *n);

        if (status == SPRY_OK && !take(s, ':')) {
            status = malformed(s, "a colon is expected");
        }
        if (status == SPRY_OK) {
            status = keep_string(s, &n->note.text);
        }
        if (status != SPRY_OK) {
            return status;
        }
        n->next = s->file->notes;
        s->file->notes = n;
    } while (take(s, ','));
    return take(s, '}') ? SPRY_OK : malformed(s, "__metadata__ does not end");
}

static spry_status take_header(scanner *s)
{
    char name[LIMIT_NAME_BYTES + 1];
    bool metadata = false;

    if (s->size == 0 || s->text[0] != '{') {
        return malformed(s, "an object is expected");
    }
    s->at = 1;
    if (!take(s, '}')) {
        do {
            size_t length;
            spry_status status = take_string(s, name, &length);

            if (status == SPRY_OK && !take(s, ':')) {
                status = malformed(s, "a colon is expected");
            }
            if (status == SPRY_OK && strcmp(name, "__metadata__") == 0) {
                status = metadata ? malformed(s, "__metadata__ comes twice") : take_metadata(s);
                metadata = true;
            } else if (status == SPRY_OK) {
                status = take_entry(s, name, length);
            }
            if (status != SPRY_OK) {
                return status;
            }
        } while (take(s, ','));
        if (!take(s, '}')) {
            return malformed(s, "a comma or the end is expected");
        }
    }
    skip_spaces(s);
    return s->at == s->size ? SPRY_OK : malformed(s, "something follows the header");
}

/* --- layout ---------------------------------------------------------------------------------- */

static int compare_places(const void *a, const void *b)
{
    const safetensors_entry *x = a;
    const safetensors_entry *y = b;

    if (x->begin != y->begin) {
        return x->begin < y->begin ? -1 : 1;
    }
    return x->end == y->end ? 0 : x->end < y->end ? -1 : 1;
}

static int compare_names(const void *a, const void *b)
{
    return strcmp(((const safetensors_entry *)a)->name, ((const safetensors_entry *)b)->name);
}

/* The data must be covered from its start to its end, every byte once, by tensors of different
 * names. Turns offsets within the data into offsets within the file. */
static spry_status check_layout(safetensors *file, size_t data_start, spry_error *error)
{
    size_t expected = 0;

    if (file->count > 0) {
        qsort(file->entries, file->count, sizeof *file->entries, compare_places);
    }
    for (size_t i = 0; i < file->count; i++) {
        if (file->entries[i].begin != expected) {
            return spry_fail(error, SPRY_BAD_INPUT, file->where, "save the file again",
                             "there is a gap or an overlap before tensor '%.100s'",
                             file->entries[i].name);
        }
        expected = file->entries[i].end;
    }
    if (expected != file->size - data_start) {
        return spry_fail(error, SPRY_BAD_INPUT, file->where, "copy or save the file again",
                         "the tensors take %zu bytes but %zu are there", expected,
                         file->size - data_start);
    }
    for (size_t i = 0; i < file->count; i++) {
        file->entries[i].begin += data_start;
        file->entries[i].end += data_start;
    }
    if (file->count > 0) {
        qsort(file->entries, file->count, sizeof *file->entries, compare_names);
    }
    for (size_t i = 1; i < file->count; i++) {
        if (compare_names(&file->entries[i - 1], &file->entries[i]) == 0) {
            return spry_fail(error, SPRY_BAD_INPUT, file->where, "save the file again",
                             "two tensors are named '%.100s'", file->entries[i].name);
        }
    }
    return SPRY_OK;
}

static spry_status parse(safetensors *file, spry_error *error)
{
    scanner s = {.file = file, .error = error};
    uint64_t header = 0;
    spry_status status;

    for (int i = 7; i >= 0 && file->size >= 8; i--) {
        header = header << 8 | file->bytes[i];
    }
    if (header > LIMIT_SAFETENSORS_HEADER_BYTES) {
        return spry_fail(error, SPRY_LIMIT, file->where, NULL,
                         "the header would have more than %d bytes: not a safetensors file?",
                         LIMIT_SAFETENSORS_HEADER_BYTES);
    }
    if (file->size < 8 || header > file->size - 8) {
        return spry_fail(error, SPRY_BAD_INPUT, file->where, "copy the file again",
                         "ends within the safetensors header");
    }
    s.text = (const char *)file->bytes + 8;
    s.size = (size_t)header;
    status = take_header(&s);
    return status == SPRY_OK ? check_layout(file, 8 + (size_t)header, error) : status;
}

spry_status safetensors_open(const spry_allocator *allocator, const uint8_t *bytes, size_t size,
                             tensor_storage *storage, const char *where, safetensors **result,
                             spry_error *error)
{
    spry_allocator resolved = alloc_resolve(allocator);
    safetensors *file = alloc_zeroed(&resolved, sizeof *file);
    spry_status status;

    *result = NULL;
    if (file == NULL) {
        return alloc_failed(error, sizeof *file);
    }
    file->allocator = resolved;
    file->bytes = bytes;
    file->size = size;
    file->storage = storage;
    tensor_storage_retain(storage);
    arena_init(&file->text, &resolved, size + LIMIT_PARSE_SLACK_BYTES / 2);
    file->where = arena_text(&file->text, where, strlen(where));
    status = file->where != NULL ? parse(file, error) : alloc_failed(error, strlen(where));
    if (status != SPRY_OK) {
        safetensors_close(file);
        return status;
    }
    *result = file;
    return SPRY_OK;
}

void safetensors_close(safetensors *file)
{
    spry_allocator allocator;

    if (file == NULL) {
        return;
    }
    allocator = file->allocator;
    tensor_storage_drop(file->storage);
    arena_fini(&file->text);
    alloc_release(&allocator, file->entries, file->capacity * sizeof *file->entries);
    alloc_release(&allocator, file, sizeof *file);
}

int32_t safetensors_count(const safetensors *file)
{
    return (int32_t)file->count;
}

const safetensors_entry *safetensors_at(const safetensors *file, int32_t index)
{
    return &file->entries[index];
}

const char *safetensors_find_note(const safetensors *file, const char *key)
{
    for (const noted *n = file->notes; n != NULL; n = n->next) {
        if (strcmp(n->note.key, key) == 0) {
            return n->note.text;
        }
    }
    return NULL;
}

spry_status safetensors_read(const safetensors *file, int32_t index, tensor *t, spry_error *error)
{
    const safetensors_entry *e = &file->entries[index];
    const uint8_t *data = file->bytes + e->begin;
    size_t bits = spry_dtype_bits(e->dtype);
    size_t alignment = bits >= 64 ? 8 : bits > 8 ? bits / 8 : 1;
    tensor source;
    spry_status status =
        tensor_init(&source, e->dtype, e->rank, e->shape, (void *)(uintptr_t)data, error);

    *t = (tensor){0};
    for (size_t i = 0; e->dtype == SPRY_DTYPE_BOOL && i < source.bytes; i++) {
        if (data[i] > 1) {
            return spry_fail(error, SPRY_BAD_INPUT, file->where, "save the tensor as U8",
                             "bool tensor '%.100s' holds a %u", e->name, data[i]);
        }
    }
    if (status != SPRY_OK) {
        return status;
    }
    if (file->storage == NULL || (uintptr_t)data % alignment != 0) {
        return tensor_init_copy(t, &file->allocator, &source, error);
    }
    *t = source;
    t->storage = file->storage;
    tensor_storage_retain(t->storage);
    return SPRY_OK;
}
