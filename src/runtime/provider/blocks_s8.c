/* What blocks.h makes: products of bytes with weights in blocks of scales.
 *
 * A column of weights is held block by block, in each all taps of its input channels, filled up to
 * whole steps of the kernel. Rows of the input are brought into that order: images by turning them
 * channels-last, on the way of which reordered channels find their places. */
#include <math.h>
#include <string.h>

#include "base/alloc.h"
#include "base/checked.h"
#include "kernels/brgemm/blocks_s8.h"
#include "runtime/blocks.h"
#include "runtime/fuse.h"
#include "runtime/provider/providers.h"
#include "tensor/convert.h"

enum {
    GROUP = 4,                /* k of a step */
    SLICE_BYTES = 128 * 1024, /* of rows that stay in cache while all columns pass by */
    TURN_PIXELS = 256,        /* per piece */
    MOST_K = 65536
};

typedef struct blocks_state {
    spry_allocator allocator;
    const blocks_s8_kernel *kernel;
    bool is_conv;
    window w;
    int64_t images, in_size, out_size; /* products: 1 image, rows are its pixels */
    int64_t n, channels, taps;
    int64_t block, blocks; /* channels of a block */
    int64_t width;         /* bytes of a row in the kernel's order */
    bool is_direct;        /* rows of the input are in that order */
    bool is_turned;        /* the input has to be */
    uint8_t flip, zero;    /* the byte that means 0 */
    const int64_t *places;
    const float *bias;
    uint8_t *packed;
    size_t packed_bytes;
    int32_t *offsets; /* [blocks][n] */
    float *factors;
    int64_t slice; /* rows of a piece */
    size_t turn_bytes, rows_bytes, worker_bytes;
} blocks_state;

/* The node's constants. */
typedef struct blocks_weights {
    const tensor *codes, *scales;
    int64_t axis;
    double x_scale;
    int32_t x_zero;
} blocks_weights;

static int64_t round_up(int64_t n, int64_t multiple)
{
    return (n + multiple - 1) / multiple * multiple;
}

/* ---- reading ---- */

static bool is_bytes(const graph_type *type)
{
    return type != NULL && (type->dtype == SPRY_DTYPE_U8 || type->dtype == SPRY_DTYPE_I8);
}

static bool read_input(const provider_site *site, const graph_type *x, blocks_state *s)
{
    int64_t count;
    const int64_t *kernel = graph_attribute_ints(site->node, BLOCKS_KERNEL, &count);
    const char *reason;
    int64_t in[WINDOW_MOST_AXES];

    s->is_conv = strcmp(site->node->type, "Conv") == 0;
    s->taps = 1;
    if (!s->is_conv) {
        s->images = 1;
        s->channels = x->dims[x->rank - 1].size;
        s->in_size = op_work_count(x) / s->channels;
        s->out_size = s->in_size;
        return true;
    }
    if (kernel == NULL || x->rank != count + 2 ||
        graph_attribute_int(site->node, "group", 1) != 1) {
        return false;
    }
    s->images = x->dims[0].size;
    s->channels = x->dims[1].size;
    s->in_size = 1;
    s->out_size = 1;
    for (int64_t i = 0; i < count; i++) {
        in[i] = x->dims[i + 2].size;
        s->taps *= kernel[i];
    }
    if (!window_from_node(site->node, (int)count, in, kernel, false, &s->w, &reason)) {
        return false;
    }
    for (int64_t i = 0; i < count; i++) {
        s->in_size *= s->w.in[i];
        s->out_size *= s->w.out[i];
    }
    return true;
}

static bool is_pointwise(const blocks_state *s)
{
    bool plain = s->taps == 1;

    for (int i = 0; s->is_conv && i < s->w.rank; i++) {
        plain = plain && s->w.stride[i] == 1 && s->w.pad_begin[i] == 0 && s->w.pad_end[i] == 0;
    }
    return plain;
}

