/* Reading and writing of plan files. */
#include "runtime/cache/plan_file.h"

#include <string.h>

#include "base/hash64.h"

enum { VERSION = 1, MOST_RECORDS = 1 << 20 };

static const char magic[8] = {'S', 'P', 'R', 'Y', 'P', 'L', 'A', 'N'};

typedef struct plan_header {
    char magic[8];
    uint32_t version;
    uint32_t record_bytes; /* of one */
    uint64_t key;
    uint64_t count;
    uint64_t file_bytes;
    uint64_t check; /* of header and records, itself being 0 */
    uint64_t unused[2];
} plan_header;

_Static_assert(sizeof(plan_header) == PLAN_FILE_ALIGN, "records follow the header");
_Static_assert(sizeof(plan_record) == 48, "a record has no holes");

static uint64_t align_up(uint64_t offset)
{
    return (offset + PLAN_FILE_ALIGN - 1) / PLAN_FILE_ALIGN * PLAN_FILE_ALIGN;
}

static uint64_t check_of(plan_header header, const void *records)
{
    header.check = 0;
    return hash64(records, header.count * sizeof(plan_record), hash64(&header, sizeof header, 0));
}

plan_record plan_file_record(const plan_file *file, int64_t index)
{
    plan_record r;

    memcpy(&r, file->data + sizeof(plan_header) + (size_t)index * sizeof r, sizeof r);
    return r;
}

static bool is_inside(const plan_file *file, const plan_record *r)
{
    return r->offset % PLAN_FILE_ALIGN == 0 && r->offset <= file->size &&
           r->bytes <= file->size - r->offset && r->refused <= 1 && r->step >= 0;
}

const char *plan_file_read(const uint8_t *data, size_t size, uint64_t key, plan_file *file)
{
    plan_header header;
    int32_t step = 0;

    *file = (plan_file){0};
    if (size < sizeof header) {
        return "it is cut short";
    }
    memcpy(&header, data, sizeof header);
    if (memcmp(header.magic, magic, sizeof magic) != 0) {
        return "it is no plan file";
    }
    if (header.version != VERSION || header.record_bytes != sizeof(plan_record)) {
        return "another version of Spry wrote it";
    }
    if (header.key != key) {
        return "it is of another model, build or machine";
    }
    if (header.file_bytes != size || header.count > MOST_RECORDS ||
        header.count * sizeof(plan_record) > size - sizeof header) {
        return "it is cut short";
    }
    if (header.check != check_of(header, data + sizeof header)) {
        return "it is damaged";
    }
    *file = (plan_file){data, size, (int64_t)header.count};
    for (int64_t i = 0; i < file->count; i++) {
        plan_record r = plan_file_record(file, i);

        if (!is_inside(file, &r) || r.step < step) {
            return "it is damaged";
        }
        step = r.step;
    }
    return NULL;
}

/* ---- the blobs ---- */

/* Large blobs are hashed in pieces by several threads; the hashes of pieces are hashed. */
enum { PIECE = 1 << 18 };

static uint64_t hash_blob(const uint8_t *bytes, uint64_t size)
{
    uint64_t hash = 0;

    for (uint64_t at = 0; at < size; at += PIECE) {
        hash = hash64(bytes + at, size - at < PIECE ? size - at : PIECE, hash);
    }
    return hash;
}

typedef struct whole_run {
    const plan_file *file;
    _Atomic(bool) *is_bad;
} whole_run;

static void check_blobs(void *context, int64_t begin, int64_t end, int worker)
{
    const whole_run *r = context;

    (void)worker;
    for (int64_t i = begin; i < end && !*r->is_bad; i++) {
        plan_record blob = plan_file_record(r->file, i);

        if (hash_blob(r->file->data + blob.offset, blob.bytes) != blob.check) {
            *r->is_bad = true;
        }
    }
}

bool plan_file_is_whole(const plan_file *file, threads *team)
{
    _Atomic(bool) is_bad = false;
    whole_run run = {file, &is_bad};

    threads_for(team, file->count, 1, check_blobs, &run);
    return !is_bad;
}

/* ---- writing ---- */

typedef struct hash_run {
    plan_record *records;
    const void *const *blobs;
} hash_run;

static void hash_blobs(void *context, int64_t begin, int64_t end, int worker)
{
    const hash_run *r = context;

    (void)worker;
    for (int64_t i = begin; i < end; i++) {
        r->records[i].check = hash_blob(r->blobs[i], r->records[i].bytes);
    }
}

static spry_status pad_to(file_writer *writer, uint64_t offset, spry_error *error)
{
    static const uint8_t zeros[PLAN_FILE_ALIGN];

    return file_writer_append(writer, zeros, (size_t)(offset - file_writer_offset(writer)), error);
}

spry_status plan_file_write(file_writer *writer, uint64_t key, plan_record *records,
                            const void *const *blobs, int64_t count, threads *team,
                            spry_error *error)
{
    size_t record_bytes = (size_t)count * sizeof *records;
    plan_header header = {
        .version = VERSION, .record_bytes = sizeof *records, .key = key, .count = (uint64_t)count};
    hash_run run = {records, blobs};
    uint64_t at = align_up(sizeof header + record_bytes);
    spry_status status;

    memcpy(header.magic, magic, sizeof magic);
    threads_for(team, count, 1, hash_blobs, &run);
    for (int64_t i = 0; i < count; i++) {
        records[i].offset = at;
        at = align_up(at + records[i].bytes);
    }
    header.file_bytes = at;
    header.check = check_of(header, records);
    status = file_writer_append(writer, &header, sizeof header, error);
    if (status == SPRY_OK) {
        status = file_writer_append(writer, records, record_bytes, error);
    }
    for (int64_t i = 0; i < count && status == SPRY_OK; i++) {
        status = pad_to(writer, records[i].offset, error);
        if (status == SPRY_OK) {
            status = file_writer_append(writer, blobs[i], (size_t)records[i].bytes, error);
        }
    }
    return status == SPRY_OK ? pad_to(writer, at, error) : status;
}
