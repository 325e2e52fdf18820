/* The loop: batches in, steps of the optimizer, epochs, checkpoints. */
#include "train/trainer.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/progress.h"
#include "spry/random.h"
#include "train/validate.h"

enum {
    OPERATOR_STREAM = 0x7472, /* of the seed: what is random inside the model */
    SUM_GRAIN = 1 << 14,
    AVERAGE_START = 10 /* the moving average keeps at most (1 + t) / (10 + t) at step t, so that it
                          soon forgets where training began */
};

void trainer_note(const trainer *t, const char *format, ...)
{
    const spry_train_observer *observer = t->options.observer;
    char sentence[1024];
    va_list arguments;

    if (observer == NULL || observer->note == NULL) {
        return;
    }
    va_start(arguments, format);
    (void)vsnprintf(sentence, sizeof sentence, format, arguments);
    va_end(arguments);
    observer->note(observer->context, sentence);
}

/* ---- one batch ---- */

uint64_t trainer_seed(const trainer *t, int64_t number)
{
    spry_random r = spry_random_stream(t->options.seed, OPERATOR_STREAM);

    spry_random_seek(&r, (uint64_t)number * 2);
    return spry_random_u64(&r);
}

/* Labels below 0 do not count. */
static void count_right(trainer *t, const int64_t *labels)
{
    int64_t classes = t->p->classes;
    bool has_spans = t->options.objective != NULL && t->options.objective->has_spans;

    for (int64_t i = 0; i < t->p->batch; i++) {
        int64_t label = has_spans && labels[i] >= 0 ? labels[i] % classes : labels[i];

        t->epoch_right += validate_best(t->p->scores + i * classes, classes) == label;
        t->epoch_seen += labels[i] >= 0;
    }
    t->samples += t->p->batch;
}

spry_status trainer_explain_odd(trainer *t, const tensor *const *inputs, const tensor *targets,
                                int64_t number, spry_error *error)
{
    char found[SPRY_ERROR_WHERE_SIZE] = "the gradient";
    spry_status status = program_find_odd(t->p, inputs, targets, trainer_seed(t, number), error);

    if (status == SPRY_BAD_INPUT) {
        (void)snprintf(found, sizeof found, "%s", error->where);
    } else if (status != SPRY_OK) {
        return status;
    }
    return spry_fail(error, SPRY_BAD_INPUT, found,
                     "lower the learning rate, clip the gradient, or warm up longer",
                     "the loss or its gradient is not finite any more at step %lld; the first "
                     "operator to give such a result is named; weights stay as the step before "
                     "left them",
                     (long long)t->step);
}

/* The next batch of every input into `held`. All samples at once are read once. */
static spry_status hold_batch(trainer *t, spry_error *error)
{
    size_t bytes = (size_t)t->p->batch * sizeof(int64_t);
    spry_status status = SPRY_OK;

    for (int32_t i = 0; i < t->parts.count && status == SPRY_OK; i++) {
        if (!t->options.whole || t->held[i] == NULL) {
            status = loader_next(i == 0 ? t->batches : t->further[i], &t->held[i], error);
        }
        if (status == SPRY_OK && memcmp(t->held[i]->indices, t->held[0]->indices, bytes) != 0) {
            status = spry_fail(error, SPRY_BAD_INPUT, t->parts.ports[i].name, NULL,
                               "samples of several inputs differ");
        }
    }
    return status;
}

static const int64_t *labels_of(const trainer *t)
{
    for (int64_t i = 0; i < t->p->batch && t->mask_labels != NULL; i++) {
        t->mask_labels[i] = t->mask[t->held[0]->indices[i]] != 0 ? t->held[0]->labels[i] : -1;
    }
    return t->mask_labels != NULL ? t->mask_labels : t->held[0]->labels;
}

