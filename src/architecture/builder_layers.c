/* The layers. */
#include "architecture/builder.h"

#include <math.h>
#include <string.h>

#define HALF_ROOT 0.70710678118654752 /* 1 / sqrt(2) */

enum { QKV = 3 };

/* ---- inputs and outputs ---- */

/* Lists a value as an input or output. */
static void declare(builder *b, int32_t id, int32_t *list, int32_t *count)
{
    list[(*count)++] = id;
    b->e.g->values[id].is_declared = true;
}

builder_flow builder_input(builder *b, const char *name, int rank, const int64_t *size)
{
    builder_flow x = {.id = GRAPH_NONE, .rank = rank};
    graph *g = b->e.g;

    memcpy(x.size, size, (size_t)rank * sizeof *size);
    if (b->e.status == SPRY_OK) {
        b->e.status = graph_add_value(g, name, &x.id, b->e.error);
    }
    if (b->e.status == SPRY_OK) {
        g->values[x.id].type = graph_type_tensor(SPRY_DTYPE_F32, x.rank, x.size);
        for (int i = 0; i < rank; i++) {
            g->values[x.id].type.dims[i].symbol = size[i] < 0 ? "N" : NULL;
        }
        g->values[x.id].is_input = true;
        declare(b, x.id, g->inputs, &g->input_count);
    }
    return x;
}

builder_flow builder_image(builder *b, int64_t channels, int64_t height, int64_t width)
{
    return builder_input(b, "image", 4, (const int64_t[]){-1, channels, height, width});
}

/* ---- layers of images ---- */

/* Positions of a window along an axis. */
static int64_t slide(builder *b, const char *name, int64_t size, const builder_window *w)
{
    int64_t room = size + 2 * w->padding - w->size;

    if (room < 0) {
        builder_refuse(b, "image", "it is too small: %s finds %lld pixels where it looks at %lld",
                       name, (long long)size, (long long)w->size);
        return 1;
    }
    return room / w->stride + 1;
}

/* Shrinks `x` and sets the attributes of the node that computes x->id. */
static void apply_window(builder *b, builder_flow *x, const char *name, const builder_window *w)
{
    const int64_t p = w->padding;

    x->size[2] = slide(b, name, x->size[2], w);
    x->size[3] = slide(b, name, x->size[3], w);
    emit_set_ints(&b->e, x->id, "kernel_shape", 2, (const int64_t[]){w->size, w->size});
    emit_set_ints(&b->e, x->id, "strides", 2, (const int64_t[]){w->stride, w->stride});
    emit_set_ints(&b->e, x->id, "pads", 4, (const int64_t[]){p, p, p, p});
}

builder_flow builder_conv(builder *b, builder_flow x, const char *name, builder_window w)
{
    const char *weight = builder_name(b, "%s.weight", name);
    int64_t area = w.size * w.size;
    int64_t groups = w.groups == 0 ? 1 : w.groups;
    const int64_t shape[4] = {w.outputs, x.size[1] / groups, w.size, w.size};
    int64_t fan = (w.draw == BUILDER_HE ? w.outputs / groups : shape[1]) * area;
    int32_t inputs[3] = {x.id, builder_weight(b, weight, 4, shape, w.draw, fan), GRAPH_NONE};

    if (w.has_bias) {
        inputs[2] =
            builder_weight(b, builder_name(b, "%s.bias", name), 1, &w.outputs, BUILDER_ZEROS, 1);
    }
    w.stride = w.stride == 0 ? 1 : w.stride;
    builder_at(b, name);
    x.id = emit_node(&b->e, "Conv", w.has_bias ? 3 : 2, inputs);
    emit_set_int(&b->e, x.id, "group", groups);
    x.size[1] = w.outputs;
    apply_window(b, &x, name, &w);
    return x;
}

