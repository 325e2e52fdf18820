/* Recording under one lock: a span is some microseconds long at least, taking the lock some tens of
 * nanoseconds, so per-thread buffers would buy nothing. */
#define _GNU_SOURCE
#include "base/trace.h"

#include <inttypes.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/arena.h"
#include "base/files.h"
#include "base/json.h"

enum {
    TRACE_EVENTS_MOST = 2000000, /* viewers become unusable long before */
    TRACE_TEXT_BYTES = 256 << 20,
    EVENT_LINE_BYTES = 1 << 20
};

typedef enum trace_kind { TRACE_SPAN, TRACE_COUNTER, TRACE_THREAD } trace_kind;

typedef struct trace_event {
    trace_kind kind;
    int thread;
    int64_t start;
    union {
        int64_t end;
        double value;
    } u;
    const char *category;
    const char *name;
    const char *detail;
} trace_event;

struct spry_trace {
    spry_allocator allocator;
    pthread_mutex_t lock;
    int64_t origin;
    trace_event *events;
    size_t count;
    size_t capacity;
    uint64_t dropped;
    arena texts;
};

/* The system's number of this thread, asked for once per thread. */
static int thread_number(void)
{
    static _Thread_local int number;

    if (number == 0) {
        number = (int)gettid();
    }
    return number;
}

spry_status trace_create(const spry_allocator *allocator, trace **made, spry_error *error)
{
    spry_allocator source = alloc_resolve(allocator);
    trace *t = alloc_zeroed(&source, sizeof *t);

    *made = NULL;
    if (t == NULL) {
        return alloc_failed(error, sizeof *t);
    }
    if (pthread_mutex_init(&t->lock, NULL) != 0) {
        alloc_release(&source, t, sizeof *t);
        return alloc_failed(error, sizeof *t);
    }
    t->allocator = source;
    t->origin = clock_ns();
    arena_init(&t->texts, &source, TRACE_TEXT_BYTES);
    *made = t;
    return SPRY_OK;
}

void trace_destroy(trace *t)
{
    spry_allocator source;

    if (t == NULL) {
        return;
    }
    source = t->allocator;
    (void)pthread_mutex_destroy(&t->lock);
    arena_fini(&t->texts);
    alloc_release(&source, t->events, t->capacity * sizeof *t->events);
    alloc_release(&source, t, sizeof *t);
}

/* A copy that lives with the trace: names may die before it is written. */
static const char *keep(trace *t, const char *string)
{
    return arena_text(&t->texts, string, strlen(string));
}

static bool store(trace *t, trace_event event)
{
    void *memory = t->events;

    if (alloc_grow(&t->allocator, &memory, &t->capacity, t->count + 1, sizeof *t->events,
                   TRACE_EVENTS_MOST, NULL) != SPRY_OK) {
        return false;
    }
    t->events = memory;
    event.name = keep(t, event.name);
    if (event.detail != NULL) {
        event.detail = keep(t, event.detail);
    }
    if (event.name == NULL) {
        return false;
    }
    t->events[t->count++] = event;
    return true;
}

static void record(trace *t, trace_event event)
{
    event.thread = thread_number();
    (void)pthread_mutex_lock(&t->lock);
    if (!store(t, event)) {
        t->dropped++;
    }
    (void)pthread_mutex_unlock(&t->lock);
}

void trace_span(trace *t, int64_t start, int64_t end, const char *category, const char *name,
                const char *detail)
{
    if (t != NULL) {
        record(t, (trace_event){.kind = TRACE_SPAN,
                                .start = start,
                                .u = {.end = end},
                                .category = category,
                                .name = name,
                                .detail = detail});
    }
}

void trace_end(trace *t, int64_t start, const char *category, const char *name, const char *detail)
{
    if (t != NULL) {
        trace_span(t, start, clock_ns(), category, name, detail);
    }
}

void trace_counter(trace *t, const char *name, double value)
{
    if (t != NULL) {
        record(t, (trace_event){.kind = TRACE_COUNTER,
                                .start = clock_ns(),
                                .u = {.value = value},
                                .name = name});
    }
}

void trace_name_thread(trace *t, const char *name)
{
    if (t != NULL) {
        record(t, (trace_event){.kind = TRACE_THREAD, .start = t->origin, .name = name});
    }
}

uint64_t trace_dropped(trace *t)
{
    uint64_t dropped;

    (void)pthread_mutex_lock(&t->lock);
    dropped = t->dropped;
    (void)pthread_mutex_unlock(&t->lock);
    return dropped;
}

