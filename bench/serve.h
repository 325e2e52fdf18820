/* The side of a benchmark that times runs when asked, so that a driver can take turns between two
 * processes. bench/README.md describes the lines. */
#ifndef BENCH_SERVE_H
#define BENCH_SERVE_H

#include <stdbool.h>
#include <stddef.h>

enum { SERVE_REASON_SIZE = 256 };

typedef struct serve_program {
    void *context;
    /* Prepares the shape that `line` describes. On false, `reason` (SERVE_REASON_SIZE bytes) says
     * why not; on true it may say how. NULL when the program has a single thing to run. */
    bool (*set_shape)(void *context, const char *line, char *reason);
    /* Performs one run. On false, `reason` says what failed. NULL is not allowed. */
    bool (*run)(void *context, char *reason);
} serve_program;

/* Milliseconds of a clock that never goes back. */
double serve_clock_ms(void);

/* Largest resident memory of this process so far, in megabytes (1e6 bytes); 0 when unknown. */
double serve_peak_rss_mb(void);

/* Answers the lines of standard input until `quit` or its end. */
void serve_lines(const serve_program *program);

/* Reads the whole of `text` as a whole number in [low, high]; false when it is not one. */
bool serve_parse_number(const char *text, long low, long high, long *number);

#endif
