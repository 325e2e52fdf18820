/* From options to everything that the steps of training need. */
#include <math.h>
#include <string.h>

#include "base/alloc.h"
#include "train/gumbel.h"
#include "train/trainer.h"
#include "train/training_form.h"

enum { LOADER_THREADS = 1, LOADER_AHEAD = 3, LARGEST_BATCH = 1 << 20 };

/* Batches of a size that is drawn are cut into parts, of which the last is filled up: the smaller
 * they are the less is wasted, and the worse products and threads are used. */
enum { PRIVATE_PARTS = 8, LEAST_PRIVATE_PART = 16 };

spry_train_options spry_train_options_default(void)
{
    return (spry_train_options){.struct_size = sizeof(spry_train_options),
                                .batch = 64,
                                .epochs = 10,
                                .accumulate = 1,
                                .optimizer = SPRY_OPTIMIZER_SGD,
                                .rate = 0.05,
                                .decay = 5e-4,
                                .momentum = 0.9,
                                .beta1 = 0.9,
                                .beta2 = 0.999,
                                .epsilon = 1e-8,
                                .schedule = SPRY_SCHEDULE_COSINE,
                                .gamma = 0.1,
                                .checkpoint_last = 3,
                                .temperature = 5.0,
                                .temperature_end = 0.1,
                                .temperature_schedule = SPRY_SCHEDULE_EXPONENTIAL,
                                .gate_noise = 1.0,
                                .gate_noise_end = 1.0};
}

/* ---- checking ---- */

static spry_status out_of_range(const char *name, double number, const char *range,
                                spry_error *error)
{
    return spry_fail(error, SPRY_USAGE, name, range, "%g is out of range", number);
}

static spry_status check_numbers(const spry_train_options *o, spry_error *error)
{
    const struct {
        const char *name;
        double number, least, most; /* least and most are allowed */
        const char *range;
    } limits[] = {
        {"batch", (double)o->batch, 1, LARGEST_BATCH, "use 1 to 1048576"},
        {"epochs", (double)o->epochs, 1, 1e9, "use 1 or more"},
        {"steps", (double)o->steps, 0, 1e12, "use 0 (by epochs) or more"},
        {"accumulate", (double)o->accumulate, 1, 1e6, "use 1 or more"},
        {"learning rate", o->rate, 0, 1e6, "use 0 or more"},
        {"decay", o->decay, 0, 1e6, "use 0 or more"},
        {"momentum", o->momentum, 0, 0.999999, "use 0 to below 1"},
        {"beta1", o->beta1, 0, 0.999999999, "use 0 to below 1"},
        {"beta2", o->beta2, 0, 0.999999999, "use 0 to below 1"},
        {"epsilon", o->epsilon, 1e-30, 1e6, "use a small positive number"},
        {"warm-up", (double)o->warm_up, 0, 1e12, "use 0 or more steps"},
        {"least rate", o->least, 0, 1e6, "use 0 or more"},
        {"gamma", o->gamma, 0, 1e3, "use 0 or more"},
        {"clip", o->clip, 0, 1e30, "use 0 (any length) or more"},
        {"average", o->average, 0, 0.999999999, "use 0 (none) to below 1"},
        {"smoothing", o->smoothing, 0, 0.999999, "use 0 to below 1"},
        {"epsilon", o->private_epsilon, 0, 1e6, "use 0 (no privacy) or more"},
        {"noise", o->private_noise, 0, 1e6, "use 0 (from epsilon) or more"},
        {"temperature", o->temperature, 1e-3, 1e6, "use 0.001 or more"},
        {"gate noise", o->gate_noise, 0, 1e3, "use 0 to 1000"},
        {"last gate noise", o->gate_noise_end, 0, 1e3, "use 0 to 1000"},
        {"last temperature", o->temperature_end, 1e-3, 1e6, "use 0.001 or more"},
        {"checkpoint steps", (double)o->checkpoint_steps, 0, 1e12, "use 0 or more"},
        {"checkpoints kept", (double)o->checkpoint_last, 0, 1e6, "use 0 (all) or more"},
    };

    for (size_t i = 0; i < sizeof limits / sizeof *limits; i++) {
        /* written so that what is no number fails too */
        if (!(limits[i].number >= limits[i].least && limits[i].number <= limits[i].most)) {
            return out_of_range(limits[i].name, limits[i].number, limits[i].range, error);
        }
    }
    return SPRY_OK;
}

