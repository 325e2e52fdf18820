/* Choosing thresholds head by head, checking them, and writing the model. */
#include "inspect/energon.h"

#include <math.h>
#include <string.h>

#include "adapt/key_filter.h"
#include "adapt/scores.h"
#include "base/alloc.h"
#include "base/progress.h"
#include "model/model.h"

enum {
    DEFAULT_LIMIT = 64,
    DEFAULT_WINDOW = 256,
    MOST_LAYERS = 1024,
    CHOICES = 24, /* of a head: all keys, then from many to few */
    STEPS = 8     /* of the fine adjustment */
};

static const double DENSE_SHARE = 0.5; /* of the keys: keeping more gains nothing */
static const double MOST_LOSS = 0.05;  /* of mass, from one half of the samples to the other */
static const double LEAST_ALPHA = -0.5;
static const double MOST_ALPHA = 0.65;
static const double MOST_SHIFT = 0.08; /* of alphas in the fine adjustment */

struct spry_energon {
    spry_allocator allocator;
    arena memory;
    spry_energon_layer *layers;
    spry_energon_head *heads;
    int32_t layer_count, head_count, dropped_outputs;
};

/* What samples are run for. */
typedef enum energon_phase {
    FIND,      /* layers, and the range of keys */
    CURVE,     /* what every choice keeps and costs */
    COUNT,     /* keys that the present thresholds keep */
    CALIBRATE, /* their effect on the samples they were chosen on */
    HOLD_OUT
} energon_phase;

typedef struct choosing {
    const spry_energon_options *options;
    spry_energon *made;
    energon_runs runs;
    energon_phase phase;
    arena scratch;
    spry_energon_layer layers[MOST_LAYERS];
    int32_t layer_count, head_count;
    /* Of all heads, layer by layer; room grows while layers are found. */
    spry_energon_head *heads;
    size_t head_room;
    energon_sums *sums;  /* [heads] */
    energon_sums *curve; /* [heads][CHOICES] */
    int32_t *chosen;     /* [heads] */
    spry_status status;  /* of what callbacks met */
    spry_error *error;
    int64_t done, all;
} choosing;

spry_energon_options spry_energon_options_default(void)
{
    return (spry_energon_options){.struct_size = sizeof(spry_energon_options),
                                  .keep = 0.2,
                                  .limit = DEFAULT_LIMIT,
                                  .window = DEFAULT_WINDOW};
}

static spry_status check_options(const spry_energon_options *o, spry_error *error)
{
    if (o->struct_size != sizeof *o) {
        return spry_fail(error, SPRY_USAGE, "options", "start from spry_energon_options_default()",
                         "not initialised");
    }
    if (!(o->keep > 0.0 && o->keep < 1.0) || !(o->cosine >= 0.0 && o->cosine <= 1.0) ||
        o->limit < 2) {
        return spry_fail(
            error, SPRY_USAGE, "options", "shares between 0 and 1, and at least two samples",
            "keep %g, cosine %g, %lld samples", o->keep, o->cosine, (long long)o->limit);
    }
    if ((o->images == NULL) == (o->text == NULL) || (o->text != NULL && o->tokenizer == NULL)) {
        return spry_fail(error, SPRY_USAGE, "samples", "give images, or a text and its tokenizer",
                         "there is not one kind of samples");
    }
    return SPRY_OK;
}

/* ---- what runs show ---- */

static spry_energon_layer *find_layer(choosing *x, const char *name)
{
    for (int32_t i = 0; i < x->layer_count; i++) {
        if (strcmp(x->layers[i].name, name) == 0) {
            return &x->layers[i];
        }
    }
    return NULL;
}

