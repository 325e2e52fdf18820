/* Samples and labels as named arrays of an archive: NPZ or safetensors. What lies there as bare
 * elements is read sample by sample; deflated or converted arrays are unpacked once. */
#include <math.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/files.h"
#include "base/limits.h"
#include "base/text.h"
#include "data/dataset.h"
#include "data/dataset_memory.h"
#include "tensor/convert.h"
#include "tensor/npz.h"
#include "tensor/safetensors.h"
#include "tensor/tensor_file.h"

enum { MOST_DESCRIPTION = 1 << 16 };

typedef struct arrays_state {
    const char *file;        /* the path without the array */
    const char *array;       /* the samples' name, behind the path; NULL: not said */
    tensor_storage *storage; /* the mapped file */
    npz *zipped;             /* one of the two */
    safetensors *safe;
    npz_stream *stream;   /* of the samples, or NULL: they are in `all` */
    pthread_mutex_t lock; /* of the stream, when there is one */
    tensor all;
    npy_layout layout; /* of the samples */
    int64_t sample_shape[SPRY_TENSOR_MAX_RANK];
    int sample_rank;
    bool planes; /* pictures stored as [C,H,W] */
    bool quantized;
    double scale;
    double zero_point;
} arrays_state;

static int32_t entry_count(const arrays_state *s)
{
    return s->zipped != NULL ? npz_count(s->zipped) : safetensors_count(s->safe);
}

static const char *entry_name(const arrays_state *s, int32_t entry)
{
    return s->zipped != NULL ? npz_name(s->zipped, entry) : safetensors_at(s->safe, entry)->name;
}

static spry_status entry_read(const arrays_state *s, int32_t entry, tensor *t, spry_error *error)
{
    return s->zipped != NULL ? npz_read(s->zipped, entry, t, error)
                             : safetensors_read(s->safe, entry, t, error);
}

/* Entry whose name is one of `names`, or starts with one and an underscore ("images_u8_nhwc"). */
static int32_t find_entry(const arrays_state *s, const char *const *names, size_t count)
{
    for (size_t n = 0; n < count; n++) {
        size_t length = strlen(names[n]);

        for (int32_t i = 0; i < entry_count(s); i++) {
            const char *name = entry_name(s, i);

            if (strncmp(name, names[n], length) == 0 &&
                (name[length] == '\0' || name[length] == '_')) {
                return i;
            }
        }
    }
    return -1;
}

/* Entry of that name alone. */
static int32_t find_exactly(const arrays_state *s, const char *name)
{
    for (int32_t i = 0; i < entry_count(s); i++) {
        if (strcmp(entry_name(s, i), name) == 0) {
            return i;
        }
    }
    return -1;
}

static bool is_numeric(spry_dtype dtype)
{
    dtype_class kind = dtype_class_of(dtype);

    return kind == DTYPE_CLASS_FLOAT || kind == DTYPE_CLASS_SIGNED || kind == DTYPE_CLASS_UNSIGNED;
}

/* Opens the samples to be read one by one where the archive has them stored, else as a whole. */
static spry_status open_samples(spry_dataset *d, arrays_state *s, int32_t entry, spry_error *error)
{
    bool streamable = false;
    spry_status status;

    if (s->zipped != NULL) {
        status = npz_layout(s->zipped, entry, &s->layout, &streamable, error);
    } else {
        const safetensors_entry *e = safetensors_at(s->safe, entry);

        s->layout = (npy_layout){.dtype = e->dtype, .rank = e->rank};
        memcpy(s->layout.shape, e->shape, sizeof e->shape);
        status = SPRY_OK;
    }
    if (status != SPRY_OK) {
        return status;
    }
    if (s->layout.rank < 1 ||
        (!is_numeric(s->layout.dtype) && s->layout.dtype != SPRY_DTYPE_BOOL) ||
        spry_dtype_bits(s->layout.dtype) < 8) {
        return spry_fail(error, SPRY_UNSUPPORTED, d->path, "save a numeric array [samples, ...]",
                         "array '%s' does not hold samples", entry_name(s, entry));
    }
    d->count = s->layout.shape[0];
    if (!streamable) {
        return entry_read(s, entry, &s->all, error);
    }
    if (pthread_mutex_init(&s->lock, NULL) != 0) {
        return alloc_failed(error, 0);
    }
    status = npz_stream_open(s->zipped, entry, &s->stream, error);
    if (status != SPRY_OK) {
        (void)pthread_mutex_destroy(&s->lock);
    }
    return status;
}

