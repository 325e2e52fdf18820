/* From runs of the model to sums of each head. */
#include <math.h>
#include <string.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "base/progress.h"
#include "inspect/heads.h"
#include "inspect/heads_features.h"

heads_layer *heads_find_layer(spry_heads *h, const char *name)
{
    for (int32_t i = 0; i < h->totals.layers; i++) {
        if (strcmp(h->layers[i].name, name) == 0) {
            return &h->layers[i];
        }
    }
    return NULL;
}

static void fail(spry_heads *h, spry_status status)
{
    h->status = h->status == SPRY_OK ? status : h->status;
}

/* ---- the first run: what there is ---- */

/* No weight at all on what comes after a query: however the mask that does it was written. */
static bool looks_back(const attention_problem *p, const attention_survey *survey)
{
    int64_t offsets = p->rows + p->keys - 1;
    double forward = 0.0;

    for (int64_t head = 0; head < p->heads; head++) {
        for (int64_t o = p->rows; o < offsets; o++) {
            forward += survey->profile[head * offsets + o];
        }
    }
    return forward == 0.0;
}

static void note_layer(spry_heads *h, const char *name, const attention_problem *p,
                       const attention_survey *survey)
{
    heads_layer *layer = &h->layers[h->totals.layers];

    if (p->rows != p->keys || p->rows != h->text.length || p->batch != 1) {
        return; /* of something else than tokens by tokens */
    }
    if (h->totals.layers == HEADS_MOST_LAYERS) {
        fail(h, spry_fail(h->error, SPRY_LIMIT, "model", NULL, "it has more than %d attentions",
                          (int)HEADS_MOST_LAYERS));
        return;
    }
    /* Plans come and go with shapes: the name must stay. */
    *layer =
        (heads_layer){arena_text(&h->memory, name, strlen(name)), h->head_count, (int32_t)p->heads};
    if (layer->name == NULL) {
        fail(h, alloc_failed(h->error, strlen(name)));
        return;
    }
    h->head_count += layer->heads;
    h->totals.is_causal = (h->totals.layers == 0 || h->totals.is_causal) && looks_back(p, survey);
    h->totals.layers++;
}

/* ---- every further one ---- */

static void add_map(const spry_heads *h, const heads_view *v, heads_sums *to)
{
    int64_t t = h->text.used;

    for (int64_t s = 0; s < v->sample_count; s++) {
        int64_t row = s * v->sample_stride;
        int64_t cell = row * SPRY_HEADS_MAP / t;

        if (row >= t || cell >= SPRY_HEADS_MAP) {
            continue;
        }
        to->rows[cell] += 1.0;
        for (int64_t j = 0; j < t; j++) {
            to->map[cell][j * SPRY_HEADS_MAP / t] += (double)v->samples[s * v->keys + j];
        }
    }
}

static void add_profile(const spry_heads *h, heads_sums *to)
{
    int64_t middle = h->text.used - 1;

    for (int64_t i = 0; i < SPRY_HEADS_PROFILE; i++) {
        int64_t offset = i - SPRY_HEADS_PROFILE / 2;

        to->profile[i] +=
            offset > -h->text.used && offset < h->text.used ? h->offsets[middle + offset] : 0.0;
    }
}

static void keep_rows(const spry_heads *h, const heads_view *v, int32_t head)
{
    int64_t length = h->text.length;
    float *to = h->rows + (int64_t)head * HEADS_COMPARED_SAMPLES * length;
    int64_t step = v->sample_count / HEADS_COMPARED_SAMPLES;

    step = step > 0 ? step : 1;
    for (int64_t i = 0; i < HEADS_COMPARED_SAMPLES && i * step < v->sample_count; i++) {
        memcpy(to + i * length, v->samples + i * step * v->keys, (size_t)length * sizeof *to);
    }
}

static bool is_finite(const double *numbers, int count)
{
    for (int i = 0; i < count; i++) {
        if (!isfinite(numbers[i])) {
            return false;
        }
    }
    return true;
}

static void add_head(spry_heads *h, const attention_problem *p, const attention_survey *survey,
                     const heads_layer *layer, int32_t number)
{
    int32_t head = layer->first + number;
    double *f = h->features + (h->sequence * h->head_count + head) * SPRY_HEAD_FEATURES;
    heads_view v = heads_view_of(p, survey, number);

    v.tokens = h->text.used;
    v.is_causal = h->totals.is_causal;
    v.segments = h->text.key_segments;
    v.special = h->text.special;
    v.punctuation = h->text.punctuation;
    if (!heads_features(&v, f, h->offsets) || !is_finite(f, SPRY_HEAD_FEATURES)) {
        fail(h, spry_fail(h->error, SPRY_BAD_INPUT, layer->name,
                          "spry bench --explain and spry run show what the model computes",
                          "the attention of layer %d, head %d is no number in sequence %lld",
                          (int)(layer - h->layers), (int)number, (long long)h->sequence));
        return;
    }
    add_map(h, &v, &h->sums[head]);
    add_profile(h, &h->sums[head]);
    if (h->sequence < HEADS_COMPARED) {
        keep_rows(h, &v, head);
    }
}