static spry_status add_layer(choosing *x, const char *name, const attention_problem *p)
{
    spry_energon_layer *layer = &x->layers[x->layer_count];
    void *heads = x->heads;
    spry_status status;

    if (x->layer_count == MOST_LAYERS) {
        return spry_fail(x->error, SPRY_LIMIT, "model", NULL, "it has more than %d attentions",
                         (int)MOST_LAYERS);
    }
    status = alloc_grow(&x->made->allocator, &heads, &x->head_room,
                        (size_t)(x->head_count + p->heads), sizeof *x->heads, SIZE_MAX, x->error);
    if (status != SPRY_OK) {
        return status;
    }
    x->heads = heads;
    /* Plans come and go with shapes: the name must stay. */
    *layer = (spry_energon_layer){.name = arena_text(&x->made->memory, name, strlen(name)),
                                  .first = x->head_count,
                                  .heads = (int32_t)p->heads,
                                  .size = p->size};
    if (layer->name == NULL) {
        return alloc_failed(x->error, strlen(name));
    }
    for (int32_t h = 0; h < layer->heads; h++) {
        x->heads[x->head_count++] = (spry_energon_head){.layer = x->layer_count, .head = h};
    }
    x->layer_count++;
    return SPRY_OK;
}

static spry_status note_range(choosing *x, const spry_energon_layer *layer,
                              const attention_problem *p)
{
    static const float CODES = 32767.0f;

    for (int32_t h = 0; h < layer->heads; h++) {
        float range = energon_key_range(p, h);
        float *scale = &x->heads[layer->first + h].scale;

        if (isnan(range)) {
            return spry_fail(x->error, SPRY_BAD_INPUT, layer->name, NULL,
                             "keys of head %d are not finite numbers", (int)h);
        }
        *scale = fmaxf(*scale, range / CODES);
    }
    return SPRY_OK;
}

static energon_filter filter_of(const spry_energon_head *h)
{
    return (energon_filter){h->scale, {SPRY_ENERGON_ROUNDS, {h->alpha[0], h->alpha[1]}}};
}

static void set_alpha(spry_energon_head *h, double alpha)
{
    for (int r = 0; r < SPRY_ENERGON_ROUNDS; r++) {
        h->alpha[r] = alpha;
    }
}

/* Thresholds of a choice; -1 keeps all. */
static double alpha_of(int32_t choice)
{
    return choice == 0 ? -1.0
                       : LEAST_ALPHA + (MOST_ALPHA - LEAST_ALPHA) * (choice - 1) / (CHOICES - 2);
}

/* What all choices do to one head. */
static bool measure_curve(choosing *x, int32_t head, int32_t number, const attention_problem *p)
{
    bool fine = true;

    for (int32_t c = 0; fine && c < CHOICES; c++) {
        energon_filter filter;

        set_alpha(&x->heads[head], alpha_of(c));
        filter = filter_of(&x->heads[head]);
        arena_reset(&x->scratch);
        fine =
            energon_measure(p, number, &filter, true, &x->scratch, &x->curve[head * CHOICES + c]);
    }
    return fine;
}

static spry_status measure_layer(choosing *x, const spry_energon_layer *layer,
                                 const attention_problem *p)
{
    for (int32_t h = 0; h < layer->heads; h++) {
        int32_t head = layer->first + h;
        energon_filter filter = filter_of(&x->heads[head]);

        arena_reset(&x->scratch);
        if (x->phase == CURVE
                ? !measure_curve(x, head, h, p)
                : !energon_measure(p, h, &filter, x->phase == COUNT, &x->scratch, &x->sums[head])) {
            return spry_fail(x->error, SPRY_BAD_INPUT, layer->name, NULL,
                             "queries of head %d are not finite numbers, or memory ran out",
                             (int)h);
        }
    }
    return SPRY_OK;
}

static void look(void *context, const char *name, const attention_problem *p)
{
    choosing *x = context;
    spry_energon_layer *layer = find_layer(x, name);
    bool takes = p->batch == 1 && p->size == p->value_size && p->rows > 0 && p->keys > 0;

    if (x->status != SPRY_OK || !takes) {
        return;
    }
    if (x->phase == FIND && layer == NULL) {
        x->status = add_layer(x, name, p);
        layer = x->status == SPRY_OK ? &x->layers[x->layer_count - 1] : NULL;
    }
    if (layer != NULL && layer->heads == p->heads && layer->size == p->size) {
        x->status = x->phase == FIND ? note_range(x, layer, p) : measure_layer(x, layer, p);
    }
}

