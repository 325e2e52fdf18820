/* What was trained, alone in a file, and back into the model that it was trained for. */
#include "adapt/delta.h"

#include <string.h>

#include "adapt/census.h"
#include "adapt/record.h"
#include "base/alloc.h"
#include "base/limits.h"
#include "model/weights.h"
#include "tensor/safetensors.h"
#include "tensor/tensor_file.h"

static spry_status check_finite(const char *where, const char *name, const tensor *t,
                                spry_error *error)
{
    int64_t at = census_find_infinite(t);

    return at < 0 ? SPRY_OK
                  : spry_fail(error, SPRY_BAD_INPUT, where, "train again with a smaller rate",
                              "element %lld of '%.200s' is infinite or not a number", (long long)at,
                              name);
}

/* ---- saving ---- */

static spry_status collect(const spry_model *m, spry_adaptation *record, const tensor ***tensors,
                           spry_error *error)
{
    const tensor **list =
        arena_array(&record->memory, (size_t)record->name_count + 1, sizeof *list);
    spry_status status =
        list != NULL ? SPRY_OK : alloc_failed(error, (size_t)record->name_count * sizeof *list);

    for (int32_t i = 0; status == SPRY_OK && i < record->name_count; i++) {
        list[i] = graph_constant(m->main, graph_find_value(m->main, record->names[i]));
        status = check_finite(m->path, record->names[i], list[i], error);
    }
    *tensors = list;
    return status;
}

spry_status spry_adapt_save_delta(const spry_model *adapted, const char *path, spry_error *error)
{
    spry_adaptation *record = NULL;
    const tensor **tensors = NULL;
    text json;
    spry_status status = spry_adaptation_of(adapted, &record, error);

    if (status != SPRY_OK) {
        return status;
    }
    text_init(&json, &adapted->allocator, LIMIT_JSON_BYTES);
    record_write(record, false, &json);
    status = text_status(&json, "the delta's metadata", error);
    if (status == SPRY_OK) {
        status = collect(adapted, record, &tensors, error);
    }
    if (status == SPRY_OK) {
        const safetensors_note notes[] = {{RECORD_KEY, json.data}};

        status =
            safetensors_save(path, record->name_count, record->names, tensors, 1, notes, error);
    }
    text_fini(&json);
    spry_adaptation_destroy(record);
    return status;
}

/* ---- applying ---- */

typedef struct delta {
    const char *path;
    safetensors *file;
    spry_adaptation *record; /* method, hyper-parameters and base that the file tells of */
} delta;

static spry_status delta_open(delta *d, const spry_allocator *allocator, const uint8_t *bytes,
                              size_t size, const char *path, spry_error *error)
{
    const char *json;
    spry_status status;

    *d = (delta){.path = path};
    status = safetensors_open(allocator, bytes, size, NULL, path, &d->file, error);
    if (status != SPRY_OK) {
        return status;
    }
    json = safetensors_find_note(d->file, RECORD_KEY);
    if (json == NULL) {
        return spry_fail(error, SPRY_BAD_INPUT, path, "make one with spry adapt --delta-only",
                         "its metadata do not say what it adapts");
    }
    return record_read(allocator, json, false, path, &d->record, error);
}

static void delta_close(delta *d)
{
    spry_adaptation_destroy(d->record);
    safetensors_close(d->file);
}

static spry_status check_base(const delta *d, const spry_model *base, spry_error *error)
{
    char hash[SHA256_TEXT_SIZE];
    spry_status status = model_weights_hold_all(base, error);

    if (status == SPRY_OK) {
        status = census_hash(base, hash, error);
    }
    if (status == SPRY_OK && strcmp(hash, d->record->base) != 0) {
        return spry_fail(
            error, SPRY_UNVERIFIED, d->path, "apply it to the model that it was made of",
            "it was made for a model with the hash %.16s..., not %.16s...", d->record->base, hash);
    }
    return status;
}

