/* Layers of graphs and of clips. */
#include "architecture/builder.h"

builder_flow builder_graph_conv(builder *b, builder_flow x, builder_flow adjacency,
                                const char *name, int64_t outputs)
{
    const char *weight = builder_name(b, "%s.weight", name);
    const char *bias = builder_name(b, "%s.bias", name);
    const int64_t shape[2] = {x.size[1], outputs};
    int32_t product;

    builder_at(b, name);
    product = emit_binary(&b->e, "MatMul", x.id,
                          builder_weight(b, weight, 2, shape, BUILDER_GLOROT, shape[0] + shape[1]));
    product = emit_binary(&b->e, "MatMul", adjacency.id, product);
    x.id =
        emit_binary(&b->e, "Add", product, builder_weight(b, bias, 1, &outputs, BUILDER_ZEROS, 1));
    x.size[1] = outputs;
    return x;
}

builder_flow builder_dropout(builder *b, builder_flow x, const char *name, double chance)
{
    builder_at(b, name);
    x.id = emit_binary(&b->e, "Dropout", x.id, emit_number(&b->e, SPRY_DTYPE_F32, chance));
    return x;
}

builder_flow builder_conv_clip(builder *b, builder_flow x, const char *name, builder_span w)
{
    const int64_t kernel[3] = {w.frames, w.size, w.size};
    const int64_t stride[3] = {w.frame_stride == 0 ? 1 : w.frame_stride,
                               w.stride == 0 ? 1 : w.stride, w.stride == 0 ? 1 : w.stride};
    const int64_t shape[5] = {w.outputs, x.size[1], w.frames, w.size, w.size};
    int64_t pads[6];
    int64_t fan = w.outputs * w.frames * w.size * w.size;
    int32_t weight =
        builder_weight(b, builder_name(b, "%s.weight", name), 5, shape, BUILDER_HE, fan);

    builder_at(b, name);
    x.id = emit_binary(&b->e, "Conv", x.id, weight);
    for (int i = 0; i < 3; i++) {
        pads[i] = pads[3 + i] = kernel[i] / 2;
        x.size[2 + i] = (x.size[2 + i] - 1) / stride[i] + 1;
    }
    emit_set_ints(&b->e, x.id, "kernel_shape", 3, kernel);
    emit_set_ints(&b->e, x.id, "strides", 3, stride);
    emit_set_ints(&b->e, x.id, "pads", 6, pads);
    x.size[1] = w.outputs;
    return x;
}

builder_flow builder_average_clip(builder *b, builder_flow x, const char *name)
{
    builder_at(b, name);
    x.id = emit_unary(&b->e, "GlobalAveragePool", x.id);
    builder_at(b, builder_name(b, "%s.flatten", name));
    return (builder_flow){
        .id = emit_unary(&b->e, "Flatten", x.id), .rank = 2, .size = {-1, x.size[1]}};
}
