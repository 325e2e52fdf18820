/* Folders through the operating system's calls. */
#define _GNU_SOURCE
#include "base/folder.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

enum { TEMPORARY_ATTEMPTS = 16 };

static spry_status fail_io(spry_error *error, const char *path, const char *what, int number)
{
    const char *remedy = NULL;
    char text[128];

    if (number == ENOSPC || number == EDQUOT) {
        remedy = "free some disk space or write elsewhere";
    } else if (number == EACCES || number == EPERM || number == EROFS) {
        remedy = "check the permissions of the folder";
    }
    return spry_fail(error, SPRY_IO, path, remedy, "%s: %s", what,
                     strerror_r(number, text, sizeof text));
}

spry_status folder_list(const char *path, folder_visit visit, void *context, spry_error *error)
{
    DIR *folder = opendir(path);
    spry_status status = SPRY_OK;

    if (folder == NULL) {
        return fail_io(error, path, "cannot be listed", errno);
    }
    for (struct dirent *e = readdir(folder); e != NULL && status == SPRY_OK; e = readdir(folder)) {
        if (strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0) {
            status = visit(context, e->d_name, error);
        }
    }
    (void)closedir(folder);
    return status;
}

spry_status folder_make_temporary(const char *parent, const char *prefix, char *path, size_t size,
                                  spry_error *error)
{
    for (int i = 0; i < TEMPORARY_ATTEMPTS; i++) {
        uint64_t number;
        int length;

        if (getrandom(&number, sizeof number, 0) != (ssize_t)sizeof number) {
            return fail_io(error, parent, "no folder can be made there", errno);
        }
        length = snprintf(path, size, "%s/%s%016" PRIx64, parent, prefix, number);
        if (length < 0 || (size_t)length >= size) {
            return fail_io(error, parent, "no folder can be made there", ENAMETOOLONG);
        }
        if (mkdir(path, 0777) == 0) {
            return SPRY_OK;
        }
        if (errno != EEXIST) {
            break;
        }
    }
    return fail_io(error, parent, "no folder can be made there", errno);
}

/* Flushes the folder that holds `path`. Some file systems cannot. */
static bool flush_parent(const char *path)
{
    char parent[PATH_MAX];
    const char *slash = strrchr(path, '/');
    size_t length = slash != NULL ? (size_t)(slash - path) : 1;
    int folder;
    bool flushed;

    if (length >= sizeof parent) {
        return false;
    }
    memcpy(parent, slash != NULL ? path : ".", length);
    parent[length] = '\0';
    folder = open(length > 0 ? parent : "/", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    flushed = folder >= 0 && (fsync(folder) == 0 || errno == EINVAL || errno == ENOTSUP);
    if (folder >= 0) {
        (void)close(folder);
    }
    return flushed;
}

/* For file systems that cannot exchange names: for a moment there is nothing called `to`. */
static int exchange_by_parts(const char *from, const char *to)
{
    char aside[PATH_MAX];
    int length = snprintf(aside, sizeof aside, "%s.old", from);

    if (length < 0 || (size_t)length >= sizeof aside) {
        errno = ENAMETOOLONG;
        return -1;
    }
    if (rename(to, aside) != 0) {
        return -1;
    }
    if (rename(from, to) != 0) {
        int number = errno;

        (void)rename(aside, to);
        errno = number;
        return -1;
    }
    return rename(aside, from);
}

spry_status folder_move(const char *from, const char *to, spry_error *error)
{
    int result = rename(from, to);

    if (result != 0 && (errno == EEXIST || errno == ENOTEMPTY)) {
        result = renameat2(AT_FDCWD, from, AT_FDCWD, to, RENAME_EXCHANGE);
        if (result != 0 && (errno == EINVAL || errno == ENOSYS || errno == EPERM)) {
            result = exchange_by_parts(from, to);
        }
    }
    if (result != 0) {
        return fail_io(error, to, "cannot be put in place", errno);
    }
    if (!flush_parent(to)) {
        return fail_io(error, to, "its folder cannot be flushed to the disk", errno);
    }
    return SPRY_OK;
}

static spry_status remove_file(void *context, const char *name, spry_error *error)
{
    const int *folder = context;

    return unlinkat(*folder, name, 0) == 0 ? SPRY_OK
                                           : fail_io(error, name, "cannot be removed", errno);
}

spry_status folder_remove(const char *path, spry_error *error)
{
    int folder = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
    spry_status status;

    if (folder < 0) {
        return fail_io(error, path, "cannot be removed", errno);
    }
    status = folder_list(path, remove_file, &folder, error);
    (void)close(folder);
    if (status == SPRY_OK && rmdir(path) != 0) {
        status = fail_io(error, path, "cannot be removed", errno);
    }
    return status;
}

uint64_t folder_free_bytes(const char *path)
{
    struct statvfs about;

    /* File systems without sizes, such as those made of other machines' memory, report 0 blocks. */
    if (statvfs(path, &about) != 0 || about.f_blocks == 0) {
        return UINT64_MAX;
    }
    return (uint64_t)about.f_bavail * (uint64_t)about.f_frsize;
}

spry_status folder_lock(const char *path, int *lock, spry_error *error)
{
    *lock = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (*lock < 0) {
        return fail_io(error, path, "cannot be opened", errno);
    }
    /* Network file systems that have no locks are used without. */
    if (flock(*lock, LOCK_EX | LOCK_NB) != 0 && errno == EWOULDBLOCK) {
        folder_unlock(*lock);
        *lock = -1;
        return spry_fail(error, SPRY_IO, path, "wait for the other process, or use another folder",
                         "another process is writing there");
    }
    return SPRY_OK;
}

void folder_unlock(int lock)
{
    if (lock >= 0) {
        (void)close(lock);
    }
}
