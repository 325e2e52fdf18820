/* Block-scaled products over the tiles of brgemm, for every instruction set that has these. */
#include "kernels/brgemm/blocks_s8.h"

#include "kernels/brgemm/brgemm_variants.h"

/* What is added to the results so far. */
static void add_block(const blocks_s8_tile *t, int64_t block, const int32_t *sums, int nr,
                      float *restrict results)
{
    const float *factors = t->factors + block * t->pitch;

    for (int i = 0; i < t->rows; i++) {
        for (int j = 0; j < t->columns; j++) {
            results[i * nr + j] += (float)sums[i * nr + j] * factors[j];
        }
    }
}

static void store(const blocks_s8_tile *t, int nr, const float *results)
{
    for (int i = 0; i < t->rows; i++) {
        for (int j = 0; j < t->columns; j++) {
            float v = results[i * nr + j];

            v += t->bias != NULL ? t->bias[j] : 0.0f;
            v = v < t->lower ? t->lower : v;
            t->c[i * t->c_pitch + j] = v > t->upper ? t->upper : v;
        }
    }
}

static void tile(const blocks_s8_kernel *kernel, const blocks_s8_tile *t)
{
    static const int64_t none = 0;
    const brgemm_kernel *inner = kernel->layout;
    int nr = inner->nr;
    int64_t pitch = nr * (int64_t)sizeof(int32_t);
    int32_t sums[BRGEMM_MOST_MR * BRGEMM_MOST_NR];
    float results[BRGEMM_MOST_MR * BRGEMM_MOST_NR] = {0};

    for (int64_t step = 0, block = 0; step < t->steps; step += t->block, block++) {
        brgemm_finish finish = {.result = BRGEMM_SUMS,
                                .offset = t->offsets + block * t->pitch,
                                .lower = t->lower,
                                .upper = t->upper};
        brgemm_tile part = {.a = t->a + step * inner->group,
                            .a_pitch = t->a_pitch,
                            .a_second = inner->mr / 2 * t->a_pitch,
                            .tap_offsets = &none,
                            .taps = 1,
                            .steps = t->steps - step < t->block ? t->steps - step : t->block,
                            .b = t->b + step * inner->group * nr,
                            .flip = t->flip,
                            .c = sums,
                            .c_pitch = pitch,
                            .c_second = inner->mr / 2 * pitch,
                            .rows = t->rows,
                            .columns = t->columns,
                            .finish = &finish};

        inner->tile(&part);
        add_block(t, block, sums, nr, results);
    }
    store(t, nr, results);
}

static const blocks_s8_kernel blocks_s8_4x16__generic = {"blocks_s8_4x16__generic", 4,
                                                         &brgemm_s8_4x16__generic, tile};
#ifdef SPRY_HAVE_AVX2
static const blocks_s8_kernel blocks_s8_4x8__avx2 = {"blocks_s8_4x8__avx2", 4, &brgemm_s8_4x8__avx2,
                                                     tile};
#endif

const isa_variant blocks_s8_variants[] = {
    {"blocks_s8_4x16__generic", ISA_GENERIC, &blocks_s8_4x16__generic},
#ifdef SPRY_HAVE_AVX2
    {"blocks_s8_4x8__avx2", ISA_AVX2, &blocks_s8_4x8__avx2},
#endif
#ifdef SPRY_HAVE_AVX512VNNI
    {"blocks_s8_6x32__avx512vnni", ISA_AVX512VNNI, &blocks_s8_6x32__avx512vnni},
#endif
};
const int blocks_s8_variant_count = sizeof blocks_s8_variants / sizeof *blocks_s8_variants;

const blocks_s8_kernel *blocks_s8_select(void)
{
    return isa_select(blocks_s8_variants, blocks_s8_variant_count);
}

void blocks_s8_run(const blocks_s8_kernel *kernel, const blocks_s8_problem *p)
{
    const blocks_s8_tile *first = &p->tile;
    int nr = kernel->layout->nr;
    int64_t panel = first->steps * kernel->layout->group * nr;

    for (int64_t column = 0; column < p->n; column += nr) {
        blocks_s8_tile t = *first;

        t.b += column / nr * panel;
        t.offsets += column;
        t.factors += column;
        t.bias = first->bias != NULL ? first->bias + column : NULL;
        t.columns = (int)(p->n - column < nr ? p->n - column : nr);
        for (int64_t row = 0; row < p->m; row += kernel->mr) {
            t.a = first->a + row * first->a_pitch;
            t.c = first->c + row * first->c_pitch + column;
            t.rows = (int)(p->m - row < kernel->mr ? p->m - row : kernel->mr);
            kernel->tile(kernel, &t);
        }
    }
}
