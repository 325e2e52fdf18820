#include "simulate/kernel/timeline.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/arena.h"
#include "base/files.h"
#include "base/text.h"

enum { PATH_BYTES_MOST = 64 << 20, LINE_BYTES_MOST = 1 << 16 };

typedef struct record {
    uint64_t start;
    uint64_t rest; /* of a span its end, of a value the value */
    const char *name;
    const char *category; /* NULL in values */
    int track;
} record;

struct timeline {
    spry_allocator allocator;
    uint64_t from;
    uint64_t to;
    size_t most;
    record *records;
    size_t count;
    size_t capacity;
    const char **tracks;
    size_t track_count;
    size_t track_capacity;
    uint64_t dropped;
    arena paths;
};

spry_status timeline_create(const spry_allocator *allocator, uint64_t from, uint64_t to,
                            size_t most, timeline **made, spry_error *error)
{
    spry_allocator use = alloc_resolve(allocator);
    timeline *t = alloc_zeroed(&use, sizeof *t);

    *made = t;
    if (t == NULL) {
        return alloc_failed(error, sizeof *t);
    }
    t->allocator = use;
    t->from = from;
    t->to = to;
    t->most = most == 0 || most > TIMELINE_MOST ? TIMELINE_MOST : most;
    arena_init(&t->paths, &use, PATH_BYTES_MOST);
    return SPRY_OK;
}

void timeline_destroy(timeline *t)
{
    spry_allocator allocator;

    if (t == NULL) {
        return;
    }
    allocator = t->allocator;
    alloc_release(&allocator, t->records, t->capacity * sizeof *t->records);
    alloc_release(&allocator, t->tracks, t->track_capacity * sizeof *t->tracks);
    arena_fini(&t->paths);
    alloc_release(&allocator, t, sizeof *t);
}

int timeline_track(timeline *t, const char *path)
{
    void *tracks;
    const char *kept;

    if (t == NULL) {
        return -1;
    }
    tracks = t->tracks;
    if (alloc_grow(&t->allocator, &tracks, &t->track_capacity, t->track_count + 1,
                   sizeof *t->tracks, TIMELINE_TRACKS_MOST, NULL) != SPRY_OK) {
        return -1;
    }
    t->tracks = tracks;
    kept = arena_text(&t->paths, path, strlen(path));
    if (kept == NULL) {
        return -1;
    }
    t->tracks[t->track_count] = kept;
    return (int)t->track_count++;
}

static void store(timeline *t, const record *r)
{
    void *records;

    if (t == NULL || r->track < 0) {
        return;
    }
    records = t->records;
    if (r->start < t->from || r->start >= t->to ||
        alloc_grow(&t->allocator, &records, &t->capacity, t->count + 1, sizeof *t->records, t->most,
                   NULL) != SPRY_OK) {
        t->dropped++;
        return;
    }
    t->records = records;
    t->records[t->count++] = *r;
}

void timeline_span(timeline *t, int track, uint64_t start, uint64_t end, const char *category,
                   const char *name)
{
    store(t, &(record){start, end, name, category, track});
}

void timeline_value(timeline *t, int track, uint64_t time, const char *name, uint64_t value)
{
    store(t, &(record){time, value, name, NULL, track});
}

const char *timeline_keep(timeline *t, const char *name)
{
    const char *kept = t != NULL ? arena_text(&t->paths, name, strlen(name)) : NULL;

    return kept != NULL ? kept : "";
}

uint64_t timeline_dropped(const timeline *t)
{
    return t != NULL ? t->dropped : 0;
}

bool timeline_next_span(const timeline *t, size_t *at, timeline_record *found)
{
    while (t != NULL && *at < t->count) {
        const record *r = &t->records[(*at)++];

        if (r->category != NULL) {
            *found = (timeline_record){r->track, r->start, r->rest, r->category, r->name};
            return true;
        }
    }
    return false;
}

const char *timeline_track_path(const timeline *t, int track)
{
    return t != NULL && track >= 0 && (size_t)track < t->track_count ? t->tracks[track] : NULL;
}

