/* Looking at a model: a copy of its graph, sizes for its free dimensions, then counting. */
#include "inspect/summary.h"

#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/limits.h"
#include "model/infer.h"

spry_inspect_options spry_inspect_options_default(void)
{
    return (spry_inspect_options){.struct_size = sizeof(spry_inspect_options)};
}

const char *summary_text(summary *s, const char *text)
{
    return arena_text(&s->memory, text, strlen(text));
}

const char *summary_type(summary *s, int32_t id)
{
    char text[SUMMARY_TYPE_SIZE];

    if (id == GRAPH_NONE) {
        return summary_text(s, "");
    }
    return summary_text(s, graph_type_describe(&s->g->values[id].type, text, sizeof text));
}

spry_status summary_grow(summary *s, void **array, size_t *capacity, int32_t count, size_t size,
                         spry_error *error)
{
    if ((size_t)count < *capacity) {
        return SPRY_OK;
    }
    size_t larger = *capacity == 0 ? 16 : *capacity * 2;
    void *grown = arena_array(&s->memory, larger, size);

    if (grown == NULL) {
        return alloc_failed(error, larger * size);
    }
    if (count > 0) {
        memcpy(grown, *array, (size_t)count * size);
    }
    *array = grown;
    *capacity = larger;
    return SPRY_OK;
}

/* ---- sizes ---- */

static bool is_asked_for(const spry_inspect_options *options, const char *symbol)
{
    for (int32_t i = 0; i < options->dimension_count; i++) {
        if (symbol != NULL && strcmp(options->dimensions[i].symbol, symbol) == 0) {
            return true;
        }
    }
    return false;
}

/* A free first dimension is nearly always the batch; numbers are wanted per sample. */
static spry_status assume_batch(summary *s, spry_error *error)
{
    for (int32_t i = 0; i < s->g->input_count; i++) {
        const graph_value *input = &s->g->values[s->g->inputs[i]];
        graph_type type = input->type;

        if (type.kind != GRAPH_TYPE_TENSOR || !type.has_rank || type.rank == 0 ||
            type.dims[0].size >= 0) {
            continue;
        }
        type.dims[0] = (graph_dim){.size = 1};
        s->totals.batch_assumed = true;
        spry_status status = infer_bind_input(s->g, input->name, &type, error);
        if (status != SPRY_OK) {
            return status;
        }
    }
    return SPRY_OK;
}

static spry_status bind(summary *s, const spry_inspect_options *options, spry_error *error)
{
    for (int32_t i = 0; i < options->dimension_count; i++) {
        const spry_dimension *dimension = &options->dimensions[i];
        if (dimension->symbol == NULL) {
            return spry_fail(error, SPRY_USAGE, NULL, NULL, "a dimension has no name");
        }
        spry_status status = infer_bind_symbol(s->g, dimension->symbol, dimension->size, error);
        if (status != SPRY_OK) {
            return status;
        }
    }
    return options->keep_batch ? SPRY_OK : assume_batch(s, error);
}

/* A model with contradicting shapes is worth looking at all the more: what is declared remains. */
static spry_status infer(summary *s, spry_error *error)
{
    spry_error problem = {0};
    spry_status status = infer_graph(s->g, &problem);

    if (status == SPRY_BAD_INPUT) {
        char text[SPRY_ERROR_WHERE_SIZE + SPRY_ERROR_WHAT_SIZE + 4];
        (void)snprintf(text, sizeof text, "%s: %s", problem.where, problem.what);
        s->totals.problem = summary_text(s, text);
        return s->totals.problem == NULL ? alloc_failed(error, sizeof text) : SPRY_OK;
    }
    if (status != SPRY_OK && error != NULL) {
        *error = problem;
    }
    return status;
}

/* ---- what it takes and gives ---- */

static spry_status add_symbol(summary *s, const char *symbol, const spry_inspect_options *options,
                              spry_error *error)
{
    s->totals.free_dimensions++;
    if (symbol == NULL || is_asked_for(options, symbol)) {
        return SPRY_OK;
    }
    for (int32_t i = 0; i < s->symbol_count; i++) {
        if (strcmp(s->symbols[i], symbol) == 0) {
            return SPRY_OK;
        }
    }
    size_t capacity = (size_t)s->symbol_count;
    void *array = s->symbols;
    spry_status status =
        summary_grow(s, &array, &capacity, s->symbol_count, sizeof *s->symbols, error);

    s->symbols = array;
    if (status == SPRY_OK) {
        s->symbols[s->symbol_count++] = symbol;
    }
    return status;
}

static spry_status find_symbols(summary *s, const spry_inspect_options *options, spry_error *error)
{
    for (int32_t i = 0; i < s->g->input_count; i++) {
        const graph_type *type = &s->g->values[s->g->inputs[i]].type;
        int rank = type->kind == GRAPH_TYPE_TENSOR && type->has_rank ? type->rank : 0;

        for (int d = 0; d < rank; d++) {
            if (type->dims[d].size >= 0) {
                continue;
            }
            spry_status status = add_symbol(s, type->dims[d].symbol, options, error);
            if (status != SPRY_OK) {
                return status;
            }
        }
    }
    return SPRY_OK;
}

