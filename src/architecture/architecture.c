/* The list of architectures, and the way from a name and options to a model. */
#include "architecture/architecture.h"

#include <string.h>

/* classes, height, width, channels, patch, units, depth, heads */
#define OPTIONS(n, h, w, c, p, u, d, a)                                                       \
    {                                                                                         \
        .struct_size = sizeof(spry_architecture_options), .classes = (n), .height = (h),      \
        .width = (w), .channels = (c), .patch = (p), .units = (u), .depth = (d), .heads = (a) \
    }

static const architecture list[] = {
    {{"mlp", "linear layers and rectifiers", OPTIONS(10, 28, 28, 1, 0, 512, 2, 0)},
     architecture_mlp,
     {0}},
    {{"lenet", "LeNet with batch normalisation, for digits", OPTIONS(10, 28, 28, 1, 0, 20, 0, 0)},
     architecture_lenet,
     {0}},
    {{"small-cnn", "plain, separable and residual convolutions, for single characters",
      OPTIONS(36, 32, 32, 1, 0, 16, 0, 0)},
     architecture_small_cnn,
     {0}},
    {{"resnet20", "residual network for 32x32, 20 layers", OPTIONS(10, 32, 32, 3, 0, 16, 0, 0)},
     architecture_resnet_cifar,
     {3}},
    {{"resnet32", "residual network for 32x32, 32 layers", OPTIONS(10, 32, 32, 3, 0, 16, 0, 0)},
     architecture_resnet_cifar,
     {5}},
    {{"resnet44", "residual network for 32x32, 44 layers", OPTIONS(10, 32, 32, 3, 0, 16, 0, 0)},
     architecture_resnet_cifar,
     {7}},
    {{"resnet56", "residual network for 32x32, 56 layers", OPTIONS(10, 32, 32, 3, 0, 16, 0, 0)},
     architecture_resnet_cifar,
     {9}},
    {{"resnet18", "residual network, 18 layers", OPTIONS(1000, 224, 224, 3, 0, 64, 0, 0)},
     architecture_resnet,
     {2, 2, 2, 2, 0}},
    {{"resnet34", "residual network, 34 layers", OPTIONS(1000, 224, 224, 3, 0, 64, 0, 0)},
     architecture_resnet,
     {3, 4, 6, 3, 0}},
    {{"resnet50", "residual network of bottlenecks, 50 layers",
      OPTIONS(1000, 224, 224, 3, 0, 64, 0, 0)},
     architecture_resnet,
     {3, 4, 6, 3, 1}},
    {{"resnet101", "residual network of bottlenecks, 101 layers",
      OPTIONS(1000, 224, 224, 3, 0, 64, 0, 0)},
     architecture_resnet,
     {3, 4, 23, 3, 1}},
    {{"vit-cifar", "vision transformer for 32x32", OPTIONS(10, 32, 32, 3, 4, 192, 6, 3)},
     architecture_vit,
     {0}},
    {{"vit-tiny", "vision transformer, ViT-Ti/16", OPTIONS(1000, 224, 224, 3, 16, 192, 12, 3)},
     architecture_vit,
     {0}},
    {{"vit-small", "vision transformer, ViT-S/16", OPTIONS(1000, 224, 224, 3, 16, 384, 12, 6)},
     architecture_vit,
     {0}},
    {{"vit-base", "vision transformer, ViT-B/16", OPTIONS(1000, 224, 224, 3, 16, 768, 12, 12)},
     architecture_vit,
     {0}},
    {{"vit-large", "vision transformer, ViT-L/16", OPTIONS(1000, 224, 224, 3, 16, 1024, 24, 16)},
     architecture_vit,
     {0}},
    {{"r2plus1d",
      "residual network for clips, 18 layers, pixels and frames apart",
      {.struct_size = sizeof(spry_architecture_options),
       .classes = 400,
       .height = 112,
       .width = 112,
       .channels = 3,
       .units = 64,
       .frames = 16}},
     architecture_r2plus1d,
     {2, 2, 2, 2}},
    {{"gcn",
      "graph convolutional network, for the nodes of one graph",
      {.struct_size = sizeof(spry_architecture_options),
       .classes = 7,
       .units = 16,
       .depth = 2,
       .features = 1433}},
     architecture_gcn,
     {0}},
};

enum { COUNT = sizeof list / sizeof *list };

const spry_architecture *spry_architecture_at(int32_t index)
{
    return index >= 0 && index < COUNT ? &list[index].facts : NULL;
}