static bool has_port(const provider_site *site, int port)
{
    return port < site->node->input_count && site->node->inputs[port] != GRAPH_NONE;
}

static bool read_scalars(const provider_site *site, blocks_weights *w, blocks_state *s)
{
    const tensor *scale = provider_constant(site, BLOCKS_X_SCALE);
    const tensor *zero = provider_constant(site, BLOCKS_X_ZERO);
    const tensor *places = provider_constant(site, BLOCKS_PLACES);
    const tensor *bias = provider_constant(site, BLOCKS_BIAS);

    if (scale == NULL || tensor_count(scale) != 1 ||
        (has_port(site, BLOCKS_X_ZERO) && zero == NULL) ||
        (has_port(site, BLOCKS_PLACES) &&
         (places == NULL || places->dtype != SPRY_DTYPE_I64 || places->rank != 1 ||
          tensor_count(places) != s->channels)) ||
        (has_port(site, BLOCKS_BIAS) &&
         (bias == NULL || bias->dtype != SPRY_DTYPE_F32 || tensor_count(bias) != s->n))) {
        return false;
    }
    w->x_scale = convert_get_f64(scale, 0);
    w->x_zero = zero != NULL ? (int32_t)convert_get_f64(zero, 0) : 0;
    s->bias = bias != NULL ? bias->data : NULL;
    s->places = places != NULL ? places->data : NULL;
    for (int64_t i = 0; s->places != NULL && i < s->channels; i++) {
        if (s->places[i] < 0 || s->places[i] >= s->channels) {
            return false;
        }
    }
    return true;
}

static bool read_weights(const provider_site *site, blocks_weights *w, blocks_state *s)
{
    int64_t block = graph_attribute_int(site->node, BLOCKS_SIZE, 0);
    int64_t k;

    w->codes = provider_constant(site, BLOCKS_CODES);
    w->scales = provider_constant(site, BLOCKS_SCALES);
    w->axis = graph_attribute_int(site->node, BLOCKS_AXIS, 0);
    if (w->codes == NULL || w->scales == NULL || w->codes->rank != 2 || w->scales->rank != 2 ||
        (w->codes->dtype != SPRY_DTYPE_I8 && w->codes->dtype != SPRY_DTYPE_I4) ||
        w->scales->dtype != SPRY_DTYPE_F32) {
        return false;
    }
    k = w->codes->shape[w->axis];
    s->n = w->codes->shape[1 - w->axis];
    if (s->taps < 1 || k != s->channels * s->taps || block % s->taps != 0 || s->n < 1 ||
        k > MOST_K) {
        return false;
    }
    s->block = block / s->taps < s->channels ? block / s->taps : s->channels;
    s->blocks = provider_pieces(s->channels, s->block);
    return w->scales->shape[w->axis] == s->blocks && w->scales->shape[1 - w->axis] == s->n &&
           read_scalars(site, w, s);
}

static bool read_problem(const provider_site *site, blocks_weights *w, blocks_state *s)
{
    const graph_type *x = provider_input_type(site, BLOCKS_X);
    const graph_type *y = provider_output_type(site, 0);

    memset(s, 0, sizeof *s);
    if (strcmp(site->node->domain, BLOCKS_DOMAIN) != 0 || !is_bytes(x) || y == NULL ||
        y->dtype != SPRY_DTYPE_F32 || x->rank < 1 || op_work_count(x) == 0 ||
        op_work_count(y) == 0 || !read_input(site, x, s) || !read_weights(site, w, s)) {
        return false;
    }
    s->flip = x->dtype == SPRY_DTYPE_I8 ? 0x80 : 0;
    s->zero = (uint8_t)w->x_zero;
    s->width = s->blocks * round_up(s->block * s->taps, GROUP);
    s->is_turned = s->is_conv || s->places != NULL;
    s->is_direct = is_pointwise(s) && s->width == s->channels;
    return true;
}

