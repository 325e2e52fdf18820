/* The residual networks for pictures of 32x32 (He and others, "Deep residual learning for image
 * recognition", CVPR 2016, section 4.2): three stages of n blocks with 16, 32 and 64 channels, 6n +
 * 2 layers. Shortcuts have no weights (option A of the paper): where a stage begins, every other
 * pixel is taken and the new channels are zero. */
#include "architecture/architecture.h"

enum { STAGES = 3 };

/* Every other pixel; `added` zero channels, half of them in front. */
static builder_flow thin_out(builder *b, builder_flow x, const char *name, int64_t added)
{
    static const int64_t begin[2] = {0, 0}, end[2] = {INT64_MAX, INT64_MAX};
    static const int64_t axes[2] = {2, 3}, steps[2] = {2, 2};
    const int64_t pads[8] = {0, added / 2, 0, 0, 0, added - added / 2, 0, 0};
    int32_t inputs[5];

    builder_at(b, name);
    inputs[0] = x.id;
    inputs[1] = emit_ints(&b->e, 2, begin);
    inputs[2] = emit_ints(&b->e, 2, end);
    inputs[3] = emit_ints(&b->e, 2, axes);
    inputs[4] = emit_ints(&b->e, 2, steps);
    x.id = emit_node(&b->e, "Slice", 5, inputs);
    x.id = emit_binary(&b->e, "Pad", x.id, emit_ints(&b->e, 8, pads));
    return x;
}

static builder_flow block(builder *b, builder_flow x, const char *name, int64_t outputs)
{
    const int64_t stride = outputs == x.size[1] ? 1 : 2;
    const builder_window first = {.outputs = outputs, .size = 3, .stride = stride, .padding = 1};
    const builder_window second = {.outputs = outputs, .size = 3, .padding = 1};
    builder_flow y = builder_conv_norm(b, x, builder_name(b, "%s.conv1", name),
                                       builder_name(b, "%s.bn1", name), first);

    y = builder_activation(b, y, builder_name(b, "%s.relu1", name), "Relu");
    y = builder_conv_norm(b, y, builder_name(b, "%s.conv2", name), builder_name(b, "%s.bn2", name),
                          second);
    if (stride > 1) {
        x = thin_out(b, x, builder_name(b, "%s.shortcut", name), outputs - x.size[1]);
    }
    y = builder_add(b, y, x, builder_name(b, "%s.add", name));
    return builder_activation(b, y, builder_name(b, "%s.relu2", name), "Relu");
}

void architecture_resnet_cifar(builder *b, const spry_architecture_options *o, const int *form)
{
    const builder_window stem = {.outputs = o->units, .size = 3, .padding = 1};
    builder_flow x = builder_image(b, o->channels, o->height, o->width);

    x = builder_conv_norm(b, x, "conv1", "bn1", stem);
    x = builder_activation(b, x, "relu", "Relu");
    for (int stage = 0; stage < STAGES; stage++) {
        for (int i = 0; i < form[0]; i++) {
            x = block(b, x, builder_name(b, "layer%d.%d", stage + 1, i), o->units << stage);
        }
    }
    builder_scores(b, builder_average(b, x, "avgpool"), "fc", o->classes, BUILDER_LECUN);
}
