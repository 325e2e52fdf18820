/* Checkpoints of a run of training: what is written, and what must fit when it is read. */
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/json.h"
#include "train/trainer.h"

enum { STATE_VERSION = 1, MOST_NAME = 1024, MOST_STATE_BYTES = 64 << 20 };

/* ---- writing ---- */

static void write_epochs(const trainer *t, json_writer *json)
{
    json_write_array(json, "epochs");
    for (int64_t i = 0; i < t->facts->epoch_count; i++) {
        const spry_train_epoch *row = &t->facts->epochs[i];

        json_write_object(json, NULL);
        json_write_i64(json, "epoch", row->epoch);
        json_write_i64(json, "step", row->step);
        json_write_f64(json, "loss", row->loss);
        json_write_f64(json, "accuracy", row->accuracy);
        json_write_f64(json, "validation", row->validation);
        json_write_f64(json, "validation_loss", row->validation_loss);
        json_write_f64(json, "rate", row->rate);
        json_write_f64(json, "seconds", row->seconds);
        json_write_end(json);
    }
    json_write_end(json);
}

static spry_status write_state(const trainer *t, text *to, spry_error *error)
{
    json_writer json;

    json_writer_init(&json, to, 2);
    json_write_object(&json, NULL);
    json_write_i64(&json, "version", STATE_VERSION);
    json_write_i64(&json, "step", t->step);
    json_write_i64(&json, "steps", t->steps);
    json_write_i64(&json, "batch", t->options.batch);
    json_write_i64(&json, "accumulate", t->options.accumulate);
    json_write_u64(&json, "seed", t->options.seed);
    json_write_i64(&json, "samples", spry_dataset_count(t->options.data));
    json_write_f64(&json, "noise", t->facts->totals.noise);
    json_write_f64(&json, "epoch_loss", t->epoch_loss);
    json_write_i64(&json, "epoch_right", t->epoch_right);
    json_write_i64(&json, "epoch_seen", t->epoch_seen);
    json_write_f64(&json, "best", t->facts->totals.best);
    json_write_i64(&json, "best_epoch", t->facts->totals.best_epoch);
    write_epochs(t, &json);
    json_write_end(&json);
    return text_status(to, "the state of training", error);
}

/* Every tensor of every array, under the array's name and its own. */
static spry_status list_tensors(trainer *t, checkpoint_tensor *list, tensor *tensors, arena *memory,
                                int32_t *count, spry_error *error)
{
    spry_status status = SPRY_OK;

    *count = 0;
    for (int a = 0; a < t->array_count; a++) {
        const trainer_array *array = &t->arrays[a];

        for (int32_t i = 0; i < array->set->count && status == SPRY_OK; i++) {
            const parameter *p = &array->set->items[i];
            char name[MOST_NAME];
            int length = snprintf(name, sizeof name, "%s%s", array->name, p->name);

            list[*count] = (checkpoint_tensor){
                .part = array->part,
                .name = arena_text(memory, name, strlen(name)),
                .value = &tensors[*count],
            };
            if (list[*count].name == NULL) {
                return alloc_failed(error, (size_t)length);
            }
            status = tensor_init(&tensors[*count], SPRY_DTYPE_F32, p->rank, p->shape,
                                 array->numbers + p->offset, error);
            (*count)++;
        }
    }
    return status;
}

static spry_status save(trainer *t, bool is_best, arena *memory, text *state, spry_error *error)
{
    const checkpoint_keep keep = {.last = t->options.checkpoint_last, .best = is_best};
    size_t most = 1;
    checkpoint_tensor *list;
    tensor *tensors;
    int32_t count;
    spry_status status;

    for (int a = 0; a < t->array_count; a++) {
        most += (size_t)t->arrays[a].set->count;
    }
    list = arena_array(memory, most, sizeof *list);
    tensors = arena_array(memory, most, sizeof *tensors);
    if (list == NULL || tensors == NULL) {
        return alloc_failed(error, most * sizeof *tensors);
    }
    status = list_tensors(t, list, tensors, memory, &count, error);
    if (status == SPRY_OK) {
        status = write_state(t, state, error);
    }
    return status == SPRY_OK ? checkpoint_save(t->options.checkpoints, t->step, list, count,
                                               state->data, &keep, error)
                             : status;
}

spry_status trainer_save(trainer *t, bool is_best, spry_error *error)
{
    arena memory;
    text state;
    spry_status status;

    if (t->options.checkpoints == NULL || t->step == t->saved_step) {
        return SPRY_OK;
    }
    arena_init(&memory, &t->allocator, SIZE_MAX);
    text_init(&state, &t->allocator, MOST_STATE_BYTES);
    status = save(t, is_best, &memory, &state, error);
    text_fini(&state);
    arena_fini(&memory);
    if (status == SPRY_OK) {
        t->saved_step = t->step;
    }
    return status;
}

/* ---- reading ---- */

static spry_status read_array(const trainer_array *array, const checkpoint *c, spry_error *error)
{
    for (int32_t i = 0; i < array->set->count; i++) {
        const parameter *p = &array->set->items[i];
        char name[MOST_NAME];
        const tensor *found;

        (void)snprintf(name, sizeof name, "%s%s", array->name, p->name);
        found = checkpoint_find(c, array->part, name);
        if (found == NULL || found->dtype != SPRY_DTYPE_F32 || found->rank != p->rank ||
            memcmp(found->shape, p->shape, (size_t)p->rank * sizeof *p->shape) != 0) {
            return spry_fail(error, SPRY_BAD_INPUT, checkpoint_path(c),
                             "resume with the model and options that it was written with",
                             "tensor %s is missing, or of another shape", name);
        }
        memcpy(array->numbers + p->offset, found->data, (size_t)p->count * sizeof(float));
    }
    return SPRY_OK;
}

