/* Resize and Upsample. Interpolation is separable: each axis gets a list of taps (source index and
 * weight) per output index, and the axes are resized one after the other. */
#include <math.h>
#include <string.h>

#include "base/checked.h"
#include "base/limits.h"
#include "ops/families.h"
#include "ops/move.h"
#include "ops/operand.h"
#include "tensor/convert.h"

typedef enum resize_mode { RESIZE_NEAREST, RESIZE_LINEAR, RESIZE_CUBIC, RESIZE_MODES } resize_mode;

typedef enum resize_grid {
    GRID_HALF_PIXEL,
    GRID_HALF_PIXEL_SYMMETRIC,
    GRID_PYTORCH_HALF_PIXEL,
    GRID_ALIGN_CORNERS,
    GRID_ASYMMETRIC,
    GRID_TF_HALF_PIXEL_FOR_NN,
    GRID_TF_CROP_AND_RESIZE,
    GRID_MODES
} resize_grid;

typedef enum resize_rounding {
    ROUND_PREFER_FLOOR,
    ROUND_PREFER_CEIL,
    ROUND_FLOOR,
    ROUND_CEIL,
    ROUND_MODES
} resize_rounding;

static const char *const mode_names[] = {"nearest", "linear", "cubic"};
static const char *const grid_names[] = {
    "half_pixel", "half_pixel_symmetric", "pytorch_half_pixel", "align_corners",
    "asymmetric", "tf_half_pixel_for_nn", "tf_crop_and_resize"};
static const char *const rounding_names[] = {"round_prefer_floor", "round_prefer_ceil", "floor",
                                             "ceil"};

typedef struct resize_axis {
    int64_t in, out; /* -1: not known (shape rules only) */
    double scale;
    double roi[2]; /* normalised start and end */
} resize_axis;

typedef struct resize_plan {
    resize_mode mode;
    resize_grid grid;
    resize_rounding rounding;
    bool exclude_outside;
    bool antialias;
    double cubic;         /* the coefficient a */
    double extrapolation; /* value outside, crop and resize only */
    int rank;
    resize_axis axes[SPRY_TENSOR_MAX_RANK];
} resize_plan;

/* ---- arguments ---- */

static int name_index(const char *given, const char *const *names, int count)
{
    int i = 0;

    while (i < count && strcmp(given, names[i]) != 0) {
        i++;
    }
    return i;
}

/* Reads the attributes; false when one has an unknown value. Before version 11 coordinates were
 * plain multiples, and nearest meant rounded down. */
static bool read_attributes(const graph_node *node, resize_plan *p)
{
    bool old = node->opset < 11 || strcmp(node->type, "Upsample") == 0;
    const char *mode = graph_attribute_string(node, "mode", "nearest");
    const char *grid = graph_attribute_string(node, "coordinate_transformation_mode", "half_pixel");
    const char *rounding = graph_attribute_string(node, "nearest_mode", "round_prefer_floor");

    mode = strcmp(mode, "bilinear") == 0 ? "linear" : mode; /* Upsample-1's name, still exported */
    p->mode = (resize_mode)name_index(mode, mode_names, RESIZE_MODES);
    p->grid = old ? GRID_ASYMMETRIC : (resize_grid)name_index(grid, grid_names, GRID_MODES);
    p->rounding =
        old ? ROUND_FLOOR : (resize_rounding)name_index(rounding, rounding_names, ROUND_MODES);
    p->exclude_outside = graph_attribute_int(node, "exclude_outside", 0) != 0;
    p->antialias = graph_attribute_int(node, "antialias", 0) != 0;
    p->cubic = (double)graph_attribute_float(node, "cubic_coeff_a", -0.75F);
    p->extrapolation = (double)graph_attribute_float(node, "extrapolation_value", 0);
    return p->mode != RESIZE_MODES && p->grid != GRID_MODES && p->rounding != ROUND_MODES;
}

