/* f32 convolution (one or two spatial axes) by packed matrix products that gather patches on the
 * way, or by the depthwise kernel. Weights that are not constant, as in training, are packed in
 * every run. */
#include "kernels/conv/conv_f32.h"
#include "base/alloc.h"
#include "base/checked.h"
#include "kernels/gemm/gemm_f32.h"
#include "ops/sliding_window.h"
#include "runtime/cache/packed.h"
#include "runtime/layout/layout.h"
#include "runtime/provider/providers.h"

enum { PIECES_PER_WORKER = 2 }; /* with fewer pieces of columns, rows are split as well */

typedef struct conv_state {
    spry_allocator allocator;
    conv_f32_shape shape;
    int64_t batch;
    int64_t groups;
    int64_t rows;    /* output channels per group */
    int64_t columns; /* output pixels */
    int64_t k;       /* channels per group x kernel taps */
    const gemm_f32_kernel *gemm;
    const conv_f32_packer *packer;
    const conv_f32_depthwise_kernel *depthwise; /* NULL: matrix product */
    packed_memory packed;                       /* [groups][packed_size] */
    int64_t packed_size;
    const float *weights; /* unpacked; of this run where they vary */
    const float *bias;    /* of this run; NULL: none */
    bool varies;
    gemm_f32_finish clamp;
    int64_t row_slice; /* rows and columns per piece of work */
    int64_t column_slice;
    int64_t worker_floats; /* workspace per worker */
} conv_state;

/* The geometry; false when the attributes make no sense (the reference kernel says why). */
static bool read_shape(const provider_site *site, conv_f32_shape *shape)
{
    const graph_type *x = provider_input_type(site, 0);
    const graph_type *weights = provider_input_type(site, 1);
    int64_t shape_of_weights[4];
    window w;

    for (int i = 0; i < x->rank; i++) {
        shape_of_weights[i] = weights->dims[i].size;
    }
    if (!provider_window(site, x, shape_of_weights, &w)) {
        return false;
    }
    *shape = provider_plane_shape(&w, weights->dims[1].size);
    return true;
}

static bool accepts(const provider_site *site)
{
    const graph_type *x = provider_input_type(site, 0);
    const graph_type *weights = provider_input_type(site, 1);
    const graph_type *out = provider_output_type(site, 0);
    conv_f32_shape shape;

    if (!provider_is(site, "Conv") || layout_is_nhwc(site->node) || x == NULL || weights == NULL ||
        out == NULL || x->dtype != SPRY_DTYPE_F32 || (x->rank != 3 && x->rank != 4)) {
        return false;
    }
    return op_work_count(out) > 0 && op_work_count(weights) > 0 && read_shape(site, &shape);
}

static spry_status pack_weights(void *state, void *to, spry_error *error)
{
    const conv_state *s = state;

    (void)error;
    for (int64_t g = 0; g < s->groups; g++) {
        gemm_f32_pack(s->weights + g * s->rows * s->k, s->k, 1, s->rows, s->k, s->gemm->mr,
                      (float *)to + g * s->packed_size);
    }
    return SPRY_OK;
}

static spry_status make_packed(const provider_site *site, conv_state *s, spry_error *error)
{
    size_t bytes;

    s->packed_size = gemm_f32_packed_size(s->rows, s->k, s->gemm->mr);
    if (!checked_mul((size_t)s->packed_size * sizeof(float), (size_t)s->groups, &bytes)) {
        return alloc_failed(error, SIZE_MAX);
    }
    return s->varies ? packed_room(site, bytes, &s->packed, error)
                     : packed_make(site, s->gemm->name, bytes, pack_weights, s, &s->packed, error);
}

/* Every slice of rows packs the patches again, so one thread takes all rows at once. How the work
 * is cut never changes a result (gemm_f32.h). */
static void choose_slices(conv_state *s, int workers)
{
    int64_t mr = s->gemm->mr;
    int64_t pieces = s->batch * s->groups * provider_pieces(s->columns, s->gemm->nc);
    int64_t wanted = workers > 1 ? workers * PIECES_PER_WORKER : 1;

    s->column_slice = s->gemm->nc;
    s->row_slice = s->rows;
    if (pieces < wanted) {
        s->row_slice =
            provider_pieces(provider_pieces(s->rows, mr), provider_pieces(wanted, pieces)) * mr;
    }
    s->worker_floats = gemm_f32_workspace(s->gemm, s->k, s->column_slice);
}

/* What the products are cut into. */
static int64_t product_pieces(const conv_state *s)
{
    return s->batch * s->groups * provider_pieces(s->rows, s->row_slice) *
           provider_pieces(s->columns, s->column_slice);
}

