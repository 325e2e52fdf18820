/* Question answering that drops blocks of the context on the way: behind every layer but the last a
 * small network reads the weights by which the tokens of a block attend to each other, and says
 * whether later layers get the block (Block-Skim: Guan and others, arXiv 2112.08560). All weights
 * are trained; nothing is dropped as long as thresholds are 0. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "adapt/block_skim.h"
#include "adapt/build.h"
#include "adapt/census.h"
#include "adapt/encoder_layer.h"
#include "adapt/method.h"
#include "base/alloc.h"
#include "model/insert.h"
#include "model/skim_function.h"
#include "ops/skim.h"

enum { NAME_SIZE = 32, REDUCE_AXES_SINCE = 18 };

static const double hidden_below = -1000.0; /* what masks add to scores of padding */

/* What all layers share. */
typedef struct skim {
    build b;
    const encoder_layers *layers;
    int32_t block;     /* integers [1] */
    int32_t axes[3];   /* integers [1]: 0, 1, 2 */
    int32_t last;      /* integers [1]: -1 */
    int32_t tokens;    /* integers [1] */
    int32_t bias;      /* f32 [N, 1, 1, T] */
    int32_t protect;   /* f32 [N, K] */
    int32_t keep;      /* f32 [N, K] of the layer that comes next */
    int32_t *computed; /* [layers] of each layer, with an axis of one in the middle */
    int32_t computed_count;
} skim;

/* ---- nodes ---- */

static int32_t add_1(skim *s, const char *type, const char *suffix, int32_t a)
{
    return build_node(&s->b, type, suffix, 1, &a);
}

static int32_t add_2(skim *s, const char *type, const char *suffix, int32_t a, int32_t b)
{
    return build_node(&s->b, type, suffix, 2, (const int32_t[]){a, b});
}

static int32_t add_cast(skim *s, const char *suffix, int32_t a)
{
    int32_t made = add_1(s, "Cast", suffix, a);

    build_set_int(&s->b, made, "to", SPRY_DTYPE_F32);
    return made;
}

static int32_t add_concat(skim *s, const char *suffix, int32_t count, const int32_t *parts,
                          int64_t axis)
{
    int32_t made = build_node(&s->b, "Concat", suffix, count, parts);

    build_set_int(&s->b, made, "axis", axis);
    return made;
}

static void add_constants(skim *s)
{
    build *b = &s->b;

    s->block = build_ints(b, "block", 1, (const int64_t[]){b->job->options.block});
    s->axes[0] = build_ints(b, "axis0", 1, (const int64_t[]){0});
    s->axes[1] = build_ints(b, "axis1", 1, (const int64_t[]){1});
    s->axes[2] = build_ints(b, "axis2", 1, (const int64_t[]){2});
    s->last = build_ints(b, "last", 1, (const int64_t[]){-1});
}

/* ---- what comes before the layers ---- */

/* The largest number of each block of [N, T]: [N, K]. */
static int32_t add_block_maximum(skim *s, const char *what, int32_t x)
{
    static const int64_t none[] = {0, 0, 0};
    char name[NAME_SIZE];
    build *b = &s->b;
    int32_t rest = add_2(s, "Sub", "block_rest", s->block,
                         add_2(s, "Mod", "tokens_over", s->tokens, s->block));
    int32_t pads = add_concat(s, "pads", 2,
                              (const int32_t[]){build_ints(b, "no_pads", 3, none),
                                                add_2(s, "Mod", "more", rest, s->block)},
                              0);
    int32_t sizes =
        add_concat(s, "by_block", 3, (const int32_t[]){s->axes[0], s->last, s->block}, 0);
    int32_t made;

    (void)snprintf(name, sizeof name, "%s_padded", what);
    x = add_2(s, "Pad", name, x, pads);
    (void)snprintf(name, sizeof name, "%s_blocks", what);
    x = add_2(s, "Reshape", name, x, sizes);
    if (b->job->opset >= REDUCE_AXES_SINCE) {
        made = add_2(s, "ReduceMax", what, x, s->axes[2]);
    } else {
        made = add_1(s, "ReduceMax", what, x);
        if (b->status == SPRY_OK) {
            b->status = graph_set_ints(b->job->g, b->job->g->values[made].producer, "axes", 1,
                                       (const int64_t[]){2}, b->error);
        }
    }
    build_set_int(b, made, "keepdims", 0);
    return made;
}

