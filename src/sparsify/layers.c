/* Finding weights. */
#include "sparsify/layers.h"

#include <string.h>

#include "base/alloc.h"
#include "base/text.h"
#include "model/weights.h"
#include "quantize/weights.h"

enum { LABEL_SIZE = 512 };

static bool is_listed(const sparsify_layers *l, int32_t value)
{
    for (int32_t i = 0; i < l->count; i++) {
        if (l->list[i].value == value) {
            return true;
        }
    }
    return false;
}

static int64_t parts_of(int64_t extent, int64_t part)
{
    return (extent + part - 1) / part;
}

static int64_t least(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

static void cut(const sparsify_layers *all, sparsify_layer *l)
{
    const sparsify_view *v = &l->view;
    sparsify_unit u = {1, 1, 1, 0};

    if (all->method->unit != NULL) {
        u = all->method->unit(v);
    }
    l->unit = (sparsify_unit){least(u.outputs, v->outputs), least(u.channels, v->channels),
                              least(u.taps, v->taps), u.ranked};
    l->units = parts_of(v->outputs, l->unit.outputs) * parts_of(v->channels, l->unit.channels) *
               parts_of(v->taps, l->unit.taps);
}

static spry_status add_layer(const model *m, const weight *w, arena *memory, sparsify_layers *l,
                             spry_error *error)
{
    const graph *g = m->main;
    sparsify_layer *to = &l->list[l->count];
    char label[LABEL_SIZE];
    spry_status status = weight_check(g, w, error);

    if (status != SPRY_OK) {
        return status;
    }
    (void)graph_node_label(g, &g->nodes[w->node], label, sizeof label);
    *to = (sparsify_layer){
        .name = g->values[w->value].name,
        .node = arena_text(memory, label, strlen(label)),
        .called = g->nodes[w->node].name,
        .value = w->value,
        .data = w->source->data,
        .view = {w->outputs, w->inputs, w->taps, w->output_stride, w->input_stride, 1},
        .count = weight_count(w)};
    if (to->node == NULL) {
        return alloc_failed(error, sizeof label);
    }
    cut(l, to);
    if (to->count > INT32_MAX) {
        return spry_fail(error, SPRY_LIMIT, to->name, NULL, "more numbers than can be sorted");
    }
    l->numbers += to->count;
    l->most_units = to->units > l->most_units ? to->units : l->most_units;
    l->most_numbers = to->count > l->most_numbers ? to->count : l->most_numbers;
    l->count++;
    return SPRY_OK;
}

/* What is named stays; every pattern has to name something. */
static spry_status exclude(const model *m, const spry_sparsify_options *o, sparsify_layers *l,
                           spry_error *error)
{
    if (!o->ends && l->count > 2) {
        l->list[0].stays = true;
        l->list[l->count - 1].stays = true;
    }
    for (int32_t i = 0; i < o->exclude_count; i++) {
        bool fits = false;

        for (int32_t k = 0; k < l->count; k++) {
            const graph *g = m->main;
            sparsify_layer *to = &l->list[k];
            bool is_named = text_matches(o->exclude[i], to->name);

            for (int32_t n = 0; n < g->node_count && !is_named; n++) {
                is_named = g->nodes[n].input_count > WEIGHTS_PORT &&
                           g->nodes[n].inputs[WEIGHTS_PORT] == to->value &&
                           text_matches(o->exclude[i], g->nodes[n].name);
            }
            to->stays = to->stays || is_named;
            fits = fits || is_named;
        }
        if (!fits) {
            return spry_fail(error, SPRY_USAGE, "exclude", "spry inspect shows names",
                             "no weight and no operator with weights is called '%s'",
                             o->exclude[i]);
        }
    }
    return SPRY_OK;
}

static spry_status check_options(const spry_sparsify_options *o, spry_error *error)
{
    if (o->struct_size != sizeof *o) {
        return spry_fail(error, SPRY_USAGE, "options", "start from spry_sparsify_options_default()",
                         "not initialised");
    }
    if (!(o->ratio >= 0.0 && o->ratio < 1.0)) { /* written so that what is no number fails too */
        return spry_fail(error, SPRY_USAGE, "ratio", "0 to below 1", "%g is no share of zeros",
                         o->ratio);
    }
    if (o->keep < 1 || o->keep >= o->of || o->of > 64) {
        return spry_fail(error, SPRY_USAGE, "pattern", "for example 2:4", "%d of %d cannot be kept",
                         (int)o->keep, (int)o->of);
    }
    return SPRY_OK;
}

spry_status sparsify_layers_find(const model *m, const spry_sparsify_options *options,
                                 arena *memory, sparsify_layers *found, spry_error *error)
{
    const graph *g = m->main;
    const char *reason = NULL;
    spry_status status = check_options(options, error);

    *found = (sparsify_layers){.keep = options->keep, .of = options->of};
    if (status == SPRY_OK) {
        status = sparsify_method_find(options->method, &found->method, error);
    }
    if (status == SPRY_OK) {
        status = model_weights_hold_all(m, error);
    }
    found->list = arena_array(memory, (size_t)g->node_count + 1, sizeof *found->list);
    if (status == SPRY_OK && found->list == NULL) {
        status = alloc_failed(error, (size_t)g->node_count);
    }
    for (int32_t i = 0; i < g->node_count && status == SPRY_OK; i++) {
        weight w;
        const char *why;

        if (graph_node_is(&g->nodes[i], "ConvTranspose")) {
            continue;
        }
        if (!weight_of_node(g, i, &w, &why)) {
            reason = why != NULL ? why : reason;
        } else if (!is_listed(found, w.value)) {
            status = add_layer(m, &w, memory, found, error);
        }
    }
    if (status == SPRY_OK && found->count == 0) {
        status = spry_fail(error, SPRY_UNSUPPORTED, m->path,
                           "prune a float model, before it is quantized",
                           "there are no weights to prune: %s",
                           reason != NULL ? reason : "no Conv, Gemm or MatMul has constant ones");
    }
    return status == SPRY_OK ? exclude(m, options, found, error) : status;
}
