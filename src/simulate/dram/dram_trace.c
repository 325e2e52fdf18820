#include "simulate/dram/dram_trace.h"

#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/files.h"
#include "base/parse.h"
#include "spry/random.h"

enum { LINE_MOST = 256, WORDS = 3, PLACE_SIZE = 512, RANDOM_BLOCKS = 1 << 26 };

#define FILE_MOST ((uint64_t)1 << 30)

/* ---- making ---- */

static spry_status append(const spry_allocator *allocator, dram_trace *trace, dram_access access,
                          spry_error *error)
{
    spry_status status = alloc_grow(allocator, (void **)&trace->items, &trace->capacity,
                                    trace->count + 1, sizeof *trace->items, DRAM_TRACE_MOST, error);

    if (status == SPRY_OK) {
        trace->items[trace->count++] = access;
    }
    return status;
}

spry_status dram_trace_make(const spry_allocator *allocator, dram_pattern pattern, size_t count,
                            uint64_t seed, dram_trace *trace, spry_error *error)
{
    spry_allocator own = alloc_resolve(allocator);
    spry_random random = spry_random_stream(seed, 0x6472616d);
    spry_status status = SPRY_OK;

    *trace = (dram_trace){0};
    for (size_t i = 0; i < count && status == SPRY_OK; i++) {
        uint64_t block = pattern == DRAM_SEQUENTIAL ? i : spry_random_below(&random, RANDOM_BLOCKS);
        bool is_write = pattern == DRAM_MIXED && spry_random_below(&random, 4) == 0;

        status = append(&own, trace, (dram_access){block * DRAM_REQUEST_BYTES, i, is_write}, error);
    }
    if (status != SPRY_OK) {
        dram_trace_fini(trace, allocator);
    }
    return status;
}

void dram_trace_fini(dram_trace *trace, const spry_allocator *allocator)
{
    spry_allocator own = alloc_resolve(allocator);

    alloc_release(&own, trace->items, trace->capacity * sizeof *trace->items);
    *trace = (dram_trace){0};
}

/* ---- reading ---- */

static int split(char *line, char **words)
{
    int count = 0;
    char *rest = line;

    for (;;) {
        rest += strspn(rest, " \t\r");
        if (*rest == '\0') {
            return count;
        }
        if (count < WORDS) {
            words[count] = rest;
        }
        count++;
        rest += strcspn(rest, " \t\r");
        if (*rest != '\0') {
            *rest++ = '\0';
        }
    }
}

/* What is wrong with a line, or NULL. */
static const char *parse_line(char *line, uint64_t earliest, dram_access *access)
{
    char *words[WORDS];

    if (split(line, words) != WORDS) {
        return "is no \"0xADDRESS READ|WRITE CYCLE\"";
    }
    if (strncmp(words[0], "0x", 2) != 0 || !parse_u64(words[0], 0, UINT64_MAX, &access->address)) {
        return "begins with no address of hexadecimal digits after 0x";
    }
    access->is_write = strcmp(words[1], "WRITE") == 0 || strcmp(words[1], "W") == 0;
    if (!access->is_write && strcmp(words[1], "READ") != 0 && strcmp(words[1], "R") != 0) {
        return "says neither READ nor WRITE";
    }
    if (!parse_u64(words[2], 0, DRAM_TRACE_CYCLES_MOST, &access->cycle)) {
        return "ends with no cycle from 0 to 100000000000";
    }
    return access->cycle < earliest ? "goes back in time" : NULL;
}

/* One line of `length` bytes. */
static spry_status take_line(const spry_allocator *allocator, dram_trace *trace, const char *bytes,
                             size_t length, const char *place, spry_error *error)
{
    char line[LINE_MOST];
    uint64_t earliest = trace->count > 0 ? trace->items[trace->count - 1].cycle : 0;
    dram_access access = {0};
    const char *problem = "is too long or holds a NUL";

    if (length < sizeof line && memchr(bytes, '\0', length) == NULL) {
        memcpy(line, bytes, length);
        line[length] = '\0';
        if (line[0] == '#' || line[strspn(line, " \t\r")] == '\0') {
            return SPRY_OK;
        }
        problem = parse_line(line, earliest, &access);
    }
    return problem == NULL ? append(allocator, trace, access, error)
                           : spry_fail(error, SPRY_BAD_INPUT, place,
                                       "write an address, what is done, and a cycle in each line",
                                       "the line %s", problem);
}

spry_status dram_trace_read(const spry_allocator *allocator, const char *path, dram_trace *trace,
                            spry_error *error)
{
    spry_allocator own = alloc_resolve(allocator);
    file_map map = {0};
    spry_status status = file_map_open(path, FILE_MOST, &map, error);
    size_t at = 0;

    *trace = (dram_trace){0};
    if (status != SPRY_OK) {
        return status;
    }
    for (size_t number = 1; at < map.size && status == SPRY_OK; number++) {
        const char *begin = (const char *)map.data + at;
        const char *end = memchr(begin, '\n', map.size - at);
        size_t length = end != NULL ? (size_t)(end - begin) : map.size - at;
        char place[PLACE_SIZE];

        (void)snprintf(place, sizeof place, "%s:%zu", path, number);
        status = take_line(&own, trace, begin, length, place, error);
        at += length + 1;
    }
    if (status == SPRY_OK && trace->count == 0) {
        status = spry_fail(error, SPRY_BAD_INPUT, path, NULL, "there are no requests in it");
    }
    file_map_close(&map);
    if (status != SPRY_OK) {
        dram_trace_fini(trace, allocator);
    }
    return status;
}