static spry_status run_half(choosing *x, energon_phase phase, spry_error *error)
{
    int64_t half = x->runs.count / 2;
    int64_t from = phase == HOLD_OUT ? half : 0;
    int64_t to = phase == HOLD_OUT ? x->runs.count : half;
    spry_status status = SPRY_OK;

    x->phase = phase;
    for (int32_t i = 0; phase != FIND && i < x->head_count; i++) {
        x->sums[i] = (energon_sums){.queries = 0};
    }
    for (int64_t s = from; status == SPRY_OK && s < to; s++) {
        status = energon_runs_one(&x->runs, s, error);
        status = status == SPRY_OK ? x->status : status;
        if (status == SPRY_OK) {
            status = progress_report(x->options->progress, "calibrating", (double)++x->done,
                                     (double)x->all, error);
        }
    }
    return status;
}

/* ---- choosing ---- */

static double kept_of(const energon_sums *s)
{
    return s->work.keys > 0 ? (double)s->work.kept[SPRY_ENERGON_ROUNDS - 1] / (double)s->work.keys
                            : 1.0;
}

/* The error of a head's choices is what they move of its layer's results. */
static void list_choices(const choosing *x, const spry_energon_layer *layer, energon_choice *to)
{
    double length = 0.0;

    for (int32_t i = layer->first; i < layer->first + layer->heads; i++) {
        length += x->curve[i * CHOICES].xx;
    }
    for (int32_t i = layer->first * CHOICES; i < (layer->first + layer->heads) * CHOICES; i++) {
        const energon_sums *s = &x->curve[i];

        to[i].kept = kept_of(s);
        to[i].error = length > 0.0 ? fmax(s->xx + s->yy - 2.0 * s->xy, 0.0) / length : 0.0;
        /* Filtering for nothing. */
        if (i % CHOICES != 0 && to[i].kept > DENSE_SHARE) {
            to[i] = (energon_choice){1.0, INFINITY};
        }
    }
}

/* A choice for each head. */
static spry_status allocate(choosing *x, spry_error *error)
{
    size_t count = (size_t)x->head_count * CHOICES;
    energon_choice *curves = arena_array(&x->made->memory, count, sizeof *curves);
    spry_status status = run_half(x, CURVE, error);

    if (status == SPRY_OK && curves == NULL) {
        status = alloc_failed(error, count * sizeof *curves);
    }
    if (status != SPRY_OK) {
        return status;
    }
    for (int32_t i = 0; i < x->layer_count; i++) {
        list_choices(x, &x->layers[i], curves);
    }
    (void)energon_allocate(curves, x->head_count, CHOICES, x->options->keep, x->chosen);
    for (int32_t i = 0; i < x->head_count; i++) {
        x->heads[i].is_dense = x->chosen[i] == 0;
    }
    return SPRY_OK;
}

static void shift_alphas(choosing *x, double shift)
{
    for (int32_t i = 0; i < x->head_count; i++) {
        /* As they are written: in f64, but no finer than f32. */
        set_alpha(&x->heads[i], x->chosen[i] == 0 ? -1.0 : (float)(alpha_of(x->chosen[i]) + shift));
    }
}

static double mean_kept(const choosing *x)
{
    double kept = 0.0;

    for (int32_t i = 0; i < x->head_count; i++) {
        kept += kept_of(&x->sums[i]) / x->head_count;
    }
    return kept;
}

/* Choices lie apart: all thresholds together are moved to where the mean share is met. */
static spry_status adjust(choosing *x, spry_error *error)
{
    double low = -MOST_SHIFT;
    double high = MOST_SHIFT;
    spry_status status = SPRY_OK;

    for (int step = 0; status == SPRY_OK && step < STEPS; step++) {
        double middle = (low + high) / 2.0;

        shift_alphas(x, middle);
        status = run_half(x, COUNT, error);
        *(mean_kept(x) > x->options->keep ? &low : &high) = middle;
    }
    shift_alphas(x, (low + high) / 2.0);
    return status;
}

