/* Writing checkpoints, so that at any moment the latest one is whole. */
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/files.h"
#include "base/folder.h"
#include "base/sha256.h"
#include "spry/tensor_file.h"
#include "train/checkpoint_layout.h"

/* For headers, sums and the file system's own records. */
#define SPARE_BYTES ((uint64_t)1 << 20)

enum { TEMPORARY_DIGITS = 16 };

typedef struct job {
    const char *folder;
    int64_t step;
    const checkpoint_tensor *tensors;
    int32_t count;
    const char *state;
    spry_allocator allocator;
    char name[CHECKPOINT_NAME_BYTES]; /* the final one */
    char path[PATH_MAX];              /* where files are written: the temporary folder */
    spry_error *error;
} job;

/* --- before ---------------------------------------------------------------------------------- */

static spry_status check(const job *j)
{
    json_document *document = NULL;
    json_node root;
    spry_status status;

    if (j->step < 0 || j->step > CHECKPOINT_MAX_STEP) {
        return spry_fail(j->error, SPRY_USAGE, j->folder, NULL, "there is no step %lld",
                         (long long)j->step);
    }
    for (int32_t i = 0; i < j->count; i++) {
        if (j->tensors[i].part >= CHECKPOINT_PARTS || !tensor_is_dense(j->tensors[i].value)) {
            return spry_fail(j->error, SPRY_USAGE, j->folder, NULL,
                             "tensor '%.100s' is not dense, or belongs nowhere",
                             j->tensors[i].name);
        }
    }
    status = json_open_bytes(j->state, strlen(j->state), checkpoint_files[CHECKPOINT_PARTS],
                             &document, j->error);
    if (status == SPRY_OK) {
        json_root(document, &root);
        status = json_as_object(&root, j->error);
    }
    json_close(document);
    return status;
}

/* Removes what a process that was killed has left behind: the lock says that nobody is writing it.
 * What cannot be removed does no harm. */
static spry_status remove_leftover(void *context, const char *name, spry_error *error)
{
    const job *j = context;
    size_t prefix = strlen(checkpoint_temporary);
    char path[PATH_MAX];

    (void)error;
    if (strncmp(name, checkpoint_temporary, prefix) == 0 &&
        strspn(name + prefix, "0123456789abcdef") == TEMPORARY_DIGITS &&
        checkpoint_join(j->folder, name, path, NULL) == SPRY_OK) {
        spry_status removed = folder_remove(path, NULL);

        (void)removed;
    }
    return SPRY_OK;
}

static spry_status check_space(const job *j)
{
    uint64_t needed = SPARE_BYTES + strlen(j->state);
    uint64_t available = folder_free_bytes(j->folder);

    for (int32_t i = 0; i < j->count; i++) {
        needed += j->tensors[i].value->bytes;
    }
    return available >= needed
               ? SPRY_OK
               : spry_fail(j->error, SPRY_IO, j->folder, "free some disk space or write elsewhere",
                           "a checkpoint needs %llu MB and %llu MB are free",
                           (unsigned long long)(needed >> 20),
                           (unsigned long long)(available >> 20));
}

/* --- files ----------------------------------------------------------------------------------- */

static spry_status write_part(const job *j, checkpoint_part part)
{
    size_t room = (size_t)j->count;
    const char **names = alloc_array(&j->allocator, room, sizeof *names);
    const tensor **tensors = alloc_array(&j->allocator, room, sizeof *tensors);
    char path[PATH_MAX];
    int32_t count = 0;
    spry_status status = checkpoint_join(j->path, checkpoint_files[part], path, j->error);

    if (names == NULL || tensors == NULL) {
        status = alloc_failed(j->error, room * sizeof *names);
    }
    for (int32_t i = 0; i < j->count && status == SPRY_OK; i++) {
        if (j->tensors[i].part == part) {
            names[count] = j->tensors[i].name;
            tensors[count++] = j->tensors[i].value;
        }
    }
    if (status == SPRY_OK) {
        status = spry_archive_save(path, count, names, tensors, j->error);
    }
    alloc_release(&j->allocator, names, room * sizeof *names);
    alloc_release(&j->allocator, tensors, room * sizeof *tensors);
    return status;
}

static spry_status write_text(const char *folder, const char *name, const char *content,
                              spry_error *error)
{
    char path[PATH_MAX];
    spry_status status = checkpoint_join(folder, name, path, error);

    return status == SPRY_OK ? file_replace(path, content, strlen(content), error) : status;
}

