/* BatchNormalization with the statistics of the batch, and its derivative, over channels-last f32
 * images. Sums are taken in blocks of pixels, whose number depends on the shape alone, and meet in
 * double precision. */
#include <math.h>

#include "base/alloc.h"
#include "base/checked.h"
#include "kernels/elementwise/channels_f32.h"
#include "kernels/elementwise/gradient_f32.h"
#include "runtime/layout/layout.h"
#include "runtime/provider/providers.h"

enum { SUMS = 4, FLOATS_PER_PIECE = 32768 };

typedef struct training_state {
    spry_allocator allocator;
    const gradient_f32_kernel *kernel;
    const channels_f32_kernel *scaling;
    bool is_gradient;
    int64_t pixels, channels, blocks;
    double epsilon, momentum;
} training_state;

static bool is_forward(const provider_site *site)
{
    return provider_is(site, "BatchNormalization") && site->node->opset >= 14 &&
           graph_attribute_int(site->node, "training_mode", 0) != 0;
}

/* One number per channel. */
static bool is_parameter(const provider_site *site, int port, int64_t channels)
{
    const graph_type *type = provider_input_type(site, port);

    return type != NULL && type->dtype == SPRY_DTYPE_F32 && op_work_count(type) == channels;
}

static bool accepts(const provider_site *site)
{
    const graph_type *x = provider_input_type(site, 0);
    bool forward = is_forward(site);
    int64_t channels;

    if ((!forward && !provider_is_own(site, "BatchNormalizationGradient")) || x == NULL ||
        x->dtype != SPRY_DTYPE_F32 || x->rank < 2 || op_work_count(x) == 0 ||
        (!layout_is_nhwc(site->node) && x->rank != 2)) {
        return false;
    }
    channels = x->dims[x->rank - 1].size;
    for (int port = 1; forward && port < 5; port++) {
        if (!is_parameter(site, port, channels)) {
            return false;
        }
    }
    return forward || (is_parameter(site, 1, channels) && provider_input_type(site, 2) != NULL);
}

static void destroy(void *state)
{
    training_state *s = state;
    spry_allocator allocator = s->allocator;

    alloc_release(&allocator, s, sizeof *s);
}

static spry_status create(const provider_site *site, provider_step *step, spry_error *error)
{
    const graph_type *x = provider_input_type(site, 0);
    training_state *s = alloc_zeroed(site->allocator, sizeof *s);
    size_t bytes;

    if (s == NULL) {
        return alloc_failed(error, sizeof *s);
    }
    s->allocator = *site->allocator;
    s->kernel = gradient_f32_select();
    s->scaling = channels_f32_select();
    s->is_gradient = !is_forward(site);
    s->channels = x->dims[x->rank - 1].size;
    s->pixels = op_work_count(x) / s->channels;
    s->blocks = provider_pieces(s->pixels, GRADIENT_F32_PIXELS);
    s->epsilon = (double)graph_attribute_float(site->node, "epsilon", 1e-5f);
    s->momentum = (double)graph_attribute_float(site->node, "momentum", 0.9f);
    if (!checked_mul((size_t)(s->blocks + 2) * SUMS * sizeof(float), (size_t)s->channels, &bytes)) {
        destroy(s);
        return alloc_failed(error, SIZE_MAX);
    }
    step->state = s;
    step->kernel = s->kernel->name;
    step->workspace_bytes = bytes;
    return SPRY_OK;
}

/* ---- running ---- */

/* Per block [SUMS][channels]; then what elements are made with. */
typedef struct training_run {
    const training_state *s;
    const float *x, *dy;
    float *to;
    float *sums;
    float *mean, *a, *b, *d; /* [channels] */
} training_run;

static void sum_blocks(void *context, int64_t begin, int64_t end, int worker)
{
    const training_run *r = context;
    const training_state *s = r->s;

    (void)worker;
    for (int64_t block = begin; block < end; block++) {
        int64_t first = block * GRADIENT_F32_PIXELS;
        float *sums = r->sums + block * SUMS * s->channels;
        gradient_f32_moments m = {.x = r->x + first * s->channels,
                                  .dy = s->is_gradient ? r->dy + first * s->channels : NULL,
                                  .pivot = r->x,
                                  .pixels = provider_least(s->pixels - first, GRADIENT_F32_PIXELS),
                                  .channels = s->channels,
                                  .sums = sums,
                                  .squares = sums + s->channels,
                                  .slopes = sums + 2 * s->channels,
                                  .products = sums + 3 * s->channels};

        s->kernel->moments(&m);
    }
}

/* Sum `which` of a channel over all blocks. */
static double total(const training_run *r, int which, int64_t c)
{
    const training_state *s = r->s;
    double sum = 0.0;

    for (int64_t block = 0; block < s->blocks; block++) {
        sum += (double)r->sums[(block * SUMS + which) * s->channels + c];
    }
    return sum;
}

typedef struct moments {
    double distance; /* of the mean from the pivot */
    double mean, variance;
} moments;

