/* Random access into gzipped files by copies of the unpacker's state. */
#include "data/byte_source.h"

#include <pthread.h>
#include <string.h>
#include <zlib.h>

#include "base/alloc.h"
#include "base/files.h"
#include "base/limits.h"

enum { CHECKPOINT_BYTES = 4 << 20, DISCARD_BYTES = 16 << 10, MAX_CHECKPOINTS = 1 << 16 };

struct byte_source {
    spry_allocator allocator;
    file_map map;
    size_t size;
    /* NULL: not packed; number i stands at i x CHECKPOINT_BYTES. zlib holds pointers to its
     * streams: they must not move when the list grows. */
    z_stream **checkpoints;
    size_t checkpoint_count;
    size_t checkpoint_capacity;
    pthread_mutex_t lock; /* of all below, for packed files */
    size_t resident;      /* ceiling of `unpacked` */
    uint8_t *unpacked;    /* [size], or NULL */
    z_stream current;     /* where the last read ended */
    bool has_current;
    size_t position;
    char path[SPRY_ERROR_WHERE_SIZE];
};

static spry_status damaged(const byte_source *s, spry_error *error)
{
    return spry_fail(error, SPRY_BAD_INPUT, s->path, "copy the file again",
                     "is not an intact gzip file");
}

/* zlib takes 32-bit counts: hands over the rest of the file piece by piece. */
static void feed(const byte_source *s, z_stream *z)
{
    if (z->avail_in == 0) {
        size_t used = z->next_in != NULL ? (size_t)(z->next_in - s->map.data) : 0;
        size_t left = s->map.size - used;

        z->next_in = (z_const Bytef *)(uintptr_t)(s->map.data + used);
        z->avail_in = left > UINT32_MAX / 2 ? UINT32_MAX / 2 : (uInt)left;
    }
}

/* Unpacks up to `size` bytes; fewer only at the end. False when the file is damaged. */
static bool unpack(const byte_source *s, z_stream *z, uint8_t *to, size_t size, size_t *done)
{
    *done = 0;
    while (*done < size) {
        uInt room = size - *done > UINT32_MAX / 2 ? UINT32_MAX / 2 : (uInt)(size - *done);
        int result;

        feed(s, z);
        z->next_out = to + *done;
        z->avail_out = room;
        result = inflate(z, Z_NO_FLUSH);
        *done += room - z->avail_out;
        if (result == Z_STREAM_END) {
            return true;
        }
        if (result != Z_OK ||
            (z->avail_out == room && z->avail_in == 0 && z->next_in == s->map.data + s->map.size)) {
            return false;
        }
    }
    return true;
}

static spry_status add_checkpoint(byte_source *s, z_stream *z, spry_error *error)
{
    void *array = s->checkpoints;
    z_stream *copy;
    spry_status status =
        alloc_grow(&s->allocator, &array, &s->checkpoint_capacity, s->checkpoint_count + 1,
                   sizeof *s->checkpoints, MAX_CHECKPOINTS, error);

    s->checkpoints = array;
    if (status != SPRY_OK) {
        return status;
    }
    copy = alloc_zeroed(&s->allocator, sizeof *copy);
    if (copy == NULL || inflateCopy(copy, z) != Z_OK) {
        alloc_release(&s->allocator, copy, sizeof *copy);
        return alloc_failed(error, sizeof *copy);
    }
    s->checkpoints[s->checkpoint_count++] = copy;
    return SPRY_OK;
}

/* Unpacks everything once, for its size and the checkpoints. */
static spry_status survey(byte_source *s, z_stream *z, uint8_t *room, spry_error *error)
{
    const uint64_t most = (uint64_t)s->map.size * LIMIT_NPZ_RATIO + LIMIT_PARSE_SLACK_BYTES;
    size_t done;

    do {
        if (s->size % CHECKPOINT_BYTES == 0) {
            spry_status status = add_checkpoint(s, z, error);

            if (status != SPRY_OK) {
                return status;
            }
        }
        if (!unpack(s, z, room, DISCARD_BYTES, &done)) {
            return damaged(s, error);
        }
        s->size += done;
        if (s->size > most) {
            return spry_fail(error, SPRY_LIMIT, s->path, "unpack the file first",
                             "expands more than %d times", LIMIT_NPZ_RATIO);
        }
    } while (done == DISCARD_BYTES);
    return SPRY_OK;
}

static spry_status open_packed(byte_source *s, spry_error *error)
{
    z_stream z;
    uint8_t *room = alloc_bytes(&s->allocator, DISCARD_BYTES);
    spry_status status;

    memset(&z, 0, sizeof z);
    if (room == NULL || inflateInit2(&z, 16 + MAX_WBITS) != Z_OK) {
        alloc_release(&s->allocator, room, DISCARD_BYTES);
        return alloc_failed(error, DISCARD_BYTES);
    }
    status = survey(s, &z, room, error);
    (void)inflateEnd(&z);
    alloc_release(&s->allocator, room, DISCARD_BYTES);
    return status;
}

