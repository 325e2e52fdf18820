/* Operators of the backward pass for sliding windows, in the domain "ai.spry":
 *
 *     ConvWeightGradient(x [N, C, in...], dy [N, M, out...])
 *         dw[m, c, tap] = sum over images and places of dy[n, m, place] x[n, c, place seen by tap]
 *     MaxPoolGradient(x, dy)        dy to the first largest element of every window
 *     AveragePoolGradient(x, dy)    dy in equal parts to all elements of a window
 *
 * Attributes are those of Conv, MaxPool and AveragePool; pooling without kernel_shape means the
 * whole image. */
#include <math.h>
#include <string.h>

#include "base/checked.h"
#include "base/limits.h"
#include "kernels/gemm/gemm_f32.h"
#include "ops/families.h"
#include "ops/lines.h"
#include "ops/operand.h"
#include "ops/sliding_window.h"
#include "ops/whole.h"
#include "tensor/convert.h"

#define REAL (1u << SPRY_DTYPE_F32 | 1u << SPRY_DTYPE_F64)

/* Next index vector in row-major order over sizes[0..rank). */
static void advance(int64_t *index, const int64_t *sizes, int rank)
{
    for (int i = rank - 1; i >= 0; i--) {
        if (++index[i] < sizes[i]) {
            return;
        }
        index[i] = 0;
    }
}

