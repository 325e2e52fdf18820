/* Sampling images at computed places: GridSample and AffineGrid. */
#include <math.h>
#include <string.h>

#include "ops/families.h"
#include "ops/operand.h"
#include "tensor/convert.h"

enum { MAX_AXES = 3, MAX_TAPS = 4, MAX_POINTS = MAX_TAPS * MAX_TAPS * MAX_TAPS };

/* ---- GridSample ---- */

typedef struct grid_plan {
    int axes;  /* spatial: 2 or 3 */
    int taps;  /* per axis: 1 nearest, 2 linear, 4 cubic */
    char edge; /* 'z'eros, 'b'order, 'r'eflection */
    bool align;
    int64_t channels;
    int64_t size[MAX_AXES];
    int64_t pixels;     /* of one input plane */
    int64_t out_pixels; /* of one output plane */
    const double *x;
    const double *grid;
    double *out;
} grid_plan;

static const char *read_grid(const graph_node *node, int rank, grid_plan *p)
{
    static const struct {
        const char *name;
        int taps;
    } modes[] = {{"bilinear", 2}, {"linear", 2}, {"nearest", 1}, {"bicubic", 4}, {"cubic", 4}};
    const char *mode = graph_attribute_string(node, "mode", "bilinear");
    const char *edge = graph_attribute_string(node, "padding_mode", "zeros");

    p->axes = rank - 2;
    p->taps = 0;
    for (size_t i = 0; i < sizeof modes / sizeof *modes; i++) {
        p->taps = strcmp(mode, modes[i].name) == 0 ? modes[i].taps : p->taps;
    }
    p->align = graph_attribute_int(node, "align_corners", 0) != 0;
    p->edge = edge[0];
    if (p->taps == 0 || (strcmp(edge, "zeros") != 0 && strcmp(edge, "border") != 0 &&
                         strcmp(edge, "reflection") != 0)) {
        return "unknown mode or padding mode";
    }
    return p->axes < 2 || p->axes > MAX_AXES ? "the rank is not 4 or 5" : NULL;
}

/* Where index `at` of an axis is read: -1 for a zero. */
static int64_t edge_index(const grid_plan *p, double at, int64_t size)
{
    double low = p->align ? 0 : -0.5;
    double range = p->align ? (double)(size - 1) : (double)size;
    double over;

    if (at >= 0 && at <= (double)(size - 1)) {
        return (int64_t)at;
    }
    if (p->edge == 'z') {
        return -1;
    }
    if (p->edge == 'b' || range == 0) {
        return at < 0 ? 0 : size - 1;
    }
    over = fmod(fabs(at - low), 2 * range); /* a triangle wave */
    over = low + (over > range ? 2 * range - over : over);
    return over < 0 ? 0 : over > (double)(size - 1) ? size - 1 : (int64_t)over;
}

/* Keys' cubic kernel with a = -0.75, as everywhere in ONNX. */
static double cubic_weight(double distance)
{
    const double a = -0.75;
    double x = fabs(distance);

    return x <= 1  ? ((a + 2) * x - (a + 3)) * x * x + 1
           : x < 2 ? ((x - 5) * x + 8) * a * x - 4 * a
                   : 0;
}

/* Taps of one axis for the normalised coordinate g in [-1, 1]. */
static void axis_taps(const grid_plan *p, double g, int64_t size, int64_t *index, double *weight)
{
    double length = (double)size;
    double at = p->align ? (g + 1) / 2 * (length - 1) : ((g + 1) * length - 1) / 2;
    double base;

    at = !(at > -1e9) ? -1e9 : at > 1e9 ? 1e9 : at; /* also NaN: an index must come out */
    base = p->taps == 1 ? rint(at) : floor(at) - (p->taps == 4 ? 1 : 0);
    for (int k = 0; k < p->taps; k++) {
        double distance = at - base - k;

        index[k] = edge_index(p, base + k, size);
        weight[k] = p->taps == 1 ? 1 : p->taps == 2 ? 1 - fabs(distance) : cubic_weight(distance);
    }
}

