/* The weights' derivative of a convolution, in the domain "ai.spry":
 *
 *     ConvWeightGradient(x [N, C, in...], dy [N, M, out...])
 *         dw[m, c, tap] = sum over images and places of dy[n, m, place] x[n, c, place seen by tap]
 *
 * with the attributes of Conv. In f32 it is a product, dw [M, taps C] = dy [M, places] seen
 * [places, taps C], over the places of all images. x is turned to channels-last first: what a place
 * sees through a tap is then one run of memory, and the second factor is packed on the way. */
#include <math.h>
#include <string.h>

#include "kernels/gemm/gemm_f32.h"
#include "kernels/transpose/transpose.h"
#include "ops/families.h"
#include "ops/gradient_window.h"
#include "ops/lines.h"
#include "ops/operand.h"
#include "ops/whole.h"
#include "tensor/convert.h"

#define REAL (1u << SPRY_DTYPE_F32 | 1u << SPRY_DTYPE_F64)

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

static int64_t smaller(int64_t a, int64_t b)
{
    return a < b ? a : b;
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
    *end = smaller(*end, w->out[last]);
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

/* ---- one weight at a time: f64, and groups too small for a product ---- */

/* sum of dy[dy_at + j] x[x_at + j * step], j from begin to end */
static double dot(const conv_gradient *c, int64_t dy_at, int64_t x_at, int64_t begin, int64_t end)
{
    int64_t step = c->w.stride[c->w.rank - 1];
    double sum = 0.0;

    if (c->x->dtype == SPRY_DTYPE_F64) {
        const double *dy = (const double *)c->dy->data + dy_at;
        const double *x = (const double *)c->x->data + x_at;

        for (int64_t j = begin; j < end; j++) {
            sum += dy[j] * x[j * step];
        }
    } else {
        const float *dy = (const float *)c->dy->data + dy_at;
        const float *x = (const float *)c->x->data + x_at;

        for (int64_t j = begin; j < end; j++) {
            sum += (double)dy[j] * (double)x[j * step];
        }
    }
    return sum;
}

static double one_weight(const conv_gradient *c, int64_t group, int64_t m, int64_t column)
{
    const int64_t *tap = c->tap + column % c->taps * c->w.rank;
    int64_t width = c->w.out[c->w.rank - 1];
    double sum = 0.0;

    for (int64_t n = 0; n < c->images; n++) {
        int64_t channel = (n * c->groups + group) * c->channels + column / c->taps;
        int64_t line = (n * c->groups + group) * c->rows + m;

        for (int64_t row = 0; row * width < c->out_size; row++) {
            int64_t from;
            int64_t begin;
            int64_t end;

            row_seen(c, row, tap, &from, &begin, &end);
            sum +=
                dot(c, line * c->out_size + row * width, channel * c->in_size + from, begin, end);
        }
    }
    return sum;
}

static void weights_singly(void *context, int64_t begin, int64_t end, int worker)
{
    const conv_gradient *c = context;

    (void)worker;
    for (int64_t i = begin; i < end; i++) {
        int64_t row = i / columns_of(c);
        double sum = one_weight(c, row / c->rows, row % c->rows, i % columns_of(c));

        convert_write_f64(c->dw, i, 1, &sum);
    }
}

/* ---- the product ---- */

enum {
    ROW_PANELS = 16,
    COLUMN_PANELS = 4,
    PIXELS = 1024, /* that one piece of work turns to channels-last */
    FEW_WEIGHTS = 64
};

typedef struct conv_product {
    const conv_gradient *c;
    const gemm_f32_kernel *kernel;
    int64_t places;
    int64_t panels; /* of rows, per group */
    int64_t row_slices, column_slices;
    float *x;    /* [images][in_size][groups * channels] */
    float *dy;   /* [groups][panels][places][mr] */
    float *dw;   /* [groups * rows][taps][channels] */
    float *room; /* `floats` per worker: packed columns */
    int64_t floats;
} conv_product;

static void turn_pixels(void *context, int64_t begin, int64_t end, int worker)
{
    const conv_product *p = context;
    const conv_gradient *c = p->c;
    int64_t channels = c->groups * c->channels;
    int64_t blocks = (c->in_size + PIXELS - 1) / PIXELS;

    (void)worker;
    for (int64_t piece = begin; piece < end; piece++) {
        int64_t first = piece % blocks * PIXELS;
        int64_t image = piece / blocks * c->in_size * channels;
        transpose_matrix m = {.from = (const float *)c->x->data + image + first,
                              .to = p->x + image + first * channels,
                              .rows = channels,
                              .columns = smaller(c->in_size - first, PIXELS),
                              .from_pitch = c->in_size * (int64_t)sizeof(float),
                              .to_pitch = channels * (int64_t)sizeof(float)};

        transpose_select()->words(&m);
    }
}

/* Panels of rows of dy, the places of all images after each other. */
static void pack_given(void *context, int64_t begin, int64_t end, int worker)
{
    const conv_product *p = context;
    const conv_gradient *c = p->c;
    int mr = p->kernel->mr;

    (void)worker;
    for (int64_t piece = begin; piece < end; piece++) {
        int64_t group = piece / p->panels;
        int64_t row = piece % p->panels * mr;

        for (int64_t n = 0; n < c->images; n++) {
            int64_t line = (n * c->groups + group) * c->rows + row;

            gemm_f32_pack((const float *)c->dy->data + line * c->out_size, c->out_size, 1,
                          smaller(c->rows - row, mr), c->out_size, mr,
                          p->dy + (piece * p->places + n * c->out_size) * mr);
        }
    }
}

/* One group, as the matrix that the product packs from. */
typedef struct conv_seen {
    const conv_product *p;
    int64_t group;
} conv_seen;

/* Columns [column, column + count) of one tap, for places [first, first + places). */
static void pack_tap(const conv_seen *b, int64_t column, int64_t count, int64_t first,
                     int64_t places, int width, float *to)
{
    const conv_gradient *c = b->p->c;
    const int64_t *tap = c->tap + column / c->channels * c->w.rank;
    int64_t pitch = c->groups * c->channels;
    int64_t row_width = c->w.out[c->w.rank - 1];
    int64_t step = c->w.stride[c->w.rank - 1] * pitch;

    for (int64_t done = 0; done < places;) {
        int64_t place = (first + done) % c->out_size;
        int64_t image = (first + done) / c->out_size;
        int64_t j = place % row_width;
        int64_t run = smaller(row_width - j, places - done);
        const float *x =
            b->p->x + image * c->in_size * pitch + b->group * c->channels + column % c->channels;
        int64_t from;
        int64_t begin;
        int64_t end;

        row_seen(c, place / row_width, tap, &from, &begin, &end);
        x += from * pitch;
        for (int64_t i = 0; i < run; i++, j++, to += width) {
            if (j < begin || j >= end) {
                memset(to, 0, (size_t)count * sizeof *to);
            } else if (count == 32) { /* a copy of known size is four instructions */
                memcpy(to, x + j * step, 32 * sizeof *to);
            } else {
                memcpy(to, x + j * step, (size_t)count * sizeof *to);
            }
        }
        done += run;
    }
}

static void pack_seen(const void *context, int64_t k0, int64_t k, int64_t n0, int64_t n, int width,
                      float *to)
{
    const conv_seen *b = context;
    int64_t channels = b->p->c->channels;

    for (int64_t panel = 0; panel < n; panel += width, to += k * width) {
        int64_t wanted = smaller(n - panel, width);

        for (int64_t done = 0; done < wanted;) {
            int64_t column = n0 + panel + done;
            int64_t count = smaller(channels - column % channels, wanted - done);

            pack_tap(b, column, count, k0, k, width, to + done);
            done += count;
        }
        for (int64_t step = 0; step < k && wanted < width; step++) {
            memset(to + step * width + wanted, 0, (size_t)(width - wanted) * sizeof *to);
        }
    }
}

/* A slice of rows by a slice of columns of one group. */
static void multiply_slices(void *context, int64_t begin, int64_t end, int worker)
{
    const conv_product *p = context;
    const conv_gradient *c = p->c;
    int64_t row_slice = (int64_t)p->kernel->mr * ROW_PANELS;
    int64_t column_slice = (int64_t)p->kernel->nr * COLUMN_PANELS;

    for (int64_t piece = begin; piece < end; piece++) {
        int64_t column = piece % p->column_slices * column_slice;
        int64_t row = piece / p->column_slices % p->row_slices * row_slice;
        int64_t group = piece / (p->column_slices * p->row_slices);
        int64_t panel = group * p->panels + row / p->kernel->mr;
        conv_seen seen = {p, group};
        gemm_f32_problem problem = {
            .m = smaller(c->rows - row, row_slice),
            .k = p->places,
            .n_first = column,
            .n = smaller(columns_of(c) - column, column_slice),
            .packed_a = p->dy + panel * p->places * p->kernel->mr,
            .b = {.pack = pack_seen, .context = &seen},
            .c = p->dw + (group * c->rows + row) * columns_of(c),
            .c_stride = columns_of(c),
            .finish = {.lower = -INFINITY, .upper = INFINITY},
        };

        gemm_f32_run(p->kernel, &problem, p->room + worker * p->floats);
    }
}

/* [taps][channels] of each row to [channels][taps]. */
static void turn_weights(void *context, int64_t begin, int64_t end, int worker)
{
    const conv_product *p = context;
    const conv_gradient *c = p->c;

    (void)worker;
    for (int64_t row = begin; row < end; row++) {
        transpose_matrix m = {.from = p->dw + row * columns_of(c),
                              .to = (float *)c->dw->data + row * columns_of(c),
                              .rows = c->taps,
                              .columns = c->channels,
                              .from_pitch = c->channels * (int64_t)sizeof(float),
                              .to_pitch = c->taps * (int64_t)sizeof(float)};

        transpose_select()->words(&m);
    }
}

static spry_status reserve(op_call *call, conv_product *p)
{
    const conv_gradient *c = p->c;
    void *memory[4] = {NULL};
    int64_t padded = c->groups * p->panels * p->kernel->mr;
    int64_t columns = smaller(columns_of(c), (int64_t)p->kernel->nr * COLUMN_PANELS);
    spry_status status = whole_room(call, tensor_count(c->x), 1, sizeof(float), &memory[0]);

    p->floats = (gemm_f32_workspace(p->kernel, p->places, columns) + 15) / 16 * 16;
    if (status == SPRY_OK) {
        status = whole_room(call, padded, p->places, sizeof(float), &memory[1]);
    }
    if (status == SPRY_OK) {
        status = whole_room(call, tensor_count(c->dw), 1, sizeof(float), &memory[2]);
    }
    if (status == SPRY_OK) {
        status = whole_room(call, p->floats, threads_count(call->team), sizeof(float), &memory[3]);
    }
    p->x = memory[0];
    p->dy = memory[1];
    p->dw = memory[2];
    p->room = memory[3];
    return status;
}

static spry_status run_product(op_call *call, const conv_gradient *c)
{
    conv_product p = {.c = c, .kernel = gemm_f32_select(), .places = c->images * c->out_size};
    int64_t row_slice = (int64_t)p.kernel->mr * ROW_PANELS;
    int64_t column_slice = (int64_t)p.kernel->nr * COLUMN_PANELS;
    spry_status status;

    p.panels = (c->rows + p.kernel->mr - 1) / p.kernel->mr;
    p.row_slices = (c->rows + row_slice - 1) / row_slice;
    p.column_slices = (columns_of(c) + column_slice - 1) / column_slice;
    status = reserve(call, &p);
    if (status != SPRY_OK) {
        return status;
    }
    threads_for(call->team, c->images * ((c->in_size + PIXELS - 1) / PIXELS), 1, turn_pixels, &p);
    threads_for(call->team, c->groups * p.panels, 1, pack_given, &p);
    threads_for(call->team, c->groups * p.row_slices * p.column_slices, 1, multiply_slices, &p);
    threads_for(call->team, c->groups * c->rows, 1 + 4096 / columns_of(c), turn_weights, &p);
    return SPRY_OK;
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
    c->in_size = tensor_span(c->x, 2, c->x->rank);
    c->out_size = tensor_span(c->dy, 2, c->dy->rank);
    return window_taps(&c->w, &c->taps);
}

static spry_status list_taps(op_call *call, conv_gradient *c)
{
    int64_t *list;
    void *memory = NULL;
    spry_status status = whole_room(call, c->taps, c->w.rank, sizeof *list, &memory);

    list = memory;
    for (int64_t t = 0; status == SPRY_OK && t < c->taps; t++) {
        window_position(c->w.kernel, c->w.rank, t, list + t * c->w.rank);
        for (int i = 0; i < c->w.rank; i++) {
            list[t * c->w.rank + i] *= c->w.dilation[i];
        }
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
    if (status == SPRY_OK && c.x->dtype == SPRY_DTYPE_F32 &&
        c.rows * columns_of(&c) > FEW_WEIGHTS) {
        return run_product(call, &c);
    }
    if (status == SPRY_OK) {
        threads_for(call->team, tensor_count(c.dw), lines_grain(c.images * c.out_size, 1 << 16),
                    weights_singly, &c);
    }
    return status;
}

/* clang-format off */
const op ops_gradient_conv[] = {
    {.name = "ConvWeightGradient", .domain = "ai.spry", .since = 1, .min_inputs = 2,
     .max_inputs = 2, .min_outputs = 1, .max_outputs = 1, .types = {REAL, REAL},
     .infer = infer_conv_gradient, .run = run_conv_gradient, .cost = conv_gradient_cost},
    {.name = NULL},
};
/* clang-format on */