spry_status byte_source_open(const spry_allocator *allocator, const char *path, size_t resident,
                             byte_source **source, spry_error *error)
{
    spry_allocator resolved = alloc_resolve(allocator);
    byte_source *s = alloc_zeroed(&resolved, sizeof *s);
    size_t length = strlen(path);
    spry_status status;

    *source = NULL;
    if (s == NULL || pthread_mutex_init(&s->lock, NULL) != 0) {
        alloc_release(&resolved, s, sizeof *s);
        return alloc_failed(error, sizeof *s);
    }
    s->allocator = resolved;
    s->resident = resident;
    length = length < sizeof s->path ? length : sizeof s->path - 1;
    memcpy(s->path, path, length);
    status = file_map_open(path, LIMIT_MODEL_BYTES, &s->map, error);
    if (status != SPRY_OK) {
        byte_source_close(s);
        return status;
    }
    if (s->map.size >= 2 && s->map.data[0] == 0x1f && s->map.data[1] == 0x8b) {
        status = open_packed(s, error);
    } else {
        s->size = s->map.size;
    }
    if (status != SPRY_OK) {
        byte_source_close(s);
        return status;
    }
    *source = s;
    return SPRY_OK;
}

void byte_source_close(byte_source *s)
{
    spry_allocator allocator;

    if (s == NULL) {
        return;
    }
    allocator = s->allocator;
    for (size_t i = 0; i < s->checkpoint_count; i++) {
        (void)inflateEnd(s->checkpoints[i]);
        alloc_release(&allocator, s->checkpoints[i], sizeof(z_stream));
    }
    alloc_release(&allocator, s->checkpoints, s->checkpoint_capacity * sizeof *s->checkpoints);
    if (s->has_current) {
        (void)inflateEnd(&s->current);
    }
    alloc_release(&allocator, s->unpacked, s->size);
    file_map_close(&s->map);
    (void)pthread_mutex_destroy(&s->lock);
    alloc_release(&allocator, s, sizeof *s);
}

size_t byte_source_size(const byte_source *s)
{
    return s->size;
}

/* Moves the unpacker to `offset`, from where it is or from the last checkpoint before. */
static spry_status seek(byte_source *s, size_t offset, spry_error *error)
{
    size_t checkpoint = offset / CHECKPOINT_BYTES;
    uint8_t skipped[1024];

    if (!s->has_current || offset < s->position || checkpoint > s->position / CHECKPOINT_BYTES) {
        if (s->has_current) {
            (void)inflateEnd(&s->current);
        }
        s->has_current = false;
        if (inflateCopy(&s->current, s->checkpoints[checkpoint]) != Z_OK) {
            return alloc_failed(error, sizeof s->current);
        }
        s->has_current = true;
        s->position = checkpoint * CHECKPOINT_BYTES;
    }
    while (s->position < offset) {
        size_t left = offset - s->position;
        size_t done;

        if (!unpack(s, &s->current, skipped, left < sizeof skipped ? left : sizeof skipped,
                    &done) ||
            done == 0) {
            return damaged(s, error);
        }
        s->position += done;
    }
    return SPRY_OK;
}

/* Unpacks everything for good. Does nothing where memory is short: reading works without. */
static spry_status settle(byte_source *s, spry_error *error)
{
    uint8_t *all = alloc_bytes(&s->allocator, s->size);
    size_t done = 0;
    spry_status status = all != NULL ? seek(s, 0, error) : SPRY_OK;

    if (all == NULL || status != SPRY_OK) {
        s->resident = 0;
        alloc_release(&s->allocator, all, s->size);
        return status;
    }
    if (!unpack(s, &s->current, all, s->size, &done) || done != s->size) {
        alloc_release(&s->allocator, all, s->size);
        return damaged(s, error);
    }
    s->position = s->size;
    s->unpacked = all;
    return SPRY_OK;
}

static spry_status read_packed(byte_source *s, size_t offset, void *to, size_t size,
                               spry_error *error)
{
    spry_status status = SPRY_OK;
    size_t done;

    if (s->unpacked == NULL && offset < s->position && s->size <= s->resident) {
        status = settle(s, error);
    }
    if (status == SPRY_OK && s->unpacked != NULL) {
        memcpy(to, s->unpacked + offset, size);
        return SPRY_OK;
    }
    if (status == SPRY_OK) {
        status = seek(s, offset, error);
    }
    if (status != SPRY_OK) {
        return status;
    }
    if (!unpack(s, &s->current, to, size, &done) || done != size) {
        return damaged(s, error);
    }
    s->position += size;
    return SPRY_OK;
}

spry_status byte_source_read(byte_source *s, size_t offset, void *to, size_t size,
                             spry_error *error)
{
    spry_status status;

    if (offset > s->size || size > s->size - offset) {
        return spry_fail(error, SPRY_BAD_INPUT, s->path, "copy the file again",
                         "is shorter than its header announces");
    }
    if (size == 0) {
        return SPRY_OK;
    }
    if (s->checkpoints == NULL) {
        memcpy(to, s->map.data + offset, size);
        return SPRY_OK;
    }
    (void)pthread_mutex_lock(&s->lock);
    status = read_packed(s, offset, to, size, error);
    (void)pthread_mutex_unlock(&s->lock);
    return status;
}
