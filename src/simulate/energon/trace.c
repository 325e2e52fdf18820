#include "simulate/energon/trace.h"

#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "spry/random.h"
#include "spry/tensor_file.h"

void energon_trace_init(energon_trace *t)
{
    *t = (energon_trace){0};
    arena_init(&t->memory, NULL, SIZE_MAX);
}

void energon_trace_fini(energon_trace *t)
{
    arena_fini(&t->memory);
    t->count = 0;
}

/* A head whose lists are still to be filled. */
typedef struct fresh_head {
    int32_t *scored;
    int64_t *begin;
    int32_t *kept;
} fresh_head;

static spry_status add_head(energon_trace *t, const energon_head *shape, int64_t kept_most,
                            fresh_head *fresh, spry_error *error)
{
    size_t queries = (size_t)shape->queries;
    energon_head *head;

    if (t->count == t->capacity) {
        int64_t capacity = t->capacity > 0 ? 2 * t->capacity : 64;
        energon_head *more = arena_array(&t->memory, (size_t)capacity, sizeof *more);

        if (more == NULL) {
            return alloc_failed(error, (size_t)capacity * sizeof *more);
        }
        if (t->count > 0) {
            memcpy(more, t->heads, (size_t)t->count * sizeof *more);
        }
        t->heads = more;
        t->capacity = capacity;
    }
    fresh->scored = arena_array(&t->memory, queries * FILTER_ROUNDS + 1, sizeof *fresh->scored);
    fresh->begin = arena_array(&t->memory, queries + 1, sizeof *fresh->begin);
    fresh->kept = arena_array(&t->memory, (size_t)kept_most + 1, sizeof *fresh->kept);
    if (fresh->scored == NULL || fresh->begin == NULL || fresh->kept == NULL) {
        return alloc_failed(error, (size_t)kept_most * sizeof *fresh->kept);
    }
    memset(fresh->scored, 0, queries * FILTER_ROUNDS * sizeof *fresh->scored);
    fresh->begin[0] = 0;
    head = &t->heads[t->count++];
    *head = *shape;
    head->scored = fresh->scored;
    head->begin = fresh->begin;
    head->kept = fresh->kept;
    return SPRY_OK;
}

/* ---- from fates ---- */

spry_status energon_trace_add(energon_trace *t, const uint8_t *fate, int64_t queries, int64_t keys,
                              int64_t size, int64_t stored, int rounds, spry_error *error)
{
    const energon_head shape = {.queries = queries, .keys = keys, .size = size, .stored = stored};
    int64_t survivors = 0;
    fresh_head fresh;
    spry_status status;

    for (int64_t i = 0; i < queries * keys; i++) {
        survivors += fate[i] > rounds;
    }
    status = add_head(t, &shape, survivors, &fresh, error);
    for (int64_t q = 0; q < queries && status == SPRY_OK; q++) {
        int32_t *scored = fresh.scored + q * FILTER_ROUNDS;
        int64_t n = fresh.begin[q];

        for (int64_t j = 0; j < keys; j++) {
            int passed = fate[q * keys + j];

            for (int r = 0; r < rounds; r++) {
                scored[r] += passed > r;
            }
            if (passed > rounds) {
                fresh.kept[n++] = (int32_t)j;
            }
        }
        fresh.begin[q + 1] = n;
    }
    t->rounds = rounds > t->rounds ? rounds : t->rounds;
    return status;
}

/* ---- drawn ---- */

static bool draw(spry_random *random, double p)
{
    return (double)spry_random_u32(random) * 0x1p-32 < p;
}

spry_status energon_trace_draw(energon_trace *t, int64_t heads, int64_t queries, int64_t keys,
                               int64_t size, double keep, double locality, uint64_t seed,
                               spry_error *error)
{
    spry_random random = {.seed = seed};
    uint8_t *fate = arena_array(&t->memory, (size_t)(queries * keys) + 1, sizeof *fate);
    spry_status status =
        fate != NULL ? SPRY_OK : alloc_failed(error, (size_t)(queries * keys) * sizeof *fate);

    for (int64_t h = 0; h < heads && status == SPRY_OK; h++) {
        for (int64_t i = 0; i < queries * keys; i++) {
            bool follows = i >= keys && draw(&random, locality);
            bool survives = follows ? fate[i - keys] == 3 : draw(&random, keep);

            fate[i] = survives ? 3 : draw(&random, 0.5) ? 2 : 1;
        }
        status = energon_trace_add(t, fate, queries, keys, size, h, 2, error);
    }
    return status;
}

/* ---- from a file ---- */

enum { ARRAY_NAME = 32, FORM = 7 };

typedef struct layer_arrays {
    const spry_tensor *form, *visible, *offsets, *keys, *rounds; /* the file's */
} layer_arrays;

static spry_status read_array(spry_archive *file, const char *path, int layer, const char *name,
                              spry_dtype dtype, int64_t count, const spry_tensor **t,
                              spry_error *error)
{
    char full[ARRAY_NAME];
    int32_t entry;
    spry_status status;

    (void)snprintf(full, sizeof full, "%03d.%s", layer, name);
    entry = spry_archive_find(file, full);
    if (entry < 0) {
        return spry_fail(error, SPRY_BAD_INPUT, path, "write it with spry run --survivors",
                         "it has no array '%s'", full);
    }
    status = spry_archive_tensor(file, entry, t, error);
    if (status == SPRY_OK && (spry_tensor_dtype(*t) != dtype || spry_tensor_rank(*t) != 1 ||
                              (count >= 0 && spry_tensor_count(*t) != count))) {
        status = spry_fail(error, SPRY_BAD_INPUT, path, "write it with spry run --survivors",
                           "its array '%s' has another type or size", full);
    }
    return status;
}