/* Which axis has the channels, if samples are pictures at all? */
static void choose_shape(spry_dataset *d, arrays_state *s)
{
    const int64_t *axes = s->layout.shape + 1;
    int rank = s->layout.rank - 1;
    bool last = rank == 3 && (axes[2] == 1 || axes[2] == 3);
    bool first = rank == 3 && (axes[0] == 1 || axes[0] == 3);

    s->sample_rank = rank;
    memcpy(s->sample_shape, axes, (size_t)rank * sizeof *axes);
    /* Of an array that was asked for by name, [M,H,W] are tables of numbers. */
    d->pictures =
        s->layout.dtype == SPRY_DTYPE_U8 && ((rank == 2 && s->array == NULL) || first || last);
    for (int i = 0; i < rank; i++) {
        d->pictures = d->pictures && axes[i] > 0;
    }
    s->planes = d->pictures && first && !last;
    if (d->pictures && rank == 2) {
        s->sample_rank = 3;
        s->sample_shape[2] = 1;
    }
}

static spry_status read_labels(spry_dataset *d, arrays_state *s, int32_t entry, spry_error *error)
{
    tensor labels;
    spry_status status = entry_read(s, entry, &labels, error);

    if (status != SPRY_OK) {
        return status;
    }
    if (tensor_count(&labels) != d->count || !is_numeric(labels.dtype)) {
        status = spry_fail(error, SPRY_BAD_INPUT, d->path, "save one class number per sample",
                           "there are %lld samples but %lld labels (%s)", (long long)d->count,
                           (long long)tensor_count(&labels), spry_dtype_name(labels.dtype));
    } else {
        d->labels = dataset_array(d, (size_t)d->count, sizeof *d->labels);
        status = d->labels != NULL ? SPRY_OK : alloc_failed(error, (size_t)d->count);
    }
    for (int64_t i = 0; status == SPRY_OK && i < d->count; i++) {
        double label = convert_get_f64(&labels, i);

        if (!(label >= 0 && label <= DATASET_MAX_CLASS) || label != floor(label)) {
            status = spry_fail(error, SPRY_BAD_INPUT, d->path, "number the classes from 0",
                               "sample %lld has the class %g in array '%s'", (long long)i, label,
                               entry_name(s, entry));
        } else {
            d->labels[i] = (int32_t)label;
        }
    }
    tensor_fini(&labels);
    return status;
}

/* The single number in an entry, if there is one. */
static spry_status read_scalar(arrays_state *s, const char *name, bool *found, double *value,
                               spry_error *error)
{
    int32_t entry = find_entry(s, &name, 1);
    tensor scalar;
    spry_status status;

    *found = entry >= 0;
    if (entry < 0) {
        return SPRY_OK;
    }
    status = entry_read(s, entry, &scalar, error);
    if (status == SPRY_OK) {
        *found = tensor_count(&scalar) == 1 && is_numeric(scalar.dtype);
        *value = *found ? convert_get_f64(&scalar, 0) : 0.0;
        *found = *found && isfinite(*value);
        tensor_fini(&scalar);
    }
    return status;
}