static void sample_range(void *context, int64_t begin, int64_t end, int worker)
{
    const grid_plan *p = context;

    (void)worker;
    for (int64_t i = begin; i < end; i++) {
        int64_t n = i / p->out_pixels;
        int64_t offset[MAX_POINTS] = {0};
        double weight[MAX_POINTS] = {1};
        int points = 1;

        for (int axis = 0; axis < p->axes; axis++) {
            int64_t index[MAX_TAPS];
            double part[MAX_TAPS];
            int next = 0;
            int64_t old_offset[MAX_POINTS];
            double old_weight[MAX_POINTS];

            axis_taps(p, p->grid[i * p->axes + p->axes - 1 - axis], p->size[axis], index, part);
            memcpy(old_offset, offset, sizeof offset);
            memcpy(old_weight, weight, sizeof weight);
            for (int k = 0; k < points * p->taps; k++) {
                if (index[k % p->taps] >= 0) {
                    offset[next] = old_offset[k / p->taps] * p->size[axis] + index[k % p->taps];
                    weight[next++] = old_weight[k / p->taps] * part[k % p->taps];
                }
            }
            points = next;
        }
        for (int64_t c = 0; c < p->channels; c++) {
            const double *plane = p->x + (n * p->channels + c) * p->pixels;
            double sum = 0;

            for (int k = 0; k < points; k++) {
                sum += weight[k] * plane[offset[k]];
            }
            p->out[(n * p->channels + c) * p->out_pixels + i % p->out_pixels] = sum;
        }
    }
}

static spry_status infer_grid(op_shapes *s)
{
    const graph_type *x = op_shapes_ranked(s, 0);
    const graph_type *grid = op_shapes_ranked(s, 1);
    graph_dim dims[SPRY_TENSOR_MAX_RANK];

    if (x == NULL || grid == NULL) {
        return operand_unranked(s, 0, operand_dtype(s, 0));
    }
    if (x->rank < 4 || x->rank > 5 || grid->rank != x->rank) {
        return op_shapes_fail(s, "input and grid must have rank 4 or 5");
    }
    dims[0] = x->dims[0];
    dims[1] = x->dims[1];
    for (int i = 2; i < x->rank; i++) {
        dims[i] = grid->dims[i - 1];
    }
    op_shapes_set(s, 0, x->dtype, x->rank, dims);
    return SPRY_OK;
}

/* `count` elements of `t` as f64 in scratch memory; t NULL: uninitialised. */
static spry_status doubles(op_call *call, const tensor *t, int64_t count, double **numbers)
{
    void *memory;
    spry_status status = op_call_scratch(call, (size_t)count * sizeof **numbers, &memory);

    *numbers = memory;
    if (status == SPRY_OK && t != NULL) {
        convert_read_f64(t, 0, count, *numbers);
    }
    return status;
}

static spry_status run_grid(op_call *call)
{
    const tensor *x = op_call_input(call, 0);
    const tensor *grid = op_call_input(call, 1);
    int64_t shape[SPRY_TENSOR_MAX_RANK];
    grid_plan p = {.axes = 0};
    const char *wrong = read_grid(call->node, x->rank, &p);
    double *numbers[3];
    tensor *out;
    spry_status status;

    if (wrong != NULL || grid->rank != x->rank || grid->shape[0] != x->shape[0] ||
        grid->shape[x->rank - 1] != p.axes) {
        return op_call_fail(call, SPRY_BAD_INPUT, "%s",
                            wrong != NULL ? wrong : "the grid does not fit the input");
    }
    memcpy(shape, x->shape, sizeof shape);
    for (int i = 2; i < x->rank; i++) {
        shape[i] = grid->shape[i - 1];
        p.size[i - 2] = x->shape[i];
    }
    status = op_call_output(call, 0, x->dtype, x->rank, shape, &out);
    if (status != SPRY_OK || out == NULL || tensor_count(out) == 0) {
        return status;
    }
    p.channels = x->shape[1];
    p.pixels = tensor_span(x, 2, x->rank);
    p.out_pixels = tensor_span(out, 2, x->rank);
    if (p.pixels == 0) {
        return op_call_fail(call, SPRY_BAD_INPUT, "the image is empty");
    }
    status = doubles(call, x, tensor_count(x), &numbers[0]);
    if (status == SPRY_OK) {
        status = doubles(call, grid, tensor_count(grid), &numbers[1]);
    }
    if (status == SPRY_OK) {
        status = doubles(call, NULL, tensor_count(out), &numbers[2]);
    }
    if (status == SPRY_OK) {
        p.x = numbers[0];
        p.grid = numbers[1];
        p.out = numbers[2];
        threads_for(call->team, shape[0] * p.out_pixels, 256, sample_range, &p);
        convert_write_f64(out, 0, tensor_count(out), p.out);
    }
    return status;
}

