/* PTQ4ViT (arXiv 2111.12293): steps of weights and activations by the error of each product,
 * weighted by how much its elements matter, and twin ranges behind Softmax and Gelu. */
#include <math.h>
#include <string.h>

#include "base/alloc.h"
#include "base/progress.h"
#include "quantize/choice.h"
#include "quantize/method/method.h"
#include "quantize/method/search_check.h"

enum { SEGMENTS = 3, MOST_FORMS = 2, WEIGHT_TRIES = 60 };

/* A twin range doubles the products of its layer: it has to gain this much of the error. */
static const double WORTH_TWICE = 0.95;

typedef struct finder {
    quantize_job *job;
    layers found;
    capture capture;
    arena scratch; /* of one layer */
    const char *twin;
    bool per_channel;
    search_result *results; /* per layer */
    search_result *affine;  /* with the first of the grids that were tried */
} finder;

/* ---- what is allowed ---- */

static const spry_quantize_choice twins[] = {
    {"pow2", "behind Softmax and Gelu, steps in the ratio of a power of two"},
    {"free", "behind Softmax and Gelu, any ratio where it is free"},
    {"softmax", "behind Softmax alone"},
    {"gelu", "behind Gelu alone"},
    {"off", "nowhere"}};
static const spry_quantize_choice grids[] = {
    {"best", "whichever grid has the least error"},
    {"symmetric", "zero point 0, and twin ranges wherever they are allowed"},
    {"affine", "a zero point, and twin ranges wherever they are allowed"}};
static const spry_quantize_choice units[] = {{"channel", "a step per output channel"},
                                             {"tensor", "a step per weight tensor"}};

#define CHOICE_AT(LIST)                                                                     \
    static const spry_quantize_choice *LIST##_at(int32_t index)                             \
    {                                                                                       \
        return index >= 0 && index < (int32_t)(sizeof LIST / sizeof LIST[0]) ? &LIST[index] \
                                                                             : NULL;        \
    }
CHOICE_AT(twins)
CHOICE_AT(grids)
CHOICE_AT(units)

static bool has_twin(const finder *f, layer_source source)
{
    bool both = strcmp(f->twin, "pow2") == 0 || strcmp(f->twin, "free") == 0;

    return (source == LAYER_SOFTMAX && (both || strcmp(f->twin, "softmax") == 0)) ||
           (source == LAYER_GELU && (both || strcmp(f->twin, "gelu") == 0));
}

/* The grids that a layer's first operand may have. */
static int forms_of(const finder *f, const layer *l, search_form forms[MOST_FORMS])
{
    const char *range = f->job->options->grids;
    bool both_activations = l->weight == GRAPH_NONE && l->source != LAYER_SOFTMAX;
    search_form plain =
        strcmp(range, "symmetric") == 0 || both_activations ? SEARCH_SYMMETRIC : SEARCH_AFFINE;
    search_form twin = strcmp(f->twin, "free") == 0 ? SEARCH_TWIN_FREE : SEARCH_TWIN;
    bool best = strcmp(range, "best") == 0;
    int count = 0;

    if (best || !has_twin(f, l->source)) {
        forms[count++] = plain;
    }
    if (has_twin(f, l->source)) {
        forms[count++] = twin;
    } else if (best && plain == SEARCH_AFFINE && l->source == LAYER_ANYTHING) {
        forms[count++] = SEARCH_SYMMETRIC;
    }
    return count;
}

/* ---- weights ---- */

static float largest(const float *x, int64_t count)
{
    float most = 0.0f;

    for (int64_t i = 0; i < count; i++) {
        most = fabsf(x[i]) > most ? fabsf(x[i]) : most;
    }
    return most;
}

/* Units of outputs: one each, or those of a tensor; queries, keys and values are three tensors. */
static int64_t segment_of(const weight_record *r, int64_t output)
{
    bool is_three = r->w.taps == 1 && r->w.outputs == SEGMENTS * r->w.inputs;

    return is_three ? output / r->w.inputs : 0;
}

