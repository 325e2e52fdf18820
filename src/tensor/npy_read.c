/* Reading NPY: a parser for the one Python literal that a header is, and the conversion of what
 * follows. */
#include <string.h>

#include "base/alloc.h"
#include "base/checked.h"
#include "base/limits.h"
#include "tensor/npy.h"
#include "tensor/utf8.h"

/* The header being parsed; errors name the byte. */
typedef struct reader {
    const char *text;
    size_t size;
    size_t at;
    size_t offset; /* of the text in the file */
    const char *where;
    spry_error *error;
} reader;

static spry_status malformed(const reader *r, const char *what)
{
    return spry_fail(r->error, SPRY_BAD_INPUT, r->where, "save the array again with numpy.save",
                     "the NPY header is malformed at byte %zu: %s", r->offset + r->at, what);
}

static void skip_spaces(reader *r)
{
    while (r->at < r->size && strchr(" \t\r\n", r->text[r->at]) != NULL && r->text[r->at] != 0) {
        r->at++;
    }
}

/* Skips spaces and, if it comes next, the character. */
static bool take(reader *r, char wanted)
{
    skip_spaces(r);
    if (r->at < r->size && r->text[r->at] == wanted) {
        r->at++;
        return true;
    }
    return false;
}

/* A quoted string without escapes, into `out` of `capacity` bytes. */
static spry_status take_quoted(reader *r, char *out, size_t capacity)
{
    char quote = take(r, '\'') ? '\'' : take(r, '"') ? '"' : '\0';
    size_t length = 0;

    if (quote == '\0') {
        return malformed(r, "a quoted string is expected");
    }
    while (r->at < r->size && r->text[r->at] != quote) {
        if (length + 1 >= capacity || r->text[r->at] == '\\' || r->text[r->at] == '\0') {
            return malformed(r, "a string is too long or has escapes");
        }
        out[length++] = r->text[r->at++];
    }
    if (r->at >= r->size) {
        return malformed(r, "a string does not end");
    }
    r->at++;
    out[length] = '\0';
    return SPRY_OK;
}

static bool take_word(reader *r, const char *word)
{
    size_t length = strlen(word);
    bool found;

    skip_spaces(r);
    found = r->size - r->at >= length && memcmp(r->text + r->at, word, length) == 0;
    r->at += found ? length : 0;
    return found;
}

static spry_status take_dimension(reader *r, int64_t *dimension)
{
    int64_t value = 0;
    size_t start;

    skip_spaces(r);
    start = r->at;
    while (r->at < r->size && r->text[r->at] >= '0' && r->text[r->at] <= '9') {
        value = value * 10 + (r->text[r->at++] - '0');
        if (value > LIMIT_TENSOR_DIMENSION) {
            return spry_fail(r->error, SPRY_LIMIT, r->where, NULL,
                             "a dimension is larger than %lld", (long long)LIMIT_TENSOR_DIMENSION);
        }
    }
    if (r->at == start) {
        return malformed(r, "a non-negative dimension is expected");
    }
    if (r->at < r->size && r->text[r->at] == 'L') { /* Python 2 wrote its long integers so */
        r->at++;
    }
    *dimension = value;
    return SPRY_OK;
}

static spry_status take_shape(reader *r, npy_layout *layout)
{
    if (!take(r, '(')) {
        return malformed(r, "the shape must be a tuple");
    }
    while (!take(r, ')')) {
        spry_status status;

        if (layout->rank == SPRY_TENSOR_MAX_RANK) {
            return spry_fail(r->error, SPRY_LIMIT, r->where, NULL,
                             "more than %d dimensions are not accepted", SPRY_TENSOR_MAX_RANK);
        }
        status = take_dimension(r, &layout->shape[layout->rank]);
        if (status != SPRY_OK) {
            return status;
        }
        layout->rank++;
        if (!take(r, ',') && (r->at >= r->size || r->text[r->at] != ')' || layout->rank == 1)) {
            return malformed(r, "a comma is expected");
        }
    }
    return SPRY_OK;
}

typedef struct descr_row {
    const char *code;
    spry_dtype dtype;
    size_t component; /* bytes that a byte order applies to */
} descr_row;

