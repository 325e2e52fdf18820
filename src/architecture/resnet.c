/* The residual networks for pictures of 224x224 (He and others, CVPR 2016, table 1), in the form
 * that torchvision made common: where a stage begins, the shortcut is a convolution of 1x1, and a
 * bottleneck steps in its convolution of 3x3. */
#include "architecture/architecture.h"

enum { STAGES = 4, EXPANSION = 4, BOTTLENECK = 4 /* in form */ };

/* Convolution `number` of a block and its normalisation; a rectifier behind all but the last. */
static builder_flow layer(builder *b, builder_flow x, const char *block, int number,
                          builder_window w, bool is_last)
{
    w.padding = w.size / 2;
    x = builder_conv_norm(b, x, builder_name(b, "%s.conv%d", block, number),
                          builder_name(b, "%s.bn%d", block, number), w);
    return is_last ? x
                   : builder_activation(b, x, builder_name(b, "%s.relu%d", block, number), "Relu");
}

static builder_flow block(builder *b, builder_flow x, const char *name, int64_t width,
                          int64_t stride, bool is_bottleneck)
{
    const int64_t outputs = is_bottleneck ? EXPANSION * width : width;
    const builder_window narrow = {.outputs = width, .size = 1};
    const builder_window step = {.outputs = width, .size = 3, .stride = stride};
    const builder_window same = {.outputs = width, .size = 3};
    const builder_window widen = {.outputs = outputs, .size = 1};
    const builder_window project = {.outputs = outputs, .size = 1, .stride = stride};
    builder_flow y;

    if (is_bottleneck) {
        y = layer(b, x, name, 1, narrow, false);
        y = layer(b, y, name, 2, step, false);
        y = layer(b, y, name, 3, widen, true);
    } else {
        y = layer(b, x, name, 1, step, false);
        y = layer(b, y, name, 2, same, true);
    }
    if (stride > 1 || outputs != x.size[1]) {
        x = builder_conv_norm(b, x, builder_name(b, "%s.downsample.0", name),
                              builder_name(b, "%s.downsample.1", name), project);
    }
    y = builder_add(b, y, x, builder_name(b, "%s.add", name));
    return builder_activation(b, y, builder_name(b, "%s.relu", name), "Relu");
}

void architecture_resnet(builder *b, const spry_architecture_options *o, const int *form)
{
    const builder_window stem = {.outputs = o->units, .size = 7, .stride = 2, .padding = 3};
    const builder_window pool = {.size = 3, .stride = 2, .padding = 1};
    builder_flow x = builder_image(b, o->channels, o->height, o->width);

    x = builder_conv_norm(b, x, "conv1", "bn1", stem);
    x = builder_activation(b, x, "relu", "Relu");
    x = builder_max_pool(b, x, "maxpool", pool);
    for (int stage = 0; stage < STAGES; stage++) {
        for (int i = 0; i < form[stage]; i++) {
            x = block(b, x, builder_name(b, "layer%d.%d", stage + 1, i), o->units << stage,
                      i == 0 && stage > 0 ? 2 : 1, form[BOTTLENECK] != 0);
        }
    }
    builder_scores(b, builder_average(b, x, "avgpool"), "fc", o->classes, BUILDER_LECUN);
}