/* Written so that what is no number fails too. */
static spry_status check_private(const spry_train_options *o, spry_error *error)
{
    if (!(o->private_clip > 0 && o->private_clip < 1e30)) {
        return out_of_range("privacy: clip", o->private_clip, "use a positive length", error);
    }
    if (!(o->private_delta > 0 && o->private_delta < 1)) {
        return out_of_range("privacy: delta", o->private_delta,
                            "use a probability well below 1 / samples", error);
    }
    if (o->accumulate != 1 || o->balanced) {
        return spry_fail(error, SPRY_USAGE, "privacy",
                         "leave accumulation and balancing out; batches of any size fit",
                         "privacy is accounted for samples that are drawn independently");
    }
    if (o->batch > spry_dataset_count(o->data)) {
        return out_of_range("batch", (double)o->batch, "use at most the number of samples", error);
    }
    return SPRY_OK;
}

static spry_status check_options(const spry_train_options *o, spry_error *error)
{
    if (o->struct_size != sizeof *o) {
        return spry_fail(error, SPRY_USAGE, "spry_train_options",
                         "start from spry_train_options_default()", "struct_size is %zu",
                         o->struct_size);
    }
    if (o->data == NULL) {
        return spry_fail(error, SPRY_USAGE, "data", "give labelled samples", "no data given");
    }
    if ((unsigned)o->optimizer > SPRY_OPTIMIZER_ADAMW ||
        (unsigned)o->schedule > SPRY_SCHEDULE_ONE_CYCLE ||
        (unsigned)o->precision > SPRY_PRECISION_BF16) {
        return spry_fail(error, SPRY_USAGE, "spry_train_options", NULL,
                         "unknown optimizer, schedule or precision");
    }
    if (o->temperature_schedule != SPRY_SCHEDULE_CONSTANT &&
        o->temperature_schedule != SPRY_SCHEDULE_EXPONENTIAL &&
        o->temperature_schedule != SPRY_SCHEDULE_LINEAR &&
        o->temperature_schedule != SPRY_SCHEDULE_COSINE) {
        return spry_fail(error, SPRY_USAGE, "temperature",
                         "use constant, exponential, linear or "
                         "cosine",
                         "gates do not cool by that schedule");
    }
    if (o->whole && (o->balanced || o->accumulate != 1 || trainer_is_private(o))) {
        return spry_fail(error, SPRY_USAGE, "whole",
                         "leave balancing, accumulation and privacy out",
                         "all samples are one batch");
    }
    if (!o->whole && (o->mask != NULL || o->validation_mask != NULL)) {
        return spry_fail(error, SPRY_USAGE, "mask", "leave such samples out of the data",
                         "masks go with all samples as one batch");
    }
    if (o->resume && o->checkpoints == NULL) {
        return spry_fail(error, SPRY_USAGE, "resume", "name the folder of checkpoints",
                         "there is nothing to resume from");
    }
    if (o->keep_best && o->validation == NULL) {
        return spry_fail(error, SPRY_USAGE, "best", "give validation data",
                         "the best epoch is the one that validates best");
    }
    if (trainer_is_private(o) && o->objective != NULL) {
        return spry_fail(error, SPRY_USAGE, "privacy", "train without it, or by another method",
                         "the method's own loss does not fall apart into those of single samples");
    }
    if (trainer_is_private(o)) {
        spry_status status = check_private(o, error);

        if (status != SPRY_OK) {
            return status;
        }
    }
    return check_numbers(o, error);
}

/* ---- data ---- */

