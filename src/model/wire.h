/* The protobuf wire format, read without trust and written without surprise.
 *
 *     wire_reader r = wire_open(&source, bytes, size);
 *     while (wire_more(&r)) {
 *         status = wire_next(&r, &field);      // checks tag, type, length
 *         switch (field.number) { case 7: status = wire_enter(&r, &field, &child); ... }
 *     }
 *
 * A reader never looks outside its slice, never allocates and never recurses: depth grows only
 * through wire_enter, which refuses LIMIT_PROTOBUF_DEPTH. */
#ifndef MODEL_WIRE_H
#define MODEL_WIRE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "model/graph.h"
#include "spry/status.h"

typedef enum wire_type {
    WIRE_VARINT = 0,
    WIRE_FIXED64 = 1,
    WIRE_BYTES = 2, /* strings, messages, packed arrays */
    WIRE_FIXED32 = 5
} wire_type;

/* Where bytes come from: for messages only. */
typedef struct wire_source {
    const char *name;    /* of the file */
    const uint8_t *base; /* offset 0 of the file */
    spry_error *error;
} wire_source;

typedef struct wire_reader {
    const wire_source *source;
    const uint8_t *at;
    const uint8_t *end;
    int depth;
    int32_t fields; /* read so far, against LIMIT_PROTOBUF_FIELDS */
} wire_reader;

typedef struct wire_field {
    uint32_t number;
    wire_type type;
    uint64_t integer;  /* varint, fixed32, fixed64 */
    graph_bytes bytes; /* WIRE_BYTES */
    graph_bytes whole; /* tag included, as it lies in the file */
} wire_field;

/* A reader over `size` bytes at depth 0. `source` must outlive it. */
wire_reader wire_open(const wire_source *source, const uint8_t *bytes, size_t size);
bool wire_more(const wire_reader *r);

/* The next field. Fails with SPRY_BAD_INPUT (malformed varint, tag, length; a group), SPRY_LIMIT
 * (too many fields). */
SPRY_MUST_USE spry_status wire_next(wire_reader *r, wire_field *field);

/* A reader over the message in `field`. Fails with SPRY_BAD_INPUT (not WIRE_BYTES), SPRY_LIMIT
 * (nested too deep). */
SPRY_MUST_USE spry_status wire_enter(const wire_reader *r, const wire_field *field,
                                     wire_reader *child);

/* Fails with SPRY_BAD_INPUT unless the field has that type. */
SPRY_MUST_USE spry_status wire_expect(const wire_reader *r, const wire_field *field,
                                      wire_type type);

/* A failure at the byte `at` of the source: "model.onnx, byte 123". */
spry_status wire_fail(const wire_source *source, spry_status code, const uint8_t *at,
                      const char *format, ...) SPRY_PRINTF(4, 5);

/* Appends the field, tag included, to `kept`. Adjacent fields cost nothing; others are copied
 * together in the arena. Fails with SPRY_LIMIT (memory). */
SPRY_MUST_USE spry_status wire_keep(arena *memory, graph_bytes *kept, const wire_field *field,
                                    spry_error *error);

/* All values of a repeated numeric field of `message` (which must not have been read from yet),
 * packed, unpacked or mixed. Each is stored in `size` bytes (1, 2, 4 or 8; the low ones), together
 * at least 16-byte aligned in the arena. `type` is that of one element on the wire.
 * Fails with SPRY_BAD_INPUT (malformed), SPRY_LIMIT (more than `ceiling` values, memory). */
SPRY_MUST_USE spry_status wire_gather(const wire_reader *message, uint32_t number, wire_type type,
                                      size_t size, size_t ceiling, arena *memory, void **values,
                                      size_t *count);

/* True when the bytes are valid UTF-8 without NUL. */
bool wire_is_text(graph_bytes bytes);

#endif
