/* Vision transformers (Dosovitskiy and others, "An image is worth 16x16 words", ICLR 2021) of the
 * sizes of DeiT (Touvron and others, ICML 2021). Weights are called as in timm; those of linear
 * layers over tokens lie transposed, [inputs, outputs]. */
#include "architecture/architecture.h"

enum { MLP_RATIO = 4 };

/* [N, channels, height, width] to a token per patch: [N, tokens, units]. */
static builder_flow cut_patches(builder *b, builder_flow x, const spry_architecture_options *o)
{
    static const int64_t tokens_first[3] = {0, 2, 1};
    const builder_window window = {.outputs = o->units,
                                   .size = o->patch,
                                   .stride = o->patch,
                                   .has_bias = true,
                                   .draw = BUILDER_LECUN};
    const int64_t shape[3] = {0, o->units, -1};

    x = builder_conv(b, x, "patch_embed.proj", window);
    builder_at(b, "patch_embed.flatten");
    x.id = emit_transpose(&b->e, emit_reshape(&b->e, x.id, 3, shape), 3, tokens_first);
    return (builder_flow){.id = x.id, .rank = 3, .size = {-1, x.size[2] * x.size[3], o->units}};
}

/* The class token in front, for every picture of the batch; then the positions. */
static builder_flow place(builder *b, builder_flow x)
{
    const int64_t width = x.size[2];
    const int64_t one[3] = {1, 1, width};
    const int64_t rest[2] = {1, width};
    const int64_t all[3] = {1, x.size[1] + 1, width};
    int32_t token = builder_weight(b, "cls_token", 3, one, BUILDER_TRUNCATED, 1);
    int32_t positions = builder_weight(b, "pos_embed", 3, all, BUILDER_TRUNCATED, 1);
    int32_t shape;

    builder_at(b, "tokens");
    shape = emit_unary(&b->e, "Shape", x.id);
    emit_set_int(&b->e, shape, "start", 0);
    emit_set_int(&b->e, shape, "end", 1);
    shape = emit_binary(&b->e, "Concat", shape, emit_ints(&b->e, 2, rest));
    emit_set_int(&b->e, shape, "axis", 0);
    x.id = emit_binary(&b->e, "Concat", emit_binary(&b->e, "Expand", token, shape), x.id);
    emit_set_int(&b->e, x.id, "axis", 1);
    x.id = emit_binary(&b->e, "Add", x.id, positions);
    x.size[1]++;
    return x;
}

static builder_flow mlp(builder *b, builder_flow x, const char *name)
{
    const int64_t width = x.size[2];

    x = builder_linear(b, x, builder_name(b, "%s.fc1", name), MLP_RATIO * width, BUILDER_TRUNCATED);
    x = builder_gelu(b, x, builder_name(b, "%s.act", name));
    return builder_linear(b, x, builder_name(b, "%s.fc2", name), width, BUILDER_TRUNCATED);
}

/* x + attention(norm(x)), x + mlp(norm(x)) */
static builder_flow block(builder *b, builder_flow x, const char *name, int64_t heads)
{
    builder_flow y = builder_layer_norm(b, x, builder_name(b, "%s.norm1", name));

    y = builder_attention(b, y, builder_name(b, "%s.attn", name), heads);
    x = builder_add(b, x, y, builder_name(b, "%s.add1", name));
    y = builder_layer_norm(b, x, builder_name(b, "%s.norm2", name));
    y = mlp(b, y, builder_name(b, "%s.mlp", name));
    return builder_add(b, x, y, builder_name(b, "%s.add2", name));
}

/* The class token alone: [N, units]. */
static builder_flow take_class(builder *b, builder_flow x)
{
    builder_at(b, "pool");
    x.id = emit_binary(&b->e, "Gather", x.id, emit_number(&b->e, SPRY_DTYPE_I64, 0));
    emit_set_int(&b->e, x.id, "axis", 1);
    return (builder_flow){.id = x.id, .rank = 2, .size = {-1, x.size[2]}};
}

void architecture_vit(builder *b, const spry_architecture_options *o, const int *form)
{
    builder_flow x = builder_image(b, o->channels, o->height, o->width);

    (void)form;
    if (o->units % o->heads != 0) {
        builder_refuse(b, "units", "%lld heads do not divide a width of %lld", (long long)o->heads,
                       (long long)o->units);
        return;
    }
    if (o->height % o->patch != 0 || o->width % o->patch != 0) {
        builder_refuse(b, "image", "%lldx%lld pixels are no whole number of patches of %lld",
                       (long long)o->height, (long long)o->width, (long long)o->patch);
        return;
    }
    x = place(b, cut_patches(b, x, o));
    for (int64_t i = 0; i < o->depth; i++) {
        x = block(b, x, builder_name(b, "blocks.%d", (int)i), o->heads);
    }
    /* Normalisation works on each token alone: only the one that is read needs it. */
    x = builder_layer_norm(b, take_class(b, x), "norm");
    builder_scores(b, x, "head", o->classes, BUILDER_TRUNCATED);
}
