/* A leveled log of events with fields.
 *
 *     const log_field fields[] = {log_string("path", path), log_i64("nodes", count)};
 *     log_event(log, LOG_LEVEL_INFO, "model loaded", fields, 2);
 *
 * gives one line, by the sink's format:
 *     info: model loaded path=a.onnx nodes=42
 *     {"level":"info","message":"model loaded","path":"a.onnx","nodes":42}
 *
 * The log is an object that travels with whoever may log; there is no global one. NULL is
 * silent. */
#ifndef BASE_LOG_H
#define BASE_LOG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef enum log_level {
    LOG_LEVEL_ERROR = 0,
    LOG_LEVEL_WARN,
    LOG_LEVEL_INFO,
    LOG_LEVEL_DEBUG,
    LOG_LEVEL_COUNT
} log_level;

typedef enum log_format { LOG_FORMAT_TEXT, LOG_FORMAT_JSON } log_format;

/* Filled by the caller, who also decides where lines go; must outlive its users. */
typedef struct log_output {
    /* Takes one line, with its line break and a NUL after it. Called by any thread that logs, also
     * at the same time as in another: a write(2) of the whole line is enough. */
    void (*write)(void *context, log_level level, const char *line, size_t length);
    void *context;
    log_level most; /* less important events are dropped */
    log_format format;
    bool time; /* begin with the time in UTC */
} log_output;

typedef enum log_kind { LOG_KIND_STRING, LOG_KIND_I64, LOG_KIND_F64, LOG_KIND_BOOL } log_kind;

typedef struct log_field {
    const char *key;
    log_kind kind;
    union {
        const char *string;
        int64_t i64;
        double f64;
        bool boolean;
    } value;
} log_field;

static inline log_field log_string(const char *key, const char *value)
{
    return (log_field){.key = key, .kind = LOG_KIND_STRING, .value = {.string = value}};
}

static inline log_field log_i64(const char *key, int64_t value)
{
    return (log_field){.key = key, .kind = LOG_KIND_I64, .value = {.i64 = value}};
}

static inline log_field log_f64(const char *key, double value)
{
    return (log_field){.key = key, .kind = LOG_KIND_F64, .value = {.f64 = value}};
}

static inline log_field log_bool(const char *key, bool value)
{
    return (log_field){.key = key, .kind = LOG_KIND_BOOL, .value = {.boolean = value}};
}

/* Would an event of this level be written? To skip costly preparations. */
bool log_wants(const log_output *output, log_level level);

/* Writes one event. Never allocates; a line above 4 KiB loses its last fields and ends with
 * truncated=true. `fields` may be NULL when `count` is 0. */
void log_event(const log_output *output, log_level level, const char *message,
               const log_field *fields, size_t count);

/* "error", "warn", "info", "debug". */
const char *log_level_name(log_level level);

/* The level of that name; false when there is none. */
bool log_level_parse(const char *name, log_level *level);

#endif
