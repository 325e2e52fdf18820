/* The bodies as lists of nodes, from which they are made and by which they are recognised. */
#include "model/skim_function.h"

#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "model/function_body.h"
#include "model/insert.h"
#include "ops/skim.h"

enum {
    REDUCE_AXES_SINCE = 18, /* ReduceMean and ReduceMax take axes as an input */
    LAYER_NORM_SINCE = 17,
    NAME_SIZE = 32
};

static const char *const attributes[SKIM_ATTRIBUTES] = {SKIM_HEADS, SKIM_BLOCK, SKIM_EPSILON,
                                                        SKIM_SCALE};

/* Names of inputs, in the order of enum skim_port. */
static const char *const ports[SKIM_PORTS] = {
    "x",          "bias",      "keep",      "q_weight",     "q_bias",     "k_weight",
    "k_bias",     "v_weight",  "v_bias",    "out_weight",   "out_bias",   "norm1_weight",
    "norm1_bias", "up_weight", "up_bias",   "down_weight",  "down_bias",  "norm2_weight",
    "norm2_bias", "protected", "threshold", "conv1_weight", "conv1_bias", "bn1_weight",
    "bn1_bias",   "bn1_mean",  "bn1_var",   "conv2_weight", "conv2_bias", "bn2_weight",
    "bn2_bias",   "bn2_mean",  "bn2_var",   "fc_weight",    "fc_bias"};

/* What nothing reaches, and finite: whoever looks for what went wrong looks for infinities. */
static const float never = -1e30f;

typedef struct writer {
    graph *body;
    int32_t opset;
    int32_t in[SKIM_PORTS];
    int32_t heads, block;              /* integers [1] */
    int32_t axis0, axis1, axis2, last; /* integers [1]: 0, 1, 2, -1 */
    int32_t zero_zero;                 /* integers 0, 0 */
    int32_t zero, one, never;          /* f32: 0, 1, the last below all others */
    int32_t tokens;                    /* integer [1] */
    int32_t token_keep;                /* [N, T] */
    spry_status status;
    spry_error *error;
} writer;

/* ---- nodes ---- */

static int32_t add(writer *w, const char *type, const char *suffix, int32_t count,
                   const int32_t *inputs)
{
    insert_node_of what = {
        .type = type, .opset = w->opset, .base = "skim", .suffix = suffix, .input_count = count};
    int32_t node;
    int32_t result = GRAPH_NONE;

    for (int32_t i = 0; i < count; i++) {
        what.inputs[i] = inputs[i];
    }
    if (w->status == SPRY_OK) {
        w->status = insert_node(w->body, &what, &node, &result, w->error);
    }
    return w->status == SPRY_OK ? result : GRAPH_NONE;
}

static int32_t add_1(writer *w, const char *type, const char *suffix, int32_t a)
{
    return add(w, type, suffix, 1, &a);
}

static int32_t add_2(writer *w, const char *type, const char *suffix, int32_t a, int32_t b)
{
    return add(w, type, suffix, 2, (const int32_t[]){a, b});
}

static int32_t add_3(writer *w, const char *type, const char *suffix, int32_t a, int32_t b,
                     int32_t c)
{
    return add(w, type, suffix, 3, (const int32_t[]){a, b, c});
}

static void set_ints(writer *w, int32_t id, const char *name, int64_t count, const int64_t *ints)
{
    if (w->status == SPRY_OK) {
        w->status =
            graph_set_ints(w->body, w->body->values[id].producer, name, count, ints, w->error);
    }
}

static void set_int(writer *w, int32_t id, const char *name, int64_t number)
{
    if (w->status == SPRY_OK) {
        w->status = graph_set_int(w->body, w->body->values[id].producer, name, number, w->error);
    }
}

/* The attribute `name` is what the call says of `ref`. */
static void set_ref(writer *w, int32_t id, const char *name, graph_attribute_kind kind,
                    const char *ref)
{
    static const int64_t no_int = 0;
    static const float no_float = 0;
    graph_attribute a = {.name = name, .kind = kind, .count = 1, .ref_name = ref, .doc = ""};

    if (kind == GRAPH_ATTRIBUTE_FLOAT) {
        a.as.floats = &no_float;
    } else {
        a.as.ints = &no_int;
    }
    if (w->status == SPRY_OK) {
        w->status = graph_set_attribute(w->body, w->body->values[id].producer, &a, w->error);
    }
}

static int32_t add_ints(writer *w, const char *suffix, int64_t count, const int64_t *ints)
{
    int32_t made = add(w, "Constant", suffix, 0, NULL);

    set_ints(w, made, "value_ints", count, ints);
    return made;
}

