/* Reads integer nodes and turns scales and zero points into offsets and factors. */
#include "runtime/provider/integer.h"

#include <math.h>
#include <string.h>

#include "base/alloc.h"
#include "runtime/fuse.h"
#include "runtime/integer/integer.h"
#include "runtime/layout/layout.h"
#include "tensor/convert.h"
#include "tensor/quantize.h"

enum { MOST_K = 32000 }; /* 32000 * 255 * 255 < 2^31 */

static const integer_ports linear_ports = {.x = INTEGER_X,
                                           .x_scale = INTEGER_X + 1,
                                           .x_zero = INTEGER_X + 2,
                                           .w = INTEGER_W,
                                           .w_scale = INTEGER_W + 1,
                                           .w_zero = INTEGER_W + 2,
                                           .y_scale = INTEGER_Y_SCALE,
                                           .y_zero = INTEGER_Y_ZERO,
                                           .bias = INTEGER_BIAS};
static const integer_ports sums_ports = {.x = 0,
                                         .x_scale = -1,
                                         .x_zero = 2,
                                         .w = 1,
                                         .w_scale = -1,
                                         .w_zero = 3,
                                         .y_scale = -1,
                                         .y_zero = -1,
                                         .bias = -1};

/* ---- reading ---- */

static bool has_port(const graph_node *n, int port)
{
    return port >= 0 && port < n->input_count && n->inputs[port] != GRAPH_NONE;
}

/* Absent, or one number. */
static bool is_single(const provider_site *site, int port)
{
    const graph_type *type = has_port(site->node, port) ? provider_input_type(site, port) : NULL;

    return !has_port(site->node, port) || (type != NULL && op_work_count(type) == 1);
}

static bool is_bytes(spry_dtype dtype)
{
    return dtype == SPRY_DTYPE_U8 || dtype == SPRY_DTYPE_I8;
}

/* The weights' zero point after they are made signed: constant, the same for all channels. */
static bool read_zero(const provider_site *site, integer_node *n)
{
    const tensor *zero = NULL;
    int64_t first = 0;

    if (has_port(site->node, n->ports.w_zero)) {
        zero = provider_constant(site, n->ports.w_zero);
        if (zero == NULL || tensor_count(zero) == 0) {
            return false;
        }
        first = convert_get_i64(zero, 0);
    }
    for (int64_t i = 1; zero != NULL && i < tensor_count(zero); i++) {
        if (convert_get_i64(zero, i) != first) {
            return false;
        }
    }
    n->w_zero = (int32_t)first - (n->w_flip != 0 ? 128 : 0);
    return true;
}

static bool read_bias(const provider_site *site, integer_node *n)
{
    const tensor *bias =
        has_port(site->node, n->ports.bias) ? provider_constant(site, n->ports.bias) : NULL;

    if (!has_port(site->node, n->ports.bias)) {
        return true;
    }
    if (bias != NULL && bias->dtype == SPRY_DTYPE_F32 && n->result == BRGEMM_FLOATS) {
        n->float_bias = bias->data;
        return true;
    }
    if (bias == NULL || bias->dtype != SPRY_DTYPE_I32) {
        return false;
    }
    n->bias = bias->data;
    return true;
}

static bool is_known(const graph_node *node, const char *type_linear, const char *type_sums)
{
    bool is_standard = node->domain[0] == '\0' || strcmp(node->domain, LAYOUT_DOMAIN) == 0;

    return ((is_standard || strcmp(node->domain, INTEGER_DOMAIN) == 0) &&
            strcmp(node->type, type_linear) == 0) ||
           (is_standard && strcmp(node->type, type_sums) == 0);
}

bool integer_read(const provider_site *site, const char *type_linear, const char *type_sums,
                  integer_node *n)
{
    const graph_type *x;
    const graph_type *w;
    const graph_type *y = provider_output_type(site, 0);

    *n = (integer_node){.ports = linear_ports};
    if (!is_known(site->node, type_linear, type_sums) || y == NULL) {
        return false;
    }
    if (strcmp(site->node->type, type_sums) == 0) {
        n->ports = sums_ports;
    }
    n->result = n->ports.bias < 0                        ? BRGEMM_SUMS
                : has_port(site->node, n->ports.y_scale) ? BRGEMM_BYTES
                                                         : BRGEMM_FLOATS;
    x = provider_input_type(site, n->ports.x);
    w = provider_input_type(site, n->ports.w);
    if (x == NULL || w == NULL || !is_bytes(x->dtype) || !is_bytes(w->dtype)) {
        return false;
    }
    n->w = provider_constant(site, n->ports.w);
    n->x_flip = x->dtype == SPRY_DTYPE_I8 ? 0x80 : 0;
    n->w_flip = w->dtype == SPRY_DTYPE_U8 ? 0x80 : 0;
    n->y_dtype = y->dtype;
    n->lower = graph_attribute_float(site->node, FUSE_LOWER, -INFINITY);
    n->upper = graph_attribute_float(site->node, FUSE_UPPER, INFINITY);
    return (n->w != NULL ? read_zero(site, n) : is_single(site, n->ports.w_zero)) &&
           read_bias(site, n) && is_single(site, n->ports.x_scale) &&
           is_single(site, n->ports.x_zero) && is_single(site, n->ports.y_scale) &&
           is_single(site, n->ports.y_zero);
}

