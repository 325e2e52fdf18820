/* A ring of places, each of which holds one batch. The batch of step s belongs into place s modulo
 * their number; `next` is the step that the caller will ask for.
 *
 *     EMPTY -> BUSY -> READY -> HELD -> READY      HELD: the caller is looking at it
 *                \--> FAILED -> EMPTY              when the caller has been told
 *
 * A thread looks for the first step from `next` on whose place holds another step and is neither
 * BUSY nor HELD. So seeking only moves `next`: what was prepared for other steps is overwritten
 * when its place is needed, and is still right when the caller comes back to it before. */
#include "data/loader.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/background.h"
#include "base/recycle.h"
#include "data/dataset.h"
#include "data/preprocess.h"

/* When so many samples in a row cannot be read, the disk is gone rather than a file broken. */
enum { MOST_STAND_INS = 256, MOST_SKIPPED = 1 << 24 };
enum { WARNING_BYTES = SPRY_ERROR_WHERE_SIZE + SPRY_ERROR_WHAT_SIZE + 4 };

typedef enum place_state {
    PLACE_EMPTY,
    PLACE_BUSY,
    PLACE_READY,
    PLACE_HELD,
    PLACE_FAILED
} place_state;

/* Samples, sorted by number. */
typedef struct index_list {
    int64_t *items;
    size_t count;
    size_t room;
} index_list;

typedef struct place {
    place_state state; /* under the loader's lock, as is `step` */
    int64_t step;
    void *memory; /* of the inputs */
    size_t memory_bytes;
    int64_t room; /* samples for which there is memory */
    int64_t *labels;
    int64_t *indices;
    sampler_pick *picks;
    tensor inputs;
    int64_t count;
    index_list skipped;
    spry_error why; /* the first of them could not be read */
    spry_error error;
    loader_batch batch;
} place;

struct loader {
    spry_allocator allocator;
    spry_dataset *data;
    loader_options options;
    spry_preprocess recipe;
    augment augment;
    sampler sampler;
    preprocess_plan plan;
    int place_count;
    place *places;
    place *held;      /* by the caller, or NULL */
    recycle *scratch; /* [threads + 1]; the last is the caller's */
    background *threads;
    bool locks; /* the three below exist */
    pthread_mutex_t lock;
    pthread_cond_t wanted;   /* there may be something to prepare */
    pthread_cond_t prepared; /* a place has become READY or FAILED */
    int64_t next;
    _Atomic(bool) stop;
    /* The caller's own. */
    index_list skipped;
    char warning[WARNING_BYTES];
};

static spry_status list_add(const spry_allocator *allocator, index_list *list, int64_t item,
                            spry_error *error)
{
    void *items = list->items;
    size_t at = list->count;
    spry_status status;

    while (at > 0 && list->items[at - 1] >= item) {
        at--;
    }
    if (at < list->count && list->items[at] == item) {
        return SPRY_OK;
    }
    status = alloc_grow(allocator, &items, &list->room, list->count + 1, sizeof *list->items,
                        MOST_SKIPPED, error);
    list->items = items;
    if (status == SPRY_OK) {
        memmove(list->items + at + 1, list->items + at, (list->count - at) * sizeof *list->items);
        list->items[at] = item;
        list->count++;
    }
    return status;
}

/* --- preparing a batch ----------------------------------------------------------------------- */

static void place_release(const loader *l, place *p)
{
    size_t room = (size_t)p->room;

    alloc_release(&l->allocator, p->memory, p->memory_bytes);
    alloc_release(&l->allocator, p->labels, room * sizeof *p->labels);
    alloc_release(&l->allocator, p->indices, room * sizeof *p->indices);
    alloc_release(&l->allocator, p->picks, room * sizeof *p->picks);
    p->memory = NULL;
    p->labels = NULL;
    p->indices = NULL;
    p->picks = NULL;
    p->room = 0;
}

