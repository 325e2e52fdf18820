/* Reading checkpoints: the newest that is whole. */
#include "train/checkpoint.h"

#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/files.h"
#include "base/sha256.h"
#include "spry/tensor_file.h"
#include "train/checkpoint_layout.h"

enum { WARNING_BYTES = SPRY_ERROR_WHERE_SIZE + SPRY_ERROR_WHAT_SIZE + 4 };

struct checkpoint {
    spry_allocator allocator;
    int64_t step;
    char path[PATH_MAX];
    char warning[WARNING_BYTES]; /* "": none */
    spry_archive *parts[CHECKPOINT_PARTS];
    json_document *state;
};

static spry_status damaged(const char *path, const char *what, spry_error *error)
{
    return spry_fail(error, SPRY_BAD_INPUT, path, "continue from an older checkpoint", "%s", what);
}

/* The sum that the list has for a file; false when there is none. Lines are those of sha256sum. */
static bool find_sum(const file_map *list, const char *file, char sum[SHA256_TEXT_SIZE])
{
    const size_t digits = SHA256_TEXT_SIZE - 1;
    size_t length = strlen(file);
    const char *at = (const char *)list->data;
    size_t left = list->size;

    while (left > 0) {
        const char *end = memchr(at, '\n', left);
        size_t size = end != NULL ? (size_t)(end - at) : left;

        if (size == digits + 2 + length && memcmp(at + digits + 2, file, length) == 0) {
            memcpy(sum, at, digits);
            sum[digits] = '\0';
            return true;
        }
        at += size + (end != NULL);
        left -= size + (end != NULL);
    }
    return false;
}

/* Compares every file with its sum. */
static spry_status verify(const checkpoint *c, spry_error *error)
{
    char path[PATH_MAX];
    file_map list;
    spry_status status = checkpoint_join(c->path, checkpoint_sums, path, error);

    if (status == SPRY_OK) {
        status = file_map_open(path, CHECKPOINT_SUMS_BYTES, &list, error);
    }
    if (status != SPRY_OK) {
        return status;
    }
    for (int i = 0; i < CHECKPOINT_FILES && status == SPRY_OK; i++) {
        char right[SHA256_TEXT_SIZE];
        char found[SHA256_TEXT_SIZE];

        if (!find_sum(&list, checkpoint_files[i], right)) {
            status = damaged(path, "the list of sums is not complete", error);
        } else {
            status = checkpoint_join(c->path, checkpoint_files[i], path, error);
        }
        if (status == SPRY_OK) {
            status = sha256_file(path, found, error);
        }
        if (status == SPRY_OK && strcmp(right, found) != 0) {
            status = damaged(path, "has another content than when it was written", error);
        }
    }
    file_map_close(&list);
    return status;
}

/* Reads all tensors, so that nothing can fail when they are asked for. */
static spry_status open_part(checkpoint *c, checkpoint_part part, spry_error *error)
{
    char path[PATH_MAX];
    spry_status status = checkpoint_join(c->path, checkpoint_files[part], path, error);

    if (status == SPRY_OK) {
        status = spry_archive_open(&c->allocator, path, &c->parts[part], error);
    }
    for (int32_t i = 0; status == SPRY_OK && i < spry_archive_count(c->parts[part]); i++) {
        const spry_tensor *t;

        status = spry_archive_tensor(c->parts[part], i, &t, error);
    }
    return status;
}

static spry_status open_state(checkpoint *c, spry_error *error)
{
    char path[PATH_MAX];
    json_node root;
    spry_status status = checkpoint_join(c->path, checkpoint_files[CHECKPOINT_PARTS], path, error);

    if (status == SPRY_OK) {
        status = json_open_file(path, &c->state, error);
    }
    if (status == SPRY_OK) {
        json_root(c->state, &root);
        status = json_as_object(&root, error);
    }
    return status;
}

static void close_files(checkpoint *c)
{
    for (int part = 0; part < CHECKPOINT_PARTS; part++) {
        spry_archive_close(c->parts[part]);
        c->parts[part] = NULL;
    }
    json_close(c->state);
    c->state = NULL;
}

/* Opens the one at c->path. */
static spry_status open_one(checkpoint *c, spry_error *error)
{
    spry_status status = verify(c, error);

    for (int part = 0; part < CHECKPOINT_PARTS && status == SPRY_OK; part++) {
        status = open_part(c, (checkpoint_part)part, error);
    }
    if (status == SPRY_OK) {
        status = open_state(c, error);
    }
    if (status != SPRY_OK) {
        close_files(c);
    }
    return status;
}

static spry_status try_step(checkpoint *c, const char *folder, int64_t step, spry_error *error)
{
    char name[CHECKPOINT_NAME_BYTES];
    spry_error why = {.code = SPRY_OK};
    spry_status status;

    checkpoint_step_name(step, name);
    c->step = step;
    status = checkpoint_join(folder, name, c->path, &why);
    if (status == SPRY_OK) {
        status = open_one(c, &why);
    }
    if (status != SPRY_OK && c->warning[0] == '\0') {
        (void)snprintf(c->warning, sizeof c->warning, "%s: %s", why.where, why.what);
    }
    if (status != SPRY_OK && error != NULL) {
        *error = why;
    }
    return status;
}