/* ---- running ---- */

typedef struct watch {
    uint64_t *taken; /* cycles, by tag */
    uint64_t latency;
    uint64_t last;
    void (*issued)(void *context, const dram_issue *issue); /* may be NULL */
    void *context;
} watch;

static void done(void *context, uint64_t tag, bool is_write, uint64_t cycle)
{
    watch *w = context;

    w->latency += is_write ? 0 : cycle - w->taken[tag];
    w->last = cycle > w->last ? cycle : w->last;
}

static void issue(void *context, const dram_issue *command)
{
    const watch *w = context;

    w->issued(w->context, command);
}

static spry_status drive(dram *d, const dram_trace *trace, watch *w, spry_error *error)
{
    spry_status status = SPRY_OK;
    size_t next = 0;

    while (status == SPRY_OK && (next < trace->count || dram_underway(d) > 0)) {
        const dram_access *a = next < trace->count ? &trace->items[next] : NULL;

        if (a != NULL && a->cycle <= dram_cycle(d) && dram_accepts(d, a->address, a->is_write)) {
            w->taken[next] = dram_cycle(d);
            status = dram_request(d, a->address, a->is_write, next++, error);
        }
        dram_tick(d);
        a = next < trace->count ? &trace->items[next] : NULL;
        if (a == NULL) {
            (void)dram_skip(d, dram_underway(d) > 0 ? UINT32_MAX : 0);
        } else if (a->cycle > dram_cycle(d)) {
            (void)dram_skip(d, a->cycle - dram_cycle(d));
        }
    }
    return status;
}

spry_status dram_trace_run(const spry_allocator *allocator, const dram_options *options,
                           const dram_trace *trace, dram_run *result, spry_error *error)
{
    return dram_trace_watch(allocator, options, trace, NULL, NULL, result, error);
}

spry_status dram_trace_watch(const spry_allocator *allocator, const dram_options *options,
                             const dram_trace *trace,
                             void (*issued)(void *context, const dram_issue *issue), void *context,
                             dram_run *result, spry_error *error)
{
    spry_allocator own = alloc_resolve(allocator);
    size_t bytes = trace->count * sizeof(uint64_t);
    watch w = {.taken = alloc_array(&own, trace->count, sizeof(uint64_t)),
               .issued = issued,
               .context = context};
    dram_events events = {.done = done, .issued = issued != NULL ? issue : NULL, .context = &w};
    dram *d = NULL;
    spry_status status = w.taken == NULL ? alloc_failed(error, bytes)
                                         : dram_create(allocator, options, &events, &d, error);

    *result = (dram_run){0};
    if (status == SPRY_OK) {
        status = drive(d, trace, &w, error);
    }
    if (status == SPRY_OK) {
        double seconds = (double)w.last * (double)options->period * 1e-15;
        double moved = (double)trace->count * DRAM_REQUEST_BYTES;

        result->counts = *dram_count(d);
        result->cycles = w.last;
        result->bandwidth = seconds > 0.0 ? moved / seconds : 0.0;
        result->read_latency =
            result->counts.reads > 0 ? (double)w.latency / (double)result->counts.reads : 0.0;
    }
    dram_destroy(d);
    alloc_release(&own, w.taken, bytes);
    return status;
}

static void ignore(void *context, uint64_t tag, bool is_write, uint64_t cycle)
{
    (void)context;
    (void)tag;
    (void)is_write;
    (void)cycle;
}

spry_status dram_stream_bandwidth(const spry_allocator *allocator, const dram_options *options,
                                  double *bandwidth, spry_error *error)
{
    enum { REQUESTS = 4096 }; /* of a channel */
    uint64_t wanted = (uint64_t)REQUESTS * (uint64_t)options->channels;
    dram_events events = {.done = ignore};
    uint64_t next = 0;
    dram *d = NULL;
    spry_status status = dram_create(allocator, options, &events, &d, error);

    while (status == SPRY_OK && (next < wanted || dram_underway(d) > 0)) {
        for (int i = 0; i < options->channels && status == SPRY_OK && next < wanted &&
                        dram_accepts(d, next * DRAM_REQUEST_BYTES, false);
             i++) {
            status = dram_request(d, next * DRAM_REQUEST_BYTES, false, next, error);
            next++;
        }
        dram_tick(d);
    }
    if (status == SPRY_OK) {
        *bandwidth = (double)(wanted * DRAM_REQUEST_BYTES) /
                     ((double)dram_cycle(d) * (double)options->period * 1e-15);
    }
    dram_destroy(d);
    return status;
}