static bool accepts(const provider_site *site)
{
    blocks_weights w;
    blocks_state s;

    return read_problem(site, &w, &s);
}

/* ---- weights ---- */

static int64_t channels_of(const blocks_state *s, int64_t block)
{
    return provider_least(s->channels - block * s->block, s->block);
}

/* Code of output `column` for the input channel at `place`. */
static int8_t code_at(const blocks_weights *w, const blocks_state *s, int64_t place, int64_t tap,
                      int64_t column)
{
    int64_t k = place * s->taps + tap;

    return (int8_t)convert_get_f64(w->codes, w->axis == 1 ? column * w->codes->shape[1] + k
                                                          : k * w->codes->shape[1] + column);
}

/* One column in the kernel's order; what fills blocks up stays 0. */
static void fill_column(const blocks_weights *w, blocks_state *s, int64_t column, int8_t *to)
{
    int32_t centre = w->x_zero + (s->flip != 0 ? 128 : 0); /* of bytes made unsigned */

    for (int64_t h = 0; h < s->blocks; h++) {
        int64_t count = channels_of(s, h);
        int8_t *block = to + h * (s->width / s->blocks);
        int64_t scale = w->axis == 1 ? column * s->blocks + h : h * s->n + column;
        int32_t sum = 0;

        for (int64_t tap = 0; tap < s->taps; tap++) {
            for (int64_t i = 0; i < count; i++) {
                int8_t code = code_at(w, s, h * s->block + i, tap, column);

                block[tap * count + i] = code;
                sum += code; /* far from overflow: at most MOST_K of them */
            }
        }
        s->offsets[h * s->n + column] = (int32_t)(0u - (uint32_t)centre * (uint32_t)sum);
        s->factors[h * s->n + column] = (float)w->x_scale * ((const float *)w->scales->data)[scale];
    }
}

static spry_status pack(const blocks_weights *w, blocks_state *s, spry_error *error)
{
    size_t entries = (size_t)(s->blocks * s->n);
    size_t bytes = (size_t)(s->width * s->n);
    int8_t *ordered = alloc_zeroed(&s->allocator, bytes); /* [n][width] */
    brgemm_source source = {.data = ordered, .k_stride = 1, .column_stride = s->width};

    s->packed_bytes = (size_t)brgemm_packed_size(s->kernel->layout, 1, s->width, s->n);
    s->packed = alloc_bytes(&s->allocator, s->packed_bytes);
    s->offsets = alloc_bytes(&s->allocator, entries * sizeof *s->offsets);
    s->factors = alloc_bytes(&s->allocator, entries * sizeof *s->factors);
    if (ordered != NULL && s->packed != NULL && s->offsets != NULL && s->factors != NULL) {
        for (int64_t j = 0; j < s->n; j++) {
            fill_column(w, s, j, ordered + j * s->width);
        }
        brgemm_pack(s->kernel->layout, &source, 1, s->width, s->n, s->packed);
    }
    alloc_release(&s->allocator, ordered, bytes);
    return ordered != NULL && s->packed != NULL && s->offsets != NULL && s->factors != NULL
               ? SPRY_OK
               : alloc_failed(error, bytes);
}

/* ---- state ---- */

static void destroy(void *state)
{
    blocks_state *s = state;
    spry_allocator allocator = s->allocator;
    size_t entries = (size_t)(s->blocks * s->n);

    alloc_release(&allocator, s->packed, s->packed_bytes);
    alloc_release(&allocator, s->offsets, entries * sizeof *s->offsets);
    alloc_release(&allocator, s->factors, entries * sizeof *s->factors);
    alloc_release(&allocator, s, sizeof *s);
}