/* ---- AffineGrid ---- */

static spry_status infer_affine(op_shapes *s)
{
    int64_t size[SPRY_TENSOR_MAX_RANK];
    graph_dim dims[SPRY_TENSOR_MAX_RANK];
    int count;
    spry_status status = op_shapes_ints(s, 1, size, MAX_AXES + 2, &count);

    if (status != SPRY_OK || count < 4) {
        return status != SPRY_OK ? status : operand_unranked(s, 0, operand_dtype(s, 0));
    }
    dims[0] = (graph_dim){.size = size[0] < 0 ? -1 : size[0]};
    for (int i = 2; i < count; i++) {
        dims[i - 1] = (graph_dim){.size = size[i] < 0 ? -1 : size[i]};
    }
    dims[count - 1] = (graph_dim){.size = count - 2};
    op_shapes_set(s, 0, operand_dtype(s, 0), count, dims);
    return SPRY_OK;
}

/* Coordinate of element `i` of `count` in [-1, 1]: element centres, or corner to corner. */
static double grid_coordinate(int64_t i, int64_t count, bool align)
{
    if (align) {
        return count > 1 ? -1 + 2 * (double)i / (double)(count - 1) : 0;
    }
    return (2 * (double)i + 1) / (double)count - 1;
}

static spry_status run_affine(op_call *call)
{
    const tensor *theta = op_call_input(call, 0);
    bool align = graph_attribute_int(call->node, "align_corners", 0) != 0;
    int64_t size[SPRY_TENSOR_MAX_RANK] = {0};
    int64_t shape[SPRY_TENSOR_MAX_RANK];
    tensor *out;
    int count;
    int axes;
    spry_status status = op_call_ints(call, 1, size, MAX_AXES + 2, &count);

    if (status != SPRY_OK) {
        return status;
    }
    axes = count - 2;
    for (int i = 0; i < count; i++) {
        axes = size[i] < 0 ? 0 : axes;
    }
    if (axes < 2 || theta->rank != 3 || theta->shape[0] != size[0] || theta->shape[1] != axes ||
        theta->shape[2] != axes + 1) {
        return op_call_fail(call, SPRY_BAD_INPUT, "theta and size do not fit each other");
    }
    shape[0] = size[0];
    memcpy(shape + 1, size + 2, (size_t)axes * sizeof *shape);
    shape[axes + 1] = axes;
    status = op_call_output(call, 0, theta->dtype, axes + 2, shape, &out);
    if (status != SPRY_OK || out == NULL) {
        return status;
    }
    for (int64_t i = 0; i < tensor_span(out, 0, axes + 1); i++) {
        double place[MAX_AXES + 1];
        double result[MAX_AXES] = {0};
        int64_t rest = i;

        for (int k = 0; k < axes; k++) { /* x is the last axis and comes first */
            place[k] = grid_coordinate(rest % shape[axes - k], shape[axes - k], align);
            rest /= shape[axes - k];
        }
        place[axes] = 1;
        for (int row = 0; row < axes; row++) {
            for (int k = 0; k <= axes; k++) {
                result[row] +=
                    place[k] * convert_get_f64(theta, (rest * axes + row) * (axes + 1) + k);
            }
        }
        convert_write_f64(out, i * axes, axes, result);
    }
    return SPRY_OK;
}

/* clang-format off */
const op ops_sample[] = {
    {.name = "AffineGrid", .domain = "", .since = 20, .min_inputs = 2, .max_inputs = 2,
     .min_outputs = 1, .max_outputs = 1, .types = {OP_FLOATS, 1u << SPRY_DTYPE_I64},
     .infer = infer_affine, .run = run_affine},
    {.name = "GridSample", .domain = "", .since = 16, .min_inputs = 2, .max_inputs = 2,
     .min_outputs = 1, .max_outputs = 1, .types = {OP_NUMERIC, OP_FLOATS}, .infer = infer_grid,
     .run = run_grid},
    {.name = NULL},
};
/* clang-format on */
