/* Pools of channels-last images: f32 MaxPool (without indices), AveragePool and global pools,
 * MaxPool of bytes, and averages of bytes that stand for numbers (byte_pool.h). */
#include <string.h>

#include "base/alloc.h"
#include "kernels/pool/pool_nhwc.h"
#include "runtime/integer/byte_pool.h"
#include "runtime/layout/layout.h"
#include "runtime/provider/providers.h"
#include "runtime/provider/strips.h"
#include "tensor/convert.h"

/* Of an image in a global pool: enough to keep a thread busy, few enough for parts to stay with the
 * thread that made their pixels. */
enum { PIXELS_PER_PART = 64, BYTES_PER_PIECE = 1 << 18, BYTES_PER_GLOBAL_PIECE = 1 << 15 };

typedef struct pool_state {
    spry_allocator allocator;
    conv_f32_shape shape;
    void (*rows)(const pool_nhwc_rows *p);
    void (*image)(const pool_nhwc_image *p); /* global pools; the other one is NULL */
    bool count_padding;
    int64_t end_h, end_w;
    bool makes_floats; /* of bytes */
    uint8_t flip;
    int32_t zero;
    float scale;
    int64_t batch;
    int64_t pixels;  /* of an input image */
    int64_t element; /* bytes */
    int64_t parts;   /* of an image in a global pool, which are pooled first: 1 is the whole */
} pool_state;

static bool is_global(const provider_site *site)
{
    return provider_is(site, "GlobalAveragePool") || provider_is(site, "GlobalMaxPool");
}

static bool is_bytes(spry_dtype dtype)
{
    return dtype == SPRY_DTYPE_U8 || dtype == SPRY_DTYPE_I8;
}

/* One f32 scale and one zero point or none, all constant. */
static bool has_grid(const provider_site *site)
{
    bool has_zero = site->node->inputs[BYTE_POOL_ZERO] != GRAPH_NONE;
    const tensor *scale = provider_constant(site, BYTE_POOL_SCALE);
    const tensor *zero = has_zero ? provider_constant(site, BYTE_POOL_ZERO) : NULL;

    return scale != NULL && scale->dtype == SPRY_DTYPE_F32 && tensor_count(scale) == 1 &&
           (!has_zero || (zero != NULL && tensor_count(zero) == 1));
}

static bool averages_bytes(const provider_site *site)
{
    return site->node->input_count == BYTE_POOL_PORTS;
}

static bool accepts_bytes(const provider_site *site, const graph_type *x)
{
    enum { MOST_PIXELS = 1 << 24 };
    window w;

    return x->rank == 4 && is_bytes(x->dtype) && has_grid(site) &&
           x->dims[1].size * x->dims[2].size < MOST_PIXELS &&
           (is_global(site) || provider_pool_window(site, x, &w));
}

static bool accepts(const provider_site *site)
{
    const graph_type *x = provider_input_type(site, 0);
    bool no_indices = site->node->output_count < 2 || site->node->outputs[1] == GRAPH_NONE;
    window w;

    if (!layout_is_nhwc(site->node) || layout_reads_planar(site->node) || x == NULL ||
        !no_indices || (x->rank != 3 && x->rank != 4) || op_work_count(x) == 0 ||
        provider_output_type(site, 0) == NULL) {
        return false;
    }
    if (averages_bytes(site)) {
        return accepts_bytes(site, x);
    }
    if (is_global(site)) {
        return x->dtype == SPRY_DTYPE_F32;
    }
    return ((provider_is(site, "MaxPool") && (x->dtype == SPRY_DTYPE_F32 || is_bytes(x->dtype))) ||
            (provider_is(site, "AveragePool") && x->dtype == SPRY_DTYPE_F32)) &&
           provider_pool_window(site, x, &w);
}

static void choose_kernel(const provider_site *site, const pool_nhwc_kernel *kernel, pool_state *s)
{
    spry_dtype dtype = provider_input_type(site, 0)->dtype;

    if (averages_bytes(site)) {
        s->rows = kernel->average_bytes;
    } else if (provider_is(site, "GlobalAveragePool")) {
        s->image = kernel->global_average;
    } else if (provider_is(site, "GlobalMaxPool")) {
        s->image = kernel->global_max;
    } else if (provider_is(site, "AveragePool")) {
        s->rows = kernel->average_f32;
    } else {
        s->rows = dtype == SPRY_DTYPE_F32  ? kernel->max_f32
                  : dtype == SPRY_DTYPE_U8 ? kernel->max_u8
                                           : kernel->max_s8;
    }
}