static spry_status read_quantization(arrays_state *s, spry_error *error)
{
    bool has_scale = false;
    bool has_zero = false;
    spry_status status = read_scalar(s, "scale", &has_scale, &s->scale, error);

    if (status == SPRY_OK) {
        status = read_scalar(s, "zero_point", &has_zero, &s->zero_point, error);
    }
    s->quantized = s->array == NULL && has_scale && has_zero &&
                   dtype_class_of(s->layout.dtype) != DTYPE_CLASS_FLOAT;
    return status;
}

static spry_status open_archive(spry_dataset *d, arrays_state *s, spry_error *error)
{
    const uint8_t *bytes;
    size_t size;
    spry_status status = tensor_file_map(&d->allocator, s->file, LIMIT_MODEL_BYTES, &s->storage,
                                         &bytes, &size, error);

    if (status != SPRY_OK) {
        return status;
    }
    return d->kind == &dataset_npz
               ? npz_open(&d->allocator, bytes, size, s->file, &s->zipped, error)
               : safetensors_open(&d->allocator, bytes, size, s->storage, s->file, &s->safe, error);
}

/* "file@array", where that is not a file's name. */
static spry_status split_path(spry_dataset *d, arrays_state *s, spry_error *error)
{
    const char *at = file_exists(d->path) ? NULL : strrchr(d->path, '@');

    s->file = d->path;
    if (at != NULL) {
        s->file = arena_text(&d->memory, d->path, (size_t)(at - d->path));
        s->array = at + 1;
    }
    return s->file != NULL ? SPRY_OK : alloc_failed(error, strlen(d->path));
}

/* Samples of several arrays go by the first that could be one. */
static int32_t any_samples(const arrays_state *s, int32_t labels)
{
    for (int32_t i = 0; i < entry_count(s); i++) {
        if (i != labels) {
            return i;
        }
    }
    return -1;
}

static int32_t find_samples(const arrays_state *s, int32_t labels)
{
    static const char *const names[] = {"images", "data", "x", "features"};
    int32_t found = s->array != NULL ? find_exactly(s, s->array)
                                     : find_entry(s, names, sizeof names / sizeof names[0]);

    return found < 0 && s->array == NULL ? any_samples(s, labels) : found;
}

static spry_status open_set(spry_dataset *d, spry_error *error)
{
    static const char *const label_names[] = {"labels", "y"};
    arrays_state *s = dataset_array(d, 1, sizeof *s);
    int32_t samples;
    int32_t labels;
    spry_status status;

    if (s == NULL) {
        return alloc_failed(error, sizeof *s);
    }
    d->state = s;
    status = split_path(d, s, error);
    if (status == SPRY_OK) {
        status = open_archive(d, s, error);
    }
    if (status != SPRY_OK) {
        return status;
    }
    labels = find_entry(s, label_names, sizeof label_names / sizeof label_names[0]);
    samples = find_samples(s, labels);
    if (samples < 0 || labels < 0) {
        return spry_fail(error, SPRY_BAD_INPUT, d->path,
                         "name the arrays images (or data, x, features) and labels (or y)",
                         "the archive has no array %s",
                         labels < 0         ? "of labels"
                         : s->array != NULL ? s->array
                                            : "of samples");
    }
    status = open_samples(d, s, samples, error);
    if (status == SPRY_OK) {
        status = read_labels(d, s, labels, error);
    }
    if (status == SPRY_OK) {
        status = read_quantization(s, error);
    }
    if (status == SPRY_OK) {
        choose_shape(d, s);
        d->pictures = d->pictures && !s->quantized;
    }
    return status;
}

/* The sample's elements as stored. */
static spry_status fetch(arrays_state *s, const spry_allocator *allocator, int64_t index,
                         tensor *sample, spry_error *error)
{
    spry_status status = tensor_init_owned(sample, allocator, s->layout.dtype, s->sample_rank,
                                           s->sample_shape, error);

    if (status != SPRY_OK) {
        return status;
    }
    if (s->stream != NULL) {
        (void)pthread_mutex_lock(&s->lock);
        status = npz_stream_read(s->stream, s->layout.data_offset + (size_t)index * sample->bytes,
                                 sample->data, sample->bytes, error);
        (void)pthread_mutex_unlock(&s->lock);
    } else if (sample->bytes > 0) {
        memcpy(sample->data, (const uint8_t *)s->all.data + (size_t)index * sample->bytes,
               sample->bytes);
    }
    if (status != SPRY_OK) {
        tensor_fini(sample);
    }
    return status;
}

