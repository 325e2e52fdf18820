/* The portable conversion to bf16 and the list of variants. */
#include "kernels/brgemm/bf16.h"

#include <stddef.h>
#include <string.h>

#include "kernels/brgemm/bf16_variants.h"

enum { SIGN = 0x8000, QUIET = 0x40 };

static inline uint16_t narrow_one(float x)
{
    uint32_t bits;
    uint32_t magnitude;

    memcpy(&bits, &x, sizeof bits);
    magnitude = bits & 0x7FFFFFFF;
    if (magnitude > 0x7F800000) {
        return (uint16_t)(bits >> 16 | QUIET);
    }
    if (magnitude < 0x00800000) {
        return (uint16_t)(bits >> 16 & SIGN);
    }
    return (uint16_t)((bits + 0x7FFF + (bits >> 16 & 1)) >> 16);
}

static void narrow(uint16_t *to, const float *from, int64_t n)
{
    for (int64_t i = 0; i < n; i++) {
        to[i] = narrow_one(from[i]);
    }
}

static void pair(uint32_t *to, const float *even, const float *odd, int64_t n)
{
    for (int64_t i = 0; i < n; i++) {
        to[i] = narrow_one(even[i]) | (odd != NULL ? (uint32_t)narrow_one(odd[i]) << 16 : 0);
    }
}

static const bf16_kernel bf16__generic = {"bf16__generic", narrow, pair, NULL};

const isa_variant bf16_variants[] = {
    {"bf16__generic", ISA_GENERIC, &bf16__generic},
#ifdef SPRY_HAVE_AVX512BF16
    {"bf16__avx512bf16", ISA_AVX512VNNI, &bf16__avx512bf16},
#endif
};
const int bf16_variant_count = sizeof bf16_variants / sizeof *bf16_variants;

bool bf16_usable(const isa_variant *variant)
{
    const bf16_kernel *kernel = variant->table;

    return isa_usable(variant->level) && (kernel->present == NULL || kernel->present());
}

const bf16_kernel *bf16_select(void)
{
    const bf16_kernel *best = bf16_variants[0].table;

    for (int i = 1; i < bf16_variant_count; i++) {
        best = bf16_usable(&bf16_variants[i]) ? bf16_variants[i].table : best;
    }
    return best;
}
