/* Mapping and replacing files through the operating system's calls. */
#define _GNU_SOURCE
#include "base/files.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/hash64.h"

enum { WRITER_BUFFER_BYTES = 64 << 10, TEMPORARY_ATTEMPTS = 16, TEMPORARY_NAME_BYTES = 32 };

static const uint8_t no_bytes[1];

struct file_writer {
    spry_allocator allocator;
    uint64_t offset;
    size_t buffered;
    int folder;
    int file;
    bool failed;
    char temporary[TEMPORARY_NAME_BYTES]; /* "" when there is no file to remove */
    char name[NAME_MAX + 1];              /* within the folder */
    char path[PATH_MAX];                  /* for messages */
    uint8_t buffer[WRITER_BUFFER_BYTES];
};

static spry_status fail_io(spry_error *error, const char *path, const char *what, int number)
{
    const char *remedy = NULL;
    char text[128];

    if (number == ENOSPC || number == EDQUOT || number == EFBIG) {
        remedy = "free some disk space or write elsewhere";
    } else if (number == ENOENT) {
        remedy = "check the path";
    } else if (number == EACCES || number == EPERM || number == EROFS) {
        remedy = "check the permissions of the file and its folder";
    }
    /* GNU's strerror_r may return a text of its own instead of filling ours. */
    return spry_fail(error, SPRY_IO, path, remedy, "%s: %s", what,
                     strerror_r(number, text, sizeof text));
}

static uint64_t identity_of(const struct stat *about)
{
    const uint64_t parts[] = {about->st_dev,
                              about->st_ino,
                              (uint64_t)about->st_size,
                              (uint64_t)about->st_mtim.tv_sec,
                              (uint64_t)about->st_mtim.tv_nsec,
                              (uint64_t)about->st_ctim.tv_sec,
                              (uint64_t)about->st_ctim.tv_nsec};

    return hash64(parts, sizeof parts, 0);
}

/* Maps what `file` is open on. Closes `file` in any case: a map does not need it. */
static spry_status map_descriptor(int file, const char *path, uint64_t ceiling, bool one_link,
                                  file_map *map, spry_error *error)
{
    struct stat about;
    void *memory;
    int number;

    if (fstat(file, &about) != 0) {
        number = errno;
        (void)close(file);
        return fail_io(error, path, "cannot be examined", number);
    }
    if (!S_ISREG(about.st_mode)) {
        (void)close(file);
        return spry_fail(error, SPRY_IO, path, NULL, "is not a regular file");
    }
    if (one_link && about.st_nlink != 1) {
        (void)close(file);
        return spry_fail(error, SPRY_BAD_INPUT, path, "copy the file instead of linking it",
                         "has several hard links, so it may belong to somebody else");
    }
    if ((uint64_t)about.st_size > ceiling || (uint64_t)about.st_size > SIZE_MAX) {
        (void)close(file);
        return spry_fail(error, SPRY_LIMIT, path, NULL,
                         "has %" PRIu64 " bytes; at most %" PRIu64 " are accepted",
                         (uint64_t)about.st_size, ceiling);
    }
    if (about.st_size == 0) {
        (void)close(file);
        *map = (file_map){.data = no_bytes};
        return SPRY_OK;
    }
    memory = mmap(NULL, (size_t)about.st_size, PROT_READ, MAP_PRIVATE, file, 0);
    number = errno;
    (void)close(file);
    if (memory == MAP_FAILED) {
        return fail_io(error, path, "cannot be mapped", number);
    }
    *map = (file_map){memory, (size_t)about.st_size, identity_of(&about)};
    return SPRY_OK;
}

spry_status file_map_open(const char *path, uint64_t ceiling, file_map *map, spry_error *error)
{
    int file;

    *map = (file_map){.data = no_bytes};
    /* Without O_NONBLOCK opening a named pipe would wait for a writer. */
    file = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    if (file < 0) {
        return fail_io(error, path, "cannot be opened", errno);
    }
    return map_descriptor(file, path, ceiling, false, map, error);
}

/* Is `path` relative, not empty, and free of ".." parts? */
static bool stays_beneath(const char *path)
{
    if (*path == '/' || *path == '\0') {
        return false;
    }
    while (*path != '\0') {
        size_t length = strcspn(path, "/");

        if (length == 2 && path[0] == '.' && path[1] == '.') {
            return false;
        }
        path += length;
        path += strspn(path, "/");
    }
    return true;
}