static void set_window(const provider_site *site, const graph_type *x, pool_state *s)
{
    window w;

    if (is_global(site)) {
        s->shape = (conv_f32_shape){.in_h = x->dims[1].size,
                                    .in_w = x->dims[2].size,
                                    .out_h = 1,
                                    .out_w = 1,
                                    .kernel_h = x->dims[1].size,
                                    .kernel_w = x->dims[2].size,
                                    .stride_h = 1,
                                    .stride_w = 1,
                                    .dilation_h = 1,
                                    .dilation_w = 1};
        return;
    }
    (void)provider_pool_window(site, x, &w); /* accepted before */
    s->shape = provider_plane_shape(&w, 0);
    s->count_padding = graph_attribute_int(site->node, "count_include_pad", 0) != 0;
    s->end_h = w.rank > 1 ? w.pad_end[0] : 0;
    s->end_w = w.pad_end[w.rank - 1];
}

static void set_grid(const provider_site *site, spry_dtype dtype, pool_state *s)
{
    bool has_zero = site->node->inputs[BYTE_POOL_ZERO] != GRAPH_NONE;

    s->makes_floats = true;
    s->flip = dtype == SPRY_DTYPE_I8 ? 0x80 : 0;
    s->zero = s->flip +
              (has_zero ? (int32_t)convert_get_i64(provider_constant(site, BYTE_POOL_ZERO), 0) : 0);
    s->scale = *(const float *)provider_constant(site, BYTE_POOL_SCALE)->data;
}

static spry_status create(const provider_site *site, provider_step *step, spry_error *error)
{
    const graph_type *x = provider_input_type(site, 0);
    const pool_nhwc_kernel *kernel = pool_nhwc_select();
    pool_state *s = alloc_zeroed(site->allocator, sizeof *s);

    if (s == NULL) {
        return alloc_failed(error, sizeof *s);
    }
    s->allocator = *site->allocator;
    choose_kernel(site, kernel, s);
    if (s->rows != NULL) {
        set_window(site, x, s);
    }
    if (averages_bytes(site)) {
        set_grid(site, x->dtype, s);
    }
    s->shape.channels = x->dims[x->rank - 1].size;
    s->batch = x->dims[0].size;
    s->pixels = op_work_count(x) / s->batch / s->shape.channels;
    s->element = is_bytes(x->dtype) ? 1 : 4;
    s->parts = provider_pieces(s->pixels, PIXELS_PER_PART);
    if (s->image != NULL && s->parts > 1) {
        step->workspace_bytes = (size_t)(s->batch * s->parts * s->shape.channels) * sizeof(float);
    }
    step->state = s;
    step->kernel = kernel->name;
    return SPRY_OK;
}

static void destroy(void *state)
{
    pool_state *s = state;
    spry_allocator allocator = s->allocator;

    alloc_release(&allocator, s, sizeof *s);
}

typedef struct pool_run {
    const pool_state *s;
    const void *x;
    void *y;
    float *parts; /* [batch][parts][channels] of a global pool: results of parts of images */
} pool_run;

static void run_rows(void *context, int64_t begin, int64_t end, int worker)
{
    const pool_run *r = context;
    pool_nhwc_rows p = {.shape = &r->s->shape,
                        .first = begin,
                        .count = end - begin,
                        .in = r->x,
                        .out = r->y,
                        .count_padding = r->s->count_padding,
                        .end_h = r->s->end_h,
                        .end_w = r->s->end_w,
                        .flip = r->s->flip,
                        .zero = r->s->zero,
                        .scale = r->s->scale};

    (void)worker;
    r->s->rows(&p);
}

/* Parts [begin, end) of all images: some of their pixels, all of their channels. Threads have the
 * pixels that they made, which are in their caches and will be wanted there again. */
static void run_parts(void *context, int64_t begin, int64_t end, int worker)
{
    const pool_run *r = context;
    const pool_state *s = r->s;
    int64_t channels = s->shape.channels;

    (void)worker;
    for (int64_t i = begin; i < end; i++) {
        int64_t first = i % s->parts * PIXELS_PER_PART;
        pool_nhwc_image p = {.in = (const float *)r->x +
                                   (i / s->parts * s->pixels + first) * channels,
                             .pixels = provider_least(s->pixels - first, PIXELS_PER_PART),
                             .channels = channels,
                             .count = channels,
                             .divisor = 1,
                             .out = r->parts + i * channels};

        s->image(&p);
    }
}