static spry_status check_port(const trainer *t, const spry_port *port, spry_error *error)
{
    const spry_train_options *o = &t->options;

    if (port->rank < 1) {
        return spry_fail(error, SPRY_UNSUPPORTED, port->name, NULL,
                         "the shape of the model's input is not known");
    }
    if (port->shape[0] > 0 && port->shape[0] != o->batch) {
        return spry_fail(error, SPRY_USAGE, port->name,
                         "export the model with an open batch, or train with that batch",
                         "the model takes batches of exactly %lld, not of %lld",
                         (long long)port->shape[0], (long long)o->batch);
    }
    return SPRY_OK;
}

/* All loaders draw alike. What several read must be readable, so that no stand-in parts them. */
static spry_status open_loader(trainer *t, int32_t i, spry_error *error)
{
    const spry_train_options *o = &t->options;
    const spry_port *port = &t->parts.ports[i];
    loader_options wanted = {
        .batch = o->batch,
        .order = trainer_is_private(o) ? SAMPLER_POISSON
                 : o->balanced         ? SAMPLER_BALANCED
                 : o->whole            ? SAMPLER_SEQUENTIAL
                                       : SAMPLER_SHUFFLED,
        .rate = (double)o->batch / (double)spry_dataset_count(o->data),
        .seed = o->seed,
        .recipe = t->known.rows != NULL ? NULL : input_arrays_recipe(&t->parts, i, &t->recipe),
        .augment = &t->steps_of_augment,
        .dtype = port->dtype,
        .rank = port->rank,
        .threads = o->whole ? 0 : LOADER_THREADS,
        .ahead = o->whole ? 0 : LOADER_AHEAD,
        .strict = o->strict || t->parts.count > 1};
    spry_status status = check_port(t, port, error);

    memcpy(wanted.shape, port->shape, sizeof wanted.shape);
    return status == SPRY_OK ? loader_create(t->parts.data[i], &wanted, &t->allocator,
                                             i == 0 ? &t->batches : &t->further[i], error)
                             : status;
}

static spry_status open_data(trainer *t, spry_error *error)
{
    const spry_train_options *o = &t->options;
    spry_dataset *data = t->known.rows != NULL ? t->known.rows : o->data;
    spry_status status =
        augment_parse(o->augment != NULL ? o->augment : "", &t->steps_of_augment, error);

    if (status == SPRY_OK) {
        status = input_arrays_open(t->learnt, data, &t->parts, error);
    }
    if (status == SPRY_OK && t->steps_of_augment.count > 0 && (t->parts.count > 1 || o->whole)) {
        return spry_fail(error, SPRY_USAGE, "augment", "leave it out",
                         "samples change by themselves, not together with other inputs or samples");
    }
    if (status == SPRY_OK && t->parts.count > 1 && trainer_is_private(o)) {
        return spry_fail(error, SPRY_UNSUPPORTED, t->source->path, NULL,
                         "training with privacy takes models with one input; this one has %d",
                         t->parts.count);
    }
    for (int32_t i = 0; i < t->parts.count && status == SPRY_OK; i++) {
        status = open_loader(t, i, error);
    }
    if (status == SPRY_OK) {
        status = input_mask(o->data, o->mask, &t->memory, &t->mask, error);
    }
    if (status == SPRY_OK && t->mask != NULL) {
        t->mask_labels = arena_array(&t->memory, (size_t)o->batch, sizeof *t->mask_labels);
        status = t->mask_labels != NULL ? SPRY_OK : alloc_failed(error, (size_t)o->batch);
    }
    return status;
}

/* Classes of the data must be scores of the model. */
static spry_status check_classes(const trainer *t, spry_error *error)
{
    int64_t classes = spry_dataset_class_count(t->options.data);
    int64_t count = spry_dataset_count(t->options.data);

    if (t->options.objective != NULL && t->options.objective->ignores_labels) {
        return SPRY_OK;
    }
    if (classes > t->p->classes) {
        return spry_fail(error, SPRY_USAGE, "data",
                         "use a model with as many classes, for example by spry adapt --classes",
                         "the data has %lld classes, the model gives %lld scores",
                         (long long)classes, (long long)t->p->classes);
    }
    for (int64_t i = 0; i < count; i++) {
        if (spry_dataset_label(t->options.data, i) < 0) {
            return spry_fail(error, SPRY_BAD_INPUT, "data", "every sample needs a class",
                             "sample %lld has no label", (long long)i);
        }
    }
    return SPRY_OK;
}