/* Opens `path` under `folder` one part at a time, following no link: for kernels without openat2.
 * Takes over the descriptor `folder`. Returns -1 with errno set on failure. */
static int open_by_parts(int folder, const char *path)
{
    const int flags = O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY | O_NOFOLLOW;
    int at = folder;

    for (;;) {
        size_t length = strcspn(path, "/");
        const char *rest = path + length + strspn(path + length, "/");
        char part[NAME_MAX + 1];
        int next;
        int number;

        if (length > NAME_MAX) {
            (void)close(at);
            errno = ENAMETOOLONG;
            return -1;
        }
        memcpy(part, path, length);
        part[length] = '\0';
        /* A path that ends in a slash names a folder: refused later as "not a regular file". */
        next = openat(at, part, path[length] != '\0' ? flags | O_DIRECTORY : flags);
        number = errno;
        if (next < 0 && number == ENOTDIR) {
            struct stat about;

            if (fstatat(at, part, &about, AT_SYMLINK_NOFOLLOW) == 0 && S_ISLNK(about.st_mode)) {
                number = ELOOP;
            }
        }
        (void)close(at);
        if (next < 0) {
            errno = number;
            return -1;
        }
        if (*rest == '\0') {
            return next;
        }
        at = next;
        path = rest;
    }
}

int file_open_by_parts(const char *folder, const char *relative)
{
    int at = open(folder, O_PATH | O_DIRECTORY | O_CLOEXEC);

    return at < 0 ? -1 : open_by_parts(at, relative);
}

/* As open_by_parts, by the kernel where it can. */
static int open_beneath(int folder, const char *path)
{
#ifdef SYS_openat2
    struct open_how how = {
        .flags = O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY,
        .resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS,
    };
    int file = (int)syscall(SYS_openat2, folder, path, &how, sizeof how);

    /* Sandboxes answer EPERM for calls that they do not know. */
    if (file >= 0 || (errno != ENOSYS && errno != EPERM)) {
        int number = errno;

        (void)close(folder);
        errno = number;
        return file;
    }
#endif
    return open_by_parts(folder, path);
}

