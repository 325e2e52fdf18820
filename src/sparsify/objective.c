/* Pruning while a model learns: masks that grow, and hold. */
#include <math.h>
#include <string.h>

#include "base/alloc.h"
#include "sparsify/layers.h"
#include "train/objective.h"

typedef struct sparsify_objective {
    spry_train_objective base;
    spry_sparsify_goal goal;
    arena memory;
    sparsify_layers layers;
    /* Of the run of training: changed while it learns. */
    struct {
        sparsify_room room;
        uint8_t **masks; /* by layer */
        bool is_started;
    } * run;
} sparsify_objective;

spry_sparsify_goal spry_sparsify_goal_default(void)
{
    return (spry_sparsify_goal){.struct_size = sizeof(spry_sparsify_goal),
                                .teacher_weight = 1.0,
                                .teacher_temperature = 4.0,
                                .begin = 0.0,
                                .end = 0.5,
                                .update_steps = 10};
}

/* The part of all zeros that there are when that share of training is done. */
static double part_at(const spry_sparsify_goal *g, double done)
{
    double t = g->end > g->begin ? (done - g->begin) / (g->end - g->begin) : 1.0;

    t = t < 0.0 ? 0.0 : t > 1.0 ? 1.0 : t;
    return 1.0 - (1.0 - t) * (1.0 - t) * (1.0 - t);
}

/* Masks are chosen anew until all zeros are there, then they stay. */
static bool is_update(const spry_sparsify_goal *g, int64_t done, int64_t steps)
{
    double share = (double)done / (double)steps;
    double before = (double)(done - 1) / (double)steps;
    bool is_grown = done > 0 && before >= g->end;

    return !is_grown && (done % g->update_steps == 0 || share >= g->end);
}

static void hold(const spry_train_objective *base, const parameters *weights, int64_t done,
                 int64_t steps, float *numbers, float *average)
{
    const sparsify_objective *o = (const sparsify_objective *)base;
    bool updates = is_update(&o->goal, done, steps);

    for (int32_t i = 0; i < o->layers.count; i++) {
        const sparsify_layer *l = &o->layers.list[i];
        const parameter *p = l->stays ? NULL : parameters_find(weights, l->name);
        uint8_t *mask = o->run->masks[i];

        if (p == NULL || p->count != l->count) {
            continue;
        }
        if (!o->run->is_started) { /* resumed: what is zero was made so */
            for (int64_t k = 0; k < l->count; k++) {
                mask[k] = numbers[p->offset + k] != 0.0f;
            }
        }
        sparsify_apply(mask, l->count, numbers + p->offset);
        if (updates) {
            sparsify_mask(&o->layers, l, numbers + p->offset,
                          part_at(&o->goal, (double)done / (double)steps), &o->run->room, mask);
            sparsify_apply(mask, l->count, numbers + p->offset);
        }
        if (average != NULL) {
            sparsify_apply(mask, l->count, average + p->offset);
        }
    }
    o->run->is_started = true;
}

static void destroy(spry_train_objective *base)
{
    sparsify_objective *o = (sparsify_objective *)base;
    spry_allocator allocator = o->base.allocator;

    arena_fini(&o->memory);
    alloc_release(&allocator, o, sizeof *o);
}

static spry_status check_goal(const spry_sparsify_goal *g, spry_error *error)
{
    if (g->struct_size != sizeof *g) {
        return spry_fail(error, SPRY_USAGE, "goal", "start from spry_sparsify_goal_default()",
                         "not initialised");
    }
    if (!(g->begin >= 0.0 && g->begin <= g->end && g->end <= 1.0) || g->update_steps < 1) {
        return spry_fail(error, SPRY_USAGE, "schedule", "0 <= begin <= end <= 1, steps above 0",
                         "zeros cannot grow from %g to %g of training", g->begin, g->end);
    }
    if (!(g->teacher_weight >= 0.0) || !(g->teacher_temperature > 0.0)) {
        return spry_fail(error, SPRY_USAGE, "teacher",
                         "a weight of 0 or more, a temperature above 0",
                         "its numbers are out of range");
    }
    if (g->ignore_labels && (g->teacher == NULL || g->teacher_weight == 0.0)) {
        return spry_fail(error, SPRY_USAGE, "labels", "name a teacher",
                         "without labels there is nothing to learn from");
    }
    return SPRY_OK;
}

static spry_status make_room(sparsify_objective *o, spry_error *error)
{
    size_t count = (size_t)o->layers.count;
    bool is_whole;
    spry_status status;

    o->run = arena_zeroed(&o->memory, sizeof *o->run);
    if (o->run == NULL) {
        return alloc_failed(error, sizeof *o->run);
    }
    status = sparsify_room_make(&o->layers, &o->memory, &o->run->room, error);
    o->run->masks = arena_array(&o->memory, count, sizeof *o->run->masks);
    is_whole = status == SPRY_OK && o->run->masks != NULL;
    for (size_t i = 0; i < count && is_whole; i++) {
        o->run->masks[i] = arena_bytes(&o->memory, (size_t)o->layers.list[i].count);
        is_whole = o->run->masks[i] != NULL;
    }
    return is_whole ? SPRY_OK : alloc_failed(error, (size_t)o->layers.numbers);
}

spry_status spry_sparsify_objective(const spry_model *source, const spry_sparsify_options *options,
                                    const spry_sparsify_goal *goal,
                                    spry_train_objective **objective, spry_error *error)
{
    spry_allocator allocator = alloc_resolve(&source->allocator);
    spry_status status = check_goal(goal, error);
    sparsify_objective *o;

    *objective = NULL;
    if (status != SPRY_OK) {
        return status;
    }
    o = alloc_zeroed(&allocator, sizeof *o);
    if (o == NULL) {
        return alloc_failed(error, sizeof *o);
    }
    *o = (sparsify_objective){.base = {.allocator = allocator,
                                       .teacher = goal->teacher_weight > 0.0 ? goal->teacher : NULL,
                                       .teacher_weight = goal->teacher_weight,
                                       .teacher_temperature = goal->teacher_temperature,
                                       .ignores_labels = goal->ignore_labels,
                                       .hold = hold,
                                       .destroy = destroy},
                              .goal = *goal};
    arena_init(&o->memory, &o->base.allocator, SIZE_MAX);
    status = sparsify_layers_find(source, options, &o->memory, &o->layers, error);
    if (status == SPRY_OK) {
        status = sparsify_spread(&o->layers, options, error);
    }
    if (status == SPRY_OK) {
        status = make_room(o, error);
    }
    if (status != SPRY_OK) {
        destroy(&o->base);
        return status;
    }
    *objective = &o->base;
    return SPRY_OK;
}
