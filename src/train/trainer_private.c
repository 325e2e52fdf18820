/* Steps that protect single samples: clipped one by one, drawn one by one, drowned in noise. */
#include <math.h>
#include <string.h>

#include "base/alloc.h"
#include "train/noise.h"
#include "train/privacy.h"
#include "train/trainer.h"
#include "train/validate.h"

typedef struct trainer_private {
    double rate;  /* with which each sample is drawn */
    double noise; /* in units of the clip */
    noise_source source;
    float *sum;
    uint8_t *samples; /* a batch that is filled up */
    int64_t *labels;
} trainer_private;

/* A batch is at most 2^20 samples more than it is on average, but for chances that never come true.
 */
enum { NOISE_STREAM = 0x6470, MOST_PARTS = 1 << 20 };

spry_status trainer_private_open(trainer *t, spry_error *error)
{
    const spry_train_options *o = &t->options;
    size_t length = (size_t)t->p->weights.length;
    size_t sample_bytes = 0;
    trainer_private *s;
    spry_status status = SPRY_OK;

    if (!trainer_is_private(o)) {
        return SPRY_OK;
    }
    s = arena_zeroed(&t->memory, sizeof *s);
    sample_bytes = program_input_bytes(t->p);
    if (s != NULL) {
        s->sum = arena_array(&t->memory, length + 1, sizeof *s->sum);
        s->samples = arena_array(&t->memory, sample_bytes + 1, 1);
        s->labels = arena_array(&t->memory, (size_t)t->p->batch, sizeof *s->labels);
    }
    if (s == NULL || s->sum == NULL || s->samples == NULL || s->labels == NULL) {
        return alloc_failed(error, length * sizeof *s->sum + sample_bytes);
    }
    s->rate = (double)o->batch / (double)spry_dataset_count(o->data);
    s->source.is_seeded = o->private_seeded;
    s->noise = o->private_noise;
    if (s->noise <= 0) {
        status = privacy_noise_for(s->rate, t->steps, o->private_delta, o->private_epsilon,
                                   &s->noise, error);
    }
    t->facts->totals.noise = s->noise;
    t->secret = s;
    if (o->private_seeded) {
        trainer_note(t, "noise follows from the seed: the result is not private");
    }
    return status;
}

/* ---- one batch of the program ---- */

/* Samples [first, first + count) of the batch, filled up with zeros of class 0. */
static void fill_batch(trainer *t, const loader_batch *batch, int64_t first, int64_t count)
{
    trainer_private *s = t->secret;
    size_t each = program_input_bytes(t->p) / (size_t)t->p->batch;

    memset(s->samples, 0, program_input_bytes(t->p));
    memset(s->labels, 0, (size_t)t->p->batch * sizeof *s->labels);
    memcpy(s->samples, (const uint8_t *)batch->inputs->data + (size_t)first * each,
           (size_t)count * each);
    memcpy(s->labels, batch->labels + first, (size_t)count * sizeof *s->labels);
    for (int64_t i = 0; i < t->p->batch; i++) {
        t->p->counts[i] = i < count ? 1.0f : 0.0f;
    }
}

static spry_status run_part(trainer *t, int64_t count, int64_t number, double *loss,
                            spry_error *error)
{
    trainer_private *s = t->secret;
    const tensor *inputs[1];
    tensor input = {.data = s->samples};
    tensor targets = {.data = s->labels};
    spry_status status;

    inputs[0] = &input;
    status = program_run(t->p, inputs, &targets, trainer_seed(t, number), error);
    if (status != SPRY_OK) {
        return status;
    }
    for (int64_t i = 0; i < count; i++) {
        *loss += validate_row(t->p->scores + i * t->p->classes, t->p->classes, s->labels[i],
                              &t->epoch_right);
    }
    t->epoch_seen += count;
    t->samples += count;
    if (!isfinite(*loss) ||
        !isfinite(optimizer_clip(t->team, INFINITY, t->p->weights.length, t->p->gradients))) {
        return trainer_explain_odd(t, inputs, &targets, number, error);
    }
    return SPRY_OK;
}

/* ---- one step ---- */

static spry_status sum_batch(trainer *t, const loader_batch *batch, double *loss, spry_error *error)
{
    trainer_private *s = t->secret;
    spry_status status = SPRY_OK;

    memset(s->sum, 0, (size_t)t->p->weights.length * sizeof *s->sum);
    for (int64_t first = 0; first < batch->count && status == SPRY_OK; first += t->p->batch) {
        int64_t left = batch->count - first;
        int64_t count = left < t->p->batch ? left : t->p->batch;

        fill_batch(t, batch, first, count);
        status = run_part(t, count, t->step * MOST_PARTS + first / t->p->batch, loss, error);
        if (status == SPRY_OK) {
            trainer_add(t, s->sum, t->p->gradients, 1.0f, false);
        }
    }
    *loss = batch->count > 0 ? *loss / (double)batch->count : 0;
    return status;
}

/* What fills the array up between weights stays 0. */
static void clear_padding(const parameters *set, float *numbers)
{
    for (int32_t i = 0; i < set->count; i++) {
        const parameter *p = &set->items[i];
        int64_t end = i + 1 < set->count ? p[1].offset : set->length;

        for (int64_t k = p->offset + p->count; k < end; k++) {
            numbers[k] = 0;
        }
    }
}

static spry_status add_noise(trainer *t, spry_error *error)
{
    trainer_private *s = t->secret;
    spry_status status;

    s->source.seeded = spry_random_stream(t->options.seed, NOISE_STREAM);
    spry_random_seek(&s->source.seeded, (uint64_t)t->step << 40);
    status = noise_add(&s->source, t->team, s->noise * t->options.private_clip,
                       t->p->weights.length, s->sum, error);
    clear_padding(&t->p->weights, s->sum);
    return status;
}

spry_status trainer_private_gradient(trainer *t, double limit, double *loss, double *norm,
                                     float **gradient, spry_error *error)
{
    trainer_private *s = t->secret;
    const loader_batch *batch = NULL;
    spry_status status = loader_next(t->batches, &batch, error);

    *loss = 0;
    if (status == SPRY_OK) {
        status = sum_batch(t, batch, loss, error);
    }
    if (status == SPRY_OK) {
        status = add_noise(t, error);
    }
    if (status == SPRY_OK) {
        float share = (float)(1.0 / (double)t->options.batch);

        for (int64_t i = 0; i < t->p->weights.length; i++) {
            s->sum[i] *= share;
        }
        *gradient = s->sum;
        *norm = optimizer_clip(t->team, limit, t->p->weights.length, s->sum);
    }
    return status;
}

double trainer_private_epsilon(const trainer *t, int64_t steps)
{
    const privacy_phase phase = {t->secret->rate, t->secret->noise, steps};
    privacy_spent spent = {.epsilon = INFINITY};
    spry_error error;

    if (privacy_spend(&phase, 1, t->options.private_delta, PRIVACY_MOST_ORDER, &spent, &error) !=
        SPRY_OK) {
        return INFINITY;
    }
    return spent.epsilon;
}