static spry_energon_effect effect_of(const energon_sums *s)
{
    double queries = s->queries > 0 ? (double)s->queries : 1.0;
    double length = sqrt(s->xx * s->yy);

    return (spry_energon_effect){
        .kept = kept_of(s),
        .first = s->work.keys > 0 ? (double)s->work.kept[0] / (double)s->work.keys : 1.0,
        .mass = s->queries > 0 ? s->mass / queries : 1.0,
        .cosine = length > 0.0 ? s->xy / length : 1.0,
        .certificate = s->certificate / queries,
        .worst_certificate = s->worst};
}

static void look_at_all(spry_energon_head *h, energon_sums *s, int64_t size)
{
    int64_t keys = s->work.keys;
    int64_t bytes = keys * filter_pitch(size) * (int64_t)sizeof(float);

    h->is_dense = true;
    set_alpha(h, -1.0);
    h->held_out = (spry_energon_effect){.kept = 1.0, .first = 1.0, .mass = 1.0, .cosine = 1.0};
    s->work = (filter_work){.keys = keys,
                            .kept = {keys, keys, keys},
                            .exact_products = 2 * keys * size,
                            .key_bytes = bytes,
                            .value_bytes = bytes};
    s->mass = (double)s->queries;
    s->certificate = s->worst = 0.0;
    s->xy = s->yy = s->xx;
}

static void add_sums(energon_sums *to, const energon_sums *from)
{
    filter_work_add(&to->work, &from->work);
    to->mass += from->mass;
    to->certificate += from->certificate;
    to->worst = fmax(to->worst, from->worst);
    to->queries += from->queries;
    to->xy += from->xy;
    to->xx += from->xx;
    to->yy += from->yy;
}

static energon_sums sum_layer(const choosing *x, const spry_energon_layer *layer)
{
    energon_sums sum = {.queries = 0};

    for (int32_t i = layer->first; i < layer->first + layer->heads; i++) {
        add_sums(&sum, &x->sums[i]);
    }
    return sum;
}

/* Heads look at all keys again, the worst first, until the layer is near enough. */
static void settle_layer(choosing *x, const spry_energon_layer *layer)
{
    for (;;) {
        energon_sums sum = sum_layer(x, layer);
        double most = 0.0;
        int32_t worst = -1;

        for (int32_t i = layer->first; i < layer->first + layer->heads; i++) {
            const energon_sums *s = &x->sums[i];
            double moved = s->xx + s->yy - 2.0 * s->xy;

            if (!x->heads[i].is_dense && moved > most) {
                most = moved;
                worst = i;
            }
        }
        if (effect_of(&sum).cosine >= x->options->cosine || worst < 0) {
            return;
        }
        look_at_all(&x->heads[worst], &x->sums[worst], layer->size);
    }
}

static void describe_layer(const choosing *x, spry_energon_layer *layer)
{
    energon_sums sum = sum_layer(x, layer);

    layer->held_out = effect_of(&sum);
    layer->queries = sum.queries;
    layer->keys = sum.work.keys;
    for (int r = 0; r < SPRY_ENERGON_ROUNDS; r++) {
        layer->kept[r] = sum.work.kept[r];
    }
    layer->low_products = sum.work.low_products;
    layer->exact_products = sum.work.exact_products;
    layer->code_bytes = sum.work.code_bytes;
    layer->key_bytes = sum.work.key_bytes;
    layer->value_bytes = sum.work.value_bytes;
}

