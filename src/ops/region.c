/* Operators of object detection: RoiAlign, MaxRoiPool, NonMaxSuppression. */
#include <math.h>
#include <string.h>

#include "base/limits.h"
#include "ops/families.h"
#include "ops/operand.h"
#include "tensor/convert.h"

/* ---- regions ---- */

typedef struct region_plan {
    bool maximum;
    bool half_pixel;
    int64_t samples; /* per axis and bin; 0: as many as the bin has pixels */
    double scale;
    int64_t out[2];
} region_plan;

/* Reads sizes of the result; false when they make no sense. */
static bool read_region(const graph_node *node, region_plan *p)
{
    const char *fallback = node->opset >= 16 ? "half_pixel" : "output_half_pixel";
    int64_t count;
    const int64_t *pooled = graph_attribute_ints(node, "pooled_shape", &count);

    p->out[0] = graph_attribute_int(node, "output_height", 1);
    p->out[1] = graph_attribute_int(node, "output_width", 1);
    if (strcmp(node->type, "MaxRoiPool") == 0) {
        p->out[0] = pooled != NULL && count == 2 ? pooled[0] : 0;
        p->out[1] = pooled != NULL && count == 2 ? pooled[1] : 0;
    }
    p->maximum = strcmp(graph_attribute_string(node, "mode", "avg"), "max") == 0;
    p->half_pixel = strcmp(graph_attribute_string(node, "coordinate_transformation_mode", fallback),
                           "half_pixel") == 0;
    p->samples = graph_attribute_int(node, "sampling_ratio", 0);
    p->scale = (double)graph_attribute_float(node, "spatial_scale", 1);
    return p->samples >= 0 && p->samples <= 1024 && p->out[0] > 0 && p->out[1] > 0 &&
           p->out[0] <= LIMIT_TENSOR_DIMENSION && p->out[1] <= LIMIT_TENSOR_DIMENSION;
}

static spry_status infer_region(op_shapes *s)
{
    const graph_type *x = op_shapes_ranked(s, 0);
    const graph_type *rois = op_shapes_ranked(s, 1);
    graph_dim dims[4] = {operand_unknown, operand_unknown};
    region_plan p;

    if (!read_region(s->node, &p) || (x != NULL && x->rank != 4) ||
        (rois != NULL && rois->rank != 2)) {
        return op_shapes_fail(s, "ranks or the size of the result make no sense");
    }
    dims[0] = rois != NULL ? rois->dims[0] : dims[0];
    dims[1] = x != NULL ? x->dims[1] : dims[1];
    dims[2] = (graph_dim){.size = p.out[0]};
    dims[3] = (graph_dim){.size = p.out[1]};
    op_shapes_set(s, 0, operand_dtype(s, 0), 4, dims);
    return SPRY_OK;
}

/* Checks ranks and gives output 0; *planes is x as f64. */
static spry_status start_regions(op_call *call, int roi_width, region_plan *p, double **planes,
                                 tensor **out)
{
    const tensor *x = op_call_input(call, 0);
    const tensor *rois = op_call_input(call, 1);
    int64_t shape[4];
    void *memory;
    spry_status status;

    if (!read_region(call->node, p) || x->rank != 4 || rois->rank != 2 ||
        rois->shape[1] != roi_width || x->shape[2] == 0 || x->shape[3] == 0) {
        return op_call_fail(call, SPRY_BAD_INPUT, "regions or sizes make no sense");
    }
    shape[0] = rois->shape[0];
    shape[1] = x->shape[1];
    shape[2] = p->out[0];
    shape[3] = p->out[1];
    status = op_call_output(call, 0, x->dtype, 4, shape, out);
    if (status == SPRY_OK) {
        status = op_call_scratch(call, (size_t)tensor_count(x) * sizeof **planes, &memory);
    }
    if (status == SPRY_OK) {
        *planes = memory;
        convert_read_f64(x, 0, tensor_count(x), *planes);
    }
    return status;
}

/* ---- RoiAlign ---- */

typedef struct region_axis {
    double start, bin;
    int64_t samples;
} region_axis;

static region_axis align_axis(const region_plan *p, double from, double to, int64_t bins,
                              int64_t size)
{
    double offset = p->half_pixel ? 0.5 : 0;
    double start = from * p->scale - offset;
    double length = to * p->scale - offset - start;
    double samples;

    if (!p->half_pixel && !(length >= 1)) {
        length = 1;
    }
    samples = ceil(length / (double)bins);
    /* More samples than pixels add nothing but time. */
    samples = samples > 4 * (double)size ? 4 * (double)size : samples;
    return (region_axis){start, length / (double)bins,
                         p->samples > 0 ? p->samples
                         : samples >= 1 ? (int64_t)samples
                                        : 1};
}

