/* Files: mapped for reading, replaced as a whole for writing.
 *
 * A writer fills a temporary file beside the target and renames it over the target at the end, so
 * that readers see the old or the new content, never a mixture, also after a crash. */
#ifndef BASE_FILES_H
#define BASE_FILES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "spry/allocator.h"
#include "spry/status.h"

typedef struct file_map {
    const uint8_t *data; /* never NULL; read-only */
    size_t size;
    /* Of the file's place, size and times of change: another value after it was written to or
     * replaced, as far as the file system keeps its times. */
    uint64_t identity;
} file_map;

/* Maps a regular file for reading (an empty file gives size 0). Whoever shortens the file while it
 * is mapped makes later reads fail hard (SIGBUS): files are replaced, never rewritten.
 * Fails with SPRY_IO (cannot be opened, not a regular file), SPRY_LIMIT (larger than `ceiling`). */
SPRY_MUST_USE spry_status file_map_open(const char *path, uint64_t ceiling, file_map *map,
                                        spry_error *error);

/* As above for `relative` inside `folder`: refused (SPRY_BAD_INPUT) when absolute, empty, with a
 * ".." part, through any symbolic link, or a file with several hard links. */
SPRY_MUST_USE spry_status file_map_open_beneath(const char *folder, const char *relative,
                                                uint64_t ceiling, file_map *map, spry_error *error);
/* The opening step of file_map_open_beneath for kernels that cannot do it in one call: a read-only
 * descriptor of `relative`, which has passed the checks on its text, or -1 with errno set (ELOOP
 * for a symbolic link). */
int file_open_by_parts(const char *folder, const char *relative);

void file_map_close(file_map *map);
/* Gives the pages of the map that were read back to the system. They come back, from the file, when
 * they are read again: for data that has just been copied into another form. */
void file_map_release(const file_map *map);

typedef struct file_writer file_writer;

/* Starts replacing `path`, or what it points to when it is a symbolic link. Nothing changes there
 * until file_writer_commit. Existing permissions are kept; what is not a regular file is refused.
 * Fails with SPRY_IO, SPRY_LIMIT (memory). */
SPRY_MUST_USE spry_status file_writer_open(const spry_allocator *allocator, const char *path,
                                           file_writer **writer, spry_error *error);
/* Appends bytes. After a failure (SPRY_IO) only file_writer_close may follow. */
SPRY_MUST_USE spry_status file_writer_append(file_writer *writer, const void *bytes, size_t size,
                                             spry_error *error);
/* Bytes appended so far. */
uint64_t file_writer_offset(const file_writer *writer);
/* Flushes to the disk and renames over the target. Fails with SPRY_IO. */
SPRY_MUST_USE spry_status file_writer_commit(file_writer *writer, spry_error *error);
/* The same without waiting for the disk: after a power cut the file may hold anything. For data
 * that is checked when it is read and can be made again. */
SPRY_MUST_USE spry_status file_writer_commit_soon(file_writer *writer, spry_error *error);
/* Frees the writer; without a commit before, the temporary file is removed. NULL is allowed. */
void file_writer_close(file_writer *writer);

/* Writes `size` bytes as the whole content of `path`. Fails with SPRY_IO, SPRY_LIMIT. */
SPRY_MUST_USE spry_status file_replace(const char *path, const void *bytes, size_t size,
                                       spry_error *error);

bool file_exists(const char *path);
/* Creates a folder and its parents. Fails with SPRY_IO. */
SPRY_MUST_USE spry_status file_make_folder(const char *path, spry_error *error);

#endif
