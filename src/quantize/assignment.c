/* Who gets which bits. */
#include "quantize/assignment.h"

#include <string.h>

#include "base/alloc.h"
#include "base/text.h"
#include "quantize/grid.h"

enum { LABEL_SIZE = 512 };

/* ---- names ---- */

/* Names may hold '*' and are then found as they are, too. */
static bool is_called(const graph_node *n, const char *label, const char *pattern)
{
    return strcmp(pattern, n->name) == 0 || strcmp(pattern, label) == 0 ||
           text_matches(pattern, n->name) || text_matches(pattern, label);
}

static bool fits(const graph_node *n, const char *label, const spry_quantize_assignment *a)
{
    return (a->type == NULL || strcmp(a->type, n->type) == 0) &&
           (a->node == NULL || is_called(n, label, a->node));
}

/* ---- bits ---- */

operator_bits assignment_of(const quantize_job *job, const graph_node *n)
{
    const spry_quantize_options *o = job->options;
    operator_bits bits = {.weights = o->weight_bits, .activations = o->activation_bits};
    char label[LABEL_SIZE];

    (void)graph_node_label(job->m->main, n, label, sizeof label);
    for (int32_t i = 0; i < o->assignment_count; i++) {
        const spry_quantize_assignment *a = &o->assignments[i];

        if (fits(n, label, a)) {
            bits.weights = a->weight_bits >= 0 ? a->weight_bits : bits.weights;
            bits.activations = a->activation_bits >= 0 ? a->activation_bits : bits.activations;
        }
    }
    for (int32_t i = 0; i < o->exclude_count; i++) {
        if (is_called(n, label, o->exclude[i])) {
            bits.weights = 0;
            bits.excluded = true;
        }
    }
    if (o->keep_first_last &&
        (n == &job->m->main->nodes[job->first] || n == &job->m->main->nodes[job->last])) {
        bits.weights = 0;
        bits.excluded = true;
    }
    bits.activations = bits.weights != 0 ? bits.activations : 0;
    return bits;
}

bool assignment_wants_activations(const spry_quantize_options *options)
{
    bool wanted = options->activation_bits != 0;

    for (int32_t i = 0; i < options->assignment_count; i++) {
        wanted = wanted || options->assignments[i].activation_bits > 0;
    }
    return wanted;
}

spry_status assignment_check(const spry_quantize_options *options, spry_error *error)
{
    for (int32_t i = 0; i < options->assignment_count; i++) {
        const spry_quantize_assignment *a = &options->assignments[i];
        const char *where = a->node != NULL ? a->node : a->type != NULL ? a->type : "assignment";

        if (a->weight_bits != SPRY_QUANTIZE_AS_ASKED && a->weight_bits != 0 &&
            (a->weight_bits < GRID_LEAST_BITS || a->weight_bits > GRID_MOST_BITS)) {
            return spry_fail(error, SPRY_USAGE, where, "2 to 8, or 0 to keep the operator f32",
                             "%d bits for its weights", a->weight_bits);
        }
        if (a->activation_bits != SPRY_QUANTIZE_AS_ASKED && a->activation_bits != 0 &&
            (a->activation_bits < GRID_LEAST_BITS || a->activation_bits > GRID_MOST_BITS)) {
            return spry_fail(error, SPRY_USAGE, where, "2 to 8, or 0 to keep them f32",
                             "%d bits for its activations", a->activation_bits);
        }
    }
    return SPRY_OK;
}

/* ---- before anything changes ---- */

spry_status assignment_name_nodes(graph *g, spry_error *error)
{
    char label[LABEL_SIZE];

    for (int32_t i = 0; i < g->node_count; i++) {
        graph_node *n = &g->nodes[i];

        if (n->name[0] == '\0') {
            n->name = graph_text(g, graph_node_label(g, n, label, sizeof label));
            if (n->name == NULL) {
                return alloc_failed(error, strlen(label));
            }
        }
    }
    return SPRY_OK;
}

static spry_status check_name(const graph *g, const char *pattern, spry_error *error)
{
    char label[LABEL_SIZE];

    for (int32_t i = 0; i < g->node_count; i++) {
        (void)graph_node_label(g, &g->nodes[i], label, sizeof label);
        if (is_called(&g->nodes[i], label, pattern)) {
            return SPRY_OK;
        }
    }
    return spry_fail(error, SPRY_USAGE, pattern,
                     "spry inspect MODEL --nodes lists names; * stands for any characters",
                     "no operator of the model is called so");
}

spry_status assignment_prepare(quantize_job *job, spry_error *error)
{
    const spry_quantize_options *o = job->options;
    spry_status status = assignment_name_nodes(job->m->main, error);

    for (int32_t i = 0; status == SPRY_OK && i < o->exclude_count; i++) {
        status = check_name(job->m->main, o->exclude[i], error);
    }
    for (int32_t i = 0; status == SPRY_OK && i < o->assignment_count; i++) {
        if (o->assignments[i].node != NULL) {
            status = check_name(job->m->main, o->assignments[i].node, error);
        }
    }
    return status;
}
