/* QLinearConv and ConvInteger (one or two spatial axes, constant weights) by integer products that
 * gather patches on the way, or by the depthwise kernel. */
#include <string.h>

#include "base/alloc.h"
#include "base/checked.h"
#include "kernels/conv/conv_s8.h"
#include "runtime/layout.h"
#include "runtime/provider_integer.h"
#include "runtime/providers.h"

enum { PIECES_PER_MEMBER = 4 }; /* of a team: so that nobody waits long for the last */

typedef struct conv_state {
    spry_allocator allocator;
    integer_node node;
    integer_channels channels;
    conv_f32_shape shape;
    int64_t batch;
    int64_t groups;
    int64_t rows;    /* output channels per group */
    int64_t columns; /* output pixels */
    int64_t k;       /* channels per group x kernel taps */
    const gemm_s8_kernel *gemm;
    const conv_s8_depthwise_kernel *depthwise; /* NULL: matrix product */
    void *packed;        /* [groups][packed_size] bytes, or i16 weights of the depthwise kernel */
    int64_t packed_size; /* bytes per group */
    int64_t row_slice;   /* rows and columns per piece of work */
    int64_t column_slice;
    bool needs_halo;
    conv_s8_halo halo;
    int64_t image_size;  /* workspace: the group's or image's planes with halos; 0: none */
    int64_t worker_size; /* workspace per worker: packed patches, then sums of patches */
    int64_t block_size;  /* of the packed patches */
} conv_state;

/* A product of pixels, whose rows may be seen as one. */
static bool is_pointwise(const conv_f32_shape *s)
{
    return s->kernel_h == 1 && s->kernel_w == 1 && s->stride_h == 1 && s->stride_w == 1 &&
           s->pad_h == 0 && s->pad_w == 0 && s->in_h == s->out_h && s->in_w == s->out_w;
}

static bool read_halo(conv_state *s)
{
    enum { MOST_EXTENT = 1 << 20 };
    int64_t channels = s->shape.channels * s->groups;

    s->needs_halo =
        !is_pointwise(&s->shape) || s->node.x_flip != 0 || s->columns % CONV_S8_CHUNK != 0;
    if (is_pointwise(&s->shape)) {
        s->shape.in_w = s->shape.out_w = s->columns;
        s->shape.in_h = s->shape.out_h = 1;
    }
    s->halo = conv_s8_halo_of(&s->shape);
    return s->halo.rows <= MOST_EXTENT && s->halo.pitch <= MOST_EXTENT &&
           s->halo.bytes <= INT32_MAX / channels;
}

static bool read_problem(const provider_site *site, conv_state *s)
{
    const graph_type *x;
    const graph_type *y = provider_output_type(site, 0);
    window w;

    memset(s, 0, sizeof *s);
    if (layout_is_nhwc(site->node) || !integer_read(site, "QLinearConv", "ConvInteger", &s->node)) {
        return false;
    }
    x = provider_input_type(site, s->node.ports.x);
    if ((x->rank != 3 && x->rank != 4) || s->node.w->rank != x->rank || op_work_count(y) == 0 ||
        !provider_window(site, x, s->node.w->shape, &w)) {
        return false;
    }
    s->shape = provider_plane_shape(&w, s->node.w->shape[1]);
    if (s->shape.channels <= 0 || x->dims[1].size % s->shape.channels != 0) {
        return false;
    }
    s->batch = x->dims[0].size;
    s->groups = x->dims[1].size / s->shape.channels;
    s->rows = s->groups > 0 ? s->node.w->shape[0] / s->groups : 0;
    s->columns = s->shape.out_h * s->shape.out_w;
    s->k = s->shape.channels * s->shape.kernel_h * s->shape.kernel_w;
    return s->rows > 0 && s->rows * s->groups == s->node.w->shape[0] && read_halo(s) &&
           integer_fits(site, &s->node, s->rows * s->groups, s->k);
}

static bool accepts(const provider_site *site)
{
    conv_state s;

    return read_problem(site, &s);
}

static void release(conv_state *s)
{
    spry_allocator allocator = s->allocator;

    integer_channels_release(&allocator, &s->channels);
    alloc_release(&allocator, s->packed, (size_t)(s->packed_size * s->groups));
    alloc_release(&allocator, s, sizeof *s);
}

static int64_t round_up(int64_t bytes)
{
    return (bytes + 63) / 64 * 64;
}

/* Pieces enough for the team: slices of columns, which share nothing; where there are few columns,
 * slices of rows as well, which all pack the same patches. Sums are exact, so that results do not
 * depend on it. */