/* Thresholds that suit the samples they were chosen on alone are refused. */
static spry_status check_mass(const choosing *x, spry_error *error)
{
    double calibrated = 0.0;
    double held_out = 0.0;

    for (int32_t i = 0; i < x->head_count; i++) {
        calibrated += x->heads[i].calibrated.mass / x->head_count;
        held_out += x->heads[i].held_out.mass / x->head_count;
    }
    return held_out >= calibrated - MOST_LOSS
               ? SPRY_OK
               : spry_fail(error, SPRY_UNVERIFIED, "calibration",
                           "calibrate on more samples, or keep more keys",
                           "queries keep %.3f of their weights on the samples that thresholds were "
                           "chosen on, %.3f on others",
                           calibrated, held_out);
}

static spry_status choose(choosing *x, spry_error *error)
{
    spry_status status = allocate(x, error);

    status = status == SPRY_OK ? adjust(x, error) : status;
    status = status == SPRY_OK ? run_half(x, CALIBRATE, error) : status;
    for (int32_t i = 0; status == SPRY_OK && i < x->head_count; i++) {
        x->heads[i].calibrated = effect_of(&x->sums[i]);
    }
    status = status == SPRY_OK ? run_half(x, HOLD_OUT, error) : status;
    for (int32_t i = 0; status == SPRY_OK && i < x->head_count; i++) {
        x->heads[i].held_out = effect_of(&x->sums[i]);
        if (x->heads[i].is_dense) {
            look_at_all(&x->heads[i], &x->sums[i], x->layers[x->heads[i].layer].size);
        }
    }
    for (int32_t i = 0; status == SPRY_OK && i < x->layer_count; i++) {
        settle_layer(x, &x->layers[i]);
        describe_layer(x, &x->layers[i]);
    }
    return status == SPRY_OK ? check_mass(x, error) : status;
}

/* ---- writing ---- */

/* Outputs from which a softmax is nearer than any product show its weights. */
static int32_t drop_maps(graph *g)
{
    int32_t kept = 0;
    int32_t dropped = 0;

    for (int32_t i = 0; i < g->output_count; i++) {
        int32_t id = g->outputs[i];

        if (i > 0 && scores_shows_weights(g, id)) {
            g->values[id].is_output = false;
            dropped++;
        } else {
            g->outputs[kept++] = id;
        }
    }
    g->output_count = kept;
    return dropped;
}

static spry_status write_model(choosing *x, const spry_model *source, spry_model **adapted,
                               spry_error *error)
{
    arena *memory = &x->made->memory;
    key_filter_layer *layers = arena_array(memory, (size_t)x->layer_count, sizeof *layers);
    key_filter_head *filters = arena_array(memory, (size_t)x->head_count, sizeof *filters);
    spry_status status;

    if (layers == NULL || filters == NULL) {
        return alloc_failed(error, (size_t)x->head_count * sizeof *filters);
    }
    for (int32_t i = 0; i < x->head_count; i++) {
        filters[i].scale = x->heads[i].scale;
        memcpy(filters[i].alpha, x->heads[i].alpha, sizeof filters[i].alpha);
    }
    for (int32_t i = 0; i < x->layer_count; i++) {
        layers[i] =
            (key_filter_layer){x->layers[i].name, x->layers[i].heads, filters + x->layers[i].first};
    }
    status = model_copy(source, adapted, error);
    if (status == SPRY_OK) {
        x->made->dropped_outputs = drop_maps((*adapted)->main);
        status = key_filter_write(*adapted, layers, x->layer_count, error);
    }
    if (status != SPRY_OK) {
        spry_model_destroy(*adapted);
        *adapted = NULL;
    }
    return status;
}

static spry_status keep_report(choosing *x, spry_error *error)
{
    spry_energon *made = x->made;

    made->layers = arena_array(&made->memory, (size_t)x->layer_count, sizeof *made->layers);
    made->heads = arena_array(&made->memory, (size_t)x->head_count, sizeof *made->heads);
    if (made->layers == NULL || made->heads == NULL) {
        return alloc_failed(error, (size_t)x->head_count * sizeof *made->heads);
    }
    memcpy(made->layers, x->layers, (size_t)x->layer_count * sizeof *made->layers);
    memcpy(made->heads, x->heads, (size_t)x->head_count * sizeof *made->heads);
    made->layer_count = x->layer_count;
    made->head_count = x->head_count;
    return SPRY_OK;
}

