/* Asks the processor and the kernel, once per process. */
#define _GNU_SOURCE
#include "base/cpu.h"

#include <pthread.h>
#include <string.h>

#if defined(__x86_64__)
#include <cpuid.h>
#include <sys/syscall.h>
#include <unistd.h>
#elif defined(__aarch64__)
#include <asm/hwcap.h>
#include <sys/auxv.h>
#endif

/* Bits of the state mask XCR0 that must all be set before registers of a width survive a task
 * switch: SSE and AVX; opmask and both ZMM halves; tile configuration and data. */
#define STATE_AVX ((uint64_t)0x6)
#define STATE_AVX512 ((uint64_t)0xe0 | STATE_AVX)
#define STATE_TILES ((uint64_t)0x60000)

enum {
    LEAF1_ECX_FMA = 12,
    LEAF1_ECX_SSE42 = 20,
    LEAF1_ECX_OSXSAVE = 27,
    LEAF1_ECX_AVX = 28,
    LEAF1_ECX_F16C = 29,
    LEAF7_EBX_AVX2 = 5,
    LEAF7_EBX_AVX512F = 16,
    LEAF7_EBX_AVX512DQ = 17,
    LEAF7_EBX_AVX512BW = 30,
    LEAF7_EBX_AVX512VL = 31,
    LEAF7_ECX_AVX512VBMI = 1,
    LEAF7_ECX_AVX512VNNI = 11,
    LEAF7_EDX_AMX_BF16 = 22,
    LEAF7_EDX_AVX512FP16 = 23,
    LEAF7_EDX_AMX_TILE = 24,
    LEAF7_EDX_AMX_INT8 = 25,
    LEAF7_1_EAX_AVXVNNI = 4,
    LEAF7_1_EAX_AVX512BF16 = 5
};

static struct {
    pthread_once_t once;
    cpu_registers registers;
    cpu_features features;
    char brand[CPU_BRAND_SIZE];
} probed = {.once = PTHREAD_ONCE_INIT};

static bool bit(uint32_t value, int index)
{
    return (value >> index & 1) != 0;
}

static bool saves(const cpu_registers *r, uint64_t state)
{
    return bit(r->leaf1_ecx, LEAF1_ECX_OSXSAVE) && (r->xcr0 & state) == state;
}

bool cpu_could_use_amx(const cpu_registers *r)
{
    return saves(r, STATE_AVX512 | STATE_TILES) && bit(r->leaf7_edx, LEAF7_EDX_AMX_TILE);
}

void cpu_decide(const cpu_registers *r, cpu_features *features)
{
    bool avx = saves(r, STATE_AVX) && bit(r->leaf1_ecx, LEAF1_ECX_AVX);
    bool avx2 = avx && bit(r->leaf7_ebx, LEAF7_EBX_AVX2);
    bool avx512 = avx2 && saves(r, STATE_AVX512) && bit(r->leaf7_ebx, LEAF7_EBX_AVX512F);
    bool tiles = cpu_could_use_amx(r) && r->amx_permitted;

    *features = (cpu_features){
        .sse42 = bit(r->leaf1_ecx, LEAF1_ECX_SSE42),
        .avx2 = avx2,
        .fma = avx && bit(r->leaf1_ecx, LEAF1_ECX_FMA),
        .f16c = avx && bit(r->leaf1_ecx, LEAF1_ECX_F16C),
        .avxvnni = avx2 && bit(r->leaf7_1_eax, LEAF7_1_EAX_AVXVNNI),
        .avx512f = avx512,
        .avx512bw = avx512 && bit(r->leaf7_ebx, LEAF7_EBX_AVX512BW),
        .avx512dq = avx512 && bit(r->leaf7_ebx, LEAF7_EBX_AVX512DQ),
        .avx512vl = avx512 && bit(r->leaf7_ebx, LEAF7_EBX_AVX512VL),
        .avx512vnni = avx512 && bit(r->leaf7_ecx, LEAF7_ECX_AVX512VNNI),
        .avx512vbmi = avx512 && bit(r->leaf7_ecx, LEAF7_ECX_AVX512VBMI),
        .avx512bf16 = avx512 && bit(r->leaf7_1_eax, LEAF7_1_EAX_AVX512BF16),
        .avx512fp16 = avx512 && bit(r->leaf7_edx, LEAF7_EDX_AVX512FP16),
        .amx_tile = tiles,
        .amx_int8 = tiles && bit(r->leaf7_edx, LEAF7_EDX_AMX_INT8),
        .amx_bf16 = tiles && bit(r->leaf7_edx, LEAF7_EDX_AMX_BF16),
    };
}