static const descr_row descr_rows[] = {
    {"f4", SPRY_DTYPE_F32, 4}, {"f8", SPRY_DTYPE_F64, 8},   {"f2", SPRY_DTYPE_F16, 2},
    {"u1", SPRY_DTYPE_U8, 1},  {"i1", SPRY_DTYPE_I8, 1},    {"u2", SPRY_DTYPE_U16, 2},
    {"i2", SPRY_DTYPE_I16, 2}, {"u4", SPRY_DTYPE_U32, 4},   {"i4", SPRY_DTYPE_I32, 4},
    {"u8", SPRY_DTYPE_U64, 8}, {"i8", SPRY_DTYPE_I64, 8},   {"b1", SPRY_DTYPE_BOOL, 1},
    {"c8", SPRY_DTYPE_C64, 4}, {"c16", SPRY_DTYPE_C128, 8}, {"V2", SPRY_DTYPE_BF16, 2},
};

static spry_status text_descr(const reader *r, const char *digits, npy_layout *layout)
{
    size_t length = 0;
    size_t unit = layout->text == 'U' ? 4 : 1;

    for (const char *p = digits; *p != '\0'; p++) {
        if (*p < '0' || *p > '9' || length > LIMIT_TENSOR_DIMENSION / 10) {
            return malformed(r, "the string length is not a number");
        }
        length = length * 10 + (size_t)(*p - '0');
    }
    if (length == 0) {
        return malformed(r, "strings must have room for at least one character");
    }
    layout->dtype = SPRY_DTYPE_STRING;
    layout->item_bytes = length * unit;
    return SPRY_OK;
}

static spry_status take_descr(reader *r, npy_layout *layout)
{
    const uint16_t probe = 1;
    bool little = *(const uint8_t *)&probe == 1;
    char text[24];
    const char *code = text;
    spry_status status;

    skip_spaces(r);
    if (r->at < r->size && r->text[r->at] == '[') {
        return spry_fail(r->error, SPRY_UNSUPPORTED, r->where,
                         "save each field as an array of its own", "the array consists of records");
    }
    status = take_quoted(r, text, sizeof text);
    if (status != SPRY_OK) {
        return status;
    }
    if (strchr("<>=|", text[0]) != NULL && text[0] != '\0') {
        layout->swapped = (text[0] == '>' && little) || (text[0] == '<' && !little);
        code++;
    }
    if (*code == 'U' || *code == 'S') {
        layout->text = *code;
        return text_descr(r, code + 1, layout);
    }
    for (size_t i = 0; i < sizeof descr_rows / sizeof descr_rows[0]; i++) {
        if (strcmp(code, descr_rows[i].code) == 0) {
            layout->dtype = descr_rows[i].dtype;
            layout->item_bytes = spry_dtype_bits(layout->dtype) / 8;
            layout->swapped = layout->swapped && descr_rows[i].component > 1;
            return SPRY_OK;
        }
    }
    if (*code == 'O') {
        return spry_fail(r->error, SPRY_UNSUPPORTED, r->where,
                         "convert it to a numeric type before saving",
                         "the array holds Python objects, which are never loaded");
    }
    return spry_fail(r->error, SPRY_UNSUPPORTED, r->where,
                     "convert it with astype before saving, or save as safetensors",
                     "element type '%s' is not supported", text);
}

enum { HAS_DESCR = 1, HAS_ORDER = 2, HAS_SHAPE = 4, HAS_ALL = 7 };

/* One "'key': value" of the dictionary. */
static spry_status take_entry(reader *r, npy_layout *layout, unsigned *seen)
{
    unsigned key;
    char name[24];
    spry_status status = take_quoted(r, name, sizeof name);

    if (status != SPRY_OK) {
        return status;
    }
    key = strcmp(name, "descr") == 0           ? HAS_DESCR
          : strcmp(name, "fortran_order") == 0 ? HAS_ORDER
          : strcmp(name, "shape") == 0         ? HAS_SHAPE
                                               : 0u;
    if (key == 0 || (*seen & key) != 0) {
        return malformed(r, "a key is unknown or comes twice");
    }
    *seen |= key;
    if (!take(r, ':')) {
        return malformed(r, "a colon is expected");
    }
    if (key == HAS_DESCR) {
        return take_descr(r, layout);
    }
    if (key == HAS_SHAPE) {
        return take_shape(r, layout);
    }
    layout->fortran = take_word(r, "True");
    if (!layout->fortran && !take_word(r, "False")) {
        return malformed(r, "fortran_order must be True or False");
    }
    return SPRY_OK;
}

