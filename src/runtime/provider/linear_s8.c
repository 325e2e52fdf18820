/* QuantizeLinear and DequantizeLinear between f32 and bytes of one scale, QLinearAdd of equal
 * shapes, and tables of bytes. */
#include <math.h>
#include <string.h>

#include "base/alloc.h"
#include "kernels/elementwise/linear_s8.h"
#include "runtime/fuse.h"
#include "runtime/integer/integer.h"
#include "runtime/provider/providers.h"
#include "runtime/provider/strips.h"

typedef enum linear_kind {
    LINEAR_NONE,
    LINEAR_QUANTIZE,
    LINEAR_DEQUANTIZE,
    LINEAR_ADD,
    LINEAR_TABLE
} linear_kind;

typedef struct linear_state {
    spry_allocator allocator;
    const linear_s8_kernel *kernel;
    linear_kind kind;
    float lower, upper; /* of the sum, in real numbers */
    int64_t row;        /* elements of a row of a channels-last image */
} linear_state;

static bool is_bytes(const graph_type *type)
{
    return type != NULL && (type->dtype == SPRY_DTYPE_U8 || type->dtype == SPRY_DTYPE_I8);
}

static bool is_f32(const graph_type *type)
{
    return type != NULL && type->dtype == SPRY_DTYPE_F32;
}

/* A scale of one f32, and one zero point or none, at `port` and after it. */
static bool has_single_scale(const provider_site *site, int port)
{
    const graph_type *scale = provider_input_type(site, port);
    bool has_zero =
        port + 1 < site->node->input_count && site->node->inputs[port + 1] != GRAPH_NONE;
    const graph_type *zero = has_zero ? provider_input_type(site, port + 1) : NULL;

    return is_f32(scale) && op_work_count(scale) == 1 &&
           (!has_zero || (zero != NULL && op_work_count(zero) == 1));
}

static bool same_shape(const graph_type *a, const graph_type *b)
{
    bool same = a->rank == b->rank;

    for (int i = 0; same && i < a->rank; i++) {
        same = a->dims[i].size == b->dims[i].size;
    }
    return same;
}

static bool is_sum(const provider_site *site)
{
    const graph_node *n = site->node;
    const graph_type *a = provider_input_type(site, INTEGER_X);
    const graph_type *b = provider_input_type(site, INTEGER_W);

    return strcmp(n->type, "QLinearAdd") == 0 &&
           (strcmp(n->domain, INTEGER_DOMAIN) == 0 || strcmp(n->domain, "com.microsoft") == 0) &&
           is_bytes(a) && is_bytes(b) && is_bytes(provider_output_type(site, 0)) &&
           same_shape(a, b) && has_single_scale(site, INTEGER_X + 1) &&
           has_single_scale(site, INTEGER_W + 1) && has_single_scale(site, INTEGER_Y_SCALE);
}

static bool is_table(const provider_site *site)
{
    const graph_type *table = provider_input_type(site, 1);

    return strcmp(site->node->domain, INTEGER_DOMAIN) == 0 &&
           strcmp(site->node->type, INTEGER_TABLE) == 0 && is_bytes(provider_input_type(site, 0)) &&
           is_bytes(provider_output_type(site, 0)) && is_bytes(table) &&
           op_work_count(table) == 256;
}

static linear_kind kind_of(const provider_site *site)
{
    const graph_type *x = provider_input_type(site, 0);
    const graph_type *y = provider_output_type(site, 0);

    if (is_sum(site)) {
        return LINEAR_ADD;
    }
    if (is_table(site)) {
        return LINEAR_TABLE;
    }
    if (site->node->domain[0] != '\0' || !has_single_scale(site, 1)) {
        return LINEAR_NONE;
    }
    if (strcmp(site->node->type, "QuantizeLinear") == 0 && is_f32(x) && is_bytes(y)) {
        return LINEAR_QUANTIZE;
    }
    return strcmp(site->node->type, "DequantizeLinear") == 0 && is_bytes(x) && is_f32(y)
               ? LINEAR_DEQUANTIZE
               : LINEAR_NONE;
}

static bool accepts(const provider_site *site)
{
    return graph_attribute_int(site->node, "block_size", 0) == 0 && kind_of(site) != LINEAR_NONE;
}

static spry_status create(const provider_site *site, provider_step *step, spry_error *error)
{
    linear_state *s = alloc_zeroed(site->allocator, sizeof *s);

    if (s == NULL) {
        return alloc_failed(error, sizeof *s);
    }
    s->allocator = *site->allocator;
    s->kernel = linear_s8_select();
    s->kind = kind_of(site);
    s->lower = graph_attribute_float(site->node, FUSE_LOWER, -INFINITY);
    s->upper = graph_attribute_float(site->node, FUSE_UPPER, INFINITY);
    step->state = s;
    step->kernel = s->kernel->name;
    return SPRY_OK;
}

static void destroy(void *state)
{
    linear_state *s = state;
    spry_allocator allocator = s->allocator;

    alloc_release(&allocator, s, sizeof *s);
}

typedef struct linear_run {
    const linear_state *s;
    const void *x, *other;
    void *y;
    linear_s8_grid x_grid, other_grid;
    float scale; /* of the result */
    quantize_target target;
} linear_run;

