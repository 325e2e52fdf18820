/* Undoing QDQ. */
#include "quantize/prepare/requantize.h"

#include "base/alloc.h"
#include "model/insert.h"
#include "model/pass.h"
#include "tensor/convert.h"

enum { CLIP_OPSET = 11 }; /* the first Clip with bounds as inputs */

static bool is_standard(const graph_node *n, const char *type)
{
    return !n->removed && graph_node_is(n, type);
}

static const tensor *input_constant(const graph *g, const graph_node *n, int32_t port)
{
    return port < n->input_count && n->inputs[port] != GRAPH_NONE
               ? graph_constant(g, n->inputs[port])
               : NULL;
}

/* Least and largest code of a type of 8 or 16 bits; false for others. */
static bool find_codes(spry_dtype dtype, double *low, double *high)
{
    static const struct {
        spry_dtype dtype;
        double low, high;
    } known[] = {{SPRY_DTYPE_U8, 0.0, 255.0},    {SPRY_DTYPE_I8, -128.0, 127.0},
                 {SPRY_DTYPE_U16, 0.0, 65535.0}, {SPRY_DTYPE_I16, -32768.0, 32767.0},
                 {SPRY_DTYPE_U4, 0.0, 15.0},     {SPRY_DTYPE_I4, -8.0, 7.0}};

    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++) {
        if (known[i].dtype == dtype) {
            *low = known[i].low;
            *high = known[i].high;
            return true;
        }
    }
    return false;
}

/* What the codes of QuantizeLinear `n` stand for, from the least to the largest. */
static bool find_range(const graph *g, const graph_node *n, float *least, float *most)
{
    const tensor *step = input_constant(g, n, 1);
    const tensor *zero = input_constant(g, n, 2);
    bool has_zero = n->input_count > 2 && n->inputs[2] != GRAPH_NONE;
    double low;
    double high;

    if (step == NULL || tensor_count(step) != 1 || step->dtype != SPRY_DTYPE_F32 ||
        (has_zero && (zero == NULL || tensor_count(zero) != 1)) ||
        !find_codes(zero != NULL ? zero->dtype : SPRY_DTYPE_U8, &low, &high)) {
        return false;
    }
    double at = zero != NULL ? convert_get_f64(zero, 0) : 0.0;
    *least = (float)((low - at) * convert_get_f64(step, 0));
    *most = (float)((high - at) * convert_get_f64(step, 0));
    return true;
}

/* Clip(value) between what codes could say. */
static spry_status add_clip(graph *g, int32_t id, float least, float most, int32_t opset,
                            int32_t *result, spry_error *error)
{
    const char *name = g->values[id].name;
    insert_node_of clip = {.type = "Clip",
                           .opset = opset,
                           .base = name,
                           .suffix = "clipped",
                           .inputs = {id},
                           .input_count = 3};
    int32_t node;
    spry_status status =
        insert_constant(g, name, "least", SPRY_DTYPE_F32, 0, NULL, &least, &clip.inputs[1], error);

    if (status == SPRY_OK) {
        status = insert_constant(g, name, "most", SPRY_DTYPE_F32, 0, NULL, &most, &clip.inputs[2],
                                 error);
    }
    return status == SPRY_OK ? insert_node(g, &clip, &node, result, error) : status;
}

static spry_status refuse(const graph *g, const graph_node *n, const char *why, spry_error *error)
{
    char label[256];

    return spry_fail(error, SPRY_UNSUPPORTED, graph_node_label(g, n, label, sizeof label),
                     "start from the float model it was made of", "%s", why);
}

/* What DequantizeLinear nodes give back of QuantizeLinear `node` is the value itself, clipped. */
static spry_status undo(graph *g, int32_t node, int32_t opset, spry_error *error)
{
    int32_t codes = g->nodes[node].outputs[0];
    int32_t node_count = g->node_count;
    int32_t clipped;
    float least = 0.0f;
    float most = 0.0f;
    spry_status status;

    if (!find_range(g, &g->nodes[node], &least, &most)) {
        return refuse(g, &g->nodes[node], "its steps are computed, or one per channel", error);
    }
    status = add_clip(g, g->nodes[node].inputs[0], least, most, opset, &clipped, error);
    for (int32_t i = 0; status == SPRY_OK && i < node_count; i++) {
        if (is_standard(&g->nodes[i], "DequantizeLinear") && g->nodes[i].inputs[0] == codes) {
            status = graph_replace_value(g, g->nodes[i].outputs[0], clipped, error);
            graph_remove_node(g, i);
        }
    }
    return status;
}

spry_status requantize(quantize_job *job, spry_error *error)
{
    pass_context context = {
        .m = job->m, .team = job->team, .for_file = true, .fold_dequantize = true};
    graph *g = job->m->main;
    int32_t opset = (int32_t)model_opset_version(job->m, "");
    int32_t node_count = g->node_count;
    spry_status status = SPRY_OK;

    for (int32_t i = 0; status == SPRY_OK && i < node_count; i++) {
        if (is_standard(&g->nodes[i], "QuantizeLinear")) {
            status = opset >= CLIP_OPSET
                         ? undo(g, i, opset, error)
                         : refuse(g, &g->nodes[i], "operator set 10 is too old for it", error);
        }
    }
    if (status == SPRY_OK) {
        status = graph_sort(g, error);
    }
    if (status == SPRY_OK) {
        status = pass_dead(g, &context, error);
    }
    return status == SPRY_OK ? pass_run_all(g, &context, error) : status;
}
