/* From the fates of keys to lists. */
#include "spry/survivors.h"

#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/arena.h"
#include "runtime/attention/probe.h"
#include "spry/tensor_file.h"
#include "tensor/tensor.h"

enum { MOST_LAYERS = 1000, ARRAYS = 7, NAME_SIZE = 16, FORM = 7, WORK = 9 };

static const char *const array_names[ARRAYS] = {"name", "form",   "visible", "offsets",
                                                "keys", "rounds", "work"};

typedef struct survivors_layer {
    const char *name;
    tensor arrays[ARRAYS];
} survivors_layer;

struct spry_survivors {
    spry_allocator allocator;
    arena memory;
    spry_attention_probe probe;
    survivors_layer layers[MOST_LAYERS];
    int32_t count;
    bool failed; /* memory */
};

/* Fresh memory for an array of one axis; NULL: there is none. */
static void *set_array(spry_survivors *s, tensor *t, spry_dtype dtype, int64_t count)
{
    if (tensor_init(t, dtype, 1, &count, NULL, NULL) != SPRY_OK) {
        s->failed = true;
        return NULL;
    }
    t->data = arena_zeroed(&s->memory, t->bytes > 0 ? t->bytes : 1);
    s->failed = s->failed || t->data == NULL;
    return t->data;
}

static void list_keys(const uint8_t *fate, int64_t queries, int64_t keys, survivors_layer *to)
{
    int32_t *visible = to->arrays[2].data;
    int64_t *offsets = to->arrays[3].data;
    int32_t *list = to->arrays[4].data;
    uint8_t *rounds = to->arrays[5].data;
    int64_t n = 0;

    for (int64_t q = 0; q < queries; q++, fate += keys) {
        for (int64_t j = 0; j < keys; j++) {
            visible[q] += fate[j] > 0;
            if (fate[j] > 1) {
                list[n] = (int32_t)j;
                rounds[n++] = (uint8_t)(fate[j] - 1);
            }
        }
        offsets[q + 1] = n;
    }
}

static int64_t count_survivors(const uint8_t *fate, int64_t n)
{
    int64_t count = 0;

    for (int64_t i = 0; i < n; i++) {
        count += fate[i] > 1;
    }
    return count;
}

static survivors_layer *find_layer(spry_survivors *s, const char *name)
{
    for (int32_t i = 0; i < s->count; i++) {
        if (strcmp(s->layers[i].name, name) == 0) {
            return &s->layers[i];
        }
    }
    if (s->count == MOST_LAYERS) {
        s->failed = true;
        return NULL;
    }
    /* Plans come and go with shapes: the name must stay. */
    s->layers[s->count].name = arena_text(&s->memory, name, strlen(name));
    s->failed = s->failed || s->layers[s->count].name == NULL;
    return s->failed ? NULL : &s->layers[s->count++];
}

static void take(void *context, const char *name, const attention_problem *p,
                 const attention_filtered *filtered)
{
    spry_survivors *s = context;
    survivors_layer *to = s->failed ? NULL : find_layer(s, name);
    int64_t queries = p->batch * p->heads * p->rows;
    const int64_t form[FORM] = {p->batch, p->heads, p->kv_heads,     p->rows,
                                p->keys,  p->size,  filtered->rounds};
    const filter_work *w = filtered->work;
    const int64_t work[WORK] = {w->keys,           w->kept[0],      w->kept[1],
                                w->kept[2],        w->low_products, w->code_bytes,
                                w->exact_products, w->key_bytes,    w->value_bytes};
    int64_t survivors = count_survivors(filtered->fate, queries * p->keys);

    if (to == NULL || set_array(s, &to->arrays[0], SPRY_DTYPE_U8, (int64_t)strlen(name)) == NULL ||
        set_array(s, &to->arrays[1], SPRY_DTYPE_I64, FORM) == NULL ||
        set_array(s, &to->arrays[2], SPRY_DTYPE_I32, queries) == NULL ||
        set_array(s, &to->arrays[3], SPRY_DTYPE_I64, queries + 1) == NULL ||
        set_array(s, &to->arrays[4], SPRY_DTYPE_I32, survivors) == NULL ||
        set_array(s, &to->arrays[5], SPRY_DTYPE_U8, survivors) == NULL ||
        set_array(s, &to->arrays[6], SPRY_DTYPE_I64, WORK) == NULL) {
        return;
    }
    memcpy(to->arrays[0].data, name, strlen(name));
    memcpy(to->arrays[1].data, form, sizeof form);
    list_keys(filtered->fate, queries, p->keys, to);
    memcpy(to->arrays[6].data, work, sizeof work);
}

spry_status spry_survivors_create(const spry_allocator *allocator, spry_survivors **survivors,
                                  spry_error *error)
{
    spry_allocator resolved = alloc_resolve(allocator);
    spry_survivors *made = alloc_zeroed(&resolved, sizeof *made);

    *survivors = made;
    if (made == NULL) {
        return alloc_failed(error, sizeof *made);
    }
    made->allocator = resolved;
    arena_init(&made->memory, &made->allocator, SIZE_MAX);
    made->probe = (spry_attention_probe){.context = made, .filtered = take};
    return SPRY_OK;
}

void spry_survivors_destroy(spry_survivors *survivors)
{
    spry_allocator allocator;

    if (survivors == NULL) {
        return;
    }
    allocator = survivors->allocator;
    arena_fini(&survivors->memory);
    alloc_release(&allocator, survivors, sizeof *survivors);
}

const spry_attention_probe *spry_survivors_probe(spry_survivors *survivors)
{
    return &survivors->probe;
}

int32_t spry_survivors_layers(const spry_survivors *survivors)
{
    return survivors->count;
}

spry_status spry_survivors_save(const spry_survivors *survivors, const char *path,
                                spry_error *error)
{
    size_t count = (size_t)survivors->count * ARRAYS;
    char(*names)[NAME_SIZE];
    const char **name_list;
    const spry_tensor **list;
    arena memory;
    spry_status status;

    if (survivors->failed) {
        return spry_fail(error, SPRY_LIMIT, path, "run a shorter input",
                         "no memory for what survives, or more than %d attentions",
                         (int)MOST_LAYERS);
    }
    if (count == 0) {
        return spry_fail(error, SPRY_USAGE, path, "use a model of spry adapt --method energon",
                         "no attention of the model filters its keys");
    }
    arena_init(&memory, &survivors->allocator, SIZE_MAX);
    names = arena_array(&memory, count, sizeof *names);
    name_list = arena_array(&memory, count, sizeof *name_list);
    list = arena_array(&memory, count, sizeof *list);
    if (names == NULL || name_list == NULL || list == NULL) {
        arena_fini(&memory);
        return alloc_failed(error, count * sizeof *names);
    }
    for (size_t i = 0; i < count; i++) {
        (void)snprintf(names[i], NAME_SIZE, "%03d.%s", (int)(i / ARRAYS) % MOST_LAYERS,
                       array_names[i % ARRAYS]);
        name_list[i] = names[i];
        list[i] = &survivors->layers[i / ARRAYS].arrays[i % ARRAYS];
    }
    status = spry_archive_save(path, (int32_t)count, name_list, list, error);
    arena_fini(&memory);
    return status;
}
