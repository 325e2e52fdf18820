/* Writing JSON straight into a text: commas, indentation and escapes, no tree in between. */
#include <inttypes.h>
#include <math.h>
#include <string.h>

#include "base/json.h"

void json_writer_init(json_writer *writer, text *to, int indent)
{
    *writer = (json_writer){.to = to, .indent = indent};
}

static void break_line(json_writer *writer)
{
    if (writer->indent != 0) {
        text_append_char(writer->to, '\n');
        for (int i = 0; i < writer->depth * writer->indent; i++) {
            text_append_char(writer->to, ' ');
        }
    }
}

static void put_string(json_writer *writer, const char *bytes, size_t length)
{
    text_append_char(writer->to, '"');
    text_append_escaped(writer->to, TEXT_JSON, bytes, length);
    text_append_char(writer->to, '"');
}

/* What stands before a value: comma, line break, key. */
static void start_value(json_writer *writer, const char *key)
{
    if (writer->depth > 0) {
        bool *filled = &writer->levels[writer->depth - 1].filled;

        if (*filled) {
            text_append_char(writer->to, ',');
        }
        *filled = true;
        break_line(writer);
    }
    if (key != NULL) {
        put_string(writer, key, strlen(key));
        text_append_string(writer->to, writer->indent != 0 ? ": " : ":");
    }
}

static void begin(json_writer *writer, const char *key, bool array)
{
    start_value(writer, key);
    if (writer->depth == JSON_WRITER_DEPTH) {
        writer->to->failed = true;
        return;
    }
    writer->levels[writer->depth].array = array;
    writer->levels[writer->depth].filled = false;
    writer->depth++;
    text_append_char(writer->to, array ? '[' : '{');
}

void json_write_object(json_writer *writer, const char *key)
{
    begin(writer, key, false);
}

void json_write_array(json_writer *writer, const char *key)
{
    begin(writer, key, true);
}

void json_write_end(json_writer *writer)
{
    if (writer->depth == 0) {
        writer->to->failed = true;
        return;
    }
    writer->depth--;
    if (writer->levels[writer->depth].filled) {
        break_line(writer);
    }
    text_append_char(writer->to, writer->levels[writer->depth].array ? ']' : '}');
    if (writer->depth == 0 && writer->indent != 0) {
        text_append_char(writer->to, '\n');
    }
}

void json_write_i64(json_writer *writer, const char *key, int64_t value)
{
    start_value(writer, key);
    text_append_format(writer->to, "%" PRId64, value);
}

void json_write_u64(json_writer *writer, const char *key, uint64_t value)
{
    start_value(writer, key);
    text_append_format(writer->to, "%" PRIu64, value);
}

void json_write_f64(json_writer *writer, const char *key, double value)
{
    start_value(writer, key);
    if (isfinite(value)) {
        text_append_f64(writer->to, value);
    } else {
        text_append_string(writer->to, "null");
    }
}

void json_write_bool(json_writer *writer, const char *key, bool value)
{
    start_value(writer, key);
    text_append_string(writer->to, value ? "true" : "false");
}

void json_write_null(json_writer *writer, const char *key)
{
    start_value(writer, key);
    text_append_string(writer->to, "null");
}

void json_write_string(json_writer *writer, const char *key, const char *value)
{
    if (value == NULL) {
        json_write_null(writer, key);
        return;
    }
    json_write_bytes(writer, key, value, strlen(value));
}

void json_write_bytes(json_writer *writer, const char *key, const char *bytes, size_t length)
{
    start_value(writer, key);
    put_string(writer, bytes, length);
}