/* Which inputs hold what; -1: this version does not have it. */
typedef struct resize_ports {
    int roi, scales, sizes;
} resize_ports;

static resize_ports ports_of(const graph_node *node)
{
    if (strcmp(node->type, "Upsample") == 0) {
        return (resize_ports){-1, node->opset < 9 ? -1 : 1, -1};
    }
    return node->opset < 11 ? (resize_ports){-1, 1, -1} : (resize_ports){1, 2, 3};
}

/* Numbers of a list tensor (NULL: none). Returns their count, -1 when they are too many. */
static int read_numbers(const tensor *t, double *to)
{
    if (t == NULL) {
        return 0;
    }
    if (tensor_count(t) > 2 * SPRY_TENSOR_MAX_RANK) {
        return -1;
    }
    convert_read_f64(t, 0, tensor_count(t), to);
    return (int)tensor_count(t);
}

static bool possible_size(double size)
{
    return size >= 0 && size <= (double)LIMIT_TENSOR_DIMENSION;
}

/* One scale for all chosen axes, so that the aspect ratio stays: the smallest or largest. */
static bool keep_aspect(resize_plan *p, const int64_t *axes, int count, const double *sizes,
                        bool largest)
{
    double scale = 0;

    for (int i = 0; i < count; i++) {
        const resize_axis *a = &p->axes[axes[i]];
        double own = a->in > 0 ? sizes[i] / (double)a->in : -1;

        if (own < 0) {
            return false;
        }
        scale = i == 0 || (largest ? own > scale : own < scale) ? own : scale;
    }
    for (int i = 0; i < count; i++) {
        resize_axis *a = &p->axes[axes[i]];
        double size = floor(scale * (double)a->in + 0.5);

        a->scale = scale;
        if (!possible_size(size)) {
            return false;
        }
        a->out = (int64_t)size;
    }
    return true;
}

/* Sizes of the result from one scale per axis. NULL, or what is wrong. */
static const char *scale_axes(resize_plan *p, const int64_t *axes, int count, const double *scales)
{
    for (int i = 0; i < count; i++) {
        resize_axis *a = &p->axes[axes[i]];
        double size = floor((double)a->in * scales[i]);

        if (!(scales[i] > 0)) {
            return "a scale is not positive";
        }
        if (a->in >= 0 && !possible_size(size)) {
            return "a size is out of range";
        }
        a->scale = scales[i];
        a->out = a->in >= 0 ? (int64_t)size : -1;
    }
    return NULL;
}

/* Sizes of the result as given, or the nearest ones of the same aspect ratio; unknown sizes of the
 * input give unknown ones then. NULL, or what is wrong. */
static const char *size_axes(resize_plan *p, const graph_node *node, const int64_t *axes, int count,
                             const double *sizes)
{
    const char *policy = graph_attribute_string(node, "keep_aspect_ratio_policy", "stretch");
    bool stretch = strcmp(policy, "stretch") == 0;
    bool known = true;

    for (int i = 0; i < count; i++) {
        resize_axis *a = &p->axes[axes[i]];

        if (!possible_size(sizes[i])) {
            return "a size is out of range";
        }
        known = known && a->in >= 0;
        a->out = (int64_t)sizes[i];
        a->scale = a->in > 0 ? sizes[i] / (double)a->in : 0;
    }
    for (int i = 0; i < count && !stretch && !known; i++) {
        p->axes[axes[i]].out = -1;
        p->axes[axes[i]].scale = 0;
    }
    return !stretch && known &&
                   !keep_aspect(p, axes, count, sizes, strcmp(policy, "not_smaller") == 0)
               ? "the aspect ratio cannot be kept"
               : NULL;
}