/* The tensor of `count` samples over the place's memory. */
static spry_status place_inputs(const loader *l, place *p, int64_t count, spry_error *error)
{
    int64_t shape[SPRY_TENSOR_MAX_RANK];

    memcpy(shape, l->plan.shape, sizeof shape);
    shape[0] = count;
    return tensor_init(&p->inputs, l->plan.dtype, l->plan.rank, shape, p->memory, error);
}

static spry_status place_reserve(const loader *l, place *p, int64_t room, spry_error *error)
{
    size_t count = (size_t)room;
    spry_status status;

    place_release(l, p);
    status = place_inputs(l, p, room, error);
    if (status != SPRY_OK) {
        return status;
    }
    p->room = room;
    p->memory_bytes = p->inputs.bytes;
    p->memory = alloc_zeroed(&l->allocator, p->memory_bytes);
    p->labels = alloc_array(&l->allocator, count, sizeof *p->labels);
    p->indices = alloc_array(&l->allocator, count, sizeof *p->indices);
    p->picks = alloc_array(&l->allocator, count, sizeof *p->picks);
    if (p->memory == NULL || p->labels == NULL || p->indices == NULL || p->picks == NULL) {
        place_release(l, p);
        return alloc_failed(error, p->memory_bytes);
    }
    return SPRY_OK;
}

/* Is it the sample's fault, so that another may stand in for it? */
static bool is_unreadable(spry_status status)
{
    return status == SPRY_IO || status == SPRY_BAD_INPUT || status == SPRY_UNSUPPORTED;
}

/* Puts the sample of a pick into place `at` of the batch. *unreadable tells why it failed. */
static spry_status put_sample(const loader *l, const spry_allocator *scratch,
                              const sampler_pick *pick, place *p, int64_t at, bool *unreadable,
                              spry_error *error)
{
    char where[SPRY_ERROR_WHERE_SIZE];
    tensor sample;
    spry_status status = dataset_read(l->data, scratch, pick->index, &sample, error);

    *unreadable = is_unreadable(status);
    if (status != SPRY_OK) {
        return status;
    }
    dataset_where(l->data, pick->index, where, sizeof where);
    status = augment_apply(&l->augment, scratch, l->options.seed, pick->visit, pick->index,
                           l->data->pictures, &sample, error);
    if (status == SPRY_OK) {
        status = preprocess_apply(&l->plan, scratch, &sample, l->data->pictures, where, &p->inputs,
                                  at, error);
    }
    tensor_fini(&sample);
    if (status == SPRY_OK) {
        p->labels[at] = l->data->labels[pick->index];
        p->indices[at] = pick->index;
    }
    return status;
}

/* The same with stand-ins for samples that cannot be read. *put is false when there are none. */
static spry_status put_readable(const loader *l, const spry_allocator *scratch,
                                const sampler_pick *pick, place *p, int64_t at, bool *put)
{
    sampler_pick other = *pick;
    bool unreadable;

    *put = true;
    for (int64_t n = 1;; n++) {
        spry_status status = put_sample(l, scratch, &other, p, at, &unreadable, &p->error);

        if (status == SPRY_OK || !unreadable || l->options.strict) {
            return status;
        }
        if (p->skipped.count == 0) {
            p->why = p->error;
        }
        status = list_add(&l->allocator, &p->skipped, other.index, &p->error);
        if (status != SPRY_OK) {
            return status;
        }
        if (!sampler_stand_in(&l->sampler, pick, n, &other) || n > MOST_STAND_INS) {
            *put = false;
            return l->options.order == SAMPLER_POISSON ? SPRY_OK : p->error.code;
        }
    }
}

