/* Inputs from files. */
#include <string.h>
#include <strings.h>

#include "measure/feed.h"
#include "spry/image.h"
#include "spry/tensor_file.h"
#include "tensor/convert.h"

typedef enum feed_format { FEED_PICTURE, FEED_NPY, FEED_ARCHIVE, FEED_RAW } feed_format;

static feed_format format_of(const char *path)
{
    static const struct {
        const char *ending;
        feed_format format;
    } endings[] = {{".npy", FEED_NPY},
                   {".npz", FEED_ARCHIVE},
                   {".safetensors", FEED_ARCHIVE},
                   {".bin", FEED_RAW},
                   {".raw", FEED_RAW}};
    size_t length = strlen(path);

    for (size_t i = 0; i < sizeof endings / sizeof *endings; i++) {
        size_t size = strlen(endings[i].ending);

        if (length >= size && strcasecmp(path + length - size, endings[i].ending) == 0) {
            return endings[i].format;
        }
    }
    return FEED_PICTURE;
}

/* Copies all elements through the widest type that holds them. */
static void convert_elements(tensor *to, const tensor *from, bool is_float)
{
    for (int64_t start = 0; start < tensor_count(from); start += CONVERT_BLOCK) {
        union {
            float f[CONVERT_BLOCK];
            int64_t i[CONVERT_BLOCK];
        } block;
        int64_t left = tensor_count(from) - start;
        int64_t count = left < CONVERT_BLOCK ? left : CONVERT_BLOCK;

        if (is_float) {
            convert_read_f32(from, start, count, block.f);
            convert_write_f32(to, start, count, block.f);
        } else {
            convert_read_i64(from, start, count, block.i);
            convert_write_i64(to, start, count, block.i);
        }
    }
}

/* NumPy's files hold types that NumPy lacks in the next wider one. */
static bool is_widened(spry_dtype wanted, spry_dtype held)
{
    dtype_class class = dtype_class_of(wanted);

    if (wanted == held) {
        return false;
    }
    if (class == DTYPE_CLASS_FLOAT) {
        return held == SPRY_DTYPE_F32 && wanted != SPRY_DTYPE_F16 && wanted != SPRY_DTYPE_F64;
    }
    return spry_dtype_bits(wanted) < 8 &&
           ((class == DTYPE_CLASS_SIGNED && held == SPRY_DTYPE_I8) ||
            (class == DTYPE_CLASS_UNSIGNED && held == SPRY_DTYPE_U8));
}

/* Puts `content`, which stays the caller's, into the input as a copy or narrowed. */
static spry_status put_copy(spry_feed *feed, feed_input *input, const spry_tensor *content,
                            spry_error *error)
{
    spry_dtype wanted = input->port.dtype;
    spry_tensor *copy = NULL;
    spry_status status;

    if (!is_widened(wanted, content->dtype)) {
        status = spry_tensor_copy(&feed->allocator, content, &copy, error);
    } else {
        status = spry_tensor_create(&feed->allocator, wanted, content->rank, content->shape, &copy,
                                    error);
        if (status == SPRY_OK) {
            convert_elements(copy, content, dtype_class_of(wanted) == DTYPE_CLASS_FLOAT);
        }
    }
    return status == SPRY_OK ? feed_put(feed, input, copy, error) : status;
}

/* ---- one format each ---- */

static spry_status load_npy(spry_feed *feed, feed_input *input, const char *path, spry_error *error)
{
    spry_tensor *content = NULL;
    spry_status status = spry_tensor_load(&feed->allocator, path, &content, error);

    if (status != SPRY_OK) {
        return status;
    }
    if (!is_widened(input->port.dtype, content->dtype)) {
        return feed_put(feed, input, content, error);
    }
    status = put_copy(feed, input, content, error);
    spry_tensor_destroy(content);
    return status;
}

static spry_status load_raw(spry_feed *feed, feed_input *input, const char *path, spry_error *error)
{
    int64_t shape[SPRY_TENSOR_MAX_RANK];
    spry_tensor *content = NULL;
    spry_status status;

    if (input->port.rank < 0) {
        return spry_fail(error, SPRY_USAGE, path, "give this input as .npy",
                         "bare elements do not say a shape, nor does the model for input %s",
                         input->port.name);
    }
    feed_shape(feed, input, 1, shape);
    status = spry_tensor_load_raw(&feed->allocator, path, input->port.dtype, input->port.rank,
                                  shape, &content, error);
    return status == SPRY_OK ? feed_put(feed, input, content, error) : status;
}

