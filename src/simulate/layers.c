#include "simulate/layers.h"

#include <string.h>

#include "adapt/rewrite.h"
#include "ops/sliding_window.h"

enum { IMAGE_RANK = 4, LINE_RANK = 3 };

int64_t simulate_layer_pixels(const simulate_layer *l)
{
    return l->images * l->out_height * l->out_width;
}

bool simulate_layers_are_alike(const simulate_layer *a, const simulate_layer *b)
{
    return a->images == b->images && a->in_height == b->in_height && a->in_width == b->in_width &&
           a->channels == b->channels && a->out_height == b->out_height &&
           a->out_width == b->out_width && a->filters == b->filters &&
           a->kernel_height == b->kernel_height && a->kernel_width == b->kernel_width &&
           a->stride_height == b->stride_height && a->stride_width == b->stride_width &&
           a->dilation_height == b->dilation_height && a->dilation_width == b->dilation_width &&
           a->groups == b->groups;
}

double simulate_layer_macs(const simulate_layer *l)
{
    return (double)simulate_layer_pixels(l) * (double)l->kernel_height * (double)l->kernel_width *
           (double)l->channels * (double)l->filters / (double)l->groups;
}

/* Which inputs of an operator are the two sides of its product. */
typedef struct product_type {
    const char *name;
    int left, right;
    int bias; /* 0: none */
    bool is_conv;
} product_type;

static const product_type product_types[] = {
    {"Conv", 0, 1, 2, true},           {"ConvInteger", 0, 1, 0, true},
    {"FusedConv", 0, 1, 2, true},      {"QLinearConv", 0, 3, 0, true},
    {"MatMul", 0, 1, 0, false},        {"MatMulInteger", 0, 1, 0, false},
    {"QLinearMatMul", 0, 3, 0, false}, {"Gemm", 0, 1, 2, false},
};

static const product_type *product_of(const graph_node *n)
{
    for (size_t i = 0; i < sizeof product_types / sizeof *product_types; i++) {
        if (graph_node_is(n, product_types[i].name)) {
            return &product_types[i];
        }
    }
    return NULL;
}

/* The sizes of a value that is a tensor, all known and positive; NULL otherwise. */
static const graph_dim *sizes_of(const graph *g, int32_t id, int *rank)
{
    const graph_type *t = id != GRAPH_NONE ? &g->values[id].type : NULL;

    if (t == NULL || t->kind != GRAPH_TYPE_TENSOR || !t->has_rank) {
        return NULL;
    }
    for (int i = 0; i < t->rank; i++) {
        if (t->dims[i].size < 1) {
            return NULL;
        }
    }
    *rank = t->rank;
    return t->dims;
}

static spry_status refuse(const simulate_layer *l, const char *what, spry_error *error)
{
    return spry_fail(error, SPRY_UNSUPPORTED, l->name, NULL, "%s", what);
}

/* Strides, dilations and padding, whichever way the node says them. */
static bool read_window(const graph_node *n, simulate_layer *l, bool is_line)
{
    int64_t in[2] = {is_line ? l->in_width : l->in_height, l->in_width};
    int64_t kernel[2] = {is_line ? l->kernel_width : l->kernel_height, l->kernel_width};
    int last = is_line ? 0 : 1;
    const char *reason;
    window w;

    if (!window_from_node(n, is_line ? 1 : 2, in, kernel, false, &w, &reason)) {
        return false;
    }
    l->stride_height = is_line ? 1 : w.stride[0];
    l->stride_width = w.stride[last];
    l->dilation_height = is_line ? 1 : w.dilation[0];
    l->dilation_width = w.dilation[last];
    l->pad_top = is_line ? 0 : w.pad_begin[0];
    l->pad_left = w.pad_begin[last];
    return true;
}

static spry_status describe_conv(const graph *g, const graph_node *n, const product_type *type,
                                 simulate_layer *l, spry_error *error)
{
    int ranks[3] = {0};
    const graph_dim *x = sizes_of(g, structure_input(n, type->left), &ranks[0]);
    const graph_dim *w = sizes_of(g, structure_input(n, type->right), &ranks[1]);
    const graph_dim *y = sizes_of(g, n->outputs[0], &ranks[2]);
    bool is_line = ranks[0] == LINE_RANK;

    if (x == NULL || w == NULL || y == NULL || ranks[0] != ranks[1] || ranks[0] != ranks[2]) {
        return refuse(l, "its sizes are not known", error);
    }
    if (ranks[0] != IMAGE_RANK && !is_line) {
        return refuse(l, "only convolutions of images and of lines are modelled", error);
    }
    l->images = x[0].size;
    l->channels = x[1].size;
    l->filters = y[1].size;
    l->groups = graph_attribute_int(n, "group", 1);
    l->in_height = is_line ? 1 : x[2].size;
    l->in_width = x[ranks[0] - 1].size;
    l->out_height = is_line ? 1 : y[2].size;
    l->out_width = y[ranks[0] - 1].size;
    l->kernel_height = is_line ? 1 : w[2].size;
    l->kernel_width = w[ranks[0] - 1].size;
    if (!read_window(n, l, is_line)) {
        return refuse(l, "its window has unusable sizes", error);
    }
    return l->groups >= 1 && l->channels % l->groups == 0 && l->filters % l->groups == 0
               ? SPRY_OK
               : refuse(l, "its groups do not divide its channels", error);
}

static int64_t product_of_sizes(const graph_dim *dims, int count)
{
    int64_t product = 1;

    for (int i = 0; i < count; i++) {
        product *= dims[i].size;
    }
    return product;
}

