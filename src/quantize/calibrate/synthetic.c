/* Noise by the recipe of the inputs. */
#include "quantize/calibrate/synthetic.h"

#include <string.h>

#include "base/alloc.h"
#include "spry/random.h"
#include "tensor/tensor.h"

enum { SEED = 2202, SCALES = 6 };

static const double WHITE = 255.0; /* the largest pixel */

/* One sample, seen as [channels][height][width] with these distances between elements. */
typedef struct plane {
    int64_t channels, height, width;
    int64_t channel_stride, row_stride, pixel_stride;
} plane;

static bool has_channels(int64_t size)
{
    return size == 1 || size == 3 || size == 4;
}

static plane plane_of(const spry_port *input, const spry_preprocess *recipe)
{
    const int64_t *shape = input->shape;
    plane p = {.channels = 1, .height = 1, .width = 1, .pixel_stride = 1};

    if (input->rank != 4) {
        for (int i = 1; i < input->rank; i++) {
            p.width *= shape[i];
        }
        return p;
    }
    if (recipe->layout == SPRY_LAYOUT_NHWC ||
        (recipe->layout == SPRY_LAYOUT_AUTO && !has_channels(shape[1]) && has_channels(shape[3]))) {
        return (plane){shape[3], shape[1], shape[2], 1, shape[2] * shape[3], shape[3]};
    }
    return (plane){shape[1], shape[2], shape[3], shape[2] * shape[3], shape[3], 1};
}

static float draw(const spry_preprocess *recipe, int64_t channel, spry_random *random)
{
    int64_t last = recipe->statistics - 1;
    int64_t index = channel < last ? channel : last;
    double mean = recipe->mean[index];
    double low = (0.0 - mean) / recipe->std[index];
    double high = (WHITE * recipe->scale - mean) / recipe->std[index];
    double x;

    if (mean == 0.0) {
        return (float)(low + spry_random_f64(random) * (high - low));
    }
    x = spry_random_normal(random);
    return (float)(x < low ? low : x > high ? high : x);
}

static void fill_square(float *x, const plane *p, int64_t top, int64_t left, int64_t side,
                        float value)
{
    for (int64_t i = top; i < top + side && i < p->height; i++) {
        for (int64_t j = left; j < left + side && j < p->width; j++) {
            x[i * p->row_stride + j * p->pixel_stride] = value;
        }
    }
}

static void fill_sample(float *x, const plane *p, const spry_preprocess *recipe, int64_t sample)
{
    spry_random random = spry_random_stream(SEED, (uint64_t)sample);
    int64_t side = p->height > 1 ? (int64_t)1 << (sample % SCALES) : 1;

    for (int64_t c = 0; c < p->channels; c++) {
        for (int64_t top = 0; top < p->height; top += side) {
            for (int64_t left = 0; left < p->width; left += side) {
                fill_square(x + c * p->channel_stride, p, top, left, side,
                            draw(recipe, c, &random));
            }
        }
    }
}

spry_status synthetic_batch(const spry_allocator *allocator, const spry_port *input,
                            const spry_preprocess *recipe, int64_t first, int64_t batch,
                            spry_tensor **made, spry_error *error)
{
    int64_t shape[SPRY_TENSOR_MAX_RANK];
    plane p;
    int64_t size;
    spry_status status;

    shape[0] = batch;
    for (int i = 1; i < input->rank; i++) {
        shape[i] = input->shape[i];
        if (shape[i] < 0) {
            return spry_fail(error, SPRY_USAGE, input->name, "give samples",
                             "the model does not say how large its input is, and so not how much "
                             "noise to make");
        }
    }
    status = spry_tensor_create(allocator, SPRY_DTYPE_F32, input->rank, shape, made, error);
    if (status != SPRY_OK) {
        return status;
    }
    p = plane_of(input, recipe);
    size = p.channels * p.height * p.width;
    for (int64_t i = 0; i < batch; i++) {
        fill_sample((float *)(*made)->data + i * size, &p, recipe, first + i);
    }
    return SPRY_OK;
}

static bool is_bounded(const graph_node *n)
{
    static const char *const types[] = {"Clip", "HardSigmoid", "Sigmoid", "Softmax", "Tanh"};
    bool found = false;

    for (size_t i = 0; i < sizeof types / sizeof types[0]; i++) {
        found = found || graph_node_is(n, types[i]);
    }
    return found;
}

/* Longest paths from the inputs to the results of each node, in nodes; returns the longest. */
static int32_t measure_depths(const graph *g, int32_t *depths)
{
    int32_t most = 1;

    for (int32_t i = 0; i < g->node_count; i++) {
        const graph_node *n = &g->nodes[i];
        int32_t depth = 0;

        for (int32_t k = 0; k < n->input_count; k++) {
            if (n->inputs[k] != GRAPH_NONE && depths[n->inputs[k]] > depth) {
                depth = depths[n->inputs[k]];
            }
        }
        for (int32_t k = 0; k < n->output_count; k++) {
            if (n->outputs[k] != GRAPH_NONE) {
                depths[n->outputs[k]] = depth + 1;
            }
        }
        most = depth + 1 > most ? depth + 1 : most;
    }
    return most;
}

spry_status synthetic_reach(const graph *g, arena *memory, double **reach, spry_error *error)
{
    size_t count = (size_t)g->value_count + 1;
    int32_t *depths = arena_array(memory, count, sizeof *depths);
    int32_t most;

    *reach = arena_array(memory, count, sizeof **reach);
    if (depths == NULL || *reach == NULL) {
        return alloc_failed(error, count * sizeof **reach);
    }
    memset(depths, 0, count * sizeof *depths);
    most = measure_depths(g, depths);
    for (int32_t i = 0; i < g->value_count; i++) {
        int32_t producer = g->values[i].producer;
        bool is_kept = producer != GRAPH_NONE && is_bounded(&g->nodes[producer]);

        (*reach)[i] = is_kept ? 1.0 : 1.0 + (double)depths[i] / (double)most;
    }
    return SPRY_OK;
}