/* One batch: its gradient lies in the program, scaled down to `limit` where `norm` was longer. */
static spry_status learn_batch(trainer *t, int64_t number, double limit, double *loss, double *norm,
                               spry_error *error)
{
    const tensor *inputs[INPUTS_MOST];
    const int64_t *labels;
    tensor targets;
    spry_status status = hold_batch(t, error);

    if (status != SPRY_OK) {
        return status;
    }
    labels = labels_of(t); /* the program only reads its targets */
    status = tensor_init(&targets, SPRY_DTYPE_I64, 1, &t->p->batch, (void *)labels, error);
    if (status != SPRY_OK) {
        return status;
    }
    for (int32_t i = 0; i < t->parts.count; i++) {
        inputs[i] = t->held[i]->inputs;
    }
    status = program_run(t->p, inputs, &targets, trainer_seed(t, number), error);
    if (status != SPRY_OK) {
        return status;
    }
    *loss = (double)t->p->loss;
    *norm = optimizer_clip(t->team, limit, t->p->weights.length, t->p->gradients);
    if (!isfinite(*loss) || !isfinite(*norm)) {
        return trainer_explain_odd(t, inputs, &targets, number, error);
    }
    count_right(t, labels);
    return SPRY_OK;
}

/* ---- one step ---- */

typedef struct sum_loop {
    float *sum;
    const float *addend;
    float factor; /* of the sum, afterwards */
    bool is_first;
} sum_loop;

static void add_piece(void *context, int64_t begin, int64_t end, int worker)
{
    const sum_loop *l = context;

    (void)worker;
    for (int64_t i = begin; i < end; i++) {
        l->sum[i] = ((l->is_first ? 0.0f : l->sum[i]) + l->addend[i]) * l->factor;
    }
}

void trainer_add(trainer *t, float *sum, const float *addend, float factor, bool is_first)
{
    sum_loop l = {sum, addend, factor, is_first};

    threads_for(t->team, t->p->weights.length, SUM_GRAIN, add_piece, &l);
}

/* The mean gradient of as many batches as make a step, scaled down to `limit` where `norm` was
 * longer. */
static spry_status find_gradient(trainer *t, double limit, double *loss, double *norm,
                                 float **gradient, spry_error *error)
{
    int64_t parts = t->options.accumulate;
    double of_part = t->sum != NULL ? INFINITY : limit;
    spry_status status = SPRY_OK;

    *loss = 0;
    *gradient = t->sum != NULL ? t->sum : t->p->gradients;
    for (int64_t i = 0; i < parts && status == SPRY_OK; i++) {
        double part = 0;

        status = learn_batch(t, t->step * parts + i, of_part, &part, norm, error);
        if (status != SPRY_OK) {
            break;
        }
        program_keep_statistics(t->p);
        t->epoch_told += 1.0 / (double)parts;
        for (int k = 0; k < OBJECTIVE_WATCHED; k++) {
            t->epoch_watched[k] += (double)t->p->watched[k] / (double)parts;
        }
        *loss += part / (double)parts;
        if (t->sum != NULL) {
            trainer_add(t, t->sum, t->p->gradients, i + 1 == parts ? 1.0f / (float)parts : 1.0f,
                        i == 0);
        }
    }
    if (status == SPRY_OK && t->sum != NULL) {
        *norm = optimizer_clip(t->team, limit, t->p->weights.length, t->sum);
    }
    return status;
}

static void move_weights(trainer *t, float *gradient, double rate)
{
    double keep = (1.0 + (double)t->step) / (AVERAGE_START + (double)t->step);

    for (int32_t i = 0; i < t->range_count; i++) {
        const trainer_range *r = &t->ranges[i];
        optimizer rule = t->rule;
        float *state[TRAINER_STATES];

        for (int k = 0; k < TRAINER_STATES; k++) {
            state[k] = t->state[k] != NULL ? t->state[k] + r->offset : NULL;
        }
        rule.decay = t->options.decay * r->decay;
        optimizer_step(&rule, t->team, rate * r->rate, t->step + 1, r->length, gradient + r->offset,
                       t->p->numbers + r->offset, state);
    }
    if (t->average != NULL) {
        keep = keep < t->options.average ? keep : t->options.average;
        optimizer_average(t->team, keep, t->p->weights.length, t->p->numbers, t->average);
    }
}

static void tell_step(const trainer *t, double loss, double rate, double norm)
{
    const spry_train_observer *observer = t->options.observer;
    const spry_train_step told = {.step = t->step,
                                  .steps = t->steps,
                                  .epoch = (t->step - 1) / t->epoch_steps,
                                  .loss = loss,
                                  .rate = rate,
                                  .norm = norm,
                                  .seconds = (double)(clock_ns() - t->started_ns) * 1e-9};

    if (observer != NULL && observer->step != NULL) {
        observer->step(observer->context, &told);
    }
}

