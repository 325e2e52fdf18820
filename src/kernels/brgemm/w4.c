/* Packing of weights of four and of eight bits, the portable tiles, and the lists of variants. */
#include "kernels/brgemm/w4.h"

#include <string.h>

#include "kernels/brgemm/w4_variants.h"

enum { NR = 16, BYTE = 8, WORD_BITS = 32 };

/* ---- packing ---- */

static int64_t pieces_of(int64_t extent, int64_t slice)
{
    return (extent + slice - 1) / slice;
}

int64_t w4_group_bytes(const w4_kernel *kernel, int group, bool has_zeros)
{
    int64_t words = group * kernel->bits / WORD_BITS + 1 + has_zeros;

    return words * kernel->nr * (int64_t)sizeof(uint32_t);
}

int64_t w4_packed_size(const w4_kernel *kernel, int64_t k, int64_t columns, int group,
                       bool has_zeros)
{
    return pieces_of(columns, kernel->nr) * pieces_of(k, group) *
           w4_group_bytes(kernel, group, has_zeros);
}

static uint32_t code_at(const w4_source *s, int64_t k, int64_t column)
{
    int64_t bit = (k * s->k_stride + column * s->column_stride) * s->bits;
    uint32_t code = (uint32_t)s->codes[bit / BYTE] >> bit % BYTE;

    return ((code ^ s->flip) & ((1u << s->bits) - 1)) + s->lift;
}

/* Scales and zero points of one group of a panel's columns; returns where the codes begin. */
static void *pack_numbers(const w4_kernel *kernel, const w4_source *s, int64_t group,
                          int64_t column, int64_t columns, float *record)
{
    float centre = (float)w4_centre(kernel->bits);

    for (int64_t lane = 0; lane < columns; lane++) {
        int64_t index = group * s->group_stride + (column + lane) * s->scale_stride;

        record[lane] = s->scales[index];
        if (s->zeros != NULL) {
            record[kernel->nr + lane] = s->zeros[index] - centre;
        }
    }
    return record + (s->zeros != NULL ? 2 : 1) * kernel->nr;
}

/* Codes of k in [first, first + count) of some columns. What lies beyond is multiplied by zeros. */
static void pack_words(const w4_kernel *kernel, const w4_source *s, int64_t first, int64_t count,
                       int64_t column, int64_t columns, uint32_t *words)
{
    for (int64_t lane = 0; lane < columns; lane++) {
        for (int64_t step = 0; step < count; step++) {
            words[step / W4_WORD * kernel->nr + lane] |= code_at(s, first + step, column + lane)
                                                         << w4_shift((int)(step % W4_WORD));
        }
    }
}

/* In the order in which they lie in memory. */
static void pack_bytes(const w4_kernel *kernel, const w4_source *s, int64_t first, int64_t count,
                       int64_t column, int64_t columns, uint8_t *bytes)
{
    const uint8_t *from = s->codes + first * s->k_stride + column * s->column_stride;
    uint8_t turn = (uint8_t)(s->flip ^ w4_centre(BYTE));

    if (s->k_stride == 1) {
        for (int64_t lane = 0; lane < columns; lane++) {
            for (int64_t step = 0; step < count; step++) {
                bytes[step * kernel->nr + lane] = from[lane * s->column_stride + step] ^ turn;
            }
        }
        return;
    }
    for (int64_t step = 0; step < count; step++) {
        for (int64_t lane = 0; lane < columns; lane++) {
            bytes[step * kernel->nr + lane] =
                from[step * s->k_stride + lane * s->column_stride] ^ turn;
        }
    }
}

void w4_pack(const w4_kernel *kernel, const w4_source *source, int64_t k, int64_t columns,
             int group, void *packed)
{
    bool has_zeros = source->zeros != NULL;
    int64_t bytes = w4_group_bytes(kernel, group, has_zeros);
    char *record = packed;

    memset(packed, 0, (size_t)w4_packed_size(kernel, k, columns, group, has_zeros));
    for (int64_t column = 0; column < columns; column += kernel->nr) {
        int64_t width = columns - column < kernel->nr ? columns - column : kernel->nr;

        for (int64_t first = 0; first < k; first += group, record += bytes) {
            int64_t count = k - first < group ? k - first : group;
            void *codes =
                pack_numbers(kernel, source, first / group, column, width, (float *)(void *)record);

            if (kernel->bits == BYTE) {
                pack_bytes(kernel, source, first, count, column, width, codes);
            } else {
                pack_words(kernel, source, first, count, column, width, codes);
            }
        }
    }
}

/* ---- the portable tiles: even and odd k of a group are summed apart ---- */

