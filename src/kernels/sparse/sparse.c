/* The portable tiles, and the lists of variants. */
#include "kernels/sparse/sparse.h"

#include <string.h>

#include "kernels/sparse/sparse_variants.h"

enum { COLUMNS = 64, PANEL = 16, LANES = 8 };

/* The four bytes of B under an entry, in column `column`. */
static const char *number_of(const sparse_tile *t, uint32_t at, int column)
{
    return (const char *)t->b + column / PANEL * t->b_panel + (size_t)at +
           (size_t)(column % PANEL) * 4;
}

static float half_of(const void *from, int half)
{
    uint16_t number;
    uint32_t bits;
    float x;

    memcpy(&number, (const char *)from + half * 2, sizeof number);
    bits = (uint32_t)number << 16;
    memcpy(&x, &bits, sizeof x);
    return x;
}

static void add_f32(void *sum, const void *value, const void *b)
{
    *(float *)sum += *(const float *)value * *(const float *)b;
}

static void add_bf16(void *sum, const void *value, const void *b)
{
    for (int half = 0; half < 2; half++) {
        *(float *)sum += half_of(value, half) * half_of(b, half);
    }
}

static void add_s8(void *sum, const void *value, const void *b)
{
    uint32_t total;

    memcpy(&total, sum, sizeof total);
    for (int i = 0; i < 4; i++) { /* wraps as the instruction does */
        total += (uint32_t)(((const int8_t *)value)[i] * ((const uint8_t *)b)[i]);
    }
    memcpy(sum, &total, sizeof total);
}

typedef void add_numbers(void *sum, const void *value, const void *b);

static void run_tile(const sparse_tile *t, add_numbers *add)
{
    const uint32_t *at = t->at;
    const char *value = t->value;

    for (int64_t i = 0; i < t->row_count; i++) {
        char *c = (char *)t->c + (int64_t)t->rows[i].row * t->c_pitch;

        if (!t->accumulate) {
            memset(c, 0, (size_t)t->columns * 4);
        }
        for (uint32_t j = 0; j < t->rows[i].count; j++, at++, value += 4) {
            for (int column = 0; column < t->columns; column++) {
                add(c + (size_t)column * 4, value, number_of(t, *at, column));
            }
        }
    }
}

static void tile_f32(const sparse_tile *t)
{
    run_tile(t, add_f32);
}

static void tile_bf16(const sparse_tile *t)
{
    run_tile(t, add_bf16);
}

static void tile_s8(const sparse_tile *t)
{
    run_tile(t, add_s8);
}

static const sparse_kernel sparse_f32_64__generic = {
    "sparse_f32_64__generic", BRGEMM_F32, COLUMNS, PANEL, 1, LANES, tile_f32, NULL};
static const sparse_kernel sparse_bf16_64__generic = {
    "sparse_bf16_64__generic", BRGEMM_BF16, COLUMNS, PANEL, 2, LANES, tile_bf16, NULL};
static const sparse_kernel sparse_s8_64__generic = {
    "sparse_s8_64__generic", BRGEMM_S8, COLUMNS, PANEL, 4, LANES, tile_s8, NULL};

static const isa_variant f32_variants[] = {
    {"sparse_f32_64__generic", ISA_GENERIC, &sparse_f32_64__generic},
#ifdef SPRY_HAVE_AVX2
    {"sparse_f32_64__avx2", ISA_AVX2, &sparse_f32_64__avx2},
#endif
#ifdef SPRY_HAVE_AVX512
    {"sparse_f32_128__avx512", ISA_AVX512, &sparse_f32_128__avx512},
#endif
};

static const isa_variant bf16_variants[] = {
    {"sparse_bf16_64__generic", ISA_GENERIC, &sparse_bf16_64__generic},
#ifdef SPRY_HAVE_AVX512BF16
    {"sparse_bf16_128__avx512bf16", ISA_AVX512VNNI, &sparse_bf16_128__avx512bf16},
#endif
};

static const isa_variant s8_variants[] = {
    {"sparse_s8_64__generic", ISA_GENERIC, &sparse_s8_64__generic},
#ifdef SPRY_HAVE_AVX512VNNI
    {"sparse_s8_128__avx512vnni", ISA_AVX512VNNI, &sparse_s8_128__avx512vnni},
#endif
};

brgemm_variants sparse_variants_of(brgemm_type type)
{
    switch (type) {
    case BRGEMM_F32:
        return (brgemm_variants){f32_variants, sizeof f32_variants / sizeof *f32_variants};
    case BRGEMM_BF16:
        return (brgemm_variants){bf16_variants, sizeof bf16_variants / sizeof *bf16_variants};
    default: return (brgemm_variants){s8_variants, sizeof s8_variants / sizeof *s8_variants};
    }
}

bool sparse_usable(const isa_variant *variant)
{
    const sparse_kernel *kernel = variant->table;

    return isa_usable(variant->level) && (kernel->present == NULL || kernel->present());
}

const sparse_kernel *sparse_select(brgemm_type type)
{
    brgemm_variants variants = sparse_variants_of(type);
    const sparse_kernel *best = variants.list[0].table;

    for (int i = 1; i < variants.count; i++) {
        best = sparse_usable(&variants.list[i]) ? variants.list[i].table : best;
    }
    return best;
}