static spry_status prepare(loader *l, place *p, int worker)
{
    spry_allocator scratch = recycle_allocator(&l->scratch[worker]);
    int64_t drawn = sampler_draw(&l->sampler, p->step, p->picks, p->room);
    spry_status status = SPRY_OK;

    p->skipped.count = 0;
    p->count = 0;
    if (drawn > p->room) {
        status = place_reserve(l, p, drawn + drawn / 8, &p->error);
        if (status != SPRY_OK) {
            return status;
        }
        drawn = sampler_draw(&l->sampler, p->step, p->picks, p->room);
    }
    status = place_inputs(l, p, p->room, &p->error);
    for (int64_t i = 0; i < drawn && status == SPRY_OK && !atomic_load(&l->stop); i++) {
        bool put;

        status = put_readable(l, &scratch, &p->picks[i], p, p->count, &put);
        p->count += put;
    }
    return status == SPRY_OK ? place_inputs(l, p, p->count, &p->error) : status;
}

/* --- threads --------------------------------------------------------------------------------- */

/* Takes the first step that nobody has prepared or is preparing; NULL when there is none. */
static place *claim(loader *l)
{
    for (int64_t step = l->next; step < l->next + l->place_count; step++) {
        place *p = &l->places[step % l->place_count];
        bool done = p->step == step && (p->state == PLACE_READY || p->state == PLACE_FAILED);

        if (p->state != PLACE_BUSY && p->state != PLACE_HELD && !done) {
            p->step = step;
            p->state = PLACE_BUSY;
            return p;
        }
    }
    return NULL;
}

/* Prepares a claimed place. Called with the lock, which is given up meanwhile. */
static void work(loader *l, place *p, int worker)
{
    spry_status status;

    (void)pthread_mutex_unlock(&l->lock);
    status = prepare(l, p, worker);
    (void)pthread_mutex_lock(&l->lock);
    p->state = status == SPRY_OK ? PLACE_READY : PLACE_FAILED;
    (void)pthread_cond_broadcast(&l->prepared);
    /* The place may be needed for another step by now. */
    (void)pthread_cond_signal(&l->wanted);
}

static void thread_body(void *context, int worker)
{
    loader *l = context;

    (void)pthread_mutex_lock(&l->lock);
    while (!atomic_load(&l->stop)) {
        place *p = claim(l);

        if (p != NULL) {
            work(l, p, worker);
        } else {
            (void)pthread_cond_wait(&l->wanted, &l->lock);
        }
    }
    (void)pthread_mutex_unlock(&l->lock);
}

/* Waits for (or makes) the batch of `next`. Called with the lock. */
static place *await(loader *l)
{
    place *p = &l->places[l->next % l->place_count];

    while (p->step != l->next || (p->state != PLACE_READY && p->state != PLACE_FAILED)) {
        if (background_count(l->threads) > 0) {
            (void)pthread_cond_wait(&l->prepared, &l->lock);
        } else {
            work(l, claim(l), l->options.threads);
        }
    }
    return p;
}

/* --- life ------------------------------------------------------------------------------------ */

static spry_status check_options(const loader_options *o, spry_error *error)
{
    if (o->threads < 0 || o->threads > LOADER_MAX_THREADS || o->ahead < 0 ||
        o->ahead > LOADER_MAX_AHEAD) {
        return spry_fail(error, SPRY_USAGE, "loader", NULL,
                         "%d threads and %d batches ahead: at most %d and %d are possible",
                         o->threads, o->ahead, LOADER_MAX_THREADS, LOADER_MAX_AHEAD);
    }
    return SPRY_OK;
}

/* Resolves the model's input against the first sample that can be read. */
static spry_status resolve(loader *l, spry_error *error)
{
    const loader_options *o = &l->options;
    char where[SPRY_ERROR_WHERE_SIZE];
    int64_t index = 0;
    tensor sample;
    spry_status status = dataset_read(l->data, &l->allocator, 0, &sample, error);

    while (is_unreadable(status) && !o->strict && index < MOST_STAND_INS &&
           index + 1 < l->data->count) {
        index++;
        status = dataset_read(l->data, &l->allocator, index, &sample, error);
    }
    if (status != SPRY_OK) {
        return status;
    }
    dataset_where(l->data, index, where, sizeof where);
    status = preprocess_plan_init(&l->plan, &l->recipe, &sample, l->data->pictures, o->dtype,
                                  o->rank, o->shape, where, error);
    l->plan.shape[0] = o->batch;
    tensor_fini(&sample);
    return status;
}