/* The mask of the model as [N, 1, 1, T]. */
static void add_bias(skim *s)
{
    int32_t mask = s->layers->items[0].mask;
    int rank = s->b.job->s->values[mask].type.rank;

    s->bias = mask;
    for (; rank < 4; rank++) {
        s->bias = add_2(s, "Unsqueeze", "bias_wide", s->bias, s->axes[1]);
    }
}

/* Keeps every block with a token that is no padding, and for good those with a token of the
 * question. The first token counts as both, so that no sequence is without a block. */
static void add_start(skim *s, int32_t segments)
{
    build *b = &s->b;
    int32_t row = add_2(s, "Squeeze", "bias_row", s->bias,
                        build_ints(b, "axes12", 2, (const int64_t[]){1, 2}));
    int32_t shape = add_1(s, "Shape", "bias_shape", row);
    int32_t real =
        add_cast(s, "is_text",
                 add_2(s, "Greater", "is_seen", row, build_number(b, "padding", hidden_below)));
    int32_t first;
    int32_t question;

    s->tokens = add_2(s, "Gather", "tokens", shape, s->axes[1]);
    first = build_node(b, "Range", "positions", 3,
                       (const int32_t[]){add_2(s, "Squeeze", "from", s->axes[0], s->axes[0]),
                                         add_2(s, "Squeeze", "to", s->tokens, s->axes[0]),
                                         add_2(s, "Squeeze", "step", s->axes[1], s->axes[0])});
    first = add_cast(s, "first", add_2(s, "Less", "is_first", first, s->axes[1]));
    question = add_cast(s, "segments", segments);
    question = add_cast(s, "first_text",
                        add_2(s, "Less", "is_first_text", question, build_number(b, "half", 0.5)));
    question = add_2(s, "Mul", "question", question, real);
    question = add_2(s, "Max", "question_and_first", question, first);
    real = add_2(s, "Max", "text_and_first", real, question);
    s->protect = add_block_maximum(s, "protected", question);
    s->keep = add_block_maximum(s, "keep", real);
}

/* ---- layers ---- */

static void add_stage(skim *s, const char *which, int64_t heads, int32_t *inputs, int conv,
                      int batch)
{
    enum { TAPS = 9 };
    const int64_t kernel[] = {heads, heads, 3, 3};
    float *ones = arena_array(&s->b.job->memory, (size_t)heads, sizeof *ones);
    float *zeros = arena_array(&s->b.job->memory, (size_t)heads, sizeof *zeros);
    char name[NAME_SIZE];
    spry_status *status = &s->b.status;

    if (*status == SPRY_OK && (ones == NULL || zeros == NULL)) {
        *status = alloc_failed(s->b.error, (size_t)heads * sizeof *ones);
    }
    for (int64_t i = 0; *status == SPRY_OK && i < heads; i++) {
        ones[i] = 1.0f;
        zeros[i] = 0.0f;
    }
    (void)snprintf(name, sizeof name, "conv%s_weight", which);
    inputs[conv] = build_uniform(&s->b, name, 4, kernel, sqrt(6.0 / (double)(TAPS * heads)));
    (void)snprintf(name, sizeof name, "conv%s_bias", which);
    inputs[conv + 1] = build_trained_zeros(&s->b, name, 1, &heads);
    (void)snprintf(name, sizeof name, "bn%s_weight", which);
    inputs[batch] = build_parameter(&s->b, name, 1, &heads, ones);
    (void)snprintf(name, sizeof name, "bn%s_bias", which);
    inputs[batch + 1] = build_trained_zeros(&s->b, name, 1, &heads);
    for (int i = 2; i < 4 && *status == SPRY_OK; i++) {
        (void)snprintf(name, sizeof name, "bn%s_%s", which,
                       i == 2 ? "running_mean" : "running_var");
        *status = insert_constant(s->b.job->g, s->b.base, name, SPRY_DTYPE_F32, 1, &heads,
                                  i == 2 ? zeros : ones, &inputs[batch + i], s->b.error);
    }
}

static void add_predictor(skim *s, const encoder_layer *l, int32_t *inputs)
{
    int64_t block = s->b.job->options.block;
    int64_t features = l->heads * block * block / 16;

    inputs[SKIM_PROTECTED] = s->protect;
    inputs[SKIM_THRESHOLD] = build_number(&s->b, "threshold", 0.0);
    add_stage(s, "1", l->heads, inputs, SKIM_CONV1, SKIM_BATCH1);
    add_stage(s, "2", l->heads, inputs, SKIM_CONV2, SKIM_BATCH2);
    inputs[SKIM_LAST] = build_uniform(&s->b, "fc_weight", 2, (const int64_t[]){2, features},
                                      1.0 / sqrt((double)features));
    inputs[SKIM_LAST + 1] = build_trained_zeros(&s->b, "fc_bias", 1, (const int64_t[]){2});
}