/* Replaces integers by the numbers they stand for. */
static spry_status dequantize(const arrays_state *s, const spry_allocator *allocator,
                              tensor *sample, spry_error *error)
{
    int64_t count = tensor_count(sample);
    double block[CONVERT_BLOCK];
    tensor numbers;
    spry_status status =
        tensor_init_owned(&numbers, allocator, SPRY_DTYPE_F32, sample->rank, sample->shape, error);

    for (int64_t done = 0; done < count && status == SPRY_OK; done += CONVERT_BLOCK) {
        int64_t n = count - done < CONVERT_BLOCK ? count - done : CONVERT_BLOCK;

        convert_read_f64(sample, done, n, block);
        for (int64_t i = 0; i < n; i++) {
            block[i] = (block[i] - s->zero_point) * s->scale;
        }
        convert_write_f64(&numbers, done, n, block);
    }
    tensor_fini(sample);
    *sample = numbers;
    return status;
}

/* [C,H,W] to [H,W,C]. */
static spry_status interleave(const spry_allocator *allocator, tensor *sample, spry_error *error)
{
    static const int permutation[] = {1, 2, 0};
    tensor view;
    tensor dense;
    spry_status status = tensor_view_transpose(&view, sample, permutation, error);

    if (status == SPRY_OK) {
        status = tensor_init_copy(&dense, allocator, &view, error);
        tensor_fini(&view);
    }
    tensor_fini(sample);
    *sample = status == SPRY_OK ? dense : (tensor){0};
    return status;
}

static spry_status read_sample(spry_dataset *d, const spry_allocator *allocator, int64_t index,
                               tensor *sample, spry_error *error)
{
    arrays_state *s = d->state;
    spry_status status = fetch(s, allocator, index, sample, error);

    if (status == SPRY_OK && s->quantized) {
        status = dequantize(s, allocator, sample, error);
    }
    if (status == SPRY_OK && s->planes && d->pictures) {
        status = interleave(allocator, sample, error);
    }
    return status;
}

static void close_set(spry_dataset *d)
{
    arrays_state *s = d->state;

    if (s == NULL) {
        return;
    }
    if (s->stream != NULL) {
        npz_stream_close(s->stream);
        (void)pthread_mutex_destroy(&s->lock);
    }
    tensor_fini(&s->all);
    npz_close(s->zipped);
    safetensors_close(s->safe);
    tensor_storage_drop(s->storage);
}

spry_status dataset_open_array(const spry_dataset *d, const char *array, spry_dataset **made,
                               spry_error *error)
{
    const arrays_state *s = d->state;
    text name;
    spry_status status;

    *made = NULL;
    if (dataset_is_of_arrays(d)) {
        return dataset_other_array(d, array, made, error);
    }
    if (d->kind != &dataset_npz && d->kind != &dataset_safetensors) {
        return spry_fail(error, SPRY_UNSUPPORTED, d->path, "use npz or safetensors",
                         "samples of this kind hold no array '%s'", array);
    }
    text_init(&name, &d->allocator, MOST_DESCRIPTION);
    text_append_format(&name, "%s:%s@%s", d->kind->name, s->file, array);
    status = text_status(&name, "the name of a data set", error);
    if (status == SPRY_OK) {
        status = spry_dataset_open(&d->allocator, name.data, made, error);
    }
    text_fini(&name);
    return status;
}

const dataset_kind dataset_npz = {"npz", open_set, read_sample, close_set};
const dataset_kind dataset_safetensors = {"safetensors", open_set, read_sample, close_set};