static int32_t add_number(writer *w, const char *suffix, float number)
{
    int32_t made = add(w, "Constant", suffix, 0, NULL);

    if (w->status == SPRY_OK) {
        w->status = graph_set_float(w->body, w->body->values[made].producer, "value_float", number,
                                    w->error);
    }
    return made;
}

static int32_t add_ref(writer *w, const char *suffix, const char *ref, bool is_float)
{
    int32_t made = add(w, "Constant", suffix, 0, NULL);

    set_ref(w, made, is_float ? "value_float" : "value_int",
            is_float ? GRAPH_ATTRIBUTE_FLOAT : GRAPH_ATTRIBUTE_INT, ref);
    return made;
}

static int32_t add_concat(writer *w, const char *suffix, int32_t count, const int32_t *parts)
{
    int32_t made = add(w, "Concat", suffix, count, parts);

    set_int(w, made, "axis", 0);
    return made;
}

static int32_t add_transpose(writer *w, const char *suffix, int32_t x, int64_t count,
                             const int64_t *perm)
{
    int32_t made = add_1(w, "Transpose", suffix, x);

    set_ints(w, made, "perm", count, perm);
    return made;
}

static int32_t add_reduce(writer *w, const char *type, const char *suffix, int32_t x, int64_t axis)
{
    char name[NAME_SIZE];
    int32_t made;

    if (w->opset >= REDUCE_AXES_SINCE) {
        (void)snprintf(name, sizeof name, "%s_axes", suffix);
        return add_2(w, type, suffix, x, add_ints(w, name, 1, &axis));
    }
    made = add_1(w, type, suffix, x);
    set_ints(w, made, "axes", 1, &axis);
    return made;
}

static int32_t add_linear(writer *w, const char *suffix, int32_t x, int port)
{
    char name[NAME_SIZE];

    (void)snprintf(name, sizeof name, "%s_product", suffix);
    return add_2(w, "Add", suffix, add_2(w, "MatMul", name, x, w->in[port]), w->in[port + 1]);
}

static int32_t add_norm(writer *w, const char *suffix, int32_t x, int port)
{
    int32_t made;
    int32_t mean;
    int32_t centred;
    int32_t variance;

    if (w->opset >= LAYER_NORM_SINCE) {
        made = add_3(w, "LayerNormalization", suffix, x, w->in[port], w->in[port + 1]);
        set_int(w, made, "axis", -1);
        set_ref(w, made, "epsilon", GRAPH_ATTRIBUTE_FLOAT, SKIM_EPSILON);
        return made;
    }
    mean = add_reduce(w, "ReduceMean", "mean", x, -1);
    centred = add_2(w, "Sub", "centred", x, mean);
    variance =
        add_reduce(w, "ReduceMean", "variance", add_2(w, "Mul", "square", centred, centred), -1);
    variance = add_2(w, "Add", "moved", variance, add_ref(w, "epsilon", SKIM_EPSILON, true));
    made = add_2(w, "Div", "normal", centred, add_1(w, "Sqrt", "deviation", variance));
    made = add_2(w, "Mul", "scaled", made, w->in[port]);
    return add_2(w, "Add", suffix, made, w->in[port + 1]);
}

/* ---- the layer ---- */

static void add_constants(writer *w)
{
    w->axis0 = add_ints(w, "axis0", 1, (const int64_t[]){0});
    w->axis1 = add_ints(w, "axis1", 1, (const int64_t[]){1});
    w->axis2 = add_ints(w, "axis2", 1, (const int64_t[]){2});
    w->last = add_ints(w, "last", 1, (const int64_t[]){-1});
    w->zero_zero = add_ints(w, "as_before", 2, (const int64_t[]){0, 0});
    w->zero = add_number(w, "zero", 0.0f);
    w->one = add_number(w, "one", 1.0f);
    w->never = add_number(w, "never", never);
    w->heads =
        add_2(w, "Unsqueeze", "heads", add_ref(w, "head_count", SKIM_HEADS, false), w->axis0);
    w->block =
        add_2(w, "Unsqueeze", "block", add_ref(w, "block_size", SKIM_BLOCK, false), w->axis0);
}

/* One number per token from one per block. */
static void add_token_keep(writer *w)
{
    int32_t shape = add_1(w, "Shape", "shape", w->in[SKIM_X]);
    int32_t wide = add_2(w, "Unsqueeze", "keep_column", w->in[SKIM_KEEP], w->axis2);
    int32_t sizes = add_concat(w, "keep_sizes", 3, (const int32_t[]){w->axis1, w->axis1, w->block});

    w->tokens = add_2(w, "Gather", "tokens", shape, w->axis1);
    wide = add_2(w, "Expand", "keep_wide", wide, sizes);
    sizes = add_concat(w, "flat_sizes", 2, (const int32_t[]){w->axis0, w->last});
    wide = add_2(w, "Reshape", "keep_flat", wide, sizes);
    w->token_keep =
        add(w, "Slice", "keep_tokens", 4, (const int32_t[]){wide, w->axis0, w->tokens, w->axis1});
}