static void set_attributes(skim *s, const encoder_layer *l, int32_t node)
{
    build *b = &s->b;
    graph *g = b->job->g;

    if (b->status == SPRY_OK) {
        b->status = graph_set_int(g, node, SKIM_HEADS, l->heads, b->error);
    }
    if (b->status == SPRY_OK) {
        b->status = graph_set_int(g, node, SKIM_BLOCK, b->job->options.block, b->error);
    }
    if (b->status == SPRY_OK) {
        b->status = graph_set_float(g, node, SKIM_EPSILON, (float)l->epsilon, b->error);
    }
    if (b->status == SPRY_OK) {
        b->status = graph_set_float(g, node, SKIM_SCALE, (float)l->scale, b->error);
    }
}

/* A new result of the node, called after the layer. */
static void add_result(skim *s, int32_t node, int port, const char *suffix, int32_t *value)
{
    char name[NAME_SIZE * 2];

    (void)snprintf(name, sizeof name, "%s_%s", s->b.base, suffix);
    if (s->b.status == SPRY_OK) {
        s->b.status = graph_add_value(s->b.job->g, name, value, s->b.error);
    }
    if (s->b.status == SPRY_OK) {
        graph_set_output(s->b.job->g, node, port, *value);
    }
}

/* A call of the function takes the place of the layer's last node. */
static spry_status replace_layer(skim *s, int32_t index)
{
    const encoder_layer *l = &s->layers->items[index];
    bool decides = index + 1 < s->layers->count;
    const encoder_pair pairs[] = {l->q, l->k, l->v, l->out, l->norm1, l->up, l->down, l->norm2};
    int32_t inputs[SKIM_PORTS] = {l->x, s->bias, s->keep};
    int32_t count = decides ? SKIM_PORTS : SKIM_LAYER_PORTS;
    char base[NAME_SIZE];
    graph *g = s->b.job->g;
    int32_t node;
    int32_t logits;

    (void)snprintf(base, sizeof base, BLOCK_SKIM_NAME "%d", (int)index);
    s->b.base = base;
    for (size_t i = 0; i < sizeof pairs / sizeof *pairs; i++) {
        inputs[SKIM_Q + 2 * i] = pairs[i].weight;
        inputs[SKIM_Q + 2 * i + 1] = pairs[i].bias;
    }
    s->computed[s->computed_count++] = add_2(s, "Unsqueeze", "computed", s->keep, s->axes[1]);
    if (decides) {
        add_predictor(s, l, inputs);
    }
    if (s->b.status == SPRY_OK) {
        s->b.status = graph_add_node(g, decides ? SKIM_DECIDE : SKIM_LAYER, SKIM_DOMAIN, 1, count,
                                     decides ? SKIM_RESULTS : 1, &node, s->b.error);
    }
    if (s->b.status != SPRY_OK) {
        return s->b.status;
    }
    g->nodes[node].name = graph_text(g, base);
    for (int32_t i = 0; i < count; i++) {
        graph_set_input(g, node, i, inputs[i]);
    }
    set_attributes(s, l, node);
    graph_remove_node(g, g->values[l->y].producer);
    graph_set_output(g, node, SKIM_Y, l->y);
    if (decides) {
        add_result(s, node, SKIM_NEXT, "next", &s->keep);
        add_result(s, node, SKIM_LOGITS, BLOCK_SKIM_LOGITS, &logits);
    }
    s->b.base = "skim";
    return s->b.status == SPRY_OK ? rewrite_mention(s->b.job, l->y, s->b.error) : s->b.status;
}

/* ---- what comes behind them ---- */