static spry_status make_sampler(loader *l, spry_error *error)
{
    const loader_options *o = &l->options;
    const sampler_options options = {.kind = o->order,
                                     .count = l->data->count,
                                     .batch = o->batch,
                                     .rate = o->rate,
                                     .seed = o->seed,
                                     .labels = l->data->labels};

    return sampler_init(&l->sampler, &options, &l->allocator, error);
}

static spry_status make_places(loader *l, spry_error *error)
{
    size_t scratches = (size_t)l->options.threads + 1;

    l->scratch = alloc_array(&l->allocator, scratches, sizeof *l->scratch);
    l->places = alloc_array(&l->allocator, (size_t)l->place_count, sizeof *l->places);
    if (l->scratch == NULL || l->places == NULL) {
        return alloc_failed(error, scratches * sizeof *l->scratch);
    }
    for (size_t i = 0; i < scratches; i++) {
        recycle_init(&l->scratch[i], &l->allocator);
    }
    for (int i = 0; i < l->place_count; i++) {
        spry_status status = place_reserve(l, &l->places[i], sampler_usual(&l->sampler), error);

        if (status != SPRY_OK) {
            return status;
        }
    }
    return SPRY_OK;
}

static spry_status make_threads(loader *l, spry_error *error)
{
    if (pthread_mutex_init(&l->lock, NULL) != 0) {
        return alloc_failed(error, 0);
    }
    if (pthread_cond_init(&l->wanted, NULL) != 0) {
        (void)pthread_mutex_destroy(&l->lock);
        return alloc_failed(error, 0);
    }
    if (pthread_cond_init(&l->prepared, NULL) != 0) {
        (void)pthread_cond_destroy(&l->wanted);
        (void)pthread_mutex_destroy(&l->lock);
        return alloc_failed(error, 0);
    }
    l->locks = true;
    return background_start(&l->allocator, l->options.threads, thread_body, l, &l->threads, error);
}

static spry_status set_up(loader *l, spry_error *error)
{
    spry_status status = augment_check(&l->augment, l->data->pictures, error);

    if (status == SPRY_OK) {
        status = make_sampler(l, error);
    }
    if (status == SPRY_OK) {
        status = resolve(l, error);
    }
    if (status == SPRY_OK) {
        status = make_places(l, error);
    }
    return status == SPRY_OK ? make_threads(l, error) : status;
}

spry_status loader_create(spry_dataset *d, const loader_options *options,
                          const spry_allocator *allocator, loader **made, spry_error *error)
{
    spry_allocator source = alloc_resolve(allocator);
    spry_status status = check_options(options, error);
    loader *l;

    *made = NULL;
    if (status != SPRY_OK) {
        return status;
    }
    l = alloc_zeroed(&source, sizeof *l);
    if (l == NULL) {
        return alloc_failed(error, sizeof *l);
    }
    l->allocator = source;
    l->data = d;
    l->options = *options;
    l->recipe = options->recipe != NULL ? *options->recipe : spry_preprocess_default();
    if (options->augment != NULL) {
        l->augment = *options->augment;
    }
    /* One more than are prepared in advance, for the one that the caller holds. */
    l->place_count = options->threads == 0 ? 1 : options->ahead > 1 ? options->ahead + 1 : 2;
    status = set_up(l, error);
    if (status != SPRY_OK) {
        loader_destroy(l);
        return status;
    }
    *made = l;
    return SPRY_OK;
}