static int32_t add_heads(writer *w, const char *suffix, int port, int32_t shape,
                         const int64_t *perm)
{
    char name[NAME_SIZE];
    int32_t x = add_linear(w, suffix, w->in[SKIM_X], port);

    (void)snprintf(name, sizeof name, "%s_split", suffix);
    x = add_2(w, "Reshape", name, x, shape);
    (void)snprintf(name, sizeof name, "%s_heads", suffix);
    return add_transpose(w, name, x, 4, perm);
}

static int32_t add_weights(writer *w, int32_t shape)
{
    static const int64_t queries[] = {0, 2, 1, 3};
    static const int64_t keys[] = {0, 2, 3, 1};
    int32_t q = add_heads(w, "q", SKIM_Q, shape, queries);
    int32_t k = add_heads(w, "k", SKIM_K, shape, keys);
    int32_t scores = add_2(w, "MatMul", "scores", q, k);
    int32_t kept;
    int32_t bias;
    int32_t made;

    scores = add_2(w, "Mul", "scaled_scores", scores, add_ref(w, "scale", SKIM_SCALE, true));
    kept = add_2(w, "Greater", "is_kept", w->token_keep, w->zero);
    kept = add_2(w, "Unsqueeze", "is_kept_key", kept,
                 add_ints(w, "axes12", 2, (const int64_t[]){1, 2}));
    bias = add_3(w, "Where", "key_bias", kept, w->in[SKIM_BIAS], w->never);
    made = add_1(w, "Softmax", "weights", add_2(w, "Add", "masked_scores", scores, bias));
    set_int(w, made, "axis", -1);
    return made;
}

/* *weights are those of attention [N, H, T, T]. */
static int32_t add_layer(writer *w, int32_t *weights)
{
    static const int64_t perm[] = {0, 2, 1, 3};
    int32_t shape;
    int32_t mixed;
    int32_t x;
    int32_t inner;

    add_constants(w);
    add_token_keep(w);
    shape = add_concat(w, "head_shape", 3, (const int32_t[]){w->zero_zero, w->heads, w->last});
    *weights = add_weights(w, shape);
    mixed = add_2(w, "MatMul", "mixed", *weights, add_heads(w, "v", SKIM_V, shape, perm));
    mixed = add_transpose(w, "mixed_tokens", mixed, 4, perm);
    shape = add_concat(w, "row_shape", 2, (const int32_t[]){w->zero_zero, w->last});
    x = add_linear(w, "out", add_2(w, "Reshape", "mixed_rows", mixed, shape), SKIM_OUT);
    x = add_norm(w, "norm1", add_2(w, "Add", "sum1", x, w->in[SKIM_X]), SKIM_NORM1);
    inner = add_linear(w, "up", x, SKIM_UP);
    mixed =
        add_1(w, "Erf", "erf", add_2(w, "Div", "unit", inner, add_number(w, "root2", 1.41421356f)));
    mixed = add_2(w, "Mul", "gate", inner, add_2(w, "Add", "erf_plus", mixed, w->one));
    mixed = add_2(w, "Mul", "gelu", mixed, add_number(w, "half", 0.5f));
    x = add_2(w, "Add", "sum2", add_linear(w, "down", mixed, SKIM_DOWN), x);
    x = add_norm(w, "norm2", x, SKIM_NORM2);
    return add_2(w, "Mul", "y", x, add_2(w, "Unsqueeze", "keep_rows", w->token_keep, w->axis2));
}

/* ---- the predictor ---- */

/* Blocks of the diagonal as images [N * K, H, B, B]. Rows of [N, H, K B K, B] are the pieces of
 * rows of weights, row t of which has its own block at t K + t / B. */