static spry_status create(const provider_site *site, provider_step *step, spry_error *error)
{
    const graph_type *x = provider_input_type(site, 0);
    const tensor *weights = provider_constant(site, 1);
    conv_state *s = alloc_zeroed(site->allocator, sizeof *s);
    spry_status status = SPRY_OK;

    if (s == NULL) {
        return alloc_failed(error, sizeof *s);
    }
    s->allocator = *site->allocator;
    (void)read_shape(site, &s->shape); /* accepted before */
    s->batch = x->dims[0].size;
    s->groups = x->dims[1].size / s->shape.channels;
    s->rows = provider_input_type(site, 1)->dims[0].size / s->groups;
    s->columns = s->shape.out_h * s->shape.out_w;
    s->k = s->shape.channels * s->shape.kernel_h * s->shape.kernel_w;
    s->varies = weights == NULL;
    s->weights = weights != NULL ? weights->data : NULL;
    s->clamp = provider_finish(site);
    if (s->shape.channels == 1 && s->groups > 1) {
        s->depthwise = conv_f32_depthwise_select();
        step->kernel = s->depthwise->name;
        step->plan = "planes";
    } else {
        s->gemm = gemm_f32_select();
        s->packer = conv_f32_pack_select();
        step->kernel = s->gemm->name;
        step->plan = "patches";
        choose_slices(s, threads_count(site->team));
        step->threads = (int)provider_least(product_pieces(s), threads_count(site->team));
        status = make_packed(site, s, error);
        step->packed_bytes = (size_t)(s->packed_size * s->groups) * sizeof(float);
    }
    if (status != SPRY_OK) {
        alloc_release(site->allocator, s, sizeof *s);
        return status;
    }
    step->state = s;
    step->workspace_bytes =
        (size_t)s->worker_floats * sizeof(float) * (size_t)threads_count(site->team);
    return SPRY_OK;
}

static void destroy(void *state)
{
    conv_state *s = state;
    spry_allocator allocator = s->allocator;

    packed_release(&allocator, &s->packed);
    alloc_release(&allocator, s, sizeof *s);
}

typedef struct conv_run {
    const conv_state *s;
    const float *x;
    const float *residual; /* NULL: none */
    float *y;
    float *workspace;
} conv_run;

/* One piece: (image, group, slice of rows, slice of columns). */
static void run_product(const conv_run *r, int64_t piece, int worker)
{
    const conv_state *s = r->s;
    int64_t column_pieces = provider_pieces(s->columns, s->column_slice);
    int64_t row_pieces = provider_pieces(s->rows, s->row_slice);
    int64_t column = piece % column_pieces * s->column_slice;
    int64_t row = piece / column_pieces % row_pieces * s->row_slice;
    int64_t plane = piece / column_pieces / row_pieces; /* image x groups + group */
    int64_t group = plane % s->groups;
    conv_f32_image image = {&s->shape,
                            r->x + plane * s->shape.channels * s->shape.in_h * s->shape.in_w};
    int64_t channel = group * s->rows + row;
    int64_t first = (plane * s->rows + row) * s->columns;
    gemm_f32_problem p = {.m = provider_least(s->rows - row, s->row_slice),
                          .k = s->k,
                          .n_first = column,
                          .n = provider_least(s->columns - column, s->column_slice),
                          .packed_a =
                              (const float *)s->packed.data + group * s->packed_size + row * s->k,
                          .b = {NULL, s->packer->pack, &image},
                          .c = r->y + first,
                          .c_stride = s->columns,
                          .finish = {.row_bias = s->bias != NULL ? s->bias + channel : NULL,
                                     .residual = r->residual != NULL ? r->residual + first : NULL,
                                     .residual_stride = s->columns,
                                     .lower = s->clamp.lower,
                                     .upper = s->clamp.upper}};

    gemm_f32_run(s->gemm, &p, r->workspace + worker * s->worker_floats);
}

static void run_products(void *context, int64_t begin, int64_t end, int worker)
{
    for (int64_t piece = begin; piece < end; piece++) {
        run_product(context, piece, worker);
    }
}

/* Output planes [begin, end) of all images. */
static void run_depthwise(void *context, int64_t begin, int64_t end, int worker)
{
    const conv_run *r = context;
    const conv_state *s = r->s;
    conv_f32_planes p = {.shape = &s->shape,
                         .first = begin,
                         .count = end - begin,
                         .channels = s->groups * s->rows,
                         .multiplier = s->rows,
                         .in = r->x,
                         .weights = s->weights,
                         .bias = s->bias,
                         .residual = r->residual,
                         .lower = s->clamp.lower,
                         .upper = s->clamp.upper,
                         .out = r->y};

    (void)worker;
    s->depthwise->run(&p);
}

static spry_status run(void *state, op_call *call, void *workspace)
{
    enum { PIXELS_PER_PIECE = 16384 };
    conv_state *s = state;
    const tensor *x = op_call_input(call, 0);
    conv_run r = {
        .s = s, .x = x->data, .residual = provider_residual(call), .workspace = workspace};
    int64_t shape[4] = {s->batch, s->groups * s->rows, s->shape.out_h, s->shape.out_w};
    tensor *y;
    spry_status status;

    if (x->rank == 3) {
        shape[2] = s->shape.out_w;
    }
    status = op_call_output(call, 0, SPRY_DTYPE_F32, x->rank, shape, &y);
    if (status != SPRY_OK || y == NULL) {
        return status;
    }
    r.y = y->data;
    s->bias = provider_bias(call);
    s->weights = op_call_input(call, 1)->data;
    if (s->varies && s->depthwise == NULL) {
        (void)pack_weights(s, s->packed.memory, NULL);
    }
    if (s->depthwise != NULL) {
        int64_t planes = s->batch * s->groups * s->rows;
        int workers = threads_count(call->team);
        int64_t share = provider_pieces(planes, workers > 1 ? workers * PIECES_PER_WORKER : 1);
        int64_t least_share = PIXELS_PER_PIECE / s->columns + 1;

        threads_for(call->team, planes, share > least_share ? share : least_share, run_depthwise,
                    &r);
    } else {
        threads_for(call->team, product_pieces(s), 1, run_products, &r);
    }
    return SPRY_OK;
}

const provider provider_conv_f32 = {"conv_f32", PROVIDER_FUSES_SUMS, accepts, create, run, destroy};