spry_status file_map_open_beneath(const char *folder, const char *relative, uint64_t ceiling,
                                  file_map *map, spry_error *error)
{
    int at;
    int file;

    *map = (file_map){.data = no_bytes};
    if (!stays_beneath(relative)) {
        return spry_fail(error, SPRY_BAD_INPUT, relative,
                         "give a path inside the folder, without \"..\"",
                         "would leave the folder %s", folder);
    }
    at = open(*folder != '\0' ? folder : ".", O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (at < 0) {
        return fail_io(error, folder, "cannot be opened", errno);
    }
    file = open_beneath(at, relative);
    if (file < 0 && (errno == ELOOP || errno == EXDEV)) {
        return spry_fail(error, SPRY_BAD_INPUT, relative, "put the file itself there",
                         "is reached through a symbolic link");
    }
    if (file < 0) {
        return fail_io(error, relative, "cannot be opened", errno);
    }
    return map_descriptor(file, relative, ceiling, true, map, error);
}

void file_map_close(file_map *map)
{
    if (map->size != 0) {
        (void)munmap((void *)(uintptr_t)map->data, map->size);
    }
    *map = (file_map){.data = no_bytes};
}

void file_map_release(const file_map *map)
{
    if (map->size != 0) {
        (void)madvise((void *)(uintptr_t)map->data, map->size, MADV_DONTNEED);
    }
}

/* Splits `path` into a folder (in `folder`) and a name (returned, within `path`). */
static const char *split_path(const char *path, char folder[PATH_MAX])
{
    const char *slash = strrchr(path, '/');
    size_t length = slash != NULL ? (size_t)(slash - path) : 0;

    if (slash == NULL) {
        memcpy(folder, ".", 2);
        return path;
    }
    /* The root keeps its slash. */
    length = length != 0 ? length : 1;
    memcpy(folder, path, length);
    folder[length] = '\0';
    return slash + 1;
}

/* Writes the place that `path` really names, through symbolic links, to writer->path, and the
 * permissions the new file shall have to `mode`. Only regular files are replaced: a device such as
 * /dev/null must survive being named as an output. */
static spry_status resolve_target(file_writer *writer, const char *path, mode_t *mode,
                                  spry_error *error)
{
    struct stat about;

    *mode = 0;
    if (strlen(path) >= PATH_MAX) {
        return fail_io(error, path, "cannot be written", ENAMETOOLONG);
    }
    if (lstat(path, &about) != 0) {
        memcpy(writer->path, path, strlen(path) + 1);
        return SPRY_OK;
    }
    if (S_ISLNK(about.st_mode)) {
        if (realpath(path, writer->path) == NULL || lstat(writer->path, &about) != 0) {
            return fail_io(error, path, "cannot be written through a link", errno);
        }
    } else {
        memcpy(writer->path, path, strlen(path) + 1);
    }
    if (!S_ISREG(about.st_mode)) {
        return spry_fail(error, SPRY_IO, path, "name a regular file",
                         "cannot be replaced: it is not a regular file");
    }
    *mode = about.st_mode & 07777;
    return SPRY_OK;
}

/* Creates the temporary file; returns false with errno set. */
static bool create_temporary(file_writer *writer)
{
    for (int i = 0; i < TEMPORARY_ATTEMPTS; i++) {
        uint64_t number;

        if (getrandom(&number, sizeof number, 0) != (ssize_t)sizeof number) {
            return false;
        }
        (void)snprintf(writer->temporary, sizeof writer->temporary, ".spry-%016" PRIx64 ".tmp",
                       number);
        writer->file = openat(writer->folder, writer->temporary,
                              O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0666);
        if (writer->file >= 0) {
            return true;
        }
        if (errno != EEXIST) {
            break;
        }
    }
    writer->temporary[0] = '\0';
    return false;
}

static spry_status writer_start(file_writer *writer, const char *path, spry_error *error)
{
    char folder[PATH_MAX];
    const char *name;
    mode_t mode;
    spry_status status = resolve_target(writer, path, &mode, error);

    if (status != SPRY_OK) {
        return status;
    }
    name = split_path(writer->path, folder);
    if (*name == '\0' || strlen(name) > NAME_MAX) {
        return fail_io(error, path, "cannot be written", *name == '\0' ? EISDIR : ENAMETOOLONG);
    }
    memcpy(writer->name, name, strlen(name) + 1);
    writer->folder = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (writer->folder < 0) {
        return fail_io(error, folder, "cannot be opened", errno);
    }
    if (!create_temporary(writer)) {
        return fail_io(error, folder, "no file can be created there", errno);
    }
    if (mode != 0 && fchmod(writer->file, mode) != 0) {
        return fail_io(error, path, "its permissions cannot be kept", errno);
    }
    return SPRY_OK;
}

spry_status file_writer_open(const spry_allocator *allocator, const char *path,
                             file_writer **writer, spry_error *error)
{
    spry_allocator source = alloc_resolve(allocator);
    file_writer *made = alloc_zeroed(&source, sizeof *made);
    spry_status status;

    *writer = NULL;
    if (made == NULL) {
        return alloc_failed(error, sizeof *made);
    }
    made->allocator = source;
    made->folder = -1;
    made->file = -1;
    status = writer_start(made, path, error);
    if (status != SPRY_OK) {
        file_writer_close(made);
        return status;
    }
    *writer = made;
    return SPRY_OK;
}

/* Writes all bytes to the file, past interruptions and short writes. */
static spry_status write_all(file_writer *writer, const uint8_t *bytes, size_t size,
                             spry_error *error)
{
    while (size != 0) {
        ssize_t written = write(writer->file, bytes, size);

        if (written < 0 && errno == EINTR) {
            continue;
        }
        if (written <= 0) {
            writer->failed = true;
            return fail_io(error, writer->path, "cannot be written", written < 0 ? errno : ENOSPC);
        }
        bytes += written;
        size -= (size_t)written;
    }
    return SPRY_OK;
}

static spry_status flush(file_writer *writer, spry_error *error)
{
    size_t size = writer->buffered;

    writer->buffered = 0;
    return write_all(writer, writer->buffer, size, error);
}

/* After a failure the content has a hole: nothing but closing makes sense. */
static spry_status refuse_failed(const file_writer *writer, spry_error *error)
{
    return spry_fail(error, SPRY_IO, writer->path, NULL, "an earlier write has failed");
}

spry_status file_writer_append(file_writer *writer, const void *bytes, size_t size,
                               spry_error *error)
{
    spry_status status = SPRY_OK;

    if (writer->failed) {
        return refuse_failed(writer, error);
    }
    if (size > sizeof writer->buffer - writer->buffered) {
        status = flush(writer, error);
    }
    if (status == SPRY_OK && size > sizeof writer->buffer) {
        status = write_all(writer, bytes, size, error);
    } else if (status == SPRY_OK && size != 0) {
        memcpy(writer->buffer + writer->buffered, bytes, size);
        writer->buffered += size;
    }
    if (status == SPRY_OK) {
        writer->offset += size;
    }
    return status;
}

uint64_t file_writer_offset(const file_writer *writer)
{
    return writer->offset;
}

/* Flushes a folder, so that the new name survives a power cut. Some file systems cannot. */
static bool flush_folder(int folder)
{
    return fsync(folder) == 0 || errno == EINVAL || errno == ENOTSUP;
}

static spry_status commit(file_writer *writer, bool is_durable, spry_error *error)
{
    spry_status status;
    int closed;

    if (writer->failed || writer->file < 0) {
        return refuse_failed(writer, error);
    }
    status = flush(writer, error);
    if (status != SPRY_OK) {
        return status;
    }
    writer->failed = true; /* until all is done */
    if (is_durable && fsync(writer->file) != 0) {
        return fail_io(error, writer->path, "cannot be flushed to the disk", errno);
    }
    closed = close(writer->file);
    writer->file = -1;
    if (closed != 0) {
        return fail_io(error, writer->path, "cannot be closed", errno);
    }
    if (renameat(writer->folder, writer->temporary, writer->folder, writer->name) != 0) {
        return fail_io(error, writer->path, "cannot be replaced", errno);
    }
    writer->temporary[0] = '\0';
    if (is_durable && !flush_folder(writer->folder)) {
        return fail_io(error, writer->path, "its folder cannot be flushed to the disk", errno);
    }
    writer->failed = false;
    return SPRY_OK;
}

spry_status file_writer_commit(file_writer *writer, spry_error *error)
{
    return commit(writer, true, error);
}

spry_status file_writer_commit_soon(file_writer *writer, spry_error *error)
{
    return commit(writer, false, error);
}

void file_writer_close(file_writer *writer)
{
    spry_allocator source;

    if (writer == NULL) {
        return;
    }
    if (writer->file >= 0) {
        (void)close(writer->file);
    }
    if (writer->temporary[0] != '\0') {
        (void)unlinkat(writer->folder, writer->temporary, 0);
    }
    if (writer->folder >= 0) {
        (void)close(writer->folder);
    }
    source = writer->allocator;
    alloc_release(&source, writer, sizeof *writer);
}

spry_status file_replace(const char *path, const void *bytes, size_t size, spry_error *error)
{
    file_writer *writer = NULL;
    spry_status status = file_writer_open(NULL, path, &writer, error);

    if (status == SPRY_OK) {
        status = file_writer_append(writer, bytes, size, error);
    }
    if (status == SPRY_OK) {
        status = file_writer_commit(writer, error);
    }
    file_writer_close(writer);
    return status;
}

bool file_exists(const char *path)
{
    return access(path, F_OK) == 0;
}

spry_status file_make_folder(const char *path, spry_error *error)
{
    char part[PATH_MAX];
    size_t length = strlen(path);
    size_t end = 0;

    if (length == 0 || length >= sizeof part) {
        return fail_io(error, path, "cannot be created", length == 0 ? ENOENT : ENAMETOOLONG);
    }
    while (end < length) {
        struct stat about;
        int number;

        end += strspn(path + end, "/");
        end += strcspn(path + end, "/");
        memcpy(part, path, end);
        part[end] = '\0';
        if (mkdir(part, 0777) == 0) {
            continue;
        }
        /* "/" and read-only parents give other errors than EEXIST: only what is there counts. */
        number = errno;
        if (stat(part, &about) != 0) {
            return fail_io(error, part, "cannot be created", number);
        }
        if (!S_ISDIR(about.st_mode)) {
            return fail_io(error, part, "is not a folder", ENOTDIR);
        }
    }
    return SPRY_OK;
}
