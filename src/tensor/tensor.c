/* Tensors: checked sizes, shared storage, strided views. */
#include "tensor/tensor.h"

#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/checked.h"
#include "base/limits.h"

_Static_assert((int)LIMIT_TENSOR_RANK == (int)SPRY_TENSOR_MAX_RANK, "one rank limit");

struct tensor_storage {
    _Atomic(int64_t) references;
    void *data;
    size_t bytes;
    tensor_storage_release release;
    void *context;
    spry_allocator allocator;
};

/* --- storage --------------------------------------------------------------------------------- */

tensor_storage *tensor_storage_create(const spry_allocator *allocator, void *data, size_t bytes,
                                      tensor_storage_release release, void *context)
{
    spry_allocator resolved = alloc_resolve(allocator);
    tensor_storage *storage = alloc_bytes(&resolved, sizeof *storage);

    if (storage == NULL) {
        return NULL;
    }
    atomic_init(&storage->references, 1);
    storage->data = data;
    storage->bytes = bytes;
    storage->release = release;
    storage->context = context;
    storage->allocator = resolved;
    return storage;
}

void tensor_storage_retain(tensor_storage *storage)
{
    if (storage != NULL) {
        atomic_fetch_add_explicit(&storage->references, 1, memory_order_relaxed);
    }
}

void tensor_storage_drop(tensor_storage *storage)
{
    spry_allocator allocator;

    if (storage == NULL ||
        atomic_fetch_sub_explicit(&storage->references, 1, memory_order_acq_rel) != 1) {
        return;
    }
    if (storage->release != NULL) {
        storage->release(storage->context, storage->data, storage->bytes);
    }
    allocator = storage->allocator;
    alloc_release(&allocator, storage, sizeof *storage);
}

static void release_heap(void *context, void *data, size_t bytes)
{
    alloc_release(context, data, bytes);
}

/* Memory and its storage. */
static tensor_storage *heap_storage(const spry_allocator *allocator, size_t bytes, bool zeroed)
{
    spry_allocator resolved = alloc_resolve(allocator);
    void *data = zeroed ? alloc_zeroed(&resolved, bytes) : alloc_bytes(&resolved, bytes);
    tensor_storage *storage;

    if (data == NULL) {
        return NULL;
    }
    storage = tensor_storage_create(&resolved, data, bytes, release_heap, NULL);
    if (storage == NULL) {
        alloc_release(&resolved, data, bytes);
        return NULL;
    }
    storage->context = &storage->allocator;
    return storage;
}

/* --- shapes ---------------------------------------------------------------------------------- */

/* Checks type, rank and dimensions; gives the number of elements and their bytes. The product of
 * the dimensions other than 0 must fit, too: then no stride and no partial product overflows. */
static spry_status check_shape(spry_dtype dtype, int rank, const int64_t *shape, size_t *bytes,
                               spry_error *error)
{
    int64_t product = 1;
    bool empty = false;
    size_t total;

    if (dtype <= SPRY_DTYPE_NONE || dtype >= SPRY_DTYPE_COUNT) {
        return spry_fail(error, SPRY_USAGE, "tensor", NULL, "%d is not an element type",
                         (int)dtype);
    }
    if (rank < 0 || rank > SPRY_TENSOR_MAX_RANK) {
        return spry_fail(error, SPRY_USAGE, "tensor", NULL, "rank %d is outside 0 to %d dimensions",
                         rank, SPRY_TENSOR_MAX_RANK);
    }
    if (rank > 0 && shape == NULL) {
        return spry_fail(error, SPRY_USAGE, "tensor", NULL, "the shape is missing");
    }
    for (int i = 0; i < rank; i++) {
        if (shape[i] < 0) {
            return spry_fail(error, SPRY_USAGE, "tensor", NULL, "dimension %d is negative (%lld)",
                             i, (long long)shape[i]);
        }
        if (shape[i] > LIMIT_TENSOR_DIMENSION) {
            return spry_fail(error, SPRY_LIMIT, "tensor", NULL,
                             "dimension %d has %lld elements; at most %lld are accepted", i,
                             (long long)shape[i], (long long)LIMIT_TENSOR_DIMENSION);
        }
        empty = empty || shape[i] == 0;
        if (!checked_mul_i64(product, shape[i] != 0 ? shape[i] : 1, &product)) {
            return spry_fail(error, SPRY_LIMIT, "tensor", NULL,
                             "the number of elements does not fit into 63 bits");
        }
    }
    if (!dtype_storage_bytes(dtype, product, &total) || total > PTRDIFF_MAX) {
        return spry_fail(error, SPRY_LIMIT, "tensor", NULL,
                         "the number of bytes does not fit into 63 bits");
    }
    *bytes = empty ? 0 : total;
    return SPRY_OK;
}

