/* Features follow from bits, saved state and permission together. */
#define _GNU_SOURCE
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/cpu.h"
#include "support/processors.h"

static const struct {
    const char *name;
    size_t offset;
} names[] = {
    {"sse42", offsetof(cpu_features, sse42)},
    {"avx2", offsetof(cpu_features, avx2)},
    {"fma", offsetof(cpu_features, fma)},
    {"f16c", offsetof(cpu_features, f16c)},
    {"avxvnni", offsetof(cpu_features, avxvnni)},
    {"avx512f", offsetof(cpu_features, avx512f)},
    {"avx512bw", offsetof(cpu_features, avx512bw)},
    {"avx512dq", offsetof(cpu_features, avx512dq)},
    {"avx512vl", offsetof(cpu_features, avx512vl)},
    {"avx512vnni", offsetof(cpu_features, avx512vnni)},
    {"avx512vbmi", offsetof(cpu_features, avx512vbmi)},
    {"avx512bf16", offsetof(cpu_features, avx512bf16)},
    {"avx512fp16", offsetof(cpu_features, avx512fp16)},
    {"amx_tile", offsetof(cpu_features, amx_tile)},
    {"amx_int8", offsetof(cpu_features, amx_int8)},
    {"amx_bf16", offsetof(cpu_features, amx_bf16)},
    {"neon", offsetof(cpu_features, neon)},
    {"dotprod", offsetof(cpu_features, dotprod)},
};

static void list_features(const cpu_features *features, char *text, size_t size)
{
    size_t length = 0;

    text[0] = '\0';
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        if (*(const bool *)((const char *)features + names[i].offset)) {
            length += (size_t)snprintf(text + length, size - length, "%s ", names[i].name);
        }
    }
}

static void decides_for_known_processors(void **state)
{
    (void)state;
    for (size_t i = 0; i < PROCESSOR_COUNT; i++) {
        cpu_features features;
        char text[512];

        cpu_decide(&processors[i].registers, &features);
        list_features(&features, text, sizeof text);
        if (strcmp(text, processors[i].features) != 0) {
            fail_msg("%s: %s\nexpected: %s", processors[i].name, text, processors[i].features);
        }
    }
}

static void this_machine_is_consistent(void **state)
{
    const cpu_registers *registers = cpu_current_registers();
    const cpu_features *features = cpu_current();
    char text[512];

    (void)state;
    assert_true(strlen(cpu_brand()) > 0 && strlen(cpu_brand()) < CPU_BRAND_SIZE);
    list_features(features, text, sizeof text);
    print_message("%s: %s(leaf 1 %08x, 7 %08x %08x %08x, 7.1 %08x, xcr0 %llx)\n", cpu_brand(), text,
                  registers->leaf1_ecx, registers->leaf7_ebx, registers->leaf7_ecx,
                  registers->leaf7_edx, registers->leaf7_1_eax,
                  (unsigned long long)registers->xcr0);
#if defined(__x86_64__)
    assert_int_equal(features->avx2, __builtin_cpu_supports("avx2") != 0);
    assert_int_equal(features->fma, __builtin_cpu_supports("fma") != 0);
    assert_int_equal(features->avx512f, __builtin_cpu_supports("avx512f") != 0);
    assert_int_equal(features->avx512bw, __builtin_cpu_supports("avx512bw") != 0);
    assert_int_equal(features->avx512vnni, __builtin_cpu_supports("avx512vnni") != 0);
#endif
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(decides_for_known_processors),
        cmocka_unit_test(this_machine_is_consistent),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
