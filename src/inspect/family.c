/* A table of operators; what is not in it is "other". */
#include "inspect/family.h"

#include <inttypes.h>
#include <string.h>

typedef struct family {
    const char *name;
    const char *const operators[48]; /* sorted is not needed: the list is short and asked rarely */
} family;

static const family families[] = {
    {"conv", {"Conv", "ConvTranspose", "ConvInteger", "QLinearConv", "DeformConv", "FusedConv"}},
    {"matmul",
     {"MatMul", "Gemm", "MatMulInteger", "QLinearMatMul", "Einsum", "Attention",
      "MultiHeadAttention", "FusedMatMul", "FusedGemm", "MatMulNBits"}},
    {"norm",
     {"BatchNormalization", "LayerNormalization", "InstanceNormalization", "GroupNormalization",
      "RMSNormalization", "LpNormalization", "LRN", "MeanVarianceNormalization",
      "SkipLayerNormalization", "SimplifiedLayerNormalization", "EmbedLayerNormalization"}},
    {"activation",
     {"Relu",    "LeakyRelu",  "PRelu",           "Elu",      "Selu",        "Celu",
      "Gelu",    "FastGelu",   "BiasGelu",        "Sigmoid",  "HardSigmoid", "HardSwish",
      "Softmax", "LogSoftmax", "Hardmax",         "Softplus", "Softsign",    "Tanh",
      "Mish",    "Swish",      "ThresholdedRelu", "Clip",     "Erf",         "Dropout"}},
    {"pool",
     {"MaxPool", "AveragePool", "GlobalAveragePool", "GlobalMaxPool", "LpPool", "GlobalLpPool",
      "MaxUnpool", "MaxRoiPool", "RoiAlign", "Resize", "Upsample", "GridSample",
      "QLinearAveragePool", "QLinearGlobalAveragePool"}},
    {"shape",
     {"Reshape",
      "Flatten",
      "Transpose",
      "Squeeze",
      "Unsqueeze",
      "Concat",
      "Split",
      "Slice",
      "Pad",
      "Gather",
      "GatherND",
      "GatherElements",
      "Scatter",
      "ScatterND",
      "ScatterElements",
      "Expand",
      "Tile",
      "Shape",
      "Size",
      "Identity",
      "Cast",
      "CastLike",
      "DepthToSpace",
      "SpaceToDepth",
      "ConstantOfShape",
      "Range",
      "EyeLike",
      "OneHot",
      "Trilu",
      "Compress",
      "ReverseSequence",
      "NonZero",
      "Where",
      "CenterCropPad",
      "Col2Im",
      "TensorScatter"}},
    {"arithmetic",
     {"Add",
      "Sub",
      "Mul",
      "Div",
      "Pow",
      "Sqrt",
      "Exp",
      "Log",
      "Neg",
      "Abs",
      "Reciprocal",
      "Mod",
      "Min",
      "Max",
      "Sum",
      "Mean",
      "Floor",
      "Ceil",
      "Round",
      "Sign",
      "Sin",
      "Cos",
      "Tan",
      "And",
      "Or",
      "Not",
      "Xor",
      "Equal",
      "Less",
      "Greater",
      "LessOrEqual",
      "GreaterOrEqual",
      "IsNaN",
      "IsInf",
      "BitShift",
      "CumSum",
      "QLinearAdd",
      "QLinearMul",
      "RotaryEmbedding"}},
    {"reduce",
     {"ReduceSum", "ReduceMean", "ReduceMax", "ReduceMin", "ReduceProd", "ReduceL1", "ReduceL2",
      "ReduceLogSum", "ReduceLogSumExp", "ReduceSumSquare", "ArgMax", "ArgMin", "TopK", "Unique",
      "NonMaxSuppression"}},
    {"quantize", {"QuantizeLinear", "DequantizeLinear", "DynamicQuantizeLinear"}},
    {"recurrent", {"LSTM", "GRU", "RNN"}},
    {"control", {"If", "Loop", "Scan", "SequenceMap"}},
};

const char *family_of(const graph_node *node)
{
    for (size_t f = 0; f < sizeof families / sizeof *families; f++) {
        for (const char *const *name = families[f].operators; *name != NULL; name++) {
            if (strcmp(*name, node->type) == 0) {
                return families[f].name;
            }
        }
    }
    return "other";
}

static void append_list(text *to, const int64_t *ints, int64_t count, const char *between)
{
    for (int64_t i = 0; i < count && i < SPRY_TENSOR_MAX_RANK; i++) {
        text_append_format(to, "%s%" PRId64, i > 0 ? between : "", ints[i]);
    }
}

static bool differs_from_one(const int64_t *ints, int64_t count)
{
    for (int64_t i = 0; i < count; i++) {
        if (ints[i] != 1) {
            return true;
        }
    }
    return false;
}

/* Window, stride and groups of convolutions and pools. */
static void append_window(text *to, const graph *g, const graph_node *node)
{
    int64_t count = 0;
    const int64_t *ints = graph_attribute_ints(node, "kernel_shape", &count);
    int64_t groups = graph_attribute_int(node, "group", 1);
    int64_t kernel[SPRY_TENSOR_MAX_RANK] = {0};

    if (ints == NULL && strcmp(family_of(node), "conv") == 0 && node->input_count > 1 &&
        node->inputs[1] != GRAPH_NONE) {
        const graph_type *weight = &g->values[node->inputs[1]].type;
        for (int d = 2; weight->has_rank && d < weight->rank; d++) {
            kernel[count++] = weight->dims[d].size;
        }
        ints = kernel;
    }
    append_list(to, ints, count, "\xc3\x97"); /* the multiplication sign */
    ints = graph_attribute_ints(node, "strides", &count);
    if (differs_from_one(ints, count)) {
        bool equal = count < 2 || ints[0] == ints[1];
        text_append_string(to, " /");
        append_list(to, ints, equal ? 1 : count, ",");
    }
    if (groups > 1) {
        text_append_format(to, " g%" PRId64, groups);
    }
}

void family_append_hint(text *to, const graph *g, const graph_node *node)
{
    static const char *const singles[] = {"axis", "to"};
    static const char *const lists[] = {"perm", "axes"};
    size_t before = to->length;

    append_window(to, g, node);
    for (size_t i = 0; to->length == before && i < sizeof lists / sizeof *lists; i++) {
        int64_t count = 0;
        const int64_t *ints = graph_attribute_ints(node, lists[i], &count);
        append_list(to, ints, count, " ");
    }
    for (size_t i = 0; to->length == before && i < sizeof singles / sizeof *singles; i++) {
        if (graph_attribute_find(node, singles[i]) == NULL) {
            continue;
        }
        int64_t number = graph_attribute_int(node, singles[i], 0);
        if (i == 0) {
            text_append_format(to, "axis %" PRId64, number);
        } else {
            bool known = number > 0 && number < SPRY_DTYPE_COUNT;
            text_append_format(to, "to %s",
                               spry_dtype_name(known ? (spry_dtype)number : SPRY_DTYPE_NONE));
        }
    }
}