void loader_destroy(loader *l)
{
    spry_allocator source;

    if (l == NULL) {
        return;
    }
    if (l->locks) {
        (void)pthread_mutex_lock(&l->lock);
        atomic_store(&l->stop, true);
        (void)pthread_cond_broadcast(&l->wanted);
        (void)pthread_mutex_unlock(&l->lock);
        background_join(l->threads);
        (void)pthread_cond_destroy(&l->prepared);
        (void)pthread_cond_destroy(&l->wanted);
        (void)pthread_mutex_destroy(&l->lock);
    }
    source = l->allocator;
    for (int i = 0; l->places != NULL && i < l->place_count; i++) {
        index_list *skipped = &l->places[i].skipped;

        place_release(l, &l->places[i]);
        alloc_release(&source, skipped->items, skipped->room * sizeof *skipped->items);
    }
    for (int i = 0; l->scratch != NULL && i <= l->options.threads; i++) {
        recycle_fini(&l->scratch[i]);
    }
    alloc_release(&source, l->places, (size_t)l->place_count * sizeof *l->places);
    alloc_release(&source, l->scratch, ((size_t)l->options.threads + 1) * sizeof *l->scratch);
    alloc_release(&source, l->skipped.items, l->skipped.room * sizeof *l->skipped.items);
    sampler_fini(&l->sampler);
    alloc_release(&source, l, sizeof *l);
}

/* --- the caller's side ----------------------------------------------------------------------- */

/* Gives back what the caller was looking at. Called with the lock. */
static void let_go(loader *l)
{
    if (l->held != NULL) {
        l->held->state = PLACE_READY;
        l->held = NULL;
    }
}

void loader_seek(loader *l, int64_t step)
{
    (void)pthread_mutex_lock(&l->lock);
    l->next = step > 0 ? step : 0;
    (void)pthread_cond_broadcast(&l->wanted);
    (void)pthread_mutex_unlock(&l->lock);
}

/* Counts what could not be read for this batch. Batches come in the same order whatever the
 * threads do, so the first complaint is always the same. */
static spry_status take_notice(loader *l, const place *p, spry_error *error)
{
    spry_status status = SPRY_OK;

    if (p->skipped.count > 0 && l->skipped.count == 0) {
        (void)snprintf(l->warning, sizeof l->warning, "%s: %s", p->why.where, p->why.what);
    }
    for (size_t i = 0; i < p->skipped.count && status == SPRY_OK; i++) {
        status = list_add(&l->allocator, &l->skipped, p->skipped.items[i], error);
    }
    return status;
}

spry_status loader_next(loader *l, const loader_batch **batch, spry_error *error)
{
    spry_status status = SPRY_OK;
    place *p;

    *batch = NULL;
    (void)pthread_mutex_lock(&l->lock);
    let_go(l);
    (void)pthread_cond_broadcast(&l->wanted);
    p = await(l);
    if (p->state == PLACE_FAILED) {
        status = p->error.code;
        if (error != NULL) {
            *error = p->error;
        }
        p->state = PLACE_EMPTY;
    } else {
        status = take_notice(l, p, error);
    }
    if (status == SPRY_OK) {
        p->state = PLACE_HELD;
        l->held = p;
        l->next++;
        p->batch = (loader_batch){.inputs = &p->inputs,
                                  .labels = p->labels,
                                  .indices = p->indices,
                                  .count = p->count,
                                  .step = p->step,
                                  .epoch = p->step / sampler_steps_per_epoch(&l->sampler)};
        *batch = &p->batch;
    }
    (void)pthread_cond_broadcast(&l->wanted);
    (void)pthread_mutex_unlock(&l->lock);
    return status;
}

int64_t loader_steps_per_epoch(const loader *l)
{
    return sampler_steps_per_epoch(&l->sampler);
}

const int64_t *loader_shape(const loader *l)
{
    return l->plan.shape;
}

int64_t loader_skipped(const loader *l)
{
    return (int64_t)l->skipped.count;
}

const char *loader_warning(const loader *l)
{
    return l->skipped.count > 0 ? l->warning : NULL;
}
