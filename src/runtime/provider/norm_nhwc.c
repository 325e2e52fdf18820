/* BatchNormalization of channels-last f32 images with constant statistics: a factor and a term per
 * channel. */
#include <math.h>

#include "base/alloc.h"
#include "kernels/elementwise/channels_f32.h"
#include "runtime/layout/layout.h"
#include "runtime/provider/providers.h"

typedef struct norm_state {
    spry_allocator allocator;
    const channels_f32_kernel *kernel;
    int64_t channels;
    float factors[]; /* [channels], then terms */
} norm_state;

static size_t state_bytes(int64_t channels)
{
    return sizeof(norm_state) + (size_t)channels * 2 * sizeof(float);
}

static bool accepts(const provider_site *site)
{
    const graph_type *x = provider_input_type(site, 0);
    bool in_training = graph_attribute_int(site->node, "training_mode", 0) != 0 ||
                       graph_attribute_int(site->node, "spatial", 1) != 1;

    if (!provider_is(site, "BatchNormalization") || !layout_is_nhwc(site->node) || x == NULL ||
        x->dtype != SPRY_DTYPE_F32 || in_training || provider_output_type(site, 0) == NULL) {
        return false;
    }
    for (int port = 1; port < 5; port++) {
        const tensor *t = provider_constant(site, port);

        if (t == NULL || t->dtype != SPRY_DTYPE_F32 ||
            tensor_count(t) != x->dims[x->rank - 1].size) {
            return false;
        }
    }
    return true;
}

static spry_status create(const provider_site *site, provider_step *step, spry_error *error)
{
    const graph_type *x = provider_input_type(site, 0);
    int64_t channels = x->dims[x->rank - 1].size;
    const float *scale = provider_constant(site, 1)->data;
    const float *shift = provider_constant(site, 2)->data;
    const float *mean = provider_constant(site, 3)->data;
    const float *variance = provider_constant(site, 4)->data;
    double epsilon = (double)graph_attribute_float(site->node, "epsilon", 1e-5f);
    norm_state *s = alloc_zeroed(site->allocator, state_bytes(channels));

    if (s == NULL) {
        return alloc_failed(error, state_bytes(channels));
    }
    s->allocator = *site->allocator;
    s->kernel = channels_f32_select();
    s->channels = channels;
    for (int64_t c = 0; c < channels; c++) {
        double factor = (double)scale[c] / sqrt((double)variance[c] + epsilon);

        s->factors[c] = (float)factor;
        s->factors[channels + c] = (float)((double)shift[c] - (double)mean[c] * factor);
    }
    step->state = s;
    step->kernel = s->kernel->name;
    return SPRY_OK;
}

static void destroy(void *state)
{
    norm_state *s = state;
    spry_allocator allocator = s->allocator;

    alloc_release(&allocator, s, state_bytes(s->channels));
}

typedef struct norm_run {
    const norm_state *s;
    const float *x;
    float *y;
} norm_run;

static void run_pixels(void *context, int64_t begin, int64_t end, int worker)
{
    const norm_run *r = context;
    int64_t channels = r->s->channels;
    channels_f32_image image = {.from = r->x + begin * channels,
                                .to = r->y + begin * channels,
                                .pixels = end - begin,
                                .channels = channels,
                                .scale = r->s->factors,
                                .shift = r->s->factors + channels,
                                .lower = -INFINITY,
                                .upper = INFINITY};

    (void)worker;
    r->s->kernel->scale(&image);
}

static spry_status run(void *state, op_call *call, void *workspace)
{
    enum { FLOATS_PER_PIECE = 32768 };
    const norm_state *s = state;
    const tensor *x = op_call_input(call, 0);
    norm_run r = {.s = s, .x = x->data};
    tensor *y;
    spry_status status = op_call_output_like(call, 0, SPRY_DTYPE_F32, x, &y);

    (void)workspace;
    if (status != SPRY_OK || y == NULL) {
        return status;
    }
    r.y = y->data;
    threads_for(call->team, tensor_count(x) / (s->channels > 0 ? s->channels : 1),
                FLOATS_PER_PIECE / (s->channels + 1) + 1, run_pixels, &r);
    return SPRY_OK;
}

const provider provider_norm_nhwc = {"norm_nhwc", PROVIDER_FUSES_NOTHING, accepts, create, run,
                                     destroy};