static void run_elements(void *context, int64_t begin, int64_t end, int worker)
{
    const linear_run *r = context;
    const linear_s8_kernel *kernel = r->s->kernel;
    int64_t n = end - begin;

    (void)worker;
    switch (r->s->kind) {
    case LINEAR_QUANTIZE:
        kernel->quantize((uint8_t *)r->y + begin, (const float *)r->x + begin, n, r->scale,
                         r->target);
        break;
    case LINEAR_DEQUANTIZE:
        kernel->dequantize((float *)r->y + begin, (const uint8_t *)r->x + begin, n, r->x_grid);
        break;
    case LINEAR_TABLE:
        kernel->look_up((uint8_t *)r->y + begin, (const uint8_t *)r->x + begin, n, r->other);
        break;
    default:
        kernel->add((uint8_t *)r->y + begin, (const uint8_t *)r->x + begin, r->x_grid,
                    (const uint8_t *)r->other + begin, r->other_grid, n, r->scale, r->target);
    }
}

/* Scale and zero point at `port` and after it. */
static linear_s8_grid grid_at(const op_call *call, int port, spry_dtype dtype)
{
    return (linear_s8_grid){(float)op_call_scalar(call, port, 1.0),
                            (int32_t)op_call_scalar(call, port + 1, 0.0), dtype == SPRY_DTYPE_I8};
}

static void set_target(linear_run *r, const op_call *call, int port, spry_dtype dtype)
{
    linear_s8_grid grid = grid_at(call, port, dtype);

    r->scale = grid.scale;
    r->target = quantize_target_of(dtype, grid.zero);
}

static void clamp_target(linear_run *r)
{
    quantize_target whole = r->target;

    if (r->s->lower > -INFINITY) {
        r->target.low = quantize_f32(r->s->lower, r->scale, whole);
    }
    if (r->s->upper < INFINITY) {
        r->target.high = quantize_f32(r->s->upper, r->scale, whole);
    }
}

static void set_sum(linear_run *r, const op_call *call, spry_dtype other, spry_dtype result)
{
    r->other_grid = grid_at(call, INTEGER_W + 1, other);
    set_target(r, call, INTEGER_Y_SCALE, result);
    clamp_target(r);
}

static spry_status run(void *state, op_call *call, void *workspace)
{
    enum { ELEMENTS_PER_PIECE = 32768 };
    const linear_state *s = state;
    const tensor *x = op_call_input(call, 0);
    spry_dtype dtype = call->g->values[call->node->outputs[0]].type.dtype;
    linear_run r = {.s = s, .x = x->data};
    tensor *y;
    spry_status status = op_call_output_like(call, 0, dtype, x, &y);

    (void)workspace;
    if (status != SPRY_OK || y == NULL) {
        return status;
    }
    r.y = y->data;
    if (s->kind == LINEAR_TABLE) {
        r.other = op_call_input(call, 1)->data;
    } else if (s->kind == LINEAR_QUANTIZE) {
        set_target(&r, call, 1, dtype);
    } else {
        r.x_grid = grid_at(call, 1, x->dtype);
    }
    if (s->kind == LINEAR_ADD) {
        const tensor *other = op_call_input(call, INTEGER_W);

        r.other = other->data;
        set_sum(&r, call, other->dtype, dtype);
    }
    threads_for(call->team, tensor_count(x), ELEMENTS_PER_PIECE, run_elements, &r);
    return SPRY_OK;
}

const provider provider_linear_s8 = {"linear_s8", PROVIDER_FUSES_NOTHING, accepts, create, run,
                                     destroy};

/* ---- by strips: sums ---- */

static spry_dtype dtype_at(const op_call *call, int32_t id)
{
    return call->g->values[id].type.dtype;
}

static bool strips_read(const provider_site *site, conv_f32_shape *shape)
{
    const graph_type *x = provider_input_type(site, INTEGER_X);

    if (kind_of(site) != LINEAR_ADD) {
        return false;
    }
    *shape = (conv_f32_shape){.channels = x->dims[3].size,
                              .in_h = x->dims[1].size,
                              .in_w = x->dims[2].size,
                              .out_h = x->dims[1].size,
                              .out_w = x->dims[2].size,
                              .kernel_h = 1,
                              .kernel_w = 1,
                              .stride_h = 1,
                              .stride_w = 1,
                              .dilation_h = 1,
                              .dilation_w = 1};
    return true;
}

static spry_status strips_create(const provider_site *site, int64_t rows, strip_step *step,
                                 spry_error *error)
{
    const graph_type *x = provider_input_type(site, INTEGER_X);
    provider_step whole = {0};
    spry_status status = create(site, &whole, error);

    (void)rows;
    if (status == SPRY_OK) {
        ((linear_state *)whole.state)->row = x->dims[2].size * x->dims[3].size;
    }
    step->state = whole.state;
    step->shared_bytes = strips_padded(sizeof(linear_run));
    step->kernel = whole.kernel;
    return status;
}

static void strips_begin(const void *state, const op_call *call, void *shared)
{
    linear_run *r = shared;
    const graph_node *n = call->node;

    *r = (linear_run){.s = state, .x_grid = grid_at(call, 1, dtype_at(call, n->inputs[INTEGER_X]))};
    set_sum(r, call, dtype_at(call, n->inputs[INTEGER_W]), dtype_at(call, n->outputs[0]));
}

static void strips_run(const void *state, const strip_rows *r)
{
    const linear_state *s = state;
    linear_run part = *(const linear_run *)r->shared;

    part.x = r->x;
    part.other = r->other;
    part.y = r->y;
    run_elements(&part, 0, r->rows * s->row, 0);
}

const provider_strips provider_linear_s8_strips = {&provider_linear_s8, strips_read, strips_create,
                                                   strips_begin, strips_run};