bool integer_fits(const provider_site *site, const integer_node *n, int64_t channels, int64_t k)
{
    const graph_type *scale =
        n->ports.w_scale >= 0 ? provider_input_type(site, n->ports.w_scale) : NULL;
    bool has_bias = n->bias != NULL || n->float_bias != NULL;
    const tensor *bias = has_bias ? provider_constant(site, n->ports.bias) : NULL;

    if (n->ports.w_scale >= 0 &&
        (scale == NULL || (op_work_count(scale) != 1 && op_work_count(scale) != channels))) {
        return false;
    }
    return (bias == NULL || tensor_count(bias) == channels) && k > 0 && k <= MOST_K;
}

/* ---- channels ---- */

/* Where the weights of channels lie. */
typedef struct channel_weights {
    const integer_node *n;
    int64_t count, channel_stride;
    int64_t k, k_stride;
} channel_weights;

static spry_status sum_channels(void *context, void *to, spry_error *error)
{
    const channel_weights *c = context;
    const uint8_t *w = c->n->w->data;
    int32_t *sums = to;

    (void)error;
    for (int64_t i = 0; i < c->count; i++) {
        int32_t sum = 0;

        for (int64_t k = 0; k < c->k; k++) {
            sum +=
                (int8_t)(w[i * c->channel_stride + k * c->k_stride] ^ c->n->w_flip) - c->n->w_zero;
        }
        sums[i] = sum;
    }
    return SPRY_OK;
}

/* ---- inputs, before the run or during it ---- */

typedef struct integer_inputs {
    const provider_site *site; /* before, else NULL */
    const op_call *call;
} integer_inputs;

static const tensor *input_at(const integer_inputs *in, int port)
{
    if (in->site == NULL) {
        return op_call_input(in->call, port);
    }
    return has_port(in->site->node, port) ? provider_constant(in->site, port) : NULL;
}

static double scalar_at(const integer_inputs *in, int port, double fallback)
{
    const tensor *t = port >= 0 ? input_at(in, port) : NULL;

    return t != NULL && tensor_count(t) > 0 ? convert_get_f64(t, 0) : fallback;
}

static void set_offsets(const integer_node *n, const integer_inputs *in, const int32_t *sums,
                        int64_t count, int32_t *offsets)
{
    /* Of bytes made unsigned, so its own 128 counts too. */
    uint32_t zero =
        (uint32_t)((int32_t)scalar_at(in, n->ports.x_zero, 0.0)) + (n->x_flip != 0 ? 128U : 0);

    for (int64_t c = 0; c < count; c++) {
        uint32_t bias = n->bias != NULL ? (uint32_t)n->bias[c] : 0;

        offsets[c] = (int32_t)(bias - zero * (uint32_t)sums[c]);
    }
}

static void set_factors(const integer_node *n, const integer_inputs *in, int64_t count,
                        float *factors)
{
    float x_scale = (float)scalar_at(in, n->ports.x_scale, 1.0);
    float y_scale = (float)scalar_at(in, n->ports.y_scale, 1.0);
    const tensor *w_scale = input_at(in, n->ports.w_scale);
    const float *scales = w_scale->data;
    bool single = tensor_count(w_scale) == 1;

    if (w_scale->dtype != SPRY_DTYPE_F32) {
        for (int64_t c = 0; c < count; c++) {
            factors[c] = (float)convert_get_f64(w_scale, single ? 0 : c);
        }
    } else if (single) {
        for (int64_t c = 0; c < count; c++) {
            factors[c] = scales[0];
        }
    } else {
        memcpy(factors, scales, (size_t)count * sizeof *factors);
    }
    for (int64_t c = 0; c < count; c++) {
        factors[c] *= x_scale;
    }
    for (int64_t c = 0; n->result == BRGEMM_BYTES && c < count; c++) {
        factors[c] /= y_scale;
    }
}

