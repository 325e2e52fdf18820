/* Temporary files that the system removes by itself. */
#include "base/spill.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { PATH_SIZE = 4096 };

static int open_in(const char *folder)
{
    char path[PATH_SIZE];
    int length = snprintf(path, sizeof path, "%s/spry-XXXXXX", folder);
    int file;

    if (length < 0 || length >= PATH_SIZE) {
        return -1;
    }
    file = mkstemp(path);
    if (file >= 0) {
        (void)unlink(path);
    }
    return file;
}

spry_status spill_open(spill *s, spry_error *error)
{
    const char *asked = getenv("TMPDIR");

    s->file = asked != NULL && asked[0] != '\0' ? open_in(asked) : -1;
    s->file = s->file < 0 ? open_in("/var/tmp") : s->file;
    s->file = s->file < 0 ? open_in("/tmp") : s->file;
    return s->file >= 0 ? SPRY_OK
                        : spry_fail(error, SPRY_IO, "/var/tmp", "set TMPDIR to a folder",
                                    "no temporary file can be made: %s", strerror(errno));
}

void spill_close(spill *s)
{
    if (s->file >= 0) {
        (void)close(s->file);
    }
    s->file = -1;
}

spry_status spill_write(spill *s, uint64_t offset, const void *bytes, size_t size,
                        spry_error *error)
{
    const char *from = bytes;

    while (size > 0) {
        ssize_t done = pwrite(s->file, from, size, (off_t)offset);

        if (done <= 0 && errno != EINTR) {
            return spry_fail(error, SPRY_IO, "temporary file", "set TMPDIR to a folder with room",
                             "cannot be written: %s", strerror(errno));
        }
        done = done > 0 ? done : 0;
        from += done;
        offset += (uint64_t)done;
        size -= (size_t)done;
    }
    return SPRY_OK;
}

spry_status spill_read(const spill *s, uint64_t offset, void *bytes, size_t size, spry_error *error)
{
    char *to = bytes;

    while (size > 0) {
        ssize_t done = pread(s->file, to, size, (off_t)offset);

        if (done == 0 || (done < 0 && errno != EINTR)) {
            return spry_fail(error, SPRY_IO, "temporary file", NULL, "cannot be read: %s",
                             done == 0 ? "it ends too early" : strerror(errno));
        }
        done = done > 0 ? done : 0;
        to += done;
        offset += (uint64_t)done;
        size -= (size_t)done;
    }
    return SPRY_OK;
}
