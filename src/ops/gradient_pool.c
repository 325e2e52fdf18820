/* The derivatives of pooling, in the domain "ai.spry":
 *
 *     MaxPoolGradient(x, dy)        dy to the first largest element of every window
 *     AveragePoolGradient(x, dy)    dy in equal parts to all elements of a window
 *
 * with the attributes of MaxPool and AveragePool; without kernel_shape the window is the whole
 * image. */
#include <string.h>

#include "ops/families.h"
#include "ops/gradient_window.h"
#include "ops/whole.h"
#include "tensor/convert.h"

#define REAL (1u << SPRY_DTYPE_F32 | 1u << SPRY_DTYPE_F64)

typedef struct pool_gradient {
    window w;
    int64_t taps, in_size, out_size;
    bool largest;    /* MaxPool */
    bool count_pads; /* AveragePool: padding counts */
    const tensor *x, *dy;
    tensor *dx;
    const int64_t *tap;    /* [taps][rank]: how far from the window's start */
    const int64_t *offset; /* [taps]: the same in a plane */
    double *room;          /* per worker: a plane of x, of dx and of dy */
    int64_t *lists;        /* [taps] per worker */
} pool_gradient;

/* What one window sees: elements base + offset[0..count) of the plane. */
typedef struct pool_view {
    int64_t base;
    const int64_t *offset;
    int64_t count;
    int64_t counted; /* places that count for a mean */
} pool_view;

/* A window that hangs over an edge: the elements inside are listed. */
static pool_view view_edge(const pool_gradient *p, const int64_t *first, int64_t *list)
{
    const window *w = &p->w;
    pool_view view = {.base = 0, .offset = list};

    for (int64_t t = 0; t < p->taps; t++) {
        int64_t offset = 0;
        bool inside = true;
        bool padded = true;

        for (int i = 0; i < w->rank; i++) {
            int64_t in = first[i] + p->tap[t * w->rank + i];

            inside = inside && in >= 0 && in < w->in[i];
            padded = padded && in >= -w->pad_begin[i] && in < w->in[i] + w->pad_end[i];
            offset = offset * w->in[i] + in;
        }
        view.counted += p->count_pads ? padded : inside;
        if (inside) {
            list[view.count++] = offset;
        }
    }
    return view;
}

static pool_view view_of(const pool_gradient *p, int64_t place, int64_t *list)
{
    const window *w = &p->w;
    pool_view view = {.offset = p->offset, .count = p->taps, .counted = p->taps};
    int64_t first[WINDOW_MOST_AXES];
    bool whole = true;

    window_position(w->out, w->rank, place, first);
    for (int i = 0; i < w->rank; i++) {
        first[i] = first[i] * w->stride[i] - w->pad_begin[i];
        whole = whole && first[i] >= 0 && first[i] + (w->kernel[i] - 1) * w->dilation[i] < w->in[i];
        view.base = view.base * w->in[i] + first[i];
    }
    return whole ? view : view_edge(p, first, list);
}

static void spread(const pool_gradient *p, const pool_view *view, const double *x, double dy,
                   double *dx)
{
    const double *seen = x + view->base;
    int64_t best = 0;

    dx += view->base;
    if (!p->largest) {
        for (int64_t k = 0; k < view->count; k++) {
            dx[view->offset[k]] += dy / (double)view->counted;
        }
        return;
    }
    for (int64_t k = 1; k < view->count; k++) {
        best = seen[view->offset[k]] > seen[view->offset[best]] ? k : best;
    }
    if (view->count > 0) {
        dx[view->offset[best]] += dy;
    }
}

static void pool_planes(void *context, int64_t begin, int64_t end, int worker)
{
    const pool_gradient *p = context;
    double *x = p->room + worker * (2 * p->in_size + p->out_size);
    double *dx = x + p->in_size;
    double *dy = dx + p->in_size;

    for (int64_t plane = begin; plane < end; plane++) {
        convert_read_f64(p->x, plane * p->in_size, p->in_size, x);
        convert_read_f64(p->dy, plane * p->out_size, p->out_size, dy);
        memset(dx, 0, (size_t)p->in_size * sizeof *dx);
        for (int64_t i = 0; i < p->out_size; i++) {
            pool_view view = view_of(p, i, p->lists + worker * p->taps);

            spread(p, &view, x, dy[i], dx);
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

/* Room for the workers, and the list of taps. */
static spry_status reserve(op_call *call, pool_gradient *p)
{
    const window *w = &p->w;
    void *memory[3] = {NULL};
    int64_t *taps;
    int64_t workers = threads_count(call->team);
    spry_status status =
        whole_room(call, 2 * p->in_size + p->out_size, workers, sizeof(double), &memory[0]);

    if (status == SPRY_OK) {
        status = whole_room(call, p->taps, workers, sizeof(int64_t), &memory[1]);
    }
    if (status == SPRY_OK) {
        status = whole_room(call, p->taps, w->rank + 1, sizeof(int64_t), &memory[2]);
    }
    if (status != SPRY_OK) {
        return status;
    }
    p->room = memory[0];
    p->lists = memory[1];
    taps = memory[2];
    for (int64_t t = 0; t < p->taps; t++) {
        int64_t *tap = taps + t * w->rank;
        int64_t offset = 0;

        window_position(w->kernel, w->rank, t, tap);
        for (int i = 0; i < w->rank; i++) {
            tap[i] *= w->dilation[i];
            offset = offset * w->in[i] + tap[i];
        }
        taps[p->taps * w->rank + t] = offset;
    }
    p->tap = taps;
    p->offset = taps + p->taps * w->rank;
    return SPRY_OK;
}

static spry_status run_pool_gradient(op_call *call)
{
    const bool *largest = op_of_node(call->node)->detail;
    pool_gradient p = {.x = op_call_input(call, 0),
                       .dy = op_call_input(call, 1),
                       .largest = *largest,
                       .count_pads = graph_attribute_int(call->node, "count_include_pad", 0) != 0,
                       .out_size = 1};
    int64_t planes;
    spry_status status;

    if (p.x == NULL || p.dy == NULL || p.x->rank < 2 || p.dy->rank != p.x->rank ||
        !pool_window(call, p.x, &p.w) || !window_taps(&p.w, &p.taps)) {
        return op_call_fail(call, SPRY_BAD_INPUT, "the window does not fit the input");
    }
    planes = p.x->shape[0] * p.x->shape[1];
    p.in_size = tensor_span(p.x, 2, p.x->rank);
    for (int i = 0; i < p.w.rank; i++) {
        p.out_size *= p.w.out[i];
    }
    if (tensor_count(p.dy) != planes * p.out_size) {
        return op_call_fail(call, SPRY_BAD_INPUT, "the derivative does not fit the windows");
    }
    status = op_call_output_like(call, 0, p.x->dtype, p.x, &p.dx);
    if (status == SPRY_OK) {
        status = reserve(call, &p);
    }
    if (status == SPRY_OK && p.dx != NULL && p.in_size > 0) {
        threads_for(call->team, planes, 1 + 4096 / (p.in_size + 1), pool_planes, &p);
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
const op ops_gradient_pool[] = {
    POOL_GRADIENT("AveragePoolGradient", &is_average),
    POOL_GRADIENT("MaxPoolGradient", &is_largest),
    {.name = NULL},
};
/* clang-format on */