static int32_t add_images(writer *w, int32_t weights)
{
    static const int64_t zeros[] = {0, 0, 0, 0, 0, 0};
    int32_t blocks =
        add_2(w, "Gather", "blocks", add_1(w, "Shape", "keep_shape", w->in[SKIM_KEEP]), w->axis1);
    int32_t padded = add_2(w, "Mul", "padded", blocks, w->block);
    int32_t more = add_2(w, "Sub", "more", padded, w->tokens);
    int32_t pads =
        add_concat(w, "pads", 3, (const int32_t[]){add_ints(w, "no_pads", 6, zeros), more, more});
    int32_t count = add_2(w, "Squeeze", "row_count", padded, w->axis0);
    int32_t zero = add_2(w, "Squeeze", "first_row", w->axis0, w->axis0);
    int32_t step = add_2(w, "Squeeze", "row_step", w->axis1, w->axis0);
    int32_t rows = add_3(w, "Range", "rows", zero, count, step);
    int32_t places = add_2(w, "Add", "places", add_2(w, "Mul", "row_starts", rows, blocks),
                           add_2(w, "Div", "row_blocks", rows, w->block));
    int32_t sizes =
        add_concat(w, "piece_sizes", 3, (const int32_t[]){w->zero_zero, w->last, w->block});
    int32_t x = add_2(w, "Pad", "padded_weights", weights, pads);

    x = add_2(w, "Gather", "own_pieces", add_2(w, "Reshape", "pieces", x, sizes), places);
    set_int(w, x, "axis", 2);
    sizes = add_concat(w, "block_sizes", 4,
                       (const int32_t[]){w->zero_zero, w->last, w->block, w->block});
    x = add_transpose(w, "images_by_head", add_2(w, "Reshape", "own_blocks", x, sizes), 5,
                      (const int64_t[]){0, 2, 1, 3, 4});
    sizes =
        add_concat(w, "image_sizes", 4, (const int32_t[]){w->last, w->heads, w->block, w->block});
    return add_2(w, "Reshape", "images", x, sizes);
}

/* pool(relu(norm(conv(x)))) */
static int32_t add_stage(writer *w, int32_t x, const char *number, int conv, int batch)
{
    static const int64_t twos[] = {2, 2};
    static const int64_t threes[] = {3, 3};
    static const int64_t ones[] = {1, 1, 1, 1};
    char name[NAME_SIZE];

    (void)snprintf(name, sizeof name, "conv%s", number);
    x = add_3(w, "Conv", name, x, w->in[conv], w->in[conv + 1]);
    set_ints(w, x, "kernel_shape", 2, threes);
    set_ints(w, x, "pads", 4, ones);
    (void)snprintf(name, sizeof name, "bn%s", number);
    x = add(
        w, "BatchNormalization", name, 5,
        (const int32_t[]){x, w->in[batch], w->in[batch + 1], w->in[batch + 2], w->in[batch + 3]});
    (void)snprintf(name, sizeof name, "relu%s", number);
    x = add_1(w, "Relu", name, x);
    (void)snprintf(name, sizeof name, "pool%s", number);
    x = add_1(w, "AveragePool", name, x);
    set_ints(w, x, "kernel_shape", 2, twos);
    set_ints(w, x, "strides", 2, twos);
    return x;
}

static int32_t add_logits(writer *w, int32_t weights)
{
    int32_t x = add_images(w, weights);
    int32_t sizes;

    x = add_stage(w, x, "1", SKIM_CONV1, SKIM_BATCH1);
    x = add_stage(w, x, "2", SKIM_CONV2, SKIM_BATCH2);
    x = add_1(w, "Flatten", "features", x);
    x = add_3(w, "Gemm", "fc", x, w->in[SKIM_LAST], w->in[SKIM_LAST + 1]);
    set_int(w, x, "transB", 1);
    sizes = add_1(w, "Shape", "decision_shape", w->in[SKIM_KEEP]);
    sizes = add_concat(w, "logit_sizes", 2, (const int32_t[]){sizes, w->axis2});
    return add_2(w, "Reshape", "logits", x, sizes);
}

static int32_t add_next(writer *w, int32_t logits)
{
    int32_t keep = w->in[SKIM_KEEP];
    int32_t first = add_2(w, "Gather", "drop_column", logits, w->axis0);
    int32_t second = add_2(w, "Gather", "keep_logit", logits, w->axis1);
    int32_t odds;
    int32_t best;
    int32_t bar;

    set_int(w, first, "axis", 2);
    set_int(w, second, "axis", 2);
    odds = add_2(w, "Squeeze", "odds", add_2(w, "Sub", "odds_column", second, first), w->axis2);
    best = add_2(w, "Greater", "is_free", add_2(w, "Sub", "free", keep, w->in[SKIM_PROTECTED]),
                 w->zero);
    best = add_3(w, "Where", "free_odds", best, odds, w->never);
    best = add_reduce(w, "ReduceMax", "best", best, 1);
    bar = add_2(w, "Sub", "rest", w->one, w->in[SKIM_THRESHOLD]);
    bar = add_1(w, "Log", "threshold_odds", add_2(w, "Div", "ratio", w->in[SKIM_THRESHOLD], bar));
    bar = add_2(w, "Min", "bar", bar, best);
    odds = add_1(w, "Cast", "chosen", add_2(w, "GreaterOrEqual", "is_chosen", odds, bar));
    set_int(w, odds, "to", SPRY_DTYPE_F32);
    return add_2(w, "Mul", "next", keep, add_2(w, "Max", "wanted", w->in[SKIM_PROTECTED], odds));
}

