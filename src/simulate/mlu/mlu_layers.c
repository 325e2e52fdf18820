#include "simulate/mlu/mlu_layers.h"

#include <math.h>
#include <string.h>

#include "adapt/rewrite.h"
#include "base/alloc.h"

enum { IMAGE_RANK = 4, LINE_RANK = 3, FLAT_RANK = 2, MOST_INPUTS = 4 };

/* Which layer makes a value, if one does. */
typedef struct source {
    int32_t layer; /* -1: none */
    bool is_image; /* still in the layer's shape */
} source;

typedef struct job {
    mlu_layers *to;
    const graph *g;
    source *sources; /* by value */
    int64_t element_bytes;
    spry_error *error;
} job;

static bool is_listed(const graph_node *n, const char *const *list)
{
    for (; *list != NULL; list++) {
        if (graph_node_is(n, *list)) {
            return true;
        }
    }
    return false;
}

/* ---- sizes ---- */

/* Channels, height, width of a value; a line is as high as it is long, a matrix has rows. */
static bool read_image(const graph *g, int32_t id, int64_t size[3])
{
    const graph_type *t = id != GRAPH_NONE ? &g->values[id].type : NULL;

    if (t == NULL || t->kind != GRAPH_TYPE_TENSOR || !t->has_rank) {
        return false;
    }
    for (int i = 0; i < t->rank; i++) {
        if (t->dims[i].size < 1) {
            return false;
        }
    }
    size[0] = size[1] = size[2] = 1;
    if (t->rank == IMAGE_RANK || t->rank == LINE_RANK) {
        for (int i = 1; i < t->rank; i++) {
            size[i - 1] = t->dims[i].size;
        }
        size[0] *= t->dims[0].size;
    } else if (t->rank > 0) {
        size[0] = t->dims[t->rank - 1].size;
        for (int i = 0; i < t->rank - 1; i++) {
            size[1] *= t->dims[i].size;
        }
    }
    return true;
}

static int64_t at(const graph_node *n, const char *name, int index, int64_t fallback)
{
    int64_t count = 0;
    const int64_t *items = graph_attribute_ints(n, name, &count);

    return items != NULL && index < count ? items[index] : fallback;
}

static double count_of(const graph *g, int32_t id)
{
    int64_t size[3];

    return id != GRAPH_NONE && read_image(g, id, size)
               ? (double)size[0] * (double)size[1] * (double)size[2]
               : 0;
}

static spry_status refuse(const job *j, const graph_node *n)
{
    char label[256];

    return spry_fail(j->error, SPRY_UNSUPPORTED, graph_node_label(j->g, n, label, sizeof label),
                     "give the model fixed sizes: spry quantize --set, or export it with them",
                     "its sizes are not known before it runs");
}

/* ---- what a node is ---- */

static const char *const convolutions[] = {"Conv",        "ConvTranspose", "FusedConv",
                                           "ConvInteger", "QLinearConv",   NULL};
static const char *const products[] = {"Gemm", "MatMul", "MatMulInteger", "QLinearMatMul", NULL};
static const char *const pools[] = {"MaxPool", "AveragePool", NULL};
static const char *const sums[] = {"Add", "Sum", "QLinearAdd", NULL};
static const char *const reshapes[] = {"Reshape", "Flatten", "Squeeze", "Unsqueeze", NULL};

/* Layers whose results a node reads, each once; returns how many. */
static int32_t layers_read(const job *j, const graph_node *n, int32_t found[MOST_INPUTS],
                           bool *as_images)
{
    int32_t count = 0;

    *as_images = true;
    for (int32_t i = 0; i < n->input_count; i++) {
        int32_t id = n->inputs[i];
        bool is_new = id != GRAPH_NONE && j->sources[id].layer >= 0;

        for (int32_t k = 0; k < count && is_new; k++) {
            is_new = found[k] != j->sources[id].layer;
        }
        if (is_new && count < MOST_INPUTS) {
            found[count++] = j->sources[id].layer;
        }
        if (id != GRAPH_NONE && j->sources[id].layer >= 0) {
            *as_images = *as_images && j->sources[id].is_image;
        }
    }
    return count;
}