static bool is_constant(const provider_site *site, int port)
{
    return !has_port(site->node, port) || provider_constant(site, port) != NULL;
}

/* Offsets and factors, when nothing in them waits for the run. */
static spry_status settle(const provider_site *site, const integer_node *n,
                          integer_channels *channels, spry_error *error)
{
    integer_inputs in = {.site = site};
    spry_status status;
    int32_t *offsets;

    if (!is_constant(site, n->ports.x_scale) || !is_constant(site, n->ports.x_zero) ||
        !is_constant(site, n->ports.w_scale) || !is_constant(site, n->ports.y_scale)) {
        return SPRY_OK;
    }
    status = packed_room(site, integer_room(channels), &channels->settled, error);
    if (status != SPRY_OK) {
        return status;
    }
    offsets = channels->settled.memory;
    set_offsets(n, &in, channels->sums, channels->count, offsets);
    channels->offsets = offsets;
    if (n->result != BRGEMM_SUMS) {
        float *factors = (float *)(void *)(offsets + channels->count);

        set_factors(n, &in, channels->count, factors);
        channels->factors = factors;
    }
    return SPRY_OK;
}

spry_status integer_channels_create(const provider_site *site, const integer_node *n, int64_t count,
                                    int64_t channel_stride, int64_t k, int64_t k_stride,
                                    integer_channels *channels, spry_error *error)
{
    channel_weights weights = {n, count, channel_stride, k, k_stride};
    spry_status status = packed_make(site, "sums", (size_t)count * sizeof(int32_t), sum_channels,
                                     &weights, &channels->memory, error);

    channels->count = count;
    channels->sums = channels->memory.data;
    return status == SPRY_OK ? settle(site, n, channels, error) : status;
}

void integer_channels_release(const spry_allocator *allocator, integer_channels *channels)
{
    packed_release(allocator, &channels->memory);
    packed_release(allocator, &channels->settled);
}

/* ---- running ---- */

size_t integer_room(const integer_channels *channels)
{
    size_t bytes = (size_t)channels->count * (sizeof(int32_t) + sizeof(float));

    return (bytes + 63) / 64 * 64;
}

int32_t integer_zero(const integer_node *n, const op_call *call)
{
    return n->ports.x_zero >= 0 ? (int32_t)op_call_scalar(call, n->ports.x_zero, 0.0) : 0;
}

int32_t integer_w_zero(const integer_node *n, const op_call *call)
{
    if (n->w != NULL) {
        return n->w_zero;
    }
    return (n->ports.w_zero >= 0 ? (int32_t)op_call_scalar(call, n->ports.w_zero, 0.0) : 0) -
           (n->w_flip != 0 ? 128 : 0);
}

void integer_offsets(const integer_node *n, const op_call *call, const int32_t *sums, int64_t count,
                     int32_t *offsets)
{
    set_offsets(n, &(integer_inputs){.call = call}, sums, count, offsets);
}

void integer_factors(const integer_node *n, const op_call *call, int64_t count, float *factors)
{
    set_factors(n, &(integer_inputs){.call = call}, count, factors);
}

brgemm_finish integer_brgemm_finish(const integer_node *n, const op_call *call)
{
    brgemm_finish f = {
        .result = n->result, .bias = n->float_bias, .lower = n->lower, .upper = n->upper};
    float y_scale;
    quantize_target t;

    if (n->result != BRGEMM_BYTES) {
        return f;
    }
    y_scale = (float)op_call_scalar(call, n->ports.y_scale, 1.0);
    t = quantize_target_of(n->y_dtype, (int32_t)op_call_scalar(call, n->ports.y_zero, 0.0));
    f.zero = t.zero;
    f.low = n->lower > -INFINITY ? quantize_f32(n->lower, y_scale, t) : t.low;
    f.high = n->upper < INFINITY ? quantize_f32(n->upper, y_scale, t) : t.high;
    return f;
}

brgemm_finish integer_channel_finish(const integer_node *n, const op_call *call,
                                     const integer_channels *channels, void *room)
{
    brgemm_finish f = integer_brgemm_finish(n, call);
    int32_t *offsets = room;
    float *factors = (float *)(void *)(offsets + channels->count);

    f.offset = channels->offsets;
    f.factor = channels->factors;
    if (f.offset == NULL) {
        integer_offsets(n, call, channels->sums, channels->count, offsets);
        f.offset = offsets;
    }
    if (f.factor == NULL && f.result != BRGEMM_SUMS) {
        integer_factors(n, call, channels->count, factors);
        f.factor = factors;
    }
    return f;
}