static bool plan_room(blocks_state *s, int members, size_t *bytes)
{
    int64_t slice = SLICE_BYTES / s->width / s->kernel->mr;
    size_t workers;

    s->slice = (slice > 1 ? slice : 1) * s->kernel->mr;
    s->turn_bytes = s->is_turned ? (size_t)round_up(s->images * s->in_size * s->channels, 64) : 0;
    s->rows_bytes = s->is_direct ? 0 : (size_t)round_up(s->slice * s->width, 64);
    s->worker_bytes =
        s->rows_bytes +
        (s->is_conv ? (size_t)round_up(s->slice * s->n * (int64_t)sizeof(float), 64) : 0);
    return checked_mul(s->worker_bytes, (size_t)members, &workers) &&
           checked_add(workers, s->turn_bytes, bytes);
}

static spry_status create(const provider_site *site, provider_step *step, spry_error *error)
{
    blocks_state *s = alloc_zeroed(site->allocator, sizeof *s);
    blocks_weights w;
    spry_status status;

    if (s == NULL) {
        return alloc_failed(error, sizeof *s);
    }
    (void)read_problem(site, &w, s); /* accepted before */
    s->allocator = *site->allocator;
    s->kernel = blocks_s8_select();
    status = pack(&w, s, error);
    if (status == SPRY_OK && !plan_room(s, threads_count(site->team), &step->workspace_bytes)) {
        status = alloc_failed(error, SIZE_MAX);
    }
    if (status != SPRY_OK) {
        destroy(s);
        return status;
    }
    step->state = s;
    step->kernel = s->kernel->name;
    step->packed_bytes = s->packed_bytes;
    return SPRY_OK;
}

/* ---- running ---- */

typedef struct blocks_run {
    const blocks_state *s;
    const uint8_t *x;    /* as it comes */
    const uint8_t *rows; /* [images][in_size][channels], in the order of blocks */
    uint8_t *turned;
    float *y;
    uint8_t *workers;
    float lower, upper;
} blocks_run;

static int64_t place_of(const blocks_state *s, int64_t channel)
{
    return s->places != NULL ? s->places[channel] : channel;
}

/* Pieces of TURN_PIXELS pixels of an image. */
static void turn_pixels(void *context, int64_t begin, int64_t end, int worker)
{
    const blocks_run *r = context;
    const blocks_state *s = r->s;
    int64_t pieces = provider_pieces(s->in_size, TURN_PIXELS);

    (void)worker;
    for (int64_t i = begin; i < end; i++) {
        int64_t image = i / pieces * s->in_size;
        int64_t first = i % pieces * TURN_PIXELS;
        int64_t last = provider_least(s->in_size, first + TURN_PIXELS);

        for (int64_t c = 0; c < s->channels; c++) {
            const uint8_t *from = r->x + (s->is_conv ? image * s->channels + c * s->in_size : c);
            uint8_t *to = r->turned + image * s->channels + place_of(s, c);
            int64_t stride = s->is_conv ? 1 : s->channels;

            for (int64_t p = first; p < last; p++) {
                to[p * s->channels] = from[p * stride];
            }
        }
    }
}

/* Pixel of the image under a tap, or -1. */
static int64_t pixel_under(const blocks_state *s, int64_t pixel, int64_t tap)
{
    int64_t scale = 1;
    int64_t sum = 0;

    for (int axis = s->w.rank - 1; s->is_conv && axis >= 0; axis--) {
        int64_t at = pixel % s->w.out[axis] * s->w.stride[axis] - s->w.pad_begin[axis] +
                     tap % s->w.kernel[axis] * s->w.dilation[axis];

        if (at < 0 || at >= s->w.in[axis]) {
            return -1;
        }
        sum += at * scale;
        scale *= s->w.in[axis];
        pixel /= s->w.out[axis];
        tap /= s->w.kernel[axis];
    }
    return s->is_conv ? sum : pixel;
}

