/* What is known of layers before bits are chosen: costs, latencies, bytes. */
#include <math.h>
#include <string.h>

#include "base/alloc.h"
#include "base/progress.h"
#include "measure/mixed_latency.h"
#include "measure/mixed_search.h"
#include "spry/sensitivity.h"

/* ---- costs ---- */

static spry_status measure_level(mixed_search *s, int level, spry_sensitivity **sensitivity,
                                 spry_error *error)
{
    spry_quantize_options o = s->quantize;

    o.weight_bits = level == EIGHT ? 8 : s->options->fewest_bits;
    o.activation_bits = level == EIGHT ? o.activation_bits : 0;
    return spry_sensitivity_measure(s->source, &o, s->options->class_offset, sensitivity, error);
}

static const spry_sensitivity_row *find_row(const spry_sensitivity *s, const char *name)
{
    const spry_sensitivity_row *rows;
    int32_t count = s != NULL ? spry_sensitivity_rows(s, &rows) : 0;

    for (int32_t i = 0; i < count; i++) {
        if (strcmp(rows[i].name, name) == 0) {
            return &rows[i];
        }
    }
    return NULL;
}

/* One row per layer of the search; those whose bits the caller has fixed are left out. */
static spry_status list_rows(mixed_search *s, const spry_sensitivity *eight,
                             const spry_sensitivity *low, spry_error *error)
{
    spry_mixed *r = s->result;
    const spry_sensitivity_row *rows;
    int32_t count = spry_sensitivity_rows(eight, &rows);
    size_t room = (size_t)count + 1;

    r->rows = arena_array(&r->memory, room, sizeof *r->rows);
    s->points = arena_zeroed(&r->memory, room * sizeof *s->points);
    s->levels = arena_array(&r->memory, room, sizeof *s->levels);
    s->best = arena_array(&r->memory, room, sizeof *s->best);
    s->moves = arena_array(&r->memory, room * (SPRY_MIXED_LEVELS - 1), sizeof *s->moves);
    if (r->rows == NULL || s->points == NULL || s->levels == NULL || s->best == NULL ||
        s->moves == NULL) {
        return alloc_failed(error, room * sizeof *r->rows);
    }
    for (int32_t i = 0; i < count; i++) {
        const char *node = arena_text(&r->memory, rows[i].node, strlen(rows[i].node));
        const char *name = arena_text(&r->memory, rows[i].name, strlen(rows[i].name));
        const spry_sensitivity_row *other = find_row(low, rows[i].name);
        bool is_fixed = rows[i].weights > 0 &&
                        (rows[i].weight_bits != 8 || (other != NULL && other->weight_bits == 8));

        if (node == NULL || name == NULL) {
            return alloc_failed(error, strlen(rows[i].node));
        }
        if (!is_fixed) {
            r->rows[r->row_count++] =
                (spry_mixed_row){.node = node,
                                 .name = name,
                                 .weights = rows[i].weights,
                                 .divergence = {0.0, rows[i].divergence,
                                                other != NULL ? other->divergence : INFINITY}};
        }
    }
    return SPRY_OK;
}

spry_status mixed_find_costs(mixed_search *s, spry_error *error)
{
    spry_sensitivity *eight = NULL;
    spry_sensitivity *low = NULL;
    spry_status status = measure_level(s, EIGHT, &eight, error);

    if (status == SPRY_OK && s->has_low) {
        status = measure_level(s, FEWEST, &low, error);
    }
    if (status == SPRY_OK) {
        status = list_rows(s, eight, low, error);
    }
    spry_sensitivity_destroy(eight);
    spry_sensitivity_destroy(low);
    return status;
}

/* ---- latencies ---- */

static void set_all(const mixed_search *s, int level)
{
    for (int32_t i = 0; i < s->result->row_count; i++) {
        s->levels[i] = s->result->rows[i].weights > 0 || level == EIGHT ? level : F32;
    }
}

static int64_t constant_bytes(const graph *g, int32_t id)
{
    const tensor *t = id != GRAPH_NONE ? graph_constant(g, id) : NULL;

    return t != NULL ? (int64_t)t->bytes : 0;
}

/* Bytes of what `n` reads besides its first input, as they are stored: codes, steps and zero points
 * where they come through a DequantizeLinear. */
static int64_t stored_bytes(const graph *g, const graph_node *n)
{
    int64_t bytes = 0;

    for (int32_t i = 1; i < n->input_count; i++) {
        int32_t id = n->inputs[i];
        int32_t producer = id != GRAPH_NONE ? g->values[id].producer : GRAPH_NONE;
        const graph_node *source = producer != GRAPH_NONE ? &g->nodes[producer] : NULL;

        bytes += constant_bytes(g, id);
        for (int32_t k = 0; source != NULL && strcmp(source->type, "DequantizeLinear") == 0 &&
                            k < source->input_count;
             k++) {
            bytes += constant_bytes(g, source->inputs[k]);
        }
    }
    return bytes;
}

/* What a format turns into another operator is taken by its bits. */
static void weigh(const mixed_search *s, const spry_model *m, int level)
{
    const double bits[SPRY_MIXED_LEVELS] = {32.0, 8.0, s->options->fewest_bits};
    spry_mixed *r = s->result;

    for (int32_t i = 0; i < r->row_count; i++) {
        r->rows[i].bytes[level] = (int64_t)((double)r->rows[i].weights * bits[level] / 8.0);
        for (int32_t n = 0; n < m->main->node_count; n++) {
            const graph_node *node = &m->main->nodes[n];

            if (r->rows[i].weights > 0 && strcmp(node->name, r->rows[i].name) == 0) {
                r->rows[i].bytes[level] = stored_bytes(m->main, node);
            }
        }
    }
}

static spry_status time_level(mixed_search *s, int level, const char *const *names, double *ms,
                              spry_error *error)
{
    spry_mixed *r = s->result;
    spry_model *made = NULL;
    double total = 0.0;
    spry_status status = SPRY_OK;

    set_all(s, level);
    if (level != F32) {
        status = mixed_make(s, s->levels, &made, error);
    }
    if (status == SPRY_OK) {
        weigh(s, made != NULL ? made : s->named, level);
        status = mixed_time_operators(made != NULL ? made : s->named, s->quantize.threads, names,
                                      r->row_count, ms, &total, error);
    }
    spry_model_destroy(made);
    s->float_ms = level == F32 ? total : s->float_ms;
    for (int32_t i = 0; status == SPRY_OK && i < r->row_count; i++) {
        r->rows[i].ms[level] = ms[i];
    }
    return status;
}

spry_status mixed_find_latencies(mixed_search *s, spry_error *error)
{
    spry_mixed *r = s->result;
    size_t room = (size_t)r->row_count + 1;
    const char **names = arena_array(&r->memory, room, sizeof *names);
    double *ms = arena_array(&r->memory, room, sizeof *ms);
    spry_status status = SPRY_OK;

    if (names == NULL || ms == NULL) {
        return alloc_failed(error, room * sizeof *ms);
    }
    for (int32_t i = 0; i < r->row_count; i++) {
        names[i] = r->rows[i].name;
    }
    for (int level = F32; status == SPRY_OK && level < SPRY_MIXED_LEVELS; level++) {
        if (level == FEWEST && !s->has_low) {
            break;
        }
        status = progress_report(s->quantize.progress, "timing operators", level, SPRY_MIXED_LEVELS,
                                 error);
        if (status == SPRY_OK) {
            status = time_level(s, level, names, ms, error);
        }
    }
    return status;
}
