/* LeNet: two convolutions of 5x5, each pooled by two, and two linear layers (LeCun and others,
 * "Gradient-based learning applied to document recognition", 1998), with the rectifiers, the maxima
 * and the batch normalisation of its descendants. */
#include "architecture/architecture.h"

/* A convolution over all places where it fits, and the maxima of its results. */
static builder_flow stage(builder *b, builder_flow x, int number, int64_t outputs)
{
    const builder_window window = {.outputs = outputs, .size = 5};
    const builder_window pool = {.size = 2, .stride = 2};

    x = builder_conv_norm(b, x, builder_name(b, "conv%d", number), builder_name(b, "bn%d", number),
                          window);
    x = builder_activation(b, x, builder_name(b, "relu%d", number), "Relu");
    return builder_max_pool(b, x, builder_name(b, "pool%d", number), pool);
}

void architecture_lenet(builder *b, const spry_architecture_options *o, const int *form)
{
    builder_flow x = builder_image(b, o->channels, o->height, o->width);

    (void)form;
    x = stage(b, x, 1, o->units);
    x = stage(b, x, 2, o->units * 5 / 2);
    x = builder_flatten(b, x, "flatten");
    x = builder_linear(b, x, "fc1", o->units * 25, BUILDER_HE);
    x = builder_activation(b, x, "relu3", "Relu");
    builder_scores(b, x, "fc2", o->classes, BUILDER_LECUN);
}
