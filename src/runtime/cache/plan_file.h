/* The file behind a plan cache: blobs of memory that a plan made of a model's constants, in the
 * order in which it made them.
 *
 *     header      magic "SPRYPLAN", version, key, counts, a check of header and records
 *     records     one per blob: place, size, check, whose it is
 *     blobs       each at a multiple of 64 bytes
 *
 * Numbers are as the processor has them: a file is for the machine that wrote it. Reading is safe
 * on any bytes; nothing in a file is believed that the checks do not cover. */
#ifndef RUNTIME_CACHE_PLAN_FILE_H
#define RUNTIME_CACHE_PLAN_FILE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/files.h"
#include "base/threads.h"

enum { PLAN_FILE_ALIGN = 64 };

/* One blob. */
typedef struct plan_record {
    uint64_t offset;
    uint64_t bytes;
    uint64_t check;   /* hash64 of its bytes */
    uint64_t kind;    /* hash64 of the name of what made it */
    int32_t step;     /* of the plan */
    uint32_t spent;   /* provider_step.spent of that step */
    uint32_t refused; /* 1: made, and found to be of no use: no bytes */
    uint32_t unused;  /* 0 */
} plan_record;

/* A file in memory, checked. Records lie as in the file: copy them out (plan_file_record). */
typedef struct plan_file {
    const uint8_t *data;
    size_t size;
    int64_t count; /* records */
} plan_file;

/* Checks everything but the blobs' bytes. NULL, or what is wrong: a constant string. */
const char *plan_file_read(const uint8_t *data, size_t size, uint64_t key, plan_file *file);
/* Checks the blobs' bytes with the team's help. */
bool plan_file_is_whole(const plan_file *file, threads *team);
/* Record `index`, which is in [0, count). */
plan_record plan_file_record(const plan_file *file, int64_t index);

/* Writes header, records and blobs (blobs[i]: records[i].bytes at that address); fills in offsets
 * and checks. Fails as the writer does. */
SPRY_MUST_USE spry_status plan_file_write(file_writer *writer, uint64_t key, plan_record *records,
                                          const void *const *blobs, int64_t count, threads *team,
                                          spry_error *error);

#endif