static int64_t segments_of(const weight_record *r)
{
    return segment_of(r, r->w.outputs - 1) + 1;
}

/* Steps that cover the range of each output, or of all outputs of its tensor. */
static void cover(const finder *f, const weight_record *r, const float *dense, float *steps)
{
    int64_t span = r->w.inputs * r->w.taps;
    double top = grid_codes_of(&(grid_options){.bits = r->bits, .symmetric = true}).high + 0.5;
    float most[SEGMENTS] = {0.0f};

    for (int64_t i = 0; i < r->w.outputs; i++) {
        float own = largest(dense + i * span, span);
        int64_t s = segment_of(r, i);

        steps[i] = own;
        most[s] = own > most[s] ? own : most[s];
    }
    for (int64_t i = 0; i < r->w.outputs; i++) {
        double range = (double)(f->per_channel ? steps[i] : most[segment_of(r, i)]);

        steps[i] = range > 0.0 ? (float)(range / top) : 1.0f;
    }
}

/* The multiple of each channel's step with the least squared error: of weights that no searched
 * product reads. */
static void refine_weights(const weight_record *r, const float *dense, float *steps)
{
    int64_t span = r->w.inputs * r->w.taps;
    float top = (float)grid_codes_of(&(grid_options){.bits = r->bits, .symmetric = true}).high;

    for (int64_t i = 0; i < r->w.outputs; i++) {
        const float *x = dense + i * span;
        float best = steps[i];
        double least = INFINITY;

        for (int k = 0; k < WEIGHT_TRIES; k++) {
            float step = steps[i] * (1.1f - 0.01f * (float)k);
            double error = 0.0;

            for (int64_t n = 0; n < span; n++) {
                float code = fminf(fmaxf(rintf(x[n] / step), -top), top);
                double d = (double)(code * step - x[n]);

                error += d * d;
            }
            if (error < least) {
                least = error;
                best = step;
            }
        }
        steps[i] = best;
    }
}

/* All weights get steps of their own range; those of searched layers are chosen again later. */
static spry_status prepare_weights(finder *f, spry_error *error)
{
    spry_status status = SPRY_OK;

    for (int32_t i = 0; status == SPRY_OK && i < f->job->weight_count; i++) {
        weight_record *r = &f->job->weights[i];
        float *dense;

        arena_reset(&f->scratch);
        r->symmetric = true;
        dense = arena_array(&f->scratch, (size_t)weight_count(&r->w), sizeof *dense);
        status = record_cut(r, 1, r->w.inputs, f->job->memory, error);
        if (status == SPRY_OK && dense == NULL) {
            status = alloc_failed(error, (size_t)weight_count(&r->w) * sizeof *dense);
        }
        if (status == SPRY_OK) {
            weight_gather(&r->w, dense);
            cover(f, r, dense, r->steps);
            refine_weights(r, dense, r->steps);
        }
    }
    return status;
}

static spry_status round_searched(const method_call *call, spry_error *error)
{
    weight_record *r = call->record;
    int64_t span = r->w.inputs * r->w.taps;
    grid_options options = record_grid(r);
    float top = (float)grid_codes_of(&options).high;

    (void)error;
    for (int64_t i = 0; i < r->w.outputs * span; i++) {
        float code = rintf(call->dense[i] / r->steps[i / span]);

        r->codes[i] = (int8_t)fminf(fmaxf(code, -top), top);
    }
    return SPRY_OK;
}

/* ---- one layer ---- */