/* The above for the axes that the node names, or all. */
static const char *apply_sizes(resize_plan *p, const graph_node *node, const double *scales,
                               int scale_count, const double *sizes, int size_count)
{
    int64_t axes[SPRY_TENSOR_MAX_RANK];
    int64_t given;
    const int64_t *list = graph_attribute_ints(node, "axes", &given);
    int count = list != NULL && given <= p->rank ? (int)given : p->rank;

    for (int i = 0; i < count; i++) {
        axes[i] = list != NULL ? list[i] : i;
    }
    if ((list != NULL && given > p->rank) || !operand_axes(axes, count, p->rank, NULL)) {
        return "axes are out of range or repeated";
    }
    if (scale_count == count) {
        return scale_axes(p, axes, count, scales);
    }
    return size_count == count ? size_axes(p, node, axes, count, sizes)
                               : "there must be one scale or one size per axis";
}

/* The roi's numbers: all starts, then all ends, for the chosen axes. */
static const char *apply_roi(resize_plan *p, const graph_node *node, const double *roi, int count)
{
    int64_t given;
    const int64_t *list = graph_attribute_ints(node, "axes", &given);
    int axes = list != NULL ? (int)given : p->rank;

    if (count != 2 * axes) {
        return "roi must have two numbers per axis";
    }
    for (int i = 0; i < axes; i++) {
        int axis = i;

        if (list != NULL && !op_normalize_axis(list[i], p->rank, &axis)) {
            return "axes are out of range";
        }
        p->axes[axis].roi[0] = roi[i];
        p->axes[axis].roi[1] = roi[axes + i];
    }
    return NULL;
}

/* scales and sizes of a node, from constants or inputs; the attribute of Upsample-7 too. */
static const char *plan_sizes(resize_plan *p, const graph_node *node, const tensor *scales,
                              const tensor *sizes)
{
    double scale_list[2 * SPRY_TENSOR_MAX_RANK];
    double size_list[2 * SPRY_TENSOR_MAX_RANK];
    int scale_count = read_numbers(scales, scale_list);
    int size_count = read_numbers(sizes, size_list);
    int64_t given;
    const float *attribute = graph_attribute_floats(node, "scales", &given);

    if (ports_of(node).scales < 0 && attribute != NULL && given <= SPRY_TENSOR_MAX_RANK) {
        for (int64_t i = 0; i < given; i++) {
            scale_list[i] = (double)attribute[i];
        }
        scale_count = (int)given;
    }
    if (p->rank == 0) {
        return NULL;
    }
    if (scale_count > 0 && size_count > 0) {
        return "both scales and sizes are given";
    }
    return apply_sizes(p, node, scale_list, scale_count, size_list, size_count);
}

/* ---- shape rule ---- */

/* Sizes that are computed from shapes: known one by one, as numbers or as symbols. */
static bool known_by_contents(const op_shapes *s, int port, int rank, graph_dim *dims)
{
    const graph_node *n = s->node;
    const char *policy = graph_attribute_string(n, "keep_aspect_ratio_policy", "stretch");

    if (port < 0 || port >= s->input_count || s->constants[port] != NULL ||
        s->contents[port] == NULL || s->content_counts[port] != rank ||
        graph_attribute_find(n, "axes") != NULL || strcmp(policy, "stretch") != 0) {
        return false;
    }
    for (int i = 0; i < rank; i++) {
        if (s->contents[port][i].size == 0) {
            return false; /* is refused when it runs */
        }
        dims[i] = s->contents[port][i];
    }
    return true;
}