static moments moments_of(const training_run *r, int64_t c)
{
    double n = (double)r->s->pixels;
    double distance = total(r, 0, c) / n;
    double variance = total(r, 1, c) / n - distance * distance;

    return (moments){distance, (double)r->x[c] + distance, variance > 0.0 ? variance : 0.0};
}

static void blend_pixels(void *context, int64_t begin, int64_t end, int worker)
{
    const training_run *r = context;
    int64_t first = begin * r->s->channels;
    gradient_f32_blend b = {.x = r->x + first,
                            .dy = r->dy + first,
                            .to = r->to + first,
                            .pixels = end - begin,
                            .channels = r->s->channels,
                            .mean = r->mean,
                            .a = r->a,
                            .b = r->b,
                            .d = r->d};

    (void)worker;
    r->s->kernel->blend(&b);
}

static void scale_pixels(void *context, int64_t begin, int64_t end, int worker)
{
    const training_run *r = context;
    int64_t first = begin * r->s->channels;
    channels_f32_image image = {.from = r->x + first,
                                .to = r->to + first,
                                .pixels = end - begin,
                                .channels = r->s->channels,
                                .scale = r->a,
                                .shift = r->d,
                                .lower = -INFINITY,
                                .upper = INFINITY};

    (void)worker;
    r->s->scaling->scale(&image);
}

/* With n = (x - mean) inverse: dx = scale inverse (dy - mean(dy) - n mean(dy n)). */
static void set_gradient(const training_run *r, const float *scale, float *dscale, float *dbias)
{
    double n = (double)r->s->pixels;

    for (int64_t c = 0; c < r->s->channels; c++) {
        moments m = moments_of(r, c);
        double inverse = 1.0 / sqrt(m.variance + r->s->epsilon);
        double slope = total(r, 2, c);
        double product = (total(r, 3, c) - m.distance * slope) * inverse;
        double factor = inverse * (double)scale[c];

        r->mean[c] = (float)m.mean;
        r->a[c] = (float)factor;
        r->b[c] = (float)(-factor * inverse * product / n);
        r->d[c] = (float)(-factor * slope / n);
        if (dscale != NULL) {
            dscale[c] = (float)product;
        }
        if (dbias != NULL) {
            dbias[c] = (float)slope;
        }
    }
}

/* y, and the running statistics after this batch. */
static void set_forward(const training_run *r, const op_call *call, float *const *running)
{
    const float *scale = op_call_input(call, 1)->data;
    const float *bias = op_call_input(call, 2)->data;

    for (int64_t c = 0; c < r->s->channels; c++) {
        moments m = moments_of(r, c);
        double factor = (double)scale[c] / sqrt(m.variance + r->s->epsilon);
        double own[2] = {m.mean, m.variance};

        r->a[c] = (float)factor;
        r->d[c] = (float)((double)bias[c] - m.mean * factor);
        for (int i = 0; i < 2; i++) {
            if (running[i] != NULL) {
                double before = (double)((const float *)op_call_input(call, 3 + i)->data)[c];

                running[i][c] = (float)(before * r->s->momentum + own[i] * (1.0 - r->s->momentum));
            }
        }
    }
}

static spry_status run(void *state, op_call *call, void *workspace)
{
    const training_state *s = state;
    const tensor *x = op_call_input(call, 0);
    float *numbers = (float *)workspace + s->blocks * SUMS * s->channels;
    training_run r = {.s = s,
                      .x = x->data,
                      .sums = workspace,
                      .mean = numbers,
                      .a = numbers + s->channels,
                      .b = numbers + 2 * s->channels,
                      .d = numbers + 3 * s->channels};
    float *small[2] = {NULL, NULL};
    tensor *to = NULL;
    spry_status status = op_call_output_like(call, 0, SPRY_DTYPE_F32, x, &to);

    for (int i = 0; i < 2 && status == SPRY_OK; i++) {
        tensor *t = NULL;

        status = op_call_output(call, 1 + i, SPRY_DTYPE_F32, 1, &s->channels, &t);
        small[i] = t != NULL ? t->data : NULL;
    }
    if (status != SPRY_OK) {
        return status;
    }
    r.dy = s->is_gradient ? op_call_input(call, 2)->data : NULL;
    threads_for(call->team, s->blocks, FLOATS_PER_PIECE / (s->channels * GRADIENT_F32_PIXELS) + 1,
                sum_blocks, &r);
    if (s->is_gradient) {
        set_gradient(&r, op_call_input(call, 1)->data, small[0], small[1]);
    } else {
        set_forward(&r, call, small);
    }
    if (to != NULL) {
        r.to = to->data;
        threads_for(call->team, s->pixels, FLOATS_PER_PIECE / s->channels + 1,
                    s->is_gradient ? blend_pixels : scale_pixels, &r);
    }
    return SPRY_OK;
}

const provider provider_norm_training = {
    "norm_training", PROVIDER_FUSES_NOTHING, accepts, create, run, destroy};
