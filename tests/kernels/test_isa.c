/* The level is the machine's best, lowered on request and never raised. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "kernels/isa.h"
#include "support/processors.h"

static void picks_the_best_level(void **state)
{
    (void)state;
    for (size_t i = 0; i < PROCESSOR_COUNT; i++) {
        cpu_features features;
        isa_choice choice;

        cpu_decide(&processors[i].registers, &features);
        choice = isa_decide(&features, NULL);
        if (strcmp(isa_name(choice.level), processors[i].level) != 0 ||
            choice.best != choice.level || choice.bf16 != processors[i].bf16 ||
            choice.avxvnni != processors[i].avxvnni || choice.request != ISA_REQUEST_NONE) {
            fail_msg("%s: %s", processors[i].name, isa_name(choice.level));
        }
    }
}

static void a_request_lowers(void **state)
{
    static const struct {
        const char *request;
        isa_level level;
        isa_request outcome;
        bool bf16;
        bool avxvnni;
    } cases[] = {
        {"", ISA_AVX512VNNI, ISA_REQUEST_NONE, true, true},
        {"generic", ISA_GENERIC, ISA_REQUEST_HONOURED, false, false},
        {"avx2", ISA_AVX2, ISA_REQUEST_HONOURED, false, true},
        {"avx512", ISA_AVX512, ISA_REQUEST_HONOURED, false, true},
        {"avx512vnni", ISA_AVX512VNNI, ISA_REQUEST_HONOURED, true, true},
        {"amx", ISA_AVX512VNNI, ISA_REQUEST_LOWERED, true, true},
        {"neon", ISA_AVX512VNNI, ISA_REQUEST_LOWERED, true, true},
        {"AVX2", ISA_AVX512VNNI, ISA_REQUEST_UNKNOWN, true, true},
        {"sse9", ISA_AVX512VNNI, ISA_REQUEST_UNKNOWN, true, true},
    };
    const processor *zen5 = &processors[PROCESSOR_COUNT - 1];
    cpu_features features;

    (void)state;
    cpu_decide(&zen5->registers, &features);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        isa_choice choice = isa_decide(&features, cases[i].request);

        if (choice.level != cases[i].level || choice.request != cases[i].outcome ||
            choice.bf16 != cases[i].bf16 || choice.vbmi != cases[i].bf16 ||
            choice.avxvnni != cases[i].avxvnni) {
            fail_msg("\"%s\": %s", cases[i].request, isa_name(choice.level));
        }
        assert_int_equal(choice.best, ISA_AVX512VNNI);
    }
}

static void neon_stands_alone(void **state)
{
    cpu_features features = {.neon = true};

    (void)state;
    assert_int_equal(isa_decide(&features, NULL).level, ISA_NEON);
    assert_int_equal(isa_decide(&features, "generic").level, ISA_GENERIC);
    assert_int_equal(isa_decide(&features, "avx2").level, ISA_NEON);
    assert_int_equal(isa_decide(&features, "avx2").request, ISA_REQUEST_LOWERED);
    assert_false(isa_decide(&features, NULL).dot);
    features.dotprod = true;
    assert_true(isa_decide(&features, NULL).dot);
    assert_false(isa_decide(&features, "generic").dot);
}

static void the_process_decides_once(void **state)
{
    isa_level level;

    (void)state;
    assert_int_equal(setenv("SPRY_ISA", "avx2", 1), 0);
    level = isa_current();
    assert_true(level == ISA_AVX2 || level == isa_chosen()->best);
    assert_int_equal(setenv("SPRY_ISA", "generic", 1), 0);
    assert_int_equal(isa_current(), level);
    assert_true(isa_usable(ISA_GENERIC));
    assert_true(isa_usable(level));
    assert_int_equal(isa_has_bf16(), isa_chosen()->bf16);
    assert_int_equal(isa_has_avxvnni(), isa_chosen()->avxvnni);
    assert_int_equal(isa_has_vbmi(), isa_chosen()->vbmi);
    assert_int_equal(isa_has_dot(), isa_chosen()->dot);
    for (int i = 0; i < ISA_COUNT; i++) {
        assert_int_equal(isa_usable((isa_level)i), i == ISA_GENERIC || i == (int)level ||
                                                       (level != ISA_NEON && i < (int)level));
    }
    assert_string_equal(isa_name(ISA_COUNT), "unknown");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(picks_the_best_level),
        cmocka_unit_test(a_request_lowers),
        cmocka_unit_test(neon_stands_alone),
        cmocka_unit_test(the_process_decides_once),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
