/* What becomes of each operator between channels-last images. */
#include <string.h>

#include "base/alloc.h"
#include "ops/op.h"
#include "runtime/chain.h"
#include "runtime/fuse.h"
#include "runtime/integer/integer.h"
#include "runtime/layout/pass.h"
#include "tensor/convert.h"

static const tensor *constant_at(const layout_pass *p, const graph_node *n, int32_t port)
{
    int32_t id = chain_input(n, port);

    return id != GRAPH_NONE ? graph_constant(p->g, id) : NULL;
}

/* Axes of the planar images of a node that is being moved: those of its results. */
static int rank_of(const layout_pass *p, const graph_node *n)
{
    return p->g->values[n->outputs[0]].type.rank;
}

static bool is_single(const graph_type *type)
{
    return graph_type_is_static(type) && op_work_count(type) == 1;
}

/* ---- which inputs are images ---- */

static bool first_only(const layout_pass *p, const graph_node *n, int32_t port)
{
    (void)p;
    (void)n;
    return port == 0;
}

static bool first_and_residual(const layout_pass *p, const graph_node *n, int32_t port)
{
    (void)p;
    return port == 0 || (port == FUSE_RESIDUAL && strcmp(n->domain, FUSE_DOMAIN) == 0);
}

/* Whatever is computed and not a single number. */
static bool computed(const layout_pass *p, const graph_node *n, int32_t port)
{
    int32_t id = n->inputs[port];

    return graph_constant(p->g, id) == NULL && !is_single(&p->g->values[id].type);
}

static bool both_sums(const layout_pass *p, const graph_node *n, int32_t port)
{
    (void)p;
    (void)n;
    return port == INTEGER_X || port == INTEGER_W;
}

/* Of (y scale, y zero point, then each input with its own two). */
static bool every_third(const layout_pass *p, const graph_node *n, int32_t port)
{
    (void)p;
    (void)n;
    return port >= 2 && port % 3 == 2;
}

/* ---- operators of equal elements ---- */

/* Constants can be laid over the result, which has as many axes as every image. */
static bool fits_elements(const layout_pass *p, const graph_node *n)
{
    int rank = rank_of(p, n);

    for (int32_t i = 0; i < n->input_count; i++) {
        int32_t id = n->inputs[i];
        const graph_type *type = id != GRAPH_NONE ? &p->g->values[id].type : NULL;

        if (type == NULL || (graph_constant(p->g, id) == NULL && is_single(type))) {
            continue;
        }
        if (!graph_type_is_static(type) || type->rank > rank ||
            (graph_constant(p->g, id) == NULL && type->rank != rank) ||
            spry_dtype_bits(type->dtype) < 8 || type->dtype == SPRY_DTYPE_STRING) {
            return false;
        }
    }
    return true;
}

static spry_status renumber_elements(layout_pass *p, int32_t node)
{
    int rank = rank_of(p, &p->g->nodes[node]);
    spry_status status = SPRY_OK;

    for (int32_t i = 0; status == SPRY_OK && i < p->g->nodes[node].input_count; i++) {
        int32_t id = p->g->nodes[node].inputs[i];
        int32_t twin;

        if (id != GRAPH_NONE && graph_constant(p->g, id) != NULL) {
            status = layout_constant(p, id, rank, &twin);
            graph_set_input(p->g, node, i, status == SPRY_OK ? twin : id);
        }
    }
    return status;
}

static bool fits_sum(const layout_pass *p, const graph_node *n)
{
    return p->g->values[n->inputs[INTEGER_X]].type.rank == rank_of(p, n) &&
           p->g->values[n->inputs[INTEGER_W]].type.rank == rank_of(p, n);
}

/* ---- operators along an axis ---- */

static int64_t default_axis(const graph_node *n)
{
    if (strcmp(n->type, "Split") == 0) {
        return 0;
    }
    return strcmp(n->type, "Softmax") == 0 || strcmp(n->type, "LogSoftmax") == 0 ? -1 : 1;
}

static bool fits_axis(const layout_pass *p, const graph_node *n)
{
    int axis;

    return graph_attribute_int(n, "block_size", 0) == 0 &&
           op_normalize_axis(graph_attribute_int(n, "axis", default_axis(n)), rank_of(p, n), &axis);
}

static spry_status renumber_axis(layout_pass *p, int32_t node)
{
    const graph_node *n = &p->g->nodes[node];
    int rank = rank_of(p, n);
    int axis;

    (void)op_normalize_axis(graph_attribute_int(n, "axis", default_axis(n)), rank, &axis);
    return graph_set_int(p->g, node, "axis", layout_axis(axis, rank), p->error);
}

static bool fits_concat(const layout_pass *p, const graph_node *n)
{
    return fits_axis(p, n) && fits_elements(p, n);
}