static spry_status load(finder *f, int32_t index, trial *t, spry_error *error)
{
    const layer *l = &f->found.list[index];
    spry_status status = capture_load(&f->capture, index, t->a, t->b, t->importance, error);

    if (status == SPRY_OK && l->weight != GRAPH_NONE) {
        weight_gather(&f->job->weights[l->weight].w, t->b);
    }
    /* Importance that is all zero says nothing: then all elements are alike. */
    if (f->capture.list[index].gradient <= 0.0 || !isfinite(f->capture.list[index].gradient)) {
        t->importance = NULL;
    }
    return status == SPRY_OK ? trial_begin(t, &f->scratch, error) : status;
}

/* Which unit each output belongs to: cosines are of whole rows. */
static spry_status set_units(finder *f, const layer *l, trial *t, spry_error *error)
{
    const weight_record *r = &f->job->weights[l->weight];
    bool by_channel = f->per_channel && t->metric != FISHER_COSINE;
    int32_t *unit_of = arena_array(&f->scratch, (size_t)t->n, sizeof *unit_of);

    if (unit_of == NULL) {
        return alloc_failed(error, (size_t)t->n * sizeof *unit_of);
    }
    for (int64_t i = 0; i < t->n; i++) {
        unit_of[i] = (int32_t)(by_channel ? i : segment_of(r, i));
    }
    t->unit_of = unit_of;
    t->units = by_channel ? t->n : segments_of(r);
    return SPRY_OK;
}

static spry_status open_trial(finder *f, int32_t index, trial *t, spry_error *error)
{
    const layer *l = &f->found.list[index];
    const capture_layer *at = &f->capture.list[index];
    tensor_grid wide = {.dtype = SPRY_DTYPE_I8, .bits = l->bits};
    spry_status status = SPRY_OK;

    *t = (trial){.team = f->job->team,
                 .metric = f->capture.metric,
                 .bits = l->bits,
                 .groups = at->groups,
                 .rows = at->rows,
                 .k = at->k,
                 .n = at->n,
                 .heads = l->heads,
                 .a_units = l->source == LAYER_SOFTMAX ? 1 : l->heads,
                 .units = l->heads};
    if (l->weight != GRAPH_NONE) {
        grid_options narrow = record_grid(&f->job->weights[l->weight]);

        t->b_codes = grid_codes_of(&narrow);
        status = set_units(f, l, t, error);
    } else {
        t->b_codes = tensor_grid_codes(&wide);
    }
    if (status == SPRY_OK) {
        status = trial_create(t, &f->scratch, error);
    }
    return status == SPRY_OK ? load(f, index, t, error) : status;
}

/* Ranges of the units of the first operand. */
static void join_heads(const layer *l, const capture_layer *at, int64_t units_kept, float *low,
                       float *high)
{
    memcpy(low, at->a_low, (size_t)l->heads * sizeof *low);
    memcpy(high, at->a_high, (size_t)l->heads * sizeof *high);
    for (int64_t h = 1; units_kept == 1 && h < l->heads; h++) {
        low[0] = fminf(low[0], low[h]);
        high[0] = fmaxf(high[0], high[h]);
    }
}

static spry_status make_problem(finder *f, int32_t index, trial *t, search_problem *p,
                                spry_error *error)
{
    const layer *l = &f->found.list[index];
    const capture_layer *at = &f->capture.list[index];
    double top = t->b_codes.high + 0.5;
    int64_t count = l->weight != GRAPH_NONE ? t->n : l->heads;
    float *base = arena_array(&f->scratch, (size_t)count, sizeof *base);
    float *low = arena_array(&f->scratch, (size_t)l->heads, sizeof *low);
    float *high = arena_array(&f->scratch, (size_t)l->heads, sizeof *high);

    if (base == NULL || low == NULL || high == NULL) {
        return alloc_failed(error, (size_t)count * sizeof *base);
    }
    if (l->weight != GRAPH_NONE) {
        cover(f, &f->job->weights[l->weight], t->b, base);
    }
    for (int64_t h = 0; l->weight == GRAPH_NONE && h < l->heads; h++) {
        base[h] = (float)(fmax(fabs((double)at->b_low[h]), (double)at->b_high[h]) / top);
        base[h] = base[h] > 0.0f ? base[h] : 1.0f;
    }
    join_heads(l, at, t->a_units, low, high);
    *p = (search_problem){.t = t,
                          .twin = l->source == LAYER_GELU ? TWIN_SIGNED : TWIN_POSITIVE,
                          .low = l->low,
                          .a_low = low,
                          .a_high = high,
                          .b_base = base,
                          .b_count = count,
                          .from = t->metric == FISHER_COSINE ? 0.5 : 0.01,
                          .rounds = f->job->rounds,
                          .a_is_fixed = l->like != GRAPH_NONE};
    return SPRY_OK;
}

