/* Plans, packing and cutting of channels-last depthwise convolutions, the portable kernel for
 * floats and its list of variants. */
#include "kernels/conv/depthwise_nhwc.h"

#include <string.h>

#include "kernels/conv/depthwise_nhwc_body.h"
#include "kernels/conv/depthwise_nhwc_variants.h"

static void run(const depthwise_nhwc_band *b)
{
    dw_band(b);
}

static const depthwise_nhwc_kernel depthwise_nhwc_f32__generic = {
    "depthwise_nhwc_f32__generic", BRGEMM_F32, DW_LANES, 1, DW_VECTORS, run};

static const isa_variant variants[] = {
    {"depthwise_nhwc_f32__generic", ISA_GENERIC, &depthwise_nhwc_f32__generic},
#ifdef SPRY_HAVE_AVX2
    {"depthwise_nhwc_f32__avx2", ISA_AVX2, &depthwise_nhwc_f32__avx2},
#endif
#ifdef SPRY_HAVE_AVX512
    {"depthwise_nhwc_f32__avx512", ISA_AVX512, &depthwise_nhwc_f32__avx512},
#endif
};

static int64_t pieces_of(int64_t extent, int64_t slice)
{
    return (extent + slice - 1) / slice;
}

depthwise_nhwc_variants depthwise_nhwc_variants_of(brgemm_type type)
{
    if (type == BRGEMM_S8) {
        return (depthwise_nhwc_variants){depthwise_nhwc_s8_variants,
                                         depthwise_nhwc_s8_variant_count};
    }
    return (depthwise_nhwc_variants){variants, sizeof variants / sizeof *variants};
}

/* Groups that a block of channels meets at most. */
static int64_t groups_of_block(const depthwise_nhwc_kernel *kernel, int64_t multiplier)
{
    if (multiplier % kernel->lanes == 0 || kernel->lanes % multiplier == 0) {
        return pieces_of(kernel->lanes, multiplier);
    }
    return pieces_of(kernel->lanes - 1, multiplier) + 1;
}

bool depthwise_nhwc_can(const depthwise_nhwc_kernel *kernel, const depthwise_nhwc_problem *problem,
                        int low, int high)
{
    enum { WIDE = 64 };

    if (kernel->type == BRGEMM_F32) {
        return problem->depth == 1 ||
               groups_of_block(kernel, problem->multiplier) <= kernel->lanes / problem->depth;
    }
    return problem->depth == 1 && (kernel->group != 4 || (low >= INT8_MIN && high <= INT8_MAX)) &&
           (kernel->lanes < WIDE || problem->multiplier == 1);
}

/* Channels with those that fill the last block up. */
static int64_t padded(const depthwise_nhwc_kernel *kernel, int64_t channels)
{
    return pieces_of(channels, kernel->lanes) * kernel->lanes;
}

const depthwise_nhwc_kernel *depthwise_nhwc_select(const depthwise_nhwc_problem *problem, int low,
                                                   int high)
{
    enum { LEAST_GAIN = 8 }; /* a wider block may waste one in so many lanes */
    depthwise_nhwc_variants all = depthwise_nhwc_variants_of(problem->type);
    const depthwise_nhwc_kernel *best = all.list[0].table;
    int64_t channels = depthwise_nhwc_outputs(problem);

    for (int i = 1; i < all.count; i++) {
        const depthwise_nhwc_kernel *kernel = all.list[i].table;
        int64_t most = padded(best, channels) * (LEAST_GAIN + 1) / LEAST_GAIN;

        if (isa_usable(all.list[i].level) && depthwise_nhwc_can(kernel, problem, low, high) &&
            (all.list[i].level != all.list[i - 1].level || padded(kernel, channels) <= most)) {
            best = kernel;
        }
    }
    return best;
}

/* Bytes of a packed weight. */
static int64_t weight_size(const depthwise_nhwc_kernel *kernel)
{
    return kernel->type == BRGEMM_F32 ? (int64_t)sizeof(float) : 4 / kernel->group;
}

/* The fewer and taller the bands the better: strips go on reading the rows they have just read. So
 * one worker gets whole images; more get bands of a few rows at least, then blocks of channels. */