/* Products of a stack of matrices with one matrix are one product of all their rows; with a stack
 * on both sides, each pair is a group of its own. */
static spry_status describe_product(const graph *g, const graph_node *n, const product_type *type,
                                    simulate_layer *l, spry_error *error)
{
    int ranks[3] = {0};
    const graph_dim *a = sizes_of(g, structure_input(n, type->left), &ranks[0]);
    const graph_dim *b = sizes_of(g, structure_input(n, type->right), &ranks[1]);
    const graph_dim *y = sizes_of(g, n->outputs[0], &ranks[2]);
    bool is_flipped = graph_attribute_int(n, "transA", 0) != 0;
    int64_t stack;
    int64_t rows;
    int64_t depth;

    if (a == NULL || b == NULL || y == NULL || ranks[0] < 1 || ranks[1] < 1) {
        return refuse(l, "its sizes are not known", error);
    }
    depth = a[ranks[0] - (is_flipped ? 2 : 1)].size;
    stack = ranks[1] > 2 ? product_of_sizes(b, ranks[1] - 2) : 1;
    rows = product_of_sizes(a, ranks[0]) / depth;
    /* The left side may be one for all. */
    rows = rows % stack == 0 && ranks[0] > 2 ? rows / stack : rows;
    *l = (simulate_layer){
        .name = l->name,
        .left = l->left,
        .right = l->right,
        .result = l->result,
        .bias = l->bias,
        .is_scaled = graph_attribute_float(n, "alpha", 1.0F) != 1.0F ||
                     graph_attribute_float(n, "beta", 1.0F) != 1.0F,
        .left_is_flipped = is_flipped,
        .right_is_flipped = graph_attribute_int(n, "transB", 0) != 0,
        .images = 1,
        .in_height = 1,
        .in_width = rows,
        .channels = depth * stack,
        .out_height = 1,
        .out_width = rows,
        .filters = (ranks[1] > 1 ? product_of_sizes(y, ranks[2]) / (rows * stack) : 1) * stack,
        .kernel_height = 1,
        .kernel_width = 1,
        .stride_height = 1,
        .stride_width = 1,
        .dilation_height = 1,
        .dilation_width = 1,
        .groups = stack};
    return SPRY_OK;
}

/* The model's own may go before the list does. */
static bool keep_names(simulate_layers *l, const graph *g, const graph_node *n,
                       const product_type *type, simulate_layer *made)
{
    const char *result = g->values[n->outputs[0]].name;
    const char *left = g->values[n->inputs[type->left]].name;
    const char *right = g->values[n->inputs[type->right]].name;
    int32_t bias = type->bias > 0 ? structure_input(n, type->bias) : GRAPH_NONE;

    made->result = arena_text(&l->memory, result, strlen(result));
    made->left = arena_text(&l->memory, left, strlen(left));
    made->right = arena_text(&l->memory, right, strlen(right));
    made->name =
        n->name[0] != '\0' ? arena_text(&l->memory, n->name, strlen(n->name)) : made->result;
    if (bias != GRAPH_NONE) {
        made->bias = arena_text(&l->memory, g->values[bias].name, strlen(g->values[bias].name));
    }
    return made->result != NULL && made->left != NULL && made->right != NULL &&
           made->name != NULL && (bias == GRAPH_NONE) == (made->bias == NULL);
}

static spry_status collect(simulate_layers *l, const graph *g, spry_error *error)
{
    spry_status status = SPRY_OK;

    for (int32_t i = 0; status == SPRY_OK && i < g->node_count; i++) {
        const graph_node *n = &g->nodes[i];
        const product_type *type = n->removed ? NULL : product_of(n);
        simulate_layer *made = &l->items[l->count];

        if (type == NULL) {
            l->left_out += !n->removed;
            continue;
        }
        *made = (simulate_layer){.is_conv = type->is_conv};
        if (!keep_names(l, g, n, type, made)) {
            return spry_fail(error, SPRY_LIMIT, "layers", NULL, "no memory for %d", l->count);
        }
        status = type->is_conv ? describe_conv(g, n, type, made, error)
                               : describe_product(g, n, type, made, error);
        l->count++;
    }
    return status;
}

spry_status simulate_layers_of_model(simulate_layers *l, const spry_model *m, spry_error *error)
{
    graph *g = NULL;
    spry_status status;

    *l = (simulate_layers){0};
    arena_init(&l->memory, &m->allocator, SIZE_MAX);
    status = rewrite_look(m, &l->memory, &g, error);
    if (status != SPRY_OK) {
        return status;
    }
    l->items = arena_array(&l->memory, (size_t)g->node_count + 1, sizeof *l->items);
    if (l->items == NULL) {
        return spry_fail(error, SPRY_LIMIT, m->path, NULL, "no memory for %d layers",
                         g->node_count);
    }
    status = collect(l, g, error);
    if (status == SPRY_OK && l->count == 0) {
        return spry_fail(error, SPRY_UNSUPPORTED, m->path, NULL,
                         "it has no convolution and no matrix product");
    }
    return status;
}

void simulate_layers_batch(simulate_layers *l, int64_t images)
{
    for (int32_t i = 0; i < l->count; i++) {
        simulate_layer *it = &l->items[i];

        if (it->is_conv) {
            it->images *= images;
        } else if (it->groups == 1) { /* more rows for the same weights */
            it->in_width *= images;
            it->out_width *= images;
        } else { /* more pairs of matrices */
            it->groups *= images;
            it->channels *= images;
            it->filters *= images;
        }
    }
}

void simulate_layers_fini(simulate_layers *l)
{
    arena_fini(&l->memory);
    l->items = NULL;
    l->count = 0;
}