static spry_status write_sums(const job *j)
{
    char sums[CHECKPOINT_SUMS_BYTES];
    text t;

    text_init_fixed(&t, sums, sizeof sums);
    for (int i = 0; i < CHECKPOINT_FILES; i++) {
        char path[PATH_MAX];
        char sum[SHA256_TEXT_SIZE];
        spry_status status = checkpoint_join(j->path, checkpoint_files[i], path, j->error);

        if (status == SPRY_OK) {
            status = sha256_file(path, sum, j->error);
        }
        if (status != SPRY_OK) {
            return status;
        }
        text_append_format(&t, "%s  %s\n", sum, checkpoint_files[i]);
    }
    return write_text(j->path, checkpoint_sums, sums, j->error);
}

/* Each file is flushed to the disk when it is complete, and its name after it. */
static spry_status write_files(const job *j)
{
    spry_status status = write_part(j, CHECKPOINT_WEIGHTS);

    if (status == SPRY_OK) {
        status = write_part(j, CHECKPOINT_OPTIMIZER);
    }
    if (status == SPRY_OK) {
        status = write_text(j->path, checkpoint_files[CHECKPOINT_PARTS], j->state, j->error);
    }
    return status == SPRY_OK ? write_sums(j) : status;
}

/* --- after ----------------------------------------------------------------------------------- */

static spry_status point(const job *j, const char *file)
{
    char line[CHECKPOINT_NAME_BYTES + 2];

    (void)snprintf(line, sizeof line, "%s\n", j->name);
    return write_text(j->folder, file, line, j->error);
}

static spry_status remove_step(const job *j, int64_t step)
{
    char name[CHECKPOINT_NAME_BYTES];
    char path[PATH_MAX];
    spry_status status;

    checkpoint_step_name(step, name);
    status = checkpoint_join(j->folder, name, path, j->error);
    return status == SPRY_OK ? folder_remove(path, j->error) : status;
}

/* Later steps than this one are of a training that was given up: they are left to the user. */
static spry_status prune(const job *j, int32_t last)
{
    int64_t best = checkpoint_pointer(j->folder, checkpoint_best);
    checkpoint_steps steps;
    int32_t kept = 0;
    spry_status status = checkpoint_steps_list(&steps, j->folder, &j->allocator, j->error);

    for (size_t i = steps.count; i-- > 0 && status == SPRY_OK;) {
        int64_t step = steps.items[i];

        if (step <= j->step && kept < last) {
            kept++;
        } else if (step < j->step && step != best) {
            status = remove_step(j, step);
        }
    }
    checkpoint_steps_fini(&steps);
    return status;
}

static spry_status publish(const job *j, const checkpoint_keep *keep)
{
    char target[PATH_MAX];
    spry_status status = checkpoint_join(j->folder, j->name, target, j->error);

    if (status == SPRY_OK) {
        status = folder_move(j->path, target, j->error);
    }
    if (status == SPRY_OK && keep != NULL && keep->best) {
        status = point(j, checkpoint_best);
    }
    if (status == SPRY_OK) {
        status = point(j, checkpoint_latest);
    }
    if (status == SPRY_OK && keep != NULL && keep->last > 0) {
        status = prune(j, keep->last);
    }
    return status;
}

/* With the lock. */
static spry_status save(job *j, const checkpoint_keep *keep)
{
    spry_status status = folder_list(j->folder, remove_leftover, j, j->error);

    if (status == SPRY_OK) {
        status = check_space(j);
    }
    if (status == SPRY_OK) {
        status = folder_make_temporary(j->folder, checkpoint_temporary, j->path, sizeof j->path,
                                       j->error);
    }
    if (status != SPRY_OK) {
        return status;
    }
    status = write_files(j);
    if (status == SPRY_OK) {
        status = publish(j, keep);
    }
    /* What is there under the temporary name is either unfinished or what was replaced. */
    if (file_exists(j->path)) {
        spry_status removed = folder_remove(j->path, status == SPRY_OK ? j->error : NULL);

        status = status == SPRY_OK ? removed : status;
    }
    return status;
}

spry_status checkpoint_save(const char *folder, int64_t step, const checkpoint_tensor *tensors,
                            int32_t count, const char *state_json, const checkpoint_keep *keep,
                            spry_error *error)
{
    job j = {.folder = folder,
             .step = step,
             .tensors = tensors,
             .count = count,
             .state = state_json,
             .allocator = alloc_resolve(NULL),
             .error = error};
    int lock = -1;
    spry_status status = check(&j);

    if (status == SPRY_OK) {
        status = file_make_folder(folder, error);
    }
    if (status == SPRY_OK) {
        status = folder_lock(folder, &lock, error);
    }
    if (status == SPRY_OK) {
        checkpoint_step_name(step, j.name);
        status = save(&j, keep);
    }
    folder_unlock(lock);
    return status;
}