/* Images [begin, end), from their parts where there are several. */
static void run_images(void *context, int64_t begin, int64_t end, int worker)
{
    const pool_run *r = context;
    const pool_state *s = r->s;
    int64_t channels = s->shape.channels;
    bool is_whole = s->parts == 1;

    (void)worker;
    for (int64_t i = begin; i < end; i++) {
        pool_nhwc_image p = {.in = is_whole ? (const float *)r->x + i * s->pixels * channels
                                            : r->parts + i * s->parts * channels,
                             .pixels = is_whole ? s->pixels : s->parts,
                             .channels = channels,
                             .count = channels,
                             .divisor = s->pixels,
                             .out = (float *)r->y + i * channels};

        s->image(&p);
    }
}

/* How many things of `bytes` each make a piece of work. */
static int64_t grain_of(int64_t most, int64_t bytes)
{
    return most / (bytes + 1) + 1;
}

static spry_status run(void *state, op_call *call, void *workspace)
{
    const pool_state *s = state;
    const tensor *x = op_call_input(call, 0);
    pool_run r = {.s = s, .x = x->data, .parts = workspace};
    int64_t pixel_bytes = s->shape.channels * s->element;
    tensor *y;
    spry_status status;

    status = provider_output(call, s->makes_floats ? SPRY_DTYPE_F32 : x->dtype, &y);
    if (status != SPRY_OK || y == NULL) {
        return status;
    }
    r.y = y->data;
    if (s->rows != NULL) {
        threads_for(call->team, s->batch * s->shape.out_h,
                    grain_of(BYTES_PER_PIECE, s->pixels * pixel_bytes / s->shape.out_h), run_rows,
                    &r);
        return SPRY_OK;
    }
    if (s->parts > 1) {
        threads_for(call->team, s->batch * s->parts,
                    grain_of(BYTES_PER_GLOBAL_PIECE, PIXELS_PER_PART * pixel_bytes), run_parts, &r);
    }
    threads_for(call->team, s->batch,
                grain_of(BYTES_PER_GLOBAL_PIECE,
                         provider_least(s->pixels, s->parts + PIXELS_PER_PART) * pixel_bytes),
                run_images, &r);
    return SPRY_OK;
}

const provider provider_pool_nhwc = {"pool_nhwc", PROVIDER_FUSES_NOTHING, accepts, create, run,
                                     destroy};

/* ---- by strips ---- */

static bool strips_read(const provider_site *site, conv_f32_shape *shape)
{
    const graph_type *x = provider_input_type(site, 0);
    pool_state s = {0};

    choose_kernel(site, pool_nhwc_select(), &s);
    if (s.rows == NULL || is_global(site)) {
        return false;
    }
    set_window(site, x, &s);
    *shape = s.shape;
    shape->channels = x->dims[x->rank - 1].size;
    return true;
}

static spry_status strips_create(const provider_site *site, int64_t rows, strip_step *step,
                                 spry_error *error)
{
    provider_step whole = {0};
    spry_status status = create(site, &whole, error);

    (void)rows;
    step->state = whole.state;
    step->kernel = whole.kernel;
    return status;
}

static void strips_begin(const void *state, const op_call *call, void *shared)
{
    (void)state;
    (void)call;
    (void)shared;
}

static void strips_run(const void *state, const strip_rows *r)
{
    const pool_state *s = state;
    conv_f32_shape shape = s->shape;
    pool_nhwc_rows p = {.shape = &shape,
                        .count = r->rows,
                        .in = r->x,
                        .out = r->y,
                        .count_padding = s->count_padding,
                        .end_h = s->end_h,
                        .end_w = s->end_w,
                        .flip = s->flip,
                        .zero = s->zero,
                        .scale = s->scale};

    shape.pad_h = strips_pad(&shape, r);
    shape.in_h = r->x_rows;
    shape.out_h = r->rows;
    s->rows(&p);
}

const provider_strips provider_pool_nhwc_strips = {&provider_pool_nhwc, strips_read, strips_create,
                                                   strips_begin, strips_run};
