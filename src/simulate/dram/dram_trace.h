/* Requests in a row, from a file or made up, and what a memory does with them. */
#ifndef SIMULATE_DRAM_DRAM_TRACE_H
#define SIMULATE_DRAM_DRAM_TRACE_H

#include "simulate/dram/dram.h"

enum { DRAM_TRACE_MOST = 1 << 24 }; /* requests */
#define DRAM_TRACE_CYCLES_MOST ((uint64_t)100000000000)

typedef struct dram_access {
    uint64_t address;
    uint64_t cycle; /* not before; never falls from one to the next */
    bool is_write;
} dram_access;

typedef struct dram_trace {
    dram_access *items;
    size_t count;
    size_t capacity;
} dram_trace;

typedef enum dram_pattern {
    DRAM_SEQUENTIAL, /* reads of one block after the other */
    DRAM_RANDOM,     /* reads anywhere in 4 GiB */
    DRAM_MIXED,      /* the same, a quarter of them writes */
    DRAM_PATTERNS
} dram_pattern;

typedef struct dram_run {
    uint64_t cycles;     /* until the last request was done */
    double read_latency; /* mean cycles from the queue's taking a read to its last data */
    double bandwidth;    /* bytes a second */
    dram_counts counts;
} dram_run;

/* Lines of "0xADDRESS READ|WRITE CYCLE" (also R, W); blank ones and those that begin with '#' are
 * passed over. Fails with SPRY_BAD_INPUT (naming file:line), SPRY_LIMIT, SPRY_IO. */
SPRY_MUST_USE spry_status dram_trace_read(const spry_allocator *allocator, const char *path,
                                          dram_trace *trace, spry_error *error);
/* `count` requests, one a cycle. Fails with SPRY_LIMIT. */
SPRY_MUST_USE spry_status dram_trace_make(const spry_allocator *allocator, dram_pattern pattern,
                                          size_t count, uint64_t seed, dram_trace *trace,
                                          spry_error *error);
void dram_trace_fini(dram_trace *trace, const spry_allocator *allocator);

/* Offers the requests in order, each from its cycle on until the queues take it, and waits for the
 * last. Fails as dram_create does. */
SPRY_MUST_USE spry_status dram_trace_run(const spry_allocator *allocator,
                                         const dram_options *options, const dram_trace *trace,
                                         dram_run *result, spry_error *error);

/* The same, with every command shown to `issued`. */
SPRY_MUST_USE spry_status dram_trace_watch(const spry_allocator *allocator,
                                           const dram_options *options, const dram_trace *trace,
                                           void (*issued)(void *context, const dram_issue *issue),
                                           void *context, dram_run *result, spry_error *error);

/* Bytes a second of one long stream of reads, offered to all channels at once: what is left of
 * dram_peak_bandwidth. Fails as dram_create does. */
SPRY_MUST_USE spry_status dram_stream_bandwidth(const spry_allocator *allocator,
                                                const dram_options *options, double *bandwidth,
                                                spry_error *error);

#endif