/* ---- all of it ---- */

/* Keys that several heads share have one scale. */
static void share_scales(choosing *x)
{
    for (int32_t i = 0; i < x->head_count; i++) {
        x->heads[i].scale = x->heads[i].scale > 0.0f ? x->heads[i].scale : 1.0f;
    }
}

static spry_status perform(choosing *x, const spry_model *source, spry_model **adapted,
                           spry_error *error)
{
    arena *memory = &x->made->memory;
    spry_status status = key_filter_check(source, error);

    if (status == SPRY_OK) {
        status = energon_runs_open(&x->runs, source, x->options, error);
    }

    if (status != SPRY_OK) {
        return status;
    }
    x->error = error;
    x->runs.probe = (spry_attention_probe){.context = x, .look = look};
    x->all = x->runs.count / 2 * (STEPS + 3) + (x->runs.count - x->runs.count / 2);
    status = run_half(x, FIND, error);
    if (status == SPRY_OK && x->head_count == 0) {
        status = spry_fail(error, SPRY_UNSUPPORTED, "model",
                           "its attention must be a product, a softmax and a product",
                           "no attention was found");
    }
    if (status != SPRY_OK) {
        return status;
    }
    share_scales(x);
    x->sums = arena_array(memory, (size_t)x->head_count, sizeof *x->sums);
    x->curve = arena_array(memory, (size_t)x->head_count * CHOICES, sizeof *x->curve);
    x->chosen = arena_array(memory, (size_t)x->head_count, sizeof *x->chosen);
    if (x->sums == NULL || x->curve == NULL || x->chosen == NULL) {
        return alloc_failed(error, (size_t)x->head_count * sizeof *x->sums);
    }
    status = choose(x, error);
    status = status == SPRY_OK ? write_model(x, source, adapted, error) : status;
    return status == SPRY_OK ? keep_report(x, error) : status;
}

spry_status spry_energon_adapt(const spry_model *source, const spry_energon_options *options,
                               spry_model **adapted, spry_energon **report, spry_error *error)
{
    spry_status status = check_options(options, error);
    spry_allocator allocator;
    choosing *x;

    *adapted = NULL;
    *report = NULL;
    if (status != SPRY_OK) {
        return status;
    }
    allocator = alloc_resolve(options->allocator);
    x = alloc_zeroed(&allocator, sizeof *x);
    if (x == NULL) {
        return alloc_failed(error, sizeof *x);
    }
    x->options = options;
    x->made = alloc_zeroed(&allocator, sizeof *x->made);
    if (x->made == NULL) {
        alloc_release(&allocator, x, sizeof *x);
        return alloc_failed(error, sizeof *x->made);
    }
    x->made->allocator = allocator;
    arena_init(&x->made->memory, &allocator, SIZE_MAX);
    arena_init(&x->scratch, &allocator, SIZE_MAX);
    status = perform(x, source, adapted, error);
    energon_runs_close(&x->runs);
    arena_fini(&x->scratch);
    alloc_release(&allocator, x->heads, x->head_room * sizeof *x->heads);
    if (status == SPRY_OK) {
        *report = x->made;
    } else {
        spry_energon_destroy(x->made);
    }
    alloc_release(&allocator, x, sizeof *x);
    return status;
}

void spry_energon_destroy(spry_energon *report)
{
    spry_allocator allocator;

    if (report == NULL) {
        return;
    }
    allocator = report->allocator;
    arena_fini(&report->memory);
    alloc_release(&allocator, report, sizeof *report);
}

int32_t spry_energon_heads(const spry_energon *report, const spry_energon_head **list)
{
    *list = report->heads;
    return report->head_count;
}

int32_t spry_energon_layers(const spry_energon *report, const spry_energon_layer **list)
{
    *list = report->layers;
    return report->layer_count;
}

int32_t spry_energon_dropped_outputs(const spry_energon *report)
{
    return report->dropped_outputs;
}
