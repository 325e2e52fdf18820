/* Instruction-set levels: what kernels may be chosen from. */
#ifndef KERNELS_ISA_H
#define KERNELS_ISA_H

/* Each level includes all before it (on x86-64). `ISA_NEON` stands alone on AArch64. */
typedef enum isa_level {
    ISA_GENERIC = 0, /* portable C: the oracle */
    ISA_AVX2,        /* AVX2, FMA, F16C */
    ISA_AVX512,      /* AVX-512 F, BW, DQ, VL */
    ISA_AVX512VNNI,  /* + VNNI, and BF16 where `isa_has_bf16` */
    ISA_AMX,         /* + AMX tile, int8, bf16, granted by the operating system */
    ISA_NEON,
    ISA_COUNT
} isa_level;

/* Best level of this machine, lowered by SPRY_ISA=generic|avx2|avx512|avx512vnni|amx. Decided once;
 * the same for the whole process. */
isa_level isa_current(void);
const char *isa_name(isa_level level);

/* One kernel variant in a family's list: dispatch takes the last entry whose level is usable. */
typedef struct isa_variant {
    const char *name; /* parses: "gemm_f32_14x32__avx512" */
    isa_level level;
    const void *table; /* the family's struct of function pointers and blocking parameters */
} isa_variant;

/* True when kernels of `level` may run now (isa_current() includes it). */
int isa_usable(isa_level level);

#endif
