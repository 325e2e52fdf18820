/* The portable loops, and the list of variants. */
#include "kernels/peak/peak.h"

#include <string.h>

#include "kernels/peak/peak_variants.h"

enum { LANES = 32, LINE = 64, WORDS = LINE / 8 };

/* ---- portable ---- */

static double run_f32(int64_t rounds)
{
    volatile float zero = 0.0f;
    float factor[LANES];
    float sum[LANES];
    double total = 0.0;

    for (int i = 0; i < LANES; i++) {
        factor[i] = 1.0f;
        sum[i] = zero; /* read one by one, or equal sums become one */
    }
    for (int64_t r = 0; r < rounds; r++) {
        __asm__ volatile("" ::"r"(factor) : "memory"); /* or the products are made once */
        for (int i = 0; i < LANES; i++) {
            sum[i] += factor[i] * factor[i];
        }
    }
    for (int i = 0; i < LANES; i++) {
        total += (double)sum[i];
    }
    return total;
}

static double run_s8(int64_t rounds)
{
    int8_t a[LINE];
    int8_t b[LINE];
    uint32_t sum = 0;

    memset(a, 1, sizeof a);
    memset(b, 1, sizeof b);
    for (int64_t r = 0; r < rounds; r++) {
        __asm__ volatile("" ::"r"(a), "r"(b) : "memory"); /* or all rounds become one product */
        for (int i = 0; i < LINE; i++) {
            sum += (uint32_t)(a[i] * b[i]);
        }
    }
    return (double)sum;
}

static uint64_t read_lines(const void *lines, size_t count)
{
    const uint8_t *from = lines;
    uint64_t sum[WORDS] = {0};
    uint64_t total = 0;

    for (size_t i = 0; i < count; i++) {
        uint64_t words[WORDS];

        memcpy(words, from + i * LINE, sizeof words);
        for (int w = 0; w < WORDS; w++) {
            sum[w] += words[w];
        }
    }
    for (int w = 0; w < WORDS; w++) {
        total += sum[w];
    }
    return total;
}

uint64_t peak_wait(int64_t rounds)
{
    volatile uint64_t one = 1;
    uint64_t step = one;
    uint64_t sum = 0;

    for (int64_t r = 0; r < rounds; r++) {
#pragma GCC unroll 64
        for (int i = 0; i < PEAK_CYCLES; i++) {
            sum += step;
            __asm__ volatile("" : "+r"(sum)); /* or the additions become one */
        }
    }
    return sum;
}

/* ---- variants ---- */

static const peak_kernel peak_f32 = {"peak_f32", PEAK_F32, 2 * LANES, run_f32, NULL};
static const peak_kernel peak_s8 = {"peak_s8", PEAK_S8, 2 * LINE, run_s8, NULL};
static const peak_reader peak_read = {"peak_read", read_lines};

const isa_variant peak_variants[] = {
    {"peak_f32", ISA_GENERIC, &peak_f32},
    {"peak_s8", ISA_GENERIC, &peak_s8},
#ifdef SPRY_HAVE_AVX2
    {"peak_f32__avx2", ISA_AVX2, &peak_f32__avx2},
    {"peak_s8__avx2", ISA_AVX2, &peak_s8__avx2},
#endif
#ifdef SPRY_HAVE_AVXVNNI
    {"peak_s8__avxvnni", ISA_AVX2, &peak_s8__avxvnni},
#endif
#ifdef SPRY_HAVE_AVX512
    {"peak_f32__avx512", ISA_AVX512, &peak_f32__avx512},
#endif
#ifdef SPRY_HAVE_AVX512VNNI
    {"peak_s8__avx512vnni", ISA_AVX512VNNI, &peak_s8__avx512vnni},
#endif
#ifdef SPRY_HAVE_AVX512BF16
    {"peak_bf16__avx512bf16", ISA_AVX512VNNI, &peak_bf16__avx512bf16},
#endif
#ifdef SPRY_HAVE_AMX
    {"peak_bf16__amx", ISA_AMX, &peak_bf16__amx},
    {"peak_s8__amx", ISA_AMX, &peak_s8__amx},
#endif
};
const int peak_variant_count = sizeof peak_variants / sizeof *peak_variants;

const isa_variant peak_read_variants[] = {
    {"peak_read", ISA_GENERIC, &peak_read},
#ifdef SPRY_HAVE_AVX2
    {"peak_read__avx2", ISA_AVX2, &peak_read__avx2},
#endif
#ifdef SPRY_HAVE_AVX512
    {"peak_read__avx512", ISA_AVX512, &peak_read__avx512},
#endif
};
const int peak_read_variant_count = sizeof peak_read_variants / sizeof *peak_read_variants;

bool peak_usable(const isa_variant *variant)
{
    const peak_kernel *kernel = variant->table;

    return isa_usable(variant->level) && (kernel->present == NULL || kernel->present());
}

const peak_kernel *peak_select(peak_type type)
{
    const peak_kernel *best = NULL;

    for (int i = 0; i < peak_variant_count; i++) {
        const peak_kernel *kernel = peak_variants[i].table;

        if (kernel->type == type && peak_usable(&peak_variants[i])) {
            best = kernel;
        }
    }
    return best;
}

const peak_reader *peak_read_select(void)
{
    return isa_select(peak_read_variants, peak_read_variant_count);
}
