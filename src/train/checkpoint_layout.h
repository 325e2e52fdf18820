/* Names of a checkpoint's folders and files, shared by writing and reading. */
#ifndef TRAIN_CHECKPOINT_LAYOUT_H
#define TRAIN_CHECKPOINT_LAYOUT_H

#include <limits.h>
#include <stddef.h>

#include "train/checkpoint.h"

enum { CHECKPOINT_FILES = 3, CHECKPOINT_NAME_BYTES = 32, CHECKPOINT_SUMS_BYTES = 4096 };
#define CHECKPOINT_MAX_STEP ((int64_t)1000000000000000)

/* The files that have a sum: the weights, the optimizer and the state, in the order of the
 * parts. */
extern const char *const checkpoint_files[CHECKPOINT_FILES];
extern const char checkpoint_sums[];
extern const char checkpoint_latest[];
extern const char checkpoint_best[];
extern const char checkpoint_temporary[]; /* prefix */

/* The folder's name of a step. */
void checkpoint_step_name(int64_t step, char name[CHECKPOINT_NAME_BYTES]);
/* The step of a folder's name, or -1. */
int64_t checkpoint_parse_name(const char *name);

/* "FOLDER/NAME". Fails with SPRY_IO (too long). */
SPRY_MUST_USE spry_status checkpoint_join(const char *folder, const char *name, char path[PATH_MAX],
                                          spry_error *error);

/* Steps of all checkpoints in a folder, whole or not, in ascending order. */
typedef struct checkpoint_steps {
    int64_t *items;
    size_t count;
    size_t room;
    spry_allocator allocator;
} checkpoint_steps;

/* Fails with SPRY_IO, SPRY_LIMIT (memory). Release with checkpoint_steps_fini, also then. */
SPRY_MUST_USE spry_status checkpoint_steps_list(checkpoint_steps *s, const char *folder,
                                                const spry_allocator *allocator, spry_error *error);
void checkpoint_steps_fini(checkpoint_steps *s);

/* The step that the file `name` (latest or best) of a folder holds, or -1. */
int64_t checkpoint_pointer(const char *folder, const char *name);

#endif
