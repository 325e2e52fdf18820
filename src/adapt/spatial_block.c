/* From the sum that closes a block back along its branch. */
#include "adapt/spatial_block.h"

#include "base/alloc.h"
#include "model/match.h"
#include "ops/op.h"
#include "tensor/tensor.h"

enum { IMAGE_RANK = 4, MOST_STEPS = 16 };

/* A batch of images in f32 of known size. */
static bool is_image(const graph *g, int32_t id)
{
    const graph_type *type = id != GRAPH_NONE ? &g->values[id].type : NULL;

    return type != NULL && graph_type_is_static(type) && type->rank == IMAGE_RANK &&
           type->dtype == SPRY_DTYPE_F32 && op_work_count(type) > 0;
}

const graph_node *spatial_conv(const graph *g, int32_t id)
{
    const graph_node *n = match_producer(g, id, "Conv");
    const tensor *w = n != NULL ? graph_constant(g, n->inputs[1]) : NULL;

    return w != NULL && w->dtype == SPRY_DTYPE_F32 && w->rank == IMAGE_RANK ? n : NULL;
}

double spatial_conv_macs(const graph *g, int32_t id)
{
    const tensor *w = graph_constant(g, g->nodes[g->values[id].producer].inputs[1]);

    return w->shape[0] > 0 ? (double)op_work_count(&g->values[id].type) *
                                 (double)(tensor_count(w) / w->shape[0])
                           : 0.0;
}

/* The input of the node that is no constant, where there is just one; else GRAPH_NONE. */
static int32_t only_stream(const graph *g, const graph_node *n)
{
    int32_t found = GRAPH_NONE;

    for (int32_t i = 0; i < n->input_count; i++) {
        if (n->inputs[i] == GRAPH_NONE || graph_constant(g, n->inputs[i]) != NULL) {
            continue;
        }
        if (found != GRAPH_NONE) {
            return GRAPH_NONE;
        }
        found = n->inputs[i];
    }
    return found;
}

bool spatial_comes_from(const graph *g, int32_t id, int32_t x, double *macs)
{
    for (int step = 0; id != GRAPH_NONE && id != x && step < MOST_STEPS; step++) {
        int32_t producer = g->values[id].producer;

        if (producer == GRAPH_NONE) {
            return false;
        }
        if (spatial_conv(g, id) != NULL && graph_type_is_static(&g->values[id].type)) {
            *macs += spatial_conv_macs(g, id);
        }
        id = only_stream(g, &g->nodes[producer]);
    }
    return id == x;
}

typedef struct finder {
    const graph *g;
    const graph_uses *uses;
} finder;

/* Asking for the shape is no use. */
static bool is_used_once(const finder *f, int32_t id)
{
    int count = 0;

    for (int32_t i = f->uses->offsets[id]; i < f->uses->offsets[id + 1]; i++) {
        const graph_node *user = &f->g->nodes[f->uses->users[i]];

        count += !user->removed && !graph_node_is(user, "Shape");
    }
    return count == 1 && !f->g->values[id].is_output;
}

/* Along both axes; 0 where these differ. */
static int64_t stride_of(const graph_node *conv)
{
    int64_t count;
    const int64_t *strides = graph_attribute_ints(conv, "strides", &count);

    if (strides == NULL || count != 2) {
        return 1;
    }
    return strides[0] == strides[1] ? strides[0] : 0;
}

/* The convolutions from `id` back to the block's input, the last first; true where there are as
 * many as a block has. */