/* The two pixels around a place and the weight of the second; false outside of the image. */
static bool align_pixels(double at, int64_t size, int64_t *low, int64_t *high, double *weight)
{
    if (!(at >= -1) || at > (double)size) {
        return false;
    }
    at = at < 0 ? 0 : at;
    *low = (int64_t)at;
    *high = *low + 1;
    *weight = at - (double)*low;
    if (*low >= size - 1) {
        *low = *high = size - 1;
        *weight = 0;
    }
    return true;
}

/* One bin of one region in one plane. The maximum is taken over weighted pixels, not over
 * interpolated values: so the standard's reference does. */
static double align_bin(const region_plan *p, const double *plane, const int64_t *size,
                        const region_axis *axes, int64_t row, int64_t column)
{
    double sum = 0;
    bool first = true;

    for (int64_t i = 0; i < axes[0].samples * axes[1].samples; i++) {
        double y =
            axes[0].start + axes[0].bin * ((double)row + ((double)(i / axes[1].samples) + 0.5) /
                                                             (double)axes[0].samples);
        double x =
            axes[1].start + axes[1].bin * ((double)column + ((double)(i % axes[1].samples) + 0.5) /
                                                                (double)axes[1].samples);
        int64_t at[4] = {0, 0, 0, 0};
        double part[2] = {0, 0};
        double values[4] = {0, 0, 0, 0};

        if (align_pixels(y, size[0], &at[0], &at[1], &part[0]) &&
            align_pixels(x, size[1], &at[2], &at[3], &part[1])) {
            for (int k = 0; k < 4; k++) {
                values[k] = (k / 2 == 0 ? 1 - part[0] : part[0]) *
                            (k % 2 == 0 ? 1 - part[1] : part[1]) *
                            plane[at[k / 2] * size[1] + at[2 + k % 2]];
            }
        }
        if (p->maximum) {
            double largest = fmax(fmax(values[0], values[1]), fmax(values[2], values[3]));

            sum = first || largest > sum ? largest : sum;
            first = false;
        } else {
            sum += values[0] + values[1] + values[2] + values[3];
        }
    }
    return p->maximum ? sum : sum / (double)(axes[0].samples * axes[1].samples);
}

static spry_status run_align(op_call *call)
{
    const tensor *x = op_call_input(call, 0);
    const tensor *rois = op_call_input(call, 1);
    const tensor *batches = op_call_input(call, 2);
    region_plan p;
    double *planes = NULL;
    int64_t *batch;
    tensor *out = NULL;
    spry_status status = start_regions(call, 4, &p, &planes, &out);

    if (status == SPRY_OK && (batches->rank != 1 || batches->shape[0] != rois->shape[0])) {
        return op_call_fail(call, SPRY_BAD_INPUT, "there must be one batch index per region");
    }
    if (status == SPRY_OK) {
        status = operand_indices(call, 2, x->shape[0], &batch);
    }
    if (status != SPRY_OK || out == NULL) {
        return status;
    }
    for (int64_t r = 0; r < rois->shape[0]; r++) {
        region_axis axes[2];

        for (int k = 0; k < 2; k++) { /* regions are x1, y1, x2, y2 */
            axes[k] = align_axis(&p, convert_get_f64(rois, r * 4 + 1 - k),
                                 convert_get_f64(rois, r * 4 + 3 - k), p.out[k], x->shape[2 + k]);
        }
        for (int64_t i = 0; i < x->shape[1] * p.out[0] * p.out[1]; i++) {
            int64_t c = i / (p.out[0] * p.out[1]);
            int64_t bin = i % (p.out[0] * p.out[1]);
            double number =
                align_bin(&p, planes + (batch[r] * x->shape[1] + c) * x->shape[2] * x->shape[3],
                          x->shape + 2, axes, bin / p.out[1], bin % p.out[1]);

            convert_write_f64(out, r * x->shape[1] * p.out[0] * p.out[1] + i, 1, &number);
        }
    }
    return SPRY_OK;
}

/* ---- MaxRoiPool ---- */

static int64_t clamp_edge(double at, int64_t size)
{
    return !(at > 0) ? 0 : at > (double)size ? size : (int64_t)at;
}

static double pool_bin(const double *plane, const int64_t *size, const int64_t *low,
                       const int64_t *high)
{
    double largest = 0; /* of an empty bin */
    bool first = true;

    for (int64_t y = low[0]; y < high[0]; y++) {
        for (int64_t x = low[1]; x < high[1]; x++) {
            double number = plane[y * size[1] + x];

            largest = first || number > largest ? number : largest;
            first = false;
        }
    }
    return largest;
}

