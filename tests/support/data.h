/* Where tests find large files that are not part of the repository. */
#ifndef SUPPORT_DATA_H
#define SUPPORT_DATA_H

#include <stddef.h>

/* Path of `relative` inside the data folder (environment variable SPRY_DATA), in a buffer that the
 * next call re-uses. Where the folder or the file is absent: prints "skipped: no data" and ends the
 * running test as skipped (cmocka), so it returns only with a usable path. */
const char *data_path(const char *relative);

/* A fresh folder below the temporary directory, in a buffer that the next call re-uses; fails the
 * running test when there is none. Remove it with data_remove_folder. */
const char *data_make_folder(void);
void data_remove_folder(const char *folder);

/* "folder/name" in one of a few buffers used in turn. */
const char *data_join(const char *folder, const char *name);

/* Writes a file of `size` bytes, failing the running test when that is impossible. */
void data_write(const char *path, const void *bytes, size_t size);

#endif