static void set_dense_strides(tensor *t)
{
    int64_t stride = 1;

    for (int i = t->rank - 1; i >= 0; i--) {
        t->stride[i] = stride;
        stride *= t->shape[i] != 0 ? t->shape[i] : 1;
    }
}

spry_status tensor_init(tensor *t, spry_dtype dtype, int rank, const int64_t *shape, void *data,
                        spry_error *error)
{
    size_t bytes;
    spry_status status = check_shape(dtype, rank, shape, &bytes, error);

    *t = (tensor){0};
    if (status != SPRY_OK) {
        return status;
    }
    t->dtype = dtype;
    t->rank = rank;
    for (int i = 0; i < rank; i++) {
        t->shape[i] = shape[i];
    }
    set_dense_strides(t);
    t->data = data;
    t->bytes = bytes;
    return SPRY_OK;
}

spry_status tensor_init_owned(tensor *t, const spry_allocator *allocator, spry_dtype dtype,
                              int rank, const int64_t *shape, spry_error *error)
{
    spry_status status = tensor_init(t, dtype, rank, shape, NULL, error);

    if (status != SPRY_OK) {
        return status;
    }
    t->storage = heap_storage(allocator, t->bytes, true);
    if (t->storage == NULL) {
        size_t bytes = t->bytes;

        *t = (tensor){0};
        return alloc_failed(error, bytes);
    }
    t->data = t->storage->data;
    return SPRY_OK;
}

spry_status tensor_init_bytes(tensor *t, const spry_allocator *allocator, int64_t size,
                              spry_error *error)
{
    *t = (tensor){.dtype = SPRY_DTYPE_U8, .rank = 1, .bytes = (size_t)size};
    t->shape[0] = size;
    t->stride[0] = 1;
    t->storage = heap_storage(allocator, t->bytes, false);
    if (t->storage == NULL) {
        return alloc_failed(error, t->bytes);
    }
    t->data = t->storage->data;
    return SPRY_OK;
}

void tensor_init_view(tensor *view, const tensor *source)
{
    *view = *source;
    view->allocator = (spry_allocator){0};
    tensor_storage_retain(view->storage);
}

void tensor_fini(tensor *t)
{
    tensor_storage_drop(t->storage);
    t->storage = NULL;
    t->data = NULL;
}

int64_t tensor_span(const tensor *t, int from, int to)
{
    int64_t product = 1;

    for (int i = from; i < to; i++) {
        product *= t->shape[i];
    }
    return product;
}

int64_t tensor_count(const tensor *t)
{
    return tensor_span(t, 0, t->rank);
}

bool tensor_is_dense(const tensor *t)
{
    int64_t stride = 1;

    if (tensor_count(t) == 0) {
        return true;
    }
    for (int i = t->rank - 1; i >= 0; i--) {
        if (t->shape[i] != 1 && t->stride[i] != stride) {
            return false;
        }
        stride *= t->shape[i];
    }
    return true;
}

bool tensor_same_shape(const tensor *a, const tensor *b)
{
    if (a->rank != b->rank) {
        return false;
    }
    for (int i = 0; i < a->rank; i++) {
        if (a->shape[i] != b->shape[i]) {
            return false;
        }
    }
    return true;
}

char *tensor_describe(const tensor *t, char *text, size_t size)
{
    size_t used;
    int length;

    if (size == 0) {
        return text;
    }
    length = snprintf(text, size, "%s[", spry_dtype_name(t->dtype));
    used = length < 0 ? size : (size_t)length;
    for (int i = 0; i < t->rank && used < size; i++) {
        length =
            snprintf(text + used, size - used, "%s%lld", i > 0 ? "," : "", (long long)t->shape[i]);
        used = length < 0 ? size : used + (size_t)length;
    }
    if (used < size) {
        (void)snprintf(text + used, size - used, "]");
    }
    return text;
}

/* --- strided views --------------------------------------------------------------------------- */

static spry_status refuse_view(spry_error *error, const char *reason)
{
    return spry_fail(error, SPRY_USAGE, "tensor view", NULL, "%s", reason);
}

/* Bytes from one element to the next; 0 for packed types, which have no strided views. */
static int64_t element_bytes(spry_dtype dtype)
{
    return dtype == SPRY_DTYPE_STRING ? (int64_t)sizeof(spry_text)
                                      : (int64_t)(spry_dtype_bits(dtype) / 8);
}