static void choose_slices(conv_state *s, int members)
{
    int64_t mr = s->gemm->mr;
    int64_t nr = s->gemm->nr;
    int64_t wanted = members > 1 ? provider_pieces(members * PIECES_PER_MEMBER, s->groups) : 1;
    int64_t panels = provider_pieces(s->columns, nr);
    int64_t column_pieces = panels < wanted ? panels : wanted;
    int64_t row_pieces = column_pieces < members ? provider_pieces(members, column_pieces) : 1;
    int64_t block = gemm_s8_block(s->gemm, s->k);

    s->column_slice = provider_pieces(panels, column_pieces) * nr;
    s->column_slice = s->column_slice < block ? s->column_slice : block;
    s->row_slice =
        provider_pieces(provider_pieces(s->rows, mr), s->groups < members ? row_pieces : 1) * mr;
    s->block_size = round_up(gemm_s8_workspace(s->gemm, s->k, s->column_slice));
    s->worker_size = s->block_size + round_up(s->column_slice * (int64_t)sizeof(int32_t));
    if (s->needs_halo) {
        s->image_size = round_up(s->halo.bytes * s->shape.channels * s->groups + CONV_S8_SLACK);
    }
}

static void fill_packed(conv_state *s)
{
    const uint8_t *w = s->node.w->data;
    int16_t *wide = s->packed;

    if (s->depthwise != NULL) {
        for (int64_t i = 0; i < s->groups * s->rows * s->k; i++) {
            wide[i] = (int16_t)((int8_t)(w[i] ^ s->node.w_flip) - s->node.w_zero);
        }
        return;
    }
    for (int64_t g = 0; g < s->groups; g++) {
        gemm_s8_matrix a = {w + g * s->rows * s->k, s->k, 1, s->k, s->node.w_flip};

        gemm_s8_pack(&a, 0, s->rows, s->gemm->mr, (uint8_t *)s->packed + g * s->packed_size);
    }
}

static spry_status pack_weights(conv_state *s, spry_error *error)
{
    size_t bytes;

    s->packed_size = s->depthwise != NULL ? s->rows * s->k * (int64_t)sizeof(int16_t)
                                          : gemm_s8_packed_size(s->rows, s->k, s->gemm->mr);
    if (!checked_mul((size_t)s->packed_size, (size_t)s->groups, &bytes)) {
        return alloc_failed(error, SIZE_MAX);
    }
    s->packed = alloc_bytes(&s->allocator, bytes);
    if (s->packed == NULL) {
        return alloc_failed(error, bytes);
    }
    fill_packed(s);
    return integer_channels_create(&s->allocator, &s->node, s->rows * s->groups, s->k, s->k, 1,
                                   &s->channels, error);
}

static spry_status create(const provider_site *site, provider_step *step, spry_error *error)
{
    conv_state *s = alloc_zeroed(site->allocator, sizeof *s);
    spry_status status;

    if (s == NULL) {
        return alloc_failed(error, sizeof *s);
    }
    (void)read_problem(site, s); /* accepted before */
    s->allocator = *site->allocator;
    if (s->shape.channels == 1 && s->groups > 1) {
        s->depthwise = conv_s8_depthwise_select();
        step->kernel = s->depthwise->name;
        s->worker_size = round_up(s->halo.bytes + CONV_S8_SLACK);
    } else {
        s->gemm = gemm_s8_select();
        step->kernel = s->gemm->name;
        choose_slices(s, threads_count(site->team));
    }
    status = pack_weights(s, error);
    if (status != SPRY_OK) {
        release(s);
        return status;
    }
    step->state = s;
    step->packed_bytes = (size_t)(s->packed_size * s->groups);
    step->workspace_bytes = integer_room(&s->channels) + (size_t)s->image_size +
                            (size_t)s->worker_size * (size_t)threads_count(site->team);
    return SPRY_OK;
}

static void destroy(void *state)
{
    release(state);
}

typedef struct conv_run {
    const conv_state *s;
    const uint8_t *x; /* this image */
    uint8_t zero;     /* the byte of padding */
    uint8_t *y;
    size_t y_size; /* of an element */
    gemm_s8_finish finish;
    const uint8_t *image; /* `x`, or its copy with halos */
    uint8_t *halos;       /* that copy */
    uint8_t *workers;
} conv_run;

static void add_halo(const conv_run *r, int64_t channel, uint8_t *to)
{
    const conv_state *s = r->s;

    conv_s8_add_halo(&s->shape, &s->halo, r->x + channel * s->shape.in_h * s->shape.in_w, r->zero,
                     s->node.x_flip, to);
}

/* Input channels [begin, end). */
static void run_halos(void *context, int64_t begin, int64_t end, int worker)
{
    const conv_run *r = context;

    (void)worker;
    for (int64_t channel = begin; channel < end; channel++) {
        add_halo(r, channel, r->halos + channel * r->s->halo.bytes);
    }
}