static spry_status run_pool(op_call *call)
{
    const tensor *x = op_call_input(call, 0);
    const tensor *rois = op_call_input(call, 1);
    region_plan p;
    double *planes = NULL;
    tensor *out = NULL;
    spry_status status = start_regions(call, 5, &p, &planes, &out);

    if (status != SPRY_OK || out == NULL) {
        return status;
    }
    for (int64_t r = 0; r < rois->shape[0]; r++) {
        int64_t batch = convert_get_i64(rois, r * 5);

        if (batch < 0 || batch >= x->shape[0]) {
            return operand_bad_index(call, 1, r * 5, batch, x->shape[0]);
        }
        for (int64_t i = 0; i < x->shape[1] * p.out[0] * p.out[1]; i++) {
            int64_t c = i / (p.out[0] * p.out[1]);
            const int64_t bin[2] = {i / p.out[1] % p.out[0], i % p.out[1]};
            int64_t low[2];
            int64_t high[2];
            double number;

            for (int k = 0; k < 2; k++) {
                double start = round(convert_get_f64(rois, r * 5 + 2 - k) * p.scale);
                double end = round(convert_get_f64(rois, r * 5 + 4 - k) * p.scale);
                double step = fmax(end - start + 1, 1) / (double)p.out[k];

                low[k] = clamp_edge(floor((double)bin[k] * step) + start, x->shape[2 + k]);
                high[k] = clamp_edge(ceil((double)(bin[k] + 1) * step) + start, x->shape[2 + k]);
            }
            number = pool_bin(planes + (batch * x->shape[1] + c) * x->shape[2] * x->shape[3],
                              x->shape + 2, low, high);
            convert_write_f64(out, r * x->shape[1] * p.out[0] * p.out[1] + i, 1, &number);
        }
    }
    return SPRY_OK;
}

/* ---- NonMaxSuppression ---- */

/* Corners in order, from either form of box. */
static void box_corners(const float *box, bool centre, float *corners)
{
    if (centre) { /* x, y, width, height */
        corners[0] = box[1] - box[3] / 2;
        corners[1] = box[0] - box[2] / 2;
        corners[2] = box[1] + box[3] / 2;
        corners[3] = box[0] + box[2] / 2;
        return;
    }
    for (int k = 0; k < 2; k++) {
        corners[k] = fminf(box[k], box[k + 2]);
        corners[k + 2] = fmaxf(box[k], box[k + 2]);
    }
}

