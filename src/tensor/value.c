/* Values: a tensor, a sequence of tensors, or nothing. */
#include "tensor/value.h"

#include "base/alloc.h"
#include "base/limits.h"

void value_init(value *v, const spry_allocator *allocator)
{
    *v = (value){.allocator = alloc_resolve(allocator)};
}

void value_fini(value *v)
{
    for (size_t i = 0; i < v->count; i++) {
        spry_value_destroy(v->items[i]);
    }
    alloc_release(&v->allocator, v->items, v->capacity * sizeof(value *));
    if (v->kind == SPRY_VALUE_TENSOR) {
        tensor_fini(&v->tensor);
    }
    *v = (value){.allocator = v->allocator};
}

static spry_status create(const spry_allocator *allocator, value **result, spry_error *error)
{
    spry_allocator resolved = alloc_resolve(allocator);
    value *v = alloc_bytes(&resolved, sizeof *v);

    *result = v;
    if (v == NULL) {
        return alloc_failed(error, sizeof *v);
    }
    value_init(v, &resolved);
    return SPRY_OK;
}

/* Both ways to duplicate a value: sharing its tensors' memory, or copying it. */
static spry_status duplicate(value *target, const value *source, bool deep, spry_error *error)
{
    spry_status status = SPRY_OK;

    target->kind = source->kind;
    target->dtype = source->dtype;
    if (source->kind == SPRY_VALUE_TENSOR && deep) {
        status = tensor_init_copy(&target->tensor, &target->allocator, &source->tensor, error);
        target->kind = status == SPRY_OK ? SPRY_VALUE_TENSOR : SPRY_VALUE_NONE;
    } else if (source->kind == SPRY_VALUE_TENSOR) {
        tensor_init_view(&target->tensor, &source->tensor);
    }
    for (size_t i = 0; i < source->count && status == SPRY_OK; i++) {
        value *item = NULL;

        status = create(&target->allocator, &item, error);
        if (status == SPRY_OK) {
            status = duplicate(item, source->items[i], deep, error);
        }
        if (status == SPRY_OK) {
            status = spry_value_append(target, item, error);
        } else {
            spry_value_destroy(item);
        }
    }
    if (status != SPRY_OK) {
        value_fini(target);
    }
    return status;
}

spry_status value_share(value *target, const value *source, spry_error *error)
{
    return duplicate(target, source, false, error);
}

spry_status value_copy(value *target, const value *source, spry_error *error)
{
    return duplicate(target, source, true, error);
}

void value_move(value *target, value *source)
{
    /* The items array belongs to the source's allocator, which therefore moves along. */
    *target = *source;
    *source = (value){.allocator = source->allocator};
}

spry_status spry_value_from_tensor(const spry_allocator *allocator, spry_tensor *t,
                                   spry_value **result, spry_error *error)
{
    spry_status status = create(allocator, result, error);
    spry_allocator owner = t->allocator;

    if (status != SPRY_OK) {
        spry_tensor_destroy(t);
        return status;
    }
    (*result)->kind = SPRY_VALUE_TENSOR;
    (*result)->dtype = t->dtype;
    (*result)->tensor = *t;
    (*result)->tensor.allocator = (spry_allocator){0};
    alloc_release(&owner, t, sizeof *t);
    return SPRY_OK;
}

spry_status spry_value_sequence(const spry_allocator *allocator, spry_dtype dtype,
                                spry_value **result, spry_error *error)
{
    spry_status status = create(allocator, result, error);

    if (status == SPRY_OK) {
        (*result)->kind = SPRY_VALUE_SEQUENCE;
        (*result)->dtype = dtype;
    }
    return status;
}

spry_status spry_value_append(spry_value *sequence, spry_value *item, spry_error *error)
{
    spry_status status = SPRY_OK;

    if (item == sequence) {
        return spry_fail(error, SPRY_USAGE, "sequence", NULL, "a sequence cannot contain itself");
    }
    if (sequence->kind != SPRY_VALUE_SEQUENCE || item->kind == SPRY_VALUE_SEQUENCE) {
        status = spry_fail(error, SPRY_USAGE, "sequence", NULL,
                           "only tensors can be appended, and only to a sequence");
    } else if (item->kind == SPRY_VALUE_TENSOR && sequence->dtype != SPRY_DTYPE_NONE &&
               item->dtype != sequence->dtype) {
        status = spry_fail(error, SPRY_USAGE, "sequence", NULL,
                           "%s does not belong into a sequence of %s", spry_dtype_name(item->dtype),
                           spry_dtype_name(sequence->dtype));
    } else {
        void *items = sequence->items;

        status = alloc_grow(&sequence->allocator, &items, &sequence->capacity, sequence->count + 1,
                            sizeof(value *), LIMIT_SEQUENCE_ITEMS, error);
        sequence->items = items;
    }
    if (status != SPRY_OK) {
        spry_value_destroy(item);
        return status;
    }
    sequence->items[sequence->count++] = item;
    return SPRY_OK;
}

spry_status spry_value_none(const spry_allocator *allocator, spry_value **result, spry_error *error)
{
    return create(allocator, result, error);
}

void spry_value_destroy(spry_value *v)
{
    spry_allocator allocator;

    if (v == NULL) {
        return;
    }
    allocator = v->allocator;
    value_fini(v);
    alloc_release(&allocator, v, sizeof *v);
}

spry_value_kind spry_value_kind_of(const spry_value *v)
{
    return v->kind;
}

const spry_tensor *spry_value_tensor(const spry_value *v)
{
    return v->kind == SPRY_VALUE_TENSOR ? &v->tensor : NULL;
}

int64_t spry_value_count(const spry_value *v)
{
    return (int64_t)v->count;
}

const spry_value *spry_value_item(const spry_value *v, int64_t index)
{
    return index >= 0 && (uint64_t)index < v->count ? v->items[index] : NULL;
}
