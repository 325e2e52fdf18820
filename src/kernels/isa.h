/* Instruction-set levels: what kernels may be chosen from. */
#ifndef KERNELS_ISA_H
#define KERNELS_ISA_H

#include <stdbool.h>

#include "base/cpu.h"

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

/* What became of the variable SPRY_ISA=generic|avx2|avx512|avx512vnni|amx|neon. */
typedef enum isa_request {
    ISA_REQUEST_NONE,     /* not set, or empty */
    ISA_REQUEST_HONOURED, /* the level is as asked */
    ISA_REQUEST_LOWERED,  /* the machine lacks the level: its best one is used */
    ISA_REQUEST_UNKNOWN   /* not a level's name: ignored */
} isa_request;

/* A decision and its reasons. */
typedef struct isa_choice {
    isa_level level; /* in use */
    isa_level best;  /* of this machine */
    isa_request request;
    bool bf16;    /* AVX-512 BF16 may be used: level at least ISA_AVX512VNNI and the CPU has it */
    bool dot;     /* Arm's dot products of bytes may be used: level ISA_NEON and the CPU has them */
    bool avxvnni; /* 256-bit VNNI may be used: level at least ISA_AVX2 and the CPU has it */
    bool vbmi;    /* AVX-512 VBMI may be used: level at least ISA_AVX512VNNI and the CPU has it */
} isa_choice;

/* The decision for a machine with `features` when SPRY_ISA is `request` (may be NULL). */
isa_choice isa_decide(const cpu_features *features, const char *request);

/* This process's decision: made once, when first asked for. */
const isa_choice *isa_chosen(void);

/* The level in use: the best of this machine, lowered by SPRY_ISA. */
isa_level isa_current(void);

/* The name that SPRY_ISA takes; "unknown" outside the enum. */
const char *isa_name(isa_level level);

/* One kernel variant in a family's list: dispatch takes the last entry whose level is usable. */
typedef struct isa_variant {
    const char *name; /* parses: "gemm_f32_14x32__avx512" */
    isa_level level;
    const void *table; /* the family's struct of function pointers and blocking parameters */
} isa_variant;

/* True when kernels of `level` may run now (isa_current() includes it). */
bool isa_usable(isa_level level);

/* The table of the last variant that may run now. The first one of a list always may. */
const void *isa_select(const isa_variant *variants, int count);

/* isa_chosen()->bf16, ->avxvnni, ->vbmi and ->dot, for the guards of kernel families. */
bool isa_has_bf16(void);
bool isa_has_avxvnni(void);
bool isa_has_vbmi(void);
bool isa_has_dot(void);

#endif