static float box_overlap(const float *a, const float *b)
{
    float height = fminf(a[2], b[2]) - fmaxf(a[0], b[0]);
    float width = fminf(a[3], b[3]) - fmaxf(a[1], b[1]);
    float shared = height > 0 && width > 0 ? height * width : 0;
    float all = (a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - shared;

    return shared > 0 && all > 0 ? shared / all : 0;
}

typedef struct suppress_plan {
    const float *scores; /* of one batch and class */
    const float *boxes;  /* corners, of one batch */
    int64_t count;
    int64_t limit;
    float overlap;
    float least;
    bool has_least;
} suppress_plan;

/* Stable merge sort of box numbers by descending score. */
static void sort_boxes(const float *scores, int64_t *order, int64_t *spare, int64_t count)
{
    for (int64_t width = 1; width < count; width *= 2) {
        for (int64_t begin = 0; begin < count; begin += 2 * width) {
            int64_t middle = begin + width < count ? begin + width : count;
            int64_t end = begin + 2 * width < count ? begin + 2 * width : count;
            int64_t left = begin;
            int64_t right = middle;

            for (int64_t i = begin; i < end; i++) {
                bool take_left =
                    right == end || (left < middle && scores[order[left]] >= scores[order[right]]);

                spare[i] = take_left ? order[left++] : order[right++];
            }
        }
        memcpy(order, spare, (size_t)count * sizeof *order);
    }
}

/* Boxes that stay, best first, into kept. Returns their number. */
static int64_t suppress(const suppress_plan *p, int64_t *order, int64_t *spare, int64_t *kept)
{
    int64_t candidates = 0;
    int64_t found = 0;

    for (int64_t i = 0; i < p->count; i++) {
        if (!p->has_least || p->scores[i] > p->least) {
            order[candidates++] = i;
        }
    }
    sort_boxes(p->scores, order, spare, candidates);
    for (int64_t i = 0; i < candidates && found < p->limit; i++) {
        bool stays = true;

        for (int64_t k = 0; k < found && stays; k++) {
            stays = box_overlap(p->boxes + 4 * order[i], p->boxes + 4 * kept[k]) <= p->overlap;
        }
        if (stays) {
            kept[found++] = order[i];
        }
    }
    return found;
}

static spry_status infer_suppress(op_shapes *s)
{
    const graph_dim dims[2] = {operand_unknown, {.size = 3}};

    op_shapes_set(s, 0, SPRY_DTYPE_I64, 2, dims);
    return SPRY_OK;
}

/* Boxes as corners and scores as f32, in scratch memory. */
static spry_status read_boxes(op_call *call, float **corners, float **scores)
{
    const tensor *boxes = op_call_input(call, 0);
    int64_t count = tensor_count(boxes);
    bool centre = graph_attribute_int(call->node, "center_point_box", 0) != 0;
    void *memory;
    spry_status status = op_call_scratch(call, (size_t)count * sizeof **corners, &memory);

    if (status != SPRY_OK) {
        return status;
    }
    *corners = memory;
    for (int64_t i = 0; i < count / 4; i++) {
        float box[4];

        convert_read_f32(boxes, 4 * i, 4, box);
        box_corners(box, centre, *corners + 4 * i);
    }
    count = tensor_count(op_call_input(call, 1));
    status = op_call_scratch(call, (size_t)count * sizeof **scores, &memory);
    *scores = memory;
    if (status == SPRY_OK) {
        convert_read_f32(op_call_input(call, 1), 0, count, *scores);
    }
    return status;
}

static spry_status run_suppress(op_call *call)
{
    const tensor *boxes = op_call_input(call, 0);
    const tensor *scores = op_call_input(call, 1);
    suppress_plan p = {.overlap = (float)op_call_scalar(call, 3, 0)};
    double limit = op_call_scalar(call, 2, 0);
    int64_t shape[2] = {0, 3};
    int64_t *lists[3]; /* order, spare, kept for all batches and classes */
    int64_t *counts = NULL;
    float *corners;
    float *numbers;
    void *memory;
    tensor *out;
    int64_t groups;
    spry_status status;

    if (boxes->rank != 3 || scores->rank != 3 || boxes->shape[2] != 4 ||
        boxes->shape[0] != scores->shape[0] || boxes->shape[1] != scores->shape[2]) {
        return op_call_fail(call, SPRY_BAD_INPUT, "boxes and scores do not fit each other");
    }
    p.count = boxes->shape[1];
    p.limit = limit > (double)p.count ? p.count : limit > 0 ? (int64_t)limit : 0;
    p.has_least = op_call_input(call, 4) != NULL;
    p.least = (float)op_call_scalar(call, 4, 0);
    groups = scores->shape[0] * scores->shape[1];
    status = read_boxes(call, &corners, &numbers);
    for (int i = 0; i < 4 && status == SPRY_OK; i++) {
        int64_t count = i < 2 ? p.count : i == 2 ? groups * p.limit : groups;

        status = op_call_scratch(call, ((size_t)count + 1) * sizeof *counts, &memory);
        if (i < 3) {
            lists[i] = memory;
        } else {
            counts = memory;
        }
    }
    if (status != SPRY_OK) {
        return status;
    }
    for (int64_t g = 0; g < groups; g++) {
        p.boxes = corners + g / scores->shape[1] * 4 * p.count;
        p.scores = numbers + g * p.count;
        counts[g] = suppress(&p, lists[0], lists[1], lists[2] + g * p.limit);
        shape[0] += counts[g];
    }
    status = op_call_output(call, 0, SPRY_DTYPE_I64, 2, shape, &out);
    if (status == SPRY_OK && out != NULL) {
        int64_t *to = out->data;

        for (int64_t g = 0; g < groups; g++) {
            for (int64_t k = 0; k < counts[g]; k++) {
                *to++ = g / scores->shape[1];
                *to++ = g % scores->shape[1];
                *to++ = lists[2][g * p.limit + k];
            }
        }
    }
    return status;
}

/* clang-format off */
const op ops_region[] = {
    {.name = "MaxRoiPool", .domain = "", .since = 1, .min_inputs = 2, .max_inputs = 2,
     .min_outputs = 1, .max_outputs = 1, .types = {OP_FLOATS, OP_FLOATS}, .infer = infer_region,
     .run = run_pool},
    {.name = "NonMaxSuppression", .domain = "", .since = 10, .min_inputs = 2, .max_inputs = 5,
     .min_outputs = 1, .max_outputs = 1,
     .types = {OP_FLOATS, OP_FLOATS, 1u << SPRY_DTYPE_I64, OP_FLOATS, OP_FLOATS},
     .infer = infer_suppress, .run = run_suppress},
    {.name = "RoiAlign", .domain = "", .since = 10, .min_inputs = 3, .max_inputs = 3,
     .min_outputs = 1, .max_outputs = 1, .types = {OP_FLOATS, OP_FLOATS, 1u << SPRY_DTYPE_I64},
     .infer = infer_region, .run = run_align},
    {.name = NULL},
};
/* clang-format on */