void trace_visit(trace *t, void (*see)(void *context, const trace_seen *span), void *context)
{
    (void)pthread_mutex_lock(&t->lock);
    for (size_t i = 0; i < t->count; i++) {
        const trace_event *e = &t->events[i];

        if (e->kind == TRACE_SPAN) {
            const trace_seen span = {e->start,    e->u.end, e->thread,
                                     e->category, e->name,  e->detail};

            see(context, &span);
        }
    }
    (void)pthread_mutex_unlock(&t->lock);
}

/* By start; of spans that start together the longer, which encloses the other, comes first. */
static int compare_events(const void *a, const void *b)
{
    const trace_event *x = a;
    const trace_event *y = b;

    if (x->start != y->start) {
        return x->start < y->start ? -1 : 1;
    }
    if (x->kind != TRACE_SPAN || y->kind != TRACE_SPAN || x->u.end == y->u.end) {
        return (x->kind == TRACE_SPAN) - (y->kind == TRACE_SPAN);
    }
    return x->u.end > y->u.end ? -1 : 1;
}

/* The format counts in microseconds; thousandths keep the nanoseconds. */
static double microseconds(int64_t nanoseconds)
{
    return (double)nanoseconds / 1000.0;
}

static void write_event(json_writer *w, const trace *t, const trace_event *event)
{
    static const char *const phases[] = {
        [TRACE_SPAN] = "X", [TRACE_COUNTER] = "C", [TRACE_THREAD] = "M"};

    json_write_object(w, NULL);
    json_write_string(w, "ph", phases[event->kind]);
    json_write_string(w, "name", event->kind == TRACE_THREAD ? "thread_name" : event->name);
    json_write_i64(w, "pid", getpid());
    json_write_i64(w, "tid", event->thread);
    if (event->kind != TRACE_THREAD) {
        json_write_f64(w, "ts", microseconds(event->start - t->origin));
    }
    if (event->kind == TRACE_SPAN) {
        json_write_f64(w, "dur", microseconds(event->u.end - event->start));
        json_write_string(w, "cat", event->category);
    }
    if (event->kind != TRACE_SPAN || event->detail != NULL) {
        json_write_object(w, "args");
        if (event->kind == TRACE_COUNTER) {
            json_write_f64(w, "value", event->u.value);
        } else if (event->kind == TRACE_THREAD) {
            json_write_string(w, "name", event->name);
        } else {
            json_write_string(w, "detail", event->detail);
        }
        json_write_end(w);
    }
    json_write_end(w);
}

static spry_status write_events(trace *t, file_writer *file, spry_error *error)
{
    static const char head[] = "{\"displayTimeUnit\":\"ns\",\"traceEvents\":[\n";
    static const char tail[] = "\n]}\n";
    spry_status status = file_writer_append(file, head, sizeof head - 1, error);
    text line;

    text_init(&line, &t->allocator, EVENT_LINE_BYTES);
    for (size_t i = 0; i < t->count && status == SPRY_OK; i++) {
        json_writer w;

        text_clear(&line);
        text_append_string(&line, i != 0 ? ",\n" : "");
        json_writer_init(&w, &line, 0);
        write_event(&w, t, &t->events[i]);
        status = text_status(&line, "trace event", error);
        if (status == SPRY_OK) {
            status = file_writer_append(file, line.data, line.length, error);
        }
    }
    text_fini(&line);
    if (status == SPRY_OK) {
        status = file_writer_append(file, tail, sizeof tail - 1, error);
    }
    return status;
}

spry_status trace_write(trace *t, const char *path, spry_error *error)
{
    file_writer *file = NULL;
    spry_status status = file_writer_open(&t->allocator, path, &file, error);

    if (status != SPRY_OK) {
        return status;
    }
    (void)pthread_mutex_lock(&t->lock);
    if (t->count != 0) {
        qsort(t->events, t->count, sizeof *t->events, compare_events);
    }
    status = write_events(t, file, error);
    (void)pthread_mutex_unlock(&t->lock);
    if (status == SPRY_OK) {
        status = file_writer_commit(file, error);
    }
    file_writer_close(file);
    return status;
}

/* ---- the public names ---- */

spry_status spry_trace_create(const spry_allocator *allocator, spry_trace **made, spry_error *error)
{
    return trace_create(allocator, made, error);
}

void spry_trace_destroy(spry_trace *t)
{
    trace_destroy(t);
}

uint64_t spry_trace_dropped(spry_trace *t)
{
    return trace_dropped(t);
}

spry_status spry_trace_write(spry_trace *t, const char *path, spry_error *error)
{
    return trace_write(t, path, error);
}