static spry_status renumber_concat(layout_pass *p, int32_t node)
{
    spry_status status = renumber_elements(p, node);

    return status == SPRY_OK ? renumber_axis(p, node) : status;
}

static bool fits_slice(const layout_pass *p, const graph_node *n)
{
    const tensor *starts = constant_at(p, n, 1);
    const tensor *axes = constant_at(p, n, 3);

    if (axes == NULL && chain_input(n, 3) != GRAPH_NONE) {
        return false;
    }
    return starts != NULL && starts->rank == 1 && starts->shape[0] <= rank_of(p, n) &&
           (axes == NULL || (axes->rank == 1 && axes->shape[0] == starts->shape[0]));
}

static spry_status renumber_slice(layout_pass *p, int32_t node)
{
    const graph_node *n = &p->g->nodes[node];
    const tensor *axes = constant_at(p, n, 3);
    int64_t count = constant_at(p, n, 1)->shape[0];
    int64_t numbers[SPRY_TENSOR_MAX_RANK];
    int rank = rank_of(p, n);
    int32_t *ports = arena_array(p->g->memory, 5, sizeof *ports);
    int32_t list;
    spry_status status;

    if (ports == NULL) {
        return alloc_failed(p->error, 5 * sizeof *ports);
    }
    for (int64_t i = 0; i < count; i++) {
        int axis = (int)i;

        if (axes != NULL && !op_normalize_axis(convert_get_i64(axes, i), rank, &axis)) {
            return spry_fail(p->error, SPRY_BAD_INPUT, "Slice", NULL, "an axis is outside");
        }
        numbers[i] = layout_axis(axis, rank);
    }
    status = layout_ints(p, count, numbers, &list);
    for (int32_t i = 0; status == SPRY_OK && i < 5; i++) {
        ports[i] = i == 3 ? list : chain_input(&p->g->nodes[node], i);
    }
    if (status == SPRY_OK) {
        p->g->nodes[node].inputs = ports;
        p->g->nodes[node].input_count = 5;
    }
    return status;
}

/* A constant list with `lists` numbers per axis. */
static bool is_axis_list(const layout_pass *p, const graph_node *n, int32_t port, int lists)
{
    const tensor *t = constant_at(p, n, port);

    return t != NULL && t->rank == 1 && t->shape[0] == (int64_t)rank_of(p, n) * lists &&
           spry_dtype_bits(t->dtype) >= 8;
}

static spry_status renumber_list(layout_pass *p, int32_t node, int32_t port)
{
    const graph_node *n = &p->g->nodes[node];
    int32_t list;
    spry_status status = layout_list(p, n->inputs[port], rank_of(p, n), &list);

    if (status == SPRY_OK) {
        graph_set_input(p->g, node, port, list);
    }
    return status;
}

static bool fits_pad(const layout_pass *p, const graph_node *n)
{
    return is_axis_list(p, n, 1, 2) && chain_input(n, 3) == GRAPH_NONE;
}

static spry_status renumber_pad(layout_pass *p, int32_t node)
{
    return renumber_list(p, node, 1);
}

/* Where the factors of a Resize or Upsample are, or its sizes. */
static int32_t resize_port(const graph_node *n)
{
    if (strcmp(n->type, "Upsample") == 0 || n->opset < 11) {
        return 1;
    }
    return chain_input(n, 3) != GRAPH_NONE ? 3 : 2;
}

static bool fits_resize(const layout_pass *p, const graph_node *n)
{
    const char *grid = graph_attribute_string(n, "coordinate_transformation_mode", "half_pixel");

    return is_axis_list(p, n, resize_port(n), 1) && strcmp(grid, "tf_crop_and_resize") != 0 &&
           graph_attribute_find(n, "axes") == NULL;
}

static spry_status renumber_resize(layout_pass *p, int32_t node)
{
    return renumber_list(p, node, resize_port(&p->g->nodes[node]));
}

/* ---- operators that a provider must know ---- */

/* In training there are running statistics beside it. */
static bool fits_norm(const layout_pass *p, const graph_node *n)
{
    (void)p;
    return n->output_count == 1 || graph_attribute_int(n, "training_mode", 0) != 0;
}

static bool first_and_second(const layout_pass *p, const graph_node *n, int32_t port)
{
    (void)p;
    (void)n;
    return port < 2;
}

/* Of (x, scale, dy). */
static bool first_and_third(const layout_pass *p, const graph_node *n, int32_t port)
{
    (void)p;
    (void)n;
    return port != 1;
}

static bool has_one_result(const layout_pass *p, const graph_node *n)
{
    (void)p;
    return n->output_count == 1;
}

