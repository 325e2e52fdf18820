/* The lists of variants, and the packing of weights. */
#include "kernels/brgemm/brgemm.h"

#include "kernels/brgemm/brgemm_variants.h"
#include "kernels/transpose/transpose.h"

static const isa_variant f32_variants[] = {
    {"brgemm_f32_4x16__generic", ISA_GENERIC, &brgemm_f32_4x16__generic},
#ifdef SPRY_HAVE_AVX2
    {"brgemm_f32_6x16__avx2", ISA_AVX2, &brgemm_f32_6x16__avx2},
#endif
#ifdef SPRY_HAVE_AVX512
    {"brgemm_f32_14x32__avx512", ISA_AVX512, &brgemm_f32_14x32__avx512},
#endif
#ifdef SPRY_HAVE_NEON
    {"brgemm_f32_6x16__neon", ISA_NEON, &brgemm_f32_6x16__neon},
#endif
};

static const isa_variant bf16_variants[] = {
    {"brgemm_bf16_4x16__generic", ISA_GENERIC, &brgemm_bf16_4x16__generic},
#ifdef SPRY_HAVE_AVX512BF16
    {"brgemm_bf16_14x32__avx512bf16", ISA_AVX512VNNI, &brgemm_bf16_14x32__avx512bf16},
#endif
#ifdef SPRY_HAVE_AMX
    {"brgemm_bf16_32x32__amx", ISA_AMX, &brgemm_bf16_32x32__amx},
#endif
};

static const isa_variant s8_variants[] = {
    {"brgemm_s8_4x16__generic", ISA_GENERIC, &brgemm_s8_4x16__generic},
#ifdef SPRY_HAVE_AVX2
    {"brgemm_s8_4x8__avx2", ISA_AVX2, &brgemm_s8_4x8__avx2},
#endif
#ifdef SPRY_HAVE_AVXVNNI
    {"brgemm_s8_6x16__avxvnni", ISA_AVX2, &brgemm_s8_6x16__avxvnni},
#endif
#ifdef SPRY_HAVE_AVX512VNNI
    {"brgemm_s8_16x16__avx512vnni", ISA_AVX512VNNI, &brgemm_s8_16x16__avx512vnni},
    {"brgemm_s8_14x32__avx512vnni", ISA_AVX512VNNI, &brgemm_s8_14x32__avx512vnni},
#endif
#ifdef SPRY_HAVE_AMX
    {"brgemm_s8_32x32__amx", ISA_AMX, &brgemm_s8_32x32__amx},
#endif
#ifdef SPRY_HAVE_NEON
    {"brgemm_s8_4x8__neon", ISA_NEON, &brgemm_s8_4x8__neon},
#endif
#ifdef SPRY_HAVE_NEONDOT
    {"brgemm_s8_8x8__neondot", ISA_NEON, &brgemm_s8_8x8__neondot},
#endif
};

brgemm_variants brgemm_variants_of(brgemm_type type)
{
    switch (type) {
    case BRGEMM_F32:
        return (brgemm_variants){f32_variants, sizeof f32_variants / sizeof *f32_variants};
    case BRGEMM_BF16:
        return (brgemm_variants){bf16_variants, sizeof bf16_variants / sizeof *bf16_variants};
    default: return (brgemm_variants){s8_variants, sizeof s8_variants / sizeof *s8_variants};
    }
}

bool brgemm_usable(const isa_variant *variant)
{
    const brgemm_kernel *kernel = variant->table;

    return isa_usable(variant->level) && (kernel->present == NULL || kernel->present());
}

const brgemm_kernel *brgemm_select(brgemm_type type)
{
    brgemm_variants variants = brgemm_variants_of(type);
    const brgemm_kernel *best = variants.list[0].table;

    for (int i = 1; i < variants.count; i++) {
        best = brgemm_usable(&variants.list[i]) ? variants.list[i].table : best;
    }
    return best;
}

