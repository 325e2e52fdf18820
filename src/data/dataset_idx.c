/* MNIST's IDX form: two files, found from either of their names.
 *
 *   0 0 type axes | size of each axis, 4 bytes big-endian | elements */
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/files.h"
#include "base/limits.h"
#include "data/byte_source.h"
#include "data/dataset.h"

/* MNIST's training pictures have 47 MB. */
enum { RESIDENT_BYTES = 64 << 20 };

enum { TYPE_U8 = 8, PATH_BYTES = 4096, LABELS_AT_ONCE = 4096 };

static const char images_part[] = "images-idx3-ubyte";
static const char labels_part[] = "labels-idx1-ubyte";

typedef struct idx_state {
    byte_source *images;
    int64_t height;
    int64_t width;
    size_t data_offset;
} idx_state;

/* `stem` followed by `part`, and by ".gz" where only that exists. False: too long or absent. */
static bool find_file(const char *stem, size_t stem_length, const char *part, char path[PATH_BYTES])
{
    static const char *const endings[] = {"", ".gz"};

    for (size_t i = 0; i < sizeof endings / sizeof endings[0]; i++) {
        int length =
            snprintf(path, PATH_BYTES, "%.*s%s%s", (int)stem_length, stem, part, endings[i]);

        if (length > 0 && length < PATH_BYTES && file_exists(path)) {
            return true;
        }
    }
    return false;
}

/* Both files beside each other: stem is what comes before "images-..." or "labels-...". */
static bool find_pair(const char *stem, size_t length, char images[PATH_BYTES],
                      char labels[PATH_BYTES])
{
    return length < PATH_BYTES && find_file(stem, length, images_part, images) &&
           find_file(stem, length, labels_part, labels);
}

static spry_status find_files(const spry_dataset *d, char images[PATH_BYTES],
                              char labels[PATH_BYTES], spry_error *error)
{
    static const char *const suffixes[] = {"-", "/t10k-", "/train-"};
    const char *name = strrchr(d->path, '/') != NULL ? strrchr(d->path, '/') : d->path;
    const char *part = strstr(name, images_part);
    char stem[PATH_BYTES];

    part = part != NULL ? part : strstr(name, labels_part);
    if (part != NULL && find_pair(d->path, (size_t)(part - d->path), images, labels)) {
        return SPRY_OK;
    }
    for (size_t i = 0; i < sizeof suffixes / sizeof suffixes[0]; i++) {
        int length = snprintf(stem, sizeof stem, "%s%s", d->path, suffixes[i]);

        if (length > 0 && length < PATH_BYTES && find_pair(stem, (size_t)length, images, labels)) {
            return SPRY_OK;
        }
    }
    return spry_fail(error, SPRY_IO, d->path,
                     "give PREFIX of PREFIX-images-idx3-ubyte and PREFIX-labels-idx1-ubyte",
                     "the two IDX files (plain or .gz) are not there");
}

/* Reads and checks a header of `axes` axes; the file must have exactly the announced size. */
static spry_status read_header(byte_source *source, const char *path, int axes, int64_t *sizes,
                               spry_error *error)
{
    uint8_t bytes[4 + 4 * 3];
    size_t header = 4 + 4 * (size_t)axes;
    uint64_t total = 1;
    spry_status status = byte_source_read(source, 0, bytes, header, error);

    if (status != SPRY_OK) {
        return status;
    }
    if (bytes[0] != 0 || bytes[1] != 0 || bytes[2] != TYPE_U8 || bytes[3] != axes) {
        return spry_fail(error, SPRY_BAD_INPUT, path, NULL,
                         "is not an IDX file of bytes with %d axes", axes);
    }
    for (int i = 0; i < axes; i++) {
        const uint8_t *b = bytes + 4 + 4 * i;

        sizes[i] = (int64_t)b[0] << 24 | (int64_t)b[1] << 16 | (int64_t)b[2] << 8 | (int64_t)b[3];
        total = total > UINT32_MAX ? total : total * (uint64_t)sizes[i];
        if (i > 0 && (sizes[i] == 0 || sizes[i] > LIMIT_IMAGE_PIXELS)) {
            return spry_fail(error, SPRY_BAD_INPUT, path, NULL, "its pictures have no usable size");
        }
    }
    if (byte_source_size(source) - header != total) {
        return spry_fail(error, SPRY_BAD_INPUT, path, "copy the file again",
                         "has %zu bytes of data, not as many as its header announces",
                         byte_source_size(source) - header);
    }
    return SPRY_OK;
}

static spry_status read_labels(spry_dataset *d, const char *path, spry_error *error)
{
    byte_source *source = NULL;
    uint8_t block[LABELS_AT_ONCE];
    int64_t count = 0;
    spry_status status = byte_source_open(&d->allocator, path, 0, &source, error);

    if (status == SPRY_OK) {
        status = read_header(source, path, 1, &count, error);
    }
    if (status == SPRY_OK && count != d->count) {
        status = spry_fail(error, SPRY_BAD_INPUT, path, "take both files from the same set",
                           "there are %lld labels for %lld pictures", (long long)count,
                           (long long)d->count);
    }
    if (status == SPRY_OK) {
        d->labels = dataset_array(d, (size_t)count, sizeof *d->labels);
        status = d->labels != NULL ? SPRY_OK : alloc_failed(error, (size_t)count);
    }
    for (int64_t done = 0; status == SPRY_OK && done < count; done += LABELS_AT_ONCE) {
        int64_t n = count - done < LABELS_AT_ONCE ? count - done : LABELS_AT_ONCE;

        status = byte_source_read(source, 8 + (size_t)done, block, (size_t)n, error);
        for (int64_t i = 0; status == SPRY_OK && i < n; i++) {
            d->labels[done + i] = block[i];
        }
    }
    byte_source_close(source);
    return status;
}

static spry_status open_set(spry_dataset *d, spry_error *error)
{
    char images[PATH_BYTES];
    char labels[PATH_BYTES];
    int64_t sizes[3] = {0};
    idx_state *state = dataset_array(d, 1, sizeof *state);
    spry_status status = find_files(d, images, labels, error);

    if (status != SPRY_OK || state == NULL) {
        return status != SPRY_OK ? status : alloc_failed(error, sizeof *state);
    }
    d->state = state;
    status = byte_source_open(&d->allocator, images, RESIDENT_BYTES, &state->images, error);
    if (status == SPRY_OK) {
        status = read_header(state->images, images, 3, sizes, error);
    }
    if (status != SPRY_OK) {
        return status;
    }
    d->count = sizes[0];
    d->pictures = true;
    state->height = sizes[1];
    state->width = sizes[2];
    state->data_offset = 16;
    return read_labels(d, labels, error);
}

static spry_status read_picture(spry_dataset *d, const spry_allocator *allocator, int64_t index,
                                tensor *sample, spry_error *error)
{
    idx_state *state = d->state;
    const int64_t shape[] = {state->height, state->width, 1};
    spry_status status = tensor_init_owned(sample, allocator, SPRY_DTYPE_U8, 3, shape, error);

    if (status != SPRY_OK) {
        return status;
    }
    status = byte_source_read(state->images, state->data_offset + (size_t)index * sample->bytes,
                              sample->data, sample->bytes, error);
    if (status != SPRY_OK) {
        tensor_fini(sample);
    }
    return status;
}

static void close_set(spry_dataset *d)
{
    idx_state *state = d->state;

    if (state != NULL) {
        byte_source_close(state->images);
    }
}

const dataset_kind dataset_idx = {"idx", open_set, read_picture, close_set};