/* The mean of all pixels is a global average pool, with or without the axes of size 1. */
static bool fits_mean(const layout_pass *p, const graph_node *n)
{
    int rank = p->g->values[n->inputs[0]].type.rank;
    const tensor *list = constant_at(p, n, 1);
    int64_t count = 0;
    const int64_t *axes = graph_attribute_ints(n, "axes", &count);
    unsigned seen = 0;

    if (list != NULL) {
        count = tensor_count(list);
    } else if (chain_input(n, 1) != GRAPH_NONE) {
        return false;
    }
    for (int64_t i = 0; i < count; i++) {
        int axis;

        if (!op_normalize_axis(list != NULL ? convert_get_i64(list, i) : axes[i], rank, &axis)) {
            return false;
        }
        seen |= 1u << axis;
    }
    return seen == ((1u << rank) - 1u - 3u);
}

static bool fits_reshape(const layout_pass *p, const graph_node *n)
{
    const graph_type *from = &p->g->values[n->inputs[0]].type;
    const graph_type *to = &p->g->values[n->outputs[0]].type;

    return from->dims[0].size == to->dims[0].size && from->dims[1].size == to->dims[1].size;
}

/* The pixels get other axes; batch and channels stay. */
static spry_status renumber_reshape(layout_pass *p, int32_t node)
{
    const graph_type *type = &p->g->values[p->g->nodes[node].outputs[0]].type;
    int64_t shape[SPRY_TENSOR_MAX_RANK];
    int32_t list;
    spry_status status;

    for (int i = 0; i < type->rank; i++) {
        shape[i] = type->dims[i].size;
    }
    status = layout_ints(p, type->rank, shape, &list);
    if (status == SPRY_OK) {
        graph_set_input(p->g, node, 1, list);
    }
    return status;
}

static spry_status renumber_quantised_pool(layout_pass *p, int32_t node)
{
    return graph_set_int(p->g, node, "channels_last", 1, p->error);
}

static bool is_channels_first(const layout_pass *p, const graph_node *n)
{
    (void)p;
    return graph_attribute_int(n, "channels_last", 0) == 0;
}

/* ---- the table ---- */

#define ELEMENTS(TYPE, SINCE)                                                          \
    {                                                                                  \
        TYPE, "", SINCE, computed, fits_elements, renumber_elements, NULL, 0, false, 0 \
    }
#define MICROSOFT "com.microsoft"