const brgemm_kernel *brgemm_select_narrow(brgemm_type type, int64_t columns)
{
    brgemm_variants variants = brgemm_variants_of(type);
    const brgemm_kernel *best = variants.list[0].table;
    isa_level level = variants.list[0].level;

    for (int i = 1; i < variants.count; i++) {
        const brgemm_kernel *kernel = variants.list[i].table;
        bool is_level = variants.list[i].level == level;

        if (brgemm_usable(&variants.list[i]) &&
            !(is_level && best->nr >= columns && best->mr > kernel->mr && best->nr < kernel->nr)) {
            best = kernel;
            level = variants.list[i].level;
        }
    }
    return best;
}

/* ---- packing ---- */

static int64_t round_up(int64_t n, int64_t multiple)
{
    return (n + multiple - 1) / multiple * multiple;
}

int64_t brgemm_packed_size(const brgemm_kernel *kernel, int64_t taps, int64_t k, int64_t columns)
{
    return round_up(columns, kernel->nr) * taps * round_up(k, kernel->group) *
           brgemm_size(kernel->type);
}

/* One element of the source, as a type of several k per step packs it. */
static inline void pack_element(brgemm_type type, const brgemm_source *s, int64_t from, void *to,
                                int64_t at)
{
    switch (type) {
    case BRGEMM_BF16: ((uint16_t *)to)[at] = brgemm_bf16(((const float *)s->data)[from]); break;
    default: ((uint8_t *)to)[at] = (uint8_t)(((const uint8_t *)s->data)[from] ^ s->flip); break;
    }
}

/* `steps` floats k_stride apart, of `count` columns. */
static void pack_floats(const brgemm_source *s, int64_t from, int64_t steps, int64_t count, int nr,
                        float *to)
{
    const float *data = (const float *)s->data + from;

    if (s->k_stride == 1) {
        transpose_matrix m = {.from = data,
                              .to = to,
                              .rows = count,
                              .columns = steps,
                              .from_pitch = s->column_stride * (int64_t)sizeof(float),
                              .to_pitch = nr * (int64_t)sizeof(float)};

        transpose_select()->words(&m);
        return;
    }
    for (int64_t step = 0; step < steps; step++) {
        for (int64_t column = 0; column < count; column++) {
            to[step * nr + column] = data[step * s->k_stride + column * s->column_stride];
        }
    }
}

/* The elements [first, first + steps) of one tap's k, which lie k_stride apart. */
static void pack_run(const brgemm_kernel *kernel, const brgemm_source *s, int64_t from,
                     int64_t first, int64_t steps, int64_t count, void *to)
{
    int group = kernel->group;

    if (kernel->type == BRGEMM_F32) {
        pack_floats(s, from, steps, count, kernel->nr, (float *)to + first * kernel->nr);
        return;
    }
    for (int64_t step = 0; step < steps; step++) {
        int64_t k = first + step;
        int64_t line = k / group * kernel->nr * group + k % group;

        for (int64_t column = 0; column < count; column++) {
            pack_element(kernel->type, s, from + step * s->k_stride + column * s->column_stride, to,
                         line + column * group);
        }
    }
}

/* `count` columns of one tap. */
static void pack_tap(const brgemm_kernel *kernel, const brgemm_source *s, int64_t from, int64_t k,
                     int64_t count, void *to)
{
    int64_t inner = s->k_inner == 0 ? k : s->k_inner;

    for (int64_t first = 0; first < k; first += inner) {
        int64_t steps = k - first < inner ? k - first : inner;

        pack_run(kernel, s, from + first / inner * s->k_outer_stride, first, steps, count, to);
    }
}

void brgemm_pack(const brgemm_kernel *kernel, const brgemm_source *source, int64_t taps, int64_t k,
                 int64_t columns, void *packed)
{
    int64_t tap_bytes = brgemm_packed_size(kernel, 1, k, kernel->nr);
    char *to = packed;

    if (columns % kernel->nr != 0 || k % kernel->group != 0) {
        memset(packed, 0, (size_t)brgemm_packed_size(kernel, taps, k, columns));
    }
    for (int64_t column = 0; column < columns; column += kernel->nr) {
        int64_t count = columns - column < kernel->nr ? columns - column : kernel->nr;

        for (int64_t tap = 0; tap < taps; tap++) {
            pack_tap(kernel, source, tap * source->tap_stride + column * source->column_stride, k,
                     count, to);
            to += tap_bytes;
        }
    }
}
