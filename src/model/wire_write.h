/* Writing the protobuf wire format straight into a file.
 *
 * A message needs its length in front, so its body is run twice: once counting, once writing.
 * Errors stick: after the first one nothing more is written, and `status` tells at the
 * end. */
#ifndef MODEL_WIRE_WRITE_H
#define MODEL_WIRE_WRITE_H

#include "base/files.h"
#include "model/graph.h"

typedef struct wire_writer {
    file_writer *file; /* NULL: only count */
    uint64_t bytes;    /* written or counted */
    spry_status status;
    spry_error *error;
} wire_writer;

/* Writes the fields of one message. */
typedef void (*wire_body)(wire_writer *w, const void *context);

void wire_write_integer(wire_writer *w, uint32_t number, uint64_t integer);
void wire_write_float(wire_writer *w, uint32_t number, float real);
void wire_write_bytes(wire_writer *w, uint32_t number, const void *bytes, size_t size);
/* Not written when the text is empty. */
void wire_write_text(wire_writer *w, uint32_t number, const char *text);
/* Also written when empty. */
void wire_write_name(wire_writer *w, uint32_t number, const char *text);
void wire_write_message(wire_writer *w, uint32_t number, wire_body body, const void *context);
void wire_write_packed_i64(wire_writer *w, uint32_t number, const int64_t *integers, int64_t count);
/* Whole fields as they were read. */
void wire_write_kept(wire_writer *w, graph_bytes kept);

#endif