spry_status tensor_view_transpose(tensor *view, const tensor *source, const int *permutation,
                                  spry_error *error)
{
    uint32_t seen = 0;

    if (element_bytes(source->dtype) == 0) {
        return refuse_view(error, "packed types cannot be transposed without copying");
    }
    for (int i = 0; i < source->rank; i++) {
        int from = permutation[i];

        if (from < 0 || from >= source->rank || (seen >> from & 1u) != 0) {
            return refuse_view(error, "not a permutation of the axes");
        }
        seen |= 1u << from;
    }
    tensor_init_view(view, source);
    for (int i = 0; i < source->rank; i++) {
        view->shape[i] = source->shape[permutation[i]];
        view->stride[i] = source->stride[permutation[i]];
    }
    return SPRY_OK;
}

spry_status tensor_view_slice(tensor *view, const tensor *source, const int64_t *start,
                              const int64_t *step, const int64_t *count, spry_error *error)
{
    int64_t size = element_bytes(source->dtype);
    int64_t offset = 0;
    bool empty = false;

    if (size == 0) {
        return refuse_view(error, "packed types cannot be sliced without copying");
    }
    for (int i = 0; i < source->rank; i++) {
        int64_t dimension = source->shape[i];
        int64_t reach = step[i] < 0 ? start[i] : dimension - 1 - start[i];

        if (count[i] < 0 || step[i] == 0 || step[i] == INT64_MIN) {
            return refuse_view(error, "a count is negative or a step is 0");
        }
        empty = empty || count[i] == 0;
        if (count[i] > 0 &&
            (start[i] < 0 || start[i] >= dimension ||
             (count[i] > 1 && reach / (step[i] < 0 ? -step[i] : step[i]) < count[i] - 1))) {
            return refuse_view(error, "the slice reaches outside the tensor");
        }
    }
    tensor_init_view(view, source);
    for (int i = 0; i < source->rank; i++) {
        view->shape[i] = count[i];
        view->stride[i] = count[i] > 1 ? source->stride[i] * step[i] : source->stride[i];
        offset += empty ? 0 : start[i] * source->stride[i];
    }
    view->data = source->data == NULL ? NULL : (unsigned char *)source->data + offset * size;
    view->bytes = (size_t)(tensor_count(view) * size);
    return SPRY_OK;
}

spry_status tensor_view_broadcast(tensor *view, const tensor *source, int rank,
                                  const int64_t *shape, spry_error *error)
{
    size_t bytes;
    spry_status status = check_shape(source->dtype, rank, shape, &bytes, error);
    int lead = rank - source->rank;

    if (status != SPRY_OK) {
        return status;
    }
    if (lead < 0 || element_bytes(source->dtype) == 0) {
        return refuse_view(error, "packed types and lower ranks cannot be broadcast to");
    }
    for (int i = 0; i < source->rank; i++) {
        if (source->shape[i] != shape[lead + i] && source->shape[i] != 1) {
            return refuse_view(error, "only axes of size 1 can be broadcast");
        }
    }
    tensor_init_view(view, source);
    view->rank = rank;
    view->bytes = bytes;
    for (int i = 0; i < rank; i++) {
        bool same = i >= lead && source->shape[i - lead] == shape[i];

        view->shape[i] = shape[i];
        view->stride[i] = same ? source->stride[i - lead] : 0;
    }
    return SPRY_OK;
}

/* Copies one run along the innermost axis. */
static void copy_run(unsigned char *to, const unsigned char *from, int64_t count, int64_t step,
                     size_t size)
{
    if (step == (int64_t)size) {
        memcpy(to, from, (size_t)count * size);
        return;
    }
    for (int64_t i = 0; i < count; i++) {
        memcpy(to + (size_t)i * size, from + i * step, size);
    }
}

void tensor_copy_elements(tensor *target, const tensor *source)
{
    int64_t index[SPRY_TENSOR_MAX_RANK] = {0};
    int64_t size = element_bytes(source->dtype);
    const unsigned char *from = source->data;
    unsigned char *to = target->data;
    int last = source->rank - 1;
    int axis;

    if (tensor_count(source) == 0) {
        return;
    }
    if (size == 0 || tensor_is_dense(source)) {
        memcpy(to, from, target->bytes);
        return;
    }
    do {
        copy_run(to, from, source->shape[last], source->stride[last] * size, (size_t)size);
        to += source->shape[last] * size;
        for (axis = last - 1; axis >= 0; axis--) {
            from += source->stride[axis] * size;
            if (++index[axis] < source->shape[axis]) {
                break;
            }
            from -= source->shape[axis] * source->stride[axis] * size;
            index[axis] = 0;
        }
    } while (axis >= 0);
}

/* --- the public handle ----------------------------------------------------------------------- */

spry_status tensor_publish(const spry_allocator *allocator, tensor *content, spry_tensor **result,
                           spry_error *error)
{
    spry_allocator resolved = alloc_resolve(allocator);
    tensor *handle = alloc_bytes(&resolved, sizeof *handle);

    *result = NULL;
    if (handle == NULL) {
        tensor_fini(content);
        return alloc_failed(error, sizeof *handle);
    }
    *handle = *content;
    handle->allocator = resolved;
    *result = handle;
    return SPRY_OK;
}