/* ---- the program ---- */

/* Samples in one run of the program. A model that wants batches of one size only gets those. */
static int64_t samples_per_run(const spry_train_options *o, const spry_port *port)
{
    int64_t part = o->batch / PRIVATE_PARTS;

    if (!trainer_is_private(o) || port->shape[0] > 0) {
        return o->batch;
    }
    part = part > LEAST_PRIVATE_PART ? part : LEAST_PRIVATE_PART;
    return part < o->batch ? part : o->batch;
}

static spry_status open_program(trainer *t, spry_error *error)
{
    const spry_train_options *o = &t->options;
    program_options wanted = {.loss = {.kind = LOSS_CROSS_ENTROPY,
                                       .smoothing = o->smoothing,
                                       .ignores = t->mask != NULL,
                                       .ignored = -1},
                              .rules = t->known.rest != NULL ? t->known.rules : o->rules,
                              .rule_count =
                                  t->known.rest != NULL ? t->known.rule_count : o->rule_count,
                              .freeze_statistics = o->freeze_statistics,
                              .clip = trainer_is_private(o) ? o->private_clip : 0,
                              .gates = o->gates,
                              .objective = o->objective,
                              .recompute = o->recompute,
                              .session = spry_session_options_default()};
    tensor tensors[INPUTS_MOST];
    const tensor *inputs[INPUTS_MOST];
    tensor targets;
    int64_t samples = samples_per_run(o, &t->parts.ports[0]);
    spry_status status = tensor_init(&targets, SPRY_DTYPE_I64, 1, &samples, NULL, error);

    wanted.session.precision = o->precision;
    wanted.session.allocator = &t->allocator;
    for (int32_t i = 0; i < t->parts.count && status == SPRY_OK; i++) {
        const spry_port *port = &t->parts.ports[i];
        int64_t shape[SPRY_TENSOR_MAX_RANK];

        memcpy(shape, loader_shape(i == 0 ? t->batches : t->further[i]),
               (size_t)port->rank * sizeof *shape);
        shape[0] = samples;
        status = tensor_init(&tensors[i], port->dtype, port->rank, shape, NULL, error);
        inputs[i] = &tensors[i];
    }
    return status == SPRY_OK ? program_create(t->learnt, &wanted, inputs, t->parts.count, &targets,
                                              t->team, &t->p, error)
                             : status;
}

static void note_unreached(const trainer *t)
{
    if (t->p->unreached_count > 0) {
        trainer_note(t, "no gradient reaches %d weights, which stay as they are; the first is %s",
                     t->p->unreached_count, t->p->unreached[0]);
    }
}

/* ---- the optimizer ---- */

static void choose_rule(trainer *t)
{
    const spry_train_options *o = &t->options;
    static const optimizer_kind kinds[] = {OPTIMIZER_SGD, OPTIMIZER_ADAM, OPTIMIZER_ADAMW};

    t->rule = (optimizer){.kind = kinds[o->optimizer],
                          .momentum = o->momentum,
                          .nesterov = o->nesterov,
                          .beta1 = o->beta1,
                          .beta2 = o->beta2,
                          .epsilon = o->epsilon};
}

