/* Errors of tiles: every variant against the sums written out. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "kernels/quantize/tile_error.h"
#include "spry/random.h"

enum { PITCH = 40, MOST_ROWS = 15, STRIDE = 53, CASES = 200 };

typedef struct numbers {
    int32_t sums[2][MOST_ROWS * PITCH];
    int32_t codes[PITCH];
    float steps[PITCH];
    float exact[MOST_ROWS * STRIDE], importance[MOST_ROWS * STRIDE];
} numbers;

static void draw(spry_random *r, numbers *n)
{
    float room[MOST_ROWS * PITCH];

    for (int k = 0; k < 2; k++) {
        spry_random_fill_uniform(r, room, MOST_ROWS * PITCH, -2e6f, 2e6f);
        for (int i = 0; i < MOST_ROWS * PITCH; i++) {
            n->sums[k][i] = (int32_t)room[i];
        }
    }
    for (int i = 0; i < PITCH; i++) {
        n->codes[i] = n->sums[0][i] / 1000;
    }
    spry_random_fill_uniform(r, n->steps, PITCH, 1e-4f, 1e-2f);
    spry_random_fill_uniform(r, n->exact, MOST_ROWS * STRIDE, -50.0f, 50.0f);
    spry_random_fill_uniform(r, n->importance, MOST_ROWS * STRIDE, 0.0f, 2.0f);
}

static void check(const tile_error_kernel *kernel, numbers *n, int rows, int columns, bool is_twin,
                  bool is_weighted)
{
    tile_error_sums s = {.sums = {n->sums[0], is_twin ? n->sums[1] : NULL},
                         .pitch = PITCH,
                         .zero = is_twin ? 0 : 131,
                         .codes = n->codes,
                         .scales = {-0.011f, 0.37f},
                         .steps = n->steps};
    float y[MOST_ROWS * PITCH];
    float errors[PITCH];

    memset(y, 0, sizeof y);
    for (int j = 0; j < PITCH; j++) {
        errors[j] = (float)j;
    }
    kernel->numbers(&s, rows, columns, y);
    kernel->add_squares(y, PITCH, n->exact, is_weighted ? n->importance : NULL, STRIDE, rows,
                        columns, errors);
    for (int j = 0; j < PITCH; j++) {
        volatile float sum = (float)j; /* rounded after every step */

        for (int i = 0; j < columns && i < rows; i++) {
            int at = i * PITCH + j;
            volatile float scale = s.scales[0] * s.steps[j];
            volatile float found = (float)(n->sums[0][at] - s.zero * n->codes[j]) * scale;
            volatile float square;

            if (is_twin) {
                scale = s.scales[1] * s.steps[j];
                scale = (float)n->sums[1][at] * scale;
                found = found + scale;
            }
            assert_true(y[at] == found);
            square = found - n->exact[i * STRIDE + j];
            square = square * square;
            if (is_weighted) {
                square = n->importance[i * STRIDE + j] * square;
            }
            sum = sum + square;
        }
        assert_true(errors[j] == sum);
    }
}

static void test_all_variants(void **state)
{
    static numbers n;

    (void)state;
    for (int v = 0; v < tile_error_variant_count; v++) {
        spry_random r = spry_random_stream(3, 0);

        if (!isa_usable(tile_error_variants[v].level)) {
            continue;
        }
        for (int i = 0; i < CASES; i++) {
            draw(&r, &n);
            check(tile_error_variants[v].table, &n, i % MOST_ROWS + 1, i % (PITCH + 1), i % 2 == 0,
                  i / 2 % 2 == 0);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_all_variants)};

    return cmocka_run_group_tests_name("tile_error", tests, NULL, NULL);
}