/* Logits of tokens that were dropped become -infinity. */
static spry_status hide_output(skim *s, int32_t index, int32_t is_kept, int rank)
{
    build *b = &s->b;
    graph *g = b->job->g;
    int32_t output = g->outputs[index];
    int32_t producer = g->values[output].producer;
    char name[NAME_SIZE];
    int32_t bare;
    int32_t node;

    (void)snprintf(name, sizeof name, "skim_all_logits%d", (int)index);
    if (b->status == SPRY_OK) {
        b->status = graph_add_value(g, name, &bare, b->error);
    }
    if (b->status == SPRY_OK) {
        b->status = graph_add_node(g, "Where", "", b->job->opset, 3, 1, &node, b->error);
    }
    if (b->status != SPRY_OK) {
        return b->status;
    }
    for (int32_t port = 0; port < g->nodes[producer].output_count; port++) {
        if (g->nodes[producer].outputs[port] == output) {
            graph_set_output(g, producer, port, bare);
        }
    }
    (void)snprintf(name, sizeof name, "skim_hidden%d", (int)index);
    g->nodes[node].name = graph_text(g, name);
    graph_set_input(g, node, 0,
                    rank == 3 ? add_2(s, "Unsqueeze", "is_kept_row", is_kept, s->axes[2])
                              : is_kept);
    graph_set_input(g, node, 1, bare);
    graph_set_input(g, node, 2, build_number(b, "never", -INFINITY));
    graph_set_output(g, node, 0, output);
    return b->status;
}

static int32_t add_is_kept(skim *s)
{
    build *b = &s->b;
    int32_t sizes =
        add_concat(s, "keep_sizes", 3, (const int32_t[]){s->axes[1], s->axes[1], s->block}, 0);
    int32_t wide = add_2(s, "Unsqueeze", "keep_column", s->keep, s->axes[2]);

    wide = add_2(s, "Expand", "keep_wide", wide, sizes);
    sizes = add_concat(s, "keep_flat_sizes", 2, (const int32_t[]){s->axes[0], s->last}, 0);
    wide = add_2(s, "Reshape", "keep_flat", wide, sizes);
    wide = build_node(b, "Slice", "keep_tokens", 4,
                      (const int32_t[]){wide, s->axes[0], s->tokens, s->axes[1]});
    return add_2(s, "Greater", "is_kept", wide, build_number(b, "nothing", 0.0));
}

/* The outputs that have a number, or a pair, for each token. */
static spry_status hide_outputs(skim *s)
{
    const rewrite *job = s->b.job;
    const graph *view = job->s;
    int64_t tokens = view->values[s->layers->items[0].x].type.dims[1].size;
    int32_t is_kept = add_is_kept(s);
    int32_t hidden = 0;
    spry_status status = s->b.status;

    for (int32_t i = 0; i < job->g->output_count && status == SPRY_OK; i++) {
        const graph_type *type = &view->values[job->g->outputs[i]].type;

        if (graph_type_is_static(type) && type->dtype == SPRY_DTYPE_F32 &&
            (type->rank == 2 || (type->rank == 3 && type->dims[2].size == 2)) &&
            type->dims[1].size == tokens && job->g->values[job->g->outputs[i]].producer >= 0) {
            status = hide_output(s, i, is_kept, type->rank);
            hidden++;
        }
    }
    return status == SPRY_OK && hidden == 0
               ? spry_fail(s->b.error, SPRY_UNSUPPORTED, job->m->path,
                           "give a model with start_logits and end_logits, or one output [N,T,2]",
                           "no output has logits for each token")
               : status;
}

/* Which blocks each layer computed, as [N, layers, K]. */
static spry_status add_all(skim *s, int32_t *report)
{
    graph *g = s->b.job->g;
    int32_t node;
    spry_status status = graph_add_value(g, BLOCK_SKIM_REPORT, report, s->b.error);

    if (status == SPRY_OK) {
        status = graph_add_node(g, "Concat", "", s->b.job->opset, s->computed_count, 1, &node,
                                s->b.error);
    }
    if (status != SPRY_OK) {
        return status;
    }
    g->nodes[node].name = g->values[*report].name;
    for (int32_t i = 0; i < s->computed_count; i++) {
        graph_set_input(g, node, i, s->computed[i]);
    }
    graph_set_output(g, node, 0, *report);
    return graph_set_int(g, node, "axis", 1, s->b.error);
}

/* That is one more output. */
static spry_status add_report(skim *s)
{
    graph *g = s->b.job->g;
    size_t count = (size_t)g->output_count + 1;
    int32_t *outputs = arena_array(g->memory, count, sizeof *outputs);
    int32_t report;
    spry_status status =
        outputs != NULL ? add_all(s, &report) : alloc_failed(s->b.error, count * sizeof *outputs);

    if (status != SPRY_OK) {
        return status;
    }
    g->values[report].is_output = true;
    memcpy(outputs, g->outputs, (count - 1) * sizeof *outputs);
    outputs[count - 1] = report;
    g->outputs = outputs;
    g->output_count = (int32_t)count;
    return SPRY_OK;
}

