/* Residual networks for clips, whose convolutions look at pixels first and at frames then (Tran and
 * others, "A closer look at spatiotemporal convolutions", CVPR 2018), as torchvision has them. */
#include "architecture/architecture.h"

enum { STAGES = 4, STEM_CHANNELS = 45 };

static builder_flow norm(builder *b, builder_flow x, const char *name, bool rectified)
{
    x = builder_batch_norm(b, x, name);
    return rectified ? builder_activation(b, x, builder_name(b, "%s.relu", name), "Relu") : x;
}

/* As many channels between both halves as give the weights of one whole convolution of 3x3x3. */
static int64_t between(int64_t inputs, int64_t outputs)
{
    return inputs * outputs * 3 * 3 * 3 / (inputs * 3 * 3 + 3 * outputs);
}

/* PyTorch's containers: NAME.0.0 and NAME.0.3 are the halves, NAME.0.1 and NAME.1 their norms. */
static builder_flow layer(builder *b, builder_flow x, const char *name, int64_t middle,
                          int64_t outputs, int64_t stride, bool rectified)
{
    const builder_span space = {.outputs = middle, .frames = 1, .size = 3, .stride = stride};
    const builder_span time = {.outputs = outputs, .frames = 3, .size = 1, .frame_stride = stride};

    x = builder_conv_clip(b, x, builder_name(b, "%s.0.0", name), space);
    x = norm(b, x, builder_name(b, "%s.0.1", name), true);
    x = builder_conv_clip(b, x, builder_name(b, "%s.0.3", name), time);
    return norm(b, x, builder_name(b, "%s.1", name), rectified);
}

static builder_flow block(builder *b, builder_flow x, const char *name, int64_t outputs,
                          int64_t stride)
{
    const builder_span project = {
        .outputs = outputs, .frames = 1, .size = 1, .frame_stride = stride, .stride = stride};
    int64_t middle = between(x.size[1], outputs);
    builder_flow y = layer(b, x, builder_name(b, "%s.conv1", name), middle, outputs, stride, true);

    y = layer(b, y, builder_name(b, "%s.conv2", name), middle, outputs, 1, false);
    if (stride > 1 || outputs != x.size[1]) {
        x = builder_conv_clip(b, x, builder_name(b, "%s.downsample.0", name), project);
        x = norm(b, x, builder_name(b, "%s.downsample.1", name), false);
    }
    y = builder_add(b, y, x, builder_name(b, "%s.add", name));
    return builder_activation(b, y, builder_name(b, "%s.relu", name), "Relu");
}

void architecture_r2plus1d(builder *b, const spry_architecture_options *o, const int *form)
{
    const int64_t size[5] = {-1, o->channels, o->frames, o->height, o->width};
    /* of 64 channels, 45: other widths in proportion */
    const builder_span space = {
        .outputs = (o->units * STEM_CHANNELS + 63) / 64, .frames = 1, .size = 7, .stride = 2};
    const builder_span time = {.outputs = o->units, .frames = 3, .size = 1};
    builder_flow x = builder_input(b, "clip", 5, size);

    x = norm(b, builder_conv_clip(b, x, "stem.0", space), "stem.1", true);
    x = norm(b, builder_conv_clip(b, x, "stem.3", time), "stem.4", true);
    for (int stage = 0; stage < STAGES; stage++) {
        for (int i = 0; i < form[stage]; i++) {
            x = block(b, x, builder_name(b, "layer%d.%d", stage + 1, i), o->units << stage,
                      i == 0 && stage > 0 ? 2 : 1);
        }
    }
    builder_scores(b, builder_average_clip(b, x, "avgpool"), "fc", o->classes, BUILDER_LECUN);
}