builder_flow builder_batch_norm(builder *b, builder_flow x, const char *name)
{
    static const float epsilon = 1e-5f;
    static const float kept = 0.9f; /* of the running statistics in each step */
    const int64_t n = x.size[1];
    const char *mean = builder_name(b, "%s.running_mean", name);
    const char *variance = builder_name(b, "%s.running_var", name);
    int32_t inputs[5] = {
        x.id, builder_weight(b, builder_name(b, "%s.weight", name), 1, &n, BUILDER_ONES, 1),
        builder_weight(b, builder_name(b, "%s.bias", name), 1, &n, BUILDER_ZEROS, 1),
        builder_state(b, mean, n, BUILDER_ZEROS), builder_state(b, variance, n, BUILDER_ONES)};

    builder_at(b, name);
    x.id = emit_node(&b->e, "BatchNormalization", 5, inputs);
    emit_set_float(&b->e, x.id, "epsilon", epsilon);
    emit_set_float(&b->e, x.id, "momentum", kept);
    return x;
}

builder_flow builder_conv_norm(builder *b, builder_flow x, const char *conv, const char *norm,
                               builder_window w)
{
    return builder_batch_norm(b, builder_conv(b, x, conv, w), norm);
}

builder_flow builder_max_pool(builder *b, builder_flow x, const char *name, builder_window w)
{
    w.stride = w.stride == 0 ? 1 : w.stride;
    builder_at(b, name);
    x.id = emit_unary(&b->e, "MaxPool", x.id);
    apply_window(b, &x, name, &w);
    return x;
}

builder_flow builder_average(builder *b, builder_flow x, const char *name)
{
    builder_at(b, name);
    x.id = emit_unary(&b->e, "GlobalAveragePool", x.id);
    x.size[2] = 1;
    x.size[3] = 1;
    return builder_flatten(b, x, builder_name(b, "%s.flatten", name));
}

builder_flow builder_flatten(builder *b, builder_flow x, const char *name)
{
    builder_at(b, name);
    return (builder_flow){.id = emit_unary(&b->e, "Flatten", x.id),
                          .rank = 2,
                          .size = {-1, x.size[1] * x.size[2] * x.size[3]}};
}

/* ---- any shape ---- */

builder_flow builder_activation(builder *b, builder_flow x, const char *name, const char *type)
{
    builder_at(b, name);
    x.id = emit_unary(&b->e, type, x.id);
    return x;
}

builder_flow builder_gelu(builder *b, builder_flow x, const char *name)
{
    int32_t part;

    builder_at(b, name);
    part = emit_unary(&b->e, "Erf", emit_scaled(&b->e, SPRY_DTYPE_F32, x.id, HALF_ROOT));
    part = emit_binary(&b->e, "Mul", x.id, emit_plus(&b->e, SPRY_DTYPE_F32, part, 1.0));
    x.id = emit_scaled(&b->e, SPRY_DTYPE_F32, part, 0.5);
    return x;
}

builder_flow builder_add(builder *b, builder_flow x, builder_flow y, const char *name)
{
    builder_at(b, name);
    x.id = emit_binary(&b->e, "Add", x.id, y.id);
    return x;
}

/* ---- layers of features and tokens ---- */

/* Over features: a Gemm, whose weight lies as PyTorch has it, with `result` as the result's
 * name. */
static int32_t add_gemm(builder *b, builder_flow x, const char *name, const char *result,
                        int64_t outputs, builder_draw draw)
{
    const char *weight = builder_name(b, "%s.weight", name);
    const char *bias = builder_name(b, "%s.bias", name);
    const int64_t shape[2] = {outputs, x.size[1]};
    int32_t inputs[3] = {x.id, builder_weight(b, weight, 2, shape, draw, x.size[1]),
                         builder_weight(b, bias, 1, &outputs, BUILDER_ZEROS, 1)};
    int32_t y;

    builder_at(b, result);
    y = emit_node(&b->e, "Gemm", 3, inputs);
    emit_set_int(&b->e, y, "transB", 1);
    if (b->e.status == SPRY_OK) {
        b->e.g->nodes[b->e.g->values[y].producer].name = name;
    }
    return y;
}

