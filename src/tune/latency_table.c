/* The networks of the papers: their residual blocks, from tables. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "tune/latency_network.h"

enum { TABLE_STAGES = 4, STEM_SIDE = 112, BOTTLENECK_EXPANSION = 4 };

/* ResNets: He and others, CVPR 2016, table 1, stepping in the convolution of 3x3. RegNets:
 * Radosavovic and others, CVPR 2020: no bottleneck, groups of fixed width, squeeze-and-excitation
 * to a quarter of the block's inputs. */
typedef struct family {
    const char *name;
    int depths[TABLE_STAGES];
    int widths[TABLE_STAGES]; /* of the 3x3 convolutions */
    int expansion;            /* of the output */
    int group_width;          /* 0: not grouped */
    int squeeze;              /* the inputs divided by; 0: none */
    int stem;                 /* channels before the first stage */
    int stem_side;            /* pixels */
} family;

static const family families[] = {
    {"resnet50", {3, 4, 6, 3}, {64, 128, 256, 512}, BOTTLENECK_EXPANSION, 0, 0, 64, STEM_SIDE / 2},
    {"resnet101",
     {3, 4, 23, 3},
     {64, 128, 256, 512},
     BOTTLENECK_EXPANSION,
     0,
     0,
     64,
     STEM_SIDE / 2},
    {"regnety-400m", {1, 3, 6, 6}, {48, 104, 208, 440}, 1, 8, 4, 32, STEM_SIDE},
    {"regnety-800m", {1, 3, 8, 2}, {64, 144, 320, 784}, 1, 16, 4, 32, STEM_SIDE},
};

const char *const latency_network_names[] = {"resnet50", "resnet101", "regnety-400m",
                                             "regnety-800m", NULL};

static latency_block table_block(const family *f, int stage, int number, int64_t inputs,
                                 int64_t side)
{
    int64_t width = f->widths[stage];
    int64_t outputs = width * f->expansion;
    latency_block b = {.stage = stage, .inputs = inputs, .conv_count = 3};
    int64_t to;

    b.in_height = b.in_width = side;
    /* The first stage of ResNets follows a pooling and does not step. */
    to = number == 0 && (stage > 0 || f->stem_side == STEM_SIDE) ? side / 2 : side;
    b.convs[0] = (latency_conv){inputs, width, side, side, 1, 1, 1, 1};
    b.convs[1] = (latency_conv){
        width, width, to, to, 3, 3, side / to, f->group_width > 0 ? width / f->group_width : 1};
    b.convs[2] = (latency_conv){width, outputs, to, to, 1, 1, 1, 1};
    b.has_shortcut = side != to || inputs != outputs;
    b.shortcut = (latency_conv){inputs, outputs, to, to, 1, 1, side / to, 1};
    b.squeezed = f->squeeze > 0 ? (int64_t)lround((double)inputs / f->squeeze) : 0;
    b.squeeze_after = 1;
    (void)snprintf(b.name, sizeof b.name, "layer%d.%d", stage + 1, number);
    return b;
}

static spry_status fill(latency_network *n, const family *f, spry_error *error)
{
    int64_t inputs = f->stem;
    int64_t side = f->stem_side;

    for (int stage = 0; stage < TABLE_STAGES; stage++) {
        for (int number = 0; number < f->depths[stage]; number++) {
            latency_block b = table_block(f, stage, number, inputs, side);
            spry_status status = latency_network_add_block(n, &b, error);

            if (status != SPRY_OK) {
                return status;
            }
            inputs = latency_block_last(&b)->outputs;
            side = latency_block_last(&b)->height;
        }
    }
    n->stage_count = TABLE_STAGES;
    return SPRY_OK;
}

spry_status latency_network_named(latency_network *n, const spry_allocator *allocator,
                                  const char *name, spry_error *error)
{
    *n = (latency_network){.allocator = alloc_resolve(allocator)};
    for (size_t i = 0; i < sizeof families / sizeof *families; i++) {
        if (strcmp(families[i].name, name) == 0) {
            return fill(n, &families[i], error);
        }
    }
    return spry_fail(error, SPRY_USAGE, name,
                     "use resnet50, resnet101, regnety-400m, regnety-800m or an ONNX file",
                     "is no network of the latency predictor");
}