static spry_status load_picture(spry_feed *feed, feed_input *input, const char *path,
                                const spry_preprocess *recipe, spry_error *error)
{
    spry_preprocess plain = spry_preprocess_default();
    int64_t shape[SPRY_TENSOR_MAX_RANK];
    spry_tensor *picture = NULL;
    spry_tensor *content = NULL;
    spry_status status;

    if (input->port.rank < 0) {
        return spry_fail(error, SPRY_USAGE, path, "give this input as .npy",
                         "the model does not say what shape input %s has", input->port.name);
    }
    status = spry_image_load(&feed->allocator, path, &picture, error);
    if (status != SPRY_OK) {
        return status;
    }
    feed_shape(feed, input, -1, shape);
    status = spry_preprocess_image(&feed->allocator, recipe != NULL ? recipe : &plain, picture,
                                   input->port.dtype, input->port.rank, shape, &content, error);
    spry_tensor_destroy(picture);
    return status == SPRY_OK ? feed_put(feed, input, content, error) : status;
}

static spry_status put_entry(spry_feed *feed, feed_input *input, spry_archive *archive,
                             int32_t index, spry_error *error)
{
    const spry_tensor *content = NULL;
    spry_status status = spry_archive_tensor(archive, index, &content, error);

    return status == SPRY_OK ? put_copy(feed, input, content, error) : status;
}

static spry_status put_entries(spry_feed *feed, spry_archive *archive, const char *path,
                               spry_error *error)
{
    spry_status status = SPRY_OK;
    int32_t taken = 0;

    if (spry_archive_count(archive) == 1 && feed->input_count == 1) {
        return put_entry(feed, &feed->inputs[0], archive, 0, error);
    }
    for (int32_t i = 0; i < feed->input_count && status == SPRY_OK; i++) {
        int32_t entry = spry_archive_find(archive, feed->inputs[i].port.name);

        if (entry >= 0) {
            status = put_entry(feed, &feed->inputs[i], archive, entry, error);
            taken++;
        }
    }
    if (status == SPRY_OK && taken == 0) {
        return spry_fail(error, SPRY_USAGE, path, "name the input: NAME=FILE",
                         "no entry is called like an input of the model");
    }
    return status;
}

static spry_status load_archive(spry_feed *feed, feed_input *input, const char *path,
                                spry_error *error)
{
    spry_archive *archive = NULL;
    spry_status status = spry_archive_open(&feed->allocator, path, &archive, error);
    int32_t entry;

    if (status != SPRY_OK) {
        return status;
    }
    if (input == NULL) {
        status = put_entries(feed, archive, path, error);
    } else {
        entry = spry_archive_find(archive, input->port.name);
        entry = entry < 0 && spry_archive_count(archive) == 1 ? 0 : entry;
        status = entry >= 0
                     ? put_entry(feed, input, archive, entry, error)
                     : spry_fail(error, SPRY_USAGE, path, NULL,
                                 "it has several entries, and none is called %s", input->port.name);
    }
    spry_archive_close(archive);
    return status;
}

spry_status spry_feed_load(spry_feed *feed, const char *name, const char *path,
                           const spry_preprocess *recipe, spry_error *error)
{
    feed_input *input = name != NULL ? feed_find(feed, name) : NULL;
    feed_format format = format_of(path);

    if (name != NULL && input == NULL) {
        return spry_fail(error, SPRY_USAGE, name, "spry inspect lists the inputs",
                         "the model has no input of this name");
    }
    if (format == FEED_ARCHIVE) {
        return load_archive(feed, input, path, error);
    }
    if (input == NULL && feed->input_count != 1) {
        return spry_fail(error, SPRY_USAGE, path, "name the input: NAME=FILE",
                         "the model has %d inputs", feed->input_count);
    }
    input = input != NULL ? input : &feed->inputs[0];
    switch (format) {
    case FEED_NPY: return load_npy(feed, input, path, error);
    case FEED_RAW: return load_raw(feed, input, path, error);
    default: return load_picture(feed, input, path, recipe, error);
    }
}