static spry_status choose_rates(trainer *t, spry_error *error)
{
    const spry_train_options *o = &t->options;
    static const schedule_kind kinds[] = {SCHEDULE_CONSTANT,    SCHEDULE_COSINE,
                                          SCHEDULE_POLYNOMIAL,  SCHEDULE_MILESTONES,
                                          SCHEDULE_EXPONENTIAL, SCHEDULE_ONE_CYCLE};
    int64_t *milestones =
        arena_array(&t->memory, (size_t)o->milestone_count + 1, sizeof *milestones);

    if (milestones == NULL) {
        return alloc_failed(error, (size_t)o->milestone_count * sizeof *milestones);
    }
    for (int32_t i = 0; i < o->milestone_count; i++) {
        if (!(o->milestones[i] > 0 && o->milestones[i] < 1) ||
            (i > 0 && o->milestones[i] <= o->milestones[i - 1])) {
            return out_of_range("milestones", o->milestones[i],
                                "use ascending fractions of the whole, between 0 and 1", error);
        }
        milestones[i] = (int64_t)(o->milestones[i] * (double)t->steps + 0.5);
    }
    t->rates = (schedule){.kind = kinds[o->schedule],
                          .base = o->rate,
                          .least = o->least,
                          .warm_up = o->warm_up,
                          .total = t->steps,
                          .gamma = o->gamma,
                          .milestones = milestones,
                          .milestone_count = o->milestone_count,
                          .power = 1.0};
    if (o->schedule == SPRY_SCHEDULE_EXPONENTIAL) {
        t->rates.gamma = pow(o->gamma, 1.0 / (double)t->epoch_steps);
    }
    t->cooling = gumbel_schedule(kinds[o->temperature_schedule], o->temperature, o->temperature_end,
                                 t->steps);
    t->noise = (schedule){.kind = SCHEDULE_POLYNOMIAL,
                          .base = o->gate_noise,
                          .least = o->gate_noise_end,
                          .total = t->steps,
                          .power = 1.0};
    return SPRY_OK;
}

static spry_status find_ranges(trainer *t, spry_error *error)
{
    const parameters *weights = &t->p->weights;

    t->ranges = arena_array(&t->memory, (size_t)weights->count + 1, sizeof *t->ranges);
    if (t->ranges == NULL) {
        return alloc_failed(error, (size_t)weights->count * sizeof *t->ranges);
    }
    for (int32_t i = 0; i < weights->count; i++) {
        const parameter *p = &weights->items[i];
        trainer_range *last = i > 0 ? &t->ranges[t->range_count - 1] : NULL;
        int64_t end = i + 1 < weights->count ? p[1].offset : weights->length;

        if (last != NULL && last->rate == p->rate && last->decay == p->decay) {
            last->length = end - last->offset;
        } else {
            t->ranges[t->range_count++] =
                (trainer_range){p->offset, end - p->offset, p->rate, p->decay};
        }
    }
    return SPRY_OK;
}

/* ---- arrays ---- */

/* A copy of `from`, or zeros, with a place in checkpoints where it has a name. */
static float *add_array(trainer *t, const char *name, const parameters *set, const float *from,
                        spry_status *status, spry_error *error)
{
    float *numbers;

    if (*status != SPRY_OK) {
        return NULL;
    }
    numbers = arena_array(&t->memory, (size_t)set->length + 1, sizeof *numbers);
    if (numbers == NULL) {
        *status = alloc_failed(error, (size_t)set->length * sizeof *numbers);
        return NULL;
    }
    if (from != NULL) {
        memcpy(numbers, from, (size_t)set->length * sizeof *numbers);
    }
    if (name != NULL) {
        t->arrays[t->array_count++] = (trainer_array){name, CHECKPOINT_OPTIMIZER, set, numbers};
    }
    return numbers;
}

static spry_status make_arrays(trainer *t, spry_error *error)
{
    static const char *const names[TRAINER_STATES] = {"moment1/", "moment2/"};
    const parameters *weights = &t->p->weights;
    const parameters *statistics = &t->p->statistics;
    spry_status status = SPRY_OK;

    t->arrays[t->array_count++] = (trainer_array){"", CHECKPOINT_WEIGHTS, weights, t->p->numbers};
    t->arrays[t->array_count++] =
        (trainer_array){"", CHECKPOINT_WEIGHTS, statistics, t->p->running};
    for (int i = 0; i < optimizer_states(&t->rule); i++) {
        t->state[i] = add_array(t, names[i], weights, NULL, &status, error);
    }
    if (t->options.accumulate > 1) {
        t->sum = add_array(t, NULL, weights, NULL, &status, error);
    }
    if (t->options.average > 0) {
        t->average = add_array(t, "average/", weights, t->p->numbers, &status, error);
    }
    if (t->options.keep_best) {
        t->best = add_array(t, "best/", weights, t->p->numbers, &status, error);
        t->best_running = add_array(t, "best/", statistics, t->p->running, &status, error);
    }
    return status;
}

