/* Formats events into lines on the stack. */
#define _GNU_SOURCE
#include "base/log.h"

#include <string.h>
#include <time.h>

#include "base/json.h"
#include "base/text.h"

/* The message alone always fits: an escaped byte takes at most 6. */
enum { LINE_BYTES = 4096, MESSAGE_BYTES = 640, TIME_BYTES = 32 };

static const char *const level_names[LOG_LEVEL_COUNT] = {"error", "warn", "info", "debug"};

const char *log_level_name(log_level level)
{
    return (unsigned)level < LOG_LEVEL_COUNT ? level_names[level] : "unknown";
}

bool log_level_parse(const char *name, log_level *level)
{
    for (int i = 0; i < LOG_LEVEL_COUNT; i++) {
        if (strcmp(name, level_names[i]) == 0) {
            *level = (log_level)i;
            return true;
        }
    }
    return false;
}

bool log_wants(const log_output *output, log_level level)
{
    return output != NULL && output->write != NULL && level <= output->most;
}

static void format_time(char buffer[TIME_BYTES])
{
    struct timespec now = {0, 0};
    struct tm parts;
    char seconds[TIME_BYTES];
    text t;

    text_init_fixed(&t, buffer, TIME_BYTES);
    (void)clock_gettime(CLOCK_REALTIME, &now);
    if (gmtime_r(&now.tv_sec, &parts) != NULL &&
        strftime(seconds, sizeof seconds, "%Y-%m-%dT%H:%M:%S", &parts) != 0) {
        text_append_format(&t, "%s.%03dZ", seconds, (int)(now.tv_nsec / 1000000));
    }
}

/* A value with blanks or quotes is quoted, so that lines can be taken apart again. */
static void append_value(text *line, const char *value)
{
    size_t length = strlen(value);

    if (length != 0 && strcspn(value, " \"\\=\t\r\n") == length && text_is_utf8(value, length)) {
        text_append_escaped(line, TEXT_JSON, value, length);
        return;
    }
    text_append_char(line, '"');
    text_append_escaped(line, TEXT_JSON, value, length);
    text_append_char(line, '"');
}

static void append_field(text *line, const log_field *field)
{
    text_append_format(line, " %s=", field->key);
    switch (field->kind) {
    case LOG_KIND_STRING:
        append_value(line, field->value.string != NULL ? field->value.string : "");
        break;
    case LOG_KIND_I64: text_append_format(line, "%lld", (long long)field->value.i64); break;
    case LOG_KIND_F64: text_append_f64(line, field->value.f64); break;
    case LOG_KIND_BOOL: text_append_string(line, field->value.boolean ? "true" : "false"); break;
    }
}

static void write_field(json_writer *writer, const log_field *field)
{
    switch (field->kind) {
    case LOG_KIND_STRING: json_write_string(writer, field->key, field->value.string); break;
    case LOG_KIND_I64: json_write_i64(writer, field->key, field->value.i64); break;
    case LOG_KIND_F64: json_write_f64(writer, field->key, field->value.f64); break;
    case LOG_KIND_BOOL: json_write_bool(writer, field->key, field->value.boolean); break;
    }
}

/* One event with the first `count` of its fields. */
typedef struct log_record {
    const char *time; /* NULL: not wanted */
    log_level level;
    const char *message;
    const log_field *fields;
    size_t count;
    bool truncated;
} log_record;

static void format_text(text *line, const log_record *record)
{
    if (record->time != NULL) {
        text_append_format(line, "%s ", record->time);
    }
    text_append_format(line, "%s: ", log_level_name(record->level));
    text_append_escaped(line, TEXT_JSON, record->message, strnlen(record->message, MESSAGE_BYTES));
    for (size_t i = 0; i < record->count; i++) {
        append_field(line, &record->fields[i]);
    }
    if (record->truncated) {
        text_append_string(line, " truncated=true");
    }
}

static void format_json(text *line, const log_record *record)
{
    json_writer writer;

    json_writer_init(&writer, line, 0);
    json_write_object(&writer, NULL);
    if (record->time != NULL) {
        json_write_string(&writer, "time", record->time);
    }
    json_write_string(&writer, "level", log_level_name(record->level));
    json_write_bytes(&writer, "message", record->message, strnlen(record->message, MESSAGE_BYTES));
    for (size_t i = 0; i < record->count; i++) {
        write_field(&writer, &record->fields[i]);
    }
    if (record->truncated) {
        json_write_bool(&writer, "truncated", true);
    }
    json_write_end(&writer);
}

void log_event(const log_output *output, log_level level, const char *message,
               const log_field *fields, size_t count)
{
    log_record record = {.level = level, .message = message, .fields = fields, .count = count};
    char buffer[LINE_BYTES];
    char time_buffer[TIME_BYTES];
    text line;

    if (!log_wants(output, level)) {
        return;
    }
    if (output->time) {
        format_time(time_buffer);
        record.time = time_buffer;
    }
    for (;;) {
        text_init_fixed(&line, buffer, sizeof buffer);
        if (output->format == LOG_FORMAT_JSON) {
            format_json(&line, &record);
        } else {
            format_text(&line, &record);
        }
        text_append_char(&line, '\n');
        if (!line.failed || record.count == 0) {
            break;
        }
        record.count--;
        record.truncated = true;
    }
    if (!line.failed) {
        output->write(output->context, level, line.data, line.length);
    }
}