static spry_status infer_resize(op_shapes *s)
{
    const graph_type *x = op_shapes_ranked(s, 0);
    resize_ports ports = ports_of(s->node);
    const int value_ports[2] = {ports.scales, ports.sizes};
    const tensor *values[2] = {NULL, NULL};
    graph_dim dims[SPRY_TENSOR_MAX_RANK];
    resize_plan p = {.rank = 0};
    bool known = true;
    const char *wrong;

    if (x == NULL) {
        return operand_unranked(s, 0, operand_dtype(s, 0));
    }
    if (!read_attributes(s->node, &p)) {
        return op_shapes_fail(s, "unknown mode, coordinate mode or nearest mode");
    }
    for (int i = 0; i < 2; i++) {
        int port = value_ports[i];

        if (port >= 0 && op_shapes_input(s, port) != NULL) {
            const graph_type *type = op_shapes_ranked(s, port);

            values[i] = s->constants[port];
            known = known && (values[i] != NULL ||
                              (type != NULL && type->rank == 1 && type->dims[0].size == 0));
        }
    }
    p.rank = x->rank;
    for (int i = 0; i < x->rank; i++) {
        p.axes[i] = (resize_axis){.in = x->dims[i].size, .out = x->dims[i].size, .scale = 1};
    }
    if (known_by_contents(s, ports.sizes, x->rank, dims)) {
        op_shapes_set(s, 0, x->dtype, x->rank, dims);
        return SPRY_OK;
    }
    wrong = known ? plan_sizes(&p, s->node, values[0], values[1]) : NULL;
    if (wrong != NULL) {
        return op_shapes_fail(s, "%s", wrong);
    }
    for (int i = 0; i < x->rank; i++) {
        dims[i] = known ? (graph_dim){.size = p.axes[i].out} : operand_unknown;
        if (known && p.axes[i].out < 0 && p.axes[i].scale == 1) {
            dims[i] = x->dims[i];
        }
    }
    op_shapes_set(s, 0, x->dtype, x->rank, dims);
    return SPRY_OK;
}

/* ---- coordinates and taps ---- */

static double source_of(const resize_plan *p, const resize_axis *a, int64_t at)
{
    double x = (double)at;
    double in = (double)a->in;
    double width = a->scale * in; /* of the result before rounding to whole elements */

    switch (p->grid) {
    case GRID_HALF_PIXEL: return (x + 0.5) / a->scale - 0.5;
    case GRID_HALF_PIXEL_SYMMETRIC:
        return in / 2 * (1 - (double)a->out / width) + (x + 0.5) / a->scale - 0.5;
    case GRID_PYTORCH_HALF_PIXEL: return a->out > 1 ? (x + 0.5) / a->scale - 0.5 : 0;
    case GRID_ALIGN_CORNERS: return a->out > 1 && width != 1 ? x * (in - 1) / (width - 1) : 0;
    case GRID_TF_HALF_PIXEL_FOR_NN: return (x + 0.5) / a->scale;
    case GRID_TF_CROP_AND_RESIZE:
        return a->out > 1
                   ? a->roi[0] * (in - 1) + x * (a->roi[1] - a->roi[0]) * (in - 1) / (width - 1)
                   : 0.5 * (a->roi[0] + a->roi[1]) * (in - 1);
    default: return x / a->scale;
    }
}

static int64_t clamp_index(double at, int64_t size)
{
    return !(at > 0) ? 0 : at >= (double)size ? size - 1 : (int64_t)at;
}

static int64_t nearest_of(resize_rounding rounding, double at, int64_t size)
{
    switch (rounding) {
    case ROUND_PREFER_FLOOR: return clamp_index(ceil(at - 0.5), size);
    case ROUND_PREFER_CEIL: return clamp_index(floor(at + 0.5), size);
    case ROUND_CEIL: return clamp_index(ceil(at), size);
    default: return clamp_index(floor(at), size);
    }
}

static double filter_at(const resize_plan *p, double distance)
{
    double x = fabs(distance);
    double a = p->cubic;

    if (p->mode == RESIZE_LINEAR) {
        return x < 1 ? 1 - x : 0;
    }
    if (x <= 1) {
        return ((a + 2) * x - (a + 3)) * x * x + 1;
    }
    return x < 2 ? ((x - 5) * x + 8) * a * x - 4 * a : 0;
}

