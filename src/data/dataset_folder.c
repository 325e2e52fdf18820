/* One subfolder of pictures per class. */
#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>

#include "base/alloc.h"
#include "data/dataset.h"

enum { MAX_FILES = 16 << 20, MAX_FOLDERS = 65536 };

/* Paths collected from a folder, in d->memory. */
typedef struct listing {
    char **paths;
    size_t count;
    size_t capacity;
} listing;

static bool is_folder(const char *path)
{
    struct stat about;

    return stat(path, &about) == 0 && S_ISDIR(about.st_mode);
}

static bool is_picture_name(const char *name)
{
    static const char *const extensions[] = {".jpg", ".jpeg", ".png", ".webp",
                                             ".ppm", ".pgm",  ".pnm"};
    const char *dot = strrchr(name, '.');

    for (size_t i = 0; dot != NULL && i < sizeof extensions / sizeof extensions[0]; i++) {
        if (strcasecmp(dot, extensions[i]) == 0) {
            return true;
        }
    }
    return false;
}

static int compare_paths(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static spry_status add_path(spry_dataset *d, listing *list, const char *path, size_t most,
                            spry_error *error)
{
    void *paths = list->paths;
    spry_status status = alloc_grow(&d->allocator, &paths, &list->capacity, list->count + 1,
                                    sizeof *list->paths, most, error);

    list->paths = paths;
    if (status == SPRY_OK) {
        list->paths[list->count++] = (char *)(uintptr_t)path;
    }
    return status;
}

/* Appends the folders (or the pictures) in `path`, those after `from` sorted by name. */
static spry_status list_folder(spry_dataset *d, const char *path, bool folders, listing *list,
                               spry_error *error)
{
    size_t from = list->count;
    DIR *folder = opendir(path);
    spry_status status = SPRY_OK;

    if (folder == NULL) {
        char reason[128];

        return spry_fail(error, SPRY_IO, path, "check the path", "cannot be listed: %s",
                         strerror_r(errno, reason, sizeof reason));
    }
    for (struct dirent *e = readdir(folder); e != NULL && status == SPRY_OK; e = readdir(folder)) {
        char *inside;

        if (e->d_name[0] == '.' || (!folders && !is_picture_name(e->d_name))) {
            continue;
        }
        inside = dataset_join(d, path, e->d_name);
        if (inside == NULL) {
            status = alloc_failed(error, strlen(path));
        } else if (is_folder(inside) == folders) {
            status = add_path(d, list, inside, folders ? MAX_FOLDERS : MAX_FILES, error);
        }
    }
    (void)closedir(folder);
    if (status == SPRY_OK && list->count > from) {
        qsort(list->paths + from, list->count - from, sizeof *list->paths, compare_paths);
    }
    return status;
}

/* Moves what was collected into the data set. */
static spry_status adopt(spry_dataset *d, const listing *classes, const listing *files,
                         const size_t *first, spry_error *error)
{
    const char **paths = dataset_array(d, files->count, sizeof *paths);
    const char **names = dataset_array(d, classes->count, sizeof *names);

    d->labels = dataset_array(d, files->count, sizeof *d->labels);
    if (paths == NULL || names == NULL || d->labels == NULL) {
        return alloc_failed(error, files->count * sizeof *paths);
    }
    for (size_t c = 0; c < classes->count; c++) {
        names[c] = strrchr(classes->paths[c], '/') + 1;
        for (size_t i = first[c]; i < first[c + 1]; i++) {
            paths[i] = files->paths[i];
            d->labels[i] = (int32_t)c;
        }
    }
    d->files = paths;
    d->count = (int64_t)files->count;
    d->class_names = names;
    d->class_count = (int64_t)classes->count;
    d->pictures = true;
    return SPRY_OK;
}

static spry_status open_set(spry_dataset *d, spry_error *error)
{
    listing classes = {0};
    listing files = {0};
    size_t *first = NULL;
    spry_status status = list_folder(d, d->path, true, &classes, error);

    if (status == SPRY_OK) {
        first = dataset_array(d, classes.count + 1, sizeof *first);
        status = first != NULL ? SPRY_OK : alloc_failed(error, classes.count * sizeof *first);
    }
    for (size_t c = 0; c < classes.count && status == SPRY_OK; c++) {
        status = list_folder(d, classes.paths[c], false, &files, error);
        if (status == SPRY_OK && files.count == first[c]) {
            status = spry_fail(error, SPRY_BAD_INPUT, classes.paths[c],
                               "add .jpg, .png or .webp files or remove the folder",
                               "the folder of a class has no pictures");
        }
        first[c + 1] = files.count;
    }
    if (status == SPRY_OK && files.count == 0) {
        status =
            spry_fail(error, SPRY_BAD_INPUT, d->path, "make one subfolder of pictures per class",
                      "the folder has no subfolders");
    }
    if (status == SPRY_OK) {
        status = adopt(d, &classes, &files, first, error);
    }
    alloc_release(&d->allocator, classes.paths, classes.capacity * sizeof *classes.paths);
    alloc_release(&d->allocator, files.paths, files.capacity * sizeof *files.paths);
    return status;
}

const dataset_kind dataset_folder = {"folder", open_set, dataset_read_file, NULL};
