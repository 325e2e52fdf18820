/* Packing of weights of four bits, the portable tile, and the list of variants. */
#include "kernels/brgemm/w4.h"

#include <string.h>

#include "kernels/brgemm/w4_variants.h"

enum { NR = 16, BYTE = 8 };

/* ---- packing ---- */

static int64_t pieces_of(int64_t extent, int64_t slice)
{
    return (extent + slice - 1) / slice;
}

int64_t w4_group_bytes(const w4_kernel *kernel, int group, bool has_zeros)
{
    int64_t words = group / W4_WORD + 1 + has_zeros;

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

/* One group of one column; `to` is the column's place in the record. Codes beyond k are zero
 * points, though what they multiply is zero. */
static void pack_group(const w4_kernel *kernel, const w4_source *s, int64_t first, int64_t count,
                       int64_t column, int group, uint32_t *to)
{
    int64_t index = first / group * s->group_stride + column * s->scale_stride;

    memcpy(to, &s->scales[index], sizeof *to);
    to += kernel->nr;
    if (s->zeros != NULL) {
        float zero = s->zeros[index] - (float)W4_CENTRE;

        memcpy(to, &zero, sizeof *to);
        to += kernel->nr;
    }
    for (int64_t step = 0; step < group; step++) {
        uint32_t code = step < count ? code_at(s, first + step, column) : W4_CENTRE;

        to[step / W4_WORD * kernel->nr] |= code << w4_shift((int)(step % W4_WORD));
    }
}

void w4_pack(const w4_kernel *kernel, const w4_source *source, int64_t k, int64_t columns,
             int group, void *packed)
{
    bool has_zeros = source->zeros != NULL;
    int64_t bytes = w4_group_bytes(kernel, group, has_zeros);
    int64_t groups = pieces_of(k, group);

    memset(packed, 0, (size_t)w4_packed_size(kernel, k, columns, group, has_zeros));
    for (int64_t column = 0; column < columns; column++) {
        char *panel = (char *)packed + column / kernel->nr * groups * bytes;

        for (int64_t g = 0; g < groups; g++) {
            int64_t left = k - g * group;

            pack_group(kernel, source, g * group, left < group ? left : group, column, group,
                       (uint32_t *)(panel + g * bytes) + column % kernel->nr);
        }
    }
}

/* ---- the portable tile: even and odd k of a group are summed apart ---- */

static float weight_of(uint32_t word, int step)
{
    return (float)((int)(word >> w4_shift(step) & 0xF) - W4_CENTRE);
}

static void add_group(const w4_tile *t, const float *record, int64_t g, float totals[][NR])
{
    const float *zeros = record + NR;
    const uint32_t *codes = (const uint32_t *)(t->has_zeros ? zeros + NR : zeros);

    for (int row = 0; row < t->rows; row++) {
        const float *a = t->a + row * t->a_pitch + g * t->group;

        for (int j = 0; j < NR; j++) {
            float sum[2] = {0, 0};

            for (int step = 0; step < t->group; step++) {
                uint32_t word = codes[step / W4_WORD * NR + j];

                sum[step % 2] += a[step] * weight_of(word, step % W4_WORD);
            }
            sum[0] += sum[1];
            if (t->has_zeros) {
                sum[0] -= zeros[j] * t->a_sums[row * t->sums_pitch + g];
            }
            totals[row][j] += record[j] * sum[0];
        }
    }
}

static void tile(const w4_tile *t)
{
    float totals[W4_MOST_ROWS][NR] = {{0}};
    int64_t words = t->group / W4_WORD + 1 + t->has_zeros;

    for (int64_t g = 0; g < t->groups; g++) {
        add_group(t, (const float *)t->panel + g * words * NR, g, totals);
    }
    for (int row = 0; row < t->rows; row++) {
        for (int j = 0; j < t->columns; j++) {
            t->c[row * t->c_pitch + j] = totals[row][j] + (t->bias != NULL ? t->bias[j] : 0.0f);
        }
    }
}

static void unpack(const void *panel, int64_t groups, int group, bool has_zeros, float *to)
{
    int64_t words = group / W4_WORD + 1 + has_zeros;

    for (int64_t g = 0; g < groups; g++) {
        const float *scales = (const float *)panel + g * words * NR;
        const float *zeros = scales + NR;
        const uint32_t *codes = (const uint32_t *)(has_zeros ? zeros + NR : zeros);

        for (int64_t step = 0; step < group; step++) {
            for (int j = 0; j < NR; j++) {
                float code = weight_of(codes[step / W4_WORD * NR + j], (int)(step % W4_WORD));

                *to++ = scales[j] * (has_zeros ? code - zeros[j] : code);
            }
        }
    }
}

static const w4_kernel w4_4x16__generic = {"w4_4x16__generic", NR, tile, unpack};

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

const w4_kernel *w4_select(void)
{
    return isa_select(w4_variants, w4_variant_count);
}