static void see(void *context, const char *name, const attention_problem *p,
                const attention_survey *survey)
{
    spry_heads *h = context;
    heads_layer *layer = heads_find_layer(h, name);

    if (h->sequence < 0 && layer == NULL) {
        note_layer(h, name, p, survey);
    }
    for (int32_t i = 0; h->sequence >= 0 && h->status == SPRY_OK && layer != NULL &&
                        p->heads == layer->heads && i < layer->heads;
         i++) {
        add_head(h, p, survey, layer, i);
    }
}

/* What is looked at instead, while something is taken away. */
static const attention_policy *policies_of(void *context, const char *name, int64_t heads)
{
    spry_heads *h = context;
    const heads_layer *layer = h->policies != NULL ? heads_find_layer(h, name) : NULL;

    return layer != NULL && layer->heads == heads ? h->policies + layer->first : NULL;
}

/* Divergences between all heads, in the rows of this sequence. */
static void compare_heads(spry_heads *h)
{
    int64_t t = h->text.length;
    int32_t n = h->head_count;

    for (int32_t a = 0; a < n; a++) {
        for (int32_t b = a + 1; b < n; b++) {
            double sum = 0.0;
            int rows = 0;

            for (int i = 0; i < HEADS_COMPARED_SAMPLES; i++) {
                const float *p = h->rows + ((int64_t)a * HEADS_COMPARED_SAMPLES + i) * t;
                const float *q = h->rows + ((int64_t)b * HEADS_COMPARED_SAMPLES + i) * t;
                double mass = 0.0;

                for (int64_t j = 0; j < t; j++) {
                    double m = 0.5 * ((double)p[j] + (double)q[j]);

                    mass += m;
                    sum += p[j] > 0.0f ? 0.5 * (double)p[j] * log((double)p[j] / m) : 0.0;
                    sum += q[j] > 0.0f ? 0.5 * (double)q[j] * log((double)q[j] / m) : 0.0;
                }
                rows += mass > 0.0;
            }
            h->divergence[(int64_t)a * n + b] += rows > 0 ? sqrt(fmax(sum / rows, 0.0)) : 0.0;
        }
    }
    h->compared++;
}

/* ---- running ---- */

spry_status heads_run(spry_heads *h, int64_t which, spry_error *error)
{
    h->error = error;
    heads_text_write(&h->text, which, h->totals.is_causal);
    spry_status status =
        text_feed_run(&h->feed, h->text.length, h->text.ids, h->text.mask, h->text.segments, error);

    return status == SPRY_OK ? h->status : status;
}

static spry_status make_room(spry_heads *h, spry_error *error)
{
    size_t heads = (size_t)h->head_count;
    size_t length = (size_t)h->text.length;

    h->features =
        arena_array(&h->memory, (size_t)h->sequences * heads * SPRY_HEAD_FEATURES, sizeof(double));
    h->offsets = arena_array(&h->memory, 2 * length, sizeof(double));
    h->sums = arena_array(&h->memory, heads, sizeof *h->sums);
    h->rows = arena_array(&h->memory, heads * HEADS_COMPARED_SAMPLES * length, sizeof(float));
    h->divergence = arena_array(&h->memory, heads * heads, sizeof(double));
    return h->features != NULL && h->offsets != NULL && h->sums != NULL && h->rows != NULL &&
                   h->divergence != NULL
               ? SPRY_OK
               : alloc_failed(error, heads * length * sizeof(double));
}

spry_status heads_find(spry_heads *h, spry_error *error)
{
    spry_status status;

    h->probe.see = see;
    h->probe.policies = policies_of;
    h->probe.context = h;
    h->probe.classes = h->text.classes;
    h->probe.class_count = h->text.has_pairs ? 2 : 1;
    h->probe.most_samples = HEADS_SAMPLES;
    h->sequence = -1;
    h->sequences = h->text.sequences;
    status = heads_run(h, 0, error);
    if (status == SPRY_OK && h->head_count == 0) {
        return spry_fail(error, SPRY_UNSUPPORTED, "model",
                         "its attention must be a product, a softmax and a product, or the "
                         "operator Attention, over whole sequences",
                         "no attention between tokens was found");
    }
    return status;
}

spry_status heads_gather(spry_heads *h, spry_error *error)
{
    spry_status status = heads_find(h, error);

    status = status == SPRY_OK ? make_room(h, error) : status;
    h->feed.run_seconds = 0.0;
    for (h->sequence = 0; status == SPRY_OK && h->sequence < h->sequences; h->sequence++) {
        status = heads_run(h, h->sequence, error);
        if (status == SPRY_OK && h->sequence < HEADS_COMPARED) {
            compare_heads(h);
        }
        if (status == SPRY_OK) {
            status = progress_report(h->options.progress, "looking at heads",
                                     (double)h->sequence + 1.0, (double)h->sequences, error);
        }
    }
    h->totals.run_seconds = h->feed.run_seconds;
    return status;
}
