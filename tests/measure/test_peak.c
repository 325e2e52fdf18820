/* A peak is measured where there is a kernel, and belongs to the kernels that share its type. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "measure/peak.h"

static void measures_every_type_there_is(void **state)
{
    peak p;

    (void)state;
    peak_measure(&p);
    for (int t = 0; t < PEAK_TYPES; t++) {
        assert_true((p.kernel[t] != NULL) == (peak_select((peak_type)t) != NULL));
        assert_true((p.kernel[t] != NULL) == (p.gigaflops[t] > 0.0));
    }
    assert_true(p.gigahertz > 0.1 && p.gigahertz < 20.0);
}

static void reading_has_a_rate(void **state)
{
    enum { BYTES = 16 << 10 };
    void *data = calloc(1, BYTES);

    (void)state;
    assert_non_null(data);
    assert_true(peak_read_rate(data, BYTES) > 0.0);
    free(data);
}

static void kernels_name_their_type(void **state)
{
    static const struct {
        const char *kernel;
        peak_type type;
    } cases[] = {
        {"gemm_f32_14x32__avx512", PEAK_F32},
        {"brgemm_bf16_14x32__avx512bf16", PEAK_BF16},
        {"gemm_s8_6x64__avx512vnni", PEAK_S8},
        {"linear_s8", PEAK_S8},
        {"reference", PEAK_TYPES},
        {"", PEAK_TYPES},
        {"bf16", PEAK_TYPES},
        {"pool_f32_", PEAK_F32},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        assert_int_equal(peak_type_of(cases[i].kernel), cases[i].type);
    }
    assert_string_equal(peak_type_name(PEAK_S8), "s8");
    assert_string_equal(peak_type_name(PEAK_TYPES), "unknown");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(measures_every_type_there_is),
        cmocka_unit_test(reading_has_a_rate),
        cmocka_unit_test(kernels_name_their_type),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
