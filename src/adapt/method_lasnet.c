/* Blocks that compute only where it matters: every residual block of a convolutional network gets a
 * masker, which sees the block's input averaged over cells of S x S pixels of its map and keeps or
 * skips each (LASNet: Han and others, arXiv 2210.06223). All weights are trained. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "adapt/build.h"
#include "adapt/census.h"
#include "adapt/method.h"
#include "adapt/spatial_block.h"
#include "adapt/spatial_function.h"
#include "base/alloc.h"

enum { MOST_STAGES = 64, MOST_SIDE = 4096 };

static const char *const usual_granularity = "4-4-2-1";
static const double usual_bias = 5.0, grouped_bias = 10.0;

/* ---- granularity ---- */

bool lasnet_read_granularity(const char *text, int64_t *sides, int *count)
{
    *count = 0;
    for (const char *at = text; *count < MOST_STAGES; at++) {
        char *end = NULL;
        long side = strtol(at, &end, 10);

        if (end == at || *at == '-' || *at == '+' || side < 1 || side > MOST_SIDE) {
            return false;
        }
        sides[(*count)++] = side;
        at = end;
        if (*at == '\0') {
            return true;
        }
        if (*at != '-') {
            return false;
        }
    }
    return false;
}

/* ---- one block ---- */

/* The operand of the file's node that computes `id`. */
static int32_t operand(const rewrite *job, int32_t id, int32_t port)
{
    const graph_node *n = &job->g->nodes[job->g->values[id].producer];

    return port < n->input_count ? n->inputs[port] : GRAPH_NONE;
}

/* The convolutions' weights and biases behind `count` inputs; returns how many there are then. */
static spry_status add_weights(rewrite *job, const spatial_block *block, int32_t *inputs,
                               int32_t *count, spry_error *error)
{
    spry_status status = SPRY_OK;

    for (int i = 0; i < block->conv_count && status == SPRY_OK; i++) {
        status = rewrite_parameter(job, block->convs[i], 1, &inputs[*count], error);
        (*count)++;
        if (status == SPRY_OK && operand(job, block->convs[i], 2) != GRAPH_NONE) {
            status = rewrite_parameter(job, block->convs[i], 2, &inputs[*count], error);
            (*count)++;
        }
    }
    return status;
}

/* The masker's weights: it keeps nearly everything at first, so that training begins with the
 * network as it was. */
static void add_masker(build *b, const spatial_block *block, int32_t *inputs)
{
    double bias = b->job->options.masker_bias;
    const int64_t shape[] = {2, block->channels, 1, 1};
    float start[] = {0, 0};

    if (bias == 0) {
        bias = block->is_grouped ? grouped_bias : usual_bias;
    }
    start[0] = (float)bias;
    inputs[2] = build_uniform(b, "masker_weight", 4, shape, 1.0 / sqrt((double)block->channels));
    inputs[3] = build_parameter(b, "masker_bias", 1, (const int64_t[]){2}, start);
}

/* The call of the function takes the place of the block's last node. */
static spry_status replace_block(rewrite *job, const spatial_block *block, int64_t side,
                                 spry_error *error)
{
    enum { MOST_INPUTS = 4 + 2 * SPATIAL_CONVS };
    build b = build_beside(job, block->sum, error);
    spatial_cell cell = spatial_cell_of(block, side);
    int32_t inputs[MOST_INPUTS] = {block->x, block->shortcut};
    int32_t count = 4;
    int32_t last = job->g->values[block->y].producer;
    int32_t node;
    const char *name = NULL;
    spry_status status;

    add_masker(&b, block, inputs);
    status = b.status;
    if (status == SPRY_OK) {
        status = add_weights(job, block, inputs, &count, error);
    }
    if (status == SPRY_OK) {
        status = spatial_function_add(job->m, job->s, block, &cell, &name, error);
    }
    if (status == SPRY_OK) {
        status = graph_add_node(job->g, name, "ai.spry", 1, count, 1, &node, error);
    }
    if (status != SPRY_OK) {
        return status;
    }
    job->g->nodes[node].name = graph_text(job->g, b.base);
    graph_remove_node(job->g, job->g->values[block->sum].producer);
    graph_remove_node(job->g, last);
    for (int32_t i = 0; i < count; i++) {
        graph_set_input(job->g, node, i, inputs[i]);
    }
    graph_set_output(job->g, node, 0, block->y);
    return rewrite_mention(job, block->y, error);
}

/* ---- the whole ---- */

static spry_status take(void *context, int32_t node, int32_t port, int32_t id, spry_error *error)
{
    (void)node;
    (void)port;
    return rewrite_train(context, id, error);
}

static spry_status check_model(const rewrite *job, const spatial_blocks *found, spry_error *error)
{
    if (found->count == 0) {
        return spry_fail(error, SPRY_UNSUPPORTED, job->m->path,
                         "lasnet takes networks such as ResNet and RegNetX",
                         "no residual blocks: nowhere are two or three convolutions, with Relu "
                         "between them, added to what they started from and followed by Relu");
    }
    if (job->opset < SPATIAL_OPSET) {
        return spry_fail(error, SPRY_UNSUPPORTED, job->m->path,
                         "export the model again with operator set 13 or later",
                         "masks need operator set %d, the model has %d", (int)SPATIAL_OPSET,
                         (int)job->opset);
    }
    return SPRY_OK;
}

static spry_status apply(rewrite *job, spry_error *error)
{
    const char *text = job->options.granularity != NULL && job->options.granularity[0] != '\0'
                           ? job->options.granularity
                           : usual_granularity;
    int64_t sides[MOST_STAGES];
    int side_count;
    spatial_blocks found;
    spry_status status;

    if (!lasnet_read_granularity(text, sides, &side_count)) {
        return spry_fail(error, SPRY_USAGE, "granularity",
                         "sides of cells by stage, 1 to 4096: for example 4-4-2-1",
                         "'%s' is no list of sides", text);
    }
    status = spatial_blocks_find(job->s, &job->uses, &job->memory, &found, error);
    if (status == SPRY_OK) {
        status = check_model(job, &found, error);
    }
    if (status == SPRY_OK) {
        status = census_walk(job->g, take, job, error);
    }
    for (int32_t i = 0; i < found.count && status == SPRY_OK; i++) {
        int stage = found.items[i].stage < side_count ? found.items[i].stage : side_count - 1;

        status = replace_block(job, &found.items[i], sides[stage], error);
    }
    return status;
}

const adapt_method adapt_method_lasnet = {
    .facts = {.name = "lasnet", .summary = "all weights, and masks that skip parts of images"},
    .apply = apply,
    .needs_no_head = true,
    .folds_norms = true,
};