#if defined(__x86_64__)

static uint64_t read_xcr0(void)
{
    uint32_t low;
    uint32_t high;

    __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
    return (uint64_t)high << 32 | low;
}

/* Tiles need 8 KiB more room per thread for saved registers, so Linux gives them on request only;
 * a grant holds for the whole process. */
static bool request_amx(void)
{
    enum { ARCH_REQUEST_PERMISSION = 0x1023, FEATURE_TILE_DATA = 18 };

    return syscall(SYS_arch_prctl, ARCH_REQUEST_PERMISSION, FEATURE_TILE_DATA) == 0;
}

static void read_registers(cpu_registers *r)
{
    uint32_t eax;
    uint32_t ebx;
    uint32_t ecx;
    uint32_t edx;

    if (__get_cpuid(1, &eax, &ebx, &ecx, &edx) != 0) {
        r->leaf1_ecx = ecx;
    }
    if (__get_cpuid_count(7, 0, &eax, &ebx, &ecx, &edx) != 0) {
        uint32_t subleaves = eax;

        r->leaf7_ebx = ebx;
        r->leaf7_ecx = ecx;
        r->leaf7_edx = edx;
        if (subleaves >= 1 && __get_cpuid_count(7, 1, &eax, &ebx, &ecx, &edx) != 0) {
            r->leaf7_1_eax = eax;
        }
    }
    if (bit(r->leaf1_ecx, LEAF1_ECX_OSXSAVE)) {
        r->xcr0 = read_xcr0();
    }
    r->amx_permitted = cpu_could_use_amx(r) && request_amx();
}

/* The name sits in three leaves, padded with spaces on either side. */
static void read_brand(char brand[CPU_BRAND_SIZE])
{
    uint32_t words[12] = {0};
    char text[sizeof words + 1] = {0};
    const char *start = text;
    size_t length;

    for (uint32_t i = 0; i < 3; i++) {
        uint32_t *w = words + (size_t)i * 4;

        if (__get_cpuid(0x80000002u + i, &w[0], &w[1], &w[2], &w[3]) == 0) {
            break;
        }
    }
    memcpy(text, words, sizeof words);
    start += strspn(start, " ");
    length = strlen(start);
    while (length != 0 && start[length - 1] == ' ') {
        length--;
    }
    if (length != 0) {
        memcpy(brand, start, length);
        brand[length] = '\0';
    }
}

static void probe(void)
{
    static const char unnamed[] = "x86-64";

    memcpy(probed.brand, unnamed, sizeof unnamed);
    read_brand(probed.brand);
    read_registers(&probed.registers);
    cpu_decide(&probed.registers, &probed.features);
}

#else

static void probe(void)
{
#if defined(__aarch64__)
    static const char unnamed[] = "AArch64";

    probed.features.neon = true; /* part of the architecture */
    probed.features.dotprod = (getauxval(AT_HWCAP) & HWCAP_ASIMDDP) != 0;
#else
    static const char unnamed[] = "unknown";
#endif
    memcpy(probed.brand, unnamed, sizeof unnamed);
}

#endif

const cpu_features *cpu_current(void)
{
    (void)pthread_once(&probed.once, probe);
    return &probed.features;
}

const cpu_registers *cpu_current_registers(void)
{
    (void)pthread_once(&probed.once, probe);
    return &probed.registers;
}

const char *cpu_brand(void)
{
    (void)pthread_once(&probed.once, probe);
    return probed.brand;
}