/* The taps of one axis: `width` sources and weights per output index. */
typedef struct resize_taps {
    int64_t width;
    int64_t *source;
    double *weight;
} resize_taps;

static void fill_taps(const resize_plan *p, const resize_axis *a, double squeeze, resize_taps *t)
{
    int64_t first = 1 - t->width / 2;

    for (int64_t i = 0; i < a->out; i++) {
        double at = source_of(p, a, i);
        double base = floor(at);
        double sum = 0;

        for (int64_t k = 0; k < t->width; k++) {
            double place = base + (double)(first + k);
            double weight = filter_at(p, (place - at) * squeeze);

            if (p->exclude_outside && (place < 0 || place > (double)(a->in - 1))) {
                weight = 0;
            }
            t->source[i * t->width + k] = clamp_index(place, a->in);
            t->weight[i * t->width + k] = weight;
            sum += weight;
        }
        for (int64_t k = 0; k < t->width && sum != 0; k++) {
            t->weight[i * t->width + k] /= sum;
        }
    }
}

static spry_status make_taps(op_call *call, const resize_plan *p, const resize_axis *a,
                             resize_taps *t)
{
    double squeeze = p->antialias && a->scale < 1 ? a->scale : 1;
    double support = p->mode == RESIZE_LINEAR ? 1 : 2;
    size_t count;
    void *memory;
    spry_status status;

    t->width = 2 - 2 * (int64_t)(floor(-support / squeeze) + 1);
    if (!checked_mul((size_t)t->width, (size_t)a->out, &count)) {
        return op_call_fail(call, SPRY_LIMIT, "the filter is too wide");
    }
    status = op_call_scratch(call, count * sizeof *t->source, &memory);
    t->source = memory;
    if (status == SPRY_OK) {
        status = op_call_scratch(call, count * sizeof *t->weight, &memory);
        t->weight = memory;
    }
    if (status == SPRY_OK) {
        fill_taps(p, a, squeeze, t);
    }
    return status;
}

/* ---- interpolation ---- */

typedef struct resize_pass {
    const resize_taps *taps;
    int64_t in, out, inner;
    const double *from; /* from[outer][in][inner] */
    double *to;         /* to[outer][out][inner] */
} resize_pass;

static void pass_rows(void *context, int64_t begin, int64_t end, int worker)
{
    const resize_pass *p = context;
    int64_t width = p->taps->width;

    (void)worker;
    for (int64_t row = begin; row < end; row++) {
        int64_t at = row % p->out;
        const double *from = p->from + row / p->out * p->in * p->inner;
        double *to = p->to + row * p->inner;

        for (int64_t i = 0; i < p->inner; i++) {
            to[i] = 0;
        }
        for (int64_t k = 0; k < width; k++) {
            const double *source = from + p->taps->source[at * width + k] * p->inner;
            double weight = p->taps->weight[at * width + k];

            for (int64_t i = 0; i < p->inner && weight != 0; i++) {
                to[i] += weight * source[i];
            }
        }
    }
}

/* Puts the extrapolation value wherever some coordinate lies outside. */
static void extrapolate(const resize_plan *p, tensor *out)
{
    for (int axis = 0; axis < p->rank; axis++) {
        const resize_axis *a = &p->axes[axis];
        int64_t inner = tensor_span(out, axis + 1, p->rank);

        for (int64_t i = 0; i < a->out; i++) {
            double at = source_of(p, a, i);

            if (at >= 0 && at <= (double)(a->in - 1)) {
                continue;
            }
            for (int64_t k = 0; k < tensor_span(out, 0, axis) * inner; k++) {
                convert_write_f64(out, (k / inner * a->out + i) * inner + k % inner, 1,
                                  &p->extrapolation);
            }
        }
    }
}