static bool has_step(const checkpoint_steps *steps, int64_t step)
{
    for (size_t i = 0; i < steps->count; i++) {
        if (steps->items[i] == step) {
            return true;
        }
    }
    return false;
}

/* Tries the latest, those before it, and at last those after it, which a training that was given up
 * has left (or a process that was killed before it could say that there is a new one). */
static spry_status open_newest(checkpoint *c, const char *folder, const checkpoint_steps *steps,
                               spry_error *error)
{
    int64_t latest = checkpoint_pointer(folder, checkpoint_latest);
    spry_status status = SPRY_BAD_INPUT;

    if (steps->count == 0) {
        return spry_fail(error, SPRY_IO, folder, "check the path", "holds no checkpoint");
    }
    if (latest >= 0 && !has_step(steps, latest)) {
        (void)snprintf(c->warning, sizeof c->warning, "%.600s: its latest checkpoint is not there",
                       folder);
    }
    latest = latest >= 0 ? latest : INT64_MAX;
    for (int later = 0; later < 2; later++) {
        for (size_t i = steps->count; i-- > 0;) {
            if ((steps->items[i] > latest) != (later == 1)) {
                continue;
            }
            status = try_step(c, folder, steps->items[i], error);
            if (status == SPRY_OK || status == SPRY_LIMIT) {
                return status;
            }
        }
    }
    return spry_fail(error, SPRY_BAD_INPUT, folder, "start anew",
                     "none of its %zu checkpoints is whole; the newest: %.700s", steps->count,
                     c->warning);
}

/* A single step's own folder. */
static spry_status open_alone(checkpoint *c, const char *folder, spry_error *error)
{
    size_t length = strlen(folder);
    const char *slash;

    while (length > 1 && folder[length - 1] == '/') {
        length--;
    }
    if (length >= sizeof c->path) {
        return spry_fail(error, SPRY_IO, folder, "use a shorter path", "the path is too long");
    }
    memcpy(c->path, folder, length);
    slash = strrchr(c->path, '/');
    c->step = checkpoint_parse_name(slash != NULL ? slash + 1 : c->path);
    return open_one(c, error);
}

static spry_status open_any(checkpoint *c, const char *folder, spry_error *error)
{
    checkpoint_steps steps;
    char sums[PATH_MAX];
    spry_status status = checkpoint_join(folder, checkpoint_sums, sums, error);

    if (status != SPRY_OK || file_exists(sums)) {
        return status == SPRY_OK ? open_alone(c, folder, error) : status;
    }
    status = checkpoint_steps_list(&steps, folder, &c->allocator, error);
    if (status == SPRY_OK) {
        status = open_newest(c, folder, &steps, error);
    }
    checkpoint_steps_fini(&steps);
    return status;
}

spry_status checkpoint_load(const char *folder, const spry_allocator *allocator, checkpoint **made,
                            spry_error *error)
{
    spry_allocator source = alloc_resolve(allocator);
    checkpoint *c = alloc_zeroed(&source, sizeof *c);
    spry_status status;

    *made = NULL;
    if (c == NULL) {
        return alloc_failed(error, sizeof *c);
    }
    c->allocator = source;
    status = open_any(c, folder, error);
    if (status != SPRY_OK) {
        checkpoint_close(c);
        return status;
    }
    *made = c;
    return SPRY_OK;
}

void checkpoint_close(checkpoint *c)
{
    spry_allocator source;

    if (c == NULL) {
        return;
    }
    close_files(c);
    source = c->allocator;
    alloc_release(&source, c, sizeof *c);
}

bool checkpoint_exists(const char *folder)
{
    checkpoint_steps steps;
    char sums[PATH_MAX];
    bool any = checkpoint_join(folder, checkpoint_sums, sums, NULL) == SPRY_OK && file_exists(sums);

    if (!any) {
        any = checkpoint_steps_list(&steps, folder, NULL, NULL) == SPRY_OK && steps.count > 0;
        checkpoint_steps_fini(&steps);
    }
    return any;
}

int64_t checkpoint_step(const checkpoint *c)
{
    return c->step;
}

const char *checkpoint_path(const checkpoint *c)
{
    return c->path;
}

const char *checkpoint_warning(const checkpoint *c)
{
    return c->warning[0] != '\0' ? c->warning : NULL;
}

const json_document *checkpoint_state(const checkpoint *c)
{
    return c->state;
}

int32_t checkpoint_count(const checkpoint *c, checkpoint_part part)
{
    return spry_archive_count(c->parts[part]);
}

const char *checkpoint_name(const checkpoint *c, checkpoint_part part, int32_t index)
{
    return spry_archive_name(c->parts[part], index);
}

const tensor *checkpoint_at(const checkpoint *c, checkpoint_part part, int32_t index)
{
    const spry_tensor *t = NULL;
    spry_status status = spry_archive_tensor(c->parts[part], index, &t, NULL);

    return status == SPRY_OK ? t : NULL;
}

const tensor *checkpoint_find(const checkpoint *c, checkpoint_part part, const char *name)
{
    int32_t low = 0;
    int32_t high = spry_archive_count(c->parts[part]);

    while (low < high) {
        int32_t middle = low + (high - low) / 2;
        int order = strcmp(spry_archive_name(c->parts[part], middle), name);

        if (order == 0) {
            return checkpoint_at(c, part, middle);
        }
        if (order < 0) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return NULL;
}