spry_architecture_options spry_architecture_options_default(void)
{
    return (spry_architecture_options){.struct_size = sizeof(spry_architecture_options)};
}

static spry_status find(const char *name, const architecture **found, spry_error *error)
{
    for (int i = 0; i < COUNT; i++) {
        if (strcmp(list[i].facts.name, name) == 0) {
            *found = &list[i];
            return SPRY_OK;
        }
    }
    return spry_fail(error, SPRY_USAGE, name, "spry new --list names them",
                     "there is no architecture \"%.80s\"", name);
}

/* ---- options ---- */

typedef struct option_row {
    const char *name;
    size_t offset; /* of an int64_t in spry_architecture_options */
    int64_t most;  /* keeps every product of sizes far below 2^63 */
} option_row;

static const option_row option_rows[] = {
    {"classes", offsetof(spry_architecture_options, classes), 1000000},
    {"height", offsetof(spry_architecture_options, height), 16384},
    {"width", offsetof(spry_architecture_options, width), 16384},
    {"channels", offsetof(spry_architecture_options, channels), 4096},
    {"patch", offsetof(spry_architecture_options, patch), 1024},
    {"units", offsetof(spry_architecture_options, units), 65536},
    {"depth", offsetof(spry_architecture_options, depth), 1000},
    {"heads", offsetof(spry_architecture_options, heads), 1024},
    {"frames", offsetof(spry_architecture_options, frames), 4096},
    {"features", offsetof(spry_architecture_options, features), 10000000},
};

static int64_t *number_of(spry_architecture_options *o, const option_row *row)
{
    return (int64_t *)(void *)((char *)o + row->offset);
}

/* `asked` over the defaults of `a`. */
static spry_status merge(const architecture *a, const spry_architecture_options *asked,
                         spry_architecture_options *o, spry_error *error)
{
    spry_architecture_options copy = *asked;

    if (asked->struct_size != sizeof *asked) {
        return spry_fail(error, SPRY_USAGE, "options",
                         "start from spry_architecture_options_default()", "struct_size is %zu",
                         asked->struct_size);
    }
    *o = a->facts.defaults;
    o->seed = asked->seed;
    for (size_t i = 0; i < sizeof option_rows / sizeof *option_rows; i++) {
        const option_row *row = &option_rows[i];
        int64_t number = *number_of(&copy, row);
        int64_t *to = number_of(o, row);

        if (number == 0) {
            continue;
        }
        if (*to == 0) {
            return spry_fail(error, SPRY_USAGE, row->name, NULL,
                             "the architecture %s has no such option", a->facts.name);
        }
        if (number < 1 || number > row->most) {
            return spry_fail(error, SPRY_USAGE, row->name, NULL, "%lld is not from 1 to %lld",
                             (long long)number, (long long)row->most);
        }
        *to = number;
    }
    return SPRY_OK;
}

/* ---- building ---- */

/* Fills *parameters; *m is NULL when they are only counted. */
static spry_status build(const spry_allocator *allocator, const char *name,
                         const spry_architecture_options *options, int64_t *parameters,
                         spry_model **m, bool only_counts, spry_error *error)
{
    spry_architecture_options asked = spry_architecture_options_default();
    spry_architecture_options o;
    const architecture *a = NULL;
    builder b;
    spry_status status = find(name, &a, error);

    *m = NULL;
    *parameters = 0;
    if (status == SPRY_OK) {
        status = merge(a, options != NULL ? options : &asked, &o, error);
    }
    if (status == SPRY_OK) {
        status = builder_open(&b, allocator, o.seed, only_counts, error);
    }
    if (status != SPRY_OK) {
        return status;
    }
    b.m->main->name = a->facts.name;
    a->build(&b, &o, a->form);
    *parameters = b.parameters;
    return builder_close(&b, m);
}

spry_status spry_architecture_create(const spry_allocator *allocator, const char *name,
                                     const spry_architecture_options *options, spry_model **m,
                                     spry_error *error)
{
    int64_t parameters;

    return build(allocator, name, options, &parameters, m, false, error);
}

spry_status spry_architecture_count(const char *name, const spry_architecture_options *options,
                                    int64_t *parameters, spry_error *error)
{
    spry_model *m = NULL;
    spry_status status = build(NULL, name, options, parameters, &m, true, error);

    spry_model_destroy(m);
    return status;
}