/* One piece: (group, slice of rows, slice of columns). */
static void run_product(const conv_run *r, int64_t piece, int worker)
{
    const conv_state *s = r->s;
    int64_t column_pieces = provider_pieces(s->columns, s->column_slice);
    int64_t row_pieces = provider_pieces(s->rows, s->row_slice);
    int64_t column = piece % column_pieces * s->column_slice;
    int64_t row = piece / column_pieces % row_pieces * s->row_slice;
    int64_t group = piece / column_pieces / row_pieces;
    int64_t channel = group * s->rows + row;
    uint8_t *block = r->workers + worker * s->worker_size;
    conv_s8_image image = {&s->shape, &s->halo,
                           r->image + group * s->shape.channels * s->halo.bytes};
    gemm_s8_problem p = {.m = provider_least(s->rows - row, s->row_slice),
                         .k = s->k,
                         .n_first = column,
                         .n = provider_least(s->columns - column, s->column_slice),
                         .packed_a = (const uint8_t *)s->packed + group * s->packed_size +
                                     row * gemm_s8_padded(s->k),
                         .b = {NULL, conv_s8_pack, &image},
                         .c = r->y + (size_t)(channel * s->columns) * r->y_size,
                         .c_stride = s->columns,
                         .finish = r->finish};

    if (s->node.w_zero != 0) {
        p.b_factor = -s->node.w_zero;
        p.b_sums = (int32_t *)(void *)(block + s->block_size);
    }
    p.finish.row_offset += channel;
    p.finish.row_factor = r->finish.row_factor != NULL ? r->finish.row_factor + channel : NULL;
    gemm_s8_run(s->gemm, &p, block);
}

static void run_products(void *context, int64_t begin, int64_t end, int worker)
{
    for (int64_t piece = begin; piece < end; piece++) {
        run_product(context, piece, worker);
    }
}

/* Input channels [begin, end), each with its `rows` outputs. */
static void run_depthwise(void *context, int64_t begin, int64_t end, int worker)
{
    const conv_run *r = context;
    const conv_state *s = r->s;
    uint8_t *plane = r->workers + worker * s->worker_size;

    for (int64_t channel = begin; channel < end; channel++) {
        add_halo(r, channel, plane);
        for (int64_t row = channel * s->rows; row < (channel + 1) * s->rows; row++) {
            conv_s8_plane p = {.shape = &s->shape,
                               .halo = &s->halo,
                               .in = plane,
                               .weights = (const int16_t *)s->packed + row * s->k,
                               .finish = &r->finish,
                               .row = (int)row,
                               .out = r->y + (size_t)(row * s->columns) * r->y_size};

            s->depthwise->run(&p);
        }
    }
}

static void run_image(conv_run *r, threads *team)
{
    enum { PIXELS_PER_PIECE = 32768 };
    const conv_state *s = r->s;
    int64_t channels = s->groups * s->shape.channels;

    if (s->depthwise != NULL) {
        threads_for(team, channels, PIXELS_PER_PIECE / (s->columns * s->rows) + 1, run_depthwise,
                    r);
        return;
    }
    r->image = r->x;
    if (s->needs_halo) {
        threads_for(team, channels, PIXELS_PER_PIECE / s->halo.bytes + 1, run_halos, r);
        r->image = r->halos;
    }
    threads_for(team,
                s->groups * provider_pieces(s->rows, s->row_slice) *
                    provider_pieces(s->columns, s->column_slice),
                1, run_products, r);
}

static spry_status run(void *state, op_call *call, void *workspace)
{
    const conv_state *s = state;
    const tensor *x = op_call_input(call, s->node.ports.x);
    int64_t image = s->groups * s->shape.channels * s->shape.in_h * s->shape.in_w;
    conv_run r = {.s = s,
                  .zero = (uint8_t)integer_zero(&s->node, call),
                  .halos = (uint8_t *)workspace + integer_room(&s->channels)};
    const graph_type *type = &call->g->values[call->node->outputs[0]].type;
    int64_t shape[4] = {s->batch, s->groups * s->rows, type->dims[2].size, type->dims[3].size};
    const int32_t *offsets;
    const float *factors;
    tensor *y;
    spry_status status = op_call_output(call, 0, s->node.y_dtype, x->rank, shape, &y);

    if (status != SPRY_OK || y == NULL) {
        return status;
    }
    r.workers = r.halos + s->image_size;
    r.y_size = spry_dtype_bits(y->dtype) / 8;
    r.finish = integer_finish(&s->node, &s->channels, call, workspace, &offsets, &factors);
    r.finish.row_offset = offsets;
    r.finish.row_factor = factors;
    for (int64_t i = 0; i < s->batch; i++) {
        r.x = (const uint8_t *)x->data + i * image;
        r.y = (uint8_t *)y->data + (size_t)(i * s->groups * s->rows * s->columns) * r.y_size;
        run_image(&r, call->team);
    }
    return SPRY_OK;
}

const provider provider_conv_s8 = {"conv_s8", PROVIDER_FUSES_NOTHING, accepts, create, run,
                                   destroy};
