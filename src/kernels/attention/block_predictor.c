/* The stages one after the other, and the portable variant. */
#include "kernels/attention/block_predictor.h"

#include <math.h>
#include <string.h>

#include "kernels/attention/block_predictor_body.h"
#include "kernels/attention/block_predictor_variants.h"

static const block_predictor_kernel block_predictor__generic =
    BLOCK_PREDICTOR("block_predictor__generic");

const isa_variant block_predictor_variants[] = {
    {"block_predictor__generic", ISA_GENERIC, &block_predictor__generic},
#ifdef SPRY_HAVE_AVX2
    {"block_predictor__avx2", ISA_AVX2, &block_predictor__avx2},
#endif
#ifdef SPRY_HAVE_AVX512
    {"block_predictor__avx512", ISA_AVX512, &block_predictor__avx512},
#endif
};
const int block_predictor_variant_count =
    sizeof block_predictor_variants / sizeof *block_predictor_variants;

const block_predictor_kernel *block_predictor_select(void)
{
    return isa_select(block_predictor_variants, block_predictor_variant_count);
}

void block_predictor_pack(const block_norm *from, int64_t channels, float *weights, float *bias)
{
    static const double epsilon = 1e-5;
    int64_t groups = (channels + BLOCK_PREDICTOR_GROUP - 1) / BLOCK_PREDICTOR_GROUP;

    for (int64_t c = 0; c < groups * BLOCK_PREDICTOR_GROUP; c++) {
        bool is_there = c < channels;
        double factor = is_there ? from->factor[c] / sqrt(from->variance[c] + epsilon) : 0.0;
        float *to =
            weights +
            c / BLOCK_PREDICTOR_GROUP * BLOCK_PREDICTOR_GROUP * channels * BLOCK_PREDICTOR_TAPS +
            c % BLOCK_PREDICTOR_GROUP;

        for (int64_t i = 0; i < channels * BLOCK_PREDICTOR_TAPS; i++) {
            to[i * BLOCK_PREDICTOR_GROUP] =
                is_there ? (float)(from->weights[c * channels * BLOCK_PREDICTOR_TAPS + i] * factor)
                         : 0.0f;
        }
        bias[c] =
            is_there ? (float)((from->bias[c] - from->mean[c]) * factor + from->offset[c]) : 0.0f;
    }
}

/* The frame of the second stage, then its results. */
static int64_t second_frame(const block_predictor *p)
{
    return p->channels * block_predictor_plane(p->block / 2);
}

int64_t block_predictor_workspace(const block_predictor *p)
{
    return second_frame(p) + p->channels * p->block * p->block / 16;
}

void block_predictor_run(const block_predictor_kernel *kernel, const block_predictor *p,
                         const float *frame, float *workspace, float *logits)
{
    int64_t half = p->block / 2;
    int64_t pitch = block_predictor_pitch(half);
    int64_t quarter = p->block / 4;
    int64_t features = p->channels * quarter * quarter;
    float *results = workspace + second_frame(p);
    block_target inner = {workspace + pitch + 1, block_predictor_plane(half), pitch};
    block_target outer = {results, quarter * quarter, quarter};

    memset(workspace, 0, (size_t)second_frame(p) * sizeof *workspace);
    kernel->stage(&p->first, frame, inner);
    kernel->stage(&p->second, workspace, outer);
    for (int j = 0; j < 2; j++) {
        logits[j] = p->last_bias[j] + kernel->dot(results, p->last + j * features, features);
    }
}
