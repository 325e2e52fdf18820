/* Pruning at once, and counting zeros. */
#include <string.h>

#include "base/alloc.h"
#include "sparsify/layers.h"

spry_sparsify_options spry_sparsify_options_default(void)
{
    return (spry_sparsify_options){.struct_size = sizeof(spry_sparsify_options),
                                   .method = "lanes",
                                   .ratio = 0.5,
                                   .spread = "uniform",
                                   .keep = 2,
                                   .of = 4};
}

/* A pruned copy of one weight in `m`. */
static spry_status prune(const sparsify_layers *all, const sparsify_layer *l,
                         const sparsify_room *room, uint8_t *mask, model *m, spry_error *error)
{
    size_t bytes = (size_t)l->count * sizeof(float);
    const tensor *from = m->main->values[l->value].constant;
    tensor *t = arena_zeroed(&m->memory, sizeof *t);
    float *data = arena_bytes(&m->memory, bytes);

    if (t == NULL || data == NULL) {
        return alloc_failed(error, bytes);
    }
    memcpy(data, l->data, bytes);
    sparsify_mask(all, l, data, 1.0, room, mask);
    sparsify_apply(mask, l->count, data);
    m->main->values[l->value].constant = t;
    return tensor_init(t, SPRY_DTYPE_F32, from->rank, from->shape, data, error);
}

spry_status spry_sparsify(const spry_model *source, const spry_sparsify_options *options,
                          spry_model **pruned, spry_error *error)
{
    arena memory;
    sparsify_layers found;
    sparsify_room room;
    uint8_t *mask = NULL;
    spry_status status;

    *pruned = NULL;
    arena_init(&memory, &source->allocator, SIZE_MAX);
    status = sparsify_layers_find(source, options, &memory, &found, error);
    if (status == SPRY_OK) {
        status = sparsify_spread(&found, options, error);
    }
    if (status == SPRY_OK) {
        status = sparsify_room_make(&found, &memory, &room, error);
    }
    if (status == SPRY_OK) {
        mask = arena_bytes(&memory, (size_t)found.most_numbers);
        status = mask != NULL ? model_copy(source, pruned, error)
                              : alloc_failed(error, (size_t)found.most_numbers);
    }
    for (int32_t i = 0; status == SPRY_OK && i < found.count; i++) {
        if (!found.list[i].stays) {
            status = prune(&found, &found.list[i], &room, mask, *pruned, error);
        }
    }
    arena_fini(&memory);
    if (status != SPRY_OK) {
        spry_model_destroy(*pruned);
        *pruned = NULL;
    }
    return status;
}

/* ---- counting ---- */

struct spry_sparsity {
    spry_allocator allocator;
    arena memory;
    spry_sparsity_row *rows;
    int32_t count;
};

/* How many of a layer's units, when it is cut so, are zero. */
static int64_t zero_units(const sparsify_layer *from, sparsify_unit unit, int64_t *units)
{
    sparsify_layer l = *from;
    int64_t zeros = 0;

    l.unit = unit;
    *units = (l.view.outputs + unit.outputs - 1) / unit.outputs *
             ((l.view.channels + unit.channels - 1) / unit.channels) *
             ((l.view.taps + unit.taps - 1) / unit.taps);
    for (int64_t u = 0; u < *units; u++) {
        int64_t count;

        zeros += sparsify_unit_energy(&l, l.data, NULL, (int32_t)u, &count) == 0.0;
    }
    return zeros;
}

static void count_layer(const sparsify_layer *l, const char *name, spry_sparsity_row *row)
{
    const sparsify_view *v = &l->view;

    *row = (spry_sparsity_row){.name = name,
                               .node = l->node,
                               .weights = l->count,
                               .outputs = v->outputs,
                               .channels = v->channels,
                               .taps = v->taps};
    for (int64_t i = 0; i < l->count; i++) {
        row->zeros += l->data[i] == 0.0f;
    }
    row->zero_panels = zero_units(l, (sparsify_unit){SPARSIFY_PANEL, 1, 1, 0}, &row->panels);
    row->zero_filters = zero_units(l, (sparsify_unit){1, v->channels, v->taps, 0}, &row->filters);
}

spry_status spry_sparsity_of(const spry_model *m, spry_sparsity **sparsity, spry_error *error)
{
    spry_sparsify_options options = spry_sparsify_options_default();
    spry_allocator allocator = alloc_resolve(&m->allocator);
    spry_sparsity *s = alloc_zeroed(&allocator, sizeof *s);
    sparsify_layers found;
    spry_status status;

    *sparsity = NULL;
    if (s == NULL) {
        return alloc_failed(error, sizeof *s);
    }
    s->allocator = allocator;
    arena_init(&s->memory, &allocator, SIZE_MAX);
    options.method = "magnitude";
    status = sparsify_layers_find(m, &options, &s->memory, &found, error);
    if (status == SPRY_OK) {
        s->rows = arena_array(&s->memory, (size_t)found.count, sizeof *s->rows);
        status = s->rows != NULL ? SPRY_OK : alloc_failed(error, (size_t)found.count);
    }
    for (int32_t i = 0; status == SPRY_OK && i < found.count; i++) {
        const char *name = found.list[i].name;
        const char *copy = arena_text(&s->memory, name, strlen(name));

        status = copy != NULL ? SPRY_OK : alloc_failed(error, strlen(name));
        count_layer(&found.list[i], copy, &s->rows[s->count++]);
    }
    if (status != SPRY_OK) {
        spry_sparsity_destroy(s);
        return status;
    }
    *sparsity = s;
    return SPRY_OK;
}

void spry_sparsity_destroy(spry_sparsity *sparsity)
{
    if (sparsity != NULL) {
        spry_allocator allocator = sparsity->allocator;

        arena_fini(&sparsity->memory);
        alloc_release(&allocator, sparsity, sizeof *sparsity);
    }
}

int32_t spry_sparsity_rows(const spry_sparsity *sparsity, const spry_sparsity_row **rows)
{
    *rows = sparsity->rows;
    return sparsity->count;
}