static float weight_of(const void *codes, int bits, int step, int lane)
{
    const uint32_t *words = codes;

    if (bits == BYTE) {
        return (float)((const int8_t *)codes)[step * NR + lane];
    }
    return (float)((int)(words[step / W4_WORD * NR + lane] >> w4_shift(step % W4_WORD) & 0xF) -
                   w4_centre(bits));
}

static void add_group(const w4_tile *t, int bits, const float *record, int64_t g,
                      float totals[][NR])
{
    const float *zeros = record + NR;
    const void *codes = t->has_zeros ? zeros + NR : zeros;

    for (int row = 0; row < t->rows; row++) {
        const float *a = t->a + row * t->a_pitch + g * t->group;

        for (int j = 0; j < NR; j++) {
            float sum[2] = {0, 0};

            for (int step = 0; step < t->group; step++) {
                sum[step % 2] += a[step] * weight_of(codes, bits, step, j);
            }
            sum[0] += sum[1];
            if (t->has_zeros) {
                sum[0] -= zeros[j] * t->a_sums[row * t->sums_pitch + g];
            }
            totals[row][j] += record[j] * sum[0];
        }
    }
}

static void multiply(const w4_tile *t, const w4_kernel *kernel)
{
    float totals[W4_MOST_ROWS][NR] = {{0}};
    int64_t bytes = w4_group_bytes(kernel, t->group, t->has_zeros);

    for (int64_t g = 0; g < t->groups; g++) {
        add_group(t, kernel->bits, (const float *)((const char *)t->panel + g * bytes), g, totals);
    }
    for (int row = 0; row < t->rows; row++) {
        for (int j = 0; j < t->columns; j++) {
            t->c[row * t->c_pitch + j] = totals[row][j] + (t->bias != NULL ? t->bias[j] : 0.0f);
        }
    }
}

static void expand(const void *panel, int64_t groups, int group, bool has_zeros, float *to,
                   const w4_kernel *kernel)
{
    for (int64_t g = 0; g < groups; g++) {
        const char *record = (const char *)panel + g * w4_group_bytes(kernel, group, has_zeros);
        const float *scales = (const float *)record;
        const float *zeros = scales + NR;
        const void *codes = has_zeros ? zeros + NR : zeros;

        for (int step = 0; step < group; step++) {
            for (int j = 0; j < NR; j++) {
                float code = weight_of(codes, kernel->bits, step, j);

                *to++ = scales[j] * (has_zeros ? code - zeros[j] : code);
            }
        }
    }
}

static const w4_kernel w4_4x16__generic;
static const w4_kernel w8_4x16__generic;

static void tile_4(const w4_tile *t)
{
    multiply(t, &w4_4x16__generic);
}

static void tile_8(const w4_tile *t)
{
    multiply(t, &w8_4x16__generic);
}

static void unpack_4(const void *panel, int64_t groups, int group, bool has_zeros, float *to)
{
    expand(panel, groups, group, has_zeros, to, &w4_4x16__generic);
}

static void unpack_8(const void *panel, int64_t groups, int group, bool has_zeros, float *to)
{
    expand(panel, groups, group, has_zeros, to, &w8_4x16__generic);
}

static const w4_kernel w4_4x16__generic = {"w4_4x16__generic", 4, NR, tile_4, unpack_4};
static const w4_kernel w8_4x16__generic = {"w8_4x16__generic", 8, NR, tile_8, unpack_8};

const isa_variant w4_variants[] = {
    {"w4_4x16__generic", ISA_GENERIC, &w4_4x16__generic},
#ifdef SPRY_HAVE_AVX2
    {"w4_4x16__avx2", ISA_AVX2, &w4_4x16__avx2},
#endif
#ifdef SPRY_HAVE_AVX512
    {"w4_4x32__avx512", ISA_AVX512, &w4_4x32__avx512},
#endif
};
const int w4_variant_count = sizeof w4_variants / sizeof *w4_variants;

const isa_variant w8_variants[] = {
    {"w8_4x16__generic", ISA_GENERIC, &w8_4x16__generic},
#ifdef SPRY_HAVE_AVX2
    {"w8_4x16__avx2", ISA_AVX2, &w8_4x16__avx2},
#endif
#ifdef SPRY_HAVE_AVX512
    {"w8_4x32__avx512", ISA_AVX512, &w8_4x32__avx512},
#endif
};
const int w8_variant_count = sizeof w8_variants / sizeof *w8_variants;

const w4_kernel *w4_select(int bits)
{
    return bits == BYTE ? isa_select(w8_variants, w8_variant_count)
                        : isa_select(w4_variants, w4_variant_count);
}