static spry_status describe_ports(summary *s, const int32_t *ids, int32_t count, bool inputs,
                                  spry_inspect_port **ports, int32_t *port_count, spry_error *error)
{
    spry_inspect_port *list = arena_array(&s->memory, (size_t)count + 1, sizeof *list);

    *port_count = 0;
    if (list == NULL) {
        return alloc_failed(error, (size_t)count * sizeof *list);
    }
    for (int32_t i = 0; i < count; i++) {
        const graph_value *v = &s->g->values[ids[i]];
        if (inputs && v->constant != NULL) {
            continue; /* a weight with a default, as old exporters write */
        }
        list[*port_count].name = v->name;
        list[*port_count].type = summary_type(s, ids[i]);
        if (list[(*port_count)++].type == NULL) {
            return alloc_failed(error, SUMMARY_TYPE_SIZE);
        }
    }
    *ports = list;
    return SPRY_OK;
}

static spry_status describe_opsets(summary *s, spry_error *error)
{
    size_t count = (size_t)s->m->opset_count;

    s->opsets = arena_array(&s->memory, count + 1, sizeof *s->opsets);
    if (s->opsets == NULL) {
        return alloc_failed(error, count * sizeof *s->opsets);
    }
    for (size_t i = 0; i < count; i++) {
        s->opsets[i].domain = s->m->opsets[i].domain;
        s->opsets[i].version = s->m->opsets[i].version;
    }
    return SPRY_OK;
}

static spry_status look(summary *s, const spry_inspect_options *options, spry_error *error)
{
    spry_status status = graph_copy(s->m->main, &s->memory, NULL, &s->g, error);
    int32_t output_count = 0;

    if (status == SPRY_OK) {
        status = graph_sort(s->g, error);
    }
    if (status == SPRY_OK) {
        status = bind(s, options, error);
    }
    if (status == SPRY_OK) {
        status = infer(s, error);
    }
    if (status == SPRY_OK) {
        status = find_symbols(s, options, error);
    }
    if (status == SPRY_OK) {
        status = describe_ports(s, s->g->inputs, s->g->input_count, true, &s->inputs,
                                &s->input_count, error);
    }
    if (status == SPRY_OK) {
        status = describe_ports(s, s->g->outputs, s->g->output_count, false, &s->outputs,
                                &output_count, error);
    }
    if (status == SPRY_OK) {
        status = describe_opsets(s, error);
    }
    if (status == SPRY_OK) {
        status = summary_count_nodes(s, error);
    }
    if (status == SPRY_OK) {
        status = summary_find_gaps(s, error);
    }
    return status == SPRY_OK ? summary_measure_memory(s, error) : status;
}

spry_status spry_inspect(const spry_model *m, const spry_inspect_options *options,
                         spry_inspection **inspection, spry_error *error)
{
    *inspection = NULL;
    if (options->struct_size != sizeof *options || options->dimension_count < 0) {
        return spry_fail(error, SPRY_USAGE, NULL, "start from spry_inspect_options_default()",
                         "the inspection's options are not initialised");
    }
    spry_allocator allocator = alloc_resolve(options->allocator);
    summary *s = alloc_zeroed(&allocator, sizeof *s);

    if (s == NULL) {
        return alloc_failed(error, sizeof *s);
    }
    s->allocator = allocator;
    s->m = m;
    /* The copy has the size of the parsed model; rows add a few hundred bytes per node. */
    arena_init(&s->memory, &allocator, SIZE_MAX);
    spry_status status = look(s, options, error);
    if (status != SPRY_OK) {
        spry_inspection_destroy(s);
        return status;
    }
    *inspection = s;
    return SPRY_OK;
}

void spry_inspection_destroy(spry_inspection *inspection)
{
    if (inspection == NULL) {
        return;
    }
    spry_allocator allocator = inspection->allocator;

    arena_fini(&inspection->memory);
    alloc_release(&allocator, inspection, sizeof *inspection);
}

/* ---- handing out ---- */

const spry_inspect_totals *spry_inspection_totals(const spry_inspection *inspection)
{
    return &inspection->totals;
}

int32_t spry_inspection_inputs(const spry_inspection *inspection, const spry_inspect_port **ports)
{
    *ports = inspection->inputs;
    return inspection->input_count;
}

int32_t spry_inspection_outputs(const spry_inspection *inspection, const spry_inspect_port **ports)
{
    *ports = inspection->outputs;
    return inspection->g->output_count;
}

int32_t spry_inspection_opsets(const spry_inspection *inspection, const spry_inspect_opset **opsets)
{
    *opsets = inspection->opsets;
    return inspection->m->opset_count;
}

int32_t spry_inspection_operators(const spry_inspection *inspection,
                                  const spry_inspect_operator **operators)
{
    *operators = inspection->operators;
    return inspection->operator_count;
}

int32_t spry_inspection_nodes(const spry_inspection *inspection, const spry_inspect_node **nodes)
{
    *nodes = inspection->nodes;
    return inspection->g->node_count;
}

int32_t spry_inspection_weights(const spry_inspection *inspection,
                                const spry_inspect_weights **weights)
{
    *weights = inspection->weights;
    return inspection->weight_count;
}

int32_t spry_inspection_gaps(const spry_inspection *inspection, const spry_inspect_gap **gaps)
{
    *gaps = inspection->gaps;
    return inspection->gap_count;
}

int32_t spry_inspection_symbols(const spry_inspection *inspection, const char *const **symbols)
{
    *symbols = inspection->symbols;
    return inspection->symbol_count;
}
