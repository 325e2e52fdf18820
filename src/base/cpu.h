/* What this processor can do and the operating system lets it do.
 *
 * An instruction set counts as present when the processor reports it, AND the operating system
 * saves its registers, AND (for AMX) the kernel has granted this process the use of the tiles. */
#ifndef BASE_CPU_H
#define BASE_CPU_H

#include <stdbool.h>
#include <stdint.h>

enum { CPU_BRAND_SIZE = 64 };

typedef struct cpu_features {
    bool sse42;
    bool avx2;
    bool fma;
    bool f16c;
    bool avxvnni;
    bool avx512f;
    bool avx512bw;
    bool avx512dq;
    bool avx512vl;
    bool avx512vnni;
    bool avx512vbmi;
    bool avx512bf16;
    bool avx512fp16;
    bool amx_tile;
    bool amx_int8;
    bool amx_bf16;
    bool neon;
    bool dotprod; /* Armv8.2: dot products of bytes */
} cpu_features;

/* What an x86-64 processor and the kernel answer when asked: enough to decide without either. */
typedef struct cpu_registers {
    uint32_t leaf1_ecx;
    uint32_t leaf7_ebx;
    uint32_t leaf7_ecx;
    uint32_t leaf7_edx;
    uint32_t leaf7_1_eax;
    uint64_t xcr0;      /* register states that the operating system saves; 0 without OSXSAVE */
    bool amx_permitted; /* the kernel's answer to the request for tiles */
} cpu_registers;

/* The decision itself. */
void cpu_decide(const cpu_registers *registers, cpu_features *features);

/* True when bits and state allow tiles, so that asking the kernel for permission makes sense. */
bool cpu_could_use_amx(const cpu_registers *registers);

/* This machine's features: found out once (which requests the AMX permission), then constant. */
const cpu_features *cpu_current(void);

/* The raw answers behind cpu_current, to record a new machine; all 0 where not x86-64. */
const cpu_registers *cpu_current_registers(void);

/* The processor's name, such as "AMD EPYC 9655"; the architecture's where it has none. */
const char *cpu_brand(void);

#endif