static spry_status make_result(finder *f, const search_problem *p, search_result *r,
                               spry_error *error)
{
    r->grids = arena_array(f->job->memory, (size_t)p->t->a_units, sizeof *r->grids);
    r->steps = arena_array(f->job->memory, (size_t)p->b_count, sizeof *r->steps);
    return r->grids != NULL && r->steps != NULL
               ? SPRY_OK
               : alloc_failed(error, (size_t)p->b_count * sizeof *r->steps);
}

static bool is_twin(search_form form)
{
    return form == SEARCH_TWIN || form == SEARCH_TWIN_FREE;
}

static bool is_better(const search_result *a, const search_result *than)
{
    return a->after < than->after * (is_twin(a->form) ? WORTH_TWICE : 1.0);
}

/* The steps of a layer whose first operand has the grids that an earlier one chose. */
static spry_status search_like(finder *f, search_problem *p, const search_result *of,
                               search_result *found, spry_error *error)
{
    spry_status status = make_result(f, p, found, error);

    if (status == SPRY_OK) {
        memcpy(found->grids, of->grids, (size_t)p->t->a_units * sizeof *found->grids);
        status = search_run(p, of->form, &f->scratch, found, error);
    }
    return status;
}

static spry_status search_forms(finder *f, const layer *l, const search_problem *p,
                                search_result *best, search_result *affine, spry_error *error)
{
    search_form forms[MOST_FORMS] = {SEARCH_SYMMETRIC};
    int count = forms_of(f, l, forms);
    spry_status status = SPRY_OK;

    for (int i = 0; status == SPRY_OK && i < count; i++) {
        search_result tried = {0};

        status = make_result(f, p, &tried, error);
        if (status == SPRY_OK) {
            status = search_run(p, forms[i], &f->scratch, &tried, error);
        }
        if (status == SPRY_OK && (i == 0 || is_better(&tried, best))) {
            *best = tried;
        }
        if (status == SPRY_OK && i == 0) {
            *affine = tried;
        }
    }
    return status;
}

static spry_status search_layer(finder *f, int32_t index, spry_error *error)
{
    const layer *l = &f->found.list[index];
    search_result *best = &f->results[index];
    search_result *affine = &f->affine[index];
    search_problem p;
    trial t;
    spry_status status;

    arena_reset(&f->scratch);
    status = open_trial(f, index, &t, error);
    if (status == SPRY_OK) {
        status = make_problem(f, index, &t, &p, error);
    }
    if (status != SPRY_OK) {
        return status;
    }
    if (l->like == GRAPH_NONE) {
        return search_forms(f, l, &p, best, affine, error);
    }
    status = search_like(f, &p, &f->results[l->like], best, error);
    *affine = *best;
    return status == SPRY_OK && f->affine[l->like].form != f->results[l->like].form
               ? search_like(f, &p, &f->affine[l->like], affine, error)
               : status;
}

/* ---- the whole ---- */

