/* The portable tiles, and the lists of variants. */
#include "kernels/outer/outer.h"

#include <string.h>

#include "kernels/outer/outer_variants.h"

enum { MR = 4, NR = 16 };

static inline float half_of(uint32_t pair, bool upper)
{
    uint32_t bits = upper ? pair & 0xFFFF0000u : pair << 16;
    float x;

    memcpy(&x, &bits, sizeof x);
    return x;
}

static void start(const outer_tile *t, float sums[MR][NR])
{
    memset(sums, 0, sizeof(float) * MR * NR);
    for (int i = 0; t->accumulate && i < t->rows; i++) {
        memcpy(sums[i], t->c + i * t->c_pitch, (size_t)t->columns * sizeof **sums);
    }
}

static void store(const outer_tile *t, float sums[MR][NR])
{
    for (int i = 0; i < t->rows; i++) {
        memcpy(t->c + i * t->c_pitch, sums[i], (size_t)t->columns * sizeof **sums);
    }
}

static void tile_f32(const outer_tile *t)
{
    float sums[MR][NR];

    start(t, sums);
    for (int64_t r = 0; r < t->run_count; r++) {
        const char *a = (const char *)t->a + t->runs[r].a;
        const char *b = (const char *)t->b + t->runs[r].b;

        for (int64_t s = 0; s < t->runs[r].steps; s++, a += t->a_pitch, b += t->b_pitch) {
            const float *left = (const float *)(const void *)a;
            const float *right = (const float *)(const void *)b;

            for (int i = 0; i < t->rows; i++) {
                for (int j = 0; j < t->columns; j++) {
                    sums[i][j] += left[i] * right[j];
                }
            }
        }
    }
    store(t, sums);
}

static void tile_bf16(const outer_tile *t)
{
    float sums[MR][NR];

    start(t, sums);
    for (int64_t r = 0; r < t->run_count; r++) {
        const char *a = (const char *)t->a + t->runs[r].a;
        const char *b = (const char *)t->b + t->runs[r].b;

        for (int64_t s = 0; s < t->runs[r].steps; s++, a += t->a_pitch, b += t->b_pitch) {
            const uint32_t *left = (const uint32_t *)(const void *)a;
            const uint32_t *right = (const uint32_t *)(const void *)b;

            for (int i = 0; i < t->rows; i++) {
                for (int j = 0; j < t->columns; j++) {
                    sums[i][j] += half_of(left[i], false) * half_of(right[j], false);
                    sums[i][j] += half_of(left[i], true) * half_of(right[j], true);
                }
            }
        }
    }
    store(t, sums);
}

static const outer_kernel outer_f32_4x16__generic = {
    "outer_f32_4x16__generic", OUTER_F32, MR, NR, 1, tile_f32, NULL};
static const outer_kernel outer_bf16_4x16__generic = {
    "outer_bf16_4x16__generic", OUTER_BF16, MR, NR, 2, tile_bf16, NULL};

static const isa_variant f32_variants[] = {
    {"outer_f32_4x16__generic", ISA_GENERIC, &outer_f32_4x16__generic},
#ifdef SPRY_HAVE_AVX2
    {"outer_f32_6x16__avx2", ISA_AVX2, &outer_f32_6x16__avx2},
#endif
#ifdef SPRY_HAVE_AVX512
    {"outer_f32_14x32__avx512", ISA_AVX512, &outer_f32_14x32__avx512},
#endif
};

static const isa_variant bf16_variants[] = {
    {"outer_bf16_4x16__generic", ISA_GENERIC, &outer_bf16_4x16__generic},
#ifdef SPRY_HAVE_AVX512BF16
    {"outer_bf16_14x32__avx512bf16", ISA_AVX512VNNI, &outer_bf16_14x32__avx512bf16},
#endif
};

outer_variants outer_variants_of(outer_type type)
{
    return type == OUTER_F32
               ? (outer_variants){f32_variants, sizeof f32_variants / sizeof *f32_variants}
               : (outer_variants){bf16_variants, sizeof bf16_variants / sizeof *bf16_variants};
}

bool outer_usable(const isa_variant *variant)
{
    const outer_kernel *kernel = variant->table;

    return isa_usable(variant->level) && (kernel->present == NULL || kernel->present());
}

const outer_kernel *outer_select(outer_type type)
{
    outer_variants variants = outer_variants_of(type);
    const outer_kernel *best = variants.list[0].table;

    for (int i = 1; i < variants.count; i++) {
        best = outer_usable(&variants.list[i]) ? variants.list[i].table : best;
    }
    return best;
}