static bool read_branch(const finder *f, int32_t id, spatial_block *b)
{
    int32_t backwards[SPATIAL_CONVS];
    int count = 0;
    bool goes_on = true;

    while (goes_on) {
        const graph_node *conv = id != GRAPH_NONE ? spatial_conv(f->g, id) : NULL;
        const graph_node *relu;

        if (conv == NULL || count == SPATIAL_CONVS || !is_used_once(f, id) || !is_image(f->g, id)) {
            return false;
        }
        backwards[count++] = id;
        b->stride *= stride_of(conv);
        b->is_grouped = b->is_grouped || graph_attribute_int(conv, "group", 1) > 1;
        b->x = conv->inputs[0];
        relu = match_producer(f->g, b->x, "Relu");
        goes_on = relu != NULL && is_used_once(f, b->x);
        id = goes_on ? relu->inputs[0] : GRAPH_NONE;
    }
    for (int i = 0; i < count; i++) {
        b->convs[i] = backwards[count - 1 - i];
    }
    b->conv_count = count;
    return count >= 2 && is_image(f->g, b->x);
}

static bool divides_up(int64_t input, int64_t stride, int64_t output)
{
    return (input + stride - 1) / stride == output;
}

/* Sizes, which must be those of a map that is thinned out evenly. */
static bool read_sizes(const graph *g, spatial_block *b)
{
    const graph_dim *x = g->values[b->x].type.dims;
    const graph_dim *y = g->values[b->y].type.dims;
    double macs = 0;

    b->channels = x[1].size;
    b->height = y[2].size;
    b->width = y[3].size;
    b->from_height = x[2].size;
    b->from_width = x[3].size;
    return b->stride > 0 && divides_up(b->from_height, b->stride, b->height) &&
           divides_up(b->from_width, b->stride, b->width) &&
           graph_type_same(&g->values[b->shortcut].type, &g->values[b->sum].type) &&
           spatial_comes_from(g, b->shortcut, b->x, &macs);
}

/* The branch without its mask, which is put into the block. */
static int32_t strip_mask(const finder *f, int32_t id, spatial_block *b)
{
    const graph_node *n = match_producer(f->g, id, "Mul");

    b->map = GRAPH_NONE;
    for (int side = 0; n != NULL && n->input_count == 2 && side < 2; side++) {
        if (match_producer(f->g, n->inputs[side], "Resize") != NULL) {
            b->map = n->inputs[side];
            return is_used_once(f, id) ? n->inputs[!side] : GRAPH_NONE;
        }
    }
    return id;
}

/* The block that the Relu closes. */
static bool read_block(const finder *f, const graph_node *relu, spatial_block *b)
{
    const graph *g = f->g;
    const graph_node *sum =
        graph_node_is(relu, "Relu") ? match_producer(g, relu->inputs[0], "Add") : NULL;

    if (sum == NULL || sum->input_count != 2 || !is_used_once(f, relu->inputs[0]) ||
        !is_image(g, relu->outputs[0])) {
        return false;
    }
    for (int side = 0; side < 2; side++) {
        *b = (spatial_block){.sum = relu->inputs[0],
                             .y = relu->outputs[0],
                             .stride = 1,
                             .shortcut = sum->inputs[!side]};
        if (read_branch(f, strip_mask(f, sum->inputs[side], b), b) && read_sizes(g, b)) {
            return true;
        }
    }
    return false;
}

spry_status spatial_blocks_find(const graph *g, const graph_uses *uses, arena *memory,
                                spatial_blocks *found, spry_error *error)
{
    const finder f = {g, uses};

    *found = (spatial_blocks){
        .items = arena_array(memory, (size_t)g->node_count + 1, sizeof *found->items)};
    if (found->items == NULL) {
        return alloc_failed(error, (size_t)g->node_count * sizeof *found->items);
    }
    for (int32_t i = 0; i < g->node_count; i++) {
        spatial_block *b = &found->items[found->count];
        const spatial_block *last = found->count > 0 ? b - 1 : NULL;

        if (g->nodes[i].removed || !read_block(&f, &g->nodes[i], b)) {
            continue;
        }
        if (last == NULL || last->height != b->height || last->width != b->width) {
            found->stage_count++;
        }
        b->stage = found->stage_count - 1;
        found->count++;
    }
    return SPRY_OK;
}