/* Reads the tensor for initializer `name` of the shape of `like` into memory of the model. */
static spry_status read_tensor(const delta *d, arena *memory, const char *name, const tensor *like,
                               int32_t index, const tensor **made, spry_error *error)
{
    const safetensors_entry *e = safetensors_at(d->file, index);
    char wanted[128];
    tensor *kept = arena_zeroed(memory, sizeof *kept);
    tensor t;
    spry_status status;

    if (e->dtype != SPRY_DTYPE_F32 || e->rank != like->rank ||
        memcmp(e->shape, like->shape, (size_t)like->rank * sizeof *e->shape) != 0) {
        return spry_fail(error, SPRY_BAD_INPUT, d->path, "make the delta again",
                         "'%.200s' must be %s", name, tensor_describe(like, wanted, sizeof wanted));
    }
    status = safetensors_read(d->file, index, &t, error);
    if (status != SPRY_OK) {
        return status;
    }
    status = check_finite(d->path, name, &t, error);
    if (status == SPRY_OK && (kept == NULL ||
                              tensor_init(kept, t.dtype, t.rank, t.shape,
                                          arena_bytes(memory, t.bytes + 1), NULL) != SPRY_OK ||
                              kept->data == NULL)) {
        status = alloc_failed(error, t.bytes);
    }
    if (status == SPRY_OK && t.bytes > 0) {
        memcpy(kept->data, t.data, t.bytes);
    }
    *made = kept;
    tensor_fini(&t);
    return status;
}

static int32_t find_entry(const safetensors *file, const char *name)
{
    for (int32_t i = 0; i < safetensors_count(file); i++) {
        if (strcmp(safetensors_at(file, i)->name, name) == 0) {
            return i;
        }
    }
    return -1;
}

static spry_status check_extra(const delta *d, const spry_adaptation *facts, spry_error *error)
{
    for (int32_t i = 0; i < safetensors_count(d->file); i++) {
        const char *name = safetensors_at(d->file, i)->name;
        bool known = false;

        for (int32_t k = 0; k < facts->name_count; k++) {
            known = known || strcmp(facts->names[k], name) == 0;
        }
        if (!known) {
            return spry_fail(error, SPRY_BAD_INPUT, d->path, "make the delta again",
                             "'%.200s' is not a tensor that this method trains", name);
        }
    }
    return SPRY_OK;
}

/* All tensors are read and checked before the first is put in place. */
static spry_status put_tensors(const delta *d, spry_model *m, const spry_adaptation *facts,
                               spry_error *error)
{
    graph *g = m->main;
    const tensor **made = arena_array(&m->memory, (size_t)facts->name_count + 1, sizeof *made);
    spry_status status = check_extra(d, facts, error);

    if (status == SPRY_OK && made == NULL) {
        return alloc_failed(error, (size_t)facts->name_count * sizeof *made);
    }
    for (int32_t i = 0; status == SPRY_OK && i < facts->name_count; i++) {
        int32_t index = find_entry(d->file, facts->names[i]);
        int32_t id = graph_find_value(g, facts->names[i]);

        status = index >= 0 ? read_tensor(d, &m->memory, facts->names[i], g->values[id].constant,
                                          index, &made[i], error)
                            : spry_fail(error, SPRY_BAD_INPUT, d->path, "make the delta again",
                                        "'%.200s' is missing", facts->names[i]);
    }
    for (int32_t i = 0; status == SPRY_OK && i < facts->name_count; i++) {
        g->values[graph_find_value(g, facts->names[i])].constant = made[i];
    }
    return status;
}

spry_status delta_apply(const spry_model *base, const uint8_t *bytes, size_t size, const char *path,
                        spry_model **adapted, spry_adaptation **facts, spry_error *error)
{
    delta d;
    spry_status status = delta_open(&d, &base->allocator, bytes, size, path, error);

    *adapted = NULL;
    *facts = NULL;
    if (status == SPRY_OK) {
        status = check_base(&d, base, error);
    }
    if (status == SPRY_OK) {
        status = spry_adapt(base, &d.record->options, adapted, facts, error);
    }
    if (status == SPRY_OK) {
        status = put_tensors(&d, *adapted, *facts, error);
    }
    if (status != SPRY_OK) {
        spry_adaptation_destroy(*facts);
        spry_model_destroy(*adapted);
        *facts = NULL;
        *adapted = NULL;
    }
    delta_close(&d);
    return status;
}

spry_status spry_adapt_apply_delta(const spry_model *base, const char *path, spry_model **adapted,
                                   spry_adaptation **facts, spry_error *error)
{
    tensor_storage *storage = NULL;
    const uint8_t *bytes = NULL;
    size_t size = 0;
    spry_status status =
        tensor_file_map(&base->allocator, path, LIMIT_MODEL_BYTES, &storage, &bytes, &size, error);

    *adapted = NULL;
    *facts = NULL;
    if (status == SPRY_OK) {
        status = delta_apply(base, bytes, size, path, adapted, facts, error);
    }
    tensor_storage_drop(storage);
    return status;
}
