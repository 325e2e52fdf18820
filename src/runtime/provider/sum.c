/* ReduceSum of f32 over all axes but neighbouring ones, as gradients of biases are: blocks of rows
 * are summed in single precision and meet in double. */
#include <string.h>

#include "base/alloc.h"
#include "kernels/elementwise/elementwise_f32.h"
#include "kernels/elementwise/gradient_f32.h"
#include "runtime/layout/layout.h"
#include "runtime/provider/providers.h"
#include "tensor/convert.h"

/* [outer][kept][inner] -> [kept] */
typedef struct sum_state {
    spry_allocator allocator;
    int64_t outer, kept, inner;
    int64_t blocks; /* of the outer ones, where inner is 1 */
} sum_state;

/* Axes that are summed, as bits; 0 where that is not known. */
static unsigned axes_of(const provider_site *site, int rank)
{
    const tensor *list = provider_constant(site, 1);
    int64_t count = 0;
    const int64_t *axes = graph_attribute_ints(site->node, "axes", &count);
    unsigned bits = 0;

    count = list != NULL ? tensor_count(list) : count;
    if (list == NULL && site->node->input_count > 1 && site->node->inputs[1] != GRAPH_NONE) {
        return 0;
    }
    for (int64_t i = 0; i < count; i++) {
        int axis;

        if (!op_normalize_axis(list != NULL ? convert_get_i64(list, i) : axes[i], rank, &axis)) {
            return 0;
        }
        bits |= 1u << axis;
    }
    return bits;
}

static bool read_sum(const provider_site *site, sum_state *s)
{
    const graph_type *x = provider_input_type(site, 0);
    const graph_type *y = provider_output_type(site, 0);
    unsigned bits;
    int axis = 0;

    if (!provider_is(site, "ReduceSum") || x == NULL || y == NULL || x->dtype != SPRY_DTYPE_F32 ||
        op_work_count(x) == 0) {
        return false;
    }
    *s = (sum_state){.outer = 1, .kept = 1, .inner = 1};
    bits = axes_of(site, x->rank);
    if (bits == 0) {
        return false;
    }
    if (layout_is_nhwc(site->node)) {
        s->kept = x->dims[x->rank - 1].size;
        s->outer = op_work_count(x) / s->kept;
        return bits == ((1u << x->rank) - 1u - 2u); /* all but the channels of planar images */
    }
    for (; axis < x->rank && (bits >> axis & 1u) != 0; axis++) {
        s->outer *= x->dims[axis].size;
    }
    for (; axis < x->rank && (bits >> axis & 1u) == 0; axis++) {
        s->kept *= x->dims[axis].size;
    }
    for (; axis < x->rank && (bits >> axis & 1u) != 0; axis++) {
        s->inner *= x->dims[axis].size;
    }
    return axis == x->rank && s->kept > 1;
}

static bool accepts(const provider_site *site)
{
    sum_state s;

    return read_sum(site, &s);
}

static void destroy(void *state)
{
    sum_state *s = state;
    spry_allocator allocator = s->allocator;

    alloc_release(&allocator, s, sizeof *s);
}

static spry_status create(const provider_site *site, provider_step *step, spry_error *error)
{
    sum_state *s = alloc_zeroed(site->allocator, sizeof *s);

    if (s == NULL) {
        return alloc_failed(error, sizeof *s);
    }
    (void)read_sum(site, s); /* accepted before */
    s->allocator = *site->allocator;
    s->blocks = provider_pieces(s->outer, GRADIENT_F32_PIXELS);
    step->state = s;
    step->kernel = s->inner == 1 ? gradient_f32_select()->name : elementwise_f32_select()->name;
    step->workspace_bytes = s->inner == 1 ? (size_t)(s->blocks * s->kept) * sizeof(float) : 0;
    return SPRY_OK;
}

typedef struct sum_run {
    const sum_state *s;
    const float *x;
    float *sums;
    float *y;
} sum_run;

static void sum_blocks(void *context, int64_t begin, int64_t end, int worker)
{
    const sum_run *r = context;
    const sum_state *s = r->s;

    (void)worker;
    for (int64_t block = begin; block < end; block++) {
        int64_t first = block * GRADIENT_F32_PIXELS;
        gradient_f32_moments m = {.dy = r->x + first * s->kept,
                                  .pixels = provider_least(s->outer - first, GRADIENT_F32_PIXELS),
                                  .channels = s->kept,
                                  .slopes = r->sums + block * s->kept};

        gradient_f32_select()->moments(&m);
    }
}

static void add_blocks(void *context, int64_t begin, int64_t end, int worker)
{
    const sum_run *r = context;

    (void)worker;
    for (int64_t i = begin; i < end; i++) {
        double sum = 0.0;

        for (int64_t block = 0; block < r->s->blocks; block++) {
            sum += (double)r->sums[block * r->s->kept + i];
        }
        r->y[i] = (float)sum;
    }
}

static void sum_rows(void *context, int64_t begin, int64_t end, int worker)
{
    const sum_run *r = context;
    const sum_state *s = r->s;
    const elementwise_f32_kernel *kernel = elementwise_f32_select();

    (void)worker;
    for (int64_t i = begin; i < end; i++) {
        double sum = 0.0;

        for (int64_t outer = 0; outer < s->outer; outer++) {
            sum += kernel->sum(r->x + (outer * s->kept + i) * s->inner, s->inner);
        }
        r->y[i] = (float)sum;
    }
}

static spry_status run(void *state, op_call *call, void *workspace)
{
    enum { FLOATS_PER_PIECE = 16384 };
    const sum_state *s = state;
    sum_run r = {.s = s, .x = op_call_input(call, 0)->data, .sums = workspace};
    tensor *y;
    spry_status status = provider_output(call, SPRY_DTYPE_F32, &y);

    if (status != SPRY_OK || y == NULL) {
        return status;
    }
    r.y = y->data;
    if (s->inner == 1) {
        threads_for(call->team, s->blocks, FLOATS_PER_PIECE / (s->kept * GRADIENT_F32_PIXELS) + 1,
                    sum_blocks, &r);
        threads_for(call->team, s->kept, FLOATS_PER_PIECE / s->blocks + 1, add_blocks, &r);
    } else {
        threads_for(call->team, s->kept, FLOATS_PER_PIECE / (s->outer * s->inner) + 1, sum_rows,
                    &r);
    }
    return SPRY_OK;
}

const provider provider_sum = {"sum", PROVIDER_FUSES_NOTHING, accepts, create, run, destroy};
