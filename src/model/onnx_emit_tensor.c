/* TensorProto and TypeProto, written. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/limits.h"
#include "model/onnx_emit.h"
#include "model/onnx_parse.h"

/* ---- tensors ---- */

typedef struct string_entry {
    const char *key;
    const char *text;
} string_entry;

static void emit_entry(wire_writer *w, const void *context)
{
    const string_entry *entry = context;

    wire_write_name(w, 1, entry->key);
    wire_write_name(w, 2, entry->text);
}

static void emit_external(wire_writer *w, const onnx_tensor_out *out)
{
    char offset[24];
    char length[24];
    const string_entry entries[] = {
        {"location", out->location}, {"offset", offset}, {"length", length}};

    (void)snprintf(offset, sizeof offset, "%" PRIu64, out->offset);
    (void)snprintf(length, sizeof length, "%zu", out->t->bytes);
    for (size_t i = 0; i < sizeof entries / sizeof *entries; i++) {
        wire_write_message(w, 13, emit_entry, &entries[i]);
    }
    wire_write_integer(w, 14, 1);
}

/* Lists of small numbers, as axes and sizes are, take a byte each instead of eight. */
enum { SMALL_LIST = 64 };

/* How many there are, in `list`, which may not lie as `t` does; 0: the tensor is another one. */
static int64_t read_small_list(const tensor *t, int64_t list[SMALL_LIST])
{
    enum { ONE_BYTE = 128 };
    int64_t count = t->dtype == SPRY_DTYPE_I64 ? tensor_count(t) : 0;

    if (count > SMALL_LIST || t->bytes != (size_t)count * sizeof *list) {
        return 0;
    }
    if (count > 0) {
        memcpy(list, t->data, t->bytes);
    }
    for (int64_t i = 0; i < count; i++) {
        if (list[i] < 0 || list[i] >= ONE_BYTE) {
            return 0;
        }
    }
    return count;
}

void onnx_emit_tensor(wire_writer *w, const void *context)
{
    const onnx_tensor_out *out = context;
    const tensor *t = out->t;
    int64_t list[SMALL_LIST];
    int64_t listed = out->location == NULL ? read_small_list(t, list) : 0;

    if (t->rank > 0) {
        wire_write_packed_i64(w, 1, t->shape, t->rank);
    }
    wire_write_integer(w, 2, (uint64_t)t->dtype);
    if (listed > 0) {
        wire_write_packed_i64(w, 7, list, listed);
    }
    for (int64_t i = 0; t->dtype == SPRY_DTYPE_STRING && i < tensor_count(t); i++) {
        const spry_text *text = (const spry_text *)t->data + i;

        wire_write_bytes(w, 6, text->data, text->size);
    }
    wire_write_text(w, 8, out->name);
    if (out->location != NULL) {
        emit_external(w, out);
    } else if (t->dtype != SPRY_DTYPE_STRING && listed == 0) {
        wire_write_bytes(w, 9, t->data, t->bytes);
    }
    wire_write_kept(w, out->unknown);
}

/* ---- types ---- */

static void emit_dim(wire_writer *w, const void *context)
{
    const graph_dim *dim = context;

    if (dim->size >= 0) {
        wire_write_integer(w, 1, (uint64_t)dim->size);
    } else if (dim->symbol != NULL) {
        wire_write_text(w, 2, dim->symbol);
    }
}

static void emit_shape(wire_writer *w, const void *context)
{
    const graph_type *type = context;

    for (int i = 0; i < type->rank; i++) {
        wire_write_message(w, 1, emit_dim, &type->dims[i]);
    }
}

static void emit_tensor_type(wire_writer *w, const void *context)
{
    const graph_type *type = context;

    wire_write_integer(w, 1, (uint64_t)type->dtype);
    if (type->has_rank) {
        wire_write_message(w, 2, emit_shape, type);
    }
}

static void emit_type(wire_writer *w, const void *context);

static void emit_element(wire_writer *w, const void *context)
{
    const graph_type *type = context;

    if (type->element != NULL) {
        wire_write_message(w, 1, emit_type, type->element);
    }
}

static void emit_type(wire_writer *w, const void *context)
{
    const graph_type *type = context;

    switch (type->kind) {
    case GRAPH_TYPE_TENSOR: wire_write_message(w, 1, emit_tensor_type, type); break;
    case GRAPH_TYPE_SEQUENCE: wire_write_message(w, 4, emit_element, type); break;
    case GRAPH_TYPE_OPTIONAL: wire_write_message(w, 9, emit_element, type); break;
    default: break;
    }
}

static bool same_dim(graph_dim a, graph_dim b)
{
    if (a.size != b.size || (a.symbol == NULL) != (b.symbol == NULL)) {
        return false;
    }
    return a.symbol == NULL || strcmp(a.symbol, b.symbol) == 0;
}

static bool same_type(const graph_type *a, const graph_type *b)
{
    if (a->kind != b->kind || a->dtype != b->dtype || a->has_rank != b->has_rank ||
        (a->has_rank && a->rank != b->rank)) {
        return false;
    }
    for (int i = 0; a->has_rank && i < a->rank; i++) {
        if (!same_dim(a->dims[i], b->dims[i])) {
            return false;
        }
    }
    if (a->element == NULL || b->element == NULL) {
        return a->element == b->element;
    }
    return same_type(a->element, b->element);
}

/* Do the bytes still say what `type` says? They may say more (denotations), which is then kept. */
static bool raw_says(graph_bytes raw, const graph_type *type)
{
    arena memory;
    onnx_context c = {.source = {"", raw.data, NULL}, .memory = &memory};
    graph_type read;
    bool same;

    if (raw.data == NULL || type->kind == GRAPH_TYPE_OTHER) {
        return raw.data != NULL;
    }
    arena_init(&memory, NULL, LIMIT_PARSE_SLACK_BYTES);
    same = onnx_read_type(&c, wire_open(&c.source, raw.data, raw.size), &read) == SPRY_OK &&
           same_type(&read, type);
    arena_fini(&memory);
    return same;
}

void onnx_emit_type(wire_writer *w, uint32_t number, const graph_type *type, graph_bytes raw)
{
    if (raw_says(raw, type)) {
        wire_write_bytes(w, number, raw.data, raw.size);
    } else if (type->kind != GRAPH_TYPE_UNKNOWN) {
        wire_write_message(w, number, emit_type, type);
    }
}