/* Does the node only change each element of one layer's result? */
static bool is_tail(const job *j, const graph_node *n, int32_t read_count)
{
    int64_t in[3];
    int64_t out[3];
    bool is_pointwise = n->op != NULL && n->output_count >= 1 && !is_listed(n, convolutions) &&
                        !is_listed(n, products) && !is_listed(n, pools);
    static const char *const others[] = {"Softmax", "Transpose",          "LogSoftmax",
                                         "LRN",     "LayerNormalization", NULL};
    int32_t port = 0;

    if (!is_pointwise || read_count != 1 || is_listed(n, others)) {
        return false;
    }
    if (is_listed(n, reshapes)) {
        return true;
    }
    while (n->inputs[port] == GRAPH_NONE || j->sources[n->inputs[port]].layer < 0) {
        port++; /* one of them is a layer's */
    }
    return read_image(j->g, n->inputs[port], in) && read_image(j->g, n->outputs[0], out) &&
           memcmp(in, out, sizeof in) == 0;
}

static void describe_window(const graph_node *n, spry_layer *l, const graph *g, int weights)
{
    int64_t shape[3];
    bool is_conv = weights >= 0 && read_image(g, n->inputs[weights], shape);

    for (int a = 0; a < 2; a++) {
        l->kernel[a] = at(n, "kernel_shape", a, is_conv ? shape[a + 1] : 1);
        l->stride[a] = at(n, "strides", a, 1);
        l->dilation[a] = at(n, "dilations", a, 1);
        l->pad[a] = at(n, "pads", a, 0);
        if (strcmp(graph_attribute_string(n, "auto_pad", "NOTSET"), "NOTSET") != 0) {
            int64_t span = l->dilation[a] * (l->kernel[a] - 1) + 1;
            int64_t pads = (l->out[a + 1] - 1) * l->stride[a] + span - l->in[a + 1];

            l->pad[a] = pads > 0 ? pads / 2 : 0;
        }
    }
}

/* macs, window and whether it may stand in a block. */
static void describe(const job *j, const graph_node *n, spry_layer *l)
{
    double out = (double)l->out[0] * (double)l->out[1] * (double)l->out[2];

    for (int a = 0; a < 2; a++) {
        l->kernel[a] = l->stride[a] = l->dilation[a] = 1;
    }
    l->groups = 1;
    if (is_listed(n, convolutions)) {
        int weights = graph_node_is(n, "QLinearConv") ? 3 : 1;

        l->groups = graph_attribute_int(n, "group", 1);
        describe_window(n, l, j->g, weights);
        l->macs = (int64_t)(out * (double)l->kernel[0] * (double)l->kernel[1] * (double)l->in[0] /
                            (double)l->groups);
        l->weight_bytes = (int64_t)count_of(j->g, n->inputs[weights]) * j->element_bytes;
        l->can_stream = l->can_stream && !graph_node_is(n, "ConvTranspose");
    } else if (is_listed(n, products)) {
        int weights = graph_node_is(n, "QLinearMatMul") ? 3 : 1;
        const graph_type *type = &j->g->values[n->inputs[0]].type;
        int summed = type->rank - 1 - (graph_attribute_int(n, "transA", 0) != 0);
        bool is_constant = graph_constant(j->g, n->inputs[weights]) != NULL;

        l->macs = (int64_t)(out * (summed >= 0 ? (double)type->dims[summed].size : 1));
        l->weight_bytes =
            is_constant ? (int64_t)count_of(j->g, n->inputs[weights]) * j->element_bytes : 0;
        l->can_stream = false;
    } else if (is_listed(n, pools)) {
        describe_window(n, l, j->g, -1);
        l->macs = (int64_t)(out * (double)(l->kernel[0] * l->kernel[1]) / 2);
    } else if (is_listed(n, sums)) {
        l->macs = (int64_t)(out / 2);
        l->can_stream = l->can_stream && memcmp(l->in, l->out, sizeof l->in) == 0;
    } else {
        l->macs = (int64_t)(out / 2);
        l->can_stream = false;
    }
}