/* ---- the whole ---- */

static spry_status write_body(arena *memory, bool decides, int64_t opset, graph **body,
                              spry_error *error)
{
    int32_t inputs = decides ? SKIM_PORTS : SKIM_LAYER_PORTS;
    int32_t outputs = decides ? SKIM_RESULTS : 1;
    int32_t *ends = arena_array(memory, SKIM_PORTS + SKIM_RESULTS, sizeof *ends);
    writer w = {.opset = (int32_t)opset, .error = error};
    int32_t weights;

    w.status = graph_create(memory, NULL, &w.body, error);
    if (w.status == SPRY_OK && ends == NULL) {
        w.status = alloc_failed(error, SKIM_PORTS * sizeof *ends);
    }
    for (int32_t i = 0; i < inputs && w.status == SPRY_OK; i++) {
        w.status = graph_add_value(w.body, ports[i], &w.in[i], error);
        ends[i] = w.in[i];
    }
    if (w.status != SPRY_OK) {
        return w.status;
    }
    ends[inputs + SKIM_Y] = add_layer(&w, &weights);
    if (decides) {
        ends[inputs + SKIM_LOGITS] = add_logits(&w, weights);
        ends[inputs + SKIM_NEXT] = add_next(&w, ends[inputs + SKIM_LOGITS]);
    }
    w.body->inputs = ends;
    w.body->input_count = inputs;
    w.body->outputs = ends + inputs;
    w.body->output_count = outputs;
    *body = w.body;
    return w.status;
}

static const char *name_of(bool decides)
{
    return decides ? SKIM_DECIDE : SKIM_LAYER;
}

spry_status skim_function_add(model *m, bool decides, int64_t opset, spry_error *error)
{
    const model_function *present = model_find_function(m, SKIM_DOMAIN, name_of(decides), "");
    model_opset *imports = arena_array(&m->memory, 1, sizeof *imports);
    model_function f = {.domain = SKIM_DOMAIN,
                        .name = name_of(decides),
                        .overload = "",
                        .doc = "An encoder layer that skips blocks of tokens (arXiv 2112.08560)",
                        .opsets = imports,
                        .opset_count = 1,
                        .attributes = attributes,
                        .attribute_count = SKIM_ATTRIBUTES};
    spry_status status;

    if (present != NULL) {
        return skim_function_is(present)
                   ? SPRY_OK
                   : spry_fail(error, SPRY_USAGE, m->path, "rename it",
                               "the model has another function " SKIM_DOMAIN ".%s",
                               name_of(decides));
    }
    if (imports == NULL) {
        return alloc_failed(error, sizeof *imports);
    }
    *imports = (model_opset){"", opset};
    status = write_body(&m->memory, decides, opset, &f.body, error);
    return status == SPRY_OK ? model_add_function(m, &f, error) : status;
}

/* ---- recognising ---- */

static bool has_attributes(const model_function *f)
{
    bool found = f->attribute_count == SKIM_ATTRIBUTES && f->default_count == 0;

    for (int i = 0; found && i < SKIM_ATTRIBUTES; i++) {
        bool listed = false;

        for (int32_t k = 0; k < f->attribute_count; k++) {
            listed = listed || strcmp(attributes[i], f->attributes[k]) == 0;
        }
        found = listed;
    }
    return found;
}

bool skim_function_is(const model_function *f)
{
    bool decides = strcmp(f->name, SKIM_DECIDE) == 0;
    arena memory;
    graph *body = NULL;
    bool same;

    if (strcmp(f->domain, SKIM_DOMAIN) != 0 || strcmp(f->name, name_of(decides)) != 0 ||
        f->overload[0] != '\0' || f->opset_count != 1 || f->opsets[0].domain[0] != '\0' ||
        f->opsets[0].version < SKIM_FUNCTION_OPSET || !has_attributes(f)) {
        return false;
    }
    arena_init(&memory, &f->body->memory->allocator, SIZE_MAX);
    same = write_body(&memory, decides, f->opsets[0].version, &body, NULL) == SPRY_OK &&
           function_body_same(body, f->body, &memory);
    arena_fini(&memory);
    return same;
}
