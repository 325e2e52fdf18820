/* The portable channels-last depthwise kernel for bytes, the list of variants and the packing. */
#include "kernels/conv/depthwise_nhwc_s8_finish.h"
#include "kernels/conv/depthwise_nhwc_variants.h"

enum { GROUP = 2, LANES = 32 };

/* Adds kernel position (r, q) of a pixel to the sums of a block. */
static void add_tap(const ds_block *b, int64_t y, int64_t x, int64_t r, int64_t q,
                    int32_t sums[LANES])
{
    const uint8_t *from = ds_pixel(b, y, x, r, q);
    const int16_t *weights = (const int16_t *)(const void *)b->packed +
                             (q * b->groups + r / GROUP) * LANES * GROUP + r % GROUP;

    for (int i = 0; i < b->lanes; i++) {
        uint8_t byte = b->band->zero;

        if (from != NULL) {
            byte = from[(b->phase + i) / b->multiplier] ^ b->band->flip;
        }
        sums[i] += byte * weights[depthwise_nhwc_s8_place(i, LANES) * GROUP];
    }
}

static void run(const depthwise_nhwc_band *band)
{
    const conv_f32_shape *s = &band->problem->shape;
    const int32_t *offset = band->finish->offset;
    int64_t row_pixels = s->out_w;

    for (int64_t i = 0; i < band->blocks * band->rows * row_pixels; i++) {
        int64_t y = band->row + i / row_pixels % band->rows;
        ds_block b = ds_block_of(band, band->block + i / row_pixels / band->rows, LANES, GROUP);
        int32_t sums[LANES] = {0};

        for (int64_t tap = 0; tap < s->kernel_h * s->kernel_w; tap++) {
            add_tap(&b, y, i % row_pixels, tap / s->kernel_w, tap % s->kernel_w, sums);
        }
        for (int lane = 0; offset != NULL && lane < b.lanes; lane++) {
            sums[lane] = (int32_t)((uint32_t)sums[lane] + (uint32_t)offset[b.channel + lane]);
        }
        ds_finish(&b, sums, y * row_pixels + i % row_pixels);
    }
}

static const depthwise_nhwc_kernel depthwise_nhwc_s8__generic = {
    "depthwise_nhwc_s8__generic", BRGEMM_S8, LANES, GROUP, 1, run};

const isa_variant depthwise_nhwc_s8_variants[] = {
    {"depthwise_nhwc_s8__generic", ISA_GENERIC, &depthwise_nhwc_s8__generic},
#ifdef SPRY_HAVE_AVX2
    {"depthwise_nhwc_s8__avx2", ISA_AVX2, &depthwise_nhwc_s8__avx2},
#endif
#ifdef SPRY_HAVE_AVX512VNNI
    {"depthwise_nhwc_s8_32__avx512vnni", ISA_AVX512VNNI, &depthwise_nhwc_s8_32__avx512vnni},
    {"depthwise_nhwc_s8_64__avx512vnni", ISA_AVX512VNNI, &depthwise_nhwc_s8_64__avx512vnni},
#endif
};
const int depthwise_nhwc_s8_variant_count =
    sizeof depthwise_nhwc_s8_variants / sizeof *depthwise_nhwc_s8_variants;

void depthwise_nhwc_s8_pack(const depthwise_nhwc *d, const uint8_t *weights, uint8_t flip,
                            int32_t zero, void *packed)
{
    const conv_f32_shape *s = &d->problem.shape;
    const int64_t taps = s->kernel_h * s->kernel_w;
    const int64_t group = d->kernel->group;
    const int lanes = d->kernel->lanes;
    const int64_t groups = (s->kernel_h + group - 1) / group;
    int8_t *narrow = packed;
    int16_t *wide = packed;

    memset(packed, 0, (size_t)d->packed_bytes);
    for (int64_t i = 0; i < s->channels * d->problem.multiplier * taps; i++) {
        int64_t channel = i / taps;
        int64_t row = i % taps / s->kernel_w;
        int64_t column = (channel / lanes * s->kernel_w + i % s->kernel_w) * groups + row / group;
        int64_t place = column * lanes + depthwise_nhwc_s8_place((int)(channel % lanes), lanes);
        int32_t weight = (int8_t)(weights[i] ^ flip) - zero;

        if (group == DS_GROUP_BYTES) {
            narrow[place * group + row % group] = (int8_t)weight;
        } else {
            wide[place * group + row % group] = (int16_t)weight;
        }
    }
}
