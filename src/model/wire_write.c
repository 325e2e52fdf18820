/* The protobuf wire format, written. */
#include "model/wire_write.h"

#include <string.h>

#include "model/wire.h"

static void put(wire_writer *w, const void *bytes, size_t size)
{
    if (w->status == SPRY_OK && w->file != NULL && size > 0) {
        w->status = file_writer_append(w->file, bytes, size, w->error);
    }
    w->bytes += size;
}

static size_t encode_varint(uint64_t integer, uint8_t *to)
{
    size_t size = 0;

    while (integer >= 0x80) {
        to[size++] = (uint8_t)(integer | 0x80);
        integer >>= 7;
    }
    to[size++] = (uint8_t)integer;
    return size;
}

static void put_varint(wire_writer *w, uint64_t integer)
{
    uint8_t bytes[10];

    put(w, bytes, encode_varint(integer, bytes));
}

static void put_tag(wire_writer *w, uint32_t number, wire_type type)
{
    put_varint(w, (uint64_t)number << 3 | (uint64_t)type);
}

void wire_write_integer(wire_writer *w, uint32_t number, uint64_t integer)
{
    put_tag(w, number, WIRE_VARINT);
    put_varint(w, integer);
}

void wire_write_float(wire_writer *w, uint32_t number, float real)
{
    put_tag(w, number, WIRE_FIXED32);
    put(w, &real, sizeof real); /* little-endian, as every machine that Spry runs on */
}

void wire_write_bytes(wire_writer *w, uint32_t number, const void *bytes, size_t size)
{
    put_tag(w, number, WIRE_BYTES);
    put_varint(w, size);
    put(w, bytes, size);
}

void wire_write_name(wire_writer *w, uint32_t number, const char *text)
{
    wire_write_bytes(w, number, text, strlen(text));
}

void wire_write_text(wire_writer *w, uint32_t number, const char *text)
{
    if (text[0] != '\0') {
        wire_write_name(w, number, text);
    }
}

void wire_write_message(wire_writer *w, uint32_t number, wire_body body, const void *context)
{
    wire_writer counter = {.error = w->error};

    body(&counter, context);
    put_tag(w, number, WIRE_BYTES);
    put_varint(w, counter.bytes);
    if (w->status == SPRY_OK) {
        w->status = counter.status;
    }
    if (w->file == NULL) {
        w->bytes += counter.bytes;
    } else {
        body(w, context);
    }
}

void wire_write_packed_i64(wire_writer *w, uint32_t number, const int64_t *integers, int64_t count)
{
    uint64_t size = 0;
    uint8_t bytes[10];

    for (int64_t i = 0; i < count; i++) {
        size += encode_varint((uint64_t)integers[i], bytes);
    }
    put_tag(w, number, WIRE_BYTES);
    put_varint(w, size);
    for (int64_t i = 0; i < count; i++) {
        put_varint(w, (uint64_t)integers[i]);
    }
}

void wire_write_kept(wire_writer *w, graph_bytes kept)
{
    put(w, kept.data, kept.size);
}