/* Steps are accounted as all alike. */
static spry_status check_noise(const trainer *t, const json_node *state, const checkpoint *c,
                               spry_error *error)
{
    double before = 0;
    spry_status status = json_get_f64(state, "noise", 0, 1e300, &before, error);

    if (status == SPRY_OK && before != t->facts->totals.noise) {
        return spry_fail(error, SPRY_USAGE, checkpoint_path(c),
                         "resume with the same steps, epsilon, delta and clip",
                         "the noise was %g there and is %g now", before, t->facts->totals.noise);
    }
    return status;
}

/* What must be as it was for the batches to be the same. */
static spry_status check_same(const trainer *t, const json_node *state, const checkpoint *c,
                              spry_error *error)
{
    const struct {
        const char *key;
        int64_t now;
    } same[] = {
        {"version", STATE_VERSION},
        {"batch", t->options.batch},
        {"accumulate", t->options.accumulate},
        {"samples", spry_dataset_count(t->options.data)},
        {"seed", (int64_t)t->options.seed},
    };

    for (size_t i = 0; i < sizeof same / sizeof *same; i++) {
        int64_t before = 0;
        spry_status status = json_get_i64(state, same[i].key, INT64_MIN, INT64_MAX, &before, error);

        if (status != SPRY_OK) {
            return status;
        }
        if (before != same[i].now) {
            return spry_fail(error, SPRY_USAGE, checkpoint_path(c),
                             "resume with the same data and options, or start afresh",
                             "%s was %lld there and is %lld now", same[i].key, (long long)before,
                             (long long)same[i].now);
        }
    }
    return check_noise(t, state, c, error);
}

static spry_status read_epoch(const json_node *node, const trainer *t, spry_train_epoch *row,
                              spry_error *error)
{
    const struct {
        const char *key;
        double *number;
    } numbers[] = {
        {"loss", &row->loss},       {"accuracy", &row->accuracy},
        {"rate", &row->rate},       {"validation", &row->validation},
        {"seconds", &row->seconds}, {"validation_loss", &row->validation_loss},
    };
    spry_status status = json_get_i64(node, "epoch", 0, INT64_MAX, &row->epoch, error);

    if (status == SPRY_OK) {
        status = json_get_i64(node, "step", 0, INT64_MAX, &row->step, error);
    }
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers && status == SPRY_OK; i++) {
        status = json_get_f64(node, numbers[i].key, -1e300, 1e300, numbers[i].number, error);
    }
    row->epochs = (t->steps + t->epoch_steps - 1) / t->epoch_steps;
    return status;
}

static spry_status read_epochs(trainer *t, const json_node *state, spry_error *error)
{
    json_node list;
    spry_status status = json_get_array(state, "epochs", &list, error);
    size_t count = status == SPRY_OK ? json_length(&list) : 0;

    for (size_t i = 0; i < count && status == SPRY_OK; i++) {
        spry_train_epoch row = {0};
        json_node item;

        json_item(&list, i, &item);
        status = read_epoch(&item, t, &row, error);
        if (status == SPRY_OK) {
            status = training_add_epoch(t->facts, &row, error);
            t->facts->totals.loss = row.loss;
        }
    }
    return status;
}

static spry_status read_state(trainer *t, const checkpoint *c, spry_error *error)
{
    json_node state;
    spry_status status;

    json_root(checkpoint_state(c), &state);
    status = check_same(t, &state, c, error);
    if (status == SPRY_OK) {
        status = json_get_i64(&state, "step", 0, t->steps, &t->step, error);
    }
    if (status == SPRY_OK) {
        status = json_get_f64(&state, "epoch_loss", -1e300, 1e300, &t->epoch_loss, error);
    }
    if (status == SPRY_OK) {
        status = json_get_i64(&state, "epoch_right", 0, INT64_MAX, &t->epoch_right, error);
    }
    if (status == SPRY_OK) {
        status = json_get_i64(&state, "epoch_seen", 0, INT64_MAX, &t->epoch_seen, error);
    }
    if (status == SPRY_OK) {
        status = json_get_f64(&state, "best", -1, 1, &t->facts->totals.best, error);
    }
    if (status == SPRY_OK) {
        status =
            json_get_i64(&state, "best_epoch", -1, INT64_MAX, &t->facts->totals.best_epoch, error);
    }
    return status == SPRY_OK ? read_epochs(t, &state, error) : status;
}

spry_status trainer_resume(trainer *t, spry_error *error)
{
    checkpoint *c = NULL;
    spry_status status;

    if (!t->options.resume || !checkpoint_exists(t->options.checkpoints)) {
        return SPRY_OK;
    }
    status = checkpoint_load(t->options.checkpoints, &t->allocator, &c, error);
    if (status != SPRY_OK) {
        return status;
    }
    if (checkpoint_warning(c) != NULL) {
        trainer_note(t, "going on from %s: %s", checkpoint_path(c), checkpoint_warning(c));
    }
    status = read_state(t, c, error);
    for (int a = 0; a < t->array_count && status == SPRY_OK; a++) {
        status = read_array(&t->arrays[a], c, error);
    }
    t->saved_step = t->step;
    checkpoint_close(c);
    return status;
}