static spry_status refuse(const char *path, int layer, const char *what, spry_error *error)
{
    return spry_fail(error, SPRY_BAD_INPUT, path, "write it with spry run --survivors",
                     "attention %03d: %s", layer, what);
}

/* batch, heads, heads of keys, queries, keys, elements, rounds */
static bool is_form(const int64_t *form)
{
    for (int i = 0; i < FORM; i++) {
        if (form[i] < 1 || form[i] > INT32_MAX) {
            return false;
        }
    }
    return form[1] % form[2] == 0 && form[6] <= FILTER_ROUNDS && form[5] <= FILTER_MOST_SIZE &&
           form[0] * form[1] <= INT32_MAX && form[0] * form[1] * form[3] <= INT32_MAX;
}

static spry_status add_from_lists(energon_trace *t, const char *path, int layer,
                                  const layer_arrays *a, int64_t head, spry_error *error)
{
    const int64_t *form = spry_tensor_const_data(a->form);
    const int32_t *visible = spry_tensor_const_data(a->visible);
    const int64_t *offsets = spry_tensor_const_data(a->offsets);
    const int32_t *keys = spry_tensor_const_data(a->keys);
    const uint8_t *passed = spry_tensor_const_data(a->rounds);
    int64_t sharing = form[1] / form[2];
    const energon_head shape = {.queries = form[3],
                                .keys = form[4],
                                .size = form[5],
                                .stored = ((int64_t)layer << 32) + head / sharing};
    int rounds = (int)form[6];
    int64_t first = head * form[3];
    fresh_head fresh;
    spry_status status =
        add_head(t, &shape, offsets[first + form[3]] - offsets[first], &fresh, error);

    for (int64_t q = 0; q < form[3] && status == SPRY_OK; q++) {
        int32_t *scored = fresh.scored + q * FILTER_ROUNDS;
        int64_t n = fresh.begin[q];
        int32_t before = -1;

        scored[0] = visible[first + q];
        if (scored[0] < 0 || scored[0] > form[4]) {
            return refuse(path, layer, "a query sees more keys than there are", error);
        }
        for (int64_t i = offsets[first + q]; i < offsets[first + q + 1]; i++) {
            if (keys[i] <= before || keys[i] >= form[4] || passed[i] < 1 || passed[i] > rounds) {
                return refuse(path, layer, "its keys are out of order or range", error);
            }
            before = keys[i];
            for (int r = 1; r < rounds; r++) {
                scored[r] += passed[i] >= r;
            }
            if (passed[i] == rounds) {
                fresh.kept[n++] = keys[i];
            }
        }
        fresh.begin[q + 1] = n;
    }
    t->rounds = rounds > t->rounds ? rounds : t->rounds;
    return status;
}

static spry_status check_offsets(const char *path, int layer, const layer_arrays *a, int64_t count,
                                 spry_error *error)
{
    const int64_t *offsets = spry_tensor_const_data(a->offsets);
    int64_t total = spry_tensor_count(a->keys);

    for (int64_t q = 0; q < count; q++) {
        if (offsets[q] < 0 || offsets[q] > offsets[q + 1]) {
            return refuse(path, layer, "its offsets fall", error);
        }
    }
    return offsets[count] == total ? SPRY_OK
                                   : refuse(path, layer, "its offsets and keys disagree", error);
}

static spry_status load_layer(energon_trace *t, spry_archive *file, const char *path, int layer,
                              layer_arrays *a, spry_error *error)
{
    const int64_t *form;
    int64_t queries;
    spry_status status =
        read_array(file, path, layer, "form", SPRY_DTYPE_I64, FORM, &a->form, error);

    if (status != SPRY_OK) {
        return status;
    }
    form = spry_tensor_const_data(a->form);
    if (!is_form(form)) {
        return refuse(path, layer, "its form has sizes out of range", error);
    }
    queries = form[0] * form[1] * form[3];
    status = read_array(file, path, layer, "visible", SPRY_DTYPE_I32, queries, &a->visible, error);
    if (status == SPRY_OK) {
        status = read_array(file, path, layer, "offsets", SPRY_DTYPE_I64, queries + 1, &a->offsets,
                            error);
    }
    if (status == SPRY_OK) {
        status = read_array(file, path, layer, "keys", SPRY_DTYPE_I32, -1, &a->keys, error);
    }
    if (status == SPRY_OK) {
        status = read_array(file, path, layer, "rounds", SPRY_DTYPE_U8, spry_tensor_count(a->keys),
                            &a->rounds, error);
    }
    if (status == SPRY_OK) {
        status = check_offsets(path, layer, a, queries, error);
    }
    for (int64_t h = 0; h < form[0] * form[1] && status == SPRY_OK; h++) {
        status = add_from_lists(t, path, layer, a, h, error);
    }
    return status;
}

spry_status energon_trace_load(energon_trace *t, const char *path, spry_error *error)
{
    spry_archive *file = NULL;
    spry_status status = spry_archive_open(NULL, path, &file, error);
    char name[ARRAY_NAME] = "000.form";

    for (int layer = 0; status == SPRY_OK && (layer == 0 || spry_archive_find(file, name) >= 0);
         layer++) {
        layer_arrays a = {0};

        status = load_layer(t, file, path, layer, &a, error);
        (void)snprintf(name, sizeof name, "%03d.form", layer + 1);
    }
    spry_archive_close(file);
    return status;
}
