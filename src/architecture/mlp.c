/* A multilayer perceptron: fc1, fc2, ... with rectifiers between them. */
#include "architecture/architecture.h"

void architecture_mlp(builder *b, const spry_architecture_options *o, const int *form)
{
    builder_flow x = builder_image(b, o->channels, o->height, o->width);

    (void)form;
    x = builder_flatten(b, x, "flatten");
    for (int64_t i = 1; i <= o->depth; i++) {
        x = builder_linear(b, x, builder_name(b, "fc%d", (int)i), o->units, BUILDER_HE);
        x = builder_activation(b, x, builder_name(b, "relu%d", (int)i), "Relu");
    }
    builder_scores(b, x, builder_name(b, "fc%d", (int)o->depth + 1), o->classes, BUILDER_LECUN);
}
