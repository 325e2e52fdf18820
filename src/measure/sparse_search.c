/* Measures what zeros of each layer cost and save, and chooses. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/progress.h"
#include "measure/mixed_latency.h"
#include "measure/sparse_choice.h"
#include "quantize/calibrate/scores.h"
#include "sparsify/layers.h"

enum { SAMPLES = 128, TASK_SIZE = 256 };

static const double levels_of_zeros[SPARSE_LEVELS] = {0.0, 0.5, 0.625, 0.75, 0.8125, 0.875, 0.9375};

struct spry_sparsify_plan {
    spry_allocator allocator;
    arena memory;
    spry_sparsify_share *shares;
    int32_t count;
    double speed_up;
};

typedef struct sparse_search {
    const spry_model *source;
    const spry_sparsify_options *options;
    const spry_sparsify_aim *aim;
    spry_sparsify_plan *plan;
    sparsify_layers layers;
    sparse_point (*points)[SPARSE_LEVELS];
    spry_sparsify_share *trial; /* [layers] */
    const char **names;         /* of operators */
    double dense_ms;            /* a whole run */
    double others_ms;           /* of that, outside the layers */
} sparse_search;

spry_sparsify_aim spry_sparsify_aim_default(void)
{
    return (spry_sparsify_aim){
        .struct_size = sizeof(spry_sparsify_aim), .speed_up = 1.5, .samples = SAMPLES};
}

/* The model with `count` of s->trial; the others stay dense. */
static spry_status make_trial(const sparse_search *s, int32_t count, spry_model **made,
                              spry_error *error)
{
    spry_sparsify_options options = *s->options;

    options.shares = s->trial;
    options.share_count = count;
    return spry_sparsify(s->source, &options, made, error);
}

static spry_status tell(const sparse_search *s, const char *what, double done, double total,
                        spry_error *error)
{
    char task[TASK_SIZE];

    (void)snprintf(task, sizeof task, "measuring %s", what);
    return progress_report(s->aim->progress, task, done, total, error);
}

/* Milliseconds of all layers at one level. */
static spry_status time_level(sparse_search *s, int level, spry_error *error)
{
    spry_model *made = NULL;
    double *ms = arena_array(&s->plan->memory, (size_t)s->layers.count, sizeof *ms);
    double total = 0.0;
    spry_status status = ms != NULL ? SPRY_OK : alloc_failed(error, sizeof *ms);
    int32_t count = 0;

    for (int32_t i = 0; i < s->layers.count; i++) {
        if (!s->layers.list[i].stays) {
            s->trial[count++] =
                (spry_sparsify_share){s->layers.list[i].name, levels_of_zeros[level]};
        }
    }
    if (status == SPRY_OK) {
        status = tell(s, "time", level, SPARSE_LEVELS, error);
    }
    if (status == SPRY_OK) {
        status = make_trial(s, count, &made, error);
    }
    if (status == SPRY_OK) {
        status = mixed_time_operators(made, s->aim->threads, s->names, s->layers.count, ms, &total,
                                      error);
    }
    spry_model_destroy(made);
    for (int32_t i = 0; i < s->layers.count && status == SPRY_OK; i++) {
        s->points[i][level].ms = ms[i];
        s->points[i][level].zeros = levels_of_zeros[level] * (double)s->layers.list[i].count;
    }
    if (level == 0) {
        s->dense_ms = total;
    }
    return status;
}

/* What one layer's zeros do to the answers. */
static spry_status weigh_layer(sparse_search *s, scores *r, int32_t layer, spry_error *error)
{
    spry_status status = tell(s, s->layers.list[layer].node, layer, s->layers.count, error);

    for (int k = 1; k < SPARSE_LEVELS && status == SPRY_OK; k++) {
        sparse_point *p = &s->points[layer][k];
        spry_model *made = NULL;

        s->trial[0] = (spry_sparsify_share){s->layers.list[layer].name, levels_of_zeros[k]};
        status = make_trial(s, 1, &made, error);
        if (status == SPRY_OK) {
            status = scores_compare(r, made, error);
        }
        spry_model_destroy(made);
        p->damage = status == SPRY_OK ? scores_loss(r) : INFINITY;
        p->damage = fmax(p->damage, s->points[layer][k - 1].damage); /* more zeros, more damage */
    }
    return status;
}

static spry_status weigh(sparse_search *s, spry_error *error)
{
    spry_quantize_options samples = spry_quantize_options_default();
    scores r = {.samples = 0};
    spry_status status;

    samples.calibration = s->aim->data;
    samples.recipe = s->aim->recipe;
    samples.samples = s->aim->samples;
    samples.threads = s->aim->threads;
    status = scores_open(&r, s->source, &samples, s->aim->samples, 0, error);
    for (int32_t i = 0; i < s->layers.count && status == SPRY_OK; i++) {
        if (!s->layers.list[i].stays) {
            status = weigh_layer(s, &r, i, error);
        } else {
            for (int k = 1; k < SPARSE_LEVELS; k++) {
                s->points[i][k] = (sparse_point){INFINITY, s->points[i][0].ms, 0.0};
            }
        }
    }
    scores_release(&r);
    return status;
}