static spry_status tell(const finder *f, spry_error *error)
{
    const graph *g = f->job->m->main;
    spry_status status = SPRY_OK;

    for (int32_t i = 0; status == SPRY_OK && i < f->found.count; i++) {
        const search_result *r = &f->results[i];
        const trial_grid *grid = &r->grids[0];
        const double gradient = f->capture.list[i].gradient;
        bool has_gradient = fisher_has_gradients(f->capture.metric);
        spry_quantize_layer row = {.grid = search_form_name(r->form),
                                   .step = grid->is_twin ? grid->twin.d2 : grid->step,
                                   .fine_step = grid->is_twin ? grid->twin.d1 : 0.0f,
                                   .m = r->m,
                                   .error_before = r->before,
                                   .error_after = r->after,
                                   .gradient = gradient,
                                   .remark =
                                       has_gradient && !(gradient > 0.0)
                                           ? "its gradients are all zero: searched by squared error"
                                       : f->capture.remark != NULL ? f->capture.remark
                                                                   : ""};

        status = facts_add_layer(f->job->facts, g, f->found.list[i].node, &row, error);
    }
    return status;
}

static spry_status search_layers(finder *f, spry_error *error)
{
    const graph *g = f->job->m->main;
    spry_status status = SPRY_OK;
    char label[256];

    f->results = arena_array(f->job->memory, (size_t)f->found.count + 1, sizeof *f->results);
    f->affine = arena_array(f->job->memory, (size_t)f->found.count + 1, sizeof *f->affine);
    if (f->results == NULL || f->affine == NULL) {
        return alloc_failed(error, (size_t)f->found.count * sizeof *f->results);
    }
    for (int32_t i = 0; status == SPRY_OK && i < f->found.count; i++) {
        (void)graph_node_label(g, &g->nodes[f->found.list[i].node], label, sizeof label);
        status = progress_report(f->job->options->progress, label, i, f->found.count, error);
        if (status == SPRY_OK) {
            status = search_layer(f, i, error);
        }
    }
    return status;
}

static spry_status read_choices(finder *f, fisher_metric *metric, spry_error *error)
{
    const spry_quantize_options *o = f->job->options;
    int32_t index = 0;
    spry_status status = fisher_find(f->job->metric, metric, error);

    if (status == SPRY_OK) {
        status = choice_find("twin", o->twin, twins_at, &index, error);
    }
    if (status == SPRY_OK) {
        status = choice_find("grids", o->grids, grids_at, &index, error);
    }
    if (status == SPRY_OK) {
        status = choice_find("units", o->units, units_at, &index, error);
    }
    if (status == SPRY_OK && o->activation_bits == 0) {
        status = spry_fail(error, SPRY_USAGE, "activation bits", "2 to 8",
                           "ptq4vit quantizes activations");
    }
    f->twin = o->twin;
    f->per_channel = strcmp(o->units, "channel") == 0;
    return status;
}

static spry_status search(quantize_job *job, spry_error *error)
{
    finder f = {.job = job, .capture = {.file = {-1}}};
    fisher_metric metric;
    spry_status status = read_choices(&f, &metric, error);

    arena_init(&f.scratch, &job->m->allocator, SIZE_MAX);
    if (status == SPRY_OK) {
        status = prepare_weights(&f, error);
    }
    if (status == SPRY_OK) {
        status = layers_find(job, &f.found, error);
    }
    if (status == SPRY_OK && f.found.count > 0) {
        status = capture_run(job, &f.found, metric, &f.capture, error);
    }
    if (status == SPRY_OK) {
        status = search_layers(&f, error);
    }
    if (status == SPRY_OK) {
        status = search_check(job, &f.found, f.results, f.affine, error);
    }
    if (status == SPRY_OK) {
        status = tell(&f, error);
    }
    if (status == SPRY_OK) {
        status = search_write(job, &f.found, f.results, error);
    }
    capture_release(&f.capture);
    arena_fini(&f.scratch);
    return status;
}

const method method_ptq4vit = {
    .facts = {"ptq4vit", "by the error of each product where it matters, with twin ranges"},
    .needs_data = true,
    .metric = "fisher",
    .rounds = 3,
    .search = search,
    .round = round_searched};
