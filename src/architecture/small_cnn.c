/* A small network with one of each: plain, depthwise-separable and residual convolutions. */
#include "architecture/architecture.h"

/* Convolution, normalisation, rectifier. */
static builder_flow layer(builder *b, builder_flow x, const char *name, builder_window w)
{
    x = builder_conv_norm(b, x, builder_name(b, "%s.conv", name), builder_name(b, "%s.norm", name),
                          w);
    return builder_activation(b, x, builder_name(b, "%s.relu", name), "Relu");
}

/* Each channel by itself, then all channels of each pixel. */
static builder_flow separable(builder *b, builder_flow x, const char *name, int64_t outputs,
                              int64_t stride)
{
    const int64_t inputs = x.size[1];
    const builder_window depthwise = {
        .outputs = inputs, .size = 3, .stride = stride, .padding = 1, .groups = inputs};
    const builder_window pointwise = {.outputs = outputs, .size = 1};

    x = layer(b, x, builder_name(b, "%s.depthwise", name), depthwise);
    return layer(b, x, builder_name(b, "%s.pointwise", name), pointwise);
}

static builder_flow residual(builder *b, builder_flow x, const char *name)
{
    const builder_window w = {.outputs = x.size[1], .size = 3, .padding = 1};
    builder_flow y = layer(b, x, builder_name(b, "%s.first", name), w);

    y = builder_conv_norm(b, y, builder_name(b, "%s.second.conv", name),
                          builder_name(b, "%s.second.norm", name), w);
    y = builder_add(b, x, y, builder_name(b, "%s.add", name));
    return builder_activation(b, y, builder_name(b, "%s.relu", name), "Relu");
}

void architecture_small_cnn(builder *b, const spry_architecture_options *o, const int *form)
{
    const builder_window stem = {.outputs = o->units, .size = 3, .padding = 1};
    const builder_window halve = {.outputs = 2 * o->units, .size = 3, .stride = 2, .padding = 1};
    const builder_window pool = {.size = 2, .stride = 2};
    builder_flow x = builder_image(b, o->channels, o->height, o->width);

    (void)form;
    x = layer(b, x, "stem", stem);
    x = layer(b, x, "halve", halve);
    x = separable(b, x, "widen", 3 * o->units, 1);
    x = builder_max_pool(b, x, "pool", pool);
    x = residual(b, x, "residual");
    x = separable(b, x, "narrow", 6 * o->units, 2);
    x = builder_average(b, x, "average");
    builder_scores(b, x, "classify", o->classes, BUILDER_LECUN);
}