/* Over tokens: a MatMul, which wants its weight the other way round, and the bias. */
static int32_t add_product(builder *b, builder_flow x, const char *name, int64_t outputs,
                           builder_draw draw)
{
    const char *weight = builder_name(b, "%s.weight", name);
    const char *bias = builder_name(b, "%s.bias", name);
    const int64_t shape[2] = {x.size[2], outputs};
    int32_t product;

    builder_at(b, name);
    product =
        emit_binary(&b->e, "MatMul", x.id, builder_weight(b, weight, 2, shape, draw, shape[0]));
    return emit_binary(&b->e, "Add", product,
                       builder_weight(b, bias, 1, &outputs, BUILDER_ZEROS, 1));
}

builder_flow builder_linear(builder *b, builder_flow x, const char *name, int64_t outputs,
                            builder_draw draw)
{
    x.id = x.rank == 2 ? add_gemm(b, x, name, name, outputs, draw)
                       : add_product(b, x, name, outputs, draw);
    x.size[x.rank - 1] = outputs;
    return x;
}

void builder_scores(builder *b, builder_flow x, const char *name, int64_t classes,
                    builder_draw draw)
{
    x.id = add_gemm(b, x, name, "logits", classes, draw);
    builder_give(b, x);
}

void builder_give(builder *b, builder_flow x)
{
    graph *g = b->e.g;

    if (b->e.status == SPRY_OK) {
        g->values[x.id].is_output = true;
        declare(b, x.id, g->outputs, &g->output_count);
    }
}

builder_flow builder_layer_norm(builder *b, builder_flow x, const char *name)
{
    static const float epsilon = 1e-6f;
    const int64_t n = x.size[x.rank - 1];
    int32_t inputs[3] = {
        x.id, builder_weight(b, builder_name(b, "%s.weight", name), 1, &n, BUILDER_ONES, 1),
        builder_weight(b, builder_name(b, "%s.bias", name), 1, &n, BUILDER_ZEROS, 1)};

    builder_at(b, name);
    x.id = emit_node(&b->e, "LayerNormalization", 3, inputs);
    emit_set_int(&b->e, x.id, "axis", -1);
    emit_set_float(&b->e, x.id, "epsilon", epsilon);
    return x;
}

/* [N, tokens, width] to [N, heads, tokens, size], or with the last two axes exchanged. */
static int32_t to_heads(builder *b, int32_t id, int64_t heads, int64_t size, bool turned)
{
    static const int64_t straight[4] = {0, 2, 1, 3};
    static const int64_t across[4] = {0, 2, 3, 1};
    const int64_t shape[4] = {0, 0, heads, size};

    return emit_transpose(&b->e, emit_reshape(&b->e, id, 4, shape), 4, turned ? across : straight);
}

builder_flow builder_attention(builder *b, builder_flow x, const char *name, int64_t heads)
{
    static const int64_t back[4] = {0, 2, 1, 3};
    const int64_t width = x.size[2];
    const int64_t size = width / heads;
    const int64_t shape[3] = {0, 0, width};
    int32_t joint[QKV];
    int32_t scores;
    builder_flow y =
        builder_linear(b, x, builder_name(b, "%s.qkv", name), QKV * width, BUILDER_TRUNCATED);

    builder_at(b, builder_name(b, "%s.core", name));
    emit_many(&b->e, "Split", 1, &y.id, QKV, joint);
    emit_set_int(&b->e, joint[0], "axis", 2);
    emit_set_int(&b->e, joint[0], "num_outputs", QKV);
    scores = emit_binary(&b->e, "MatMul", to_heads(b, joint[0], heads, size, false),
                         to_heads(b, joint[1], heads, size, true));
    scores = emit_scaled(&b->e, SPRY_DTYPE_F32, scores, 1.0 / sqrt((double)size));
    scores = emit_unary(&b->e, "Softmax", scores);
    emit_set_int(&b->e, scores, "axis", -1);
    y.id = emit_binary(&b->e, "MatMul", scores, to_heads(b, joint[2], heads, size, false));
    y.id = emit_reshape(&b->e, emit_transpose(&b->e, y.id, 4, back), 3, shape);
    y.size[2] = width;
    return builder_linear(b, y, builder_name(b, "%s.proj", name), width, BUILDER_TRUNCATED);
}