void depthwise_nhwc_plan(const depthwise_nhwc_problem *problem, const depthwise_nhwc_kernel *kernel,
                         int workers, depthwise_nhwc *d)
{
    enum { PIECES_PER_WORKER = 3, LEAST_ROWS = 4 };
    const conv_f32_shape *s = &problem->shape;
    int64_t rows = pieces_of(s->kernel_h, kernel->group) * kernel->group;
    int64_t wanted = workers > 1 ? (int64_t)workers * PIECES_PER_WORKER : 1;
    int64_t bands = pieces_of(wanted, problem->batch);
    int64_t most_bands = pieces_of(s->out_h, LEAST_ROWS);
    int64_t together;

    *d = (depthwise_nhwc){.problem = *problem, .kernel = kernel};
    d->blocks = pieces_of(depthwise_nhwc_outputs(problem), kernel->lanes);
    d->packed_bytes =
        d->blocks * kernel->lanes * rows * s->kernel_w * problem->depth * weight_size(kernel);
    d->row_slice = pieces_of(s->out_h, bands < most_bands ? bands : most_bands);
    bands = pieces_of(s->out_h, d->row_slice) * problem->batch;
    together = pieces_of(d->blocks, kernel->at_once);
    d->block_slice = pieces_of(together, pieces_of(wanted, bands)) * kernel->at_once;
    d->pieces = bands * pieces_of(d->blocks, d->block_slice);
}

void depthwise_nhwc_pack(const depthwise_nhwc *d, const void *weights, uint8_t flip, int32_t zero,
                         void *packed)
{
    const conv_f32_shape *s = &d->problem.shape;
    const int64_t channels = depthwise_nhwc_outputs(&d->problem);
    const int64_t positions = s->kernel_h * s->kernel_w;
    const int64_t depth = d->problem.depth;
    const int64_t lanes = d->kernel->lanes;
    const float *from = weights;
    float *to = packed;

    if (d->problem.type == BRGEMM_S8) {
        depthwise_nhwc_s8_pack(d, weights, flip, zero, packed);
        return;
    }
    for (int64_t i = 0; i < d->blocks * positions * depth * lanes; i++) {
        int64_t in_channel = i / lanes % depth;
        int64_t position = i / lanes / depth % positions;
        int64_t channel = i / lanes / depth / positions * lanes + i % lanes;

        to[i] =
            channel < channels ? from[(channel * depth + in_channel) * positions + position] : 0.0f;
    }
}

void depthwise_nhwc_run(void *call, int64_t begin, int64_t end, int worker)
{
    const depthwise_nhwc_call *c = call;
    const depthwise_nhwc *d = c->d;
    const conv_f32_shape *s = &d->problem.shape;
    int64_t slices = pieces_of(d->blocks, d->block_slice);
    int64_t bands = pieces_of(s->out_h, d->row_slice);
    int64_t in_image = s->in_h * s->in_w * s->channels * brgemm_size(d->problem.type);
    int64_t pixels = s->out_h * s->out_w;

    (void)worker;
    for (int64_t piece = begin; piece < end; piece++) {
        int64_t image = piece / slices / bands;
        brgemm_finish finish = c->finish;
        depthwise_nhwc_band b = {.problem = &d->problem,
                                 .x = (const uint8_t *)c->x + image * in_image,
                                 .flip = c->flip,
                                 .zero = c->zero ^ c->flip,
                                 .packed = c->packed,
                                 .y = (uint8_t *)c->y + image * pixels * c->y_pitch,
                                 .y_pitch = c->y_pitch,
                                 .finish = &finish,
                                 .row = piece / slices % bands * d->row_slice,
                                 .block = piece % slices * d->block_slice};

        b.rows = s->out_h - b.row < d->row_slice ? s->out_h - b.row : d->row_slice;
        b.blocks = d->blocks - b.block < d->block_slice ? d->blocks - b.block : d->block_slice;
        if (finish.residual != NULL) {
            finish.residual += image * pixels * depthwise_nhwc_outputs(&d->problem);
        }
        d->kernel->run(&b);
    }
}
