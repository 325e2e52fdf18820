/* The portable tile, and the list of variants. */
#include "kernels/sparse/sparse_lanes.h"

#include <math.h>

#include "kernels/sparse/sparse_lanes_variants.h"

static float clamp(float x, const brgemm_finish *f)
{
    x = x < f->lower ? f->lower : x; /* NaN passes through */
    return x > f->upper ? f->upper : x;
}

/* Sums of one pixel to where they belong. */
static void finish_pixel(const sparse_lanes_tile *t, const sparse_lanes_pixels *run, int pixel,
                         float *sums)
{
    const brgemm_finish *f = t->finish;

    for (int i = 0; i < t->lanes; i++) {
        sums[i] += f->bias != NULL ? f->bias[i] : 0.0f;
        sums[i] += run->residual != NULL ? run->residual[pixel * t->y_pitch + i] : 0.0f;
        sums[i] = f->activate == NULL ? clamp(sums[i], f) : sums[i];
    }
    if (f->activate != NULL) {
        f->activate(sums, sums, t->lanes);
    }
    for (int i = 0; i < t->lanes; i++) {
        run->y[pixel * t->y_pitch + i] = sums[i];
    }
}

static void tile(const sparse_lanes_tile *t)
{
    for (int r = 0; r < t->count; r++) {
        const sparse_lanes_pixels *run = &t->runs[r];

        for (int pixel = run->first; pixel < run->end; pixel++) {
            const float *x = run->x + pixel * t->x_pitch;
            float sums[SPARSE_LANES] = {0};

            for (int64_t s = 0; s < t->slots; s++) {
                for (int i = 0; i < SPARSE_LANES; i++) {
                    int64_t k = s * SPARSE_LANES + i;

                    sums[i] += t->value[k] * x[t->at[s] + t->lane[k]];
                }
            }
            finish_pixel(t, run, pixel, sums);
        }
    }
}

static const sparse_lanes_kernel sparse_lanes_f32__generic = {"sparse_lanes_f32__generic", tile};

const isa_variant sparse_lanes_variants[] = {
    {"sparse_lanes_f32__generic", ISA_GENERIC, &sparse_lanes_f32__generic},
#ifdef SPRY_HAVE_AVX512
    {"sparse_lanes_f32__avx512", ISA_AVX512, &sparse_lanes_f32__avx512},
#endif
};
const int sparse_lanes_variant_count =
    sizeof sparse_lanes_variants / sizeof sparse_lanes_variants[0];

const sparse_lanes_kernel *sparse_lanes_select(void)
{
    return isa_select(sparse_lanes_variants, sparse_lanes_variant_count);
}
