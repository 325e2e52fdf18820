/* Names of a checkpoint's folders and files. */
#include "train/checkpoint_layout.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/files.h"
#include "base/folder.h"
#include "base/parse.h"

enum { MOST_STEPS = 1 << 20 };

const char *const checkpoint_files[CHECKPOINT_FILES] = {"weights.safetensors",
                                                        "optimizer.safetensors", "state.json"};
const char checkpoint_sums[] = "SHA256SUMS";
const char checkpoint_latest[] = "latest";
const char checkpoint_best[] = "best";
const char checkpoint_temporary[] = "tmp-";

static const char step_prefix[] = "step-";

void checkpoint_step_name(int64_t step, char name[CHECKPOINT_NAME_BYTES])
{
    (void)snprintf(name, CHECKPOINT_NAME_BYTES, "%s%08lld", step_prefix, (long long)step);
}

int64_t checkpoint_parse_name(const char *name)
{
    char again[CHECKPOINT_NAME_BYTES];
    int64_t step = -1;

    if (strncmp(name, step_prefix, sizeof step_prefix - 1) != 0 ||
        !parse_i64(name + sizeof step_prefix - 1, 0, CHECKPOINT_MAX_STEP, &step)) {
        return -1;
    }
    checkpoint_step_name(step, again);
    return strcmp(name, again) == 0 ? step : -1;
}

spry_status checkpoint_join(const char *folder, const char *name, char path[PATH_MAX],
                            spry_error *error)
{
    int length = snprintf(path, PATH_MAX, "%s/%s", folder, name);

    return length > 0 && length < PATH_MAX
               ? SPRY_OK
               : spry_fail(error, SPRY_IO, folder, "use a shorter path", "the path is too long");
}

static spry_status add_step(void *context, const char *name, spry_error *error)
{
    checkpoint_steps *s = context;
    int64_t step = checkpoint_parse_name(name);
    void *items = s->items;
    spry_status status;

    if (step < 0) {
        return SPRY_OK;
    }
    status = alloc_grow(&s->allocator, &items, &s->room, s->count + 1, sizeof *s->items, MOST_STEPS,
                        error);
    s->items = items;
    if (status == SPRY_OK) {
        s->items[s->count++] = step;
    }
    return status;
}

static int compare_steps(const void *a, const void *b)
{
    const int64_t *x = a;
    const int64_t *y = b;

    return *x < *y ? -1 : *x > *y;
}

spry_status checkpoint_steps_list(checkpoint_steps *s, const char *folder,
                                  const spry_allocator *allocator, spry_error *error)
{
    spry_status status;

    *s = (checkpoint_steps){.allocator = alloc_resolve(allocator)};
    status = folder_list(folder, add_step, s, error);
    if (s->count > 0) {
        qsort(s->items, s->count, sizeof *s->items, compare_steps);
    }
    return status;
}

void checkpoint_steps_fini(checkpoint_steps *s)
{
    alloc_release(&s->allocator, s->items, s->room * sizeof *s->items);
}

int64_t checkpoint_pointer(const char *folder, const char *name)
{
    char path[PATH_MAX];
    char line[CHECKPOINT_NAME_BYTES];
    file_map map;
    size_t size;

    if (checkpoint_join(folder, name, path, NULL) != SPRY_OK ||
        file_map_open(path, CHECKPOINT_NAME_BYTES, &map, NULL) != SPRY_OK) {
        return -1;
    }
    size = map.size > 0 && map.data[map.size - 1] == '\n' ? map.size - 1 : map.size;
    size = size < sizeof line ? size : sizeof line - 1;
    memcpy(line, map.data, size);
    line[size] = '\0';
    file_map_close(&map);
    return checkpoint_parse_name(line);
}