spry_status spry_tensor_create(const spry_allocator *allocator, spry_dtype dtype, int rank,
                               const int64_t *shape, spry_tensor **result, spry_error *error)
{
    tensor content;
    spry_status status = tensor_init_owned(&content, allocator, dtype, rank, shape, error);

    *result = NULL;
    return status == SPRY_OK ? tensor_publish(allocator, &content, result, error) : status;
}

spry_status spry_tensor_wrap(const spry_allocator *allocator, spry_dtype dtype, int rank,
                             const int64_t *shape, void *data, size_t bytes, spry_tensor **result,
                             spry_error *error)
{
    tensor content;
    spry_status status = tensor_init(&content, dtype, rank, shape, data, error);

    *result = NULL;
    if (status != SPRY_OK) {
        return status;
    }
    if (data == NULL || bytes != content.bytes) {
        return spry_fail(error, SPRY_USAGE, "tensor", NULL,
                         "%zu bytes were given where the shape needs %zu",
                         data == NULL ? (size_t)0 : bytes, content.bytes);
    }
    return tensor_publish(allocator, &content, result, error);
}

spry_status tensor_init_texts(tensor *t, const spry_allocator *allocator, int rank,
                              const int64_t *shape, size_t text_bytes, char **room,
                              spry_error *error)
{
    size_t total;
    spry_status status = tensor_init(t, SPRY_DTYPE_STRING, rank, shape, NULL, error);

    if (status != SPRY_OK) {
        return status;
    }
    if (!checked_add(t->bytes, text_bytes, &total)) {
        return alloc_failed(error, SIZE_MAX);
    }
    t->storage = heap_storage(allocator, total, true);
    if (t->storage == NULL) {
        return alloc_failed(error, total);
    }
    t->data = t->storage->data;
    *room = (char *)t->data + t->bytes;
    return SPRY_OK;
}

static spry_status copy_strings(tensor *copy, const spry_allocator *allocator, const tensor *source,
                                spry_error *error)
{
    int64_t count = tensor_count(source);
    const spry_text *from = source->data;
    size_t total = 0;
    spry_text *to;
    char *room;
    spry_status status;

    for (int64_t i = 0; i < count; i++) {
        if (!checked_add(total, from[i].size, &total)) {
            return alloc_failed(error, SIZE_MAX);
        }
    }
    status = tensor_init_texts(copy, allocator, source->rank, source->shape, total, &room, error);
    if (status != SPRY_OK) {
        return status;
    }
    to = copy->data;
    for (int64_t i = 0; i < count; i++) {
        if (from[i].size > 0) {
            memcpy(room, from[i].data, from[i].size);
        }
        to[i] = (spry_text){room, from[i].size};
        room += from[i].size;
    }
    return SPRY_OK;
}

spry_status tensor_init_copy(tensor *copy, const spry_allocator *allocator, const tensor *source,
                             spry_error *error)
{
    spry_status status;

    if (source->dtype == SPRY_DTYPE_STRING) {
        return copy_strings(copy, allocator, source, error);
    }
    status = tensor_init_owned(copy, allocator, source->dtype, source->rank, source->shape, error);
    if (status == SPRY_OK) {
        tensor_copy_elements(copy, source);
    }
    return status;
}

spry_status spry_tensor_copy(const spry_allocator *allocator, const spry_tensor *source,
                             spry_tensor **result, spry_error *error)
{
    tensor content;
    spry_status status = tensor_init_copy(&content, allocator, source, error);

    *result = NULL;
    return status == SPRY_OK ? tensor_publish(allocator, &content, result, error) : status;
}

void spry_tensor_destroy(spry_tensor *t)
{
    spry_allocator allocator;

    if (t == NULL) {
        return;
    }
    allocator = t->allocator;
    tensor_fini(t);
    alloc_release(&allocator, t, sizeof *t);
}

spry_dtype spry_tensor_dtype(const spry_tensor *t)
{
    return t->dtype;
}

int spry_tensor_rank(const spry_tensor *t)
{
    return t->rank;
}

const int64_t *spry_tensor_shape(const spry_tensor *t)
{
    return t->shape;
}

int64_t spry_tensor_count(const spry_tensor *t)
{
    return tensor_count(t);
}

size_t spry_tensor_bytes(const spry_tensor *t)
{
    return t->bytes;
}

void *spry_tensor_data(spry_tensor *t)
{
    return t->data;
}

const void *spry_tensor_const_data(const spry_tensor *t)
{
    return t->data;
}