/* By start; at equal starts enclosing spans first, then by track and name: the order in which they
 * were recorded may depend on threads. */
static int by_start(const void *a, const void *b)
{
    const record *x = a;
    const record *y = b;

    if (x->start != y->start) {
        return x->start < y->start ? -1 : 1;
    }
    if (x->track != y->track) {
        return x->track < y->track ? -1 : 1;
    }
    if (x->rest != y->rest) {
        return x->rest > y->rest ? -1 : 1;
    }
    return strcmp(x->name, y->name);
}

/* Microseconds with all nine digits behind the point: no binary fraction holds them. */
static void append_time(text *line, const char *key, uint64_t femtoseconds)
{
    text_append_format(line, ",\"%s\":%" PRIu64 ".%09" PRIu64, key, femtoseconds / 1000000000,
                       femtoseconds % 1000000000);
}

static void append_string(text *line, const char *key, const char *value)
{
    text_append_format(line, ",\"%s\":\"", key);
    text_append_escaped(line, TEXT_JSON, value, strlen(value));
    text_append_char(line, '"');
}

static void append_record(text *line, const record *r)
{
    text_append_format(line, ",\n{\"ph\":\"%s\",\"pid\":1,\"tid\":%d",
                       r->category != NULL ? "X" : "C", r->track + 1);
    append_string(line, "name", r->name);
    append_time(line, "ts", r->start);
    if (r->category != NULL) {
        append_time(line, "dur", r->rest - r->start);
        append_string(line, "cat", r->category);
    } else {
        text_append_format(line, ",\"args\":{\"value\":%" PRIu64 "}", r->rest);
    }
    text_append_char(line, '}');
}

static spry_status flush(text *line, file_writer *file, spry_error *error)
{
    spry_status status = text_status(line, "timeline", error);

    if (status == SPRY_OK) {
        status = file_writer_append(file, line->data, line->length, error);
    }
    text_clear(line);
    return status;
}

static spry_status write_all(const timeline *t, const char *model, file_writer *file,
                             spry_error *error)
{
    spry_status status;
    text line;

    text_init(&line, &t->allocator, LINE_BYTES_MOST);
    text_append_string(&line, "{\"displayTimeUnit\":\"ns\",\"traceEvents\":[\n"
                              "{\"ph\":\"M\",\"pid\":1,\"tid\":0,\"name\":\"process_name\"");
    append_string(&line, "cat", "model");
    text_append_string(&line, ",\"args\":{\"name\":\"");
    text_append_escaped(&line, TEXT_JSON, model, strlen(model));
    text_append_string(&line, "\"}}");
    status = flush(&line, file, error);
    for (size_t i = 0; i < t->track_count && status == SPRY_OK; i++) {
        text_append_format(&line,
                           ",\n{\"ph\":\"M\",\"pid\":1,\"tid\":%zu,\"name\":\"thread_name\","
                           "\"args\":{\"name\":\"",
                           i + 1);
        text_append_escaped(&line, TEXT_JSON, t->tracks[i], strlen(t->tracks[i]));
        text_append_string(&line, "\"}}");
        status = flush(&line, file, error);
    }
    for (size_t i = 0; i < t->count && status == SPRY_OK; i++) {
        append_record(&line, &t->records[i]);
        status = flush(&line, file, error);
    }
    text_append_string(&line, "\n]}\n");
    if (status == SPRY_OK) {
        status = flush(&line, file, error);
    }
    text_fini(&line);
    return status;
}

spry_status timeline_write(const timeline *t, const char *model, const char *path,
                           spry_error *error)
{
    file_writer *file = NULL;
    spry_status status = file_writer_open(&t->allocator, path, &file, error);

    if (status != SPRY_OK) {
        return status;
    }
    if (t->count > 0) {
        qsort(t->records, t->count, sizeof *t->records, by_start);
    }
    status = write_all(t, model, file, error);
    if (status == SPRY_OK) {
        status = file_writer_commit(file, error);
    }
    file_writer_close(file);
    return status;
}
