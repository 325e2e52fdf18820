/* Folders as a whole: listed, locked, made under a name that nobody has, moved into place. */
#ifndef BASE_FOLDER_H
#define BASE_FOLDER_H

#include <stddef.h>
#include <stdint.h>

#include "spry/status.h"

/* Calls `visit` for every entry but "." and "..", in no order, until one call fails.
 * Fails with SPRY_IO, and as `visit`. */
typedef spry_status (*folder_visit)(void *context, const char *name, spry_error *error);
SPRY_MUST_USE spry_status folder_list(const char *path, folder_visit visit, void *context,
                                      spry_error *error);

/* Makes "PARENT/PREFIX" and 16 random digits, into `path` of `size` bytes. Fails with SPRY_IO. */
SPRY_MUST_USE spry_status folder_make_temporary(const char *parent, const char *prefix, char *path,
                                                size_t size, spry_error *error);
/* Renames the folder `from` to `to` and flushes the names to the disk. Where `to` is there already,
 * the two change places, so that at no time there is none. Both have the same parent.
 * Fails with SPRY_IO. */
SPRY_MUST_USE spry_status folder_move(const char *from, const char *to, spry_error *error);
/* Removes a folder that holds files only. Fails with SPRY_IO. */
SPRY_MUST_USE spry_status folder_remove(const char *path, spry_error *error);

/* Bytes that may still be written to the file system of `path`; UINT64_MAX where nobody knows. */
uint64_t folder_free_bytes(const char *path);

/* Keeps others from locking the folder until folder_unlock, or until the process ends; `lock` is
 * what to give back. Fails with SPRY_IO, also when it is locked. */
SPRY_MUST_USE spry_status folder_lock(const char *path, int *lock, spry_error *error);
void folder_unlock(int lock);

#endif