static spry_status interpolate(op_call *call, const resize_plan *p, const tensor *x, tensor *out)
{
    int64_t shape[SPRY_TENSOR_MAX_RANK];
    int64_t count = tensor_count(x);
    void *memory;
    double *from;
    spry_status status = op_call_scratch(call, (size_t)count * sizeof *from, &memory);

    if (status != SPRY_OK) {
        return status;
    }
    from = memory;
    convert_read_f64(x, 0, count, from);
    memcpy(shape, x->shape, sizeof shape);
    for (int axis = p->rank - 1; axis >= 0; axis--) {
        const resize_axis *a = &p->axes[axis];
        resize_pass pass = {.in = a->in, .out = a->out, .inner = 1};
        resize_taps taps;
        int64_t outer = 1;

        if (a->in == a->out && a->scale == 1 && p->grid != GRID_TF_CROP_AND_RESIZE) {
            continue;
        }
        for (int i = 0; i < p->rank; i++) {
            outer *= i < axis ? shape[i] : 1;
            pass.inner *= i > axis ? shape[i] : 1;
        }
        if (!checked_mul_i64(outer * pass.inner, a->out, &count)) { /* axes not done are x's */
            return op_call_fail(call, SPRY_LIMIT, "an intermediate result is too large");
        }
        status = make_taps(call, p, a, &taps);
        if (status == SPRY_OK) {
            status = op_call_scratch(call, (size_t)count * sizeof *from, &memory);
        }
        if (status != SPRY_OK) {
            return status;
        }
        pass.taps = &taps;
        pass.from = from;
        pass.to = memory;
        threads_for(call->team, outer * a->out, 4096 / (pass.inner * taps.width) + 1, pass_rows,
                    &pass);
        from = memory;
        shape[axis] = a->out;
    }
    convert_write_f64(out, 0, tensor_count(out), from);
    return SPRY_OK;
}

/* ---- nearest ---- */

/* Rows along the last axis that changes, whose elements are blocks of the axes after it. */
typedef struct nearest_rows {
    const resize_plan *p;
    int last;
    int64_t
        *maps[SPRY_TENSOR_MAX_RANK]; /* per axis and output index: where the input is, in bytes */
    size_t block;
    const unsigned char *from;
    unsigned char *to;
} nearest_rows;

static void copy_nearest_rows(void *context, int64_t begin, int64_t end, int worker)
{
    const nearest_rows *r = context;
    int64_t width = r->p->axes[r->last].out;

    (void)worker;
    for (int64_t row = begin; row < end; row++) {
        unsigned char *to = r->to + (size_t)(row * width) * r->block;
        const unsigned char *from = r->from;
        int64_t rest = row;

        for (int i = r->last - 1; i >= 0; i--) {
            from += r->maps[i][rest % r->p->axes[i].out];
            rest /= r->p->axes[i].out;
        }
        for (int64_t k = 0; k < width; k++) {
            memcpy(to + (size_t)k * r->block, from + r->maps[r->last][k], r->block);
        }
    }
}

static spry_status pick_nearest(op_call *call, const resize_plan *p, const tensor *x, tensor *out)
{
    enum { BYTES_PER_TASK = 1 << 16 };
    nearest_rows r = {.p = p, .last = p->rank - 1, .from = x->data, .to = out->data};
    int64_t row_bytes;

    while (r.last > 0 && p->axes[r.last].in == p->axes[r.last].out && p->axes[r.last].scale == 1 &&
           p->grid != GRID_TF_CROP_AND_RESIZE) {
        r.last--;
    }
    r.block = move_element_size(x->dtype) * (size_t)tensor_span(x, r.last + 1, x->rank);
    for (int i = 0; i <= r.last; i++) {
        const resize_axis *a = &p->axes[i];
        int64_t step = tensor_span(x, i + 1, r.last + 1) * (int64_t)r.block;
        void *memory;
        spry_status status = op_call_scratch(call, (size_t)a->out * sizeof **r.maps, &memory);

        if (status != SPRY_OK) {
            return status;
        }
        r.maps[i] = memory;
        for (int64_t k = 0; k < a->out; k++) {
            r.maps[i][k] = nearest_of(p->rounding, source_of(p, a, k), a->in) * step;
        }
    }
    row_bytes = p->axes[r.last].out * (int64_t)r.block;
    threads_for(call->team, tensor_span(out, 0, r.last), BYTES_PER_TASK / (row_bytes + 1) + 1,
                copy_nearest_rows, &r);
    return SPRY_OK;
}

