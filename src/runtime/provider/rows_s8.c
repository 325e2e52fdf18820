/* Softmax and LayerNormalization of rows of bytes: a row is dequantised, normalised and quantised
 * while it is in the cache. */
#include <string.h>

#include "base/alloc.h"
#include "base/checked.h"
#include "kernels/elementwise/elementwise_f32.h"
#include "kernels/elementwise/linear_s8.h"
#include "runtime/integer/integer.h"
#include "runtime/provider/providers.h"

typedef struct rows_state {
    spry_allocator allocator;
    const linear_s8_kernel *bytes;
    const elementwise_f32_kernel *floats;
    bool is_softmax;
    float factor;
    float epsilon;
    int64_t size;      /* of a row */
    size_t room_bytes; /* per worker */
} rows_state;

static bool is_bytes(const graph_type *type)
{
    return type != NULL && (type->dtype == SPRY_DTYPE_U8 || type->dtype == SPRY_DTYPE_I8);
}

static bool is_single(const provider_site *site, int port)
{
    const graph_type *type = provider_input_type(site, port);

    return type != NULL && op_work_count(type) == 1;
}

static bool accepts(const provider_site *site)
{
    const graph_node *n = site->node;
    const graph_type *x = provider_input_type(site, INTEGER_X);

    return strcmp(n->domain, INTEGER_DOMAIN) == 0 &&
           (strcmp(n->type, INTEGER_SOFTMAX) == 0 || strcmp(n->type, INTEGER_LAYER_NORM) == 0) &&
           is_bytes(x) && is_bytes(provider_output_type(site, 0)) && x->rank > 0 &&
           is_single(site, INTEGER_X + 1) && is_single(site, INTEGER_Y_SCALE);
}

static spry_status create(const provider_site *site, provider_step *step, spry_error *error)
{
    rows_state *s = alloc_zeroed(site->allocator, sizeof *s);
    const graph_type *x = provider_input_type(site, INTEGER_X);

    if (s == NULL) {
        return alloc_failed(error, sizeof *s);
    }
    s->allocator = *site->allocator;
    s->bytes = linear_s8_select();
    s->floats = elementwise_f32_select();
    s->is_softmax = strcmp(site->node->type, INTEGER_SOFTMAX) == 0;
    s->factor = graph_attribute_float(site->node, INTEGER_FACTOR, 1.0f);
    s->epsilon = graph_attribute_float(site->node, "epsilon", 1e-5f);
    s->size = x->dims[x->rank - 1].size;
    s->room_bytes = ((size_t)s->size * sizeof(float) + 63) / 64 * 64;
    if (!checked_mul(s->room_bytes, (size_t)threads_count(site->team), &step->workspace_bytes)) {
        alloc_release(site->allocator, s, sizeof *s);
        return alloc_failed(error, SIZE_MAX);
    }
    step->state = s;
    step->kernel = s->floats->name;
    return SPRY_OK;
}

static void destroy(void *state)
{
    rows_state *s = state;
    spry_allocator allocator = s->allocator;

    alloc_release(&allocator, s, sizeof *s);
}

typedef struct rows_run {
    const rows_state *s;
    const uint8_t *x;
    uint8_t *y;
    linear_s8_grid grid;
    float scale; /* of the result */
    quantize_target target;
    elementwise_f32_norm norm;
    uint8_t *workspace;
} rows_run;

static void run_rows(void *context, int64_t begin, int64_t end, int worker)
{
    const rows_run *r = context;
    const rows_state *s = r->s;
    float *row = (float *)(void *)(r->workspace + (size_t)worker * s->room_bytes);

    for (int64_t i = begin; i < end; i++) {
        s->bytes->dequantize(row, r->x + i * s->size, s->size, r->grid);
        if (s->is_softmax) {
            s->floats->softmax(row, row, s->size);
        } else {
            (void)s->floats->layer_norm(row, row, s->size, &r->norm);
        }
        s->bytes->quantize(r->y + i * s->size, row, s->size, r->scale, r->target);
    }
}

static const float *row_at(const op_call *call, int port)
{
    const tensor *t = op_call_input(call, port);

    return t != NULL ? t->data : NULL;
}

static spry_status run(void *state, op_call *call, void *workspace)
{
    enum { ELEMENTS_PER_PIECE = 16384 };
    const rows_state *s = state;
    const tensor *x = op_call_input(call, INTEGER_X);
    spry_dtype dtype = call->g->values[call->node->outputs[0]].type.dtype;
    rows_run r = {
        .s = s,
        .x = x->data,
        .grid = {(float)op_call_scalar(call, INTEGER_X + 1, 1.0) * s->factor,
                 (int32_t)op_call_scalar(call, INTEGER_X + 2, 0.0), x->dtype == SPRY_DTYPE_I8},
        .scale = (float)op_call_scalar(call, INTEGER_Y_SCALE, 1.0),
        .target = quantize_target_of(dtype, (int32_t)op_call_scalar(call, INTEGER_Y_ZERO, 0.0)),
        .norm = {row_at(call, INTEGER_W), row_at(call, INTEGER_W + 1), s->epsilon},
        .workspace = workspace};
    tensor *y;
    spry_status status = op_call_output_like(call, 0, dtype, x, &y);

    if (status != SPRY_OK || y == NULL || s->size == 0) {
        return status;
    }
    r.y = y->data;
    threads_for(call->team, tensor_count(x) / s->size, ELEMENTS_PER_PIECE / s->size + 1, run_rows,
                &r);
    return SPRY_OK;
}

const provider provider_rows_s8 = {"rows_s8", false, accepts, create, run, destroy};