static void fill_totals(trainer *t)
{
    spry_training_totals *totals = &t->facts->totals;
    int64_t floats = t->p->weights.length;

    totals->trained = parameters_total(&t->p->weights);
    totals->arena_bytes = t->p->arena_bytes;
    totals->best = -1;
    totals->best_epoch = -1;
    for (int i = 0; i < t->array_count; i++) {
        floats += t->arrays[i].set->length;
    }
    totals->weight_bytes = (size_t)floats * sizeof(float);
}

/* Weights of the model, frozen or not. */
static spry_status count_all(trainer *t, spry_error *error)
{
    parameters all;
    arena memory;
    model *flat = NULL;
    spry_status status = training_model(t->source, &flat, error);

    arena_init(&memory, &t->allocator, SIZE_MAX);
    if (status == SPRY_OK) {
        status = parameters_choose(flat, NULL, 0, &memory, &all, error);
    }
    if (status == SPRY_OK) {
        t->facts->totals.parameters = parameters_total(&all);
    }
    arena_fini(&memory);
    spry_model_destroy(flat);
    return status;
}

/* ---- the whole ---- */

spry_status trainer_open(trainer *t, const spry_model *source, const spry_train_options *options,
                         spry_error *error)
{
    spry_status status = check_options(options, error);

    *t = (trainer){.source = source, .options = *options, .saved_step = -1};
    t->allocator = alloc_resolve(options->allocator);
    t->recipe = options->recipe != NULL ? *options->recipe : spry_preprocess_default();
    t->options.recipe = &t->recipe;
    arena_init(&t->memory, &t->allocator, SIZE_MAX);
    if (status == SPRY_OK) {
        t->facts = alloc_zeroed(&t->allocator, sizeof *t->facts);
        status = t->facts != NULL ? SPRY_OK : alloc_failed(error, sizeof *t->facts);
    }
    if (status == SPRY_OK) {
        t->facts->allocator = t->allocator;
        status = threads_create(&t->allocator, options->threads, &t->team, error);
    }
    if (status == SPRY_OK && options->whole) {
        t->options.batch = spry_dataset_count(options->data);
    }
    if (status == SPRY_OK && spry_model_input_count(source) == 1 && options->gates == NULL &&
        options->objective == NULL && source->function_count == 0) {
        status = features_open(source, &t->options, &t->memory, &t->known, error);
    }
    t->learnt = t->known.rest != NULL ? t->known.rest : source;
    if (status == SPRY_OK) {
        status = open_data(t, error);
    }
    if (status == SPRY_OK) {
        status = count_all(t, error);
    }
    if (status == SPRY_OK) {
        status = open_program(t, error);
    }
    if (status == SPRY_OK) {
        status = check_classes(t, error);
    }
    if (status != SPRY_OK) {
        return status;
    }
    note_unreached(t);
    t->epoch_steps = loader_steps_per_epoch(t->batches) / options->accumulate;
    t->epoch_steps = t->epoch_steps > 0 ? t->epoch_steps : 1;
    t->steps = options->steps > 0 ? options->steps : options->epochs * t->epoch_steps;
    choose_rule(t);
    status = choose_rates(t, error);
    if (status == SPRY_OK) {
        status = find_ranges(t, error);
    }
    if (status == SPRY_OK) {
        status = make_arrays(t, error);
    }
    if (status == SPRY_OK) {
        fill_totals(t);
        status = trainer_private_open(t, error);
    }
    return status;
}

void trainer_close(trainer *t)
{
    loader_destroy(t->batches);
    for (int32_t i = 1; i < INPUTS_MOST; i++) {
        loader_destroy(t->further[i]);
    }
    input_arrays_close(&t->parts);
    program_destroy(t->p);
    features_close(&t->known);
    threads_destroy(t->team);
    spry_training_destroy(t->facts);
    arena_fini(&t->memory);
}
