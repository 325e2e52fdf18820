/* Checkpoints: all that training needs to go on as if it had never stopped.
 *
 *     FOLDER/latest          name of the newest one, e.g. step-00000120
 *     FOLDER/best            name of the best one
 *     FOLDER/step-00000120/  weights.safetensors, optimizer.safetensors, state.json, SHA256SUMS
 *     FOLDER/tmp-...         one that is being written, or was when the process ended
 *
 * A checkpoint is written under a temporary name and flushed to the disk, only then renamed, and
 * after that `latest` is replaced: a crash, a full disk or a power cut leaves the older ones as
 * they were. Loading compares every file with its sum. */
#ifndef TRAIN_CHECKPOINT_H
#define TRAIN_CHECKPOINT_H

#include <stdbool.h>
#include <stdint.h>

#include "base/json.h"
#include "tensor/tensor.h"

typedef enum checkpoint_part {
    CHECKPOINT_WEIGHTS = 0, /* what the model needs: others may load it alone */
    CHECKPOINT_OPTIMIZER,   /* what only training needs: moments, averages, queues */
    CHECKPOINT_PARTS
} checkpoint_part;

typedef struct checkpoint_tensor {
    checkpoint_part part;
    const char *name;    /* not empty; different from all others of its part */
    const tensor *value; /* dense; any type that safetensors know */
} checkpoint_tensor;

typedef struct checkpoint_keep {
    int32_t last; /* how many of the newest stay, at least 1; 0: all */
    bool best;    /* this one is the best so far: it stays until a better one comes */
} checkpoint_keep;

/* Writes the checkpoint of `step` (0 to 10^15) into `folder`, which is made when it is missing,
 * makes it the latest, then removes those that `keep` (NULL: all stay) does not keep. One of the
 * same step is replaced. `state_json` is an object as text. One process at a time: a lock is held
 * on the folder. Fails with SPRY_IO (no space left, no permission, another process is saving),
 * SPRY_USAGE (names, step), SPRY_BAD_INPUT (state_json), SPRY_UNSUPPORTED (a type), SPRY_LIMIT
 * (memory). What was there before a failure is still there, and the latest is the same, unless only
 * the removing failed. */
SPRY_MUST_USE spry_status checkpoint_save(const char *folder, int64_t step,
                                          const checkpoint_tensor *tensors, int32_t count,
                                          const char *state_json, const checkpoint_keep *keep,
                                          spry_error *error);

typedef struct checkpoint checkpoint;

/* Opens the latest checkpoint in `folder` that is whole: where the latest is damaged, the one
 * before (see checkpoint_warning). `folder` may also be one step's own folder, which then alone
 * counts. Fails with SPRY_IO (no checkpoint there), SPRY_BAD_INPUT (none is whole), SPRY_LIMIT
 * (memory). */
SPRY_MUST_USE spry_status checkpoint_load(const char *folder, const spry_allocator *allocator,
                                          checkpoint **made, spry_error *error);
/* NULL is allowed. Ends the life of everything taken from it. */
void checkpoint_close(checkpoint *c);

/* Is there anything to load, whole or not? */
bool checkpoint_exists(const char *folder);

int64_t checkpoint_step(const checkpoint *c);
/* The folder it was read from. */
const char *checkpoint_path(const checkpoint *c);
/* What was wrong with the newer ones that were passed over; NULL when it is the latest. */
const char *checkpoint_warning(const checkpoint *c);
const json_document *checkpoint_state(const checkpoint *c);

int32_t checkpoint_count(const checkpoint *c, checkpoint_part part);
/* Name and tensor of entry `index`, sorted by name; NULL out of range. They are read-only. */
const char *checkpoint_name(const checkpoint *c, checkpoint_part part, int32_t index);
const tensor *checkpoint_at(const checkpoint *c, checkpoint_part part, int32_t index);
/* The tensor of that name, or NULL. */
const tensor *checkpoint_find(const checkpoint *c, checkpoint_part part, const char *name);

#endif
