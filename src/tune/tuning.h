/* The inside of a tuning: what a plan file holds, and what only the run that made it knows. */
#ifndef TUNE_TUNING_H
#define TUNE_TUNING_H

#include "base/arena.h"
#include "base/sha256.h"
#include "spry/tune.h"

enum { TUNING_VERSION = 1, TUNING_MACHINE_SIZE = 160, TUNING_RANK_MOST = 8 };

/* A shape that the plan was made for. */
typedef struct tuning_input {
    const char *name;
    int rank;
    int64_t shape[TUNING_RANK_MOST];
} tuning_input;

struct spry_tuning {
    spry_allocator allocator;
    arena memory;
    const char *path; /* of the file it was read from; "" */
    const char *model_path;
    char model_hash[SHA256_TEXT_SIZE];
    char machine[TUNING_MACHINE_SIZE];
    spry_tune_totals totals;
    tuning_input *inputs;
    int32_t input_count;
    spry_tune_row *rows; /* row i has block i */
    spry_block *own;     /* of all rows */
    int32_t row_count;
    spry_block *kept; /* those that are not a layer by itself on all threads */
    spry_blocks blocks;
    spry_tune_trial *trials;
    int32_t trial_count;
};

/* An empty one. Fails with SPRY_LIMIT. */
SPRY_MUST_USE spry_status tuning_create(const spry_allocator *allocator, spry_tuning **tuning,
                                        spry_error *error);
/* Room for so many rows. Fails with SPRY_LIMIT. */
SPRY_MUST_USE spry_status tuning_reserve(spry_tuning *t, int32_t rows, spry_error *error);
/* Fills `blocks` from the rows: what is the same without a plan is left out. */
void tuning_settle(spry_tuning *t);

/* "AMD EPYC 9655, avx512vnni": what measured times hold for. */
void tuning_machine(char machine[TUNING_MACHINE_SIZE]);

#endif