static void set_objective(trainer *t)
{
    const spry_train_objective *o = t->options.objective;

    for (int32_t i = 0; o != NULL && i < o->setting_count; i++) {
        t->p->settings[i] = (float)o->setting(o, i, (double)t->step / (double)t->steps);
    }
}

static void hold_weights(trainer *t)
{
    const spry_train_objective *o = t->options.objective;

    if (o != NULL && o->hold != NULL) {
        o->hold(o, &t->p->weights, t->step, t->steps, t->p->numbers, t->average);
    }
}

static spry_status learn_step(trainer *t, spry_error *error)
{
    double rate = schedule_at(&t->rates, t->step);
    double limit = t->options.clip > 0 ? t->options.clip : INFINITY;
    double loss = 0;
    double norm = 0;
    float *gradient = NULL;
    spry_status status;

    t->p->cooling[GUMBEL_TEMPERATURE] = (float)schedule_at(&t->cooling, t->step);
    t->p->cooling[GUMBEL_NOISE] = (float)schedule_at(&t->noise, t->step);
    set_objective(t);
    status = t->secret != NULL ? trainer_private_gradient(t, limit, &loss, &norm, &gradient, error)
                               : find_gradient(t, limit, &loss, &norm, &gradient, error);
    if (status != SPRY_OK) {
        return status;
    }
    move_weights(t, gradient, rate);
    t->step++;
    hold_weights(t);
    t->epoch_loss += loss;
    tell_step(t, loss, rate, norm);
    return training_add_loss(t->facts, (float)loss, error);
}

/* ---- one epoch ---- */

static const float *result_numbers(const trainer *t)
{
    return t->average != NULL ? t->average : t->p->numbers;
}

/* Validation of the weights as they would be handed out now. */
static spry_status measure(trainer *t, spry_train_epoch *row, bool *is_best, spry_error *error)
{
    spry_training_totals *totals = &t->facts->totals;
    validation found;
    spry_model *m = NULL;
    spry_status status =
        program_export(t->p, t->source, result_numbers(t), t->p->running, &m, error);

    if (status == SPRY_OK) {
        status = validate(m, &t->options, t->p->classes, &found, error);
    }
    spry_model_destroy(m);
    if (status != SPRY_OK) {
        return status;
    }
    row->validation = found.accuracy;
    row->validation_loss = found.loss;
    *is_best = found.accuracy > totals->best;
    if (*is_best) {
        totals->best = found.accuracy;
        totals->best_epoch = row->epoch - 1;
        if (t->best != NULL) {
            memcpy(t->best, result_numbers(t), (size_t)t->p->weights.length * sizeof(float));
            memcpy(t->best_running, t->p->running, (size_t)t->p->statistics.length * sizeof(float));
        }
    }
    return SPRY_OK;
}

/* Means over the steps of the epoch, or those since training was resumed. */
static void tell_watched(trainer *t, spry_train_epoch *row)
{
    const spry_train_objective *o = t->options.objective;

    row->watched_count = o != NULL ? o->watched_count : 0;
    for (int32_t i = 0; i < row->watched_count; i++) {
        row->watched_names[i] = o->watched_names[i];
        row->watched[i] = t->epoch_told > 0 ? t->epoch_watched[i] / t->epoch_told : 0;
    }
    memset(t->epoch_watched, 0, sizeof t->epoch_watched);
    t->epoch_told = 0;
}