static spry_status run_resize(op_call *call)
{
    const tensor *x = op_call_input(call, 0);
    resize_ports ports = ports_of(call->node);
    double roi[2 * SPRY_TENSOR_MAX_RANK];
    int64_t shape[SPRY_TENSOR_MAX_RANK];
    resize_plan p = {.rank = x->rank};
    tensor *out;
    const char *wrong = read_attributes(call->node, &p) ? NULL : "an attribute is unknown";
    spry_status status;

    for (int i = 0; i < x->rank; i++) {
        p.axes[i] = (resize_axis){x->shape[i], x->shape[i], 1, {0, 1}};
    }
    if (wrong == NULL) {
        wrong =
            plan_sizes(&p, call->node, ports.scales < 0 ? NULL : op_call_input(call, ports.scales),
                       ports.sizes < 0 ? NULL : op_call_input(call, ports.sizes));
    }
    if (wrong == NULL && p.grid == GRID_TF_CROP_AND_RESIZE) {
        wrong = apply_roi(&p, call->node, roi, read_numbers(op_call_input(call, ports.roi), roi));
    }
    for (int i = 0; i < x->rank && wrong == NULL; i++) {
        shape[i] = p.axes[i].out;
        wrong = x->shape[i] == 0 && shape[i] > 0 ? "an empty axis cannot grow" : NULL;
    }
    if (wrong != NULL) {
        return op_call_fail(call, SPRY_BAD_INPUT, "%s", wrong);
    }
    status = op_call_output(call, 0, x->dtype, x->rank, shape, &out);
    if (status != SPRY_OK || out == NULL || tensor_count(out) == 0) {
        return status;
    }
    if (x->rank == 0) {
        return move_reshaped(call, 0, x, 0, NULL);
    }
    if (p.mode != RESIZE_NEAREST && (dtype_bit(x->dtype) & OP_NUMERIC) == 0) {
        return op_call_fail(call, SPRY_UNSUPPORTED, "interpolation of %s",
                            spry_dtype_name(x->dtype));
    }
    status =
        p.mode == RESIZE_NEAREST ? pick_nearest(call, &p, x, out) : interpolate(call, &p, x, out);
    if (status == SPRY_OK && p.grid == GRID_TF_CROP_AND_RESIZE && x->dtype != SPRY_DTYPE_STRING) {
        extrapolate(&p, out);
    }
    return status;
}

/* clang-format off */
const op ops_resize[] = {
    {.name = "Resize", .domain = "", .since = 10, .min_inputs = 2, .max_inputs = 2,
     .min_outputs = 1, .max_outputs = 1, .types = {MOVE_TYPES, 1u << SPRY_DTYPE_F32},
     .infer = infer_resize, .run = run_resize},
    {.name = "Resize", .domain = "", .since = 11, .min_inputs = 1, .max_inputs = 4,
     .min_outputs = 1, .max_outputs = 1,
     .types = {MOVE_TYPES, OP_FLOATS, 1u << SPRY_DTYPE_F32, 1u << SPRY_DTYPE_I64},
     .infer = infer_resize, .run = run_resize},
    {.name = "Upsample", .domain = "", .since = 7, .min_inputs = 1, .max_inputs = 2,
     .min_outputs = 1, .max_outputs = 1, .types = {MOVE_TYPES, 1u << SPRY_DTYPE_F32},
     .infer = infer_resize, .run = run_resize},
    {.name = NULL},
};
/* clang-format on */