static spry_status add_layer(job *j, const graph_node *n)
{
    spry_layer *l = &j->to->items[j->to->count];
    bool as_images;
    const char *name = j->g->values[n->outputs[0]].name;
    spry_layer made = {.element_bytes = (int32_t)j->element_bytes};
    int32_t read = layers_read(j, n, made.inputs, &as_images);
    const graph_type *type = &j->g->values[n->outputs[0]].type;

    if (!read_image(j->g, n->inputs[0], made.in) || !read_image(j->g, n->outputs[0], made.out)) {
        return refuse(j, n);
    }
    made.name = arena_text(&j->to->memory, name, strlen(name)); /* the model's may go first */
    made.type = arena_text(&j->to->memory, n->type, strlen(n->type));
    if (made.name == NULL || made.type == NULL) {
        return alloc_failed(j->error, strlen(name) + 1);
    }
    made.input_count = read > 0 ? read : 1;
    made.inputs[0] = read > 0 ? made.inputs[0] : -1;
    made.can_stream = as_images && type->has_rank && type->rank >= LINE_RANK;
    describe(j, n, &made);
    for (int32_t k = 0; k < read; k++) {
        j->to->items[made.inputs[k]].readers++;
    }
    *l = made;
    for (int32_t i = 0; i < n->output_count; i++) {
        if (n->outputs[i] != GRAPH_NONE) {
            j->sources[n->outputs[i]] = (source){j->to->count, true};
            l->is_output = l->is_output || j->g->values[n->outputs[i]].is_output;
        }
    }
    j->to->count++;
    return SPRY_OK;
}

static spry_status collect(job *j)
{
    spry_status status = SPRY_OK;

    for (int32_t i = 0; status == SPRY_OK && i < j->g->node_count; i++) {
        const graph_node *n = &j->g->nodes[i];
        int32_t found[MOST_INPUTS];
        bool as_images;
        int32_t read;
        bool is_work;

        if (n->removed || n->input_count == 0 || n->inputs[0] == GRAPH_NONE ||
            n->outputs[0] == GRAPH_NONE) {
            continue;
        }
        read = layers_read(j, n, found, &as_images);
        is_work = is_listed(n, convolutions) || is_listed(n, products) || is_listed(n, pools);
        if (is_tail(j, n, read)) {
            int32_t layer = found[0];

            j->sources[n->outputs[0]] = (source){layer, as_images && !is_listed(n, reshapes)};
            j->to->items[layer].is_output =
                j->to->items[layer].is_output || j->g->values[n->outputs[0]].is_output;
        } else if (is_work || read > 0) {
            status = j->to->count < FUSION_LAYERS_MOST
                         ? add_layer(j, n)
                         : spry_fail(j->error, SPRY_LIMIT, "layers", NULL, "more than %d",
                                     (int)FUSION_LAYERS_MOST);
        } /* else: what becomes of an input before the first layer */
    }
    return status;
}

spry_status mlu_layers_of_model(mlu_layers *l, const spry_model *m, int64_t element_bytes,
                                spry_error *error)
{
    job j = {.to = l, .element_bytes = element_bytes, .error = error};
    graph *g = NULL;
    spry_status status;

    *l = (mlu_layers){0};
    arena_init(&l->memory, &m->allocator, SIZE_MAX);
    status = rewrite_look(m, &l->memory, &g, error);
    if (status != SPRY_OK) {
        return status;
    }
    j.g = g;
    l->items = arena_array(&l->memory, (size_t)g->node_count + 1, sizeof *l->items);
    j.sources = arena_array(&l->memory, (size_t)g->value_count + 1, sizeof *j.sources);
    if (l->items == NULL || j.sources == NULL) {
        return alloc_failed(error, (size_t)g->node_count * sizeof *l->items);
    }
    for (int32_t i = 0; i < g->value_count; i++) {
        j.sources[i] = (source){-1, true};
    }
    status = collect(&j);
    if (status == SPRY_OK && l->count == 0) {
        return spry_fail(error, SPRY_UNSUPPORTED, m->path, NULL,
                         "it has no convolution and no matrix product");
    }
    return status;
}

void mlu_layers_fini(mlu_layers *l)
{
    arena_fini(&l->memory);
    l->items = NULL;
    l->count = 0;
}
