/* Reporting progress, and what a bar needs: rate, remaining time, one line of text. */
#ifndef BASE_PROGRESS_H
#define BASE_PROGRESS_H

#include <stddef.h>
#include <stdint.h>

#include "spry/progress.h"
#include "spry/status.h"

/* Tells `progress` (NULL: nobody). Fails with SPRY_CANCELLED when the caller wants to stop. */
SPRY_MUST_USE spry_status progress_report(const spry_progress *progress, const char *task,
                                          double done, double total, spry_error *error);

/* Speed of work that reports now and then. */
typedef struct progress_meter {
    int64_t last_ns;
    double last_done;
    double rate; /* units per second; 0 while not known */
} progress_meter;

/* The work starts now, at `now_ns` of the monotonic clock. */
void progress_meter_start(progress_meter *meter, int64_t now_ns);

/* Takes in that `done` units are finished at `now_ns`. The rate follows changes of speed within a
 * few seconds and does not jump with each report. */
void progress_meter_update(progress_meter *meter, int64_t now_ns, double done);

/* Seconds until `total` at the present rate; -1 while not known. */
double progress_meter_remaining(const progress_meter *meter, double total);

/* Writes one line of at most `width` columns (without a line break) into `buffer` of `size` bytes:
 *     quantizing conv1  [#########---------]  50%  12.5/s  0:42 left
 * The bar takes what room the rest leaves and vanishes when that is too little; an unknown total
 * (<= 0) shows the count instead. Only ASCII is added to the task's name, which is cut between
 * characters; a byte-wise longer name needs a larger buffer. */
void progress_line(char *buffer, size_t size, int width, const char *task, double done,
                   double total, const progress_meter *meter);

#endif