static int64_t smaller(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

/* Product of sizes; false when it is larger than a dimension may be. */
static bool multiply(const int64_t *sizes, int rank, int64_t *product)
{
    *product = 1;
    for (int i = 0; i < rank; i++) {
        if (!checked_mul_i64(*product, sizes[i], product) || *product > LIMIT_TENSOR_DIMENSION) {
            return false;
        }
    }
    return true;
}

/* ---- pooling ---- */

typedef struct pool_gradient {
    window w;
    int64_t taps, in_size, out_size;
    bool largest;    /* MaxPool */
    bool count_pads; /* AveragePool: padding counts */
    const tensor *x, *dy;
    tensor *dx;
    double *room; /* per worker: a plane of x, of dx and of dy, and the offsets of a window */
} pool_gradient;

/* What the window at `at` sees: offsets in the plane, and how many places count for a mean. */
static int64_t see(const pool_gradient *p, const int64_t *at, double *offsets, int64_t *counted)
{
    const window *w = &p->w;
    int64_t tap[WINDOW_MOST_AXES] = {0};
    int64_t seen = 0;

    *counted = 0;
    for (int64_t t = 0; t < p->taps; t++, advance(tap, w->kernel, w->rank)) {
        int64_t offset = 0;
        bool inside = true;
        bool padded = true;

        for (int i = 0; i < w->rank; i++) {
            int64_t in = at[i] * w->stride[i] - w->pad_begin[i] + tap[i] * w->dilation[i];

            inside = inside && in >= 0 && in < w->in[i];
            padded = padded && in >= -w->pad_begin[i] && in < w->in[i] + w->pad_end[i];
            offset = offset * w->in[i] + in;
        }
        *counted += p->count_pads ? padded : inside;
        if (inside) {
            offsets[seen++] = (double)offset;
        }
    }
    return seen;
}

static void spread(const pool_gradient *p, const double *x, const double *offsets, int64_t seen,
                   int64_t counted, double dy, double *dx)
{
    int64_t best = 0;

    if (!p->largest) {
        for (int64_t k = 0; k < seen; k++) {
            dx[(int64_t)offsets[k]] += dy / (double)counted;
        }
        return;
    }
    for (int64_t k = 1; k < seen; k++) {
        best = x[(int64_t)offsets[k]] > x[(int64_t)offsets[best]] ? k : best;
    }
    if (seen > 0) {
        dx[(int64_t)offsets[best]] += dy;
    }
}

static void pool_planes(void *context, int64_t begin, int64_t end, int worker)
{
    const pool_gradient *p = context;
    double *x = p->room + worker * (2 * p->in_size + p->out_size + p->taps);
    double *dx = x + p->in_size;
    double *dy = dx + p->in_size;
    double *offsets = dy + p->out_size;

    for (int64_t plane = begin; plane < end; plane++) {
        int64_t at[WINDOW_MOST_AXES] = {0};

        convert_read_f64(p->x, plane * p->in_size, p->in_size, x);
        convert_read_f64(p->dy, plane * p->out_size, p->out_size, dy);
        memset(dx, 0, (size_t)p->in_size * sizeof *dx);
        for (int64_t i = 0; i < p->out_size; i++, advance(at, p->w.out, p->w.rank)) {
            int64_t counted;
            int64_t seen = see(p, at, offsets, &counted);

            spread(p, x, offsets, seen, counted, dy[i], dx);
        }
        convert_write_f64(p->dx, plane * p->in_size, p->in_size, dx);
    }
}

/* The window of the node's attributes; the whole image where it has none. */
static bool pool_window(const op_call *call, const tensor *x, window *w)
{
    int64_t count = 0;
    const int64_t *kernel = graph_attribute_ints(call->node, "kernel_shape", &count);
    bool ceil_mode = graph_attribute_int(call->node, "ceil_mode", 0) != 0;
    const char *reason;

    if (kernel == NULL) {
        *w = (window){.rank = 1, .out = {1}, .stride = {1}, .dilation = {1}};
        w->in[0] = w->kernel[0] = tensor_span(x, 2, x->rank);
        return true;
    }
    return x->rank >= 3 && count == x->rank - 2 &&
           window_from_node(call->node, x->rank - 2, x->shape + 2, kernel, ceil_mode, w, &reason);
}

static spry_status run_pool_gradient(op_call *call)
{
    const bool *largest = op_of_node(call->node)->detail;
    pool_gradient p = {.x = op_call_input(call, 0),
                       .dy = op_call_input(call, 1),
                       .largest = *largest,
                       .count_pads = graph_attribute_int(call->node, "count_include_pad", 0) != 0};
    void *memory = NULL;
    int64_t planes;
    spry_status status;

    if (p.x == NULL || p.dy == NULL || p.x->rank < 2 || p.dy->rank != p.x->rank ||
        !pool_window(call, p.x, &p.w) || !multiply(p.w.kernel, p.w.rank, &p.taps) ||
        !multiply(p.w.in, p.w.rank, &p.in_size) || !multiply(p.w.out, p.w.rank, &p.out_size)) {
        return op_call_fail(call, SPRY_BAD_INPUT, "the window does not fit the input");
    }
    planes = p.x->shape[0] * p.x->shape[1];
    if (tensor_count(p.dy) != planes * p.out_size) {
        return op_call_fail(call, SPRY_BAD_INPUT, "the derivative does not fit the windows");
    }
    status = op_call_output_like(call, 0, p.x->dtype, p.x, &p.dx);
    if (status == SPRY_OK) {
        status = whole_room(call, 2 * p.in_size + p.out_size + p.taps, threads_count(call->team),
                            sizeof(double), &memory);
    }
    if (status == SPRY_OK && p.dx != NULL && p.in_size > 0) {
        p.room = memory;
        threads_for(call->team, planes, 1, pool_planes, &p);
    }
    return status;
}

/* ---- ConvWeightGradient ---- */

typedef struct conv_gradient {
    window w;
    int64_t images, groups;
    int64_t channels, rows; /* of x and of dy, per group */
    int64_t taps, in_size, out_size;
    const int64_t *tap; /* [taps][rank]: how far from the window's start */
    const tensor *x, *dy;
    tensor *dw;
} conv_gradient;

/* How many weights there are per row of dw. */
static int64_t columns_of(const conv_gradient *c)
{
    return c->channels * c->taps;
}

/* A row of places: where its elements that `tap` sees lie in the plane. Element j of the row sees
 * *from + j * stride, for begin <= j < end. */
static void row_seen(const conv_gradient *c, int64_t row, const int64_t *tap, int64_t *from,
                     int64_t *begin, int64_t *end)
{
    const window *w = &c->w;
    int last = w->rank - 1;
    int64_t first = tap[last] - w->pad_begin[last];
    int64_t step = w->stride[last];
    int64_t scale = w->in[last];

    *from = first;
    *begin = first < 0 ? (-first + step - 1) / step : 0;
    *end = first < w->in[last] ? (w->in[last] - first + step - 1) / step : 0;
    *end = *end < w->out[last] ? *end : w->out[last];
    for (int i = last - 1; i >= 0; i--) {
        int64_t in = row % w->out[i] * w->stride[i] - w->pad_begin[i] + tap[i];

        if (in < 0 || in >= w->in[i]) {
            *end = 0;
        }
        *from += in * scale;
        scale *= w->in[i];
        row /= w->out[i];
    }
}

/* One weight, in f64. */
static double weight_f64(const conv_gradient *c, int64_t group, int64_t m, int64_t column)
{
    const double *x = c->x->data;
    const double *dy = c->dy->data;
    const int64_t *tap = c->tap + column % c->taps * c->w.rank;
    int64_t width = c->w.out[c->w.rank - 1];
    int64_t step = c->w.stride[c->w.rank - 1];
    double sum = 0.0;

    for (int64_t n = 0; n < c->images; n++) {
        const double *plane =
            x + ((n * c->groups + group) * c->channels + column / c->taps) * c->in_size;
        const double *given = dy + ((n * c->groups + group) * c->rows + m) * c->out_size;

        for (int64_t row = 0; row * width < c->out_size; row++) {
            int64_t from;
            int64_t begin;
            int64_t end;

            row_seen(c, row, tap, &from, &begin, &end);
            for (int64_t j = begin; j < end; j++) {
                sum += given[row * width + j] * plane[from + j * step];
            }
        }
    }
    return sum;
}

static void weights_f64(void *context, int64_t begin, int64_t end, int worker)
{
    const conv_gradient *c = context;
    double *dw = c->dw->data;

    (void)worker;
    for (int64_t i = begin; i < end; i++) {
        int64_t row = i / columns_of(c);

        dw[i] = weight_f64(c, row / c->rows, row % c->rows, i % columns_of(c));
    }
}

/* ---- f32: a product over places, dw [rows, columns] = dy [rows, places] seen [places, columns] --
 * Places are those of all images, in blocks of the steps that the product's kernel takes at once,
 * so that it can add each block to what is there; what a tap sees is packed on the way. */

enum { ROW_PANELS = 8, COLUMN_PANELS = 8 };

typedef struct conv_product {
    const conv_gradient *c;
    const gemm_f32_kernel *kernel;
    int64_t row_slice, column_slice;
    int64_t row_slices, column_slices;
    int64_t a_floats, floats; /* workspace per worker: packed dy, and all */
    float *workspace;
} conv_product;

/* A block of places of one group, as the matrix that the product packs from. */
typedef struct conv_block {
    const conv_gradient *c;
    int64_t group, first;
} conv_block;

/* One column (channel and tap) for `count` places from `place` on, `width` floats apart. */
static void pack_column(const conv_gradient *c, int64_t group, int64_t column, int64_t place,
                        int64_t count, int width, float *to)
{
    const int64_t *tap = c->tap + column % c->taps * c->w.rank;
    int64_t row_width = c->w.out[c->w.rank - 1];
    int64_t step = c->w.stride[c->w.rank - 1];

    while (count > 0) {
        int64_t image = place / c->out_size;
        int64_t row = place % c->out_size / row_width;
        int64_t j = place % row_width;
        int64_t run = row_width - j < count ? row_width - j : count;
        const float *plane =
            (const float *)c->x->data +
            ((image * c->groups + group) * c->channels + column / c->taps) * c->in_size;
        int64_t from;
        int64_t begin;
        int64_t end;

        row_seen(c, row, tap, &from, &begin, &end);
        for (int64_t i = 0; i < run; i++, j++, to += width) {
            *to = j >= begin && j < end ? plane[from + j * step] : 0.0f;
        }
        place += run;
        count -= run;
    }
}

static void pack_seen(const void *context, int64_t k0, int64_t k, int64_t n0, int64_t n, int width,
                      float *to)
{
    const conv_block *b = context;

    for (int64_t panel = 0; panel < n; panel += width, to += k * width) {
        for (int i = 0; i < width; i++) {
            if (panel + i < n) {
                pack_column(b->c, b->group, n0 + panel + i, b->first + k0, k, width, to + i);
                continue;
            }
            for (int64_t step = 0; step < k; step++) {
                to[step * width + i] = 0.0f;
            }
        }
    }
}

/* Rows [row, row + rows) of dy for a block of places, which may span images. */
static void pack_given(const conv_product *p, int64_t group, int64_t row, int64_t rows,
                       int64_t first, int64_t places, float *packed)
{
    const conv_gradient *c = p->c;
    const float *dy = c->dy->data;
    int mr = p->kernel->mr;

    for (int64_t panel = 0; panel < rows; panel += mr, packed += places * mr) {
        int64_t height = rows - panel < mr ? rows - panel : mr;
        int64_t run;

        for (int64_t done = 0; done < places; done += run) {
            int64_t image = (first + done) / c->out_size;
            int64_t at = (first + done) % c->out_size;
            int64_t line = (image * c->groups + group) * c->rows + row + panel;

            run = c->out_size - at < places - done ? c->out_size - at : places - done;
            gemm_f32_pack(dy + line * c->out_size + at, c->out_size, 1, height, run, mr,
                          packed + done * mr);
        }
    }
}

/* A slice of rows by a slice of columns of one group's weights, over all places in order. */
static void weights_slice(const conv_product *p, int64_t piece, float *workspace)
{
    const conv_gradient *c = p->c;
    int64_t columns = columns_of(c);
    int64_t column = piece % p->column_slices * p->column_slice;
    int64_t row = piece / p->column_slices % p->row_slices * p->row_slice;
    int64_t group = piece / (p->column_slices * p->row_slices);
    int64_t rows = smaller(c->rows - row, p->row_slice);
    int64_t all = c->images * c->out_size;
    float *dw = (float *)c->dw->data + (group * c->rows + row) * columns;

    for (int64_t first = 0; first < all; first += p->kernel->kc) {
        int64_t places = smaller(all - first, p->kernel->kc);
        conv_block block = {c, group, first};
        gemm_f32_problem problem = {
            .m = rows,
            .k = places,
            .n_first = column,
            .n = smaller(columns - column, p->column_slice),
            .packed_a = workspace,
            .b = {.pack = pack_seen, .context = &block},
            .c = dw,
            .c_stride = columns,
            .finish = {.residual = first > 0 ? dw : NULL,
                       .residual_stride = columns,
                       .lower = -INFINITY,
                       .upper = INFINITY},
        };

        pack_given(p, group, row, rows, first, places, workspace);
        gemm_f32_run(p->kernel, &problem, workspace + p->a_floats);
    }
}

static void weights_f32(void *context, int64_t begin, int64_t end, int worker)
{
    const conv_product *p = context;

    for (int64_t piece = begin; piece < end; piece++) {
        weights_slice(p, piece, p->workspace + worker * p->floats);
    }
}

static spry_status run_conv_product(op_call *call, const conv_gradient *c)
{
    conv_product p = {.c = c, .kernel = gemm_f32_select()};
    int64_t places = smaller(c->images * c->out_size, p.kernel->kc);
    void *memory = NULL;
    spry_status status;

    p.row_slice = (int64_t)p.kernel->mr * ROW_PANELS;
    p.column_slice = (int64_t)p.kernel->nr * COLUMN_PANELS;
    p.row_slices = (c->rows + p.row_slice - 1) / p.row_slice;
    p.column_slices = (columns_of(c) + p.column_slice - 1) / p.column_slice;
    p.a_floats = gemm_f32_packed_size(smaller(c->rows, p.row_slice), places, p.kernel->mr);
    p.a_floats = (p.a_floats + 15) / 16 * 16;
    p.floats =
        p.a_floats + gemm_f32_workspace(p.kernel, places, smaller(columns_of(c), p.column_slice));
    p.floats = (p.floats + 15) / 16 * 16;
    status = whole_room(call, p.floats, threads_count(call->team), sizeof(float), &memory);
    if (status == SPRY_OK) {
        p.workspace = memory;
        threads_for(call->team, c->groups * p.row_slices * p.column_slices, 1, weights_f32, &p);
    }
    return status;
}

/* ---- the operator ---- */

static spry_status infer_conv_gradient(op_shapes *s)
{
    const graph_type *x = op_shapes_ranked(s, 0);
    const graph_type *dy = op_shapes_ranked(s, 1);
    int64_t groups = graph_attribute_int(s->node, "group", 1);
    int64_t count = 0;
    const int64_t *kernel = graph_attribute_ints(s->node, "kernel_shape", &count);
    graph_dim dims[SPRY_TENSOR_MAX_RANK];

    if (x == NULL || dy == NULL) {
        return operand_unranked(s, 0, operand_dtype(s, 0));
    }
    if (x->rank < 3 || dy->rank != x->rank || count != x->rank - 2 || groups < 1) {
        return op_shapes_fail(s, "images of rank %d and %d do not fit the window", x->rank,
                              dy->rank);
    }
    dims[0] = dy->dims[1];
    dims[1] = operand_unknown;
    if (x->dims[1].size >= 0) {
        dims[1].size = x->dims[1].size / groups;
    }
    for (int i = 0; i < count; i++) {
        dims[2 + i] = (graph_dim){.size = kernel[i]};
    }
    op_shapes_set(s, 0, x->dtype, x->rank, dims);
    return SPRY_OK;
}

static void conv_gradient_cost(const op_work *w, int64_t *macs, int64_t *flops)
{
    int64_t rows = w->outputs[0]->dims[0].size;

    *macs = rows > 0 ? op_work_count(w->inputs[1]) * (op_work_count(w->outputs[0]) / rows) : 0;
    *flops = 2 * *macs;
}

/* Sizes and window; false when they contradict each other. */
static bool read_conv(const op_call *call, conv_gradient *c)
{
    int64_t count = 0;
    const int64_t *kernel = graph_attribute_ints(call->node, "kernel_shape", &count);
    const char *reason;
    int64_t group = graph_attribute_int(call->node, "group", 1);

    if (c->x == NULL || c->dy == NULL || c->x->rank < 3 || c->dy->rank != c->x->rank ||
        count != c->x->rank - 2 || group < 1 || c->x->shape[0] != c->dy->shape[0] ||
        c->x->shape[1] % group != 0 || c->dy->shape[1] % group != 0 ||
        c->x->dtype != c->dy->dtype ||
        !window_from_node(call->node, c->x->rank - 2, c->x->shape + 2, kernel, false, &c->w,
                          &reason)) {
        return false;
    }
    for (int i = 0; i < c->w.rank; i++) {
        if (c->dy->shape[2 + i] != c->w.out[i]) {
            return false;
        }
    }
    c->images = c->x->shape[0];
    c->groups = group;
    c->channels = c->x->shape[1] / group;
    c->rows = c->dy->shape[1] / group;
    return multiply(c->w.kernel, c->w.rank, &c->taps) &&
           multiply(c->w.in, c->w.rank, &c->in_size) && multiply(c->w.out, c->w.rank, &c->out_size);
}

static spry_status list_taps(op_call *call, conv_gradient *c)
{
    int64_t at[WINDOW_MOST_AXES] = {0};
    int64_t *list;
    void *memory = NULL;
    spry_status status = whole_room(call, c->taps, c->w.rank, sizeof *list, &memory);

    list = memory;
    for (int64_t t = 0; status == SPRY_OK && t < c->taps; t++) {
        for (int i = 0; i < c->w.rank; i++) {
            list[t * c->w.rank + i] = at[i] * c->w.dilation[i];
        }
        advance(at, c->w.kernel, c->w.rank);
    }
    c->tap = list;
    return status;
}

static spry_status run_conv_gradient(op_call *call)
{
    conv_gradient c = {.x = op_call_input(call, 0), .dy = op_call_input(call, 1)};
    int64_t shape[SPRY_TENSOR_MAX_RANK];
    spry_status status;

    if (!read_conv(call, &c)) {
        return op_call_fail(call, SPRY_BAD_INPUT, "images, window and groups do not fit");
    }
    shape[0] = c.dy->shape[1];
    shape[1] = c.channels;
    memcpy(shape + 2, c.w.kernel, (size_t)c.w.rank * sizeof *shape);
    status = op_call_output(call, 0, c.x->dtype, c.x->rank, shape, &c.dw);
    if (status != SPRY_OK || c.dw == NULL || tensor_count(c.dw) == 0) {
        return status;
    }
    if (c.images * c.out_size == 0) {
        memset(c.dw->data, 0, c.dw->bytes);
        return SPRY_OK;
    }
    status = list_taps(call, &c);
    if (status == SPRY_OK && c.x->dtype == SPRY_DTYPE_F32) {
        return run_conv_product(call, &c);
    }
    if (status == SPRY_OK) {
        threads_for(call->team, tensor_count(c.dw), lines_grain(c.images * c.out_size, 1 << 16),
                    weights_f64, &c);
    }
    return status;
}

static const bool is_largest = true;
static const bool is_average = false;

#define POOL_GRADIENT(NAME, DETAIL)                                                        \
    {                                                                                      \
        .name = (NAME), .domain = "ai.spry", .since = 1, .min_inputs = 2, .max_inputs = 2, \
        .min_outputs = 1, .max_outputs = 1, .types = {REAL, REAL}, .infer = op_infer_same, \
        .run = run_pool_gradient, .detail = (DETAIL)                                       \
    }

/* clang-format off */
const op ops_gradient_window[] = {
    POOL_GRADIENT("AveragePoolGradient", &is_average),
    {.name = "ConvWeightGradient", .domain = "ai.spry", .since = 1, .min_inputs = 2,
     .max_inputs = 2, .min_outputs = 1, .max_outputs = 1, .types = {REAL, REAL},
     .infer = infer_conv_gradient, .run = run_conv_gradient, .cost = conv_gradient_cost},
    POOL_GRADIENT("MaxPoolGradient", &is_largest),
    {.name = NULL},
};
/* clang-format on */