static void gather_row(const blocks_state *s, const uint8_t *image, int64_t pixel, uint8_t *to)
{
    int64_t pitch = s->width / s->blocks;

    for (int64_t tap = 0; tap < s->taps; tap++) {
        int64_t at = pixel_under(s, pixel, tap);

        for (int64_t h = 0; h < s->blocks; h++) {
            int64_t count = channels_of(s, h);
            uint8_t *block = to + h * pitch + tap * count;

            if (at >= 0) {
                memcpy(block, image + at * s->channels + h * s->block, (size_t)count);
            } else {
                memset(block, s->zero, (size_t)count);
            }
        }
    }
}

/* [rows][n] to [n][out_size]. */
static void put_planes(const blocks_state *s, const float *from, int64_t rows, float *to)
{
    for (int64_t j = 0; j < s->n; j++) {
        for (int64_t i = 0; i < rows; i++) {
            to[j * s->out_size + i] = from[i * s->n + j];
        }
    }
}

static void run_slice(const blocks_run *r, int64_t image, int64_t first, int64_t rows, int worker)
{
    const blocks_state *s = r->s;
    uint8_t *room = r->workers + (size_t)worker * s->worker_bytes;
    const uint8_t *source = r->rows + image * s->in_size * s->channels;
    float *y = r->y + (image * s->out_size + first) * s->n;
    blocks_s8_problem p = {.m = rows,
                           .n = s->n,
                           .tile = {.a = source + first * s->channels,
                                    .a_pitch = s->width,
                                    .b = s->packed,
                                    .steps = s->width / GROUP,
                                    .block = s->width / s->blocks / GROUP,
                                    .flip = s->flip,
                                    .offsets = s->offsets,
                                    .factors = s->factors,
                                    .pitch = s->n,
                                    .bias = s->bias,
                                    .lower = r->lower,
                                    .upper = r->upper,
                                    .c = y,
                                    .c_pitch = s->n}};

    if (!s->is_direct) {
        for (int64_t i = 0; i < rows; i++) {
            gather_row(s, source, first + i, room + i * s->width);
        }
        p.tile.a = room;
    }
    if (s->is_conv) {
        p.tile.c = (float *)(void *)(room + s->rows_bytes);
    }
    blocks_s8_run(s->kernel, &p);
    if (s->is_conv) {
        put_planes(s, p.tile.c, rows, r->y + image * s->out_size * s->n + first);
    }
}

static void run_pieces(void *context, int64_t begin, int64_t end, int worker)
{
    const blocks_run *r = context;
    const blocks_state *s = r->s;
    int64_t pieces = provider_pieces(s->out_size, s->slice);

    for (int64_t i = begin; i < end; i++) {
        int64_t first = i % pieces * s->slice;

        run_slice(r, i / pieces, first, provider_least(s->out_size - first, s->slice), worker);
    }
}

static spry_status run(void *state, op_call *call, void *workspace)
{
    const blocks_state *s = state;
    blocks_run r = {.s = s,
                    .x = op_call_input(call, BLOCKS_X)->data,
                    .turned = workspace,
                    .workers = (uint8_t *)workspace + s->turn_bytes,
                    .lower = graph_attribute_float(call->node, FUSE_LOWER, -INFINITY),
                    .upper = graph_attribute_float(call->node, FUSE_UPPER, INFINITY)};
    tensor *y;
    spry_status status = provider_output(call, SPRY_DTYPE_F32, &y);

    if (status != SPRY_OK || y == NULL) {
        return status;
    }
    r.y = y->data;
    r.rows = s->is_turned ? r.turned : r.x;
    if (s->is_turned) {
        threads_for(call->team, s->images * provider_pieces(s->in_size, TURN_PIXELS), 1,
                    turn_pixels, &r);
    }
    threads_for(call->team, s->images * provider_pieces(s->out_size, s->slice), 1, run_pieces, &r);
    return SPRY_OK;
}

const provider provider_blocks_s8 = {"blocks_s8", PROVIDER_FUSES_NOTHING, accepts, create, run,
                                     destroy};