/* ---- the whole ---- */

static bool is_called(const char *port, const char *name)
{
    size_t length = strlen(name);

    return strncmp(port, name, length) == 0 &&
           (port[length] == '\0' || strcmp(port + length, ":0") == 0);
}

static int32_t find_segments(const graph *g)
{
    for (int32_t i = 0; i < g->input_count; i++) {
        const char *name = g->values[g->inputs[i]].name;

        if (is_called(name, "token_type_ids") || is_called(name, "segment_ids")) {
            return g->inputs[i];
        }
    }
    return GRAPH_NONE;
}

static spry_status check_model(const rewrite *job, const encoder_layers *found, spry_error *error)
{
    if (found->count < 2) {
        return spry_fail(error, SPRY_UNSUPPORTED, job->m->path,
                         "block-skim takes encoders such as BERT with two layers or more",
                         "%d encoder layers were found%s%s", (int)found->count,
                         found->missing != NULL ? ": " : "",
                         found->missing != NULL ? found->missing : "");
    }
    if (found->count < job->found.attention_count) {
        return spry_fail(error, SPRY_UNSUPPORTED, job->m->path,
                         "block-skim takes encoders whose layers follow one another",
                         "%d of %d attentions are no encoder layer: %s",
                         (int)(job->found.attention_count - found->count),
                         (int)job->found.attention_count, found->missing);
    }
    if (job->opset < SKIM_FUNCTION_OPSET) {
        return spry_fail(error, SPRY_UNSUPPORTED, job->m->path,
                         "export the model again with operator set 13 or later",
                         "block-skim needs operator set %d, the model has %d",
                         (int)SKIM_FUNCTION_OPSET, (int)job->opset);
    }
    for (int32_t i = 0; i < found->count; i++) {
        if (found->items[i].heads > SKIM_MOST_HEADS ||
            found->items[i].mask != found->items[0].mask) {
            return spry_fail(error, SPRY_UNSUPPORTED, job->m->path, NULL,
                             "layer %d has too many heads, or a mask of its own", (int)i);
        }
    }
    return SPRY_OK;
}

static spry_status take(void *context, int32_t node, int32_t port, int32_t id, spry_error *error)
{
    (void)node;
    (void)port;
    return rewrite_train(context, id, error);
}

static spry_status rewrite_layers(skim *s, int32_t segments)
{
    spry_status status;

    add_constants(s);
    add_bias(s);
    add_start(s, segments);
    status = s->b.status;
    for (int32_t i = 0; i < s->layers->count && status == SPRY_OK; i++) {
        status = replace_layer(s, i);
    }
    if (status == SPRY_OK) {
        status = hide_outputs(s);
    }
    return status == SPRY_OK ? add_report(s) : status;
}

static spry_status apply(rewrite *job, spry_error *error)
{
    encoder_layers found = {NULL, 0, NULL};
    int32_t segments = find_segments(job->g);
    skim s = {.b = {job, "skim", SPRY_OK, error}, .layers = &found};
    spry_status status = encoder_layers_find(job, &found, error);

    if (status == SPRY_OK) {
        status = check_model(job, &found, error);
    }
    if (status == SPRY_OK && segments == GRAPH_NONE) {
        status = spry_fail(error, SPRY_UNSUPPORTED, job->m->path,
                           "export the model with its input token_type_ids",
                           "nothing tells the question, which is never dropped, from the text");
    }
    if (status == SPRY_OK) {
        status = census_walk(job->g, take, job, error);
    }
    if (status == SPRY_OK) {
        status = skim_function_add(job->m, true, job->opset, error);
    }
    if (status == SPRY_OK) {
        status = skim_function_add(job->m, false, job->opset, error);
    }
    s.computed = arena_array(&job->memory, (size_t)found.count + 1, sizeof *s.computed);
    if (status == SPRY_OK && s.computed == NULL) {
        status = alloc_failed(error, (size_t)found.count * sizeof *s.computed);
    }
    return status == SPRY_OK ? rewrite_layers(&s, segments) : status;
}

const adapt_method adapt_method_block_skim = {
    .facts = {.name = "block-skim", .summary = "all weights, and what drops parts of a text"},
    .apply = apply,
    .needs_no_head = true,
};