static spry_status parse_dictionary(reader *r, npy_layout *layout)
{
    unsigned seen = 0;

    if (!take(r, '{')) {
        return malformed(r, "a dictionary is expected");
    }
    while (!take(r, '}')) {
        spry_status status = take_entry(r, layout, &seen);

        if (status != SPRY_OK) {
            return status;
        }
        if (!take(r, ',') && (r->at >= r->size || r->text[r->at] != '}')) {
            return malformed(r, "a comma is expected");
        }
    }
    skip_spaces(r);
    if (r->at != r->size || seen != HAS_ALL) {
        return malformed(r, seen != HAS_ALL ? "a key is missing" : "something follows the header");
    }
    return SPRY_OK;
}

static spry_status count_data(npy_layout *layout, const char *where, spry_error *error)
{
    tensor shape_only;
    spry_status status =
        tensor_init(&shape_only, layout->dtype, layout->rank, layout->shape, NULL, error);

    if (status != SPRY_OK ||
        !checked_mul((size_t)tensor_count(&shape_only), layout->item_bytes, &layout->data_bytes)) {
        return spry_fail(error, SPRY_LIMIT, where, NULL, "the array is too large");
    }
    return SPRY_OK;
}

spry_status npy_parse_header(const uint8_t *bytes, size_t size, const char *where,
                             npy_layout *layout, spry_error *error)
{
    reader r = {.where = where, .error = error};
    spry_status status;

    *layout = (npy_layout){0};
    if (size < NPY_PREAMBLE_BYTES || memcmp(bytes, "\x93NUMPY", NPY_MAGIC_BYTES) != 0) {
        return spry_fail(error, SPRY_BAD_INPUT, where, "save the array with numpy.save",
                         "is not an NPY file");
    }
    if (bytes[6] < 1 || bytes[6] > 3 || bytes[7] != 0) {
        return spry_fail(error, SPRY_UNSUPPORTED, where, "save the array with numpy.save",
                         "has NPY version %u.%u; 1.0, 2.0 and 3.0 are known", bytes[6], bytes[7]);
    }
    r.offset = bytes[6] == 1 ? 10 : 12;
    r.size = (size_t)bytes[8] | (size_t)bytes[9] << 8;
    if (bytes[6] > 1) {
        r.size |= (size_t)bytes[10] << 16 | (size_t)bytes[11] << 24;
    }
    if (r.size > LIMIT_NPY_HEADER_BYTES) {
        return spry_fail(error, SPRY_LIMIT, where, NULL,
                         "the NPY header has %zu bytes; at most %d are accepted", r.size,
                         LIMIT_NPY_HEADER_BYTES);
    }
    if (r.size > size - r.offset) {
        return spry_fail(error, SPRY_BAD_INPUT, where, "copy the file again",
                         "ends within the NPY header");
    }
    r.text = (const char *)bytes + r.offset;
    status = parse_dictionary(&r, layout);
    if (status != SPRY_OK) {
        return status;
    }
    layout->data_offset = r.offset + r.size;
    return count_data(layout, where, error);
}

/* --- data ------------------------------------------------------------------------------------ */

static void swap_bytes(uint8_t *data, size_t bytes, size_t component)
{
    for (size_t at = 0; at + component <= bytes; at += component) {
        for (size_t i = 0; i < component / 2; i++) {
            uint8_t saved = data[at + i];

            data[at + i] = data[at + component - 1 - i];
            data[at + component - 1 - i] = saved;
        }
    }
}

static size_t component_bytes(spry_dtype dtype)
{
    size_t bytes = spry_dtype_bits(dtype) / 8;

    return dtype_class_of(dtype) == DTYPE_CLASS_COMPLEX ? bytes / 2 : bytes;
}

static spry_status check_bools(const uint8_t *data, size_t bytes, const char *where,
                               spry_error *error)
{
    for (size_t i = 0; i < bytes; i++) {
        if (data[i] > 1) {
            return spry_fail(error, SPRY_BAD_INPUT, where, "save the array as uint8",
                             "element %zu of a bool array is %u, neither 0 nor 1", i, data[i]);
        }
    }
    return SPRY_OK;
}

static spry_status read_numbers(const spry_allocator *allocator, const npy_layout *layout,
                                const uint8_t *data, tensor *t, spry_error *error)
{
    tensor source;
    int64_t stride = 1;
    spry_status status =
        tensor_init_owned(t, allocator, layout->dtype, layout->rank, layout->shape, error);

    if (status != SPRY_OK) {
        return status;
    }
    source = *t; /* the same shape over the file's bytes; copying never writes through it */
    source.data = (void *)(uintptr_t)data;
    for (int i = 0; layout->fortran && i < layout->rank; i++) {
        source.stride[i] = stride;
        stride *= layout->shape[i] != 0 ? layout->shape[i] : 1;
    }
    tensor_copy_elements(t, &source);
    if (layout->swapped) {
        swap_bytes(t->data, t->bytes, component_bytes(layout->dtype));
    }
    return SPRY_OK;
}