static double faster_by(const sparse_search *s, const int *levels)
{
    double layers =
        sparse_sum((const sparse_point(*)[SPARSE_LEVELS])s->points, s->layers.count, levels).ms;

    return s->dense_ms / (s->others_ms + layers);
}

static spry_status choose(sparse_search *s, spry_error *error)
{
    int *levels = arena_array(&s->plan->memory, (size_t)s->layers.count, sizeof *levels);
    sparse_wish wish = {.ms = s->dense_ms / s->aim->speed_up - s->others_ms,
                        .zeros = s->options->ratio * (double)s->layers.numbers};

    if (levels == NULL) {
        return alloc_failed(error, sizeof *levels);
    }
    if (!sparse_choose((const sparse_point(*)[SPARSE_LEVELS])s->points, s->layers.count, &wish,
                       levels)) {
        return spry_fail(error, SPRY_NEGATIVE, "speed", "ask for less, or prune by another method",
                         "no choice of zeros is foretold to be %.2f times as fast: %.2f times is "
                         "the most",
                         s->aim->speed_up, faster_by(s, levels));
    }
    for (int32_t i = 0; i < s->layers.count; i++) {
        if (!s->layers.list[i].stays) {
            s->plan->shares[s->plan->count++] =
                (spry_sparsify_share){s->layers.list[i].name, levels_of_zeros[levels[i]]};
        }
    }
    s->plan->speed_up = faster_by(s, levels);
    return SPRY_OK;
}

static spry_status make_room(sparse_search *s, spry_error *error)
{
    arena *memory = &s->plan->memory;
    size_t count = (size_t)s->layers.count;

    s->points = arena_array(memory, count, sizeof *s->points);
    s->trial = arena_array(memory, count, sizeof *s->trial);
    s->names = arena_array(memory, count, sizeof *s->names);
    s->plan->shares = arena_array(memory, count, sizeof *s->plan->shares);
    if (s->points == NULL || s->trial == NULL || s->names == NULL || s->plan->shares == NULL) {
        return alloc_failed(error, count * sizeof *s->points);
    }
    for (size_t i = 0; i < count; i++) {
        const char *name = s->layers.list[i].name;

        s->names[i] = s->layers.list[i].called;
        s->layers.list[i].name = arena_text(memory, name, strlen(name)); /* for plan->shares */
        if (s->layers.list[i].name == NULL) {
            return alloc_failed(error, strlen(name));
        }
    }
    return SPRY_OK;
}

static spry_status search(sparse_search *s, spry_error *error)
{
    spry_status status =
        sparsify_layers_find(s->source, s->options, &s->plan->memory, &s->layers, error);

    if (status == SPRY_OK && s->layers.method->unit == NULL) {
        status = spry_fail(error, SPRY_USAGE, "method", "prune by lanes or panels",
                           "with N:M there is nothing to choose");
    }
    if (status == SPRY_OK) {
        status = make_room(s, error);
    }
    for (int k = 0; k < SPARSE_LEVELS && status == SPRY_OK; k++) {
        status = time_level(s, k, error);
    }
    s->others_ms = s->dense_ms;
    for (int32_t i = 0; i < s->layers.count && status == SPRY_OK; i++) {
        s->others_ms -= s->points[i][0].ms;
    }
    s->others_ms = fmax(s->others_ms, 0.0);
    if (status == SPRY_OK) {
        status = weigh(s, error);
    }
    return status == SPRY_OK ? choose(s, error) : status;
}

spry_status spry_sparsify_search(const spry_model *source, const spry_sparsify_options *options,
                                 const spry_sparsify_aim *aim, spry_sparsify_plan **plan,
                                 spry_error *error)
{
    spry_allocator allocator = alloc_resolve(&source->allocator);
    sparse_search s = {.source = source, .options = options, .aim = aim};
    spry_status status;

    *plan = NULL;
    if (aim->struct_size != sizeof *aim || !(aim->speed_up >= 1.0)) {
        return spry_fail(error, SPRY_USAGE, "speed", "1 or more, from spry_sparsify_aim_default()",
                         "%g times as fast is no aim", aim->speed_up);
    }
    s.plan = alloc_zeroed(&allocator, sizeof *s.plan);
    if (s.plan == NULL) {
        return alloc_failed(error, sizeof *s.plan);
    }
    s.plan->allocator = allocator;
    arena_init(&s.plan->memory, &s.plan->allocator, SIZE_MAX);
    status = search(&s, error);
    if (status != SPRY_OK) {
        spry_sparsify_plan_destroy(s.plan);
        return status;
    }
    *plan = s.plan;
    return SPRY_OK;
}

void spry_sparsify_plan_destroy(spry_sparsify_plan *plan)
{
    if (plan != NULL) {
        spry_allocator allocator = plan->allocator;

        arena_fini(&plan->memory);
        alloc_release(&allocator, plan, sizeof *plan);
    }
}

int32_t spry_sparsify_plan_shares(const spry_sparsify_plan *plan,
                                  const spry_sparsify_share **shares)
{
    *shares = plan->shares;
    return plan->count;
}

double spry_sparsify_plan_speed_up(const spry_sparsify_plan *plan)
{
    return plan->speed_up;
}
