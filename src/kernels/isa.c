/* Picks the instruction-set level: a pure decision, and its once-made instance for this process. */
#define _GNU_SOURCE
#include "kernels/isa.h"

#include <pthread.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

static const char *const level_names[ISA_COUNT] = {
    [ISA_GENERIC] = "generic",       [ISA_AVX2] = "avx2", [ISA_AVX512] = "avx512",
    [ISA_AVX512VNNI] = "avx512vnni", [ISA_AMX] = "amx",   [ISA_NEON] = "neon",
};

static struct {
    pthread_once_t once;
    isa_choice choice;
} chosen = {.once = PTHREAD_ONCE_INIT};

static isa_level best_level(const cpu_features *f)
{
    if (f->neon) {
        return ISA_NEON;
    }
    if (!f->avx2 || !f->fma || !f->f16c) {
        return ISA_GENERIC;
    }
    if (!f->avx512f || !f->avx512bw || !f->avx512dq || !f->avx512vl) {
        return ISA_AVX2;
    }
    if (!f->avx512vnni) {
        return ISA_AVX512;
    }
    return f->amx_tile && f->amx_int8 && f->amx_bf16 ? ISA_AMX : ISA_AVX512VNNI;
}

/* Does a machine (or a forced level) `have` include `level`? */
static bool includes(isa_level have, isa_level level)
{
    if (level == ISA_GENERIC || level == have) {
        return true;
    }
    return have != ISA_NEON && level < have;
}

static void apply_request(isa_choice *choice, const char *request)
{
    if (request == NULL || *request == '\0') {
        return;
    }
    for (int i = 0; i < ISA_COUNT; i++) {
        if (strcmp(request, level_names[i]) == 0) {
            bool has = includes(choice->best, (isa_level)i);

            choice->request = has ? ISA_REQUEST_HONOURED : ISA_REQUEST_LOWERED;
            choice->level = has ? (isa_level)i : choice->best;
            return;
        }
    }
    choice->request = ISA_REQUEST_UNKNOWN;
}

isa_choice isa_decide(const cpu_features *features, const char *request)
{
    isa_choice choice = {.best = best_level(features), .request = ISA_REQUEST_NONE};

    choice.level = choice.best;
    apply_request(&choice, request);
    choice.bf16 =
        features->avx512bf16 && choice.level != ISA_NEON && choice.level >= ISA_AVX512VNNI;
    choice.avxvnni = features->avxvnni && choice.level != ISA_NEON && choice.level >= ISA_AVX2;
    choice.vbmi =
        features->avx512vbmi && choice.level != ISA_NEON && choice.level >= ISA_AVX512VNNI;
    choice.dot = features->dotprod && choice.level == ISA_NEON;
    return choice;
}

static void choose(void)
{
    chosen.choice = isa_decide(cpu_current(), getenv("SPRY_ISA"));
}

const isa_choice *isa_chosen(void)
{
    (void)pthread_once(&chosen.once, choose);
    return &chosen.choice;
}

isa_level isa_current(void)
{
    return isa_chosen()->level;
}

const char *isa_name(isa_level level)
{
    return (unsigned)level < ISA_COUNT ? level_names[level] : "unknown";
}

bool isa_usable(isa_level level)
{
    return includes(isa_current(), level);
}

bool isa_has_bf16(void)
{
    return isa_chosen()->bf16;
}

bool isa_has_avxvnni(void)
{
    return isa_chosen()->avxvnni;
}

bool isa_has_vbmi(void)
{
    return isa_chosen()->vbmi;
}

bool isa_has_dot(void)
{
    return isa_chosen()->dot;
}

const void *isa_select(const isa_variant *variants, int count)
{
    int best = 0;

    for (int i = 1; i < count; i++) {
        best = isa_usable(variants[i].level) ? i : best;
    }
    return variants[best].table;
}