static spry_status end_epoch(trainer *t, spry_error *error)
{
    const spry_train_observer *observer = t->options.observer;
    int64_t done = (t->step - 1) % t->epoch_steps + 1;
    spry_train_epoch row = {
        .epoch = (t->step - 1) / t->epoch_steps + 1,
        .epochs = (t->steps + t->epoch_steps - 1) / t->epoch_steps,
        .step = t->step,
        .loss = t->epoch_loss / (double)done,
        .accuracy = t->epoch_seen > 0 ? (double)t->epoch_right / (double)t->epoch_seen : 0,
        .validation = -1,
        .validation_loss = -1,
        .rate = schedule_at(&t->rates, t->step - 1)};
    bool is_best = false;
    spry_status status = SPRY_OK;

    tell_watched(t, &row);

    if (t->options.validation != NULL) {
        status = measure(t, &row, &is_best, error);
    }
    row.seconds = (double)(clock_ns() - t->epoch_started_ns) * 1e-9;
    t->facts->totals.loss = row.loss;
    if (status == SPRY_OK) {
        status = training_add_epoch(t->facts, &row, error);
    }
    t->epoch_loss = 0;
    t->epoch_right = 0;
    t->epoch_seen = 0;
    t->epoch_started_ns = clock_ns();
    if (status == SPRY_OK) {
        status = trainer_save(t, is_best, error);
    }
    if (status == SPRY_OK && observer != NULL && observer->epoch != NULL) {
        observer->epoch(observer->context, &row);
    }
    return status;
}

/* ---- the whole ---- */

static spry_status after_step(trainer *t, spry_error *error)
{
    int64_t every = t->options.checkpoint_steps;

    if (t->step % t->epoch_steps == 0 || t->step == t->steps) {
        return end_epoch(t, error);
    }
    return every > 0 && t->step % every == 0 ? trainer_save(t, false, error) : SPRY_OK;
}

static spry_status report(const trainer *t, spry_error *error)
{
    char task[64];

    (void)snprintf(task, sizeof task, "epoch %lld", (long long)(t->step / t->epoch_steps + 1));
    return progress_report(t->options.progress, task, (double)t->step, (double)t->steps, error);
}

static spry_status learn(trainer *t, spry_error *error)
{
    spry_status status = SPRY_OK;

    loader_seek(t->batches, t->step * t->options.accumulate);
    for (int32_t i = 1; i < t->parts.count; i++) {
        loader_seek(t->further[i], t->step * t->options.accumulate);
    }
    hold_weights(t);
    t->started_ns = clock_ns();
    t->epoch_started_ns = t->started_ns;
    while (status == SPRY_OK && t->step < t->steps) {
        status = report(t, error);
        if (status == SPRY_OK) {
            status = learn_step(t, error);
        }
        if (status == SPRY_OK) {
            status = after_step(t, error);
        }
    }
    if (status == SPRY_CANCELLED) { /* what was learnt so far is the result */
        t->facts->totals.is_stopped = true;
        status = trainer_save(t, false, error);
    }
    return status;
}

static void sum_up(trainer *t)
{
    spry_training_totals *totals = &t->facts->totals;

    int64_t part = t->step % t->epoch_steps; /* of an epoch that was not finished */

    totals->steps = t->step;
    if (part > 0 && t->step < t->steps) {
        totals->loss = t->epoch_loss / (double)part;
    }
    totals->seconds = (double)(clock_ns() - t->started_ns) * 1e-9;
    totals->samples_per_second = totals->seconds > 0 ? (double)t->samples / totals->seconds : 0;
    totals->epsilon = t->secret != NULL ? trainer_private_epsilon(t, t->step) : 0;
    totals->skipped = loader_skipped(t->batches);
    if (totals->skipped > 0) {
        trainer_note(t, "%lld samples could not be read and were left out; the first: %s",
                     (long long)totals->skipped, loader_warning(t->batches));
    }
}

spry_status spry_train(const spry_model *source, const spry_train_options *options,
                       spry_model **trained, spry_training **facts, spry_error *error)
{
    trainer t;
    spry_status status = trainer_open(&t, source, options, error);

    *trained = NULL;
    *facts = NULL;
    if (status == SPRY_OK) {
        status = trainer_resume(&t, error);
    }
    if (status == SPRY_OK) {
        status = learn(&t, error);
    }
    if (status == SPRY_OK) {
        bool best = t.best != NULL && t.facts->totals.best >= 0;

        sum_up(&t);
        status = program_export(t.p, source, best ? t.best : result_numbers(&t),
                                best ? t.best_running : t.p->running, trained, error);
    }
    if (status == SPRY_OK) {
        *facts = t.facts;
        t.facts = NULL;
    }
    trainer_close(&t);
    return status;
}