static const layout_rule rules[] = {
    {"Conv", "", 1, first_and_residual, NULL, NULL, "Conv", 1, false, 0},
    {"Conv", FUSE_DOMAIN, 1, first_and_residual, NULL, NULL, "Conv", 1, false, 0},
    {"QLinearConv", "", 1, first_only, NULL, NULL, "QLinearConv", INTEGER_W, false, 0},
    {"QLinearConv", INTEGER_DOMAIN, 1, first_only, NULL, NULL, "QLinearConv", INTEGER_W, false, 0},
    {"ConvInteger", "", 1, first_only, NULL, NULL, "ConvInteger", 1, false, 0},
    {.type = "ConvTranspose",
     .domain = "",
     .since = 1,
     .is_image = first_only,
     .asked_as = "ConvTranspose",
     .turns = true},
    {.type = "ConvWeightGradient",
     .domain = OP_OWN_DOMAIN,
     .since = 1,
     .is_image = first_and_second,
     .asked_as = "ConvWeightGradient",
     .turns = true,
     .plain_results = 1},
    {.type = "BatchNormalizationGradient",
     .domain = OP_OWN_DOMAIN,
     .since = 1,
     .is_image = first_and_third,
     .asked_as = "BatchNormalizationGradient"},
    {.type = "MaxPoolGradient",
     .domain = OP_OWN_DOMAIN,
     .since = 1,
     .is_image = first_and_second,
     .asked_as = "MaxPoolGradient"},
    {.type = "AveragePoolGradient",
     .domain = OP_OWN_DOMAIN,
     .since = 1,
     .is_image = first_and_second,
     .asked_as = "AveragePoolGradient"},
    {.type = "GateGradient",
     .domain = OP_OWN_DOMAIN,
     .since = 1,
     .is_image = computed,
     .fits = fits_elements,
     .renumber = renumber_elements},
    {.type = "GeluGradient",
     .domain = OP_OWN_DOMAIN,
     .since = 1,
     .is_image = computed,
     .fits = fits_elements,
     .renumber = renumber_elements},
    {.type = "ReduceSum",
     .domain = "",
     .since = 1,
     .is_image = first_only,
     .asked_as = "ReduceSum"},
    {"MaxPool", "", 1, first_only, has_one_result, NULL, "MaxPool", 0, false, 0},
    {"AveragePool", "", 1, first_only, has_one_result, NULL, "AveragePool", 0, false, 0},
    {"GlobalAveragePool", "", 1, first_only, NULL, NULL, "GlobalAveragePool", 0, false, 0},
    {"GlobalMaxPool", "", 1, first_only, NULL, NULL, "GlobalMaxPool", 0, false, 0},
    {"ReduceMean", "", 1, first_only, fits_mean, NULL, "GlobalAveragePool", 0, false, 0},
    {"QLinearGlobalAveragePool", MICROSOFT, 1, first_only, is_channels_first,
     renumber_quantised_pool, NULL, 0, false, 0},
    {"Concat", "", 4, computed, fits_concat, renumber_concat, NULL, 0, false, 0},
    {"QLinearConcat", MICROSOFT, 1, every_third, fits_axis, renumber_axis, NULL, 0, false, 0},
    {"Split", "", 2, first_only, fits_axis, renumber_axis, NULL, 0, false, 0},
    {"Softmax", "", 13, first_only, fits_axis, renumber_axis, NULL, 0, false, 0},
    {"LogSoftmax", "", 13, first_only, fits_axis, renumber_axis, NULL, 0, false, 0},
    {"QuantizeLinear", "", 10, first_only, fits_axis, renumber_axis, NULL, 0, false, 0},
    {"DequantizeLinear", "", 10, first_only, fits_axis, renumber_axis, NULL, 0, false, 0},
    {"Slice", "", 10, first_only, fits_slice, renumber_slice, NULL, 0, false, 0},
    {"Pad", "", 11, first_only, fits_pad, renumber_pad, NULL, 0, false, 0},
    {"Resize", "", 10, first_only, fits_resize, renumber_resize, NULL, 0, false, 0},
    {"Upsample", "", 9, first_only, fits_resize, renumber_resize, NULL, 0, false, 0},
    {"BatchNormalization", "", 9, first_only, fits_norm, NULL, "BatchNormalization", 0, false, 0},
    {"Reshape", "", 5, first_only, fits_reshape, renumber_reshape, NULL, 0, false, 0},
    {"QLinearAdd", INTEGER_DOMAIN, 1, both_sums, fits_sum, NULL, NULL, 0, false, 0},
    {"QLinearAdd", MICROSOFT, 1, both_sums, fits_sum, NULL, NULL, 0, false, 0},
    {"QLinearMul", MICROSOFT, 1, both_sums, fits_sum, NULL, NULL, 0, false, 0},
    {"QLinearSigmoid", MICROSOFT, 1, first_only, NULL, NULL, NULL, 0, false, 0},
    {"QLinearLeakyRelu", MICROSOFT, 1, first_only, NULL, NULL, NULL, 0, false, 0},
    ELEMENTS("Abs", 6),
    ELEMENTS("Add", 7),
    ELEMENTS("And", 7),
    ELEMENTS("Cast", 6),
    ELEMENTS("Ceil", 6),
    ELEMENTS("Celu", 12),
    ELEMENTS("Clip", 6),
    ELEMENTS("Div", 7),
    ELEMENTS("Elu", 6),
    ELEMENTS("Equal", 7),
    ELEMENTS("Erf", 9),
    ELEMENTS("Exp", 6),
    ELEMENTS("Floor", 6),
    ELEMENTS("Gelu", 20),
    ELEMENTS("Greater", 7),
    ELEMENTS("HardSigmoid", 6),
    ELEMENTS("HardSwish", 14),
    ELEMENTS("Identity", 1),
    ELEMENTS("LeakyRelu", 6),
    ELEMENTS("Less", 7),
    ELEMENTS("Log", 6),
    ELEMENTS("Max", 8),
    ELEMENTS("Min", 8),
    ELEMENTS("Mish", 18),
    ELEMENTS("Mul", 7),
    ELEMENTS("Neg", 6),
    ELEMENTS("Not", 1),
    ELEMENTS("Or", 7),
    ELEMENTS("PRelu", 9),
    ELEMENTS("Pow", 7),
    ELEMENTS("Reciprocal", 6),
    ELEMENTS("Relu", 6),
    ELEMENTS("Round", 11),
    ELEMENTS("Selu", 6),
    ELEMENTS("Sigmoid", 6),
    ELEMENTS("Softplus", 1),
    ELEMENTS("Softsign", 1),
    ELEMENTS("Sqrt", 6),
    ELEMENTS("Sub", 7),
    ELEMENTS("Swish", 24),
    ELEMENTS("Tanh", 6),
    ELEMENTS("ThresholdedRelu", 10),
    ELEMENTS("Where", 9),
};

const layout_rule *layout_find_rule(const graph_node *n)
{
    for (size_t i = 0; i < sizeof rules / sizeof *rules; i++) {
        const layout_rule *rule = &rules[i];

        if (strcmp(rule->type, n->type) == 0 && strcmp(rule->domain, n->domain) == 0 &&
            n->opset >= rule->since) {
            return rule;
        }
    }
    return NULL;
}
