/* Transposition variants against single elements, over random sizes and pitches. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "kernels/transpose/transpose.h"
#include "spry/random.h"

enum { MOST_SIDE = 150 };

static int64_t between(spry_random *r, int64_t low, int64_t high)
{
    return low + (int64_t)spry_random_below(r, (uint64_t)(high - low + 1));
}

/* Buffers end with the last element, so that reading on is caught where memory is watched; what
 * lies between the rows of the result must stay. */
static void check(spry_random *r, const transpose_kernel *kernel, int64_t size)
{
    transpose_matrix m = {.rows = between(r, 1, MOST_SIDE), .columns = between(r, 1, MOST_SIDE)};
    int64_t from_bytes;
    int64_t to_bytes;
    uint8_t *from;
    uint8_t *to;

    m.from_pitch = (m.columns + between(r, 0, 3)) * size;
    m.to_pitch = (m.rows + between(r, 0, 3)) * size;
    from_bytes = (m.rows - 1) * m.from_pitch + m.columns * size;
    to_bytes = (m.columns - 1) * m.to_pitch + m.rows * size;
    from = malloc((size_t)from_bytes);
    to = malloc((size_t)to_bytes);
    assert_non_null(from);
    assert_non_null(to);
    for (int64_t i = 0; i < from_bytes; i++) {
        from[i] = (uint8_t)spry_random_below(r, 256);
    }
    memset(to, 0x5A, (size_t)to_bytes);
    m.from = from;
    m.to = to;
    (size == 4 ? kernel->words : kernel->bytes)(&m);
    for (int64_t i = 0; i < to_bytes; i++) {
        int64_t column = i / m.to_pitch;
        int64_t row = i % m.to_pitch / size;
        uint8_t wanted = row < m.rows ? from[row * m.from_pitch + column * size + i % size] : 0x5A;

        assert_int_equal(to[i], wanted);
    }
    free(from);
    free(to);
}

static void test_sizes(void **state)
{
    (void)state;
    for (int v = 0; v < transpose_variant_count; v++) {
        spry_random r = spry_random_stream(6, 0);

        for (int i = 0; i < 100 && isa_usable(transpose_variants[v].level); i++) {
            check(&r, transpose_variants[v].table, 4);
            check(&r, transpose_variants[v].table, 1);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sizes),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