/* Code point `i` of a UTF-32 string in either byte order. */
static uint32_t code_point(const uint8_t *item, size_t i, bool swapped)
{
    uint8_t bytes[4];
    uint32_t value;

    memcpy(bytes, item + 4 * i, sizeof bytes);
    if (swapped) {
        swap_bytes(bytes, sizeof bytes, sizeof bytes);
    }
    memcpy(&value, bytes, sizeof value);
    return value;
}

/* Writes one string's bytes to `room` (or only counts them where it is NULL). False: not text. */
static bool convert_item(const npy_layout *layout, const uint8_t *item, char *room, size_t *size)
{
    size_t units = layout->text == 'U' ? layout->item_bytes / 4 : layout->item_bytes;

    *size = 0;
    if (layout->text == 'S') {
        while (units > 0 && item[units - 1] == 0) {
            units--;
        }
        if (room != NULL && units > 0) {
            memcpy(room, item, units);
        }
        *size = units;
        return true;
    }
    while (units > 0 && code_point(item, units - 1, layout->swapped) == 0) {
        units--;
    }
    for (size_t i = 0; i < units; i++) {
        char encoded[UTF8_MAX_BYTES];
        size_t length = utf8_encode(code_point(item, i, layout->swapped), encoded);

        if (length == 0) {
            return false;
        }
        if (room != NULL) {
            memcpy(room + *size, encoded, length);
        }
        *size += length;
    }
    return true;
}

static spry_status read_texts(const spry_allocator *allocator, const npy_layout *layout,
                              const uint8_t *data, const char *where, tensor *t, spry_error *error)
{
    size_t count = layout->data_bytes / layout->item_bytes;
    size_t total = 0;
    spry_text *texts;
    char *room;
    spry_status status;

    if (layout->fortran && layout->rank > 1) {
        return spry_fail(error, SPRY_UNSUPPORTED, where,
                         "save it with numpy.ascontiguousarray first",
                         "strings in Fortran order are not supported");
    }
    for (size_t i = 0; i < count; i++) {
        size_t size;

        if (!convert_item(layout, data + i * layout->item_bytes, NULL, &size)) {
            return spry_fail(error, SPRY_BAD_INPUT, where, NULL,
                             "string %zu has a code point that does not exist", i);
        }
        total += size; /* at most the bytes of the data */
    }
    status = tensor_init_texts(t, allocator, layout->rank, layout->shape, total, &room, error);
    if (status != SPRY_OK) {
        return status;
    }
    texts = t->data;
    for (size_t i = 0; i < count; i++) {
        (void)convert_item(layout, data + i * layout->item_bytes, room, &texts[i].size);
        texts[i].data = room;
        room += texts[i].size;
    }
    return SPRY_OK;
}

spry_status npy_read(const spry_allocator *allocator, const uint8_t *bytes, size_t size,
                     tensor_storage *storage, const char *where, tensor *t, spry_error *error)
{
    npy_layout layout;
    spry_status status = npy_parse_header(bytes, size, where, &layout, error);
    const uint8_t *data;
    bool convert;

    *t = (tensor){0};
    if (status != SPRY_OK) {
        return status;
    }
    if (size - layout.data_offset != layout.data_bytes) {
        return spry_fail(error, SPRY_BAD_INPUT, where, "copy or save the file again",
                         "has %zu bytes of data where the header announces %zu",
                         size - layout.data_offset, layout.data_bytes);
    }
    data = bytes + layout.data_offset;
    if (layout.text != 0) {
        return read_texts(allocator, &layout, data, where, t, error);
    }
    if (layout.dtype == SPRY_DTYPE_BOOL) {
        status = check_bools(data, layout.data_bytes, where, error);
    }
    if (status != SPRY_OK) {
        return status;
    }
    convert = layout.swapped || (layout.fortran && layout.rank > 1) ||
              (uintptr_t)data % component_bytes(layout.dtype) != 0;
    if (storage == NULL || convert) {
        return read_numbers(allocator, &layout, data, t, error);
    }
    status =
        tensor_init(t, layout.dtype, layout.rank, layout.shape, (void *)(uintptr_t)data, error);
    if (status == SPRY_OK) {
        t->storage = storage;
        tensor_storage_retain(storage);
    }
    return status;
}
